"""A core that trades at Deriv beside OKX: lost answers, kill -9, twins; judged from the venue's own log."""

import os
import signal
from decimal import Decimal

import pytest
from waiting import wait_for

from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(180)]

UP = "cryBTCUSD.MULTUP.100/USD"
BASE = UP.partition("/")[0]


@pytest.fixture
def venues(make_venues):
    return make_venues("--seed", "7", "--venues", "okx,deriv")


@pytest.fixture
def core(make_core, venues):
    def venue(name, symbols):
        return {
            "symbols": symbols, "urls": _urls(venues.endpoints["venues"][name]),
            "credentials": venues.endpoints["accounts"][name], "rate_limit_share": 1.0,
        }  # fmt: skip

    return make_core(
        only={"okx": venue("okx", ["BTC/USDT"]), "deriv": venue("deriv", ["BTC/USD", UP])},
        risk={"max_position": {"BTC": 100, BASE: 20}, "declared_rates": {"USD": 1}},
    )


def _urls(urls):
    return {name: url for name, url in urls.items() if "@" not in name}


def deals(venues, order_id=None):
    found = read_log(venues.log("deriv"), "main").deals
    return [deal for deal in found if order_id in (None, deal["order"])]


def buy(core, price, **more):
    with core.client() as client:
        return client.place("deriv", UP, "buy", "1", price=price, time_in_force="IOC", **more)


def order(core, order_id):
    with core.client() as client:
        return client.order(order_id=order_id)


def until(core, order_id, *statuses):
    return wait_for(
        lambda: (found := order(core, order_id))["status"] in statuses and found,
        lambda: f"{statuses}: {order(core, order_id)}",
    )


def holds(core):
    with core.client() as client:
        rows = [row for row in client.positions() if row["symbol"] == UP]
        return int(rows[0]["quantity"]) if rows else 0


def is_open_there(venues):
    bought = {d["contract_id"] for d in deals(venues) if d["action"] == "buy"}
    return len(bought - {d["contract_id"] for d in deals(venues) if d["action"] == "sell"})


def test_a_contract_whose_answer_was_lost_outlives_kill_9_and_is_there_once(core, venues):
    assert core.start().ready()
    with core.client() as client:
        resting = client.place("okx", "BTC/USDT", "buy", "0.01", price="30000")["order_id"]
    assert buy(core, "10", wait="filled")["status"] == "FILLED"

    # Its process is killed between the buy and the answer.
    venues.fault("delay", "deriv", on="order", params={"ms": 20_000})
    cut = buy(core, "11", wait="none")["order_id"]
    wait_for(lambda: deals(venues, cut), "the buy is at the venue")
    os.kill(core.venue_pid("deriv"), signal.SIGKILL)
    assert until(core, cut, "FILLED")["average_price"] == "11"
    assert len(deals(venues, cut)) == 1

    # The core is killed while it cannot know.
    assert core.ready()
    venues.fault("hidden_order", "deriv", on="order", params={"ms": 4000})
    venues.fault("lost_reply", "deriv", on="order")
    lost = buy(core, "12", wait="none")["order_id"]
    until(core, lost, "UNKNOWN")
    core.kill()
    assert core.start().ready()
    assert until(core, lost, "FILLED")["average_price"] == "12"
    (deal,) = deals(venues, lost)
    assert order(core, lost)["venue_order_id"] == deal["transaction_id"]
    assert order(core, resting)["status"] == "NEW"
    assert holds(core) == is_open_there(venues) == 3
    with core.client() as client:
        money = {row["asset"]: row["total"] for row in client.balances()}
    assert Decimal(money["USD"]) == Decimal(deals(venues)[-1]["balance_after"])


def test_an_unproven_order_that_a_person_ends_leaves_its_contract_as_a_strangers(core, venues):
    assert core.start().ready()
    venues.fault("hidden_order", "deriv", on="order", count=2, params={"ms": 6000})
    twins = []
    for _ in range(2):
        venues.fault("lost_reply", "deriv", on="order")
        twins.append(buy(core, "14", wait="none")["order_id"])
        until(core, twins[-1], "UNKNOWN")
        wait_for(lambda: core.status()["venues"][0]["state"] == "READY", "the venue is back")
    wait_for(lambda: is_open_there(venues) == 2, "both are bought there")
    with core.client() as client:
        for twin in twins:
            client.request("order.resolve", order_id=twin, status="REJECTED", reason="checked")
        client.request("order.reconcile")
    wait_for(lambda: holds(core) == 2, lambda: f"both are counted: {holds(core)}")
    assert [order(core, twin)["status"] for twin in twins] == ["REJECTED", "REJECTED"]
    with core.client() as client:
        rows = client.orders()
    strangers = [row for row in rows if row["symbol"] == UP and row["order_id"] not in twins]
    assert [row["status"] for row in strangers] == ["FILLED", "FILLED"]
    with core.client() as client:
        sold = client.place(
            "deriv", UP, "sell", "1", price="0.01", time_in_force="IOC", wait="filled"
        )
    assert sold["status"] == "FILLED"
    closed = [d["contract_id"] for d in deals(venues) if d["action"] == "sell"]
    assert closed == [min(d["contract_id"] for d in deals(venues))], "the oldest goes first"
