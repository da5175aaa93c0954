"""The trading links' codecs: what the venues document, and what each answer proves of an order."""

import hmac
import json
from base64 import b64encode
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pytest

from adapters.binance_rest import BinanceRest
from adapters.binance_trade import BinanceTrade, signature
from adapters.codec import (
    FRAME_BYTES_MAX,
    Acked,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    RestCall,
    Secret,
)
from adapters.okx_rest import OkxRest
from adapters.okx_trade import OkxTrade
from adapters.outcome import classify
from adapters.trade_codec import Answer, Lost, evidence_of
from engine.messages.port import CancelOrder, SubmitOrder

KEYS = Credentials(Secret("key"), Secret("hush"), Secret("phrase"))
NOW_MS = 1_700_000_000_123
BINANCE, OKX = BinanceTrade(KEYS), OkxTrade(KEYS, {"BTC-USDT": 10459})
BINANCE_REST = BinanceRest("binance", "binance.main", {"BTCUSDT": "BTC/USDT"})
OKX_REST = OkxRest("okx", "okx.main", {"BTC-USDT": "BTC/USDT"})
NAME = "ce" + "0" * 30
ORDER = SubmitOrder(
    "v.main", NAME, "BTC/USDT", "BUY", "LIMIT", "GTC", False, Decimal("0.010"), Decimal(52000), 1
)
CANCEL = CancelOrder("v.main", NAME, "12", "BTC/USDT")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "fixtures" / "jkorf"


def raw(value):
    return json.dumps(value).encode()


# --- requests


def test_binance_signs_as_the_venues_own_example():
    # web-socket-api.md, "SIGNED request example (HMAC)".
    params = {
        "symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "timeInForce": "GTC",
        "quantity": "0.01000000", "price": "52000.00", "newOrderRespType": "ACK",
        "recvWindow": "100",
    }  # fmt: skip
    key = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A"
    secret = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j"
    codec = BinanceTrade(Credentials(Secret(key), Secret(secret), Secret()))
    call = RestCall("privatePostOrder", params, {})
    frame = json.loads(codec.request("4885f793", call, 1645423376532, 5000))
    wanted = "cc15477742bd704c29492d96c7ead9414dfd8e0ec4a00f947bb5bb454ddbd08a"
    assert frame == {
        "id": "4885f793",
        "method": "order.place",
        "params": {
            **params, "recvWindow": 100, "timestamp": 1645423376532, "apiKey": key,
            "signature": wanted,
        },
    }  # fmt: skip


@pytest.mark.parametrize(
    ("call", "method"),
    [
        (BINANCE_REST.submit(ORDER), "order.place"),
        (BINANCE_REST.cancel(CANCEL), "order.cancel"),
        (BINANCE_REST.order("BTC/USDT", NAME, None), "order.status"),
        (BINANCE_REST.order("BTC/USDT", "", "12"), "order.status"),
    ],
)
def test_binance_requests_carry_rests_parameters_and_a_signature_over_all_of_them(call, method):
    frame = json.loads(BINANCE.request("7", call, NOW_MS, 5000))
    params = frame["params"]
    texts = {name: str(value) for name, value in params.items()}
    signed = texts.pop("signature")
    assert (frame["id"], frame["method"]) == ("7", method)
    assert texts == {**call.params, "apiKey": "key", "timestamp": str(NOW_MS)}
    assert signed == signature(texts, "hush")
    assert isinstance(params["timestamp"], int)
    assert isinstance(params["recvWindow"], int)


def test_okx_requests_name_the_instrument_by_its_number_and_orders_expire():
    call = OKX_REST.submit(ORDER)
    frame = json.loads(OKX.request("7", call, NOW_MS, 5000))
    args = dict(call.params)
    del args["instId"]
    assert frame == {
        "id": "7", "op": "order", "args": [{**args, "instIdCode": 10459}],
        "expTime": str(NOW_MS + 5000),
    }  # fmt: skip
    cancel = json.loads(OKX.request("8", OKX_REST.cancel(CANCEL), NOW_MS, 5000))
    assert (cancel["op"], "expTime" in cancel) == ("cancel-order", False)
    unnumbered = json.loads(OkxTrade(KEYS, {}).request("9", call, NOW_MS, 5000))
    assert unnumbered["args"] == [dict(call.params)]


