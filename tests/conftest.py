"""What all tests share: the seed of those that draw, shown when one fails and taken back."""

import os
import random
import sys

import pytest


def pytest_addoption(parser):
    parser.addoption("--seed", type=int, default=None, help="the seed of the tests that draw")


@pytest.fixture
def seed(request):
    """The seed of a random test: shown when it fails, and taken back from --seed or XCORE_SEED."""
    given = request.config.getoption("--seed") or os.environ.get("XCORE_SEED")
    value = random.SystemRandom().randrange(1, 2**31) if given is None else int(given)
    sys.stdout.write(f"seed {value} (again: --seed {value})\n")
    return value
