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
    GateChanged,
    QueryOrder,
    Reconcile,
    Resubscribe,
    SetGate,
    SubmitOrder,
    SubmitResult,
)

STOP_WITHIN_S: Final = 3.0
BACKOFF_S: Final = 0.1
FAILURES_MAX: Final = 5
HEALTHY_AFTER_S: Final = 60.0
SUBMITS_KEPT_MAX: Final = 10_000


class VenuePort(Protocol):
    """What an adapter offers. `handle` never blocks: workers do the I/O."""

    def start(self) -> None:
        """Begin a session: threads, links, instruments."""
        ...

    def stop(self, deadline_s: float) -> object:
        """End the session: no thread and no socket is left."""
        ...

    def shut(self) -> None:
        """Let no order leave any more, from this moment on. Never blocks."""
        ...

    def handle(self, message: Message) -> None:
        """Take one command of the port."""
        ...


class Handed:
    """What outlives a session within the process: which submits a session was given, and the gate.

    A crash behind a hand-over redelivers the message, but what a session sent cannot be called back.
    """

    def __init__(self) -> None:
        self.gate: SetGate | None = None
        self._submits: dict[str, None] = {}

    def is_first(self, client_order_id: str) -> bool:
        """Note a submit; False if a session has had it before."""
        if client_order_id in self._submits:
            return False
        self._submits[client_order_id] = None
        if len(self._submits) > SUBMITS_KEPT_MAX:
            del self._submits[next(iter(self._submits))]
        return True


class AdapterActor(Actor):
    """See the module's docstring. A submit is handed over at most once, whatever crashes."""

    durable: ClassVar[bool] = False

    def __init__(
        self,
        factory: Callable[[], VenuePort],
        background: Callable[[Callable[[], object]], object],
        handed: Handed,
    ) -> None:
        """Take what makes an adapter, `background`, which runs what may block elsewhere, and `handed`."""
        super().__init__()
        self._factory = factory
        self._background = background
        self._handed = handed
        self._port: VenuePort | None = None
        self._failures = 0

    def ready(self) -> None:
        """Start a session, behind the gate that the one before was given."""
        self._port = self._factory()
        if self._handed.gate is not None:
            self._port.handle(self._handed.gate)
        self._port.start()

    def on_stop(self) -> None:
        """End the session with the actor. Its threads are not waited for here: others stop, too."""
        self._abandon()

    def on_failure(self, *_: object) -> None:
        """End the session with the incarnation."""
        self._abandon()

    def _abandon(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.shut()  # at once: a halt may be confirmed before the session's threads have ended
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
        """Hand over, once: a second time nobody knows what became of the first."""
        if self._port is None or self._handed.is_first(message.client_order_id):
            self._hand_over(message)
            return
        text = "the adapter crashed while it had this order"
        result = SubmitResult(
            message.account, message.client_order_id, "UNKNOWN", None, "handed_over", text, "", 0, 0
        )
        self.send(f"exchange.{self.name.partition('.')[2]}", result)

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
        """Hand over, and keep for the next session."""
        self._handed.gate = message
        if self._port is not None:
            self._port.handle(message)
            return
        venue = self.name.partition(".")[2]
        changed = GateChanged(message.request_id, venue, message.closed)
        self.send(
            f"exchange.{venue}", changed
        )  # nothing runs, and the next session begins behind it

    def on_resubscribe(self, message: Resubscribe) -> None:
        """Hand over."""
        self._hand_over(message)
