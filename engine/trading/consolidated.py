"""The consolidated book: every venue whose own book is LIVE and fresh, and no other.

A venue's levels count only while its book says LIVE and its link has given proof of life (a frame
or a pong) within `stale_after_ns`. The moment either fails the venue contributes nothing and its
VenueQuote says why. A silent venue can therefore never stay best.

Merging is over integers: prices and quantities are brought to the finest exponents seen for the
symbol, which loses nothing.
"""

from itertools import chain, repeat
from operator import itemgetter
from typing import Final, NamedTuple

from engine.messages.market import BookState, ConsolidatedBook, VenueBook, VenueQuote

DEPTH_MAX: Final = 20

FRESH: Final = ""
NO_BOOK: Final = "no_book"
LINK_SILENT: Final = "link_silent"
LINK_DOWN: Final = "link_down"


Level = tuple[int, int, int]
_price: Final = itemgetter(0)


class _Share(NamedTuple):
    # What one venue's book gives to the merged one. Kept, since mostly another venue's has changed.
    book: VenueBook
    place: int
    exponents: tuple[int, int]
    bids: list[Level]
    asks: list[Level]
    quote: VenueQuote


class Consolidator:
    """Latest book per symbol and venue, merged on demand."""

    def __init__(self, *, stale_after_ns: dict[str, int], depth: int = DEPTH_MAX) -> None:
        """Take the time each venue's link may be silent, in nanoseconds, and the levels kept."""
        self._stale_after_ns = stale_after_ns
        self._depth = depth
        self._books: dict[str, dict[str, VenueBook]] = {}
        self._alive_ns: dict[str, int] = {}
        self._counted: dict[str, tuple[str, ...]] = {}
        self._shares: dict[tuple[str, str], _Share] = {}

    def symbols(self) -> list[str]:
        """Return the symbols that have had a book from any venue."""
        return list(self._books)

    def venue_book(self, symbol: str, venue: str) -> VenueBook | None:
        """Return a venue's newest book, whatever its state."""
        return self._books.get(symbol, {}).get(venue)

    def update(self, book: VenueBook) -> None:
        """Take a venue's newest book; an older one than we hold (a late redelivery) is ignored."""
        books = self._books.setdefault(book.symbol, {})
        held = books.get(book.venue)
        if held is not None and held.mono_received_ns > book.mono_received_ns:
            return
        books[book.venue] = book
        if held is None:  # in the venues' order, which is that of the merged book
            self._books[book.symbol] = {venue: books[venue] for venue in sorted(books)}
        self.alive(book.venue, book.mono_received_ns)

    def alive(self, venue: str, mono_ns: int) -> None:
        """Note proof of life of a venue's public link."""
        if mono_ns > self._alive_ns.get(venue, 0):
            self._alive_ns[venue] = mono_ns

    def drop(self, venue: str) -> list[str]:
        """Withdraw a venue at once (its actor or link died); return the symbols that it had."""
        self._alive_ns.pop(venue, None)
        had = [symbol for symbol, books in self._books.items() if venue in books]
        for symbol in had:
            del self._books[symbol][venue]
            self._shares.pop((symbol, venue), None)
        return had

    def state(self, book: VenueBook, now_ns: int) -> tuple[BookState, str]:
        """Return whether a venue's book counts now, and the reason when it does not."""
        if book.state != "LIVE":
            return book.state, book.reason or book.state.lower()
        silent_ns = now_ns - self._alive_ns.get(book.venue, 0)
        if silent_ns > self._stale_after_ns.get(book.venue, 0):
            return "STALE", LINK_SILENT
        return "LIVE", FRESH

    def stale_symbols(self, now_ns: int) -> list[str]:
        """Return the symbols whose set of counted venues is no longer what was last published."""
        return [s for s in self._books if self._counting(s, now_ns) != self._counted.get(s)]

    def _counting(self, symbol: str, now_ns: int) -> tuple[str, ...]:
        books = self._books[symbol]
        return tuple(v for v in books if self.state(books[v], now_ns)[0] == "LIVE")

    def publish(self, symbol: str, now_ns: int) -> ConsolidatedBook:
        """Return the merged book of a symbol as of `now_ns` (monotonic)."""
        books = self._books.get(symbol, {})
        price_exponent = quantity_exponent = 0
        for book in books.values():
            price_exponent = max(price_exponent, book.price_exponent)
            quantity_exponent = max(quantity_exponent, book.quantity_exponent)
        exponents = (price_exponent, quantity_exponent)
        quotes: list[VenueQuote] = []
        bids: list[Level] = []
        asks: list[Level] = []
        counted: list[str] = []
        newest_event_ns = 0
        for index, (venue, book) in enumerate(books.items()):
            state, reason = self.state(book, now_ns)
            if state != "LIVE":
                quotes.append(VenueQuote(venue, state, reason, book.mono_received_ns))
                continue
            share = self._share(book, index, exponents)
            counted.append(venue)
            quotes.append(share.quote)
            bids += share.bids
            asks += share.asks
            newest_event_ns = max(newest_event_ns, book.ts_event_ns)
        self._counted[symbol] = tuple(counted)
        if len(counted) > 1:  # stable: at one price the venues stand in their order
            bids.sort(key=_price, reverse=True)
            asks.sort(key=_price)
        return ConsolidatedBook(
            symbol,
            price_exponent,
            quantity_exponent,
            list(chain.from_iterable(bids[: self._depth])),
            list(chain.from_iterable(asks[: self._depth])),
            quotes,
            newest_event_ns,
            now_ns,
        )

    def _share(self, book: VenueBook, index: int, exponents: tuple[int, int]) -> _Share:
        key = (book.symbol, book.venue)
        share = self._shares.get(key)
        if (
            share is not None
            and share.book is book
            and share.place == index
            and share.exponents == exponents
        ):
            return share
        p = 10 ** (exponents[0] - book.price_exponent)
        q = 10 ** (exponents[1] - book.quantity_exponent)
        bids = _levels(book.bids[: 2 * self._depth], p, q, index)
        asks = _levels(book.asks[: 2 * self._depth], p, q, index)
        share = _Share(book, index, exponents, bids, asks, _quote(book, bids, asks))
        self._shares[key] = share
        return share


def _levels(flat: list[int], p: int, q: int, index: int) -> list[Level]:
    prices, sizes = flat[::2], flat[1::2]
    if p != 1:
        prices = [price * p for price in prices]
    if q != 1:
        sizes = [size * q for size in sizes]
    return list(zip(prices, sizes, repeat(index), strict=False))


def _quote(book: VenueBook, bids: list[Level], asks: list[Level]) -> VenueQuote:
    bid = bids[0] if bids else (None, None, 0)
    ask = asks[0] if asks else (None, None, 0)
    return VenueQuote(
        book.venue, "LIVE", FRESH, book.mono_received_ns, bid[0], bid[1], ask[0], ask[1]
    )
