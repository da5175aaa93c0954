"""The public half of an adapter: frames in, verified books and trades out.

Runs in the public link's thread, but for snapshots that come by REST. A book is published when it
changes (at most every `publish_interval_ms`) and at once when its state does; only a LIVE book
carries levels. One symbol's trouble is mended for that symbol alone, the link stays.
"""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from adapters.audit import disagreement
from adapters.codec import Acked, BooksLost, Codec, Denied, Problem, Reconnect, RenewSoon
from adapters.offset import ClockOffset
from adapters.registry import VenueConfig
from adapters.stream import Link, backoff_s
from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.market import BookDelta, BookQuality, LinkAlive, TradePrint, VenueBook
from engine.messages.port import Instrument, LinkChanged
from engine.trading.instrument import price_exponent, quantity_exponent, written_decimals
from engine.trading.keeper import BookKeeper

ALIVE_EVERY_NS: Final = 100 * NS_PER_MS
LAG_MS_MIN: Final = 1000
CONFIRM_NS: Final = NS_PER_S
HEALTHY_NS: Final = 60 * NS_PER_S
# So often a stream is asked for one book's snapshot before the whole link is made anew.
ASKED_MAX: Final = 6
# ... and so often where nothing confirms it: on a new connection a snapshot is behind no update.
UNCONFIRMED_MAX: Final = 2


class _Slot:
    # One symbol: its keeper, what was published, and when it was last asked for anew.
    __slots__ = ("asked_ns", "attempts", "audited_ns", "auditing_ns", "due_ns", "instrument",
                 "is_dirty", "keeper", "live_ns", "published_ns", "recv_mono_ns", "recv_wall_ns")  # fmt: skip

    def __init__(self, instrument: Instrument, keeper: BookKeeper) -> None:
        self.instrument = instrument
        self.keeper = keeper
        self.is_dirty = False
        self.published_ns = self.recv_wall_ns = self.recv_mono_ns = 0
        self.asked_ns: int | None = None
        self.due_ns = 0
        self.attempts = 0
        self.live_ns = 0
        self.audited_ns = 0  # when the venue last agreed with a quiet book
        self.auditing_ns: int | None = None  # since when it is being asked


