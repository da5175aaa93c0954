"""The orders' half of an ExchangeActor: what is sent, and what the venue proved about it.

It is the only actor that talks to an adapter, and an ApprovedOrder is the only message that makes
it send an order. What it decides follows from what the venue proved: it acknowledges, fills and
ends orders on evidence, calls an unproven submit UNKNOWN and asks until the venue settles it. It
promises never to resend a submit and never to invent a fill.
"""

from typing import ClassVar, Final

from actors.awaited import Awaited
from actors.exchange_state import (
    ExchangeConfig,
    ExchangeState,
    cancel_of,
    external_spec,
    fill_event,
    find_order,
    owner,
    report_events,
    resolution,
    submit_event,
    wire_order,
)
from actors.exchange_waits import EarlyCancels
from actors.questions import Orphans, is_question_due, query_about
from actors.venue_records import VenueRecords
from engine.clock import NS_PER_S
from engine.messages.base import Event, Message
from engine.messages.commands import (
    ApprovedOrder,
    CancelRequest,
    QueryRequest,
    ResolveRequest,
    Tick,
)
from engine.messages.events import (
    ExternalOrderSeen,
    OrderApproved,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderCancelTaken,
    OrderDenied,
    OrderRejected,
    OrderUnknown,
)
from engine.messages.port import (
    CancelOrder,
    CancelResult,
    FillReport,
    OrderReport,
    QueryResult,
    SubmitResult,
)
from engine.trading.order import Order

QUERY_FIRST_S: Final = 0.25
QUERY_MAX_S: Final = 5.0
MISSING_FILL_GRACE_S: Final = 1.0
CANCEL_GRACE_S: Final = 1.0
CANCEL_ATTEMPTS_MAX: Final = 5


