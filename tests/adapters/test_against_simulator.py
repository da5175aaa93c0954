"""The adapters against the simulated venues: real processes, real sockets, faults on demand."""

import time
from decimal import Decimal

import pytest
from rig import CLOCK, ask, cancel, query
from waiting import wait_for

from adapters.registry import Timeouts
from engine.clock import NS_PER_S
from engine.messages.market import LinkAlive, TradePrint, VenueBook
from engine.messages.port import (
    BalanceUpdate,
    FillReport,
    GateChanged,
    LinkChanged,
    OrderReport,
    Reconcile,
    ReconcileResult,
    SetGate,
    SubmitResult,
)
from engine.trading.instrument import unscale

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("adapters")]


def levels(prices, quantities, book):
    return [
        (unscale(price, book.price_exponent), unscale(quantity, book.quantity_exponent))
        for price, quantity in zip(prices, quantities, strict=True)
    ]


def test_books_become_live_and_equal_the_venues_truth(desk):
    desk.sim.ctl("flow", {"on": False})
    truth = desk.sim.ctl(f"truth/{desk.venue}")["books"]

    def is_equal(symbol):
        book = [b for b in desk.found(VenueBook) if b.symbol == symbol][-1]
        sides = {
            "bids": (book.bid_prices, book.bid_quantities),
            "asks": (book.ask_prices, book.ask_quantities),
        }
        for name, side in sides.items():
            shown = truth[symbol][name][: min(20, desk.traits.levels)]
            wanted = [(Decimal(level[0]), Decimal(level[1])) for level in shown]
            if levels(*side, book) != wanted:
                return False
        return book.state == "LIVE"

    for symbol in desk.config.symbols:
        wait_for(lambda symbol=symbol: is_equal(symbol), f"{symbol} equals the truth")


def test_life_of_the_link_and_public_trades_are_told(desk):
    desk.wait(LinkAlive)
    trade = desk.wait(TradePrint)
    assert trade.price > 0


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_resting_order_is_acknowledged_found_and_canceled(desk):
    order = desk.new_order()
    result = ask(desk, order)
    assert result.outcome == "ACCEPTED"
    assert result.sent_wall_ns > 0
    new = desk.wait(
        OrderReport, lambda m: m.client_order_id == order.client_order_id and m.source == "stream"
    )
    assert (new.status, new.venue_order_id) == ("NEW", result.venue_order_id)
    found = query(desk, order.client_order_id)
    assert found.found
    assert (found.order.status, found.order.quantity) == ("NEW", order.quantity)
    assert cancel(desk, order).outcome == "ACCEPTED"
    desk.wait(
        OrderReport, lambda m: m.client_order_id == order.client_order_id and m.status == "CANCELED"
    )
    again = cancel(desk, order)
    assert (again.outcome, again.code) == ("REJECTED", "not_found")


def test_a_market_order_fills_and_every_source_tells_the_same_fills(desk):
    order = desk.new_order(price=None, order_type="MARKET")
    assert ask(desk, order).outcome == "ACCEPTED"
    desk.wait(
        OrderReport,
        lambda m: (
            (m.client_order_id, m.status, m.source) == (order.client_order_id, "FILLED", "stream")
        ),
    )
    asked = query(desk, order.client_order_id)
    fills = {}
    for fill in desk.found(FillReport, lambda m: m.client_order_id == order.client_order_id):
        fills.setdefault(fill.source, {})[fill.trade_id] = (
            fill.price, fill.quantity, fill.fee, fill.fee_asset,
        )  # fmt: skip
    queried = {f.trade_id: (f.price, f.quantity, f.fee, f.fee_asset) for f in asked.fills}
    assert all(told == queried for told in fills.values())
    assert ("stream" in fills) == desk.traits.tells_fees
    assert sum(f.quantity for f in asked.fills) == order.quantity
    if desk.traits.tells_balances:
        desk.wait(BalanceUpdate)


