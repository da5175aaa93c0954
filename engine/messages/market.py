"""Market data: per-venue books, public trades, and the consolidated book. Nouns, never journaled.

Prices and quantities of books are integers: `price * 10**price_exponent` with the exponent in the
message, so that they are exact and cheap. Books conflate: only the newest per venue and symbol counts.
"""

from decimal import Decimal
from typing import ClassVar, Literal

from engine.messages.base import Code, Lane, Message, Name, Part, Side, Text, TsNs

BookState = Literal["EMPTY", "SYNCING", "LIVE", "GAP", "STALE"]


class VenueBook(Message, frozen=True, array_like=True, tag=True):
    """One venue's book for one symbol, best level first, top `depth` levels, with its sync state.

    `bids` and `asks` are flat: price, quantity, price, quantity ... in units of ten to the power
    of minus the exponents. Levels count only while `state` is LIVE; `reason` says why it is not.
    """

    lane: ClassVar[Lane] = Lane.MARKET

    venue: Name
    symbol: Name
    state: BookState
    reason: Code
    price_exponent: int
    quantity_exponent: int
    bids: list[int]
    asks: list[int]
    sequence: int
    ts_event_ns: TsNs
    ts_received_ns: TsNs
    mono_received_ns: int

    def conflate_key(self) -> str:
        """Return the slot of this venue and symbol."""
        return f"b|{self.venue}|{self.symbol}"


class LinkAlive(Message, frozen=True, array_like=True, tag=True):
    """Proof that a venue's public link lives: any frame or pong arrived at `mono_ns`."""

    lane: ClassVar[Lane] = Lane.MARKET

    venue: Name
    mono_ns: int

    def conflate_key(self) -> str:
        """Return the slot of this venue."""
        return f"l|{self.venue}"


class TradePrint(Message, frozen=True, array_like=True, tag=True):
    """A public trade at a venue. `side` is the taker's."""

    lane: ClassVar[Lane] = Lane.MARKET

    venue: Name
    symbol: Name
    trade_id: Name
    side: Side
    price: Decimal
    quantity: Decimal
    ts_event_ns: TsNs
    ts_received_ns: TsNs

    def conflate_key(self) -> str:
        """Return the slot of this venue and symbol: the last print."""
        return f"t|{self.venue}|{self.symbol}"


class VenueQuote(Part, frozen=True, array_like=True):
    """Whether one venue counts in a consolidated book, and its own best levels when it does."""

    venue: Name
    state: BookState
    reason: Code
    mono_received_ns: int
    bid: int | None = None
    bid_quantity: int | None = None
    ask: int | None = None
    ask_quantity: int | None = None


class ConsolidatedBook(Message, frozen=True, array_like=True, tag=True):
    """The book over all venues whose own book is LIVE and fresh, top levels, best first.

    `bids` and `asks` are flat: price, quantity, index into `venues`, repeated. A venue that is not
    LIVE and fresh contributes nothing and says why in its VenueQuote.
    """

    lane: ClassVar[Lane] = Lane.MARKET

    symbol: Name
    price_exponent: int
    quantity_exponent: int
    bids: list[int]
    asks: list[int]
    venues: list[VenueQuote]
    ts_event_ns: TsNs
    mono_published_ns: int

    def conflate_key(self) -> str:
        """Return the slot of this symbol."""
        return f"c|{self.symbol}"


class VenueState(Message, frozen=True, array_like=True, tag=True):
    """What an ExchangeActor says of its venue, to whoever shows or gates on it.

    `in_flight`: the gate is closed, and so many orders that passed it before are not answered yet.
    `account_uid`: the venue's own id of the account; None while not known.
    """

    lane: ClassVar[Lane] = Lane.ORDERS

    venue: Name
    state: Literal[
        "STARTING", "CONNECTING", "RECONCILING", "READY", "DEGRADED", "DOWN", "DISABLED", "RETIRED"
    ]
    reason: Text
    gate_closed: bool
    mono_ns: int
    in_flight: int = 0
    account_uid: Name | None = None
