"""Recorded venue data through the real codecs: the figures of the recordings' own README."""

import gzip
from pathlib import Path

import pytest

from adapters.replay import replay
from engine.errors import ConfigError, MessageError

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "streams"
FEED = DATA / "cryptofeed"

# venue, files, frames, diffs, stale, books
STREAMS = [
    ("binance", ["binance_spot/2021-04-04_29970208_BINANCE-ee25be.0.gz"], 4719, 2656, 32, 3),
    (
        "binance",
        [
            "binance_spot/2021-04-17_3525dc8c_BINANCE.http.0.0.gz",
            "binance_spot/2021-04-17_3525dc8c_BINANCE.ws.1.0.gz",
        ],
        1238, 590, 24, 10,
    ),
    (
        "binance",
        [
            "binance_spot/2021-10-11_b90fa9b8_BINANCE.http.0.0.gz",
            "binance_spot/2021-10-11_b90fa9b8_BINANCE.ws.1.0.gz",
        ],
        269, 172, 5, 4,
    ),
    (
        "binance_us",
        [
            "binance_us/2021-04-17_3525dc8c_BINANCE_US.http.2.0.gz",
            "binance_us/2021-04-17_3525dc8c_BINANCE_US.ws.3.0.gz",
        ],
        1293, 797, 10, 10,
    ),
    (
        "binance_us",
        [
            "binance_us/2021-10-11_b90fa9b8_BINANCE_US.http.0.0.gz",
            "binance_us/2021-10-11_b90fa9b8_BINANCE_US.ws.1.0.gz",
        ],
        484, 332, 4, 4,
    ),
]  # fmt: skip


def need(folder):
    if not folder.is_dir():
        pytest.skip(f"no recorded data at {folder}")


@pytest.mark.parametrize(("venue", "files", "frames", "diffs", "stale", "books"), STREAMS)
def test_recorded_binance_streams_replay_without_a_gap(venue, files, frames, diffs, stale, books):
    need(FEED)
    report = replay(venue, [FEED / name for name in files])
    assert (report.frames, report.diffs, report.stale) == (frames, diffs, stale)
    assert report.books == books
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)
    assert report.bookticker_agreed == report.bookticker_checked


def test_order_of_the_files_does_not_matter():
    need(FEED)
    _, names, *_ = STREAMS[1]
    files = [FEED / name for name in names]
    assert replay("binance", files) == replay("binance", files[::-1])


def test_recorded_okx_stream_matches_every_checksum():
    need(FEED)
    report = replay("okx", [FEED / "okx/2022-02-27_ed5b5350_OKX.ws.1.0.gz"])
    assert (report.checksum_ok, report.checksum_bad) == (3679, 0)
    assert (report.frames, report.diffs, report.books) == (3777, 3679, 10)
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)


def test_hftbacktest_pair_agrees_with_the_venues_own_book_ticker():
    need(DATA / "hftbacktest")
    names = ("spot_btcusdt_20240808.gz", "spot_btcusdt_20240809.gz")
    report = replay("binance", [DATA / "hftbacktest" / name for name in names])
    assert (report.frames, report.diffs, report.stale) == (41249 + 58325, 6493, 2)
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)
    assert (report.bookticker_agreed, report.bookticker_checked) == (6491, 6493)


# venue, dialect, files, frames, diffs, stale, books, checksums
OTHERS = [
    (
        "binance_usdm", "",
        ["binance_usdm/2021-04-17_3525dc8c_BINANCE_FUTURES.http.4.0.gz",
         "binance_usdm/2021-04-17_3525dc8c_BINANCE_FUTURES.ws.5.0.gz"],
        3263, 997, 19, 4, 0,
    ),
    (
        "binance_coinm", "",
        ["binance_coinm/2021-07-21_70789232_BINANCE_DELIVERY.http.0.0.gz",
         "binance_coinm/2021-07-21_70789232_BINANCE_DELIVERY.ws.1.0.gz"],
        4381, 1788, 259, 10, 0,
    ),
    (
        "kucoin", "",
        ["kucoin/2021-04-25_53bb157c_KUCOIN.ws.1.0.dev-symbols.gz",
         "kucoin/2021-04-25_53bb157c_KUCOIN.http.0.0.dev-symbols.gz"],
        3725, 3122, 30, 5, 0,
    ),
    ("kucoin", "", ["kucoin/2021-04-22_c57d9e0e_KUCOIN.ws.1.0.gz"], 803, 0, 0, 0, 0),
    (
        "kraken", "kraken_v1",
        [f"kraken_v1/2021-04-17_3525dc8c_KRAKEN.ws.{n}.0.gz" for n in (48, 49, 50)],
        4430, 4279, 0, 10, 4269,
    ),
    (
        "bybit", "bybit_v2", ["bybit_v2_retired/2021-04-17_3525dc8c_BYBIT.ws.25.0.gz"],
        3342, 3260, 0, 8, 0,
    ),
    (
        "coinbase", "coinbase_exchange",
        ["coinbase_exchange/2021-04-17_3525dc8c_COINBASE.ws.28.0.dev-symbols.gz"],
        6839, 6668, 0, 5, 0,
    ),
]  # fmt: skip
# Who proves the books: the venue's own rule, and nothing where the old format had none.
PROVEN = {
    "binance_usdm": "sequence", "binance_coinm": "sequence", "kucoin": "sequence",
    "kraken": "checksum_top10", "bybit": "unverified", "coinbase": "unverified",
}  # fmt: skip


