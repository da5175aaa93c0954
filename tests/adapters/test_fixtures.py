"""What others collected of the venues' order, fill, balance and error messages: each file, one row.

A row names the file, how it is read, and what it must become: the typed events, or the refusal and
its reason. Streams go through `on_private`; answers of REST (and of a WebSocket API, which carries
the same) through the REST dialect. A file about orders, fills or balances of spot that no row names
fails the last test.
"""

import gzip
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.binance_rest import BinanceRest
from adapters.bybit_rest import BybitRest
from adapters.ccxt_rest import venue_error
from adapters.codec import Ack, BadReply, Orders, Page, RestCall
from adapters.coinbase_rest import CoinbaseRest
from adapters.kraken_rest import KrakenRest
from adapters.kucoin_rest import KucoinRest
from adapters.okx_rest import OkxRest
from adapters.outcome import Evidence, classify
from adapters.recording import messages
from adapters.replay import codec_of
from engine.messages.port import CancelOrder, FillReport, Instrument, OrderReport, SubmitOrder

DATA = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fixtures"
NOT_SPOT = "is not spot"

# path, what each pushed or answered message becomes (the last ones where a login comes before)
STREAMS = [
    ("jkorf/kucoin/Subscriptions/Spot/OrderUpdate.txt", ["OrderReport NEW 0/0.1"]),
    ("jkorf/kucoin/Subscriptions/Spot/StopOrder.txt", ["unsupported a stop order"]),
    ("jkorf/kucoin/Subscriptions/Spot/MarginNewOrder.txt", ["unsupported /margin"]),
    ("jkorf/kucoin/Subscriptions/Spot/MarginOrderDone.txt", ["unsupported /margin"]),
    ("jkorf/kucoin/Subscriptions/Spot/MarginOrderUpdate.txt", ["unsupported /margin"]),
    ("jkorf/kucoin/Subscriptions/Futures/Order.txt", ["unsupported /contractMarket/tradeOrders"]),
    ("jkorf/kucoin/Subscriptions/Futures/StopOrder.txt", ["unsupported /contractMarket/advanced"]),
    ("jkorf/kucoin/Subscriptions/Futures/OrderMargin.txt", ["unsupported /contractAccount"]),
    ("jkorf/kucoin/Subscriptions/Unified/UserTrade.txt", ["unsupported execution.SPOT of the Pro"]),
    ("jkorf/kucoin/Subscriptions/Unified/Balance.txt", ["unsupported balance.FUTURES of the Pro"]),
    ("jkorf/bybit/Subscriptions/V5/Private/Order.txt", ["unsupported option"]),
    ("jkorf/bybit/Subscriptions/V5/Private/UserTrades.txt", ["unsupported linear"]),
    ("jkorf/bybit/Subscriptions/V5/Private/MinimalUserTrades.txt", ["unsupported linear"]),
    ("jkorf/bybit/Socket/V5Api/Private/PlaceOrder.txt", ["unsupported order.create"]),
    ("jkorf/bybit/Socket/V5Api/Private/CancelOrder.txt", ["unsupported order.cancel"]),
    ("jkorf/kraken/Socket/SpotApi/PlaceOrder.txt", ["unsupported add_order"]),
    ("jkorf/kraken/Socket/SpotApi/ReplaceOrder.txt", ["unsupported edit_order"]),
    ("jkorf/kraken/Subscriptions/Futures/UserTrade.txt", ["unknown_frame"]),
    ("jkorf/coinbase/Subscriptions/AdvancedTrade/User.txt", ["OrderReport FILLED 0.01/0.01"]),
    ("jkorf/coinbase/Subscriptions/AdvancedTrade/FuturesBalance.txt", ["unsupported futures"]),
    ("jkorf/binance/Subscriptions/Spot/Account/AccountPosition.txt",
     ["BalanceUpdate ETH 10000.000000 0.000000"]),
    ("jkorf/binance/Subscriptions/Spot/Account/OcoOrder.txt", ["Heartbeat"]),
    ("jkorf/binance/Subscriptions/Spot/Account/MarginCall.txt", ["unknown_frame"]),
    ("jkorf/binance/Subscriptions/UsdFutures/OrderUpdate.txt", ["unknown_frame"]),
    ("jkorf/binance/Subscriptions/UsdFutures/AlgoOrderUpdate.txt", ["unknown_frame"]),
    ("jkorf/okx/Subscriptions/Unified/Account/Balance.txt",
     ["BalanceUpdate USDT 4734.371190691436 158.57998"]),
    ("jkorf/okx/Subscriptions/Unified/Account/BalanceAndPosition.txt", ["Heartbeat"]),
    ("jkorf/okx/Subscriptions/Unified/Trading/AlgoOrder.txt", ["Heartbeat"]),
    ("jkorf/okx/Subscriptions/Unified/Trading/UserTrade.txt", ["Heartbeat"]),
    ("jkorf/okx/Socket/UnifiedApi/PlaceOrder.txt", ["unknown_frame"]),
    ("jkorf/okx/Socket/UnifiedApi/CancelMultipleOrders.txt", ["unknown_frame"]),
    ("gocryptotrader/okx/wsOrders.json",
     ["FillReport 0.001", "OrderReport FILLED 0.001/0.001", "unsupported order 62025",
      "FillReport 0.00038128", "unsupported order 62025", "OrderReport FILLED 0.00038128/0.00038128"]),
]  # fmt: skip
# The order, fill and balance lines of one file with 47 messages of every kind, in their order.
KUCOIN_LINES = [
    "OrderReport NEW 0/0.1", "FillSeen 0.1", "OrderReport PARTIALLY_FILLED 0.1/0.1",
    "OrderReport FILLED 0.1/0.1", "OrderReport CANCELED 0/0.1", "OrderReport NEW 0/0.06",
    "BalanceUpdate KCS 88 0",
]  # fmt: skip

