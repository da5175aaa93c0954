"""Binance's words: symbols, errors, and the JSON shapes of orders, fills, books and accounts.

Shapes from the venue's documentation (binance-spot-api-docs: rest-api, enums, errors). No I/O.
"""

from typing import Any

from simulator.book import BookDelta, BookView
from simulator.clock import NS_PER_MS
from simulator.instruments import UNIT, Instrument, fixed8
from simulator.orders import Fill, Order, OrderType, Side, Status, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 61_000},
]
# Reasons of the engine in the venue's words: (HTTP status, code, text).
ENGINE_ERRORS = {
    "insufficient_balance": (
        400, -2010, "Account has insufficient balance for requested action."),
    "duplicate_client_id": (400, -2010, "Duplicate order sent."),
    "would_take": (400, -2010, "Order would immediately match and take."),
    "halted": (400, -2010, "Market is closed."),
    "too_many_orders": (400, -1013, "Filter failure: MAX_NUM_ORDERS"),
    "not_open": (400, -2011, "Unknown order sent."),
    "unknown_order": (400, -2011, "Unknown order sent."),
    "quantity_below_filled": (400, -2038, "The requested amendment is invalid."),
}  # fmt: skip

# cancelReplace names its cancel parameters differently.
CANCEL_PARAMS = {
    "symbol": "symbol",
    "cancelNewClientOrderId": "newClientOrderId",
    "cancelOrderId": "orderId",
    "cancelOrigClientOrderId": "origClientOrderId",
}


class ApiError(Exception):
    """Refused in the venue's own words."""

    def __init__(self, status: int, code: int, msg: str) -> None:
        super().__init__(msg)
        self.reply = error(status, code, msg)


def error(status: int, code: int, msg: str, headers: dict[str, str] | None = None) -> Reply:
    """Return an error answer."""
    return Reply(status, {"code": code, "msg": msg}, headers or {})


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what Binance says for a fault of this name."""
    retry = {"Retry-After": str(params.get("retry_after_s", 1))}
    match name:
        case "rate_limit_429":
            return error(429, -1003, "Too much request weight used; current limit is 6000 "
                         "request weight per 1 MINUTE.", retry)  # fmt: skip
        case "ban_418":
            return error(418, -1003, "Way too much request weight used; IP banned.", retry)
        case "auth_revoked":
            return error(401, -2015, "Invalid API-key, IP, or permissions for action.")
        case "maintenance":
            return error(503, -1008, "Server is currently overloaded with other requests. "
                         "Please try again in a few minutes.")  # fmt: skip
        case "error_5xx":
            status = params.get("status", 503)
            return error(status, -1006, "An unexpected response was received from the message "
                         "bus. Execution status unknown.")  # fmt: skip
    return HANG_UP


def wire_symbol(symbol: str) -> str:
    """BTC/USDT -> BTCUSDT."""
    return symbol.replace("/", "")


def ms(ns: int) -> int:
    """Return milliseconds."""
    return ns // NS_PER_MS


def status_of(order: Order) -> str:
    """The engine's status words are Binance's."""
    return order.status.value


def level(instrument: Instrument, price: int, lots: int) -> list[str]:
    """Return one book level."""
    return [fixed8(price * instrument.tick_units), fixed8(lots * instrument.lot_units)]


def depth(instrument: Instrument, view: BookView) -> Json:
    """Return a book snapshot."""
    return {
        "lastUpdateId": view.last_id,
        "bids": [level(instrument, p, q) for p, q in view.bids],
        "asks": [level(instrument, p, q) for p, q in view.asks],
    }


def depth_update(instrument: Instrument, delta: BookDelta, now_ms: int) -> Json:
    """Return a stream diff: {"e":"depthUpdate","E","s","U","u","b","a"}."""
    return {
        "e": "depthUpdate",
        "E": now_ms,
        "s": wire_symbol(delta.symbol),
        "U": delta.first_id,
        "u": delta.last_id,
        "b": [level(instrument, p, q) for p, q in delta.bids],
        "a": [level(instrument, p, q) for p, q in delta.asks],
    }


def price_text(order: Order, instrument: Instrument) -> str:
    """Return the order's limit price, zero for a market order."""
    return fixed8(0 if order.price is None else order.price * instrument.tick_units)


