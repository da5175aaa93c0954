"""What an ExchangeActor asks its venue about orders and fills, and the fills that are nobody's yet. Pure."""

from collections.abc import Iterator
from typing import Final

from engine.clock import NS_PER_S
from engine.messages.base import Side
from engine.messages.port import FillReport, Intent, QueryOrder
from engine.trading.order import Order
from engine.trading.orders import OrderTable

TAKEN_MAX: Final = 200
UNPROVEN: Final = ("PENDING_NEW", "UNKNOWN")


class Orphans(dict[str, list[FillReport]]):
    """Fills that belong to no known order, by the venue's id of the order that they name."""

    def hold(self, fill: FillReport, orders: OrderTable) -> list[QueryOrder]:
        """Keep a fill; return the question whose it is if it is the first of its order."""
        held = self.setdefault(fill.venue_order_id, [])
        if all(known.trade_id != fill.trade_id for known in held):
            held.append(fill)
        return [] if len(held) > 1 or may_be_of(orders, fill) else [query_for(fill)]

    def questions(self, orders: OrderTable) -> list[QueryOrder]:
        """Return the question whose the fills of each order are, where it may be asked."""
        return [query_for(held[0]) for held in self.values() if not may_be_of(orders, held[0])]


def is_question_due(order: Order, tick: str) -> bool:
    """Tell whether a timer that went off still has something to ask the venue."""
    if tick in ("query", "missing") and order.missing_fills:
        return True
    doubtful = {"query": ("UNKNOWN", "PENDING_CANCEL"), "cancel": ("PENDING_CANCEL",)}
    return order.status in doubtful.get(tick, ())


def may_be_of(orders: OrderTable, fill: FillReport) -> bool:
    """Tell whether a fill without a name may be that of an order of ours whose fate is not proven.

    Such a fill is nobody else's before that order is: taking it for a stranger's would be a guess.
    """
    return not fill.client_order_id and any(
        order.spec.side == fill.side for order in _unproven(orders, fill.symbol)
    )


def query_about(order: Order, account: str, orders: OrderTable | None = None) -> QueryOrder:
    """Return the question what became of an order.

    `orders` is given where the venue keeps no names of ours: then it says what to look for.
    """
    spec = order.spec
    client_id = spec.client_order_id or ""
    intent = None if orders is None or order.venue_order_id else _intent(order, orders)
    return QueryOrder(
        account, client_id, order.venue_order_id, spec.symbol, spec.ts_created_ns, intent
    )


def query_for(fill: FillReport) -> QueryOrder:
    """Return the question whose a fill is."""
    since_ns = fill.ts_event_ns - NS_PER_S
    return QueryOrder(
        fill.account, fill.client_order_id, fill.venue_order_id, fill.symbol, since_ns
    )


def _unproven(orders: OrderTable, symbol: str) -> Iterator[Order]:
    for order in orders.select(open_only=True, symbol=symbol, parents=False):
        assert isinstance(order, Order)
        if order.venue_order_id is None and order.status in UNPROVEN:
            yield order


def _intent(order: Order, orders: OrderTable) -> Intent:
    spec = order.spec
    side: Side = spec.side
    taken = [
        str(other.venue_order_id)
        for other in orders.select(symbol=spec.symbol, parents=False)
        if isinstance(other, Order) and other.venue_order_id is not None and other.spec.side == side
    ]
    twins = sum(
        other.order_id != order.order_id and other.spec.side == side
        for other in _unproven(orders, spec.symbol)
    )
    return Intent(side, spec.quantity, spec.price, taken[-TAKEN_MAX:], twins)
