import threading

import pytest
from edge_core import SmallCore
from waiting import wait_for

from engine.client import Client
from engine.clock import SystemClock
from engine.control import ControlServer, Limits
from engine.ids import UlidIds


class PlainThreads:
    def start(self, name, run):
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        return thread


@pytest.fixture
def core():
    return SmallCore()


@pytest.fixture
def start_server(tmp_path, core):
    servers = []

    def start(state_dir=tmp_path, core=core, **limits):
        server = ControlServer(
            state_dir,
            core,
            clock=SystemClock(),
            ids=UlidIds(),
            limits=Limits(**{"market_interval_s": 0.02, **limits}),
            threads=PlainThreads(),
        )
        server.start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def server(start_server):
    return start_server()


@pytest.fixture
def client(server, tmp_path):
    with Client(tmp_path) as client:
        yield client


@pytest.fixture
def eventually():
    return lambda condition: wait_for(condition, "the condition")
