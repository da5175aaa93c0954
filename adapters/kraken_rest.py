"""Kraken spot, the REST half: which call does what, what it costs, and how to read its answer.

https://docs.kraken.com/api/docs/rest-api/add-order. Pure: the calls are made by
adapters/ccxt_rest.py, whose answers have every number as text. Orders and fills are listed for the
whole account, so their readers pick one symbol's out. The venue's REST spelling of a pair (XBTUSD,
XXBTZUSD) is learned from its own listing. An order carries a `deadline`, after which the engine is
documented to refuse it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import Ack, BadReply, NotListed, Orders, Page, RestCall
from adapters.names import Names
from adapters.symbols import Listing, Table, asset, table_of
from adapters.wire import at, ns_of_seconds, read, side_of
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

FILLS_PAGE: Final = 50
MAKER_DEFAULT: Final = Decimal("0.0025")
TAKER_DEFAULT: Final = Decimal("0.004")
INSTRUMENT_STATUS: Final = {
    "online": "TRADING", "cancel_only": "CANCEL_ONLY", "post_only": "HALTED",
    "limit_only": "TRADING", "reduce_only": "HALTED", "maintenance": "HALTED",
}  # fmt: skip
STATUS: Final[Mapping[str, VenueStatus]] = {
    "pending": "NEW", "open": "NEW", "closed": "FILLED", "canceled": "CANCELED",
    "expired": "EXPIRED",
}  # fmt: skip
_NO_TABLE: Final = Table({}, {}, ())


class _Pair(msgspec.Struct):
    altname: str
    base: str
    quote: str
    pair_decimals: int
    lot_decimals: int
    wsname: str = ""
    ordermin: Decimal | None = None
    costmin: Decimal | None = None
    tick_size: Decimal | None = None
    status: str = "online"


class _Fee(msgspec.Struct):
    fee: Decimal


class _Volume(msgspec.Struct):
    fees: dict[str, _Fee]
    fees_maker: dict[str, _Fee]


class _Placed(msgspec.Struct):
    txid: list[str]
    cl_ord_id: str = ""


class _Description(msgspec.Struct):
    pair: str
    type: str
    ordertype: str
    price: str


class _Order(msgspec.Struct):
    status: str
    opentm: Decimal
    descr: _Description
    vol: Decimal
    vol_exec: Decimal
    cl_ord_id: str | None = None
    closetm: Decimal = Decimal(0)
    reason: str | None = None
    trades: list[str] = []


class _Trade(msgspec.Struct):
    ordertxid: str
    pair: str
    time: Decimal
    type: str
    price: Decimal
    vol: Decimal
    fee: Decimal
    maker: bool = False


class _Held(msgspec.Struct):
    balance: Decimal
    hold_trade: Decimal


def _result(reply: Any, kind: Any) -> Any:
    # {"error":[],"result":{...}}
    return read(at(reply, "result"), kind)


class KrakenRest:
    """Kraken's REST dialect for one account. `symbols` maps the streams' spelling to ours."""

    exchange_id: str = "kraken"
    # The counters of the highest tier: a lower one is told by the venue. A cancel may count for many.
    scopes: Mapping[str, tuple[int, float]] = {
        "counter": (20, 20.0),
        "orders": (225, 60.0),
        "public": (15, 15.0),  # one a second, as the venue counts them by address
    }

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = frozenset(symbols.values())
        self._table = _NO_TABLE  # what the venue lists; empty until `read_instruments`
        self._names = Names()

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing: the venue sends no counters by REST."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """GET Time."""
        return RestCall("publicGetTime", {}, {"public": 1})

    def read_server_time(self, reply: Any) -> int:
        """{"result":{"unixtime":1616336594,..}}: whole seconds, so the middle of that one."""
        return int(read(at(reply, "result", "unixtime"), int)) * 1000 + 500

    # --- instruments

    def instruments(self) -> RestCall:
        """GET AssetPairs, all."""
        return RestCall("publicGetAssetPairs", {}, {"public": 1})

    def read_listings(self, reply: Any) -> list[Listing]:
        """Return every pair with its key, altname and wsname; dark pools have no stream."""
        pairs = _result(reply, dict[str, _Pair]).items()
        return [Listing(p.altname, p.base, p.quote, (k, p.wsname)) for k, p in pairs if p.wsname]

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones, and learn how REST spells them."""
        pairs = _result(reply, dict[str, _Pair])
        self._table = table_of("kraken", self.read_listings(reply))
        by_altname = {pair.altname: pair for pair in pairs.values()}
        return [
            self._instrument(ours, by_altname[altname])
            for ours, altname in self._table.venue_symbols.items()
            if ours in self._ours
        ]

    def _instrument(self, symbol: str, pair: _Pair) -> Instrument:
        # Written with as many decimals as the checksum of the book counts.
        unit, lot = _step(pair.pair_decimals), _step(pair.lot_decimals)
        tick = unit if pair.tick_size is None else pair.tick_size.quantize(unit)
        if not tick or (pair.tick_size is not None and tick != pair.tick_size):
            raise BadReply(f"{symbol} has a tick finer than its decimals: {pair.tick_size}")
        return Instrument(
            venue=self._venue,
            symbol=symbol,
            venue_symbol=pair.altname,
            base=asset("kraken", pair.base),
            quote=asset("kraken", pair.quote),
            tick_size=tick,
            lot_size=lot,
            quantity_min=lot if pair.ordermin is None else pair.ordermin,
            quantity_max=None,
            notional_min=pair.costmin or Decimal(0),
            maker_fee=MAKER_DEFAULT,
            taker_fee=TAKER_DEFAULT,
            status=INSTRUMENT_STATUS.get(pair.status, "DELISTED"),  # type: ignore[arg-type]
        )

    def _pair(self, symbol: str) -> str:
        name = self._table.venue_symbols.get(symbol)
        if name is None:
            raise BadReply(f"the venue has not listed {symbol} yet")
        return name

    def fees(self, symbol: str) -> RestCall:
        """POST TradeVolume."""
        return RestCall("privatePostTradeVolume", {"pair": self._pair(symbol)}, {"counter": 1})

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """{"result":{"fees":{"XXBTZUSD":{"fee":"0.2600",..}},"fees_maker":{..}}}: per cent."""
        volume = _result(reply, _Volume)
        for name, taker in volume.fees.items():
            maker = volume.fees_maker.get(name)
            if self._table.symbols.get(name) == instrument.symbol and maker is not None:
                return msgspec.structs.replace(
                    instrument, maker_fee=maker.fee / 100, taker_fee=taker.fee / 100
                )
        raise BadReply(f"no fees of {instrument.symbol}")

    def snapshot(self, symbol: str) -> RestCall | None:
        """Nothing: the stream brings it."""

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """Never asked for."""
        raise BadReply(f"the stream brings the snapshot of {symbol}")

    # --- orders

    def submit(self, order: SubmitOrder) -> RestCall:
        """POST AddOrder. A MARKET order with a price is sent as limit IOC at that price."""
        params = {
            "pair": self._pair(order.symbol),
            "type": order.side.lower(),
            "volume": f"{order.quantity:f}",
            "cl_ord_id": order.client_order_id,
            "stptype": "cancel-oldest",
            "oflags": "post,fciq" if order.post_only else "fciq",  # fees in the quote
        }
        if order.price is None:
            params["ordertype"] = "market"
        else:
            tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
            params |= {"ordertype": "limit", "price": f"{order.price:f}", "timeinforce": tif}
        return RestCall("privatePostAddOrder", params, {"orders": 1}, expires=True)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it has exactly one id."""
        placed = _result(reply, _Placed)
        if len(placed.txid) != 1 or placed.cl_ord_id not in ("", order.client_order_id):
            raise BadReply("the answer names no order or another one")
        self._names.learn(order.client_order_id, placed.txid[0])
        return Ack(placed.txid[0], 0, [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """POST CancelOrder, by our id where there is one."""
        if cancel.client_order_id:
            params = {"cl_ord_id": cancel.client_order_id}
        else:
            params = {"txid": cancel.venue_order_id or "0"}
        return RestCall("privatePostCancelOrder", params, {"orders": 2})

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """{"result":{"count":1}}: the stream or a query tells the order's state."""
        if read(at(reply, "result", "count"), int) < 1:
            raise BadReply(f"nothing was canceled for {cancel.client_order_id}")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """POST QueryOrders by the venue's id, ClosedOrders by ours: a page of them may miss it."""
        if venue_order_id:
            params = {"txid": venue_order_id}
            return RestCall("privatePostQueryOrders", params, {"counter": 1}, symbol=symbol)
        params = {"cl_ord_id": client_order_id}
        return RestCall("privatePostClosedOrders", params, {"counter": 2}, symbol=symbol)

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order; NotListed when the list is empty."""
        result = at(reply, "result")
        is_list = isinstance(result, dict) and "closed" in result
        orders = read(at(result, "closed") if is_list else result, dict[str, _Order])
        if not orders:
            raise NotListed("the venue lists no such order")
        if len(orders) > 1:
            raise BadReply(f"{len(orders)} orders instead of one")
        ((txid, order),) = orders.items()
        return self._order(txid, order, "query")

    def open_orders(self, symbol: str) -> RestCall:
        """POST OpenOrders: the account's, of all pairs; the symbol "" keeps those of all of ours."""
        return RestCall("privatePostOpenOrders", {}, {"counter": 1}, symbol=symbol)

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return those of the symbol that was asked for."""
        listed = read(at(reply, "result", "open"), dict[str, _Order]).items()
        kept = [(txid, order) for txid, order in listed if self._is_asked(order.descr.pair, call)]
        return Orders([self._order(txid, order, source) for txid, order in kept], None)

    def _is_asked(self, pair: str, call: RestCall) -> bool:
        if self._table is _NO_TABLE:
            raise BadReply("the pairs are not known yet, so none can be told from another's")
        symbol = self._table.symbols.get(pair)
        return symbol in self._ours if not call.symbol else symbol == call.symbol

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """POST TradesHistory from a time: the account's, of all pairs, newest first."""
        del now_ms
        params = {"start": str(since_ms // 1000), "ofs": "0", "consolidate_taker": "false"}
        return RestCall("privatePostTradesHistory", params, {"counter": 2}, symbol=symbol)

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """POST QueryOrders with the ids of its trades, which the next call asks for."""
        params = {"txid": venue_order_id, "trades": "true", "consolidate_taker": "false"}
        return RestCall("privatePostQueryOrders", params, {"counter": 1}, symbol=symbol,
                        venue_order_id=venue_order_id)  # fmt: skip

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page; the client ids are not in it and are looked up by `orders_since`."""
        del now_ms
        if call.method == "privatePostQueryOrders":
            return Page([], self._trades_of(reply, call))
        if call.method == "privatePostQueryTrades":
            return Page(self._fills(_result(reply, dict[str, _Trade]), call, source), None)
        trades = read(at(reply, "result", "trades"), dict[str, _Trade])
        more = None
        if len(trades) >= FILLS_PAGE:
            offset = str(int(call.params["ofs"]) + len(trades))
            more = call._replace(params={**call.params, "ofs": offset})
        return Page(self._fills(trades, call, source), more)

    def _trades_of(self, reply: Any, call: RestCall) -> RestCall | None:
        order = _result(reply, dict[str, _Order]).get(call.venue_order_id)
        if order is None:
            raise BadReply(f"the answer does not name {call.venue_order_id}")
        if not order.trades:
            return None
        params = {"txid": ",".join(order.trades)}
        return call._replace(method="privatePostQueryTrades", params=params)

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """POST ClosedOrders: which client id has which order id."""
        params = {"start": str(since_ms // 1000)}
        return RestCall("privatePostClosedOrders", params, {"counter": 2}, symbol=symbol)

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Return venue order id -> client order id, from a list or a query of several orders."""
        listed = at(reply, "result", "closed")
        orders = read(at(reply, "result") if listed is None else listed, dict[str, _Order])
        for txid, order in orders.items():
            self._names.learn(order.cl_ord_id or "", txid)
        return {txid: order.cl_ord_id or "" for txid, order in orders.items()}

    def account(self) -> RestCall | None:
        """Nothing: no call that this program makes names the account."""
        return None

    def read_account_uid(self, reply: Any) -> str:
        """Never asked for."""
        raise BadReply("no account")

    def balances(self) -> RestCall:
        """POST BalanceEx."""
        return RestCall("privatePostBalanceEx", {}, {"counter": 1})

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """{"result":{"ZUSD":{"balance":"25435.21","hold_trade":"8249.76"}}}; staked ones too."""
        held = _result(reply, dict[str, _Held])
        return [
            BalanceReport(asset("kraken", name), h.balance - h.hold_trade, h.hold_trade)
            for name, h in held.items()
        ]

    def _order(self, txid: str, row: _Order, source: Source) -> OrderReport:
        symbol, status = self._table.symbols.get(row.descr.pair), STATUS.get(row.status)
        if symbol is None or status is None:
            raise BadReply(f"unknown status {row.status[:40]} or pair {row.descr.pair[:40]}")
        if status == "NEW" and row.vol_exec:
            status = "PARTIALLY_FILLED"
        self._names.learn(row.cl_ord_id or "", txid)
        is_market = row.descr.ordertype == "market"
        return OrderReport(account=self._account, client_order_id=row.cl_ord_id or "",
                           venue_order_id=txid, symbol=symbol, side=side_of(row.descr.type),
                           order_type="MARKET" if is_market else "LIMIT", quantity=row.vol,
                           price=None if is_market else read(row.descr.price, Decimal),
                           status=status, filled_quantity=row.vol_exec,
                           reason=(row.reason or "")[:200], source=source,
                           ts_event_ns=ns_of_seconds(row.closetm or row.opentm))  # fmt: skip

    def _fills(self, trades: dict[str, _Trade], call: RestCall, source: Source) -> list[FillReport]:
        return [
            self._fill(txid, trade, source)
            for txid, trade in trades.items()
            if self._is_asked(trade.pair, call)
        ]

    def _fill(self, txid: str, trade: _Trade, source: Source) -> FillReport:
        symbol = self._table.symbols[trade.pair]
        return FillReport(account=self._account,
                          client_order_id=self._names.client_id(trade.ordertxid),
                          venue_order_id=trade.ordertxid, trade_id=txid, symbol=symbol,
                          side=side_of(trade.type), price=trade.price, quantity=trade.vol,
                          fee=trade.fee, fee_asset=symbol.partition("/")[2],  # ours are paid so
                          liquidity="MAKER" if trade.maker else "TAKER", source=source,
                          ts_event_ns=ns_of_seconds(trade.time))  # fmt: skip


def _step(decimals: int) -> Decimal:
    if not 0 <= decimals <= 18:
        raise BadReply(f"a pair with {decimals} decimals")
    return Decimal(1).scaleb(-decimals)
