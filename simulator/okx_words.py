"""OKX's words: envelopes, error rows, and the JSON shapes of orders, fills, books and accounts.

Shapes from the venue's v5 documentation and recorded examples. Order errors are HTTP 200 with
code "1" and an `sCode` in the row; everything else is a code of its own. No I/O.
"""

import zlib
from typing import Any

from simulator.clock import NS_PER_MS
from simulator.instruments import Instrument, plain
from simulator.orders import Fill, Order, OrderChanged, Status, Traded
from simulator.reply import HANG_UP, Reply

Json = dict[str, Any]
Levels = list[list[str]]
CHECKSUM_LEVELS = 25
STATES = {
    Status.NEW: "live",
    Status.PARTIALLY_FILLED: "partially_filled",
    Status.FILLED: "filled",
    Status.CANCELED: "canceled",
    Status.EXPIRED: "canceled",
    Status.EXPIRED_IN_MATCH: "canceled",
}
NO_SUCH_ORDER = "Cancellation failed as the order has been filled, canceled or does not exist."
ENGINE_ERRORS = {
    "insufficient_balance": ("51008", "Order failed. Your available balance is insufficient."),
    "duplicate_client_id": ("51016", "Client order ID already exists."),
    "halted": ("51023", "Trading of this instrument is suspended."),
    "too_many_orders": ("51022", "Maximum number of open orders exceeded."),
    "not_open": ("51400", NO_SUCH_ORDER),
    "unknown_order": ("51400", NO_SUCH_ORDER),
    "quantity_below_filled": ("51506", "Order modification failed: size below filled size."),
}  # fmt: skip
AMEND_ERRORS = {
    "not_open": ("51503", "Order modification failed as the order does not exist."),
    "unknown_order": ("51503", "Order modification failed as the order does not exist."),
}


class RowError(Exception):
    """Refused in one row of an answer: HTTP 200, sCode."""

    def __init__(self, code: str, msg: str) -> None:
        super().__init__(msg)
        self.code = code
        self.msg = msg


class ApiError(Exception):
    """Refused as a whole."""

    def __init__(self, code: str, msg: str, status: int = 200) -> None:
        super().__init__(msg)
        self.reply = error(code, msg, status)


def error(code: str, msg: str, status: int = 200, headers: dict[str, str] | None = None) -> Reply:
    """Return an error answer."""
    return Reply(status, {"code": code, "msg": msg, "data": []}, headers or {})


def fault_error(name: str, params: dict[str, int]) -> Reply:
    """Return what OKX says for a fault of this name."""
    retry = {"Retry-After": str(params.get("retry_after_s", 1))}
    match name:
        case "rate_limit_429":
            return error("50011", "Too Many Requests", 429, retry)
        case "ban_418":
            # OKX has no 418; it bans by 403 at its edge. The fault's name is kept.
            return error("50011", "Too Many Requests", 418, retry)
        case "auth_revoked":
            return error("50111", "Invalid OK-ACCESS-KEY", 401)
        case "maintenance":
            return error("50001", "Service temporarily unavailable. Try again later", 503)
        case "error_5xx":
            return error("50004", "API endpoint request timeout (does not mean that the request "
                         "was successful or failed, please check the request result)",
                         params.get("status", 503))  # fmt: skip
    return HANG_UP


def inst_id(symbol: str) -> str:
    """BTC/USDT -> BTC-USDT."""
    return symbol.replace("/", "-")


def inst_id_code(symbol: str) -> int:
    """Return the number WebSocket orders may name an instrument by: any fixed number will do."""
    return zlib.crc32(symbol.encode()) % 1_000_000


