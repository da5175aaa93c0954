"""Orders over the trading WebSocket: one road, one order at the venue, whatever becomes of the link."""

import threading

import pytest
from rig import CLOCK, ask, cancel, query
from waiting import wait_for

from adapters.rate import Priority
from adapters.registry import Timeouts
from engine.clock import NS_PER_S
from engine.messages.port import (
    AdapterFailed,
    CancelOrder,
    CancelResult,
    GateChanged,
    LinkChanged,
    OrderReport,
    SetGate,
    SubmitResult,
)

pytestmark = [
    pytest.mark.processes, pytest.mark.trade_road, pytest.mark.xdist_group("adapters"),
]  # fmt: skip

QUICK = Timeouts(read_s=1.0, ping_every_s=0.4, ping_answer_s=0.4)


def results(desk, order):
    return desk.found(SubmitResult, lambda m: m.client_order_id == order.client_order_id)


def trade_link(desk):
    return desk.adapter._session.trade_link


def told(desk, order, status, source="reply", since=0):
    def test(m):
        return (m.client_order_id, m.status, m.source) == (order.client_order_id, status, source)

    return desk.wait(OrderReport, test, since)


def is_at_the_venue_once(desk, order):
    """The venue carried out one placement, which came over the WebSocket."""
    assert len(results(desk, order)) == 1
    requests = desk.sim.requests(desk.venue, order.client_order_id)
    assert [r for r in requests if r[0] == "place"] == [("place", "ws")]
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    return True


# --- the road


def test_orders_and_cancels_leave_in_the_callers_thread(desk):
    hold, held = threading.Event(), threading.Event()

    def occupy(_):
        held.set()
        hold.wait(20)

    session = desk.adapter._session
    workers = (session.trade, session.cancels)
    for worker in workers:
        held.clear()
        assert worker.put("another", occupy)
        assert held.wait(5), "its only lane is busy"
    try:
        order = desk.new_order(price="30100")
        assert ask(desk, order).outcome == "ACCEPTED"
        assert cancel(desk, order).outcome == "ACCEPTED"
        assert [worker._lanes for worker in workers] == [1, 1], "no lane was needed"
    finally:
        hold.set()
    assert desk.sim.requests(desk.venue, order.client_order_id) == [
        ("place", "ws"), ("cancel", "ws"),
    ]  # fmt: skip


def test_with_the_road_of_rest_nothing_uses_the_link(make):
    desk = make(order_road="rest").start(books=False)
    order = desk.new_order(price="30200")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"
    assert [via for _, via in desk.sim.requests(desk.venue, order.client_order_id)] == [
        "rest", "rest",
    ]  # fmt: skip
    assert not desk.found(LinkChanged, lambda m: m.link == "trade")


def test_urls_of_another_server_without_one_for_the_link_mean_rest(make):
    desk = make()
    urls = {name: url for name, url in desk.config.urls.items() if name != "trade_ws"}
    other = make(urls=urls)
    other.adapter.start()
    other.wait(LinkChanged, lambda m: m.link == "private" and m.up)
    assert other.adapter._session.trade_link is None
    order = other.new_order(price="30250")
    assert ask(other, order).outcome == "ACCEPTED"
    assert cancel(other, order).outcome == "ACCEPTED"
    assert ("place", "rest") in other.sim.requests(other.venue, order.client_order_id)


def test_a_link_that_is_down_leaves_the_orders_to_rest(make):
    desk = make()
    urls = {**desk.config.urls, "trade_ws": "ws://127.0.0.1:9/nobody"}
    desk = make(urls=urls)
    desk.adapter.start()
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up)
    desk.wait(LinkChanged, lambda m: m.link == "trade" and not m.up)
    order = desk.new_order(price="30300")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"
    assert [via for _, via in desk.sim.requests(desk.venue, order.client_order_id)] == [
        "rest", "rest",
    ]  # fmt: skip