class VenueOrders(VenueRecords):
    """See the module's docstring."""

    road: ClassVar[tuple[str, ...]] = ("persistence",)
    durable: ClassVar[bool] = True

    state: ExchangeState

    def __init__(self, config: ExchangeConfig) -> None:
        super().__init__()
        self.config = config
        self.state = ExchangeState.empty(config.closed_kept_max)
        self.adapter = f"adapter.{config.venue}"
        self.venue_state = "STARTING"
        self.reason = "not started"
        self.last_activity_ns = 0
        self.awaited = Awaited(config.ack_timeout_s)
        self.unknown_since_ns: dict[str, int] = {}
        self.attempts: dict[str, int] = {}
        self.cancel_attempts: dict[str, int] = {}
        self.cancel_due_ns: dict[str, int] = {}
        self.early_cancels = EarlyCancels()
        self.is_ours = False  # whether the session is known to be our account's
        self.held_cancels: dict[str, CancelOrder] = {}
        self.orphans = Orphans()

    # --- recovery ---------------------------------------------------------------------------------

    def restore(self, snapshot: bytes) -> None:
        """Set the state from a snapshot."""
        self.state = ExchangeState.from_bytes(snapshot, self.config.closed_kept_max)

    def apply(self, event: Event) -> None:
        """Fold one event."""
        self.state.apply(event)

    def resume_orders(self) -> None:
        """Take up where the last incarnation, or the last process, left off."""
        for order in self.state.open_orders():
            if order.status == "PENDING_NEW" and self.incarnation > 1:
                self._await_answer(order.spec.order_id)
            elif order.status in ("PENDING_NEW", "UNKNOWN"):
                self.call_unknown(order, "the process ended while the order was on its way")
            elif order.status == "PENDING_CANCEL":
                self._arm_cancel(order.spec.order_id, CANCEL_GRACE_S)
        for order_id in self.state.cancels_taken:
            self._cancel_taken(order_id, "canceled")

    # --- orders -----------------------------------------------------------------------------------

    def on_approved_order(self, message: ApprovedOrder) -> None:
        """Send an approved, journaled order, once; or deny it while that is still provable."""
        approval = message.approval
        assert isinstance(approval, OrderApproved)
        spec = approval.order
        if self.state.orders.order(spec.order_id) is None:
            self.apply(approval)
        order = self.state.orders.order(spec.order_id)
        if order is None or order.status != "PENDING_NEW":
            return
        why = self.early_cancels.take(spec.order_id)
        if why or spec.order_id in self.state.cancels_taken:
            filled, why = order.filled_quantity, why or "canceled"
            self.emit(OrderCanceled(spec.order_id, filled, why, "not sent", 0))
            return
        denial = self.denial(approval)
        if denial is not None:
            self.emit(OrderDenied(spec, *denial))
            return
        self.tell_adapter(wire_order(spec, approval.expires_mono_ns, reduces=approval.reduces))
        self._await_answer(spec.order_id)

    def denial(self, approval: OrderApproved) -> tuple[str, str] | None:
        """Return the code and the sentence of why an order may not leave now, or None."""
        halt = self.state.halted(approval.order, reduces=approval.reduces)
        if halt is not None:
            return "halted", f"trading is halted: {halt}"
        if self.venue_state != "READY":
            return "venue_not_ready", f"{self.config.venue} is {self.venue_state}: {self.reason}"
        if self.clock.mono_ns() > approval.expires_mono_ns:
            return "stale_approval", "the approval waited longer than its deadline"
        return None

    def on_submit_result(self, message: SubmitResult) -> None:
        """Turn the proven outcome of a submit into its event."""
        order = self.state.orders.order(message.client_order_id)
        if order is None:
            self.log.warning("submit result for an order that is not known")
            return
        self.last_activity_ns = self.clock.mono_ns()
        self.awaited.drop(order.spec.order_id)
        proven = message.outcome == "ACCEPTED" and message.venue_order_id is not None
        if not proven and order.status not in ("PENDING_NEW", "UNKNOWN"):
            return
        if (event := submit_event(order, message)) is not None:
            self.emit(event)
        elif not proven:
            self.call_unknown(order, message.text or "the outcome is not proven")
        self._settle(order.spec.order_id)

    def tell_adapter(self, message: Message) -> None:
        """Send a command, unless the session may be another account's; cancels wait until it is known."""
        if self.is_ours:
            self.send(self.adapter, message)
        elif isinstance(message, CancelOrder):
            self.held_cancels[message.client_order_id or message.venue_order_id or ""] = message

    def on_order_report(self, message: OrderReport) -> None:
        """Take what the venue says of an order, from the stream or a reply."""
        if self.is_ours:  # else the reconciliation that follows tells it
            self.take_report(message)

    def on_fill_report(self, message: FillReport) -> None:
        """Take one execution."""
        if self.is_ours:
            self.take_fill(message)

    def take_report(self, report: OrderReport, *, first_look: bool = False) -> None:
        """Turn what the venue says of an order into the events that it proves."""
        order = find_order(self.state.orders, report)
        if order is None:
            stale = report.ts_event_ns < self.state.opened_ns(report.account)
            known = report.source != "stream" and report.account in self.state.cursors
            if stale and not first_look and not known:
                return  # the first look at the account tells what is open, and from when it counts
            order = self._adopt(report)
        if order is None:
            return
        before = order.status
        for event in report_events(order, report):
            self.emit(event)
        self._take_orphans(report.venue_order_id)
        if order.status != before:
            self.last_activity_ns = self.clock.mono_ns()
            if order.resurrected:
                self.log.bind(order=order.spec.order_id).critical("an ended order is alive there")
        if order.missing_fills:
            tick = Tick("missing", order.order_id)
            self.schedule(MISSING_FILL_GRACE_S, tick, key=f"missing:{order.order_id}")
        self._settle(order.order_id)

    def take_fill(self, fill: FillReport) -> None:
        """Turn one execution into its event, once."""
        order = find_order(self.state.orders, fill)
        foreign = order is None or order.spec.origin == "EXTERNAL"
        if foreign and fill.ts_event_ns < self.state.opened_ns(fill.account):
            return  # it is in the opening balances
        if order is None:
            for question in self.orphans.hold(fill, self.state.orders):
                self.tell_adapter(question)
            return
        event = fill_event(order, fill, self.config.venue)
        if event is None:
            return
        self.last_activity_ns = self.clock.mono_ns()
        self.state.fills_since_cursor = True
        self.emit(event)
        self._settle(order.spec.order_id)

    def ask_for_orphans(self) -> None:
        """Ask again whose the fills are that belong to no known order."""
        for question in self.orphans.questions(self.state.orders):
            self.tell_adapter(question)

    def _adopt(self, report: OrderReport) -> Order | None:
        """Take a foreign order into the books: shown and counted, never touched."""
        who = owner(report.client_order_id, self.config.instance)
        first_contact = report.account not in self.state.cursors
        now_ns = self.clock.wall_ns()
        spec = external_spec(report, self.config.venue, who, now_ns, first_contact=first_contact)
        self.emit(ExternalOrderSeen(spec, report.venue_order_id, report.status))
        self.log.warning("external order adopted")
        self._take_orphans(report.venue_order_id)
        return self.state.orders.order(spec.order_id)

    def _take_orphans(self, venue_order_id: str) -> None:
        for fill in self.orphans.pop(venue_order_id, ()):
            self.take_fill(fill)

    # --- cancels ----------------------------------------------------------------------------------

    def on_cancel_request(self, message: CancelRequest) -> None:
        """Cancel an order. Needs no approval; safe to repeat."""
        order = self.state.orders.order(message.order_id)
        if order is None:
            self.early_cancels.note(message, self.clock.mono_ns())
            return
        if order.is_closed or order.spec.who.startswith("sibling:"):
            return
        self.cancel(order, message.reason)

    def committed(self, seq: int, event: Event) -> None:
        """Cancel an order whose cancel was taken while its approval was still on the road."""
        if isinstance(event, OrderCancelTaken):
            self._cancel_taken(event.order_id, event.reason)

    def _cancel_taken(self, order_id: str, reason: str) -> None:
        order = self.state.orders.order(order_id)
        if order is not None and order.is_open and not order.cancel_requested:
            self.cancel(order, reason)

    def cancel(self, order: Order, reason: str) -> None:
        """Send a cancel, journaled as requested the first time."""
        order_id = order.spec.order_id
        if not order.cancel_requested:
            self.emit(OrderCancelRequested(order_id, reason))
        self.cancel_attempts[order_id] = self.cancel_attempts.get(order_id, 0) + 1
        self._arm_cancel(order_id, self.config.ack_timeout_s)
        self.tell_adapter(cancel_of(order, self.config.account))

    def on_cancel_result(self, message: CancelResult) -> None:
        """A cancel was answered. What became of the order only the order itself can say."""
        order = self.state.orders.order(message.client_order_id)
        if order is None or order.is_closed:
            return
        order_id = order.spec.order_id
        if message.outcome == "REJECTED" and message.code != "not_found":
            self.emit(OrderCancelRejected(order_id, message.code, message.text))
        elif message.outcome == "ACCEPTED":
            self._arm_cancel(order_id, CANCEL_GRACE_S)
        else:
            self._query_soon(order)

    # --- what is not known ------------------------------------------------------------------------

    def call_unknown(self, order: Order, cause: str) -> None:
        """Say that a submit is not proven, and begin to ask."""
        if order.status == "PENDING_NEW":
            self.emit(OrderUnknown(order.spec.order_id, cause))
        self.unknown_since_ns[order.spec.order_id] = self.clock.mono_ns()
        self._query_soon(order)

    def _query_soon(self, order: Order) -> None:
        order_id = order.spec.order_id
        self.attempts[order_id] = attempts = self.attempts.get(order_id, -1) + 1
        delay_s = min(QUERY_MAX_S, QUERY_FIRST_S * 2 ** min(attempts, 10))
        self.schedule(delay_s, Tick("query", order_id), key=f"query:{order_id}")

    def query(self, order: Order) -> None:
        """Ask the venue about one order, now."""
        known = None if self.config.keeps_names else self.state.orders
        self.tell_adapter(query_about(order, self.config.account, known))

    def on_query_request(self, message: QueryRequest) -> None:
        """Ask the venue anew about one order."""
        order = self.state.orders.order(message.order_id)
        if order is not None:
            self.query(order)

    def on_resolve_request(self, message: ResolveRequest) -> None:
        """End an UNKNOWN order by a person's word, with who and why."""
        order = self.state.orders.order(message.order_id)
        if order is None or order.status != "UNKNOWN":
            return
        self.emit(resolution(message))
        self._settle(message.order_id)

    def on_query_result(self, message: QueryResult) -> None:
        """Settle what the venue's answer proves, and ask again for the rest."""
        if not self.is_ours:
            return  # absence from another account proves nothing
        for fill in message.fills:
            if find_order(self.state.orders, fill) is not None:
                self.take_fill(fill)
        if message.order is not None:
            self.take_report(message.order)
        order = self.state.orders.order(message.client_order_id)
        if order is None and message.order is not None:
            order = find_order(self.state.orders, message.order)
        if order is None:
            return
        if message.found is False and order.status == "UNKNOWN":
            self._not_found(order, message)
        elif order.status == "PENDING_CANCEL" and message.found:
            self._cancel_again(order)
        if order.status in ("UNKNOWN", "PENDING_CANCEL") or order.missing_fills:
            self._query_soon(order)

    def _not_found(self, order: Order, message: QueryResult) -> None:
        order_id = order.spec.order_id
        since_ns = self.unknown_since_ns.setdefault(order_id, self.clock.mono_ns())
        waited_s = (message.asked_mono_ns - since_ns) / NS_PER_S
        if waited_s < self.config.settle_window_s or not self.config.enforces_expiry:
            return  # without an expiry that the venue enforces it may still arrive: a person decides
        evidence = f"absent {waited_s:.0f} s after it was last unproven: {message.evidence}"
        self.emit(OrderRejected(order_id, "not_received", "never received", evidence, 0))
        self.log.warning("unknown order settled: not received")
        self._settle(order_id)

    def _cancel_again(self, order: Order) -> None:
        """The venue still shows the order open although a cancel was sent."""
        order_id = order.spec.order_id
        if self.cancel_attempts.get(order_id, 0) < CANCEL_ATTEMPTS_MAX:
            self.cancel(order, "again")
            return
        self.emit(OrderCancelRejected(order_id, "cancel_without_effect", "still open there"))

    def _settle(self, order_id: str) -> None:
        """Forget the retry counters of an order that is no longer in doubt."""
        order = self.state.orders.order(order_id)
        if order is not None and order.status == "PENDING_CANCEL":
            self._arm_cancel(order_id, CANCEL_GRACE_S)  # its cancel may have come too early
        if order is not None and order.status in ("UNKNOWN", "PENDING_CANCEL"):
            return
        if order is None or not order.missing_fills:
            self.unknown_since_ns.pop(order_id, None)
            self.attempts.pop(order_id, None)
        self.cancel_attempts.pop(order_id, None)
        self.cancel_due_ns.pop(order_id, None)

    # --- timers -----------------------------------------------------------------------------------

    def on_tick(self, message: Tick) -> None:
        """A deadline passed: an answer is missing."""
        order = self.state.orders.order(message.argument)
        if order is None:
            return
        if is_question_due(order, message.name):
            self.query(order)
            self._query_soon(order)  # should the answer be lost

    # Never later than it was armed for: reports that keep coming must not put the question off.
    def _arm_cancel(self, order_id: str, after_s: float) -> None:
        now_ns, armed_ns = self.clock.mono_ns(), self.cancel_due_ns.get(order_id, 0)
        if not now_ns < armed_ns <= now_ns + int(after_s * NS_PER_S):
            self.cancel_due_ns[order_id] = now_ns + int(after_s * NS_PER_S)
            self.schedule(after_s, Tick("cancel", order_id), key=f"cancel:{order_id}")

    # One timer for all: most answers are here long before, and each order would pay for its own.
    def _await_answer(self, order_id: str) -> None:
        self.look_in(self.awaited.add(order_id, self.clock.mono_ns()))

    def look_in(self, wait_s: float | None) -> None:
        """Have the awaited answers looked for after a while, unless that is under way."""
        if wait_s is not None:
            self.schedule(wait_s, Tick("ack"), key="ack")
