"""P1: recorded frames -> verified book -> published consolidated top 20, frames per second of CPU.

Ours: the real codec, the real feed with its keeper (sequence checks, exact integers, crossed book
check), a VenueBook per frame, the real Consolidator over two venues, the ConsolidatedBook encoded as
it leaves for its readers. Both venues get the same recorded frames, in turn.
Floor: typed decode to floats and a sorted-list book, no checks, nothing published.
ccxt.pro: its binance handler on the same bytes: JSON, sequence check, float book, futures resolved.
"""

import asyncio
import gc
import random
import time
from bisect import bisect_left
from collections import deque
from decimal import Decimal

import msgspec

from adapters.binance import BinanceCodec
from adapters.feed import PublicFeed
from adapters.offset import ClockOffset
from adapters.registry import VenueConfig
from bench import recorded
from bench.peers.ccxt_pro import ccxt_pro
from bench.peers.environment import ask
from bench.recorded import Session
from bench.report import Beside, Options, Result, median, spread
from engine import collector
from engine.clock import SystemClock
from engine.envelope import decode_body, raw_body
from engine.messages.base import Message
from engine.messages.market import BookDelta, ConsolidatedBook, VenueBook
from engine.messages.port import Instrument
from engine.trading.consolidated import Consolidator

VENUES = ("binance", "second")
DEPTH = 20
TARGET_CCXT, TARGET_CRYPTOFEED = 1.5, 2.0
FEED = "cryptofeed, callback reads its top 20"
STALE_NS = 60_000_000_000


def run(options: Options) -> dict[str, Result]:
    session = recorded.load()
    if options.quick:
        session = session._replace(frames=session.frames[:200])
    collector.settle()  # as the core does; all sides run under it
    rounds: dict[str, list[float]] = {"core": [], "floor": [], "floor20": [], "ccxt": []}
    for _ in range(options.repeats):  # in turn, so that all see the same noise
        rounds["core"].append(core(session, complete=not options.quick))
        rounds["floor"].append(floor(session, publish=False))
        rounds["floor20"].append(floor(session, publish=True))
        rounds["ccxt"].append(asyncio.run(ccxt_pro(session, complete=not options.quick)))
    ours, peer = median(rounds["core"]), median(rounds["ccxt"])
    bare, bare20 = median(rounds["floor"]), median(rounds["floor20"])
    unit = "frames/s"
    mean = session.levels / len(session.frames)
    other, why_not = ask("cryptofeed", options.repeats)
    feed = None if other is None else float(other["rows"][-1][1])
    return {
        "P1": Result(
            value=ours,
            unit=unit,
            reference="ccxt.pro binance handler",
            reference_value=peer,
            ratio=round(ours / peer, 3),
            target=f">= {TARGET_CCXT} x; >= {TARGET_CRYPTOFEED:g} x cryptofeed",
            met=ours >= TARGET_CCXT * peer and (feed is None or ours >= TARGET_CRYPTOFEED * feed),
            beside=[
                *([] if feed is None else [Beside(FEED, feed, unit, round(ours / feed, 3))]),
                Beside("floor: typed decode + book", bare, unit, round(ours / bare, 3)),
                Beside("floor + one venue's top 20 encoded", bare20, unit, round(ours / bare20, 3)),
            ],
            notes=[
                f"Binance spot 2021-04-04: {len(session.frames)} frames of {mean:.1f} levels",
                *(f"{name} {spread(values)}" for name, values in rounds.items()),
                *([] if feed is not None else [f"{FEED}: {why_not}"]),
            ],
        )
    }


# --- ours -----------------------------------------------------------------------------------------


class Reader:
    """Takes what the feeds deliver, merges it, and encodes what would be published."""

    def __init__(self) -> None:
        self.clock = SystemClock()
        self.books = Consolidator(stale_after_ns=dict.fromkeys(VENUES, STALE_NS), depth=DEPTH)
        self.outbox: deque[msgspec.Raw] = deque(maxlen=100)
        self.published = 0

    def deliver(self, message: Message) -> None:
        """Do with a venue's book what the book actor does."""
        if isinstance(message, VenueBook):
            self.books.update(message)
            book = self.books.publish(message.symbol, self.clock.mono_ns())
            self.outbox.append(raw_body(book))
            self.published += 1


def core(session: Session, *, complete: bool) -> float:
    reader = Reader()
    feeds = [_feed(venue, session, reader) for venue in VENUES]
    clock = reader.clock
    before = reader.published
    gc.collect()
    began = time.process_time()
    for raw in session.frames:
        for feed in feeds:
            feed.on_frame(raw, clock.wall_ns(), clock.mono_ns())
    took = time.process_time() - began
    frames = len(session.frames) * len(feeds)
    assert reader.published - before == frames, "a frame was not published"
    assert all(feed.gaps == 0 and not feed.problems for feed in feeds), "a book was lost"
    if complete:
        _check(session, reader)
    return frames / took