def test_an_order_query_asks_over_the_link_where_the_venue_has_one(desk):
    order = desk.new_order(price="30400")
    placed = ask(desk, order)
    session = desk.adapter._session
    call = session.desk.codec.order("BTC/USDT", order.client_order_id, None)
    answer = session.trade_desk.read(call, Priority.QUERY)
    if desk.traits.queries_by_link:
        assert str(answer["orderId"]) == placed.venue_order_id
    else:
        assert answer is None
    assert query(desk, order.client_order_id).found
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_what_the_venue_counts_reaches_the_governor(make):
    desk = make().start(books=False)
    if not desk.traits.counts:
        pytest.skip("the venue tells no counters")
    sibling = make(order_road="rest").start(books=False)
    theirs = [sibling.new_order(price=f"304{i:02}") for i in range(20)]
    for order in theirs:
        assert ask(sibling, order).outcome == "ACCEPTED"
        assert cancel(sibling, order).outcome == "ACCEPTED"
    governor = desk.adapter._session.governor
    order = desk.new_order(price="30500")
    assert ask(desk, order).outcome == "ACCEPTED"
    bucket = governor._buckets[desk.traits.counts]
    assert bucket.whole - bucket.tokens >= 20  # what the sibling sent counts here, too
    assert cancel(desk, order).outcome == "ACCEPTED"


# --- what may go wrong


def test_an_answer_lost_with_the_link_is_unknown_at_once(make):
    desk = make(timeouts=Timeouts(read_s=60)).start(books=False)
    mark = desk.mark()
    desk.sim.fault("lost_reply", desk.venue, on="order", count=1)
    order = desk.new_order(price="31000")
    result = ask(desk, order)
    assert (result.outcome, "the trading link was lost" in result.text) == ("UNKNOWN", True)
    desk.wait(LinkChanged, lambda m: m.link == "trade" and not m.up, mark)
    assert query(desk, order.client_order_id).order.status == "NEW"
    assert is_at_the_venue_once(desk, order)
    desk.wait(LinkChanged, lambda m: m.link == "trade" and m.up, mark)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_everything_in_flight_on_a_lost_link_is_unknown_and_nothing_is_sent_again(make):
    desk = make(timeouts=Timeouts(read_s=60)).start(books=False)
    desk.sim.fault("delay", desk.venue, on="order", count=5, ms=700, when="after")
    orders = [desk.new_order(price=f"3110{i}") for i in range(5)]
    for order in orders:
        desk.adapter.handle(order)
    wait_for(
        lambda: all(desk.sim.orders(desk.venue, o.client_order_id) for o in orders),
        "the venue has all five",
    )
    desk.sim.fault("ws_drop", desk.venue, on="private")
    for order in orders:
        result = desk.wait(SubmitResult, lambda m, o=order: m.client_order_id == o.client_order_id)
        assert result.outcome == "UNKNOWN"
    desk.sim.ctl("fault", method="DELETE")
    for order in orders:
        assert query(desk, order.client_order_id).found
        assert is_at_the_venue_once(desk, order)
        assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_request_lost_with_the_link_never_goes_over_rest(desk):
    desk.sim.fault("drop_request", desk.venue, on="order", count=1)
    order = desk.new_order(price="31200")
    assert ask(desk, order).outcome == "UNKNOWN"
    assert query(desk, order.client_order_id).found is False
    assert desk.sim.requests(desk.venue, order.client_order_id) == []


def test_a_half_open_link_swallows_orders_and_is_replaced(make):
    desk = make(timeouts=QUICK).start(books=False)
    mark = desk.mark()
    desk.sim.fault("ws_half_open", desk.venue, on="private")
    order = desk.new_order(price="31300")
    assert ask(desk, order).outcome == "UNKNOWN"
    desk.wait(LinkChanged, lambda m: m.link == "trade" and not m.up, mark)
    desk.wait(LinkChanged, lambda m: m.link == "trade" and m.up, mark)
    assert query(desk, order.client_order_id).found is False
    assert desk.sim.requests(desk.venue, order.client_order_id) == []


