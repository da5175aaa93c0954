"""C10, C11, C12 and C14: books and links, and what may not disturb them."""

import socket
from functools import partial
from threading import Lock
from typing import Any, Final, Self

from adapters.conformance_bench import Bench, book_is, check
from adapters.conformance_suite import Suite
from adapters.outbox import Outbox
from adapters.registry import Timeouts, dialect
from engine.envelope import decode_body
from engine.messages.base import Message
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterFailed,
    CancelResult,
    FillReport,
    LinkChanged,
    OrderReport,
    SubmitResult,
)
from engine.trading.instrument import unscale
from engine.venue_wire import Reader, Writer

LOOK_S: Final = 0.1
STRIKES: Final = 5
OFTEN: Final = Timeouts(ping_every_s=0.3, ping_answer_s=0.8)
YOUNG: Final = Timeouts(link_age_s=0.8)
BOOKS_ENOUGH: Final = 20
BOOKS_WITHIN_S: Final = 3.0
ORDERS: Final = 5
NOISE: Final = (
    b"", b"garbage", b"\xff\xfe\x00", b"[]", b"{}", b"null", b"[" * 5_000, b'"text"', b"1e999999",
    b'{"a":1}', b'{"e":"nobodyKnows","E":1}', b'{"event":"nobodyKnows"}', b'{"channel":"none"}',
    b'{"arg":{"channel":"none"},"data":[{}]}', b'{"type":"message","topic":"none","data":{}}',
    b'{"x":"' + b"y" * 1_000_000 + b'"}',
)  # fmt: skip


# --- C10 ------------------------------------------------------------------------------------------


def book(suite: Suite) -> None:
    """Every LIVE book is sorted, not crossed and no older than the one before."""
    bench = suite.main
    bench.live()
    bench.until(lambda: len(bench.found(VenueBook)) > BOOKS_ENOUGH, "books", BOOKS_WITHIN_S * 5)
    last: dict[str, int] = {}
    for seen in bench.found(VenueBook, lambda b: b.state == "LIVE"):
        bids, asks = seen.bid_prices, seen.ask_prices
        check(bids == sorted(bids, reverse=True) and asks == sorted(asks), "a book is not sorted")
        check(not bids or not asks or bids[0] < asks[0], f"{seen.symbol} is crossed and LIVE")
        check(all(q > 0 for q in (*seen.bid_quantities, *seen.ask_quantities)), "an empty level")
    for seen in bench.found(VenueBook, lambda b: b.state != "LIVE"):
        check(not seen.bid_prices and not seen.ask_prices, f"levels in a {seen.state} book")
        last.pop(seen.symbol, None)


def book_under_faults(suite: Suite) -> None:
    """Lost, doubled, swapped and wrong messages never leave a wrong LIVE book."""
    bench, stage = suite.main, suite.staged
    proof = dialect(bench.config).codec.verification
    noticed = {"ws_gap": 2}
    if "checksum" in proof:  # over the best levels: some of these frames are about others
        noticed["ws_corrupt_level"] = 50
    for kind, count in noticed.items():
        mark = bench.mark()
        with stage.faulty(kind, "book", count):
            gap = bench.wait(VenueBook, lambda b: b.state == "GAP", mark)
        check(not gap.bid_prices, "levels in a lost book")
        bench.live(bench.place_of(gap), [gap.symbol])
    kinds = ["ws_duplicate", "ws_reorder", "ws_gap"]
    if proof != "connection_sequence":  # which numbers a stale snapshot like any other message
        kinds.append("stale_snapshot")
    for _ in range(STRIKES):
        stage.fault(suite.at.rng.choice(kinds), "book")
    mark = bench.mark()
    bench.until(lambda: len(bench.found(VenueBook, since=mark)) > BOOKS_ENOUGH, "books")
    stage.clear()
    books_equal(suite, bench)


def books_equal(suite: Suite, bench: Bench) -> None:
    """Hold the market still and wait until each book is the venue's."""
    depth = min(bench.config.depth, dialect(bench.config).codec.levels_max)
    suite.staged.act("flow", on=False)
    for symbol in bench.config.symbols:
        wanted = suite.staged.book(symbol, depth)
        is_equal = partial(_is_equal, bench, symbol, depth, wanted)
        bench.until(is_equal, f"{symbol} equals the venue's book")
    suite.staged.act("flow", on=True)


def _is_equal(bench: Bench, symbol: str, depth: int, wanted: Any) -> bool:
    return bool(_sides(bench, symbol, depth) == wanted)


def _sides(bench: Bench, symbol: str, depth: int) -> Any:
    seen = bench.found(VenueBook, lambda b: b.symbol == symbol)[-1]
    if seen.state != "LIVE":
        return None
    return tuple(
        [
            (unscale(p, seen.price_exponent), unscale(q, seen.quantity_exponent))
            for p, q in zip(prices[:depth], quantities[:depth], strict=True)
        ]
        for prices, quantities in (
            (seen.bid_prices, seen.bid_quantities), (seen.ask_prices, seen.ask_quantities),
        )
    )  # fmt: skip


# --- C11 ------------------------------------------------------------------------------------------


def link(suite: Suite) -> None:
    """A connection that ends takes its books with it at once; the next one brings each of them back."""
    with suite.bench(books=True) as bench:
        mark = bench.mark()
        held = bench.session.public.link
        assert held is not None, "started"
        held.reconnect("conformance")
        _down_and_up(bench, mark)


