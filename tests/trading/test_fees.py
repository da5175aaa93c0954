"""A fee is what the rate says, or the difference is named once."""

from decimal import Decimal as D  # noqa: N817  prices read better

import pytest
import trading_factories as f

from engine.messages.base import replaced
from engine.trading.fees import FeeWatch, check_fee

RULE = replaced(f.instrument(), maker_fee=D("0.0008"), taker_fee=D("0.001"), fee_source="venue")


def fill(fee, asset="BTC", liquidity="TAKER", **changes):
    made = f.filled(quantity=D(2), price=D(100), fee=D(fee), fee_asset=asset, liquidity=liquidity)
    return replaced(made, **changes)


@pytest.mark.parametrize(
    ("fee", "asset", "liquidity", "expected", "agrees"),
    [
        ("0.002", "BTC", "TAKER", "0.002", True),
        ("0.00199999", "BTC", "TAKER", "0.002", True),  # cut by the venue
        ("0.0015", "BTC", "TAKER", "0.002", False),  # a quarter off
        ("0.2", "USDT", "TAKER", "0.2", True),
        ("0.16", "USDT", "MAKER", "0.16", True),
        ("-0.01", "USDT", "MAKER", "0.16", False),  # a rebate that nobody told of
        ("0.0003", "BNB", "TAKER", None, False),
        ("0", "BNB", "TAKER", None, True),
    ],
)
def test_a_fee_is_compared_with_its_rate_in_its_asset(fee, asset, liquidity, expected, agrees):
    check = check_fee(fill(fee, asset, liquidity), RULE)
    assert check.expected == (None if expected is None else D(expected))
    assert check.agrees is agrees


def test_a_standing_difference_is_told_once_until_the_charged_rate_changes():
    watch = FeeWatch()
    found = watch.take(fill("0.0015"), RULE, 7)
    assert (found.expected, found.charged, found.rate, found.ts_ns) == (
        D("0.002"), D("0.0015"), D("0.001"), 7,
    )  # fmt: skip
    assert "another taker rate than it charges" in found.reason
    assert watch.take(fill("0.0015"), RULE, 8) is None
    assert watch.take(fill("0.0012"), RULE, 9) is not None
    assert watch.take(fill("0.002"), RULE, 10) is None
    assert watch.take(fill("0.0012"), RULE, 11) is not None, "it had agreed in between"
    (row,) = watch.rows()
    assert (row["checked"], row["differing"], row["other_asset"]) == (5, 4, 0)
    assert row["last"].startswith("0.0012 BTC charged, 0.002 expected at 0.001")


def test_the_reason_names_what_is_known():
    watch = FeeWatch()
    assert "charged in BNB" in watch.take(fill("0.0003", "BNB"), RULE, 1).reason
    assert watch.rows()[0]["other_asset"] == 1
    ours = replaced(RULE, fee_source="default")
    assert "our default" in FeeWatch().take(fill("0.0015"), ours, 1).reason
    free = replaced(RULE, taker_fee=D(0))
    assert FeeWatch().take(fill("0.0015"), free, 1).expected == 0


def test_nothing_was_checked_before_the_first_fill():
    assert FeeWatch().rows() == []