def test_a_link_that_falls_silent_in_place_of_an_answer(make):
    desk = make(timeouts=QUICK).start(books=False)
    desk.sim.fault("ws_half_open", desk.venue, on="reply", count=1)
    order = desk.new_order(price="31400")
    assert ask(desk, order).outcome == "UNKNOWN"
    assert query(desk, order.client_order_id).order.status == "NEW"
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_an_answer_that_never_comes_on_a_healthy_link(make):
    desk = make(timeouts=Timeouts(read_s=0.5)).start(books=False)
    mark = desk.mark()
    desk.sim.fault("ws_gap", desk.venue, on="reply", count=1)
    order = desk.new_order(price="31500")
    result = ask(desk, order)
    assert (result.outcome, "ReadTimeout" in result.text) == ("UNKNOWN", True)
    assert query(desk, order.client_order_id).order.status == "NEW"
    assert is_at_the_venue_once(desk, order)
    assert not desk.found(LinkChanged, lambda m: m.link == "trade", mark)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_late_acknowledgement_still_proves_that_the_order_is_there(make):
    desk = make(timeouts=Timeouts(read_s=0.3)).start(books=False)
    desk.sim.fault("private_event_lost", desk.venue, on="private", count=50)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=900, when="after")
    order = desk.new_order(price="31600")
    assert ask(desk, order).outcome == "UNKNOWN"
    report = told(desk, order, "NEW")
    (there,) = desk.sim.orders(desk.venue, order.client_order_id)
    assert report.venue_order_id == there["venue_order_id"]
    assert is_at_the_venue_once(desk, order)
    desk.sim.ctl("fault", method="DELETE")
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_late_refusal_still_proves_that_the_order_is_not_there(make):
    desk = make(timeouts=Timeouts(read_s=0.3)).start(books=False)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=900, when="after")
    order = desk.new_order(price="60000", quantity="100")
    assert ask(desk, order).outcome == "UNKNOWN"
    report = told(desk, order, "REJECTED")
    assert "insufficient" in report.reason.lower()
    assert len(results(desk, order)) == 1
    assert desk.sim.requests(desk.venue, order.client_order_id) == []


def test_an_order_that_is_executed_late_is_found(make):
    desk = make(timeouts=Timeouts(read_s=0.3)).start(books=False)
    desk.sim.fault("late_execution", desk.venue, on="order", count=1, ms=900)
    order = desk.new_order(price="31700")
    assert ask(desk, order).outcome == "UNKNOWN"
    assert query(desk, order.client_order_id).found is False  # which proves nothing yet
    told(desk, order, "NEW")
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_doubled_answer_counts_once(desk):
    desk.sim.fault("ws_duplicate", desk.venue, on="reply", count=1)
    order = desk.new_order(price="31800")
    assert ask(desk, order).outcome == "ACCEPTED"
    wait_for(lambda: trade_link(desk).problems["unsolicited"] == 1, "the second answer came")
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_answers_in_the_other_order_reach_their_own_orders(desk):
    desk.sim.fault("ws_reorder", desk.venue, on="reply", count=1)
    first, second = desk.new_order(price="31900"), desk.new_order(price="31901")
    desk.adapter.handle(first)
    desk.adapter.handle(second)
    for order in (second, first):
        result = desk.wait(SubmitResult, lambda m, o=order: m.client_order_id == o.client_order_id)
        (there,) = desk.sim.orders(desk.venue, order.client_order_id)
        assert (result.outcome, result.venue_order_id) == ("ACCEPTED", there["venue_order_id"])
    outcomes = [m.client_order_id for m in desk.found(SubmitResult)]
    assert outcomes == [second.client_order_id, first.client_order_id]
    for order in (first, second):
        assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("kind", ["malformed_200", "empty_200", "html_200", "truncated"])
def test_an_answer_that_cannot_be_read_belongs_to_nobody_and_the_link_lives_on(make, kind):
    desk = make(timeouts=Timeouts(read_s=0.5)).start(books=False)
    mark = desk.mark()
    desk.sim.fault(kind, desk.venue, on="order", count=1)
    order = desk.new_order(price="32000")
    assert ask(desk, order).outcome == "UNKNOWN"
    assert query(desk, order.client_order_id).found
    assert is_at_the_venue_once(desk, order)
    assert trade_link(desk).problems["malformed"] == 1
    assert not desk.found(LinkChanged, lambda m: m.link == "trade", mark)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_what_the_venue_refused_for_its_rate_is_sent_anew_over_the_same_road(desk):
    desk.sim.fault("rate_limit_429", desk.venue, on="order", count=1, retry_after_s=1)
    order = desk.new_order(price="32100")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_what_was_refused_is_not_sent_over_rest_when_the_link_has_gone(make):
    desk = make().start(books=False)
    desk.sim.fault("rate_limit_429", desk.venue, on="order", count=1, retry_after_s=1)
    order = desk.new_order(price="32200")
    desk.adapter.handle(order)
    governor = desk.adapter._session.governor
    wait_for(lambda: governor.blocked_until_ns, "the refusal has come")
    trade_link(desk).link.give_up()
    result = desk.wait(SubmitResult, lambda m: m.client_order_id == order.client_order_id)
    assert (result.outcome, result.code) == ("REJECTED", "rate_limited")
    assert desk.sim.requests(desk.venue, order.client_order_id) == []


