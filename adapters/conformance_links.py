"""C1, C8 to C12 and C14: symbols, limits, keys and clocks, books, links, and what may not disturb them."""

import socket
from functools import partial
from threading import Lock
from typing import Any, Final, Self

from adapters.codec import Secret
from adapters.conformance_bench import Bench, book_is, check
from adapters.conformance_suite import Suite
from adapters.outbox import Outbox
from adapters.registry import ADAPTERS, Timeouts, dialect
from engine.clock import NS_PER_MS, NS_PER_S
from engine.envelope import decode_body
from engine.errors import Refused
from engine.messages.base import Message
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    CancelResult,
    FillReport,
    LinkChanged,
    OrderReport,
    SubmitOrder,
    SubmitResult,
)
from engine.trading.instrument import check_order, unscale
from engine.venue_wire import Reader, Writer

LOOK_S: Final = 0.1
STRIKES: Final = 5
SKEW_MS: Final = 20_000
SKEW_RIGHT_MS: Final = 1_500
OFTEN: Final = Timeouts(ping_every_s=0.3, ping_answer_s=0.8)
YOUNG: Final = Timeouts(link_age_s=0.8)
SILENCE_S: Final = 1
STORM_S: Final = 0.5
BOOKS_ENOUGH: Final = 20
BOOKS_WITHIN_S: Final = 3.0
ORDERS: Final = 5
BURST: Final = 25
NOISE: Final = (
    b"", b"garbage", b"\xff\xfe\x00", b"[]", b"{}", b"null", b"[" * 5_000, b'"text"', b"1e999999",
    b'{"a":1}', b'{"e":"nobodyKnows","E":1}', b'{"event":"nobodyKnows"}', b'{"channel":"none"}',
    b'{"arg":{"channel":"none"},"data":[{}]}', b'{"type":"message","topic":"none","data":{}}',
    b'{"x":"' + b"y" * 1_000_000 + b'"}',
)  # fmt: skip


# --- C1 -------------------------------------------------------------------------------------------


def symbols_map(suite: Suite) -> None:
    """Each symbol has one spelling at the venue and back, and exact rules."""
    bench = suite.main
    ready = bench.found(AdapterReady)[-1]
    spell = ADAPTERS[bench.config.adapter].venue_symbol
    check(
        [i.symbol for i in ready.instruments] == list(bench.config.symbols), "not those asked for"
    )
    for rules in ready.instruments:
        check(f"{rules.base}/{rules.quote}" == rules.symbol, f"{rules.symbol} is of other assets")
        check(rules.tick_size > 0 and rules.lot_size > 0, f"{rules.symbol} has no grid")
        check(spell(rules.symbol), f"{rules.symbol} has no spelling")
    check(len({i.venue_symbol for i in ready.instruments}) == len(ready.instruments),
          "two symbols share a spelling")  # fmt: skip
    check(len({spell(s) for s in bench.config.symbols}) == len(bench.config.symbols),
          "two symbols are subscribed under one spelling")  # fmt: skip


def symbols_refused(suite: Suite) -> None:
    """An unknown symbol never becomes ready, and says so; a halted one is refused here and there."""
    with suite.bench(start=False, symbols=(suite.config.symbols[0], "QQQ/ZZZ")) as bench:
        bench.adapter.start()
        told = bench.wait(LinkChanged, lambda m: m.link == "rest" and not m.up)
        check("QQQ/ZZZ" in told.reason, f"not named: {told.reason}")
        check(not bench.found(AdapterReady), "ready with a symbol that the venue does not list")
    halted = suite.config.symbols[-1]
    suite.main.best("BUY", halted)
    suite.staged.act("halt", symbol=halted, on=True)
    try:
        with suite.bench() as bench:
            rules = bench.instrument(halted)
            price = suite.main.best("SELL", halted)
            check(rules.status != "TRADING", f"a halted symbol is {rules.status}")
            order = suite.main.order(symbol=halted, price=price, quantity=rules.quantity_min * 2)
            try:
                check_order(rules, order.quantity, order.price)
                check(False, "a halted symbol is not refused here")
            except Refused:
                pass
            result = bench.submit(order)
            check(result.outcome == "REJECTED", f"halted: {result.outcome} {result.text}")
    finally:
        suite.staged.act("halt", symbol=halted, on=False)


# --- C8 -------------------------------------------------------------------------------------------


def limits(suite: Suite) -> None:
    """The venue's silence is kept to its end, cancels go first after it, our own budget is kept."""
    bench, stage = suite.main, suite.staged
    resting, limited = bench.order(), bench.order()
    bench.accepted(resting)
    began_ns = bench.at.clock.mono_ns()
    with stage.faulty("rate_limit_429", "order", retry_after_s=SILENCE_S):
        result = bench.submit(limited)
    waited_ns = bench.at.clock.mono_ns() - began_ns
    check(result.outcome == "ACCEPTED", f"after a 429: {result.outcome} {result.text}")
    check(waited_ns >= 0.9 * SILENCE_S * NS_PER_S, f"a 429 was obeyed for {waited_ns / 1e9:.2f} s")
    _cancel_goes_first(suite, resting)
    _budget(suite)
    check(bench.sweep() == [], "they could not be cancelled")