def test_okx_learns_the_numbers_with_the_instruments():
    rest = OkxRest("okx", "okx.main", {"BTC-USDT": "BTC/USDT"})
    row = {"instId": "BTC-USDT", "baseCcy": "BTC", "quoteCcy": "USDT", "tickSz": "0.1",
           "lotSz": "0.00000001", "minSz": "0.00001", "state": "live", "instIdCode": "10459"}  # fmt: skip
    rest.read_instruments({"data": [row, {"instId": "X-Y", "instIdCode": 3}]})
    assert rest.codes == {"BTC-USDT": 10459}


def test_only_orders_cancels_and_order_queries_take_this_road():
    assert BINANCE.request("7", BINANCE_REST.balances(), NOW_MS, 5000) is None
    assert OKX.request("7", OKX_REST.balances(), NOW_MS, 5000) is None
    assert OKX.request("7", OKX_REST.order("BTC/USDT", NAME, None), NOW_MS, 5000) is None


def test_logins():
    assert (BINANCE.needs_login, BINANCE.login(NOW_MS)) == (False, [])
    (login,) = (json.loads(frame) for frame in OKX.login(NOW_MS))
    digest = hmac.new(b"hush", b"1700000000GET/users/self/verify", sha256).digest()
    assert login == {
        "op": "login",
        "args": [{"apiKey": "key", "passphrase": "phrase", "timestamp": "1700000000",
                  "sign": b64encode(digest).decode()}],
    }  # fmt: skip
    assert OKX.on_frame(b'{"event":"login","code":"0","msg":"","connId":"a4"}') == Acked("login")
    denied = OKX.on_frame(b'{"event":"error","code":"60005","msg":"Invalid apiKey"}')
    assert denied == Denied("60005", "60005 Invalid apiKey")
    early = OKX.on_frame(b'{"event":"error","code":"60006","msg":"Timestamp request expired"}')
    assert isinstance(early, Reconnect)


# --- answers


FULL = {
    "symbol": "BTCUSDT", "orderId": 12569099453, "orderListId": -1, "clientOrderId": NAME,
    "transactTime": 1660801715793, "price": "52000.00", "origQty": "0.01000000",
    "executedQty": "0.00400000", "cummulativeQuoteQty": "208.0", "status": "PARTIALLY_FILLED",
    "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "workingTime": 1660801715793,
    "fills": [{"price": "52000.00", "qty": "0.00400000", "commission": "0.00000400",
               "commissionAsset": "BTC", "tradeId": 1650422481}],
    "selfTradePreventionMode": "NONE",
}  # fmt: skip
LIMITS = [
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 50, "count": 12},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 160000, "count": 4043},
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000,
     "count": 321},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61000,
     "count": 5},
]  # fmt: skip


def binance_answer(**more):
    answer = BINANCE.on_frame(raw({"id": "7", "status": 200, "rateLimits": LIMITS, **more}))
    assert isinstance(answer, Answer)
    return answer


def test_a_binance_acknowledgement_is_read_as_rests_and_tells_what_is_spent():
    answer = binance_answer(result=FULL)
    assert (answer.request_id, answer.is_done) == ("7", True)
    assert answer.used == {"orders": 12, "orders_day": 4043, "weight": 321}
    ack = BINANCE_REST.read_submit(answer.payload, ORDER)
    fill, report = ack.reports
    assert ack.venue_order_id == report.venue_order_id == "12569099453"
    assert (fill.trade_id, fill.quantity, fill.fee) == (
        "1650422481", Decimal("0.004"), Decimal("0.000004"),
    )  # fmt: skip


