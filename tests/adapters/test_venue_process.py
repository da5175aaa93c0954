"""A venue's process dies, hangs, loses its core: what is answered, what leaves, what can be seen."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from rig import CLOCK, ask, cancel, query
from waiting import wait_for

from adapters.adapter import VenueAdapter
from adapters.dead_man import DeadMan
from engine.clock import NS_PER_S
from engine.errors import Fenced
from engine.ids import client_order_id
from engine.messages.base import replaced
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    GateChanged,
    LinkChanged,
    QueryOrder,
    SetGate,
    SubmitResult,
)

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("adapters")]


@pytest.fixture
def isolation():
    return "process"


def outcomes(desk):
    results = desk.found(SubmitResult)
    told = {m.client_order_id: m.outcome for m in results}
    assert len(told) == len(results), "each submit is answered once"
    return told


def minted(desk, number, instance="rig"):
    """Return an order as this instance, or another one, names it."""
    name = client_order_id(instance, f"{desk.venue}-{time.monotonic_ns()}-{number}")
    price = f"{36000 + 10 * number}"
    return replaced(desk.new_order(price=price), client_order_id=name)


def kill(desk, number=signal.SIGKILL):
    os.kill(desk.adapter.process.pid, number)


@pytest.mark.parametrize("road", ["ws", "rest"])
def test_a_killed_process_leaves_what_it_was_sending_unknown_and_its_successor_finds_it(desk, road):
    desk.sim.fault("delay", desk.venue, on="order", count=2, ms=800, when="after")
    order, waiting = desk.new_order(price="37000"), desk.new_order(price="37001")
    desk.adapter.handle(order)
    desk.adapter.handle(waiting)
    at_the_venue = [order, waiting] if road == "ws" else [order]
    for sent in at_the_venue:
        wait_for(
            lambda sent=sent: desk.sim.orders(desk.venue, sent.client_order_id), "the venue has it"
        )
    kill(desk)
    failed = desk.wait(AdapterFailed)
    assert failed.code == "crashed"
    assert "SIGKILL" in failed.text
    assert set(outcomes(desk)) == {order.client_order_id, waiting.client_order_id}
    assert set(outcomes(desk).values()) == {"UNKNOWN"}
    late = desk.new_order()
    assert ask(desk, late).outcome == "NOT_SENT", "nobody is there any more"
    desk.start()
    if road == "rest":
        assert query(desk, waiting.client_order_id).found is False
    for sent in at_the_venue:
        assert query(desk, sent.client_order_id).found
        assert len(desk.sim.orders(desk.venue, sent.client_order_id)) == 1
        assert cancel(desk, sent).outcome == "ACCEPTED"


def test_what_never_got_to_a_stuck_process_is_not_sent_and_silence_has_it_killed(make):
    desk = make(hosting={"silent_s": 1.5}).start()
    pid = desk.adapter.process.pid
    kill(desk, signal.SIGSTOP)
    long = QueryOrder(desk.config.account, "x" * 60, "y" * 60, "BTC/USDT", 0)
    while not desk.adapter.process.writer.unsent():  # until the kernel takes no more
        desk.adapter.handle(long)
    order = desk.new_order()
    desk.adapter.handle(order)
    failed = desk.wait(AdapterFailed)
    assert "silent" in failed.text
    assert not Path(f"/proc/{pid}").exists(), "its death came first"
    assert outcomes(desk) == {order.client_order_id: "NOT_SENT"}
    assert desk.sim.orders(desk.venue, order.client_order_id) == []
    desk.start()


def test_a_gate_is_closed_by_the_death_of_the_process_and_stays_closed_after_it(make):
    desk = make(hosting={"silent_s": 1.5}).start()
    kill(desk, signal.SIGSTOP)
    desk.adapter.handle(SetGate("halt-1", True, []))
    kill(desk)
    desk.wait(GateChanged, lambda m: m.request_id == "halt-1" and m.closed)
    assert not desk.adapter.process.is_alive()
    desk.start()
    refused = ask(desk, desk.new_order())
    assert (refused.outcome, refused.code) == ("NOT_SENT", "gate_closed")
    desk.adapter.handle(SetGate("resume-1", False, []))
    order = desk.new_order(price="37002")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_gate_that_a_stuck_process_does_not_close_is_closed_by_killing_it(make):
    desk = make(hosting={"silent_s": 60.0}).start()
    kill(desk, signal.SIGSTOP)
    desk.adapter.handle(SetGate("halt-1", True, []))
    desk.wait(GateChanged, lambda m: m.request_id == "halt-1" and m.closed)
    assert not desk.adapter.process.is_alive()


def test_a_gate_is_confirmed_at_once_while_the_process_has_not_begun(make):
    desk = make()
    desk.adapter.start()
    desk.adapter.handle(SetGate("halt-1", True, []))
    desk.wait(GateChanged, lambda m: m.closed)
    assert not desk.found(AdapterReady), "nobody waits for the process to have begun"
    desk.wait(AdapterReady)
    refused = ask(desk, desk.new_order())
    assert (refused.outcome, refused.code) == ("NOT_SENT", "gate_closed")


def test_a_successor_starts_only_after_its_predecessor_is_dead(desk):
    before = desk.adapter.process
    kill(desk, signal.SIGSTOP)  # it cannot end by itself
    desk.start()
    assert not before.is_alive()
    assert desk.adapter.process.pid != before.pid


def test_nobody_reads_a_key_in_the_process_list_or_the_environment(make, monkeypatch):
    probe = make()
    account = probe.sim.endpoints["accounts"][probe.venue]
    monkeypatch.setenv("EXCHANGE_SECRET", account["api_secret"])
    desk = make().start()
    pid = desk.adapter.process.pid
    for name in ("cmdline", "environ"):
        data = Path(f"/proc/{pid}/{name}").read_bytes()
        assert data
        for secret in account.values():
            assert secret.encode() not in data


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_stopping_is_left_to_the_core(desk, number):
    kill(desk, number)
    order = desk.new_order(price="37003")
    assert ask(desk, order).outcome == "ACCEPTED"
    assert cancel(desk, order).outcome == "ACCEPTED"
    assert desk.adapter.stop(5)
    assert desk.adapter.process.ended_well
    assert not desk.found(AdapterFailed)


def test_ages_may_be_computed_across_the_boundary(make):
    before_ns = CLOCK.mono_ns()
    desk = make().start()
    up = desk.wait(LinkChanged, lambda m: m.link == "public" and m.up)
    book = desk.live()
    after_ns = CLOCK.mono_ns()
    assert before_ns < up.mono_ns < after_ns
    assert before_ns < book.mono_received_ns < after_ns
    late = ask(desk, desk.new_order(expires_mono_ns=CLOCK.mono_ns() - 1))
    assert (late.outcome, late.code) == ("NOT_SENT", "expired")


def test_memory_is_told(desk):
    told = wait_for(lambda: desk.adapter.host.view()["memory_bytes"], "a beat")
    assert 5_000_000 < told < 500_000_000
    assert desk.adapter.host.view()["pid"] == desk.adapter.process.pid
    assert desk.adapter.host.view()["restarts"] == 0


def test_a_reader_that_was_given_up_ends_the_session_and_every_submit_is_answered(desk):
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=300, when="after")
    order = desk.new_order(price="37004")
    desk.adapter.handle(order)
    wait_for(lambda: desk.sim.orders(desk.venue, order.client_order_id), "the venue has the order")
    gate = threading.Event()

    def stuck(*_):
        gate.wait()  # as in an actor whose handler hangs
        raise Fenced("this thread was given up")

    desk.adapter.reports.pass_on = stuck
    desk.adapter.port.shut()  # what the actor does that is told of it
    desk.adapter.stop(3)
    assert outcomes(desk) == {order.client_order_id: "UNKNOWN"}
    assert not desk.adapter.process.is_alive()
    gate.set()
    del desk.adapter.reports.pass_on
    desk.start()
    assert query(desk, order.client_order_id).found
    assert cancel(desk, order).outcome == "ACCEPTED"
    assert len(desk.found(SubmitResult)) == 1


# --- the core is lost -----------------------------------------------------------------------------


def lose_core(desk):
    """Close the core's end, as its death does; return the process."""
    process = desk.adapter.process
    desk.adapter.port._end = lambda *_: None  # a dead core does nothing
    desk.adapter.port._over.set()
    process._sock.shutdown(2)
    return process


