"""Kill -9 of the core at random moments, judged from the venues' own logs."""

import random

import pytest
from kill_rounds import RANDOM_ROUNDS, SEEDS, check_quiet, killed_round, rested

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_kill_9_at_random_moments_loses_and_doubles_nothing(seed, core, venues):
    rng = random.Random(seed)
    bursts = []
    for number in range(RANDOM_ROUNDS):
        rested(venues, number)
        burst, _ = killed_round(core, number, bursts, None, rng)
        bursts.append(burst)
    check_quiet(core, venues, bursts)
