"""A quiet book is compared with the venue's own levels, and stays only where they agree."""

import json
import random
from decimal import Decimal

import pytest

from adapters import audit
from adapters.codec import BadReply
from adapters.feed import PublicFeed
from adapters.offset import ClockOffset
from adapters.okx import OkxCodec
from adapters.registry import VenueConfig
from engine.clock import NS_PER_MS, NS_PER_S, VirtualClock
from engine.messages.market import BookDelta, VenueBook
from engine.messages.port import Instrument
from engine.trading.book import Book

BIDS, ASKS = [("10.0", "1"), ("9.5", "2")], [("10.5", "3"), ("11", "4")]
# Each venue's documented answer with these levels.
ANSWERS = {
    "BINANCE": {"lastUpdateId": "7", "bids": BIDS, "asks": ASKS},
    "OKX": {"code": "0", "data": [{"bids": [[p, q, "0", "1"] for p, q in BIDS],
                                   "asks": [[p, q, "0", "1"] for p, q in ASKS], "ts": "1"}]},
    "KUCOIN": {"code": "200000", "data": {"time": "1", "sequence": "9", "bids": BIDS, "asks": ASKS}},
    "BYBIT": {"retCode": "0", "result": {"s": "BTCUSDT", "b": BIDS, "a": ASKS, "u": "1"}},
    "KRAKEN": {"error": [], "result": {"XXBTZUSD": {
        "bids": [[p, q, "1616663113"] for p, q in BIDS],
        "asks": [[p, q, "1616663113"] for p, q in ASKS]}}},
    "COINBASE": {"pricebook": {"product_id": "BTC-USD",
                               "bids": [{"price": p, "size": q} for p, q in BIDS],
                               "asks": [{"price": p, "size": q} for p, q in ASKS]}},
}  # fmt: skip


def book(bids=BIDS, asks=ASKS):
    held = Book(2, 2)
    held.load(bids, asks)
    return held


def theirs(bids=BIDS, asks=ASKS):
    return BookDelta("BTC/USDT", 0, 0, None, bids, asks, 0, is_snapshot=True)


@pytest.mark.parametrize("venue", sorted(ANSWERS))
def test_each_venues_answer_is_read_and_agrees(venue):
    depth = getattr(audit, venue)
    assert audit.disagreement(book(), depth.read(ANSWERS[venue], "BTC/USDT")) == ""
    assert "XY" in depth.call("XY").params.values()
    for odd in ({}, [], {"data": []}, {"result": {}}, {"bids": [["1"]], "asks": []}):
        with pytest.raises(BadReply):
            depth.read(odd, "BTC/USDT")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (theirs(), ""),
        (theirs([("10.00", "1.0"), ("9.50", "2")]), ""),
        (theirs([("10.0", "1"), ("9.5", "2.5")]), "bid 2: 2 at 9.5 here, 2.5 at 9.5 there"),
        (theirs(asks=[("11", "4")]), "ask 1: 3 at 10.5 here, 4 at 11 there"),
        (theirs(BIDS[:1]), "bid 2: 2 at 9.5 here, nothing there"),
        (theirs([*BIDS, ("9", "1")]), "bid 3: nothing here, 1 at 9 there"),
    ],
)
def test_the_first_difference_is_named(answer, found):
    assert _plain(audit.disagreement(book(), answer)) == found


def _plain(text):
    return " ".join(
        f"{Decimal(word).normalize():f}" if word.replace(".", "").isdigit() else word
        for word in text.split(" ")
    )


def test_what_lies_deeper_than_is_compared_is_not_judged():
    deep = [(str(100 - n), "1") for n in range(30)]
    assert audit.disagreement(book(deep), theirs(deep[:20])) == ""
    assert audit.disagreement(book(deep[:12]), theirs(deep[:20])) == ""


