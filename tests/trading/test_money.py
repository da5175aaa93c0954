"""Exact arithmetic: nothing rounds silently."""

from decimal import Decimal, Inexact, getcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.messages.base import check_decimal
from engine.trading.money import exact, for_message, part_of, plain, ratio, split_symbol

amounts = st.decimals(-(10**14), 10**14, allow_nan=False, allow_infinity=False, places=18)


@exact
def product(a, b):
    return a * b + a - b


@given(amounts, amounts)
def test_exact_arithmetic_equals_fractions_and_leaves_the_callers_context_alone(a, b):
    before = getcontext().copy()
    assert Fraction(product(a, b)) == Fraction(a) * Fraction(b) + Fraction(a) - Fraction(b)
    assert getcontext().prec == before.prec


def test_a_result_that_would_be_rounded_is_an_error():
    with pytest.raises(Inexact):
        exact(lambda: Decimal(1) / Decimal(3))()


@given(amounts, st.integers(1, 10**12), st.integers(1, 10**12))
def test_a_part_and_its_rest_are_always_the_whole(total, part, whole):
    share = part_of(total, Decimal(part), Decimal(whole))
    assert abs(Fraction(share) - Fraction(total) * part / whole) < Fraction(1, 10**24)


def test_a_part_that_is_a_finite_decimal_is_exact():
    assert part_of(Decimal("0.3"), Decimal(1), Decimal(8)) == Decimal("0.0375")
    assert part_of(Decimal(1), Decimal(3), Decimal(3)) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E-7", "0.0000001"),
        ("1E+3", "1000"),
        ("-0.00", "0"),
        ("1.50", "1.5"),
        ("0E-8", "0"),
        ("100", "100"),
    ],
)
def test_plain_has_no_exponent_and_no_trailing_zeros(value, text):
    assert plain(Decimal(value)) == text


@given(st.decimals(-(10**20), 10**20, allow_nan=False, allow_infinity=False, places=36))
def test_any_sum_of_money_fits_into_a_message(value):
    fitted = for_message(value)
    check_decimal("value", fitted)
    assert abs(Fraction(fitted) - Fraction(value)) < Fraction(1, 10**16)


def test_what_fits_into_a_message_stays_as_it_is():
    assert str(for_message(Decimal("1.500"))) == "1.500"


def test_a_ratio_over_zero_is_not_known():
    assert ratio(Decimal(1), Decimal(0)) is None
    assert ratio(Decimal(1), Decimal(8)) == Decimal("0.125")


@pytest.mark.parametrize("symbol", ["BTC", "BTC/", "/USDT", ""])
def test_a_symbol_without_two_sides_is_refused(symbol):
    with pytest.raises(ValueError, match="BASE/QUOTE"):
        split_symbol(symbol)
