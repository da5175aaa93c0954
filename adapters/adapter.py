"""The runner: one venue's codec, links and REST workers behind the message port.

Threads: `ws-public`, `ws-private`, and one REST worker each for submits, cancels and reads. Network
trouble is mended inside; a programming error is not: the worker that made it dies, the session ends
with AdapterFailed("crashed"), what it had in flight is answered UNKNOWN and what it had not begun
NOT_SENT, and whoever supervises calls `stop` and `start`. Every SubmitOrder is answered exactly
once; the gate outlives sessions and is asked again by the last code before the socket.
"""

import queue
import random
import threading
from collections.abc import Callable
from typing import Final, Protocol

from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk, reports_of
from adapters.feed import PublicFeed
from adapters.gate import Gate
from adapters.inquiry import Inquiry
from adapters.offset import ClockOffset
from adapters.pending import Pending
from adapters.private import PrivateFeed
from adapters.rate import Priority, RateGovernor
from adapters.registry import VenueConfig, dialect
from adapters.stream import LinkHandler, Watch, WsLink, backoff_s
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    CancelOrder,
    CancelResult,
    GateChanged,
    LinkChanged,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    Resubscribe,
    SetGate,
    SubmitOrder,
    SubmitResult,
    VenueHealth,
)

WAITING_MAX: Final = 1000
POLL_S: Final = 0.1
HEALTH_EVERY_NS: Final = NS_PER_S


