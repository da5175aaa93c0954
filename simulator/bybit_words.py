"""Bybit's words: envelopes, errors, and the JSON shapes of orders, fills, books and wallets. v5, spot.

Shapes from the venue's documentation (https://bybit-exchange.github.io/docs/v5/intro). Every answer of
the business is HTTP 200 with a `retCode`; only what stands before it has a status. No I/O.
"""

from typing import Any

from simulator.clock import NS_PER_MS
from simulator.instruments import Instrument, plain
from simulator.orders import Fill, Order, OrderChanged, OrderType, Status, Stp, TimeInForce, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
Levels = list[list[str]]
MAKER_RATE = TAKER_RATE = "0.001"
ENGINE_ERRORS = {
    "insufficient_balance": (170131, "Insufficient balance."),
    "duplicate_client_id": (170141, "Duplicate clientOrderId"),
    "halted": (170133, "The trading of this symbol is suspended."),
    "too_many_orders": (170371, "Exceeded the maximum number of open orders."),
    "not_open": (170213, "Order does not exist."),
    "unknown_order": (170213, "Order does not exist."),
    "quantity_below_filled": (170359, "The quantity is below the filled quantity."),
}
SMP = {Stp.NONE: "None", Stp.EXPIRE_MAKER: "CancelMaker", Stp.EXPIRE_TAKER: "CancelTaker",
       Stp.EXPIRE_BOTH: "CancelBoth"}  # fmt: skip


class ApiError(Exception):
    """Refused."""

    def __init__(self, code: int, msg: str, status: int = 200) -> None:
        super().__init__(msg)
        self.reply = error(code, msg, status)


def envelope(code: int, msg: str, result: Json, now_ms: int) -> Json:
    """Return the envelope of REST."""
    return {"retCode": code, "retMsg": msg, "result": result, "retExtInfo": {}, "time": now_ms}


def error(code: int, msg: str, status: int = 200) -> Reply:
    """Return a refusal."""
    return Reply(status, envelope(code, msg, {}, 0))


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what Bybit says for a fault of this name."""
    match name:
        case "rate_limit_429":
            return error(10006, "Too many visits. Exceeded the API Rate Limit.")
        case "ban_418":
            # Bybit bans an address by 403 for ten minutes and more, and tells no time.
            return error(10403, "403, access too frequent", 403)
        case "auth_revoked":
            return error(10003, "API key is invalid.")
        case "maintenance":
            return error(10016, "Service is restarting", 503)
        case "error_5xx":
            return error(10016, "Internal server error", params.get("status", 503))
    return HANG_UP


def venue_symbol(symbol: str) -> str:
    """BTC/USDT -> BTCUSDT."""
    return symbol.replace("/", "")


def _price(instrument: Instrument, ticks: int) -> str:
    return plain(ticks * instrument.tick_units)


def _size(instrument: Instrument, lots: int) -> str:
    return plain(lots * instrument.lot_units)


def levels(instrument: Instrument, rows: tuple[tuple[int, int], ...]) -> Levels:
    """Return levels as price and size."""
    return [[_price(instrument, p), _size(instrument, q)] for p, q in rows]


def _status(order: Order) -> str:
    if order.is_open:
        return "PartiallyFilled" if order.filled else "New"
    if order.status is Status.FILLED:
        return "Filled"
    return "PartiallyFilledCanceled" if order.filled else "Cancelled"


# Why it ended, in the venue's word.
def _reason(order: Order) -> str:
    if order.status is Status.CANCELED:
        return "EC_PerCancelRequest"
    if order.status is not Status.EXPIRED:
        return "EC_NoError"
    if order.order_type is OrderType.LIMIT_MAKER:
        return "EC_PostOnlyWillTakeLiquidity"
    if order.time_in_force is TimeInForce.FOK:
        return "EC_CancelForNoFullFill"
    return "EC_NoImmediateQtyToFill"


def _cancel_type(order: Order) -> str:
    if order.status is Status.CANCELED:
        return "CancelByUser"
    return "CancelBySmp" if order.status is Status.EXPIRED_IN_MATCH else "UNKNOWN"


def _average(order: Order, instrument: Instrument) -> str:
    if not order.filled:
        return ""
    scaled = order.quote_filled * 10_000 // (order.filled * instrument.notional_unit)
    return plain(scaled * instrument.tick_units // 10_000)


def order_json(order: Order, instrument: Instrument) -> Json:
    """Return an order as queries and the `order` topic give it."""
    quote = order.quote_quantity
    is_market = order.order_type is OrderType.MARKET
    tif = "IOC" if is_market else order.time_in_force.value
    left = order.leaves if order.is_open else 0
    fee_asset, fee = next(iter(order.fees.items()), ("", 0))
    return {
        "category": "spot", "symbol": venue_symbol(order.symbol),
        "orderId": str(order.order_id), "orderLinkId": order.client_order_id,
        "blockTradeId": "", "side": order.side.value.capitalize(), "positionIdx": 0,
        "orderStatus": _status(order), "createType": "CreateByUser",
        "cancelType": _cancel_type(order), "rejectReason": _reason(order),
        "timeInForce": "PostOnly" if order.order_type is OrderType.LIMIT_MAKER else tif,
        "price": "0" if order.price is None else _price(instrument, order.price),
        "qty": _size(instrument, order.quantity) if quote is None else plain(quote),
        "marketUnit": ("baseCoin" if quote is None else "quoteCoin") if is_market else "",
        "avgPrice": _average(order, instrument), "leavesQty": _size(instrument, left),
        "leavesValue": "0", "cumExecQty": _size(instrument, order.filled),
        "cumExecValue": plain(order.quote_filled), "cumExecFee": plain(fee),
        "feeCurrency": fee_asset, "orderType": "Market" if is_market else "Limit",
        "stopOrderType": "", "orderIv": "", "triggerPrice": "0", "takeProfit": "", "stopLoss": "",
        "tpslMode": "", "tpTriggerBy": "", "slTriggerBy": "", "triggerDirection": 0,
        "triggerBy": "", "lastPriceOnCreated": "", "reduceOnly": False, "closeOnTrigger": False,
        "placeType": "", "smpType": SMP[order.stp], "smpGroup": 0, "smpOrderId": "",
        "isLeverage": "0", "createdTime": str(order.created_ns // NS_PER_MS),
        "updatedTime": str(order.updated_ns // NS_PER_MS),
    }  # fmt: skip


def exec_id(fill: Fill) -> int:
    """Return the id of the fill's own side."""
    return fill.trade_id * 2 + (not fill.is_maker)


