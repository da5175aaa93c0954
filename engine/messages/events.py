"""Events: the facts that are journaled.

The journal is their total order; every durable state is a fold of them. The router accepts and
plans, risk approves or denies and keeps the money, an exchange actor reports what its venue proved.
"""

from decimal import Decimal
from typing import Literal

from engine.messages.base import (
    Code,
    Event,
    HaltLevel,
    Id,
    Liquidity,
    Name,
    OrderType,
    Part,
    Side,
    Text,
    TimeInForce,
    TsNs,
)
from engine.messages.engine_events import (
    CommandRecorded,
    EngineStarted,
    EngineStopped,
    FeeDifferenceFound,
    MessageParked,
    MessageSettled,
    VenueSwept,
)
from engine.messages.market import MarketSeen, RouteBenchmark


class OrderSpec(Part, frozen=True, array_like=True):
    """Everything that defines an order, fixed at birth.

    A parent (split over venues) has venue `best`, no account and no client_order_id. A child, or an
    order to one named venue, has order_id == client_order_id. `price` is the limit, for a MARKET
    order its collar. `origin` EXTERNAL marks an order placed at the venue by somebody else.
    """

    order_id: Id
    command_id: Id
    client_order_id: Id | None
    parent_id: Id | None
    account: Name | None
    venue: Name
    symbol: Name
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal
    price: Decimal | None
    origin: Literal["COMMAND", "EXTERNAL"]
    who: Text
    ts_created_ns: TsNs


# --- orders ---------------------------------------------------------------------------------------


class ParentAccepted(Event, frozen=True, array_like=True, tag=True):
    """The router took a split order. Its children follow as OrderApproved or OrderDenied."""

    order: OrderSpec
    children: list[Id]
    plan: Text
    seen: MarketSeen | None = None
    benchmark: RouteBenchmark | None = None

    def unique_key(self) -> str:
        """One parent per order id, for ever."""
        return f"order:{self.order.order_id}"


class OrderApproved(Event, frozen=True, array_like=True, tag=True):
    """The INTENT: risk approved this order and it may leave once this record is durable.

    `reduces`: it can only bring its account's position nearer zero, so a reduce-only halt lets it pass.
    """

    order: OrderSpec
    approved_mono_ns: int
    expires_mono_ns: int
    verdict: Text
    reduces: bool = False
    seen: MarketSeen | None = None

    def unique_key(self) -> str:
        """One intent per client_order_id, for ever: the last bar against a doubled order."""
        return f"order:{self.order.order_id}"


class OrderDenied(Event, frozen=True, array_like=True, tag=True):
    """We refused an order: at birth (router, risk), or later but provably before it was sent."""

    order: OrderSpec
    code: Code
    text: Text

    def unique_key(self) -> str:
        """At most one denial of an order."""
        return f"denied:{self.order.order_id}"


class OrderAcknowledged(Event, frozen=True, array_like=True, tag=True):
    """The venue has the order."""

    order_id: Id
    venue_order_id: Name
    evidence: Text
    ts_event_ns: TsNs
    sent_wall_ns: TsNs = 0  # when its first byte left, by our clock


class OrderRejected(Event, frozen=True, array_like=True, tag=True):
    """The venue proved that it will not execute the order."""

    order_id: Id
    code: Code
    text: Text
    evidence: Text
    ts_event_ns: TsNs
    sent_wall_ns: TsNs = 0


class OrderUnknown(Event, frozen=True, array_like=True, tag=True):
    """The outcome of the submit is not proven. Counts in full until evidence arrives."""

    order_id: Id
    cause: Text


class OrderFilled(Event, frozen=True, array_like=True, tag=True):
    """One execution of one of our account's orders; partial or last is arithmetic, not a flag."""

    order_id: Id
    account: Name
    venue: Name
    symbol: Name
    side: Side
    price: Decimal
    quantity: Decimal
    fee: Decimal
    fee_asset: Name
    liquidity: Liquidity
    venue_order_id: Name
    trade_id: Name
    source: Name
    ts_event_ns: TsNs

    def unique_key(self) -> str:
        """One record per execution: account, symbol, venue order id, trade id."""
        return f"fill:{self.account}|{self.symbol}|{self.venue_order_id}|{self.trade_id}"


class OrderCancelRequested(Event, frozen=True, array_like=True, tag=True):
    """A cancel is on its way. The order stays open until the venue says otherwise."""

    order_id: Id
    reason: Text


class OrderCancelTaken(Event, frozen=True, array_like=True, tag=True):
    """The router took a cancel while the order's approval was still on its road to the journal.

    It follows the approval to the venue's actor, so that no crash can lose it. The order itself is
    changed by what that actor then says.
    """

    order_id: Id
    venue: Name
    reason: Text


class OrderCancelRejected(Event, frozen=True, array_like=True, tag=True):
    """The venue refused the cancel; the order is as it was."""

    order_id: Id
    code: Code
    text: Text


class OrderCanceled(Event, frozen=True, array_like=True, tag=True):
    """The order is out of the book by a cancel. `filled_quantity` is what the venue says it filled."""

    order_id: Id
    filled_quantity: Decimal
    reason: Text
    evidence: Text
    ts_event_ns: TsNs


