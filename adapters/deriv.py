"""Deriv (deriv.com) behind the message port: contracts of a dealer, on websocket-client alone.

ccxt does not know this venue (`derive` and `deribit` are others). One adapter speaks both of its APIs. The
rules are those of every adapter: each SubmitOrder is answered exactly once, the gate is asked by the last
code before the socket, network trouble is mended inside, and a worker's own bug ends the session.
"""

import random
from collections.abc import Callable
from functools import partial

from adapters.deriv_account import dialect_of
from adapters.deriv_contracts import Kinds
from adapters.deriv_inquiry import DerivInquiry
from adapters.deriv_session import DerivSession
from adapters.gate import Gate
from adapters.lanes import ThreadFactory
from adapters.pending import Pending
from adapters.registry import VenueConfig
from adapters.workers import WAITING_MAX, JobQueue
from engine.clock import NS_PER_S, Clock
from engine.errors import ConfigError
from engine.halt_file import stands
from engine.messages.base import Message
from engine.messages.port import (
    AdapterFailed,
    AskVenue,
    CancelOrder,
    CancelResult,
    GateChanged,
    QueryOrder,
    Reconcile,
    Resubscribe,
    SetGate,
    SubmitOrder,
)
from engine.port_refusals import refusal


def check(config: VenueConfig) -> None:
    """Raise ConfigError for a configuration that this adapter cannot serve."""
    dialect_of(config)
    Kinds(config.symbols)
    if not config.symbols:
        raise ConfigError(f"venues.{config.name}.symbols: name at least one symbol")


class DerivAdapter:
    """Deriv behind the port. `handle` never blocks; reports go to `deliver`, from any thread."""

    def __init__(
        self,
        config: VenueConfig,
        *,
        clock: Clock,
        rng: random.Random,
        deliver: Callable[[Message], None],
        threads: ThreadFactory,
    ) -> None:
        check(config)
        self._config = config
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._threads = threads
        self._gate = (
            Gate(clock, partial(stands, config.halt_file)) if config.halt_file else Gate(clock)
        )
        self._pending = Pending(clock, deliver)
        self._session: DerivSession | None = None
        self._buys: JobQueue | None = None
        self._closes: JobQueue | None = None
        self._reads: JobQueue | None = None

    @property
    def session(self) -> DerivSession | None:
        """The session that is open now."""
        return self._session

    def unanswered(self) -> int:
        """Return how many submits have not been answered yet."""
        return len(self._pending)

    def start(self) -> None:
        """Open a new session. Returns at once; tells AdapterReady."""
        assert self._session is None, "stop it first"
        self._gate = self._gate.successor()
        session = DerivSession(
            self._config, clock=self._clock, rng=self._rng, gate=self._gate, pending=self._pending,
            deliver=self._from_session, threads=self._threads,
        )  # fmt: skip
        self._session = session
        # A close never waits behind a buy, nor either behind a question.
        self._buys = session.workers.queue("buys")
        self._closes = session.workers.queue("closes")
        self._reads = session.workers.queue("reads")
        session.start()

    def stop(self, deadline_s: float) -> bool:
        """End the session within the deadline; True if every thread has ended.

        Submits not begun are answered NOT_SENT; one still in flight at the deadline UNKNOWN.
        """
        self._gate.shut()
        session, self._session = self._session, None
        if session is None:
            return True
        until_ns = self._clock.mono_ns() + int(deadline_s * NS_PER_S)
        if not session.stopping.is_set():
            session.private.settle(deadline_s / 2)  # answers on their way are worth waiting for
        session.stopping.set()
        for thread in session.workers.running:
            thread.join(max(0.0, (until_ns - self._clock.mono_ns()) / NS_PER_S))
        session.silence()
        self._pending.end_all("stopped", "the adapter was stopped before the answer came")
        return not any(thread.is_alive() for thread in session.workers.running)

    def shut(self) -> None:
        """Let nothing leave any more, from this moment on; never blocks. `stop` does the rest."""
        self._gate.shut()

    def handle(self, message: Message) -> None:
        """Take one command. Never blocks; a command no session can serve is answered at once."""
        session = self._session
        match message:
            case SetGate():
                self._gate.set(message)
                self._deliver(GateChanged(message.request_id, self._config.name, message.closed))
            case SubmitOrder():
                self._submit(session, message)
            case CancelOrder():
                self._cancel(message)
            case QueryOrder():
                self._ask(message, lambda inquiry: inquiry.query(message))
            case Reconcile():
                self._ask(message, lambda inquiry: inquiry.reconcile(message))
            case AskVenue():
                self._ask(message, lambda inquiry: inquiry.records(message))
            case Resubscribe():
                if session is not None and self._reads is not None:
                    self._reads.put(session.republish)
            case _:
                raise TypeError(f"an adapter takes no {type(message).__name__}")

    # A crashed session answers what it owes before it tells that it crashed.
    def _from_session(self, message: Message) -> None:
        if isinstance(message, AdapterFailed) and message.code == "crashed":
            self._gate.shut()
            self._pending.end_all("crashed", message.text)
        self._deliver(message)

    def _submit(self, session: DerivSession | None, order: SubmitOrder) -> None:
        if not self._pending.begin(order):
            return
        if self._config.read_only:
            self._pending.refuse(order, "read_only", self._config.read_only)
            return
        if session is None or not session.is_ready or session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the adapter has no open session")
            return
        jobs = self._buys if order.side == "BUY" else self._closes
        assert jobs is not None, "a session has its workers"
        if not jobs.put(lambda: session.desk.submit(order)):
            self._pending.refuse(order, "queue_full", f"{WAITING_MAX} orders are waiting")
        elif session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the session has just ended")

    # Nothing ever rests here, so there is nothing to cancel: what became of the order, its query says.
    def _cancel(self, cancel: CancelOrder) -> None:
        text = "a contract is bought at once or not at all; close it with an order to sell"
        self._deliver(
            CancelResult(cancel.account, cancel.client_order_id, "REJECTED", "not_found", text)
        )

    def _ask(self, command: Message, answer: Callable[[DerivInquiry], Message]) -> None:
        reads, session = self._reads, self._session
        if reads is not None and session is not None:
            asked = session
            if reads.put(lambda: asked.deliver(answer(asked.inquiry))):
                return
        text = "the adapter has no open session or too much to do"
        told = refusal(command, self._config.name, text, self._clock)
        assert told is not None, "every question has an answer"
        self._deliver(told)