def test_a_market_order_with_a_collar_never_trades_beyond_it(desk):
    order = desk.new_order(price="40000", order_type="MARKET")
    assert ask(desk, order).outcome == "ACCEPTED"
    ended = desk.wait(
        OrderReport,
        lambda m: (m.client_order_id, m.status) == (order.client_order_id, desk.traits.expired),
    )
    assert ended.filled_quantity == 0


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_orders_the_venue_refuses_are_rejected_in_its_words(desk):
    poor = ask(desk, desk.new_order(price="60000", quantity="100"))
    assert poor.outcome == "REJECTED"
    assert "insufficient" in poor.text.lower()
    assert "rule 11" in poor.evidence


def test_reconciliation_brings_orders_fills_and_balances(desk):
    order = desk.new_order(price="31000")
    taken = desk.new_order(price=None, order_type="MARKET")
    ask(desk, order)
    ask(desk, taken)
    desk.adapter.handle(Reconcile("r1", desk.config.account, CLOCK.wall_ns() - 10 * NS_PER_S))
    result = desk.wait(ReconcileResult)
    assert result.ok, result.text
    assert order.client_order_id in {o.client_order_id for o in result.open_orders}
    mine = [f for f in result.fills if f.client_order_id == taken.client_order_id]
    assert sum(f.quantity for f in mine) == taken.quantity
    usdt = next(b for b in result.balances if b.asset == "USDT")
    assert usdt.locked >= order.price * order.quantity
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
@pytest.mark.parametrize(
    "kind", ["lost_reply", "error_5xx", "malformed_200", "empty_200", "html_200", "truncated"]
)
def test_an_order_whose_answer_is_lost_is_unknown_and_found_by_query(desk, kind):
    more = {"when": "after"} if kind == "error_5xx" else {}
    desk.sim.fault(kind, desk.venue, on="order", count=1, **more)
    order = desk.new_order(price="32000")
    result = ask(desk, order)
    assert result.outcome == "UNKNOWN", result
    found = query(desk, order.client_order_id)
    assert found.found
    assert found.order.status == "NEW"
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_an_order_that_never_arrived_is_unknown_and_absent_everywhere(desk):
    desk.sim.fault("drop_request", desk.venue, on="order", count=1)
    order = desk.new_order()
    assert ask(desk, order).outcome == "UNKNOWN"
    assert query(desk, order.client_order_id).found is False
    assert desk.sim.orders(desk.venue, order.client_order_id) == []


def test_a_query_that_is_not_answered_is_not_a_not_found(desk):
    desk.sim.fault("lost_reply", desk.venue, on="query", count=50)
    assert query(desk, desk.new_order().client_order_id).found is None


def test_a_repeated_submit_is_sent_once_and_told_the_same_answer(desk):
    order = desk.new_order(price="33000")
    first = ask(desk, order)
    mark = desk.mark()
    desk.adapter.handle(order)
    again = desk.wait(SubmitResult, since=mark)
    assert again == first
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_duplicate_client_id_at_the_venue_is_unknown_never_a_reject(desk):
    order = desk.new_order(price="34000")
    ask(desk, order)
    desk.adapter._pending._answered.clear()  # as if another process had sent it
    mark = desk.mark()
    desk.adapter.handle(order)
    outcome = "ACCEPTED" if desk.traits.repeats_first else "UNKNOWN"
    assert desk.wait(SubmitResult, since=mark).outcome == outcome
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_cut_stream_makes_books_stale_at_once_and_live_again(desk):
    mark = desk.mark()
    desk.sim.fault("ws_drop", desk.venue, on="any", count=1)
    stale = desk.wait(VenueBook, lambda b: b.state == "STALE", mark)
    assert (stale.bid_prices, stale.ask_prices, stale.reason) == ([], [], "disconnected")
    down = desk.wait(LinkChanged, lambda m: m.link == "public" and not m.up, mark)
    after = desk.reports.index(stale)
    desk.wait(LinkChanged, lambda m: m.link == "public" and m.up, mark)
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, mark)
    for symbol in desk.config.symbols:
        desk.live(symbol, since=after)
    assert down.reason


def test_a_missing_frame_is_a_gap_that_is_mended_without_dropping_the_link(desk):
    mark = desk.mark()
    desk.sim.fault("ws_gap", desk.venue, on="book", count=1)
    gap = desk.wait(VenueBook, lambda b: b.state == "GAP", mark)
    assert (gap.reason, gap.bid_prices) == (desk.traits.book_loss, [])
    at = desk.reports.index(gap)
    desk.live(gap.symbol, since=at)
    dropped = desk.found(LinkChanged, lambda m: m.link == "public" and not m.up, mark)
    assert bool(dropped) == desk.traits.numbers_connection


