"""What the feed does when a codec or a keeper says that a book cannot be trusted any more."""

import json
import random
from decimal import Decimal
from zlib import crc32

import pytest

from adapters.coinbase import CoinbaseCodec
from adapters.feed import ASKED_MAX, UNCONFIRMED_MAX, PublicFeed
from adapters.kraken import KrakenCodec
from adapters.offset import ClockOffset
from adapters.registry import VenueConfig
from engine.clock import NS_PER_S, VirtualClock
from engine.messages.market import VenueBook
from engine.messages.port import Instrument

CODECS = {"coinbase": (CoinbaseCodec, "BTC-USD"), "kraken": (KrakenCodec, "BTC/USD")}
TS = "2023-10-06T17:35:55.440295Z"


class Link:
    """What a feed asks of its link."""

    def __init__(self):
        self.sent, self.ended = [], []

    def send(self, texts):
        self.sent += texts

    def reconnect(self, reason):
        self.ended.append(reason)


@pytest.fixture
def feed_of():
    def make(venue):
        codec, theirs = CODECS[venue]
        clock, sink = VirtualClock(), []
        feed = PublicFeed(
            VenueConfig(venue, venue, f"{venue}.main", ("BTC/USD",)),
            codec(venue, f"{venue}.main", {theirs: "BTC/USD"}),
            clock=clock,
            rng=random.Random(1),
            deliver=sink.append,
            ask_snapshot=lambda symbol: None,
            ask_clock=lambda: None,
            offset=ClockOffset(clock),
        )
        # Written with two decimals: that is what Kraken's checksum counts.
        tick, lot = Decimal("0.10"), Decimal("0.01")
        feed.set_instruments([Instrument(venue, "BTC/USD", theirs, "BTC", "USD", tick, lot, lot, None,
                                         Decimal(0), Decimal(0), Decimal(0))])  # fmt: skip
        feed.link = Link()
        feed.on_open()
        return feed, sink, clock

    return make


def states(sink):
    return [(m.state, m.reason) for m in sink if isinstance(m, VenueBook)]


def coinbase(number, kind="update"):
    updates = [{"side": "bid", "price_level": "1.0", "new_quantity": "1"},
               {"side": "offer", "price_level": "2.0", "new_quantity": "1"}]  # fmt: skip
    event = {"type": kind, "product_id": "BTC-USD", "updates": updates}
    frame = {"channel": "l2_data", "timestamp": TS, "sequence_num": number, "events": [event]}
    return json.dumps(frame).encode()


def kraken(text, kind, time=TS):
    row = {"symbol": "BTC/USD", "bids": [{"price": 1.0, "qty": 1}], "asks": [{"price": 2, "qty": 1}],
           "checksum": crc32(text.encode())}  # fmt: skip
    if kind == "update":
        row["timestamp"] = time
    return json.dumps({"channel": "book", "type": kind, "data": [row]}).encode()


def test_a_gap_of_a_connection_publishes_every_book_as_lost_and_ends_the_link(feed_of):
    feed, sink, _ = feed_of("coinbase")
    feed.on_frame(coinbase(0, "snapshot"), 1, 1)
    assert states(sink)[-1] == ("LIVE", "")
    feed.on_frame(coinbase(2), 1, 1)
    assert states(sink)[-2:] == [("GAP", "sequence"), ("SYNCING", "after_sequence")]
    assert feed.link.ended == ["message 2 is not the next of this connection"]
    assert feed.gaps == 1


def test_a_book_that_is_not_proven_any_more_is_published_at_once(feed_of):
    feed, sink, _ = feed_of("kraken")
    right = "200100100100"  # 2.00 x 1.00 asked, 1.00 x 1.00 bid, in hundredths
    feed.on_frame(kraken(right, "snapshot"), 1, 1)
    feed.on_frame(kraken(right, "update"), 1, 1)
    assert states(sink)[-1] == ("LIVE", "")
    feed.on_frame(kraken(right, "snapshot"), 1, 1)  # of when, nobody can tell
    assert states(sink)[-1] == ("SYNCING", "unconfirmed")
    feed.on_frame(kraken(right, "update", TS.replace("55.", "56.")), 1, 1)
    assert states(sink)[-1] == ("LIVE", "")
    feed.on_frame(kraken("wrong", "update", TS.replace("55.", "57.")), 1, 1)
    assert states(sink)[-2:] == [("GAP", "checksum"), ("SYNCING", "after_checksum")]


def test_a_stream_that_gives_no_usable_snapshot_is_made_anew(feed_of):
    feed, _, clock = feed_of("kraken")
    feed.on_frame(b'{"method":"subscribe","result":{"channel":"book"},"success":true}', 1, 1)
    for _ in range(ASKED_MAX):
        clock.advance_ns(60 * NS_PER_S)
        feed.on_tick(clock.mono_ns())
    assert len(feed.link.sent) == 2 * ASKED_MAX  # leave and join
    assert feed.link.ended == []
    clock.advance_ns(60 * NS_PER_S)
    feed.on_tick(clock.mono_ns())
    assert feed.link.ended == [f"no usable snapshot of BTC/USD in {ASKED_MAX} attempts"]


def test_a_book_lost_in_a_market_that_stands_still_is_asked_for_anew_until_it_is_proven(feed_of):
    feed, sink, clock = feed_of("kraken")
    right = "200100100100"
    feed.on_frame(b'{"method":"subscribe","result":{"channel":"book"},"success":true}', 1, 1)
    feed.on_frame(kraken(right, "snapshot"), 1, 1)
    feed.on_frame(kraken("wrong", "update"), 1, 1)
    assert states(sink)[-1] == ("SYNCING", "after_checksum")
    sent = len(feed.link.sent)
    for _ in range(UNCONFIRMED_MAX):
        # Each answer may be as old as it likes, and no update comes to prove it.
        feed.on_frame(kraken(right, "snapshot"), clock.wall_ns(), clock.mono_ns())
        assert states(sink)[-1][0] == "SYNCING"
        clock.advance_ns(2 * NS_PER_S)
        feed.on_tick(clock.mono_ns())
    assert len(feed.link.sent) > sent
    assert feed.link.ended == [f"no usable snapshot of BTC/USD in {UNCONFIRMED_MAX} attempts"]
    feed.on_down("ended")
    feed.on_open()
    feed.on_frame(kraken(right, "snapshot"), clock.wall_ns(), clock.mono_ns())
    assert states(sink)[-1] == ("LIVE", "")  # the first that this connection said


def test_where_the_venues_times_have_gone_back_a_new_connection_proves_the_book_at_once(feed_of):
    feed, sink, clock = feed_of("kraken")
    right = "200100100100"
    feed.on_frame(kraken(right, "snapshot"), 1, 1)
    feed.on_frame(kraken(right, "update"), 1, 1)
    feed.on_frame(kraken(right, "update", TS.replace("55.", "35.")), 1, 1)
    assert states(sink)[-2:] == [("GAP", "sequence"), ("SYNCING", "after_sequence")]
    feed.on_frame(kraken(right, "snapshot"), 1, 1)  # as it was asked for
    assert feed.link.ended == []
    feed.on_frame(kraken(right, "update", TS.replace("55.", "36.")), 1, 1)
    assert feed.link.ended == ["the venue's times have gone back"]
    feed.on_down("ended")
    feed.on_open()
    feed.on_frame(kraken(right, "snapshot"), clock.wall_ns(), clock.mono_ns())
    feed.on_frame(kraken(right, "update", TS.replace("55.", "37.")), 1, 1)
    assert states(sink)[-1] == ("LIVE", "")
