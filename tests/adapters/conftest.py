"""Fixtures: one simulator process a module, adapters that are always stopped, and who runs what."""

import pytest
from rig import Desk, Sim
from share import case_of, is_case_of, leave_the_others
from traits import TRAITS


def pytest_collection_modifyitems(config, items):
    """Leave each venue its part of the cases (`tests/share.py`); --all-venues leaves it all."""
    leave_the_others(config, items, _is_run)


def _is_run(item, runs_all):
    params = getattr(getattr(item, "callspec", None), "params", {})
    if "make" not in params or "make" not in item.fixturenames:
        return True
    venue = params["make"]
    is_about_the_road = item.get_closest_marker("trade_road") or params.get("road") == "ws"
    if is_about_the_road and not TRAITS[venue].has_trade_road:
        return False
    return runs_all or is_case_of(venue, case_of(item, "make"), TRAITS)


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


@pytest.fixture(params=list(TRAITS))
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