@pytest.mark.parametrize(
    ("venue", "dialect", "files", "frames", "diffs", "stale", "books", "checksums"),
    OTHERS,
    ids=[f"{row[0]}-{row[3]}" for row in OTHERS],
)
def test_every_other_recorded_stream_replays_without_a_gap(
    venue, dialect, files, frames, diffs, stale, books, checksums
):
    need(FEED)
    report = replay(venue, [FEED / name for name in files], dialect)
    assert (report.frames, report.diffs, report.stale) == (frames, diffs, stale)
    assert (report.books, report.checksum_ok, report.checksum_bad) == (books, checksums, 0)
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)
    assert (report.lost, report.verification) == (0, PROVEN[venue])


@pytest.mark.parametrize(
    ("venue", "names", "frames", "diffs", "stale"),
    [
        ("binance_coinm", ("cm_btcusd_perp_20240808.gz", "cm_btcusd_perp_20240809.gz"),
         48270 + 50116, 44772, 23),
        ("binance_usdm", ("usdm_btcusdt_20240808.gz",), 93954, 6547, 4),
    ],
)  # fmt: skip
def test_futures_agree_with_the_venues_own_book_ticker(venue, names, frames, diffs, stale):
    need(DATA / "hftbacktest")
    report = replay(venue, [DATA / "hftbacktest" / name for name in names])
    assert (report.frames, report.diffs, report.stale) == (frames, diffs, stale)
    assert (report.gaps, report.crossed, report.locked, report.malformed) == (0, 0, 0, 0)
    # All but the first diff, which joins the snapshot together with the second.
    assert (report.bookticker_agreed, report.bookticker_checked) == (diffs - 1, diffs - 1)


def test_a_futures_snapshot_can_show_what_no_diff_will_mend():
    # Recorded: BCHUSD_PERP's snapshot lacks the ask 427.91 that bookTicker and the diffs before and
    # behind it have. A level that left and came back within one diff is in no diff.
    need(FEED)
    venue, _, files, *_ = OTHERS[1]
    report = replay(venue, [FEED / name for name in files])
    assert (report.bookticker_agreed, report.bookticker_checked) == (1786, 1788)


DIFF = '{"e":"depthUpdate","E":1,"s":"X","U":%d,"u":%d,"b":[["1.0","%s"]],"a":[["2.0","1"]]}'
SNAPSHOT = '{"lastUpdateId":5,"bids":[["1.0","1"]],"asks":[["2.0","1"]]}'


def test_plain_json_lines_replay_compressed_or_not(tmp_path):
    lines = "\n".join([DIFF % (4, 6, "3"), SNAPSHOT, DIFF % (7, 8, "4")])
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_text(lines)
    packed.write_bytes(gzip.compress(lines.encode()))
    report = replay("binance", [plain])
    assert (report.diffs, report.books, report.gaps) == (2, 1, 0)
    assert replay("binance", [str(packed)]) == report


def test_a_missing_diff_is_one_gap(tmp_path):
    path = tmp_path / "gap.jsonl"
    path.write_text("\n".join([DIFF % (4, 6, "3"), SNAPSHOT, DIFF % (9, 9, "4")]))
    assert replay("binance", [path]).gaps == 1


def test_what_is_no_recording_is_refused_with_its_line(tmp_path):
    path = tmp_path / "noise.txt"
    path.write_text("hello world\n")
    with pytest.raises(MessageError, match=r"noise.txt line 1"):
        replay("binance", [path])


def test_an_unknown_venue_is_refused_with_the_known_ones():
    with pytest.raises(
        ConfigError, match="binance, binance_coinm, binance_us, binance_usdm, bybit, coinbase"
    ):
        replay("mtgox", [])
