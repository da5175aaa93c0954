"""RiskPnLActor: the gate every order passes, the halt, and the money.

It judges what the router proposes, one order after another, each approval counting before the next
is judged. It keeps the ledger from fills alone and compares it with what the venues report: a
difference is itemised and makes the account reduce-only until a person accepts it. A halt is
acknowledged when every venue has closed its gate.
"""

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar, Final

from actors.risk_halts import Halts
from engine.errors import Refused
from engine.messages.base import Event, Message
from engine.messages.commands import (
    AcceptDifference,
    AccountSnapshot,
    Append,
    AppendNow,
    AppendRefused,
    DryRun,
    Introduce,
    Proposal,
    Query,
    QueryRequest,
    Reply,
    Tick,
)
from engine.messages.events import (
    OrderApproved,
    OrderDenied,
    OrderFilled,
    OrderSpec,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)
from engine.messages.market import ConsolidatedBook
from engine.messages.port import AdapterReady, Instrument
from engine.trading.benchmark import seen
from engine.trading.fees import FeeWatch
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
OPENING_LOOK_S: Final = 0.25
OPENING_LOOKS_MAX: Final = 40


class RiskPnLActor(Halts):
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
        gates_within_s: float,
        absent: Collection[str] = (),
    ) -> None:
        """Take the limits and, per account and asset, what one unit of the opening balance cost.

        `gates_within_s` is how long a halt waits for the gates before it says which is missing. `absent`
        are venues that have no adapter to tell their balances.
        """
        super().__init__(venues, gates_within_s)
        self.opening_costs = opening_costs
        self.limits = limits
        self.with_money = {*venues} - {*absent}
        self.closed_kept_max = closed_kept_max
        self.books: dict[str, ConsolidatedBook] = {}
        self.unopened: dict[str, tuple[dict[str, Decimal], AccountSnapshot, int]] = {}
        self.fees = FeeWatch()
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
        """Ask every venue what it is and what it trades, and the gates that somebody waits for."""
        self.tracker.since_mono_ns = self.clock.mono_ns()
        for venue in self.venues:
            self.send(f"exchange.{venue}", Introduce(self.name, False))
        self.resume_waiting()

    def committed(self, seq: int, event: Event) -> None:
        """Check the fee of a fill that has just been journaled."""
        rule = (
            self.instruments.get((event.venue, event.symbol))
            if type(event) is OrderFilled
            else None
        )
        if rule is None or not isinstance(event, OrderFilled):
            return
        found = self.fees.take(event, rule, self.clock.wall_ns())
        if found is not None:
            self.log.bind(account=found.account, symbol=found.symbol, trade=found.trade_id).warning(
                "fee difference: {}", found.reason
            )
            self.send(self.road[0], Append([found]))

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

    def mark(self, symbol: str) -> tuple[Decimal, int] | None:
        """Return what a position is valued by and its age in ns: the mid, else a declared rate."""
        base, _, quote = symbol.partition("/")
        rate = (
            self.limits.declared_rates.get(base) if quote == self.limits.report_currency else None
        )
        return self.mid(symbol) or (None if rate is None else (rate, 0))

    def price(self, asset: str) -> Decimal | None:
        """Return one unit of an asset in the report currency: the market's price, else the declared one."""
        if asset == self.limits.report_currency:
            return Decimal(1)
        found = self.mid(f"{asset}/{self.limits.report_currency}")
        return found[0] if found is not None else self.limits.declared_rates.get(asset)

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
        looked = seen(self.books.get(spec.symbol), now_ns) if spec.parent_id is None else None
        return self.state.event(verdict, now_ns, looked)

    def on_dry_run(self, message: DryRun) -> None:
        """Judge without consequence. Legs are judged each by itself."""
        judged = [self._judge(spec) for spec in message.orders]
        legs = [leg_view(event) for event in judged]
        approved = all(isinstance(event, OrderApproved) for event in judged)
        mark = message.benchmark
        body = {
            "dry_run": True, "approved": approved, "plan": message.plan, "orders": legs,
            "reasons": message.reasons, "expected": None if mark is None else mark.plan_price,
            "best_single_venue": None if mark is None else mark.venue,
            "best_single_price": None if mark is None else mark.venue_price,
        }  # fmt: skip
        self.send(message.reply_to, Reply(message.correlation_id, True, "", "", pack(body)))

    def on_append_refused(self, message: AppendRefused) -> None:
        """The journal did not take these orders: they never leave, charge nothing, never were."""
        for event in message.events:
            if isinstance(event, OrderApproved):
                self.state.forget(event.order, message.code, message.text)
            elif isinstance(event, ParentAccepted):
                self.state.orders.remove(event.order.order_id)

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
            self.refuse(command.reply_to, command.command_id, Refused("NOT_FOUND", text))
            return
        self.send(self.road[0], Append([event]))
        body = {"account": command.account, "asset": command.asset, "quantity": event.quantity}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))

    # --- timers -----------------------------------------------------------------------------------

    def on_tick(self, message: Tick) -> None:
        """Gates may not have answered, or prices may be there now."""
        if message.name == "opening" and message.argument in self.unopened:
            self._try_opening(message.argument)
        elif message.name == "look":
            for venue in self.venues:
                self.send(f"exchange.{venue}", QueryRequest("", "opening balances"))
        elif message.name == "gates":
            self.look_at_gates(message.argument)

    # --- questions from the edges -----------------------------------------------------------------

    def on_query(self, query: Query) -> None:
        """Answer an edge: topics `risk`, `positions`, `pnl`, `balances`, `trading_state`."""
        ledger, mark = self.state.ledger, self.mark
        if query.topic == "risk":
            body: Any = self._risk_view()
        elif query.topic == "positions":
            body = position_rows(ledger, mark)
        elif query.topic == "pnl":
            body = {
                "total": total_row(ledger, mark, self.price),
                "symbols": symbol_rows(ledger, mark),
            }
        elif query.topic == "fee_checks":
            body = self.fees.rows()
        elif query.topic == "balances":
            body = balance_rows(ledger, self.price, query.arguments.get("venue"))
        elif query.topic == "trading_state":
            opened = {a.partition(".")[0] for a in ledger.accounts() if ledger.is_opened(a)}
            body = {"trading_state": self.trading_state(), "opened": opened >= self.with_money}
        else:
            refusal = Refused("BAD_REQUEST", f"no topic {query.topic!r}")
            self.refuse(query.reply_to, query.correlation_id, refusal)
            return
        self.send(query.reply_to, Reply(query.correlation_id, True, "", "", pack(body)))

    def _risk_view(self) -> dict[str, Any]:
        ledger = self.state.ledger
        return {
            "trading_state": self.trading_state(),
            "limits": self.state.show(self.clock.mono_ns(), self),
            "halts": [
                {"scope": h.scope, "level": h.level, "reason": h.reason, "who": h.who,
                 "ts_ns": h.ts_ns}
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


def new_gate(
    snapshot: bytes | None, limits: RiskLimits, closed_kept_max: int, *, judging: bool = True
) -> RiskGate:
    """Return the gate of a snapshot, or the one before any event."""
    if snapshot is not None:
        return RiskGate.from_bytes(snapshot, limits, closed_kept_max, judging=judging)
    return RiskGate(limits, OrderTable(closed_kept_max), judging=judging)
