"""The bad road between the core and a venue: a VenuePort that delays, loses, doubles and reorders.

Every decision is drawn from the world's seeded generator and counted in `world.fired`. What is on the
wire outlives the session and the process that sent it, as it does in the world.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dst_venue import SimVenue, VenueOrder
from msgspec.structs import replace

from engine.messages.base import Message
from engine.messages.market import LinkAlive
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    BalanceUpdate,
    CancelOrder,
    CancelResult,
    FillReport,
    GateChanged,
    LinkChanged,
    OrderReport,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    Resubscribe,
    SetGate,
    SubmitOrder,
    SubmitResult,
)

if TYPE_CHECKING:
    from world import Process, World

NS = 1_000_000_000


class SimulatedPort:
    """One session. `handle` never blocks; everything else happens by virtual timers."""

    def __init__(self, world: "World", process: "Process", venue: SimVenue) -> None:
        self.world, self.process, self.venue = world, process, venue
        self.rng = world.rng
        self.number = world.next_number()
        self.alive = False
        self.is_shut = False
        self.ready = False
        self.private = self.public = False
        self.closed, self.closed_symbols = False, frozenset[str]()
        self.stream_due_ns = 0
        self.sent = 0
        self.sends_early = self.rng.random() < 0.5  # does not wait for its links to submit
        self.late_words = self.rng.random() < 0.3  # workers that outlive their session

    # --- the port ---------------------------------------------------------------------------------

    def start(self) -> None:
        self.alive = True
        delay_s = self.latency()
        if self.world.strike("session_fails", 0.1):
            self.deliver(AdapterFailed(self.venue.name, "unreachable", "no route"))
            delay_s += 1.0
        self.after(delay_s, self._open)

    def shut(self) -> None:
        self.is_shut = True

    def stop(self, deadline_s: float) -> None:
        self.shut()
        self.alive = self.ready = self.public = False
        self._private(up=False)

    def handle(self, message: Message) -> None:
        handlers: dict[type, Callable[[Any], None]] = {
            SubmitOrder: self._submit,
            CancelOrder: self._cancel,
            QueryOrder: self._query,
            Reconcile: self._reconcile,
            SetGate: self._gate,
            Resubscribe: self._resubscribe,
        }
        self.venue.told.append((self.venue.uid, type(message).__name__))
        handlers[type(message)](message)

    # --- helpers ----------------------------------------------------------------------------------

    def latency(self) -> float:
        slow = self.world.faulty and self.rng.random() < 0.05
        return self.rng.uniform(0.2, 1.5) if slow else self.rng.uniform(0.002, 0.05)

    def after(self, delay_s: float, call: Callable[[], None]) -> None:
        self.world.after(delay_s, lambda: self.alive and call())

    def wire(self, delay_s: float, call: Callable[[], None]) -> None:
        """Something that happens whether or not the session still lives."""
        self.world.after(delay_s, call)

    def deliver(self, message: Message) -> None:
        if not self.process.alive or not (self.alive or self.late_words):
            return
        if not self.alive:
            self.world.count("words_of_an_old_session")
        self.sent += 1
        sender, tell = f"adapter.{self.venue.name}", self.process.supervisor.tell
        new_id = f"{self.process.epoch}.{self.venue.name}.{self.number}.{self.sent}"
        tell(f"exchange.{self.venue.name}", message, sender=sender, message_id=new_id)
        if isinstance(message, AdapterFailed):
            tell(sender, message, sender=sender, message_id=new_id + ".own")

    def answer(self, delay_s: float, message: Message) -> None:
        self.wire(delay_s, lambda: self.deliver(message))

    # --- the session ------------------------------------------------------------------------------

    def _open(self) -> None:
        self.ready = True
        self._resubscribe(None)
        self.after(self.latency(), lambda: self._private(up=True))
        self.after(self.latency(), lambda: self.set_public(up=True))

    def _resubscribe(self, _: object) -> None:
        if not self.ready:
            return
        venue = self.venue
        self.deliver(
            AdapterReady(
                venue.name, f"s{self.number}", venue.instruments(), [venue.account], venue.uid
            )
        )
        if self.private:
            self._link("private", up=True)
        if self.public:
            self._link("public", up=True)
            self.publish_books()

    def _link(self, link: str, *, up: bool) -> None:
        mono_ns = self.world.clock.mono_ns()
        self.deliver(LinkChanged(self.venue.name, link, up, "simulated", mono_ns))

    def _private(self, *, up: bool) -> None:
        if self.private == up:
            return
        self.private = up
        self.venue.listener = self._stream if up else None
        self._link("private", up=up)

    def drop_private(self, for_s: float) -> None:
        if self.private:
            self._private(up=False)
            self.after(for_s, lambda: self.ready and self._private(up=True))

    def set_public(self, *, up: bool) -> None:
        if self.public != up and self.ready:
            self.public = up
            self._link("public", up=up)
            if up:
                self.publish_books()

    def publish_books(self, state: str = "LIVE", reason: str = "") -> None:
        for symbol in self.venue.symbols:
            self.deliver(self.venue.book(symbol, state, reason))

    def prove_life(self) -> None:
        if self.public:
            self.deliver(LinkAlive(self.venue.name, self.world.clock.mono_ns()))

    # The stream keeps its order, unless a fault says otherwise.
    def _stream(self, report: OrderReport | FillReport) -> None:
        if self.world.strike("private_event_lost", 0.06):
            return
        now_ns = self.world.clock.mono_ns()
        due_ns = max(self.stream_due_ns, now_ns + int(self.latency() * NS))
        if self.world.strike("private_event_reordered", 0.06):
            self.answer(self.rng.uniform(0.05, 3.0), report)
        else:
            self.stream_due_ns = due_ns
            self.answer((due_ns - now_ns) / NS, report)
        if self.world.strike("private_event_doubled", 0.06):
            self.answer(self.rng.uniform(0.0, 3.0), report)
        if self.rng.random() < 0.1:
            balances = self.venue.balance_reports()
            self.answer(0.01, BalanceUpdate(self.venue.account, balances, report.ts_event_ns))

    # --- the gate and orders ----------------------------------------------------------------------

    def _gate(self, message: SetGate) -> None:
        self.closed, self.closed_symbols = message.closed, frozenset(message.symbols)
        self.deliver(GateChanged(message.request_id, self.venue.name, message.closed))

    def _result(
        self, order: SubmitOrder, outcome: str, code: str = "", venue_id: str | None = None
    ) -> SubmitResult:
        now_ns = self.world.clock.wall_ns()
        return SubmitResult(
            order.account, order.client_order_id, outcome, venue_id, code, f"{outcome} {code}",
            f"simulated: {outcome} {code}", now_ns, now_ns,
        )  # fmt: skip

    def _submit(self, order: SubmitOrder) -> None:
        if not self.ready and not self.sends_early:
            self.deliver(self._result(order, "NOT_SENT", "not_connected"))
            return
        limited = self.world.strike("rate_limited", 0.05)
        wait_s = self.rng.uniform(0.5, 3.0) if limited else self.rng.uniform(0, 0.02)
        # A worker of an ended session goes on until it looks at its gate: nothing else stops it.
        self.world.after(wait_s, lambda: self.process.alive and self._write(order))

    def _write(self, order: SubmitOrder) -> None:
        """The last code before the socket."""
        world = self.world
        if self.is_shut:
            world.count("gate_shut")
        elif self.closed or order.symbol in self.closed_symbols:
            world.count("gate_closed")
            self.deliver(self._result(order, "NOT_SENT", "gate_closed"))
        elif world.clock.mono_ns() > order.expires_mono_ns:
            self.deliver(self._result(order, "NOT_SENT", "expired"))
        elif world.strike("not_sent", 0.03):
            self.deliver(self._result(order, "NOT_SENT", "connect_failed"))
        else:
            world.judge.sent(self.process, self.venue, order)
            self._on_the_wire(order)

    def _on_the_wire(self, order: SubmitOrder) -> None:
        world, rng = self.world, self.rng
        delay_s = self.latency()
        if world.strike("request_lost", 0.06):
            if world.strike("no_result_at_all", 0.4):
                return
            self.answer(rng.uniform(0.3, 2.0), self._result(order, "UNKNOWN", "timeout"))
            return
        if world.strike("executed_late", 0.06):
            self.answer(rng.uniform(0.1, 1.0), self._result(order, "UNKNOWN", "timeout"))
            self.wire(rng.uniform(0.5, 4.9), lambda: self.arrive(order))
            return
        self.wire(delay_s, lambda: self._reply(order, self.arrive(order)))

    def arrive(self, order: SubmitOrder) -> "VenueOrder | tuple[str, str]":
        world = self.world
        world.judge.arrives(self.venue, order)
        if world.strike("venue_rejects", 0.04):
            return "FILTER", "Filter failure"
        done = self.venue.accept(order)
        if isinstance(done, VenueOrder) and world.strike("order_invisible", 0.1):
            done.ever_hidden = True
            hidden_s = self.rng.choice((1, 3, 8, 30))
            done.hidden_until_ns = world.clock.mono_ns() + hidden_s * NS
        return done

    def _reply(self, order: SubmitOrder, done: "VenueOrder | tuple[str, str]") -> None:
        world = self.world
        if world.strike("reply_lost", 0.08):
            if not world.strike("no_result_at_all", 0.4):
                self.answer(
                    self.rng.uniform(0.3, 2.0), self._result(order, "UNKNOWN", "reply lost")
                )
        elif isinstance(done, VenueOrder):
            if done.fills:
                world.count("filled_at_once")
            delay_s = self.latency()
            delay_s += self.rng.uniform(0.1, 1.0) if world.strike("ack_after_stream", 0.2) else 0
            ack = self._result(order, "ACCEPTED", "", done.venue_order_id)
            self.answer(delay_s, ack)
        else:
            outcome = "UNKNOWN" if done[0] == "DUPLICATE" else "REJECTED"
            self.answer(self.latency(), self._result(order, outcome, done[0]))

    def _cancel(self, cancel: CancelOrder) -> None:
        def result(outcome: str, code: str) -> CancelResult:
            return CancelResult(cancel.account, cancel.client_order_id, outcome, code, "simulated")

        def arrive() -> None:
            outcome, code = venue.cancel(cancel.client_order_id, cancel.venue_order_id)
            if code:
                world.count("cancel_races_with_the_end")
            if world.strike("cancel_reply_lost", 0.1):
                outcome, code = "UNKNOWN", "timeout"
            self.answer(self.latency(), result(outcome, code))

        world, venue = self.world, self.venue
        if not self.ready:
            self.deliver(result("NOT_SENT", "not_connected"))
        elif world.strike("cancel_lost", 0.15):
            if self.rng.random() < 0.5:
                self.answer(1.0, result("UNKNOWN", "timeout"))
        else:
            self.after(self.rng.uniform(0, 0.02), lambda: self.wire(self.latency(), arrive))

    # --- questions --------------------------------------------------------------------------------

    def _query(self, query: QueryOrder) -> None:
        world, venue = self.world, self.venue
        asked_ns, mono_ns = world.clock.wall_ns(), world.clock.mono_ns()

        def result(found: bool | None, order: Any, fills: list[FillReport]) -> QueryResult:
            text = "asked at the simulated venue"
            return QueryResult(
                query.account, query.client_order_id, found, order, fills, asked_ns, mono_ns, text
            )

        def look() -> None:
            found = venue.find(query.client_order_id, query.venue_order_id)
            if found is not None and venue.is_hidden(found):
                world.count("query_blind")
                found = None
            if found is None:
                answer = result(False, None, [])
            else:
                fills = [replace(f, source="query") for f in found.fills]
                answer = result(True, venue.report(found, "query"), fills)
            slow = world.strike("query_slow", 0.08)
            self.answer(self.rng.uniform(2.0, 14.0) if slow else self.latency(), answer)

        if not self.ready or world.strike("query_failed", 0.1):
            self.answer(0.05, result(None, None, []))
        elif not world.strike("query_lost", 0.1):
            self.wire(self.latency(), look)

    def _reconcile(self, ask: Reconcile) -> None:
        world, venue = self.world, self.venue
        asked = world.clock.wall_ns(), world.clock.mono_ns()
        seen: list[Any] = []

        def failed(text: str) -> ReconcileResult:
            return ReconcileResult(ask.request_id, ask.account, False, text, [], [], [], *asked)

        # Orders, fills and balances are three requests, and the venue lives on between them.
        def orders() -> None:
            shown = [o for o in venue.orders.values() if o.is_open and not venue.is_hidden(o)]
            seen.append([venue.report(o, "reconcile") for o in shown])
            self.wire(self.latency(), fills)

        def fills() -> None:
            since_ns = ask.fills_since_wall_ns - world.overlap_ns
            seen.append(
                [replace(f, source="reconcile") for f in venue.fills if f.ts_event_ns >= since_ns]
            )
            self.wire(self.latency(), balances)

        def balances() -> None:
            done = ReconcileResult(
                ask.request_id, ask.account, True, "", *seen, venue.balance_reports(), *asked
            )
            self.answer(self.latency(), done)

        if not self.ready or world.strike("reconcile_failed", 0.1):
            self.answer(0.05, failed("simulated"))
        elif not world.strike("reconcile_lost", 0.08):
            self.wire(self.latency(), orders)
