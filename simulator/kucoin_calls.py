"""KuCoin's account calls: who asks, what is wrong with it, what the engine says. Spot, high frequency."""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

from simulator.dead_man import Timers
from simulator.instruments import Instrument, decimal_of, units_of
from simulator.kucoin_words import (
    ENGINE_ERRORS,
    MAKER_RATE,
    TAKER_RATE,
    TYPES,
    ApiError,
    Json,
    account_json,
    fill_id,
    fill_json,
    number_of,
    order_id,
    order_json,
    venue_symbol,
)
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, Stp, TimeInForce
from simulator.signing import is_base64_of
from simulator.venue import Account, Venue, require

CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_]{1,40}")
TIMESTAMP_MS_MAX = 5000
PAGE_MAX = 100
STP_MODES = {"": Stp.NONE, "CO": Stp.EXPIRE_MAKER, "CN": Stp.EXPIRE_TAKER, "CB": Stp.EXPIRE_BOTH}
DEAD_MAN_S_MIN, DEAD_MAN_S_MAX = 5, 86_400


class Calls:
    """What an account can ask KuCoin for. Each answers the envelope's `data`."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.timers = Timers(venue)
        self.symbols = {venue_symbol(s): i for s, i in venue.engine.instruments.items()}

    def authenticate(
        self, headers: Any, method: str, target: str, body: str, now_ms: int
    ) -> Account:
        """Check key, time, passphrase and signature; `target` is the path with its query."""
        names = ("KC-API-KEY", "KC-API-SIGN", "KC-API-TIMESTAMP", "KC-API-PASSPHRASE")
        if not all(headers.get(name) for name in names):
            raise ApiError("400001", "Please check the header of your request for KC-API-KEY, "
                           "KC-API-SIGN, KC-API-TIMESTAMP, KC-API-PASSPHRASE", 401)  # fmt: skip
        account = self.venue.accounts.get(headers["KC-API-KEY"])
        if account is None:
            raise ApiError("400003", "KC-API-KEY not exists", 401)
        timestamp = headers["KC-API-TIMESTAMP"]
        is_number = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 16
        if not is_number or abs(now_ms - int(timestamp)) > TIMESTAMP_MS_MAX:
            raise ApiError("400002", "KC-API-TIMESTAMP Invalid", 400)
        passphrase = headers["KC-API-PASSPHRASE"]
        if not is_base64_of(account.api_secret, account.passphrase, passphrase):
            raise ApiError("400004", "KC-API-PASSPHRASE error", 401)
        text = timestamp + method + target + body
        if not is_base64_of(account.api_secret, text, headers["KC-API-SIGN"]):
            raise ApiError("400005", "Invalid KC-API-SIGN", 401)
        return account

    def run(self, call: Callable[[Account, Json], Any], account: Account, params: Json) -> Any:
        """Carry out a call; ApiError is the venue's refusal."""
        try:
            return call(account, params)
        except Refused as refused:
            code, msg = ENGINE_ERRORS[refused.reason]
            raise ApiError(code, msg) from refused

    # -- orders

    def place(self, account: Account, params: Json) -> Json:
        """Answer POST hf/orders."""
        order = self.venue.place(account.name, self._wanted(params), "rest")
        return {"orderId": order_id(order.order_id), "clientOid": order.client_order_id}

    def cancel_by_id(self, account: Account, params: Json) -> Json:
        """Answer DELETE hf/orders/{orderId}."""
        order = require(self._find(account, params))
        self.venue.cancel(order, "", "rest")
        return {"orderId": order_id(order.order_id)}

    def cancel_by_client_id(self, account: Account, params: Json) -> Json:
        """Answer DELETE hf/orders/client-order/{clientOid}."""
        order = require(self._find(account, params))
        self.venue.cancel(order, "", "rest")
        return {"clientOid": order.client_order_id}

    def cancel_all(self, account: Account, params: Json) -> str:
        """Answer DELETE hf/orders of one symbol."""
        instrument = self.instrument(params)
        for order in self.venue.engine.open_orders(account.name, instrument.symbol):
            self.venue.cancel(order, "", "rest")
        return "success"

    def alter(self, account: Account, params: Json) -> Json:
        """Answer POST hf/orders/alter. Not the venue's: the order keeps its id."""
        instrument, order = self.instrument(params), require(self._find(account, params))
        if order.price is None:
            raise Refused("not_open", str(order.order_id))
        lots, price = order.quantity, order.price
        if params.get("newSize"):
            lots = self._lots(instrument, _number(params, "newSize"))
        if params.get("newPrice"):
            price = self._price(instrument, params, "newPrice")
        self.venue.amend(order, lots, price, "rest")
        return {"newOrderId": order_id(order.order_id), "clientOid": order.client_order_id}

    def cancel_after(self, account: Account, params: Json) -> Json:
        """Answer hf/orders/dead-cancel-all: timeout -1 (off) or 5 to 86400 s, some symbols or all."""
        text = str(params.get("timeout"))
        seconds = int(text) if text.lstrip("-").isdigit() and len(text) < 8 else 0
        if seconds != -1 and not DEAD_MAN_S_MIN <= seconds <= DEAD_MAN_S_MAX:
            raise ApiError("400100", "timeout invalid")
        names = [name for name in str(params.get("symbols") or "").split(",") if name]
        if any(name not in self.symbols for name in names):
            raise ApiError("400100", "symbols invalid")
        symbols = tuple(self.symbols[name].symbol for name in names)
        self.timers.set(account.name, max(0, seconds), symbols)
        now_s = self.venue.now_ms() // 1000
        return {"currentTime": now_s, "triggerTime": now_s + seconds if seconds > 0 else 0}

    # -- queries

    def order(self, account: Account, params: Json) -> Json:
        """Answer one order."""
        order = self._find(account, params)
        if order is None:
            raise ApiError("100001", "error.getOrder.orderNotExist")
        return order_json(order, self.venue.engine.instruments[order.symbol])

    def active(self, account: Account, params: Json) -> list[Json]:
        """Answer the open orders of a symbol, newest first."""
        instrument = self.instrument(params)
        orders = self.venue.engine.open_orders(account.name, instrument.symbol)
        return [order_json(o, instrument) for o in reversed(orders) if self.venue.is_visible(o)]

    def done(self, account: Account, params: Json) -> Json:
        """Answer the closed orders of a symbol, newest first; pages by `lastId`."""
        instrument = self.instrument(params)
        begin_ms, end_ms, last, limit = _page(params)
        found = (
            order
            for order in sorted(self.venue.engine.orders.values(), key=lambda o: -o.order_id)
            if order.account == account.name
            and order.symbol == instrument.symbol
            and not order.is_open
            and order.order_id < last
            and begin_ms <= order.created_ns // 1_000_000 <= end_ms
            and self.venue.is_visible(order)
        )
        orders = list(islice(found, limit))
        rows = [order_json(order, instrument) for order in orders]
        return {"lastId": orders[-1].order_id if orders else 0, "items": rows}

    def fills(self, account: Account, params: Json) -> Json:
        """Answer the fills of a symbol, newest first; pages by `lastId`."""
        instrument = self.instrument(params)
        begin_ms, end_ms, last, limit = _page(params)
        wanted = str(params.get("orderId") or "")
        found = (
            fill
            for fill in reversed(self.venue.engine.fills)
            if fill.account == account.name
            and fill.symbol == instrument.symbol
            and fill_id(fill) < last
            and wanted in {"", order_id(fill.order_id)}
            and begin_ms <= fill.time_ns // 1_000_000 <= end_ms
        )
        fills = list(islice(found, limit))
        orders = self.venue.engine.orders
        kinds = [TYPES.get(orders[fill.order_id].order_type, "limit") for fill in fills]
        rows = [fill_json(f, instrument, kind) for f, kind in zip(fills, kinds, strict=True)]
        return {"items": rows, "lastId": fill_id(fills[-1]) if fills else 0}

    def accounts(self, account: Account, params: Json) -> list[Json]:
        """Answer the accounts: all money is in the trading account."""
        if params.get("type") not in {None, "", "trade_hf"}:
            return []
        wanted = params.get("currency")
        return [
            account_json(asset, free, locked, account.uid)
            for asset, (free, locked) in self.venue.balances(account.name).items()
            if wanted in {None, "", asset}
        ]

    def api_key(self, account: Account, params: Json) -> Json:
        """Answer user/api-key, which names the account."""
        del params
        return {"remark": account.name, "apiKey": account.api_key, "apiVersion": 2,
                "permission": "General,Spot", "ipWhitelist": "", "createdAt": 1728443843000,
                "uid": account.uid, "isMaster": True}  # fmt: skip

    def fees(self, account: Account, params: Json) -> list[Json]:
        """Answer trade-fees."""
        del account
        return [
            {"symbol": name, "takerFeeRate": TAKER_RATE, "makerFeeRate": MAKER_RATE}
            for name in str(params.get("symbols") or "").split(",")
            if name in self.symbols
        ]

    # -- parameters

    def instrument(self, params: Json) -> Instrument:
        """Return the instrument that is named."""
        instrument = self.symbols.get(str(params.get("symbol", "")))
        if instrument is None:
            raise ApiError("400100", "symbol not exists")
        return instrument

    def _find(self, account: Account, params: Json) -> Order | None:
        instrument = self.instrument(params)
        if params.get("orderId"):
            number = number_of(str(params["orderId"]))
            order = None if number is None else self.venue.find(account.name, number, "")
        else:
            order = self.venue.find(account.name, None, str(params.get("clientOid") or ""))
        return order if order is not None and order.symbol == instrument.symbol else None

    def _wanted(self, params: Json) -> NewOrder:
        instrument = self.instrument(params)
        client_id = str(params.get("clientOid") or f"{self.venue.engine.next_order_id:032x}")
        if not CLIENT_ID.fullmatch(client_id):
            raise ApiError("400100", "clientOid invalid")
        if params.get("side") not in {"buy", "sell"} or params.get("type") not in {
            "limit", "market",
        }:  # fmt: skip
            raise ApiError("400100", "side or type invalid")
        stp = STP_MODES.get(str(params.get("stp") or ""))
        tif = str(params.get("timeInForce") or "GTC")
        if stp is None or tif not in {"GTC", "IOC", "FOK"}:
            raise ApiError("400100", "stp or timeInForce invalid")
        kind, price, quote, lots = OrderType.MARKET, None, None, 0
        if params["type"] == "limit":
            kind = OrderType.LIMIT_MAKER if params.get("postOnly") is True else OrderType.LIMIT
            price = self._price(instrument, params, "price")
        if params.get("funds") and kind is OrderType.MARKET:
            quote = units_of(_number(params, "funds"))
        else:
            lots = self._lots(instrument, _number(params, "size"))
        if kind is OrderType.MARKET:
            tif = "GTC"
        return NewOrder(instrument.symbol, Side(params["side"].upper()), kind, client_id, lots,
                        price, quote, TimeInForce(tif), stp)  # fmt: skip

    def _lots(self, instrument: Instrument, size: Decimal) -> int:
        if size < instrument.quantity_min:
            raise ApiError("400100", "Order size below the minimum requirement.")
        lots = instrument.lots(size)
        if lots is None:
            raise ApiError("400100", "Order size increment invalid.")
        if size > instrument.quantity_max:
            raise ApiError("400100", "Order size exceeds the maximum.")
        return lots

    def _price(self, instrument: Instrument, params: Json, name: str) -> int:
        ticks = instrument.ticks(_number(params, name))
        if ticks is None or ticks <= 0:
            raise ApiError("400100", "Price increment invalid.")
        trades = self.venue.tape[instrument.symbol].trades
        if trades and not trades[-1].price <= ticks * 5 <= trades[-1].price * 25:
            raise ApiError("400100", "The price is not in the given range!")
        return ticks


def params_of(body: str) -> Json:
    """Return a request's JSON object; only plain values count."""
    try:
        parsed = json.loads(body) if body else {}
    except ValueError:
        raise ApiError("400000", "Bad Request: no JSON", 400) from None
    if not isinstance(parsed, dict):
        raise ApiError("400000", "Bad Request: no object", 400)
    return {k: v for k, v in parsed.items() if isinstance(v, str | int | bool)}


def _number(params: Json, name: str) -> Decimal:
    value = decimal_of(params.get(name))
    if value is None or value <= 0:
        raise ApiError("400100", f"{name} invalid")
    return value


def _whole(params: Json, name: str, default: int) -> int:
    text = str(params.get(name) or default)
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError("400100", f"{name} invalid")
    return int(text)


def _page(params: Json) -> tuple[int, int, int, int]:
    begin_ms, end_ms = _whole(params, "startAt", 0), _whole(params, "endAt", 10**15)
    last = _whole(params, "lastId", 10**19 - 1)
    return begin_ms, end_ms, last, max(1, min(PAGE_MAX, _whole(params, "limit", PAGE_MAX)))
