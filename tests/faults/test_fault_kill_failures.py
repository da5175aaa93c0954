"""The same for the kinds that only another failure brings, or a person's word on one.

Each is provoked as in life. One message kills its actor twice at most, a third death would park it:
before its effect is kept and, where it can be brought about again, behind that. A point behind it is
passed only by a message that is the last in hand, so it may take some rounds.
"""

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import pytest
from checker import problems, read_journal
from core_process import ROOT, VENUES, Core, Traffic
from waiting import wait_for

from engine.client import RequestRefused
from engine.errors import CoreError
from engine.messages.engine_events import MessageSettled
from engine.messages.events import (
    BalanceDifferenceAccepted,
    OrderApproved,
    OrderResolved,
    TradingHalted,
)

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def crashes(actor, kind, *points):
    return tuple(f"{actor}:{kind}:1:{e}:{p}" for e, p in zip(ERRORS, points, strict=False))


def at_both(kind, *more):
    """Crash both venues' actors before the effect, and at the points in `more`, one each."""
    points = ("before_handler", *more[:1]), ("in_handler", *more[1:])
    return tuple(
        text
        for v, p in zip(VENUES, points, strict=True)
        for text in crashes(f"exchange.{v}", kind, *p)
    )


ERRORS = ("RuntimeError", "SystemExit")
POISON = tuple(f"exchange.{v}:FillReport:{n}:RuntimeError" for v in VENUES for n in (1, 2, 3))
# What each test asks for; all of it has to happen there.
CRASHES = {
    "venue process dies": at_both("AdapterFailed", "before_ack", "mid_flush"),
    "halt waits": at_both("AskGate", "before_flush", "mid_flush"),
    "fill is parked": at_both("Quarantine"),
    "order is resolved": (
        *crashes("order_router", "ResolveOrder", "in_handler", "mid_flush"),
        *at_both("ResolveRequest", "before_ack", "mid_flush"),
    ),
    "difference is accepted": crashes("risk_pnl", "AcceptDifference", "in_handler", "mid_flush"),
    "disk is full": (
        *crashes("risk_pnl", "AppendRefused", "before_handler", "in_handler"),
        *crashes("order_router", "AppendRefused", "before_handler", "in_handler"),
    ),
}
ROUNDS = 10


def kinds_of(actor):
    """Return the kinds that are crashed at here."""
    asked = [text.split(":") for texts in CRASHES.values() for text in texts]
    return {kind for name, kind, *_ in asked if name == actor}


def start(core, asked):
    core.start(XCORE_CRASH_ACTOR=",".join(asked))
    assert core.ready()


def left(core, asked):
    """Return the crashes that have not happened yet."""
    details = {line["detail"].rpartition(" ")[2] for line in core.crash_lines()}
    return [text for text in asked if text not in details]


def rounds(core, asked):
    """Count the rounds that it takes until each crash has happened."""
    for number in range(ROUNDS):
        if not left(core, asked):
            return
        yield number
    assert not left(core, asked), f"{ROUNDS} rounds"


def finish(core, venues, acknowledged):
    """Stop in order, with nothing parked, and let the checker judge; return the journal's events."""
    status = core.status()
    assert status["trading_state"] == "ACTIVE"
    assert sum(row["parked"] for row in status["actors"]) == 0
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, acknowledged) == []
    return [event for _, event in read_journal(core.journal).records]


def of_kind(events, kind):
    return [event for event in events if isinstance(event, kind)]


def far_below(client):
    bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
    return (bid * Decimal("0.99")).quantize(Decimal("0.1"))


def buy(client, venue, command_id, price=None, **more):
    return client.place(
        venue, "BTC/USDT", "buy", "0.002", price, market=price is None, command_id=command_id,
        **more,
    )  # fmt: skip


def trades_on(client, venue):
    """Buy at a venue whose links may just be coming back; return the command id."""
    numbers = itertools.count()

    def bought():
        with contextlib.suppress(RequestRefused):
            command = f"on-{venue}-{next(numbers)}"
            return buy(client, venue, command, wait="filled")["command_id"]
        return None

    return wait_for(bought, f"{venue} trades on")


def lose_an_order(client, venues, venue, numbers):
    """Have an order become UNKNOWN that never reached its venue; return its id."""
    venues.fault("drop_request", venue, on="order", count=1)

    def lost():
        with contextlib.suppress(RequestRefused):
            command = f"lost-{venue}-{next(numbers)}"
            order_id = buy(client, venue, command, far_below(client), wait="none")["order_id"]
            ends = ("UNKNOWN", "DENIED")
            order = wait_for(
                lambda: (o := client.order(order_id))["status"] in ends and o, "it is in doubt"
            )
            return order_id if order["status"] == "UNKNOWN" else None
        return None

    return wait_for(lost, f"an order is lost on its way to {venue}")