def test_an_order_that_was_answered_meanwhile_is_not_sent_anew(make):
    desk = make().start(books=False)
    desk.sim.fault("rate_limit_429", desk.venue, on="order", count=1, retry_after_s=1)
    order = desk.new_order(price="32250")
    desk.adapter.handle(order)
    session = desk.adapter._session
    wait_for(lambda: session.governor._waiting[Priority.NEW], "it waits to be sent anew")
    desk.adapter._pending.end_all("crashed", "as a crash does")
    wait_for(lambda: not session.governor._waiting[Priority.NEW], "it would be sent now")
    done = threading.Event()
    assert session.trade.put("BTC/USDT", lambda _: done.set())
    assert done.wait(10), "the worker has finished with it"
    assert [m.outcome for m in results(desk, order)] == ["UNKNOWN"]
    assert query(desk, order.client_order_id).found is False
    assert desk.sim.requests(desk.venue, order.client_order_id) == []


def test_an_expiry_that_has_passed_is_no_proof_and_mends_the_clock(desk):
    if not desk.traits.late_code:
        pytest.skip(
            "there it is a refusal: test_a_wrong_clock_is_corrected_and_the_order_sent_once"
        )
    desk.sim.fault("clock_skew", desk.venue, ms=60000)
    order = desk.new_order(price="32300")
    result = ask(desk, order)
    assert (result.outcome, result.code) == ("UNKNOWN", desk.traits.late_code)
    session = desk.adapter._session
    wait_for(lambda: session.offset.offset_ms() > 59_000, "the clock is corrected")
    assert query(desk, order.client_order_id).found is False
    other = desk.new_order(price="32400")
    assert ask(desk, other).outcome == "ACCEPTED"
    assert cancel(desk, other).outcome == "ACCEPTED"
    desk.sim.ctl("fault", method="DELETE")
    session.ask_clock()
    wait_for(lambda: abs(session.offset.offset_ms()) < 1000, "the clock is right")


# --- the gate


def test_an_order_that_waits_for_tokens_is_stopped_by_the_gate(make):
    desk = make(rate_limit_share=0.2).start(books=False)
    session = desk.adapter._session
    orders, waiting = [], None

    def is_settled(order):
        return results(desk, order) or session.governor._waiting[Priority.NEW]

    while waiting is None:
        order = desk.new_order(price="32500")
        desk.adapter.handle(order)
        wait_for(lambda order=order: is_settled(order), "answered, or waiting for tokens")
        if results(desk, order):
            orders.append(order)
        else:
            waiting = order
    behind = desk.new_order(price="32600")
    desk.adapter.handle(behind)  # takes its place in the queue, and does not overtake
    desk.adapter.handle(SetGate("g1", closed=True, symbols=[]))
    assert desk.wait(GateChanged).closed
    for order in (waiting, behind):
        result = desk.wait(SubmitResult, lambda m, o=order: m.client_order_id == o.client_order_id)
        assert (result.outcome, result.code) == ("NOT_SENT", "gate_closed")
        assert desk.sim.requests(desk.venue, order.client_order_id) == []
    assert orders
    for order in orders:
        assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_gate_that_is_being_passed_is_not_waited_for_in_the_callers_thread(desk):
    gate = desk.adapter._gate
    order = desk.new_order(price="32700")
    with gate.passing(desk.new_order(expires_mono_ns=CLOCK.mono_ns() + NS_PER_S)):
        desk.adapter.handle(order)  # returns, or this test would never end
        assert results(desk, order) == []
    assert ask(desk, order).outcome == "ACCEPTED"
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