class Rig:
    """A feed of one OKX book on a clock that moves only when told to."""

    def __init__(self, quiet_after_s=60):
        self.clock, self.sink, self.asked, self.place = VirtualClock(), [], [], True
        self.feed = PublicFeed(
            VenueConfig("okx", "okx", "okx.main", ("BTC/USDT",), quiet_after_s=quiet_after_s),
            OkxCodec("okx", "okx.main", {"BTC-USDT": "BTC/USDT"}),
            clock=self.clock,
            rng=random.Random(1),
            deliver=self.sink.append,
            ask_snapshot=lambda _: None,
            ask_clock=lambda: None,
            offset=ClockOffset(self.clock),
            ask_audit=self.ask,
        )
        tick = Decimal("0.1")
        self.feed.set_instruments([Instrument("okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT", tick, tick,
                                              tick, None, tick, tick, tick)])  # fmt: skip
        self.feed.on_open()
        self.say({"event": "subscribe", "arg": {"channel": "books", "instId": "BTC-USDT"}})
        self.book("snapshot", 5, -1)

    def ask(self, instrument):
        if self.place:
            self.asked.append(instrument.venue_symbol)
        return self.place

    def say(self, words):
        self.feed.on_frame(json.dumps(words).encode(), self.clock.wall_ns(), self.clock.mono_ns())

    def book(self, action, seq, previous, bids=BIDS, asks=ASKS):
        rows = [[[p, q, "0", "1"] for p, q in side] for side in (bids, asks)]
        data = {"bids": rows[0], "asks": rows[1], "ts": str(self.clock.wall_ns() // NS_PER_MS),
                "checksum": 0, "seqId": seq, "prevSeqId": previous}  # fmt: skip
        self.say(
            {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": action, "data": [data]}
        )

    def wait(self, seconds):
        self.clock.advance_ns(int(seconds * NS_PER_S))
        self.feed.on_tick(self.clock.mono_ns())

    def states(self):
        return [(m.state, m.reason) for m in self.sink if isinstance(m, VenueBook)]


def test_a_book_that_moves_is_not_asked_about_and_a_quiet_one_once():
    rig = Rig()
    rig.wait(59)
    rig.book("update", 6, 5, [("10.0", "2")], [])
    rig.wait(59)
    assert rig.asked == []
    rig.wait(1)
    rig.wait(1)
    assert rig.asked == ["BTC-USDT"]
    rig.feed.on_audit("BTC/USDT", theirs([("10.0", "2"), ("9.5", "2")]))
    assert rig.states()[-1] == ("LIVE", "")
    rig.wait(58)
    assert len(rig.asked) == 1
    rig.wait(60)
    assert len(rig.asked) == 2, "agreement counts for as long as an update"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (theirs(BIDS[1:]), "audit_disagrees"),
        (None, "audit_failed"),
        (theirs([("x", "1")]), "audit_disagrees"),
    ],
)
def test_a_quiet_book_leaves_where_the_venue_disagrees_or_does_not_say(answer, reason):
    rig = Rig()
    rig.wait(60)
    rig.feed.on_audit("BTC/USDT", answer)
    assert rig.states()[-2:] == [("GAP", reason), ("SYNCING", f"after_{reason}")]
    assert rig.feed.gaps == 1
    assert "BTC/USDT" in rig.feed.last_problem
    rig.book("snapshot", 9, -1)
    assert rig.states()[-1] == ("LIVE", "")


def test_a_book_that_moved_while_the_venue_was_asked_is_not_judged_by_the_answer():
    rig = Rig()
    rig.wait(60)
    rig.clock.advance_ns(1)
    rig.book("update", 6, 5, [("10.0", "2")], [])
    rig.feed.on_audit("BTC/USDT", theirs())
    assert rig.states()[-1] == ("LIVE", "")
    assert rig.feed.gaps == 0


def test_nobody_is_asked_without_a_place_for_the_question_while_the_link_is_down_or_never():
    rig = Rig()
    rig.place = False
    rig.wait(60)
    rig.place = True
    rig.wait(0.05)
    assert len(rig.asked) == 1
    rig.feed.on_down("cut")
    rig.feed.on_audit("BTC/USDT", theirs(BIDS[1:]))
    rig.wait(600)
    assert len(rig.asked) == 1
    assert rig.states()[-1] == ("STALE", "disconnected")
    never = Rig(quiet_after_s=0)
    never.wait(6000)
    assert never.asked == []
