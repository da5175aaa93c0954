"""The codecs: what the venues document, and what nobody should ever send."""

import json
from decimal import Decimal

import pytest

from adapters.binance import BinanceCodec
from adapters.codec import (
    FRAME_BYTES_MAX,
    Acked,
    BookTop,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    RenewSoon,
    Secret,
)
from adapters.okx import OkxCodec
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import BalanceUpdate, FillReport, OrderReport

KEYS = Credentials(Secret("key"), Secret("hush"), Secret("phrase"))
BINANCE = BinanceCodec("binance", "binance.main", {"BTCUSDT": "BTC/USDT"}, KEYS)
OKX = OkxCodec("okx", "okx.main", {"BTC-USDT": "BTC/USDT"}, KEYS)
DIFF = {"e": "depthUpdate", "E": 1723161601273, "s": "BTCUSDT", "U": 7, "u": 9,
        "b": [["61685.99000000", "1.25869000"]], "a": []}  # fmt: skip


def raw(value):
    return json.dumps(value).encode()


def test_binance_diff_is_the_same_raw_and_combined():
    (one,) = BINANCE.on_public(raw(DIFF), 1)
    (two,) = BINANCE.on_public(raw({"stream": "btcusdt@depth@100ms", "data": DIFF}), 1)
    assert one == two
    assert isinstance(one, BookDelta)
    assert (one.symbol, one.first, one.last) == ("BTC/USDT", 7, 9)
    assert one.bids == [("61685.99000000", "1.25869000")]
    assert one.ts_event_ns == 1723161601273 * 10**6


def test_binance_trade_tells_the_takers_side():
    frame = {"e": "trade", "E": 2, "s": "BTCUSDT", "t": 12345, "p": "0.001", "q": "100",
             "T": 1672515782136, "m": True, "M": True}  # fmt: skip
    (trade,) = BINANCE.on_public(raw(frame), 5)
    assert isinstance(trade, TradePrint)
    assert (trade.side, trade.price, trade.trade_id) == ("SELL", Decimal("0.001"), "12345")


def test_binance_other_public_frames():
    assert BINANCE.on_public(b'{"result":null,"id":1}', 1) == [Acked("public")]
    assert BINANCE.on_public(b'{"e":"serverShutdown","E":1}', 1) == [RenewSoon("serverShutdown")]
    ticker = {"u": 400900217, "s": "BTCUSDT", "b": "25.35", "B": "31.2", "a": "25.36", "A": "4"}
    assert BINANCE.on_public(raw(ticker), 1) == [BookTop("BTC/USDT", 400900217, "25.35", "25.36")]
    refused = {"error": {"code": 2, "msg": "Invalid request"}, "id": 1}
    assert isinstance(BINANCE.on_public(raw(refused), 1)[0], Reconnect)


EXECUTION = {
    "e": "executionReport", "E": 1499405658658, "s": "BTCUSDT", "c": "ce01", "S": "BUY",
    "o": "LIMIT", "f": "GTC", "q": "1.00000000", "p": "0.10264410", "P": "0.00000000", "g": -1,
    "C": "", "x": "NEW", "X": "NEW", "r": "NONE", "i": 4293153, "l": "0.00000000",
    "z": "0.00000000", "L": "0.00000000", "n": "0", "N": None, "T": 1499405658657, "t": -1,
    "w": True, "m": False, "O": 1499405658657, "Z": "0.0", "Y": "0.0", "Q": "0.0", "V": "NONE",
}  # fmt: skip


def user(event):
    return raw({"subscriptionId": 0, "event": event})


def test_binance_execution_becomes_an_order_report_and_a_trade_a_fill_first():
    (new,) = BINANCE.on_private(user(EXECUTION), 1)
    assert isinstance(new, OrderReport)
    assert (new.client_order_id, new.status, new.quantity) == ("ce01", "NEW", Decimal(1))
    trade = EXECUTION | {"x": "TRADE", "X": "PARTIALLY_FILLED", "l": "0.4", "z": "0.4",
                         "L": "0.1026", "n": "0.0004", "N": "BTC", "t": 77, "m": True}  # fmt: skip
    fill, report = BINANCE.on_private(user(trade), 1)
    assert isinstance(fill, FillReport)
    assert (fill.trade_id, fill.price, fill.quantity) == ("77", Decimal("0.1026"), Decimal("0.4"))
    assert (fill.fee, fill.fee_asset, fill.liquidity) == (Decimal("0.0004"), "BTC", "MAKER")
    assert (report.status, report.filled_quantity) == ("PARTIALLY_FILLED", Decimal("0.4"))


