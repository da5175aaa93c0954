import threading
import time

import pytest
from edge_core import SmallCore

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
    def wait(condition, within_s=5.0):
        end = time.monotonic() + within_s
        while not condition():
            assert time.monotonic() < end, "did not happen in time"
            threading.Event().wait(0.005)

    return wait
