"""Trading rules that are read again: what changes them, and what does not."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from adapters import rules
from adapters.rules import MISSES, NOTHING, Announced, Rules
from engine.clock import NS_PER_S
from engine.maintenance import open_window, window_of
from engine.messages.base import replaced
from engine.messages.port import Instrument

BTC = Instrument("okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.001"),
                 Decimal("0.001"), None, Decimal(1), Decimal("0.0008"), Decimal("0.001"))  # fmt: skip
ETH = replaced(BTC, symbol="ETH/USDT", base="ETH")
NOON = int(datetime(2026, 11, 30, 12, 0, tzinfo=UTC).timestamp()) * NS_PER_S  # a Monday
HOUR = 3600 * NS_PER_S


def kept(*windows):
    return Rules([BTC, ETH], [window_of(text) for text in windows])


def statuses(held, wall_ns=NOON):
    return [(rule.symbol, rule.status) for rule in held.now(wall_ns)]


def test_a_listing_changes_status_and_steps_and_leaves_the_accounts_own_fees():
    held = kept()
    listed = replaced(BTC, status="CANCEL_ONLY", tick_size=Decimal("0.5"), taker_fee=Decimal(9))
    held.take_listing([listed, ETH])
    found = held.now(NOON)[0]
    assert (found.status, found.tick_size) == ("CANCEL_ONLY", Decimal("0.5"))
    assert (found.maker_fee, found.taker_fee) == (BTC.maker_fee, BTC.taker_fee)
    held.take_listing([BTC, ETH])
    assert held.now(NOON) == [BTC, ETH]


def test_fees_that_are_read_anew_change_nothing_else_and_outlive_a_listing():
    held = kept()
    rates = {"maker_fee": Decimal("0.0005"), "fee_source": "venue", "fee_ts_ns": 7}
    told = replaced(BTC, status="HALTED", **rates)
    held.take_fees([told, replaced(BTC, symbol="XRP/USDT")])
    held.take_listing([BTC, ETH])
    assert held.now(NOON) == [replaced(BTC, **rates), ETH]
    assert held.fees_wanted() == held.now(NOON)


def test_only_several_whole_listings_in_a_row_delist_a_symbol_that_they_miss():
    held = kept()
    for _ in range(10 * MISSES):
        held.take_listing([])  # names none of ours: not whole
    for _ in range(MISSES - 1):
        held.take_listing([BTC])
    assert held.now(NOON) == [BTC, ETH]
    held.take_listing([BTC, ETH])
    for _ in range(MISSES - 1):
        held.take_listing([BTC])
    assert held.now(NOON) == [BTC, ETH], "it was listed in between"
    held.take_listing([BTC])
    assert statuses(held)[1] == ("ETH/USDT", "DELISTED")
    assert held.now(NOON)[1].status_reason
    held.take_listing([BTC, ETH])
    assert held.now(NOON) == [BTC, ETH]


def test_an_announcement_and_a_window_stand_over_a_listing_that_says_trading():
    held = kept("daily 12:30-13:00")
    held.take_listing([BTC, replaced(ETH, status="HALTED")])
    held.take_announcement(Announced("CANCEL_ONLY", "announced: x"))
    assert statuses(held) == [("BTC/USDT", "CANCEL_ONLY"), ("ETH/USDT", "HALTED")]
    assert statuses(held, NOON + HOUR // 2)[0] == ("BTC/USDT", "MAINTENANCE")
    assert "until 2026-11-30 13:00 UTC" in held.now(NOON + HOUR // 2)[0].status_reason
    held.take_announcement(NOTHING)
    assert statuses(held, NOON + HOUR)[0] == ("BTC/USDT", "TRADING")


@pytest.mark.parametrize(
    ("text", "hours"),
    [
        ("daily 11:00-13:00", [-1, 0, 23, 24]),
        ("daily 23:00-02:00", [-13, -12, -11, 11, 12, 13, 35, 36, 37]),
        ("Mon 12:00-13:00", [0]),
        ("Sun 23:00-12:30", range(-13, 1)),
        ("2026-11-30T12:00/2026-12-01T00:00", range(12)),
    ],
)
def test_a_window_is_open_when_it_says(text, hours):
    window = window_of(text)
    found = [h for h in range(-14, 40) if open_window([window], NOON + h * HOUR)]
    assert found == list(hours)
    if window.every_s:
        later_ns = 52 * 7 * 24 * HOUR
        assert [
            h for h in range(-14, 40) if open_window([window], NOON + h * HOUR + later_ns)
        ] == found


@pytest.mark.parametrize(
    "text", ["", "Sun", "Sun 2:00-4:00", "Someday 02:00-03:00", "daily 25:00-26:00", "a/b",
             "2026-12-01T04:00/2026-12-01T02:00", "2026-12-01T02:00"],
)  # fmt: skip
def test_what_is_no_window_is_refused_with_how_one_is_written(text):
    with pytest.raises(ValueError, match="daily 02:00-02:10"):
        window_of(text)


@pytest.mark.parametrize(
    ("announcement", "reply", "found"),
    [
        (rules.OKX, {"code": "0", "data": []}, "TRADING"),
        (
            rules.OKX,
            {"data": [{"title": "t", "state": "scheduled", "serviceType": "1"}]},
            "TRADING",
        ),
        (rules.OKX, {"data": [{"title": "t", "state": "ongoing", "serviceType": "5"}]}, "TRADING"),
        (
            rules.OKX,
            {"data": [{"title": "t", "state": "ongoing", "serviceType": "1"}]},
            "MAINTENANCE",
        ),
        (rules.KRAKEN, {"result": {"status": "online"}}, "TRADING"),
        (rules.KRAKEN, {"result": {"status": "cancel_only"}}, "CANCEL_ONLY"),
        (rules.KUCOIN, {"data": {"status": "open", "msg": ""}}, "TRADING"),
        (rules.KUCOIN, {"data": {"status": "close", "msg": "upgrade"}}, "MAINTENANCE"),
    ],
)
def test_each_announcement_is_read(announcement, reply, found):
    announced = announcement.read(reply)
    assert announced.status == found
    assert bool(announced.reason) == (found != "TRADING")
