"""Stopping, suspending, two cores at once, and the halt: what a user and a service manager do."""

import contextlib
import json
import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from checker import problems, read_journal
from core_process import ROOT, VENUES, Core, Traffic, Venues, environment
from waiting import wait_for

from engine.client import RequestRefused
from engine.errors import CoreError
from engine.messages.engine_events import (
    EngineStopped,
)
from simulator.log import read_log
from simulator.venue import demo_accounts

# What a book may be old (venues.NAME.stale_after_ms as shipped), and half as much again.
TOO_OLD_MS = 3_000
pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def run_to_its_end(core):
    """Start one more core on what `core` uses; return its exit code and what it said."""
    ended = subprocess.run(
        core.command(), cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=20,
        check=False,
    )  # fmt: skip
    return ended.returncode, ended.stderr


def last_request_ns(venues):
    """Return when the newest order reached any venue, on this machine's monotonic clock."""
    news = [
        line["t_ns"]
        for venue in VENUES
        for line in read_log(venues.log(venue), "main").history
        if line["event"] == "NEW"
    ]
    return max(news, default=0)


def is_flowing(traffic, since=0):
    return lambda: len(traffic.bursts) > since + 1


def test_sigterm_under_load_ends_with_0_and_leaves_nothing_open(core, venues):
    core.start()
    assert core.ready()
    with Traffic(core, "load") as traffic:
        wait_for(is_flowing(traffic), "orders flow")
        began = time.monotonic()
        assert core.terminate() == 0
        assert time.monotonic() - began < 20
        traffic.stop_soon()
    assert "0 orders left open" in core.output()
    _, last = read_journal(core.journal).records[-1]
    assert isinstance(last, EngineStopped)
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


def test_which_thread_runs_an_actor_is_configuration(core, venues):
    threads = {"risk_pnl": "money", "order_router": "money", "exchange.okx": "okx"}
    core.configure(supervision={"threads": threads})
    core.start()
    assert core.ready()
    with core.client() as client:
        rows = {row["name"]: row["dispatcher"] for row in client.request("actor.tree")}
    others = {name: "disk" if name == "persistence" else "tick" for name in rows}
    assert rows == others | threads
    with Traffic(core, "load") as traffic:
        wait_for(is_flowing(traffic), "orders flow")
        with core.client() as client:
            client.request("actor.kill", name="order_router")
        wait_for(is_flowing(traffic, len(traffic.bursts)), "orders flow again")
        traffic.stop_soon()
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


def test_a_second_sigterm_ends_at_once_and_the_next_core_makes_good(core, venues):
    core.start()
    assert core.ready()
    for venue in VENUES:  # cancels hang, so that stopping in order would take long
        venues.fault("delay", venue, on="cancel", count=50, params={"ms": 5000, "when": "after"})
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        for venue in VENUES:
            client.place(venue, "BTC/USDT", "buy", "0.002", price, command_id=f"t-{venue}")
    core.signal(signal.SIGTERM)
    with core.client() as client, pytest.raises(CoreError):
        wait_for(lambda: client.place("okx", "BTC/USDT", "buy", "0.002", price) and None, "stops")
    began = time.monotonic()

    def ended_by_another_signal():  # those that come at once count as the first
        if core.is_alive():
            core.signal(signal.SIGTERM)
        return not core.is_alive()

    wait_for(ended_by_another_signal, "the end", 5)
    assert time.monotonic() - began < 3, "stopping in order takes longer here"
    venues.clear_faults()
    core.start()
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, {f"t-{v}" for v in VENUES}) == []


def test_a_suspended_core_decides_nothing_on_what_it_knew_before(core, venues):
    core.start()
    assert core.ready()
    with core.client() as client:
        client.place("binance", "BTC/USDT", "buy", "0.002", market=True, wait="filled")
        core.signal(signal.SIGSTOP)
        wait_for(core.is_suspended, "it is stopped")
        for venue in VENUES:  # what is left in the sockets is all that the core will read
            venues.fault("ws_half_open", venue, on="any", count=10)
        stopped_ms = venues.time_ms()
        wait_for(lambda: venues.time_ms() > stopped_ms + TOO_OLD_MS, "the venue's clock goes on")
        assert core.is_suspended()
        before_ns = last_request_ns(venues)
        core.signal(signal.SIGCONT)
        for number in range(40):
            try:
                order = client.place(
                    "best", "BTC/USDT", "buy", "0.002", market=True, command_id=f"s{number}",
                    wait="none",
                )  # fmt: skip
            except RequestRefused:
                continue
            if order["status"] not in ("DENIED", "REJECTED"):
                break
    books = {v["name"]: v["book_state"] for v in (core.status() or {"venues": []})["venues"]}
    assert last_request_ns(venues) == before_ns, f"an order left while the books were {books}"
    assert core.ready()
    with core.client() as client:
        order = client.place("best", "BTC/USDT", "buy", "0.002", market=True, wait="filled")
        assert order["status"] == "FILLED"
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


