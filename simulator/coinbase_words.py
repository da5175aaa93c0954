"""Coinbase Advanced's words: names, errors, and the JSON shapes of orders, fills, products, accounts.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api. Every number is text. An order
that is refused is HTTP 200 with `success` false; everything else has a status and an `error`. No I/O.
"""

from datetime import UTC, datetime
from typing import Any

from simulator.clock import NS_PER_S
from simulator.coinbase_ids import ACCOUNTS, ORDERS, TRADES, uuid_of
from simulator.fees import Fees
from simulator.instruments import Instrument, plain
from simulator.orders import Fill, Order, OrderType, Side, Status, TimeInForce, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
STATES = {
    Status.NEW: "OPEN",
    Status.PARTIALLY_FILLED: "OPEN",
    Status.FILLED: "FILLED",
    Status.CANCELED: "CANCELLED",
    Status.EXPIRED: "CANCELLED",
    Status.EXPIRED_IN_MATCH: "CANCELLED",
}
TIMES_IN_FORCE = {
    TimeInForce.GTC: "GOOD_UNTIL_CANCELLED",
    TimeInForce.IOC: "IMMEDIATE_OR_CANCEL",
    TimeInForce.FOK: "FILL_OR_KILL",
}
# The engine's refusals: reason, words, and what a preview would have said.
ORDER_ERRORS = {
    "insufficient_balance": ("INSUFFICIENT_FUND", "Insufficient balance in source account",
                             "PREVIEW_INSUFFICIENT_FUND"),
    "halted": ("ORDER_ENTRY_DISABLED", "Orderbook is in limited mode", ""),
    "too_many_orders": ("INVALID_REQUEST", "Too many open orders", ""),
    "would_take": ("INVALID_LIMIT_PRICE_POST_ONLY", "Post only orders may not match", ""),
}  # fmt: skip
CANCEL_DONE = "UNKNOWN_CANCEL_FAILURE_REASON"  # what a success says, too
NEVER = "0001-01-01T00:00:00Z"


