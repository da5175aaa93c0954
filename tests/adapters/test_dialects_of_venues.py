"""KuCoin, Bybit, Kraken, Coinbase: what is sent, exactly, and what their answers lead to."""

import base64
import json
from decimal import Decimal

import ccxt
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from adapters import kraken_session, kucoin_address
from adapters.bybit import BybitCodec, login_signature
from adapters.bybit_rest import BybitRest
from adapters.ccxt_rest import CcxtRest
from adapters.codec import (
    Acked,
    BadReply,
    BookDelta,
    BookShape,
    BooksLost,
    Credentials,
    Denied,
    FillSeen,
    Heartbeat,
    IdNeeded,
    NotListed,
    Problem,
    Reconnect,
    RestCall,
    Secret,
)
from adapters.coinbase import CoinbaseCodec, Numbering
from adapters.coinbase_rest import CoinbaseRest
from adapters.kraken import KrakenCodec
from adapters.kraken_rest import KrakenRest
from adapters.kucoin import KucoinCodec
from adapters.kucoin_rest import KucoinRest
from adapters.offset import ClockOffset
from adapters.registry import ADAPTERS, VenueConfig, dialect
from adapters.wire import amount, money, ns_of_rfc3339, positive
from engine.clock import VirtualClock
from engine.errors import Refused
from engine.messages.port import CancelOrder, FillReport, OrderReport, SubmitOrder

KEYS = Credentials(Secret("key"), Secret("hush"), Secret("phrase"))
CODECS = {
    "kucoin": KucoinCodec("kucoin", "kucoin.main", {"BTC-USDT": "BTC/USDT"}, KEYS),
    "bybit": BybitCodec("bybit", "bybit.main", {"BTCUSDT": "BTC/USDT"}, KEYS),
    "kraken": KrakenCodec("kraken", "kraken.main", {"BTC/USD": "BTC/USD"}, KEYS),
    "coinbase": CoinbaseCodec("coinbase", "coinbase.main", {"BTC-USD": "BTC/USD"}, KEYS),
}
PAIRS = {"error": [], "result": {"XXBTZUSD": {
    "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": "1",
    "lot_decimals": "8"}}}  # fmt: skip


def rest_of(venue):
    if venue == "kraken":
        rest = KrakenRest("kraken", "kraken.main", {"BTC/USD": "BTC/USD"})
        rest.read_instruments(PAIRS)
        return rest
    make, theirs, ours = {
        "kucoin": (KucoinRest, "BTC-USDT", "BTC/USDT"),
        "bybit": (BybitRest, "BTCUSDT", "BTC/USDT"),
        "coinbase": (CoinbaseRest, "BTC-USD", "BTC/USD"),
    }[venue]
    return make(venue, f"{venue}.main", {theirs: ours})


def raw(value):
    return json.dumps(value).encode()


@pytest.mark.parametrize("venue", sorted(CODECS))
def test_the_registry_makes_the_dialect_with_the_venues_spelling(venue):
    symbol = "BTC/USD" if venue in ("kraken", "coinbase") else "BTC/USDT"
    made = dialect(VenueConfig(venue, venue, f"{venue}.main", (symbol,)))
    assert isinstance(made.codec, type(CODECS[venue]))
    assert isinstance(made.rest, type(rest_of(venue)))
    assert [json.loads(text) for text in made.codec.subscribe()] == SENT[venue]
    assert all(url.startswith(("https://", "wss://")) for url in ADAPTERS[venue].urls.values())


# --- what is sent on the streams

