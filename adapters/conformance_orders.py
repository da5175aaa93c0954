"""C3 to C7: what becomes of an order, from its answer to its last fill.

Truth is what the simulated venue holds; an outcome is right when it says no more than that.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from adapters.conformance_bench import Bench, check, link_is
from adapters.conformance_suite import Suite
from adapters.registry import Timeouts
from engine.messages.port import (
    FillReport,
    LinkChanged,
    OrderReport,
    SubmitOrder,
    SubmitResult,
)
from engine.trading.instrument import quantise_price, quantise_quantity

PARTS: Final = 4
SHORT: Final = Timeouts(read_s=0.5)
LATE_MS: Final = 1_000

# What happens to the request, and how many orders the venue has then.
ROWS: Final[tuple[tuple[str, Mapping[str, Any], int], ...]] = (
    ("lost_reply", {}, 1),
    ("drop_request", {}, 0),
    ("error_5xx", {"when": "after"}, 1),
    ("error_5xx", {"when": "before"}, 0),
    ("error_5xx", {"when": "after", "status": 504}, 1),
    ("malformed_200", {}, 1),
    ("empty_200", {}, 1),
    ("html_200", {}, 1),
    ("truncated", {}, 1),
    ("delay", {"when": "after", "ms": LATE_MS}, 1),
    ("late_execution", {"ms": LATE_MS}, 1),
)
# On a trading WebSocket an answer has no status line and no body of its own.
WS_ROWS: Final = tuple(row for row in ROWS if row[0] in ("lost_reply", "drop_request", "delay"))


# --- C3 -------------------------------------------------------------------------------------------


def submit(suite: Suite) -> None:
    """An order is acknowledged once, under our id, and the stream tells of it, too."""
    bench = suite.main
    order = bench.order(post_only=True)
    result = bench.accepted(order)
    check(result.venue_order_id, "no venue_order_id")
    check(result.sent_wall_ns > 0, "not told when it was sent")
    told = bench.told(order, "NEW", "stream")
    check(told.venue_order_id == result.venue_order_id, "the stream tells of another order")
    check((told.price, told.quantity) == (order.price, order.quantity), "told with other numbers")
    _answered_once(bench, order)
    check(bench.cancel(order).outcome == "ACCEPTED", "could not be cancelled")


def submit_told_in_any_order(suite: Suite) -> None:
    """Event before answer, answer before event, event alone, answer alone: one answer, one order."""
    bench, stage = suite.main, suite.staged
    for kind, on in (
        ("private_event_before_ack", "order"),
        ("private_event_after_ack", "order"),
        ("lost_reply", "order"),
        ("private_event_lost", "private"),
    ):
        order = bench.order()
        with stage.faulty(kind, on, ms=150):
            result = bench.submit(order)
        if kind == "lost_reply":
            check(result.outcome == "UNKNOWN", f"{kind}: {result.outcome}")
        else:
            check(result.outcome == "ACCEPTED", f"{kind}: {result.outcome} {result.text}")
        if kind != "private_event_lost":
            bench.told(order, "NEW")
        _answered_once(bench, order)
        check(len(stage.orders(order)) == 1, f"{kind}: {len(stage.orders(order))} orders")
        check(bench.cancel(order).outcome == "ACCEPTED", f"{kind}: could not be cancelled")


def _answered_once(bench: Bench, order: SubmitOrder) -> None:
    wanted = order.client_order_id
    answers = bench.found(SubmitResult, lambda m: m.client_order_id == wanted)
    check(len(answers) == 1, f"{len(answers)} answers to one order")


# --- C4 -------------------------------------------------------------------------------------------


def fills(suite: Suite) -> None:
    """A small marketable order is filled, and its fills sum to what the order says."""
    bench = suite.main
    price = quantise_price(bench.instrument(), "SELL", bench.best("BUY") * Decimal("1.01"))
    order = bench.order(price=price, quantity=bench.least(bench.best("SELL")), time_in_force="IOC")
    bench.accepted(order)
    bench.until(lambda: bench.query(order).fills, "the fills are told")
    _fills_agree(bench, order)


def fills_in_parts(suite: Suite) -> None:
    """Fills that come doubled, swapped and in parts end in the same sums, each fill once."""
    bench, stage = suite.main, suite.staged
    order = bench.order(quantity=bench.least(bench.far_price()) * PARTS)
    bench.accepted(order)
    part = str(order.quantity / PARTS)
    for kind in ("ws_duplicate", "ws_reorder", "private_event_duplicate"):
        stage.fault(kind, "private")
        stage.act("fill", client_order_id=order.client_order_id, quantity=part)
    stage.clear()
    mark = bench.mark()
    stage.act("fill", client_order_id=order.client_order_id)
    if suite.subject.numbers_private:
        bench.until(lambda: _is_told_or_renewed(bench, order, mark), "told, or linked anew")
        bench.until(lambda: bench.is_up("private"), "the private link is up")
    else:
        bench.told(order, "FILLED", "stream")
    filled = bench.query(order).order
    check(filled is not None and (filled.status, filled.filled_quantity) ==
          ("FILLED", order.quantity), f"at the end it is found as {filled}")  # fmt: skip
    found = _fills_agree(bench, order)
    check(len(found) == PARTS, f"{len(found)} fills of {PARTS}")
    check(sum(f.quantity for f in found.values()) == order.quantity, "they do not sum up")


# A numbered stream ends with a frame out of turn; what it did not tell is then asked for.
def _is_told_or_renewed(bench: Bench, order: SubmitOrder, mark: int) -> bool:
    wanted = (order.client_order_id, "FILLED", order.quantity)
    told = bench.found(
        OrderReport, lambda m: (m.client_order_id, m.status, m.filled_quantity) == wanted
    )
    return bool(told or bench.found(LinkChanged, link_is("private", up=True), mark))


# Whatever source told of a fill, it is the same fill. Returns them by trade id.
def _fills_agree(bench: Bench, order: SubmitOrder) -> dict[str, FillReport]:
    asked, listed = bench.query(order), bench.reconcile()
    wanted = order.client_order_id
    told = bench.found(FillReport, lambda m: m.client_order_id == wanted)
    told += asked.fills + [f for f in listed.fills if f.client_order_id == wanted]
    by_id: dict[str, FillReport] = {}
    for fill in told:
        one = by_id.setdefault(fill.trade_id, fill)
        check(_facts(one) == _facts(fill), f"fill {fill.trade_id} is told in two ways")
        check(fill.fee_asset and fill.fee.is_finite(), f"fill {fill.trade_id} has no fee")
    check({f.trade_id for f in asked.fills} == set(by_id), "a query misses fills")
    order_told = asked.order
    check(order_told is not None, "the order is not found")
    assert order_told is not None, "checked"
    total = sum((f.quantity for f in by_id.values()), Decimal(0))
    check(
        total == order_told.filled_quantity, f"{total} in fills, {order_told.filled_quantity} said"
    )
    return by_id


def _facts(fill: FillReport) -> tuple[Any, ...]:
    return (fill.price, fill.quantity, fill.side, fill.fee, fill.fee_asset, fill.venue_order_id)


# --- C5 -------------------------------------------------------------------------------------------


def cancel(suite: Suite) -> None:
    """An open order is cancelled; the second cancel says that there is nothing to cancel."""
    bench = suite.main
    order = bench.order(post_only=True)
    bench.accepted(order)
    check(bench.cancel(order).outcome == "ACCEPTED", "an open order could not be cancelled")
    bench.told(order, "CANCELED")
    again = bench.cancel(order)
    check((again.outcome, again.code) == ("REJECTED", "not_found"),
          f"a second cancel: {again.outcome} {again.code} {again.text}")  # fmt: skip
    found = bench.query(order)
    check(found.order is not None and found.order.status == "CANCELED", "not found as cancelled")


def cancel_races(suite: Suite) -> None:
    """A fill that beats its cancel wins; a cancel that beats the answer of its order does, too."""
    bench, stage = suite.main, suite.staged
    order = bench.order()
    bench.accepted(order)
    with stage.faulty("cancel_race", "cancel"):
        late = bench.cancel(order)
    check(late.outcome in ("REJECTED", "UNKNOWN"), f"cancelled what was filled: {late.outcome}")
    bench.told(order, "FILLED")
    found = bench.query(order)
    check(found.order is not None and found.order.status == "FILLED", "not found as filled")
    early = bench.order()
    with stage.faulty("delay", "order", ms=500, when="after"):
        mark = bench.send(early)
        bench.until(lambda: stage.orders(early), "the venue has the order")
        bench.cancel(early)
        bench.result(early, mark)
    bench.told(early, "CANCELED")
    _answered_once(bench, early)
    check([o["status"] for o in stage.orders(early)] == ["CANCELED"], "it is not cancelled there")


# --- C6 -------------------------------------------------------------------------------------------


def ambiguity(suite: Suite) -> None:
    """Whatever is lost on the way, the outcome says no more than the venue's truth, and finds it."""
    with suite.bench(books=True, symbols=suite.one, timeouts=SHORT, order_road="rest") as bench:
        for row in ROWS:
            _row(suite, bench, *row)
    with suite.bench(books=True, symbols=suite.one, timeouts=SHORT) as bench:
        link = bench.session.trade_link
        for row in WS_ROWS if link is not None else ():
            assert link is not None, "as asked"
            bench.until(lambda: link.is_up, "the trading link is up")
            _row(suite, bench, *row)
    _plain_refusals(suite)
    _nobody_listens(suite)


