"""What the runtime reports of its actors: logged, and where it concerns orders, answered by a halt.

A parked report of a venue is a fill or a status that somebody missed: its symbol takes no new
orders there until the venue has been reconciled. A parked approval halts its venue, a parked event
of the router or of risk and a mailbox of the trading path above its limit halt everything, until
a person resumes.
"""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Final

from loguru import logger

from engine.clock import NS_PER_S, Clock
from engine.ids import Ids
from engine.messages.commands import Halt, Quarantine
from engine.specs import RuntimeEvent
from engine.supervision import Supervisor

WARNINGS: Final = frozenset(
    {"crashed", "stuck", "thread_died", "unknown_message", "dead_letter", "disabled", "gave_up"}
)
MONEY_KINDS: Final = frozenset({"ApprovedOrder", "Committed", "CommittedNow"})
# What a reconciliation brings again.
REPORT_KINDS: Final = frozenset(
    {"CancelResult", "FillReport", "OrderReport", "QueryResult", "ReconcileResult", "SubmitResult"}
)
PARKED: Final = ("parked", "unknown_message")
AGAIN_NS: Final = NS_PER_S  # an overflow is told once a message; one halt a second is enough
TRADING: Final = ("order_router", "risk_pnl", "persistence", "exchange.")


class Alarms:
    """Observes the runtime. `observe` may be called by any thread and never blocks."""

    def __init__(
        self, ids: Ids, clock: Clock, background: Callable[[Callable[[], Any]], "Future[Any]"]
    ) -> None:
        self._ids = ids
        self._background = background
        self._halted_ns: dict[str, int] = {}
        self._clock = clock
        self.runtime: Supervisor | None = None

    def observe(self, event: RuntimeEvent) -> None:
        """Log one event of the runtime, and halt where it may have cost an order its truth."""
        bound = logger.bind(actor=event.actor, incarnation=event.incarnation, detail=event.detail)
        scope = self._scope(event)
        level = "CRITICAL" if scope else "WARNING" if event.what in WARNINGS else "INFO"
        bound.log(level, f"actor {event.what}")
        now_ns = self._clock.mono_ns()
        if scope and now_ns - self._halted_ns.get(scope, -AGAIN_NS) >= AGAIN_NS:
            self._halted_ns[scope] = now_ns
            self._background(lambda: self.halt(scope, f"{event.actor} {event.what} {event.kind}"))
        if event.what in PARKED and event.kind in REPORT_KINDS:
            self._background(lambda: self._quarantine(event))

    def _quarantine(self, event: RuntimeEvent) -> None:
        if self.runtime is None or not event.actor.startswith("exchange."):
            return
        for parked in self.runtime.parking.list():
            if parked.message_id == event.message_id:
                about = parked.kind, parked.message_id, parked.order_id, parked.symbol
                self.runtime.tell(event.actor, Quarantine(*about), sender="supervisor")

    def halt(self, scope: str, reason: str) -> None:
        """Halt a scope; the sweep is left to a person, who may want the orders."""
        if self.runtime is not None:
            command = Halt(
                self._ids.command_id(), scope, reason[:2000], "supervisor", False, "edge"
            )
            self.runtime.tell("risk_pnl", command, sender="supervisor")

    def _scope(self, event: RuntimeEvent) -> str:
        concerned = event.actor.startswith(TRADING)
        if event.what == "overflow" and concerned:
            return "all"
        if event.what not in PARKED or not concerned or event.kind not in MONEY_KINDS:
            return ""
        kind, _, venue = event.actor.partition(".")
        return f"venue:{venue}" if kind == "exchange" else "all"