class Joinable(Protocol):
    """What a thread factory returns: a started thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        ...


ThreadFactory = Callable[[str, Callable[[], None]], Joinable]
_Job = Callable[[CcxtRest], None]


class _Worker:
    # One REST thread with a client and a bounded queue of its own.
    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: queue.Queue[_Job] = queue.Queue(WAITING_MAX)

    def put(self, job: _Job) -> bool:
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            return False
        return True


class _Session:
    # One life of an adapter, from start to stop or crash. Nothing of it survives, and nothing it
    # still does after its end is heard.
    def __init__(
        self,
        config: VenueConfig,
        *,
        clock: Clock,
        rng: random.Random,
        gate: Gate,
        deliver: Callable[[Message], None],
        threads: ThreadFactory,
    ) -> None:
        self.config = config
        self.clock = clock
        self.rng = rng
        self.session_id = f"{rng.getrandbits(64):016x}"
        self._out = deliver
        self._threads = threads
        self._heard = threading.Lock()
        self._is_heard = True
        self._failed_auth = False
        self._clock_due_ns = 0
        self._health_ns = 0
        self.stopping = threading.Event()
        self.is_ready = False
        venue = dialect(config)
        self._venue = venue
        self.governor = RateGovernor(venue.rest.scopes, clock, config.rate_limit_share)
        self.offset = ClockOffset(clock)
        self.desk = Desk(
            config.name, venue.rest, governor=self.governor, offset=self.offset, gate=gate,
            clock=clock, rng=rng, stopping=self.stopping, on_auth=self.on_auth,
        )  # fmt: skip
        self.inquiry = Inquiry(self.desk, config.symbols, clock)
        self.public = PublicFeed(
            config, venue.codec, clock=clock, rng=rng, deliver=self.deliver,
            ask_snapshot=self.ask_snapshot,
        )  # fmt: skip
        self.private = PrivateFeed(
            config, venue.codec, clock=clock, offset=self.offset, deliver=self.deliver,
            ask_clock=self.ask_clock,
        )  # fmt: skip
        self.trade, self.cancels, self.reads = (
            _Worker("rest-trade"), _Worker("rest-cancel"), _Worker("rest-read"),
        )  # fmt: skip
        self.running: list[Joinable] = []

    # --- out

    def deliver(self, message: Message) -> None:
        with self._heard:
            if self._is_heard:
                self._out(message)

    def silence(self) -> None:
        """From here on nothing of this session is heard."""
        with self._heard:
            self._is_heard = False

    def on_auth(self, text: str) -> None:
        if not self._failed_auth:
            self._failed_auth = True
            self.deliver(AdapterFailed(self.config.name, "auth", text[:500]))

    # --- threads

    def start(self) -> None:
        self.spawn("rest-read", lambda: self.work(self.reads, first=self.open))
        self.spawn("rest-trade", lambda: self.work(self.trade))
        self.spawn("rest-cancel", lambda: self.work(self.cancels))

    def spawn(self, name: str, run: Callable[[], None]) -> None:
        def guarded() -> None:
            # The one seam where a thread's own bug becomes a message; it is not mended here.
            try:
                run()
            except Exception as error:  # noqa: BLE001
                self.crash(name, error)

        self.running.append(self._threads(f"{self.config.name}.{name}", guarded))

    def crash(self, name: str, error: Exception) -> None:
        self.stopping.set()
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "?"
        text = f"{name}: {type(error).__name__} at {where.rsplit('/', 1)[-1]}"
        self.deliver(AdapterFailed(self.config.name, "crashed", text[:500]))

    def work(self, worker: _Worker, first: Callable[[CcxtRest], None] | None = None) -> None:
        rest = self.client()
        try:
            if first is not None:
                first(rest)
            while not self.stopping.is_set():
                try:
                    job = worker.jobs.get(timeout=POLL_S)
                except queue.Empty:
                    if first is not None:
                        self.keep_clock(rest)
                    continue
                job(rest)
        finally:
            rest.close()

    def client(self) -> CcxtRest:
        times = self.config.timeouts
        return CcxtRest(
            self._venue.rest.exchange_id, self.config.url("rest"), self.config.credentials,
            offset=self.offset, clock=self.clock, timeouts_s=(times.connect_s, times.read_s),
        )  # fmt: skip

    # --- the read worker: opening, clock, snapshots

    def open(self, rest: CcxtRest) -> None:
        """Learn the instruments and the clock, then open the links; tries until it succeeds."""
        name, attempt, told = self.config.name, 0, False
        while not self.stopping.is_set():
            try:
                self.desk.sync_clock(rest)
                instruments = self.desk.load_instruments(rest, self.config.symbols)
                break
            except (CallFailed, ValueError) as failed:
                if not told:
                    told = True
                    now_ns = self.clock.mono_ns()
                    self.deliver(LinkChanged(name, "rest", False, str(failed)[:300], now_ns))
                self.stopping.wait(backoff_s(attempt, self.rng))
                attempt += 1
        if self.stopping.is_set():
            return
        self._clock_due_ns = self._next_clock_ns()
        self.public.set_instruments(instruments)
        self.is_ready = True
        self.deliver(LinkChanged(name, "rest", True, "instruments loaded", self.clock.mono_ns()))
        self.deliver(AdapterReady(name, self.session_id, instruments, [self.config.account]))
        self.open_links()

    def open_links(self) -> None:
        times = self.config.timeouts
        idle_s = max(times.idle_s, self.config.stale_after_ms / 1000)
        self.public.link = self.link("public_ws", _Watched(self.public, self.report_health), idle_s)
        self.spawn("ws-public", self.public.link.run)
        if self.config.api_key:
            self.private.link = self.link("private_ws", self.private, 0.0)
            self.spawn("ws-private", self.private.link.run)

    def link(self, url: str, handler: LinkHandler, idle_s: float) -> WsLink:
        times = self.config.timeouts
        return WsLink(
            self.config.url(url),
            handler,
            clock=self.clock,
            rng=random.Random(self.rng.getrandbits(64)),  # noqa: S311  jitter, not secrets
            watch=Watch(
                times.connect_s, times.ping_every_s, times.ping_answer_s, idle_s, times.link_age_s
            ),
            stopping=self.stopping,
            ping_text=self._venue.codec.ping_text,
            send_every_s=self._venue.send_every_s,
        )

    def _next_clock_ns(self) -> int:
        return self.clock.mono_ns() + int(self.config.timeouts.clock_every_s * NS_PER_S)

    def ask_clock(self) -> None:
        self._clock_due_ns = 0

    def keep_clock(self, rest: CcxtRest) -> None:
        if self.is_ready and self.clock.mono_ns() >= self._clock_due_ns:
            self._clock_due_ns = self._next_clock_ns()
            try:
                self.desk.sync_clock(rest)
            except (CallFailed, ValueError):
                self._clock_due_ns = self.clock.mono_ns() + 5 * NS_PER_S

    def ask_snapshot(self, symbol: str) -> None:
        def fetch(rest: CcxtRest) -> None:
            call = self._venue.rest.snapshot(symbol)
            assert call is not None, "asked for a snapshot that the stream brings"
            try:
                reply = self.desk.read(rest, call, Priority.QUERY)
                self.public.on_snapshot(self._venue.rest.read_snapshot(reply, symbol))
            except (CallFailed, ValueError):
                self.public.on_no_snapshot(symbol)

        if not self.reads.put(fetch):
            self.public.on_no_snapshot(symbol)

    def report_health(self, mono_ns: int) -> None:
        if mono_ns - self._health_ns < HEALTH_EVERY_NS:
            return
        self._health_ns = mono_ns
        links = [link for link in (self.public.link, self.private.link) if link is not None]
        self.deliver(
            VenueHealth(
                venue=self.config.name,
                public_up=self.public.is_up,
                private_up=self.private.is_up,
                clock_offset_ms=self.offset.offset_ms(),
                rate_used_ratio=self.governor.used_ratio(),
                gaps=self.public.gaps,
                resyncs=self.public.resyncs,
                frames=self.public.frames,
                reconnects=sum(max(0, link.connections - 1) for link in links),
            )
        )


class _Watched:
    # A feed whose ticks also tell the adapter's health.
    def __init__(self, feed: PublicFeed, on_tick: Callable[[int], None]) -> None:
        self.on_open = feed.on_open
        self.on_alive = feed.on_alive
        self.on_frame = feed.on_frame
        self.on_down = feed.on_down
        self._ticks = (feed.on_tick, on_tick)

    def on_tick(self, mono_ns: int) -> None:
        for tick in self._ticks:
            tick(mono_ns)


class VenueAdapter:
    """One venue behind the port. `handle` never blocks; reports go to `deliver`, from any thread.

    `threads(name, run)` starts a thread; `take()`, if given, is polled for commands by a thread of
    the adapter's own and may return None. `deliver` must not block.
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
    ) -> None:
        self._config = config
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._threads = threads
        self._take = take
        self._gate = Gate(clock)
        self._pending = Pending(clock, deliver)
        self._session: _Session | None = None
        dialect(config)  # a wrong configuration is told at once

    def start(self) -> None:
        """Open a new session: instruments, clock, links. Returns at once; tells AdapterReady."""
        assert self._session is None, "stop it first"
        session = _Session(
            self._config, clock=self._clock, rng=self._rng, gate=self._gate,
            deliver=self._from_session, threads=self._threads,
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
        session, self._session = self._session, None
        if session is None:
            return True
        session.stopping.set()
        until_ns = self._clock.mono_ns() + int(deadline_s * NS_PER_S)
        for thread in session.running:
            thread.join(max(0.0, (until_ns - self._clock.mono_ns()) / NS_PER_S))
        session.silence()
        self._pending.end_all("stopped", "the adapter was stopped before the answer came")
        return not any(thread.is_alive() for thread in session.running)

    def handle(self, message: Message) -> None:
        """Take one command. Never blocks; a command no session can serve is answered at once."""
        session = self._session
        match message:
            case SetGate():
                self._gate.set(message.symbols, closed=message.closed)
                self._deliver(GateChanged(message.request_id, self._config.name, message.closed))
            case SubmitOrder():
                self._submit(session, message)
            case CancelOrder():
                self._cancel(session, message)
            case QueryOrder():
                self._query(session, message)
            case Reconcile():
                self._reconcile(session, message)
            case Resubscribe():
                if session is not None and session.is_ready:
                    session.public.republish()
                    session.private.republish()
            case _:
                raise TypeError(f"an adapter takes no {type(message).__name__}")

    def _pump(self, session: _Session, take: Callable[[], Message | None]) -> None:
        while not session.stopping.is_set():
            message = take()
            if message is None:
                session.stopping.wait(0.001)
            else:
                self.handle(message)

    # A crashed session answers what it owes before it tells that it crashed.
    def _from_session(self, message: Message) -> None:
        if isinstance(message, AdapterFailed) and message.code == "crashed":
            self._pending.end_all("crashed", message.text)
        self._deliver(message)

    def _submit(self, session: _Session | None, order: SubmitOrder) -> None:
        if not self._pending.begin(order):
            return
        if session is None or not session.is_ready or session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the adapter has no open session")
            return

        def job(rest: CcxtRest) -> None:
            if not self._pending.sending(order):
                return
            result, *reports = reports_of(session.desk.submit(rest, order))
            assert isinstance(result, SubmitResult), "the result comes first"
            self._pending.answer(result)
            for report in reports:
                session.deliver(report)

        if not session.trade.put(job):
            self._pending.refuse(order, "queue_full", f"{WAITING_MAX} orders are waiting")
        elif session.stopping.is_set():
            self._pending.refuse(order, "not_ready", "the session has just ended")

    def _cancel(self, session: _Session | None, cancel: CancelOrder) -> None:
        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            result, reports = session.desk.cancel(rest, cancel)
            session.deliver(result)
            for report in reports:
                session.deliver(report)

        if session is None or session.stopping.is_set() or not session.cancels.put(job):
            text = "the adapter has no open session or too much to do"
            self._deliver(
                CancelResult(cancel.account, cancel.client_order_id, "NOT_SENT", "not_ready", text)
            )

    def _query(self, session: _Session | None, query: QueryOrder) -> None:
        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            session.deliver(session.inquiry.query(rest, query))

        if session is None or session.stopping.is_set() or not session.reads.put(job):
            now_ns = self._clock.wall_ns()
            self._deliver(
                QueryResult(query.account, query.client_order_id, None, None, [], now_ns,
                            "the adapter has no open session or too much to do")
            )  # fmt: skip

    def _reconcile(self, session: _Session | None, ask: Reconcile) -> None:
        def job(rest: CcxtRest) -> None:
            assert session is not None, "a job has a session"
            session.deliver(session.inquiry.reconcile(rest, ask))

        if session is None or session.stopping.is_set() or not session.reads.put(job):
            wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            self._deliver(
                ReconcileResult(ask.request_id, ask.account, False,
                                "the adapter has no open session or too much to do",
                                [], [], [], wall_ns, mono_ns)
            )  # fmt: skip
