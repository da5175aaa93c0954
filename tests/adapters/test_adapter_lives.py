"""An adapter's lives: starting, crashing, stopping, restarting, and what it never tells."""

from itertools import pairwise

import pytest
from rig import Desk, ask, cancel, query
from waiting import wait_for

from adapters.registry import Secret
from engine.clock import NS_PER_S
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    LinkChanged,
    Reconcile,
    ReconcileResult,
    Resubscribe,
    SubmitResult,
)
from engine.trading.instrument import unscale
from simulator.venue import demo_accounts

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("adapters")]


@pytest.fixture(params=["thread", "process"])
def isolation(request):
    return request.param


def levels(flat, book):
    return [
        (unscale(flat[i], book.price_exponent), unscale(flat[i + 1], book.quantity_exponent))
        for i in range(0, len(flat), 2)
    ]


def test_a_refused_key_is_told_once_and_not_tried_again(make):
    desk = make(api_secret=Secret("wrong"))
    desk.adapter.start()
    ready = desk.wait(AdapterReady)
    assert ready.account_uid is None, "nobody knows whose account this would be"
    failed = desk.wait(AdapterFailed)
    assert failed.code == "auth"
    assert desk.reports.index(ready) < desk.reports.index(failed), "the refusal has the last word"
    if desk.isolation == "thread":  # what can be seen from inside
        private = desk.adapter._session.private
        wait_for(lambda: private.link is not None, "the private link is begun")
        link = private.link
        wait_for(lambda: link._given_up, "the private link is given up")
        assert link.connections <= 1, "none where the address itself is refused"
    else:
        desk.live()
    assert len(desk.found(AdapterFailed)) <= 2, "once by REST, once by the link"
    assert not any("wrong" in str(m) for m in desk.reports)


def test_a_session_says_whose_account_it_has_before_it_opens_a_private_link(desk):
    ready = desk.found(AdapterReady)[0]
    uid = demo_accounts(desk.venue)[0].told_uid
    assert ready.account_uid == uid
    assert (uid is not None) == desk.traits.tells_uid
    private = desk.found(LinkChanged, lambda m: m.link == "private")[0]
    assert desk.reports.index(ready) < desk.reports.index(private)


def test_a_restarted_venue_is_followed_to_its_new_life(desk):
    mark = desk.mark()
    desk.sim.fault("venue_restart", desk.venue, count=1, down_ms=300)
    down = desk.wait(LinkChanged, lambda m: m.link == "public" and not m.up, mark)
    at = desk.reports.index(down)
    desk.live(since=at)
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, at)
    order = desk.new_order(price="38000")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_an_adapter_waits_for_a_venue_that_is_away(make):
    desk = make()
    desk.sim.fault("refuse_connections", desk.venue, count=1, s=1)
    desk.start()
    assert desk.found(LinkChanged, lambda m: m.link == "rest" and m.up)


