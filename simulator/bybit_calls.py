"""Bybit's account calls, the same for REST and the trading WebSocket: check, act, answer. v5, spot."""

import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

from simulator.bybit_words import (
    ENGINE_ERRORS,
    MAKER_RATE,
    SMP,
    TAKER_RATE,
    ApiError,
    Json,
    exec_id,
    fill_json,
    order_json,
    venue_symbol,
    wallet_json,
)
from simulator.instruments import Instrument, decimal_of, units_of
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, TimeInForce
from simulator.signing import is_hex_of
from simulator.venue import Account, Venue, require

CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,36}")
WINDOW_MS_DEFAULT, WINDOW_MS_MAX, AHEAD_MS_MAX = 5000, 60_000, 1000
PAGE_MAX, PAGE_DEFAULT = 100, 50
STP_MODES = {name: stp for stp, name in SMP.items()}


class Calls:
    """What an account can ask Bybit for. Each answers the envelope's `result`."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.symbols = {venue_symbol(s): i for s, i in venue.engine.instruments.items()}

    def authenticate(self, headers: Any, payload: str) -> Account:
        """Check key, time and signature; `payload` is the query or the body as received."""
        account = self.venue.accounts.get(headers.get("X-BAPI-API-KEY", ""))
        if account is None:
            raise ApiError(10003, "API key is invalid.")
        timestamp = headers.get("X-BAPI-TIMESTAMP", "")
        window = headers.get("X-BAPI-RECV-WINDOW", str(WINDOW_MS_DEFAULT))
        text = f"{timestamp}{account.api_key}{window}{payload}"
        if not is_hex_of(account.api_secret, text, headers.get("X-BAPI-SIGN", "")):
            raise ApiError(10004, "error sign! please check your signature generation algorithm.")
        self.check_time(timestamp, window)
        return account

    def check_time(self, timestamp: str, window: str) -> None:
        """Check that the request is neither early nor past its window."""
        if not (_is_whole(timestamp) and _is_whole(window)):
            raise ApiError(10001, "timestamp or recv_window is invalid")
        now_ms, sent_ms = self.venue.now_ms(), int(timestamp)
        is_in_time = now_ms - min(int(window), WINDOW_MS_MAX) <= sent_ms < now_ms + AHEAD_MS_MAX
        if not is_in_time:
            raise ApiError(
                10002,
                "invalid request, please check your server timestamp or recv_window param. "
                f"req_timestamp[{sent_ms}],server_timestamp[{now_ms}],recv_window[{window}]",
            )

    def run(self, call: Callable[..., Json], account: Account, params: Json, via: str) -> Json:
        """Carry out a call; ApiError is the venue's refusal."""
        if params.get("category", "spot") != "spot":
            raise ApiError(10001, "params error: only spot is here")
        try:
            return call(account, params, via)
        except Refused as refused:
            raise ApiError(*ENGINE_ERRORS[refused.reason]) from refused

    # -- orders

    def create(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/create."""
        order = self.venue.place(account.name, self._wanted(params), via)
        return _named(order)

    def cancel(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/cancel."""
        order = require(self._find(account, params))
        self.venue.cancel(order, "", via)
        return _named(order)

    def amend(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/amend; `qty` counts what is filled already."""
        instrument, order = self.instrument(params), require(self._find(account, params))
        if order.price is None:
            raise Refused("not_open", str(order.order_id))
        lots, price = order.quantity, order.price
        if params.get("qty"):
            lots = self._lots(instrument, _number(params, "qty"))
        if params.get("price"):
            price = self._price(instrument, params)
        self.venue.amend(order, lots, price, via)
        return _named(order)

    def cancel_all(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/cancel-all, of one symbol or of all."""
        symbol = self.instrument(params).symbol if params.get("symbol") else None
        orders = self.venue.engine.open_orders(account.name, symbol)
        for order in orders:
            self.venue.cancel(order, "", via)
        return {"list": [_named(order) for order in orders], "success": "1"}

    # -- queries

    def realtime(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/realtime: one order, open or lately closed, or a page of the open ones."""
        del via
        if params.get("orderId") or params.get("orderLinkId"):
            order = self._find(account, params)
            rows = [] if order is None else [self._row(order)]
            return {"category": "spot", "list": rows, "nextPageCursor": ""}
        symbol = self.instrument(params).symbol if params.get("symbol") else None
        return self._page(self.venue.engine.open_orders(account.name, symbol), params)

    def history(self, account: Account, params: Json, via: str) -> Json:
        """Answer order/history: closed orders, newest first."""
        del via
        symbol = self.instrument(params).symbol if params.get("symbol") else None
        orders = self.venue.engine.orders.values()
        mine = [o for o in orders if o.account == account.name and not o.is_open]
        return self._page([o for o in mine if symbol in {None, o.symbol}], params)

    def executions(self, account: Account, params: Json, via: str) -> Json:
        """Answer execution/list, newest first; pages by cursor."""
        del via
        symbol = self.instrument(params).symbol if params.get("symbol") else None
        begin_ms, end_ms = _whole(params, "startTime", 0), _whole(params, "endTime", 10**15)
        cursor, limit = _whole(params, "cursor", 10**19 - 1), _limit(params)
        wanted, name = str(params.get("orderId") or ""), str(params.get("orderLinkId") or "")
        found = (
            fill
            for fill in reversed(self.venue.engine.fills)
            if fill.account == account.name
            and symbol in {None, fill.symbol}
            and wanted in {"", str(fill.order_id)}
            and name in {"", fill.client_order_id}
            and exec_id(fill) < cursor
            and begin_ms <= fill.time_ns // 1_000_000 <= end_ms
        )
        engine = self.venue.engine
        fills = list(islice(found, limit))
        rows = [
            fill_json(f, engine.orders[f.order_id], engine.instruments[f.symbol]) for f in fills
        ]
        more = str(exec_id(fills[-1])) if len(fills) == limit else ""
        return {"category": "spot", "list": rows, "nextPageCursor": more}

    def wallet(self, account: Account, params: Json, via: str) -> Json:
        """Answer account/wallet-balance."""
        del via
        if params.get("accountType") != "UNIFIED":
            raise ApiError(10001, "accountType only support UNIFIED.")
        balances = self.venue.balances(account.name)
        if params.get("coin"):
            wanted = str(params["coin"]).split(",")
            balances = {a: both for a, both in balances.items() if a in wanted}
        return {"list": [wallet_json(balances)]}

    def info(self, account: Account, params: Json, via: str) -> Json:
        """Answer account/info."""
        del account, params, via
        return {"marginMode": "REGULAR_MARGIN", "updatedTime": "1697078946000",
                "unifiedMarginStatus": 6, "dcpStatus": "OFF", "timeWindow": 10, "smpGroup": 0,
                "isMasterTrader": False, "spotHedgingStatus": "OFF"}  # fmt: skip

    def identity(self, account: Account, params: Json, via: str) -> Json:
        """Answer user/query-api, which names the account."""
        del params, via
        return {"id": "13770661", "note": account.name, "apiKey": account.api_key, "readOnly": 0,
                "secret": "", "permissions": {"Spot": ["SpotTrade"]}, "ips": ["*"], "type": 1,
                "unified": 0, "uta": 1, "userID": account.uid, "inviterID": 0,
                "vipLevel": "No VIP", "isMaster": True, "parentUid": "0"}  # fmt: skip

    def fee_rate(self, account: Account, params: Json, via: str) -> Json:
        """Answer account/fee-rate."""
        del account, via
        wanted = params.get("symbol")
        rows = [
            {"symbol": name, "takerFeeRate": TAKER_RATE, "makerFeeRate": MAKER_RATE}
            for name in self.symbols
            if wanted in {None, "", name}
        ]
        return {"category": "spot", "list": rows}

    # -- parameters

    def instrument(self, params: Json) -> Instrument:
        """Return the instrument that is named."""
        instrument = self.symbols.get(str(params.get("symbol", "")))
        if instrument is None:
            raise ApiError(170121, "Invalid symbol.")
        return instrument

    def _find(self, account: Account, params: Json) -> Order | None:
        symbol = self.instrument(params).symbol
        number, name = str(params.get("orderId") or ""), str(params.get("orderLinkId") or "")
        if not number and not name:
            raise ApiError(10001, "params error: orderId or orderLinkId is required")
        if number and not _is_whole(number):
            return None
        order = self.venue.find(account.name, int(number) if number else None, name)
        return order if order is not None and order.symbol == symbol else None

    def _row(self, order: Order) -> Json:
        return order_json(order, self.venue.engine.instruments[order.symbol])

    def _page(self, orders: list[Order], params: Json) -> Json:
        cursor, limit = _whole(params, "cursor", 10**19 - 1), _limit(params)
        newest_first = sorted(orders, key=lambda order: -order.order_id)
        left = (o for o in newest_first if o.order_id < cursor and self.venue.is_visible(o))
        page = list(islice(left, limit))
        more = str(page[-1].order_id) if len(page) == limit else ""
        rows = [self._row(order) for order in page]
        return {"category": "spot", "list": rows, "nextPageCursor": more}

    def _wanted(self, params: Json) -> NewOrder:
        instrument = self.instrument(params)
        client_id = str(params.get("orderLinkId") or f"_{self.venue.engine.next_order_id}")
        if not CLIENT_ID.fullmatch(client_id):
            raise ApiError(170115, "Invalid orderLinkId.")
        if params.get("side") not in {"Buy", "Sell"}:
            raise ApiError(170117, "Invalid side.")
        if params.get("orderType") not in {"Limit", "Market"}:
            raise ApiError(170116, "Invalid orderType.")
        tif = str(params.get("timeInForce") or "GTC")
        stp = STP_MODES.get(str(params.get("smpType") or "None"))
        if tif not in {"GTC", "IOC", "FOK", "PostOnly"} or stp is None:
            raise ApiError(10001, "params error: timeInForce or smpType")
        side, quantity = Side(params["side"].upper()), _number(params, "qty")
        if params["orderType"] == "Market":
            unit = params.get("marketUnit") or ("quoteCoin" if side is Side.BUY else "baseCoin")
            if unit == "quoteCoin":
                quote = units_of(quantity)
                return NewOrder(instrument.symbol, side, OrderType.MARKET, client_id, 0, None,
                                quote, stp=stp)  # fmt: skip
            lots = self._lots(instrument, quantity)
            return NewOrder(instrument.symbol, side, OrderType.MARKET, client_id, lots, stp=stp)
        kind = OrderType.LIMIT_MAKER if tif == "PostOnly" else OrderType.LIMIT
        lots, price = self._lots(instrument, quantity), self._price(instrument, params)
        if price * lots * instrument.notional_unit < units_of(instrument.notional_min):
            raise ApiError(170140, "Order value exceeded lower limit.")
        force = TimeInForce("GTC" if tif == "PostOnly" else tif)
        return NewOrder(instrument.symbol, side, kind, client_id, lots, price, None, force, stp)

    def _lots(self, instrument: Instrument, quantity: Decimal) -> int:
        if quantity < instrument.quantity_min:
            raise ApiError(170136, "Order quantity exceeded lower limit.")
        lots = instrument.lots(quantity)
        if lots is None:
            raise ApiError(170137, "Order quantity has too many decimals.")
        if quantity > instrument.quantity_max:
            raise ApiError(170124, "Order quantity exceeded upper limit.")
        return lots

    def _price(self, instrument: Instrument, params: Json) -> int:
        ticks = instrument.ticks(_number(params, "price"))
        if ticks is None or ticks <= 0:
            raise ApiError(170134, "Order price has too many decimals.")
        trades = self.venue.tape[instrument.symbol].trades
        if trades and not trades[-1].price <= ticks * 5 <= trades[-1].price * 25:
            raise ApiError(170193, "The order price is out of the allowed range.")
        return ticks


def _named(order: Order) -> Json:
    name = order.client_order_id
    return {"orderId": str(order.order_id), "orderLinkId": "" if name.startswith("_") else name}


def _is_whole(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _number(params: Json, name: str) -> Decimal:
    value = decimal_of(params.get(name))
    if value is None or value <= 0:
        raise ApiError(10001, f"params error: {name} invalid")
    return value


def _whole(params: Json, name: str, default: int) -> int:
    text = str(params.get(name) or default)
    if not _is_whole(text):
        raise ApiError(10001, f"params error: {name} invalid")
    return int(text)


def _limit(params: Json) -> int:
    return max(1, min(PAGE_MAX, _whole(params, "limit", PAGE_DEFAULT)))
