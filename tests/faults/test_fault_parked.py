"""A poison message in a real core: parked, listed after a kill -9, retried or discarded by hand."""

import json
import os
import subprocess
import sys

import pytest
from checker import problems, read_journal
from core_process import ROOT
from waiting import wait_for

from engine.client import RequestRefused
from engine.messages.engine_events import (
    CommandRecorded,
    MessageParked,
    MessageSettled,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def poison(actor, kind):
    """Return what makes an actor crash three times at the first message of a kind."""
    return ",".join(f"{actor}:{kind}:{n}:RuntimeError" for n in (1, 2, 3))


def xcore(core, *words, exit_code=0):
    """Run the CLI in a process of its own; return its JSON."""
    done = subprocess.run(
        [sys.executable, "cli.py", "--json", "--state-dir", str(core.state_dir), *words],
        cwd=ROOT, capture_output=True, text=True, timeout=30, check=False, env=os.environ,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def journaled(core, kind):
    return [event for _, event in read_journal(core.journal).records if isinstance(event, kind)]


def finish(core, venues, acknowledged):
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, acknowledged) == []


def test_a_parked_fill_is_reconciled_at_once_and_its_retry_after_a_kill_9_doubles_nothing(
    core, venues
):
    core.start(XCORE_CRASH_ACTOR=poison("exchange.okx", "FillReport"))
    assert core.ready()
    with core.client() as client:
        order = client.place(
            "okx", "BTC/USDT", "buy", "0.002", market=True, command_id="c1", wait="none"
        )
        (row,) = wait_for(lambda: client.request("actor.parked"), "the fill is parked")
        wait_for(
            lambda: client.order(order["order_id"])["status"] == "FILLED",
            "the reconciliation brings the fill",
        )
    assert (row["actor"], row["kind"], row["attempts"]) == ("exchange.okx", "FillReport", 3)
    assert row["error"].startswith("RuntimeError: drill")
    assert "symbol BTC/USDT, side BUY" in row["text"]
    assert "in_handler" in row["traceback"] or "faultpoints" in row["traceback"]
    core.kill()

    core.start()
    assert core.ready()
    assert xcore(core, "actor", "parked", "exchange.okx") == [row]
    assert xcore(core, "actor", "parked", "risk_pnl") == []
    answer = xcore(core, "actor", "retry", row["id"])
    assert answer["outcome"] == "APPLIED"
    assert xcore(core, "actor", "parked") == []
    xcore(core, "actor", "retry", row["id"], exit_code=3)
    with core.client() as client:
        assert client.order(order["order_id"])["filled_quantity"] == "0.002"
        assert client.status()["trading_state"] == "ACTIVE"
    core.kill()

    core.start()
    assert core.ready()
    assert xcore(core, "actor", "parked") == []
    finish(core, venues, {"c1"})
    (settled,) = journaled(core, MessageSettled)
    assert settled.who == answer["who"] == f"uid:{os.getuid()}"
    asked = [e for e in journaled(core, CommandRecorded) if e.what == "actor retry"]
    assert [e.arguments for e in asked] == [row["id"]] * 2


def test_a_parked_command_is_answered_and_its_retry_after_a_kill_9_is_the_one_order(core, venues):
    core.start(XCORE_CRASH_ACTOR=poison("order_router", "PlaceOrder"))
    assert core.ready()
    place = ("okx", "BTC/USDT", "buy", "0.002")
    with core.client() as client:
        with pytest.raises(RequestRefused, match="FAILED_POISON"):
            client.place(*place, market=True, command_id="c1")
        (row,) = client.request("actor.parked")
    assert (row["actor"], row["kind"]) == ("order_router", "PlaceOrder")
    wait_for(lambda: journaled(core, MessageParked), "it is journaled")
    core.kill()

    core.start()
    assert core.ready()
    assert xcore(core, "actor", "retry", row["id"])["outcome"] == "APPLIED"
    with core.client() as client:
        order = client.place(*place, market=True, command_id="c1", wait="filled")
        assert order["status"] == "FILLED"
        assert len(client.orders()) == 1, "the command id makes no second order"
    finish(core, venues, {"c1"})


def test_a_discarded_command_is_forgotten_for_good_with_who_and_why(core, venues):
    core.start(XCORE_CRASH_ACTOR=poison("order_router", "PlaceOrder"))
    assert core.ready()
    with core.client() as client:
        with pytest.raises(RequestRefused, match="FAILED_POISON"):
            client.place("okx", "BTC/USDT", "buy", "0.002", market=True, command_id="c1")
        (row,) = client.request("actor.parked")
    answer = xcore(core, "actor", "discard", row["id"], "--reason", "nobody wants it any more")
    assert answer["outcome"] == "DISCARDED"
    core.kill()
    core.start()
    assert core.ready()
    assert xcore(core, "actor", "parked") == []
    with core.client() as client:
        assert client.orders() == []
    finish(core, venues, ())
    (settled,) = journaled(core, MessageSettled)
    assert (settled.reason, settled.who) == ("nobody wants it any more", answer["who"])