def _down_and_up(bench: Bench, mark: int, link: str = "public") -> LinkChanged:
    down = bench.wait(LinkChanged, lambda m: m.link == link and not m.up, mark)
    check(down.reason, "down without a reason")
    at = bench.place_of(down)
    if link == "public":
        for symbol in bench.config.symbols:
            stale = bench.wait(VenueBook, book_is(symbol), at)
            check(stale.state != "LIVE" and not stale.bid_prices, f"{symbol} is {stale.state}")
        bench.live(at)
    bench.wait(LinkChanged, lambda m: m.link == link and m.up, at)
    return down


def link_under_faults(suite: Suite) -> None:
    """Cut, silent, aged and announced ends are noticed and mended; what was missed is recovered."""
    stage = suite.staged
    with suite.bench(books=True, timeouts=YOUNG) as bench:
        old = bench.wait(LinkChanged, lambda m: m.link == "public" and not m.up)
        check("age" in old.reason, f"renewed for {old.reason}")
    with suite.bench(books=True, timeouts=OFTEN) as bench:
        order = bench.order()
        bench.accepted(order)
        mark = bench.mark()
        stage.fault("ws_half_open", "any")
        bench.linked(bench.place_of(_down_and_up(bench, mark)))
        mark = bench.mark()
        stage.fault("ws_drop", "any")
        stage.act("fill", client_order_id=order.client_order_id)  # while nobody listens
        _down_and_up(bench, mark)
        _down_and_up(bench, mark, "private")
        bench.linked(mark)
        wanted = order.client_order_id
        missed = [f for f in bench.reconcile().fills if f.client_order_id == wanted]
        check(sum(f.quantity for f in missed) == order.quantity, "a fill is lost with its stream")
        mark = bench.mark()
        stage.fault("venue_restart", down_ms=0)
        _down_and_up(bench, mark)
        bench.linked(mark)
        books_equal(suite, bench)


# --- C12 ------------------------------------------------------------------------------------------


class _Slow:
    # A core that does not read: the far end of an outbox.
    def __init__(self, bench: Bench) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.outbox = Outbox(self.theirs, Writer(self.theirs), bench.at.clock)
        self.put: list[Message] = []
        self._bench = bench
        self._lock = Lock()  # so that both lists have one order

    def __enter__(self) -> Self:
        self._bench.also = self.hear
        return self

    def __exit__(self, *_: object) -> None:
        self._bench.also = lambda _: None
        self.outbox.close()
        self.ours.close()
        self.theirs.close()

    def hear(self, message: Message) -> None:
        with self._lock:
            self.put.append(message)
            self.outbox.put(message)

    def read(self) -> list[Message]:
        self._bench.also = lambda _: None
        reader, found = Reader(self.ours, LOOK_S), list[Message]()
        while frames := reader.read():
            found += [decode_body(f.kind, f.body) for f in frames if f.kind[0] != "#"]
        return found


def backlog(suite: Suite) -> None:
    """While nobody reads, one book a symbol is on its way; then comes the newest and none between."""
    bench = suite.main
    with _Slow(bench) as slow:
        bench.until(lambda: len(slow.put) > BOOKS_ENOUGH, "books", BOOKS_WITHIN_S * 5)
        first = [m for m in slow.read() if isinstance(m, VenueBook)]
        slow.outbox.taken(len(slow.put), 0)
        second = [m for m in slow.read() if isinstance(m, VenueBook)]
        for symbol in bench.config.symbols:
            said = [b for b in slow.put if isinstance(b, VenueBook) and b.symbol == symbol]
            early, late = ([b for b in part if b.symbol == symbol] for part in (first, second))
            check(len(early) <= 1 and len(late) <= 1, f"{len(early)} and {len(late)} of {symbol}")
            if len(said) > 1:
                check(
                    [b.sequence for b in late] == [said[-1].sequence], f"{symbol} is not the newest"
                )


def backlog_of_orders(suite: Suite) -> None:
    """While nobody reads, every event of an order waits, in its order."""
    bench = suite.main
    kinds = (SubmitResult, CancelResult, OrderReport, FillReport)
    with _Slow(bench) as slow:
        for _ in range(ORDERS):
            order = bench.order(post_only=True)
            bench.accepted(order)
            bench.cancel(order)
            bench.told(order, "CANCELED")
        got = [m for m in slow.read() if isinstance(m, kinds)]
        check(got == [m for m in slow.put if isinstance(m, kinds)], "an event is lost or moved")
        check(len(got) >= 4 * ORDERS, f"{len(got)} events")


# --- C14 ------------------------------------------------------------------------------------------


def isolation(suite: Suite) -> None:
    """Malformed, huge and unknown frames are counted; link and session live on."""
    bench = suite.main
    mark, clock = bench.mark(), bench.at.clock
    session = bench.session
    feeds = [session.public] + ([session.private] if bench.config.api_key else [])
    for feed in feeds:
        before = sum(feed.problems.values())
        for noise in NOISE:
            feed.on_frame(noise, clock.wall_ns(), clock.mono_ns())
        check(sum(feed.problems.values()) > before, "not one of them was counted")
    bench.live(bench.mark())
    check(not bench.found(AdapterFailed, since=mark), "the session crashed")
    check(not bench.found(LinkChanged, lambda m: not m.up, mark), "a link was given up for it")