# path, reader, expected
ENDPOINTS = [
    ("kucoin/Endpoints/Spot/HfTrading/GetOrder.txt", "order", "OrderReport NEW 0/1"),
    ("kucoin/Endpoints/Spot/HfTrading/GetOpenOrders.txt", "open_orders",
     "OrderReport PARTIALLY_FILLED 2/2"),
    ("kucoin/Endpoints/Spot/HfTrading/GetUserTrades.txt", "fills", "FillReport 1 fee 0.00021 USDT"),
    ("kucoin/Endpoints/Spot/HfTrading/PlaceMarginOrder.txt", "submit", "Ack"),
    ("kucoin/Endpoints/Spot/HfTrading/PlaceTestMarginOrder.txt", "submit", "Ack"),
    ("kucoin/Endpoints/Spot/HfTrading/GetOpenMarginOrders.txt", "open_orders",
     "OrderReport PARTIALLY_FILLED 2/2"),
    ("kucoin/Endpoints/Spot/HfTrading/GetMarginUserTrades.txt", "fills", "FillReport"),
    ("kucoin/Endpoints/Spot/HfTrading/CancelOrderByClientOrderIdWait.txt", "cancel",
     "BadReply the answer names another"),
    ("kucoin/Endpoints/Spot/HfTrading/CancelAllOrders.txt", "cancel", "BadReply"),
    ("kucoin/Endpoints/Spot/HfTrading/CancelAllOrdersBySymbol.txt", "cancel", "BadReply"),
    ("kucoin/Endpoints/Spot/HfTrading/EditOrder.txt", "submit", "BadReply"),
    ("kucoin/Endpoints/Spot/HfTrading/GetMarginSymbolsWithOpenOrders.txt", "open_orders", "BadReply"),
    ("kucoin/Endpoints/Spot/Trading/GetOrder.txt", "order", "OrderReport FILLED 2/2"),
    ("kucoin/Endpoints/Spot/Trading/GetOrderByClientOrderId.txt", "order", "OrderReport NEW 0/1"),
    ("kucoin/Endpoints/Spot/Trading/GetUserTrades.txt", "fills", "FillReport 0.8424304 fee 0 USDT"),
    ("kucoin/Endpoints/Spot/Trading/GetRecentUserTrades.txt", "fills", "BadReply"),
    ("kucoin/Endpoints/Spot/Trading/PlaceTestOrder.txt", "submit", "Ack 5bd6e9286d99522a52e458de"),
    ("kucoin/Endpoints/Spot/Trading/CancelOrderByClientOrderId.txt", "cancel", "canceled"),
    ("kucoin/Endpoints/Spot/Trading/PlaceStopOrder.txt", "submit", "Ack"),
    ("kucoin/Endpoints/Spot/Account/GetAccount.txt", "balances", "BadReply"),
    ("kucoin/Endpoints/Spot/Account/GetBasicUserFee.txt", "fees", "BadReply"),
    ("kucoin/Endpoints/Unified/Trading/GetOrder.txt", "order", "BadReply"),
    ("kucoin/Endpoints/Unified/Trading/GetOpenOrders.txt", "open_orders", "BadReply"),
    ("kucoin/Endpoints/Unified/Trading/GetOrderHistory.txt", "open_orders", "BadReply"),
    ("kucoin/Endpoints/Unified/Trading/GetUserTrades.txt", "fills", "BadReply"),
    ("kucoin/Endpoints/Unified/Trading/CancelOrder.txt", "cancel", "BadReply"),
    ("kucoin/Endpoints/Unified/Account/GetClassicBalances.txt", "balances", "BadReply"),
    ("bybit/Endpoints/V5Api/Trading/PlaceOrder.txt", "submit", "Ack 1321003749386327552"),
    ("bybit/Endpoints/V5Api/Trading/CancelOrder.txt", "cancel", "canceled"),
    ("bybit/Endpoints/V5Api/Trading/CancelAllOrder.txt", "cancel", "BadReply"),
    ("bybit/Endpoints/V5Api/Trading/CancelMultipleOrders.txt", "cancel", "BadReply"),
    ("bybit/Endpoints/V5Api/Trading/EditOrder.txt", "submit", "Ack"),
    ("bybit/Endpoints/V5Api/Trading/PreCheckOrder.txt", "submit", "Ack"),
    ("bybit/Endpoints/V5Api/Account/GetBalances.txt", "balances", "BTC 0 0"),
    ("bybit/Endpoints/V5Api/Account/GetFeeRate.txt", "fees", "0.0001 0.0006"),
    ("bybit/Endpoints/V5Api/Account/GetApiKeyInfo.txt", "account", "24617703"),
    ("coinbase/Endpoints/AdvancedTrade/Account/GetApiKeyInfo.txt", "account", "string"),
    ("kraken/Endpoints/Spot/Trading/GetOpenOrders.txt", "open_orders",
     "OrderReport PARTIALLY_FILLED 0.37500000/1.25000000"),
    ("kraken/Endpoints/Spot/Trading/GetOrders.txt", "order", "BadReply 2 orders"),
    ("kraken/Endpoints/Spot/Trading/GetOrders2.txt", "order", "BadReply"),
    ("kraken/Endpoints/Spot/Trading/GetUserTradeDetails.txt", "trades",
     "FillReport 0.02000000 fee 0.00000 USD"),
    ("kraken/Endpoints/Spot/Trading/PlaceMultipleOrders.txt", "submit", "BadReply"),
    ("kraken/Endpoints/Spot/Trading/EditOrder.txt", "submit", "BadReply"),
    ("kraken/Endpoints/Spot/Trading/CancelAllOrdersAfter.txt", "cancel", "BadReply"),
    ("kraken/Endpoints/Spot/Account/GetBalances.txt", "balances", "BadReply"),
    ("kraken/Endpoints/Spot/Account/GetTradeBalance.txt", "balances", "BadReply"),
    ("coinbase/Endpoints/AdvancedTrade/Trading/PlaceOrder.txt", "submit", "Ack 11111-00000-000000"),
    ("coinbase/Endpoints/AdvancedTrade/Trading/CancelOrders.txt", "cancel", "canceled"),
    ("coinbase/Endpoints/AdvancedTrade/Trading/EditOrder.txt", "submit", "BadReply"),
    ("coinbase/Endpoints/AdvancedTrade/Trading/GetOrders.txt", "open_orders", "BadReply"),
    ("coinbase/Endpoints/AdvancedTrade/Trading/GetUserTrades.txt", "fills",
     "FillReport 0.001 fee 1.25 USD"),
    ("coinbase/Endpoints/AdvancedTrade/Account/GetFeeInfo.txt", "fees", "0.0020 0.0010"),
    ("coinbase/Endpoints/AdvancedTrade/Account/GetFeeInfo2.txt", "fees", "0.006 0.012"),
    ("binance/Endpoints/Spot/Trading/CancelOrder.txt", "cancel", "OrderReport CANCELED"),
    ("binance/Endpoints/Spot/Trading/GetOpenOrders.txt", "open_orders", "OrderReport NEW 0.0/1.0"),
    ("binance/Endpoints/Spot/Trading/GetOrders.txt", "open_orders", "OrderReport NEW 0.0/1.0"),
    ("binance/Endpoints/Spot/Trading/GetUserTrades.txt", "fills",
     "FillReport 12.00000000 fee 10.10000000 BNB"),
    ("binance/Endpoints/Spot/Trading/PlaceTestOrder.txt", "submit", "BadReply"),
    ("binance/Endpoints/Spot/Trading/ReplaceOrder.txt", "submit", "BadReply"),
    ("binance/Endpoints/Spot/Account/GetAccountInfo.txt", "balances",
     "BTC 4723846.89208129 0.00000000"),
    ("binance/Endpoints/Spot/Account/GetCommissionRates.txt", "fees", "0.00000010 0.00000020"),
    ("binance/Socket/Spot/Trading/GetOpenOrders.txt", "open_orders",
     "OrderReport PARTIALLY_FILLED 0.00720000/0.00847000"),
    ("binance/Socket/Spot/Trading/CancelOrder.txt", "order", "OrderReport FILLED"),
    ("binance/Socket/Spot/Trading/GetUserTrades.txt", "fills",
     "FillReport 0.00635000 fee 0.00000000 BNB"),
    ("binance/Socket/Spot/Trading/AmendOrder.txt", "order", "BadReply"),
    ("binance/Socket/Spot/Trading/PlaceTestOrder.txt", "submit", "BadReply"),
    ("binance/Socket/Spot/Trading/CancelAllOrders.txt", "open_orders",
     "OrderReport PARTIALLY_FILLED 0.00720000/0.00847000"),
    ("binance/Socket/Spot/Account/GetAccountInfo.txt", "balances", "BNB 0.00000000 0.00000000"),
    ("okx/Endpoints/UnifiedApi/Trading/GetOrderDetails.txt", "order",
     "OrderReport FILLED 0.00192834/0.00192834"),
    ("okx/Endpoints/UnifiedApi/Trading/GetOrderArchive.txt", "open_orders",
     "OrderReport FILLED 0.00192834/0.00192834"),
    ("okx/Endpoints/UnifiedApi/Trading/GetOrderHistory.txt", "open_orders",
     "OrderReport FILLED 0.00192834/0.00192834"),
    ("okx/Endpoints/UnifiedApi/Trading/GetOrders.txt", "open_orders", "OrderReport NEW 0/1"),
    ("okx/Endpoints/UnifiedApi/Trading/PlaceMultipleOrders.txt", "submit", "BadReply 2 rows"),
    ("okx/Endpoints/UnifiedApi/Account/GetAccountBalance.txt", "balances",
     "USDT 4834.317093622894 158.573"),
    ("okx/Endpoints/UnifiedApi/Account/GetFundingBalance.txt", "balances", "BadReply"),
    ("okx/Socket/UnifiedApi/PlaceOrder.txt", "submit", "Ack 12345689"),
]  # fmt: skip
# Stop, OCO, list, algo, convert and spread orders, dust, borrowing and funding are not what this
# program does: their files are named here once, and nothing of theirs is read.
NOT_OURS = re.compile(
    r"(Oco|Oto|Stop|Algo|Spread|Convert|Margin|Lever|Dead|Dcp|CancelAfter|Pay|C2C|Conditional|Sub|"
    r"OneClick|Prevented|CryptoLoan|SmallBalance|Analysis|AccountStatus|AccountVip|RateLimit|Snapshot|Lead|Portfolio|AccountConf|"
    r"AccountLeverage|AccountPosition|AccountMode|Transfer|AccountSpotSymbols|Broker|Asset|Borrow|"
    r"TradeVolume|Wallet|TradeFee|TradingStatus|AccountPositionMode|AccountOverview|Precheck|CheckOrder|"
    r"Disconnect|Trading/Get(Position|ClosedProfit)|Option)"
)  # fmt: skip
SYMBOLS = {
    "kucoin": {"BTC-USDT": "BTC/USDT", "KCS-BTC": "KCS/BTC", "BTC-ETC": "BTC/ETC"},
    "bybit": {"ETHUSDT": "ETH/USDT"},
    "kraken": {"BTC/USD": "BTC/USD", "BTC/EUR": "BTC/EUR"},
    "coinbase": {"BTC-USD": "BTC/USD"},
    "binance": {"LTCBTC": "LTC/BTC", "BTCUSDT": "BTC/USDT", "BNBBTC": "BNB/BTC"},
    "okx": {"BTC-USDT": "BTC/USDT"},
}
RESTS = {"kucoin": KucoinRest, "bybit": BybitRest, "kraken": KrakenRest,
         "coinbase": CoinbaseRest, "binance": BinanceRest, "okx": OkxRest}  # fmt: skip
