"""Quantising: buys floor, sells ceil, quantities floor, and nothing is off the grid."""

import random
from decimal import Decimal

import msgspec
import pytest

from engine.errors import Refused
from engine.messages.port import Instrument
from engine.trading.book import UNITS_MAX
from engine.trading.instrument import (
    check_order,
    decimals_of,
    price_exponent,
    quantise_price,
    quantise_quantity,
    quantity_exponent,
    scale,
    unscale,
)

BTC = Instrument(
    venue="binance", symbol="BTC/USDT", venue_symbol="BTCUSDT", base="BTC", quote="USDT",
    tick_size=Decimal("0.05"), lot_size=Decimal("0.00001"), quantity_min=Decimal("0.0001"),
    quantity_max=Decimal(100),
    notional_min=Decimal(5), maker_fee=Decimal("0.001"), taker_fee=Decimal("0.001"),
)  # fmt: skip


def test_a_buy_is_floored_and_a_sell_raised():
    assert quantise_price(BTC, "BUY", Decimal("99.999")) == Decimal("99.95")
    assert quantise_price(BTC, "SELL", Decimal("99.951")) == Decimal("100.00")
    assert quantise_price(BTC, "SELL", Decimal("99.95")) == Decimal("99.95")
    assert quantise_quantity(BTC, Decimal("0.123456789")) == Decimal("0.12345")


@pytest.mark.parametrize("seed", range(50))
def test_quantised_prices_are_on_the_grid_and_never_worse(seed):
    rng = random.Random(seed)
    price = Decimal(rng.randint(1, 10**9)).scaleb(-rng.randint(0, 6)) + 1
    buy, sell = quantise_price(BTC, "BUY", price), quantise_price(BTC, "SELL", price)
    assert buy % BTC.tick_size == sell % BTC.tick_size == 0
    assert buy <= price <= sell
    assert sell - buy in (0, BTC.tick_size)


@pytest.mark.parametrize(
    ("quantity", "price", "code"),
    [
        ("0.00001", "100", "quantity_min"),
        ("101", "100", "quantity_max"),
        ("0.000155", "100000", "lot_size"),
        ("1", "100.01", "tick_size"),
        ("0.001", "100", "notional_min"),
    ],
)
def test_what_the_venue_would_refuse_is_refused_here(quantity, price, code):
    with pytest.raises(Refused) as refused:
        check_order(BTC, Decimal(quantity), Decimal(price))
    assert refused.value.code == code


def test_a_halted_instrument_refuses_and_a_good_order_passes():
    check_order(BTC, Decimal("0.1"), Decimal("100.05"))
    check_order(BTC, Decimal("0.1"), None)
    with pytest.raises(Refused, match="HALTED"):
        check_order(msgspec.structs.replace(BTC, status="HALTED"), Decimal("0.1"), Decimal(100))


def test_books_are_finer_than_todays_grid_for_orders_from_before_it():
    assert (price_exponent(BTC), quantity_exponent(BTC)) == (8, 8)
    fine = msgspec.structs.replace(BTC, tick_size=Decimal("1E-10"), lot_size=Decimal("1E-9"))
    assert (price_exponent(fine), quantity_exponent(fine)) == (10, 9)
    coins = msgspec.structs.replace(BTC, tick_size=Decimal("1E-8"), lot_size=Decimal(1))
    assert (price_exponent(coins), quantity_exponent(coins)) == (8, 3)
    assert 10**15 * 10 ** quantity_exponent(coins) <= UNITS_MAX  # of a quadrillion coins


def test_scaling_is_exact_or_refused():
    assert decimals_of(BTC.tick_size) == 2
    assert scale(Decimal("1.25"), 2) == 125
    assert unscale(125, 2) == Decimal("1.25")
    with pytest.raises(ValueError, match="decimals"):
        scale(Decimal("1.255"), 2)
