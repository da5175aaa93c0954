"""KuCoin spot, the REST half: which call does what, what it costs, and how to read its answer.

https://www.kucoin.com/docs-new/rest (spot trading, high frequency orders). Pure: the calls are made
by adapters/ccxt_rest.py, whose answers have every number as text. The venue drops a request whose
timestamp is more than five seconds old, so what is late is not placed.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import NS_PER_MS, Ack, BadReply, NotListed, Orders, Page, RestCall
from adapters.symbols import Listing
from adapters.wire import read, side_of
from engine.messages.market import BookDelta
from engine.messages.port import (
    BalanceReport,
    CancelOrder,
    FillReport,
    Instrument,
    OrderReport,
    Source,
    SubmitOrder,
    VenueStatus,
)

PAGE: Final = 100
WINDOW_MS: Final = 7 * 24 * 3600 * 1000 - 1000
FEE_DEFAULT: Final = Decimal("0.001")


class _Symbol(msgspec.Struct):
    symbol: str
    name: str
    baseCurrency: str
    quoteCurrency: str
    baseMinSize: Decimal
    baseMaxSize: Decimal
    baseIncrement: Decimal
    priceIncrement: Decimal
    enableTrading: bool
    minFunds: Decimal | None = None


class _Fee(msgspec.Struct):
    takerFeeRate: Decimal
    makerFeeRate: Decimal


class _Depth(msgspec.Struct):
    sequence: int
    time: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Placed(msgspec.Struct):
    orderId: str
    clientOid: str = ""


class _Canceled(msgspec.Struct):
    orderId: str = ""
    clientOid: str = ""


class _Order(msgspec.Struct):
    id: str
    symbol: str
    type: str
    side: str
    size: Decimal
    dealSize: Decimal
    clientOid: str
    cancelExist: bool
    createdAt: int
    price: Decimal = Decimal(0)
    active: bool | None = None
    isActive: bool | None = None  # the older endpoint's word
    lastUpdatedAt: int = 0


class _Fill(msgspec.Struct):
    symbol: str
    tradeId: str
    orderId: str
    side: str
    liquidity: str
    price: Decimal
    size: Decimal
    fee: Decimal
    feeCurrency: str
    createdAt: int
    id: str = ""


class _Fills(msgspec.Struct):
    items: list[_Fill]
    lastId: int = 0


class _Account(msgspec.Struct):
    currency: str
    type: str
    available: Decimal
    holds: Decimal


class _ApiKey(msgspec.Struct):
    uid: str


def _data(reply: Any, kind: Any) -> Any:
    # {"code":"200000","data":...}
    return read(reply.get("data") if isinstance(reply, dict) else None, kind)


class KucoinRest:
    """KuCoin's REST dialect for one account. `symbols` maps the venue's spelling to ours."""

    exchange_id: str = "kucoin"
    # Per VIP 0: 4000 of spot, 2000 of public weight, each in 30 s.
    scopes: Mapping[str, tuple[int, float]] = {"spot": (4000, 30.0), "public": (2000, 30.0)}

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = symbols
        self._theirs = {ours: theirs for theirs, ours in symbols.items()}

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing: the headers do not tell which of the pools they count."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """GET timestamp."""
        return RestCall("publicGetTimestamp", {}, {"public": 3})

    def read_server_time(self, reply: Any) -> int:
        """{"code":"200000","data":1546837113087}."""
        return int(_data(reply, int))

    # --- instruments and books

    def instruments(self) -> RestCall:
        """GET symbols, all of spot."""
        return RestCall("publicGetSymbols", {}, {"public": 4})

    def read_listings(self, reply: Any) -> list[Listing]:
        """Return every instrument with the venue's spellings of it."""
        rows = _data(reply, list[_Symbol])
        return [Listing(r.symbol, r.baseCurrency, r.quoteCurrency, (r.name,)) for r in rows]

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones; others need not even be well-formed."""
        data = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(data, list):
            raise BadReply("no list of symbols")
        kept = [r for r in data if isinstance(r, dict) and r.get("symbol") in self._ours]
        return [self._instrument(row) for row in read(kept, list[_Symbol])]

    def _instrument(self, row: _Symbol) -> Instrument:
        return Instrument(
            venue=self._venue,
            symbol=self._ours[row.symbol],
            venue_symbol=row.symbol,
            base=row.baseCurrency,
            quote=row.quoteCurrency,
            tick_size=row.priceIncrement.normalize(),
            lot_size=row.baseIncrement.normalize(),
            quantity_min=row.baseMinSize,
            quantity_max=row.baseMaxSize,
            notional_min=row.minFunds or Decimal(0),
            maker_fee=FEE_DEFAULT,
            taker_fee=FEE_DEFAULT,
            status="TRADING" if row.enableTrading else "HALTED",
        )

    def fees(self, symbol: str) -> RestCall:
        """GET trade-fees."""
        return RestCall("privateGetTradeFees", {"symbols": self._theirs[symbol]}, {"spot": 3})

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """{"data":[{"symbol":"BTC-USDT","takerFeeRate":"0.001","makerFeeRate":"0.001"}]}."""
        rows = _data(reply, list[_Fee])
        if len(rows) != 1:
            raise BadReply(f"{len(rows)} fees instead of one")
        return msgspec.structs.replace(
            instrument, maker_fee=rows[0].makerFeeRate, taker_fee=rows[0].takerFeeRate
        )

    def snapshot(self, symbol: str) -> RestCall | None:
        """GET level2_100: the whole book wants a key, these hundred levels a side do not."""
        params = {"symbol": self._theirs[symbol]}
        return RestCall("publicGetMarketOrderbookLevel2100", params, {"public": 4})

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """{"data":{"time":1619378326628,"sequence":"1613277183892","bids":[["242.6","5"]],..}}."""
        depth = _data(reply, _Depth)
        last, ts_ns = depth.sequence, depth.time * NS_PER_MS
        return BookDelta(symbol, last, last, None, depth.bids, depth.asks, ts_ns, is_snapshot=True)

    # --- orders

    def submit(self, order: SubmitOrder) -> RestCall:
        """POST hf/orders. A MARKET order with a price is sent as LIMIT IOC at that price."""
        params: dict[str, Any] = {
            "clientOid": order.client_order_id,
            "symbol": self._theirs[order.symbol],
            "side": order.side.lower(),
            "size": f"{order.quantity:f}",
            "stp": "CO",
        }
        if order.price is None:
            params["type"] = "market"
        else:
            tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
            params |= {"type": "limit", "price": f"{order.price:f}", "timeInForce": tif}
        if order.post_only:
            params["postOnly"] = True
        return RestCall("privatePostHfOrders", params, {"spot": 1}, expires=True)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply if it names another order or no id."""
        placed = _data(reply, _Placed)
        if not placed.orderId or placed.clientOid not in ("", order.client_order_id):
            raise BadReply("the answer names another order")
        return Ack(placed.orderId, 0, [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """DELETE hf/orders, by our id where there is one."""
        params = {"symbol": self._theirs[cancel.symbol]}
        if cancel.client_order_id:
            params["clientOid"] = cancel.client_order_id
            return RestCall("privateDeleteHfOrdersClientOrderClientOid", params, {"spot": 1})
        params["orderId"] = cancel.venue_order_id or "0"
        return RestCall("privateDeleteHfOrdersOrderId", params, {"spot": 1})

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Check the acknowledgement; the stream or a query tells the order's state."""
        done = _data(reply, _Canceled)
        if cancel.client_order_id:
            is_ours = done.clientOid == cancel.client_order_id
        else:
            is_ours = done.orderId == cancel.venue_order_id
        if not is_ours:
            raise BadReply("the answer names another order")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """GET hf/orders, one."""
        params = {"symbol": self._theirs[symbol]}
        if client_order_id:
            params["clientOid"] = client_order_id
            return RestCall("privateGetHfOrdersClientOrderClientOid", params, {"spot": 2})
        params["orderId"] = venue_order_id or "0"
        return RestCall("privateGetHfOrdersOrderId", params, {"spot": 2})

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order; NotListed where the venue answers null."""
        if not isinstance(reply, dict) or "data" not in reply:
            raise BadReply("no order")
        row = _data(reply, _Order | None)
        if row is None:
            raise NotListed("the venue knows no such order")
        return self._order(row, "query")

    def open_orders(self, symbol: str) -> RestCall:
        """GET hf/orders/active of one symbol: all of them, without pages."""
        params = {"symbol": self._theirs[symbol]}
        return RestCall("privateGetHfOrdersActive", params, {"spot": 2})

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return them; the venue says null for none."""
        del call
        if not isinstance(reply, dict) or "data" not in reply:
            raise BadReply("no list of orders")
        rows = _data(reply, list[_Order] | None) or []
        return Orders([self._order(row, source) for row in rows], None)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """GET hf/fills from a time; the venue allows windows of a week."""
        end_ms = min(since_ms + WINDOW_MS, now_ms + 60_000)
        params = {"symbol": self._theirs[symbol], "startAt": str(since_ms), "endAt": str(end_ms),
                  "limit": str(PAGE)}  # fmt: skip
        return RestCall("privateGetHfFills", params, {"spot": 2})

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """GET hf/fills of one order."""
        params = {"symbol": self._theirs[symbol], "orderId": venue_order_id, "limit": str(PAGE)}
        return RestCall("privateGetHfFills", params, {"spot": 2})

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page; the client ids are not in it and are looked up by `orders_since`."""
        data = _data(reply, _Fills)
        fills = [self._fill(row, source) for row in data.items]
        params = dict(call.params)
        if len(data.items) >= PAGE and data.lastId:
            return Page(fills, call._replace(params={**params, "lastId": str(data.lastId)}))
        end_ms = int(params.get("endAt", now_ms))
        if end_ms >= now_ms:
            return Page(fills, None)
        params.pop("lastId", None)
        params["startAt"] = str(end_ms)
        params["endAt"] = str(min(end_ms + WINDOW_MS, now_ms + 60_000))
        return Page(fills, call._replace(params=params))

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """GET hf/orders/done: which client id has which order id."""
        params = {"symbol": self._theirs[symbol], "startAt": str(since_ms), "limit": str(PAGE)}
        return RestCall("privateGetHfOrdersDone", params, {"spot": 2})

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Return venue order id -> client order id."""
        data = reply.get("data") if isinstance(reply, dict) else None
        rows = read(data.get("items") if isinstance(data, dict) else None, list[_Order])
        return {row.id: row.clientOid for row in rows}

    def account(self) -> RestCall | None:
        """GET user/api-key."""
        return RestCall("privateGetUserApiKey", {}, {"spot": 20})

    def read_account_uid(self, reply: Any) -> str:
        """{"code":"200000","data":{"apiKey":"6705..","uid":165111215,"isMaster":true,..}}."""
        uid: str = _data(reply, _ApiKey).uid
        if not uid:
            raise BadReply("the key's owner is not named")
        return uid

    def balances(self) -> RestCall:
        """GET accounts."""
        return RestCall("privateGetAccounts", {}, {"spot": 5})

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return the trading account's: main, margin and isolated ones are other money."""
        rows = _data(reply, list[_Account])
        fast = [row for row in rows if row.type == "trade_hf"]
        held = fast or [row for row in rows if row.type == "trade"]
        return [BalanceReport(row.currency, row.available, row.holds) for row in held]

    def _order(self, row: _Order, source: Source) -> OrderReport:
        symbol = self._ours.get(row.symbol)
        if symbol is None:
            raise BadReply(f"unknown symbol {row.symbol[:40]}")
        return OrderReport(
            account=self._account,
            client_order_id=row.clientOid,
            venue_order_id=row.id,
            symbol=symbol,
            side=side_of(row.side),
            order_type="MARKET" if row.type == "market" else "LIMIT",
            quantity=row.size,
            price=row.price or None,
            status=_status(row),
            filled_quantity=row.dealSize,
            reason="",
            source=source,
            ts_event_ns=(row.lastUpdatedAt or row.createdAt) * NS_PER_MS,
        )

    def _fill(self, row: _Fill, source: Source) -> FillReport:
        symbol = self._ours.get(row.symbol)
        if symbol is None:
            raise BadReply(f"unknown symbol {row.symbol[:40]}")
        return FillReport(account=self._account, client_order_id="", venue_order_id=row.orderId,
                          trade_id=row.tradeId, symbol=symbol, side=side_of(row.side),
                          price=row.price, quantity=row.size, fee=row.fee,
                          fee_asset=row.feeCurrency,
                          liquidity="MAKER" if row.liquidity == "maker" else "TAKER",
                          source=source, ts_event_ns=row.createdAt * NS_PER_MS)  # fmt: skip


def dead_cancel_all(seconds: int) -> RestCall:
    """POST hf/orders/dead-cancel-all: all open orders are canceled after so long; 0 turns it off."""
    params = {"timeout": seconds or -1}
    return RestCall("privatePostHfOrdersDeadCancelAll", params, {"spot": 2})


# The venue has no word for an order's state, only what follows from it.
def _status(row: _Order) -> VenueStatus:
    is_open = row.active if row.active is not None else row.isActive
    if is_open is None:
        raise BadReply(f"order {row.id[:40]} neither open nor closed")
    if is_open:
        return "PARTIALLY_FILLED" if row.dealSize else "NEW"
    return "FILLED" if row.dealSize and row.dealSize >= row.size else "CANCELED"