def test_a_venue_process_dies_and_so_does_the_actor_that_is_told(core, venues):
    asked = CRASHES["venue process dies"]
    start(core, asked)
    with Traffic(core, "load") as traffic:
        for _ in rounds(core, asked):
            done = len(traffic.bursts)
            wait_for(lambda done=done: len(traffic.bursts) > done, "orders flow")
            for venue in VENUES:
                os.kill(core.venue_pid(venue), signal.SIGKILL)
            wait_for(lambda: not core.is_ready(), "the venues are down")
            assert core.ready()
        done = len(traffic.bursts)
        wait_for(lambda: len(traffic.bursts) > done + 1, "orders flow again")
    finish(core, venues, traffic.acknowledged)


def test_a_halt_is_asked_for_anew_and_each_venues_actor_dies_over_the_question(make_core, venues):
    patient = {"settle_window_s": 20, "reconcile_every_s": 3, "ack_timeout_s": 20}
    core = make_core(orders=patient)
    asked = CRASHES["halt waits"]
    start(core, asked)
    params = {"ms": 2000, "when": "before"}
    venues.fault("delay", "okx", on="order", count=1, params=params)
    with core.client() as client, core.client() as other, ThreadPoolExecutor(1) as pool:
        placed = buy(client, "okx", "held", far_below(client), wait="none")
        wait_for(lambda: venues.ctl("active") == [], "the request is at the venue, and waits")
        halt = {"reason": "a test", "cancel": False, "timeout_s": 25}
        halting = pool.submit(other.request, "risk.halt", **halt)
        wait_for(
            lambda: all(row["gate_closed"] for row in client.status()["venues"]),
            "the gates are closed",
        )
        for number in rounds(core, asked):  # whenever it comes back, it asks both
            client.request("actor.kill", name="risk_pnl")
            wait_for(lambda n=number: restarts(client, "risk_pnl") > n, "it is back")
            assert core.ready()
        receipt = halting.result(30)
        assert receipt["gates"] == dict.fromkeys(VENUES, True)
        assert receipt["unproven"] == dict.fromkeys(VENUES, 0)
        wait_for(lambda: client.order(placed["order_id"])["status"] == "NEW", "it had passed")
        for venue in VENUES:
            with pytest.raises(RequestRefused):
                buy(client, venue, f"halted-{venue}")
        client.resume("the test goes on", "all")
    events = finish(core, venues, {"held"})
    assert len(of_kind(events, TradingHalted)) == 1


def restarts(client, actor):
    return next(row["restarts"] for row in client.request("actor.tree") if row["name"] == actor)


def test_a_fill_is_parked_and_the_actor_dies_over_its_quarantine(core, venues):
    asked = (*POISON, *CRASHES["fill is parked"])
    start(core, asked)
    with core.client() as client:
        orders = [buy(client, v, f"c-{v}", wait="none")["order_id"] for v in VENUES]
        wait_for(lambda: not left(core, asked), lambda: f"crashes: {left(core, asked)}")
        wait_for(
            lambda: all(client.order(o)["status"] == "FILLED" for o in orders),
            "the reconciliation brings the fills",
        )
        parked = client.request("actor.parked")
        assert sorted((row["actor"], row["kind"]) for row in parked) == [
            (f"exchange.{venue}", "FillReport") for venue in VENUES
        ]
        for row in parked:
            assert client.request("actor.retry", message_id=row["id"])["outcome"] == "APPLIED"
        assert core.ready()
        after = {trades_on(client, venue) for venue in VENUES}
        assert [client.order(o)["filled_quantity"] for o in orders] == ["0.002", "0.002"]
    events = finish(core, venues, after | {f"c-{v}" for v in VENUES})
    assert len(of_kind(events, MessageSettled)) == 2


def test_an_unknown_order_is_resolved_once_though_everyone_who_handles_it_dies(make_core, venues):
    patient = {"settle_window_s": 600, "reconcile_every_s": 3, "ack_timeout_s": 1}
    core = make_core(orders=patient)  # so a person is the one to settle it
    asked = CRASHES["order is resolved"]
    start(core, asked)
    resolved, numbers = {}, itertools.count()
    with core.client() as client:
        for _ in rounds(core, asked):
            for venue in VENUES:
                order_id = lose_an_order(client, venues, venue, numbers)
                words = {"status": "REJECTED", "reason": f"{venue} never had {order_id}"}
                client.request("order.resolve", order_id=order_id, **words)
                wait_for(lambda o=order_id: client.order(o)["status"] == "REJECTED", "settled")
                resolved[order_id] = words["reason"]
        after = {trades_on(client, venue) for venue in VENUES}
    events = finish(core, venues, after)
    settled = of_kind(events, OrderResolved)
    assert {event.order_id: event.reason for event in settled} == resolved
    assert len(settled) == len(resolved)
    assert {event.who for event in settled} == {f"uid:{os.getuid()}"}


