"""Bybit v5 spot, the REST half: which call does what, what it costs, and how to read its answer.

https://bybit-exchange.github.io/docs/v5/order/create-order. Pure: the calls are made by
adapters/ccxt_rest.py, whose answers have every number as text. The venue drops a request that is
older than its receive window.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.bybit import NO_REASON, status_of
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
)

SPOT: Final = {"category": "spot"}
ORDERS_PAGE: Final = 50
FILLS_PAGE: Final = 100
WINDOW_MS: Final = 7 * 24 * 3600 * 1000 - 1000
FEE_DEFAULT: Final = Decimal("0.001")
INSTRUMENT_STATUS: Final = {"Trading": "TRADING", "PreLaunch": "HALTED"}


class _Price(msgspec.Struct):
    tickSize: Decimal


class _Lot(msgspec.Struct):
    basePrecision: Decimal
    minOrderQty: Decimal
    minOrderAmt: Decimal = Decimal(0)
    maxOrderQty: Decimal | None = None


class _Instrument(msgspec.Struct):
    symbol: str
    baseCoin: str
    quoteCoin: str
    status: str
    lotSizeFilter: _Lot
    priceFilter: _Price


class _Fee(msgspec.Struct):
    takerFeeRate: Decimal
    makerFeeRate: Decimal


class _Placed(msgspec.Struct):
    orderId: str
    orderLinkId: str


class _Order(msgspec.Struct):
    symbol: str
    orderId: str
    orderLinkId: str
    side: str
    orderType: str
    orderStatus: str
    price: str
    qty: Decimal
    cumExecQty: str
    updatedTime: int
    rejectReason: str = ""


class _Fill(msgspec.Struct):
    symbol: str
    execId: str
    orderId: str
    orderLinkId: str
    side: str
    execPrice: Decimal
    execQty: Decimal
    execFee: Decimal
    feeCurrency: str
    execTime: int
    isMaker: bool


class _Coin(msgspec.Struct):
    coin: str
    walletBalance: str
    locked: str


class _Wallet(msgspec.Struct):
    coin: list[_Coin]


class _Identity(msgspec.Struct):
    userID: str


class _Time(msgspec.Struct):
    time: int


def _result(reply: Any, kind: Any) -> Any:
    # {"retCode":0,"retMsg":"OK","result":{...},"time":1672211918471}
    return read(reply.get("result") if isinstance(reply, dict) else None, kind)


def _rows(reply: Any, kind: Any) -> Any:
    result = reply.get("result") if isinstance(reply, dict) else None
    return read(result.get("list") if isinstance(result, dict) else None, list[kind])


# The next page of a list, if the venue gives a cursor for one.
def _more(reply: Any, call: RestCall, is_full: bool) -> RestCall | None:
    cursor = reply["result"].get("nextPageCursor")
    if not is_full or not cursor:
        return None
    return call._replace(params={**call.params, "cursor": str(cursor)})


class BybitRest:
    """Bybit's REST dialect for one account. `symbols` maps the venue's spelling to ours."""

    exchange_id: str = "bybit"
    scopes: Mapping[str, tuple[int, float]] = {
        "ip": (600, 5.0),
        # Half of the venue's 20: a bucket gives its whole and what it regains within the same second.
        "order": (10, 1.0),
        "cancel": (10, 1.0),
        "order_query": (50, 1.0),
        "fills": (50, 1.0),
        "balance": (50, 1.0),
    }

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = symbols
        self._theirs = {ours: theirs for theirs, ours in symbols.items()}

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing: the headers do not tell which endpoint they count."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """GET market/time."""
        return RestCall("publicGetV5MarketTime", {}, {"ip": 1})

    def read_server_time(self, reply: Any) -> int:
        """{"retCode":0,"result":{"timeSecond":"1688639403",..},"time":1688639403423}."""
        return int(read(reply, _Time).time)

    def instruments(self) -> RestCall:
        """GET market/instruments-info, all of spot: it has no pages."""
        return RestCall("publicGetV5MarketInstrumentsInfo", SPOT, {"ip": 1})

    def read_listings(self, reply: Any) -> list[Listing]:
        """Return every instrument with the venue's spelling of it."""
        rows = _rows(reply, _Instrument)
        return [Listing(row.symbol, row.baseCoin, row.quoteCoin) for row in rows]

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones; others need not even be well-formed."""
        result = reply.get("result") if isinstance(reply, dict) else None
        listed = result.get("list") if isinstance(result, dict) else None
        if not isinstance(listed, list):
            raise BadReply("no list of instruments")
        kept = [r for r in listed if isinstance(r, dict) and r.get("symbol") in self._ours]
        return [self._instrument(row) for row in read(kept, list[_Instrument])]

    def _instrument(self, row: _Instrument) -> Instrument:
        lot = row.lotSizeFilter
        return Instrument(
            venue=self._venue,
            symbol=self._ours[row.symbol],
            venue_symbol=row.symbol,
            base=row.baseCoin,
            quote=row.quoteCoin,
            tick_size=row.priceFilter.tickSize.normalize(),
            lot_size=lot.basePrecision.normalize(),
            quantity_min=lot.minOrderQty,
            quantity_max=lot.maxOrderQty,
            notional_min=lot.minOrderAmt,
            maker_fee=FEE_DEFAULT,
            taker_fee=FEE_DEFAULT,
            status=INSTRUMENT_STATUS.get(row.status, "DELISTED"),  # type: ignore[arg-type]
        )

    def fees(self, symbol: str) -> RestCall:
        """GET account/fee-rate."""
        params = {**SPOT, "symbol": self._theirs[symbol]}
        return RestCall("privateGetV5AccountFeeRate", params, {"ip": 1, "balance": 1})

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """{"result":{"list":[{"symbol":"ETHUSDT","takerFeeRate":"0.0006","makerFeeRate":..}]}}."""
        rows = _rows(reply, _Fee)
        if len(rows) != 1:
            raise BadReply(f"{len(rows)} fees instead of one")
        return msgspec.structs.replace(
            instrument, maker_fee=rows[0].makerFeeRate, taker_fee=rows[0].takerFeeRate
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
        """POST order/create. A MARKET order with a price is sent as LIMIT IOC at that price."""
        params = {
            **SPOT,
            "symbol": self._theirs[order.symbol],
            "side": order.side.capitalize(),
            "qty": f"{order.quantity:f}",
            "orderLinkId": order.client_order_id,
            "smpType": "CancelMaker",
        }
        if order.price is None:
            params |= {"orderType": "Market", "marketUnit": "baseCoin"}
        else:
            tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
            params |= {"orderType": "Limit", "price": f"{order.price:f}"}
            params["timeInForce"] = "PostOnly" if order.post_only else tif
        return RestCall("privatePostV5OrderCreate", params, {"ip": 1, "order": 1}, expires=True)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it names our order and its id."""
        placed = _result(reply, _Placed)
        if placed.orderLinkId != order.client_order_id or not placed.orderId:
            raise BadReply("the answer names another order")
        return Ack(placed.orderId, read(reply, _Time).time * NS_PER_MS, [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """POST order/cancel, by our id where there is one."""
        params = {**SPOT, "symbol": self._theirs[cancel.symbol]}
        params |= _naming(cancel.client_order_id, cancel.venue_order_id)
        return RestCall("privatePostV5OrderCancel", params, {"ip": 1, "cancel": 1})

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Check the acknowledgement; the stream or a query tells the order's state."""
        done = _result(reply, _Placed)
        if cancel.client_order_id and done.orderLinkId != cancel.client_order_id:
            raise BadReply("the answer names another order")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """GET order/realtime of one order: open ones, and the last five hundred closed."""
        params = {**SPOT, "symbol": self._theirs[symbol]}
        params |= _naming(client_order_id, venue_order_id)
        return RestCall("privateGetV5OrderRealtime", params, {"ip": 1, "order_query": 1})

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order; NotListed when the list is empty."""
        rows = _rows(reply, _Order)
        if not rows:
            raise NotListed("the venue lists no such order")
        if len(rows) > 1:
            raise BadReply(f"{len(rows)} orders instead of one")
        return self._order(rows[0], "query")

    def open_orders(self, symbol: str) -> RestCall:
        """GET order/realtime of one symbol, the open ones."""
        params = {**SPOT, "symbol": self._theirs[symbol], "openOnly": "0",
                  "limit": str(ORDERS_PAGE)}  # fmt: skip
        return RestCall("privateGetV5OrderRealtime", params, {"ip": 1, "order_query": 1})

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return a page."""
        rows = _rows(reply, _Order)
        more = _more(reply, call, len(rows) >= ORDERS_PAGE)
        return Orders([self._order(row, source) for row in rows], more)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """GET execution/list from a time; the venue allows windows of a week."""
        end_ms = min(since_ms + WINDOW_MS, now_ms + 60_000)
        params = {**SPOT, "symbol": self._theirs[symbol], "startTime": str(since_ms),
                  "endTime": str(end_ms), "limit": str(FILLS_PAGE)}  # fmt: skip
        return RestCall("privateGetV5ExecutionList", params, {"ip": 1, "fills": 1})

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """GET execution/list of one order."""
        params = {**SPOT, "symbol": self._theirs[symbol], "orderId": venue_order_id,
                  "limit": str(FILLS_PAGE)}  # fmt: skip
        return RestCall("privateGetV5ExecutionList", params, {"ip": 1, "fills": 1})

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page, and the next of this window or the first of the next."""
        rows = _rows(reply, _Fill)
        fills = [self._fill(row, source) for row in rows]
        more = _more(reply, call, len(rows) >= FILLS_PAGE)
        end_ms = int(call.params.get("endTime", now_ms))
        if more is not None or end_ms >= now_ms:
            return Page(fills, more)
        params = {name: value for name, value in call.params.items() if name != "cursor"}
        params["startTime"] = str(end_ms)
        params["endTime"] = str(min(end_ms + WINDOW_MS, now_ms + 60_000))
        return Page(fills, call._replace(params=params))

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """Nothing: fills carry the client id."""
        del symbol, since_ms
        return None

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Never asked for."""
        del reply
        return {}

    def account(self) -> RestCall | None:
        """GET user/query-api."""
        return RestCall("privateGetV5UserQueryApi", {}, {"ip": 1})

    def read_account_uid(self, reply: Any) -> str:
        """{"retCode":0,"result":{"id":"13770661",..,"uta":1,"userID":24617703,..}}."""
        uid: str = _result(reply, _Identity).userID
        if not uid:
            raise BadReply("the key's owner is not named")
        return uid

    def balances(self) -> RestCall:
        """GET account/wallet-balance."""
        params = {"accountType": "UNIFIED"}
        return RestCall("privateGetV5AccountWalletBalance", params, {"ip": 1, "balance": 1})

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and locked of every asset held; free is negative where there is a debt."""
        wallets = _rows(reply, _Wallet)
        if len(wallets) != 1:
            raise BadReply(f"{len(wallets)} wallets instead of one")
        return [_balance(coin) for coin in wallets[0].coin]

    def _order(self, row: _Order, source: Source) -> OrderReport:
        status, symbol = status_of(row.orderStatus, row.rejectReason), self._ours.get(row.symbol)
        if status is None or symbol is None:
            raise BadReply(f"unknown status {row.orderStatus[:40]} or symbol {row.symbol[:40]}")
        return OrderReport(
            account=self._account,
            client_order_id=row.orderLinkId,
            venue_order_id=row.orderId,
            symbol=symbol,
            side=side_of(row.side),
            order_type="MARKET" if row.orderType == "Market" else "LIMIT",
            quantity=row.qty,
            price=(_number(row.price) or None) if row.price else None,
            status=status,
            filled_quantity=_number(row.cumExecQty or "0"),
            reason="" if row.rejectReason in NO_REASON else row.rejectReason[:200],
            source=source,
            ts_event_ns=row.updatedTime * NS_PER_MS,
        )

    def _fill(self, row: _Fill, source: Source) -> FillReport:
        symbol = self._ours.get(row.symbol)
        if symbol is None:
            raise BadReply(f"unknown symbol {row.symbol[:40]}")
        return FillReport(account=self._account, client_order_id=row.orderLinkId,
                          venue_order_id=row.orderId, trade_id=row.execId, symbol=symbol,
                          side=side_of(row.side), price=row.execPrice, quantity=row.execQty,
                          fee=row.execFee, fee_asset=row.feeCurrency,
                          liquidity="MAKER" if row.isMaker else "TAKER", source=source,
                          ts_event_ns=row.execTime * NS_PER_MS)  # fmt: skip


def _balance(coin: _Coin) -> BalanceReport:
    locked = _number(coin.locked or "0")
    return BalanceReport(coin.coin, _number(coin.walletBalance or "0") - locked, locked)


def _number(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise BadReply(f"not a number: {text[:40]!r}") from None


def _naming(client_order_id: str, venue_order_id: str | None) -> dict[str, str]:
    if client_order_id:
        return {"orderLinkId": client_order_id}
    return {"orderId": venue_order_id or "0"}
