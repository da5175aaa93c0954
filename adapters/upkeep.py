"""What is asked of a venue again and again while a session lasts: its rules first of all, then its clock.

The work of one thread with its own REST client, so that neither an order nor a snapshot that hangs delays
it. Opening tries until it succeeds; whatever fails later is tried again soon.
"""

import random
import threading
from collections.abc import Callable
from typing import Final

from loguru import logger

from adapters.account_check import account_problem
from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.registry import VenueConfig
from adapters.rules import Announcement, Rules
from adapters.stream import backoff_s
from engine.clock import NS_PER_S, Clock
from engine.maintenance import window_of
from engine.messages.base import Message
from engine.messages.port import Instrument, LinkChanged

LOOK_S: Final = 0.1
CLOCK_AGAIN_S: Final = 5


class Upkeep:
    """Opens one session and keeps it in order. `run` blocks until `stopping` is set."""

    def __init__(
        self,
        config: VenueConfig,
        desk: Desk,
        *,
        clock: Clock,
        rng: random.Random,
        stopping: threading.Event,
        deliver: Callable[[Message], None],
        on_opened: Callable[[list[Instrument], str | None, str], None],
        on_rules: Callable[[list[Instrument]], None],
        announcement: Announcement | None,
    ) -> None:
        self._config = config
        self._desk = desk
        self._clock = clock
        self._rng = rng
        self._stopping = stopping
        self._deliver = deliver
        self._on_opened = on_opened
        self._on_rules = on_rules
        self._announcement = announcement
        self._windows = [window_of(text) for text in config.maintenance]
        self._rules = Rules([], [])
        self._told: list[Instrument] = []
        self._clock_due_ns = self._rules_due_ns = self._fees_due_ns = 0

    def run(self, rest: CcxtRest) -> None:
        """Open the session, then keep the clock and the rules."""
        self._open(rest)
        while not self._stopping.wait(LOOK_S):
            self._keep_clock(rest)
            self._keep_fees(rest)
            self._keep_rules(rest)

    def ask_clock(self) -> None:
        """Have the venue's clock estimated anew, soon. From any thread."""
        self._clock_due_ns = 0

    # Learn the clock, the instruments and whose account it is.
    def _open(self, rest: CcxtRest) -> None:
        name, attempt, told = self._config.name, 0, False
        while not self._stopping.is_set():
            try:
                self._desk.sync_clock(rest)
                has_key = bool(self._config.api_key)
                instruments = self._desk.load_instruments(
                    rest, self._config.symbols, has_key=has_key
                )
                uid, problem = self._ask_account(rest) if has_key else (None, "")
                break
            except (CallFailed, ValueError) as failed:
                if not told:
                    told = True
                    now_ns = self._clock.mono_ns()
                    self._deliver(LinkChanged(name, "rest", False, str(failed)[:300], now_ns))
                self._stopping.wait(backoff_s(attempt, self._rng))
                attempt += 1
        if not self._stopping.is_set():
            self._clock_due_ns = self._next_clock_ns()
            self._rules_due_ns = self._next_rules_ns()
            self._fees_due_ns = self._next_fees_ns()
            self._rules = Rules(instruments, self._windows)
            self._take_announcement(rest)
            self._told = self._rules.now(self._clock.wall_ns())
            self._on_opened(self._told, uid, problem)

    def _ask_account(self, rest: CcxtRest) -> tuple[str | None, str]:
        uid, config = self._desk.account_uid(rest), self._config
        exchange_id = self._desk.codec.exchange_id
        return uid, account_problem(self._desk, rest, exchange_id, is_live=config.is_live)

    def _next_clock_ns(self) -> int:
        return self._clock.mono_ns() + int(self._config.timeouts.clock_every_s * NS_PER_S)

    def _keep_clock(self, rest: CcxtRest) -> None:
        if self._clock.mono_ns() >= self._clock_due_ns:
            self._clock_due_ns = self._next_clock_ns()
            try:
                self._desk.sync_clock(rest)
            except (CallFailed, ValueError):
                self._clock_due_ns = self._clock.mono_ns() + CLOCK_AGAIN_S * NS_PER_S

    def _next_rules_ns(self) -> int:
        return self._clock.mono_ns() + int(self._config.rules_every_s * NS_PER_S)

    def _next_fees_ns(self) -> int:
        return self._clock.mono_ns() + int(self._config.timeouts.fees_every_s * NS_PER_S)

    # A tier, a discount: the account's rates change while a session lasts, and are told with the rules.
    def _keep_fees(self, rest: CcxtRest) -> None:
        if self._config.api_key and self._clock.mono_ns() >= self._fees_due_ns:
            self._fees_due_ns = self._next_fees_ns()
            self._rules.take_fees(self._desk.with_fees(rest, self._rules.fees_wanted()))

    # What could not be read changes nothing; a window of maintenance opens and ends by the clock.
    def _keep_rules(self, rest: CcxtRest) -> None:
        if self._clock.mono_ns() >= self._rules_due_ns:
            try:
                self._rules.take_listing(self._desk.listing(rest))
            except (CallFailed, ValueError) as failed:
                logger.bind(venue=self._config.name).info("the rules were not read: {}", failed)
            self._take_announcement(rest)
            self._rules_due_ns = self._next_rules_ns()
        rules = self._rules.now(self._clock.wall_ns())
        if rules != self._told and not self._stopping.is_set():
            self._told = rules
            self._on_rules(rules)

    def _take_announcement(self, rest: CcxtRest) -> None:
        if self._announcement is None:
            return
        try:
            self._rules.take_announcement(self._desk.announced(rest, self._announcement))
        except (CallFailed, ValueError) as failed:
            logger.bind(venue=self._config.name).debug("no word of the venue itself: {}", failed)