@pytest.mark.parametrize("kind", ["ws_duplicate", "ws_reorder"])
def test_doubled_and_reordered_frames_never_leave_a_wrong_book(desk, kind):
    for _ in range(3):
        mark = desk.mark()
        desk.sim.fault(kind, desk.venue, on="book", count=1)
        desk.live("BTC/USDT", since=mark)
    desk.sim.ctl("fault", method="DELETE")
    test_books_become_live_and_equal_the_venues_truth(desk)


def test_a_silent_link_is_noticed_and_replaced(make):
    desk = make(timeouts=Timeouts(ping_every_s=0.4, ping_answer_s=0.4)).start()
    mark = desk.mark()
    desk.sim.fault("ws_half_open", desk.venue, on="any", count=1)
    down = desk.wait(LinkChanged, lambda m: not m.up, mark, deadline_s=3)
    assert "no answer to a ping" in down.reason
    desk.live(since=desk.reports.index(down))


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_closed_gate_lets_nothing_out_and_says_so(desk):
    desk.adapter.handle(SetGate("g1", closed=True, symbols=[]))
    assert desk.wait(GateChanged).closed
    order = desk.new_order()
    result = ask(desk, order)
    assert (result.outcome, result.code, result.sent_wall_ns) == ("NOT_SENT", "gate_closed", 0)
    assert desk.sim.orders(desk.venue, order.client_order_id) == []
    desk.adapter.handle(SetGate("g2", closed=False, symbols=[]))
    other = desk.new_order()
    assert ask(desk, other).outcome == "ACCEPTED"
    assert cancel(desk, other).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_gate_that_is_reduce_only_lets_pass_what_reduces(desk):
    for told in ({"reduce_only": True}, {"reduce_symbols": ["BTC/USDT"]}):
        desk.adapter.handle(SetGate("g1", closed=False, symbols=[], **told))
        refused = ask(desk, desk.new_order())
        assert (refused.outcome, refused.code) == ("NOT_SENT", "gate_closed")
    order = desk.new_order(reduces=True)
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_no_order_passes_the_gate_while_the_halt_file_stands(make, tmp_path):
    path = tmp_path / "HALT"
    path.touch()
    desk = make(halt_file=str(path)).start()
    order = desk.new_order()
    result = ask(desk, order)
    assert (result.outcome, result.code, result.sent_wall_ns) == ("NOT_SENT", "halt_file", 0)
    assert desk.sim.orders(desk.venue, order.client_order_id) == []
    path.unlink()
    other = desk.new_order()
    assert ask(desk, other).outcome == "ACCEPTED"
    assert cancel(desk, other).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["rest"])
def test_closing_the_gate_stops_what_is_queued_behind_a_slow_order(desk):
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=800, when="before")
    orders = [desk.new_order() for _ in range(5)]
    for order in orders:
        desk.adapter.handle(order)
    wait_for(lambda: len(desk.adapter._session.trade) == 4, "the first is being sent")
    desk.adapter.handle(SetGate("g1", closed=True, symbols=["BTC/USDT"]))
    results = [
        desk.wait(SubmitResult, lambda m, o=o: m.client_order_id == o.client_order_id)
        for o in orders
    ]
    assert [r.outcome for r in results[1:]] == ["NOT_SENT"] * 4
    for order in orders[1:]:
        assert desk.sim.orders(desk.venue, order.client_order_id) == []


