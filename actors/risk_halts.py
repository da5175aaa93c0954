"""The halt's half of RiskPnLActor: close every venue's gate, and say truly when that is done.

A halt counts from the moment it is decided. Its receipt is told when every venue reports that its
gate is closed and that each order that had passed it is answered or UNKNOWN. Who waits is derived
from the journaled halts, so a crash in between costs time, never the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from engine.actor import Actor
from engine.clock import NS_PER_S
from engine.errors import Refused
from engine.messages.commands import AskGate, GateReport, Halt, Reply, Resume, Tick
from engine.messages.events import TradingHalted, TradingResumed
from engine.messages.port import Instrument
from engine.trading.halts import is_trading_halted
from engine.trading.risk import RiskGate
from engine.wire import pack

ASK_AGAIN_S: Final = 1.0
EDGE: Final = "edge"  # where every halt and resume comes from


@dataclass(slots=True)
class _Waiting:
    """Somebody who waits until every venue's gate is as asked."""

    reply_to: str
    correlation_id: str
    scope: str
    halted: bool
    until_ns: int
    venues: set[str]
    in_flight: dict[str, int] = field(default_factory=dict)
    unproven: dict[str, int] = field(default_factory=dict)

    def missing(self) -> str:
        """Return what is waited for, as a person reads it."""
        return ", ".join(
            f"{venue}: gate closed, waiting for {self.in_flight[venue]} orders in flight"
            if self.in_flight.get(venue)
            else f"{venue}: no word from the gate"
            for venue in sorted(self.venues)
        )


