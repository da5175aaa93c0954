"""What a desk asks of a real core over real venues, as a person types it."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from core_process import ROOT, VENUES, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def xcore(core, *words):
    """Run a command as a person does; return its exit code and its answer."""
    command = [sys.executable, "cli.py", "--state-dir", str(core.state_dir), "--json", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr.decode()


def test_depth_impact_and_edges_of_a_running_core(core):
    core.start()
    assert core.ready()
    code, depth = xcore(core, "depth", "BTC/USDT", "--depth", "50")
    assert code == 0, depth
    assert {row["venue"] for row in depth["asks"]} == set(VENUES)
    for row in depth["asks"]:
        assert Decimal(row["adjusted_price"]) > Decimal(row["price"])
    code, impact = xcore(core, "impact", "BTC/USDT", "buy", "0.5")
    assert code == 0, impact
    assert impact["all"]["complete"]
    assert Decimal(impact["all"]["after_fees"]) <= min(
        Decimal(row["after_fees"]) for row in impact["venues"] if row["complete"]
    )
    code, edges = xcore(core, "arb")
    assert code == 0, edges
    assert {(row["buy_at"], row["sell_at"]) for row in edges} == {VENUES, VENUES[::-1]}