def test_a_binance_refusal_tells_when_to_come_again():
    wait = {"serverTime": 1659142907531, "retryAfter": 1659142910000}
    words = "Way too much request weight used; IP banned until 1659142910000."
    answer = binance_answer(status=418, error={"code": -1003, "msg": words, "data": wait})
    assert (answer.status, answer.code, answer.retry_after_s) == (418, "-1003", 3)
    other = {"cancelResult": "FAILURE", "serverTime": {"nested": 1}}
    odd = binance_answer(status=409, error={"code": -2022, "msg": "x", "data": other})
    assert (odd.code, odd.retry_after_s) == ("-2022", 0)


def test_an_okx_acknowledgement_from_a_clients_test_suite():
    path = DATA / "okx" / "Socket" / "UnifiedApi" / "PlaceOrder.txt"
    if not path.exists():
        pytest.skip("no recorded data beside the repository")
    text = path.read_text().split("=\n")[1]
    answer = OKX.on_frame(text.replace("|1|", "7").encode())
    assert isinstance(answer, Answer)
    assert (answer.request_id, answer.is_done) == ("7", True)
    assert answer.payload["data"][0]["ordId"] == "12345689"
    with pytest.raises(ValueError, match="another order"):
        OKX_REST.read_submit(answer.payload, ORDER)


def okx_answer(*rows, code="1", msg="All operations failed"):
    frame = {"id": "7", "op": "order", "code": code, "msg": msg, "data": rows,
             "inTime": "1695190491421339", "outTime": "1695190491423240"}  # fmt: skip
    answer = OKX.on_frame(raw(frame))
    assert isinstance(answer, Answer)
    return answer


def okx_row(code, msg=""):
    return {"clOrdId": NAME, "ordId": "", "tag": "", "ts": "1", "sCode": code, "sMsg": msg}


def test_an_okx_acknowledgement_is_read_as_rests():
    row = {**okx_row("0"), "ordId": "12345689", "ts": "1695190491421"}
    answer = okx_answer(row, code="0", msg="")
    ack = OKX_REST.read_submit(answer.payload, ORDER)
    assert (ack.venue_order_id, ack.ts_event_ns) == ("12345689", 1695190491421 * 10**6)


# --- the outcome table over this road


def refused(status, code, msg=""):
    return binance_answer(status=status, error={"code": code, "msg": msg})


ROWS = [
    ("429", refused(429, -1003), "RATE_LIMITED", 3),
    ("too many orders", refused(429, -1015), "RATE_LIMITED", 3),
    ("banned", refused(418, -1003), "RATE_LIMITED", 3),
    ("OKX too many requests", okx_answer(code="50011", msg="Too Many Requests"), "RATE_LIMITED", 3),
    ("OKX too many of the user", okx_answer(okx_row("50061")), "RATE_LIMITED", 3),
    ("500", refused(500, -1000), "AMBIGUOUS", 4),
    ("503 that sounds like a reject", refused(503, -2010), "AMBIGUOUS", 4),
    ("-1007", refused(400, -1007), "AMBIGUOUS", 4),
    ("-1006", refused(400, -1006), "AMBIGUOUS", 4),
    ("OKX 50004", okx_answer(code="50004"), "AMBIGUOUS", 4),
    ("OKX's expTime has passed", okx_answer(okx_row("51149")), "AMBIGUOUS", 4),
    ("the link was lost", Lost("ConnectionError", "1006"), "AMBIGUOUS", 5),
    ("no answer in time", Lost("ReadTimeout", ""), "AMBIGUOUS", 5),
    ("done, but nothing in it", binance_answer(), "AMBIGUOUS", 6),
    ("done, but no row", okx_answer(code="0", msg=""), "AMBIGUOUS", 6),
    ("duplicate", refused(400, -2010, "Duplicate order sent."), "DUPLICATE", 7),
    ("duplicate at OKX", okx_answer(okx_row("51016")), "DUPLICATE", 7),
    ("clock", refused(400, -1021), "CLOCK", 8),
    ("OKX's clock", okx_answer(code="50102"), "CLOCK", 8),
    ("key revoked", refused(401, -2015), "AUTH", 9),
    ("wrong signature", refused(400, -1022), "AUTH", 9),
    ("OKX key", okx_answer(code="50111"), "AUTH", 9),
    ("maintenance", okx_answer(code="50001"), "AMBIGUOUS", 10),
    ("market closed", refused(400, -2010, "Market is closed."), "REJECTED", 11),
    ("overloaded, before the engine", refused(409, -1008), "REJECTED", 10),
    ("no money", refused(400, -2010, "Account has insufficient balance"), "REJECTED", 11),
    ("filter", refused(400, -1013, "Filter failure: LOT_SIZE"), "REJECTED", 11),
    ("OKX no money", okx_answer(okx_row("51008")), "REJECTED", 11),
    ("not logged in", okx_answer(code="60011"), "REJECTED", 11),
    ("OKX's system error", okx_answer(okx_row("50026")), "AMBIGUOUS", 4),
    ("OKX's door says something else", okx_answer(code="50013"), "AMBIGUOUS", 14),
    ("403 of a firewall", Answer("7", 403, "", "", None), "AMBIGUOUS", 14),
]