# The id that the fixture's answer names, where it names one of the client's.
NAMED = {
    "bybit/Endpoints/V5Api/Trading/PlaceOrder.txt": "spot-test-postonly",
    "bybit/Endpoints/V5Api/Trading/CancelOrder.txt": "linear-004",
    "bybit/Endpoints/V5Api/Trading/EditOrder.txt": "linear-004",
    "bybit/Endpoints/V5Api/Trading/PreCheckOrder.txt": "test129",
    "coinbase/Endpoints/AdvancedTrade/Trading/PlaceOrder.txt": "0000-00000-000000",
    "kucoin/Endpoints/Spot/Trading/CancelOrderByClientOrderId.txt": "6d539dc614db3",
    "binance/Endpoints/Spot/Trading/CancelOrder.txt": "myOrder1",
    "okx/Socket/UnifiedApi/PlaceOrder.txt": "",
    "kucoin/Endpoints/Spot/HfTrading/PlaceMarginOrder.txt": "5c52e11203aa677f33e493fb",
}


def need(path):
    if not path.is_file():
        pytest.skip(f"no collected data at {path}")
    return path


def told(event):
    """One event as a row of the table writes it."""
    name = type(event).__name__
    if name == "Problem":
        return f"{event.code} {event.text}"
    if isinstance(event, OrderReport):
        return f"{name} {event.status} {event.filled_quantity:f}/{event.quantity:f}"
    if name == "FillSeen":
        return f"{name} {event.quantity}"
    if isinstance(event, FillReport):
        return f"{name} {event.quantity:f} fee {event.fee:f} {event.fee_asset}"
    if name == "BalanceUpdate":
        held = event.balances[0]
        return f"{name} {held.asset} {held.free:f} {held.locked:f}"
    return name


