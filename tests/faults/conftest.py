"""Real simulators and cores, ended by their pids whatever happens."""

import pytest
from core_process import Core, Venues


@pytest.fixture
def make_venues(tmp_path):
    made = []

    def make(*options, name="venues"):
        made.append(Venues(tmp_path / name, *options))
        return made[-1]

    yield make
    for venues in made:
        venues.stop()


@pytest.fixture
def venues(make_venues):
    return make_venues("--seed", "7")


@pytest.fixture
def make_core(tmp_path, venues):
    made = []

    def make(name="core", at=None, **changes):
        made.append(Core(tmp_path / name, at or venues, **changes))
        return made[-1]

    yield make
    for core in made:
        core.cleanup()


@pytest.fixture
def core(make_core):
    return make_core()
