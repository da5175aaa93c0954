"""Testnet and live, end to end: a real core behind its gates, a simulated venue in the venue's place."""

import json
import subprocess
import sys

import pytest
from core_process import ROOT, environment
from waiting import wait_for

from engine.client import RequestRefused
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]
VENUE = "okx"
KEYS = ("api_key", "api_secret", "passphrase")


def gated(core, venues, mode):
    """Write the configuration that opens every gate, and return the environment with the keys."""
    core.configure(mode=mode, live_confirm="crash-1")
    config = json.loads(core.config_path.read_text())
    config["venues"] = {VENUE: config["venues"][VENUE]}
    config["venues"][VENUE]["credentials"] = {key: f"${{TEST_{key.upper()}}}" for key in KEYS}
    config["orders"]["on_core_loss_cancel_after_s"] = None
    core.config_path.write_text(json.dumps(config))
    core.config_path.chmod(0o600)
    return {f"TEST_{key.upper()}": venues.endpoints["accounts"][VENUE][key] for key in KEYS}


def xcore(core, *words):
    done = subprocess.run(
        [sys.executable, "cli.py", "--state-dir", str(core.state_dir), *words], cwd=ROOT,
        env=environment(), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("mode", ["testnet", "live"])
def test_a_gated_core_trades_where_it_is_told_and_live_wants_its_name(mode, core, venues):
    core.start(**gated(core, venues, mode))
    assert core.ready()
    banner = core.output()
    assert f"{mode.upper()} crash-1" in banner
    assert "NOT " in banner
    assert venues.endpoints["venues"][VENUE]["rest"] in banner
    wanted = (VENUE, "BTC/USDT", "buy", "0.002", "60000")
    with core.client() as client:
        if mode == "testnet":
            assert client.place(*wanted)["status"] == "NEW"
        else:
            with pytest.raises(RequestRefused) as refused:
                client.place(*wanted)
            assert (refused.value.code, refused.value.exit_code) == ("UNCONFIRMED", 8)
            assert client.live == "crash-1"
            place = ("order", "place", VENUE, "BTC/USDT", "buy", "0.002", "@60000")
            code, out, said = xcore(core, *place, "--yes")
            assert (code, out) == (8, ""), said
            assert "LIVE crash-1" in said
            assert read_log(venues.log(VENUE)).requests == []
            code, out, said = xcore(core, *place, "--yes", "--live", "--json")
            assert (code, json.loads(out)["status"]) == (0, "NEW"), said
            assert client.place(*wanted, live="crash-1")["status"] == "NEW"
            assert client.halt("no word is needed to stop")["halted"]
            with pytest.raises(RequestRefused, match="UNCONFIRMED"):
                client.resume("but one to go on")
            wait_for(lambda: client.orders(state="open") == [], "the halt cancels what rests")
    core.quiesce()
    assert core.terminate() == 0
