"""AdapterActor: the address of a venue's adapter, and its life.

The adapter's threads do the I/O; this actor starts them, hands them the port's commands and stops
them. A crash of either restarts both: a new session, which its ExchangeActor reconciles.
"""

from collections.abc import Callable
from typing import ClassVar, Protocol

from engine.actor import Actor
from engine.messages.base import Message
from engine.messages.port import (
    CancelOrder,
    QueryOrder,
    Reconcile,
    Resubscribe,
    SetGate,
    SubmitOrder,
)

STOP_WITHIN_S = 5.0


class VenuePort(Protocol):
    """What an adapter offers. `handle` never blocks: workers do the I/O."""

    def start(self) -> None:
        """Begin a session: threads, links, instruments."""
        ...

    def stop(self, deadline_s: float) -> None:
        """End the session: no thread and no socket is left."""
        ...

    def handle(self, message: Message) -> None:
        """Take one command of the port."""
        ...


class AdapterActor(Actor):
    """See the module's docstring. A submit is handed over at most once per message."""

    durable: ClassVar[bool] = False

    def __init__(self, factory: Callable[[], VenuePort]) -> None:
        super().__init__()
        self._factory = factory
        self._port: VenuePort | None = None

    def ready(self) -> None:
        """Start a session."""
        self._port = self._factory()
        self._port.start()

    def on_stop(self) -> None:
        """End the session with the actor."""
        self._close()

    def on_failure(self, *_: object) -> None:
        """End the session with the incarnation."""
        self._close()

    def _close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.stop(STOP_WITHIN_S)

    def _hand_over(self, message: Message) -> None:
        assert self._port is not None
        self._port.handle(message)

    def on_submit_order(self, message: SubmitOrder) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_cancel_order(self, message: CancelOrder) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_query_order(self, message: QueryOrder) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_reconcile(self, message: Reconcile) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_set_gate(self, message: SetGate) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_resubscribe(self, message: Resubscribe) -> None:
        """Hand over."""
        self._hand_over(message)
