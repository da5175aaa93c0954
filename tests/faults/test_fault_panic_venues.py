"""`xcore panic` where a venue's lists are of all symbols, and beside one at which nothing rests."""

import pytest
from test_fault_panic import panic, rest

from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


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
        only={"kraken": venue("kraken", "BTC/USDT"), "deriv": venue("deriv", "BTC/USD")}
    )


def test_a_panic_finds_what_rests_at_kraken_and_is_not_stopped_by_a_dealer(core, venues):
    core.start()
    assert core.ready()
    order_id = rest(core, "kraken")
    core.kill()
    code, rows, said = panic(core)
    assert code == 0, said
    assert (rows["kraken"]["canceled"], rows["kraken"]["proven"]) == ([order_id], True)
    assert rows["deriv"]["proven"]
    assert read_log(venues.log("kraken")).orders[order_id]["status"] == "CANCELED"
