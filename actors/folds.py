"""Who folds which events: the one table behind delivery, recovery and snapshots.

The same question is asked three times, so it has one answer: to whom a committed event is
delivered, which records a restarted actor replays, and what goes into an actor's snapshot.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import Lock
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


def concerns(actor: str, origin: str, event: Event) -> bool:
    """Tell whether `actor` folds `event`, which `origin` decided."""
    kind = type(event)
    if actor.startswith("exchange."):
        if isinstance(event, OrderApproved):
            return event.order.venue == actor.partition(".")[2]
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


class Replicas:
    """Every durable actor's state, folded a second time: for snapshots, and for quick restarts.

    PersistenceActor folds; a restarting actor takes a copy from another thread. Neither waits for the
    other: who finds the other at work comes back later, or goes to the journal.
    """

    def __init__(self, factories: Folds) -> None:
        self.factories = factories
        self.seq = 0
        self._states: dict[str, Fold] = {}
        self._whole = False
        self._lock = Lock()

    def begin(self, snapshots: Mapping[str, bytes | None], seq: int) -> None:
        """Begin anew with the states as of `seq`."""
        with self._lock:
            self._states = {a: make(snapshots.get(a)) for a, make in self.factories.items()}
            self.seq, self._whole = seq, True

    def fold(self, records: Iterable[tuple[int, str, Event]]) -> bool:
        """Fold records (seq, origin, event); False if a state is being copied just now."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._whole = False
            for seq, origin, event in records:
                for actor, state in self._states.items():
                    if concerns(actor, origin, event):
                        state.apply(event, seq)
                self.seq = seq
            self._whole = True
        finally:
            self._lock.release()
        return True

    def snapshots(self) -> Iterator[tuple[str, bytes]]:
        """Yield every actor's state as of `seq`."""
        for actor, state in self._states.items():
            yield actor, state.to_bytes()

    def copy(self, actor: str, upto_seq: int) -> tuple[int, bytes] | None:
        """Return an actor's state and its seq, if it is at hand and not newer than `upto_seq`."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            state = self._states.get(actor)
            if state is None or not self._whole or self.seq > upto_seq:
                return None
            return self.seq, state.to_bytes()
        finally:
            self._lock.release()
