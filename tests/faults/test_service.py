"""What the service manager is told: by a core whose actors answer, by one whose do not, by a real process."""

import json
import re
import shutil
import socket
import subprocess
import sys
from concurrent.futures import Future
from pathlib import Path

import pytest
from waiting import wait_for

from engine.clock import NS_PER_S, VirtualClock
from engine.control_port import Facts
from engine.journal import verify_folder
from engine.service import Service

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/xcore.service"
ACTOR = {"name": "persistence", "state": "running", "mailbox": 0, "last_message_ms": 3}


class Manager:
    """A service manager's socket, and what came in on it."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.setblocking(False)
        self.lines = []

    def environ(self, **more):
        return {"NOTIFY_SOCKET": str(self.path), **more}

    def heard(self, word):
        """Tell whether a line with this beginning has ever come."""
        while True:
            try:
                self.lines += self.socket.recv(4096).decode().splitlines()
            except BlockingIOError:
                return any(line.startswith(word) for line in self.lines)


class Answers:
    """What the actors of a core would answer; a topic that is missing here is never answered."""

    def __init__(self, **more):
        self.topics = {
            "venues": [{"state": "READY"}, {"state": "DOWN"}],
            "counts": {"open": 7, "unknown": 1},
            "trading_state": {"trading_state": "ACTIVE", "opened": True},
            "actors": [ACTOR],
            **more,
        }

    def facts(self):
        return Facts(mode="demo", instance="desk-1", version="0", venues={}, accounts={})

    def query(self, topic, arguments):
        answer = Future()
        if self.topics[topic] is not None:
            answer.set_result(self.topics[topic])
        return answer


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path)
    yield made
    made.socket.close()


def test_a_core_whose_actors_answer_is_well_and_says_how_it_is(manager):
    clock = VirtualClock()
    service = Service(manager.environ(WATCHDOG_USEC="3000000"), clock)
    service.beat(Answers())
    assert manager.heard("WATCHDOG=1")
    assert manager.heard("STATUS=DEMO ACTIVE, 1/2 venues, 7 open, 1 unknown")
    manager.lines.clear()
    service.beat(Answers())
    assert not manager.heard("WATCHDOG"), "a third of the timeout has not passed"
    clock.advance_ns(NS_PER_S)
    service.beat(Answers())
    assert manager.heard("WATCHDOG=1")
    assert not manager.heard("STATUS"), "nothing has changed"


@pytest.mark.parametrize(
    "silent",
    [
        {"counts": None},
        {"trading_state": None},
        {"actors": [{**ACTOR, "state": "restarting"}]},
        {"actors": [{**ACTOR, "mailbox": 4, "last_message_ms": 60_000}]},
    ],
    ids=["router", "risk", "persistence restarts", "persistence stands"],
)
def test_a_core_with_an_essential_actor_that_does_not_answer_gives_no_word(manager, silent):
    service = Service(manager.environ(WATCHDOG_USEC="3000000"), VirtualClock())
    service.beat(Answers(**silent))
    assert not manager.heard("")


def test_without_a_manager_or_with_one_that_is_gone_nothing_happens(manager, tmp_path):
    Service({}, VirtualClock()).ready()
    Service({"NOTIFY_SOCKET": str(tmp_path / "gone")}, VirtualClock()).ready()
    assert not manager.heard("")


def test_a_watchdog_meant_for_another_process_is_not_fed(manager):
    service = Service(manager.environ(WATCHDOG_USEC="3000000", WATCHDOG_PID="1"), VirtualClock())
    service.beat(Answers())
    assert manager.heard("STATUS=")
    assert not manager.heard("WATCHDOG")


@pytest.mark.processes
def test_a_real_core_tells_its_life(manager, core):
    core.start(**manager.environ(WATCHDOG_USEC="600000"))
    wait_for(lambda: manager.heard("READY=1"), "it is ready")
    wait_for(lambda: manager.heard("STATUS=DEMO ACTIVE, 2/2 venues"), "it says how it is")
    wait_for(lambda: manager.heard("WATCHDOG=1"), "it is well")
    assert not manager.heard("STOPPING")
    down = [sys.executable, "cli.py", "--json", "--state-dir", str(core.state_dir), "down"]
    done = subprocess.run(down, cwd=ROOT, check=True, capture_output=True, text=True)
    assert json.loads(done.stdout) == {"schema": 1, "pid": core.process.pid, "stopped": True}
    assert core.process.wait(5) == 0
    assert manager.heard("STOPPING=1")
    told = re.search(r"stopped  SIGTERM: (\d+) journal records, 0 orders left open", core.output())
    assert int(told[1]) == verify_folder(core.journal).records, "the summary counts what is there"


def test_the_unit_is_one_that_systemd_understands(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    copy = tmp_path / "xcore.service"
    copy.write_text(UNIT.read_text().replace("/opt/xcore/.venv/bin/python", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True,
        text=True,
        check=False,
    )
    about_it = [line for line in done.stderr.splitlines() if "xcore" in line]
    assert about_it == []