class Halts(Actor):
    """See the module's docstring. Halts are idempotent by command_id."""

    state: RiskGate

    def __init__(self, venues: Sequence[str], gates_within_s: float) -> None:
        super().__init__()
        self.venues = tuple(venues)
        self.gates_within_s = gates_within_s
        self.instruments: dict[tuple[str, str], Instrument] = {}
        self.waiting: dict[str, _Waiting] = {}

    def on_halt(self, command: Halt) -> None:
        """Halt a scope. Acknowledged when every venue has closed its gate."""
        problem = self._scope_problem(command.scope)
        if problem is not None:
            self.refuse(command.reply_to, command.command_id, Refused("BAD_REQUEST", problem))
            return
        self._overtake(command.scope, halted=True)
        self._await_gates(command.reply_to, command.command_id, command.scope, halted=True)
        now_ns = self.clock.wall_ns()
        self.emit(
            TradingHalted(
                command.scope, command.reason, command.who, command.cancel, now_ns,
                command.command_id, self.state.strictest(command.scope, command.level),
            )
        )  # fmt: skip

    def on_resume(self, command: Resume) -> None:
        """Lift a halt; a person's decision, with a reason."""
        problem = self._scope_problem(command.scope)
        if problem is not None:
            self.refuse(command.reply_to, command.command_id, Refused("BAD_REQUEST", problem))
            return
        if command.scope not in self.state.halts:  # a repetition: its first answer may be lost
            done = _Waiting(command.reply_to, command.command_id, command.scope, False, 0, set())
            self._answer_gates(done, "")
            return
        self._overtake(command.scope, halted=False)
        self._await_gates(command.reply_to, command.command_id, command.scope, halted=False)
        now_ns = self.clock.wall_ns()
        self.emit(
            TradingResumed(command.scope, command.reason, command.who, now_ns, command.command_id)
        )

    def _scope_problem(self, scope: str) -> str | None:
        kind, _, name = scope.partition(":")
        venues = set(self.venues)
        known = {"venue": venues, "retired": venues, "symbol": {s for _, s in self.instruments}}
        if scope == "all" or name in known.get(kind, set()):
            return None
        if kind == "symbol" and name and {v for v, _ in self.instruments} != known["venue"]:
            return None  # not every venue has said what it trades: a halt is not refused for that
        return f"scope {scope!r} is not all, venue:NAME or symbol:NAME of this core"

    # --- who waits for the gates ------------------------------------------------------------------

    def _await_gates(self, reply_to: str, correlation_id: str, scope: str, *, halted: bool) -> None:
        until_ns = self.clock.mono_ns() + int(self.gates_within_s * NS_PER_S)
        self.waiting[correlation_id] = _Waiting(
            reply_to, correlation_id, scope, halted, until_ns, set(self.venues)
        )
        self._look_later(correlation_id)

    def _look_later(self, correlation_id: str) -> None:
        self.schedule(ASK_AGAIN_S, Tick("gates", correlation_id), key=f"gates:{correlation_id}")

    def resume_waiting(self) -> None:
        """After a crash: ask the gates anew for every recent halt; nobody minds a second receipt."""
        if self.incarnation == 1:
            return  # the process is new: who waited is gone
        since_ns = self.clock.wall_ns() - 2 * int(self.gates_within_s * NS_PER_S)
        for asked in self.state.asked:
            stands = (asked.scope in self.state.halts) == asked.halted
            if asked.request_id and stands and asked.ts_ns >= since_ns:
                self._await_gates(EDGE, asked.request_id, asked.scope, halted=asked.halted)
                self._ask_gates(self.waiting[asked.request_id])

    def look_at_gates(self, correlation_id: str) -> None:
        """Ask the gates that have not answered again, or give up waiting and say for what."""
        waiting = self.waiting.get(correlation_id)
        if waiting is None:
            return
        if self.clock.mono_ns() < waiting.until_ns:
            self._ask_gates(waiting)
            self._look_later(correlation_id)
            return
        del self.waiting[correlation_id]
        stands = "the halt stands" if waiting.halted else "the halt is lifted"
        self._answer_gates(waiting, f"{waiting.missing()}; {stands}")

    # The word of a gate may be lost with an actor that crashed; asking twice is harmless.
    def _ask_gates(self, waiting: _Waiting) -> None:
        for venue in sorted(waiting.venues):
            ask = AskGate(waiting.correlation_id, waiting.scope, waiting.halted)
            self.send(f"exchange.{venue}", ask)

    def on_gate_report(self, message: GateReport) -> None:
        """One venue's gate is as asked, or at least closed."""
        waiting = self.waiting.get(message.request_id)
        if waiting is None or message.venue not in waiting.venues:
            return
        waiting.in_flight[message.venue] = message.in_flight
        waiting.unproven[message.venue] = message.unproven
        if message.in_flight:
            return
        waiting.venues.discard(message.venue)
        if not waiting.venues:
            del self.waiting[message.request_id]
            self._answer_gates(waiting, "")

    # Who waits for a halt that is lifted meanwhile, or the other way round, waits for nothing.
    def _overtake(self, scope: str, *, halted: bool) -> None:
        for waiting in [*self.waiting.values()]:
            if waiting.scope == scope and waiting.halted != halted:
                del self.waiting[waiting.correlation_id]
                text = f"{scope} was {'halted again' if halted else 'resumed'} meanwhile"
                self._answer_gates(waiting, text)

    def _answer_gates(self, waiting: _Waiting, problem: str) -> None:
        body = {
            "scope": waiting.scope,
            "halted": waiting.halted,
            "gates": {v: v not in waiting.venues for v in self.venues},
            "unproven": {v: waiting.unproven.get(v, 0) for v in self.venues},
            "trading_state": self.trading_state(),
            "problem": problem,
        }
        code = "GATE_NOT_CONFIRMED" if problem else ""
        reply = Reply(waiting.correlation_id, not problem, code, problem, pack(body))
        self.send(waiting.reply_to, reply)

    def trading_state(self) -> str:
        """Return ACTIVE, REDUCING or HALTED."""
        halt = self.state.halts.get("all")
        if halt is not None:
            return "HALTED" if halt.level == "no_new" else "REDUCING"
        ledger = self.state.ledger
        restricted = any(ledger.is_restricted(account) for account in ledger.accounts())
        return "REDUCING" if restricted or is_trading_halted(self.state.halts) else "ACTIVE"

    def refuse(self, reply_to: str, correlation_id: str, refusal: Refused) -> None:
        """Tell whoever asked why not."""
        self.send(reply_to, Reply(correlation_id, False, refusal.code, refusal.text, b""))
