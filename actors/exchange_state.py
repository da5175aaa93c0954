"""What an ExchangeActor knows durably, and how a venue's words become events. Pure.

The state is a fold of events; the functions turn a report into the events that it proves about an
order, and none that it does not.
"""

from collections import deque
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Final, Literal, NamedTuple

from engine.ids import is_ours, is_sibling
from engine.messages import base
from engine.messages.base import Event, Part
from engine.messages.commands import ResolveRequest
from engine.messages.events import (
    AccountIdentified,
    OrderAcknowledged,
    OrderCanceled,
    OrderCancelTaken,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderSpec,
    OrderVenueFilled,
    SymbolStatusChanged,
    TradingHalted,
    TradingResumed,
    VenueReconciled,
)
from engine.messages.port import (
    AdapterReady,
    CancelOrder,
    FillReport,
    OrderReport,
    SubmitOrder,
    SubmitResult,
)
from engine.trading.halts import closes_venue, scopes_over, words
from engine.trading.instrument import standing
from engine.trading.order import Order
from engine.trading.orders import OrderTable

NEVER_NS: Final = 2**63 - 1
CANCELS_KEPT_MAX: Final = 1000


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
    keeps_names: bool = True  # the venue keeps our name of an order, and tells it


class GateOrder(NamedTuple):
    """How far a gate is closed: for everything, for symbols, and for what does not reduce."""

    closed: bool
    symbols: list[str]
    reduce_only: bool
    reduce_symbols: list[str]


class _Snapshot(Part, frozen=True, array_like=True):
    orders: bytes
    cursors: dict[str, int]
    opened: dict[str, int]
    halts: dict[str, str]
    fills_since_cursor: bool
    cancels_taken: list[str] = []  # noqa: RUF012  msgspec copies the empty default
    uids: dict[str, str] = {}  # noqa: RUF012
    statuses: dict[str, str] = {}  # noqa: RUF012
    levels: dict[str, str] = {}  # noqa: RUF012


class ExchangeState:
    """Orders of one venue, how far its fills have been read, and the halts that bind it.

    `cancels_taken` only grows (up to a limit): its author is the router, whose events come between
    our own in another order live than in the journal.
    """

    def __init__(self, orders: OrderTable) -> None:
        self.orders = orders
        self.cursors: dict[str, int] = {}
        self.opened: dict[str, int] = {}
        self.halts: dict[str, str] = {}
        self.uids: dict[str, str] = {}
        self.statuses: dict[str, str] = {}  # of symbols that may not be traded, with why
        self.levels: dict[str, str] = {}  # of the halts that let reducing orders pass
        self.fills_since_cursor = False
        self.cancels_taken: deque[str] = deque(maxlen=CANCELS_KEPT_MAX)

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
        state.cancels_taken.extend(held.cancels_taken)
        state.uids, state.statuses, state.levels = held.uids, held.statuses, held.levels
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
                list(self.cancels_taken),
                dict(sorted(self.uids.items())),
                dict(sorted(self.statuses.items())),
                dict(sorted(self.levels.items())),
            )
        )

    def apply(self, event: Event, seq: int = 0) -> None:
        """Fold one event. The only place where the state changes."""
        if isinstance(event, TradingHalted):
            self.halts[event.scope] = words(event)
            self.levels.pop(event.scope, None)
            if event.level != "no_new":
                self.levels[event.scope] = event.level
        elif isinstance(event, TradingResumed):
            self.halts.pop(event.scope, None)  # a halt of another scope stands until it is lifted
            self.levels.pop(event.scope, None)
        elif isinstance(event, VenueReconciled):
            self.cursors[event.account] = event.fills_cursor_ns
            self.opened.setdefault(event.account, event.fills_cursor_ns)
            self.fills_since_cursor = False
        elif isinstance(event, AccountIdentified):
            self.uids[event.account] = event.uid
        elif isinstance(event, SymbolStatusChanged):
            self.statuses.pop(event.symbol, None)
            if event.status != "TRADING":
                why = f": {event.reason}" if event.reason else ""
                self.statuses[event.symbol] = f"{event.status}{why}"
        elif isinstance(event, OrderCancelTaken):
            self.cancels_taken.append(event.order_id)
        else:
            self.orders.apply(event, seq)
            if isinstance(event, OrderFilled):
                self.fills_since_cursor = True

    def open_orders(self) -> list[Order]:
        """Return the orders that may still trade, in order of arrival."""
        found = self.orders.select(open_only=True, parents=False)
        return [order for order in found if isinstance(order, Order)]

    def halted(self, spec: OrderSpec, *, reduces: bool) -> str | None:
        """Return the reason of the halt that stops an order here, or None."""
        for scope in scopes_over(spec.venue, spec.symbol):
            if scope in self.halts and not (reduces and scope in self.levels):
                return self.halts[scope]
        return None

    def gate(self, venue: str) -> GateOrder:
        """Return how far this venue's gate has to be closed."""
        symbols = sorted(s.partition(":")[2] for s in self.halts if s.startswith("symbol:"))
        lenient = [name for name in symbols if f"symbol:{name}" in self.levels]
        strict = self.halts.keys() - self.levels.keys()
        return GateOrder(
            closes_venue(strict, venue), [s for s in symbols if s not in lenient],
            closes_venue(self.levels, venue), lenient,
        )  # fmt: skip

    def behind_gate(self, venue: str, status: str) -> int:
        """Return how many orders that a closed gate would stop are `status`: sent before it closed."""
        closed, symbols, reducing, lenient = self.gate(venue)
        return sum(
            order.status == status
            and (closed or reducing or order.spec.symbol in {*symbols, *lenient})
            for order in self.open_orders()
        )

    def stranger(self, account: str, uid: str | None) -> str:
        """Return why a session whose credentials belong to `uid` may not trade; empty if it may."""
        bound = self.uids.get(account)
        if bound is None or bound == uid:
            return ""
        found = "and the venue did not say whose the key is" if uid is None else f"not to uid {uid}"
        return f"account {account} belongs to the venue's uid {bound}, {found}: nothing is sent"

    def cursor_ns(self, account: str, now_wall_ns: int) -> int:
        """Return from when fills are to be read: the cursor, or this moment at first contact."""
        return self.cursors.get(account, now_wall_ns)

    def opened_ns(self, account: str) -> int:
        """Return when the opening balances were taken: foreign fills before it are in them."""
        return self.opened.get(account, NEVER_NS)


