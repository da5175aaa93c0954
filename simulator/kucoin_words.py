"""KuCoin's words: envelopes, errors, and the JSON shapes of orders, fills, books and accounts.

Shapes from the venue's documentation of spot, high frequency orders (https://www.kucoin.com/docs-new).
Refusals of the business are HTTP 200 with a code of their own; keys, limits and time have a status. No I/O.
"""

from typing import Any

from simulator.book import BookDelta
from simulator.clock import NS_PER_MS
from simulator.instruments import Instrument, plain
from simulator.orders import Fill, Order, OrderChanged, OrderType, Side, Status, Stp, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
Levels = list[list[str]]
FINE = "200000"
MAKER_RATE = TAKER_RATE = "0.001"
NOT_CANCELED = "order_not_exist_or_not_allow_to_cancel"
# The venue tells its reset in the header as milliseconds, not as Retry-After.
RESET = "gw-ratelimit-reset"
ENGINE_ERRORS = {
    "insufficient_balance": ("200004", "Balance insufficient!"),
    "duplicate_client_id": ("126044", "clientOid duplicate"),
    "halted": ("900001", "Trading of this pair is suspended."),
    "too_many_orders": ("200003", "Maximum number of open orders exceeded."),
    "not_open": ("400100", NOT_CANCELED),
    "unknown_order": ("400100", NOT_CANCELED),
    "quantity_below_filled": ("400100", "The new size is below the filled size."),
}
STP = {Stp.NONE: "", Stp.EXPIRE_MAKER: "CO", Stp.EXPIRE_TAKER: "CN", Stp.EXPIRE_BOTH: "CB"}
TYPES = {OrderType.MARKET: "market"}


class ApiError(Exception):
    """Refused."""

    def __init__(self, code: str, msg: str, status: int = 200) -> None:
        super().__init__(msg)
        self.reply = error(code, msg, status)


def ok(data: Any) -> Reply:
    """Return a success."""
    return Reply(200, {"code": FINE, "data": data})


