"""Files that others wrote: recordings line by line, single messages, and retired formats."""

import gzip
import json
from pathlib import Path

import pytest

from adapters.codec import BookDelta, BookShape, Problem
from adapters.dialects import DIALECTS, BybitV2, CoinbaseExchange, KrakenV1
from adapters.recording import frames, messages
from adapters.replay import codec_of
from engine.errors import MessageError
from engine.messages.market import TradePrint

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fixtures"

FILES = {
    "one message": (b'{"a": 1.10}', [b'{"a": 1.10}']),
    "over several lines": (b'{\n "a": 1\n}\n', [b'{\n "a": 1\n}']),
    "a list": (b'[{"a":1},{"b":2.50}]', [b'{"a":1}', b'{"b":2.50}']),
    "a frame that is a list": (b'[992,{"b":[]},"book-10","X/Y"]', [b'[992,{"b":[]},"book-10","X/Y"]']),
    "messages in a list": (b'[{"var":"m","messages":[{"a":1},[2]]}]', [b'{"a":1}', b"[2]"]),
    "frames as texts": (b'[{"kind":"k","frame":"{\\"a\\":1}"}]', [b'{"a":1}']),
    "a line each": (b'{"a":1}\n[1,2]\n', [b'{"a":1}', b"[1,2]"]),
    "a recording": (b'1.5: {"a":1}\nwss://x <- 1.6: {"sent":1}\n', [b'{"a":1}']),
    "a dialogue": (b'> {"id":"|1|"}\n< {"id": |1|, "ok":"|*|"}\n= \n{\n "a": 1\n}\n',
                   [b'{"id": 1, "ok":"1"}', b'{"a": 1}']),
    "a numbered dialogue": (b'>1 {"x":1}\n<1 {"y":2}\n=1 {"z":3}\n', [b'{"y":2}', b'{"z":3}']),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
def test_messages_of_a_file_are_found_however_they_are_kept(tmp_path, name, packed):
    content, expected = FILES[name]
    path = tmp_path / ("a.gz" if packed else "a.json")
    path.write_bytes(gzip.compress(content, mtime=0) if packed else content)
    assert messages(path) == expected


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "has no message"), (b"hello\n", "line 1: not a recorded frame")]
)
def test_a_file_without_messages_is_refused(tmp_path, content, sentence):
    path = tmp_path / "a.txt"
    path.write_bytes(content)
    with pytest.raises(MessageError, match=sentence):
        messages(path)


def test_frames_of_a_recording_leave_out_what_came_by_http(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b'7 {"a":1}\nhttps://x/depth?symbol=Y -> 1.5: {"b":1}\n9 {"c":1}\n')
    assert list(frames(path)) == [(7, b'{"a":1}'), (9, b'{"c":1}')]


def told(dialect, frame):
    """What a frame of a retired format becomes, by way of today's codec."""
    translator = DIALECTS[dialect].make()
    codec = codec_of(DIALECTS[dialect].venue)
    raws = translator.translate(frame if isinstance(frame, bytes) else json.dumps(frame).encode())
    return [event for raw in raws for event in codec.on_public(raw, 1)]


def collected(name):
    path = DATA / name
    if not path.is_file():
        pytest.skip(f"no collected data at {path}")
    return messages(path)


# dialect, file, how many books, trades and problems its frames become
COLLECTED = [
    ("kraken_v1", "tardis-node/kraken.json", 1, 3, 3),  # updates without a checksum are refused
    ("coinbase_exchange", "tardis-node/coinbase.json", 5, 1, 0),
    ("coinbase_exchange", "crypto-msg-parser/coinbase_pro.json", 1, 1, 0),
]


@pytest.mark.parametrize(("dialect", "name", "books", "trades", "problems"), COLLECTED)
def test_collected_frames_of_retired_formats_become_todays_events(
    dialect, name, books, trades, problems
):
    events = [event for raw in collected(name) for event in told(dialect, raw)]
    kinds = [type(event) for event in events]
    assert kinds.count(BookDelta) == books
    assert kinds.count(TradePrint) == trades
    assert kinds.count(Problem) == problems, events


def test_bybits_inverse_snapshots_are_lists_and_its_deltas_the_same():
    frames = [raw for raw in collected("crypto-msg-parser/bybit.json") if b"orderBookL2_25" in raw]
    deltas = [event for raw in frames for event in told("bybit_v2", raw)]
    assert [type(d) for d in deltas] == [BookDelta] * len(frames)
    assert [d.is_snapshot for d in deltas] == [True, False, True, True, False]
    assert all(d.bids or d.asks for d in deltas)
    assert ("36338.50", "85235") in deltas[0].bids


def test_krakens_snapshot_brings_the_decimals_of_its_texts():
    frame = [
        1,
        {"as": [["5541.30000", "2.507", "1534614248.123678"]], "bs": []},
        "book-10",
        "XDG/USD",
    ]
    shape, delta = told("kraken_v1", frame)
    assert shape == BookShape("DOGE/USD", 5, 3, 10)
    assert (delta.symbol, delta.asks) == ("DOGE/USD", [("5541.30000", "2.507")])


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
@pytest.mark.parametrize(
    "noise", [b"", b"{", b"null", b"[]", b"[1]", b'{"a":1}', b"\xff", b"[" * 9000, b'{"type":5}',
              b'[1,{"b":[["x","y","z"]],"c":"q"},"book-10","A/B"]', b'[1,[["1"]],"trade","A/B"]',
              b'{"topic":"orderBookL2_25.X","data":{"delete":[{"price":"NaN"}]}}',
              b'{"type":"l2update","product_id":"A-B","changes":[["up","1","1"]],"time":"x"}']
)  # fmt: skip
def test_what_a_translator_does_not_understand_is_passed_on_or_refused(dialect, noise):
    for event in told(dialect, noise):
        assert not isinstance(event, BookDelta | TradePrint)


def test_translators_number_what_the_old_formats_did_not():
    assert [DIALECTS[name].make().verification for name in sorted(DIALECTS)] == [
        "unverified", "unverified", "checksum_top10"]  # fmt: skip
    bybit, coinbase = BybitV2(), CoinbaseExchange()
    delta = b'{"topic":"orderBookL2_25.X","type":"delta","data":{},"timestamp_e6":"1"}'
    assert [json.loads(bybit.translate(delta)[0])["data"]["u"] for _ in range(3)] == [
        1000, 1001, 1002]  # fmt: skip
    match = b'{"type":"match","trade_id":1,"price":"1","size":"1","side":"buy","product_id":"A-B"}'
    assert [json.loads(coinbase.translate(match)[0])["sequence_num"] for _ in range(3)] == [0, 1, 2]
    assert KrakenV1().translate(b"{}") == [b"{}"]
