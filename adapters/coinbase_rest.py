"""Coinbase Advanced Trade, the REST half: which call does what, and how to read its answer.

https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api. Pure: the calls are made by
adapters/ccxt_rest.py, whose answers have every number as text. An order that the venue refuses is
HTTP 200 with `success` false. There is no query and no cancel by our id: lists are searched, and the
venue's ids of our latest orders are remembered. A client id that was used before places nothing, the
answer names the first order.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import Ack, BadReply, IdNeeded, NotListed, Orders, Page, RestCall
from adapters.coinbase import NO_REASON, STATUS
from adapters.coinbase_shapes import (
    Accounts,
    CanceledOrder,
    Fill,
    Fills,
    Listed,
    Order,
    Placed,
    Product,
    Tier,
    Time,
)
from adapters.names import Names
from adapters.symbols import Listing
from adapters.wire import at, ns_of_rfc3339, read, side_of
from engine.messages.market import BookDelta
from engine.messages.port import (
    BalanceReport,
    CancelOrder,
    FillReport,
    Instrument,
    OrderReport,
    Source,
    SubmitOrder,
)

PAGE: Final = 250
MAKER_DEFAULT: Final = Decimal("0.006")
TAKER_DEFAULT: Final = Decimal("0.012")
HISTORICAL: Final = "v3PrivateGetBrokerageOrdersHistoricalBatch"
FILLS: Final = "v3PrivateGetBrokerageOrdersHistoricalFills"
_PRIVATE: Final = {"private": 1}
_SPOT: Final = {"product_type": "SPOT"}


class CoinbaseRest:
    """Coinbase's REST dialect for one account. `symbols` maps the venue's spelling to ours."""

    exchange_id: str = "coinbase"
    scopes: Mapping[str, tuple[int, float]] = {"private": (30, 1.0), "public": (10, 1.0)}

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = symbols
        self._theirs = {ours: theirs for theirs, ours in symbols.items()}
        self._names = Names()

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing: the venue sends no counters."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """GET time."""
        return RestCall("v3PublicGetBrokerageTime", {}, {"public": 1})

    def read_server_time(self, reply: Any) -> int:
        """{"iso":"2023-..Z","epochSeconds":"1688639403","epochMillis":"1688639403423"}."""
        return int(read(reply, Time).epochMillis)

    def instruments(self) -> RestCall:
        """GET market/products, all of spot."""
        return RestCall("v3PublicGetBrokerageMarketProducts", _SPOT, {"public": 1})

    def read_listings(self, reply: Any) -> list[Listing]:
        """Return every product with the venue's spelling of it."""
        rows = read(_list(reply, "products"), list[Product])
        return [Listing(r.product_id, r.base_currency_id, r.quote_currency_id) for r in rows]

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones; others need not even be well-formed."""
        listed = _list(reply, "products")
        kept = [r for r in listed if isinstance(r, dict) and r.get("product_id") in self._ours]
        return [self._instrument(row) for row in read(kept, list[Product])]

    def _instrument(self, row: Product) -> Instrument:
        is_halted = row.trading_disabled or row.is_disabled or row.view_only
        status: Any = "TRADING" if row.status == "online" else "DELISTED"
        if row.cancel_only:
            status = "CANCEL_ONLY"
        elif is_halted:
            status = "HALTED"
        return Instrument(
            venue=self._venue,
            symbol=self._ours[row.product_id],
            venue_symbol=row.product_id,
            base=row.base_currency_id,
            quote=row.quote_currency_id,
            tick_size=row.price_increment.normalize(),
            lot_size=row.base_increment.normalize(),
            quantity_min=row.base_min_size,
            quantity_max=row.base_max_size,
            notional_min=row.quote_min_size,
            maker_fee=MAKER_DEFAULT,
            taker_fee=TAKER_DEFAULT,
            status=status,
        )

    def fees(self, symbol: str) -> RestCall:
        """GET transaction_summary: one tier for all of spot."""
        del symbol
        return RestCall("v3PrivateGetBrokerageTransactionSummary", _SPOT, _PRIVATE)

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """{"fee_tier":{"taker_fee_rate":"0.012","maker_fee_rate":"0.006",..},..}."""
        tier = read(at(reply, "fee_tier"), Tier)
        return msgspec.structs.replace(
            instrument, maker_fee=tier.maker_fee_rate, taker_fee=tier.taker_fee_rate
        )

    def snapshot(self, symbol: str) -> RestCall | None:
        """Nothing: the stream brings it."""
        del symbol
        return None

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """Never asked for."""
        del reply
        raise BadReply(f"the stream brings the snapshot of {symbol}")

    # --- orders

    def submit(self, order: SubmitOrder) -> RestCall:
        """POST orders. A MARKET order with a price is sent as limit IOC at that price."""
        params = {
            "client_order_id": order.client_order_id,
            "product_id": self._theirs[order.symbol],
            "side": order.side,
            "order_configuration": _configuration(order),
        }
        return RestCall("v3PrivatePostBrokerageOrders", params, _PRIVATE)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it names our order and its id."""
        placed = read(reply, Placed)
        named = placed.success_response
        is_ours = named.client_order_id == order.client_order_id and bool(named.order_id)
        if not placed.success or not is_ours:
            raise BadReply("the answer names another order")
        self._names.learn(named.client_order_id, named.order_id)
        return Ack(named.order_id, 0, [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """POST orders/batch_cancel; IdNeeded where the venue's id is not known."""
        venue_order_id = cancel.venue_order_id or self._names.venue_id(cancel.client_order_id)
        if not venue_order_id:
            raise IdNeeded(cancel.client_order_id)
        params = {"order_ids": [venue_order_id]}
        return RestCall("v3PrivatePostBrokerageOrdersBatchCancel", params, _PRIVATE)

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """{"results":[{"success":true,"order_id":".."}]}: the state comes by a query."""
        results = read(at(reply, "results"), list[CanceledOrder])
        if len(results) != 1 or not results[0].success:
            reason = results[0].failure_reason if results else "no result"
            raise BadReply(f"not canceled: {cancel.client_order_id} {reason[:60]}")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """GET orders/historical/ID; without the venue's id a list that does not answer."""
        if venue_order_id:
            params = {"order_id": venue_order_id}
            return RestCall("v3PrivateGetBrokerageOrdersHistoricalOrderId", params, _PRIVATE)
        return self.open_orders(symbol)._replace(symbol=client_order_id)

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order; NotListed for a list: the open orders and the history are next."""
        if isinstance(reply, dict) and "orders" in reply:
            raise NotListed("the venue has no query by our id")
        return self._order(read(at(reply, "order"), Order), "query")

    def open_orders(self, symbol: str) -> RestCall:
        """GET orders/historical/batch of one product, the open ones."""
        params = {"product_ids": self._theirs[symbol], "order_status": "OPEN", "limit": str(PAGE)}
        return RestCall(HISTORICAL, params, _PRIVATE)

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return a page."""
        listed = read(reply, Listed)
        more = None
        if listed.has_next and listed.cursor:
            more = call._replace(params={**call.params, "cursor": listed.cursor})
        return Orders([self._order(row, source) for row in listed.orders], more)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """GET orders/historical/fills of one product from a time."""
        del now_ms
        params = {"product_ids": self._theirs[symbol], "start_sequence_timestamp": _time(since_ms),
                  "limit": str(PAGE)}  # fmt: skip
        return RestCall(FILLS, params, _PRIVATE)

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """GET orders/historical/fills of one order."""
        del symbol
        params = {"order_ids": venue_order_id, "limit": str(PAGE)}
        return RestCall(FILLS, params, _PRIVATE)

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page; the client ids are not in it and are looked up by `orders_since`."""
        del now_ms
        data = read(reply, Fills)
        more = None
        if len(data.fills) >= PAGE and data.cursor:
            more = call._replace(params={**call.params, "cursor": data.cursor})
        return Page([self._fill(row, source) for row in data.fills], more)

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """GET orders/historical/batch from a time: which client id has which order id."""
        params = {"product_ids": self._theirs[symbol], "start_date": _time(since_ms),
                  "limit": str(PAGE)}  # fmt: skip
        return RestCall(HISTORICAL, params, _PRIVATE)

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Return venue order id -> client order id."""
        return {row.order_id: row.client_order_id for row in read(reply, Listed).orders}

    def account(self) -> RestCall | None:
        """GET key_permissions: a key belongs to one portfolio."""
        return RestCall("v3PrivateGetBrokerageKeyPermissions", {}, _PRIVATE)

    def read_account_uid(self, reply: Any) -> str:
        """{"can_view":true,..,"portfolio_uuid":"018c4b12-..","portfolio_type":"DEFAULT"}."""
        uid: str = read(at(reply, "portfolio_uuid"), str)
        if not uid:
            raise BadReply("the key's portfolio is not named")
        return uid

    def balances(self) -> RestCall:
        """GET accounts."""
        return RestCall("v3PrivateGetBrokerageAccounts", {"limit": str(PAGE)}, _PRIVATE)

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and locked of every asset; BadReply if there are more than one page."""
        data = read(reply, Accounts)
        if data.has_next:
            raise BadReply(f"more than {PAGE} accounts")
        return [BalanceReport(a.currency, a.available_balance.value, a.hold.value)
                for a in data.accounts]  # fmt: skip

    def _order(self, row: Order, source: Source) -> OrderReport:
        status, symbol = STATUS.get(row.status), self._ours.get(row.product_id)
        sizes = {leg.base_size for leg in row.order_configuration.values()}
        prices = {leg.limit_price for leg in row.order_configuration.values()}
        quantity = sizes.pop() if len(sizes) == 1 else None
        if status is None or symbol is None or quantity is None or len(prices) != 1:
            raise BadReply(f"order {row.order_id[:40]}: unknown status, product or quantity")
        if status == "NEW" and row.filled_size:
            status = "PARTIALLY_FILLED"
        self._names.learn(row.client_order_id, row.order_id)
        return OrderReport(
            account=self._account,
            client_order_id=row.client_order_id,
            venue_order_id=row.order_id,
            symbol=symbol,
            side=side_of(row.side),
            order_type="MARKET" if row.order_type == "MARKET" else "LIMIT",
            quantity=quantity,
            price=prices.pop(),
            status=status,
            filled_quantity=row.filled_size,
            reason="" if row.reject_reason in NO_REASON else row.reject_reason[:200],
            source=source,
            ts_event_ns=ns_of_rfc3339(row.last_fill_time or row.created_time),
        )

    def _fill(self, row: Fill, source: Source) -> FillReport:
        symbol = self._ours.get(row.product_id)
        if symbol is None or row.trade_type != "FILL" or row.size_in_quote:
            raise BadReply(f"trade {row.trade_id[:40]}: unknown product, kind or unit")
        quote = symbol.partition("/")[2]  # the venue charges in it
        return FillReport(account=self._account,
                          client_order_id=self._names.client_id(row.order_id),
                          venue_order_id=row.order_id, trade_id=row.trade_id, symbol=symbol,
                          side=side_of(row.side), price=row.price, quantity=row.size,
                          fee=row.commission, fee_asset=quote,
                          liquidity="MAKER" if row.liquidity_indicator == "MAKER" else "TAKER",
                          source=source, ts_event_ns=ns_of_rfc3339(row.trade_time))  # fmt: skip


def _configuration(order: SubmitOrder) -> dict[str, dict[str, Any]]:
    size = {"base_size": f"{order.quantity:f}"}
    if order.price is None:
        return {"market_market_ioc": size}
    limit = {**size, "limit_price": f"{order.price:f}"}
    tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
    if tif == "IOC":
        return {"sor_limit_ioc": limit}
    if tif == "FOK":
        return {"limit_limit_fok": limit}
    return {"limit_limit_gtc": {**limit, "post_only": order.post_only}}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _list(reply: Any, name: str) -> list[Any]:
    listed = at(reply, name)
    if not isinstance(listed, list):
        raise BadReply(f"no list of {name}")
    return listed