# --- cancels


@pytest.mark.parametrize("kind", ["lost_reply", "drop_request", "error_5xx"])
def test_a_cancel_without_a_plain_answer_is_tried_over_rest_and_told_once(desk, kind):
    order = desk.new_order(price="32800")
    assert ask(desk, order).outcome == "ACCEPTED"
    desk.sim.fault(kind, desk.venue, on="cancel", count=1)
    mark = desk.mark()
    result = cancel(desk, order)
    done_before = kind != "drop_request"
    assert (result.outcome, result.code) == (
        ("REJECTED", "not_found") if done_before else ("ACCEPTED", "")
    )
    requests = desk.sim.requests(desk.venue, order.client_order_id)
    assert requests == [("place", "ws"), ("cancel", "ws" if done_before else "rest")]
    told(desk, order, "CANCELED", source="stream")
    assert len(desk.found(CancelResult, since=mark)) == 1


# --- lives


def test_many_threads_at_once_are_answered_once_each(make):
    desk = make(rate_limit_share=1.0, timeouts=Timeouts()).start(books=False)
    orders = [desk.new_order(price=str(20000 + i), quantity="0.001") for i in range(40)]

    def send(mine):
        for order in mine:
            desk.adapter.handle(order)

    threads = [threading.Thread(target=send, args=(orders[i::8],)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for order in orders:
        result = desk.wait(SubmitResult, lambda m, o=order: m.client_order_id == o.client_order_id)
        assert result.outcome == "ACCEPTED", result
    for order in orders:
        assert is_at_the_venue_once(desk, order)
        desk.adapter.handle(
            CancelOrder(desk.config.account, order.client_order_id, None, "BTC/USDT")
        )
    wait_for(lambda: len(desk.found(CancelResult)) == 40, "all are canceled")


def test_a_link_is_renewed_for_its_age_between_requests(make):
    desk = make(timeouts=Timeouts(link_age_s=3.0, read_s=10)).start(books=False)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=2600, when="after")
    mark = desk.mark()
    order = desk.new_order(price="32900")
    assert ask(desk, order).outcome == "ACCEPTED"  # although its link has grown old meanwhile
    down = desk.wait(LinkChanged, lambda m: m.link == "trade" and not m.up, mark)
    assert "renewed for its age" in down.reason
    (result,) = results(desk, order)
    assert desk.reports.index(result) < desk.reports.index(down)
    desk.wait(LinkChanged, lambda m: m.link == "trade" and m.up, desk.reports.index(down))
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_stopping_in_the_middle_leaves_the_order_unknown_and_answered_once(make):
    desk = make(timeouts=Timeouts(read_s=60)).start(books=False)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=1200, when="after")
    order = desk.new_order(price="33000")
    desk.adapter.handle(order)
    wait_for(lambda: desk.sim.orders(desk.venue, order.client_order_id), "the venue has it")
    desk.adapter.stop(0.3)
    assert [m.outcome for m in results(desk, order)] == ["UNKNOWN"]
    wait_for(lambda: not any(t.is_alive() for t in desk.threads), "the threads have ended")
    assert len(results(desk, order)) == 1
    desk.start(books=False)
    assert is_at_the_venue_once(desk, order)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_an_orderly_stop_waits_for_the_answer_that_is_coming(make):
    desk = make().start(books=False)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=300, when="after")
    order = desk.new_order(price="33100")
    desk.adapter.handle(order)
    assert desk.adapter.stop(10)
    assert [m.outcome for m in results(desk, order)] == ["ACCEPTED"]
    desk.start(books=False)
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_bug_in_reading_an_answer_ends_the_session_and_answers_unknown(desk):
    def bug(*_):
        raise ZeroDivisionError("a bug of ours")

    desk.adapter._session.desk.codec.read_submit = bug
    order = desk.new_order(price="33200")
    desk.adapter.handle(order)
    failed = desk.wait(AdapterFailed)
    assert (failed.code, "ws-trade: ZeroDivisionError" in failed.text) == ("crashed", True)
    assert ask(desk, order).outcome == "UNKNOWN"
    assert desk.adapter.stop(5)
    desk.start(books=False)
    assert query(desk, order.client_order_id).found
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"
