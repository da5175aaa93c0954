"""Deriv's words in both dialects: what is asked, and what documented answers become; odd ones are refused."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.codec import Problem
from adapters.deriv import check
from adapters.deriv_account import choose
from adapters.deriv_answers import (
    Deal,
    Underlying,
    read_active_symbols,
    read_balance,
    read_bought,
    read_contract,
    read_multipliers,
    read_portfolio,
    read_quote,
    read_shortcode,
    read_sold,
    read_statement,
    read_tick,
    read_transaction,
)
from adapters.deriv_contracts import Kinds, candidates, instrument_of, kind_of
from adapters.deriv_desk import REFUSED
from adapters.deriv_rest import Account, address_of
from adapters.deriv_words import Words, decode, encode, error_of
from adapters.registry import VenueConfig
from engine.errors import ConfigError

D = Decimal
DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "deriv"
UP = "cryBTCUSD.MULTUP.100/USD"


@pytest.fixture(scope="module")
def mocks():
    """Deriv's own mocks of the v3 API: a name, and the answers."""
    path = DATA / "flutter_deriv_api_mocks.json"
    if not path.exists():
        pytest.skip(f"no recorded answers at {path}")
    found = json.loads(path.read_text())
    return {
        name: decode(json.dumps(answers[0]).encode()) for name, answers in found.items() if answers
    }


def test_the_dialects_say_the_same_with_other_names():
    new, v3 = Words("new"), Words("v3")
    asked = [w.proposal("MULTUP", "cryBTCUSD", 100, D("10.50"), "USD") for w in (new, v3)]
    assert (asked[0].pop("underlying_symbol"), asked[1].pop("symbol")) == ("cryBTCUSD",) * 2
    assert asked[0] == asked[1]
    assert "product_type" in v3.active_symbols()
    assert "product_type" not in new.active_symbols()
    assert "subscribe" not in new.contract(7, subscribe=False)


def test_a_price_leaves_as_a_number_with_every_digit():
    text = encode(Words("new").buy("abc", D("1234567.89"), "ce01"))
    assert '"price":1234567.89' in text
    assert decode(text.encode())["price"] == D("1234567.89")


def test_the_condensed_facts_of_the_new_api_hold_for_what_is_asked():
    path = DATA / "new_api_2026_condensed.json"
    if not path.exists():
        pytest.skip(f"no condensed facts at {path}")
    calls = json.loads(path.read_text())["calls"]
    asked = Words("new").proposal("MULTUP", "cryBTCUSD", 100, D(10), "USD")
    assert set(calls["proposal"]["request_required"]) <= set(asked)
    assert set(calls["buy"]["request_required"]) <= set(Words("new").buy("id", D(10), "x"))
    documented = json.loads(path.read_text())["errors"]["codes"]
    assert set(documented) - REFUSED == {"InternalError"}, "it alone proves nothing"


def test_the_venues_own_mocks_become_what_they_say(mocks):
    assert read_quote(mocks["proposal"])[1:] == (D(10), None)
    bought = read_bought(mocks["buy_contract"])
    assert (bought.contract_id, bought.transaction_id, bought.amount) == (
        79939279308, "159779308968", D("49.12"),
    )  # fmt: skip
    assert (bought.underlying, bought.kind, bought.multiplier) == ("FRXUSDJPY", "MULTDOWN", 50)
    sold = read_sold(mocks["sell"])
    assert (sold.side, sold.amount, sold.transaction_id) == ("SELL", D(1200), "159779308968")
    assert read_balance(mocks["balance"]) == (D("9650.74"), "USD")
    tick = read_tick(mocks["tick"])
    assert (tick.underlying, tick.bid, tick.ask) == ("R_50", D("218.0826"), D("218.1026"))
    (held,) = read_portfolio(mocks["portfolio"])
    assert (held.kind, held.underlying, held.multiplier, held.stake) == (
        "MULTUP", "1HZ50V", 100, D("10.52"),
    )  # fmt: skip
    assert read_statement(mocks["statement"]) == ([], 1), "a deposit is no deal"
    contract = read_contract(mocks["proposal_open_contract"])
    assert (contract.bid_price, contract.profit, contract.buy_transaction) == (
        D(50), D("25.45"), "159790493028",
    )  # fmt: skip
    assert "WLDAUD" in read_active_symbols(mocks["active_symbols"])


