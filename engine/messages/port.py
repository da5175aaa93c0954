"""The venue port: what an ExchangeActor and its adapter say to each other, messages both ways.

The adapter may live in a thread or in a process of its own; the actor cannot tell. Commands go to
the address `adapter.VENUE`, reports come back to `exchange.VENUE`. Order and fill reports are never
dropped; books conflate. Every mutating command is answered by exactly one result whose outcome is
proven (ACCEPTED, REJECTED, NOT_SENT) or honestly UNKNOWN.
"""

from decimal import Decimal
from typing import ClassVar, Literal

from engine.messages.base import (
    Code,
    Id,
    Lane,
    Liquidity,
    Message,
    Name,
    OrderType,
    Part,
    Side,
    Text,
    TimeInForce,
    TsNs,
)

Outcome = Literal["ACCEPTED", "REJECTED", "NOT_SENT", "UNKNOWN"]
Source = Literal["stream", "reply", "query", "reconcile"]
VenueStatus = Literal["NEW", "PARTIALLY_FILLED", "FILLED", "CANCELED", "REJECTED", "EXPIRED"]


# CLOSED: outside its trading hours; MAINTENANCE: as announced, or in a window of the configuration.
SymbolStatus = Literal[
    "TRADING", "HALTED", "CANCEL_ONLY", "DELISTED", "CLOSED", "MAINTENANCE", "WATCH_ONLY"
]


class Instrument(Part, frozen=True, array_like=True):
    """The trading rules of one symbol at one venue, exact. `status` other than TRADING refuses orders.

    `status_reason` says more where more is known. The fee rates are shares of the notional: the account's
    own as the venue told them at `fee_ts_ns`, or (`fee_source` default) ours until it does. `pricing` is
    `quoted` where the venue itself names the price of each order and is its counterparty: there is no
    book, so no collar and nobody to trade with by mistake, and the order's own price bounds its cost.
    """

    venue: Name
    symbol: Name
    venue_symbol: Name
    base: Name
    quote: Name
    tick_size: Decimal
    lot_size: Decimal
    quantity_min: Decimal
    quantity_max: Decimal | None
    notional_min: Decimal
    maker_fee: Decimal
    taker_fee: Decimal
    status: SymbolStatus = "TRADING"
    status_reason: Text = ""
    pricing: Literal["book", "quoted"] = "book"
    fee_source: Literal["default", "venue"] = "default"
    fee_ts_ns: TsNs = 0


# --- actor to adapter -----------------------------------------------------------------------------


class SubmitOrder(Message, frozen=True, array_like=True, tag=True):
    """Send this order once, never twice. Refused by the gate when it is closed or the time is up.

    `reduces`: it passes a gate that is closed to everything else.
    """

    account: Name
    client_order_id: Id
    symbol: Name
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal
    price: Decimal | None
    expires_mono_ns: int
    reduces: bool = False


class CancelOrder(Message, frozen=True, array_like=True, tag=True):
    """Cancel by client_order_id (ours) or venue_order_id. Safe to repeat."""

    account: Name
    client_order_id: Id
    venue_order_id: Name | None
    symbol: Name


class Intent(Part, frozen=True, array_like=True):
    """What an order asked for, to find it at a venue that keeps no name of ours.

    `taken` are the venue's ids of other orders that may look like it; `twins` is how many other orders
    of ours, just as unproven, look the same.
    """

    side: Side
    quantity: Decimal
    price: Decimal | None
    taken: list[Name]
    twins: int


class QueryOrder(Message, frozen=True, array_like=True, tag=True):
    """Ask the venue what became of an order: the order, open orders and its fills."""

    account: Name
    client_order_id: Id
    venue_order_id: Name | None
    symbol: Name
    since_wall_ns: int
    intent: Intent | None = None


class AskVenue(Message, frozen=True, array_like=True, tag=True):
    """Ask for the venue's own records, for people: what it calls portfolio, statement, profit table.

    `reply_to` and `correlation_id` are the edge's, and come back with the answer.
    """

    reply_to: Name
    correlation_id: Id
    topic: Name
    arguments: dict[str, str]


class Reconcile(Message, frozen=True, array_like=True, tag=True):
    """Ask for open orders, fills since the cursor (with overlap) and balances."""

    request_id: Id
    account: Name
    fills_since_wall_ns: int


class SetGate(Message, frozen=True, array_like=True, tag=True):
    """Close or open the last gate before the socket. Answered by GateChanged.

    Closed for everything or for `symbols`; with `reduce_only`, or for `reduce_symbols`, only orders
    that reduce a position pass.
    """

    lane: ClassVar[Lane] = Lane.CONTROL

    request_id: Id
    closed: bool
    symbols: list[Name]
    reduce_only: bool = False
    reduce_symbols: list[Name] = []  # noqa: RUF012  msgspec copies the empty default


class Resubscribe(Message, frozen=True, array_like=True, tag=True):
    """Publish every book anew: the ExchangeActor has restarted and holds none."""

    lane: ClassVar[Lane] = Lane.CONTROL

    reason: Text


# --- adapter to actor -----------------------------------------------------------------------------