def losses(tmp_path):
    return [json.loads(path.read_text()) for path in tmp_path.glob("core_loss/*.json")]


def hosting(tmp_path, cancel_after_s, **more):
    return {"state_dir": str(tmp_path), "cancel_after_s": cancel_after_s, **more}


def test_without_a_core_this_instances_orders_are_cancelled_and_zero_open_is_proven(make, tmp_path):
    desk = make(hosting=hosting(tmp_path, 0.5)).start()
    mine = [minted(desk, n) for n in range(3)]
    sibling = minted(desk, 3, instance="another")
    for order in (*mine, sibling):
        assert ask(desk, order).outcome == "ACCEPTED"
    late = minted(desk, 4)
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=900, when="before")
    desk.adapter.handle(late)  # on its way when the core is lost: it arrives, and is cancelled, too
    wait_for(lambda: not desk.sim.ctl("active"), "the request is at the venue's door")
    process = lose_core(desk)
    wait_for(lambda: not process.is_alive(), "it ends by itself", 30)
    assert process.ended_well
    statuses = {
        o.client_order_id: desk.sim.orders(desk.venue, o.client_order_id) for o in (*mine, late)
    }
    open_left = [n for n, found in statuses.items() if found and found[0]["status"] == "NEW"]
    assert open_left == []
    assert desk.sim.orders(desk.venue, sibling.client_order_id)[0]["status"] == "NEW"
    [told] = losses(tmp_path)
    assert told["is_proven"]
    assert told["left"] == []
    assert {o.client_order_id for o in mine} <= set(told["canceled"])
    assert told["venue"] == desk.venue
    other = make().start()
    assert cancel(other, sibling).outcome == "ACCEPTED"


