"""The consolidated book: every venue whose own book is LIVE, fresh and verified, and no other.

A venue's levels count only while its book says LIVE and its link has given proof of life (a frame
or a pong) within `stale_after_ns`. The moment either fails the venue contributes nothing and its
VenueQuote says why. A silent venue can therefore never stay best. A book that nothing verifies, or
that is no book but a price the venue names, is shown beside the others and never merged with them.

Prices and quantities are brought to the finest exponents seen for the symbol, which loses nothing.
What is merged are prices alone, by sorting them: levels are never moved, each venue's stay in its
VenueQuote, cut where the merged prices end. So a side is merged anew only when a price of it has
changed, or another set of venues counts, whatever happens to quantities.
"""

from bisect import bisect_left, bisect_right
from typing import Final

from engine.messages.base import replaced
from engine.messages.market import COUNTED, BookState, ConsolidatedBook, VenueBook, VenueQuote

DEPTH_MAX: Final = 20

FRESH: Final = ""
NO_BOOK: Final = "no_book"
LINK_SILENT: Final = "link_silent"
LINK_DOWN: Final = "link_down"


class Consolidator:
    """Latest book per symbol and venue, merged on demand."""

    def __init__(self, *, stale_after_ns: dict[str, int], depth: int = DEPTH_MAX) -> None:
        """Take the time each venue's link may be silent, in nanoseconds, and the levels kept."""
        self._stale_after_ns = stale_after_ns
        self._depth = depth
        self._symbols: dict[str, _Symbol] = {}
        self._until_ns: dict[str, int] = {}  # how long each venue counts without a new sign of life

    def symbols(self) -> list[str]:
        """Return the symbols that have had a book from any venue."""
        return list(self._symbols)

    def venue_book(self, symbol: str, venue: str) -> VenueBook | None:
        """Return a venue's newest book, whatever its state."""
        merged = self._symbols.get(symbol)
        share = merged.shares.get(venue) if merged is not None else None
        return None if share is None else share.book

    def update(self, book: VenueBook) -> None:
        """Take a venue's newest book; an older one than we hold (a late redelivery) is ignored."""
        merged = self._symbols.get(book.symbol)
        if merged is None:
            merged = self._symbols[book.symbol] = _Symbol()
        share = merged.shares.get(book.venue)
        if share is None:
            merged.shares[book.venue] = _Share(book)
            merged.arrange()
            self.alive(book.venue, book.mono_received_ns)
            return
        held, before = share.book, share.scaled
        if held.mono_received_ns > book.mono_received_ns:
            return
        share.book, share.quote = book, None
        if (
            book.price_exponent != held.price_exponent
            or book.quantity_exponent != held.quantity_exponent
        ):
            merged.arrange()
        else:
            share.scaled = now = book if before is held else merged.in_units(book)
            seen = share.bids + 1
            if now.bid_prices[:seen] != before.bid_prices[:seen]:
                merged.bids_due = True
            seen = share.asks + 1
            if now.ask_prices[:seen] != before.ask_prices[:seen]:
                merged.asks_due = True
        until_ns = book.mono_received_ns + self._stale_after_ns.get(book.venue, 0)
        self._until_ns[book.venue] = max(self._until_ns[book.venue], until_ns)

    def alive(self, venue: str, mono_ns: int) -> None:
        """Note proof of life of a venue's public link."""
        until_ns = mono_ns + self._stale_after_ns.get(venue, 0)
        if until_ns > self._until_ns.get(venue, -1):
            self._until_ns[venue] = until_ns

    def drop(self, venue: str) -> list[str]:
        """Withdraw a venue at once (its actor or link died); return the symbols that it had."""
        self._until_ns.pop(venue, None)
        had = [symbol for symbol, merged in self._symbols.items() if venue in merged.shares]
        for symbol in had:
            merged = self._symbols[symbol]
            del merged.shares[venue]
            merged.arrange()
        return had

    def state(self, book: VenueBook, now_ns: int) -> tuple[BookState, str]:
        """Return whether a venue's book counts now, and the reason when it does not."""
        if book.state != "LIVE":
            return book.state, book.reason or book.state.lower()
        if now_ns > self._until_ns.get(book.venue, -1):
            return "STALE", LINK_SILENT
        return "LIVE", FRESH

    def stale_symbols(self, now_ns: int) -> list[str]:
        """Return the symbols whose set of counted venues is no longer what was last published."""
        until_ns = self._until_ns
        return [
            symbol
            for symbol, merged in self._symbols.items()
            if any(s.counts is not s.may_count(now_ns, until_ns) for s in merged.shares.values())
        ]

    def publish(self, symbol: str, now_ns: int) -> ConsolidatedBook:
        """Return the merged book of a symbol as of `now_ns` (monotonic)."""
        merged = self._symbols.get(symbol) or _Symbol()
        until_ns, shares = self._until_ns, merged.shares.values()
        newest_event_ns = 0
        for share in shares:
            book = share.book
            if share.may_count(now_ns, until_ns) is not share.counts:
                share.counts = not share.counts
                merged.bids_due = merged.asks_due = True
            if share.counts and book.ts_event_ns > newest_event_ns:
                newest_event_ns = book.ts_event_ns
        if merged.bids_due:
            merged.merge_bids(self._depth)
        if merged.asks_due:
            merged.merge_asks(self._depth)
        quotes: list[VenueQuote] = []
        for share in shares:
            if share.counts:
                quotes.append(share.quote or share.show())
            else:
                state, reason = self.state(share.book, now_ns)
                quotes.append(share.show_apart(state, reason))
        return ConsolidatedBook(
            symbol,
            merged.price_exponent,
            merged.quantity_exponent,
            merged.bids,
            merged.asks,
            quotes,
            newest_event_ns,
            now_ns,
        )


