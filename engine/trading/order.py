"""The life of one order as a fold of its events: one method changes anything.

Which status follows from which trigger stands in order_status.py; what is not in that table raises
IllegalTransition and changes nothing. A fill beyond the order's quantity is counted, because it is
money, and the order is flagged `overfilled`.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from engine.errors import IllegalTransition
from engine.messages.base import Event, State
from engine.messages.events import (
    ExternalOrderSeen,
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderSpec,
    OrderUnknown,
    OrderVenueFilled,
)
from engine.trading.money import ZERO, exact, minus, plus, ratio
from engine.trading.order_status import (
    ACK,
    ADOPT,
    APPROVE,
    CANCEL,
    CANCEL_REFUSE,
    CANCELED_BY_VENUE,
    CLOSED,
    CREATED,
    DENIED,
    DENY,
    EXPIRE,
    FILL_LAST,
    FILL_PART,
    FILLED,
    IN_FLIGHT,
    KEEP,
    LOSE,
    NEW,
    PARTIALLY_FILLED,
    PENDING_CANCEL,
    REJECT,
    REJECT_WEAK,
    REJECTED,
    RESOLVE_CANCELED,
    RESOLVE_REJECTED,
    SAME,
    SEE,
    STATUSES,
    TABLE,
    VENUE_FILL,
)

NOT_RECEIVED: Final = "not_received"  # code of a rejection that rests on absence, not on a reply
RESOLVED: Final = "resolved"  # reason code of an end by a person's word
DUPLICATE: Final = "duplicate"  # denial of a repeated proposal; says nothing of the first one


class Order(State, forbid_unknown_fields=False):
    """One order at one venue. `apply` is the only thing that changes it.

    Snapshots of the first release carry two more fields at the end, which are ignored.
    """

    spec: OrderSpec
    status: str = CREATED
    venue_order_id: str | None = None
    filled_quantity: Decimal = ZERO
    filled_notional: Decimal = ZERO
    fees: dict[str, Decimal] = {}  # noqa: RUF012  msgspec copies the empty default
    fill_keys: set[str] = set()  # noqa: RUF012
    venue_filled_quantity: Decimal = ZERO
    cancel_requested: bool = False
    resurrected: bool = False
    reason_code: str = ""
    reason: str = ""
    ts_last_ns: int = 0

    @property
    def order_id(self) -> str:
        """The id of the order, which at a venue is also its client_order_id."""
        return self.spec.order_id

    @property
    def is_closed(self) -> bool:
        """Whether nothing but late fills can still happen."""
        return self.status in CLOSED

    @property
    def is_open(self) -> bool:
        """Whether the order may still trade."""
        return self.status not in CLOSED

    @property
    def is_settled(self) -> bool:
        """Whether the order is closed and every fill the venue claims is here."""
        return self.status in CLOSED and self.venue_filled_quantity <= self.filled_quantity

    @property
    def is_in_flight(self) -> bool:
        """Whether a request of ours is on its way."""
        return self.status in IN_FLIGHT

    @property
    def leaves_quantity(self) -> Decimal:
        """What may still be filled; 0 once closed."""
        if self.status in CLOSED or self.spec.quantity <= self.filled_quantity:
            return ZERO
        return minus(self.spec.quantity, self.filled_quantity)

    @property
    def missing_fills(self) -> Decimal:
        """What the venue claims to have filled and has not itemised here yet."""
        if self.venue_filled_quantity <= self.filled_quantity:
            return ZERO
        return minus(self.venue_filled_quantity, self.filled_quantity)

    @property
    def exposure_quantity(self) -> Decimal:
        """What risk must charge beyond the fills that are counted already."""
        leaves, missing = self.leaves_quantity, self.missing_fills
        return max(leaves, missing)

    @property
    def overfilled(self) -> bool:
        """Whether the venue executed more than was asked."""
        return self.filled_quantity > self.spec.quantity

    @property
    def average_price(self) -> Decimal | None:
        """The average over all fills to 28 digits (exact: filled_notional / filled_quantity)."""
        return ratio(self.filled_notional, self.filled_quantity)

    def apply(self, event: Any) -> bool:
        """Fold one event; False for a duplicate. IllegalTransition changes nothing."""
        trigger = self._trigger(event)
        if trigger is None:
            return False
        target = TABLE.get((self.status, trigger))
        if target is None:
            raise IllegalTransition(
                f"order {self.order_id}: {self.status} does not allow {type(event).__name__}"
                f" ({trigger})"
            )
        if target == SAME or (target == ADOPT and not self._ended_unproven()):
            return False
        before = self.status
        take = _TAKE.get(trigger)
        if take is not None:
            take(self, event)
        self.status = target if target in _STATUSES else self._resolve(target)
        if target == ADOPT or (before in _UNBORN and self._lives()):
            self.resurrected = True
            self.reason_code, self.reason = "", ""
        if type(event) in _TIMED and event.ts_event_ns > self.ts_last_ns:
            self.ts_last_ns = event.ts_event_ns
        return True

    # Adopted after all: open, or complete.
    def _lives(self) -> bool:
        return self.is_open or self.status == FILLED

    # The order was ended by absence or by a person's word, not by the venue's.
    def _ended_unproven(self) -> bool:
        return self.reason_code in {NOT_RECEIVED, RESOLVED}

    # The trigger of an event; None for a repeated fill; IllegalTransition for somebody else's event.
    def _trigger(self, event: Any) -> str | None:
        kind = type(event)
        find = _TRIGGER_OF.get(kind)
        about = event.order if kind in _WITH_SPEC else event
        of = getattr(about, "order_id", "")
        if find is None or of != self.spec.order_id:
            raise IllegalTransition(
                f"order {self.order_id} ({self.status}): {type(event).__name__} of {of!r} is not for it"
            )
        return find if type(find) is str else find(self, event)  # type: ignore[operator]

    def _resolve(self, target: str) -> str:
        if target == KEEP:
            return self.status
        if self.cancel_requested:
            return PENDING_CANCEL
        return PARTIALLY_FILLED if self.filled_quantity > 0 else NEW


# --- triggers -------------------------------------------------------------------------------------


def _fill_key(event: OrderFilled) -> str:
    return f"{event.venue_order_id}|{event.trade_id}"


# Which of the fill triggers, after checking that the venue's words fit this order at all.
def _fill_trigger(order: Order, event: OrderFilled) -> str | None:
    spec = order.spec
    expected = (spec.account, spec.venue, spec.symbol, spec.side)
    found = (event.account, event.venue, event.symbol, event.side)
    if expected != found or event.quantity < 0 or event.price < 0:
        raise IllegalTransition(
            f"order {order.order_id} ({order.status}): fill {event.trade_id} of {found},"
            f" {event.quantity} at {event.price}, does not fit {expected}"
        )
    if _fill_key(event) in order.fill_keys:
        return None
    done = plus(order.filled_quantity, event.quantity) >= spec.quantity
    return FILL_LAST if done else FILL_PART


def _denial_trigger(order: Order, event: OrderDenied) -> str | None:
    # A denied repetition must not end the order that it repeats.
    repeats = event.code == DUPLICATE and order.status != CREATED
    return None if repeats else DENY


def _rejection_trigger(order: Order, event: OrderRejected) -> str:
    weak = event.code == NOT_RECEIVED or order.filled_quantity > 0
    return REJECT_WEAK if weak else REJECT


def _resolution_trigger(_: Order, event: OrderResolved) -> str:
    return RESOLVE_REJECTED if event.status == REJECTED else RESOLVE_CANCELED


# The trigger of each kind of event, or what finds it where arithmetic or a code decides.
_TRIGGER_OF: Final[dict[type[Event], str | Callable[[Order, Any], str | None]]] = {
    OrderApproved: APPROVE,
    OrderDenied: _denial_trigger,
    OrderAcknowledged: ACK,
    OrderRejected: _rejection_trigger,
    OrderUnknown: LOSE,
    OrderFilled: _fill_trigger,
    OrderCancelRequested: CANCEL,
    OrderCancelRejected: CANCEL_REFUSE,
    OrderCanceled: CANCELED_BY_VENUE,
    OrderExpired: EXPIRE,
    OrderVenueFilled: VENUE_FILL,
    OrderResolved: _resolution_trigger,
    ExternalOrderSeen: SEE,
}
_WITH_SPEC: Final = frozenset({OrderApproved, OrderDenied, ExternalOrderSeen})
_TIMED: Final = frozenset(kind for kind in _TRIGGER_OF if "ts_event_ns" in kind.__struct_fields__)
_STATUSES: Final = frozenset(STATUSES)
_UNBORN: Final = frozenset({REJECTED, DENIED})


# --- facts: what an accepted event changes beside the status ---------------------------------------


@exact
def _take_fill(order: Order, event: OrderFilled) -> None:
    order.fill_keys.add(_fill_key(event))
    order.filled_quantity += event.quantity
    order.filled_notional += event.price * event.quantity
    order.fees[event.fee_asset] = order.fees.get(event.fee_asset, ZERO) + event.fee
    _take_venue_order_id(order, event)


# The first id stays: a second one for the same client id is for the trail and the alarm.
def _take_venue_order_id(order: Order, event: Any) -> None:
    if order.venue_order_id is None:
        order.venue_order_id = event.venue_order_id


def _take_claim(order: Order, event: Any) -> None:
    order.venue_filled_quantity = max(order.venue_filled_quantity, event.filled_quantity)


def _take_end(order: Order, event: Any) -> None:
    _take_claim(order, event)
    order.reason = event.reason


def _take_code(order: Order, event: Any) -> None:
    order.reason_code, order.reason = event.code, event.text


def _take_resolution(order: Order, event: OrderResolved) -> None:
    order.reason_code, order.reason = RESOLVED, f"{event.who}: {event.reason}"


def _take_cancel(order: Order, _: OrderCancelRequested) -> None:
    order.cancel_requested = True


def _take_refusal(order: Order, _: OrderCancelRejected) -> None:
    order.cancel_requested = False


def _take_sighting(order: Order, event: ExternalOrderSeen) -> None:
    order.venue_order_id = event.venue_order_id
    if event.status == FILLED:
        order.venue_filled_quantity = order.spec.quantity


_TAKE: Final[dict[str, Callable[[Order, Any], None]]] = {
    DENY: _take_code,
    ACK: _take_venue_order_id,
    REJECT: _take_code,
    REJECT_WEAK: _take_code,
    FILL_PART: _take_fill,
    FILL_LAST: _take_fill,
    CANCEL: _take_cancel,
    CANCEL_REFUSE: _take_refusal,
    CANCELED_BY_VENUE: _take_end,
    EXPIRE: _take_end,
    VENUE_FILL: _take_claim,
    RESOLVE_REJECTED: _take_resolution,
    RESOLVE_CANCELED: _take_resolution,
    SEE: _take_sighting,
}
