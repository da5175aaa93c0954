"""All orders: single ones, split ones (parents) and their children, with a bounded history.

Open orders are never dropped. Closed ones are kept up to a limit, a parent together with its
children. A parent has no events of its own after its birth: everything it shows is derived.
"""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Final, get_args

from engine.messages.base import State, decode_state, encode_state
from engine.messages.events import (
    ExternalOrderSeen,
    OrderApproved,
    OrderCancelRequested,
    OrderDenied,
    OrderEvent,
    OrderSpec,
    ParentAccepted,
)
from engine.messages.market import RouteBenchmark
from engine.trading.money import ZERO, exact, plain, plain_or_none, ratio
from engine.trading.order import Order
from engine.trading.order_status import (
    CANCELED,
    CLOSED,
    DENIED,
    FILLED,
    IN_FLIGHT,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    PENDING_NEW,
    REJECTED,
    UNKNOWN,
)

CLOSED_KEPT_MAX: Final = 10_000
_BEARING: Final = frozenset({OrderApproved, OrderDenied, ExternalOrderSeen})
_ORDER_EVENTS: Final = frozenset({*get_args(OrderEvent), ExternalOrderSeen})


class ParentState(State):
    """What is stored of a parent: its birth, and whether somebody wants it canceled."""

    spec: OrderSpec
    plan: str
    children: list[str]
    cancel_requested: bool = False
    cancel_reason: str = ""
    benchmark: RouteBenchmark | None = None


class ParentOrder:
    """A split order: status, quantities and fees are those of its children, added up."""

    def __init__(self, state: ParentState) -> None:
        self.state = state
        self.spec = state.spec
        self.children: dict[str, Order] = {}

    venue_order_id = None

    @property
    def order_id(self) -> str:
        """The parent's own id; never sent to a venue."""
        return self.spec.order_id

    @property
    def cancel_requested(self) -> bool:
        """Whether a cancel of the whole was asked for."""
        return self.state.cancel_requested

    @property
    def status(self) -> str:
        """The status that the children's statuses add up to."""
        statuses = [child.status for child in self.children.values()]
        waiting = len(self.state.children) > len(statuses)
        if UNKNOWN in statuses:
            return UNKNOWN
        if waiting or not all(status in CLOSED for status in statuses):
            return self._status_open(statuses, waiting=waiting)
        return self._status_closed(set(statuses))

    def _status_open(self, statuses: list[str], *, waiting: bool) -> str:
        alive = {status for status in statuses if status not in CLOSED}
        if alive == {PENDING_CANCEL} and not waiting:
            return PENDING_CANCEL
        if self.filled_quantity > 0:
            return PARTIALLY_FILLED
        return PENDING_NEW if waiting or PENDING_NEW in alive else NEW

    def _status_closed(self, statuses: set[str]) -> str:
        if self.filled_quantity >= self.spec.quantity:
            return FILLED
        if self.filled_quantity == 0 and statuses == {DENIED}:
            return DENIED
        if self.filled_quantity == 0 and statuses and statuses <= {DENIED, REJECTED}:
            return REJECTED
        return CANCELED  # the remainder was given up, whatever ended each child

    @property
    def is_closed(self) -> bool:
        """Whether every child is closed."""
        return self.status in CLOSED

    @property
    def is_open(self) -> bool:
        """Whether any child may still trade."""
        return not self.is_closed

    @property
    def is_settled(self) -> bool:
        """Whether every child is closed and every fill the venues claim is here."""
        return self.is_closed and all(child.is_settled for child in self.children.values())

    @property
    def is_in_flight(self) -> bool:
        """Whether a request for any child is on its way."""
        return self.status in IN_FLIGHT

    @property
    @exact
    def filled_quantity(self) -> Decimal:
        """The sum over the children."""
        return sum((child.filled_quantity for child in self.children.values()), ZERO)

    @property
    @exact
    def filled_notional(self) -> Decimal:
        """The sum over the children."""
        return sum((child.filled_notional for child in self.children.values()), ZERO)

    @property
    @exact
    def leaves_quantity(self) -> Decimal:
        """What the parent still wants; 0 once closed."""
        return max(ZERO, self.spec.quantity - self.filled_quantity) if self.is_open else ZERO

    @property
    def average_price(self) -> Decimal | None:
        """The average over all children's fills to 28 digits."""
        return ratio(self.filled_notional, self.filled_quantity)

    @property
    @exact
    def fees(self) -> dict[str, Decimal]:
        """Fees per asset, summed over the children."""
        total: dict[str, Decimal] = {}
        for child in self.children.values():
            for asset, fee in child.fees.items():
                total[asset] = total.get(asset, ZERO) + fee
        return total

    @property
    def reason_code(self) -> str:
        """The first child's reason that is one, once the parent is closed."""
        return self._first("reason_code") if self.is_closed else ""

    @property
    def reason(self) -> str:
        """The first child's words that go with `reason_code`."""
        return self._first("reason") if self.is_closed else self.state.cancel_reason

    def _first(self, name: str) -> str:
        found = (str(getattr(child, name)) for child in self.children.values())
        return next((text for text in found if text), "")

    @property
    def ts_last_ns(self) -> int:
        """The newest of the children's times."""
        return max((child.ts_last_ns for child in self.children.values()), default=0)


