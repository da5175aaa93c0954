"""A backup of a running core with resting orders, and a core that goes on from it: the drill."""

import contextlib
import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from waiting import wait_for

from engine.client import RequestRefused
from engine.errors import CoreError
from simulator.log import read_log

ROOT = Path(__file__).resolve().parents[2]
pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def xcore(*words):
    command = [sys.executable, "cli.py", "--json", *map(str, words)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def buy(client, command_id, price=None, **more):
    more |= {"command_id": command_id, "market": price is None}
    return client.place("okx", "BTC/USDT", "buy", "0.002", price, **more)


def held_by_venue(venues, asset):
    free, locked = read_log(venues.log("okx"), "main").balances["main"][asset]
    return free + locked


def test_a_core_goes_on_from_a_backup_halted_with_what_the_venues_know(core, venues, tmp_path):
    core.start()
    assert core.ready()
    with core.client() as client:
        price = f"{float(client.bbo()[0]['bid']) * 0.9:.1f}"
        before = buy(client, "before", price)["order_id"]
        made = xcore("backup", "create", "--state-dir", core.state_dir, "--to", tmp_path / "kept")
        after = buy(client, "after", price)["order_id"]
        bought = buy(client, "bought", wait="filled")["order_id"]
    core.kill()

    (row,) = xcore("backup", "list", "--in", tmp_path / "kept")
    assert (row["file"], row["head_seq"]) == (made["file"], made["head_seq"])
    assert xcore("backup", "verify", made["file"])["ok"]
    into = tmp_path / "again"
    told = xcore("backup", "restore", made["file"], "--into", into, "--reason", "a drill")
    assert told["restored_from"] == made["head_seq"]

    core.state_dir = into
    core.start()
    assert core.ready()
    with core.client() as client:
        (halt,) = client.request("risk.show")["halts"]
        assert "restored from a backup: a drill" in halt["reason"]
        with pytest.raises(RequestRefused, match="halt"):
            buy(client, "too-early")
        orders = {order["order_id"]: order for order in client.orders(limit=100)}
        assert [orders[i]["status"] for i in (before, after, bought)] == ["NEW", "NEW", "FILLED"]
        assert orders[before]["command_id"] == "before"
        assert "not in this journal" in orders[after]["who"], "it learned of it from the venue"
        owned = {(r["venue"], r["asset"]): Decimal(r["total"]) for r in client.request("balance")}
        assert owned["okx", "BTC"] == held_by_venue(venues, "BTC")
        assert owned["okx", "USDT"] == held_by_venue(venues, "USDT")
        client.resume("compared with the venues", "all")
        with contextlib.suppress(CoreError):  # however it is answered, it is not sent again
            buy(client, "bought", timeout_s=2)
        assert buy(client, "later", wait="filled", timeout_s=20)["status"] == "FILLED"
        client.cancel(before, after)
        wait_for(lambda: not client.orders(state="open"), "nothing rests")
    assert core.terminate() == 0
    truth = read_log(venues.log("okx"), "main")
    assert set(truth.order_counts.values()) == {1}, "nothing old was sent again"
    assert len(truth.order_counts) == 4