def pushed(venue, path):
    return [
        told(event) for raw in messages(need(path)) for event in codec_of(venue).on_private(raw, 0)
    ]


@pytest.mark.parametrize(("name", "expected"), STREAMS, ids=[row[0] for row in STREAMS])
def test_a_private_message_becomes_its_typed_event_or_a_typed_refusal(name, expected):
    found = pushed(name.split("/")[1], DATA / name)
    assert len(found) >= len(expected)
    for got, wanted in zip(found[-len(expected) :], expected, strict=True):
        assert got.startswith(wanted), found
    # Before it only logins and subscriptions, in whatever words.
    assert all(not got.startswith(("OrderReport", "FillReport")) for got in found[: -len(expected)])


def test_kucoins_forty_seven_kinds_of_messages_are_read_or_refused():
    found = pushed("kucoin", DATA / "gocryptotrader/kucoin/wsHandleData.json")
    read = [got for got in found if got.startswith(("OrderReport", "Fill", "Balance"))]
    assert read == KUCOIN_LINES
    refused = {got.split()[0] for got in found if got not in read}
    assert refused <= {"unsupported", "Heartbeat"}, found


def test_krakens_own_trades_of_api_v1_are_refused_by_name():
    found = pushed("kraken", DATA / "gocryptotrader/kraken/wsHandleData.json")
    assert len(found) == 10
    assert all(got.startswith("unsupported API v1") for got in found)


