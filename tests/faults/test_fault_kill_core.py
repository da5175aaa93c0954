"""Kill -9 of the core, at labelled points and at random moments, judged from the venues' own logs."""

import contextlib
import random

import pytest
from checker import problems
from core_process import Burst
from waiting import wait_for

from engine.errors import CoreError

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# Every labelled point, and at which of its passes the process dies: at boot, at the first orders,
# and in the middle of traffic.
POINTS = {
    "journal.before_insert": (1, 4, 9),
    "journal.before_commit": (2, 7, 15),
    "journal.after_commit": (1, 5, 11),
    "journal.before_high_water": (3, 8),
    "journal.after_high_water": (2, 6, 13),
    "before_commit": (4, 10),
    "after_commit": (5, 9, 17),
    "snapshot.before_write": (1,),
    "snapshot.after_write": (1, 2),
    "deliver.AdapterReady": (1, 2),
    "deliver.ReconcileResult": (1, 2, 3),
    "deliver.SubmitResult": (1, 2, 5),
    "deliver.OrderReport": (1, 3, 6),
    "deliver.FillReport": (1, 2, 4),
    "deliver.CancelResult": (1, 2),
    "deliver.QueryResult": (1, 2),
    "deliver.LinkChanged": (2, 4),
    "deliver.VenueBook": (1, 40),
}
GROUPS = 4
RANDOM_ROUNDS = 15
SEEDS = 4
BOOT_LINES = 28  # about as many are logged until it is ready
BURST_RECORDS = 32  # about as many are journaled of a burst
PARTS_MAX = 8  # bursts in one round, until its point is met
DIES_WITHIN_S = 10  # of a snapshot's idle moment, the fortieth book: what comes by itself
IN_FLIGHT = ("CREATED", "PENDING_NEW", "PENDING_CANCEL", "UNKNOWN")


def rounds_of(group):
    at_points = [f"{point}:{n}" for point, passes in POINTS.items() for n in passes]
    return at_points[group::GROUPS]


def rested(venues, number):
    """Restart the simulator now and then: so many starts a minute would spend Binance's weight."""
    if number % 6 == 5:
        venues.kill()
        venues.start()


def is_at_rest(core, burst):
    """Tell whether every order of a burst has got an answer."""
    with contextlib.suppress(CoreError), core.client() as client:
        orders = [o for o in client.orders(limit=1000) if o["command_id"] in burst.sent]
        return all(o["status"] not in IN_FLIGHT for o in orders)
    return False


def killed_round(core, number, before, point, rng):
    """Start, submit the last rounds' commands again and new ones, and die; tell whether by itself."""
    lines = core.logged()
    core.start(**({"XCORE_FAULT_POINT": point} if point else {}))
    burst = Burst(f"r{number}")
    if point is None and rng.random() < 0.4:  # somewhere in its boot
        count = lines + rng.randint(1, BOOT_LINES)
        wait_for(lambda: core.logged() >= count or core.is_ready(), "it boots")
    elif core.ready():
        for again in [b for b in before if b.sent][-2:]:
            again.submit(core, 4)
        if point is None:
            core.kill_during(lambda: burst.submit(core, 4), rng.randint(1, BURST_RECORDS))
        else:
            if point.startswith("deliver.QueryResult"):  # there must be something to ask for
                for venue in ("binance", "okx"):
                    core.venues.fault("lost_reply", venue, on="order", count=2)
            work_until_it_dies(core, burst, number)
    by_itself = not core.is_alive()
    core.kill()
    return burst, by_itself


def work_until_it_dies(core, burst, number):
    """Submit a burst and, if the point is not met by it, more of the same."""
    burst.submit(core, 4)
    for part in range(PARTS_MAX):
        wait_for(lambda: not core.is_alive() or is_at_rest(core, burst), "it dies, or rests")
        if not core.is_alive():
            return
        Burst(f"r{number}.{part}").submit(core, 4)
    with contextlib.suppress(AssertionError):  # not met: the caller says so
        wait_for(lambda: not core.is_alive(), "it dies", DIES_WITHIN_S)


def check_quiet(core, venues, bursts):
    rested(venues, 5)
    core.start()
    assert core.ready()
    for burst in bursts:  # every command once more: each is the same order still
        burst.submit(core, 4)
    core.quiesce()
    assert core.terminate() == 0
    acknowledged = {command for burst in bursts for command in burst.acknowledged}
    assert acknowledged
    assert problems(core.journal, venues.log, acknowledged) == []


@pytest.mark.parametrize("group", range(GROUPS))
def test_kill_9_at_each_labelled_point_loses_and_doubles_nothing(group, core, venues):
    rng = random.Random(group)
    bursts, missed = [], []
    for number, point in enumerate(rounds_of(group)):
        rested(venues, number)
        burst, by_itself = killed_round(core, number, bursts, point, rng)
        bursts.append(burst)
        missed += [] if by_itself else [point]
    check_quiet(core, venues, bursts)
    assert missed == [], "each round dies at its point"


@pytest.mark.parametrize("seed", range(SEEDS))
def test_kill_9_at_random_moments_loses_and_doubles_nothing(seed, core, venues):
    rng = random.Random(seed)
    bursts = []
    for number in range(RANDOM_ROUNDS):
        rested(venues, number)
        burst, _ = killed_round(core, number, bursts, None, rng)
        bursts.append(burst)
    check_quiet(core, venues, bursts)


def test_all_rounds_together_are_a_hundred():
    assert sum(len(passes) for passes in POINTS.values()) + SEEDS * RANDOM_ROUNDS >= 100
