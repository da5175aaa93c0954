"""Kraken and Coinbase simulated: unmodified ccxt trades on both, and every fault kind works on both."""

import asyncio
import base64
import contextlib
import json
import time
import zlib
from decimal import Decimal

import ccxt
import ccxt.pro
import pytest
import websocket
from conftest import CLIENTS, Sim
from waiting import wait_for, wait_for_async

from simulator.faults import KINDS
from simulator.log import read_log
from simulator.venue import demo_accounts

BTC = "BTC/USDT"
VENUES = ("kraken", "coinbase")
pytestmark = pytest.mark.xdist_group("sim_kraken_coinbase")


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    one = Sim(tmp_path_factory.mktemp("two"), "--venues", ",".join(VENUES), "--flow", "off")
    yield one
    one.stop()


@pytest.fixture
def sim(quiet):
    quiet.ctl("fault", method="DELETE")
    for venue in VENUES:
        for account in ("main", "other"):
            quiet.ctl("cancel_all", {"venue": venue, "account": account})
    return quiet


@pytest.fixture(params=VENUES)
def venue(request):
    return request.param


def by_name(venue, number):
    return {("cl_ord_id" if venue == "kraken" else "client_order_id"): f"{number:032x}"}


def place(client, number, **more):
    order = by_name(client.id, number) | more
    return client.create_order(BTC, "limit", "buy", 0.01, 50000, order)


def order_count(sim, venue, number):
    return read_log(sim.log(venue), "main").order_counts.get(f"{number:032x}", 0)


# -- what ccxt does with them


def test_markets_and_public_data_load(sim, venue):
    sim.ctl("flow", {"on": True, "venue": venue})
    client = CLIENTS[venue](sim)
    assert {BTC, "ETH/USDT"} <= set(client.load_markets())
    wait_for(lambda: client.fetch_trades(BTC), "a trade happens", 20)
    book = client.fetch_order_book(BTC, 20)
    assert book["bids"]
    assert book["asks"]
    assert book["bids"][0][0] < book["asks"][0][0]
    assert client.fetch_ticker(BTC)["last"] > 0
    assert client.fetch_ohlcv(BTC, "1m")
    assert abs(client.fetch_time() - client.milliseconds()) < 1500
    sim.ctl("flow", {"on": False, "clear": True, "venue": venue})


def test_an_order_lives_its_life(sim, venue):
    client = CLIENTS[venue](sim)
    before = client.fetch_balance()
    placed = place(client, 1)
    assert placed["clientOrderId"] == f"{1:032x}"
    assert [o["id"] for o in client.fetch_open_orders(BTC)] == [placed["id"]]
    dearest = Decimal("0.0024") if venue == "kraken" else Decimal("0.0025")
    held = client.fetch_balance()["used"]["USDT"] - before["used"]["USDT"]
    assert Decimal(str(held)) == 500 * (1 + dearest)
    client.edit_order(placed["id"], BTC, "limit", "buy", 0.02, 49000)
    sim.ctl("fill", {"venue": venue, "client_order_id": f"{1:032x}", "quantity": "0.004"})
    client.cancel_order(placed["id"], BTC)
    ended = client.fetch_order(placed["id"], BTC)
    assert (ended["status"], ended["filled"], ended["amount"]) == ("canceled", 0.004, 0.02)
    fill = client.fetch_my_trades(BTC)[-1]
    assert (fill["order"], fill["amount"], fill["price"]) == (placed["id"], 0.004, 49000)
    assert fill["takerOrMaker"] == "maker"
    rate = Decimal("0.0014") if venue == "kraken" else Decimal("0.0015")
    assert fill["fee"]["currency"] == "USDT"  # paid in the quote, beside what was received
    assert Decimal(str(fill["fee"]["cost"])) == 196 * rate
    after = client.fetch_balance()["total"]
    assert Decimal(str(after["BTC"])) - Decimal(str(before["total"]["BTC"])) == Decimal("0.004")
    with pytest.raises(ccxt.ExchangeError):
        client.cancel_order(placed["id"], BTC)