def ms_text(ns: int) -> str:
    """Return milliseconds as the text OKX sends."""
    return str(ns // NS_PER_MS)


def level(instrument: Instrument, price: int, lots: int, count: int) -> list[str]:
    """Return one book level: price, size, "0", number of orders."""
    price_text = plain(price * instrument.tick_units)
    return [price_text, plain(lots * instrument.lot_units), "0", str(count)]


def checksum(bids: Levels, asks: Levels) -> int:
    """Return the CRC32 OKX defines: bid:ask pairs of the best 25, as a signed integer."""
    parts: list[str] = []
    for i in range(CHECKSUM_LEVELS):
        if i < len(bids):
            parts += bids[i][:2]
        if i < len(asks):
            parts += asks[i][:2]
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def _average(order: Order, instrument: Instrument) -> str:
    if not order.filled:
        return ""
    # ticks x 10^4, so that an average between ticks is told to four more places
    scaled = order.quote_filled * 10_000 // (order.filled * instrument.notional_unit)
    return plain(scaled * instrument.tick_units // 10_000)


# 1 by the user, 13 FOK or IOC, 31 post-only would take, 32 self trade
def _cancel_source(order: Order) -> str:
    if order.status is Status.CANCELED:
        return "1"
    if order.status is Status.EXPIRED:
        return "31" if order.tag.startswith("post_only") else "13"
    return "32" if order.status is Status.EXPIRED_IN_MATCH else ""


def order_json(order: Order, instrument: Instrument, fill: Fill | None) -> Json:
    """Return the order as queries and the `orders` channel give it; `fill` is its latest."""
    kind, target = order.tag.split(":")
    size = plain(order.quantity * instrument.lot_units)
    if target == "quote_ccy":
        size = plain(order.quote_quantity or 0)
    fee_asset, fee = next(iter(order.fees.items()), ("", 0))
    stp = {"EXPIRE_TAKER": "cancel_taker", "EXPIRE_BOTH": "cancel_both"}
    return {
        "instType": "SPOT", "instId": inst_id(order.symbol), "ccy": "",
        "ordId": str(order.order_id), "clOrdId": order.client_order_id, "tag": "",
        "px": "" if order.price is None else plain(order.price * instrument.tick_units),
        "sz": size, "pnl": "0", "ordType": kind, "side": order.side.value.lower(),
        "posSide": "net", "tdMode": "cash",
        "accFillSz": plain(order.filled * instrument.lot_units),
        "fillPx": "" if fill is None else plain(fill.price * instrument.tick_units),
        "tradeId": "" if fill is None else str(fill.trade_id),
        "fillSz": "0" if fill is None else plain(fill.quantity * instrument.lot_units),
        "fillTime": "" if fill is None else ms_text(fill.time_ns),
        "avgPx": _average(order, instrument), "state": STATES[order.status], "lever": "",
        "feeCcy": fee_asset, "fee": plain(-fee), "rebateCcy": "", "rebate": "0",
        "source": "", "category": "normal", "reduceOnly": "false", "stpId": "",
        "stpMode": stp.get(order.stp.value, "cancel_maker"), "tgtCcy": target,
        "cancelSource": _cancel_source(order), "cancelSourceReason": "", "algoId": "",
        "algoClOrdId": "", "attachAlgoClOrdId": "", "attachAlgoOrds": [],
        "linkedAlgoOrd": {"algoId": ""}, "isTpLimit": "false", "quickMgnType": "",
        "slOrdPx": "", "slTriggerPx": "", "slTriggerPxType": "", "tpOrdPx": "",
        "tpTriggerPx": "", "tpTriggerPxType": "", "pxType": "", "pxUsd": "", "pxVol": "",
        "cTime": ms_text(order.created_ns), "uTime": ms_text(order.updated_ns),
    }  # fmt: skip


def order_event(event: OrderChanged, instrument: Instrument) -> Json:
    """Return a row of the `orders` channel."""
    fill = event.fill
    row = order_json(event.order, instrument, fill)
    fee = "0" if fill is None else plain(-fill.fee)
    taker_or_maker = "" if fill is None else ("M" if fill.is_maker else "T")
    is_amended = event.what == "REPLACED"
    return row | {
        "fillFee": fee, "fillFeeCcy": "" if fill is None else fill.fee_asset,
        "execType": taker_or_maker, "fillPnl": "0", "fillNotionalUsd": "", "notionalUsd": "",
        "reqId": "", "amendResult": "0" if is_amended else "",
        "amendSource": "1" if is_amended else "", "code": "0", "msg": "",
        "lastPx": row["fillPx"], "fillFwdPx": "", "fillMarkPx": "", "fillMarkVol": "",
        "fillPxUsd": "", "fillPxVol": "",
    }  # fmt: skip


def bill_id(fill: Fill) -> int:
    """Return the id of the fill's own side; the two sides of a trade share a trade id."""
    return fill.trade_id * 2 + (not fill.is_maker)


def fill_json(fill: Fill, instrument: Instrument) -> Json:
    """Return a row of fills and fills-history."""
    return {
        "instType": "SPOT", "instId": inst_id(fill.symbol), "tradeId": str(fill.trade_id),
        "ordId": str(fill.order_id), "clOrdId": fill.client_order_id,
        "billId": str(bill_id(fill)), "subType": "1", "tag": "",
        "fillPx": plain(fill.price * instrument.tick_units),
        "fillSz": plain(fill.quantity * instrument.lot_units),
        "fillIdxPx": "", "fillPnl": "0", "fillPxVol": "", "fillPxUsd": "", "fillMarkVol": "",
        "fillFwdPx": "", "fillMarkPx": "", "side": fill.side.value.lower(), "posSide": "net",
        "execType": "M" if fill.is_maker else "T", "feeCcy": fill.fee_asset,
        "fee": plain(-fill.fee), "feeRate": "", "ts": ms_text(fill.time_ns),
        "fillTime": ms_text(fill.time_ns),
    }  # fmt: skip


def trade_json(trade: Traded, instrument: Instrument) -> Json:
    """Return a public print."""
    return {
        "instId": inst_id(trade.symbol), "tradeId": str(trade.trade_id),
        "px": plain(trade.price * instrument.tick_units),
        "sz": plain(trade.quantity * instrument.lot_units),
        "side": "sell" if trade.buyer_is_maker else "buy", "ts": ms_text(trade.time_ns),
        "count": "1",
    }  # fmt: skip


def instrument_json(instrument: Instrument, *, is_halted: bool) -> Json:
    """Return a row of public/instruments."""
    empty = ("alias", "ctMult", "ctType", "ctVal", "ctValCcy", "expTime", "instFamily", "optType",
             "settleCcy", "stk", "uly", "lever", "ruleType", "auctionEndTime")  # fmt: skip
    big = plain(9_999_999_999 * 10**12)
    return dict.fromkeys(empty, "") | {
        "instType": "SPOT", "instId": inst_id(instrument.symbol), "category": "1",
        "instIdCode": inst_id_code(instrument.symbol),
        "baseCcy": instrument.base, "quoteCcy": instrument.quote, "listTime": "1606468572000",
        "tickSz": f"{instrument.price_tick:f}", "lotSz": f"{instrument.quantity_lot:f}",
        "minSz": f"{instrument.quantity_min:f}", "maxLmtSz": f"{instrument.quantity_max:f}",
        "maxMktSz": f"{instrument.quantity_max:f}", "maxLmtAmt": "20000000",
        "maxMktAmt": "1000000", "maxTwapSz": big, "maxIcebergSz": big, "maxTriggerSz": big,
        "maxStopSz": "", "state": "suspend" if is_halted else "live",
    }  # fmt: skip


def balance_json(balances: dict[str, tuple[int, int]], now_ms: int) -> Json:
    """Return account/balance and the `account` channel's row."""
    zero = ("borrowFroz", "crossLiab", "fixedBal", "interest", "isoEq", "isoLiab", "isoUpl",
            "liab", "maxLoan", "rewardBal", "spotIsoBal", "stgyEq", "twap", "upl",
            "uplLiab")  # fmt: skip
    empty = ("imr", "mgnRatio", "mmr", "notionalLever", "spotInUseAmt", "clSpotInUseAmt",
             "maxSpotInUseAmt")  # fmt: skip
    details = [
        dict.fromkeys(zero, "0") | dict.fromkeys(empty, "") | {
            "ccy": asset, "availBal": plain(free), "availEq": plain(free),
            "cashBal": plain(free + locked), "eq": plain(free + locked), "disEq": "0",
            "eqUsd": "0", "frozenBal": plain(locked), "ordFrozen": plain(locked),
            "uTime": str(now_ms),
        }
        for asset, (free, locked) in balances.items()
    ]  # fmt: skip
    return {"adjEq": "", "borrowFroz": "", "details": details, "imr": "", "isoEq": "0",
            "mgnRatio": "", "mmr": "", "notionalUsd": "", "ordFroz": "", "totalEq": "0",
            "uTime": str(now_ms), "upl": ""}  # fmt: skip
