"""Kraken's words: names, errors, the checksum, and the JSON shapes of orders, fills, books, balances.

https://docs.kraken.com/api/docs/rest-api/add-order, .../websocket-v2/executions. REST writes amounts
as text and times as numbers of seconds; the streams write every amount as a JSON number, exactly. All
errors are HTTP 200 with an `error` list. No I/O.
"""

import zlib
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from simulator.clock import NS_PER_S
from simulator.fees import Fees
from simulator.instruments import Instrument, plain
from simulator.orders import Fill, Order, OrderChanged, OrderType, Side, Status, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
# Amounts in the streams are JSON numbers: written from Decimal, so that none passes through a float.
encode = msgspec.json.Encoder(decimal_format="number").encode
CHECKSUM_LEVELS = 10
ID_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Pair(NamedTuple):
    """How Kraken names one pair: its key, its short name, and what the old streams called it."""

    key: str
    altname: str
    wsname: str


PAIRS = {
    "BTC/USDT": Pair("XBTUSDT", "XBTUSDT", "XBT/USDT"),
    "ETH/USDT": Pair("ETHUSDT", "ETHUSDT", "ETH/USDT"),
    "ETH/BTC": Pair("XETHXXBT", "ETHXBT", "ETH/XBT"),
}
ASSETS = {"BTC": "XXBT", "ETH": "XETH", "USDT": "USDT"}
ALTNAMES = {"BTC": "XBT", "ETH": "ETH", "USDT": "USDT"}
STATES = {
    Status.NEW: "open",
    Status.PARTIALLY_FILLED: "open",
    Status.FILLED: "closed",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "canceled",
    Status.EXPIRED_IN_MATCH: "canceled",
}
# How the executions channel calls where an order stands.
STREAM_STATES = {
    Status.NEW: "new",
    Status.PARTIALLY_FILLED: "partially_filled",
    Status.FILLED: "filled",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "canceled",
    Status.EXPIRED_IN_MATCH: "canceled",
}
# Kraken does not document what it says of a cl_ord_id that an open order carries.
ENGINE_ERRORS = {
    "insufficient_balance": "EOrder:Insufficient funds",
    "duplicate_client_id": "EOrder:Duplicate cl_ord_id",
    "halted": "EService:Market in cancel_only mode",
    "too_many_orders": "EOrder:Orders limit exceeded",
    "not_open": "EOrder:Unknown order",
    "unknown_order": "EOrder:Unknown order",
    "quantity_below_filled": "EGeneral:Invalid arguments:order_qty",
}


class ApiError(Exception):
    """Refused: HTTP 200 with this error."""


