"""Lost replies, late answers, hidden orders, cut links and a dead venue, with the core killed on top."""

import json
import random
import subprocess
import sys
from decimal import Decimal

import pytest
from checker import problems, read_journal
from core_process import ROOT, Burst, Traffic, environment
from waiting import wait_for

from engine.errors import CoreError
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

# Shorter than the settle window of one second, which "not found" has to outlast.
FAULTS = (
    ("lost_reply", {"on": "order"}),
    ("lost_reply", {"on": "cancel"}),
    ("error_5xx", {"on": "order", "params": {"when": "after"}}),
    ("error_5xx", {"on": "order", "params": {"when": "before"}}),
    ("drop_request", {"on": "order"}),
    ("drop_request", {"on": "cancel"}),
    ("delay", {"on": "order", "params": {"ms": 300, "when": "after"}}),
    ("delay", {"on": "order", "params": {"ms": 300, "when": "before"}}),
    ("hidden_order", {"params": {"ms": 500}}),
    ("truncated", {"on": "order"}),
    ("html_200", {"on": "order"}),
    ("partial_fill", {}),
    ("cancel_race", {}),
    ("private_event_lost", {}),
    ("private_event_duplicate", {}),
    ("private_event_before_ack", {}),
    ("private_event_after_ack", {}),
    ("ws_gap", {"on": "reply"}),
    ("ws_duplicate", {"on": "reply"}),
    ("ws_reorder", {"on": "reply"}),
    ("ws_half_open", {"on": "reply"}),
)


def break_things(venues, rng, probability=0.5):
    """Set every fault at both venues, each to strike some of the next requests."""
    for venue in ("binance", "okx"):
        for kind, more in FAULTS:
            if rng.random() < probability:
                venues.fault(kind, venue, count=3, probability=0.3, **more)


def state_of(core, venue):
    status = core.status()
    return next(v for v in status["venues"] if v["name"] == venue) if status else {}


def test_faults_of_both_venues_and_kills_of_the_core_lose_and_double_nothing(core, venues):
    rng = random.Random(5)
    bursts = []
    for number in range(8):
        if number % 2 == 0:  # so many questions a minute would spend Binance's weight
            venues.kill()
            venues.start()
        core.start()
        assert core.ready()
        break_things(venues, rng)
        for again in bursts[-1:]:
            again.submit(core, 4)
        bursts.append(Burst(f"f{number}"))
        core.kill_during(lambda: bursts[-1].submit(core, 6), rng.randint(1, 60))
        venues.clear_faults()
    venues.kill()
    venues.start()
    core.start()
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    acknowledged = {c for burst in bursts for c in burst.acknowledged}
    assert problems(core.journal, venues.log, acknowledged) == []
    roads = {r["via"] for v in ("binance", "okx") for r in read_log(venues.log(v)).requests
             if r["action"] == "place"}  # fmt: skip
    assert "ws" in roads
    struck = {f["fault_kind"] for v in ("binance", "okx") for f in read_log(venues.log(v)).faults
              if f["phase"] == "applied"}  # fmt: skip
    assert len(struck) >= 8, struck


def test_a_core_killed_between_the_venues_acceptance_and_its_answer_finds_its_order(core, venues):
    core.start()
    assert core.ready()
    for venue in ("binance", "okx"):
        venues.fault("delay", venue, on="order", params={"ms": 3000, "when": "after"})
        venues.fault("private_event_lost", venue, count=5)
    burst = Burst("held")
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        for venue in ("binance", "okx"):
            order = client.place(
                venue, "BTC/USDT", "buy", "0.002", price, command_id=f"h-{venue}", wait="none"
            )
            burst.acknowledged.add(order["command_id"])
            wait_for(
                lambda venue=venue, order=order: order["order_id"] in read_log(
                    venues.log(venue)).orders,
                "the venue has accepted",
            )  # fmt: skip
    core.kill()
    venues.clear_faults()
    core.start()
    assert core.ready()

    def adopted():
        with core.client() as client:
            found = client.orders(state="open")
            return len(found) == 2 and all(order["status"] == "NEW" for order in found)

    wait_for(adopted, "both orders are known again")
    with core.client() as client:
        for venue in ("binance", "okx"):
            client.place(
                venue, "BTC/USDT", "buy", "0.002", price, command_id=f"h-{venue}", wait="none"
            )
    core.quiesce()
    assert core.terminate() == 0
    assert len(read_journal(core.journal).unknown) == 2
    assert problems(core.journal, venues.log, burst.acknowledged) == []


