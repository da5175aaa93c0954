"""ExchangeActor: one venue, its orders exactly known, its gate, and its reconciliations.

It is the only actor that talks to an adapter. This half keeps the venue: sessions and links, the
comparison with the venue's own account before anything may trade, the gate that a halt closes, and
market data passed on as it came. The orders' half is actors/exchange_orders.py.
"""

from decimal import Decimal

from actors.exchange_orders import QUERY_MAX_S
from actors.exchange_relay import ExchangeRelay
from actors.exchange_state import ExchangeConfig, status_events
from engine.clock import NS_PER_S
from engine.messages.base import Event
from engine.messages.commands import (
    AccountSnapshot,
    AskGate,
    CommittedNow,
    GateReport,
    Introduce,
    Quarantine,
    QueryRequest,
    Tick,
)
from engine.messages.events import (
    AccountIdentified,
    OrderApproved,
    TradingHalted,
    TradingResumed,
    VenueReconciled,
)
from engine.messages.market import VenueState
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    BalanceUpdate,
    GateChanged,
    LinkChanged,
    Reconcile,
    ReconcileResult,
    Resubscribe,
    SetGate,
)
from engine.trading.halts import RETIRED, scopes_over

QUIET_NS = NS_PER_S // 2
QUIET_LOOKS = 2  # risk opens an account, or finds a difference, on two that agree
CURSOR_AGE_NS = 12 * 3600 * NS_PER_S
FIRST_LOOK_S = 0.1

__all__ = ["ExchangeActor", "ExchangeConfig"]


