"""One life of an adapter: its threads, from start to stop or crash.

The upkeep thread opens the session (clock, instruments), then the links follow. REST is asked in lanes
(adapters/lanes.py): orders, cancels and queries by symbol, so that none waits for another symbol's.
Network trouble is mended here, a worker's own bug is not: it ends the session. Nothing of a session
survives it, and once silenced nothing it still does is heard.
"""

import random
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, Final

from adapters.address import address_of, asker
from adapters.book_questions import BookQuestions
from adapters.ccxt_generic import client_of
from adapters.ccxt_rest import CcxtRest
from adapters.ccxt_streams import streams_of
from adapters.codec import Codec
from adapters.desk import Desk
from adapters.feed import PublicFeed
from adapters.gate import Gate
from adapters.generic import GenericCodec
from adapters.inquiry import Inquiry
from adapters.lanes import Job, Joinable, Lanes, ThreadFactory
from adapters.offset import ClockOffset
from adapters.pending import Pending
from adapters.private import PrivateFeed
from adapters.rate import RateGovernor
from adapters.registry import Venue, VenueConfig, dialect
from adapters.relay import NUMBERED, PrivateRenewal, PublicRenewal
from adapters.stream import LinkHandler, Watch, WsLink
from adapters.trade_codec import TradeCodec
from adapters.trade_desk import TradeDesk
from adapters.trade_link import TradeLink
from adapters.turnstile import Turnstile
from adapters.upkeep import Upkeep
from engine.clock import Clock
from engine.messages.base import Message, replaced
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    Instrument,
    LinkChanged,
    VenueHealth,
)

POLL_S: Final = 0.1
# So many requests of one sort may hang before another symbol's waits for one of them.
ORDER_LANES: Final = 16
READ_LANES: Final = 4
HEALTH_EVERY_S: Final = 1.0