def test_binance_canceled_order_is_named_by_its_own_id_not_the_cancels():
    event = EXECUTION | {"c": "cancel-7", "C": "ce01", "x": "CANCELED", "X": "CANCELED"}
    (report,) = BINANCE.on_private(user(event), 1)
    assert (report.client_order_id, report.status) == ("ce01", "CANCELED")


def test_binance_balances_and_the_ends_of_the_stream():
    position = {"e": "outboundAccountPosition", "E": 1, "u": 1,
                "B": [{"a": "ETH", "f": "10000.5", "l": "0.5"}]}  # fmt: skip
    (update,) = BINANCE.on_private(user(position), 1)
    assert isinstance(update, BalanceUpdate)
    assert update.balances[0].free == Decimal("10000.5")
    ended = BINANCE.on_private(user({"e": "eventStreamTerminated", "E": 1}), 1)
    assert ended == [Reconnect("eventStreamTerminated")]


def test_binance_user_stream_answers():
    ok = {"id": "user", "status": 200, "result": {"subscriptionId": 0}}
    assert BINANCE.on_private(raw(ok), 1) == [Acked("private")]
    denied = {"id": "user", "status": 401, "error": {"code": -2015, "msg": "Invalid API-key"}}
    assert isinstance(BINANCE.on_private(raw(denied), 1)[0], Denied)
    late = {"id": "user", "status": 400, "error": {"code": -1021, "msg": "Timestamp"}}
    assert isinstance(BINANCE.on_private(raw(late), 1)[0], Reconnect)


def test_binance_login_is_signed_over_sorted_parameters():
    # The signature is openssl's: printf '...' | openssl dgst -sha256 -hmac hush
    (text,) = BINANCE.login(1_700_000_000_000)
    params = json.loads(text)["params"]
    assert json.loads(text)["method"] == "userDataStream.subscribe.signature"
    assert params["timestamp"] == 1_700_000_000_000
    assert len(params["signature"]) == 64
    assert "hush" not in text


BOOK = {"arg": {"channel": "books", "instId": "BTC-USDT"}, "action": "update", "data": [
    {"asks": [["8476.98", "415", "0", "13"]], "bids": [], "ts": "1597026383085",
     "checksum": -855196043, "prevSeqId": 123456, "seqId": 123457}]}  # fmt: skip


def test_okx_book_update_and_snapshot():
    (update,) = OKX.on_public(raw(BOOK), 1)
    assert isinstance(update, BookDelta)
    assert (update.previous, update.last, update.checksum) == (123456, 123457, -855196043)
    (first,) = OKX.on_public(raw(BOOK | {"action": "snapshot"}), 1)
    assert first.is_snapshot
    assert first.previous is None


def test_okx_trade_and_control_frames():
    frame = {"arg": {"channel": "trades", "instId": "BTC-USDT"}, "data": [
        {"instId": "BTC-USDT", "tradeId": "130639474", "px": "42219.9", "sz": "0.12060306",
         "side": "buy", "ts": "1630048897897", "count": "3"}]}  # fmt: skip
    (trade,) = OKX.on_public(raw(frame), 1)
    assert (trade.side, trade.quantity) == ("BUY", Decimal("0.12060306"))
    assert OKX.on_public(b"pong", 1) == [Heartbeat()]
    notice = {"event": "notice", "code": "64008", "msg": "service upgrade", "connId": "a"}
    assert isinstance(OKX.on_public(raw(notice), 1)[0], RenewSoon)
    assert OKX.on_private(b'{"event":"login","code":"0","msg":""}', 1) == [Acked("login")]
    denied = {"event": "error", "code": "60024", "msg": "Wrong passphrase"}
    assert isinstance(OKX.on_private(raw(denied), 1)[0], Denied)


