"""A book that arrives late is not a live book, however fast it is read."""

import random
from decimal import Decimal
from itertools import pairwise

from adapters.feed import PublicFeed
from adapters.offset import ClockOffset
from adapters.registry import VenueConfig, dialect
from engine.clock import NS_PER_MS, NS_PER_S, VirtualClock
from engine.messages.market import LinkAlive, VenueBook
from engine.messages.port import Instrument

BTC = Instrument(
    "okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.00001"),
    Decimal("0.00001"), None, Decimal(1), Decimal(0), Decimal(0),
)  # fmt: skip


def frame(action, ts_ms, seq, previous):
    return (
        f'{{"arg":{{"channel":"books","instId":"BTC-USDT"}},"action":"{action}","data":[{{'
        f'"asks":[["101","1","0","1"]],"bids":[["100","1","0","1"]],"ts":"{ts_ms}",'
        f'"checksum":0,"seqId":{seq},"prevSeqId":{previous}}}]}}'
    ).encode()


def make(clock, told, asked, **config):
    offset = ClockOffset(clock)
    config = VenueConfig("okx", "okx", "okx.main", ("BTC/USDT",), stale_after_ms=2000, **config)
    offset.update([(clock.mono_ns(), clock.mono_ns(), clock.wall_ns() // NS_PER_MS)])
    feed = PublicFeed(
        config, dialect(config).codec, clock=clock, rng=random.Random(1), deliver=told.append,
        ask_snapshot=lambda _: None, ask_clock=lambda: asked.append(1), offset=offset,
    )  # fmt: skip
    feed.set_instruments([BTC])
    feed.on_open()
    return feed


def test_frames_that_waited_on_their_way_make_the_book_stale_until_they_have_caught_up():
    clock, told, asked = VirtualClock(), [], []
    now_ms = clock.wall_ns() // NS_PER_MS
    feed = make(clock, told, asked)
    feed.on_frame(frame("snapshot", now_ms, 10, -1), clock.wall_ns(), clock.mono_ns())

    def book():
        return next(m for m in reversed(told) if isinstance(m, VenueBook))

    assert (book().state, book().bid_quantities) == ("LIVE", [10**8])
    clock.advance_ns(60 * NS_PER_S)  # the process was stopped; this frame lay in the socket
    feed.on_frame(frame("update", now_ms + 100, 11, 10), clock.wall_ns(), clock.mono_ns())
    assert (book().state, book().reason, book().bid_prices) == ("STALE", "lagging", [])
    feed.on_frame(frame("update", now_ms + 200, 12, 11), clock.wall_ns(), clock.mono_ns())
    assert len(asked) == 1
    feed.on_frame(frame("update", now_ms + 60_000, 13, 12), clock.wall_ns(), clock.mono_ns())
    assert (book().state, book().sequence) == ("LIVE", 13)


def test_each_frame_proves_that_the_link_lives_which_is_told_ten_times_a_second():
    clock, told = VirtualClock(), []
    feed = make(clock, told, [])
    for _ in range(40):
        feed.on_frame(b'{"event":"subscribe"}', clock.wall_ns(), clock.mono_ns())
        clock.advance_ns(25 * NS_PER_MS)
    lives = [m.mono_ns for m in told if isinstance(m, LinkAlive)]
    assert [later - one for one, later in pairwise(lives)] == [100 * NS_PER_MS] * (len(lives) - 1)
    assert len(lives) in (9, 10)


def test_a_book_is_held_back_until_its_interval_is_over_and_then_told_with_its_newest_state():
    clock, told = VirtualClock(), []
    feed = make(clock, told, [], publish_interval_ms=50)
    now_ms = clock.wall_ns() // NS_PER_MS
    feed.on_frame(frame("snapshot", now_ms, 10, -1), clock.wall_ns(), clock.mono_ns())
    told.clear()
    for n in range(10, 13):
        clock.advance_ns(10 * NS_PER_MS)
        feed.on_frame(frame("update", now_ms, n + 1, n), clock.wall_ns(), clock.mono_ns())
        feed.on_tick(clock.mono_ns())
    assert not told
    clock.advance_ns(20 * NS_PER_MS)
    feed.on_tick(clock.mono_ns())
    assert [book.sequence for book in told] == [13]
    feed.on_tick(clock.mono_ns())
    assert len(told) == 1