SPOT_ROWS = [
    ("order", "jkorf/bybit/Subscriptions/V5/Private/Order.txt", {},
     "OrderReport FILLED 1/1"),
    ("order", "jkorf/bybit/Subscriptions/V5/Private/Order.txt",
     {"orderStatus": "Cancelled", "rejectReason": "EC_PostOnlyWillTakeLiquidity"},
     "OrderReport EXPIRED 1/1"),
    ("execution", "jkorf/bybit/Subscriptions/V5/Private/UserTrades.txt", {}, "FillSeen 25"),
    ("execution", "jkorf/bybit/Subscriptions/V5/Private/UserTrades.txt", {"feeCurrency": "USDT"},
     "FillReport 25 fee 0.005061 USDT"),
]  # fmt: skip


@pytest.mark.parametrize(("topic", "name", "changes", "expected"), SPOT_ROWS)
def test_bybits_rows_are_the_same_for_spot(topic, name, changes, expected):
    # All that was collected is of derivatives; a row of spot differs in its category.
    frame = json.loads(messages(need(DATA / name))[-1])
    assert frame["topic"] == topic
    frame["data"][0] |= {"category": "spot", **changes}
    (event,) = codec_of("bybit").on_private(json.dumps(frame).encode(), 0)
    assert told(event) == expected


