"""Unmodified ccxt and ccxt.pro classes against the venues."""

import asyncio
from decimal import Decimal

import ccxt
import ccxt.pro
import pytest
from conftest import CLIENTS
from waiting import wait_for, wait_for_async

from simulator.venue import demo_accounts

BTC = "BTC/USDT"


def client_id(number):
    return f"{number:032x}"


def test_markets_and_public_data_load(busy_sim, venue):
    client = CLIENTS[venue](busy_sim)
    assert {BTC, "ETH/USDT"} <= set(client.load_markets())
    wait_for(lambda: client.fetch_trades(BTC), "a trade happens", 20)
    book = client.fetch_order_book(BTC, 20)
    assert len(book["bids"]) == len(book["asks"]) == 20
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_ticker(BTC)["last"] > 0
    assert client.fetch_ohlcv(BTC, "1m")
    assert abs(client.fetch_time() - client.milliseconds()) < 1000


def test_an_order_lives_its_life_by_client_id(sim, venue):
    client = CLIENTS[venue](sim)
    name = client_id(1000 + (venue == "okx"))
    by_name = {"clientOrderId": name}
    before = client.fetch_balance()
    placed = client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)
    assert placed["clientOrderId"] == name
    assert client.fetch_order(None, BTC, by_name)["status"] == "open"
    assert [o["id"] for o in client.fetch_open_orders(BTC)] == [placed["id"]]
    held = client.fetch_balance()
    assert held["used"]["USDT"] - before["used"]["USDT"] == 500
    answer = sim.ctl("fill", {"venue": venue, "client_order_id": name, "quantity": "0.004"})
    assert answer["status"] == "PARTIALLY_FILLED"
    partly = client.fetch_order(None, BTC, by_name)
    assert (partly["filled"], partly["remaining"]) == (0.004, 0.006)
    client.cancel_order(None, BTC, by_name)
    ended = client.fetch_order(None, BTC, by_name)
    assert (ended["status"], ended["filled"]) == ("canceled", 0.004)
    fill = client.fetch_my_trades(BTC)[-1]
    assert (fill["order"], fill["amount"], fill["price"]) == (placed["id"], 0.004, 50000)
    assert fill["takerOrMaker"] == "maker"
    rate = Decimal("0.001") if venue == "binance" else Decimal("0.0008")
    assert Decimal(str(fill["fee"]["cost"])) == Decimal("0.004") * rate
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(None, BTC, by_name)


def test_a_duplicate_of_an_open_order_is_refused(sim, venue):
    client = CLIENTS[venue](sim)
    by_name = {"clientOrderId": client_id(2000)}
    client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)
    with pytest.raises(ccxt.InvalidOrder, match=r"Duplicate order sent|51016"):
        client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)


def test_reuse_after_the_end_fills_again_on_binance_only(sim):
    for name, again in (("binance", True), ("okx", False)):
        client = CLIENTS[name](sim)
        by_name = {"clientOrderId": client_id(3000)}
        client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)
        client.cancel_order(None, BTC, by_name)
        if again:
            client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)
        else:
            with pytest.raises(ccxt.InvalidOrder, match="51016"):
                client.create_order(BTC, "limit", "buy", 0.01, 50000, by_name)


def test_the_venue_tells_whose_account_a_key_belongs_to(sim, venue):
    def uid(number):
        login = demo_accounts(venue)[number]
        more = {"password": login.passphrase} if venue == "okx" else {}
        client = CLIENTS[venue](sim, apiKey=login.api_key, secret=login.api_secret, **more)
        if venue == "binance":
            return str(client.private_get_account()["uid"])
        return client.private_get_account_config()["data"][0]["uid"]

    mine, other, rotated = (uid(number) for number in (0, 1, 2))
    assert mine == rotated != other
    assert mine.isdigit()


def test_wrong_secret_is_an_authentication_error(sim, venue):
    client = CLIENTS[venue](sim, secret="wrong")
    with pytest.raises(ccxt.AuthenticationError, match=r"-1022|50113"):
        client.fetch_balance()


def test_an_old_request_is_refused(sim):
    client = CLIENTS["binance"](sim)
    client.nonce = lambda: client.milliseconds() - 20_000
    with pytest.raises(ccxt.InvalidNonce, match="-1021"):
        client.fetch_balance()
    client = CLIENTS["okx"](sim)
    client.load_markets()
    client.headers = {"expTime": "1000"}
    with pytest.raises(ccxt.ExchangeError, match="51149"):
        client.create_order(BTC, "limit", "buy", 0.01, 50000)
    client.nonce = lambda: client.milliseconds() - 60_000
    with pytest.raises(ccxt.InvalidNonce, match="50102"):
        client.fetch_balance()


