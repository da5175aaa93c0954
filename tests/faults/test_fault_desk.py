"""What a desk asks of a real core over real venues, as a person types it."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from core_process import ROOT, VENUES, environment
from waiting import wait_for

from engine.client import RequestRefused

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def xcore(core, *words):
    """Run a command as a person does; return its exit code and its answer."""
    command = [sys.executable, "cli.py", "--state-dir", str(core.state_dir), "--json", *words]
    done = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, timeout=60, check=False
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr.decode()


def test_depth_impact_edges_and_fees_of_a_running_core(core):
    core.start()
    assert core.ready()
    with core.client() as client:

        def both(op, venues_of, **arguments):
            """Return an answer in which both venues count: a busy machine may miss a sign of life."""
            found = []

            def look():
                found[:] = [client.request(op, **arguments)]
                return venues_of(found[0]) == set(VENUES)

            wait_for(look, lambda: f"both venues in {found}")
            return found[0]

        depth = both(
            "depth", lambda d: {r["venue"] for r in d["asks"]}, symbol="BTC/USDT", depth=50
        )
        for row in depth["asks"]:
            assert Decimal(row["adjusted_price"]) > Decimal(row["price"])
        impact = both(
            "impact", lambda i: {r["venue"] for r in i["venues"]},
            symbol="BTC/USDT", side="buy", quantity="0.5",
        )  # fmt: skip
        assert impact["all"]["complete"]
        assert Decimal(impact["all"]["after_fees"]) <= min(
            Decimal(row["after_fees"]) for row in impact["venues"] if row["complete"]
        )
        edges = both("arb", lambda rows: {row["buy_at"] for row in rows})
        assert {(row["buy_at"], row["sell_at"]) for row in edges} == {VENUES, VENUES[::-1]}
        buy(client, "okx", "0.01")
        rows = wait_for(
            lambda: [r for r in client.request("fees") if r["fills_checked"]], "the fill is checked"
        )
    assert [(r["account"], r["source"], r["fills_differing"]) for r in rows] == [
        ("okx.main", "venue", 0)
    ]
    for words in (
        ("depth", "BTC/USDT", "--depth", "5", "--all"),
        ("impact", "BTC/USDT", "sell", "--notional", "5000", "--venue", "okx"),
        ("arb",),
        ("venue", "fees"),
    ):
        code, answer = xcore(core, *words)
        assert code == 0, answer


def test_a_split_explains_itself_before_and_after_also_with_the_core_down(core, venues):
    core.start()
    assert core.ready()
    code, plan = xcore(core, "route", "BTC/USDT", "buy", "0.5", "--dry-run")
    assert code == 0, plan
    assert {row["venue"] for row in plan["venues"]} == set(VENUES)
    assert all(row["why"] for row in plan["venues"])
    assert sum(Decimal(row["share"]) for row in plan["venues"]) == Decimal("0.5")
    with core.client() as client:
        placed = client.place("best", "BTC/USDT", "buy", "0.5", wait="filled")
    code, order = xcore(core, "order", "show", placed["order_id"])
    assert code == 0, order
    assert order["cost"]["best_single_venue"] in VENUES
    assert order["cost"]["vs_best_single_bps"] is not None
    core.quiesce()
    core.kill()
    code, told = xcore(core, "why", placed["order_id"])
    assert code == 0, told
    steps = [row["step"] for row in told["steps"]]
    wanted = ["tick", "command", "plan", "risk", "intent", "send", "report", "fill"]
    assert [step for step in dict.fromkeys(steps) if step in wanted] == wanted
    fills = [row for row in told["steps"] if row["step"] == "fill"]
    assert all(row["at"] and row["venue_at"] and row["caused_by"] for row in fills)
    assert sum(Decimal(row["text"].split()[0]) for row in fills) == Decimal("0.5")
    code, child = xcore(core, "why", fills[0]["order_id"])
    assert {"command", "plan", "risk", "fill"} <= {row["step"] for row in child["steps"]}
    assert xcore(core, "why", "nobody")[0] == 3


def buy(client, venue, quantity):
    return client.place(venue, "BTC/USDT", "buy", quantity, wait="filled")


def rest(client, venue, symbol="BTC/USDT", quantity="0.002"):
    bid = Decimal(client.bbo(symbol)[0]["bid"])
    price = (bid * Decimal("0.97")).quantize(Decimal("0.1"))
    return client.place(venue, symbol, "buy", quantity, price)["order_id"]


def test_a_halt_at_each_level_sweeps_proves_and_lets_pass_what_it_may(core, venues):
    core.start()
    assert core.ready()
    with core.client() as client:
        bought = buy(client, "okx", "0.01")
        kept = rest(client, "binance")
        resting = rest(client, "okx")
        other = rest(client, "okx", "ETH/USDT", "0.05")
        fill = {"venue": "okx", "client_order_id": resting, "quantity": "0.0005"}
        venues.ctl("fill", fill)
        halt = ["risk", "halt", "--scope", "venue:okx", "--level", "reduce-only", "--reason", "x"]
        code, told = xcore(core, *halt)
        assert code == 0, told
        (row,) = told["venues"]
        assert (row["venue"], row["proven"], row["unknown"]) == ("okx", True, [])
        assert set(row["canceled"]) == {resting, other}
        assert client.order(kept)["status"] == "NEW"
        with pytest.raises(RequestRefused) as refused:
            buy(client, "okx", "0.01")
        assert (refused.value.exit_code, refused.value.result["reason_code"]) == (6, "reduce_only")
        sold = client.place("okx", "BTC/USDT", "sell", "0.004", wait="filled")
        assert sold["status"] == "FILLED", "a reducing order passes every gate"
        client.request("risk.resume", scope="venue:okx", reason="x")
        code, told = xcore(core, "risk", "halt", "--scope", "symbol:ETH/USDT", "--keep-orders")
        assert (code, "venues" in told) == (0, False)
        assert client.order(kept)["status"] == "NEW"
        code, told = xcore(core, "risk", "halt", "--level", "flat", "--reason", "go home")
        assert code == 0, told
        assert {row["venue"] for row in told["venues"] if row["proven"]} == set(VENUES)
        assert [row["order"]["status"] for row in told["flattened"]] == ["FILLED"], told[
            "flattened"
        ]
        assert client.order(kept)["status"] == "CANCELED"
        held = {row["account"]: row["traded_quantity"] for row in client.positions()}
        assert abs(Decimal(held["okx.main"])) < Decimal("0.0001"), "fees in the base stay as dust"
        assert bought["status"] == "FILLED"


def test_a_halt_names_a_venue_that_is_down_and_proves_the_others(core, venues):
    core.start()
    assert core.ready()
    with core.client() as client:
        resting = {venue: rest(client, venue) for venue in VENUES}
        venues.fault("maintenance", "okx", params={"s": 60})
        code, told = xcore(core, "risk", "halt", "--reason", "x", "--timeout", "2")
        assert code == 5, told
        rows = {row["venue"]: row for row in told["venues"]}
        assert (rows["binance"]["proven"], rows["binance"]["canceled"]) == (
            True, [resting["binance"]],
        )  # fmt: skip
        assert (rows["okx"]["proven"], bool(rows["okx"]["problem"])) == (False, True)
        assert client.status()["trading_state"] == "HALTED"