def error(text: str, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return an error answer."""
    return Reply(status, {"error": [text]}, headers or {})


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what Kraken says for a fault of this name."""
    retry = {"Retry-After": str(params.get("retry_after_s", 1))}
    match name:
        case "rate_limit_429":
            return error("EGeneral:Too many requests", 429, retry)
        case "ban_418":
            # Kraken has no 418; it locks out for some minutes. The fault's name is kept.
            return error("EGeneral:Temporary lockout", 418, retry)
        case "auth_revoked":
            return error("EAPI:Invalid key")
        case "maintenance":
            return error("EService:Unavailable", 503)
        case "error_5xx":
            return error("EGeneral:Internal error", params.get("status", 503))
    return HANG_UP


def txid(letter: str, number: int) -> str:
    """Return an id as Kraken writes them, OQCLML-BW3P3-BUCMWZ, one to one with the number."""
    digits = ""
    for _ in range(16):
        number, digit = divmod(number, len(ID_DIGITS))
        digits = ID_DIGITS[digit] + digits
    return f"{letter}{digits[:5]}-{digits[5:10]}-{digits[10:]}"


def number_of(text: str) -> int | None:
    """Return the number in an id of ours, None for anything else."""
    digits = text[1:].replace("-", "")
    if len(digits) != 16 or not set(digits) <= set(ID_DIGITS):
        return None
    return int(digits, len(ID_DIGITS))


def order_id(order: Order) -> str:
    """Return the order's id."""
    return txid("O", order.order_id)


def fill_id(fill: Fill) -> str:
    """Return the id of the fill's own side; the two sides of a trade share a trade id."""
    return txid("T", fill.trade_id * 2 + (not fill.is_maker))


def seconds(ns: int) -> Decimal:
    """Return a time as REST tells it: seconds with five places."""
    return Decimal(ns // 10_000) / 100_000


def timestamp(ns: int) -> str:
    """Return a time as the streams tell it."""
    whole, rest = divmod(ns, NS_PER_S)
    at = datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{at}.{rest // 1000:06d}Z"


def places(step: Decimal) -> int:
    """Return how many decimals a grid has."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int)
    return max(0, -exponent)


def amount(units: int) -> Decimal:
    """Return units as the exact number the streams write."""
    return Decimal(plain(units))


def price_text(instrument: Instrument, ticks: int) -> str:
    """Return a price with all of the pair's decimals."""
    return f"{ticks * instrument.price_tick:.{places(instrument.price_tick)}f}"


def size_text(instrument: Instrument, lots: int) -> str:
    """Return a quantity with all of the pair's decimals."""
    return f"{lots * instrument.quantity_lot:.{places(instrument.quantity_lot)}f}"


Levels = tuple[tuple[int, int], ...]


def checksum(instrument: Instrument, bids: Levels, asks: Levels) -> int:
    """Return the CRC32 over the ten best asks, then bids: digits without dot and leading zeros."""
    parts = [
        text.replace(".", "").lstrip("0")
        for side in (asks, bids)
        for price, lots in side[:CHECKSUM_LEVELS]
        for text in (price_text(instrument, price), size_text(instrument, lots))
    ]
    return zlib.crc32("".join(parts).encode())


def level(instrument: Instrument, ticks: int, lots: int) -> Json:
    """Return one book level of the stream."""
    return {"price": Decimal(price_text(instrument, ticks)),
            "qty": Decimal(size_text(instrument, lots))}  # fmt: skip


def pair_json(instrument: Instrument, fees: Fees, *, is_halted: bool) -> Json:
    """Return one entry of AssetPairs."""
    pair = PAIRS[instrument.symbol]
    return {
        "altname": pair.altname, "wsname": pair.wsname, "aclass_base": "currency",
        "base": ASSETS[instrument.base], "aclass_quote": "currency",
        "quote": ASSETS[instrument.quote], "lot": "unit", "cost_decimals": 8,
        "pair_decimals": places(instrument.price_tick),
        "lot_decimals": places(instrument.quantity_lot), "lot_multiplier": 1,
        "leverage_buy": [], "leverage_sell": [],
        "fees": [[0, _percent(fees.taker_bps)]], "fees_maker": [[0, _percent(fees.maker_bps)]],
        "fee_volume_currency": "ZUSD", "margin_call": 80, "margin_stop": 40,
        "ordermin": f"{instrument.quantity_min:f}", "costmin": f"{instrument.notional_min:f}",
        "tick_size": f"{instrument.price_tick:f}",
        "status": "cancel_only" if is_halted else "online",
    }  # fmt: skip


def _percent(bps: int) -> Decimal:
    return Decimal(bps) / 100


def _average(order: Order, instrument: Instrument) -> int:
    if not order.filled:
        return 0
    # ticks x 10^4, so that an average between ticks is told to four more places
    scaled = order.quote_filled * 10_000 // (order.filled * instrument.notional_unit)
    return scaled * instrument.tick_units // 10_000


def _kind(order: Order) -> str:
    return "market" if order.order_type is OrderType.MARKET else "limit"


def _flags(order: Order) -> str:
    return "post,fciq" if order.order_type is OrderType.LIMIT_MAKER else "fciq"


def _reason(order: Order) -> str | None:
    if order.status is Status.CANCELED:
        return "User requested"
    if order.status is Status.EXPIRED:
        post_only = order.order_type is OrderType.LIMIT_MAKER
        return "Post only order" if post_only else "Order not filled immediately"
    return "Self trade prevention" if order.status is Status.EXPIRED_IN_MATCH else None


def describe(order: Order, instrument: Instrument) -> Json:
    """Return the `descr` of an order: its pair, its terms, and a sentence."""
    name, side = PAIRS[order.symbol].altname, order.side.value.lower()
    volume, price, at = size_text(instrument, order.quantity), "0", "market"
    if order.price is not None:
        price = price_text(instrument, order.price)
        at = f"limit {price}"
    return {"pair": name, "type": side, "ordertype": _kind(order), "price": price, "price2": "0",
            "leverage": "none", "order": f"{side} {volume} {name} @ {at}", "close": ""}  # fmt: skip


def order_json(order: Order, instrument: Instrument, fills: list[Fill] | None) -> Json:
    """Return an order as REST lists it; its trades are named where `fills` is given."""
    row: Json = {
        "refid": None, "userref": None, "cl_ord_id": order.client_order_id or None,
        "status": STATES[order.status], "reason": _reason(order),
        "opentm": seconds(order.created_ns), "starttm": 0, "expiretm": 0,
        "descr": describe(order, instrument), "vol": size_text(instrument, order.quantity),
        "vol_exec": size_text(instrument, order.filled), "cost": plain(order.quote_filled),
        "fee": plain(sum(order.fees.values())), "price": plain(_average(order, instrument)),
        "stopprice": "0.00000", "limitprice": "0.00000", "misc": "", "oflags": _flags(order),
    }  # fmt: skip
    if not order.is_open:
        row["closetm"] = seconds(order.updated_ns)
    if fills is not None:
        row["trades"] = [fill_id(fill) for fill in fills]
    return row


def fill_json(fill: Fill, order: Order, instrument: Instrument) -> Json:
    """Return a fill as TradesHistory and QueryTrades list it."""
    return {
        "ordertxid": txid("O", fill.order_id), "postxid": "TKH2SE-M7IF5-CFI7LT",
        "pair": PAIRS[fill.symbol].key, "aclass": "forex", "time": seconds(fill.time_ns),
        "type": fill.side.value.lower(), "ordertype": _kind(order),
        "price": price_text(instrument, fill.price), "cost": plain(fill.quote),
        "fee": plain(fill.fee), "vol": size_text(instrument, fill.quantity),
        "margin": "0.00000", "leverage": "0", "misc": "", "trade_id": fill.trade_id,
        "maker": fill.is_maker,
    }  # fmt: skip


def trade_json(trade: Traded, instrument: Instrument) -> Json:
    """Return a public trade of the stream; `side` is the taker's."""
    return {
        "symbol": trade.symbol, "side": "sell" if trade.buyer_is_maker else "buy",
        "price": Decimal(price_text(instrument, trade.price)),
        "qty": Decimal(size_text(instrument, trade.quantity)), "ord_type": "limit",
        "trade_id": trade.trade_id, "timestamp": timestamp(trade.time_ns),
    }  # fmt: skip


def whole_execution(order: Order, instrument: Instrument, exec_type: str) -> Json:
    """Return an order with all of its terms: a first report, and a snapshot's."""
    row: Json = {
        "order_id": order_id(order), "symbol": order.symbol, "side": order.side.value.lower(),
        "order_qty": Decimal(size_text(instrument, order.quantity)),
        "cum_qty": Decimal(size_text(instrument, order.filled)),
        "cum_cost": amount(order.quote_filled), "time_in_force": order.time_in_force.value,
        "exec_type": exec_type, "order_type": _kind(order), "limit_price_type": "static",
        "order_status": "pending_new" if exec_type == "pending_new" else STREAM_STATES[order.status],
        "post_only": order.order_type is OrderType.LIMIT_MAKER, "order_userref": 0,
        "avg_price": amount(_average(order, instrument)), "stop_price": 0,
        "fee_usd_equiv": amount(sum(order.fees.values())), "fee_ccy_pref": "fciq",
        "timestamp": timestamp(order.updated_ns),
    }  # fmt: skip
    if order.price is not None:
        row["limit_price"] = Decimal(price_text(instrument, order.price))
    if order.client_order_id:
        row["cl_ord_id"] = order.client_order_id
    return row


def executions(event: OrderChanged, instrument: Instrument) -> list[Json]:
    """Return the rows of the executions channel for what happened, in order.

    As the venue does it, only a first report carries the order's terms; those that follow name the
    order by its id and say what is new.
    """
    order, fill = event.order, event.fill
    if event.what == "NEW":
        first = whole_execution(order, instrument, "pending_new")
        return [first, _brief(order, "new", "new")]
    if fill is not None:
        rows = [_trade_execution(order, fill, instrument)]
        if order.status is Status.FILLED:
            rows.append(_ended(order, instrument, "filled"))
        return rows
    if event.what == "REPLACED":
        return [whole_execution(order, instrument, "amended")]
    return [_ended(order, instrument, "canceled")]


def _brief(order: Order, exec_type: str, status: str) -> Json:
    return {"timestamp": timestamp(order.updated_ns), "order_status": status,
            "exec_type": exec_type, "order_userref": 0, "order_id": order_id(order)}  # fmt: skip


def _ended(order: Order, instrument: Instrument, what: str) -> Json:
    row = _brief(order, what, what) | {
        "cum_qty": Decimal(size_text(instrument, order.filled)),
        "cum_cost": amount(order.quote_filled), "avg_price": amount(_average(order, instrument)),
        "fee_usd_equiv": amount(sum(order.fees.values())),
    }  # fmt: skip
    reason = _reason(order)
    return row if reason is None else row | {"cancel_reason": reason, "reason": reason}


def _trade_execution(order: Order, fill: Fill, instrument: Instrument) -> Json:
    return {
        "order_id": order_id(order), "exec_id": fill_id(fill), "exec_type": "trade",
        "trade_id": fill.trade_id, "symbol": fill.symbol, "side": fill.side.value.lower(),
        "last_qty": Decimal(size_text(instrument, fill.quantity)),
        "last_price": Decimal(price_text(instrument, fill.price)),
        "liquidity_ind": "m" if fill.is_maker else "t", "cost": amount(fill.quote),
        "order_userref": 0, "order_status": STREAM_STATES[order.status],
        "order_type": _kind(order), "fee_usd_equiv": amount(fill.fee),
        "timestamp": timestamp(fill.time_ns),
        "fees": [{"asset": fill.fee_asset, "qty": amount(fill.fee)}],
    }  # fmt: skip


def side_of(text: object) -> Side | None:
    """Return the side a request names, None for anything else."""
    return {"buy": Side.BUY, "sell": Side.SELL}.get(str(text))
