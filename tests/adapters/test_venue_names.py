"""One name, one venue: the configuration, the adapters, the simulator and the tests know the same ones."""

from urllib.parse import urlsplit

from share import ALL_CASES, is_case_of
from traits import TRAITS

from adapters.registry import ADAPTERS
from engine.venue_names import ADAPTERS as NAMES
from engine.venue_names import DOMAINS, is_real
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


def test_three_venues_in_a_row_run_every_case_once():
    venues = [*ALL_CASES, "a", "b", "c", "d"]
    for number in range(50):
        case = f"test_{number} []"
        assert is_case_of("binance", case, venues)
        assert sum(is_case_of(name, case, venues) for name in "abc") == 1
        assert is_case_of("d", case, venues) == is_case_of("a", case, venues)
