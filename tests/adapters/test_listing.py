"""A venue's listing by identity, and what is not one to one in it."""

from threading import Event

import pytest
from rig import CLOCK, Desk

from adapters.listing import conflicts_of, matching, read, rows_of
from adapters.symbols import ASSETS, EVERYWHERE, MULTIPLIED, QUOTE_CLASSES, quote_class


def market(venue_symbol, base, quote, **more):
    return {"id": venue_symbol, "baseId": base, "quoteId": quote, "spot": True, **more}


SWAP = {"spot": False, "swap": True}
MARKETS = [
    market("XBTUSDT", "XBT", "USDT"),
    market("1INCH-USDT", "1INCH", "USDT"),
    market("1000BONKUSDT", "1000BONK", "USDT", **SWAP, linear=True, contractSize="1.0",
           settleId="USDT"),
    market("BONK-USDT", "BONK", "USDT", active=False),
    market("XBTUSDM", "XBT", "USD", **SWAP, inverse=True, contractSize="1", settleId="XBT"),
    {"id": "OLD", "baseId": "BTC", "quoteId": "USD", "spot": False, "future": True},
]  # fmt: skip


def test_a_listing_is_shown_by_identity():
    rows = {row.venue_symbol: row for row in rows_of("any", MARKETS)}
    assert set(rows) == {m["id"] for m in MARKETS} - {"OLD"}
    assert (rows["XBTUSDT"].symbol, rows["XBTUSDT"].named) == ("BTC/USDT", "XBT/USDT")
    assert (rows["1INCH-USDT"].base, rows["1INCH-USDT"].multiplier) == ("1INCH", "1")
    bonk = rows["1000BONKUSDT"]
    assert (bonk.symbol, bonk.multiplier, bonk.kind, bonk.contract_size) == (
        "BONK/USDT", "1000", "linear", "1",
    )  # fmt: skip
    inverse = rows["XBTUSDM"]
    assert (inverse.symbol, inverse.kind, inverse.settle) == ("BTC/USD", "inverse", "BTC")
    assert (inverse.quote_class, bonk.quote_class) == ("dollar", "dollar token")
    assert not rows["BONK-USDT"].is_active
    assert conflicts_of(rows.values()) == []
    assert [r.venue_symbol for r in matching(rows.values(), "bonk")] == [
        "1000BONKUSDT",
        "BONK-USDT",
    ]


def test_what_is_not_one_to_one_is_told():
    twice = rows_of("any", [*MARKETS, market("BTC-USDT", "BTC", "USDT")])
    assert conflicts_of(twice) == ["BTC/USDT (spot, 1 at once) is listed as BTC-USDT and XBTUSDT"]
    same = rows_of("any", [*MARKETS, market("XBTUSDT", "ETH", "USDT")])
    assert conflicts_of(same) == [
        "XBTUSDT means BTC/USDT (spot, 1 at once) and ETH/USDT (spot, 1 at once)"
    ]


def test_the_tables_of_identity_hold_together():
    for name, (base, many) in MULTIPLIED.items():
        assert base not in MULTIPLIED
        assert many in (1000, 10_000, 1_000_000), name
        assert base in name
    for names in (EVERYWHERE, *ASSETS.values()):
        assert not set(names.values()) & set(EVERYWHERE)
    listed = [quote for quotes in QUOTE_CLASSES.values() for quote in quotes]
    assert len(listed) == len(set(listed))
    assert quote_class("BTC") == "coin"


@pytest.mark.parametrize(("venue", "adapter"), [("okx", "ccxt:okx"), ("binance", "binance")])
def test_a_simulated_venue_tells_its_listing(sim, venue, adapter):
    rows = read(Desk(sim, venue, adapter=adapter).config, CLOCK, Event())
    spellings = {row.symbol: row.venue_symbol for row in rows}
    assert spellings["BTC/USDT"] == ("BTC-USDT" if venue == "okx" else "BTCUSDT")
    assert conflicts_of(rows) == []