def test_without_a_core_and_told_to_leave_orders_it_ends_at_once(make, tmp_path):
    desk = make(hosting=hosting(tmp_path, None)).start()
    order = minted(desk, 0)
    assert ask(desk, order).outcome == "ACCEPTED"
    process = lose_core(desk)
    wait_for(lambda: not process.is_alive(), "it ends", 3)
    assert desk.sim.orders(desk.venue, order.client_order_id)[0]["status"] == "NEW"
    assert losses(tmp_path) == []
    other = make().start()
    assert cancel(other, order).outcome == "ACCEPTED"


def test_a_core_that_is_back_takes_over_and_nothing_is_cancelled(make, tmp_path):
    desk = make(hosting=hosting(tmp_path, 2.0)).start()
    order = minted(desk, 0)
    assert ask(desk, order).outcome == "ACCEPTED"
    process = lose_core(desk)
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal" / "journal.lock").write_text(f"{os.getppid()}\n")  # somebody who lives
    wait_for(lambda: not process.is_alive(), "it ends", 3)
    assert desk.sim.orders(desk.venue, order.client_order_id)[0]["status"] == "NEW"
    assert losses(tmp_path) == []
    other = make().start()
    assert cancel(other, order).outcome == "ACCEPTED"


@pytest.mark.parametrize("road", ["rest"])
def test_nothing_leaves_a_process_that_has_lost_its_core(make, tmp_path):
    desk = make(hosting=hosting(tmp_path, 3.0)).start()
    desk.sim.fault("delay", desk.venue, on="order", count=1, ms=500, when="after")
    first, waiting = minted(desk, 0), minted(desk, 1)
    desk.adapter.handle(first)
    desk.adapter.handle(waiting)  # behind the first in the worker's queue
    wait_for(lambda: desk.sim.orders(desk.venue, first.client_order_id), "the venue has the first")
    process = lose_core(desk)
    wait_for(lambda: not process.is_alive(), "it ends", 20)
    assert desk.sim.orders(desk.venue, waiting.client_order_id) == []
    [told] = losses(tmp_path)
    assert told["canceled"] == [first.client_order_id]


# --- the venue's own dead man's switch --------------------------------------------------------------


@pytest.mark.parametrize("isolation", ["thread"])
def test_a_dead_mans_switch_is_kept_while_orders_rest_and_fires_when_nobody_is_there(
    isolation, make
):
    desk = make()
    if not desk.traits.has_dead_man:
        return
    desk.start()
    assert isinstance(desk.adapter, VenueAdapter)
    dead_man = DeadMan(desk.config, "rig", CLOCK, fires_after_s=10)
    dead_man.keep(desk.adapter)
    assert not dead_man.is_armed, "nothing rests"
    order = minted(desk, 0)
    dead_man.observe(ask(desk, order))

    def is_armed():
        dead_man.keep(desk.adapter)
        return dead_man.is_armed

    wait_for(is_armed, "the switch is on")

    def status():
        return desk.sim.orders(desk.venue, order.client_order_id)[0]["status"]

    kept_until_ns = CLOCK.mono_ns() + 13 * NS_PER_S

    def is_kept_for_longer_than_it_fires_after():
        dead_man.keep(desk.adapter)
        assert status() == "NEW"
        return CLOCK.mono_ns() >= kept_until_ns

    wait_for(is_kept_for_longer_than_it_fires_after, "the venue's switch has not fired")
    wait_for(lambda: status() == "CANCELED", "it fires", 15)
    ended = desk.wait(
        type(desk.found(object, lambda m: type(m).__name__ == "OrderReport")[0]),
        lambda m: m.client_order_id == order.client_order_id and m.status == "CANCELED",
    )
    dead_man.observe(ended)

    def is_off():
        dead_man.keep(desk.adapter)
        return not dead_man.is_armed

    wait_for(is_off, "it is turned off once nothing rests")