def order_json(order: Order, instrument: Instrument) -> Json:
    """Return the order as queries give it."""
    quote = order.quote_quantity
    return {
        "symbol": wire_symbol(order.symbol),
        "orderId": order.order_id,
        "orderListId": -1,
        "clientOrderId": order.cancel_id or order.client_order_id,
        "price": price_text(order, instrument),
        "origQty": fixed8(order.quantity * instrument.lot_units),
        "executedQty": fixed8(order.filled * instrument.lot_units),
        "cummulativeQuoteQty": fixed8(order.quote_filled),
        "status": status_of(order),
        "timeInForce": order.time_in_force.value,
        "type": order.order_type.value,
        "side": order.side.value,
        "stopPrice": "0.00000000",
        "icebergQty": "0.00000000",
        "time": ms(order.created_ns),
        "updateTime": ms(order.updated_ns),
        "isWorking": True,
        "workingTime": ms(order.created_ns),
        "origQuoteOrderQty": fixed8(quote or 0),
        "selfTradePreventionMode": order.stp.value,
    }


def query_json(order: Order, instrument: Instrument) -> Json:
    """Return an order by query: always under its own client id."""
    return {**order_json(order, instrument), "clientOrderId": order.client_order_id}


def placed_json(order: Order, instrument: Instrument, fills: list[Fill], kind: str) -> Json:
    """Return the answer to a new order: ACK, RESULT or FULL."""
    full = query_json(order, instrument)
    ack = {k: full[k] for k in ("symbol", "orderId", "orderListId", "clientOrderId")}
    ack["transactTime"] = ms(order.updated_ns)
    if kind == "ACK":
        return ack
    names = ("price", "origQty", "executedQty", "origQuoteOrderQty", "cummulativeQuoteQty",
             "status", "timeInForce", "type", "side", "workingTime",
             "selfTradePreventionMode")  # fmt: skip
    ack.update({name: full[name] for name in names})
    if kind == "FULL":
        ack["fills"] = [
            {
                "price": fixed8(fill.price * instrument.tick_units),
                "qty": fixed8(fill.quantity * instrument.lot_units),
                "commission": fixed8(fill.fee),
                "commissionAsset": fill.fee_asset,
                "tradeId": fill.trade_id,
            }
            for fill in fills
        ]
    return ack


def canceled_json(order: Order, instrument: Instrument) -> Json:
    """Return the answer to a cancel: the order's id moves to `origClientOrderId`."""
    full = order_json(order, instrument)
    names = ("symbol", "orderId", "orderListId", "clientOrderId", "price", "origQty",
             "executedQty", "origQuoteOrderQty", "cummulativeQuoteQty", "status", "timeInForce",
             "type", "side", "selfTradePreventionMode")  # fmt: skip
    out = {"origClientOrderId": order.client_order_id, "transactTime": ms(order.updated_ns)}
    return {**out, **{name: full[name] for name in names}}


