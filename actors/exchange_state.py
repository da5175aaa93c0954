"""What an ExchangeActor knows durably, and how a venue's words become events. Pure.

The state is a fold of events; the functions turn a report into the events that it proves about an
order, and none that it does not.
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from engine.clock import NS_PER_S
from engine.ids import is_ours, is_sibling
from engine.messages import base
from engine.messages.base import Event, Part
from engine.messages.events import (
    OrderAcknowledged,
    OrderCanceled,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderSpec,
    OrderVenueFilled,
    TradingHalted,
    TradingResumed,
    VenueReconciled,
)
from engine.messages.port import CancelOrder, FillReport, OrderReport, QueryOrder, SubmitOrder
from engine.trading.order import Order
from engine.trading.orders import OrderTable

NEVER_NS: Final = 2**63 - 1
EARLY_CANCELS_MAX: Final = 1000
EARLY_CANCEL_NS: Final = 60 * NS_PER_S


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """What one ExchangeActor is told at birth. Times in seconds."""

    venue: str
    instance: str
    account: str
    ack_timeout_s: float
    settle_window_s: float
    enforces_expiry: bool
    reconcile_every_s: float
    closed_kept_max: int


class _Snapshot(Part, frozen=True, array_like=True):
    orders: bytes
    cursors: dict[str, int]
    opened: dict[str, int]
    halts: dict[str, str]
    fills_since_cursor: bool


class ExchangeState:
    """Orders of one venue, how far its fills have been read, and the halts that bind it."""

    def __init__(self, orders: OrderTable) -> None:
        self.orders = orders
        self.cursors: dict[str, int] = {}
        self.opened: dict[str, int] = {}
        self.halts: dict[str, str] = {}
        self.fills_since_cursor = False

    @classmethod
    def empty(cls, closed_kept_max: int) -> "ExchangeState":
        """Return the state before any event."""
        return cls(OrderTable(closed_kept_max=closed_kept_max))

    @classmethod
    def from_bytes(cls, data: bytes, closed_kept_max: int) -> "ExchangeState":
        """Return the state that `to_bytes` wrote."""
        held = base.decode_state(data, _Snapshot)
        orders = OrderTable.from_bytes(held.orders, closed_kept_max=closed_kept_max)
        state = cls(orders)
        state.cursors, state.opened, state.halts = held.cursors, held.opened, held.halts
        state.fills_since_cursor = held.fills_since_cursor
        return state

    def to_bytes(self) -> bytes:
        """Return the state as canonical bytes."""
        return base.encode_state(
            _Snapshot(
                self.orders.to_bytes(),
                dict(sorted(self.cursors.items())),
                dict(sorted(self.opened.items())),
                dict(sorted(self.halts.items())),
                self.fills_since_cursor,
            )
        )

    def apply(self, event: Event, seq: int = 0) -> None:
        """Fold one event. The only place where the state changes."""
        if isinstance(event, TradingHalted):
            self.halts[event.scope] = event.reason
        elif isinstance(event, TradingResumed):
            self.halts.pop(event.scope, None)  # a halt of another scope stands until it is lifted
        elif isinstance(event, VenueReconciled):
            self.cursors[event.account] = event.fills_cursor_ns
            self.opened.setdefault(event.account, event.fills_cursor_ns)
            self.fills_since_cursor = False
        else:
            self.orders.apply(event, seq)
            if isinstance(event, OrderFilled):
                self.fills_since_cursor = True

    def open_orders(self) -> list[Order]:
        """Return the orders that may still trade, in order of arrival."""
        found = self.orders.select(open_only=True, parents=False)
        return [order for order in found if isinstance(order, Order)]

    def halted(self, venue: str, symbol: str) -> str | None:
        """Return the reason of the halt that stops this symbol here, or None."""
        for scope in ("all", f"venue:{venue}", f"symbol:{symbol}"):
            if scope in self.halts:
                return self.halts[scope]
        return None

    def gate(self, venue: str) -> tuple[bool, list[str]]:
        """Return whether the whole venue is closed, and the symbols that are closed by themselves."""
        symbols = sorted(s.partition(":")[2] for s in self.halts if s.startswith("symbol:"))
        return "all" in self.halts or f"venue:{venue}" in self.halts, symbols

    def cursor_ns(self, account: str, now_wall_ns: int) -> int:
        """Return from when fills are to be read: the cursor, or this moment at first contact."""
        return self.cursors.get(account, now_wall_ns)

    def opened_ns(self, account: str) -> int:
        """Return when the opening balances were taken: foreign fills before it are in them."""
        return self.opened.get(account, NEVER_NS)


class Awaited:
    """Submits whose answer is due, oldest first. `watched`: a timer looks after them."""

    def __init__(self) -> None:
        self.watched = False
        self._due_ns: dict[str, int] = {}

    def add(self, order_id: str, due_ns: int) -> None:
        """Await an answer. All wait equally long, so the last added is due last."""
        self._due_ns[order_id] = due_ns

    def drop(self, order_id: str) -> None:
        """The answer is here."""
        self._due_ns.pop(order_id, None)

    def overdue(self, now_ns: int) -> list[str]:
        """Return and forget those whose time is up."""
        found = [order_id for order_id, due_ns in self._due_ns.items() if due_ns <= now_ns]
        for order_id in found:
            del self._due_ns[order_id]
        return found

    def next_ns(self) -> int | None:
        """Return when the next one is due, or None if nothing is awaited."""
        return next(iter(self._due_ns.values()), None)


class EarlyCancels:
    """Cancels that overtook their order's approval. One whose order never comes is forgotten."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}

    def add(self, order_id: str, reason: str, now_mono_ns: int) -> None:
        """Remember a cancel, and forget the oldest."""
        held = self._held
        while held and (
            len(held) >= EARLY_CANCELS_MAX
            or now_mono_ns - next(iter(held.values()))[1] > EARLY_CANCEL_NS
        ):
            del held[next(iter(held))]
        held[order_id] = (reason, now_mono_ns)

    def take(self, order_id: str) -> str:
        """Return and forget why the order is not wanted any more; empty if nobody said so."""
        return self._held.pop(order_id, ("", 0))[0]


