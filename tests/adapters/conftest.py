"""Fixtures: one simulator process a module, adapters that are always stopped."""

import pytest
from rig import Desk, Sim


@pytest.fixture(scope="module")
def sim(tmp_path_factory):
    process = Sim(tmp_path_factory.mktemp("sim"))
    yield process
    process.stop()


@pytest.fixture
def road():
    """Return the road of orders; a test of both roads is parametrized with it."""
    return "ws"


@pytest.fixture
def isolation():
    """Where the adapter lives. Overridden by the tests that hold for both."""
    return "thread"


@pytest.fixture(params=["binance", "okx"])
def make(request, sim, isolation, road):
    """Return a maker of adapters for one venue; all are stopped and all faults cleared at the end."""
    made = []

    def one(**more):
        desk = Desk(sim, request.param, isolation=isolation, **{"order_road": road, **more})
        made.append(desk)
        return desk

    yield one
    sim.ctl("fault", method="DELETE")
    sim.ctl("flow", {"on": True})
    for desk in made:
        assert desk.adapter.stop(5), "every thread ends within the deadline"


@pytest.fixture
def desk(make):
    return make().start()