def test_the_new_api_may_write_its_numbers_as_text():
    told = {
        "contract_type": "MULTUP", "contract_id": "7", "underlying_symbol": "cryBTCUSD",
        "multiplier": "100", "buy_price": "10.00", "bid_price": "9.81", "profit": "-0.19",
        "purchase_time": 1, "is_sold": 1, "sell_price": "9.81", "sell_time": 2,
        "transaction_ids": {"buy": 5, "sell": 6},
    }  # fmt: skip
    contract = read_contract({"proposal_open_contract": told})
    assert (contract.stake, contract.sell_price, contract.sell_transaction) == (
        D("10.00"), D("9.81"), "6",
    )  # fmt: skip
    moved = {"action": "sell", "amount": "9.81", "contract_id": 7, "transaction_id": 6,
             "transaction_time": 2, "underlying_symbol": "cryBTCUSD"}  # fmt: skip
    assert read_transaction({"transaction": moved})[:4] == ("6", 7, "SELL", D("9.81"))
    assert read_transaction({"transaction": {}}) is None
    offers = [{"contract_type": "MULTUP", "multiplier_range": [10, 100]}, {"contract_type": "CALL"}]
    assert read_multipliers({"contracts_for": {"available": offers}}) == {"MULTUP": {10, 100}}


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (read_bought, {"buy": {"contract_id": 1, "transaction_id": True, "buy_price": 1}}),
        (read_bought, {"buy": []}),
        (read_bought, {"buy": {"contract_id": 1, "transaction_id": 2, "buy_price": -1}}),
        (read_sold, {"sell": {"contract_id": 1, "transaction_id": 2, "sold_for": "NaN"}}),
        (read_quote, {"proposal": {"id": "", "ask_price": 1}}),
        (read_balance, {"balance": {"balance": "many", "currency": "USD"}}),
        (read_tick, {"tick": {"symbol": "R_50", "quote": [], "epoch": 1}}),
        (read_portfolio, {"portfolio": {"contracts": [7]}}),
        (read_statement, {"statement": None}),
    ],
)
def test_an_odd_answer_is_refused(read, message):
    with pytest.raises(ValueError, match=r"."):
        read(message)


def test_a_frame_that_is_no_object_is_a_problem_and_an_odd_error_is_an_error():
    assert [type(decode(raw)) for raw in (b"", b"[]", b"{", b"\xff", b"7")] == [Problem] * 5
    assert error_of({"error": "no"}).code == "WrongResponse"
    assert error_of({"error": {"code": "RateLimit"}}).code == "RateLimit"
    assert error_of({}) is None


def test_a_shortcode_names_its_contract_whatever_the_underlying_is_called():
    known = read_shortcode("MULTUP_R_100_100.00_10_1604307178_4757961599_60m_0.00")
    assert known == ("MULTUP", "R_100", D("100.00"), 10)
    assert [read_shortcode(t) for t in ("CALL_R_100_19.51_1_2_S0P_0", None, "MULTUP_", 7)] == [
        None
    ] * 4


def test_symbols_mean_contracts_or_prices_to_watch():
    assert kind_of(UP)[1:] == ("cryBTCUSD", "MULTUP", 100)
    assert not kind_of("BTC/USD").is_contract
    for wrong in ("cryBTCUSD.CALL.100/USD", "a.b/USD", "cryBTCUSD.MULTUP/USD"):
        with pytest.raises(ConfigError, match="is written UNDERLYING"):
            kind_of(wrong)
    listed = {n: Underlying(n, True, D("0.01")) for n in ("cryBTCUSD", "frxEURUSD", "R_50")}
    kinds = Kinds([UP, "BTC/USD", "EUR/USD", "R_50.MULTDOWN.10/USD", "XYZ/USD"])
    assert kinds.resolve(listed) == {
        UP: "cryBTCUSD", "BTC/USD": "cryBTCUSD", "EUR/USD": "frxEURUSD",
        "R_50.MULTDOWN.10/USD": "R_50",
    }  # fmt: skip
    assert kinds.symbol("CRYBTCUSD", "MULTUP", 100) == UP
    rules = instrument_of("deriv", kind_of(UP), listed["cryBTCUSD"], "EUR", offered=True)
    assert rules.status == "HALTED", "the account has another currency"


def test_only_a_deal_that_an_order_can_have_made_is_its_candidate():
    def deal(number, side="BUY", amount="10", time_s=100):
        return Deal(str(number), number, side, D(amount), time_s, "cryBTCUSD", "MULTUP", 100, "")

    deals = [deal(1), deal(2, amount="10.01"), deal(3, "SELL"), deal(4, time_s=94), deal(5)]
    assert [d.contract_id for d in candidates(deals, "BUY", D("10.00"), 95, ["5"])] == [1]
    assert [d.contract_id for d in candidates(deals, "SELL", D("9.5"), 95, [])] == [3]
    assert candidates(deals, "SELL", D(11), 95, []) == []


def test_the_account_is_the_only_one_or_the_one_that_is_named():
    one, two = Account("A1", "demo", "USD", True), Account("B2", "real", "EUR", True)
    closed = Account("C3", "real", "USD", False)
    assert choose([one, closed], "")[0] == one
    assert choose([one, two], "B2")[0] == two
    none, why = choose([one, two], "")
    assert none is None
    assert "A1 (demo USD), B2 (real EUR)" in why
    assert choose([one], "B2")[0] is None


def test_an_unknown_api_is_a_wrong_configuration():
    with pytest.raises(ConfigError, match=r"venues\.deriv\.api: 'v4' is none of new, v3"):
        check(VenueConfig("deriv", "deriv", "deriv.main", (UP,), api="v4"))


def test_a_one_time_address_that_is_not_the_venues_is_not_used():
    base = "https://api.derivws.com"
    assert address_of({"url": "wss://api.derivws.com/x?otp=1"}, base).endswith("otp=1")
    for url in ("ws://api.derivws.com/x?otp=1", "wss://evil.example/x?otp=1", None, "http://a/b"):
        with pytest.raises(ValueError, match="one-time password") as told:
            address_of({"url": url}, base)
        assert "otp=1" not in str(told.value)