class PublicFeed:
    """Books and trades of one venue. `ask_snapshot` queues a REST fetch; see `on_snapshot`."""

    def __init__(
        self,
        config: VenueConfig,
        codec: Codec,
        *,
        clock: Clock,
        rng: random.Random,
        deliver: Callable[[Message], None],
        ask_snapshot: Callable[[str], None],
        ask_clock: Callable[[], None],
        offset: ClockOffset,
        ask_audit: Callable[[Instrument], bool] | None = None,
        ask_renewal: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._codec = codec
        self._clock = clock
        self._rng = rng
        self._deliver = deliver
        self._ask_snapshot = ask_snapshot
        self._ask_clock = ask_clock
        self._offset = offset
        self._ask_audit = ask_audit
        self._ask_renewal = ask_renewal
        self._quiet_ns = int(config.quiet_after_s * NS_PER_S)
        self._lag_ns_max = max(LAG_MS_MIN, config.stale_after_ms) * NS_PER_MS
        self._lagging: set[str] = set()
        self._lock = threading.Lock()
        self._slots: dict[str, _Slot] = {}
        unproven = codec.verification == "unverified"
        self._quality: BookQuality = "unverified" if unproven else "verified"
        self._interval_ns = config.publish_interval_ms * NS_PER_MS
        self._alive_ns = 0
        self._opened_ns = 0
        self._down_told = False
        self.link: Link | None = None
        self.is_up = False
        self.frames = 0
        self.problems: Counter[str] = Counter()
        self.last_problem = ""
        self.audits_lost = 0

    def set_instruments(self, instruments: Sequence[Instrument]) -> None:
        """Make a keeper for each; before the link starts."""
        for instrument in instruments:
            keeper = BookKeeper(
                instrument.symbol,
                self._codec.policy,
                price_exponent(instrument),
                quantity_exponent(instrument),
                levels_max=self._codec.levels_max,
                decimals=(
                    written_decimals(instrument.tick_size),
                    written_decimals(instrument.lot_size),
                ),
            )
            self._slots[instrument.symbol] = _Slot(instrument, keeper)

    def set_trading(self, instruments: Sequence[Instrument]) -> None:
        """Note which symbols trade: the silence of one that does not is nothing to ask about."""
        with self._lock:
            for instrument in instruments:
                self._slots[instrument.symbol].instrument = instrument

    @property
    def gaps(self) -> int:
        """How often a book was lost."""
        keepers = [slot.keeper for slot in self._slots.values()]
        lost = sum(k.gaps + k.checksum_bad + k.crossed + k.locked for k in keepers)
        return lost + self.audits_lost

    @property
    def resyncs(self) -> int:
        """How often a book was begun anew."""
        return sum(slot.keeper.resyncs for slot in self._slots.values())

    def republish(self) -> None:
        """Publish every book as it is, and the state of the link."""
        with self._lock:
            up = LinkChanged(
                self._config.name, "public", self.is_up, "republished", self._clock.mono_ns()
            )
            self._deliver(up)
        self.tell_books()

    def tell_books(self) -> None:
        """Publish every book as it is."""
        with self._lock:
            for slot in self._slots.values():
                self._publish(slot)

    # --- the link's thread

    def on_open(self) -> list[str]:
        """Begin every book and subscribe."""
        with self._lock:
            self._opened_ns = self._clock.mono_ns()
            for slot in self._slots.values():
                slot.keeper.begin("subscribed")
                slot.asked_ns = self._opened_ns if self._codec.has_stream_snapshots else None
                slot.due_ns = self._opened_ns + int(self._config.timeouts.sync_s * NS_PER_S)
                slot.recv_wall_ns, slot.recv_mono_ns = self._clock.wall_ns(), self._opened_ns
                self._publish(slot)
        return self._codec.subscribe()

    def on_alive(self, mono_ns: int) -> None:
        """Tell that the link lives, not too often."""
        if self.is_up and mono_ns - self._alive_ns >= ALIVE_EVERY_NS:
            self._alive_ns = mono_ns
            self._deliver(LinkAlive(self._config.name, mono_ns))

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Parse, apply, publish."""
        self.frames += 1
        if mono_ns - self._alive_ns >= ALIVE_EVERY_NS:
            self.on_alive(mono_ns)
        with self._lock:
            for event in self._codec.on_public(raw, wall_ns):
                if isinstance(event, BookDelta):  # nearly always so: its way is kept short
                    slot = self._slots.get(event.symbol)
                    if slot is None:
                        self.problems["unknown_symbol"] += 1
                        continue
                    keeper = slot.keeper
                    state = keeper.state
                    keeper.on_delta(event)
                    slot.recv_wall_ns, slot.recv_mono_ns = wall_ns, mono_ns
                    if not state == keeper.state == "LIVE":
                        self._settle(slot, state)
                    elif mono_ns - slot.published_ns >= self._interval_ns:
                        self._publish(slot)
                    else:
                        slot.is_dirty = True
                elif isinstance(event, TradePrint):
                    self._deliver(event)
                elif isinstance(event, Problem):
                    self.problems[event.code] += 1
                    self.last_problem = event.text
                elif isinstance(event, Acked):
                    self._on_acked(mono_ns)
                elif isinstance(event, BooksLost):
                    self._lose_all(event.reason, wall_ns, mono_ns)
                elif isinstance(event, RenewSoon):
                    self._ask_renewal(event.reason)
                elif isinstance(event, Reconnect | Denied):
                    self._end(event.reason if isinstance(event, Reconnect) else event.text)

    def on_tick(self, mono_ns: int) -> None:
        """Publish what was held back; ask again for what does not come."""
        if not self.is_up and mono_ns - self._opened_ns > self._config.timeouts.sync_s * NS_PER_S:
            self._end("subscription was not acknowledged")
        with self._lock:
            for slot in self._slots.values():
                if slot.is_dirty and mono_ns - slot.published_ns >= self._interval_ns:
                    self._publish(slot)
                if slot.keeper.state == "SYNCING" and self.is_up and mono_ns >= slot.due_ns:
                    self._ask(slot, mono_ns)
                elif slot.keeper.state == "LIVE" and self._quiet_ns:
                    self._look_at_quiet(slot, mono_ns)

    def on_down(self, reason: str) -> None:
        """Everything held is old from now on, and says so at once."""
        now_ns = self._clock.mono_ns()
        with self._lock:
            if self.is_up or not self._down_told:
                self._deliver(LinkChanged(self._config.name, "public", False, reason[:300], now_ns))
            self.is_up, self._down_told = False, True
            for slot in self._slots.values():
                if slot.keeper.state != "STALE":
                    slot.keeper.disconnect("disconnected")
                    self._publish(slot)

    # --- the REST thread

    def on_snapshot(self, snapshot: BookDelta) -> None:
        """Join a snapshot that came by REST."""
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        with self._lock:
            slot = self._slots[snapshot.symbol]
            slot.keeper.on_snapshot(snapshot)
            slot.recv_wall_ns, slot.recv_mono_ns = wall_ns, mono_ns
            self._settle(slot, "SYNCING")
            if slot.keeper.state == "SYNCING":
                # Too old, or no diff has confirmed it yet: look again soon.
                is_quiet = slot.keeper.is_unconfirmed
                wait_s = CONFIRM_NS / NS_PER_S if is_quiet else self._wait_s(slot)
                slot.due_ns = mono_ns + int(wait_s * NS_PER_S)

    def on_no_snapshot(self, symbol: str) -> None:
        """The fetch failed: try again after a while."""
        with self._lock:
            slot = self._slots[symbol]
            slot.due_ns = self._clock.mono_ns() + int(self._wait_s(slot) * NS_PER_S)

    def on_audit(self, symbol: str, theirs: BookDelta | None) -> None:
        """Judge a quiet book by the venue's own levels; None: the venue did not say.

        One that has moved since the question proves its stream by that.
        """
        wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        with self._lock:
            slot = self._slots[symbol]
            asked_ns, slot.auditing_ns = slot.auditing_ns, None
            if slot.keeper.state != "LIVE" or asked_ns is None or slot.recv_mono_ns > asked_ns:
                return
            difference = "the venue did not say" if theirs is None else _difference(slot, theirs)
            if not difference:
                slot.audited_ns = mono_ns
                return
            self.audits_lost += 1
            self.last_problem = f"audit of {symbol}: {difference}"
            slot.keeper.lose("audit_failed" if theirs is None else "audit_disagrees")
            slot.recv_wall_ns, slot.recv_mono_ns = wall_ns, mono_ns
            self._settle(slot, "LIVE")

    # --- under the lock

    # No stream can show that its last message is missing, so silence is asked about.
    def _look_at_quiet(self, slot: _Slot, mono_ns: int) -> None:
        since_ns = max(slot.recv_mono_ns, slot.audited_ns)
        is_due = slot.instrument.status == "TRADING" and mono_ns - since_ns >= self._quiet_ns
        if is_due and slot.auditing_ns is None and self.is_up and self._ask_audit is not None:
            slot.auditing_ns = mono_ns
            if not self._ask_audit(slot.instrument):
                slot.auditing_ns = None  # no place for the question: at the next look

    def _on_acked(self, mono_ns: int) -> None:
        if self.is_up:
            return
        self.is_up, self._down_told = True, False
        self._deliver(LinkChanged(self._config.name, "public", True, "subscribed", mono_ns))
        if not self._codec.has_stream_snapshots:
            for slot in self._slots.values():
                self._ask(slot, mono_ns)
                slot.attempts = 0

    def _lose_all(self, reason: str, wall_ns: int, mono_ns: int) -> None:
        for slot in self._slots.values():
            state = slot.keeper.state
            slot.keeper.lose(reason)
            slot.recv_wall_ns, slot.recv_mono_ns = wall_ns, mono_ns
            self._settle(slot, state)

    # The book has become LIVE, or is not: say so at once, and mend what was lost.
    def _settle(self, slot: _Slot, state_before: str) -> None:
        keeper, mono_ns = slot.keeper, slot.recv_mono_ns
        if keeper.state == "LIVE":
            if state_before != "LIVE":
                slot.live_ns = mono_ns
            self._publish(slot)
        elif keeper.state == "GAP":
            reason = keeper.reason
            self._publish(slot)
            keeper.begin(f"after_{reason}")
            self._publish(slot)
            if slot.live_ns and mono_ns - slot.live_ns > HEALTHY_NS:
                slot.attempts = 0
            is_behind = state_before == "SYNCING" and reason == "sequence"
            if is_behind and self._codec.has_stream_snapshots:
                # A snapshot and the update after it, both behind what was said before: no book of
                # this connection can be proven before the venue's clock has caught up.
                self._end("the venue's times have gone back")
            elif slot.attempts == 0:
                self._ask(slot, mono_ns)
            else:
                slot.due_ns = mono_ns + int(self._wait_s(slot) * NS_PER_S)
        elif state_before == "LIVE":
            self._publish(slot)  # not proven any more
        elif keeper.is_unconfirmed and self._codec.has_stream_snapshots:
            # The next update proves it. In a market that stands still none comes: ask anew, and soon.
            slot.due_ns = min(slot.due_ns, mono_ns + CONFIRM_NS)

    def _ask(self, slot: _Slot, mono_ns: int) -> None:
        slot.asked_ns = mono_ns
        slot.attempts += 1
        slot.due_ns = mono_ns + int(self._config.timeouts.sync_s * NS_PER_S)
        symbol = slot.keeper.symbol
        most = UNCONFIRMED_MAX if slot.keeper.is_unconfirmed else ASKED_MAX
        if self._codec.has_stream_snapshots and slot.attempts > most:
            slot.attempts = 0
            self._end(f"no usable snapshot of {symbol} in {most} attempts")
        elif self._codec.has_stream_snapshots:
            if self.link is not None:
                self.link.send(self._codec.resubscribe(symbol))
        else:
            self._ask_snapshot(symbol)

    def _wait_s(self, slot: _Slot) -> float:
        return 0.1 + backoff_s(slot.attempts, self._rng)

    def _end(self, reason: str) -> None:
        if self.link is not None:
            self.link.reconnect(reason)

    def _publish(self, slot: _Slot) -> None:
        keeper = slot.keeper
        state, reason = keeper.state, keeper.reason
        if state == "LIVE":
            # Frames that waited long on their way (a stopped process, a choked link) show the past.
            offset_ns, event_ns = self._offset.offset_ns, keeper.ts_event_ns
            late_ns = slot.recv_mono_ns + (offset_ns or 0) - event_ns
            if offset_ns is not None and event_ns and late_ns > self._lag_ns_max:
                state, reason = "STALE", "lagging"
                if keeper.symbol not in self._lagging:
                    self._lagging.add(keeper.symbol)
                    self._ask_clock()  # or it is the venue's clock that moved
            elif self._lagging:
                self._lagging.discard(keeper.symbol)
        book = keeper.book
        bids, bid_sizes, asks, ask_sizes = book.top(self._config.depth if state == "LIVE" else 0)
        slot.is_dirty = False
        slot.published_ns = slot.recv_mono_ns
        self._deliver(
            VenueBook(
                self._config.name,
                keeper.symbol,
                state,
                reason,
                book.prices.exponent,
                book.quantities.exponent,
                bids,
                bid_sizes,
                asks,
                ask_sizes,
                keeper.sequence,
                keeper.ts_event_ns,
                slot.recv_wall_ns,
                slot.recv_mono_ns,
                self._quality,
            )
        )


def _difference(slot: _Slot, theirs: BookDelta) -> str:
    try:
        return disagreement(slot.keeper.book, theirs)
    except ValueError as error:
        return f"no levels: {error}"[:200]