def error(code: str, msg: str, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return a refusal."""
    return Reply(status, {"code": code, "msg": msg}, headers or {})


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what KuCoin says for a fault of this name."""
    reset = {RESET: str(params.get("retry_after_s", 1) * 1000)}
    match name:
        case "rate_limit_429":
            return error("429000", "Too many requests in a short period of time", 429, reset)
        case "ban_418":
            # KuCoin documents no 418. The fault's name is kept.
            return error("429000", "Too many requests in a short period of time", 418, reset)
        case "auth_revoked":
            return error("400003", "KC-API-KEY not exists", 401)
        case "maintenance":
            return error("503000", "Service temporarily unavailable.", 503)
        case "error_5xx":
            return error("500000", "Internal Server Error", params.get("status", 503))
    return HANG_UP


def venue_symbol(symbol: str) -> str:
    """BTC/USDT -> BTC-USDT."""
    return symbol.replace("/", "-")


def order_id(number: int) -> str:
    """Return an order's id as the venue writes ids: 24 hexadecimal digits."""
    return f"{number:024x}"


def number_of(text: str) -> int | None:
    """Return the number behind an order's id, None for what is no id."""
    if len(text) != 24 or not set(text) <= set("0123456789abcdef"):
        return None
    return int(text, 16)


def _price(instrument: Instrument, ticks: int) -> str:
    return plain(ticks * instrument.tick_units)


def _size(instrument: Instrument, lots: int) -> str:
    return plain(lots * instrument.lot_units)


def levels(instrument: Instrument, rows: tuple[tuple[int, int], ...]) -> Levels:
    """Return levels as price and size."""
    return [[_price(instrument, p), _size(instrument, q)] for p, q in rows]


def order_json(order: Order, instrument: Instrument) -> Json:
    """Return an order as queries give it: there is no word for its state, only what follows from it."""
    fee = sum(order.fees.values())
    is_closed = not order.is_open
    left = order.leaves if is_closed else 0
    quote = order.quote_quantity
    return {
        "id": order_id(order.order_id), "symbol": venue_symbol(order.symbol), "opType": "DEAL",
        "type": TYPES.get(order.order_type, "limit"), "side": order.side.value.lower(),
        "price": "0" if order.price is None else _price(instrument, order.price),
        "size": "0" if quote is not None else _size(instrument, order.quantity),
        "funds": "0" if quote is None else plain(quote),
        "dealSize": _size(instrument, order.filled), "dealFunds": plain(order.quote_filled),
        "remainSize": _size(instrument, 0 if is_closed else order.leaves), "remainFunds": "0",
        "cancelledSize": _size(instrument, left), "cancelledFunds": "0",
        "fee": plain(fee), "feeCurrency": instrument.quote, "stp": STP[order.stp],
        "timeInForce": order.time_in_force.value,
        "postOnly": order.order_type is OrderType.LIMIT_MAKER, "hidden": False, "iceberg": False,
        "visibleSize": "0", "cancelAfter": 0, "channel": "API",
        "clientOid": order.client_order_id, "remark": "", "tags": "", "tax": "0",
        "active": order.is_open, "inOrderBook": order.is_open,
        "cancelExist": is_closed and order.status is not Status.FILLED,
        "createdAt": order.created_ns // NS_PER_MS, "lastUpdatedAt": order.updated_ns // NS_PER_MS,
        "tradeType": "TRADE",
    }  # fmt: skip


def fill_id(fill: Fill) -> int:
    """Return the id of the fill's own side; both sides of a trade have its trade id."""
    return fill.trade_id * 2 + (not fill.is_maker)


def fill_json(fill: Fill, instrument: Instrument, kind: str) -> Json:
    """Return a row of hf/fills."""
    return {
        "id": fill_id(fill), "symbol": venue_symbol(fill.symbol), "tradeId": fill.trade_id,
        "orderId": order_id(fill.order_id), "counterOrderId": "", "side": fill.side.value.lower(),
        "liquidity": "maker" if fill.is_maker else "taker", "forceTaker": False,
        "price": _price(instrument, fill.price), "size": _size(instrument, fill.quantity),
        "funds": plain(fill.quote), "fee": plain(fill.fee), "feeRate": TAKER_RATE,
        "feeCurrency": fill.fee_asset, "stop": "", "tradeType": "TRADE", "type": kind,
        "tax": "0", "taxRate": "0", "createdAt": fill.time_ns // NS_PER_MS,
    }  # fmt: skip


def order_event(event: OrderChanged, instrument: Instrument, what: str, *, is_v2: bool) -> Json:
    """Return the data of an order's message; `what` is its `type`. It never tells a fee."""
    order, fill = event.order, event.fill
    status = {"received": "new", "open": "open", "match": "match", "update": "open"}
    left = 0 if order.is_open else order.leaves
    data = {
        "symbol": venue_symbol(order.symbol), "orderType": TYPES.get(order.order_type, "limit"),
        "side": order.side.value.lower(), "orderId": order_id(order.order_id), "type": what,
        "orderTime": order.created_ns if is_v2 else order.created_ns // NS_PER_MS,
        "size": _size(instrument, order.quantity), "filledSize": _size(instrument, order.filled),
        "price": "" if order.price is None else _price(instrument, order.price),
        "clientOid": order.client_order_id,
        "remainSize": _size(instrument, order.leaves - left),
        "status": status.get(what, "done"), "ts": order.updated_ns,
    }  # fmt: skip
    if order.quote_quantity is not None:
        data |= {"size": "", "funds": plain(order.quote_quantity)}
    if is_v2:
        data |= {"originSize": data["size"], "canceledSize": _size(instrument, left),
                 "canceledFunds": "", "originFunds": data.get("funds", "")}  # fmt: skip
    if what == "match" and fill is not None:
        liquidity = "maker" if fill.is_maker else "taker"
        data |= {"liquidity": liquidity, "feeType": f"{liquidity}Fee",
                 "matchPrice": _price(instrument, fill.price),
                 "matchSize": _size(instrument, fill.quantity),
                 "tradeId": str(fill.trade_id)}  # fmt: skip
    return data


def account_json(asset: str, free: int, locked: int, uid: int) -> Json:
    """Return a row of accounts."""
    return {"id": f"{uid}{asset.lower()}", "currency": asset, "type": "trade_hf",
            "balance": plain(free + locked), "available": plain(free),
            "holds": plain(locked)}  # fmt: skip


def symbol_json(instrument: Instrument, *, is_halted: bool) -> Json:
    """Return a row of symbols."""
    name = venue_symbol(instrument.symbol)
    return {
        "symbol": name, "name": name, "baseCurrency": instrument.base,
        "quoteCurrency": instrument.quote, "feeCurrency": instrument.quote, "market": "USDS",
        "baseMinSize": f"{instrument.quantity_min:f}", "quoteMinSize": "0.1",
        "baseMaxSize": f"{instrument.quantity_max:f}", "quoteMaxSize": "99999999",
        "baseIncrement": f"{instrument.quantity_lot:f}",
        "quoteIncrement": f"{instrument.price_tick * instrument.quantity_lot:f}",
        "priceIncrement": f"{instrument.price_tick:f}", "priceLimitRate": "0.1",
        "minFunds": f"{instrument.notional_min:f}", "isMarginEnabled": False,
        "enableTrading": not is_halted, "feeCategory": 1, "makerFeeCoefficient": "1.00",
        "takerFeeCoefficient": "1.00", "st": False,
    }  # fmt: skip


def match_json(trade: Traded, instrument: Instrument) -> Json:
    """Return the data of a public print; `side` is the taker's."""
    maker, taker = trade.seller_order_id, trade.buyer_order_id
    if trade.buyer_is_maker:
        maker, taker = taker, maker
    return {
        "makerOrderId": order_id(maker), "price": _price(instrument, trade.price),
        "sequence": str(trade.trade_id), "side": "sell" if trade.buyer_is_maker else "buy",
        "size": _size(instrument, trade.quantity), "symbol": venue_symbol(trade.symbol),
        "takerOrderId": order_id(taker), "time": str(trade.time_ns),
        "tradeId": str(trade.trade_id), "type": "match",
    }  # fmt: skip


def level2(instrument: Instrument, delta: BookDelta, now_ms: int) -> Json:
    """Return the data of a level 2 message: each row has the sequence of its last change."""

    def rows(side: Side, changed: tuple[tuple[int, int], ...]) -> list[list[str]]:
        return [
            [_price(instrument, p), _size(instrument, q), str(delta.touched[side, p])]
            for p, q in changed
        ]

    changes = {"asks": rows(Side.SELL, delta.asks), "bids": rows(Side.BUY, delta.bids)}
    return {"changes": changes, "sequenceEnd": delta.last_id, "sequenceStart": delta.first_id,
            "symbol": venue_symbol(instrument.symbol), "time": now_ms}  # fmt: skip
