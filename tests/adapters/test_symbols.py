"""Symbols by identity: every instrument that the collected listings name has one spelling each."""

import gzip
import json
from pathlib import Path

import pytest

from adapters.bybit_rest import BybitRest
from adapters.codec import BadReply
from adapters.coinbase import CoinbaseCodec
from adapters.coinbase_rest import CoinbaseRest
from adapters.kraken_rest import KrakenRest
from adapters.kucoin_rest import KucoinRest
from adapters.recording import recorded
from adapters.symbols import (
    ASSETS,
    JOINED,
    SPELLED,
    Listing,
    asset,
    shared_spelling,
    table_of,
    venue_symbol,
)

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data"
FEED = DATA / "streams" / "cryptofeed"
FIXTURES = DATA / "fixtures"


def need(path):
    if not path.exists():
        pytest.skip(f"no recorded data at {path}")
    return path


def listed_at(path, part):
    """The recorded HTTP answer whose address has `part`, numbers as texts."""
    for frame in recorded(need(path), 0):
        if part in frame.url:
            return json.loads(frame.raw, parse_float=str, parse_int=str)
    raise AssertionError(f"no {part} in {path}")


def one_to_one(table):
    assert len(set(table.venue_symbols.values())) == len(table.venue_symbols)
    for ours, theirs in table.venue_symbols.items():
        assert table.symbols[theirs] == ours


@pytest.mark.parametrize(
    "name", ["2021-04-22_c57d9e0e_KUCOIN.0.gz", "2021-07-22_f60e8395_KUCOIN.0.gz"]
)
def test_kucoins_listing_is_one_to_one_and_its_old_names_are_known(name):
    listings = KucoinRest("", "", {}).read_listings(listed_at(FEED / "kucoin" / name, "/symbols"))
    table = table_of("kucoin", listings)
    one_to_one(table)
    assert (len(listings), table.conflicts) == (len(table.venue_symbols), ())
    assert table.symbols["BCHSV-USDT"] == table.symbols["BSV-USDT"] == "BSV/USDT"
    # What a configuration would say without the listing is what the listing says, for every one.
    wrong = {o: t for o, t in table.venue_symbols.items() if venue_symbol("kucoin", o) != t}
    assert not wrong


def kraken_listing(source):
    if source == "recorded":
        path = FEED / "kraken_v1" / "2021-04-17_3525dc8c_KRAKEN.0.gz"
        return listed_at(path, "AssetPairs")
    if source == "xchange":
        path = FIXTURES / "xchange/kraken/kraken/dto/marketdata/example-assetpairs-data.json.gz"
        text = gzip.decompress(need(path).read_bytes()).decode()
    else:
        path = FIXTURES / "jkorf/kraken/Endpoints/Spot/ExchangeData/GetSymbols.txt"
        text = need(path).read_text().split("\n", 3)[3]
    return json.loads(text, parse_float=str, parse_int=str)


@pytest.mark.parametrize("source", ["recorded", "xchange", "jkorf"])
def test_krakens_three_spellings_mean_one_symbol_each(source):
    reply = kraken_listing(source)
    listings = KrakenRest("", "", {}).read_listings(reply)
    table = table_of("kraken", listings)
    one_to_one(table)
    assert (table.conflicts, len(table.venue_symbols)) == ((), len(listings))
    for listing in listings:
        base, _, quote = listing.spellings[1].partition("/")
        ours = f"{asset('kraken', base)}/{asset('kraken', quote)}"
        for spelling in (listing.venue_symbol, *listing.spellings):
            assert table.symbols[spelling] == ours
        assert venue_symbol("kraken", ours) == ours
    if source != "jkorf":
        assert table.symbols["XXBTZEUR"] == table.symbols["XBT/EUR"] == "BTC/EUR"
        assert table.symbols["ETH/XBT"] == table.symbols["XETHXXBT"] == "ETH/BTC"


def test_bybits_recorded_listing_of_api_v2_tells_its_conflict():
    path = FEED / "bybit_v2_retired" / "2021-08-01_976cbafb_BYBIT.0.gz"
    rows = listed_at(path, "/symbols")["result"]
    table = table_of("bybit", [Listing(r["name"], r["base_currency"], r["quote_currency"])
                               for r in rows])  # fmt: skip
    one_to_one(table)
    # Dated futures beside the perpetual: one pair of assets, three contracts, so none is BTC/USD.
    assert table.conflicts == ("bybit: BTC/USD is listed as BTCUSD and BTCUSDM21 and BTCUSDU21",)
    assert "BTC/USD" not in table.venue_symbols
    assert all(venue_symbol("bybit", ours) == t for ours, t in table.venue_symbols.items())


def test_coinbases_recorded_products_are_one_to_one():
    path = FEED / "coinbase_exchange" / "2021-04-17_3525dc8c_COINBASE.0.gz"
    rows = listed_at(path, "/products")
    table = table_of("coinbase", [Listing(r["id"], r["base_currency"], r["quote_currency"])
                                  for r in rows])  # fmt: skip
    one_to_one(table)
    assert not table.conflicts
    assert all(venue_symbol("coinbase", ours) == t for ours, t in table.venue_symbols.items())


