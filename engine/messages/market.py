"""Market data: per-venue books, public trades, and the consolidated book. Nouns, never journaled.

Prices and quantities of books are integers: `price * 10**price_exponent` with the exponent in the
message, so that they are exact and cheap. Books conflate: only the newest per venue and symbol counts.
"""

from collections.abc import Sequence
from decimal import Decimal
from operator import attrgetter
from typing import ClassVar, Final, Literal, NamedTuple

from engine.messages.base import Code, Lane, Message, Name, Part, Side, Text, TsNs

BookState = Literal["EMPTY", "SYNCING", "LIVE", "GAP", "STALE"]
# What a LIVE book is worth: proven by sequence or checksum; rebuilt without a proof; or no book at
# all, but a price that the venue names by itself, without anybody's order behind it.
BookQuality = Literal["verified", "unverified", "synthetic"]
COUNTED: Final[BookQuality] = "verified"  # the only one that is merged, routed to and valued by


class Level(NamedTuple):
    """One level of a consolidated book, in the book's units."""

    price: int
    quantity: int
    venue: str


_price: Final = attrgetter("price")


class BookDelta(Part, frozen=True, array_like=True):
    """One book message as the venue said it: levels are texts, price first, then quantity.

    `last` is the venue's id of the message, or its time where it has no ids; `first` the oldest id
    that it covers, `previous` the id before it, None where the venue names none. `checksum` 0 means
    the venue sent none.
    """

    symbol: str
    first: int
    last: int
    previous: int | None
    bids: Sequence[Sequence[str]]
    asks: Sequence[Sequence[str]]
    ts_event_ns: int
    is_snapshot: bool = False
    checksum: int = 0


class VenueBook(Message, frozen=True, array_like=True, tag=True):
    """One venue's book for one symbol, best level first, top `depth` levels, with its sync state.

    Prices and quantities are in units of ten to the power of minus the exponents; the lists of a
    side belong together by position. Levels count only while `state` is LIVE and `quality` is
    verified; `reason` says why `state` is not LIVE.
    """

    lane: ClassVar[Lane] = Lane.MARKET

    venue: Name
    symbol: Name
    state: BookState
    reason: Code
    price_exponent: int
    quantity_exponent: int
    bid_prices: list[int]
    bid_quantities: list[int]
    ask_prices: list[int]
    ask_quantities: list[int]
    sequence: int
    ts_event_ns: TsNs
    ts_received_ns: TsNs
    mono_received_ns: int
    quality: BookQuality = "verified"

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
    """Whether one venue counts in a consolidated book, and its levels in it when it does.

    The levels are the venue's share of the consolidated top, best first, at least its own best. Those
    of a book that is not `verified` are its own best alone, and are no levels of the consolidated book.
    """

    venue: Name
    state: BookState
    reason: Code
    mono_received_ns: int
    bid_prices: list[int]
    bid_quantities: list[int]
    ask_prices: list[int]
    ask_quantities: list[int]
    quality: BookQuality = "verified"

    @property
    def counts(self) -> bool:
        """Whether the venue's levels are levels of the consolidated book."""
        return self.state == "LIVE" and self.quality == COUNTED


class ConsolidatedBook(Message, frozen=True, array_like=True, tag=True):
    """The book over all venues whose own book is LIVE, fresh and verified, top levels, best first.

    `bids` and `asks` are the prices of the levels, a price as often as venues quote it; the levels
    themselves are in `venues`. A venue that is not LIVE and fresh contributes nothing and says why
    in its VenueQuote; one whose book is not verified shows its own best there, and counts as little.
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

    def bid_levels(self) -> list[Level]:
        """Return the bids, best first; at one price the venues stand in their order."""
        sides = (
            (v.venue, v.bid_prices, v.bid_quantities) for v in self.venues if v.quality == COUNTED
        )
        levels = [
            Level(price, quantity, venue)
            for venue, prices, quantities in sides
            for price, quantity in zip(prices, quantities, strict=True)
        ]
        levels.sort(key=_price, reverse=True)
        return levels[: len(self.bids)]

    def ask_levels(self) -> list[Level]:
        """Return the asks, best first; at one price the venues stand in their order."""
        sides = (
            (v.venue, v.ask_prices, v.ask_quantities) for v in self.venues if v.quality == COUNTED
        )
        levels = [
            Level(price, quantity, venue)
            for venue, prices, quantities in sides
            for price, quantity in zip(prices, quantities, strict=True)
        ]
        levels.sort(key=_price)
        return levels[: len(self.asks)]


class VenueState(Message, frozen=True, array_like=True, tag=True):
    """What an ExchangeActor says of its venue, to whoever shows or gates on it.

    `in_flight`: the gate is closed, and so many orders that passed it before are not answered yet.
    `account_uid`: the venue's own id of the account; None while not known. `reconciled_mono_ns`: when the
    newest clean comparison with the account began; 0 before any. `not_trading`: the symbols that the venue
    does not let trade now, each with its status and why.
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
    reconciled_mono_ns: int = 0
    not_trading: dict[Name, Text] = {}  # noqa: RUF012  msgspec copies the empty default


class MarketSeen(Part, frozen=True, array_like=True):
    """The market when an order was planned or judged: the best of the counted venues, None for none.

    `ts_event_ns` is the newest venue time in that book, `age_ns` how old the book was here.
    """

    bid: Decimal | None
    ask: Decimal | None
    ts_event_ns: TsNs
    age_ns: int


class RouteBenchmark(Part, frozen=True, array_like=True):
    """What a split was expected to cost a unit after taker fees, and the best single venue beside it.

    `venue` is None where no venue alone showed the whole quantity; `plan_price` None where nothing
    was to be taken at once.
    """

    plan_price: Decimal | None
    venue: Name | None
    venue_price: Decimal | None
