"""How each venue's numbering proves a book, and what breaks the proof."""

from decimal import Decimal
from zlib import crc32

from engine.messages.market import BookDelta
from engine.trading import keeper as module
from engine.trading.instrument import decimals_of, written_decimals
from engine.trading.keeper import BookKeeper

BIDS, ASKS = [("1.00", "1")], [("2.00", "1")]


def message(last, bids=(), asks=(), *, first=None, previous=None, checksum=0, snapshot=False):
    first = last if first is None else first
    return BookDelta("X", first, last, previous, list(bids), list(asks), last,
                     checksum=checksum, is_snapshot=snapshot)  # fmt: skip


def snapshot(last, bids=BIDS, asks=ASKS, **more):
    return message(last, bids, asks, snapshot=True, **more)


def keeper_of(policy, **more):
    keeper = BookKeeper("X", policy, 2, 3, **more)
    keeper.begin()
    return keeper


def where(keeper):
    return keeper.state, keeper.reason


def test_what_others_know_to_be_wrong_loses_a_book_that_was_trusted():
    keeper = BookKeeper("X", "conn_seq", 2, 3)
    keeper.lose("the connection skipped a number")
    assert where(keeper) == ("EMPTY", "never_synced")
    keeper.begin()
    keeper.on_delta(snapshot(5))
    assert keeper.state == "LIVE"
    keeper.lose("the connection skipped a number")
    assert where(keeper) == ("GAP", "the connection skipped a number")
    assert keeper.wants_snapshot


def test_diffs_that_name_their_predecessor_join_where_the_snapshot_stands():
    keeper = keeper_of("U_u")
    keeper.on_snapshot(snapshot(10))
    keeper.on_delta(message(10, [("1.10", "1")], first=8, previous=7))
    assert (keeper.state, keeper.book.best_bid) == ("LIVE", 110)
    keeper.on_delta(message(15, [("1.20", "1")], first=14, previous=10))
    assert (keeper.state, keeper.book.best_bid) == ("LIVE", 120), "ids jump, the chain holds"
    keeper.on_delta(message(20, first=16, previous=14))
    assert where(keeper) == ("GAP", "sequence")


def test_a_service_that_starts_anew_may_number_from_one_again():
    keeper = keeper_of("u_plus_1")
    keeper.on_delta(snapshot(50))
    keeper.on_delta(message(51, [("1.10", "1")], previous=50))
    assert (keeper.state, keeper.sequence) == ("LIVE", 51)
    keeper.on_delta(snapshot(1, [("1.30", "1")]))
    assert (keeper.state, keeper.book.best_bid, keeper.sequence) == ("LIVE", 130, 1)
    keeper.on_delta(message(3, previous=2))
    assert where(keeper) == ("GAP", "sequence")


def test_a_snapshot_older_than_what_the_stream_has_said_is_asked_for_again():
    keeper = keeper_of("u_plus_1")
    keeper.on_delta(snapshot(50))
    keeper.on_delta(snapshot(40))
    assert where(keeper) == ("GAP", "snapshot_too_old")
    keeper.begin()
    keeper.on_delta(snapshot(49))
    assert where(keeper) == ("SYNCING", "snapshot_too_old")
    assert keeper.wants_snapshot
    keeper.on_delta(snapshot(50))
    assert keeper.state == "LIVE"


def kraken(bid="100", ask="200"):
    """Kraken's checksum of one level a side of quantity 1, at 2 and 3 decimals."""
    return crc32(f"{ask}1000{bid}1000".encode())


def test_without_ids_the_checksum_over_the_touch_tells():
    keeper = keeper_of("crc32_top10", decimals=(2, 3))
    keeper.on_delta(snapshot(5, checksum=kraken()))
    assert (keeper.state, keeper.checksum_ok) == ("LIVE", 1)
    keeper.on_delta(message(6, [("1.00", "0"), ("1.50", "1")], checksum=kraken(bid="150")))
    assert (keeper.state, keeper.checksum_ok) == ("LIVE", 2)
    keeper.on_delta(message(7, [("1.60", "1")], checksum=kraken()))
    assert (*where(keeper), keeper.checksum_bad) == ("GAP", "checksum", 1)


def test_a_snapshot_behind_updates_waits_until_an_update_confirms_it():
    keeper = keeper_of("crc32_top10", decimals=(2, 3))
    keeper.on_delta(message(9))
    keeper.on_delta(snapshot(5, checksum=kraken()))
    assert where(keeper) == ("SYNCING", "unconfirmed")
    # Not the same snapshot once more: a late frame that comes twice is as late as before.
    keeper.on_delta(snapshot(5, checksum=kraken()))
    assert where(keeper) == ("SYNCING", "unconfirmed")
    keeper.on_delta(message(10, [("1.00", "0"), ("1.50", "1")], checksum=kraken(bid="150")))
    assert keeper.state == "LIVE"


def levels(low, count):
    return [(f"{low + n}.00", "1") for n in range(count)]


def test_of_a_partial_book_nothing_beyond_its_last_level_is_believed(monkeypatch):
    monkeypatch.setattr(module, "KUCOIN_PART", 3)
    monkeypatch.setattr(module, "LEVELS_MIN", 2)
    keeper = keeper_of("start_end")
    keeper.on_snapshot(snapshot(10, levels(97, 3), levels(101, 2)))
    keeper.on_delta(message(11, [("90.00", "5", "11")], [("150.00", "5", "11")], first=11))
    assert keeper.state == "LIVE"
    assert keeper.book.bids.top(9)[::2] == [9900, 9800, 9700], "what is below 97 nobody has told"
    assert keeper.book.asks.top(9)[::2] == [10100, 10200, 15000], "all asks are known"
    keeper.on_delta(message(13, [("99.00", "0", "12"), ("98.00", "0", "13")], first=12))
    assert where(keeper) == ("GAP", "too_few_levels")


def test_changes_that_the_snapshot_has_already_do_not_come_back():
    keeper = keeper_of("start_end")
    keeper.on_snapshot(snapshot(10, levels(97, 3), levels(101, 2)))
    rows = [("99.00", "0", "9"), ("98.00", "0", "11")]
    keeper.on_delta(message(11, rows, [("101.00", "0", "10")], first=9))
    assert keeper.state == "LIVE"
    assert keeper.book.bids.top(9)[::2] == [9900, 9700]
    assert keeper.book.asks.top(9)[::2] == [10100, 10200]


def test_a_step_is_written_with_more_decimals_than_it_needs():
    assert (written_decimals(Decimal("0.10")), decimals_of(Decimal("0.10"))) == (2, 1)
    assert written_decimals(Decimal(10)) == 0