@pytest.mark.parametrize(
    ("venue_name", "change", "words"),
    [
        ("binance", {"price": "50000.001"}, "PRICE_FILTER"),
        ("binance", {"quantity": "0.000001"}, "LOT_SIZE"),
        ("binance", {"quantity": "0.00001"}, "NOTIONAL"),
        ("binance", {"symbol": "NOPE"}, "-1121"),
        ("binance", {"price": "abc"}, "-1100"),
        ("binance", {"newClientOrderId": "no spaces"}, "-1100"),
        ("binance", {"quantity": "100"}, "insufficient balance"),
        ("okx", {"sz": "0.000001"}, "51020"),
        ("okx", {"sz": "0.0123456789"}, "51121"),
        ("okx", {"sz": "100"}, "51008"),
        ("okx", {"instId": "NOPE"}, "51001"),
        ("okx", {"clOrdId": "has-hyphen"}, "51000"),
        ("okx", {"px": "NaN"}, "51000"),
    ],
)
def test_bad_orders_get_the_venues_own_error(sim, venue_name, change, words):
    client = CLIENTS[venue_name](sim)
    if venue_name == "binance":
        row = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC"}
        send, numbers = client.private_post_order, {"quantity": "0.01", "price": "50000"}
    else:
        row = {"instId": "BTC-USDT", "tdMode": "cash", "side": "buy", "ordType": "limit"}
        send, numbers = client.private_post_trade_order, {"sz": "0.01", "px": "50000"}
    with pytest.raises(ccxt.ExchangeError, match=words):
        send({**row, **numbers, **change})


def test_okx_amends_and_binance_replaces(sim, venue):
    client = CLIENTS[venue](sim)
    placed = client.create_order(BTC, "limit", "buy", 0.01, 50000)
    changed = client.edit_order(placed["id"], BTC, "limit", "buy", 0.02, 49000)
    now = client.fetch_order(changed["id"], BTC)
    assert (now["amount"], now["price"], now["status"]) == (0.02, 49000, "open")
    assert len(client.fetch_open_orders(BTC)) == 1


async def watched_book(client, updates):
    for _ in range(updates):
        book = await asyncio.wait_for(client.watch_order_book(BTC), 10)
    return book


def test_the_watched_book_equals_the_venues(busy_sim, venue):
    async def story():
        client = CLIENTS[venue](busy_sim, ccxt.pro)
        try:
            await watched_book(client, 10)
            busy_sim.ctl("flow", {"on": False})

            def same():
                truth = busy_sim.ctl(f"truth/{venue}")["books"][BTC]
                book = client.orderbooks[BTC]
                wanted = [[float(p), float(q)] for p, q in truth["bids"]]
                return [row[:2] for row in book["bids"]] == wanted

            await wait_for_async(same, "the book of the venue")
        finally:
            busy_sim.ctl("flow", {"on": True})
            await client.close()

    asyncio.run(story())


# A connection carries the subscription before what is sent on it after this is true.
def is_awaited(client, name):
    return any(name in key for ws in client.clients.values() for key in ws.futures)


def test_orders_are_watched_and_traded_over_websocket(sim, venue):
    async def story():
        client = CLIENTS[venue](sim, ccxt.pro)
        try:
            await client.load_markets()
            await (client.watch_balance() if venue == "okx" else client.authenticate())
            watching = asyncio.ensure_future(client.watch_orders(BTC))
            await wait_for_async(lambda: is_awaited(client, "orders"), "the subscription")
            placed = await client.create_order_ws(BTC, "limit", "buy", 0.01, 50000)
            seen = await asyncio.wait_for(watching, 5)
            assert seen[-1]["id"] == placed["id"]
            watching = asyncio.ensure_future(client.watch_my_trades(BTC))
            await wait_for_async(lambda: is_awaited(client, "myTrades"), "the subscription")
            sim.ctl("fill", {"venue": venue, "order_id": placed["id"], "quantity": "0.003"})
            fills = await asyncio.wait_for(watching, 5)
            assert fills[-1]["amount"] == 0.003
            await client.cancel_order_ws(placed["id"], BTC)
            ended = await client.fetch_order(placed["id"], BTC)
            assert (ended["status"], ended["filled"]) == ("canceled", 0.003)
        finally:
            await client.close()

    asyncio.run(story())