@pytest.mark.parametrize("road", ["rest"])
def test_an_order_that_hangs_holds_up_its_own_symbol_and_nobody_else(make):
    desk = make(timeouts=Timeouts(read_s=60))
    if desk.traits.has_one_lane:
        pytest.skip("one request at a time: adapters/turnstile.py")
    desk.start(books=False)
    fault = {"kind": "delay", "venue": desk.venue, "on": "order", "symbol": "BTC/USDT"}
    desk.sim.ctl("fault", {**fault, "count": 1, "params": {"ms": 60_000, "when": "before"}})
    hanging = desk.new_order()
    behind = desk.new_order()
    desk.adapter.handle(hanging)
    desk.adapter.handle(behind)
    other = desk.new_order(symbol="ETH/USDT", price="2000")
    assert ask(desk, other).outcome == "ACCEPTED"
    assert cancel(desk, other, "ETH/USDT").outcome == "ACCEPTED"
    told = desk.found(SubmitResult)
    assert [r.client_order_id for r in told] == [other.client_order_id]
    desk.sim.fault("venue_restart", desk.venue)  # cuts every connection
    results = [
        desk.wait(SubmitResult, lambda m, o=o: m.client_order_id == o.client_order_id)
        for o in (hanging, behind)
    ]
    assert results[0].outcome == "UNKNOWN"
    assert desk.reports.index(results[0]) < desk.reports.index(results[1])


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_an_order_whose_time_is_up_is_not_sent(desk):
    order = desk.new_order(expires_mono_ns=CLOCK.mono_ns() - 1)
    result = ask(desk, order)
    assert (result.outcome, result.code) == ("NOT_SENT", "expired")
    assert desk.sim.orders(desk.venue, order.client_order_id) == []


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_wrong_clock_is_corrected_and_the_order_sent_once(desk, road):
    if desk.traits.late_code and (road == "ws" or not desk.traits.has_trade_road):
        pytest.skip("this link's requests carry no time, only an expiry: see test_order_roads.py")
    desk.sim.fault("clock_skew", desk.venue, count=1, ms=60000)
    order = desk.new_order(price="35000")
    result = ask(desk, order)
    assert result.outcome == "ACCEPTED", result
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"
    desk.sim.ctl("fault", method="DELETE")
    desk.adapter._session.ask_clock()
    wait_for(lambda: abs(desk.adapter._session.offset.offset_ms()) < 1000, "the clock is right")


def test_a_clock_that_is_off_by_less_than_the_venue_refuses_is_corrected_too(desk):
    if not desk.traits.checks_time:
        pytest.skip("its tokens are good for minutes: so little is noticed by nobody")
    desk.sim.fault("clock_skew", desk.venue, ms=20000)
    first = ask(desk, desk.new_order(price="35500"))
    assert first.outcome in ("ACCEPTED", "UNKNOWN"), first
    wait_for(lambda: desk.adapter._session.offset.offset_ms() > 19_000, "the clock is corrected")
    assert ask(desk, desk.new_order(price="35600")).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_429_is_obeyed_and_the_order_sent_in_time(desk):
    desk.sim.fault("rate_limit_429", desk.venue, on="order", count=1, retry_after_s=1)
    order = desk.new_order(price="36000")
    began = time.monotonic()
    assert ask(desk, order).outcome == "ACCEPTED"
    assert time.monotonic() - began >= 0.9
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_ban_beyond_the_approval_rejects_the_order(desk):
    desk.sim.fault("ban_418", desk.venue, on="order", count=1, retry_after_s=60)
    order = desk.new_order(expires_mono_ns=CLOCK.mono_ns() + NS_PER_S)
    result = ask(desk, order)
    assert (result.outcome, result.code) == ("REJECTED", "rate_limited")
    assert desk.sim.orders(desk.venue, order.client_order_id) == []


def test_a_lost_private_event_is_recovered_by_reconciliation(desk):
    desk.sim.fault("private_event_lost", desk.venue, on="private", count=20)
    order = desk.new_order(price=None, order_type="MARKET")
    assert ask(desk, order).outcome == "ACCEPTED"
    desk.sim.ctl("fault", method="DELETE")
    desk.adapter.handle(Reconcile("r2", desk.config.account, CLOCK.wall_ns() - NS_PER_S))
    result = desk.wait(ReconcileResult)
    mine = [f for f in result.fills if f.client_order_id == order.client_order_id]
    assert sum(f.quantity for f in mine) == order.quantity


def test_the_event_may_come_before_the_answer(desk):
    desk.sim.fault("private_event_before_ack", desk.venue, on="order", count=1)
    order = desk.new_order(price="37000")
    result = ask(desk, order)
    reports = desk.found(OrderReport, lambda m: m.client_order_id == order.client_order_id)
    assert result.outcome == "ACCEPTED"
    assert desk.reports.index(reports[0]) < desk.reports.index(result)
    assert cancel(desk, order).outcome == "ACCEPTED"
