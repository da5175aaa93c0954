"""Kill -9 of the core at every labelled point, judged from the venues' own logs."""

import random

import pytest
from kill_rounds import RANDOM_ROUNDS, SEEDS, check_quiet, killed_round, rested

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


def rounds_of(group):
    at_points = [f"{point}:{n}" for point, passes in POINTS.items() for n in passes]
    return at_points[group::GROUPS]


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


def test_all_rounds_together_are_a_hundred():
    assert sum(len(passes) for passes in POINTS.values()) + SEEDS * RANDOM_ROUNDS >= 100
