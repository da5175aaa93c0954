"""AdapterActor: the address of a venue's adapter, and its life.

The adapter's threads do the I/O; this actor starts them, hands them the port's commands and stops
them. A crash of either restarts both: a new session, which its ExchangeActor reconciles.
"""

from collections.abc import Callable
from typing import ClassVar, Final, Protocol

from engine.actor import Actor
from engine.messages.base import Message
from engine.messages.commands import Tick
from engine.messages.port import (
    AdapterFailed,
    CancelOrder,
    QueryOrder,
    Reconcile,
    Resubscribe,
    SetGate,
    SubmitOrder,
)

STOP_WITHIN_S: Final = 3.0
BACKOFF_S: Final = 0.1
FAILURES_MAX: Final = 5
HEALTHY_AFTER_S: Final = 60.0


class VenuePort(Protocol):
    """What an adapter offers. `handle` never blocks: workers do the I/O."""

    def start(self) -> None:
        """Begin a session: threads, links, instruments."""
        ...

    def stop(self, deadline_s: float) -> object:
        """End the session: no thread and no socket is left."""
        ...

    def handle(self, message: Message) -> None:
        """Take one command of the port."""
        ...


class AdapterActor(Actor):
    """See the module's docstring. A submit is handed over at most once per message."""

    durable: ClassVar[bool] = False

    def __init__(
        self,
        factory: Callable[[], VenuePort],
        background: Callable[[Callable[[], object]], object],
    ) -> None:
        """Take what makes an adapter, and `background`, which runs what may block elsewhere."""
        super().__init__()
        self._factory = factory
        self._background = background
        self._port: VenuePort | None = None
        self._failures = 0

    def ready(self) -> None:
        """Start a session."""
        self._port = self._factory()
        self._port.start()

    def on_stop(self) -> None:
        """End the session with the actor, and wait for its threads: the process is stopping."""
        port, self._port = self._port, None
        if port is not None:
            port.stop(STOP_WITHIN_S)

    def on_failure(self, *_: object) -> None:
        """End the session with the incarnation."""
        self._abandon()

    def _abandon(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            self._background(lambda: port.stop(STOP_WITHIN_S))

    def on_adapter_failed(self, message: AdapterFailed) -> None:
        """A worker died of its own bug: a new session, later each time, and a crash if it goes on."""
        if message.code != "crashed":
            return
        self._failures += 1
        if self._failures > FAILURES_MAX:
            raise RuntimeError(f"the adapter crashed {self._failures} times: {message.text}")
        self._abandon()
        delay_s = BACKOFF_S * 2 ** (self._failures - 1)
        self.schedule(delay_s, Tick("session"), key="session")

    def on_tick(self, message: Tick) -> None:
        """Begin the next session, or forget old failures."""
        if message.name == "session" and self._port is None:
            self.ready()
            self.schedule(HEALTHY_AFTER_S, Tick("healthy"), key="healthy")
        elif message.name == "healthy":
            self._failures = 0

    def _hand_over(self, message: Message) -> None:
        if self._port is None:
            self.schedule(BACKOFF_S, message)  # between two sessions: a submit expires meanwhile
        else:
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