def test_an_id_used_before_is_refused_while_open_or_names_the_first_order(sim):
    client = CLIENTS["kraken"](sim)
    first = place(client, 10)
    with pytest.raises(ccxt.ExchangeError, match="Duplicate"):
        place(client, 10)
    client.cancel_order(None, BTC, {"clientOrderId": f"{10:032x}"})
    assert place(client, 10)["id"] != first["id"]
    client = CLIENTS["coinbase"](sim)
    first = place(client, 11)
    client.cancel_order(first["id"], BTC)
    assert place(client, 11)["id"] == first["id"]
    assert client.fetch_open_orders(BTC) == []


def test_only_the_right_key_signs_and_krakens_nonce_must_rise(sim):
    wrong = base64.b64encode(b"wrong").decode()
    with pytest.raises(ccxt.ExchangeError, match="EAPI:Invalid signature"):
        CLIENTS["kraken"](sim, secret=wrong).fetch_balance()
    client = CLIENTS["kraken"](sim)
    client.fetch_balance()
    late = CLIENTS["kraken"](sim)
    late.nonce = lambda: client.milliseconds() - 60_000
    with pytest.raises(ccxt.InvalidNonce, match="EAPI:Invalid nonce"):
        late.fetch_balance()
    other = next(a for a in demo_accounts("coinbase") if a.name == "other")
    stolen = CLIENTS["coinbase"](sim, apiKey=other.api_key)  # signed with the key of `main`
    with pytest.raises(ccxt.AuthenticationError):
        stolen.fetch_balance()
    old = CLIENTS["coinbase"](sim)
    old.seconds = lambda: client.seconds() - 600
    with pytest.raises(ccxt.AuthenticationError):
        old.fetch_balance()


def test_an_account_has_an_id_of_the_venues_where_it_tells_one(sim):
    def portfolio(number):
        login = demo_accounts("coinbase")[number]
        client = CLIENTS["coinbase"](sim, apiKey=login.api_key, secret=login.api_secret)
        return client.v3PrivateGetBrokerageKeyPermissions()["portfolio_uuid"], login.told_uid

    (mine, told), (other, _), (rotated, _) = (portfolio(number) for number in (0, 1, 2))
    assert mine == told == rotated != other
    assert demo_accounts("kraken")[0].told_uid is None


@pytest.mark.parametrize(
    ("venue_name", "change", "words"),
    [
        ("kraken", {"price": "50000.01"}, "Tick size"),
        ("kraken", {"volume": "0.00000001"}, "minimum not met"),
        ("kraken", {"volume": "100"}, "Insufficient funds"),
        ("kraken", {"pair": "NOPE"}, "Unknown asset pair"),
        ("kraken", {"cl_ord_id": "x" * 33}, "cl_ord_id"),
        ("kraken", {"deadline": "2020-01-01T00:00:00Z"}, "Deadline elapsed"),
        ("coinbase", {"limit_price": "50000.001"}, "INVALID_PRICE_PRECISION"),
        ("coinbase", {"base_size": "0.000000001"}, "INVALID_SIZE_PRECISION"),
        ("coinbase", {"base_size": "100"}, "INSUFFICIENT_FUND"),
        ("coinbase", {"base_size": "x"}, "INVALID_REQUEST"),
    ],
)
def test_bad_orders_get_the_venues_own_error(sim, venue_name, change, words):
    client = CLIENTS[venue_name](sim)
    if venue_name == "kraken":
        row = {"pair": "XBTUSDT", "type": "buy", "ordertype": "limit", "price": "50000",
               "volume": "0.01"}  # fmt: skip
        send, order = client.privatePostAddOrder, {**row, **change}
    else:
        terms = {"base_size": "0.01", "limit_price": "50000", **change}
        order = {"product_id": "BTC-USDT", "side": "BUY", **by_name("coinbase", 20),
                 "order_configuration": {"limit_limit_gtc": terms}}  # fmt: skip
        send = client.v3PrivatePostBrokerageOrders
    with pytest.raises(ccxt.ExchangeError, match=words):
        send(order)