class OrderExpired(Event, frozen=True, array_like=True, tag=True):
    """The venue ended the order by its own rule: IOC or FOK remainder, no liquidity, expiry."""

    order_id: Id
    filled_quantity: Decimal
    reason: Text
    evidence: Text
    ts_event_ns: TsNs


class OrderVenueFilled(Event, frozen=True, array_like=True, tag=True):
    """The venue says the order is complete, but some executions are still missing here.

    Nothing is invented: the status moves only by OrderFilled; this remembers what is owed.
    """

    order_id: Id
    filled_quantity: Decimal
    ts_event_ns: TsNs


class ExternalOrderSeen(Event, frozen=True, array_like=True, tag=True):
    """An order on our account that this instance did not place. Shown, never touched."""

    order: OrderSpec
    venue_order_id: Name
    status: Name

    def unique_key(self) -> str:
        """Each external order is adopted once."""
        return f"order:{self.order.order_id}"


class OrderResolved(Event, frozen=True, array_like=True, tag=True):
    """A person settled what only a person can, with a reason."""

    order_id: Id
    status: Literal["REJECTED", "CANCELED"]
    who: Text
    reason: Text


# --- venues ---------------------------------------------------------------------------------------


class VenueReconciled(Event, frozen=True, array_like=True, tag=True):
    """Everything up to the cursor has been compared with the venue and journaled."""

    venue: Name
    account: Name
    fills_cursor_ns: TsNs


class AccountIdentified(Event, frozen=True, array_like=True, tag=True):
    """Which account of the venue this is, by the venue's own id; from here on no other may trade."""

    venue: Name
    account: Name
    uid: Name
    ts_ns: TsNs

    def unique_key(self) -> str:
        """Once per account, for ever."""
        return f"identity:{self.account}"


class SymbolStatusChanged(Event, frozen=True, array_like=True, tag=True):
    """What the venue lets be done in a symbol is another thing than before: from here on it decides.

    `status` is that of the instrument; anything but TRADING denies new orders.
    """

    venue: Name
    symbol: Name
    status: Name
    before: Name
    reason: Text
    ts_ns: TsNs


# --- risk and money -------------------------------------------------------------------------------


class TradingHalted(Event, frozen=True, array_like=True, tag=True):
    """No new order of this scope leaves until TradingResumed. Scope: all, venue:V, symbol:S.

    At the levels reduce_only and flat, orders that provably reduce the account's position do.
    """

    scope: Name
    reason: Text
    who: Text
    cancel: bool
    ts_ns: TsNs
    request_id: Id = ""
    level: HaltLevel = "no_new"


class TradingResumed(Event, frozen=True, array_like=True, tag=True):
    """A person lifted a halt."""

    scope: Name
    reason: Text
    who: Text
    ts_ns: TsNs
    request_id: Id = ""


class OpeningBalance(Event, frozen=True, array_like=True, tag=True):
    """What an account held when this journal first met it. `cost` is None where it is not known."""

    account: Name
    asset: Name
    quantity: Decimal
    cost: Decimal | None
    cost_asset: Name | None
    basis: Literal["given", "marked", "unknown"]
    ts_ns: TsNs

    def unique_key(self) -> str:
        """Once per account and asset."""
        return f"opening:{self.account}|{self.asset}"


class AccountOpened(Event, frozen=True, array_like=True, tag=True):
    """The opening balances of an account are complete: from here on every difference is one."""

    account: Name
    ts_ns: TsNs

    def unique_key(self) -> str:
        """Once per account."""
        return f"account:{self.account}"


class BalanceDifferenceFound(Event, frozen=True, array_like=True, tag=True):
    """Two quiet samples agree with each other and not with the ledger. The account is reduce-only."""

    account: Name
    asset: Name
    expected: Decimal
    reported: Decimal
    ts_ns: TsNs


class BalanceDifferenceCleared(Event, frozen=True, array_like=True, tag=True):
    """The venue's number agrees again without anybody's help (a late fill, for example)."""

    account: Name
    asset: Name
    ts_ns: TsNs


class BalanceDifferenceAccepted(Event, frozen=True, array_like=True, tag=True):
    """A person accepted a difference: an adjustment of the ledger, with who and why."""

    account: Name
    asset: Name
    quantity: Decimal
    who: Text
    reason: Text
    ts_ns: TsNs


OrderEvent = (
    OrderApproved
    | OrderDenied
    | OrderAcknowledged
    | OrderRejected
    | OrderUnknown
    | OrderFilled
    | OrderCancelRequested
    | OrderCancelRejected
    | OrderCanceled
    | OrderExpired
    | OrderVenueFilled
    | OrderResolved
)

AnyEvent = (
    OrderEvent
    | OrderCancelTaken
    | ParentAccepted
    | ExternalOrderSeen
    | VenueReconciled
    | AccountIdentified
    | SymbolStatusChanged
    | TradingHalted
    | TradingResumed
    | OpeningBalance
    | AccountOpened
    | BalanceDifferenceFound
    | BalanceDifferenceCleared
    | BalanceDifferenceAccepted
    | FeeDifferenceFound
    | EngineStarted
    | EngineStopped
    | MessageParked
    | MessageSettled
    | CommandRecorded
    | VenueSwept
)
