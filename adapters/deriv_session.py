"""One life of the Deriv adapter: its links, its workers, and what each pushed message becomes.

Two links: the public one brings ticks and says what there is; the private one, for one account, takes
orders and pushes what happens to its money and contracts. In the New API the private address is a one-time
secret that each connection asks for anew; in v3 the connection logs in. Nothing of a session survives it.
"""

import random
import threading
from collections.abc import Callable
from typing import Any, Final

from adapters.deriv_account import Accounts
from adapters.deriv_answers import read_tick, whole
from adapters.deriv_contracts import Kinds, Reports
from adapters.deriv_desk import DerivDesk
from adapters.deriv_feed import DerivFeed
from adapters.deriv_inquiry import DerivInquiry
from adapters.deriv_link import DerivLink, Hooks, NoAnswer, NotLeft, Opening
from adapters.deriv_markets import Markets
from adapters.deriv_pushes import Pushes
from adapters.deriv_rates import Rates
from adapters.deriv_state import Flights, OpenContracts
from adapters.deriv_words import DerivError, Json, Words, error_of
from adapters.gate import Gate
from adapters.lanes import ThreadFactory
from adapters.offset import ClockOffset
from adapters.pending import Pending
from adapters.rate import Priority
from adapters.registry import VenueConfig
from adapters.stream import Watch, WsLink
from adapters.workers import Workers
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.market import LinkAlive
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    Instrument,
    LinkChanged,
    VenueHealth,
)

PING: Final = '{"ping":1}'
LOOK_S: Final = 0.1
RENEWED_AT: Final = 0.8  # of the age that a link may reach, between two questions
READ_DEADLINE_NS: Final = 15 * NS_PER_S


