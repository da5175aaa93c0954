"""Unmodified ccxt and ccxt.pro classes against the simulated venues of KuCoin and Bybit."""

import asyncio
from decimal import Decimal

import ccxt
import ccxt.pro
import pytest
from conftest import CLIENTS
from waiting import wait_for, wait_for_async

from simulator.log import read_log
from simulator.venue import demo_accounts

BTC = "BTC/USDT"


@pytest.fixture(params=["kucoin", "bybit"])
def venue(request):
    return request.param


def named(venue, number):
    """Return the parameter by which this venue's client names an order."""
    word = {"kucoin": "clientOid", "bybit": "orderLinkId"}[venue]
    return {word: f"{number:032x}"}


def place(client, venue, number, price=50000, amount=0.01):
    return client.create_order(BTC, "limit", "buy", amount, price, named(venue, number))


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


def test_an_order_lives_its_life(sim, venue):
    client = CLIENTS[venue](sim)
    before = client.fetch_balance()
    placed = place(client, venue, 1)
    assert client.fetch_order(placed["id"], BTC)["status"] == "open"
    assert [o["id"] for o in client.fetch_open_orders(BTC)] == [placed["id"]]
    held = client.fetch_balance()["used"]["USDT"] - before["used"]["USDT"]
    assert held == {"kucoin": 500.5, "bybit": 500}[venue], "KuCoin's fee is in the quote"
    fill = {"venue": venue, "client_order_id": f"{1:032x}", "quantity": "0.004"}
    assert sim.ctl("fill", fill)["status"] == "PARTIALLY_FILLED"
    partly = client.fetch_order(placed["id"], BTC)
    assert (partly["filled"], partly["remaining"]) == (0.004, 0.006)
    changed = client.edit_order(placed["id"], BTC, "limit", "buy", 0.008, 49000)
    now = client.fetch_order(changed["id"], BTC)
    assert (now["amount"], now["price"], now["filled"]) == (0.008, 49000, 0.004)
    client.cancel_order(changed["id"], BTC)
    ended = client.fetch_order(changed["id"], BTC)
    assert (ended["status"], ended["filled"]) in (("canceled", 0.004), ("closed", 0.004))
    (fill,) = (t for t in client.fetch_my_trades(BTC) if t["order"] == placed["id"])
    assert (fill["amount"], fill["price"]) == (0.004, 50000)
    assert fill["takerOrMaker"] == "maker"
    fee = {"kucoin": ("USDT", "0.2"), "bybit": ("BTC", "0.000004")}[venue]
    assert (fill["fee"]["currency"], Decimal(str(fill["fee"]["cost"]))) == (fee[0], Decimal(fee[1]))
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(placed["id"], BTC)


def test_an_id_that_was_used_is_refused_also_after_the_orders_end(sim, venue):
    client = CLIENTS[venue](sim)
    placed = place(client, venue, 2)
    client.cancel_order(placed["id"], BTC)
    with pytest.raises(ccxt.BaseError, match=r"126044|170141"):
        place(client, venue, 2)


def test_the_venue_tells_whose_account_a_key_belongs_to(sim, venue):
    def uid(number):
        login = demo_accounts(venue)[number]
        keys = {"apiKey": login.api_key, "secret": login.api_secret}
        client = CLIENTS[venue](sim, password=login.passphrase, **keys)
        if venue == "kucoin":
            return client.private_get_user_api_key()["data"]["uid"]
        return client.private_get_v5_user_query_api()["result"]["userID"]

    mine, other, rotated = (uid(number) for number in (0, 1, 2))
    assert mine == rotated != other


def test_a_wrong_secret_and_an_old_request_are_refused(sim, venue):
    client = CLIENTS[venue](sim, secret="wrong")
    with pytest.raises(ccxt.AuthenticationError, match=r"400004|10004"):
        client.fetch_balance()
    client = CLIENTS[venue](sim)
    client.load_markets()
    client.nonce = lambda: ccxt.Exchange.milliseconds() - 20_000
    with pytest.raises(ccxt.InvalidNonce, match=r"400002|10002"):
        client.fetch_open_orders(BTC)