def test_books_and_orders_are_watched(sim, venue):
    async def story():
        client = CLIENTS[venue](sim, ccxt.pro)
        try:
            sim.ctl("flow", {"on": True, "venue": venue})
            for _ in range(10):
                await asyncio.wait_for(client.watch_order_book(BTC), 20)
            assert (await asyncio.wait_for(client.watch_trades(BTC), 20))[-1]["price"] > 0
            sim.ctl("flow", {"on": False, "venue": venue})

            def same():
                truth = sim.ctl(f"truth/{venue}")["books"][BTC]
                book = client.orderbooks[BTC]
                wanted = [[float(p), float(q)] for p, q in truth["bids"]][: len(book["bids"])]
                return wanted and [row[:2] for row in book["bids"]] == wanted

            await wait_for_async(same, "the book of the venue")
            client.orders = None
            watching = asyncio.ensure_future(client.watch_orders(BTC))
            name = "orders" if venue == "kraken" else "user"
            await wait_for_async(
                lambda: any(name in key for ws in client.clients.values() for key in ws.futures),
                "the subscription",
            )
            if venue == "kraken":
                await client.watch_balance()
                sent = {"clientOrderId": f"{30:032x}"}
                placed = await client.create_order_ws(BTC, "limit", "buy", 0.01, 50000, sent)
            else:
                sent = by_name(venue, 30)
                placed = await client.create_order(BTC, "limit", "buy", 0.01, 50000, sent)
            seen = await asyncio.wait_for(watching, 20)
            assert seen[-1]["id"] == placed["id"]
            if venue == "kraken":
                await client.cancel_order_ws(placed["id"])
            else:
                await client.cancel_order(placed["id"])
            assert (await client.fetch_order(placed["id"]))["status"] == "canceled"
        finally:
            sim.ctl("flow", {"on": False, "clear": True, "venue": venue})
            await client.close()

    asyncio.run(story())


# -- faults of requests

ACCEPTED = ("lost_reply", "error_5xx", "malformed_200", "empty_200", "html_200", "truncated")
REFUSED = ("drop_request", "rate_limit_429", "ban_418", "auth_revoked", "maintenance")
HELD = ("late_execution", "delay", "hidden_order", "partial_fill", "cancel_race", "balance_drift",
        "clock_skew", "venue_restart", "refuse_connections")  # fmt: skip
STREAMS = ("stale_snapshot", "ws_drop", "ws_half_open", "ws_duplicate", "ws_reorder", "ws_gap",
           "ws_corrupt_level", "bad_checksum", "private_event_lost", "private_event_duplicate",
           "private_event_before_ack", "private_event_after_ack")  # fmt: skip


def test_no_kind_of_fault_is_left_out():
    assert set(KINDS) == {*ACCEPTED, *REFUSED, *HELD, *STREAMS}


def test_requests_fail_before_or_after_the_engine_acted(sim, venue):
    client = CLIENTS[venue](sim)
    client.load_markets()
    for number, kind in enumerate(ACCEPTED, 100):
        sim.fault(kind, venue)
        with contextlib.suppress(ccxt.BaseError, TypeError, AttributeError):
            assert place(client, number)["id"] is None, kind
        assert order_count(sim, venue, number) == 1, kind
    for number, kind in enumerate(REFUSED, 200):
        sim.fault(kind, venue)
        with pytest.raises(ccxt.BaseError):
            place(client, number)
        sim.ctl("fault", method="DELETE")
        assert order_count(sim, venue, number) == 0, kind
    sim.fault("error_5xx", venue, params={"when": "before"})
    with pytest.raises(ccxt.BaseError):
        place(client, 210)
    assert order_count(sim, venue, 210) == 0