SENT = {
    "kucoin": [
        {"id": "1", "type": "subscribe", "topic": "/market/level2:BTC-USDT",
         "privateChannel": False, "response": True},
        {"id": "1", "type": "subscribe", "topic": "/market/match:BTC-USDT",
         "privateChannel": False, "response": True},
    ],
    "bybit": [{"op": "subscribe", "args": ["orderbook.50.BTCUSDT", "publicTrade.BTCUSDT"]}],
    "kraken": [
        {"method": "subscribe", "params": {"channel": "book", "symbol": ["BTC/USD"], "depth": 10,
                                           "snapshot": True}},
        {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"],
                                           "snapshot": False}},
    ],
    "coinbase": [
        {"type": "subscribe", "channel": "level2", "product_ids": ["BTC-USD"]},
        {"type": "subscribe", "channel": "market_trades", "product_ids": ["BTC-USD"]},
        {"type": "subscribe", "channel": "heartbeats"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("venue", sorted(SENT))
def test_subscriptions_are_what_the_venue_documents(venue):
    codec = CODECS[venue]
    assert [json.loads(text) for text in codec.subscribe()] == SENT[venue]
    assert (codec.resubscribe("BTC/USDT" if venue in ("kucoin", "bybit") else "BTC/USD") != []) == (
        codec.has_stream_snapshots
    )


def test_bybits_login_is_signed_over_the_expiry():
    # The signature is openssl's: printf 'GET/realtime1700000010000' | openssl dgst -sha256 -hmac hush
    (text,) = CODECS["bybit"].login(1_700_000_000_000)
    wanted = "dba39797c8c2063700d62e2c84596861d19fc430f1b4fc7bbac05ca97ce98d40"
    assert login_signature("hush", 1_700_000_010_000) == json.loads(text)["args"][2]
    assert json.loads(text)["args"] == ["key", 1_700_000_010_000, wanted]
    assert "hush" not in text
    (then,) = CODECS["bybit"].after_login()
    assert json.loads(then)["args"] == ["order", "execution", "wallet"]


def test_kucoins_login_is_its_address_and_kraken_subscribes_with_a_token():
    topics = [json.loads(text)["topic"] for text in CODECS["kucoin"].login(1)]
    assert topics == ["/spotMarket/tradeOrdersV2", "/account/balance"]
    bullet = {"code": "200000", "data": {"token": "abc", "instanceServers": [
        {"endpoint": "wss://ws-api-spot.kucoin.com/", "pingInterval": "18000"}]}}  # fmt: skip
    assert kucoin_address.ask("private_ws").method == "privatePostBulletPrivate"
    assert (
        kucoin_address.read_address(bullet, "7")
        == "wss://ws-api-spot.kucoin.com/?token=abc&connectId=7"
    )
    with pytest.raises(BadReply, match="no server"):
        kucoin_address.read_address({"data": {"token": "abc", "instanceServers": []}}, "7")
    codec = KrakenCodec("kraken", "kraken.main", {"BTC/USD": "BTC/USD"})
    assert kraken_session.ask_token().method == "privatePostGetWebSocketsToken"
    kraken_session.take_token(codec, {"error": [], "result": {"token": "t0k", "expires": "900"}})
    (executions,) = (json.loads(text)["params"] for text in codec.login(1))
    assert (executions["channel"], executions["token"]) == ("executions", "t0k")
    with pytest.raises(BadReply):
        kraken_session.take_token(codec, {"error": [], "result": {}})


def test_coinbase_logs_in_with_a_token_that_its_key_has_signed():
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    name = "organizations/x/apiKeys/y"

    def codec(secret):
        keys = Credentials(Secret(name), Secret(secret), Secret(""))
        return CoinbaseCodec("coinbase", "coinbase.main", {"BTC-USD": "BTC/USD"}, keys)

    def part(text):
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

    user, heartbeats = (json.loads(text) for text in codec(pem).login(1_700_000_000_123))
    assert (user["channel"], user["product_ids"]) == ("user", ["BTC-USD"])
    assert heartbeats == {"type": "subscribe", "channel": "heartbeats"}
    header, claims, signature = user["jwt"].split(".")
    assert json.loads(part(header))["kid"] == json.loads(part(claims))["sub"] == name
    assert json.loads(part(claims))["exp"] == 1_700_000_120
    r, s = int.from_bytes(part(signature)[:32]), int.from_bytes(part(signature)[32:])
    der = utils.encode_dss_signature(r, s)
    key.public_key().verify(der, f"{header}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
    one_line = codec(pem.replace("\n", "\\n")).login(1)  # as it comes through a variable
    assert json.loads(one_line[0])["jwt"] != user["jwt"]
    for wrong in ("hush", ""):
        with pytest.raises(Refused, match="key"):
            codec(wrong).login(1)


# --- answers and ends of the streams

CONTROL = [
    ("kucoin", {"id": "x", "type": "welcome"}, Heartbeat),
    ("kucoin", {"id": "1", "type": "ack"}, Acked),
    ("kucoin", {"id": "1", "type": "pong"}, Heartbeat),
    ("kucoin", {"id": "1", "type": "error", "code": 404, "data": "topic not found"}, Reconnect),
    ("kucoin", {"T": "obu.SPOT", "d": {}}, Problem),
    ("bybit", {"success": True, "ret_msg": "subscribe", "op": "subscribe"}, Acked),
    ("bybit", {"success": False, "ret_msg": "error:handler not found", "op": "subscribe"}, Reconnect),
    ("bybit", {"success": True, "ret_msg": "pong", "op": "ping"}, Heartbeat),
    ("bybit", {"op": "pong", "args": ["1699"]}, Heartbeat),
    ("bybit", {"success": True, "op": "auth"}, Acked),
    ("bybit", {"success": False, "ret_msg": "Request has expired", "op": "auth"}, Reconnect),
    ("bybit", {"success": False, "ret_msg": "Invalid apikey", "op": "auth"}, Denied),
    ("kraken", {"method": "subscribe", "result": {"channel": "book"}, "success": True}, Acked),
    ("kraken", {"method": "subscribe", "success": False, "error": "Currency pair not supported"},
     Reconnect),
    ("kraken", {"method": "subscribe", "success": False, "error": "EAPI:Invalid key"}, Denied),
    ("kraken", {"channel": "heartbeat"}, Heartbeat),
    ("kraken", {"method": "pong", "req_id": 1}, Heartbeat),
    ("kraken", {"event": "systemStatus", "status": "online"}, Problem),
    ("coinbase", {"channel": "subscriptions", "events": []}, Acked),
    ("coinbase", {"channel": "heartbeats", "events": []}, Heartbeat),
    ("coinbase", {"type": "error", "message": "authentication failure"}, Denied),
    ("coinbase", {"type": "error", "message": "rate limit exceeded"}, Reconnect),
]  # fmt: skip


@pytest.mark.parametrize(("venue", "frame", "kind"), CONTROL)
def test_answers_on_either_link(venue, frame, kind):
    for parse in (CODECS[venue].on_public, CODECS[venue].on_private):
        assert [type(event) for event in parse(raw(frame), 1)] == [kind]


def test_kucoin_rows_come_in_the_order_of_their_ids_and_price_zero_is_no_level():
    frame = {"type": "message", "topic": "/market/level2:BTC-USDT", "subject": "trade.l2update",
             "data": {"symbol": "BTC-USDT", "sequenceStart": 5, "sequenceEnd": 8, "time": 1,
                      "changes": {"bids": [["0", "0", "5"]],
                                  "asks": [["2", "9", "8"], ["2", "1", "6"]]}}}  # fmt: skip
    (delta,) = CODECS["kucoin"].on_public(raw(frame), 1)
    assert (delta.first, delta.last, delta.bids) == (5, 8, [])
    assert delta.asks == [("2", "1", "6"), ("2", "9", "8")]


def test_a_kucoin_balance_of_another_account_is_not_ours():
    data = {"currency": "USDT", "available": "5", "hold": "1", "time": "1545743136994"}
    frame = {"type": "message", "topic": "/account/balance", "data": data}
    for event, kind in [("main.deposit", Heartbeat), ("margin.hold", Heartbeat)]:
        frame["data"] = {**data, "relationEvent": event}
        assert [type(e) for e in CODECS["kucoin"].on_private(raw(frame), 1)] == [kind]
    frame["data"] = {**data, "relationEvent": "trade_hf.hold"}
    (update,) = CODECS["kucoin"].on_private(raw(frame), 1)
    assert (update.balances[0].free, update.balances[0].locked) == (5, 1)


def test_bybits_restarted_service_sends_a_snapshot_whatever_it_calls_it():
    frame = {"topic": "orderbook.50.BTCUSDT", "ts": 1, "type": "delta",
             "data": {"s": "BTCUSDT", "b": [], "a": [], "u": 1}}  # fmt: skip
    (delta,) = CODECS["bybit"].on_public(raw(frame), 1)
    assert (delta.is_snapshot, delta.previous) == (True, None)
    frame["data"]["u"] = 9
    (delta,) = CODECS["bybit"].on_public(raw(frame), 1)
    assert (delta.is_snapshot, delta.previous, delta.last) == (False, 8, 9)


def test_bybits_wallet_tells_free_and_locked_and_a_debt():
    frame = {"topic": "wallet", "creationTime": 1672364262474, "data": [
        {"accountType": "UNIFIED", "coin": [
            {"coin": "USDT", "walletBalance": "100.5", "locked": "8"},
            {"coin": "BTC", "walletBalance": "-1", "locked": ""}]}]}  # fmt: skip
    (update,) = CODECS["bybit"].on_private(raw(frame), 1)
    assert [(b.asset, b.free, b.locked) for b in update.balances] == [
        ("USDT", Decimal("92.5"), 8), ("BTC", -1, 0)]  # fmt: skip


def test_krakens_numbers_are_read_as_written():
    text = b"""{"channel":"book","type":"update","data":[{"symbol":"BTC/USD","bids":[{"price":
        0.10,"qty":1e-8}],"asks":[{"price":123456789.10,"qty":4831.75496356}],"checksum":4294967295,
        "timestamp":"2023-10-06T17:35:55.440295Z"}]}"""
    (delta,) = CODECS["kraken"].on_public(text, 1)
    assert delta.bids == [("0.10", "0.00000001")]
    assert delta.asks == [("123456789.10", "4831.75496356")]
    assert delta.checksum == 4294967295
    assert delta.last == delta.ts_event_ns == 1696613755440295000
    without = text.replace(b'"checksum":4294967295,', b"")
    assert [type(e) for e in CODECS["kraken"].on_public(without, 1)] == [Problem]


def test_krakens_instrument_channel_tells_the_decimals_of_the_checksum():
    codec = KrakenCodec("kraken", "kraken.main", {"BTC/USD": "BTC/USD"})
    ack = {"method": "subscribe", "result": {"channel": "book", "depth": 100}, "success": True}
    codec.on_public(raw(ack), 1)
    frame = {"channel": "instrument", "type": "snapshot", "data": {"assets": [], "pairs": [
        {"symbol": "BTC/USD", "price_precision": 1, "qty_precision": 8},
        {"symbol": "ETH/USD", "price_precision": 2, "qty_precision": 8}]}}  # fmt: skip
    assert codec.on_public(raw(frame), 1) == [BookShape("BTC/USD", 1, 8, 100)]


KRAKEN_FILL = {"exec_type": "trade", "order_id": "OK4", "cl_ord_id": "ce01", "symbol": "BTC/USD",
               "side": "sell", "order_type": "limit", "order_status": "filled", "order_qty": 0.005,
               "cum_qty": 0.005, "limit_price": 26500.1, "exec_id": "TIZ", "last_qty": 0.005,
               "last_price": 26599.9, "liquidity_ind": "m", "timestamp": "2023-09-22T10:33:05.70Z",
               "fees": [{"asset": "USD", "qty": 0.3458}]}  # fmt: skip


def test_krakens_executions_are_read_where_they_are_whole():
    def told(**changes):
        frame = {"channel": "executions", "type": "update", "data": [KRAKEN_FILL | changes]}
        return CODECS["kraken"].on_private(raw(frame), 1)

    fill, order = told()
    assert isinstance(fill, FillReport)
    assert (fill.trade_id, fill.fee, fill.fee_asset, fill.liquidity) == (
        "TIZ", Decimal("0.3458"), "USD", "MAKER")  # fmt: skip
    assert isinstance(order, OrderReport)
    assert (order.status, order.filled_quantity) == ("FILLED", Decimal("0.005"))
    assert isinstance(told(fees=[])[0], FillSeen)  # a fee that nobody tells is not zero
    assert [e.code for e in told(symbol="", order_id="OTHER")] == ["unsupported"]
    assert [e.code for e in told(order_status="strange")] == ["unknown_status"]


def test_krakens_later_rows_are_completed_from_the_first_and_a_gap_is_seen():
    codec = KrakenCodec("kraken", "kraken.main", {"BTC/USD": "BTC/USD"})
    codec.login(1)
    at = {"timestamp": "2023-09-22T10:33:05.70Z", "order_id": "OK4"}

    def told(number, kind="update", **row):
        frame = {"channel": "executions", "type": kind, "sequence": number, "data": [at | row]}
        return codec.on_private(raw(frame), 1)

    terms = {"symbol": "BTC/USD", "side": "sell", "order_type": "limit", "order_qty": 0.005,
             "cum_qty": 0, "limit_price": 26500.1, "cl_ord_id": "ce01"}  # fmt: skip
    assert told(1, "snapshot", exec_type="new", order_status="new", **terms)[0].status == "NEW"
    assert told(2, exec_type="new", order_status="new") == [Heartbeat()]
    fill = {"exec_type": "trade", "exec_id": "TIZ", "symbol": "BTC/USD", "side": "sell",
            "last_qty": 0.002, "last_price": 26500.1, "liquidity_ind": "m",
            "order_status": "partially_filled", "fees": [{"asset": "USD", "qty": 0.1}]}  # fmt: skip
    (filled,) = told(3, **fill)
    assert (filled.client_order_id, filled.quantity, filled.fee) == (
        "ce01", Decimal("0.002"), Decimal("0.1"))  # fmt: skip
    (ended,) = told(4, exec_type="canceled", order_status="canceled", cum_qty=0.002, reason="asked")
    assert (ended.client_order_id, ended.status, ended.quantity, ended.filled_quantity) == (
        "ce01", "CANCELED", Decimal("0.005"), Decimal("0.002"))  # fmt: skip
    assert told(4, exec_type="canceled", order_status="canceled", cum_qty=0.002)  # said again
    assert [type(e) for e in told(6, **fill)] == [Reconnect]
    codec.login(1)
    (unknown,) = told(1, **(fill | {"order_id": "OTHER"}))
    assert isinstance(unknown, FillSeen)  # whose it is, is not known


def test_coinbase_numbers_its_connection_and_a_gap_loses_every_book():
    codec = CoinbaseCodec("coinbase", "coinbase.main", {"BTC-USD": "BTC/USD"})

    def feed(number, kind="update"):
        event = {"type": kind, "product_id": "BTC-USD", "updates": []}
        frame = {"channel": "l2_data", "timestamp": "2023-02-09T20:32:50Z", "sequence_num": number,
                 "events": [event]}  # fmt: skip
        return [type(e) for e in codec.on_public(raw(frame), 1)]

    assert feed(0, "snapshot") == [BookDelta]
    assert feed(1) == [BookDelta]
    assert feed(3) == [BooksLost, Reconnect]
    assert feed(2) == [BooksLost, Reconnect]  # the late one is not believed
    assert feed(4) == [BookDelta]
    codec.subscribe()  # a new connection
    assert feed(0, "snapshot") == [BookDelta]
    numbering = Numbering()
    assert [numbering.take(n) for n in (5, 6, 6, 8, 9)] == [True, True, False, False, True]


# --- REST: every call exists in ccxt, with exact texts


def order_of(symbol, **changes):
    fields = {"account": "x.main", "client_order_id": "ce" * 16, "symbol": symbol, "side": "BUY",
              "order_type": "LIMIT", "time_in_force": "GTC", "post_only": False,
              "quantity": Decimal("0.00000100"), "price": Decimal("60000.10"),
              "expires_mono_ns": 0}  # fmt: skip
    return SubmitOrder(**(fields | changes))


SUBMITS = {
    "kucoin": ({"clientOid": "ce" * 16, "symbol": "BTC-USDT", "side": "buy", "size": "0.00000100",
                "stp": "CO", "type": "limit", "price": "60000.10", "timeInForce": "GTC"},
               {"type": "market", "price": None}, {"timeInForce": "IOC"}, {"postOnly": True}),
    "bybit": ({"category": "spot", "symbol": "BTCUSDT", "side": "Buy", "qty": "0.00000100",
               "orderLinkId": "ce" * 16, "smpType": "CancelMaker", "orderType": "Limit",
               "price": "60000.10", "timeInForce": "GTC"},
              {"orderType": "Market", "marketUnit": "baseCoin", "price": None},
              {"timeInForce": "IOC"}, {"timeInForce": "PostOnly"}),
    "kraken": ({"pair": "XBTUSD", "type": "buy", "volume": "0.00000100", "cl_ord_id": "ce" * 16,
                "stptype": "cancel-oldest", "oflags": "fciq", "ordertype": "limit",
                "price": "60000.10", "timeinforce": "GTC"},
               {"ordertype": "market", "price": None}, {"timeinforce": "IOC"},
               {"oflags": "post,fciq"}),
}  # fmt: skip


@pytest.mark.parametrize("venue", sorted(SUBMITS))
def test_an_order_is_described_with_exact_texts(venue):
    rest = rest_of(venue)
    symbol = "BTC/USD" if venue == "kraken" else "BTC/USDT"
    limit, market, collared, post = SUBMITS[venue]
    assert dict(rest.submit(order_of(symbol)).params) == limit
    params = rest.submit(order_of(symbol, order_type="MARKET", price=None)).params
    assert {name: params.get(name) for name in market} == market
    params = rest.submit(order_of(symbol, order_type="MARKET")).params
    assert {name: params[name] for name in collared} == collared
    params = rest.submit(order_of(symbol, post_only=True)).params
    assert {name: params[name] for name in post} == post


def test_coinbases_order_is_one_of_its_configurations():
    rest = rest_of("coinbase")

    def configuration(**changes):
        return rest.submit(order_of("BTC/USD", **changes)).params["order_configuration"]

    size = {"base_size": "0.00000100"}
    limit = {**size, "limit_price": "60000.10"}
    assert configuration() == {"limit_limit_gtc": {**limit, "post_only": False}}
    assert configuration(post_only=True) == {"limit_limit_gtc": {**limit, "post_only": True}}
    assert configuration(time_in_force="IOC") == {"sor_limit_ioc": limit}
    assert configuration(order_type="MARKET") == {"sor_limit_ioc": limit}
    assert configuration(time_in_force="FOK") == {"limit_limit_fok": limit}
    assert configuration(order_type="MARKET", price=None) == {"market_market_ioc": size}


def test_coinbase_cancels_by_the_venues_id_remembered_or_looked_up():
    rest = rest_of("coinbase")
    cancel = CancelOrder("x.main", "ce" * 16, None, "BTC/USD")
    with pytest.raises(IdNeeded):
        rest.cancel(cancel)
    named = {"order_id": "77", "client_order_id": "ce" * 16}
    rest.read_submit({"success": True, "success_response": named}, order_of("BTC/USD"))
    assert rest.cancel(cancel).params == {"order_ids": ["77"]}


def test_krakens_lists_are_read_for_one_symbol_or_for_all_of_ours():
    rest = rest_of("kraken")
    trade = {"ordertxid": "O1", "pair": "XXBTZUSD", "time": "1688667796.8802", "type": "buy",
             "price": "30010.0", "vol": "0.1", "fee": "0.5", "maker": True}  # fmt: skip
    reply = {"result": {"trades": {"T1": trade, "T2": {**trade, "pair": "XXBTZEUR"}}}}
    for symbol in ("BTC/USD", ""):
        page = rest.read_fills(reply, rest.fills(symbol, 1, 2), "reconcile", 1)
        assert [(f.trade_id, f.symbol, f.fee_asset) for f in page.fills] == [
            ("T1", "BTC/USD", "USD")
        ]


def test_kraken_tells_the_names_of_many_orders_at_once_and_remembers_them():
    rest = rest_of("kraken")
    order = {"status": "closed", "opentm": "1", "vol": "1", "vol_exec": "1", "cl_ord_id": "ce01",
             "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "1"}}  # fmt: skip
    asked = rest.order("BTC/USD", "", "O1,O2")
    assert (asked.method, asked.params["txid"]) == ("privatePostQueryOrders", "O1,O2")
    reply = {"result": {"O1": order, "O2": {**order, "cl_ord_id": None}}}
    assert rest.read_client_ids(reply) == {"O1": "ce01", "O2": ""}
    assert rest.read_client_ids({"result": {"closed": {"O3": order}}}) == {"O3": "ce01"}
    trade = {"ordertxid": "O1", "pair": "XXBTZUSD", "time": "1688667796.8802", "type": "buy",
             "price": "30010.0", "vol": "0.1", "fee": "0.5"}  # fmt: skip
    page = rest.read_fills({"result": {"trades": {"T1": trade}}}, rest.fills("", 1, 2), "query", 1)
    assert [f.client_order_id for f in page.fills] == ["ce01"]


def test_kraken_is_asked_for_one_ended_order_and_never_for_a_page_that_may_miss_it():
    rest = rest_of("kraken")
    asked = rest.order("BTC/USD", "ce01", None)
    assert (asked.method, asked.params) == ("privatePostClosedOrders", {"cl_ord_id": "ce01"})
    order = {"status": "closed", "opentm": "1", "vol": "1", "vol_exec": "1", "cl_ord_id": "ce01",
             "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "1"}}  # fmt: skip
    told = rest.read_order({"error": [], "result": {"closed": {"O1": order}, "count": 1}})
    assert (told.venue_order_id, told.client_order_id, told.status) == ("O1", "ce01", "FILLED")


def calls_of(venue):
    rest = rest_of(venue)
    symbol = "BTC/USD" if venue in ("kraken", "coinbase") else "BTC/USDT"
    cancel = CancelOrder("x.main", "ce01", "7", symbol)
    found = [
        rest.server_time(), rest.instruments(), rest.fees(symbol), rest.snapshot(symbol),
        rest.submit(order_of(symbol)), rest.cancel(cancel),
        rest.cancel(CancelOrder("x.main", "", "7", symbol)), rest.order(symbol, "ce01", None),
        rest.order(symbol, "", "7"), rest.open_orders(symbol), rest.fills(symbol, 1, 2),
        rest.fills_of(symbol, "7"), rest.orders_since(symbol, 1), rest.balances(), rest.account(),
    ]  # fmt: skip
    return [call for call in found if call is not None]


@pytest.mark.parametrize("venue", sorted(CODECS))
def test_every_call_exists_in_ccxt_and_costs_a_known_scope(venue):
    exchange, rest = getattr(ccxt, rest_of(venue).exchange_id)(), rest_of(venue)
    for call in calls_of(venue):
        assert callable(getattr(exchange, call.method)), call.method
        assert set(call.costs) <= set(rest.scopes)
    assert rest.used({"Retry-After": "1"}) == {}


@pytest.mark.parametrize("venue", ["kucoin", "bybit", "kraken"])
def test_ccxt_signs_the_exact_texts_and_goes_where_it_is_pointed(venue):
    clock = VirtualClock()
    offset = ClockOffset(clock)
    offset.update([(0, 1_000_000, 1_700_000_000_000)] * 5)
    # A base64 secret, because Kraken's is one.
    keys = Credentials(Secret("key"), Secret("aHVzaGh1c2g="), Secret("phrase"))
    client = CcxtRest(venue, "http://127.0.0.1:9", keys, offset=offset, clock=clock)
    sent = []
    client._ccxt.fetch = lambda url, method="GET", headers=None, body=None: sent.append((url, body))
    symbol = "BTC/USD" if venue == "kraken" else "BTC/USDT"
    call = rest_of(venue).submit(order_of(symbol))
    getattr(client._ccxt, call.method)(dict(call.params))
    ((url, body),) = sent
    assert url.startswith("http://127.0.0.1:9/")
    assert "0.00000100" in body
    assert "60000.10" in body
    client.close()


def test_pages_of_fills_go_on_by_cursor_and_then_by_window():
    now_ms = 2_000_000_000_000
    kucoin = rest_of("kucoin")
    call = kucoin.fills("BTC/USDT", now_ms - 8 * 86_400_000, now_ms)
    page = kucoin.read_fills({"data": {"items": [], "lastId": "0"}}, call, "query", now_ms)
    assert page.next.params["startAt"] == call.params["endAt"]
    assert kucoin.read_fills({"data": {"items": []}}, page.next, "query", now_ms).next is None
    bybit = rest_of("bybit")
    call = bybit.fills("BTC/USDT", now_ms - 8 * 86_400_000, now_ms)
    empty = {"result": {"list": [], "nextPageCursor": ""}}
    page = bybit.read_fills(empty, call, "query", now_ms)
    assert page.next.params["startTime"] == call.params["endTime"]
    assert bybit.read_fills(empty, page.next, "query", now_ms).next is None


def test_krakens_fills_of_an_order_are_asked_for_by_the_ids_of_its_trades():
    rest = rest_of("kraken")
    call = rest.fills_of("BTC/USD", "OQ")
    order = {"status": "closed", "opentm": "1.5", "vol": "1", "vol_exec": "1", "trades": ["T1", "T2"],
             "descr": {"pair": "XBTUSD", "type": "buy", "ordertype": "limit", "price": "9"}}  # fmt: skip
    page = rest.read_fills({"result": {"OQ": order}}, call, "query", 0)
    assert page.fills == []
    assert (page.next.method, page.next.params) == ("privatePostQueryTrades", {"txid": "T1,T2"})
    trade = {"ordertxid": "OQ", "pair": "XXBTZUSD", "time": "1688667796.8802", "type": "buy",
             "price": "9", "vol": "1", "fee": "0.01", "maker": True}  # fmt: skip
    other = trade | {"pair": "XXBTZEUR"}
    page = rest.read_fills({"result": {"T1": trade, "T2": other}}, page.next, "query", 0)
    assert [(f.trade_id, f.fee_asset, f.liquidity) for f in page.fills] == [("T1", "USD", "MAKER")]
    assert page.fills[0].ts_event_ns == 1688667796880200000
    with pytest.raises(BadReply, match="does not name"):
        rest.read_fills({"result": {"OX": order}}, call, "query", 0)


@pytest.mark.parametrize(
    ("venue", "reply"),
    [
        ("bybit", {"result": {"list": []}}),
        ("kraken", {"error": [], "result": {"closed": {}, "count": 0}}),
        ("kraken", {"error": [], "result": {}}),
        ("coinbase", {"orders": []}),
    ],
)
def test_an_empty_list_says_that_the_order_is_not_there(venue, reply):
    with pytest.raises(NotListed):
        rest_of(venue).read_order(reply)


@pytest.mark.parametrize("venue", sorted(CODECS))
@pytest.mark.parametrize("reply", [None, [], {}, "", 7, {"data": 5}, {"result": {"list": [{}]}}])
def test_an_answer_that_is_none_is_refused(venue, reply):
    rest = rest_of(venue)
    symbol = "BTC/USD" if venue in ("kraken", "coinbase") else "BTC/USDT"
    call = RestCall("", {"symbol": "BTC-USDT", "ofs": "0"}, {}, symbol=symbol)
    for reader in (
        rest.read_server_time,
        rest.read_instruments,
        rest.read_balances,
        rest.read_account_uid,
        rest.read_order,
        lambda r: rest.read_submit(r, order_of(symbol)),
        lambda r: rest.read_cancel(r, CancelOrder("x.main", "ce01", "7", symbol)),
        lambda r: rest.read_fills(r, call, "query", 0),
        lambda r: rest.read_open_orders(r, call, "query"),
    ):
        if reader == rest.read_server_time and reply == {"data": 5}:
            continue  # at KuCoin that is a time
        if reader == rest.read_instruments and reply == {"result": {"list": [{}]}}:
            continue  # at Bybit a listing without one of ours
        with pytest.raises(BadReply):
            reader(reply)


# --- numbers


@pytest.mark.parametrize(
    "text", ["NaN", "Infinity", "-Infinity", "1e999", "x", "", "1" * 41, "1e-30"]
)
def test_what_money_cannot_be_is_refused(text):
    for read in (money, amount, positive):
        with pytest.raises(ValueError, match=r"number|money"):
            read(text)


def test_amounts_are_not_negative_and_trades_not_of_nothing():
    assert (money("-1.50"), amount("0"), positive("2")) == (Decimal("-1.50"), 0, 2)
    with pytest.raises(ValueError, match="negative"):
        amount("-0.1")
    with pytest.raises(ValueError, match="nothing"):
        positive("0.0")


@pytest.mark.parametrize("text", ["", "2023", "2023-10-06T17:35:55", "2023-10-06T17:35:55.4x5Z",
                                  "2023-13-06T17:35:55Z", "9" * 60 + "Z"])  # fmt: skip
def test_a_time_of_another_form_is_refused(text):
    with pytest.raises(ValueError, match=r"time|month|isoformat"):
        ns_of_rfc3339(text)


def test_times_are_exact_to_the_nanosecond():
    assert ns_of_rfc3339("1970-01-01T00:00:01.000000001Z") == 1_000_000_001
    assert ns_of_rfc3339("2023-10-06T17:35:55Z") == 1696613755_000000000
    assert ns_of_rfc3339("0001-01-01T00:00:00Z") == 0  # a venue's word for never
