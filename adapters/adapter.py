"""The runner: one venue's codec, links and REST workers behind the message port.

Threads: `ws-public`, `ws-private`, `ws-trade`, `rest-upkeep`, and the lanes of REST for submits, cancels,
reads and books (adapters/lanes.py). Orders and cancels leave over the trading link in the thread that
brings them, if nothing needs to be waited for (adapters/trade_desk.py); the lanes do the rest. Network
trouble is mended inside; a programming error is not: the lane that made it dies, the session ends with
AdapterFailed("crashed"), what it had in flight is answered UNKNOWN and what it had not begun
NOT_SENT, and whoever supervises calls `stop` and `start`. Every SubmitOrder is answered exactly
once; the gate outlives sessions and is asked again by the last code before the socket.
"""

import random
from collections.abc import Callable
from functools import partial

from adapters.ccxt_rest import CcxtRest
from adapters.desk import reports_of
from adapters.gate import Gate
from adapters.lanes import WAITING_MAX, ThreadFactory
from adapters.pending import Pending
from adapters.registry import Venue, VenueConfig, dialect
from adapters.session import Session
from engine.clock import NS_PER_S, Clock
from engine.halt_file import stands
from engine.messages.base import Message
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
    VenueTold,
)
from engine.port_refusals import refusal


class VenueAdapter:
    """One venue behind the port. `handle` never blocks; reports go to `deliver`, from any thread.

    `threads(name, run)` starts a thread; `take()`, if given, is polled for commands by a thread of
    the adapter's own and may return None. `deliver` must not block. `speak` makes each session's dialect.
    """

    def __init__(
        self,
        config: VenueConfig,
        *,
        clock: Clock,
        rng: random.Random,
        deliver: Callable[[Message], None],
        threads: ThreadFactory,
        take: Callable[[], Message | None] | None = None,
        speak: Callable[[VenueConfig], Venue] = dialect,
    ) -> None:
        self._config = config
        self._speak = speak
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._threads = threads
        self._take = take
        self._gate = (
            Gate(clock, partial(stands, config.halt_file)) if config.halt_file else Gate(clock)
        )
        self._pending = Pending(clock, deliver)
        self._session: Session | None = None
        self._read_only = speak(config).read_only  # a wrong configuration is told at once

    @property
    def session(self) -> Session | None:
        """The session that is open now."""
        return self._session

    def unanswered(self) -> int:
        """Return how many submits have not been answered yet."""
        return len(self._pending)

    def start(self) -> None:
        """Open a new session: instruments, clock, links. Returns at once; tells AdapterReady."""
        assert self._session is None, "stop it first"
        self._gate = self._gate.successor()
        session = Session(
            self._config, clock=self._clock, rng=self._rng, gate=self._gate, pending=self._pending,
            deliver=self._from_session, threads=self._threads, speak=self._speak,
        )  # fmt: skip
        self._session = session
        session.start()
        if self._take is not None:
            take = self._take
            session.spawn("commands", lambda: self._pump(session, take))

    def stop(self, deadline_s: float) -> bool:
        """End the session within the deadline; True if every thread has ended.

        Submits not begun are answered NOT_SENT; one still in flight at the deadline UNKNOWN.
        """
        self._gate.shut()
        session, self._session = self._session, None
        if session is None:
            return True
        until_ns = self._clock.mono_ns() + int(deadline_s * NS_PER_S)
        if session.trade_link is not None and not session.stopping.is_set():
            session.trade_link.settle(deadline_s / 2)  # answers on their way are worth waiting for
        session.stopping.set()
        for thread in session.running:
            thread.join(max(0.0, (until_ns - self._clock.mono_ns()) / NS_PER_S))
        session.silence()
        self._pending.end_all("stopped", "the adapter was stopped before the answer came")
        return not any(thread.is_alive() for thread in session.running)

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
                self._cancel(session, message)
            case QueryOrder():
                self._query(session, message)
            case Reconcile():
                self._reconcile(session, message)
            case AskVenue():
                text = f"{self._config.name} is an exchange: its records are our orders and fills"
                to, number = message.reply_to, message.correlation_id
                self._deliver(VenueTold(to, number, False, "BAD_REQUEST", text, b""))
            case Resubscribe():
                if session is not None:
                    session.republish()
            case _:
                raise TypeError(f"an adapter takes no {type(message).__name__}")

    def _pump(self, session: Session, take: Callable[[], Message | None]) -> None:
        while not session.stopping.is_set():
            message = take()
            if message is None:
                session.stopping.wait(0.001)
            else:
                self.handle(message)

    # A crashed session answers what it owes before it tells that it crashed.
    def _from_session(self, message: Message) -> None:
        if isinstance(message, AdapterFailed) and message.code == "crashed":
            self._gate.shut()
            self._pending.end_all("crashed", message.text)
        self._deliver(message)

    def _submit(self, session: Session | None, order: SubmitOrder) -> None:
        if not self._pending.begin(order):
            return
        if self._read_only:
            self._pending.refuse(order, "read_only", self._read_only)
            return
        if session is not None and session.refused:
            self._pending.refuse(order, "account_refused", session.refused)
            return
        if session is None or not session.is_ready or session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the adapter has no open session")
            return

        trade = session.trade_desk
        if trade is not None and trade.submit(order):
            return

        def job(rest: CcxtRest) -> None:
            if trade is not None and trade.submit_waiting(order):
                return
            if not self._pending.sending(order):
                return
            result, *reports = reports_of(session.desk.submit(rest, order))
            assert isinstance(result, SubmitResult), "the result comes first"
            self._pending.answer(result)
            for report in reports:
                session.deliver(report)

        if not session.trade.put(order.symbol, job):
            self._pending.refuse(order, "queue_full", f"{WAITING_MAX} orders are waiting")
        elif session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the session has just ended")

    def _cancel(self, session: Session | None, cancel: CancelOrder) -> None:
        trade = None if session is None or session.stopping.is_set() else session.trade_desk
        if trade is not None and trade.cancel(cancel):
            return

        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            result, reports = session.desk.cancel(rest, cancel)
            session.deliver(result)
            for report in reports:
                session.deliver(report)

        if (
            session is None
            or session.stopping.is_set()
            or not session.cancels.put(cancel.symbol, job)
        ):
            self._refuse(cancel)

    def _query(self, session: Session | None, query: QueryOrder) -> None:
        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            session.deliver(session.inquiry.query(rest, query))

        about = f"{query.account} {query.client_order_id or query.venue_order_id}"
        if (
            session is None
            or session.stopping.is_set()
            or not session.reads.put(query.symbol, job, about)
        ):
            self._refuse(query)

    def _reconcile(self, session: Session | None, ask: Reconcile) -> None:
        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            session.deliver(session.inquiry.reconcile(rest, ask))

        if session is None or session.stopping.is_set() or not session.reads.put("", job):
            self._refuse(ask)

    def _refuse(self, command: Message) -> None:
        text = "the adapter has no open session or too much to do"
        answer = refusal(command, self._config.name, text, self._clock)
        assert answer is not None, "every question has an answer"
        self._deliver(answer)
