"""C1, C8 and C9: the symbols, limits, keys and clocks of a venue."""

from typing import Any, Final

from adapters.codec import Secret
from adapters.conformance_bench import Bench, check
from adapters.conformance_suite import Suite
from adapters.rate import Priority
from adapters.registry import ADAPTERS
from engine.clock import NS_PER_MS, NS_PER_S
from engine.errors import Refused
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    LinkChanged,
    SubmitOrder,
)
from engine.trading.instrument import check_order

STRIKES: Final = 5
SKEW_RIGHT_MS: Final = 1_500
SILENCE_S: Final = 1
STORM_S: Final = 0.5
WRONG: Final = "AAAA"  # four letters of base64, as one venue's secrets are written
ORDERS: Final = 5
BURST: Final = 25
KEPT: Final = 0.2  # of each limit, at most, is kept for cancels


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
    with suite.bench(books=True, symbols=suite.one, order_road="rest") as bench:
        orders = [bench.order() for _ in range(ORDERS)]
        with stage.faulty(suite.subject.ban, "order", retry_after_s=SILENCE_S):
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


# With the budget spent, orders go only as fast as it comes back; the others are not sent at all.
def _budget(suite: Suite) -> None:
    with suite.bench(books=True, symbols=suite.one) as bench:
        governor = bench.session.governor
        costs = bench.session.desk.codec.submit(bench.order()).costs
        while not governor.try_take(Priority.NEW, costs):
            pass
        spent = [s for s in governor.scopes() if s.name in costs and s.left <= s.limit * KEPT]
        began_ns = bench.at.clock.mono_ns()
        orders = [bench.order(expires_mono_ns=began_ns + 300 * NS_PER_MS) for _ in range(BURST)]
        for order in orders:
            bench.send(order)
        results = [bench.result(order) for order in orders]
        passed_s = (bench.at.clock.mono_ns() - began_ns) / NS_PER_S
        comes = min(s.limit / s.interval_s / costs[s.name] for s in spent)
        sent = [r for r in results if r.outcome == "ACCEPTED"]
        check(len(sent) <= passed_s * comes + 1, f"{len(sent)} sent in {passed_s:.2f} s")
        left = {r.outcome for r in results} - {"ACCEPTED"}
        check(left <= {"NOT_SENT"}, f"beyond the budget: {left}")


# --- C9 -------------------------------------------------------------------------------------------


def key_and_clock(suite: Suite) -> None:
    """A refused key is told once and not tried again; a wrong clock is noticed and corrected."""
    _key_refused(suite)
    with suite.bench(books=True) as bench:
        stage, offset, skew_ms = suite.staged, bench.session.offset, suite.subject.skew_ms
        with stage.faulty("clock_skew", ms=skew_ms):
            _told_truly(suite, bench, ("ACCEPTED", "UNKNOWN"))
            bench.until(lambda: abs(offset.offset_ms() - skew_ms) < SKEW_RIGHT_MS, "corrected")
            _told_truly(suite, bench, ("ACCEPTED",))
        # Back to the truth: for us the venue's clock has jumped the other way.
        _told_truly(suite, bench, ("ACCEPTED", "UNKNOWN"))
        bench.session.ask_clock()
        bench.until(lambda: abs(offset.offset_ms()) < SKEW_RIGHT_MS, "right again")
        check(bench.sweep() == [], "they could not be cancelled")
        bench.live(bench.mark())
        check(not bench.found(AdapterFailed), "a wrong clock was taken for a refused key")


# Where a secret is an EC key, a wrong one signs nothing: there the key's name is the wrong one.
def _key_refused(suite: Suite) -> None:
    name = "api_key" if suite.subject.signs_with_pem else "api_secret"
    wrong: dict[str, Any] = {name: Secret(WRONG + getattr(suite.config, name).reveal())}
    with suite.bench(start=False, **wrong) as bench:
        bench.adapter.start()
        failed = bench.wait(AdapterFailed)
        check(failed.code == "auth", f"a wrong key: {failed.code} {failed.text}")
        bench.rest(STORM_S)
        check(len(bench.found(AdapterFailed)) == 1, "told more than once")
        logins = [note for note in bench.notes if note.name == "login"]
        check(len(logins) <= 3, f"{len(logins)} attempts to log in")


def _told_truly(suite: Suite, bench: Bench, outcomes: tuple[str, ...]) -> None:
    order = bench.order()
    result = bench.submit(order)
    check(result.outcome in outcomes, f"with a wrong clock: {result.outcome} {result.text}")
    held = suite.staged.orders(order)
    check(len(held) <= 1, f"{len(held)} orders of one intent")
    check(len(held) == 1 or result.outcome == "UNKNOWN", "accepted, and not there")
