"""Kill -9 and SIGSTOP of venues' processes under order flow, and of the core above them."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from checker import problems, read_journal
from core_process import ROOT, VENUES, Burst, Traffic, environment
from waiting import wait_for

from engine.client import RequestRefused
from engine.messages.engine_events import (
    CommandRecorded,
)
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# Many restarts within a minute use up a venue's request weight, and recovery then waits for it: few
# rounds a venue, and many venues.
GROUPS, ROUNDS = 6, 5
# Where in a venue's process its first life ends, and at which pass.
POINTS = {
    "take.#start": 1,
    "report.AdapterReady": 1,
    "reported.AdapterReady": 1,
    "report.ReconcileResult": 2,
    "take.SubmitOrder": 2,
    "taken.SubmitOrder": 3,
    "report.SubmitResult": 2,
    "reported.SubmitResult": 3,
    "report.OrderReport": 3,
    "report.FillReport": 1,
    "reported.FillReport": 2,
    "take.CancelOrder": 1,
    "report.CancelResult": 1,
    "take.QueryOrder": 1,
    "report.LinkChanged": 2,
    "report.GateChanged": 1,
}


def is_gone(pid):
    """Tell whether a process has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def fills_at(venues, venue):
    return len(read_log(venues.log(venue)).fills)


def kill(pid, number=signal.SIGKILL):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def rest(core, venue, command_id):
    """Leave one order resting at a venue."""
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        return client.place(venue, "BTC/USDT", "buy", "0.002", price, command_id=command_id)


def check(core, venues, traffic):
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


@pytest.mark.parametrize("group", range(GROUPS))
def test_kills_of_venue_processes_under_order_flow_lose_and_double_nothing(group, core, venues):
    rng = random.Random(group)
    core.start()
    assert core.ready()
    pids = set()
    with Traffic(core, "load", count=6) as traffic:
        for number in range(ROUNDS):
            venue = rng.choice(VENUES)
            pid = core.venue_pid(venue)
            pids.add(pid)
            done = len(traffic.bursts)
            wait_for(lambda done=done: len(traffic.bursts) > done, "orders flow")
            core.wait_for_records(rng.randint(0, 60))  # a random moment to die at
            kill(pid)
            if number % 3 == 0:  # its successor in the middle of its beginning, too
                again = core.venue_pid(venue)
                core.wait_for_records(rng.randint(0, 100))
                kill(again)
            wait_for(lambda venue=venue: (core.process_of(venue) or {}).get("pid") not in pids,
                     "a new process")  # fmt: skip
            assert core.ready()
    restarts = sum(core.process_of(venue)["restarts"] for venue in VENUES)
    assert restarts >= ROUNDS
    check(core, venues, traffic)


