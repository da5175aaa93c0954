"""RiskPnLActor: the gate every order passes, the halt, and the money.

It judges what the router proposes, one order after another, each approval counting before the next
is judged. It keeps the ledger from fills alone and compares it with what the venues report: a
difference is itemised and makes the account reduce-only until a person accepts it. A halt is
acknowledged when every venue has closed its gate.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, ClassVar, Final

from engine.actor import Actor
from engine.errors import Refused
from engine.messages.base import Event, Message
from engine.messages.commands import (
    AcceptDifference,
    AccountSnapshot,
    Append,
    AppendNow,
    AppendRefused,
    DryRun,
    GateReport,
    Halt,
    Introduce,
    Proposal,
    Query,
    QueryRequest,
    Reply,
    Resume,
    Tick,
)
from engine.messages.events import (
    OrderApproved,
    OrderDenied,
    OrderSpec,
    TradingHalted,
    TradingResumed,
)
from engine.messages.market import ConsolidatedBook, VenueState
from engine.messages.port import AdapterReady, Instrument
from engine.trading.orders import OrderTable
from engine.trading.pnl import balance_rows, position_rows, symbol_rows, total_row
from engine.trading.reconcile import (
    DifferenceTracker,
    accept,
    opening_events,
    totals,
    with_given_cost,
)
from engine.trading.risk import RiskGate, leg_view
from engine.trading.risk_limits import RiskLimits
from engine.trading.routing import mid_price, quantity_before
from engine.wire import pack

HALTS: Final = frozenset({TradingHalted, TradingResumed})
GATES_WITHIN_S: Final = 5.0
OPENING_LOOK_S: Final = 0.25
OPENING_LOOKS_MAX: Final = 40


@dataclass(slots=True)
class _Waiting:
    """Somebody who waits until every venue's gate is as asked."""

    reply_to: str
    correlation_id: str
    scope: str
    halted: bool
    venues: set[str] = field(default_factory=set)