def _row(suite: Suite, bench: Bench, kind: str, more: Mapping[str, Any], count: int) -> None:
    stage = suite.staged
    order = bench.order()
    with stage.faulty(kind, "order", **more):
        result = bench.submit(order)
    name = f"{kind} {dict(more)}"
    check(result.outcome == "UNKNOWN", f"{name}: {result.outcome} {result.text}")
    if kind == "late_execution":  # it arrives after the question; the settle window is for that
        bench.until(lambda: stage.orders(order), "the late order arrives")
    _is_truth(suite, bench, order, result, name)
    check(len(stage.orders(order)) == count, f"{name}: {len(stage.orders(order))} orders")


def _is_truth(
    suite: Suite, bench: Bench, order: SubmitOrder, result: SubmitResult, name: str
) -> None:
    held = suite.staged.orders(order)
    check(len(held) <= 1, f"{name}: {len(held)} orders of one intent")
    if result.outcome != "UNKNOWN":
        is_there = result.outcome == "ACCEPTED"
        check(len(held) == is_there, f"{name}: {result.outcome}, {len(held)} at the venue")
        return
    found = bench.query(order)
    check(found.found == bool(held), f"{name}: found {found.found}, {len(held)} at the venue")
    if held:
        check(found.order is not None and found.order.status == held[0]["status"],
              f"{name}: {found.order}, {held[0]['status']} at the venue")  # fmt: skip


