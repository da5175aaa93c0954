"""`xcore panic` where a venue's lists are of all symbols, and beside one at which nothing rests."""

import pytest
from test_fault_panic import panic, rest
from waiting import wait_for

from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]
UP = "cryBTCUSD.MULTUP.100/USD"


@pytest.fixture
def venues(make_venues):
    return make_venues("--seed", "7", "--venues", "kraken,deriv")


@pytest.fixture
def core(make_core, venues):
    def venue(name, symbol):
        urls = venues.endpoints["venues"][name]
        return {
            "symbols": [symbol], "urls": {k: url for k, url in urls.items() if "@" not in k},
            "credentials": venues.endpoints["accounts"][name], "rate_limit_share": 1.0,
        }  # fmt: skip

    return make_core(
        only={"kraken": venue("kraken", "BTC/USDT"), "deriv": venue("deriv", UP)},
        risk={"max_position": {"BTC": 100, UP.partition("/")[0]: 20}, "declared_rates": {"USD": 1}},
    )


def test_a_panic_finds_what_rests_at_kraken_and_says_what_is_unknown_at_a_dealer(core, venues):
    core.start()
    assert core.ready()
    order_id = rest(core, "kraken")
    venues.fault("hidden_order", "deriv", on="order", params={"ms": 60_000})
    venues.fault("lost_reply", "deriv", on="order")
    with core.client() as client:
        lost = client.place("deriv", UP, "buy", "1", "12", time_in_force="IOC", wait="none")[
            "order_id"
        ]
        wait_for(lambda: client.order(order_id=lost)["status"] == "UNKNOWN", "its answer is lost")
    core.kill()
    code, rows, said = panic(core)
    assert code == 5, said
    assert (rows["kraken"]["canceled"], rows["kraken"]["proven"]) == ([order_id], True)
    assert rows["deriv"]["unknown"] == [lost]
    assert read_log(venues.log("kraken")).orders[order_id]["status"] == "CANCELED"
