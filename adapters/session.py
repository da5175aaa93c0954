"""One life of an adapter: its threads, from start to stop or crash.

The book worker opens the session (clock, instruments), then the links follow; afterwards it keeps
the clock and fetches snapshots. Network trouble is mended here, a worker's own bug
is not: it ends the session. Nothing of a session survives it, and once silenced nothing it still
does is heard.
"""

import queue
import random
import threading
from collections.abc import Callable
from typing import Any, Final, Protocol

from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.feed import PublicFeed
from adapters.gate import Gate
from adapters.inquiry import Inquiry
from adapters.offset import ClockOffset
from adapters.pending import Pending
from adapters.private import PrivateFeed
from adapters.rate import Priority, RateGovernor
from adapters.registry import Address, VenueConfig, address, dialect
from adapters.stream import LinkHandler, NoAddress, Watch, WsLink, backoff_s
from adapters.trade_codec import TradeCodec
from adapters.trade_desk import TradeDesk
from adapters.trade_link import TradeLink
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.port import AdapterFailed, AdapterReady, LinkChanged, VenueHealth

WAITING_MAX: Final = 1000
POLL_S: Final = 0.1
HEALTH_EVERY_S: Final = 1.0


class Joinable(Protocol):
    """What a thread factory returns: a started thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        ...


ThreadFactory = Callable[[str, Callable[[], None]], Joinable]
Job = Callable[[CcxtRest], None]


class Worker:
    """One REST thread's bounded queue of jobs."""

    def __init__(self) -> None:
        self.jobs: queue.Queue[Job] = queue.Queue(WAITING_MAX)

    def put(self, job: Job) -> bool:
        """Queue a job; False when there are too many."""
        try:
            self.jobs.put_nowait(job)
        except queue.Full:
            return False
        return True