def report_events(order: Order, report: OrderReport) -> list[Event]:
    """Return the events that a report proves about `order`; none if it says nothing new."""
    order_id = order.spec.order_id
    evidence = f"{report.source}: {report.status}"
    events: list[Event] = []
    told = order.venue_order_id is not None
    if (not told and report.status != "REJECTED") or (
        order.status == "UNKNOWN" and report.status in ("NEW", "PARTIALLY_FILLED", "FILLED")
    ):
        events.append(
            OrderAcknowledged(order_id, report.venue_order_id, evidence, report.ts_event_ns)
        )
    ended = order.status in ("CANCELED", "EXPIRED", "REJECTED", "FILLED", "DENIED")
    filled, at_ns = report.filled_quantity, report.ts_event_ns
    if order.spec.origin == "EXTERNAL":
        # What it had filled before our first contact is in the opening balances.
        filled = max(order.filled_quantity, filled - (report.quantity - order.spec.quantity))
    if report.status == "CANCELED" and not ended:
        events.append(OrderCanceled(order_id, filled, report.reason, evidence, at_ns))
    elif report.status == "EXPIRED" and not ended:
        events.append(OrderExpired(order_id, filled, report.reason, evidence, at_ns))
    elif report.status == "REJECTED" and not ended:
        events.append(
            OrderRejected(order_id, "venue_rejected", report.reason, evidence, report.ts_event_ns)
        )
    elif order.spec.origin == "COMMAND" and filled > max(
        order.filled_quantity, order.venue_filled_quantity
    ):
        events.append(OrderVenueFilled(order_id, filled, at_ns))
    return events


def fill_event(order: Order, fill: FillReport, venue: str) -> OrderFilled | None:
    """Return the event of an execution, or None if it is known already."""
    event = OrderFilled(
        order.spec.order_id,
        fill.account,
        venue,
        fill.symbol,
        fill.side,
        fill.price,
        fill.quantity,
        fill.fee,
        fill.fee_asset,
        fill.liquidity,
        fill.venue_order_id,
        fill.trade_id,
        fill.source,
        fill.ts_event_ns,
    )
    known = f"{fill.venue_order_id}|{fill.trade_id}" in order.fill_keys
    return None if known else event


def external_spec(
    report: OrderReport, venue: str, who: str, now_wall_ns: int, *, first_contact: bool
) -> OrderSpec:
    """Return the identity of an order that somebody else placed, the same at every sighting.

    What it had filled before our first contact with the account is in the opening balances, so
    only the rest is its quantity here.
    """
    key = f"{report.account}|{report.symbol}|{report.venue_order_id}"
    order_id = "ex" + blake2b(key.encode(), digest_size=15).hexdigest()
    if who.startswith("this instance"):
        order_id = report.client_order_id
    return OrderSpec(
        order_id=order_id,
        command_id="",
        client_order_id=report.client_order_id,
        parent_id=None,
        account=report.account,
        venue=venue,
        symbol=report.symbol,
        side=report.side,
        order_type=report.order_type,
        time_in_force="GTC",
        post_only=False,
        quantity=report.quantity - (report.filled_quantity if first_contact else 0),
        price=report.price,
        origin="EXTERNAL",
        who=who,
        ts_created_ns=report.ts_event_ns or now_wall_ns,
    )


def owner(client_order_id: str, instance: str) -> str:
    """Return who placed an order that this journal does not know."""
    if is_sibling(client_order_id, instance):
        return f"sibling:{client_order_id[2:8]}"
    return "this instance, not in this journal" if is_ours(client_order_id, instance) else "venue"


def is_question_due(order: Order, tick: str) -> bool:
    """Tell whether a timer that went off still has something to ask the venue."""
    if tick in ("query", "missing") and order.missing_fills:
        return True
    doubtful = {"query": ("UNKNOWN", "PENDING_CANCEL"), "cancel": ("PENDING_CANCEL",)}
    return order.status in doubtful.get(tick, ())


def wire_order(spec: OrderSpec, expires_mono_ns: int) -> SubmitOrder:
    """Return the wire order. A market order leaves as IOC at its collar, so that it is bounded."""
    bounded = spec.order_type == "MARKET" and spec.price is not None
    return SubmitOrder(
        spec.account or "",
        spec.order_id,
        spec.symbol,
        spec.side,
        "LIMIT" if bounded else spec.order_type,
        "IOC" if bounded else spec.time_in_force,
        spec.post_only,
        spec.quantity,
        spec.price,
        expires_mono_ns,
    )


def cancel_of(order: Order, account: str) -> CancelOrder:
    """Return the wire cancel of an order."""
    client_id = order.spec.client_order_id or ""
    return CancelOrder(account, client_id, order.venue_order_id, order.spec.symbol)


def query_about(order: Order, account: str) -> QueryOrder:
    """Return the question what became of an order."""
    spec = order.spec
    client_id = spec.client_order_id or ""
    return QueryOrder(account, client_id, order.venue_order_id, spec.symbol, spec.ts_created_ns)


def query_for(fill: FillReport) -> QueryOrder:
    """Return the question whose a fill is."""
    since_ns = fill.ts_event_ns - NS_PER_S
    return QueryOrder(
        fill.account, fill.client_order_id, fill.venue_order_id, fill.symbol, since_ns
    )
