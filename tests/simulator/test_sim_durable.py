"""What survives a kill, who may run where, and how it stops."""

import contextlib
import json
import subprocess
import sys
import threading

import ccxt
from conftest import CLIENTS, Sim
from waiting import wait_for

from simulator.log import read_log

BTC = "BTC/USDT"


def test_nothing_answered_is_lost_in_a_kill(tmp_path):
    sim = Sim(tmp_path, "--seed", "4")
    answered = {"binance": [], "okx": []}
    stop = threading.Event()

    def trade(name):
        client = CLIENTS[name](sim, timeout=1000)
        client.load_markets()
        number = 0
        with contextlib.suppress(ccxt.BaseError):
            while not stop.is_set():
                number += 1
                cid = f"{number:032x}"
                price = 50000 + number if number % 3 else None
                kind = "limit" if price else "market"
                client.create_order(BTC, kind, "buy", 0.001, price, {"clientOrderId": cid})
                answered[name].append(cid)
                if price and number % 5 == 1:
                    client.cancel_order(None, BTC, {"clientOrderId": cid})

    threads = [threading.Thread(target=trade, args=(name,)) for name in answered]
    for thread in threads:
        thread.start()
    wait_for(lambda: all(len(ids) >= 25 for ids in answered.values()), "orders flow", 20)
    sim.kill()
    stop.set()
    for thread in threads:
        thread.join()
    before = {name: read_log(sim.log(name), "main") for name in answered}
    urls = sim.endpoints["venues"]
    sim.start()
    assert sim.endpoints["venues"] == urls  # the same ports
    sim.ctl("flow", {"on": False})
    for name, ids in answered.items():
        assert set(ids) <= set(before[name].orders)
        assert set(before[name].order_counts.values()) == {1}
        truth = sim.ctl(f"truth/{name}")
        mine = {o["client_order_id"]: o for o in truth["orders"] if o["account"] == "main"}
        assert set(mine) == set(before[name].orders)
        for cid, line in before[name].orders.items():
            if line["status"] in {"FILLED", "CANCELED"}:
                assert mine[cid]["status"] == line["status"]
        first_fills = before[name].fills
        kept = {(f["venue_order_id"], f["trade_id"]) for f in truth["fills"]}
        assert {(f["venue_order_id"], f["trade_id"]) for f in first_fills} <= kept
        after = read_log(sim.log(name), "main")
        for asset, amounts in truth["balances"]["main"].items():
            free, locked = after.balances["main"][asset]
            assert (str(free), str(locked)) == (amounts["free"], amounts["locked"])
    assert sim.stop() == 0


def test_a_torn_last_line_is_dropped(tmp_path):
    sim = Sim(tmp_path, "--flow", "off")
    client = CLIENTS["binance"](sim)
    client.create_order(BTC, "limit", "buy", 0.01, 50000, {"clientOrderId": "whole"})
    sim.kill()
    log = sim.log("binance")
    group = [line for line in log.read_text().splitlines() if '"whole"' in line]
    torn = json.loads(group[1]) | {"client_order_id": "torn", "venue_order_id": "99999999"}
    with log.open("a") as out:
        out.write(json.dumps(torn) + "\n" + '{"n": 12, "kind": "bal')
    assert set(read_log(log, "main").orders) == {"whole"}
    sim.start()
    orders = sim.ctl("truth/binance")["orders"]
    assert [o["client_order_id"] for o in orders] == ["whole"]
    numbers = [json.loads(line)["n"] for line in log.read_text().splitlines()]
    assert numbers == list(range(1, len(numbers) + 1))
    sim.stop()


def test_one_simulator_per_folder(sim):
    command = [sys.executable, "-m", "simulator", "--state-dir", str(sim.folder)]
    second = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert second.returncode == 75
    assert "another one is running" in second.stderr


def test_it_leaves_when_its_parent_does(tmp_path):
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    sim = Sim(tmp_path, "--parent-pid", str(parent.pid))
    parent.communicate(b"\n")
    assert sim.process.wait(5) == 0
    sim.process.stderr.close()


def test_the_endpoints_file_is_private(sim):
    path = sim.folder / "sim" / "endpoints.json"
    assert path.stat().st_mode & 0o777 == 0o600


def test_it_says_where_it_listens(tmp_path):
    command = [sys.executable, "-m", "simulator", "--state-dir", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        process.terminate()
    found = json.loads((tmp_path / "sim" / "endpoints.json").read_text())
    urls = [found["ctl"], *(venue["rest"] for venue in found["venues"].values())]
    assert all(url in line for url in urls)
    assert str(tmp_path / "sim" / "endpoints.json") in line