class ExchangeActor(ExchangeRelay):
    """See the module's docstring. Handlers are idempotent by client_order_id and fill key."""

    def __init__(self, config: ExchangeConfig) -> None:
        super().__init__(config)
        self.session = ""
        self.ready_message: AdapterReady | None = None
        self.gate_closed = False
        self.gate_asked: dict[str, bool] = {}  # as the adapter told, until it is reported in full
        self.private_up = False
        self.reconciliations = 0
        self.quiet_looks = self.early_looks = 0
        self.reconciled_ns = 0  # when the newest clean look at the account began
        self.taken = 0  # the newest answer that was used
        self.wanted = 0  # the oldest answer that may call the venue READY
        self.quarantined: dict[str, int] = {}  # symbol: the reconciliation that lifts it
        self.first_look: tuple[set[tuple[str, str]], dict[str, Decimal]] | None = None

    def recovered(self) -> None:
        """Take up the orders, and wait for the adapter to say what it has."""
        self._set_state("CONNECTING", "waiting for the adapter")
        self.last_activity_ns = self.clock.mono_ns()  # whatever moved before is not remembered
        self.resume_orders()
        self.schedule(self.config.reconcile_every_s, Tick("reconcile"), key="reconcile")
        self.send(self.adapter, Resubscribe("the exchange actor has started"))

    def on_tick(self, message: Tick) -> None:
        """It is time to reconcile, or an order's answer is missing."""
        if message.name == "reconcile":
            self.schedule(self.config.reconcile_every_s, Tick("reconcile"), key="reconcile")
            self._reconcile()
        elif message.name == "ack":
            late, wait_s = self.awaited.look(self.clock.mono_ns(), self.state.orders)
            for order in late:
                self.call_unknown(order, f"no answer within {self.config.ack_timeout_s:g} s")
            self.look_in(wait_s)
        else:
            super().on_tick(message)

    def on_query_request(self, message: QueryRequest) -> None:
        """Ask the venue anew, about one order or about everything."""
        if message.order_id:
            super().on_query_request(message)
        else:
            self._reconcile()

    # --- the venue --------------------------------------------------------------------------------

    def on_adapter_ready(self, message: AdapterReady) -> None:
        """A session of the adapter began. Nothing may leave before it is reconciled."""
        for event in status_events(self.state, message, self.clock.wall_ns()):
            self.emit(event)
        if self._is_news_of_rules(message):
            self.ready_message = message
            for reader in ("order_router", "risk_pnl", "edge"):
                self.send(reader, message)
            self._set_state("READY", self._ready_words())
            return
        if self.session not in ("", message.session):
            for order in self.state.open_orders():
                if order.status == "PENDING_NEW":
                    self.call_unknown(order, "the adapter restarted while the order was on its way")
        self.session = message.session
        self.ready_message = message
        stranger = self.state.stranger(self.config.account, message.account_uid)
        self.is_ours = not stranger
        self._set_gate(f"session:{message.session}")
        for reader in ("order_router", "risk_pnl", "order_book", "edge"):
            self.send(reader, message)
        held, self.held_cancels = self.held_cancels, {}
        if stranger:
            self.log.bind(account_uid=message.account_uid).critical("another account's credentials")
            self._set_state("DISABLED", stranger)
            return
        for cancel in held.values():
            self.tell_adapter(cancel)
        self._set_state("RECONCILING", "comparing orders, fills and balances")
        self.taken = 0
        self._reconcile()
        self.wanted = self.reconciliations

    # A running session tells its instruments again when its venue's rules have changed.
    def _is_news_of_rules(self, message: AdapterReady) -> bool:
        held = self.ready_message
        is_same = self.session == message.session and self.venue_state == "READY"
        return is_same and held is not None and held.instruments != message.instruments

    def on_adapter_failed(self, message: AdapterFailed) -> None:
        """The adapter stopped by itself."""
        final = message.code not in ("crashed", "unreachable")
        state = "RETIRED" if message.code == "retired" else "DISABLED" if final else "DOWN"
        text = message.text if state == "RETIRED" else f"{message.code}: {message.text}"
        self._set_state(state, text)

    def on_link_changed(self, message: LinkChanged) -> None:
        """A link went up or down. After a private reconnect nothing is known until reconciled."""
        if message.link == "private":
            self.private_up = message.up
            if message.up and self.session and self.is_ours:
                self._set_state("RECONCILING", "the private link came back")
                self._reconcile()
                self.wanted = self.reconciliations
            elif not message.up and self.venue_state in ("READY", "RECONCILING"):
                self._set_state("DEGRADED", f"private link down: {message.reason}")
        elif message.link == "rest" and not message.up and self.venue_state == "CONNECTING":
            self._set_state("CONNECTING", f"the session cannot open yet: {message.reason}")
        self.send("edge", message)

    def _reconcile(self) -> None:
        if not self.session or not self.is_ours:
            return
        self.reconciliations += 1
        request_id = self._request_id(self.reconciliations)
        since_ns = self.state.cursor_ns(self.config.account, self.clock.wall_ns())
        self.send(self.adapter, Reconcile(request_id, self.config.account, since_ns))

    def _request_id(self, number: int) -> str:
        return f"{self.session}:{self.incarnation}:{number}"

    # An answer that a newer one, a new session or a restart has overtaken would take us back in time.
    def _is_overtaken(self, message: ReconcileResult) -> bool:
        about, _, number = message.request_id.rpartition(":")
        if f"{about}:" != self._request_id(0)[:-1] or int(number) < self.taken:
            return True
        self.taken = int(number)
        return False

    def on_reconcile_result(self, message: ReconcileResult) -> None:
        """Compare the venue's own account with ours; only then may the venue trade."""
        if self.answers_edge(message) or not self.is_ours or self._is_overtaken(message):
            return
        if not message.ok:
            if self.venue_state in ("READY", "RECONCILING"):
                state = "DEGRADED" if self.venue_state == "READY" else "RECONCILING"
                self._set_state(state, f"reconciliation failed: {message.text}")
            self.schedule(QUERY_MAX_S, Tick("reconcile"), key="reconcile")
            return
        account_is_known = message.account in self.state.cursors
        if not account_is_known and not self._is_first_look_proven(message):
            return
        seen = {report.venue_order_id for report in message.open_orders}
        for report in message.open_orders:
            self.take_report(report, first_look=not account_is_known)
        self.ask_for_orphans()
        for fill in message.fills if account_is_known else ():
            self.take_fill(fill)
        for order in self.state.open_orders():
            told = order.venue_order_id is not None and order.venue_order_id not in seen
            if order.status == "UNKNOWN" or (told and order.ts_last_ns < message.asked_wall_ns):
                self.query(order)
        known_ns = self.state.cursors.get(message.account, 0)
        is_old = message.asked_wall_ns - known_ns > CURSOR_AGE_NS  # else quiet months are read anew
        if not account_is_known or ((self.state.fills_since_cursor or is_old) and not self.orphans):
            self.emit(VenueReconciled(self.config.venue, message.account, message.asked_wall_ns))
        self._identify(message)
        self._report_balances(message)
        self._end_quarantine()
        self.reconciled_ns = message.asked_mono_ns
        waits = self.venue_state in ("RECONCILING", "DEGRADED", "DOWN")
        if waits and self.private_up and self.taken >= self.wanted:
            self._set_state("READY", self._ready_words())
        else:
            self._publish_state()

    def on_quarantine(self, message: Quarantine) -> None:
        """A report could not be handled: ask the venue anew, and trust its symbol only then."""
        order = self.state.orders.order(message.order_id)
        symbol = message.symbol or (order.spec.symbol if order is not None else "")
        self.quarantined[symbol] = self.reconciliations + 1
        why = f"{message.kind} {message.message_id} is parked"
        self._set_state(self.venue_state, f"{self._quarantine_words()}: {why}")
        if message.kind != "ReconcileResult":  # after which the next one comes in its own time
            self._reconcile()

    def _end_quarantine(self) -> None:
        held = {s: number for s, number in self.quarantined.items() if number > self.taken}
        ended = len(held) < len(self.quarantined)
        self.quarantined = held
        if ended and self.venue_state == "READY":
            self._set_state("READY", self._ready_words())

    # What is READY with an exception says which; what is there to be watched is none.
    def _ready_words(self) -> str:
        told = sorted(self.state.statuses.items())
        closed = [f"{symbol} {why}" for symbol, why in told if not why.startswith("WATCH_ONLY")]
        why = self.ready_message.account_problem if self.ready_message is not None else ""
        words = (f"no orders: {why}" if why else "", self._quarantine_words(), ", ".join(closed))
        return "; ".join(filter(None, words))[:2000]

    def _quarantine_words(self) -> str:
        symbols = ", ".join(symbol or "every symbol" for symbol in self.quarantined)
        return f"{symbols} quarantined until reconciled" if symbols else ""

    def denial(self, approval: OrderApproved) -> tuple[str, str] | None:
        """Return why an order may not leave now: what holds everywhere, or its symbol's quarantine."""
        if {"", approval.order.symbol} & self.quarantined.keys():
            return "quarantined", self._quarantine_words()
        status = self.state.statuses.get(approval.order.symbol)
        if status is not None:
            return "symbol_halted", f"{approval.order.symbol} at {self.config.venue} is {status}"
        return super().denial(approval)

    # From the first clean reconciliation on the account is the venue's own, whatever it is called here.
    def _identify(self, message: ReconcileResult) -> None:
        uid = self.ready_message.account_uid if self.ready_message is not None else None
        if uid is not None and message.account not in self.state.uids:
            at_ns = message.asked_wall_ns
            self.emit(AccountIdentified(self.config.venue, message.account, uid, at_ns))

    # At first contact what has been filled is in the balances, and must not be counted again. Orders,
    # fills and balances are asked one after the other, so two looks in a row have to agree.
    def _is_first_look_proven(self, message: ReconcileResult) -> bool:
        fills = {(fill.venue_order_id, fill.trade_id) for fill in message.fills}
        look = fills, {b.asset: b.free + b.locked for b in message.balances}
        before, self.first_look = self.first_look, look
        if before == look:
            return True
        self.schedule(FIRST_LOOK_S, Tick("reconcile"), key="reconcile")
        return False

    def _report_balances(self, message: ReconcileResult) -> None:
        busy = any(o.is_in_flight or o.missing_fills for o in self.state.open_orders())
        calm = self.last_activity_ns < message.asked_mono_ns - QUIET_NS
        quiet = calm and not busy and not self.orphans
        balances = [(b.asset, b.free, b.locked) for b in message.balances]
        self.quiet_looks += quiet
        if self.quiet_looks < QUIET_LOOKS:  # nothing can be opened or compared before
            delay_s = QUIET_NS / NS_PER_S * 2 ** min(self.early_looks, 10)
            self.early_looks += 1
            self.schedule(
                min(delay_s, self.config.reconcile_every_s), Tick("reconcile"), key="reconcile"
            )
        self.send(
            "persistence",  # behind the fills that it must be compared with
            AccountSnapshot(
                message.account,
                balances,
                quiet,
                message.asked_wall_ns,
                message.asked_mono_ns,
            ),
        )

    def on_balance_update(self, message: BalanceUpdate) -> None:
        """A hint only; balances are judged at reconciliations, where nothing is in flight."""

    def _set_state(self, state: str, reason: str) -> None:
        changed = (state, reason) != (self.venue_state, self.reason)
        self.venue_state, self.reason = state, reason
        if changed:
            self.log.bind(state=state, reason=reason).info("venue state")
        self._publish_state()

    def _publish_state(self) -> None:
        message = self._state_message()
        for reader in ("order_book", "order_router", "edge"):
            self.send(reader, message)

    def _state_message(self) -> VenueState:
        retired = self.state.halts.get(f"{RETIRED}{self.config.venue}")
        return VenueState(
            self.config.venue,
            self.venue_state if retired is None else "RETIRED",  # type: ignore[arg-type]
            self.reason if retired is None else retired,
            self.gate_closed,
            self.clock.mono_ns(),
            self.state.behind_gate(self.config.venue, "PENDING_NEW") if self.gate_asked else 0,
            self.state.uids.get(self.config.account),
            self.reconciled_ns,
            dict(sorted(self.state.statuses.items())),
        )

    def on_introduce(self, message: Introduce) -> None:
        """Tell a restarted neighbour what it has lost."""
        if self.ready_message is not None:
            self.send(message.actor, self.ready_message)
        if message.wants_state:
            self.send(message.actor, self._state_message())

    # --- the gate ---------------------------------------------------------------------------------

    def on_committed_now(self, message: CommittedNow) -> None:
        """A halt or its end: close the gate before anything else, then sweep."""
        super().on_committed_now(message)
        event = message.event
        if isinstance(event, TradingHalted):
            self._set_gate(event.request_id)
            if event.cancel:
                self._sweep(event)
        elif isinstance(event, TradingResumed):
            self._set_gate(event.request_id)

    def _set_gate(self, request_id: str) -> None:
        closed, symbols, reducing, lenient = self.state.gate(self.config.venue)
        closed = closed or not self.is_ours
        self.send(self.adapter, SetGate(request_id, closed, symbols, reducing, lenient))

    def _sweep(self, halt: TradingHalted) -> None:
        for order in self.state.open_orders():
            ours = order.spec.origin == "COMMAND"
            in_scope = halt.scope in scopes_over(self.config.venue, order.spec.symbol)
            if ours and in_scope and not order.cancel_requested:
                self.cancel(order, f"halt: {halt.reason}")

    def on_ask_gate(self, message: AskGate) -> None:
        """Risk has no word yet. Before the halt it speaks of has come, there is none to give."""
        if (message.scope in self.state.halts) == message.halted:
            self._set_gate(message.request_id)

    def on_gate_changed(self, message: GateChanged) -> None:
        """The last code before the socket has obeyed: nothing new can start."""
        self.gate_closed = message.closed
        self.gate_asked[message.request_id] = message.closed
        self._report_gate()

    def emit(self, event: Event) -> None:
        """Apply and journal an event; one that proves an order may be what a halt waits for."""
        super().emit(event)
        if self.gate_asked:
            self._report_gate()

    # A halt is done when each order that had passed the gate is answered, or UNKNOWN: until then it
    # is on the wire, and the venue may read it after any acknowledgement.
    def _report_gate(self) -> None:
        venue = self.config.venue
        in_flight = self.state.behind_gate(venue, "PENDING_NEW")
        unproven = self.state.behind_gate(venue, "UNKNOWN")
        for request_id, closed in self.gate_asked.items():
            self.send("risk_pnl", GateReport(venue, request_id, closed, in_flight, unproven))
        if not in_flight:
            self.gate_asked.clear()
        self._publish_state()
