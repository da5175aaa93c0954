"""AdapterActor: the address of a venue's adapter, and its life.

The adapter does its I/O in a process or in threads of its own; this actor starts it, hands it the port's
commands and stops it. A crash of either begins a new session, which its ExchangeActor reconciles. Between
two sessions this actor lives on, and confirms a closed gate: nothing runs that could send.
"""

from collections.abc import Callable
from random import Random
from typing import ClassVar, Final, Protocol

from engine.actor import Actor
from engine.clock import NS_PER_S
from engine.messages.base import Message
from engine.messages.commands import Tick
from engine.messages.port import (
    AdapterFailed,
    AskVenue,
    CancelOrder,
    GateChanged,
    QueryOrder,
    Reconcile,
    Resubscribe,
    SetGate,
    SubmitOrder,
    SubmitResult,
)
from engine.port_refusals import refusal
from engine.specs import RestartPolicy

STOP_WITHIN_S: Final = 3.0
AGAIN_S: Final = 0.1
SUBMITS_KEPT_MAX: Final = 10_000


class VenuePort(Protocol):
    """What an adapter offers, wherever it lives. `handle` never blocks: workers do the I/O."""

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
    """What outlives a session: which submits it was given, the gate, and when sessions crashed.

    A crash behind a hand-over redelivers the message, but what a session sent cannot be called back.
    """

    def __init__(self, policy: RestartPolicy) -> None:
        self.gate: SetGate | None = None
        self._policy = policy
        self._crashes_ns: list[int] = []
        self._submits: dict[str, None] = {}

    def backoff_s(self, now_ns: int, rng: Random) -> float | None:
        """Note the crash of a session; return when to begin the next, None if that is given up."""
        policy = self._policy
        since_ns = now_ns - int(policy.within_s * NS_PER_S)
        self._crashes_ns = [t for t in self._crashes_ns if t > since_ns] + [now_ns]
        count = len(self._crashes_ns)
        if count > policy.max_restarts:
            return None
        delay_s = min(policy.backoff_max_s, policy.backoff_initial_s * 2.0 ** min(64, count - 1))
        return delay_s * rng.uniform(1.0 - policy.jitter, 1.0)

    def forgive(self) -> None:
        """Forget the crashes: a person, or a new incarnation, tries anew."""
        self._crashes_ns = []

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
        self._gave_up = ""

    def ready(self) -> None:
        """Start a session, with a clean record."""
        self._handed.forgive()
        self._open()

    # Behind the gate that the session before was given.
    def _open(self) -> None:
        self._port = self._factory()
        if self._handed.gate is not None:
            self._port.handle(self._handed.gate)
        self._port.start()

    def on_stop(self) -> None:
        """End the session in order. It is not waited for here: others stop, too."""
        port, self._port = self._port, None
        if port is not None:
            self._background(lambda: port.stop(STOP_WITHIN_S))

    def on_failure(self, *_: object) -> None:
        """End the session with the incarnation."""
        self._abandon()

    def _abandon(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            port.shut()  # at once: a halt may be confirmed before the session's threads have ended
            self._background(lambda: port.stop(STOP_WITHIN_S))

    def on_adapter_failed(self, message: AdapterFailed) -> None:
        """The session crashed, or its process died: a new one, later each time, until it is too much."""
        if message.code != "crashed" or self._port is None:
            return
        self._abandon()
        delay_s = self._handed.backoff_s(self.clock.mono_ns(), self.rng)
        if delay_s is not None:
            self.schedule(delay_s, Tick("session"), key="session")
            return
        self._gave_up = f"its adapter crashes again and again: {message.text}"[:500]
        self.log.bind(reason=self._gave_up).critical("venue given up")
        self.send(self._exchange(), AdapterFailed(message.venue, "gave_up", self._gave_up))

    def on_tick(self, message: Tick) -> None:
        """Begin the next session."""
        if message.name == "session" and self._port is None and not self._gave_up:
            self._open()

    def _exchange(self) -> str:
        return f"exchange.{self.name.partition('.')[2]}"

    def _hand_over(self, message: Message) -> None:
        if self._port is not None:
            self._port.handle(message)
        elif self._gave_up:
            answer = refusal(message, self.name.partition(".")[2], self._gave_up, self.clock)
            if answer is not None:
                self.send(self._exchange(), answer)
        else:
            self.schedule(AGAIN_S, message)  # between two sessions: a submit expires meanwhile

    def on_submit_order(self, message: SubmitOrder) -> None:
        """Hand over, once: a second time nobody knows what became of the first."""
        if self._port is None or self._handed.is_first(message.client_order_id):
            self._hand_over(message)
            return
        text = "the adapter crashed while it had this order"
        result = SubmitResult(
            message.account, message.client_order_id, "UNKNOWN", None, "handed_over", text, "", 0, 0
        )
        self.send(self._exchange(), result)

    def on_cancel_order(self, message: CancelOrder) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_query_order(self, message: QueryOrder) -> None:
        """Hand over."""
        self._hand_over(message)

    def on_ask_venue(self, message: AskVenue) -> None:
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
        # Nothing runs, and the next session begins behind it.
        venue = self.name.partition(".")[2]
        self.send(self._exchange(), GateChanged(message.request_id, venue, message.closed))

    def on_resubscribe(self, message: Resubscribe) -> None:
        """Hand over."""
        self._hand_over(message)