AnyOrder = Order | ParentOrder


class TableState(State):
    """The snapshot of a table, in order of arrival."""

    orders: list[Order]
    parents: list[ParentState]
    closed: list[str]


class OrderTable:
    """Every order this journal knows, by id. `apply` is the only thing that changes it."""

    def __init__(self, closed_kept_max: int = CLOSED_KEPT_MAX) -> None:
        self.closed_kept_max = closed_kept_max
        self._orders: dict[str, Order] = {}
        self._parents: dict[str, ParentOrder] = {}
        self._by_venue_order_id: dict[tuple[str | None, str, str], str] = {}
        self._closed: dict[str, None] = {}  # families whose members are all closed, oldest first

    def apply(self, event: Any, seq: int = 0) -> bool:
        """Fold one event; False if nothing changed (a duplicate, not about orders, or not known).

        An event of an order that is not known (dropped from the history) is ignored here; the
        ledger still counts its fills. IllegalTransition changes nothing.
        """
        kind = type(event)
        if kind not in _ORDER_EVENTS:
            return kind is ParentAccepted and self._accept_parent(event)
        bears = kind in _BEARING
        order_id = event.order.order_id if bears else event.order_id
        if order_id in self._parents:
            return self._cancel_parent(event)
        order = self._orders.get(order_id)
        born = order is None and bears
        if order is None and bears:
            order = Order(spec=event.order, ts_last_ns=event.order.ts_created_ns)
        if order is None or not order.apply(event):
            return False
        if born:
            self._adopt(order)
        self._index(order)
        self._settle(order)
        return True

    def remove(self, order_id: str) -> None:
        """Forget an order or parent that the journal did not take: it never was, and may come again."""
        order = self._orders.pop(order_id, None)
        parent = self._parents.get("" if order is None else order.spec.parent_id or "")
        if parent is not None:
            del parent.children[order_id]
        self._parents.pop(order_id, None)
        self._closed.pop(order_id, None)

    def get(self, order_id: str) -> AnyOrder | None:
        """Return the order or parent of that id, or None."""
        return self._orders.get(order_id) or self._parents.get(order_id)

    def order(self, order_id: str) -> Order | None:
        """Return the order of that id, or None; never a parent."""
        return self._orders.get(order_id)

    def by_venue_order_id(self, account: str, symbol: str, venue_order_id: str) -> Order | None:
        """Return the order that the venue knows by that id. Ids are unique per symbol only."""
        order_id = self._by_venue_order_id.get((account, symbol, venue_order_id))
        return None if order_id is None else self._orders.get(order_id)

    def children(self, parent_id: str) -> list[Order]:
        """Return the children of a parent, in order of arrival."""
        parent = self._parents.get(parent_id)
        return [] if parent is None else list(parent.children.values())

    def select(
        self,
        *,
        open_only: bool = False,
        status: str | None = None,
        venue: str | None = None,
        symbol: str | None = None,
        account: str | None = None,
        parents: bool = True,
        children: bool = True,
    ) -> Iterator[AnyOrder]:
        """Yield the orders that pass every given filter: parents first, each in order of arrival."""
        found: list[AnyOrder] = [*self._parents.values()] if parents else []
        found += [o for o in self._orders.values() if children or o.spec.parent_id is None]
        for order in found:
            spec = order.spec
            if (
                (not open_only or order.is_open)
                and status in {None, order.status}
                and venue in {None, spec.venue}
                and symbol in {None, spec.symbol}
                and account in {None, spec.account}
            ):
                yield order

    def __len__(self) -> int:
        return len(self._orders) + len(self._parents)

    def to_state(self) -> TableState:
        """Return the snapshot; it shares the orders, so encode it before the next event."""
        orders = list(self._orders.values())
        return TableState(orders, [p.state for p in self._parents.values()], list(self._closed))

    @classmethod
    def from_state(cls, state: TableState, closed_kept_max: int = CLOSED_KEPT_MAX) -> "OrderTable":
        """Return the table of a snapshot."""
        table = cls(closed_kept_max)
        table._parents = {p.spec.order_id: ParentOrder(p) for p in state.parents}
        for order in state.orders:
            table._adopt(order)
            table._index(order)
        table._closed = dict.fromkeys(state.closed)
        return table

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the table."""
        return encode_state(self.to_state())

    @classmethod
    def from_bytes(cls, data: bytes, closed_kept_max: int = CLOSED_KEPT_MAX) -> "OrderTable":
        """Return the table that `to_bytes` wrote; MessageError if the bytes are not one."""
        return cls.from_state(decode_state(data, TableState), closed_kept_max)

    def _accept_parent(self, event: ParentAccepted) -> bool:
        parent_id = event.order.order_id
        if parent_id in self._parents:
            return False
        state = ParentState(event.order, event.plan, [*event.children], benchmark=event.benchmark)
        parent = ParentOrder(state)
        self._parents[parent_id] = parent
        if any(child_id in self._orders for child_id in event.children):
            for order in self._orders.values():  # in order of arrival, as after a restart
                self._link(order)
        self._settle_family(parent_id)
        return True

    def _cancel_parent(self, event: Any) -> bool:
        parent = self._parents[event_order_id(event)]
        if not isinstance(event, OrderCancelRequested) or parent.cancel_requested:
            return False
        parent.state.cancel_requested, parent.state.cancel_reason = True, event.reason
        return True

    def _adopt(self, order: Order) -> None:
        self._orders[order.order_id] = order
        self._link(order)

    # A child belongs to the parent that its own spec names, and leaves the history with it.
    def _link(self, order: Order) -> None:
        parent = self._parents.get(order.spec.parent_id or "")
        if parent is not None:
            parent.children[order.order_id] = order
            self._closed.pop(order.order_id, None)

    def _index(self, order: Order) -> None:
        spec, venue_order_id = order.spec, order.venue_order_id
        if venue_order_id is not None:
            self._by_venue_order_id[spec.account, spec.symbol, venue_order_id] = spec.order_id

    def _settle(self, order: Order) -> None:
        spec = order.spec
        if spec.parent_id is not None and spec.parent_id in self._parents:
            self._settle_family(spec.parent_id)
        elif order.is_settled or spec.order_id in self._closed:
            self._settle_family(spec.order_id)

    # Keep the list of closed families true, and forget the oldest beyond the limit.
    def _settle_family(self, root_id: str | None) -> None:
        root = self.get(root_id or "")
        if root is None or not root.is_settled:
            self._closed.pop(root_id or "", None)
            return
        self._closed.setdefault(root.spec.order_id, None)
        while len(self._closed) > self.closed_kept_max:
            self._forget(next(iter(self._closed)))

    def _forget(self, root_id: str) -> None:
        del self._closed[root_id]
        parent = self._parents.pop(root_id, None)
        for order_id in [root_id] if parent is None else list(parent.children):
            order = self._orders.pop(order_id)
            key = (order.spec.account, order.spec.symbol, order.venue_order_id or "")
            self._by_venue_order_id.pop(key, None)


def to_view(order: AnyOrder) -> dict[str, Any]:
    """Return what people and programs see of an order: plain data, money as plain strings."""
    spec = order.spec
    return {
        "order_id": spec.order_id,
        "command_id": spec.command_id,
        "client_order_id": spec.client_order_id,
        "parent_id": spec.parent_id,
        "account": spec.account,
        "venue": spec.venue,
        "symbol": spec.symbol,
        "side": spec.side,
        "order_type": spec.order_type,
        "time_in_force": spec.time_in_force,
        "post_only": spec.post_only,
        "price": plain_or_none(spec.price),
        "status": order.status,
        "quantity": plain(spec.quantity),
        "filled_quantity": plain(order.filled_quantity),
        "leaves_quantity": plain(order.leaves_quantity),
        "average_price": plain_or_none(order.average_price),
        "fees": {asset: plain(fee) for asset, fee in sorted(order.fees.items())},
        "reason_code": order.reason_code,
        "reason": order.reason,
        "venue_order_id": order.venue_order_id,
        "origin": spec.origin,
        "who": spec.who,
        "ts_created_ns": spec.ts_created_ns,
        "ts_last_ns": max(spec.ts_created_ns, order.ts_last_ns),
    }


def event_order_id(event: Any) -> str:
    """Return the id of the order that an order event is about."""
    kind = type(event)
    if kind in _BEARING or kind is ParentAccepted:
        return str(event.order.order_id)
    return str(event.order_id)