def status_events(state: ExchangeState, told: AdapterReady, now_wall_ns: int) -> list[Event]:
    """Return what has changed in the symbols' statuses since they were last journaled."""
    return [
        SymbolStatusChanged(
            told.venue, rule.symbol, rule.status,
            state.statuses.get(rule.symbol, "TRADING").partition(":")[0], rule.status_reason,
            now_wall_ns,
        )
        for rule in told.instruments
        if standing(rule) != state.statuses.get(rule.symbol, "TRADING")
    ]  # fmt: skip


def submit_event(order: Order, result: SubmitResult) -> Event | None:
    """Return the event that a submit's outcome proves; None if nothing new, or nothing at all."""
    order_id, at_ns, sent_ns = order.spec.order_id, result.ts_event_ns, result.sent_wall_ns
    if result.outcome == "ACCEPTED" and result.venue_order_id is not None:
        if order.venue_order_id is not None:
            return None
        return OrderAcknowledged(order_id, result.venue_order_id, result.evidence, at_ns, sent_ns)
    if result.outcome == "NOT_SENT" and order.status == "PENDING_NEW":
        return OrderDenied(order.spec, result.code, result.text)
    if result.outcome in ("REJECTED", "NOT_SENT"):
        return OrderRejected(order_id, result.code, result.text, result.evidence, at_ns, sent_ns)
    return None


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
        # What it had filled before our first contact is in the opening balances. Where a venue tells
        # no more than what was filled of an ended order, its quantity has become smaller, not its fills more.
        before = max(Decimal(0), report.quantity - order.spec.quantity)
        filled = max(order.filled_quantity, filled - before)
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


def resolution(request: ResolveRequest) -> OrderResolved:
    """Return the event of a person's word about an order."""
    status: Literal["REJECTED", "CANCELED"]
    status = "CANCELED" if request.status == "CANCELED" else "REJECTED"
    return OrderResolved(request.order_id, status, request.who, request.reason)


def find_order(known: OrderTable, report: OrderReport | FillReport) -> Order | None:
    """Return the order that a report is about, by our id or the venue's."""
    key = (report.account, report.symbol, report.venue_order_id)
    return known.order(report.client_order_id) or known.by_venue_order_id(*key)


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


def wire_order(spec: OrderSpec, expires_mono_ns: int, *, reduces: bool = False) -> SubmitOrder:
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
        reduces,
    )


def cancel_of(order: Order, account: str) -> CancelOrder:
    """Return the wire cancel of an order."""
    client_id = order.spec.client_order_id or ""
    return CancelOrder(account, client_id, order.venue_order_id, order.spec.symbol)