def test_a_second_core_on_the_same_state_folder_ends_with_75(core):
    core.start()
    assert core.ready()
    code, said = run_to_its_end(core)
    assert code == 75, said
    assert "Traceback" not in said
    assert core.is_ready()


@pytest.mark.parametrize("change", ["name", "swapped accounts", "renamed account"])
def test_a_journal_opened_as_another_core_ends_with_78(change, core):
    core.start()
    assert core.ready()
    assert core.terminate() == 0
    if change == "name":
        core.configure(name="another-desk")
    elif change == "renamed account":  # with it the old one's orders and money would be forgotten
        change_venue(core, "okx", account="okx.other")
    else:  # the account that was one venue's is now another's
        change_venue(core, "binance", account="okx.main")
        change_venue(core, "okx", account="binance.main")
    code, said = run_to_its_end(core)
    assert code == 78, said
    assert "account" in said or change == "name"
    assert "Traceback" not in said


def change_venue(core, venue, **changes):
    config = json.loads(core.config_path.read_text())
    config["venues"][venue] |= changes
    core.config_path.write_text(json.dumps(config))


def login_of(venue, number):
    """One of the simulator's logins: 0 the core's own, 1 another account, 2 a second key of the first."""
    account = demo_accounts(venue)[number]
    keys = {"api_key": account.api_key, "api_secret": account.api_secret}
    return keys | ({"passphrase": account.passphrase} if venue == "okx" else {})


def place_far(client, venue, **more):
    bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
    price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
    return client.place(venue, "BTC/USDT", "buy", "0.002", price, **more)


def restarts_of(core, actor):
    return next(a["restarts"] for a in core.status()["actors"] if a["name"] == actor)


def row_of(core, venue):
    status = core.status()
    return next((v for v in status["venues"] if v["name"] == venue), None) if status else None


@pytest.mark.parametrize("venue", VENUES)
def test_credentials_of_another_account_disable_their_venue_alone_and_send_nothing(
    venue, core, venues
):
    mine, other = (str(demo_accounts(venue)[number].uid) for number in (0, 1))
    elsewhere = next(v for v in VENUES if v != venue)
    core.start()
    assert core.ready()
    with core.client() as client:
        resting = place_far(client, venue)["order_id"]
    assert row_of(core, venue)["account_uid"] == mine
    core.kill()  # in order it would cancel what rests
    change_venue(core, venue, credentials=login_of(venue, 1))
    core.start()
    wait_for(lambda: (row_of(core, elsewhere) or {}).get("state") == "READY", "the other venue")
    for again in range(2):
        wait_for(lambda: row_of(core, venue)["state"] == "DISABLED", lambda: row_of(core, venue))
        row = row_of(core, venue)
        assert mine in row["reason"]
        assert other in row["reason"]
        assert login_of(venue, 1)["api_key"] not in row["reason"]
        with core.client() as client:
            place_far(client, elsewhere, command_id=f"trades-on-{again}")
            with pytest.raises(RequestRefused):
                place_far(client, venue)
            with contextlib.suppress(CoreError):
                client.cancel(resting, timeout_s=0.5)
            client.request("order.reconcile")
            client.request("actor.kill", name=f"exchange.{venue}")  # nor after its crash
        wait_for(lambda n=again: restarts_of(core, f"exchange.{venue}") == n + 1, "the restart")
    lines = [json.loads(line) for line in venues.log(venue).read_text().splitlines()]
    assert not [x for x in lines if x["kind"] == "request" and x["account"] == "other"]
    with core.client() as client:
        assert client.order(resting)["status"] not in ("CANCELED", "REJECTED"), "not from there"
        assert not [o for o in client.orders(venue=venue) if o["origin"] == "EXTERNAL"]
    core.kill()
    change_venue(core, venue, credentials=login_of(venue, 0))
    core.start()
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


