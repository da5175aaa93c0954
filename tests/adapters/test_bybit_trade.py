"""Bybit's trading link: what leaves, what each answer proves, and KuCoin's answers that name nothing."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.bybit import login_signature
from adapters.bybit_rest import BybitRest
from adapters.bybit_trade import BybitTrade
from adapters.ccxt_rest import CcxtRest
from adapters.codec import (
    FRAME_BYTES_MAX,
    Acked,
    BadReply,
    Credentials,
    Denied,
    Heartbeat,
    NotListed,
    Problem,
    Reconnect,
    Secret,
)
from adapters.kucoin_rest import KucoinRest, dead_cancel_all
from adapters.offset import ClockOffset
from adapters.outcome import classify
from adapters.trade_codec import Answer, evidence_of
from engine.clock import SystemClock
from engine.messages.port import CancelOrder, SubmitOrder

KEYS = Credentials(Secret("key"), Secret("hush"), Secret(""))
NOW_MS = 1_700_000_000_123
LINK = BybitTrade(KEYS)
REST = BybitRest("bybit", "bybit.main", {"BTCUSDT": "BTC/USDT"})
NAME = "ce" + "0" * 30
ORDER = SubmitOrder(
    "v.main", NAME, "BTC/USDT", "BUY", "LIMIT", "GTC", False, Decimal("0.010"), Decimal(52000), 1
)
CANCEL = CancelOrder("v.main", NAME, "12", "BTC/USDT")
DATA = Path(__file__).resolve().parents[3] / "shared" / "data" / "fixtures" / "jkorf"


def raw(value):
    return json.dumps(value).encode()


def answer(code, msg="", data=None):
    frame = {"reqId": "7", "retCode": code, "retMsg": msg, "op": "order.create",
             "data": data or {}, "header": {"Timenow": "1711001595209"}}  # fmt: skip
    got = LINK.on_frame(raw(frame))
    assert isinstance(got, Answer)
    return got


def test_requests_carry_rests_parameters_their_time_and_how_long_they_are_good_for():
    for call, op in ((REST.submit(ORDER), "order.create"), (REST.cancel(CANCEL), "order.cancel")):
        text = LINK.request("7", call, NOW_MS, 4000)
        assert json.loads(text) == {
            "reqId": "7", "op": op, "args": [dict(call.params)],
            "header": {"X-BAPI-TIMESTAMP": str(NOW_MS), "X-BAPI-RECV-WINDOW": "4000"},
        }  # fmt: skip
        assert "hush" not in text
    assert LINK.request("7", REST.balances(), NOW_MS, 4000) is None
    assert LINK.request("7", REST.order("BTC/USDT", NAME, None), NOW_MS, 4000) is None


def test_the_login_is_signed_and_its_answers_are_told_apart():
    (text,) = LINK.login(NOW_MS)
    expires_ms = NOW_MS + 10_000
    wanted = ["key", expires_ms, login_signature("hush", expires_ms)]
    assert json.loads(text) == {"op": "auth", "args": wanted}

    def told(code, msg):
        return LINK.on_frame(raw({"retCode": code, "retMsg": msg, "op": "auth", "connId": "c"}))

    assert told(0, "OK") == Acked("login")
    assert isinstance(told(10004, "error sign!"), Denied)
    assert isinstance(told(10002, "invalid request"), Reconnect)
    assert isinstance(told(10001, "Params Error: request expired"), Reconnect)


def test_an_acknowledgement_is_read_as_rests():
    got = answer(0, "OK", {"orderId": "12", "orderLinkId": NAME})
    ack = REST.read_submit(got.payload, ORDER)
    assert (got.is_done, ack.venue_order_id) == (True, "12")
    assert ack.ts_event_ns == 1711001595209 * 10**6
    assert REST.read_cancel(got.payload, CANCEL) == []


def test_an_acknowledgement_from_a_clients_test_suite_is_not_taken_for_ours():
    path = DATA / "bybit" / "Socket" / "V5Api" / "Private" / "PlaceOrder.txt"
    if not path.exists():
        pytest.skip("no recorded data beside the repository")
    got = LINK.on_frame(path.read_text().split("=\n")[1].replace("|2|", "7").encode())
    assert isinstance(got, Answer)
    assert got.is_done
    with pytest.raises(BadReply, match="another order"):
        REST.read_submit(got.payload, ORDER)


@pytest.mark.parametrize(
    ("code", "msg", "kind", "rule"),
    [
        (10006, "Too many visits", "RATE_LIMITED", 3),
        (10429, "system level frequency protection", "RATE_LIMITED", 3),
        (10403, "Exceed IP rate limit", "RATE_LIMITED", 3),
        (20003, "Too frequent requests under the same session", "RATE_LIMITED", 3),
        (10016, "Internal server error", "AMBIGUOUS", 4),
        (170007, "Timeout waiting for response from backend server.", "AMBIGUOUS", 4),
        (170141, "Duplicate clientOrderId", "DUPLICATE", 7),
        (10002, "check your server timestamp", "CLOCK", 8),
        (10003, "API key is invalid.", "AUTH", 9),
        (170131, "Insufficient balance.", "REJECTED", 11),
        (10001, "params error", "REJECTED", 11),
        (10404, "op type is not found", "REJECTED", 11),
        (10019, "ws trade service is restarting", "AMBIGUOUS", 14),
        (31415, "nobody knows", "AMBIGUOUS", 14),
        (0, "OK", "AMBIGUOUS", 6),  # done, but it names no order
    ],
)
def test_what_an_answer_proves(code, msg, kind, rule):
    verdict = classify(evidence_of("submit", answer(code, msg)))
    assert (verdict.kind, verdict.rule) == (kind, rule)


def test_a_cancel_of_what_is_not_there_is_not_a_reject():
    verdict = classify(evidence_of("cancel", answer(170213, "Order does not exist.")))
    assert (verdict.kind, verdict.rule) == ("NOT_FOUND", 12)


@pytest.mark.parametrize(
    "frame",
    [
        b"", b"{", b"<html>502</html>", b"[]", b"null", b"7", b"{}", b'{"retCode":0}',
        b'{"reqId":"7"}', b'{"reqId":7,"retCode":0}', b'{"reqId":"7","retCode":"x"}',
        b'{"reqId":"7","retCode":0,"header":{"Timenow":"soon"}}', b"\xff\xfe", b"[" * 100_000,
        b"x" * (FRAME_BYTES_MAX + 1),
    ],
)  # fmt: skip
def test_nonsense_is_a_problem_and_belongs_to_no_request(frame):
    assert isinstance(LINK.on_frame(frame), Problem)


def test_frames_that_end_the_connection_or_say_nothing():
    assert isinstance(LINK.on_frame(b'{"retCode":10019,"retMsg":"restarting","op":""}'), Reconnect)
    assert LINK.on_frame(b'{"retCode":0,"retMsg":"OK","op":"pong","data":["1"]}') == Heartbeat()


# --- KuCoin


def test_a_kucoin_order_that_is_null_is_not_listed_and_an_answer_without_one_proves_nothing():
    rest = KucoinRest("kucoin", "kucoin.main", {"BTC-USDT": "BTC/USDT"})
    with pytest.raises(NotListed):
        rest.read_order({"code": "200000", "data": None})
    for odd in ({}, {"code": "200000"}, None, {"data": {}}):
        with pytest.raises(BadReply) as refused:
            rest.read_order(odd)
        assert not isinstance(refused.value, NotListed)


def test_kucoin_names_the_account_and_its_switch_is_turned_off_by_minus_one():
    rest = KucoinRest("kucoin", "kucoin.main", {"BTC-USDT": "BTC/USDT"})
    assert rest.read_account_uid({"data": {"uid": "165111215", "isMaster": True}}) == "165111215"
    with pytest.raises(BadReply):
        rest.read_account_uid({"data": {"uid": ""}})
    assert dead_cancel_all(30).params == {"timeout": 30}
    assert dead_cancel_all(0).params == {"timeout": -1}


def test_numbers_of_an_answer_stay_as_they_were_written():
    clock = SystemClock()
    rest = CcxtRest("kucoin", "http://127.0.0.1:9", KEYS, offset=ClockOffset(clock), clock=clock)
    try:
        read = rest._ccxt.on_json_response('{"uid":165111215,"fee":0.1000000000000000055}')
    finally:
        rest.close()
    assert read == {"uid": "165111215", "fee": "0.1000000000000000055"}
