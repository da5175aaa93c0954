"""Kill -9 of the core, at labelled points and at random times, judged from the venues' own logs."""

import random
import time

import pytest
from checker import problems
from core_process import Burst

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
RANDOM_ROUNDS = 19


def rounds_of(group):
    at_points = [f"{point}:{n}" for point, passes in POINTS.items() for n in passes]
    return at_points[group::GROUPS]


def rested(venues, number):
    """Restart the simulator now and then: so many starts a minute would spend Binance's weight."""
    if number % 6 == 5:
        venues.kill()
        venues.start()


def killed_round(core, number, before, point, rng):
    """Start, submit the last rounds' commands again and new ones, and die; tell whether by itself."""
    core.start(**({"XCORE_FAULT_POINT": point} if point else {}))
    burst = Burst(f"r{number}")
    if point is None and rng.random() < 0.4:  # at a random time of its boot
        time.sleep(rng.uniform(0.3, 1.2))
    elif core.ready():
        for again in [b for b in before if b.sent][-2:]:
            again.submit(core, 4)
        end = time.monotonic() + (rng.uniform(0.02, 0.4) if point is None else 0.5)
        burst.submit(core, 4)
        while core.is_alive() and time.monotonic() < end:
            time.sleep(0.005)
    by_itself = not core.is_alive()
    core.kill()
    return burst, by_itself


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
    bursts, hits = [], 0
    for number, point in enumerate(rounds_of(group)):
        rested(venues, number)
        burst, by_itself = killed_round(core, number, bursts, point, rng)
        bursts.append(burst)
        hits += by_itself
    check_quiet(core, venues, bursts)
    assert hits >= 0.6 * len(bursts), f"only {hits} of {len(bursts)} rounds died at their point"


@pytest.mark.parametrize("seed", range(3))
def test_kill_9_at_random_times_loses_and_doubles_nothing(seed, core, venues):
    rng = random.Random(seed)
    bursts = []
    for number in range(RANDOM_ROUNDS):
        rested(venues, number)
        burst, _ = killed_round(core, number, bursts, None, rng)
        bursts.append(burst)
    check_quiet(core, venues, bursts)


def test_all_rounds_together_are_a_hundred():
    assert sum(len(passes) for passes in POINTS.values()) + 3 * RANDOM_ROUNDS >= 100