@pytest.mark.parametrize(("name", "end", "kind", "rule"), ROWS, ids=[row[0] for row in ROWS])
def test_submit_row(name, end, kind, rule):
    verdict = classify(evidence_of("submit", end))
    assert (verdict.kind, verdict.rule) == (kind, rule)


def test_what_the_venue_does_not_find_is_not_a_reject_of_a_cancel_or_a_query():
    for answer in (refused(400, -2011), refused(400, -2013), okx_answer(okx_row("51400"))):
        for action in ("cancel", "read"):
            verdict = classify(evidence_of(action, answer))
            assert (verdict.kind, verdict.rule) == ("NOT_FOUND", 12)


def test_the_wait_reaches_the_verdict():
    answer = refused(429, -1003)._replace(retry_after_s=7)
    assert classify(evidence_of("submit", answer)).retry_after_s == 7


# --- other frames


@pytest.mark.parametrize("codec", [BINANCE, OKX])
@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{", b'{"orderId":12', b"<html>502</html>", b"[]", b"null", b"7", b'"x"', b"{}",
        b'{"id":null,"status":400,"error":{"code":-1135,"msg":"Invalid JSON Request"}}',
        b'{"id":null,"op":"order","code":"0","msg":"","data":[]}',
        b'{"id":"7","status":"x","code":7}', b'{"id":"7","data":{"a":1},"result":', b"\xff\xfe",
        b'{"event":7}', b"[" * 100_000, b"x" * (FRAME_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_nonsense_is_a_problem_and_belongs_to_no_request(codec, frame):
    assert isinstance(codec.on_frame(frame), Problem)


def test_frames_that_end_a_connection_or_say_nothing():
    assert BINANCE.on_frame(b'{"e":"serverShutdown","E":1}') == Reconnect("serverShutdown")
    wrapped = b'{"event":{"e":"serverShutdown","E":1}}'
    assert BINANCE.on_frame(wrapped) == Reconnect("serverShutdown")
    upgrade = b'{"event":"notice","code":"64008","msg":"closing"}'
    assert OKX.on_frame(upgrade) == Reconnect("notice 64008 closing")
    assert OKX.on_frame(b'{"event":"notice","code":"64000","msg":"x"}') == Heartbeat()
    assert OKX.on_frame(b"pong") == Heartbeat()


def test_no_request_shows_the_secret():
    for codec, call in ((BINANCE, BINANCE_REST.submit(ORDER)), (OKX, OKX_REST.submit(ORDER))):
        assert "hush" not in codec.request("7", call, NOW_MS, 5000)
    assert "hush" not in OKX.login(NOW_MS)[0]
