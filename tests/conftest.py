"""What all tests share: the seed of those that draw, shown when one fails and taken back."""

import os
import random
import sys

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: nothing here is judged by how long it took.
settings.register_profile("house", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("house")


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="the seed of the tests that draw")
    parser.addoption("--all-venues", action="store_true", help="every case of every venue")


# What takes longest begins first, so that no worker is left alone with it at the end.
LONGEST_FIRST = ("faults", "conformance", "dst", "adapters", "journal", "bench", "simulator")


def pytest_collection_modifyitems(items):
    places = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: places.get(item.path.parent.name, len(places)))


@pytest.fixture
def seed(request):
    """The seed of a random test: shown when it fails, and taken back from --seed or XCORE_SEED."""
    given = request.config.getoption("--seed") or os.environ.get("XCORE_SEED")
    value = random.SystemRandom().randrange(1, 2**31) if given is None else int(given)
    sys.stdout.write(f"seed {value} (again: --seed {value})\n")
    return value