@pytest.mark.parametrize("venue", VENUES)
def test_a_rotated_key_of_the_same_account_trades_on(venue, core, venues):
    core.start()
    assert core.ready()
    with core.client() as client:
        resting = place_far(client, venue)["order_id"]
    core.kill()
    change_venue(core, venue, credentials=login_of(venue, 2))
    core.start()
    assert core.ready()
    with core.client() as client:
        assert client.order(resting)["status"] == "NEW"
        assert client.cancel(resting)[0]["status"] == "CANCELED"
        assert place_far(client, venue)["status"] == "NEW"
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


@pytest.mark.parametrize("mode", ["paper", "testnet", "live"])
def test_modes_refuse_with_78_while_a_gate_is_shut(mode, core):
    core.configure(mode=mode)
    code, said = run_to_its_end(core)
    assert code == 78, said
    assert mode in said
    assert "Traceback" not in said


# No order is to become UNKNOWN for the machine's slowness: then nothing could be said of it.
PATIENT = {"settle_window_s": 20, "reconcile_every_s": 3, "ack_timeout_s": 20}


def test_after_a_halt_is_acknowledged_no_order_reaches_a_venue_until_resumed(core, venues):
    core.configure(orders=PATIENT)
    core.start()
    assert core.ready()
    with Traffic(core, "load") as traffic, core.client() as client:
        wait_for(is_flowing(traffic), "orders flow")
        receipt = client.halt("a test", "all")
        halted_ns = time.monotonic_ns()
        assert receipt["trading_state"] == "HALTED"
        assert receipt["unproven"] == dict.fromkeys(VENUES, 0)
        done = len(traffic.bursts)
        wait_for(is_flowing(traffic, done + 2), "traffic hammers against the halt")
        assert last_request_ns(venues) <= halted_ns
        core.kill()
        core.start()
        wait_for(core.status, "the core answers")
        assert core.status()["trading_state"] == "HALTED"
        assert core.ready()
        done = len(traffic.bursts)
        wait_for(is_flowing(traffic, done), "traffic hammers against the halt")
        assert last_request_ns(venues) <= halted_ns, "the halt outlives a kill -9"
        client.resume("the test goes on", "all")
        wait_for(lambda: last_request_ns(venues) > halted_ns, "orders flow again")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


@contextlib.contextmanager
def halting_around_an_order(core, venues, delay_ms):
    """Halt while one order is on its way to okx; yield a client, the order's id and the receipt's future.

    The venue holds the request back for less than our patience with its answers, so a halt that is
    slower than that on a busy machine meets nothing in flight: then the test cannot be judged.
    """
    core.configure(orders=PATIENT)
    core.start()
    assert core.ready()
    params = {"ms": delay_ms, "when": "before"}
    venues.fault("delay", "okx", on="order", count=1, params=params)
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        placed = client.place("okx", "BTC/USDT", "buy", "0.002", price, wait="none")
        wait_for(lambda: venues.ctl("active") == [], "the request is at the venue, and waits")
        with core.client() as other, ThreadPoolExecutor(1) as pool:
            halting = pool.submit(other.request, "risk.halt", reason="a test", cancel=False,
                                  timeout_s=25)  # fmt: skip

            def seen():
                rows = client.status()["venues"]
                return {v["name"]: (v["gate_closed"], v["in_flight"]) for v in rows}

            closed = {"okx": (True, 1), "binance": (True, 0)}
            wait_for(lambda: seen() == closed, "the gates are closed, and one order is behind")
            yield client, placed["order_id"], halting


def test_a_halt_waits_for_the_orders_that_had_passed_the_gate(core, venues):
    with halting_around_an_order(core, venues, 3000) as (client, order_id, halting):
        receipt = halting.result(25)
        acknowledged_ns = time.monotonic_ns()
        assert receipt["trading_state"] == "HALTED"
        assert receipt["gates"] == dict.fromkeys(VENUES, True)
        assert receipt["unproven"] == dict.fromkeys(VENUES, 0)
        line = read_log(venues.log("okx"), "main").orders[order_id]
        assert line["status"] == "NEW", "it had passed the gate, and it arrived"
        assert last_request_ns(venues) <= acknowledged_ns
        wait_for(lambda: client.order(order_id)["status"] == "NEW", "nobody has to guess about it")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