class Session:
    """Workers, links and feeds of one life. `start` returns at once; `stopping` ends everything."""

    refused = ""  # why the account may not trade

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
        speak: Callable[[VenueConfig], Venue] = dialect,
    ) -> None:
        self.config = config
        self.clock = clock
        self.rng = rng
        self.session_id = f"{rng.getrandbits(64):016x}"
        self._out = deliver
        self._threads = threads
        self._is_heard = True
        self._refused_key = ""
        self.stopping = threading.Event()
        self.is_ready = False
        self._introduction: AdapterReady | None = None
        self._speak = speak
        venue = speak(config)
        self._venue = venue
        self.governor = RateGovernor(
            venue.rest.scopes, clock, config.rate_limit_share, self.stopping
        )
        self.offset = ClockOffset(clock)
        self.desk = Desk(
            config.name, venue.rest, governor=self.governor, offset=self.offset, gate=gate,
            clock=clock, rng=rng, stopping=self.stopping, on_auth=self.on_auth,
            on_clock=self.ask_clock,
        )  # fmt: skip
        self.upkeep = Upkeep(
            config, self.desk, clock=clock, rng=rng, stopping=self.stopping, deliver=self.deliver,
            on_opened=self.opened, on_rules=self.rules_changed, announcement=venue.announcement,
        )  # fmt: skip
        symbols = ("",) if venue.lists_account else config.symbols
        self.inquiry = Inquiry(self.desk, symbols, clock, venue.orders_at_once)
        self._turnstile = Turnstile() if venue.one_lane else None
        order_lanes = 1 if venue.one_lane else ORDER_LANES
        self.trade = self._lanes("rest-trade", order_lanes)
        self.cancels = self._lanes("rest-cancel", order_lanes)
        self.reads = self._lanes("rest-read", 1 if venue.one_lane else READ_LANES)
        self.books = self._lanes("rest-book", READ_LANES)
        self._instruments: list[Instrument] = []
        self.publics = PublicRenewal(
            self._public_feed, self._open_public, self.deliver, config.timeouts.link_age_s,
            is_numbered=venue.codec.policy in NUMBERED,
        )  # fmt: skip
        self.privates = PrivateRenewal(
            self._private_feed, self._open_private, self.deliver, config.timeouts.link_age_s
        )
        self.running: list[Joinable] = []
        self.trade_link: TradeLink | None = None
        self.trade_desk: TradeDesk | None = None
        if venue.trade is not None:
            self._open_trade_road(venue.trade, gate, pending)

    @property
    def public(self) -> PublicFeed:
        """The public feed that is heard."""
        return self.publics.current

    @property
    def private(self) -> PrivateFeed:
        """The private feed whose link counts."""
        return self.privates.current

    def _public_feed(
        self, deliver: Callable[[Message], None], ask_renewal: Callable[[str], None]
    ) -> PublicFeed:
        asks = BookQuestions(self.desk, self._venue.depth, partial(self._put, self.books))
        feed = PublicFeed(
            self.config, self._codec(), clock=self.clock, rng=self.rng, deliver=deliver,
            ask_snapshot=asks.snapshot, ask_clock=self.ask_clock, offset=self.offset,
            ask_audit=asks.audit if asks.can_audit else None,
            ask_renewal=ask_renewal,
        )  # fmt: skip
        asks.feed = feed
        feed.set_instruments(self._instruments)
        return feed

    def _private_feed(
        self, deliver: Callable[[Message], None], ask_renewal: Callable[[str], None]
    ) -> PrivateFeed:
        return PrivateFeed(
            self.config, self._codec(), clock=self.clock, offset=self.offset, deliver=deliver,
            ask_clock=self.ask_clock, ask_renewal=ask_renewal,
        )  # fmt: skip

    # A codec may remember what its connection has said.
    def _codec(self) -> Codec:
        is_first = self._introduction is None
        return self._venue.codec if is_first else self._speak(self.config).codec

    def _open_trade_road(self, codec: TradeCodec, gate: Gate, pending: Pending) -> None:
        link = TradeLink(
            self.config, codec, clock=self.clock, offset=self.offset, deliver=self.deliver,
            ask_clock=self.ask_clock, on_auth=self.on_auth,
        )  # fmt: skip
        desk = TradeDesk(
            self.desk, link, governor=self.governor, gate=gate, pending=pending,
            answer_s=self.config.timeouts.read_s, deliver=self.deliver,
            put_submit=partial(self._put, self.trade), put_cancel=partial(self._put, self.cancels),
            nobody_waits=self.trade.is_idle,
        )  # fmt: skip
        self.desk.ask_first = desk.read
        self.trade_link, self.trade_desk = link, desk

    def _put(self, lanes: Lanes, symbol: str, job: Job) -> bool:
        return not self.stopping.is_set() and lanes.put(symbol, job)

    def _lanes(self, name: str, lanes_max: int) -> Lanes:
        lanes = Lanes(lanes_max, lambda number: self._open_lane(lanes, f"{name}-{number}"))
        return lanes

    def _open_lane(self, lanes: Lanes, name: str) -> None:
        self.spawn(name, lambda: self.work(partial(self.work_through, lanes)))

    # --- out

    def deliver(self, message: Message) -> None:
        """Report, unless this session has been silenced. That a key is refused is told once."""
        if isinstance(message, AdapterFailed) and message.code == "auth":
            self.on_auth(message.text)
        elif self._is_heard:
            self._out(message)

    def silence(self) -> None:
        """From here on nothing of this session is heard."""
        self._is_heard = False

    def on_auth(self, text: str) -> None:
        """Tell once that the key is refused, but never before the session is introduced."""
        if not self._refused_key:
            self._refused_key = text[:500]
            if self._introduction is not None:
                self._tell_refused_key()

    def _introduce(self) -> None:
        if self._introduction is not None:
            self.deliver(self._introduction)
            if self._refused_key:
                self._tell_refused_key()

    def _tell_refused_key(self) -> None:
        if self._is_heard:
            self._out(AdapterFailed(self.config.name, "auth", self._refused_key))

    # --- threads

    def start(self) -> None:
        """Start the thread that opens the session, the first lane of each sort, and the gauges."""
        self.spawn("health", self.tell_health)
        self.spawn("rest-upkeep", lambda: self.work(self.upkeep.run))
        for lanes in (self.trade, self.cancels, self.reads, self.books):
            lanes.start()

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

    def work(self, run: Callable[[CcxtRest], None]) -> None:
        """Run with a REST client of its own, which is closed at the end."""
        rest = self.client()
        try:
            run(rest)
        finally:
            rest.close()

    def work_through(self, lanes: Lanes, rest: CcxtRest) -> None:
        """Do the jobs of these lanes until the session ends."""
        while not self.stopping.is_set():
            taken = lanes.take(POLL_S)
            if taken is not None:
                key, job = taken
                job(rest)
                lanes.done(key)

    def client(self) -> CcxtRest:
        """Return a REST client for one thread."""
        times = self.config.timeouts
        return client_of(
            self._venue.rest, self.config.url("rest"), self.config.credentials,
            offset=self.offset, clock=self.clock, timeouts_s=(times.connect_s, times.read_s),
            turnstile=self._turnstile, more_headers=self.config.headers,
        )  # fmt: skip

    # --- opening

    def opened(self, instruments: list[Instrument], account_uid: str | None, problem: str) -> None:
        """Introduce the session and open its links; called once, by the upkeep thread."""
        name = self.config.name
        self._instruments = instruments
        self.public.set_instruments(instruments)
        self.is_ready = True
        self.deliver(LinkChanged(name, "rest", True, "instruments loaded", self.clock.mono_ns()))
        self._introduction = AdapterReady(
            name, self.session_id, instruments, [self.config.account], account_uid, problem[:500]
        )
        self.refused = problem[:500]
        self._introduce()
        self.open_links()

    def rules_changed(self, instruments: list[Instrument]) -> None:
        """Tell new trading rules; books that count in other units are begun beside the old ones."""
        assert self._introduction is not None, "rules change after they are first told"
        units = [(rule.tick_size, rule.lot_size) for rule in instruments]
        if units != [(rule.tick_size, rule.lot_size) for rule in self._instruments]:
            self.publics.ask("the trading rules have changed")
        self._instruments = instruments
        self.public.set_trading(instruments)
        self._introduction = replaced(self._introduction, instruments=instruments)
        self._introduce()

    def open_links(self) -> None:
        """Start the WebSocket links; without a key only the public one."""
        if isinstance(self._venue.codec, GenericCodec):
            self._open_streams(self.public, *((self.private,) if self.config.api_key else ()))
            return
        self._open_public(self.public)
        if self.config.api_key:
            self._open_private(self.private)
        if self.trade_link is not None:
            self.trade_link.link = self.link(
                "trade_ws", self.trade_link, 0.0, self.trade_link.stand_in
            )
            self.spawn("ws-trade", self.trade_link.link.run)

    def _open_public(self, feed: PublicFeed) -> None:
        if isinstance(self._venue.codec, GenericCodec):
            self._open_streams(feed)
            return
        idle_s = max(self.config.timeouts.idle_s, self.config.stale_after_ms / 1000)
        feed.link = self.link("public_ws", feed, idle_s)
        self.spawn("ws-public", feed.link.run)

    def _open_private(self, feed: PrivateFeed) -> None:
        if isinstance(self._venue.codec, GenericCodec):
            self._open_streams(feed)
            return
        feed.link = self.link("private_ws", feed, 0.0)
        self.spawn("ws-private", feed.link.run)

    def _open_streams(self, *feeds: PublicFeed | PrivateFeed) -> None:
        rng = random.Random(self.rng.getrandbits(64))  # noqa: S311  jitter, not secrets
        of = (self.config, self._venue.rest, feeds)
        self.spawn("ccxt-pro", streams_of(*of, self.clock, self.offset, rng, self.stopping))

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
        asked = address_of(self.config, url, self._venue.ticket, handler)
        ask = asked and asker(asked, self.desk, self.governor, self.client, self.rng, self.stopping)
        return WsLink(
            ask or self.config.url(url),
            handler,
            clock=self.clock,
            rng=random.Random(self.rng.getrandbits(64)),  # noqa: S311  jitter, not secrets
            watch=Watch(times.connect_s, times.ping_every_s, times.ping_answer_s, idle_s, age_s),
            stopping=self.stopping,
            ping_text=self._venue.codec.ping_text,
            send_every_s=self._venue.send_every_s,
            stand_in=stand_in,
        )

    def ask_clock(self) -> None:
        """Have the venue's clock estimated anew, soon."""
        self.upkeep.ask_clock()

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
            self.books.put("", tell)

    def tell_health(self) -> None:
        """Tell the gauges and renew links once a second: the other threads may all be waiting."""
        while not self.stopping.wait(HEALTH_EVERY_S):
            self._report_health()
            now_ns = self.clock.mono_ns()
            self.publics.look(now_ns)
            self.privates.look(now_ns)

    def _report_health(self) -> None:
        trade = self.trade_link.link if self.trade_link is not None else None
        reconnects = self.publics.count("reconnects") + self.privates.count("reconnects")
        self.deliver(
            VenueHealth(
                venue=self.config.name,
                public_up=self.public.is_up,
                private_up=self.private.is_up,
                clock_offset_ms=self.offset.offset_ms(),
                rate_used_ratio=self.governor.used_ratio(),
                gaps=self.publics.count("gaps"),
                resyncs=self.publics.count("resyncs"),
                frames=self.publics.count("frames"),
                reconnects=reconnects + (max(0, trade.connections - 1) if trade is not None else 0),
                rate_scopes=self.governor.scopes(),
                rate_waits=self.governor.waits(),
                rate_blocked_ms=self.governor.blocked_ms(),
            )
        )