def fill_json(fill: Fill, instrument: Instrument) -> Json:
    """Return one of myTrades."""
    return {
        "symbol": wire_symbol(fill.symbol),
        "id": fill.trade_id,
        "orderId": fill.order_id,
        "orderListId": -1,
        "price": fixed8(fill.price * instrument.tick_units),
        "qty": fixed8(fill.quantity * instrument.lot_units),
        "quoteQty": fixed8(fill.quote),
        "commission": fixed8(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": ms(fill.time_ns),
        "isBuyer": fill.side is Side.BUY,
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def trade_event(trade: Traded, instrument: Instrument, now_ms: int, name: str) -> Json:
    """Return a public print as `trade` or `aggTrade`."""
    out = {
        "e": name,
        "E": now_ms,
        "s": wire_symbol(trade.symbol),
        "t": trade.trade_id,
        "p": fixed8(trade.price * instrument.tick_units),
        "q": fixed8(trade.quantity * instrument.lot_units),
        "T": ms(trade.time_ns),
        "m": trade.buyer_is_maker,
        "M": True,
    }
    if name == "aggTrade":
        trade_id = out.pop("t")
        out |= {"a": trade_id, "f": trade_id, "l": trade_id}
    return out


def execution_report(what: str, order: Order, fill: Fill | None, instrument: Instrument,
                     now_ms: int) -> Json:  # fmt: skip
    """Return the private event of one order change; on CANCELED the order's own id is `C`."""
    is_cancel = what == "CANCELED"
    zero = "0.00000000"
    report = {
        "e": "executionReport", "E": now_ms, "s": wire_symbol(order.symbol),
        "c": (order.cancel_id or order.client_order_id) if is_cancel else order.client_order_id,
        "S": order.side.value, "o": order.order_type.value, "f": order.time_in_force.value,
        "q": fixed8(order.quantity * instrument.lot_units),
        "p": price_text(order, instrument), "P": zero, "F": zero, "g": -1,
        "C": order.client_order_id if is_cancel else "",
        "x": what, "X": status_of(order), "r": "NONE", "i": order.order_id,
        "l": zero if fill is None else fixed8(fill.quantity * instrument.lot_units),
        "z": fixed8(order.filled * instrument.lot_units),
        "L": zero if fill is None else fixed8(fill.price * instrument.tick_units),
        "n": "0" if fill is None else fixed8(fill.fee),
        "N": None if fill is None else fill.fee_asset,
        "T": ms(order.updated_ns), "t": -1 if fill is None else fill.trade_id,
        "I": order.order_id * 2, "w": order.is_open, "m": fill is not None and fill.is_maker,
        "M": fill is not None, "O": ms(order.created_ns), "Z": fixed8(order.quote_filled),
        "Y": zero if fill is None else fixed8(fill.quote),
        "Q": fixed8(order.quote_quantity or 0), "W": ms(order.created_ns), "V": order.stp.value,
    }  # fmt: skip
    if order.status is Status.EXPIRED:
        report["eR"] = 0
    return report


def symbol_json(instrument: Instrument, *, is_halted: bool) -> Json:
    """Return one symbol of exchangeInfo."""
    lot = {
        "minQty": f"{instrument.quantity_min:.8f}",
        "maxQty": f"{instrument.quantity_max:.8f}",
        "stepSize": f"{instrument.quantity_lot:.8f}",
    }
    tick = f"{instrument.price_tick:.8f}"
    return {
        "symbol": wire_symbol(instrument.symbol),
        "status": "BREAK" if is_halted else "TRADING",
        "baseAsset": instrument.base,
        "baseAssetPrecision": 8,
        "quoteAsset": instrument.quote,
        "quotePrecision": 8,
        "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": [order_type.value for order_type in OrderType],
        "icebergAllowed": False,
        "ocoAllowed": False,
        "otoAllowed": False,
        "quoteOrderQtyMarketAllowed": True,
        "allowTrailingStop": False,
        "cancelReplaceAllowed": True,
        "amendAllowed": True,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000",
             "tickSize": tick},
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot, "stepSize": "0.00000000"},
            {"filterType": "NOTIONAL", "minNotional": f"{instrument.notional_min:.8f}",
             "applyMinToMarket": True, "maxNotional": "9000000.00000000",
             "applyMaxToMarket": False, "avgPriceMins": 5},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "5",
             "bidMultiplierDown": "0.2", "askMultiplierUp": "5", "askMultiplierDown": "0.2",
             "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        ],
        "permissions": [],
        "permissionSets": [["SPOT"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH"],
    }  # fmt: skip


def bps_text(bps: int) -> str:
    """Write basis points as a rate."""
    return fixed8(bps * UNIT // 10_000)


# https://developers.binance.com/docs/wallet/account/api-key-permission
KEY_RIGHTS = (
    "ipRestrict", "enableInternalTransfer", "enableMargin", "enableFutures", "permitsUniversalTransfer",
    "enableVanillaOptions", "enableFixApiTrade", "enableFixReadOnly", "enablePortfolioMarginTrading",
)  # fmt: skip


def key_rights(can_withdraw: bool) -> Json:
    """Return what a key may do: read and trade spot, and withdraw where it is told to."""
    return dict.fromkeys(KEY_RIGHTS, False) | {
        "enableReading": True,
        "enableSpotAndMarginTrading": True,
        "enableWithdrawals": can_withdraw,
    }
