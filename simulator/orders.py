"""The nouns of the matching engine: orders, fills, and what happened to them.

Plain data without behaviour beyond arithmetic on itself; both dialects and the log read it.
"""

from dataclasses import dataclass, field
from enum import Enum


class Side(Enum):
    """Which side of the book."""

    BUY = "BUY"
    SELL = "SELL"

    @property
    def opposite(self) -> "Side":
        """Return the other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(Enum):
    """How the price is meant."""

    LIMIT = "LIMIT"
    MARKET = "MARKET"
    LIMIT_MAKER = "LIMIT_MAKER"


class TimeInForce(Enum):
    """How long it may rest."""

    GTC = "GTC"
    IOC = "IOC"
    FOK = "FOK"


class Stp(Enum):
    """What to do when an account would trade with itself."""

    NONE = "NONE"
    EXPIRE_MAKER = "EXPIRE_MAKER"
    EXPIRE_TAKER = "EXPIRE_TAKER"
    EXPIRE_BOTH = "EXPIRE_BOTH"


class Status(Enum):
    """Where an order stands. EXPIRED is the engine's doing, CANCELED the owner's."""

    NEW = "NEW"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    FILLED = "FILLED"
    CANCELED = "CANCELED"
    EXPIRED = "EXPIRED"
    EXPIRED_IN_MATCH = "EXPIRED_IN_MATCH"


OPEN = frozenset({Status.NEW, Status.PARTIALLY_FILLED})


class Refused(Exception):  # noqa: N818 - named for what it tells the caller
    """The engine did not accept the request; nothing changed. `reason` is a fixed word."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What an account asks for, already on the price and quantity grid."""

    symbol: str
    side: Side
    order_type: OrderType
    client_order_id: str
    quantity: int  # lots; 0 when quote_quantity is given
    price: int | None = None  # ticks
    quote_quantity: int | None = None  # units, MARKET only
    time_in_force: TimeInForce = TimeInForce.GTC
    stp: Stp = Stp.NONE
    tag: str = ""  # the dialect's own note (OKX ordType, tgtCcy); stored, never interpreted


@dataclass(slots=True)
class Order:
    """An accepted order. `reserved` is what of the account's balance it still locks."""

    order_id: int
    account: str
    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    client_order_id: str
    price: int | None
    quantity: int
    quote_quantity: int | None
    stp: Stp
    tag: str
    created_ns: int
    updated_ns: int
    priority: int
    status: Status = Status.NEW
    filled: int = 0
    quote_filled: int = 0
    reserved: int = 0
    fees: dict[str, int] = field(default_factory=dict)
    cancel_id: str = ""
    hidden_until_ns: int = 0

    @property
    def leaves(self) -> int:
        """Return the lots still to fill."""
        return self.quantity - self.filled

    @property
    def is_open(self) -> bool:
        """Tell whether it can still trade."""
        return self.status in OPEN


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution seen from one order's side; its counterpart has the same trade_id."""

    trade_id: int
    order_id: int
    account: str
    client_order_id: str
    symbol: str
    side: Side
    price: int
    quantity: int
    quote: int  # units
    fee: int  # units
    fee_asset: str
    is_maker: bool
    time_ns: int


@dataclass(frozen=True, slots=True)
class OrderChanged:
    """Something happened to a client's order; `order` is a copy as of then."""

    what: str  # NEW, TRADE, CANCELED, REPLACED, EXPIRED, TRADE_PREVENTION
    order: Order
    fill: Fill | None = None


@dataclass(frozen=True, slots=True)
class Traded:
    """A public print. `buyer_is_maker` as Binance's `m`."""

    symbol: str
    trade_id: int
    price: int
    quantity: int
    buyer_is_maker: bool
    time_ns: int
    buyer_order_id: int
    seller_order_id: int


@dataclass(frozen=True, slots=True)
class BalanceChanged:
    """The new absolute balance of one asset of one account."""

    account: str
    asset: str
    free: int
    locked: int
    delta: int = 0  # of the total
    reason: str = "trade"


Event = OrderChanged | Traded | BalanceChanged