def _cancel_goes_first(suite: Suite, resting: SubmitOrder) -> None:
    stage = suite.staged
    with suite.bench(books=True, order_road="rest") as bench:
        orders = [bench.order() for _ in range(ORDERS)]
        with stage.faulty("ban_418", "order", retry_after_s=SILENCE_S):
            bench.send(orders[0])
            bench.until(bench.session.governor.blocked_ms, "the ban is obeyed")
        for order in orders[1:]:
            bench.send(order)
        told = bench.cancel(resting)
        check(told.outcome == "ACCEPTED", f"a cancel after the ban: {told.outcome} {told.text}")
        for order in orders:
            check(bench.result(order).outcome == "ACCEPTED", "an order was lost by the ban")
    canceled_ns = stage.orders(resting)[0]["updated_ns"]
    placed_ns = [stage.orders(order)[0]["created_ns"] for order in orders]
    check(canceled_ns <= max(placed_ns), "every order went before the cancel")


# More at once than a part of the venue's budget: what does not fit is not sent at all.
def _budget(suite: Suite) -> None:
    costs = dialect(suite.config).rest.submit(suite.main.order()).costs
    whole = {s.name: s for s in suite.main.session.governor.scopes()}
    share = min(1.0, BURST / min(whole[name].limit / cost for name, cost in costs.items()))
    first = suite.config.symbols[:1]
    with suite.bench(books=True, rate_limit_share=share, symbols=first) as bench:
        scopes = {s.name: s for s in bench.session.governor.scopes()}
        fits = min(scopes[name].limit / cost for name, cost in costs.items())
        every_s = min(scopes[name].interval_s for name in costs)
        began_ns = bench.at.clock.mono_ns()
        orders = [bench.order(expires_mono_ns=began_ns + 300 * NS_PER_MS)
                  for _ in range(int(fits) + STRIKES)]  # fmt: skip
        for order in orders:
            bench.send(order)
        results = [bench.result(order) for order in orders]
        passed_s = (bench.at.clock.mono_ns() - began_ns) / NS_PER_S
        sent = [r for r in results if r.outcome == "ACCEPTED"]
        check(len(sent) <= fits * (1 + passed_s / every_s) + 1, f"{len(sent)} sent, {fits:g} fit")
        left = {r.outcome for r in results} - {"ACCEPTED"}
        check(left <= {"NOT_SENT"}, f"beyond the budget: {left}")


# --- C9 -------------------------------------------------------------------------------------------


def key_and_clock(suite: Suite) -> None:
    """A refused key is told once and not tried again; a wrong clock is noticed and corrected."""
    wrong = Secret(suite.config.api_secret.reveal() + "x")
    with suite.bench(start=False, api_secret=wrong) as bench:
        bench.adapter.start()
        failed = bench.wait(AdapterFailed)
        check(failed.code == "auth", f"a wrong key: {failed.code} {failed.text}")
        bench.rest(STORM_S)
        check(len(bench.found(AdapterFailed)) == 1, "told more than once")
        logins = [note for note in bench.notes if note.name == "login"]
        check(len(logins) <= 3, f"{len(logins)} attempts to log in")
    with suite.bench(books=True) as bench:
        stage, offset = suite.staged, bench.session.offset
        with stage.faulty("clock_skew", ms=SKEW_MS):
            _told_truly(suite, bench, ("ACCEPTED", "UNKNOWN"))
            bench.until(lambda: abs(offset.offset_ms() - SKEW_MS) < SKEW_RIGHT_MS, "corrected")
            _told_truly(suite, bench, ("ACCEPTED",))
        # Back to the truth: for us the venue's clock has jumped the other way.
        _told_truly(suite, bench, ("ACCEPTED", "UNKNOWN"))
        bench.session.ask_clock()
        bench.until(lambda: abs(offset.offset_ms()) < SKEW_RIGHT_MS, "right again")
        check(bench.sweep() == [], "they could not be cancelled")
        bench.live(bench.mark())


def _told_truly(suite: Suite, bench: Bench, outcomes: tuple[str, ...]) -> None:
    order = bench.order()
    result = bench.submit(order)
    check(result.outcome in outcomes, f"with a wrong clock: {result.outcome} {result.text}")
    held = suite.staged.orders(order)
    check(len(held) <= 1, f"{len(held)} orders of one intent")
    check(len(held) == 1 or result.outcome == "UNKNOWN", "accepted, and not there")


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
    kinds = ["ws_duplicate", "ws_reorder", "ws_gap", "stale_snapshot"]
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