def test_two_listings_of_one_symbol_are_a_conflict_and_in_no_table():
    table = table_of("kraken", [Listing("XBTUSD", "XXBT", "ZUSD"), Listing("XBTUSD.d", "XXBT", "ZUSD"),
                                Listing("ETHUSD", "XETH", "ZUSD")])  # fmt: skip
    assert table.conflicts == ("kraken: BTC/USD is listed as XBTUSD and XBTUSD.d",)
    assert table.venue_symbols == {"ETH/USD": "ETHUSD"}
    assert "XBTUSD" not in table.symbols


def test_one_spelling_of_two_symbols_is_a_conflict_and_in_no_table():
    table = table_of("bybit", [Listing("AB", "A", "B", ("X",)), Listing("CD", "C", "D", ("X",))])
    assert table.conflicts == ("bybit: X means A/B and C/D",)
    assert (table.venue_symbols, table.symbols) == ({}, {})


def test_the_tables_of_names_are_one_to_one_where_they_are_turned_round():
    for names in SPELLED.values():
        assert len(set(names.values())) == len(names)
    assert set(ASSETS["kraken"].values()) >= {"BTC", "DOGE", "ETH", "USD", "EUR"}
    for venue in JOINED:
        assert venue_symbol(venue, "ETH/USDT") in ("ETH-USDT", "ETHUSDT", "ETH/USDT")


def test_coinbases_shared_book_arrives_under_the_other_name():
    assert shared_spelling("coinbase", "BTC/USDC") == "BTC-USD"
    assert shared_spelling("coinbase", "BTC/USD") is None
    assert shared_spelling("kraken", "BTC/USDC") is None
    frame = {"channel": "l2_data", "timestamp": "2023-02-09T20:32:50.714964855Z", "sequence_num": 0,
             "events": [{"type": "snapshot", "product_id": "BTC-USD", "updates": [
                 {"side": "bid", "price_level": "1", "new_quantity": "1"}]}]}  # fmt: skip
    for symbols, expected in [
        ({"BTC-USDC": "BTC/USDC"}, ["BTC/USDC"]),
        ({"BTC-USD": "BTC/USD"}, ["BTC/USD"]),
        ({"BTC-USD": "BTC/USD", "BTC-USDC": "BTC/USDC"}, ["BTC/USD", "BTC/USDC"]),
    ]:
        events = CoinbaseCodec("c", "c.main", symbols).on_public(json.dumps(frame).encode(), 0)
        assert [event.symbol for event in events] == expected


RESTS = {
    "kucoin": (KucoinRest, {"code": "200000", "data": [
        {"symbol": "BCHSV-USDT", "name": "BSV-USDT", "baseCurrency": "BSV", "quoteCurrency": "USDT",
         "baseMinSize": "0.01", "baseMaxSize": "10000", "baseIncrement": "0.00000001",
         "priceIncrement": "0.001", "enableTrading": True}, {"symbol": "BROKEN"}]},
        {"BCHSV-USDT": "BSV/USDT"}, ("BSV/USDT", "BCHSV-USDT", "0.001", "TRADING")),
    "bybit": (BybitRest, {"result": {"list": [
        {"symbol": "BTCUSDT", "baseCoin": "BTC", "quoteCoin": "USDT", "status": "Trading",
         "lotSizeFilter": {"basePrecision": "0.000001", "minOrderQty": "0.000048",
                           "maxOrderQty": "71.7", "minOrderAmt": "1"},
         "priceFilter": {"tickSize": "0.01"}}, {"symbol": "BROKEN"}]}},
        {"BTCUSDT": "BTC/USDT"}, ("BTC/USDT", "BTCUSDT", "0.01", "TRADING")),
    "coinbase": (CoinbaseRest, {"products": [
        {"product_id": "BTC-USD", "base_currency_id": "BTC", "quote_currency_id": "USD",
         "base_increment": "0.00000001", "price_increment": "0.01", "base_min_size": "0.00000001",
         "base_max_size": "3400", "quote_min_size": "1", "status": "online", "cancel_only": True},
        {"product_id": "BROKEN"}]},
        {"BTC-USD": "BTC/USD"}, ("BTC/USD", "BTC-USD", "0.01", "CANCEL_ONLY")),
    "kraken": (KrakenRest, {"error": [], "result": {
        "XXBTZUSD": {"altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD",
                     "pair_decimals": "2", "lot_decimals": "8", "ordermin": "0.0001",
                     "costmin": "0.5", "tick_size": "0.1", "status": "post_only"}}},
        {"BTC/USD": "BTC/USD"}, ("BTC/USD", "XBTUSD", "0.10", "HALTED")),
}  # fmt: skip


def test_a_tick_finer_than_the_decimals_of_the_checksum_is_refused():
    make, reply, symbols, _ = RESTS["kraken"]
    reply = json.loads(json.dumps(reply))
    reply["result"]["XXBTZUSD"]["tick_size"] = "0.005"
    with pytest.raises(BadReply, match="finer than its decimals"):
        make("kraken", "kraken.main", symbols).read_instruments(reply)


@pytest.mark.parametrize("venue", sorted(RESTS))
def test_a_listing_gives_the_configured_instruments_whatever_else_it_lists(venue):
    make, reply, symbols, expected = RESTS[venue]
    (found,) = make(venue, f"{venue}.main", symbols).read_instruments(reply)
    assert (found.symbol, found.venue_symbol, str(found.tick_size), found.status) == expected