# --- REST


def body_of(path):
    text = need(path).read_text(encoding="utf-8-sig")
    if text.startswith(">"):
        answer = json.loads(messages(path)[-1], parse_float=str, parse_int=str)
        return answer.get("result", answer)
    return json.loads(text.split("\n", 3)[3], parse_float=str, parse_int=str)


def dialect(venue):
    rest = RESTS[venue](venue, f"{venue}.main", SYMBOLS[venue])
    if venue == "kraken":
        pairs = {
            key: {"altname": alt, "wsname": ws, "base": "XXBT", "quote": quote, "pair_decimals": 1,
                  "lot_decimals": 8}
            for key, alt, ws, quote in [("XXBTZUSD", "XBTUSD", "XBT/USD", "ZUSD"),
                                        ("XXBTZEUR", "XBTEUR", "XBT/EUR", "ZEUR")]
        }  # fmt: skip
        rest.read_instruments({"error": [], "result": pairs})
    return rest


def read(venue, reader, reply, client_order_id):
    rest = dialect(venue)
    symbol = next(iter(SYMBOLS[venue].values()))
    theirs = "BNBBTC" if venue == "binance" else next(iter(SYMBOLS[venue]))
    call = RestCall("", {"symbol": theirs}, {}, symbol=symbol)
    order = SubmitOrder(f"{venue}.main", client_order_id, symbol, "BUY", "LIMIT", "GTC", False,
                        Decimal(1), Decimal(1), 0)  # fmt: skip
    known = Instrument(venue, symbol, "x", "a", "b", *[Decimal(1)] * 3, None, *[Decimal(0)] * 3)
    return {
        "order": lambda: rest.read_order(reply),
        "open_orders": lambda: rest.read_open_orders(reply, call, "query"),
        "fills": lambda: rest.read_fills(reply, call, "query", 0),
        "trades": lambda: rest.read_fills(
            reply, call._replace(method="privatePostQueryTrades"), "query", 0
        ),
        "submit": lambda: rest.read_submit(reply, order),
        "cancel": lambda: rest.read_cancel(
            reply, CancelOrder(order.account, client_order_id, "x", symbol)
        ),
        "balances": lambda: rest.read_balances(reply),
        "account": lambda: rest.read_account_uid(reply),
        "fees": lambda: rest.read_fees(reply, known),
    }[reader]()