def test_a_request_that_reaches_the_venue_after_the_core_died_is_adopted_not_repeated(core, venues):
    core.start()
    assert core.ready()
    venues.fault("delay", "binance", on="order", params={"ms": 600, "when": "before"})
    with core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"])
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        client.place("binance", "BTC/USDT", "buy", "0.002", price, command_id="late", wait="none")
    wait_for(
        lambda: any(f["phase"] == "applied" for f in read_log(venues.log("binance")).faults),
        "the request is at the venue's door",
    )
    core.kill()
    core.start()
    assert core.ready()
    with core.client() as client:
        client.place("binance", "BTC/USDT", "buy", "0.002", price, command_id="late", wait="none")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, {"late"}) == []


def test_a_killed_simulator_that_restarts_is_found_again_and_reconciled(core, venues):
    core.start()
    assert core.ready()
    with Traffic(core, "load") as traffic:
        wait_for(lambda: len(traffic.bursts) > 1, "orders flow")
        venues.kill()
        wait_for(lambda: state_of(core, "okx").get("state") != "READY", "okx is not ready")
        wait_for(lambda: state_of(core, "binance").get("state") != "READY", "binance neither")
        venues.start()
        assert core.ready()
        done = len(traffic.bursts)
        wait_for(lambda: len(traffic.bursts) > done + 1, "orders flow again")
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


@pytest.mark.parametrize("kind", ["ws_drop", "ws_half_open"])
def test_a_venue_whose_streams_fail_leaves_the_book_and_comes_back(kind, make_core, venues):
    core = make_core()
    core.start()
    assert core.ready()
    seen = set()

    def book_state(name):
        with core.client() as client:
            levels = client.book("BTC/USDT", depth=20)
            quoting = {level["venue"] for side in ("bids", "asks") for level in levels[side]}
            state = state_of(core, name)["book_state"]
        seen.add((name, state, name in quoting))
        return state

    with Traffic(core, "load") as traffic:
        wait_for(lambda: len(traffic.bursts) > 1, "orders flow")
        venues.fault(kind, "okx", on="any", count=10)
        wait_for(
            lambda: book_state("okx") != "LIVE" and ("okx", book_state("okx"), False) in seen,
            lambda: f"okx leaves the book: {seen}",
        )
        assert book_state("binance") == "LIVE"
        wait_for(core.is_ready, lambda: core.status()["venues"], 40)
        done = len(traffic.bursts)
        wait_for(lambda: len(traffic.bursts) > done + 1, "orders flow again")
    assert ("binance", "LIVE", True) in seen
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


def test_no_order_leaves_to_a_venue_whose_rest_is_dead_and_the_other_trades(core, venues):
    core.start()
    assert core.ready()
    venues.fault("venue_restart", "okx", params={"down_ms": 2500})
    wait_for(lambda: state_of(core, "okx").get("state") != "READY", "okx is down")
    with core.client() as client:
        order = client.place("binance", "BTC/USDT", "buy", "0.002", market=True, wait="filled")
        assert order["status"] == "FILLED"
        with pytest.raises(CoreError):
            client.place("okx", "BTC/USDT", "buy", "0.002", market=True, command_id="no")
    assert core.ready()
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, ()) == []


def test_status_says_what_waits_for_a_venues_limits_while_it_is_not_ready(core, venues):
    config = json.loads(core.config_path.read_text())
    config["venues"]["binance"]["rate_limit_share"] = 0.02  # 120 of 6000 weight a minute
    core.config_path.write_text(json.dumps(config))
    core.start()
    wait_for(lambda: state_of(core, "okx").get("state") == "READY", "the other venue is ready")
    wait_for(lambda: state_of(core, "binance").get("waits_for"), "binance says what it waits for")
    row = state_of(core, "binance")
    assert row["state"] != "READY"
    weight = next(limit for limit in row["rate"]["limits"] if limit["name"] == "weight")
    assert weight["limit"] == 120
    assert weight["left"] < 50
    assert weight["interval_s"] == 60
    assert any(w["waiting"] or w["given_up"] for w in row["rate"]["waiting"])
    assert "weight left" in row["waits_for"]
    for command in (["status"], ["venue", "list"]):
        shown = subprocess.run(
            [sys.executable, "cli.py", "--state-dir", str(core.state_dir), *command, "-o", "table"],
            cwd=ROOT, env=environment(), capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert "weight left" in shown, command
    assert state_of(core, "okx")["waits_for"] == ""