@pytest.mark.parametrize("group", range(2))
def test_a_venue_process_dies_at_each_labelled_point_and_nothing_is_lost_or_doubled(
    group, core, venues
):
    hits, bursts = 0, []
    for number, (point, at) in list(enumerate(POINTS.items()))[group::2]:
        venue = VENUES[(number // 2) % 2]
        core.start(XCORE_FAULT_POINT=f"venue.{venue}.{point}:{at}")
        venues.fault("lost_reply", venue, on="order")  # so that something is asked for
        with Traffic(core, f"p{number}", count=6) as traffic:
            assert core.ready()
            wait_for(
                lambda venue=venue: (core.process_of(venue) or {}).get("restarts"), point, 10
            )  # fmt: skip
            hits += 1
            assert core.ready()
        bursts.append(traffic)
        core.quiesce()
        assert core.terminate() == 0
        venues.clear_faults()
        if number % 6 > 3:
            venues.kill()
            venues.start()
    acknowledged = set().union(*(traffic.acknowledged for traffic in bursts))
    assert problems(core.journal, venues.log, acknowledged) == []
    assert hits == len(POINTS) // 2


def test_a_stuck_venue_process_is_found_killed_and_replaced_and_the_other_trades_on(
    make_core, venues
):
    core = make_core(supervision={"max_restarts": 1000, "venue_silent_s": 1.5})
    core.start()
    assert core.ready()
    with Traffic(core, "load") as traffic:
        wait_for(lambda: len(traffic.bursts) > 1, "orders flow")
        stuck, other = core.venue_pid("okx"), core.venue_pid("binance")
        before = fills_at(venues, "binance")
        kill(stuck, signal.SIGSTOP)
        wait_for(lambda: is_gone(stuck), "the stuck process is killed")
        wait_for(lambda: fills_at(venues, "binance") > before, "binance trades on")
        assert core.ready()
        assert core.venue_pid("okx") != stuck
        assert core.venue_pid("binance") == other
        before = fills_at(venues, "okx")
        wait_for(lambda: fills_at(venues, "okx") > before, "okx trades again")
    assert core.process_of("binance")["restarts"] == 0
    check(core, venues, traffic)


def test_a_dead_venue_leaves_the_book_at_once_and_its_neighbour_is_undisturbed(core, venues):
    core.start()
    assert core.ready()
    pid = core.venue_pid("binance")
    with Traffic(core, "load") as traffic:
        for _ in range(5):
            done = len(traffic.bursts)
            kill(core.venue_pid("okx"))

            def is_out():
                with core.client() as client:
                    book = client.book("BTC/USDT", depth=20)
                okx = [v for v in book["venues"] if v["name"] == "okx" and v["state"] == "LIVE"]
                return not okx and all(
                    level["venue"] != "okx" for side in ("bids", "asks") for level in book[side]
                )

            wait_for(is_out, "okx leaves the book", 5)
            wait_for(lambda done=done: len(traffic.bursts) > done + 1, "orders flow")
            assert core.ready()
        state = next(v for v in core.status()["venues"] if v["name"] == "binance")
        assert state["reconnects"] == 0
        assert state["process"] == {**state["process"], "pid": pid, "restarts": 0}
    check(core, venues, traffic)


def test_a_halt_is_confirmed_although_a_venue_process_hangs(make_core, venues):
    core = make_core(supervision={"max_restarts": 1000, "venue_silent_s": 2})
    core.start()
    assert core.ready()
    kill(core.venue_pid("okx"), signal.SIGSTOP)
    with core.client() as client:
        receipt = client.halt("a test", "all")
        assert receipt["gates"] == {"binance": True, "okx": True}
    assert core.ready()
    with core.client() as client, pytest.raises(RequestRefused):
        client.place("okx", "BTC/USDT", "buy", "0.002", market=True)
    with core.client() as client:
        client.resume("the test goes on", "all")
    rest(core, "okx", "after")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, {"after"}) == []


def test_a_process_that_dies_again_and_again_is_given_up_until_somebody_restarts_it(
    make_core, venues
):
    core = make_core(supervision={"max_restarts": 2, "within_s": 600})
    core.start()
    assert core.ready()

    def okx():
        return next(v for v in core.status()["venues"] if v["name"] == "okx")

    for number in range(3):
        wait_for(lambda number=number: okx()["process"]["restarts"] == number, "a new process")
        kill(core.venue_pid("okx"))
        wait_for(lambda: okx()["state"] in ("DOWN", "DISABLED"), "okx is down")
    wait_for(lambda: okx()["state"] == "DISABLED", lambda: f"okx is disabled: {okx()}")
    assert "again and again" in okx()["reason"]
    assert okx()["process"]["pid"] is None
    with core.client() as client:
        assert client.halt("a test", "all")["gates"]["okx"], "nothing runs that could send"
        client.resume("the test goes on", "all")
        order = client.place("binance", "BTC/USDT", "buy", "0.002", market=True, wait="filled")
        assert order["status"] == "FILLED"
        client.request("actor.restart", name="adapter.okx")
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


def test_actor_kill_of_an_adapter_kills_its_process(core, venues):
    core.start()
    assert core.ready()
    before = core.venue_pid("okx")
    with core.client() as client:
        client.request("actor.kill", name="adapter.okx")
    wait_for(lambda: is_gone(before), "the process is dead")
    assert core.ready()
    assert core.venue_pid("okx") != before
    with core.client() as client:
        tree = {row["name"]: row for row in client.request("actor.tree")}
    assert tree["adapter.okx"]["restarts"] == 1
    assert tree["adapter.okx"]["process"] == core.process_of("okx")
    assert tree["adapter.binance"]["process"]["restarts"] == 0
    assert tree["exchange.okx"]["process"] is None
    assert core.terminate() == 0


# --- the core ends --------------------------------------------------------------------------------


def test_a_killed_core_leaves_no_venue_process(core):
    core.start()
    assert core.ready()
    pids = [core.venue_pid(venue) for venue in VENUES]
    core.kill()
    wait_for(lambda: all(map(is_gone, pids)), "the venue processes have ended", 5)


def test_a_core_killed_at_any_moment_of_its_boot_leaves_no_venue_process(core):
    rng = random.Random(1)
    for _ in range(6):
        lines = core.logged() + rng.randint(0, 28)  # about as many are logged until it is ready
        core.start()
        pid = core.process.pid
        wait_for(lambda at=lines: core.logged() >= at or core.is_ready(), "it boots")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        threads = [t.name for t in Path(f"/proc/{pid}/task").iterdir()]
        for thread in threads:
            with contextlib.suppress(OSError):
                children += Path(f"/proc/{pid}/task/{thread}/children").read_text().split()
        core.kill()
        wait_for(lambda left=children: all(map(is_gone, left)), "no process is left", 5)


def test_an_orderly_stop_ends_the_venue_processes_in_order(core, venues):
    core.start()
    assert core.ready()
    pids = [core.venue_pid(venue) for venue in VENUES]
    rest(core, "okx", "rests")
    os.killpg(core.process.pid, signal.SIGINT)  # as a terminal does it
    assert core.process.wait(20) == 0
    assert all(map(is_gone, pids))
    assert "0 orders left open" in core.output()
    lines = (core.state_dir / "log" / "xcore.jsonl").read_text().splitlines()
    ended = [line for line in lines if '"venue process ended"' in line]
    assert len(ended) == 2
    assert all('"exit code 0"' in line for line in ended)
    assert problems(core.journal, venues.log, {"rests"}) == []


def test_after_the_loss_of_the_core_what_rests_is_cancelled_and_the_next_boot_is_told(
    make_core, venues
):
    core = make_core(
        orders={"settle_window_s": 1, "reconcile_every_s": 3, "ack_timeout_s": 1,
                "on_core_loss_cancel_after_s": 0.5},
    )  # fmt: skip
    core.start()
    assert core.ready()
    for venue in VENUES:
        rest(core, venue, f"rests-{venue}")
    pids = [core.venue_pid(venue) for venue in VENUES]
    core.kill()
    wait_for(lambda: all(map(is_gone, pids)), "the venue processes have ended")
    for venue in VENUES:
        assert read_log(venues.log(venue)).open_orders() == []
    core.start()
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    told = [e for _, e in read_journal(core.journal).records
            if isinstance(e, CommandRecorded) and e.what == "core lost"]  # fmt: skip
    assert len(told) == 2
    assert all("'is_proven': True" in event.arguments for event in told)
    assert problems(core.journal, venues.log, {f"rests-{venue}" for venue in VENUES}) == []


def test_a_core_that_comes_back_in_time_keeps_its_orders(make_core, venues):
    core = make_core(
        orders={"settle_window_s": 1, "reconcile_every_s": 3, "ack_timeout_s": 1,
                "on_core_loss_cancel_after_s": 6},
    )  # fmt: skip
    core.start()
    assert core.ready()
    rest(core, "okx", "rests")
    before = core.venue_pid("okx")
    core.kill()
    core.start()
    assert core.ready()
    wait_for(lambda: is_gone(before), "the old process has seen the new core", 8)
    with core.client() as client:
        assert [o["command_id"] for o in client.orders(state="open")] == ["rests"]
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, {"rests"}) == []


