"""Commands from the edges, the road to the journal and back, and the runtime's own messages."""

from decimal import Decimal
from typing import ClassVar

from engine.messages.base import (
    Code,
    HaltLevel,
    Id,
    Lane,
    Message,
    Name,
    OrderType,
    Side,
    Text,
    TimeInForce,
)
from engine.messages.events import AnyEvent, OrderSpec
from engine.messages.market import RouteBenchmark

# --- from the edges to the router -----------------------------------------------------------------


class PlaceOrder(Message, frozen=True, array_like=True, tag=True):
    """Place one order at a venue, or over all of them (`venue` = best). Idempotent by command_id.

    `reply_to` gets a Reply once the command is refused, or planned (dry run); its further life is
    told by events. `price` None with order_type MARKET lets risk's collar bound it.
    """

    command_id: Id
    venue: Name
    account: Name | None
    symbol: Name
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal
    price: Decimal | None
    dry_run: bool
    who: Text
    reply_to: Name


class CancelOrders(Message, frozen=True, array_like=True, tag=True):
    """Cancel the named orders (parents cancel their children), or all of a venue or of everything."""

    command_id: Id
    order_ids: list[Id]
    all: bool
    venue: Name | None
    symbol: Name | None
    reason: Text
    who: Text
    reply_to: Name


class ReconcileOrders(Message, frozen=True, array_like=True, tag=True):
    """Ask the venues anew about the named orders, or run a full reconciliation."""

    command_id: Id
    order_ids: list[Id]
    who: Text
    reply_to: Name


class ResolveOrder(Message, frozen=True, array_like=True, tag=True):
    """Settle an UNKNOWN order by a person's word. Journaled with who and why."""

    command_id: Id
    order_id: Id
    status: Name
    reason: Text
    who: Text
    reply_to: Name


class Halt(Message, frozen=True, array_like=True, tag=True):
    """Stop new orders at once; sweep cancels unless told not to. Sticky over restarts.

    `level`: no_new lets nothing new leave, reduce_only and flat let orders that reduce a position.
    """

    lane: ClassVar[Lane] = Lane.CONTROL

    command_id: Id
    scope: Name
    reason: Text
    who: Text
    cancel: bool
    reply_to: Name
    level: HaltLevel = "no_new"


class Resume(Message, frozen=True, array_like=True, tag=True):
    """Lift a halt."""

    lane: ClassVar[Lane] = Lane.CONTROL

    command_id: Id
    scope: Name
    reason: Text
    who: Text
    reply_to: Name


class AcceptDifference(Message, frozen=True, array_like=True, tag=True):
    """Accept a balance difference as an adjustment."""

    command_id: Id
    account: Name
    asset: Name
    reason: Text
    who: Text
    reply_to: Name


class Query(Message, frozen=True, array_like=True, tag=True):
    """A question from an edge. Topics and their arguments are listed in docs/messages.md."""

    correlation_id: Id
    topic: Name
    arguments: dict[str, str]
    reply_to: Name


class Reply(Message, frozen=True, array_like=True, tag=True):
    """The answer to an edge. `body` is MessagePack of plain data, money as strings."""

    correlation_id: Id
    ok: bool
    code: Code
    text: Text
    body: bytes


# --- the road to the journal ----------------------------------------------------------------------


class Proposal(Message, frozen=True, array_like=True, tag=True):
    """The router's decision on its way through risk: events as they are, orders to be judged.

    Orders are judged in list order; each becomes OrderApproved or OrderDenied in the same batch.
    """

    events: list[AnyEvent]
    orders: list[OrderSpec]


class DryRun(Message, frozen=True, array_like=True, tag=True):
    """Judge these orders as if they were proposed, change nothing, and tell the edge.

    Of a split, `reasons` says why for each venue, and `benchmark` what it is expected to cost.
    """

    correlation_id: Id
    orders: list[OrderSpec]
    plan: Text
    reply_to: Name
    reasons: dict[str, str] = {}  # noqa: RUF012  msgspec copies the empty default
    benchmark: RouteBenchmark | None = None


class Append(Message, frozen=True, array_like=True, tag=True):
    """Journal these events, in order, in one transaction; then forward what they allow."""

    events: list[AnyEvent]


class AppendNow(Message, frozen=True, array_like=True, tag=True):
    """The same ahead of everything: halts."""

    lane: ClassVar[Lane] = Lane.CONTROL

    events: list[AnyEvent]


class Committed(Message, frozen=True, array_like=True, tag=True):
    """A journaled event, delivered to those who fold it. Receivers drop a seq they have folded."""

    seq: int
    event: AnyEvent