class RiskPnLActor(Actor):
    """See the module's docstring. Proposals are idempotent by order_id, halts by command_id."""

    road: ClassVar[tuple[str, ...]] = ("persistence",)
    durable: ClassVar[bool] = True

    state: RiskGate

    def __init__(
        self,
        limits: RiskLimits,
        *,
        closed_kept_max: int,
        venues: Sequence[str],
        opening_costs: Mapping[str, Mapping[str, Decimal]],
    ) -> None:
        """Take the limits and, per account and asset, what one unit of the opening balance cost."""
        super().__init__()
        self.opening_costs = opening_costs
        self.limits = limits
        self.closed_kept_max = closed_kept_max
        self.venues = tuple(venues)
        self.instruments: dict[tuple[str, str], Instrument] = {}
        self.books: dict[str, ConsolidatedBook] = {}
        self.waiting: dict[str, _Waiting] = {}
        self.unopened: dict[str, tuple[dict[str, Decimal], AccountSnapshot, int]] = {}
        self._use(new_gate(None, limits, closed_kept_max))

    def _use(self, gate: RiskGate) -> None:
        self.state = gate
        self.tracker = DifferenceTracker(gate.ledger)

    def restore(self, snapshot: bytes) -> None:
        """Set the state from a snapshot."""
        self._use(new_gate(snapshot, self.limits, self.closed_kept_max))

    def apply(self, event: Event) -> None:
        """Fold one event."""
        self.state.apply(event)

    def recovered(self) -> None:
        """Ask every venue what it is and what it trades."""
        self.tracker.since_mono_ns = self.clock.mono_ns()
        for venue in self.venues:
            self.send(f"exchange.{venue}", Introduce(self.name, False))

    def journal_message(self, events: list[Event]) -> Message:
        """Halts overtake everything that waits."""
        if not HALTS.isdisjoint(map(type, events)):
            return AppendNow(events)  # type: ignore[arg-type]
        return Append(events)  # type: ignore[arg-type]

    # --- the market, as the gate asks for it ------------------------------------------------------

    def on_consolidated_book(self, book: ConsolidatedBook) -> None:
        """Keep the newest consolidated book."""
        self.books[book.symbol] = book

    def on_adapter_ready(self, message: AdapterReady) -> None:
        """Keep the trading rules of a venue."""
        for instrument in message.instruments:
            self.instruments[message.venue, instrument.symbol] = instrument

    def on_venue_state(self, message: VenueState) -> None:
        """Part of a venue's introduction; the gate judges by books and instruments alone."""

    def mid(self, symbol: str) -> tuple[Decimal, int] | None:
        """Return the consolidated mid of a symbol and its age in ns."""
        book = self.books.get(symbol)
        mid = mid_price(book) if book is not None else None
        if book is None or mid is None:
            return None
        return mid, max(0, self.clock.mono_ns() - book.mono_published_ns)

    def instrument(self, venue: str, symbol: str) -> Instrument | None:
        """Return the venue's rules of a symbol."""
        return self.instruments.get((venue, symbol))

    def ahead(self, venue: str, symbol: str, side: str, price: Decimal) -> Decimal | None:
        """Return what the venue's live book offers a taker of `side` strictly before `price`."""
        book = self.books.get(symbol)
        return None if book is None else quantity_before(book, venue, side, price)

    def price(self, asset: str) -> Decimal | None:
        """Return one unit of an asset in the report currency, from the consolidated mid."""
        if asset == self.limits.report_currency:
            return Decimal(1)
        found = self.mid(f"{asset}/{self.limits.report_currency}")
        return found[0] if found is not None else None

    # --- the gate ---------------------------------------------------------------------------------

    def on_proposal(self, message: Proposal) -> None:
        """Judge each order; what is approved leaves for the journal at once."""
        for event in message.events:
            self.emit(event)
        for spec in message.orders:
            self.emit(self._judge(spec))

    def _judge(self, spec: OrderSpec) -> OrderApproved | OrderDenied:
        now_ns = self.clock.mono_ns()
        verdict = self.state.judge(spec, now_ns, self.clock.wall_ns(), self)
        return self.state.event(verdict, now_ns)

    def on_dry_run(self, message: DryRun) -> None:
        """Judge without consequence. Legs are judged each by itself."""
        judged = [self._judge(spec) for spec in message.orders]
        legs = [leg_view(event) for event in judged]
        approved = all(isinstance(event, OrderApproved) for event in judged)
        body = {"dry_run": True, "approved": approved, "plan": message.plan, "orders": legs}
        self.send(message.reply_to, Reply(message.correlation_id, True, "", "", pack(body)))

    def on_append_refused(self, message: AppendRefused) -> None:
        """The journal did not take an approval: it never leaves and charges nothing."""
        for event in message.events:
            if isinstance(event, OrderApproved):
                self.apply(OrderDenied(event.order, message.code, message.text))

    # --- halt and resume --------------------------------------------------------------------------

    def on_halt(self, command: Halt) -> None:
        """Halt a scope. Acknowledged when every venue has closed its gate."""
        problem = self._scope_problem(command.scope)
        if problem is not None:
            self._refuse(command.reply_to, command.command_id, Refused("BAD_REQUEST", problem))
            return
        self._await_gates(command.reply_to, command.command_id, command.scope, halted=True)
        now_ns = self.clock.wall_ns()
        self.emit(
            TradingHalted(
                command.scope, command.reason, command.who, command.cancel, now_ns,
                command.command_id,
            )
        )  # fmt: skip

    def on_resume(self, command: Resume) -> None:
        """Lift a halt; a person's decision, with a reason."""
        problem = self._scope_problem(command.scope)
        if problem is not None:
            self._refuse(command.reply_to, command.command_id, Refused("BAD_REQUEST", problem))
            return
        if command.scope not in self.state.halts:  # a repetition: its first answer may be lost
            done = _Waiting(command.reply_to, command.command_id, command.scope, halted=False)
            self._answer_gates(done, "")
            return
        self._await_gates(command.reply_to, command.command_id, command.scope, halted=False)
        now_ns = self.clock.wall_ns()
        self.emit(
            TradingResumed(command.scope, command.reason, command.who, now_ns, command.command_id)
        )

    def _scope_problem(self, scope: str) -> str | None:
        kind, _, name = scope.partition(":")
        known = {"venue": set(self.venues), "symbol": {s for _, s in self.instruments}}
        if scope == "all" or name in known.get(kind, set()):
            return None
        if kind == "symbol" and name and {v for v, _ in self.instruments} != known["venue"]:
            return None  # not every venue has said what it trades: a halt is not refused for that
        return f"scope {scope!r} is not all, venue:NAME or symbol:NAME of this core"

    def _await_gates(self, reply_to: str, correlation_id: str, scope: str, *, halted: bool) -> None:
        self.waiting[correlation_id] = _Waiting(
            reply_to, correlation_id, scope, halted, set(self.venues)
        )
        self.schedule(GATES_WITHIN_S, Tick("gates", correlation_id), key=f"gates:{correlation_id}")

    def on_gate_report(self, message: GateReport) -> None:
        """One venue's gate is as asked."""
        waiting = self.waiting.get(message.request_id)
        if waiting is None:
            return
        waiting.venues.discard(message.venue)
        if not waiting.venues:
            del self.waiting[message.request_id]
            self._answer_gates(waiting, "")

    def _answer_gates(self, waiting: _Waiting, problem: str) -> None:
        body = {
            "scope": waiting.scope,
            "halted": waiting.halted,
            "gates": {v: v not in waiting.venues for v in self.venues},
            "trading_state": self._trading_state(),
            "problem": problem,
        }
        code = "GATE_NOT_CONFIRMED" if problem else ""
        reply = Reply(waiting.correlation_id, not problem, code, problem, pack(body))
        self.send(waiting.reply_to, reply)

    # --- money against the venue ------------------------------------------------------------------

    def on_account_snapshot(self, message: AccountSnapshot) -> None:
        """Open an account at first contact; compare it ever after."""
        if not self.tracker.is_newer(message, self.clock.mono_ns()):
            return
        if not self.state.ledger.is_opened(message.account):
            if message.account not in self.unopened:
                self._look_at_opening(message)
            return
        for event in self.tracker.sample(
            message.account, totals(message), quiet=message.quiet, ts_ns=message.asked_wall_ns
        ):
            self.log.bind(event=type(event).__name__).warning("balance difference")
            self.emit(event)

    def _look_at_opening(self, message: AccountSnapshot) -> None:
        held = self.tracker.opening(message.account, totals(message), quiet=message.quiet)
        if held is not None:
            self.unopened[message.account] = (held, message, 0)
            self._try_opening(message.account)
        else:
            self.schedule(OPENING_LOOK_S, Tick("look", message.account), key="look")

    def _try_opening(self, account: str) -> None:
        """Journal the opening balances, marked; wait a while for prices before calling it unknown."""
        reported, snapshot, looks = self.unopened[account]
        costs = self.opening_costs.get(account, {})
        missing = (a for a, n in reported.items() if n and a not in costs)
        unpriced = any(self.price(asset) is None for asset in missing)
        if unpriced and looks < OPENING_LOOKS_MAX:
            self.unopened[account] = (reported, snapshot, looks + 1)
            self.schedule(OPENING_LOOK_S, Tick("opening", account), key=f"opening:{account}")
            return
        del self.unopened[account]
        currency, at_ns = self.limits.report_currency, snapshot.asked_wall_ns
        found = opening_events(account, reported, self.price, currency, at_ns)
        self.send(self.road[0], Append([with_given_cost(e, costs, currency) for e in found]))

    def on_accept_difference(self, command: AcceptDifference) -> None:
        """Adjust the ledger by a difference that a person accepts, with who and why."""
        event = accept(
            self.state.ledger, command.account, command.asset, command.who, command.reason,
            self.clock.wall_ns(),
        )  # fmt: skip
        if event is None:
            text = f"no difference stands for {command.asset} of {command.account}"
            self._refuse(command.reply_to, command.command_id, Refused("NOT_FOUND", text))
            return
        self.send(self.road[0], Append([event]))
        body = {"account": command.account, "asset": command.asset, "quantity": event.quantity}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))

    # --- timers -----------------------------------------------------------------------------------

    def on_tick(self, message: Tick) -> None:
        """A gate did not answer in time, or prices may be there now."""
        if message.name == "opening" and message.argument in self.unopened:
            self._try_opening(message.argument)
        elif message.name == "look":
            for venue in self.venues:
                self.send(f"exchange.{venue}", QueryRequest("", "opening balances"))
        elif message.name == "gates" and message.argument in self.waiting:
            waiting = self.waiting.pop(message.argument)
            text = f"no word from the gate of {', '.join(sorted(waiting.venues))}; the halt stands"
            self._answer_gates(waiting, text)

    # --- questions from the edges -----------------------------------------------------------------

    def on_query(self, query: Query) -> None:
        """Answer an edge: topics `risk`, `positions`, `pnl`, `balances`, `trading_state`."""
        ledger, mark = self.state.ledger, self.mid
        if query.topic == "risk":
            body: Any = self._risk_view()
        elif query.topic == "positions":
            body = position_rows(ledger, mark)
        elif query.topic == "pnl":
            body = {
                "total": total_row(ledger, mark, self.price),
                "symbols": symbol_rows(ledger, mark),
            }
        elif query.topic == "balances":
            body = balance_rows(ledger, self.price, query.arguments.get("venue"))
        elif query.topic == "trading_state":
            opened = {a.partition(".")[0] for a in ledger.accounts() if ledger.is_opened(a)}
            body = {"trading_state": self._trading_state(), "opened": opened >= {*self.venues}}
        else:
            refusal = Refused("BAD_REQUEST", f"no topic {query.topic!r}")
            self._refuse(query.reply_to, query.correlation_id, refusal)
            return
        self.send(query.reply_to, Reply(query.correlation_id, True, "", "", pack(body)))

    def _trading_state(self) -> str:
        if "all" in self.state.halts:
            return "HALTED"
        ledger = self.state.ledger
        restricted = any(ledger.is_restricted(account) for account in ledger.accounts())
        return "REDUCING" if restricted or self.state.halts else "ACTIVE"

    def _risk_view(self) -> dict[str, Any]:
        ledger = self.state.ledger
        return {
            "trading_state": self._trading_state(),
            "limits": self.state.show(self.clock.mono_ns(), self),
            "halts": [
                {"scope": h.scope, "reason": h.reason, "who": h.who, "ts_ns": h.ts_ns}
                for _, h in sorted(self.state.halts.items())
            ],
            "differences": [
                {"account": account, "asset": asset, "expected": d.expected,
                 "reported": d.reported, "ts_ns": d.ts_ns}
                for account in ledger.accounts()
                for asset, d in ledger.differences(account).items()
            ],
            "restricted": [a for a in ledger.accounts() if ledger.is_restricted(a)],
        }  # fmt: skip

    def _refuse(self, reply_to: str, correlation_id: str, refusal: Refused) -> None:
        self.send(reply_to, Reply(correlation_id, False, refusal.code, refusal.text, b""))


def new_gate(snapshot: bytes | None, limits: RiskLimits, closed_kept_max: int) -> RiskGate:
    """Return the gate of a snapshot, or the one before any event."""
    if snapshot is not None:
        return RiskGate.from_bytes(snapshot, limits, closed_kept_max)
    return RiskGate(limits, OrderTable(closed_kept_max))