def shown(answer):
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Orders):
        return told(answer.orders[0])
    if isinstance(answer, Page):
        return told(answer.fills[0])
    if isinstance(answer, Ack):
        return f"Ack {answer.venue_order_id}"
    if isinstance(answer, Instrument):
        return f"{answer.maker_fee:f} {answer.taker_fee:f}"
    if isinstance(answer, list):
        if not answer:
            return "canceled"
        first = answer[0]
        is_order = isinstance(first, OrderReport)
        return told(first) if is_order else f"{first.asset} {first.free:f} {first.locked:f}"
    return told(answer)


@pytest.mark.parametrize(
    ("name", "reader", "expected"), ENDPOINTS, ids=[row[0] for row in ENDPOINTS]
)
def test_an_answer_becomes_what_it_says_or_is_refused(name, reader, expected):
    venue = name.split("/")[0]
    reply = body_of(DATA / "jkorf" / name)
    try:
        found = shown(read(venue, reader, reply, NAMED.get(name, "ce01")))
    except BadReply as refused:
        found = f"BadReply {refused}"
    assert found.startswith(expected), found


@pytest.mark.parametrize("venue", sorted(RESTS))
def test_no_collected_order_fill_or_balance_of_spot_is_forgotten(venue):
    folder = DATA / "jkorf" / venue
    if not folder.is_dir():
        pytest.skip(f"no collected data at {folder}")
    named = {row[0].removeprefix("jkorf/") for row in [*STREAMS, *ENDPOINTS]}
    wanted = re.compile(r"(Order|Trade|Fill|Balance|Account)")
    forgotten = [
        name
        for path in sorted(folder.rglob("*.txt"))
        if (name := f"{venue}/{path.relative_to(folder)}") not in named
        and wanted.search(path.name)
        and not re.search(r"Futures|ExchangeData|General|/Margin/|/SubAccount/|/Earn/", name)
        and not NOT_OURS.search(name)
    ]
    assert not forgotten


# --- errors: as the venues write them (venues.md 1.4 and 3.5), through the whole outcome table