@pytest.mark.parametrize(
    ("venue_name", "change", "words"),
    [
        ("kucoin", {"size": "0.000001"}, "below the minimum"),
        ("kucoin", {"price": "50000.01"}, "increment invalid"),
        ("kucoin", {"size": "100"}, "200004"),
        ("kucoin", {"symbol": "NO-PE"}, "symbol not exists"),
        ("bybit", {"qty": "0.0000001"}, "170136"),
        ("bybit", {"qty": "0.0000015"}, "170137"),
        ("bybit", {"qty": "0.00001"}, "170140"),
        ("bybit", {"price": "50000.001"}, "170134"),
        ("bybit", {"qty": "100"}, "170131"),
        ("bybit", {"symbol": "NOPE"}, "170121"),
    ],
)
def test_bad_orders_get_the_venues_own_error(sim, venue_name, change, words):
    client = CLIENTS[venue_name](sim)
    if venue_name == "kucoin":
        row = {"symbol": "BTC-USDT", "side": "buy", "type": "limit", "size": "0.01"}
        send = client.private_post_hf_orders
    else:
        row = {"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "orderType": "Limit",
               "qty": "0.01"}  # fmt: skip
        send = client.private_post_v5_order_create
    with pytest.raises(ccxt.BaseError, match=words):
        send({**row, "price": "50000", **change})


def test_the_faults_of_requests_strike_here_too(sim, venue):
    """Those that the adapters' shared tests do not bring; each by what a client sees of it."""
    client = CLIENTS[venue](sim)
    client.load_markets()
    sim.fault("hidden_order", venue, params={"ms": 300})
    placed = place(client, venue, 10)
    assert client.fetch_open_orders(BTC) == []
    wait_for(lambda: client.fetch_open_orders(BTC), "the order shows up")
    client.cancel_order(placed["id"], BTC)
    sim.fault("partial_fill", venue, params={"percent": 30})
    placed = place(client, venue, 11)
    assert client.fetch_order(placed["id"], BTC)["filled"] == 0.003
    sim.fault("cancel_race", venue)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(placed["id"], BTC)
    assert client.fetch_order(placed["id"], BTC)["filled"] == 0.01
    before = client.fetch_balance()["total"]["USDT"]
    sim.fault("balance_drift", venue, params={"amount": "-100"})
    assert client.fetch_balance()["total"]["USDT"] == before - 100
    sim.fault("auth_revoked", venue, on="query", count=1)
    with pytest.raises(ccxt.AuthenticationError):
        client.fetch_balance()
    sim.fault("maintenance", venue, params={"s": 60})
    with pytest.raises(ccxt.BaseError):
        client.fetch_balance()
    sim.ctl("fault", method="DELETE")
    client.timeout = 200
    sim.fault("late_execution", venue, params={"ms": 500})
    with pytest.raises(ccxt.RequestTimeout):
        place(client, venue, 12)
    late = f"{12:032x}"
    wait_for(lambda: late in read_log(sim.log(venue), "main").orders, "the order arrives late")


def test_the_watched_book_equals_the_venues(busy_sim, venue):
    async def story():
        client = CLIENTS[venue](busy_sim, ccxt.pro)
        try:
            for _ in range(10):
                await asyncio.wait_for(client.watch_order_book(BTC), 20)
            busy_sim.ctl("flow", {"on": False, "venue": venue})

            def same():
                truth = busy_sim.ctl(f"truth/{venue}")["books"][BTC]
                wanted = [[float(p), float(q)] for p, q in truth["bids"]][:50]
                return [row[:2] for row in client.orderbooks[BTC]["bids"]][:50] == wanted

            await wait_for_async(same, "the book of the venue")
        finally:
            busy_sim.ctl("flow", {"on": True, "venue": venue})
            await client.close()

    asyncio.run(story())


async def told(watching, act):
    """Act until what is watched has come: nobody says when a subscription is complete."""
    for _ in range(20):
        await act()
        await asyncio.wait({watching}, timeout=1)
        if watching.done():
            return watching.result()
    raise AssertionError("nothing came")


def test_orders_and_fills_are_watched_and_bybit_takes_orders_over_websocket(sim, venue):
    async def story():
        client = CLIENTS[venue](sim, ccxt.pro)
        ids = []

        async def order():
            send = client.create_order_ws if venue == "bybit" else client.create_order
            ids.append((await send(BTC, "limit", "buy", 0.01, 50000))["id"])

        async def fill():
            (name,) = {o["client_order_id"] for o in open_orders()[:1]}
            sim.ctl("fill", {"venue": venue, "client_order_id": name, "quantity": "0.001"})

        def open_orders():
            orders = read_log(sim.log(venue), "main").open_orders()
            return [o for o in orders if o["price"] == "50000"]

        try:
            await client.load_markets()
            watching = asyncio.ensure_future(client.watch_orders(BTC))
            seen = await told(watching, order)
            assert {o["id"] for o in seen} <= set(ids)
            watching = asyncio.ensure_future(client.watch_my_trades(BTC))
            fills = await told(watching, fill)
            assert fills[-1]["amount"] == 0.001
            cancel = client.cancel_order_ws if venue == "bybit" else client.cancel_order
            for number in ids:
                await cancel(number, BTC)
            assert open_orders() == []
        finally:
            await client.close()

    asyncio.run(story())
