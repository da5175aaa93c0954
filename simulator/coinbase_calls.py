"""Coinbase's account calls: check, act, answer."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import Any

from simulator.coinbase_ids import ORDERS, PORTFOLIOS, number_of, uuid_of
from simulator.coinbase_words import (
    CANCEL_DONE,
    ORDER_ERRORS,
    STATES,
    ApiError,
    Json,
    OrderRefused,
    account_json,
    fill_json,
    order_id,
    order_json,
    product_id,
    summary_json,
    trade_id,
)
from simulator.instruments import Instrument, decimal_of, units_of
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, Status, Stp, TimeInForce
from simulator.venue import Account, Venue, require

Params = dict[str, list[str]]  # of a query: a name may come several times
PAGE_MAX = 250
BATCH_MAX = 100
CLIENT_ID_LENGTH_MAX = 128
TOO_SMALL = "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"
# order_configuration's name: engine type and time in force
CONFIGURATIONS = {
    "market_market_ioc": (OrderType.MARKET, TimeInForce.IOC),
    "limit_limit_gtc": (OrderType.LIMIT, TimeInForce.GTC),
    "sor_limit_ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "limit_limit_fok": (OrderType.LIMIT, TimeInForce.FOK),
}


class Calls:
    """What an account can ask Coinbase for."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.products = {product_id(s): i for s, i in venue.engine.instruments.items()}
        self.actions: dict[str, Callable[[Account, Json], Json]] = {
            "orders": self.place,
            "orders/batch_cancel": self.cancel,
            "orders/edit": self.edit,
        }
        self.queries: dict[str, Callable[[Account, Params], Json]] = {
            "orders/historical/batch": self.orders,
            "orders/historical/fills": self.fills,
            "accounts": self.accounts,
            "key_permissions": self.permissions,
            "transaction_summary": lambda _, __: summary_json(venue.engine.fees),
        }

    # -- actions

    def place(self, account: Account, body: Json) -> Json:
        """Place an order. An id that was used before places nothing and is answered the first order."""
        asked = body.get("order_configuration")
        try:
            wanted = self._wanted(body)
            earlier = self.venue.engine.by_client_id(account.name, wanted.client_order_id)
            order = earlier[0] if earlier else self.venue.place(account.name, wanted, "rest")
        except OrderRefused as refused:
            return refused.payload(asked)
        except Refused as refused:
            reason, message, preview = ORDER_ERRORS[refused.reason]
            return OrderRefused(reason, message, preview).payload(asked)
        named = {"order_id": order_id(order), "product_id": product_id(order.symbol),
                 "side": order.side.value, "client_order_id": order.client_order_id}  # fmt: skip
        return {"success": True, "failure_reason": "UNKNOWN_FAILURE_REASON",
                "order_id": order_id(order), "success_response": named,
                "order_configuration": asked}  # fmt: skip

    def cancel(self, account: Account, body: Json) -> Json:
        """Cancel orders by their ids; each has a result of its own."""
        wanted = body.get("order_ids")
        if not isinstance(wanted, list) or not 0 < len(wanted) <= BATCH_MAX:
            raise ApiError("INVALID_ARGUMENT", "order_ids must name orders")
        return {"results": [self._cancel(account, each) for each in wanted]}

    def _cancel(self, account: Account, name: Any) -> Json:
        order, reason = self.find(account, name), CANCEL_DONE
        try:
            self.venue.cancel(require(order), "", "rest")
        except Refused:
            is_filled = order is not None and order.status is Status.FILLED
            reason = "ORDER_IS_FULLY_FILLED" if is_filled else "UNKNOWN_CANCEL_ORDER"
        return {"success": reason == CANCEL_DONE, "failure_reason": reason, "order_id": str(name)}

    def edit(self, account: Account, body: Json) -> Json:
        """Change size, price or both of a resting limit order; `size` counts what is filled."""
        try:
            order = require(self.find(account, body.get("order_id")))
            self._edit(order, body)
        except (Refused, OrderRefused) as refused:
            is_size = refused.reason == "quantity_below_filled"
            failure = "INVALID_EDITED_SIZE" if is_size else "ORDER_NOT_FOUND"
            return {"success": False, "errors": [{"edit_failure_reason": failure}]}
        return {"success": True, "success_response": {"order_id": order_id(order)}, "errors": []}

    def _edit(self, order: Order, body: Json) -> None:
        instrument = self.venue.engine.instruments[order.symbol]
        lots, price = order.quantity, order.price or 0
        if body.get("size"):
            lots = self._lots(instrument, body, "size")
        if body.get("price"):
            price = self._price(instrument, body, "price")
        self.venue.amend(order, lots, price, "rest")

    # -- queries

    def order(self, account: Account, name: str) -> Json:
        """Answer one order."""
        order = self.find(account, name)
        if order is None:
            raise ApiError("NOT_FOUND", "order with this orderID was not found", 404)
        return {"order": self._order(order)}

    def orders(self, account: Account, params: Params) -> Json:
        """Answer a page of orders, newest first."""
        products, states = _names(params, "product_id"), set(params.get("order_status", []))
        ids, start, end = set(params.get("order_ids", [])), *_bounds(params, "date")
        found = [
            order
            for order in reversed(self.venue.engine.orders.values())
            if order.account == account.name
            and (not products or product_id(order.symbol) in products)
            and (not states or STATES[order.status] in states)
            and (not ids or order_id(order) in ids)
            and start <= order.created_ns <= end
            and self.venue.is_visible(order)
        ]
        page, cursor = _page(found, params, order_id)
        return {"orders": [self._order(order) for order in page], "sequence": "0",
                "has_next": bool(cursor), "cursor": cursor}  # fmt: skip

    def fills(self, account: Account, params: Params) -> Json:
        """Answer a page of fills, newest first."""
        products, wanted = _names(params, "product_id"), _names(params, "order_id")
        start, end = _bounds(params, "sequence_timestamp")
        found = [
            fill
            for fill in reversed(self.venue.engine.fills)
            if fill.account == account.name
            and (not products or product_id(fill.symbol) in products)
            and (not wanted or uuid_of(ORDERS, fill.order_id) in wanted)
            and start <= fill.time_ns <= end
        ]
        page, cursor = _page(found, params, trade_id)
        instruments = self.venue.engine.instruments
        rows = [fill_json(fill, instruments[fill.symbol]) for fill in page]
        return {"fills": rows, "cursor": cursor}

    def accounts(self, account: Account, params: Params) -> Json:
        """Answer the balances, one account an asset."""
        del params
        portfolio = uuid_of(PORTFOLIOS, account.uid)
        both = enumerate(self.venue.balances(account.name).items(), 1)
        rows = [account_json(asset, n, *amounts, portfolio) for n, (asset, amounts) in both]
        return {"accounts": rows, "has_next": False, "cursor": "", "size": len(rows)}

    def permissions(self, account: Account, params: Params) -> Json:
        """Answer what the key may do, and whose it is."""
        del params
        return {"can_view": True, "can_trade": True, "can_transfer": False,
                "portfolio_uuid": uuid_of(PORTFOLIOS, account.uid),
                "portfolio_type": "DEFAULT"}  # fmt: skip

    # -- parameters

    def find(self, account: Account, name: Any) -> Order | None:
        """Return the account's order by its id."""
        number = number_of(ORDERS, name)
        return None if number is None else self.venue.find(account.name, number, "")

    def _wanted(self, body: Json) -> NewOrder:
        instrument = self.products.get(str(body.get("product_id")))
        if instrument is None:
            raise OrderRefused("INVALID_PRODUCT_ID", "unknown product")
        if body.get("side") not in Side.__members__:
            raise OrderRefused("INVALID_SIDE", "side is BUY or SELL")
        client_id = body.get("client_order_id")
        if not isinstance(client_id, str) or not 0 < len(client_id) <= CLIENT_ID_LENGTH_MAX:
            raise ApiError("INVALID_ARGUMENT", "client_order_id is required")
        asked = body.get("order_configuration")
        name, terms = next(iter(asked.items())) if isinstance(asked, dict) and asked else ("", None)
        if name not in CONFIGURATIONS or not isinstance(terms, dict):
            raise OrderRefused("UNSUPPORTED_ORDER_CONFIGURATION", "unsupported order configuration")
        kind, tif = CONFIGURATIONS[name]
        if terms.get("post_only") is True and name == "limit_limit_gtc":
            kind = OrderType.LIMIT_MAKER
        quote, lots = None, 0
        if kind is OrderType.MARKET and "quote_size" in terms:
            quote = units_of(_positive(terms, "quote_size"))
        else:
            lots = self._lots(instrument, terms, "base_size")
        price = None if kind is OrderType.MARKET else self._price(instrument, terms, "limit_price")
        if price is not None and lots * price * instrument.notional_unit < units_of(
            instrument.notional_min
        ):
            raise OrderRefused(
                "INVALID_REQUEST", "order is too small", "PREVIEW_INVALID_QUOTE_SIZE_TOO_SMALL"
            )
        stp = Stp.EXPIRE_MAKER  # the venue cancels the resting order
        return NewOrder(instrument.symbol, Side(body["side"]), kind, client_id, lots, price, quote,
                        tif, stp)  # fmt: skip

    def _lots(self, instrument: Instrument, terms: Json, name: str) -> int:
        size = _positive(terms, name)
        lots = instrument.lots(size)
        if lots is None:
            raise OrderRefused("INVALID_SIZE_PRECISION", "Invalid size precision")
        if not instrument.quantity_min <= size <= instrument.quantity_max:
            raise OrderRefused(
                "INVALID_REQUEST", "size out of bounds", "PREVIEW_INVALID_BASE_SIZE_TOO_SMALL"
            )
        return lots

    def _price(self, instrument: Instrument, terms: Json, name: str) -> int:
        price = _positive(terms, name)
        ticks = instrument.ticks(price)
        if ticks is None:
            raise OrderRefused("INVALID_PRICE_PRECISION", "Invalid price precision")
        if price > 10_000_000:
            raise OrderRefused("INVALID_LIMIT_PRICE", "price out of bounds")
        return ticks

    def _order(self, order: Order) -> Json:
        fills = self.venue.engine.fills_by_order.get(order.order_id, [])
        instrument = self.venue.engine.instruments[order.symbol]
        return order_json(order, instrument, fills[-1] if fills else None, len(fills))


