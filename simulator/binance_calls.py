"""Binance's account calls, the same for REST and the WebSocket API: check, act, answer.

Checks come in the venue's order: key, signature, timestamp, parameters, symbol, filters, engine.
The transport has verified nothing but the shape of the request.
"""

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from simulator.binance_words import (
    CANCEL_PARAMS,
    ENGINE_ERRORS,
    ApiError,
    Json,
    bps_text,
    canceled_json,
    fill_json,
    key_rights,
    placed_json,
    query_json,
    wire_symbol,
)
from simulator.instruments import Instrument, decimal_of, fixed8, units_of
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, Stp, TimeInForce
from simulator.signing import is_hex_of
from simulator.venue import Account, Venue, require

if TYPE_CHECKING:
    from collections.abc import Callable

Params = dict[str, str]
CLIENT_ID = re.compile(r"[a-zA-Z0-9\-_.:/]{1,36}")
WINDOW_MS_DEFAULT, WINDOW_MS_MAX, AHEAD_MS_MAX = 5000, 60_000, 1000


class Calls:
    """What an account can ask Binance for."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.symbols = {wire_symbol(s): i for s, i in venue.engine.instruments.items()}
        self.table: dict[str, Callable[[Account, Params], Any]] = {
            "order.place": self.place,
            "order.test": self.test,
            "order.cancel": self.cancel,
            "order.cancelReplace": self.cancel_replace,
            "order.amend.keepPriority": self.amend,
            "order.status": self.status,
            "openOrders.status": self.open_orders,
            "openOrders.cancelAll": self.cancel_all,
            "allOrders": self.all_orders,
            "myTrades": self.my_trades,
            "account.status": self.account,
            "account.commission": self.commission,
            "account.apiRestrictions": self.restrictions,
        }

    # -- checks

    def authenticate(self, api_key: str | None, params: Params, signed: str) -> Account:
        """Check key, signature and time; `signed` is the text the signature covers."""
        account = self.venue.accounts.get(api_key or "")
        if not api_key:
            raise ApiError(401, -2014, "API-key format invalid.")
        if account is None:
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        if not params.get("signature"):
            raise ApiError(400, -1102, _missing("signature"))
        if not is_hex_of(account.api_secret, signed, params["signature"]):
            raise ApiError(400, -1022, "Signature for this request is not valid.")
        self.check_time(params)
        return account

    def check_time(self, params: Params) -> None:
        """Check that the request is neither early nor past its window."""
        if "timestamp" not in params:
            raise ApiError(400, -1102, _missing("timestamp"))
        timestamp = _whole(params, "timestamp")
        window = _decimal(params, "recvWindow") if "recvWindow" in params else WINDOW_MS_DEFAULT
        if not 0 < window <= WINDOW_MS_MAX:
            raise ApiError(400, -1131, "recvWindow must be less than 60000.")
        now_ms = self.venue.now_ms()
        if timestamp >= now_ms + AHEAD_MS_MAX:
            raise ApiError(
                400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."
            )
        if now_ms - timestamp > window:
            raise ApiError(400, -1021, "Timestamp for this request is outside of the recvWindow.")

    def instrument(self, params: Params) -> Instrument:
        """Return the instrument the request names."""
        if "symbol" not in params:
            raise ApiError(400, -1102, _missing("symbol"))
        instrument = self.symbols.get(params["symbol"])
        if instrument is None:
            raise ApiError(400, -1121, "Invalid symbol.")
        return instrument

    def run(self, name: str, account: Account, params: Params) -> Any:
        """Carry out a call; ApiError is the venue's refusal."""
        try:
            return self.table[name](account, params)
        except Refused as refused:
            raise ApiError(*ENGINE_ERRORS[refused.reason]) from refused

    # -- orders

    def place(self, account: Account, params: Params) -> Json:
        """Answer POST order."""
        instrument, wanted = self._wanted(params)
        return self._place(account, params, instrument, wanted)

    def _place(
        self, account: Account, params: Params, instrument: Instrument, wanted: NewOrder
    ) -> Json:
        order = self.venue.place(account.name, wanted, params.get("_via", "rest"))
        fills = self.venue.engine.fills_by_order.get(order.order_id, [])
        default = "ACK" if params.get("_via") == "" else "FULL"
        return placed_json(order, instrument, fills, params.get("newOrderRespType", default))

    def test(self, account: Account, params: Params) -> Json:
        """Answer POST order/test: every check, no order."""
        del account
        self._wanted(params)
        return {}

    def cancel(self, account: Account, params: Params) -> Json:
        """Answer DELETE order."""
        instrument = self.instrument(params)
        order = require(self._find(account, params, instrument))
        cancel_id = params.get("newClientOrderId") or f"cancel{order.order_id}"
        self.venue.cancel(order, cancel_id, params.get("_via", "rest"))
        return canceled_json(order, instrument)

    def cancel_replace(self, account: Account, params: Params) -> Json:
        """Answer POST order/cancelReplace."""
        mode = params.get("cancelReplaceMode")
        if mode not in {"STOP_ON_FAILURE", "ALLOW_FAILURE"}:
            raise ApiError(400, -1102, _missing("cancelReplaceMode"))
        instrument, wanted = self._wanted(params)
        old = {ours: params[theirs] for theirs, ours in CANCEL_PARAMS.items() if theirs in params}
        canceled: Json | None = None
        try:
            canceled = self.cancel(account, old)
        except Refused:
            if mode == "STOP_ON_FAILURE":
                raise ApiError(400, -2022, "Order cancel-replace failed.") from None
        new = self._place(account, params, instrument, wanted)
        result = "FAILURE" if canceled is None else "SUCCESS"
        return {
            "cancelResult": result,
            "newOrderResult": "SUCCESS",
            "cancelResponse": canceled or {"code": -2011, "msg": "Unknown order sent."},
            "newOrderResponse": new,
        }

    def amend(self, account: Account, params: Params) -> Json:
        """Answer PUT order/amend/keepPriority: only less, at the same price."""
        instrument = self.instrument(params)
        order = require(self._find(account, params, instrument))
        lots = self._lots(instrument, _decimal(params, "newQty"))
        if order.price is None or not order.filled < lots < order.quantity:
            raise ApiError(400, -2038, "The requested amendment is invalid.")
        self.venue.amend(order, lots, order.price, params.get("_via", "rest"))
        return {
            "transactTime": self.venue.now_ms(),
            "executionId": order.order_id,
            "amendedOrder": query_json(order, instrument),
        }

    def cancel_all(self, account: Account, params: Params) -> list[Json]:
        """Answer DELETE openOrders; -2011 when there is none."""
        instrument = self.instrument(params)
        orders = self.venue.engine.open_orders(account.name, instrument.symbol)
        if not orders:
            raise ApiError(400, -2011, "Unknown order sent.")
        for order in orders:
            self.venue.cancel(order, f"cancel{order.order_id}", params.get("_via", "rest"))
        return [canceled_json(order, instrument) for order in orders]

    # -- queries

    def status(self, account: Account, params: Params) -> Json:
        """Answer GET order."""
        instrument = self.instrument(params)
        order = self._find(account, params, instrument)
        if order is None:
            raise ApiError(400, -2013, "Order does not exist.")
        return query_json(order, instrument)

    def open_orders(self, account: Account, params: Params) -> list[Json]:
        """Answer GET openOrders, of one symbol or of all."""
        symbol = self.instrument(params).symbol if "symbol" in params else None
        orders = self.venue.engine.open_orders(account.name, symbol)
        instruments = self.venue.engine.instruments
        return [query_json(o, instruments[o.symbol]) for o in orders if self.venue.is_visible(o)]

    def all_orders(self, account: Account, params: Params) -> list[Json]:
        """Answer GET allOrders."""
        instrument = self.instrument(params)
        first, limit = _whole(params, "orderId", 0), _limit(params)
        start, end = _whole(params, "startTime", 0), _whole(params, "endTime", 10**15)
        found = [
            order
            for order in self.venue.engine.orders.values()
            if order.account == account.name
            and order.symbol == instrument.symbol
            and order.order_id >= first
            and start <= order.created_ns // 1_000_000 <= end
            and self.venue.is_visible(order)
        ]
        kept = found[:limit] if "orderId" in params else found[-limit:]
        return [query_json(order, instrument) for order in kept]

    def my_trades(self, account: Account, params: Params) -> list[Json]:
        """Answer GET myTrades."""
        instrument = self.instrument(params)
        first, limit = _whole(params, "fromId", 0), _limit(params)
        start, end = _whole(params, "startTime", 0), _whole(params, "endTime", 10**15)
        order_id = _whole(params, "orderId", 0)
        found = [
            fill
            for fill in self.venue.engine.fills
            if fill.account == account.name
            and fill.symbol == instrument.symbol
            and fill.trade_id >= first
            and (order_id in {0, fill.order_id})
            and start <= fill.time_ns // 1_000_000 <= end
        ]
        oldest_first = "fromId" in params or "startTime" in params
        kept = found[:limit] if oldest_first else found[-limit:]
        return [fill_json(fill, instrument) for fill in kept]

    def account(self, account: Account, params: Params) -> Json:
        """Answer GET account."""
        fees = self.venue.engine.fees
        omit = params.get("omitZeroBalances") == "true"
        return {
            "makerCommission": fees.maker_bps,
            "takerCommission": fees.taker_bps,
            "buyerCommission": 0,
            "sellerCommission": 0,
            "commissionRates": {**_rates(fees.maker_bps, fees.taker_bps), **_NO_RATES},
            "canTrade": True,
            "canWithdraw": False,
            "canDeposit": False,
            "brokered": False,
            "requireSelfTradePrevention": False,
            "preventSor": False,
            "updateTime": self.venue.now_ms(),
            "accountType": "SPOT",
            "balances": [
                {"asset": asset, "free": fixed8(free), "locked": fixed8(locked)}
                for asset, (free, locked) in self.venue.balances(account.name).items()
                if free or locked or not omit
            ],
            "permissions": ["SPOT"],
            "uid": account.uid,
        }

    def restrictions(self, account: Account, params: Params) -> Json:
        """Answer GET /sapi/v1/account/apiRestrictions."""
        del account, params
        return key_rights(self.venue.can_withdraw)

    def commission(self, account: Account, params: Params) -> Json:
        """Answer GET account/commission."""
        del account
        fees = self.venue.engine.fees
        return {
            "symbol": wire_symbol(self.instrument(params).symbol),
            "standardCommission": {**_rates(fees.maker_bps, fees.taker_bps), **_NO_RATES},
        }

    # -- parameters

    def _find(self, account: Account, params: Params, instrument: Instrument) -> Order | None:
        if "orderId" not in params and "origClientOrderId" not in params:
            raise ApiError(400, -1102, "Param 'origClientOrderId' or 'orderId' must be sent, "
                           "but both were empty/null!")  # fmt: skip
        order_id = _whole(params, "orderId") if "orderId" in params else None
        order = self.venue.find(account.name, order_id, params.get("origClientOrderId", ""))
        return order if order is not None and order.symbol == instrument.symbol else None

    def _wanted(self, params: Params) -> tuple[Instrument, NewOrder]:
        for name in ("symbol", "side", "type"):
            if not params.get(name):
                raise ApiError(400, -1102, _missing(name))
        client_id = params.get("newClientOrderId") or f"sim{self.venue.engine.next_order_id}"
        if not CLIENT_ID.fullmatch(client_id):
            raise ApiError(400, -1100, "Illegal characters found in parameter 'newClientOrderId'; "
                           "legal range is '^[a-zA-Z0-9-_.:/]{1,36}$'.")  # fmt: skip
        side = _choice(Side, params["side"], -1117, "Invalid side.")
        kind = _choice(OrderType, params["type"], -1116, "Invalid orderType.")
        stp = _choice(Stp, params.get("selfTradePreventionMode", "EXPIRE_MAKER"), -1130,
                      "Data sent for 'selfTradePreventionMode' is not valid.")  # fmt: skip
        tif = TimeInForce.GTC
        if kind is OrderType.LIMIT:
            if "timeInForce" not in params:
                raise ApiError(400, -1102, _missing("timeInForce"))
            tif = _choice(TimeInForce, params["timeInForce"], -1115, "Invalid timeInForce.")
        elif "timeInForce" in params:
            raise ApiError(400, -1106, "Parameter 'timeInForce' sent when not required.")
        instrument = self.instrument(params)
        quote = None
        lots = 0
        if kind is OrderType.MARKET and "quoteOrderQty" in params:
            quote = self._quote(instrument, _decimal(params, "quoteOrderQty"))
        else:
            lots = self._lots(instrument, _decimal(params, "quantity"))
        price = None if kind is OrderType.MARKET else self._price(instrument, params)
        self._check_notional(instrument, price, lots)
        return instrument, NewOrder(
            instrument.symbol, side, kind, client_id, lots, price, quote, tif, stp
        )

    def _lots(self, instrument: Instrument, quantity: Decimal) -> int:
        lots = instrument.lots(quantity)
        if _places(quantity) > 8:
            raise ApiError(400, -1111, "Parameter 'quantity' has too much precision.")
        low, high = instrument.quantity_min, instrument.quantity_max
        if lots is None or not low <= quantity <= high:
            raise ApiError(400, -1013, "Filter failure: LOT_SIZE")
        return lots

    def _quote(self, instrument: Instrument, amount: Decimal) -> int:
        if _places(amount) > 8:
            raise ApiError(400, -1111, "Parameter 'quoteOrderQty' has too much precision.")
        if amount < instrument.notional_min:
            raise ApiError(400, -1013, "Filter failure: NOTIONAL")
        return units_of(amount)

    def _price(self, instrument: Instrument, params: Params) -> int:
        price = _decimal(params, "price")
        ticks = instrument.ticks(price)
        if _places(price) > 8:
            raise ApiError(400, -1111, "Parameter 'price' has too much precision.")
        if ticks is None or ticks <= 0 or price > 1_000_000:
            raise ApiError(400, -1013, "Filter failure: PRICE_FILTER")
        trades = self.venue.tape[instrument.symbol].trades
        if trades and not trades[-1].price <= ticks * 5 <= trades[-1].price * 25:
            raise ApiError(400, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE")
        return ticks

    def _check_notional(self, instrument: Instrument, price: int | None, lots: int) -> None:
        if price is None:
            trades = self.venue.tape[instrument.symbol].trades
            price = trades[-1].price if trades and lots else None
        if price is None:
            return
        units = price * lots * instrument.notional_unit
        if not units_of(instrument.notional_min) <= units <= units_of(Decimal(9_000_000)):
            raise ApiError(400, -1013, "Filter failure: NOTIONAL")


_NO_RATES = {"buyer": "0.00000000", "seller": "0.00000000"}


def _rates(maker_bps: int, taker_bps: int) -> dict[str, str]:
    return {"maker": bps_text(maker_bps), "taker": bps_text(taker_bps)}


def _missing(name: str) -> str:
    return f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed."


def _whole(params: Params, name: str, default: int | None = None) -> int:
    text = params.get(name, "" if default is None else str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; "
                       "legal range is '^[0-9]{1,20}$'.")  # fmt: skip
    return int(text)


def _limit(params: Params) -> int:
    return max(1, min(1000, _whole(params, "limit", 500)))


def _decimal(params: Params, name: str) -> Decimal:
    if not params.get(name):
        raise ApiError(400, -1102, _missing(name))
    value = decimal_of(params[name])
    if value is None or value < 0:
        raise ApiError(400, -1100, f"Illegal characters found in parameter '{name}'; "
                       "legal range is '^([0-9]{1,20})(\\.[0-9]{1,20})?$'.")  # fmt: skip
    return value


def _places(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return -exponent if isinstance(exponent, int) and exponent < 0 else 0


def _choice(kind: Any, text: str, code: int, msg: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise ApiError(400, code, msg) from None