def test_time_and_the_state_of_orders_are_not_what_they_seem(sim, venue):
    client = CLIENTS[venue](sim)
    client.load_markets()
    sim.fault("delay", venue, params={"ms": 200})
    start = time.monotonic()
    place(client, 300)
    assert time.monotonic() - start >= 0.2
    sim.fault("hidden_order", venue, params={"ms": 300})
    hidden = place(client, 301)
    assert hidden["id"] not in {o["id"] for o in client.fetch_open_orders(BTC)}
    wait_for(
        lambda: hidden["id"] in {o["id"] for o in client.fetch_open_orders(BTC)}, "it shows up"
    )
    sim.fault("partial_fill", venue, params={"percent": 30})
    part = place(client, 302)
    assert client.fetch_order(part["id"], BTC)["filled"] == 0.003
    sim.fault("cancel_race", venue)
    with pytest.raises(ccxt.ExchangeError):
        client.cancel_order(part["id"], BTC)
    assert client.fetch_order(part["id"], BTC)["status"] == "closed"
    before = client.fetch_balance()["total"]["USDT"]
    sim.fault("balance_drift", venue, params={"asset": "USDT", "amount": "-250"})
    assert client.fetch_balance()["total"]["USDT"] == before - 250
    sim.fault("clock_skew", venue, params={"ms": -60_000})
    assert client.milliseconds() - client.fetch_time() > 50_000
    sim.ctl("fault", method="DELETE")
    hasty = CLIENTS[venue](sim, timeout=200)
    hasty.load_markets()
    sim.fault("late_execution", venue, params={"ms": 500})
    with pytest.raises(ccxt.RequestTimeout):
        place(hasty, 303)
    assert order_count(sim, venue, 303) == 0
    wait_for(lambda: order_count(sim, venue, 303) == 1, "the order arrives late")


# -- faults of streams