def _positive(terms: Json, name: str) -> Decimal:
    value = decimal_of(terms.get(name))
    if value is None or value <= 0:
        raise OrderRefused("INVALID_REQUEST", f"{name} is not a number above 0")
    return value


# The venue takes `product_id` and `product_ids`, `order_id` and `order_ids`.
def _names(params: Params, name: str) -> set[str]:
    return {*params.get(name, []), *params.get(f"{name}s", [])}


def _bounds(params: Params, what: str) -> tuple[int, int]:
    bounds = []
    for name, default in ((f"start_{what}", 0), (f"end_{what}", 1 << 62)):
        text = params.get(name, [""])[0]
        try:
            at_ns = (
                int(datetime.fromisoformat(text).timestamp() * 1_000_000) * 1000
                if text
                else default
            )
        except (ValueError, OverflowError):
            raise ApiError("INVALID_ARGUMENT", f"{name} is not a time") from None
        bounds.append(at_ns)
    return bounds[0], bounds[1]


# A page, and the cursor of the next: the id of its last row, "" when there is no more.
def _page(
    found: Sequence[Any], params: Params, name_of: Callable[[Any], str]
) -> tuple[list[Any], str]:
    text = params.get("limit", [""])[0] or str(PAGE_MAX)
    if not (text.isascii() and text.isdigit() and len(text) < 6):
        raise ApiError("INVALID_ARGUMENT", "limit is not a number")
    limit, cursor = max(1, min(PAGE_MAX, int(text))), params.get("cursor", [""])[0]
    at = 0
    if cursor:
        at = next((n for n, row in enumerate(found, 1) if name_of(row) == cursor), len(found))
    page = list(islice(found, at, at + limit))
    return page, name_of(page[-1]) if len(found) > at + limit else ""