@pytest.mark.parametrize("actor", ["risk_pnl", "exchange.okx", "order_router", "persistence"])
def test_a_halt_is_answered_though_an_actor_crashes_in_between(actor, core, venues):
    with halting_around_an_order(core, venues, 3000) as (client, order_id, halting):
        client.request("actor.kill", name=actor)
        receipt = halting.result(25)
        acknowledged_ns = time.monotonic_ns()
        assert receipt["gates"] == dict.fromkeys(VENUES, True)
        assert receipt["unproven"] == dict.fromkeys(VENUES, 0)
        assert last_request_ns(venues) <= acknowledged_ns
        wait_for(lambda: client.order(order_id)["status"] == "NEW", "nobody has to guess about it")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


def test_a_halt_counts_what_became_unknown_when_the_session_ended(core, venues):
    with halting_around_an_order(core, venues, 4500) as (client, order_id, halting):
        client.request("actor.kill", name="adapter.okx")
        receipt = halting.result(25)
        assert receipt["gates"] == dict.fromkeys(VENUES, True)
        assert receipt["unproven"] == {"binance": 0, "okx": 1}, "it may still reach the venue"
        wait_for(lambda: client.order(order_id)["status"] == "NEW", "it reached the venue later")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


def test_a_halt_of_one_venue_leaves_the_other_trading(core, venues):
    core.configure(orders=PATIENT)
    core.start()
    assert core.ready()

    def newest(venue):
        history = read_log(venues.log(venue), "main").history
        return max((line["t_ns"] for line in history if line["event"] == "NEW"), default=0)

    with Traffic(core, "load") as traffic, core.client() as client:
        wait_for(is_flowing(traffic), "orders flow")
        client.halt("a test", "venue:okx")
        halted_ns = time.monotonic_ns()
        wait_for(lambda: newest("binance") > halted_ns + 300_000_000, "binance trades on")
        assert newest("okx") <= halted_ns
        client.resume("the test goes on", "venue:okx")
        wait_for(lambda: newest("okx") > halted_ns, "okx trades again")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


def test_two_cores_side_by_side_on_very_long_paths_keep_apart(tmp_path, venues, make_core):
    deep = "/".join(["a-rather-long-folder-name"] * 8)
    other_venues = Venues(tmp_path / "other-venues", "--seed", "9")
    cores = [make_core(f"{deep}/one"), make_core(f"{deep}/two", at=other_venues)]
    try:
        for core in cores:
            assert len(str(core.state_dir)) > 200
            core.start()
        for core in cores:
            assert core.ready()
        with Traffic(cores[0], "one") as one, Traffic(cores[1], "two") as two:
            wait_for(is_flowing(one, 1), "orders flow at the first")
            wait_for(is_flowing(two, 1), "orders flow at the second")
        for core, at, traffic in zip(cores, (venues, other_venues), (one, two), strict=True):
            core.quiesce()
            assert core.terminate() == 0
            assert problems(core.journal, at.log, traffic.acknowledged) == []
    finally:
        other_venues.stop()


def test_the_embedded_simulator_outlives_a_kill_and_ends_with_the_core(tmp_path):
    core = Core.__new__(Core)
    core.folder = tmp_path
    core.state_dir = tmp_path / "state"
    core.config_path = tmp_path / "config.json"
    core.process = None
    core.config_path.write_text(
        '{"schema": 1, "mode": "demo", "name": "alone", "log": {"console": "off"},'
        ' "demo": {"maker": false, "drill": false}}'
    )
    try:
        core.start()
        assert core.ready()
        with core.client() as client:
            kinds = {row["kind"] for row in client.request("fault.list")}
            assert "lost_reply" in kinds
            bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
            price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
            client.place("okx", "BTC/USDT", "buy", "0.002", price, command_id="rests")
        core.kill()
        core.start()
        assert core.ready()
        with core.client() as client:
            assert [o["command_id"] for o in client.orders(state="open")] == ["rests"]
        core.quiesce()
        assert core.terminate() == 0

        def log_of(venue):
            return core.state_dir / "sim" / f"{venue}.jsonl"

        assert problems(core.journal, log_of, {"rests"}) == []
    finally:
        core.cleanup()
        stop_simulator_of(core.state_dir)


def stop_simulator_of(state_dir):
    """End the simulator that this folder names, if it still runs."""
    path = state_dir / "sim" / "endpoints.json"
    if path.exists():
        pid = json.loads(path.read_text())["pid"]
        command = Path(f"/proc/{pid}/cmdline")
        if command.exists() and str(state_dir).encode() in command.read_bytes():
            os.kill(pid, signal.SIGTERM)