class OrderReport(Message, frozen=True, array_like=True, tag=True):
    """What the venue says of an order, from whichever source. Cumulative; may repeat or arrive late."""

    account: Name
    client_order_id: Id
    venue_order_id: Name
    symbol: Name
    side: Side
    order_type: OrderType
    quantity: Decimal
    price: Decimal | None
    status: VenueStatus
    filled_quantity: Decimal
    reason: Text
    source: Source
    ts_event_ns: TsNs


class FillReport(Message, frozen=True, array_like=True, tag=True):
    """One execution as the venue reports it. The fill key is account, symbol, venue order id, trade id."""

    account: Name
    client_order_id: Id
    venue_order_id: Name
    trade_id: Name
    symbol: Name
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: Name
    liquidity: Liquidity
    source: Source
    ts_event_ns: TsNs


class BalanceReport(Part, frozen=True, array_like=True):
    """One asset of one account: free + locked = total."""

    asset: Name
    free: Decimal
    locked: Decimal


class SubmitResult(Message, frozen=True, array_like=True, tag=True):
    """The outcome of one SubmitOrder. `evidence` names the rule and the venue's words that prove it."""

    account: Name
    client_order_id: Id
    outcome: Outcome
    venue_order_id: Name | None
    code: Code
    text: Text
    evidence: Text
    ts_event_ns: TsNs
    sent_wall_ns: int


class CancelResult(Message, frozen=True, array_like=True, tag=True):
    """The outcome of one CancelOrder. REJECTED with code `not_found` calls for a query."""

    account: Name
    client_order_id: Id
    outcome: Outcome
    code: Code
    text: Text


class QueryResult(Message, frozen=True, array_like=True, tag=True):
    """The answer to one QueryOrder.

    `found` None means the query itself failed. False means: absent from the order query, from open
    orders and from the fills, all three asked after `asked_wall_ns`.
    """

    account: Name
    client_order_id: Id
    found: bool | None
    order: OrderReport | None
    fills: list[FillReport]
    asked_wall_ns: int
    asked_mono_ns: int
    evidence: Text


class ReconcileResult(Message, frozen=True, array_like=True, tag=True):
    """The answer to one Reconcile. With `ok` False the lists are empty and `text` says why."""

    request_id: Id
    account: Name
    ok: bool
    text: Text
    open_orders: list[OrderReport]
    fills: list[FillReport]
    balances: list[BalanceReport]
    asked_wall_ns: int
    asked_mono_ns: int


class VenueTold(Message, frozen=True, array_like=True, tag=True):
    """The answer to one AskVenue. `body` is MessagePack: a list of rows, empty where `ok` is False."""

    reply_to: Name
    correlation_id: Id
    ok: bool
    code: Code
    text: Text
    body: bytes


class BalanceUpdate(Message, frozen=True, array_like=True, tag=True):
    """Balances that the private stream pushed; a hint, the reconciliation decides."""

    account: Name
    balances: list[BalanceReport]
    ts_event_ns: TsNs


class LinkChanged(Message, frozen=True, array_like=True, tag=True):
    """A link of the venue went up or down. A private link that came up calls for a reconciliation."""

    venue: Name
    link: Literal["public", "private", "trade", "rest"]
    up: bool
    reason: Text
    mono_ns: int


class AdapterReady(Message, frozen=True, array_like=True, tag=True):
    """The adapter has loaded its instruments and opens its links, in this session of its own.

    Told again within a session when its trading rules have changed.

    `account_uid` is the venue's own id of the account that the credentials belong to; None where the
    venue tells none, or refused to tell. `account_problem` says why the adapter takes no order for this
    account, whatever else: its key may withdraw (in live mode), it borrows, it holds derivatives.
    """

    venue: Name
    session: Id
    instruments: list[Instrument]
    accounts: list[Name]
    account_uid: Name | None = None
    account_problem: Text = ""


class AdapterFailed(Message, frozen=True, array_like=True, tag=True):
    """The adapter stopped for a reason that retrying does not mend (bad key, its own bug)."""

    venue: Name
    code: Code
    text: Text


class GateChanged(Message, frozen=True, array_like=True, tag=True):
    """The gate is now as asked: no order that was waiting will reach the socket any more."""

    lane: ClassVar[Lane] = Lane.CONTROL

    request_id: Id
    venue: Name
    closed: bool


class RateScope(Part, frozen=True, array_like=True):
    """One of a venue's limits: `left` of `limit` may still be spent; all comes back in `interval_s`."""

    name: Name
    limit: int
    left: int
    interval_s: float


class RateWait(Part, frozen=True, array_like=True):
    """Requests of one urgency that wait for a limit, and those given up for it in the last minute."""

    urgency: Literal["cancel", "query", "new", "read"]
    waiting: int
    given_up: int


class VenueHealth(Message, frozen=True, array_like=True, tag=True):
    """Gauges of one adapter, for people. Conflated.

    `rate_waits` names who waits for the venue's limits, nobody left out; `rate_blocked_ms` is how
    long the venue has told us to be silent yet.
    """

    lane: ClassVar[Lane] = Lane.MARKET

    venue: Name
    public_up: bool
    private_up: bool
    clock_offset_ms: float
    rate_used_ratio: float
    gaps: int
    resyncs: int
    frames: int
    reconnects: int
    rate_scopes: list[RateScope]
    rate_waits: list[RateWait]
    rate_blocked_ms: int

    def conflate_key(self) -> str:
        """Return the slot of this venue."""
        return f"h|{self.venue}"
