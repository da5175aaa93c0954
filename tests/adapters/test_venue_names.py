"""One name, one venue: the configuration, the adapters, the simulator and the tests know the same ones."""

from dataclasses import replace
from urllib.parse import urlsplit

import pytest
from share import ALL_CASES, is_case_of
from traits import TRAITS

from adapters.ccxt_rest import CcxtRest
from adapters.offset import ClockOffset
from adapters.registry import ADAPTERS, VenueConfig, dialect
from engine.clock import SystemClock
from engine.errors import ConfigError
from engine.venue_names import ADAPTERS as NAMES
from engine.venue_names import DOMAINS, SHARED_HOSTS, TESTNETS, is_real
from simulator.server import DIALECTS
from simulator.traits import TRAITS as SIMULATED


def test_every_adapter_that_a_configuration_may_name_exists_and_is_simulated():
    assert set(DIALECTS) == set(SIMULATED)
    for name in TRAITS:
        assert name in NAMES
        assert name in ADAPTERS
        assert name in DIALECTS


def test_demo_mode_refuses_every_address_that_an_adapter_has_of_its_own():
    for name in set(NAMES) & set(ADAPTERS):
        for url in ADAPTERS[name].urls.values():
            assert is_real(str(urlsplit(url).hostname)), url
        assert all(is_real(domain) for domain in DOMAINS[name])
    assert not is_real("127.0.0.1")
    assert not is_real("notbinance.com")


def test_a_testnet_has_addresses_of_its_own_and_the_gates_know_them():
    for name, known in ADAPTERS.items():
        hosts = {urlsplit(url).hostname for url in known.testnet.values()}
        assert hosts == set(TESTNETS.get(name, ())), name
        if not hosts:
            continue
        assert set(known.testnet) == set(known.urls)
        shared = hosts & {urlsplit(url).hostname for url in known.urls.values()}
        assert shared <= set(SHARED_HOSTS)
        assert not shared or known.testnet_headers, "only a header tells the two apart"


def test_a_testnet_is_asked_with_its_header_and_at_its_addresses():
    config = VenueConfig("okx", "okx", "okx.main", ("BTC/USDT",), testnet=True)
    assert config.url("private_ws").startswith("wss://wspap.okx.com")
    assert config.headers == {"x-simulated-trading": "1"}
    assert replace(config, testnet=False).headers == {}
    clock = SystemClock()
    rest = CcxtRest("okx", "http://127.0.0.1:9", config.credentials, offset=ClockOffset(clock),
                    clock=clock, more_headers=config.headers)  # fmt: skip
    assert rest._ccxt.prepare_request_headers({"a": "b"})["x-simulated-trading"] == "1"
    rest.close()


def test_three_venues_in_a_row_run_every_case_once():
    venues = [*ALL_CASES, "a", "b", "c", "d"]
    for number in range(50):
        case = f"test_{number} []"
        assert is_case_of("binance", case, venues)
        assert sum(is_case_of(name, case, venues) for name in "abc") == 1
        assert is_case_of("d", case, venues) == is_case_of("a", case, venues)


def test_urls_on_this_machine_are_given_all_or_none():
    urls = {"rest": "http://127.0.0.1:9", "public_ws": "ws://127.0.0.1:9/a"}
    config = VenueConfig("okx", "okx", "okx.main", ("BTC/USDT",), urls=urls)
    with pytest.raises(ConfigError, match=r"venues.okx.urls.private_ws: is missing"):
        dialect(config)
    dialect(replace(config, urls={**urls, "private_ws": "ws://127.0.0.1:9/b"}))