def _check(session: Session, reader: Reader) -> None:
    read = {}
    for raw in reader.outbox:
        book = decode_body("ConsolidatedBook", raw)
        assert isinstance(book, ConsolidatedBook), "not what was published"
        read[book.symbol] = book
    for symbol, last in session.last_ids.items():
        for venue in VENUES:
            held = reader.books.venue_book(symbol, venue)
            assert held is not None, "a venue is missing"
            assert (held.sequence, held.state) == (last, "LIVE"), "a book is not at its end"
        book = read[symbol]
        assert len(book.bids) == len(book.asks) == DEPTH, "the book is not 20 levels deep"
        assert {q.state for q in book.venues} == {"LIVE"}, "a venue does not count"


def _feed(venue: str, session: Session, reader: Reader) -> PublicFeed:
    symbols = {symbol: symbol for symbol in session.snapshots}
    config = VenueConfig(venue, "binance", f"{venue}.main", tuple(symbols), depth=DEPTH)
    offset = ClockOffset(reader.clock)
    now_ns = reader.clock.mono_ns()
    offset.update([(now_ns, now_ns, session.began_ms)])
    feed = PublicFeed(
        config,
        BinanceCodec(venue, config.account, symbols),
        clock=reader.clock,
        rng=random.Random(1),
        deliver=reader.deliver,
        ask_snapshot=lambda _: None,
        ask_clock=lambda: None,
        offset=offset,
    )
    feed.set_instruments([_instrument(venue, s, *session.decimals[s]) for s in symbols])
    feed.on_open()
    feed.on_frame(b'{"result":null,"id":1}', reader.clock.wall_ns(), now_ns)
    for symbol, held in session.snapshots.items():
        last = held.lastUpdateId
        feed.on_snapshot(BookDelta(symbol, last, last, None, held.bids, held.asks, 0, True))
    return feed


def _instrument(venue: str, symbol: str, price: int, quantity: int) -> Instrument:
    tick, lot = Decimal(1).scaleb(-price), Decimal(1).scaleb(-quantity)
    zero = Decimal(0)
    return Instrument(venue, symbol, symbol, symbol, "USDT", tick, lot, lot, None, zero, zero, zero)


# --- the floor ------------------------------------------------------------------------------------


class _Data(msgspec.Struct, gc=False):
    s: str
    U: int
    u: int
    b: list[tuple[float, float]]
    a: list[tuple[float, float]]
    E: int = 0


class _Frame(msgspec.Struct, gc=False):
    stream: str
    data: _Data


class _Top(msgspec.Struct, array_like=True, gc=False):
    venue: str
    symbol: str
    last: int
    event_ms: int
    bids: list[tuple[float, float]]
    asks: list[tuple[float, float]]


class _Side:
    __slots__ = ("keys", "rows", "sign")

    def __init__(self, sign: int, rows: list[tuple[float, float]]) -> None:
        self.sign = sign
        self.rows = sorted(rows, key=lambda row: row[0] * sign)
        self.keys = [row[0] * sign for row in self.rows]

    def apply(self, levels: list[tuple[float, float]]) -> None:
        keys, rows, sign = self.keys, self.rows, self.sign
        for row in levels:
            key = row[0] * sign
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                if row[1]:
                    rows[at] = row
                else:
                    del keys[at], rows[at]
            elif row[1]:
                keys.insert(at, key)
                rows.insert(at, row)


def floor(session: Session, *, publish: bool) -> float:
    decode = msgspec.json.Decoder(_Frame, strict=False).decode
    encode = msgspec.msgpack.Encoder().encode
    books = {
        symbol: (_Side(1, _floats(held.bids)), _Side(-1, _floats(held.asks)))
        for symbol, held in session.snapshots.items()
    }
    outbox: deque[bytes] = deque(maxlen=100)
    gc.collect()
    began = time.process_time()
    for raw in session.frames:
        data = decode(raw).data
        bids, asks = books[data.s]
        bids.apply(data.b)
        asks.apply(data.a)
        if publish:
            top = (bids.rows[: -DEPTH - 1 : -1], asks.rows[: -DEPTH - 1 : -1])
            outbox.append(encode(_Top("binance", data.s, data.u, data.E, *top)))
    return len(session.frames) / (time.process_time() - began)


def _floats(rows: list[tuple[str, str]]) -> list[tuple[float, float]]:
    return [(float(price), float(quantity)) for price, quantity in rows]