@pytest.mark.parametrize("road", ["rest"])
@pytest.mark.parametrize("isolation", ["thread"])  # a bug cannot be planted in another process
def test_a_worker_that_dies_of_a_bug_ends_the_session_and_answers_unknown(isolation, make):
    desk = make().start()

    def bug(*_):
        raise ZeroDivisionError("a bug of ours")

    desk.adapter._session.desk.codec.read_submit = bug
    order, waiting = desk.new_order(price="39000"), desk.new_order()
    desk.adapter.handle(order)
    desk.adapter.handle(waiting)
    failed = desk.wait(AdapterFailed)
    assert failed.code == "crashed"
    assert "ZeroDivisionError" in failed.text
    assert ask(desk, order).outcome == "UNKNOWN"
    assert ask(desk, waiting).outcome == "NOT_SENT"
    assert desk.adapter.stop(5)
    mark = desk.mark()
    desk.start()
    assert len(desk.found(AdapterReady, since=mark)) == 1
    assert query(desk, order.client_order_id).found
    assert len(desk.sim.orders(desk.venue, order.client_order_id)) == 1
    assert cancel(desk, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("isolation", ["thread"])  # as above
def test_a_public_link_that_dies_of_a_bug_takes_its_whole_session_along_and_no_other(
    isolation, make
):
    """Links, codec and books of a venue fall and rise together; the other venue's go on."""
    desk = make().start()
    other = Desk(desk.sim, "okx" if desk.venue == "binance" else "binance").start()
    try:
        session = list(desk.threads)

        def bug(*_):
            raise ZeroDivisionError("a bug of ours")

        desk.adapter._session.public._codec.on_public = bug
        failed = desk.wait(AdapterFailed)
        assert failed.code == "crashed"
        assert "public: ZeroDivisionError" in failed.text
        wait_for(lambda: not any(t.is_alive() for t in session), "the private link has ended too")
        mark, elsewhere = desk.mark(), other.mark()
        assert ask(desk, desk.new_order()).outcome == "NOT_SENT"
        other.live(since=elsewhere)
        assert not desk.found(VenueBook, since=mark), "nothing is told of a book that nobody keeps"
        assert desk.adapter.stop(5)
        desk.start()
        assert not other.found(AdapterFailed)
        assert not other.found(LinkChanged, lambda m: not m.up)
    finally:
        assert other.adapter.stop(5)


@pytest.mark.parametrize("road", ["rest"])
def test_stopping_in_the_middle_of_a_submit_leaves_it_unknown_and_answers_once(desk):
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=1200, when="after")
    order, waiting = desk.new_order(price="40000"), desk.new_order()
    desk.adapter.handle(order)
    desk.adapter.handle(waiting)
    wait_for(lambda: desk.sim.orders(desk.venue, order.client_order_id), "the venue has the order")
    assert not desk.adapter.stop(0.1)
    results = {m.client_order_id: m.outcome for m in desk.found(SubmitResult)}
    assert results == {order.client_order_id: "UNKNOWN", waiting.client_order_id: "NOT_SENT"}
    wait_for(lambda: not any(t.is_alive() for t in desk.threads), "the threads have ended")
    assert len(desk.found(SubmitResult)) == 2
    desk.start()
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_without_a_session_every_command_is_answered_at_once(make):
    desk = make()
    order = desk.new_order()
    assert ask(desk, order).outcome == "NOT_SENT"
    assert cancel(desk, order).outcome == "NOT_SENT"
    assert query(desk, order.client_order_id).found is None
    desk.adapter.handle(Reconcile("r1", desk.config.account, 0))
    assert not desk.wait(ReconcileResult).ok


def test_resubscribe_publishes_every_book_and_link_anew(desk):
    desk.sim.ctl("flow", {"on": False})
    mark = desk.mark()
    desk.adapter.handle(Resubscribe("the actor has restarted"))
    for symbol in desk.config.symbols:
        desk.live(symbol, since=mark)
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, mark)


def test_books_are_conflated_to_the_asked_interval(make):
    desk = make(publish_interval_ms=500).start()
    mark = desk.mark()
    wait_for(
        lambda: len(desk.found(VenueBook, lambda b: b.symbol == "BTC/USDT", mark)) >= 4, "4 books"
    )
    books = desk.found(VenueBook, lambda b: b.symbol == "BTC/USDT", mark)
    gaps_ns = [b.mono_received_ns - a.mono_received_ns for a, b in pairwise(books)]
    assert min(gaps_ns) >= 0.3 * NS_PER_S


def test_a_key_never_appears_in_what_is_reported(desk):
    desk.sim.fault("lost_reply", desk.venue, on="order", count=1)
    ask(desk, desk.new_order())
    account = desk.sim.endpoints["accounts"][desk.venue]
    text = repr(desk.reports) + repr(desk.config)
    assert account["api_secret"] not in text
    assert account["api_key"] not in text
    assert "signature" not in text