# --- what the core itself is ------------------------------------------------------------------------


def test_the_core_never_loads_ccxt(core):
    source = (
        "import sys, threading, supervisor\n"
        "def look():\n"
        "    from engine.client import Client\n"
        "    from pathlib import Path\n"
        "    from engine.errors import CoreError\n"
        "    import os, signal\n"
        "    while True:\n"
        "        try:\n"
        "            with Client(Path(sys.argv[1])) as client:\n"
        "                rows = client.status()['venues']\n"
        "            if all(row['state'] == 'READY' for row in rows):\n"
        "                break\n"
        "        except CoreError:\n"
        "            pass\n"
        "    print('loaded', [m for m in sys.modules if m.partition('.')[0] in ('ccxt', 'requests')])\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "threading.Thread(target=look, daemon=True).start()\n"
        "code = supervisor.main(['-c', sys.argv[2], '--state-dir', sys.argv[1]])\n"
        "sys.stdout.flush()\n"
        "import os; os._exit(code)\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", source, str(core.state_dir), str(core.config_path)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert "loaded []" in ended.stdout


def test_the_kinds_of_orders_in_a_burst_reach_both_venues():
    burst = Burst("x")
    burst._prices = {"BTC/USDT": (100.0, 101.0)}
    assert {arguments[0] for _, arguments, _ in burst.commands("BTC/USDT", count=6)} >= set(VENUES)
