"""Kraken's account calls, the same for REST and the private WebSocket: check, act, answer."""

import re
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from simulator.instruments import Instrument, decimal_of, plain, units_of
from simulator.kraken_words import (
    ASSETS,
    ENGINE_ERRORS,
    PAIRS,
    ApiError,
    Json,
    describe,
    fill_id,
    fill_json,
    number_of,
    order_id,
    order_json,
    side_of,
)
from simulator.orders import NewOrder, Order, OrderType, Refused, Stp, TimeInForce
from simulator.venue import Account, Venue, require

# A UUID with or without hyphens, or up to 18 characters of free text.
CLIENT_ID = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[ -~]{1,18}")
PAGE = 50
DEADLINE_MS_MIN, DEADLINE_MS_MAX = 500, 60_000
STP_MODES = {
    "cancel-newest": Stp.EXPIRE_TAKER,
    "cancel-oldest": Stp.EXPIRE_MAKER,
    "cancel-both": Stp.EXPIRE_BOTH,
}
INVALID = "EGeneral:Invalid arguments"


class Calls:
    """What an account can ask Kraken for."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.pairs: dict[str, Instrument] = {}  # by every spelling a request may use
        for symbol, instrument in venue.engine.instruments.items():
            for name in {*PAIRS[symbol], PAIRS[symbol].wsname.replace("/", ""), symbol}:
                self.pairs[name] = instrument
        self.table: dict[str, Callable[[Account, Json], Any]] = {
            "AddOrder": lambda account, params: self.place(account, params, "rest"),
            "CancelOrder": lambda account, params: self.cancel(account, params, "rest"),
            "CancelAll": lambda account, params: self.cancel_all(account, params, "rest"),
            "AmendOrder": lambda account, params: self.amend(account, params, "rest"),
            "QueryOrders": self.query_orders,
            "OpenOrders": self.open_orders,
            "ClosedOrders": self.closed_orders,
            "TradesHistory": self.trades_history,
            "QueryTrades": self.query_trades,
            "Balance": self.balance,
            "BalanceEx": self.balance_ex,
            "TradeVolume": self.trade_volume,
        }

    def run(self, act: Callable[[], Any]) -> Any:
        """Carry out an action; the engine's refusals become Kraken's."""
        try:
            return act()
        except Refused as refused:
            raise ApiError(ENGINE_ERRORS[refused.reason]) from None

    # -- actions

    def place(self, account: Account, params: Json, via: str) -> Json:
        """Place an order; `validate` only checks it."""
        wanted = self._wanted(params)
        self.check_deadline(params)
        if str(params.get("validate", "")).lower() == "true":
            return {"descr": {"order": f"{params.get('type')} {params.get('volume')}"}}
        order = self.venue.place(account.name, wanted, via)
        instrument = self.venue.engine.instruments[order.symbol]
        answer: Json = {"descr": {"order": describe(order, instrument)["order"]},
                        "txid": [order_id(order)]}  # fmt: skip
        if params.get("cl_ord_id"):
            answer["cl_ord_id"] = params["cl_ord_id"]
        return answer

    def cancel(self, account: Account, params: Json, via: str) -> Json:
        """Cancel by txid or by cl_ord_id."""
        order = require(self.find(account, params))
        self.venue.cancel(order, "", via)
        return {"count": 1}

    def cancel_all(self, account: Account, params: Json, via: str) -> Json:
        """Cancel all open orders of the account."""
        del params
        mine = self.venue.engine.open_orders(account.name)
        for order in mine:
            self.venue.cancel(order, "", via)
        return {"count": len(mine)}

    def amend(self, account: Account, params: Json, via: str) -> Json:
        """Change quantity, price or both; `order_qty` counts what is filled already."""
        order = require(self.find(account, params))
        instrument = self.venue.engine.instruments[order.symbol]
        if order.price is None:
            raise Refused("not_open", str(order.order_id))
        lots, price = order.quantity, order.price
        if params.get("order_qty") is not None:
            lots = self._lots(instrument, params, "order_qty")
        if params.get("limit_price") is not None:
            price = self._price(instrument, params, "limit_price")
        self.venue.amend(order, lots, price, via)
        return {"amend_id": f"TA{order_id(order)[2:]}", "order_id": order_id(order)}

    # -- queries

    def query_orders(self, account: Account, params: Json) -> Json:
        """Answer orders by their ids; one that is not there is an error."""
        wanted = [name for name in str(params.get("txid", "")).split(",") if name]
        if not wanted or len(wanted) > PAGE:
            raise ApiError(f"{INVALID}:txid")
        found = [self.find(account, {"txid": name}) for name in wanted]
        if None in found:
            raise ApiError("EOrder:Unknown order")
        with_trades = _is_true(params, "trades")
        return {order_id(order): self._order(order, with_trades=with_trades)
                for order in found if order is not None}  # fmt: skip

    def open_orders(self, account: Account, params: Json) -> Json:
        """Answer the open orders of all pairs, newest first."""
        mine = self.venue.engine.open_orders(account.name)
        shown = [o for o in reversed(mine) if self.venue.is_visible(o) and _fits(o, params)]
        return {"open": {order_id(o): self._order(o, with_trades=False) for o in shown}}

    def closed_orders(self, account: Account, params: Json) -> Json:
        """Answer a page of the closed orders, newest first."""
        start, end = _bounds(params)
        mine = [
            order
            for order in reversed(self.venue.engine.orders.values())
            if order.account == account.name
            and not order.is_open
            and start <= order.created_ns <= end
            and self.venue.is_visible(order)
            and _fits(order, params)
        ]
        page = mine[_offset(params) :][:PAGE]
        rows = {order_id(o): self._order(o, with_trades=_is_true(params, "trades")) for o in page}
        return {"closed": rows, "count": len(mine)}

    def trades_history(self, account: Account, params: Json) -> Json:
        """Answer a page of the fills of all pairs, newest first."""
        start, end = _bounds(params)
        engine = self.venue.engine
        mine = [
            fill
            for fill in reversed(engine.fills)
            if fill.account == account.name and start <= fill.time_ns <= end
        ]
        page = islice(mine, _offset(params), _offset(params) + PAGE)
        return {"trades": {fill_id(fill): self._fill(fill) for fill in page}, "count": len(mine)}

    def query_trades(self, account: Account, params: Json) -> Json:
        """Answer fills by their ids."""
        wanted = str(params.get("txid", "")).split(",")
        mine = {fill_id(f): f for f in self.venue.engine.fills if f.account == account.name}
        if len(wanted) > PAGE or not set(wanted) <= set(mine):
            raise ApiError("EQuery:Unknown trade")
        return {name: self._fill(mine[name]) for name in wanted}

    def balance(self, account: Account, params: Json) -> Json:
        """Answer the totals."""
        del params
        both = self.venue.balances(account.name)
        return {ASSETS[asset]: plain(free + locked) for asset, (free, locked) in both.items()}

    def balance_ex(self, account: Account, params: Json) -> Json:
        """Answer the totals and what orders hold."""
        del params
        return {
            ASSETS[asset]: {"balance": plain(free + locked), "hold_trade": plain(locked)}
            for asset, (free, locked) in self.venue.balances(account.name).items()
        }

    def trade_volume(self, account: Account, params: Json) -> Json:
        """Answer the account's fee rates of the pairs asked for, in per cent."""
        del account
        wanted = [self.instrument(name) for name in str(params.get("pair", "")).split(",") if name]
        rates = self.venue.engine.fees

        def tier(bps: int) -> Json:
            fee = f"{Decimal(bps) / 100:.4f}"
            return {"fee": fee, "minfee": "0.0000", "maxfee": fee, "nextfee": None,
                    "tiervolume": "0.0000", "nextvolume": None}  # fmt: skip

        keys = [PAIRS[instrument.symbol].key for instrument in wanted]
        return {"currency": "ZUSD", "volume": "0.0000",
                "fees": {key: tier(rates.taker_bps) for key in keys},
                "fees_maker": {key: tier(rates.maker_bps) for key in keys}}  # fmt: skip

    # -- parameters

    def instrument(self, name: object) -> Instrument:
        """Return the instrument of a pair by any of its spellings."""
        instrument = self.pairs.get(str(name))
        if instrument is None:
            raise ApiError("EQuery:Unknown asset pair")
        return instrument

    def find(self, account: Account, params: Json) -> Order | None:
        """Return the account's order by txid, or by cl_ord_id the latest."""
        name, client_id = params.get("txid") or params.get("order_id"), params.get("cl_ord_id")
        if isinstance(name, str) and name:
            number = number_of(name) if name.startswith("O") else None
            return None if number is None else self.venue.find(account.name, number, "")
        if isinstance(client_id, str) and client_id:
            return self.venue.find(account.name, None, client_id)
        raise ApiError(f"{INVALID}:txid")

    def check_deadline(self, params: Json) -> None:
        """Refuse what is later than its `deadline`, as the engine does."""
        text = params.get("deadline")
        if not text:
            return
        try:
            deadline_ms = int(datetime.fromisoformat(str(text)).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise ApiError(f"{INVALID}:deadline") from None
        left_ms = deadline_ms - self.venue.now_ms()
        if left_ms < 0:
            raise ApiError("EService:Deadline elapsed")
        if left_ms > DEADLINE_MS_MAX:
            raise ApiError(f"{INVALID}:deadline")

    def _wanted(self, params: Json) -> NewOrder:
        instrument = self.instrument(params.get("pair"))
        side, flags = side_of(params.get("type")), str(params.get("oflags") or "").split(",")
        if side is None:
            raise ApiError(f"{INVALID}:type")
        if params.get("ordertype") not in {"limit", "market"}:
            raise ApiError(f"{INVALID}:ordertype")
        client_id = str(params.get("cl_ord_id") or "")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise ApiError(f"{INVALID}:cl_ord_id")
        is_market = params["ordertype"] == "market"
        tif = str(params.get("timeinforce") or "GTC").upper()
        stp = STP_MODES.get(str(params.get("stptype") or "cancel-newest"))
        if tif not in TimeInForce.__members__ or stp is None:
            raise ApiError(f"{INVALID}:{'stptype' if stp is None else 'timeinforce'}")
        kind = OrderType.MARKET if is_market else OrderType.LIMIT
        if "post" in flags:
            kind = OrderType.LIMIT_MAKER
            if is_market or tif != "GTC":
                raise ApiError(f"{INVALID}:oflags")
        quote, lots = None, 0
        if "viqc" in flags and is_market:
            quote = units_of(_positive(params, "volume"))
        else:
            lots = self._lots(instrument, params, "volume")
        price = None if is_market else self._price(instrument, params, "price")
        self._check_cost(instrument, lots, price)
        # An order without an id of its own has none: two such are never taken for one.
        own_id = client_id or f"_{self.venue.engine.next_order_id}"
        return NewOrder(instrument.symbol, side, kind, own_id, lots, price, quote,
                        TimeInForce[tif], stp)  # fmt: skip

    def _check_cost(self, instrument: Instrument, lots: int, price: int | None) -> None:
        if price is not None and lots:
            cost = lots * price * instrument.notional_unit
            if cost < units_of(instrument.notional_min):
                raise ApiError("EOrder:Cost minimum not met")

    def _lots(self, instrument: Instrument, params: Json, name: str) -> int:
        size = _positive(params, name)
        if size < instrument.quantity_min:
            raise ApiError("EOrder:Order minimum not met")
        lots = instrument.lots(size)
        if lots is None or size > instrument.quantity_max:
            raise ApiError(f"{INVALID}:{name}")
        return lots

    def _price(self, instrument: Instrument, params: Json, name: str) -> int:
        price = _positive(params, name)
        ticks = instrument.ticks(price)
        if ticks is None:
            raise ApiError("EOrder:Tick size check failed")
        if price > 10_000_000:
            raise ApiError(f"{INVALID}:{name}")
        return ticks

    def _order(self, order: Order, *, with_trades: bool) -> Json:
        engine = self.venue.engine
        fills = engine.fills_by_order.get(order.order_id, []) if with_trades else None
        row = order_json(order, engine.instruments[order.symbol], fills)
        return row | {"cl_ord_id": None} if is_nameless(order) else row

    def _fill(self, fill: Any) -> Json:
        engine = self.venue.engine
        return fill_json(fill, engine.orders[fill.order_id], engine.instruments[fill.symbol])


def is_nameless(order: Order) -> bool:
    """Tell whether the order came without a cl_ord_id and carries one of ours."""
    return order.client_order_id.startswith("_")


def _positive(params: Json, name: str) -> Decimal:
    value = decimal_of(params.get(name))
    if value is None or value <= 0:
        raise ApiError(f"{INVALID}:{name}")
    return value


def _is_true(params: Json, name: str) -> bool:
    return str(params.get(name, "")).lower() == "true"


def _fits(order: Order, params: Json) -> bool:
    return params.get("cl_ord_id") in {None, "", order.client_order_id}


def _offset(params: Json) -> int:
    text = str(params.get("ofs") or "0")
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ApiError(f"{INVALID}:ofs")
    return int(text)


def _bounds(params: Json) -> tuple[int, int]:
    # Seconds, whole or with places; what was at `start` itself is not part of it at the venue.
    bounds = []
    for name, default in (("start", "0"), ("end", "9999999999")):
        value = decimal_of(params.get(name) or default)
        if value is None or value < 0:
            raise ApiError(f"{INVALID}:{name}")
        bounds.append(int(value * 10**9))
    return bounds[0], bounds[1]
