"""OKX spot, the REST half: which call does what, what it costs, and how to read its answer.

https://www.okx.com/docs-v5/en/#order-book-trading-trade. Order errors are HTTP 200 with an sCode.
Pure: the calls are made by adapters/ccxt_rest.py, whose answers have every number as text.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import NS_PER_MS, Ack, BadReply, Orders, Page, RestCall
from adapters.okx import SIDES, base_quantity, status_of
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

PAGE: Final = 100
MAKER_DEFAULT: Final = Decimal("0.0008")
TAKER_DEFAULT: Final = Decimal("0.001")
INSTRUMENT_STATUS: Final = {"live": "TRADING", "suspend": "HALTED", "preopen": "HALTED"}


class _Instrument(msgspec.Struct):
    instId: str
    baseCcy: str
    quoteCcy: str
    tickSz: Decimal
    lotSz: Decimal
    minSz: Decimal
    state: str
    maxLmtSz: str = ""
    instIdCode: int | None = None


class _Time(msgspec.Struct):
    ts: int


class _Fee(msgspec.Struct):
    maker: Decimal
    taker: Decimal


class _Placed(msgspec.Struct):
    ordId: str
    clOrdId: str
    sCode: str
    ts: str = ""


class _Order(msgspec.Struct):
    instId: str
    ordId: str
    clOrdId: str
    px: str
    sz: str
    side: str
    ordType: str
    state: str
    accFillSz: str
    uTime: int
    cancelSource: str = ""
    tgtCcy: str = ""


class _Fill(msgspec.Struct):
    instId: str
    tradeId: str
    ordId: str
    clOrdId: str
    billId: str
    fillPx: Decimal
    fillSz: Decimal
    side: str
    execType: str
    fee: Decimal
    feeCcy: str
    ts: int
    fillTime: str = ""


class _Detail(msgspec.Struct):
    ccy: str
    availBal: Decimal
    frozenBal: Decimal


class _Identity(msgspec.Struct):
    uid: str


class _Account(msgspec.Struct):
    details: list[_Detail]


def _rows(reply: Any, kind: Any) -> Any:
    # {"code":"0","msg":"","data":[...]}
    data = reply.get("data") if isinstance(reply, dict) else None
    try:
        return msgspec.convert(data, list[kind], strict=False)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise BadReply(str(error)[:200]) from error


def _one(reply: Any, kind: Any) -> Any:
    rows = _rows(reply, kind)
    if len(rows) != 1:
        raise BadReply(f"{len(rows)} rows instead of one")
    return rows[0]


def cancel_all_after(seconds: int) -> RestCall:
    """POST trade/cancel-all-after: every order of the account, unless told again; 0 turns it off.

    https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-all-after: 0 or 10 to 120.
    """
    return RestCall("privatePostTradeCancelAllAfter", {"timeOut": str(seconds)}, {})


class OkxRest:
    """OKX's REST dialect for one account. `symbols` maps the venue's spelling to ours."""

    exchange_id: str = "okx"
    scopes: Mapping[str, tuple[int, float]] = {
        "order": (60, 2.0),
        "cancel": (60, 2.0),
        "order_query": (60, 2.0),
        "orders_pending": (60, 2.0),
        "fills": (60, 2.0),
        "balance": (10, 2.0),
        "config": (5, 2.0),
        "public": (10, 2.0),
    }

    def __init__(self, venue: str, account: str, symbols: Mapping[str, str]) -> None:
        self._venue = venue
        self._account = account
        self._ours = symbols
        self._theirs = {ours: theirs for theirs, ours in symbols.items()}
        # instId: instIdCode, as the last list of instruments has them.
        self.codes: dict[str, int] = {}

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Nothing: the venue sends no counters."""
        del headers
        return {}

    def server_time(self) -> RestCall:
        """GET public/time."""
        return RestCall("publicGetPublicTime", {}, {"public": 1})

    def read_server_time(self, reply: Any) -> int:
        """{"code":"0","data":[{"ts":"1597026383085"}]}."""
        return int(_one(reply, _Time).ts)

    def instruments(self) -> RestCall:
        """GET public/instruments, all of spot: the venue filters by one id or none."""
        return RestCall("publicGetPublicInstruments", {"instType": "SPOT"}, {"public": 1})

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured ones; others need not even be well-formed."""
        data = reply.get("data") if isinstance(reply, dict) else None
        if not isinstance(data, list):
            raise BadReply("no list of instruments")
        kept = [r for r in data if isinstance(r, dict) and r.get("instId") in self._ours]
        rows = _rows({"data": kept}, _Instrument)
        self.codes.update({r.instId: r.instIdCode for r in rows if r.instIdCode is not None})
        return [self._instrument(row) for row in rows]

    def _instrument(self, row: _Instrument) -> Instrument:
        return Instrument(
            venue=self._venue,
            symbol=self._ours[row.instId],
            venue_symbol=row.instId,
            base=row.baseCcy,
            quote=row.quoteCcy,
            tick_size=row.tickSz.normalize(),
            lot_size=row.lotSz.normalize(),
            quantity_min=row.minSz,
            quantity_max=Decimal(row.maxLmtSz) if row.maxLmtSz else None,
            notional_min=Decimal(0),
            maker_fee=MAKER_DEFAULT,
            taker_fee=TAKER_DEFAULT,
            status=INSTRUMENT_STATUS.get(row.state, "DELISTED"),  # type: ignore[arg-type]
        )

    def fees(self, symbol: str) -> RestCall:
        """GET account/trade-fee."""
        params = {"instType": "SPOT", "instId": self._theirs[symbol]}
        return RestCall("privateGetAccountTradeFee", params, {"balance": 1})

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """[{"maker":"-0.0008","taker":"-0.001"}]: the venue writes charges as negative."""
        fee = _one(reply, _Fee)
        return msgspec.structs.replace(instrument, maker_fee=-fee.maker, taker_fee=-fee.taker)

    def snapshot(self, symbol: str) -> RestCall | None:
        """Nothing: the stream brings it."""
        del symbol
        return None

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """Never asked for."""
        del reply
        raise BadReply(f"the stream brings the snapshot of {symbol}")

    def submit(self, order: SubmitOrder) -> RestCall:
        """POST trade/order. A MARKET order with a price is sent as IOC at that price: its collar."""
        params = {
            "instId": self._theirs[order.symbol],
            "tdMode": "cash",
            "clOrdId": order.client_order_id,
            "side": order.side.lower(),
            "sz": f"{order.quantity:f}",
            "stpMode": "cancel_maker",
        }
        if order.price is None:
            params |= {"ordType": "market", "tgtCcy": "base_ccy"}
        else:
            params |= {"ordType": _order_type(order), "px": f"{order.price:f}"}
        return RestCall("privatePostTradeOrder", params, {"order": 1}, expires=True)

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the acknowledgement; BadReply unless it names our order and its id."""
        placed: _Placed = _one(reply, _Placed)
        if placed.clOrdId != order.client_order_id or not placed.ordId or placed.sCode != "0":
            raise BadReply("the answer names another order")
        ts_ns = int(placed.ts) * NS_PER_MS if placed.ts.isdigit() else 0
        return Ack(placed.ordId, ts_ns, [])

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """POST trade/cancel-order, by our id where there is one."""
        params = {"instId": self._theirs[cancel.symbol]}
        params |= _naming(cancel.client_order_id, cancel.venue_order_id)
        return RestCall("privatePostTradeCancelOrder", params, {"cancel": 1})

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Check the acknowledgement; the stream or a query tells the order's state."""
        placed: _Placed = _one(reply, _Placed)
        if cancel.client_order_id and placed.clOrdId != cancel.client_order_id:
            raise BadReply("the answer names another order")
        return []

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """GET trade/order."""
        params = {"instId": self._theirs[symbol], **_naming(client_order_id, venue_order_id)}
        return RestCall("privateGetTradeOrder", params, {"order_query": 1})

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order."""
        return self._order(_one(reply, _Order), "query")

    def open_orders(self, symbol: str) -> RestCall:
        """GET trade/orders-pending of one symbol, newest first."""
        params = {"instType": "SPOT", "instId": self._theirs[symbol], "limit": str(PAGE)}
        return RestCall("privateGetTradeOrdersPending", params, {"orders_pending": 1})

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return a page; older ones follow after the last id."""
        rows = _rows(reply, _Order)
        more = None
        if len(rows) >= PAGE:
            more = call._replace(params={**call.params, "after": rows[-1].ordId})
        return Orders([self._order(row, source) for row in rows], more)

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """GET trade/fills-history from a time, newest first."""
        del now_ms
        params = {"instType": "SPOT", "instId": self._theirs[symbol], "begin": str(since_ms),
                  "limit": str(PAGE)}  # fmt: skip
        return RestCall("privateGetTradeFillsHistory", params, {"fills": 1})

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """GET trade/fills-history of one order."""
        params = {"instType": "SPOT", "instId": self._theirs[symbol], "ordId": venue_order_id,
                  "limit": str(PAGE)}  # fmt: skip
        return RestCall("privateGetTradeFillsHistory", params, {"fills": 1})

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return a page; older ones follow after the last bill id."""
        del now_ms
        rows = _rows(reply, _Fill)
        more = None
        if len(rows) >= PAGE:
            more = call._replace(params={**call.params, "after": rows[-1].billId})
        return Page([self._fill(row, source) for row in rows], more)

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """Nothing: fills carry the client id."""
        del symbol, since_ms
        return None

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Never asked for."""
        del reply
        return {}

    def account(self) -> RestCall | None:
        """GET account/config."""
        return RestCall("privateGetAccountConfig", {}, {"config": 1})

    def read_account_uid(self, reply: Any) -> str:
        """{"data":[{"acctLv":"2",...,"mainUid":"44705892343619584","uid":"44705892343619584"}]}."""
        uid: str = _one(reply, _Identity).uid
        if not uid:
            raise BadReply("the account's configuration names no uid")
        return uid

    def balances(self) -> RestCall:
        """GET account/balance."""
        return RestCall("privateGetAccountBalance", {}, {"balance": 1})

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and locked of every asset held."""
        details = _one(reply, _Account).details
        return [BalanceReport(d.ccy, d.availBal, d.frozenBal) for d in details]

    def _order(self, row: _Order, source: Source) -> OrderReport:
        status, symbol = status_of(row.state, row.cancelSource), self._ours.get(row.instId)
        side = SIDES.get(row.side)
        if status is None or symbol is None or side is None:
            raise BadReply(f"unknown state {row.state[:40]} or instrument {row.instId[:40]}")
        quantity = base_quantity(row.sz, row.tgtCcy, row.state, row.accFillSz)
        if quantity is None:
            raise BadReply(f"order {row.ordId[:40]} is for an amount of the quote")
        try:
            return OrderReport(
                account=self._account,
                client_order_id=row.clOrdId,
                venue_order_id=row.ordId,
                symbol=symbol,
                side=side,
                order_type="MARKET" if row.ordType == "market" else "LIMIT",
                quantity=Decimal(quantity),
                price=Decimal(row.px) if row.px else None,
                status=status,
                filled_quantity=Decimal(row.accFillSz or "0"),
                reason=f"cancelSource {row.cancelSource}" if row.cancelSource else "",
                source=source,
                ts_event_ns=row.uTime * NS_PER_MS,
            )
        except (ArithmeticError, ValueError) as error:
            raise BadReply(f"order {row.ordId[:40]}: not a number") from error

    def _fill(self, row: _Fill, source: Source) -> FillReport:
        symbol, side = self._ours.get(row.instId), SIDES.get(row.side)
        if symbol is None or side is None:
            raise BadReply(f"unknown instrument {row.instId[:40]} or side {row.side[:40]}")
        return FillReport(
            account=self._account,
            client_order_id=row.clOrdId,
            venue_order_id=row.ordId,
            trade_id=row.tradeId,
            symbol=symbol,
            side=side,
            price=row.fillPx,
            quantity=row.fillSz,
            fee=-row.fee,
            fee_asset=row.feeCcy,
            liquidity="MAKER" if row.execType == "M" else "TAKER",
            source=source,
            ts_event_ns=row.ts * NS_PER_MS,
        )


def _order_type(order: SubmitOrder) -> str:
    if order.post_only:
        return "post_only"
    tif = "IOC" if order.order_type == "MARKET" else order.time_in_force
    return {"GTC": "limit", "IOC": "ioc", "FOK": "fok"}[tif]


def _naming(client_order_id: str, venue_order_id: str | None) -> dict[str, str]:
    if client_order_id:
        return {"clOrdId": client_order_id}
    return {"ordId": venue_order_id or "0"}