class Stream:
    """A plain WebSocket client: it sees frames as they are."""

    def __init__(self, sim, venue, name="public_ws"):
        self.venue, self.levels, self.number = venue, {}, -1
        self.ws = websocket.create_connection(sim.endpoints["venues"][venue][name], timeout=20)

    def send(self, message):
        self.ws.send(json.dumps(message))

    def next(self, *channels):
        while True:
            frame = json.loads(self.ws.recv(), parse_float=Decimal)
            if frame.get("channel") in channels:
                return frame

    def books(self):
        if self.venue == "kraken":
            params = {"channel": "book", "symbol": [BTC], "depth": 10}
            self.send({"method": "subscribe", "params": params})
        else:
            wanted = {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USDT"]}
            self.send(wanted)
        return self

    def book(self):
        return self.next("book", "l2_data")

    def is_proven(self):
        """Tell whether the next frame is what its venue proves books by: a checksum, or a number."""
        if self.venue == "kraken":
            return is_whole(self.levels, self.book())
        last, self.number = self.number, self.next("l2_data", "subscriptions")["sequence_num"]
        return self.number == last + 1

    def private(self, client):
        if self.venue == "kraken":
            token = client.privatePostGetWebSocketsToken()["result"]["token"]
            params = {"channel": "executions", "token": token, "snap_orders": False}
            self.send({"method": "subscribe", "params": params})
        else:
            jwt = client.create_auth_token(client.seconds())
            self.send({"type": "subscribe", "channel": "user", "jwt": jwt})
        self.next("executions", "user")
        return self

    def order(self):
        """Return the next order told of, and its number among the messages."""
        frame = self.next("executions", "user")
        if self.venue == "kraken":
            return frame["data"][0]["order_id"], frame["sequence"]
        return frame["events"][0]["orders"][0]["order_id"], frame["sequence_num"]


def is_whole(levels, frame):
    """Apply a Kraken frame as its documentation says, and tell whether the checksum agrees."""
    row = frame["data"][0]
    parts = []
    for name, best_first in (("asks", 1), ("bids", -1)):
        side = {} if frame["type"] == "snapshot" else levels[name]
        for level in row[name]:
            side.pop(level["price"], None)
            if level["qty"]:
                side[level["price"]] = level["qty"]
        top = sorted(side.items(), key=lambda one: one[0] * best_first)[:10]
        levels[name] = dict(top)
        parts += [f"{p:.1f}{q:.8f}" for p, q in top]
    digits = [part for text in parts for part in _digits(text)]
    return zlib.crc32("".join(digits).encode()) == row["checksum"]


def _digits(text):
    price, quantity = text[: text.index(".") + 2], text[text.index(".") + 2 :]
    return [one.replace(".", "").lstrip("0") for one in (price, quantity)]


@pytest.fixture
def flowing(sim, venue):
    sim.ctl("flow", {"on": True, "venue": venue})
    yield sim
    sim.ctl("flow", {"on": False, "clear": True, "venue": venue})


def test_a_frame_lost_swapped_or_spoilt_is_seen_by_what_proves_the_book(flowing, venue):
    kinds = ["ws_gap", "ws_reorder"]
    kinds += ["bad_checksum", "ws_corrupt_level"] if venue == "kraken" else ["ws_duplicate"]
    for kind in kinds:
        stream = Stream(flowing, venue).books()
        assert all(stream.is_proven() for _ in range(5))
        flowing.fault(kind, venue, on="book")
        wait_for(lambda stream=stream: not stream.is_proven(), f"{kind} is seen")
        stream.ws.close()


def test_a_frame_that_comes_twice_and_a_wrong_level_are_sent(flowing, venue):
    stream = Stream(flowing, venue).books()
    stream.book()
    flowing.fault("ws_duplicate", venue)
    frames = [stream.book()]

    def is_doubled():
        frames.append(stream.book())
        return frames[-1] == frames[-2]

    wait_for(is_doubled, "the same frame")
    flowing.fault("ws_corrupt_level", venue)
    wait_for(lambda: "7777.7" in str(stream.book()), "a wrong level")
    stream.ws.close()


def test_a_stale_snapshot_is_given_once_there_is_an_old_book(flowing, venue):
    watching = Stream(flowing, venue).books()  # somebody has the channel: old views are kept
    number = flowing.fault("stale_snapshot", venue)

    def has_struck():
        watching.book()
        stream = Stream(flowing, venue).books()
        stream.book()
        stream.ws.close()
        return number not in {rule["id"] for rule in flowing.ctl("active")}

    wait_for(has_struck, "an old snapshot")
    watching.ws.close()


def test_streams_fall_silent_and_are_dropped(flowing, venue):
    stream = Stream(flowing, venue).books()
    stream.book()
    flowing.fault("ws_half_open", venue, on="book", count=10)
    stream.ws.settimeout(0.6)

    def is_silent():
        try:
            stream.ws.recv()
        except websocket.WebSocketTimeoutException:
            return True
        return False

    wait_for(is_silent, "the stream falls silent")
    flowing.fault("ws_drop", venue, on="book", count=10)
    stream.ws.settimeout(20)
    with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
        stream.ws.recv()


def test_private_events_are_lost_doubled_early_and_late(sim, venue):
    client = CLIENTS[venue](sim)
    client.load_markets()
    stream = Stream(sim, venue, "private_ws").private(client)
    sim.fault("private_event_lost", venue)
    place(client, 400)
    sim.fault("private_event_duplicate", venue)
    second = place(client, 401)
    told, number = stream.order()
    assert told == second["id"]
    again = [stream.order() for _ in range(3 if venue == "kraken" else 1)]
    assert (told, number) in again
    assert number > 1  # the lost ones were counted: the gap shows
    for kind, number in (("private_event_before_ack", 402), ("private_event_after_ack", 403)):
        sim.fault(kind, venue, params={"ms": 300})
        start = time.monotonic()
        placed = place(client, number)
        answered = time.monotonic() - start
        wait_for(lambda placed=placed: stream.order()[0] == placed["id"], "the event")
        told_s = time.monotonic() - start
        assert (answered >= 0.3) == ("before" in kind)
        assert "before" in kind or told_s >= 0.3
    stream.ws.close()


def test_a_restart_cuts_and_refuses_for_a_while_and_forgets_nothing(sim, venue):
    client = CLIENTS[venue](sim)
    placed = place(client, 500)
    stream = Stream(sim, venue)
    sim.fault("venue_restart", venue, params={"down_ms": 300})

    def is_cut():
        try:
            stream.ws.recv()
        except (ConnectionError, websocket.WebSocketException):
            return True
        return False

    wait_for(is_cut, "the stream is cut")

    def is_back():
        try:
            return client.fetch_open_orders(BTC)
        except ccxt.NetworkError:
            return False

    assert [o["id"] for o in wait_for(is_back, "the venue is back")] == [placed["id"]]
    sim.fault("refuse_connections", venue, params={"s": 0.3})
    with pytest.raises(ccxt.NetworkError):
        CLIENTS[venue](sim).fetch_time()
    wait_for(is_back, "connections are accepted again")