class DerivSession:
    """See the module's docstring. `start` returns at once; `stopping` ends everything."""

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
        self._is_heard = True
        self.stopping = threading.Event()
        self.is_ready = False
        self._introduction: AdapterReady | None = None
        self._refused = ""
        self.offset = ClockOffset(clock)
        self.accounts = Accounts(config)
        words = Words(self.accounts.dialect)
        self._words = words
        self.kinds = Kinds(config.symbols)
        self.rates = Rates(words.dialect, clock, config.rate_limit_share)
        self.contracts = OpenContracts(clock, self.kinds.of)
        self.flights = Flights()
        self.reports = Reports(config.account, lambda: self.accounts.currency)
        self.feed = DerivFeed(config.name, self.kinds, self.contracts, clock, self.deliver)
        self.workers = Workers(config.name, threads, self.stopping, self._crashed)
        self.markets = Markets(config.name, self.kinds, words)
        self.pushes = Pushes(
            self.kinds, self.reports, self.contracts, self.flights, deliver=self.deliver,
            publish=self.feed.publish, follow=self._follow,
            note=self._note, venue_now_s=self.venue_now_s,
        )  # fmt: skip
        times = config.timeouts
        age_s = times.link_age_s * RENEWED_AT
        self.public = DerivLink(clock, self._public_hooks(), times.sync_s, age_s)
        self.private = DerivLink(clock, self._private_hooks(), times.sync_s, age_s)
        self.desk = DerivDesk(
            self.private, words, self.kinds, gate=gate, pending=pending, rates=self.rates,
            reports=self.reports, contracts=self.contracts, flights=self.flights, clock=clock,
            venue_now_s=self.venue_now_s, currency=lambda: self.accounts.currency,
            underlying=lambda symbol: self.markets.names.get(symbol)  # noqa: PLW0108  names change
           , deliver=self.deliver,
            answer_s=times.read_s,
        )  # fmt: skip
        self.inquiry = DerivInquiry(
            self.private, words, self.kinds, rates=self.rates, reports=self.reports,
            contracts=self.contracts, flights=self.flights, clock=clock,
            offset_ms=self.offset.offset_ms, app_id=config.api_key.reveal(), answer_s=times.read_s,
        )  # fmt: skip

    def _public_hooks(self) -> Hooks:
        name = self.config.name
        return Hooks(
            opening=self.markets.questions,
            on_up=self._public_up,
            on_down=self._public_down,
            on_push=self._on_public,
            on_alive=lambda mono_ns: self.deliver(LinkAlive(name, mono_ns)),
            on_refused=self.on_auth,
        )

    def _private_hooks(self) -> Hooks:
        return Hooks(
            opening=self._open_private,
            on_up=lambda: self._tell_link("private", "subscribed", up=True),
            on_down=lambda reason: self._tell_link("private", reason, up=False),
            on_push=self.pushes.take,
            on_alive=lambda _: None,
            on_refused=self.on_auth,
        )

    # --- out

    def deliver(self, message: Message) -> None:
        """Report, unless this session has been silenced."""
        if self._is_heard:
            self._out(message)

    def silence(self) -> None:
        """From here on nothing of this session is heard."""
        self._is_heard = False

    def on_auth(self, error: DerivError) -> None:
        """Tell once that the token is refused, but never before the session is introduced."""
        if not self._refused:
            self._refused = f"{error.code}: {error.message}"[:500]
            if self._introduction is not None:
                self.deliver(AdapterFailed(self.config.name, "auth", self._refused))

    def _crashed(self, text: str) -> None:
        self.deliver(AdapterFailed(self.config.name, "crashed", text))

    def _tell_link(self, link: Any, reason: str, *, up: bool) -> None:
        now_ns = self.clock.mono_ns()
        self.deliver(LinkChanged(self.config.name, link, up, reason[:300], now_ns))

    def venue_now_s(self) -> int:
        """Return the venue's time in seconds, as well as it is known."""
        return (self.clock.wall_ns() + int(self.offset.offset_ms() * 1_000_000)) // NS_PER_S

    # --- threads

    def start(self) -> None:
        """Start the links and the thread that opens the session."""
        self.workers.spawn("health", self._health)
        self.workers.spawn("upkeep", self._upkeep)
        self.public.link = self._link(self.accounts.public_url, self.public, self._idle_s())
        self.workers.spawn("ws-public", self.public.link.run)

    def _idle_s(self) -> float:
        return max(self.config.timeouts.idle_s, self.config.stale_after_ms / 1000)

    def _link(self, url: "str | Callable[[], str]", handler: DerivLink, idle_s: float) -> WsLink:
        times = self.config.timeouts
        return WsLink(
            url,
            handler,
            clock=self.clock,
            rng=random.Random(self.rng.getrandbits(64)),  # noqa: S311  jitter, not secrets
            watch=Watch(
                times.connect_s, times.ping_every_s, times.ping_answer_s, idle_s, times.link_age_s
            ),
            stopping=self.stopping,
            ping_text=PING,
            stand_in=handler.stand_in,
        )

    # Open the session, then keep clock and market hours.
    def _upkeep(self) -> None:
        told = False
        while not self._is_opened():
            problem = self._missing()
            if problem and not told:
                told = True
                self._tell_link("rest", problem, up=False)
            if self.stopping.wait(LOOK_S):
                return
        every_ns = int(self.config.timeouts.clock_every_s * NS_PER_S)
        due_ns = self.clock.mono_ns() + every_ns
        while not self.stopping.wait(LOOK_S):
            if self.clock.mono_ns() >= due_ns:
                due_ns = self.clock.mono_ns() + every_ns
                self._sync_clock()
                self._look_at_markets()

    # Why the session cannot open, once the venue has answered; empty while it has not.
    def _missing(self) -> str:
        if self._refused:
            return self._refused
        if not self.public.is_up:
            return ""
        missing = self.markets.missing()
        return f"the venue does not list {', '.join(missing)}" if missing else ""

    def _is_opened(self) -> bool:
        if not self.public.is_up or self._missing() or not self._sync_clock():
            return False
        if self.config.api_key and not self.accounts.is_known and not self._learn_account():
            return False
        instruments = self.markets.instruments(self.accounts.currency)
        self.feed.set_instruments(instruments, self.markets.listed)
        self.is_ready = True
        self._tell_link("rest", "instruments loaded", up=True)
        self._introduce(instruments)
        if self.config.api_key and self.private.link is None:
            self._start_private()
        return True

    # The New API tells the account by REST; v3 once the connection has logged in.
    def _learn_account(self) -> bool:
        if self.accounts.dialect == "v3":
            if self.private.link is None:
                self._start_private()
            return self.accounts.is_known
        refused = self.accounts.learn()
        if refused is not None:
            self.on_auth(refused)
        return self.accounts.is_known

    def _start_private(self) -> None:
        self.private.link = self._link(self._private_url, self.private, 0.0)
        self.workers.spawn("ws-private", self.private.link.run)

    def _private_url(self) -> str:
        url, refused = self.accounts.private_url()
        if refused is not None:
            self.on_auth(refused)
            if self.private.link is not None:
                self.private.link.give_up()
        return url

    def _introduce(self, instruments: list[Instrument]) -> None:
        self._introduction = AdapterReady(
            self.config.name, self.session_id, instruments, [self.config.account],
            self.accounts.account_id or None,
        )  # fmt: skip
        self.deliver(self._introduction)
        if self._refused:
            self.deliver(AdapterFailed(self.config.name, "auth", self._refused))

    def republish(self) -> None:
        """Tell everything anew."""
        if self._introduction is not None:
            self._introduce(self._introduction.instruments)
            self._tell_link("public", "republished", up=self.public.is_up)
            self._tell_link("private", "republished", up=self.private.is_up)
            self.feed.republish()

    def _sync_clock(self) -> bool:
        before_ns = self.clock.mono_ns()
        answer = self._read(self.public, {"time": 1})
        if answer is None:
            return False
        try:
            # Whole seconds: the middle of the one that was told is nearest on average.
            venue_ms = whole(answer.get("time")) * 1000 + 500
        except ValueError:
            return False
        self.offset.update([(before_ns, self.clock.mono_ns(), venue_ms)])
        return True

    def _look_at_markets(self) -> None:
        answer = self._read(self.public, self._words.active_symbols())
        if answer is None or self._introduction is None:
            return
        try:
            self.markets.take(answer)
        except ValueError as odd:
            self.public.note("malformed", str(odd))
            return
        instruments = self.markets.instruments(self.accounts.currency)
        self.feed.set_instruments(instruments, self.markets.listed)
        if instruments != self._introduction.instruments:
            self._introduce(instruments)

    def _read(self, link: DerivLink, message: Json) -> Json | None:
        method = next(iter(message))
        deadline_ns = self.clock.mono_ns() + READ_DEADLINE_NS
        if not self.rates.acquire(method, Priority.READ, deadline_ns):
            return None
        try:
            answer = link.ask(message, self.config.timeouts.read_s)
        except (NotLeft, NoAnswer):
            return None
        error = error_of(answer)
        if error is not None and error.code == "RateLimit":
            self.rates.on_limited()
        return None if error is not None else answer

    # --- the public link

    def _public_up(self) -> None:
        self.feed.on_up()
        self._tell_link("public", "subscribed", up=True)

    def _public_down(self, reason: str) -> None:
        self.feed.on_down()
        self._tell_link("public", reason, up=False)

    def _on_public(self, message: Json, wall_ns: int, mono_ns: int) -> None:
        if message.get("msg_type") != "tick" or error_of(message) is not None:
            return
        try:
            tick = read_tick(message)
        except ValueError as odd:
            self.public.note("malformed", str(odd))
            return
        self.feed.on_tick(tick, wall_ns, mono_ns)

    # --- the private link

    def _open_private(self) -> list[Opening]:
        following = [
            Opening({"balance": 1, "subscribe": 1}),
            Opening({"transaction": 1, "subscribe": 1}),
            Opening(self._words.contract(None, subscribe=True)),
        ]
        if self.accounts.dialect == "new":
            return following

        def logged_in(message: Json) -> list[Opening]:
            error = error_of(message)
            if error is not None:
                raise ValueError(f"{error.code}: {error.message}")
            self.accounts.take_login(message)
            return following

        return [Opening({"authorize": self.config.api_secret.reveal()}, logged_in)]

    def _name_of(self, symbol: str) -> str | None:
        return self.markets.names.get(symbol)

    def _note(self, code: str, text: str) -> None:
        self.private.note(code, text)

    # A contract that somebody else bought: its state says what it is.
    def _follow(self, contract_id: int) -> None:
        self.rates.spend("proposal_open_contract")
        self.private.tell(self._words.contract(contract_id, subscribe=True))

    # --- gauges

    def _health(self) -> None:
        while not self.stopping.wait(1.0):
            links = [link.link for link in (self.public, self.private) if link.link is not None]
            governor = self.rates.governor
            self.deliver(
                VenueHealth(
                    venue=self.config.name,
                    public_up=self.public.is_up,
                    private_up=self.private.is_up,
                    clock_offset_ms=self.offset.offset_ms(),
                    rate_used_ratio=governor.used_ratio(),
                    gaps=0,
                    resyncs=0,
                    frames=self.public.frames,
                    reconnects=sum(max(0, link.connections - 1) for link in links),
                    rate_scopes=governor.scopes(),
                    rate_waits=governor.waits(),
                    rate_blocked_ms=governor.blocked_ms(),
                )
            )
