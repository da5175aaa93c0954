"""`xcore panic` and the HALT file on real processes: with a wedged core, without one, with a venue down."""

import json
import signal
import subprocess
import sys
from decimal import Decimal

import ccxt
import pytest
from core_process import ROOT, VENUES, environment
from waiting import wait_for

from engine.client import RequestRefused
from engine.envelope import decode_event
from engine.journal import JournalReader
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def panic(core, *more):
    """Run the command as a person does; return its exit code and its receipt."""
    command = [sys.executable, "cli.py", "--state-dir", str(core.state_dir), "--json", "panic"]
    done = subprocess.run(
        [*command, *more], cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False
    )
    receipt = json.loads(done.stdout) if done.stdout else {}
    rows = {row["venue"]: row for row in receipt.get("venues", ())}
    return done.returncode, rows, done.stderr.decode()


def rest(core, venue, quantity="0.002"):
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.97")).quantize(Decimal("0.1"))
        return client.place(venue, "BTC/USDT", "buy", quantity, price)["order_id"]


def by_hand(venues):
    """Place an order at binance that no instance of ours minted; return the venue's id of it."""
    keys = venues.endpoints["accounts"]["binance"]
    client = ccxt.binance({"apiKey": keys["api_key"], "secret": keys["api_secret"]})
    base = venues.endpoints["venues"]["binance"]["rest"] + "/api/v3"
    client.urls["api"] = dict.fromkeys(client.urls["api"], base)
    client.session.trust_env = False
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
    placed = client.privatePostOrder({**order, "quantity": "0.001", "price": "40000"})
    return str(placed["orderId"])


def journaled(core, kind):
    with JournalReader(core.journal) as reader:
        return [decode_event(r.kind, r.body) for r in reader.read(kinds=[kind])]


def trading_state(core):
    status = core.status()
    return None if status is None else status["trading_state"]


def test_a_panic_with_the_core_wedged_cancels_proves_and_is_imported(core, venues):
    core.start()
    assert core.ready()
    resting = {venue: rest(core, venue) for venue in VENUES}
    theirs = by_hand(venues)
    core.signal(signal.SIGSTOP)
    wait_for(core.is_suspended, "the core is wedged")
    fill = {"venue": "okx", "client_order_id": resting["okx"], "quantity": "0.0005"}
    venues.ctl("fill", fill)
    code, rows, said = panic(core, "--reason", "drill")
    assert code == 0, said
    assert "wedged" in said
    assert {venue: rows[venue]["canceled"] for venue in VENUES} == {
        venue: [order_id] for venue, order_id in resting.items()
    }
    assert rows["okx"]["filled"] == [{"order_id": resting["okx"], "quantity": "0.0005"}]
    assert rows["binance"]["left"] == [theirs]
    assert all(row["proven"] and not row["unknown"] for row in rows.values())
    core.signal(signal.SIGCONT)
    wait_for(lambda: trading_state(core) == "HALTED", "the core obeys the HALT file")
    swept = wait_for(lambda: journaled(core, "VenueSwept"), "the receipt is imported")
    assert {(s.venue, s.by, s.proven) for s in swept} == {(v, "panic", True) for v in VENUES}
    assert core.ready()
    with core.client() as client:
        client.request("risk.resume", reason="drill over")
        assert not (core.state_dir / "HALT").exists()
        client.cancel(rest(core, "okx"))


def test_a_panic_without_a_core_says_what_a_venue_that_is_down_leaves_unknown(core, venues):
    core.start()
    assert core.ready()
    resting = {venue: rest(core, venue) for venue in VENUES}
    core.kill()
    venues.fault("refuse_connections", "okx", params={"s": 15})
    code, rows, said = panic(core, "--timeout", "4")
    assert code == 5, said
    assert (rows["binance"]["canceled"], rows["binance"]["proven"]) == ([resting["binance"]], True)
    assert (rows["okx"]["unknown"], rows["okx"]["proven"]) == ([resting["okx"]], False)
    assert rows["okx"]["problem"]
    core.start()
    assert core.ready(deadline_s=60)
    assert trading_state(core) == "HALTED"
    with core.client() as client, pytest.raises(RequestRefused) as refused:
        client.place("binance", "BTC/USDT", "buy", "0.002", "40000")
    assert refused.value.exit_code == 6
    assert {s.venue for s in journaled(core, "VenueSwept")} == set(VENUES)
    wait_for(lambda: core.status()["orders"]["open"] == 0, "the boot's halt sweeps what was left")


def test_a_halt_file_by_hand_closes_the_gates_and_halts_a_running_core(core, venues):
    core.start()
    assert core.ready()
    order_id = rest(core, "okx")
    (core.state_dir / "HALT").write_text("the desk is on fire")
    halted = wait_for(lambda: journaled(core, "TradingHalted"), "the core obeys the HALT file")[-1]
    assert (halted.scope, halted.reason, halted.who) == ("all", "the desk is on fire", "HALT file")
    wait_for(lambda: core.status()["orders"]["open"] == 0, "the halt sweeps")
    assert read_log(venues.log("okx")).orders[order_id]["status"] == "CANCELED"
    with core.client() as client:
        client.request("risk.resume", reason="it was a drill")
    core.signal(signal.SIGUSR1)
    wait_for(
        lambda: journaled(core, "TradingHalted")[-1].who == "SIGUSR1", "the core obeys the signal"
    )
    assert (core.state_dir / "HALT").exists()