class OrderRefused(Exception):
    """Refused in an answer to an order: HTTP 200 with `success` false."""

    def __init__(self, reason: str, message: str, preview: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.preview = preview

    def payload(self, configuration: Any) -> Json:
        """Return the answer."""
        return {
            "success": False, "failure_reason": "UNKNOWN_FAILURE_REASON", "order_id": "",
            "error_response": {"error": self.reason, "message": str(self), "error_details": "",
                               "preview_failure_reason": self.preview},
            "order_configuration": configuration if isinstance(configuration, dict) else {},
        }  # fmt: skip


class ApiError(Exception):
    """Refused as a whole."""

    def __init__(self, reason: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.reply = error(reason, message, status)


def error(
    reason: str, message: str, status: int = 400, headers: dict[str, str] | None = None
) -> Reply:
    """Return an error answer."""
    payload = {"error": reason, "error_details": message, "message": message}
    return Reply(status, payload, headers or {})


def unauthorized() -> Reply:
    """Return what a token that proves nobody is answered: no word of why."""
    return Reply(401, None, {}, "Unauthorized\n", "text/plain")


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what Coinbase says for a fault of this name."""
    retry = {"Retry-After": str(params.get("retry_after_s", 1))}
    match name:
        case "rate_limit_429":
            return error("rate_limit_exceeded", "Too many requests", 429, retry)
        case "ban_418":
            # Coinbase has no 418; the fault's name is kept.
            return error("resource_exhausted", "Resource has been exhausted", 418, retry)
        case "auth_revoked":
            return unauthorized()
        case "maintenance":
            return error("unavailable", "Service is under maintenance", 503)
        case "error_5xx":
            return error("internal_server_error", "Internal error", params.get("status", 503))
    return HANG_UP


def product_id(symbol: str) -> str:
    """BTC/USDT -> BTC-USDT."""
    return symbol.replace("/", "-")


def order_id(order: Order) -> str:
    """Return the order's id."""
    return uuid_of(ORDERS, order.order_id)


def trade_id(fill: Fill) -> str:
    """Return the id of the fill's own side; the two sides of a trade share a number."""
    return uuid_of(TRADES, fill.trade_id * 2 + (not fill.is_maker))


def timestamp(ns: int) -> str:
    """Return a time with nine places."""
    whole, rest = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(whole, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:09d}Z"


def price_text(instrument: Instrument, ticks: int) -> str:
    """Return a price."""
    return plain(ticks * instrument.tick_units)


def size_text(instrument: Instrument, lots: int) -> str:
    """Return a quantity."""
    return plain(lots * instrument.lot_units)


def rate(bps: int) -> str:
    """Return a fee rate as a fraction."""
    return f"{bps // 10_000}.{bps % 10_000:04d}"


def product_json(instrument: Instrument, last: int, *, is_halted: bool) -> Json:
    """Return one product."""
    name = product_id(instrument.symbol)
    return {
        "product_id": name, "price": price_text(instrument, last),
        "price_percentage_change_24h": "0", "volume_24h": "0",
        "volume_percentage_change_24h": "0",
        "base_increment": f"{instrument.quantity_lot:f}",
        "quote_increment": f"{instrument.price_tick:f}",
        "price_increment": f"{instrument.price_tick:f}",
        "quote_min_size": f"{instrument.notional_min:f}", "quote_max_size": "150000000",
        "base_min_size": f"{instrument.quantity_min:f}",
        "base_max_size": f"{instrument.quantity_max:f}",
        "base_name": instrument.base, "quote_name": instrument.quote, "watched": False,
        "is_disabled": False, "new": False, "status": "online", "cancel_only": False,
        "limit_only": False, "post_only": False, "trading_disabled": is_halted,
        "auction_mode": False, "product_type": "SPOT", "quote_currency_id": instrument.quote,
        "base_currency_id": instrument.base, "fcm_trading_session_details": None,
        "mid_market_price": "", "alias": "", "alias_to": [],
        "base_display_symbol": instrument.base, "quote_display_symbol": instrument.quote,
        "view_only": False, "display_name": name, "product_venue": "CBE",
        "approximate_quote_24h_volume": "0", "new_at": "2023-01-01T00:00:00Z",
    }  # fmt: skip


def summary_json(fees: Fees) -> Json:
    """Return the account's fee tier."""
    return {
        "total_volume": 0, "total_fees": 0, "margin_rate": None, "goods_and_services_tax": None,
        "fee_tier": {"pricing_tier": "", "usd_from": "", "usd_to": "",
                     "taker_fee_rate": rate(fees.taker_bps), "maker_fee_rate": rate(fees.maker_bps),
                     "aop_from": "", "aop_to": ""},
    }  # fmt: skip


def configuration(order: Order, instrument: Instrument) -> Json:
    """Return the order's terms as they were given."""
    size = {"base_size": size_text(instrument, order.quantity)}
    if order.quote_quantity is not None:
        size = {"quote_size": plain(order.quote_quantity)}
    if order.price is None:
        return {"market_market_ioc": size}
    limit: Json = {**size, "limit_price": price_text(instrument, order.price)}
    if order.time_in_force is TimeInForce.IOC:
        return {"sor_limit_ioc": limit}
    if order.time_in_force is TimeInForce.FOK:
        return {"limit_limit_fok": limit}
    return {"limit_limit_gtc": {**limit, "post_only": order.order_type is OrderType.LIMIT_MAKER}}


def _average(order: Order, instrument: Instrument) -> str:
    if not order.filled:
        return "0"
    # ticks x 10^4, so that an average between ticks is told to four more places
    scaled = order.quote_filled * 10_000 // (order.filled * instrument.notional_unit)
    return plain(scaled * instrument.tick_units // 10_000)


def _after_fees(order: Order) -> str:
    fee = sum(order.fees.values())
    return plain(order.quote_filled + (fee if order.side is Side.BUY else -fee))


def _kind(order: Order) -> str:
    return "MARKET" if order.price is None else "LIMIT"


def _done_percent(order: Order) -> str:
    return str(order.filled * 100 // order.quantity) if order.quantity else "0"


def order_json(order: Order, instrument: Instrument, last: Fill | None, fills: int) -> Json:
    """Return an order as queries give it; `last` is its latest fill."""
    return {
        "order_id": order_id(order), "product_id": product_id(order.symbol),
        "user_id": uuid_of(ACCOUNTS, 1), "order_configuration": configuration(order, instrument),
        "side": order.side.value, "client_order_id": order.client_order_id,
        "status": STATES[order.status], "time_in_force": TIMES_IN_FORCE[order.time_in_force],
        "created_time": timestamp(order.created_ns), "completion_percentage": _done_percent(order),
        "filled_size": size_text(instrument, order.filled),
        "average_filled_price": _average(order, instrument), "fee": "",
        "number_of_fills": str(fills), "filled_value": plain(order.quote_filled),
        "pending_cancel": False, "size_in_quote": order.quote_quantity is not None,
        "total_fees": plain(sum(order.fees.values())), "size_inclusive_of_fees": False,
        "total_value_after_fees": _after_fees(order), "trigger_status": "INVALID_ORDER_TYPE",
        "order_type": _kind(order), "reject_reason": "REJECT_REASON_UNSPECIFIED",
        "settled": not order.is_open, "product_type": "SPOT", "reject_message": "",
        "cancel_message": "User requested cancel" if order.status is Status.CANCELED else "",
        "order_placement_source": "RETAIL_ADVANCED", "outstanding_hold_amount": plain(order.reserved),
        "is_liquidation": False, "edit_history": [], "leverage": "",
        "margin_type": "UNKNOWN_MARGIN_TYPE",
        "last_fill_time": None if last is None else timestamp(last.time_ns),
    }  # fmt: skip


def order_event(order: Order, instrument: Instrument, fills: int) -> Json:
    """Return an order as the `user` channel tells it: all that was filled, not what is new."""
    reason = {Status.CANCELED: "User requested cancel", Status.EXPIRED: "Not filled in time",
              Status.EXPIRED_IN_MATCH: "Self trade prevention"}  # fmt: skip
    kind = "Market" if order.price is None else "Limit"
    return {
        "avg_price": _average(order, instrument), "cancel_reason": reason.get(order.status, ""),
        "client_order_id": order.client_order_id, "completion_percentage": _done_percent(order),
        "contract_expiry_type": "UNKNOWN_CONTRACT_EXPIRY_TYPE",
        "cumulative_quantity": size_text(instrument, order.filled),
        "filled_value": plain(order.quote_filled),
        "leaves_quantity": size_text(instrument, order.leaves),
        "limit_price": "0" if order.price is None else price_text(instrument, order.price),
        "number_of_fills": str(fills), "order_id": order_id(order),
        "order_side": order.side.value, "order_type": kind,
        "outstanding_hold_amount": plain(order.reserved),
        "post_only": str(order.order_type is OrderType.LIMIT_MAKER).lower(),
        "product_id": product_id(order.symbol), "product_type": "SPOT", "reject_reason": "",
        "retail_portfolio_id": "", "risk_managed_by": "UNKNOWN_RISK_MANAGEMENT_TYPE",
        "status": STATES[order.status], "stop_price": "",
        "time_in_force": TIMES_IN_FORCE[order.time_in_force],
        "total_fees": plain(sum(order.fees.values())),
        "total_value_after_fees": _after_fees(order), "trigger_status": "INVALID_ORDER_TYPE",
        "creation_time": timestamp(order.created_ns), "end_time": NEVER, "start_time": NEVER,
    }  # fmt: skip


def fill_json(fill: Fill, instrument: Instrument) -> Json:
    """Return a fill; its commission is in the quote, and no client id is told."""
    return {
        "entry_id": trade_id(fill), "trade_id": trade_id(fill),
        "order_id": uuid_of(ORDERS, fill.order_id), "trade_time": timestamp(fill.time_ns),
        "trade_type": "FILL", "price": price_text(instrument, fill.price),
        "size": size_text(instrument, fill.quantity), "commission": plain(fill.fee),
        "product_id": product_id(fill.symbol), "sequence_timestamp": timestamp(fill.time_ns),
        "liquidity_indicator": "MAKER" if fill.is_maker else "TAKER", "size_in_quote": False,
        "user_id": uuid_of(ACCOUNTS, 1), "side": fill.side.value,
        "retail_portfolio_id": "", "fillSource": "FILL_SOURCE_CLOB",
    }  # fmt: skip


def trade_json(trade: Traded, instrument: Instrument) -> Json:
    """Return a public trade; `side` is the MAKER's."""
    return {
        "trade_id": str(trade.trade_id), "product_id": product_id(trade.symbol),
        "price": price_text(instrument, trade.price), "size": size_text(instrument, trade.quantity),
        "side": "BUY" if trade.buyer_is_maker else "SELL", "time": timestamp(trade.time_ns),
    }  # fmt: skip


def account_json(asset: str, number: int, free: int, locked: int, portfolio: str) -> Json:
    """Return one asset's account."""
    return {
        "uuid": uuid_of(ACCOUNTS, number), "name": f"{asset} Wallet", "currency": asset,
        "available_balance": {"value": plain(free), "currency": asset}, "default": True,
        "active": True, "created_at": NEVER, "updated_at": NEVER, "deleted_at": None,
        "type": "ACCOUNT_TYPE_CRYPTO", "ready": True,
        "hold": {"value": plain(locked), "currency": asset}, "retail_portfolio_id": portfolio,
        "platform": "ACCOUNT_PLATFORM_CONSUMER",
    }  # fmt: skip