def _plain_refusals(suite: Suite) -> None:
    bench = suite.main
    price = bench.best("SELL")
    held = next(b for b in bench.reconcile().balances if b.asset == bench.instrument().quote)
    too_much = quantise_quantity(bench.instrument(), (held.free + held.locked) * 2 / price)
    poor = bench.order(price=price, quantity=too_much)
    taking = bench.order(
        price=quantise_price(bench.instrument(), "BUY", bench.best("BUY") * Decimal("1.01")),
        post_only=True,
    )
    for order in (poor, taking):
        result = bench.submit(order)
        if (
            result.outcome == "ACCEPTED"
        ):  # some venues take a post-only order that would take, and end it
            ended = bench.query(order).order
            check(ended is not None and ended.filled_quantity == 0 and ended.status in
                  ("CANCELED", "EXPIRED", "REJECTED"), f"not refused: {ended}")  # fmt: skip
        else:
            check(result.outcome == "REJECTED", f"{result.outcome}: {result.text}")
            check(result.text, "rejected without the venue's words")


def _nobody_listens(suite: Suite) -> None:
    beside = suite.main.mark()
    with suite.bench(books=True, symbols=suite.one, timeouts=SHORT) as bench:
        order, mark = bench.order(), bench.mark()
        suite.staged.fault("venue_restart", down_ms=200)
        bench.wait(LinkChanged, lambda m: not m.up, mark)
        result = bench.submit(order)
        bench.linked(mark)
        _is_truth(suite, bench, order, result, "nobody listens")
    suite.main.linked(beside)
    suite.main.live(beside)


# --- C7 -------------------------------------------------------------------------------------------


def duplicate(suite: Suite) -> None:
    """The same command again is told the same answer, and nothing is sent."""
    bench = suite.main
    order = bench.order(post_only=True)
    first = bench.accepted(order)
    check(bench.submit(order) == first, "the same command got another answer")
    opened = [
        o for o in bench.reconcile().open_orders if o.client_order_id == order.client_order_id
    ]
    check(len(opened) == 1, f"{len(opened)} orders under one id")
    check(bench.cancel(order).outcome == "ACCEPTED", "could not be cancelled")


def duplicate_elsewhere(suite: Suite) -> None:
    """Another process's resend of an open order makes no second one; nor does ours of a filled one."""
    bench, stage = suite.main, suite.staged
    order = bench.order()
    first = bench.accepted(order)
    with suite.bench() as other:
        result = other.submit(order)
    held = stage.orders(order)
    check(len(held) == 1, f"{len(held)} orders under one id")
    check(result.outcome != "REJECTED", "a rejection would end an order that is open")
    same = result.venue_order_id in (None, first.venue_order_id)
    check(same, "acknowledged as another order")
    stage.act("fill", client_order_id=order.client_order_id)
    bench.told(order, "FILLED")
    check(bench.submit(order).outcome == "ACCEPTED", "the same command got another answer")
    check(len(stage.orders(order)) == 1, "a filled order was sent again")
