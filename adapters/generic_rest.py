"""Any venue that ccxt has, the REST half: which of ccxt's unified calls does what, and its answers.

Pure: the calls are made by adapters/ccxt_generic.py, whose answers have every number as text.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import Ack, BadReply, Orders, Page, RestCall
from adapters.generic import PROVEN, fill_report, maybe, ns_of, number, order_report
from engine.messages.market import BookDelta
from engine.messages.port import (
    BalanceReport,
    CancelOrder,
    Instrument,
    OrderReport,
    Source,
    SubmitOrder,
)

MINUTE_MS: Final = 60_000  # the last window ends in the future, so that it is the last one
DAY_MS: Final = 86_400_000
PAGE_FULL: Final = 50  # so many fills in one answer may be all that the venue gives at once
CALLS: Final = {"calls": 1}
TICK_SIZE: Final = 4  # ccxt's ways to tell a precision
DECIMAL_PLACES: Final = 2


class GenericRest:
    """ccxt's unified calls for one account. `symbols` maps ccxt's spelling, which is ours, to ours."""

    def __init__(
        self, venue: str, account: str, symbols: Mapping[str, str], exchange_id: str
    ) -> None:
        self.exchange_id = exchange_id
        self.markets: Mapping[str, Any] = {}  # as last loaded; shared by the workers' clients
        self._venue = venue
        self._account = account
        self._symbols = symbols
        self._class: Any = None

    @property
    def about(self) -> Any:
        """The class's own description of its venue: what it has, how often it may be asked. Imports it."""
        if self._class is None:
            from adapters.ccxt_classes import exchange_class  # noqa: PLC0415  not in the core

            self._class = exchange_class(self.exchange_id)({"enableRateLimit": False})
        return self._class

    def has(self, method: str) -> bool:
        """Tell whether the class has a unified method, emulated counted."""
        return bool(self.about.has.get(method))

    @property
    def scopes(self) -> Mapping[str, tuple[int, float]]:
        """As many calls a second as ccxt itself would make."""
        return {"calls": (max(1, int(1000 / max(1.0, float(self.about.rateLimit)))), 1.0)}

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing that holds for every venue."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """Ask fetchTime; where the class has none, this machine's time stands for the venue's."""
        return _call("fetch_time" if self.has("fetchTime") else "milliseconds")

    def read_server_time(self, reply: Any) -> int:
        """Milliseconds."""
        return int(number(reply))

    def instruments(self) -> RestCall:
        """Ask loadMarkets, anew."""
        return _call("load_markets", reload=True)

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured spot markets, and keep all for the other clients."""
        if not isinstance(reply, Mapping):
            raise BadReply("no markets")
        self.markets = reply
        rows = [reply[s] for s in self._symbols if s in reply and reply[s].get("spot")]
        return [self._instrument(row) for row in rows]

    def _instrument(self, row: Mapping[str, Any]) -> Instrument:
        limits, precision = row["limits"], row["precision"]
        lot = self._step(precision.get("amount"), row)
        return Instrument(
            venue=self._venue,
            symbol=row["symbol"],
            venue_symbol=str(row["id"]),
            base=row["base"],
            quote=row["quote"],
            tick_size=self._step(precision.get("price"), row),
            lot_size=lot,
            quantity_min=maybe(limits["amount"].get("min")) or lot,
            quantity_max=maybe(limits["amount"].get("max")),
            notional_min=maybe(limits["cost"].get("min")) or Decimal(0),
            maker_fee=maybe(row.get("maker")) or Decimal(0),
            taker_fee=maybe(row.get("taker")) or Decimal(0),
            status="HALTED" if row.get("active") is False else "TRADING",
        )

    def _step(self, told: Any, row: Mapping[str, Any]) -> Decimal:
        mode = self.about.precisionMode
        if told is None or mode not in (TICK_SIZE, DECIMAL_PLACES):
            raise BadReply(f"{row['symbol']}: ccxt tells no step of prices or amounts here")
        step = number(told) if mode == TICK_SIZE else Decimal(1).scaleb(-int(number(told)))
        if step <= 0:
            raise BadReply(f"{row['symbol']}: a step of {step}")
        return step.normalize()

    def fees(self, symbol: str) -> RestCall:
        """Ask fetchTradingFee."""
        return _call("fetch_trading_fee", symbol=symbol)

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """Return the instrument with the account's own rates, where they are told."""
        maker, taker = maybe(reply.get("maker")), maybe(reply.get("taker"))
        if maker is None or taker is None:
            return instrument
        return msgspec.structs.replace(instrument, maker_fee=maker, taker_fee=taker)

    def snapshot(self, symbol: str) -> RestCall | None:
        """Nothing: the streams bring whole books."""
        del symbol
        return None

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """Never asked for."""
        del reply
        raise BadReply(f"the stream brings the snapshot of {symbol}")

    def submit(self, order: SubmitOrder) -> RestCall:
        """Place it by createOrder with our id; a MARKET order with a price, its collar, as IOC."""
        proof = PROVEN[self.exchange_id]
        params: dict[str, Any] = {**proof.submit, "clientOrderId": order.client_order_id}
        if order.price is not None:
            tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
            params |= {"postOnly": True} if order.post_only else {"timeInForce": tif}
        call = _call(
            "create_order",
            symbol=order.symbol,
            type="market" if order.price is None else "limit",
            side=order.side.lower(),
            amount=f"{order.quantity:f}",
            price=None if order.price is None else f"{order.price:f}",
            params=params,
        )
        return call._replace(expires=proof.enforces_expiry)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it names our id and one of the venue's."""
        row = reply if isinstance(reply, Mapping) else {}
        if row.get("clientOrderId") != order.client_order_id or not row.get("id"):
            raise BadReply("the answer does not name our order")
        return Ack(str(row["id"]), ns_of(row.get("timestamp")), [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """Ask cancelOrder, by our id where there is one."""
        return _call("cancel_order", **_naming(cancel.symbol, cancel.client_order_id,
                                               cancel.venue_order_id))  # fmt: skip

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Check the acknowledgement; the stream or a query tells the order's state."""
        row = reply if isinstance(reply, Mapping) else {}
        info = row.get("info") or {}
        # Binance gives the cancel an id of its own and ours as the original one.
        names = {row.get("clientOrderId"), info.get("origClientOrderId")} - {None, ""}
        if not row or (names and cancel.client_order_id and cancel.client_order_id not in names):
            raise BadReply("the answer names another order")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """Ask fetchOrder, by our id where there is one."""
        return _call("fetch_order", **_naming(symbol, client_order_id, venue_order_id))

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order."""
        return order_report(reply, self._account, "query")

    def open_orders(self, symbol: str) -> RestCall:
        """Ask fetchOpenOrders of one symbol."""
        return _call("fetch_open_orders", symbol=symbol)

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return them all; BadReply where one of them cannot be read."""
        del call
        return Orders([order_report(row, self._account, source) for row in _list(reply)], None)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """Ask fetchMyTrades, a window of at most a day at a time: no venue gives more in one answer."""
        return _window(symbol, since_ms, min(now_ms + MINUTE_MS, since_ms + DAY_MS - 1))

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """Ask fetchOrderTrades."""
        call = _call("fetch_order_trades", id=venue_order_id, symbol=symbol)
        return call._replace(venue_order_id=venue_order_id)

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page, and the next window; a full answer is asked for again in halves."""
        fills = [fill_report(row, self._account, source) for row in _list(reply)]
        if call.venue_order_id:
            return Page([f for f in fills if f.venue_order_id == call.venue_order_id], None)
        since_ms, until_ms = call.params["since"], call.params["params"]["until"]
        if len(fills) >= PAGE_FULL:
            if until_ms - since_ms < 2:
                raise BadReply("more fills in a moment than the venue gives in one answer")
            return Page(fills, _window(call.symbol, since_ms, (since_ms + until_ms) // 2))
        if until_ms >= now_ms:
            return Page(fills, None)
        return Page(
            fills, _window(call.symbol, until_ms + 1, min(now_ms + MINUTE_MS, until_ms + DAY_MS))
        )

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """Nothing: fills without a client id are looked up by their order."""
        del symbol, since_ms
        return None

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Never asked for."""
        del reply
        return {}

    def account(self) -> RestCall | None:
        """Nothing that holds for every venue: the account is bound by its name only."""
        return None

    def read_account_uid(self, reply: Any) -> str:
        """Never asked for."""
        del reply
        raise BadReply("no account is asked for")

    def balances(self) -> RestCall:
        """Ask fetchBalance."""
        return _call("fetch_balance")

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and used of every asset held; BadReply where a total is not told apart."""
        free, used, total = (reply.get(key) or {} for key in ("free", "used", "total"))
        held = []
        for asset in sorted(total):
            if maybe(total[asset]):
                told = free.get(asset), used.get(asset)
                if None in told:
                    raise BadReply(f"{asset}: free and locked are not told apart")
                held.append(BalanceReport(asset, number(told[0]), number(told[1])))
        return held


def _call(method: str, **arguments: Any) -> RestCall:
    return RestCall(method, arguments, CALLS, is_unified=True)


def _naming(symbol: str, client_order_id: str, venue_order_id: str | None) -> dict[str, Any]:
    if client_order_id:
        return {"id": None, "symbol": symbol, "params": {"clientOrderId": client_order_id}}
    return {"id": venue_order_id or "0", "symbol": symbol}


def _window(symbol: str, since_ms: int, until_ms: int) -> RestCall:
    call = _call("fetch_my_trades", symbol=symbol, since=since_ms, params={"until": until_ms})
    return call._replace(symbol=symbol)


def _list(reply: Any) -> list[Any]:
    if not isinstance(reply, list):
        raise BadReply("not a list")
    return reply
