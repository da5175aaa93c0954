"""Kraken spot, the executions channel: our orders and fills, put together from what each row says.

https://docs.kraken.com/api/docs/websocket-v2/executions. Only an order's first row, or the snapshot's,
carries its terms; those that follow name it by the venue's id and say what is new. The channel numbers
its messages.
"""

from collections import OrderedDict
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from adapters.codec import FillSeen, Problem, StreamEvent
from adapters.wire import Short, amount, money, ns_of_rfc3339, positive, side_of
from engine.messages.base import Liquidity
from engine.messages.port import FillReport, OrderReport, VenueStatus

KNOWN_MAX: Final = 10_000  # orders whose terms are remembered
STATUS: Final[Mapping[str, VenueStatus]] = {
    "pending_new": "NEW",
    "new": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "expired": "EXPIRED",
}


class _Fee(msgspec.Struct):
    asset: Short
    qty: Decimal


class _Execution(msgspec.Struct):
    exec_type: str
    order_id: Short
    timestamp: str
    symbol: str = ""
    side: str = ""
    order_type: str = ""
    order_status: str = ""
    cl_ord_id: Short = ""
    order_qty: Decimal | None = None
    cum_qty: Decimal | None = None
    limit_price: Decimal | None = None
    exec_id: Short = ""
    last_qty: Decimal = Decimal(0)
    last_price: Decimal = Decimal(0)
    liquidity_ind: str = ""
    fees: list[_Fee] = []
    reason: str = ""


_decode_executions = msgspec.json.Decoder(list[_Execution]).decode


class Executions:
    """Our orders as one connection tells them; `symbols` maps the streams' spelling to ours."""

    def __init__(self, account: str, symbols: Mapping[str, str]) -> None:
        self._account = account
        self._symbols = symbols
        self._sequence = 0
        self._known: OrderedDict[str, _Execution] = OrderedDict()

    def restart(self) -> None:
        """A new connection numbers anew; what orders are stays known."""
        self._sequence = 0

    def read(self, data: msgspec.Raw) -> list[StreamEvent]:
        """Return what the rows of a message say. ValueError or DecodeError for what makes no sense."""
        rows = _decode_executions(data)
        return [event for row in rows for event in self._execution(self._whole(row))]

    # An older number is a repetition: what it says is said again, and that is harmless.
    def is_next(self, number: int | None, *, is_snapshot: bool) -> bool:
        """Tell whether no message is missing before the one of this number."""
        last = self._sequence
        if number is None or is_snapshot:
            self._sequence = number or 0
            return True
        self._sequence = max(last, number)
        return number <= last + 1 or last == 0

    # The row with what is known of its order and not said anew.
    def _whole(self, row: _Execution) -> _Execution:
        known = self._known.get(row.order_id)
        if known is not None:
            row.symbol, row.side = row.symbol or known.symbol, row.side or known.side
            row.order_type = row.order_type or known.order_type
            row.cl_ord_id = row.cl_ord_id or known.cl_ord_id
            row.order_qty = known.order_qty if row.order_qty is None else row.order_qty
            row.limit_price = known.limit_price if row.limit_price is None else row.limit_price
        elif row.order_qty is None:
            return row
        self._known[row.order_id] = row
        while len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return row

    def _execution(self, row: _Execution) -> list[StreamEvent]:
        if row.exec_type in ("new", "status") and row.cum_qty is None:
            return []  # it rests, as was said before with its terms
        if not row.symbol or not row.side or not row.order_status:
            return [Problem("unsupported", f"{row.exec_type[:40]} of {row.order_id} in part only")]
        symbol, status = self._symbols.get(row.symbol), STATUS.get(row.order_status)
        if symbol is None or status is None:
            code = "unknown_symbol" if symbol is None else "unknown_status"
            return [Problem(code, f"{row.symbol[:40]} {row.order_status[:40]}")]
        events: list[StreamEvent] = []
        if row.exec_type == "trade":
            events.append(self._fill(row, symbol))
        if row.order_qty is not None and row.cum_qty is not None:
            events.append(self._order(row, symbol, status))
        return events or [Problem("unsupported", f"{row.exec_type[:40]} without quantities")]

    def _order(self, row: _Execution, symbol: str, status: VenueStatus) -> OrderReport:
        assert row.order_qty is not None, "looked at before"
        assert row.cum_qty is not None, "looked at before"
        return OrderReport(
            account=self._account,
            client_order_id=row.cl_ord_id,
            venue_order_id=row.order_id,
            symbol=symbol,
            side=side_of(row.side),
            order_type="MARKET" if row.order_type == "market" else "LIMIT",
            quantity=amount(row.order_qty),
            price=None if row.limit_price is None else amount(row.limit_price),
            status=status,
            filled_quantity=amount(row.cum_qty),
            reason=row.reason[:200],
            source="stream",
            ts_event_ns=ns_of_rfc3339(row.timestamp),
        )

    def _fill(self, row: _Execution, symbol: str) -> StreamEvent:
        liquidity: Liquidity = "MAKER" if row.liquidity_ind == "m" else "TAKER"
        side, ts_ns = side_of(row.side), ns_of_rfc3339(row.timestamp)
        price, quantity = positive(row.last_price), positive(row.last_qty)
        is_unknown = row.order_id not in self._known  # then its client id is not known either
        if len(row.fees) != 1 or (is_unknown and not row.cl_ord_id):
            return FillSeen(self._account, row.cl_ord_id, row.order_id, row.exec_id, symbol, side,
                            price, quantity, liquidity, ts_ns)  # fmt: skip
        return FillReport(
            account=self._account,
            client_order_id=row.cl_ord_id,
            venue_order_id=row.order_id,
            trade_id=row.exec_id,
            symbol=symbol,
            side=side,
            price=price,
            quantity=quantity,
            fee=money(row.fees[0].qty),
            fee_asset=row.fees[0].asset,
            liquidity=liquidity,
            source="stream",
            ts_event_ns=ts_ns,
        )
