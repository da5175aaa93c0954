"""`xcore venue check`: what it examines where, and that it leaves nothing open."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.conformance_check import Wanted, check_venue
from engine.config import load
from engine.errors import ConfigError

ROOT = Path(__file__).resolve().parents[2]
VENUE = "okx"
KEYS = ("api_key", "api_secret", "passphrase")
pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


@pytest.fixture
def configured(stage, tmp_path):
    """A configuration of a mode, with the simulated venue in the venue's place."""

    def make(mode, venue=VENUE):
        given = {
            "symbols": ["BTC/USDT"],
            "urls": stage._endpoints["venues"][venue],
            "credentials": {key: f"${{T_{key.upper()}}}" for key in KEYS},
        }
        config = {"mode": mode, "live_confirm": "desk-1", "venues": {venue: given}}
        path = tmp_path / "config.json"
        path.write_text(json.dumps(config))
        path.chmod(0o600)
        return path

    return make


@pytest.fixture
def environ(stage):
    keys = stage._endpoints["accounts"][VENUE]
    return {f"T_{key.upper()}": keys[key] for key in KEYS}


def results(score):
    return {mark.number: mark.passed for mark in score.marks}


def placed(stage):
    return [order for order in stage.truth()["orders"] if order["account"] == "main"]


def test_on_a_testnet_the_public_and_the_private_parts_run(configured, environ, stage):
    config = load(configured("testnet"), environ=environ)
    said = []
    score = check_venue(config, VENUE, Wanted(("C1", "C3", "C5", "C6", "C15")), said.append)
    assert results(score) == {"C1": True, "C3": True, "C5": True, "C6": None, "C15": True}
    assert str(score) == "4/4"
    assert said == score.marks
    assert {order["status"] for order in placed(stage)} == {"CANCELED"}


def test_on_a_live_endpoint_only_the_public_parts_run(configured, environ, stage):
    before = len(placed(stage))
    config = load(configured("live"), environ=environ)
    score = check_venue(config, VENUE, Wanted(("C1", "C3", "C14")), lambda _: None)
    assert results(score) == {"C1": True, "C3": None, "C14": True}
    assert len(placed(stage)) == before


def test_a_canary_is_one_order_found_cancelled_and_gone(configured, environ, stage):
    before = len(placed(stage))
    config = load(configured("live"), environ=environ)
    score = check_venue(config, VENUE, Wanted(canary=True), lambda _: None)
    assert results(score) == {"canary": True}, score.marks
    mine = placed(stage)[before:]
    assert [(o["status"], o["filled_quantity"]) for o in mine] == [("CANCELED", "0")]


def test_an_interrupted_check_leaves_nothing_open(configured, environ, stage):
    config = load(configured("testnet"), environ=environ)

    stage.fault("drop_request", "cancel", 50)  # so that the order of C3 still rests at its end
    failed = []

    def interrupted(mark):
        failed.append(mark.passed)
        assert [o["status"] for o in placed(stage) if o["status"] == "NEW"]
        stage.clear()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_venue(config, VENUE, Wanted(("C3",)), interrupted)
    assert failed == [False]
    assert not [o for o in placed(stage) if o["status"] in ("NEW", "PARTIALLY_FILLED")]


def test_there_must_be_something_to_examine(configured, environ):
    config = load(configured("testnet"), environ=environ)
    with pytest.raises(ConfigError, match="no examination is called C99"):
        check_venue(config, VENUE, Wanted(("C99",)), lambda _: None)


def xcore(*words, environ=None):
    return subprocess.run(
        [sys.executable, "cli.py", "venue", "check", *words], cwd=ROOT, capture_output=True,
        text=True, check=False, stdin=subprocess.DEVNULL, env=environ,
    )  # fmt: skip


def test_the_command_starts_a_simulated_venue_of_its_own_in_demo():
    done = xcore("okx", "--exam", "C1", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["venue"], told["mode"], told["score"]) == ("okx", "demo", "1/1")
    assert told["exams"] == [{"exam": "C1", "title": "symbols", "result": "passed", "text": ""}]
    assert xcore("mtgox").returncode == 3


def test_a_live_canary_is_not_sent_without_a_confirmation(configured, environ, stage):
    before = len(placed(stage))
    path = str(configured("live"))
    done = xcore("okx", "-c", path, "--canary", "--yes", environ={**environ, "PATH": ""})
    assert done.returncode == 8
    assert "LIVE desk-1" in done.stderr
    assert len(placed(stage)) == before