class Session:
    """Workers, links and feeds of one life. `start` returns at once; `stopping` ends everything."""

    def __init__(
        self,
        config: VenueConfig,
        *,
        clock: Clock,
        rng: random.Random,
        gate: Gate,
        pending: Pending,
        deliver: Callable[[Message], None],
        threads: ThreadFactory,
    ) -> None:
        self.config = config
        self.clock = clock
        self.rng = rng
        self.session_id = f"{rng.getrandbits(64):016x}"
        self._out = deliver
        self._threads = threads
        self._is_heard = True
        self._refused_key = ""
        self._clock_due_ns = 0
        self.stopping = threading.Event()
        self.is_ready = False
        self._introduction: AdapterReady | None = None
        venue = dialect(config)
        self._venue = venue
        self.governor = RateGovernor(venue.rest.scopes, clock, config.rate_limit_share)
        self.offset = ClockOffset(clock)
        self.desk = Desk(
            config.name, venue.rest, governor=self.governor, offset=self.offset, gate=gate,
            clock=clock, rng=rng, stopping=self.stopping, on_auth=self.on_auth,
            on_clock=self.ask_clock,
        )  # fmt: skip
        self.inquiry = Inquiry(self.desk, config.symbols, clock)
        self.public = PublicFeed(
            config, venue.codec, clock=clock, rng=rng, deliver=self.deliver,
            ask_snapshot=self.ask_snapshot, ask_clock=self.ask_clock, offset=self.offset,
        )  # fmt: skip
        self.private = PrivateFeed(
            config, venue.codec, clock=clock, offset=self.offset, deliver=self.deliver,
            ask_clock=self.ask_clock,
        )  # fmt: skip
        self.trade, self.cancels = Worker(), Worker()
        self.reads, self.books = Worker(), Worker()
        self.running: list[Joinable] = []
        self.trade_link: TradeLink | None = None
        self.trade_desk: TradeDesk | None = None
        if venue.trade is not None:
            self._open_trade_road(venue.trade, gate, pending)

    def _open_trade_road(self, codec: TradeCodec, gate: Gate, pending: Pending) -> None:
        link = TradeLink(
            self.config, codec, clock=self.clock, offset=self.offset, deliver=self.deliver,
            ask_clock=self.ask_clock, on_auth=self.on_auth,
        )  # fmt: skip
        desk = TradeDesk(
            self.desk, link, governor=self.governor, gate=gate, pending=pending,
            answer_s=self.config.timeouts.read_s, deliver=self.deliver,
            put_submit=lambda job: self._put(self.trade, job),
            put_cancel=lambda job: self._put(self.cancels, job),
            nobody_waits=self.trade.jobs.empty,
        )  # fmt: skip
        self.desk.ask_first = desk.read
        self.trade_link, self.trade_desk = link, desk

    def _put(self, worker: Worker, job: Job) -> bool:
        return not self.stopping.is_set() and worker.put(job)

    # --- out

    def deliver(self, message: Message) -> None:
        """Report, unless this session has been silenced."""
        if self._is_heard:
            self._out(message)

    def silence(self) -> None:
        """From here on nothing of this session is heard."""
        self._is_heard = False

    def on_auth(self, text: str) -> None:
        """Tell once that the key is refused, but never before the session is introduced."""
        if not self._refused_key:
            self._refused_key = text[:500]
            if self._introduction is not None:
                self.deliver(AdapterFailed(self.config.name, "auth", self._refused_key))

    def _introduce(self) -> None:
        if self._introduction is not None:
            self.deliver(self._introduction)
            if self._refused_key:
                self.deliver(AdapterFailed(self.config.name, "auth", self._refused_key))

    # --- threads

    def start(self) -> None:
        """Start the REST workers, of which the first opens the session, and the gauges."""
        self.spawn("health", self.tell_health)
        self.spawn("rest-book", lambda: self.work(self.books, first=self.open))
        self.spawn("rest-read", lambda: self.work(self.reads))
        self.spawn("rest-trade", lambda: self.work(self.trade))
        self.spawn("rest-cancel", lambda: self.work(self.cancels))

    def spawn(self, name: str, run: Callable[[], None]) -> None:
        """Start a thread whose own bug ends the session."""

        def guarded() -> None:
            # The one seam where a thread's own bug becomes a message; it is not mended here.
            try:
                run()
            except Exception as error:  # noqa: BLE001
                self.crash(name, error)

        self.running.append(self._threads(f"{self.config.name}.{name}", guarded))

    def crash(self, name: str, error: Exception) -> None:
        """End the session and tell why; the text names a place, never a value."""
        self.stopping.set()
        at = error.__traceback__
        while at is not None and at.tb_next is not None:
            at = at.tb_next
        where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "?"
        text = f"{name}: {type(error).__name__} at {where.rsplit('/', 1)[-1]}"
        self.deliver(AdapterFailed(self.config.name, "crashed", text[:500]))

    def work(self, worker: Worker, first: Callable[[CcxtRest], None] | None = None) -> None:
        """Do jobs until the session ends; the worker with `first` opens it and keeps the clock."""
        rest = self.client()
        try:
            if first is not None:
                first(rest)
            while not self.stopping.is_set():
                if first is not None:
                    self.keep_clock(rest)
                try:
                    job = worker.jobs.get(timeout=POLL_S)
                except queue.Empty:
                    continue
                job(rest)
        finally:
            rest.close()

    def client(self) -> CcxtRest:
        """Return a REST client for one thread."""
        times = self.config.timeouts
        return CcxtRest(
            self._venue.rest.exchange_id, self.config.url("rest"), self.config.credentials,
            offset=self.offset, clock=self.clock, timeouts_s=(times.connect_s, times.read_s),
        )  # fmt: skip

    # --- the book worker: opening, clock, snapshots

    def open(self, rest: CcxtRest) -> None:
        """Learn the instruments and the clock, then open the links; tries until it succeeds."""
        name, attempt, told = self.config.name, 0, False
        while not self.stopping.is_set():
            try:
                self.desk.sync_clock(rest)
                instruments = self.desk.load_instruments(rest, self.config.symbols)
                uid = self.desk.account_uid(rest) if self.config.api_key else None
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
        account = self.config.account
        self._introduction = AdapterReady(name, self.session_id, instruments, [account], uid)
        self._introduce()
        self.open_links()

    def open_links(self) -> None:
        """Start both WebSocket links; without a key only the public one."""
        times = self.config.timeouts
        idle_s = max(times.idle_s, self.config.stale_after_ms / 1000)
        self.public.link = self.link("public_ws", self.public, idle_s)
        self.spawn("ws-public", self.public.link.run)
        if self.config.api_key:
            self.private.link = self.link("private_ws", self.private, 0.0)
            self.spawn("ws-private", self.private.link.run)
        if self.trade_link is not None:
            self.trade_link.link = self.link(
                "trade_ws", self.trade_link, 0.0, self.trade_link.stand_in
            )
            self.spawn("ws-trade", self.trade_link.link.run)

    def link(
        self,
        url: str,
        handler: LinkHandler,
        idle_s: float,
        stand_in: Callable[[Any], Any] | None = None,
    ) -> WsLink:
        """Return a link that is not running yet."""
        times = self.config.timeouts
        # The trading link renews itself in time, between two requests.
        age_s = times.link_age_s * (1 if stand_in is None else 2)
        asked = address(self.config, url)
        return WsLink(
            self.config.url(url) if asked is None else lambda: self.ask_address(asked),
            handler,
            clock=self.clock,
            rng=random.Random(self.rng.getrandbits(64)),  # noqa: S311  jitter, not secrets
            watch=Watch(times.connect_s, times.ping_every_s, times.ping_answer_s, idle_s, age_s),
            stopping=self.stopping,
            ping_text=self._venue.codec.ping_text,
            send_every_s=self._venue.send_every_s,
            stand_in=stand_in,
        )

    def ask_address(self, asked: Address) -> str:
        """Ask REST where to connect to, with a client of this call's own; NoAddress says why not."""
        rest = self.client()
        try:
            reply = self.desk.read(rest, asked.call)
            return asked.read(reply, f"{self.rng.getrandbits(64):016x}")
        except CallFailed as failed:
            is_final = failed.verdict.kind == "AUTH"
            raise NoAddress(f"no address: {failed}", is_final=is_final) from None
        except ValueError:
            raise NoAddress("no address: the answer is not what the venue documents") from None
        finally:
            rest.close()

    def _next_clock_ns(self) -> int:
        return self.clock.mono_ns() + int(self.config.timeouts.clock_every_s * NS_PER_S)

    def ask_clock(self) -> None:
        """Have the venue's clock estimated anew, soon."""
        self._clock_due_ns = 0

    def keep_clock(self, rest: CcxtRest) -> None:
        """Estimate the venue's clock anew when it is time."""
        if self.is_ready and self.clock.mono_ns() >= self._clock_due_ns:
            self._clock_due_ns = self._next_clock_ns()
            try:
                self.desk.sync_clock(rest)
            except (CallFailed, ValueError):
                self._clock_due_ns = self.clock.mono_ns() + 5 * NS_PER_S

    def ask_snapshot(self, symbol: str) -> None:
        """Queue the fetch of a book snapshot."""

        def fetch(rest: CcxtRest) -> None:
            call = self._venue.rest.snapshot(symbol)
            assert call is not None, "asked for a snapshot that the stream brings"
            try:
                reply = self.desk.read(rest, call, Priority.QUERY)
                self.public.on_snapshot(self._venue.rest.read_snapshot(reply, symbol))
            except (CallFailed, ValueError):
                self.public.on_no_snapshot(symbol)

        if not self.books.put(fetch):
            self.public.on_no_snapshot(symbol)

    def republish(self) -> None:
        """Tell every book and link anew, from a thread of our own."""
        self._introduce()

        def tell(rest: CcxtRest) -> None:
            del rest
            self.public.republish()
            self.private.republish()
            if self.trade_link is not None:
                self.trade_link.republish()

        if self.is_ready:
            self.books.put(tell)

    def tell_health(self) -> None:
        """Tell the gauges once a second, from a thread of its own: the others may all be waiting."""
        while not self.stopping.wait(HEALTH_EVERY_S):
            self._report_health()

    def _report_health(self) -> None:
        feeds = (self.public, self.private, self.trade_link)
        links = [feed.link for feed in feeds if feed is not None and feed.link is not None]
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
                rate_scopes=self.governor.scopes(),
                rate_waits=self.governor.waits(),
                rate_blocked_ms=self.governor.blocked_ms(),
            )
        )