def test_a_difference_is_accepted_once_though_the_actor_that_does_it_dies(core, venues):
    asked = CRASHES["difference is accepted"]
    start(core, asked)
    accept = {"account": "okx.main", "asset": "USDT"}
    taken = []
    with core.client() as client:

        def differences():
            client.request("order.reconcile")
            return client.request("risk.show")["differences"]

        for number in rounds(core, asked):
            taken.append(-100 - number)
            params = {"asset": "USDT", "amount": str(taken[-1])}
            venues.fault("balance_drift", "okx", params=params)
            wait_for(differences, "the difference is found")
            client.request("difference.accept", reason="withdrawn", **accept)
            assert core.ready()
            with pytest.raises(RequestRefused):  # there is none any more
                client.request("difference.accept", reason="again", **accept)
        after = trades_on(client, "okx")
    events = finish(core, venues, {after})
    accepted = of_kind(events, BalanceDifferenceAccepted)
    assert [event.quantity for event in accepted] == taken
    assert {(e.account, e.asset, e.who, e.reason) for e in accepted} == {
        ("okx.main", "USDT", f"uid:{os.getuid()}", "withdrawn")
    }


# --- a full disk ----------------------------------------------------------------------------------

SIZE_MB = 96  # the journal's reserve takes 64 of it
MOUNT = Path("/mnt")


class SmallDisk:
    """A small RAM disk that its own processes alone see; it is gone when its holder ends."""

    def __init__(self):
        script = f"mount -t tmpfs -o size={SIZE_MB}m tmpfs {MOUNT} && echo ready && exec cat"
        self.holder = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", script], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.works = self.holder.stdout.readline() == "ready\n"
        pid = self.holder.pid
        self.inside = ["nsenter", "-t", str(pid), "-m", f"--wd={ROOT}"]
        self.seen = Path(f"/proc/{pid}/root{MOUNT}")

    def fill(self):
        with (self.seen / "ballast").open("wb", buffering=0) as ballast:
            for size in (65536, 512):
                with contextlib.suppress(OSError):
                    while ballast.write(b"x" * size):
                        pass

    def make_room(self):
        (self.seen / "ballast").unlink()

    def end(self):
        self.holder.kill()
        self.holder.communicate()


class CoreOnDisk(Core):
    """A core whose state is on the small disk, seen from here through its holder."""

    def __init__(self, folder, venues, disk):
        super().__init__(folder, venues)
        self.disk = disk
        self.state_dir = disk.seen / "state"

    def command(self):
        return [*self.disk.inside, sys.executable, "supervisor.py", "-c", str(self.config_path),
                "--state-dir", str(MOUNT / "state")]  # fmt: skip

    def terminate(self, within_s=20):
        """Stop, and keep what is judged on a disk that everybody sees."""
        code = super().terminate(within_s)
        skip = shutil.ignore_patterns("reserve", "*.sock")
        shutil.copytree(self.state_dir, self.folder / "state", ignore=skip)
        self.state_dir = self.folder / "state"
        return code


@pytest.fixture
def disk():
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        pytest.skip("unshare and nsenter are not installed")
    made = SmallDisk()
    try:
        if not made.works:
            pytest.skip(f"no tmpfs may be mounted: {made.holder.stderr.read()[-200:]}")
        yield made
    finally:
        made.end()


@pytest.fixture
def core_on_disk(disk, venues, tmp_path):
    core = CoreOnDisk(tmp_path / "small", venues, disk)
    yield core
    core.cleanup()


def test_a_full_disk_takes_no_order_though_the_actors_that_are_told_die(core_on_disk, venues, disk):
    core, asked = core_on_disk, CRASHES["disk is full"]
    start(core, asked)
    with core.client() as client:
        disk.fill()
        with pytest.raises(CoreError):  # whatever it is called: nothing has left
            buy(client, "okx", "full", wait="filled", timeout_s=1)
        wait_for(lambda: not left(core, asked), lambda: f"crashes: {left(core, asked)}")
        wait_for(lambda: client.status()["trading_state"] == "HALTED", "a full disk halts")
        assert client.orders(limit=10) == []
        limits = {row["limit"]: row["used"] for row in client.request("risk.show")["limits"]}
        assert limits["max_open_notional"] == "0", "it charges nothing"
        disk.make_room()
        client.resume("there is room", "all")
        assert core.ready()
        again = buy(client, "okx", "full", wait="filled", timeout_s=20)
        assert again["status"] == "FILLED"
        after = trades_on(client, "okx")
    events = finish(core, venues, {after})
    commands = [event.order.command_id for event in of_kind(events, OrderApproved)]
    assert after in commands
    assert commands.count("full") == 1
    (halted,) = of_kind(events, TradingHalted)
    assert halted.reason.startswith("journal full")
