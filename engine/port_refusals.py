"""What a command of the port is answered with when no session can serve it: at once, and honestly."""

from engine.clock import Clock
from engine.messages.base import Message
from engine.messages.port import (
    AskVenue,
    CancelOrder,
    CancelResult,
    GateChanged,
    Outcome,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    SetGate,
    SubmitOrder,
    SubmitResult,
    VenueTold,
)


def submit_result(
    order: SubmitOrder, outcome: Outcome, code: str, text: str, clock: Clock
) -> SubmitResult:
    """Return the answer to a submit that nobody can serve any more, NOT_SENT or UNKNOWN."""
    now_ns = clock.wall_ns()
    return SubmitResult(
        account=order.account,
        client_order_id=order.client_order_id,
        outcome=outcome,
        venue_order_id=None,
        code=code,
        text=text[:500],
        evidence=f"{code}: {text}"[:500],
        ts_event_ns=now_ns,
        sent_wall_ns=0 if outcome == "NOT_SENT" else now_ns,
    )


def refusal(command: Message, venue: str, text: str, clock: Clock) -> Message | None:
    """Return the answer to a command that was not handed to any session; None where none is due."""
    match command:
        case SubmitOrder():
            return submit_result(command, "NOT_SENT", "not_ready", text, clock)
        case CancelOrder():
            return CancelResult(
                command.account, command.client_order_id, "NOT_SENT", "not_ready", text
            )
        case QueryOrder():
            wall_ns, mono_ns = clock.wall_ns(), clock.mono_ns()
            return QueryResult(
                command.account, command.client_order_id, None, None, [], wall_ns, mono_ns, text
            )
        case Reconcile():
            wall_ns, mono_ns = clock.wall_ns(), clock.mono_ns()
            return ReconcileResult(
                command.request_id, command.account, False, text, [], [], [], wall_ns, mono_ns
            )
        case AskVenue():
            return VenueTold(
                command.reply_to, command.correlation_id, False, "NOT_READY", text[:500], b""
            )
        case SetGate():
            return GateChanged(command.request_id, venue, command.closed)
    return None