class _Share:
    # One venue's part in one symbol: its newest book as it came and in the symbol's units, and how
    # many of its levels are among the best of all venues.
    __slots__ = ("asks", "bids", "book", "counts", "quote", "scaled")

    def __init__(self, book: VenueBook) -> None:
        self.book = self.scaled = book
        self.counts = False
        self.bids = self.asks = 0
        self.quote: VenueQuote | None = None

    def may_count(self, now_ns: int, until_ns: dict[str, int]) -> bool:
        book = self.book
        return book.state == "LIVE" and book.quality == COUNTED and now_ns <= until_ns[book.venue]

    # At least a venue's own best is shown, even where others are better twenty times.
    def show(self) -> VenueQuote:
        book, bids, asks = self.scaled, self.bids or 1, self.asks or 1
        self.quote = VenueQuote(
            book.venue,
            "LIVE",
            FRESH,
            book.mono_received_ns,
            book.bid_prices[:bids],
            book.bid_quantities[:bids],
            book.ask_prices[:asks],
            book.ask_quantities[:asks],
        )
        return self.quote

    # What does not count: nothing of it, or its own best where it is live but not verified.
    def show_apart(self, state: BookState, reason: str) -> VenueQuote:
        book, best = self.scaled, 1 if state == "LIVE" else 0
        return VenueQuote(
            book.venue,
            state,
            reason,
            book.mono_received_ns,
            book.bid_prices[:best],
            book.bid_quantities[:best],
            book.ask_prices[:best],
            book.ask_quantities[:best],
            book.quality,
        )


class _Symbol:
    # One symbol: its venues in their order, the merged prices, and which of them are due anew.
    __slots__ = ("asks", "asks_due", "bids", "bids_due", "price_exponent", "quantity_exponent",
                 "shares")  # fmt: skip

    def __init__(self) -> None:
        self.shares: dict[str, _Share] = {}
        self.price_exponent = self.quantity_exponent = 0
        self.bids: list[int] = []
        self.asks: list[int] = []
        self.bids_due = self.asks_due = False

    # The venues, and with them perhaps the units, are others than before.
    def arrange(self) -> None:
        self.shares = {venue: self.shares[venue] for venue in sorted(self.shares)}
        books = [share.book for share in self.shares.values()]
        self.price_exponent = max((book.price_exponent for book in books), default=0)
        self.quantity_exponent = max((book.quantity_exponent for book in books), default=0)
        for share in self.shares.values():
            share.scaled, share.quote = self.in_units(share.book), None
        self.bids_due = self.asks_due = True

    def in_units(self, book: VenueBook) -> VenueBook:
        p = 10 ** (self.price_exponent - book.price_exponent)
        q = 10 ** (self.quantity_exponent - book.quantity_exponent)
        if p == q == 1:
            return book
        return replaced(
            book,
            bid_prices=[price * p for price in book.bid_prices],
            bid_quantities=[quantity * q for quantity in book.bid_quantities],
            ask_prices=[price * p for price in book.ask_prices],
            ask_quantities=[quantity * q for quantity in book.ask_quantities],
        )

    # Sort what counts, keep the best, and cut each venue's share where they end.
    def merge_bids(self, depth: int) -> None:
        self.bids_due = False
        bids: list[int] = []
        for share in self.shares.values():
            if share.counts:
                bids += share.scaled.bid_prices
        bids.sort(reverse=True)
        self.bids = bids = bids[:depth]
        worst = bids[-1] if bids else 0
        for share in self.shares.values():
            prices = share.scaled.bid_prices
            count = len(prices) - bisect_left(prices[::-1], worst)
            if count != share.bids:
                share.bids, share.quote = count, None

    def merge_asks(self, depth: int) -> None:
        self.asks_due = False
        asks: list[int] = []
        for share in self.shares.values():
            if share.counts:
                asks += share.scaled.ask_prices
        asks.sort()
        self.asks = asks = asks[:depth]
        worst = asks[-1] if asks else 0
        for share in self.shares.values():
            count = bisect_right(share.scaled.ask_prices, worst)
            if count != share.asks:
                share.asks, share.quote = count, None
