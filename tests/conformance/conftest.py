"""One simulated venue and one suite a file; the marks go to the summary at the end of the run."""

import json
import os
import random
import subprocess
import sys

import pytest
from waiting import wait_for

from adapters.conformance import SUBJECTS, TIMEOUTS, Score
from adapters.conformance_bench import Surroundings
from adapters.conformance_stage import Stage
from adapters.conformance_suite import Suite
from engine.clock import SystemClock
from engine.threads import DaemonThreads

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def stage(request, tmp_path_factory):
    """The simulated venue that the module is about, by its VENUE."""
    venue, folder = request.module.VENUE, tmp_path_factory.mktemp("venue")
    command = [sys.executable, "-m", "simulator", "--state-dir", str(folder), "--venues", venue]
    command += ["--parent-pid", str(os.getpid())]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    path = folder / "sim" / "endpoints.json"

    def is_up():
        assert process.poll() is None, "the simulator ended"
        return path.exists()

    wait_for(is_up, "the simulator is up")
    yield Stage(json.loads(path.read_text()), venue)
    process.terminate()
    process.wait(10)


@pytest.fixture(scope="module")
def suite(stage):
    """The suite of the module's venue: one adapter, examined from C1 to C16."""
    subject = SUBJECTS[stage.venue]
    config = stage.config(stage.venue, subject.symbols, timeouts=TIMEOUTS)
    at = Surroundings(CLOCK, random.Random(7), DaemonThreads().start, subject.scopes)
    held = Suite(config, at, stage, subject)
    yield held
    held.close()


@pytest.fixture(scope="module")
def score(request):
    """The marks of the module's venue, as they come."""
    return Score(request.module.VENUE)
