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
LONGEST_FIRST = ("faults", "conformance", "dst", "bench", "adapters", "journal", "simulator")


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


def pytest_terminal_summary(terminalreporter):
    """Print each adapter's score in the conformance suite, of the examinations that were run."""
    results = {}
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, ()):
            for name, value in getattr(report, "user_properties", ()):
                if name == "conformance":
                    venue, exam, passed = value
                    results.setdefault(venue, {})[exam] = passed
    if results:
        terminalreporter.section("conformance")
    for venue, marks in sorted(results.items()):
        applied = [passed for passed in marks.values() if passed is not None]
        failed = ", ".join(exam for exam, passed in marks.items() if passed is False)
        score = f"{sum(applied)}/{len(applied)}"
        terminalreporter.line(f"conformance: {venue} {score}{failed and f'  failed: {failed}'}")