ERRORS = [
    ('{"code":"200004","msg":"Balance insufficient!"}', 200, "submit", "REJECTED"),
    ('{"code":"400100","msg":"Order size below the minimum requirement."}', 200, "submit", "REJECTED"),
    ('{"code":"400100","msg":"order_not_exist_or_not_allow_to_cancel"}', 200, "cancel", "NOT_FOUND"),
    ('{"code":"400002","msg":"KC-API-TIMESTAMP Invalid"}', 400, "submit", "CLOCK"),
    ('{"code":"400003","msg":"KC-API-KEY not exists"}', 401, "submit", "AUTH"),
    ('{"code":"429000","msg":"Too many requests."}', 429, "submit", "RATE_LIMITED"),
    ('{"code":"500000","msg":"Internal Server Error"}', 200, "submit", "AMBIGUOUS"),
    ('{"retCode":170131,"retMsg":"Balance insufficient","result":{}}', 200, "submit", "REJECTED"),
    ('{"retCode":170141,"retMsg":"Duplicate clientOrderId","result":{}}', 200, "submit", "DUPLICATE"),
    ('{"retCode":170213,"retMsg":"Order does not exist.","result":{}}', 200, "cancel", "NOT_FOUND"),
    ('{"retCode":170142,"retMsg":"Order has been canceled","result":{}}', 200, "cancel", "NOT_FOUND"),
    ('{"retCode":10002,"retMsg":"request expired","result":{}}', 200, "submit", "CLOCK"),
    ('{"retCode":10016,"retMsg":"System error","result":{}}', 200, "submit", "AMBIGUOUS"),
    ('{"retCode":170146,"retMsg":"Order creation timeout","result":{}}', 200, "submit", "AMBIGUOUS"),
    ('{"retCode":10006,"retMsg":"Too many visits!","result":{}}', 200, "submit", "RATE_LIMITED"),
    ('{"retCode":10003,"retMsg":"API key is invalid.","result":{}}', 200, "submit", "AUTH"),
    ('{"error":["EOrder:Insufficient funds"]}', 200, "submit", "REJECTED"),
    ('{"error":["EGeneral:Invalid arguments:volume"]}', 200, "submit", "REJECTED"),
    ('{"error":["EOrder:Unknown order"]}', 200, "cancel", "NOT_FOUND"),
    ('{"error":["EAPI:Rate limit exceeded"]}', 200, "submit", "RATE_LIMITED"),
    ('{"error":["EAPI:Invalid nonce"]}', 200, "submit", "CLOCK"),
    ('{"error":["EAPI:Invalid key"]}', 200, "submit", "AUTH"),
    ('{"error":["EGeneral:Internal error"]}', 200, "submit", "AMBIGUOUS"),
    ('{"error":["EService:Unavailable"]}', 200, "read", "VENUE_DOWN"),
    ('{"error":["EService:Busy"]}', 200, "submit", "AMBIGUOUS"),
    ('{"success":false,"error_response":{"error":"INSUFFICIENT_FUND","message":"x"}}', 200, "submit",
     "REJECTED"),
    ('{"success":false,"error_response":{"error":"UNKNOWN_FAILURE_REASON","message":""}}', 200,
     "submit", "AMBIGUOUS"),
    ('{"error":"PERMISSION_DENIED","message":"no"}', 401, "submit", "AUTH"),
    ('{"error":"rate_limit_exceeded","message":"slow down"}', 429, "submit", "RATE_LIMITED"),
    ('{"error":"NOT_FOUND","message":"order with this orderID was not found"}', 404, "read",
     "NOT_FOUND"),
    ("<html>Bad gateway</html>", 502, "submit", "AMBIGUOUS"),
    ('{"success":true,"success_response":{},"error_response":{"error":"X"}}', 200, "submit",
     "AMBIGUOUS"),
    ('{"code":"200000","data":{}}', 200, "submit", "AMBIGUOUS"),
    ('{"retCode":0,"retMsg":"OK","result":{}}', 200, "submit", "AMBIGUOUS"),
    ('{"error":[],"result":{}}', 200, "submit", "AMBIGUOUS"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "action", "kind"), ERRORS, ids=[e[0] for e in ERRORS])
def test_a_venues_error_proves_what_the_outcome_table_says(body, status, action, kind):
    code, message = venue_error(body)
    evidence = Evidence(
        action=action, http_status=status, code=code, message=message, odd_success=not code
    )
    assert classify(evidence).kind == kind


def test_recorded_answers_of_binance_are_read():
    path = need(DATA / "gocryptotrader/binance/http.json.gz")
    routes = json.loads(gzip.decompress(path.read_bytes()), parse_float=str, parse_int=str)[
        "routes"
    ]
    rest = dialect("binance")
    orders = rest.read_open_orders(
        routes["/api/v3/allOrders"]["GET"][0]["data"], RestCall("", {}, {}), "query"
    )
    assert told(orders.orders[0]) == "OrderReport NEW 0.0/1.0"
    canceled = routes["/api/v3/order"]["DELETE"][0]["data"]
    (report,) = rest.read_cancel(canceled, CancelOrder("a", "myOrder1", None, "LTC/BTC"))
    assert told(report) == "OrderReport CANCELED 8.00000000/10.00000000"