class CommittedNow(Message, frozen=True, array_like=True, tag=True):
    """A journaled event delivered ahead of everything: halts."""

    lane: ClassVar[Lane] = Lane.CONTROL

    seq: int
    event: AnyEvent


class ApprovedOrder(Message, frozen=True, array_like=True, tag=True):
    """The only message that lets an ExchangeActor send an order: approved, journaled, with a deadline."""

    seq: int
    approval: AnyEvent


class AppendRefused(Message, frozen=True, array_like=True, tag=True):
    """The journal could not take these events (disk full): nothing was recorded, nothing may leave."""

    events: list[AnyEvent]
    code: Code
    text: Text


# --- between actors -------------------------------------------------------------------------------


class CancelRequest(Message, frozen=True, array_like=True, tag=True):
    """The router asks an ExchangeActor to cancel one of its orders. Needs no approval."""

    order_id: Id
    reason: Text


class QueryRequest(Message, frozen=True, array_like=True, tag=True):
    """Ask an ExchangeActor to query one order, or (order_id empty) to reconcile its venue."""

    order_id: Id
    reason: Text


class ResolveRequest(Message, frozen=True, array_like=True, tag=True):
    """Ask an ExchangeActor to end an UNKNOWN order by a person's word."""

    order_id: Id
    status: Name
    reason: Text
    who: Text


class AccountSnapshot(Message, frozen=True, array_like=True, tag=True):
    """Balances of one account at one moment, from a reconciliation, for the ledger's check.

    `quiet` is True when no order of the account was in flight or unknown and no fill arrived
    between asking and answering.
    """

    account: Name
    balances: list[tuple[str, Decimal, Decimal]]
    quiet: bool
    asked_wall_ns: int
    asked_mono_ns: int


class Introduce(Message, frozen=True, array_like=True, tag=True):
    """A restarted actor asks an ExchangeActor for its venue's instruments, and perhaps its state."""

    actor: Name
    wants_state: bool


class AskGate(Message, frozen=True, array_like=True, tag=True):
    """Risk asks an ExchangeActor for its gate anew; answered by GateReport once `scope` is as told."""

    lane: ClassVar[Lane] = Lane.CONTROL

    request_id: Id
    scope: Name
    halted: bool


class AskOpen(Message, frozen=True, array_like=True, tag=True):
    """An edge asks an ExchangeActor what the venue itself says is open in a halt's scope: a Reply."""

    lane: ClassVar[Lane] = Lane.CONTROL

    correlation_id: Id
    scope: Name
    reply_to: Name


class GateReport(Message, frozen=True, array_like=True, tag=True):
    """An ExchangeActor tells who asked that its venue's gate is now as asked.

    While `in_flight` is not 0 the gate is closed, but so many orders that had passed it before are
    not answered yet; another report follows. `unproven` counts those whose fate is UNKNOWN: they may
    be at the venue, or still reach it.
    """

    lane: ClassVar[Lane] = Lane.CONTROL

    venue: Name
    request_id: Id
    closed: bool
    in_flight: int = 0
    unproven: int = 0


class Quarantine(Message, frozen=True, array_like=True, tag=True):
    """A report of the venue was parked: its symbol takes no new orders until reconciled since.

    `kind` and `message_id` are the parked message's. Without `symbol`, and of no known order, all
    symbols of the venue are meant.
    """

    lane: ClassVar[Lane] = Lane.CONTROL

    kind: Name
    message_id: Id
    order_id: Id
    symbol: Name


# --- runtime --------------------------------------------------------------------------------------


class Tick(Message, frozen=True, array_like=True, tag=True):
    """A timer went off. `name` says which; actors set their own."""

    lane: ClassVar[Lane] = Lane.ORDERS

    name: Name
    argument: Text = ""


class Barrier(Message, frozen=True, array_like=True, tag=True):
    """Travels a restarted actor's normal road to the journal behind all that it had sent."""

    actor: Name
    incarnation: int


class BarrierPassed(Message, frozen=True, array_like=True, tag=True):
    """Everything the actor had sent is journaled up to `seq`."""

    lane: ClassVar[Lane] = Lane.CONTROL

    actor: Name
    incarnation: int
    seq: int


class Ping(Message, frozen=True, array_like=True, tag=True):
    """The watchdog's heartbeat."""

    lane: ClassVar[Lane] = Lane.CONTROL

    nonce: int


class InjectCrash(Message, frozen=True, array_like=True, tag=True):
    """A drill: raise in the handler, as `error`. Refused in live."""

    lane: ClassVar[Lane] = Lane.CONTROL

    error: Name
    text: Text