ORDER = {"instType": "SPOT", "instId": "BTC-USDT", "ordId": "31", "clOrdId": "ce01", "px": "999",
         "sz": "3", "side": "sell", "ordType": "limit", "state": "partially_filled",
         "accFillSz": "1", "fillPx": "998", "tradeId": "9", "fillSz": "1", "fillFee": "-0.998",
         "fillFeeCcy": "USDT", "execType": "T", "uTime": "1597026383085",
         "fillTime": "1597026383084", "cancelSource": ""}  # fmt: skip


def orders(row):
    return raw({"arg": {"channel": "orders", "instType": "SPOT"}, "data": [row]})


def test_okx_order_push_becomes_a_fill_and_a_report_with_a_positive_fee():
    fill, report = OKX.on_private(orders(ORDER), 1)
    assert isinstance(fill, FillReport)
    assert (fill.fee, fill.fee_asset, fill.liquidity) == (Decimal("0.998"), "USDT", "TAKER")
    assert isinstance(report, OrderReport)
    assert (report.side, report.status, report.filled_quantity) == ("SELL", "PARTIALLY_FILLED", 1)


@pytest.mark.parametrize(
    ("source", "status"), [("1", "CANCELED"), ("13", "EXPIRED"), ("31", "EXPIRED")]
)
def test_okx_canceled_by_its_own_rule_is_expired(source, status):
    row = ORDER | {"state": "canceled", "tradeId": "", "fillSz": "0", "cancelSource": source}
    (report,) = OKX.on_private(orders(row), 1)
    assert report.status == status


NOISE = [
    b"", b"{", b"null", b"[]", b"0", b"\xff\xfe", b'"text"', b'{"e":5}', b"[" * 100_000,
    b'{"e":"depthUpdate"}', b'{"e":"depthUpdate","s":"BTCUSDT","U":9,"u":7,"b":[],"a":[]}',
    b'{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":2,"b":[["1"]],"a":[]}',
    b'{"e":"depthUpdate","s":"DOGEUSDT","U":1,"u":2,"b":[],"a":[]}',
    b'{"e":"trade","s":"BTCUSDT","t":1,"p":"NaN","q":"1","T":1}', b'{"unknown":true}',
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"data":[{}]}',
    b'{"arg":{"channel":"books","instId":"DOGE-USDT"},"data":[{}]}',
    b'{"arg":{"channel":"orders"},"data":[{}]}', b'{"event":"surprise"}',
    b'{"subscriptionId":0,"event":{"e":"executionReport"}}', b'{"subscriptionId":0,"event":7}',
    b" " * (FRAME_BYTES_MAX + 1),
    b'{"e":"depthUpdate","E":99999999999999999,"s":"BTCUSDT","U":1,"u":2,"b":[],"a":[]}',
    b'{"e":"depthUpdate","s":"BTCUSDT","U":1,"u":99999999999999999999,"b":[],"a":[]}',
    '{"arg":{"channel":"books","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[],"ts":"\u00b2"}]}'.encode(),
    b'{"arg":{"channel":"books","instId":"BTC-USDT"},"data":[{"asks":[],"bids":[],"ts":"%b"}]}'
    % (b"9" * 5000),
]  # fmt: skip


@pytest.mark.parametrize("frame", NOISE, ids=[str(i) for i in range(len(NOISE))])
@pytest.mark.parametrize("codec", [BINANCE, OKX], ids=["binance", "okx"])
def test_noise_is_a_counted_problem_never_an_exception(codec, frame):
    for parse in (codec.on_public, codec.on_private):
        events = parse(frame, 1)
        assert len(events) == 1
        assert isinstance(events[0], Problem | Heartbeat | Acked)


def test_huge_numbers_and_infinities_in_orders_are_refused():
    for bad in ("NaN", "Infinity", "1e400", "x"):
        events = OKX.on_private(orders(ORDER | {"sz": bad}), 1)
        assert [type(e) for e in events] == [Problem]
        events = BINANCE.on_private(user(EXECUTION | {"q": bad}), 1)
        assert [type(e) for e in events] == [Problem]


def test_a_secret_never_shows_itself():
    assert "hush" not in repr(KEYS) + str(KEYS.api_secret)
    assert KEYS.api_secret.reveal() == "hush"
    assert not Secret()
