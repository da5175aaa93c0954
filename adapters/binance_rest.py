"""Binance spot, the REST half: which call does what, what it costs, and how to read its answer.

https://github.com/binance/binance-spot-api-docs/blob/master/rest-api.md. Pure: the calls are made
by adapters/ccxt_rest.py, whose answers have every number as text.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.binance import RECV_WINDOW_MS, STATUS
from adapters.codec import NS_PER_MS, Ack, BadReply, Orders, Page, RestCall
from engine.messages.base import Side
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

SNAPSHOT_LEVELS: Final = 1000
FILLS_PAGE: Final = 1000
DAY_MS: Final = 24 * 3600 * 1000
FEE_DEFAULT: Final = Decimal("0.001")
INSTRUMENT_STATUS: Final = {"TRADING": "TRADING", "CANCEL_ONLY": "CANCEL_ONLY", "BREAK": "HALTED",
                            "HALT": "HALTED"}  # fmt: skip


class _Filter(msgspec.Struct):
    filterType: str
    tickSize: Decimal | None = None
    minQty: Decimal | None = None
    maxQty: Decimal | None = None
    stepSize: Decimal | None = None
    minNotional: Decimal | None = None


class _Symbol(msgspec.Struct):
    symbol: str
    status: str
    baseAsset: str
    quoteAsset: str
    filters: list[_Filter]


class _ExchangeInfo(msgspec.Struct):
    symbols: list[_Symbol]


class _Rates(msgspec.Struct):
    maker: Decimal
    taker: Decimal


class _Commission(msgspec.Struct):
    standardCommission: _Rates


class _Depth(msgspec.Struct):
    lastUpdateId: int
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Part(msgspec.Struct):
    price: Decimal
    qty: Decimal
    commission: Decimal
    commissionAsset: str
    tradeId: int


class _Order(msgspec.Struct):
    symbol: str
    orderId: int
    clientOrderId: str
    price: Decimal
    origQty: Decimal
    executedQty: Decimal
    status: str
    type: str
    side: Side
    origClientOrderId: str = ""
    updateTime: int = 0
    transactTime: int = 0
    fills: list[_Part] = []


class _Trade(msgspec.Struct):
    id: int
    orderId: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commissionAsset: str
    time: int
    isBuyer: bool
    isMaker: bool


class _Balance(msgspec.Struct):
    asset: str
    free: Decimal
    locked: Decimal


class _Account(msgspec.Struct):
    balances: list[_Balance]
    uid: int


class _Time(msgspec.Struct):
    serverTime: int


def _read(reply: Any, kind: Any) -> Any:
    try:
        return msgspec.convert(reply, kind, strict=False)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise BadReply(str(error)[:200]) from error


class BinanceRest:
    """Binance spot's REST dialect for one account. `symbols` maps the venue's spelling to ours."""

    exchange_id: str = "binance"
    scopes: Mapping[str, tuple[int, float]] = {
        "weight": (6000, 60.0),
        "orders": (100, 10.0),
        "orders_day": (200_000, 86_400.0),
    }

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = symbols
        self._theirs = {ours: theirs for theirs, ours in symbols.items()}

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Return what the venue says is spent, per scope."""
        names = {
            "x-mbx-used-weight-1m": "weight",
            "x-mbx-order-count-10s": "orders",
            "x-mbx-order-count-1d": "orders_day",
        }
        lower = {key.lower(): value for key, value in headers.items()}
        return {scope: int(lower[h]) for h, scope in names.items() if lower.get(h, "").isdigit()}

    def server_time(self) -> RestCall:
        """GET time."""
        return RestCall("publicGetTime", {}, {"weight": 1})

    def read_server_time(self, reply: Any) -> int:
        """{"serverTime":1499827319559}."""
        return int(_read(reply, _Time).serverTime)

    def instruments(self) -> RestCall:
        """GET exchangeInfo of our symbols."""
        names = ",".join(f'"{name}"' for name in self._ours)
        return RestCall("publicGetExchangeInfo", {"symbols": f"[{names}]"}, {"weight": 20})

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones; fees are defaults until `read_fees`."""
        listed = _read(reply, _ExchangeInfo).symbols
        return [self._instrument(s) for s in listed if s.symbol in self._ours]

    def _instrument(self, symbol: _Symbol) -> Instrument:
        by_type = {f.filterType: f for f in symbol.filters}
        price, lot = by_type.get("PRICE_FILTER"), by_type.get("LOT_SIZE")
        notional = by_type.get("NOTIONAL") or by_type.get("MIN_NOTIONAL")
        if price is None or lot is None or not price.tickSize or not lot.stepSize:
            raise BadReply(f"{symbol.symbol} has no tick or lot size")
        return Instrument(
            venue=self._venue,
            symbol=self._ours[symbol.symbol],
            venue_symbol=symbol.symbol,
            base=symbol.baseAsset,
            quote=symbol.quoteAsset,
            tick_size=price.tickSize.normalize(),
            lot_size=lot.stepSize.normalize(),
            quantity_min=lot.minQty or lot.stepSize,
            quantity_max=lot.maxQty,
            notional_min=(notional and notional.minNotional) or Decimal(0),
            maker_fee=FEE_DEFAULT,
            taker_fee=FEE_DEFAULT,
            status=INSTRUMENT_STATUS.get(symbol.status, "DELISTED"),  # type: ignore[arg-type]
        )

    def fees(self, symbol: str) -> RestCall:
        """GET account/commission."""
        return self._signed("privateGetAccountCommission", {"symbol": self._theirs[symbol]}, 20)

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """{"symbol":"BTCUSDT","standardCommission":{"maker":"0.00100000","taker":...}}."""
        rates = _read(reply, _Commission).standardCommission
        return msgspec.structs.replace(instrument, maker_fee=rates.maker, taker_fee=rates.taker)

    def snapshot(self, symbol: str) -> RestCall | None:
        """GET depth."""
        params = {"symbol": self._theirs[symbol], "limit": str(SNAPSHOT_LEVELS)}
        return RestCall("publicGetDepth", params, {"weight": 50})

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """{"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[...]}."""
        depth = _read(reply, _Depth)
        last = depth.lastUpdateId
        return BookDelta(symbol, last, last, None, depth.bids, depth.asks, 0, is_snapshot=True)

    def submit(self, order: SubmitOrder) -> RestCall:
        """POST order. A MARKET order with a price is sent as LIMIT IOC at that price: its collar."""
        params = {
            "symbol": self._theirs[order.symbol],
            "side": order.side,
            "quantity": f"{order.quantity:f}",
            "newClientOrderId": order.client_order_id,
            "newOrderRespType": "FULL",
            "selfTradePreventionMode": "EXPIRE_MAKER",  # what risk's own look cannot see in time
        }
        if order.price is None:
            params["type"] = "MARKET"
        elif order.post_only:
            params |= {"type": "LIMIT_MAKER", "price": f"{order.price:f}"}
        else:
            tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
            params |= {"type": "LIMIT", "timeInForce": tif, "price": f"{order.price:f}"}
        costs = {"weight": 1, "orders": 1, "orders_day": 1}
        return self._signed("privatePostOrder", params, 1)._replace(costs=costs)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it names our order and its id."""
        placed: _Order = _read(reply, _Order)
        if placed.clientOrderId != order.client_order_id or placed.orderId <= 0:
            raise BadReply("the answer names another order")
        fills = [self._part(part, placed, order.symbol) for part in placed.fills]
        ts_ns = placed.transactTime * NS_PER_MS
        return Ack(str(placed.orderId), ts_ns, [*fills, self._order(placed, "reply")])

    def _part(self, part: _Part, order: _Order, symbol: str) -> FillReport:
        # An order that fills at once is the taker.
        return FillReport(
            account=self._account,
            client_order_id=order.clientOrderId,
            venue_order_id=str(order.orderId),
            trade_id=str(part.tradeId),
            symbol=symbol,
            side=order.side,
            price=part.price,
            quantity=part.qty,
            fee=part.commission,
            fee_asset=part.commissionAsset,
            liquidity="TAKER",
            source="reply",
            ts_event_ns=order.transactTime * NS_PER_MS,
        )

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """DELETE order, by our id where there is one."""
        params = {"symbol": self._theirs[cancel.symbol]}
        params |= _naming(cancel.client_order_id, cancel.venue_order_id)
        return self._signed("privateDeleteOrder", params, 1)

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Return the canceled order; in this answer our id is `origClientOrderId`."""
        canceled: _Order = _read(reply, _Order)
        ours = canceled.origClientOrderId or canceled.clientOrderId
        if cancel.client_order_id and ours != cancel.client_order_id:
            raise BadReply("the answer names another order")
        return [self._order(msgspec.structs.replace(canceled, clientOrderId=ours), "reply")]

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """GET order."""
        params = {"symbol": self._theirs[symbol], **_naming(client_order_id, venue_order_id)}
        return self._signed("privateGetOrder", params, 4)

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order."""
        return self._order(_read(reply, _Order), "query")

    def open_orders(self, symbol: str) -> RestCall:
        """GET openOrders of one symbol."""
        return self._signed("privateGetOpenOrders", {"symbol": self._theirs[symbol]}, 6)

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return them all: the venue does not page."""
        del call
        return Orders([self._order(order, source) for order in _read(reply, list[_Order])], None)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """GET myTrades from a time; the venue allows windows of a day."""
        end_ms = min(since_ms + DAY_MS, now_ms + 60_000)
        params = {"symbol": self._theirs[symbol], "startTime": str(since_ms),
                  "endTime": str(end_ms), "limit": str(FILLS_PAGE)}  # fmt: skip
        return self._signed("privateGetMyTrades", params, 20)

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """GET myTrades of one order."""
        params = {"symbol": self._theirs[symbol], "orderId": venue_order_id,
                  "limit": str(FILLS_PAGE)}  # fmt: skip
        return self._signed("privateGetMyTrades", params, 20)

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page; the client ids are not in it and are looked up by `orders_since`."""
        symbol = self._ours[call.params["symbol"]]
        trades: list[_Trade] = _read(reply, list[_Trade])
        fills = [self._fill(trade, symbol, source) for trade in trades]
        return Page(fills, self._next_fills(trades, call, now_ms))

    def _next_fills(self, trades: list[_Trade], call: RestCall, now_ms: int) -> RestCall | None:
        params = dict(call.params)
        if len(trades) >= FILLS_PAGE:
            # From here on by id: a time may be shared by more trades than fit a page.
            params = {n: v for n, v in params.items() if n not in ("startTime", "endTime")}
            params["fromId"] = str(max(trade.id for trade in trades) + 1)
            return call._replace(params=params)
        end_ms = int(params.get("endTime", now_ms))
        if "endTime" not in params or end_ms >= now_ms:
            return None
        params["startTime"] = str(end_ms)
        params["endTime"] = str(min(end_ms + DAY_MS, now_ms + 60_000))
        return call._replace(params=params)

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """GET allOrders: which client id has which order id."""
        params = {"symbol": self._theirs[symbol], "startTime": str(since_ms), "limit": "1000"}
        return self._signed("privateGetAllOrders", params, 20)

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Return venue order id -> client order id."""
        return {str(o.orderId): o.clientOrderId for o in _read(reply, list[_Order])}

    def read_account_uid(self, reply: Any) -> str:
        """{"makerCommission":15,...,"balances":[...],"permissions":["SPOT"],"uid":354937868}."""
        return str(_read(reply, _Account).uid)

    def balances(self) -> RestCall:
        """GET account."""
        return self._signed("privateGetAccount", {"omitZeroBalances": "true"}, 20)

    account = balances  # the same answer names the account

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and locked of every asset held."""
        held = _read(reply, _Account).balances
        return [BalanceReport(b.asset, b.free, b.locked) for b in held]

    def _signed(self, method: str, params: Mapping[str, str], weight: int) -> RestCall:
        params = {**params, "recvWindow": str(RECV_WINDOW_MS)}
        return RestCall(method, params, {"weight": weight}, expires=True)

    def _order(self, order: _Order, source: Source) -> OrderReport:
        status, symbol = STATUS.get(order.status), self._ours.get(order.symbol)
        if status is None or symbol is None:
            raise BadReply(f"unknown status {order.status[:40]} or symbol {order.symbol[:40]}")
        return OrderReport(
            account=self._account,
            client_order_id=order.clientOrderId,
            venue_order_id=str(order.orderId),
            symbol=symbol,
            side=order.side,
            order_type="MARKET" if order.type == "MARKET" else "LIMIT",
            quantity=order.origQty,
            price=order.price or None,
            status=status,
            filled_quantity=order.executedQty,
            reason="",
            source=source,
            ts_event_ns=(order.updateTime or order.transactTime) * NS_PER_MS,
        )

    def _fill(self, trade: _Trade, symbol: str, source: Source) -> FillReport:
        return FillReport(
            account=self._account,
            client_order_id="",
            venue_order_id=str(trade.orderId),
            trade_id=str(trade.id),
            symbol=symbol,
            side="BUY" if trade.isBuyer else "SELL",
            price=trade.price,
            quantity=trade.qty,
            fee=trade.commission,
            fee_asset=trade.commissionAsset,
            liquidity="MAKER" if trade.isMaker else "TAKER",
            source=source,
            ts_event_ns=trade.time * NS_PER_MS,
        )


def _naming(client_order_id: str, venue_order_id: str | None) -> dict[str, str]:
    if client_order_id:
        return {"origClientOrderId": client_order_id}
    return {"orderId": venue_order_id or "0"}