def fill_json(fill: Fill, order: Order, instrument: Instrument) -> Json:
    """Return a row of execution/list and of the `execution` topic."""
    left = order.leaves if order.is_open else 0
    return {
        "category": "spot", "symbol": venue_symbol(fill.symbol), "orderId": str(fill.order_id),
        "orderLinkId": fill.client_order_id, "side": fill.side.value.capitalize(),
        "orderPrice": "0" if order.price is None else _price(instrument, order.price),
        "orderQty": _size(instrument, order.quantity), "leavesQty": _size(instrument, left),
        "createType": "CreateByUser",
        "orderType": "Market" if order.order_type is OrderType.MARKET else "Limit",
        "stopOrderType": "", "execFee": plain(fill.fee), "execId": str(exec_id(fill)),
        "execPrice": _price(instrument, fill.price), "execQty": _size(instrument, fill.quantity),
        "execType": "Trade", "execValue": plain(fill.quote),
        "execTime": str(fill.time_ns // NS_PER_MS), "feeCurrency": fill.fee_asset,
        "isMaker": fill.is_maker, "feeRate": MAKER_RATE if fill.is_maker else TAKER_RATE,
        "tradeIv": "", "markIv": "", "markPrice": "", "indexPrice": "", "underlyingPrice": "",
        "blockTradeId": "", "closedSize": "", "seq": fill.trade_id,
    }  # fmt: skip


def coin_json(asset: str, free: int, locked: int) -> Json:
    """Return one coin of a wallet."""
    total = plain(free + locked)
    return {
        "coin": asset, "equity": total, "usdValue": "0", "walletBalance": total,
        "locked": plain(locked), "free": "", "spotHedgingQty": "0", "borrowAmount": "0",
        "availableToWithdraw": "", "accruedInterest": "0", "totalOrderIM": "0",
        "totalPositionIM": "0", "totalPositionMM": "0", "unrealisedPnl": "0",
        "cumRealisedPnl": "0", "bonus": "0", "collateralSwitch": True, "marginCollateral": True,
    }  # fmt: skip


def wallet_json(balances: dict[str, tuple[int, int]]) -> Json:
    """Return a unified account."""
    zero = ("totalEquity", "totalWalletBalance", "totalMarginBalance", "totalAvailableBalance",
            "totalPerpUPL", "totalInitialMargin", "totalMaintenanceMargin")  # fmt: skip
    coins = [coin_json(asset, free, locked) for asset, (free, locked) in balances.items()]
    return dict.fromkeys(zero, "0") | {
        "accountType": "UNIFIED", "accountIMRate": "", "accountMMRate": "", "accountLTV": "",
        "coin": coins,
    }  # fmt: skip


def instrument_json(instrument: Instrument, *, is_halted: bool) -> Json:
    """Return a row of instruments-info."""
    return {
        "symbol": venue_symbol(instrument.symbol), "baseCoin": instrument.base,
        "quoteCoin": instrument.quote, "innovation": "0", "stTag": "0",
        "status": "PreLaunch" if is_halted else "Trading", "marginTrading": "none",
        "lotSizeFilter": {
            "basePrecision": f"{instrument.quantity_lot:f}",
            "quotePrecision": f"{instrument.price_tick * instrument.quantity_lot:f}",
            "minOrderQty": f"{instrument.quantity_min:f}",
            "maxOrderQty": f"{instrument.quantity_max:f}",
            "minOrderAmt": f"{instrument.notional_min:f}", "maxOrderAmt": "8000000",
        },
        "priceFilter": {"tickSize": f"{instrument.price_tick:f}"},
        "riskParameters": {"priceLimitRatioX": "0.02", "priceLimitRatioY": "0.02"},
    }  # fmt: skip


def trade_json(trade: Traded, instrument: Instrument) -> Json:
    """Return a row of the `publicTrade` topic; `S` is the taker's side."""
    return {
        "i": str(trade.trade_id), "T": trade.time_ns // NS_PER_MS,
        "p": _price(instrument, trade.price), "v": _size(instrument, trade.quantity),
        "S": "Sell" if trade.buyer_is_maker else "Buy", "s": venue_symbol(trade.symbol),
        "BT": False, "RPI": False,
    }  # fmt: skip


def order_message(event: OrderChanged, instrument: Instrument, now_ms: int) -> Json:
    """Return a message of the `order` topic."""
    row = order_json(event.order, instrument)
    return {"id": str(now_ms), "topic": "order", "creationTime": now_ms, "data": [row]}
