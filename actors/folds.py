"""Who folds which events: the one table behind delivery, recovery and snapshots.

The same question is asked three times, so it has one answer: to whom a committed event is
delivered, which records a restarted actor replays, and what goes into an actor's snapshot.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from engine.envelope import EVENT_KINDS
from engine.messages.base import Event
from engine.messages.events import (
    AccountOpened,
    BalanceDifferenceAccepted,
    BalanceDifferenceCleared,
    BalanceDifferenceFound,
    OpeningBalance,
    OrderApproved,
    OrderCancelTaken,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)

HALTS: Final = (TradingHalted, TradingResumed)
MONEY: Final = (
    OpeningBalance,
    AccountOpened,
    BalanceDifferenceFound,
    BalanceDifferenceCleared,
    BalanceDifferenceAccepted,
)
# What moves money beside fills. Its author too folds it only in the journal's place among the fills:
# what a lot cost depends on which came first.
IN_PLACE: Final = (OpeningBalance, AccountOpened, BalanceDifferenceAccepted)
ROUTER: Final = "order_router"
RISK: Final = "risk_pnl"


class Fold(Protocol):
    """A durable state: what applying events to it leaves."""

    def apply(self, event: Any, seq: int = 0) -> Any:
        """Fold one event."""
        ...

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the state."""
        ...


FoldFactory = Callable[[bytes | None], Fold]
Folds = Mapping[str, FoldFactory]


def addressed_to(event: Event) -> str:
    """Return the venue whose actor folds an event although others decide it, or the empty text."""
    if isinstance(event, OrderApproved):
        return event.order.venue
    return event.venue if isinstance(event, OrderCancelTaken) else ""


def concerns(actor: str, origin: str, event: Event) -> bool:
    """Tell whether `actor` folds `event`, which `origin` decided.

    The answer follows from the event's kind, its origin and to which venue it is addressed.
    """
    kind = type(event)
    if actor.startswith("exchange."):
        venue = addressed_to(event)
        if venue:
            return actor == f"exchange.{venue}"
        return origin == actor or kind in HALTS
    if actor == RISK:
        return kind in _OF_RISK
    return actor == ROUTER and kind in _OF_ORDERS


_OF_ORDERS: Final = frozenset(
    kind
    for kind in EVENT_KINDS.values()
    if kind is ParentAccepted or not {"order", "order_id"}.isdisjoint(kind.__struct_fields__)
)
_OF_RISK: Final = _OF_ORDERS.union(HALTS, MONEY)
