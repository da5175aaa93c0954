"""The consolidated book: every venue whose own book is LIVE and fresh, and no other.

A venue's levels count only while its book says LIVE and its link has given proof of life (a frame
or a pong) within `stale_after_ns`. The moment either fails the venue contributes nothing and its
VenueQuote says why. A silent venue can therefore never stay best.

Merging is over integers: prices and quantities are brought to the finest exponents seen for the
symbol, which loses nothing.
"""

from typing import Final

from engine.messages.market import BookState, ConsolidatedBook, VenueBook, VenueQuote

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
        self._books: dict[str, dict[str, VenueBook]] = {}
        self._alive_ns: dict[str, int] = {}
        self._counted: dict[str, tuple[str, ...]] = {}

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
        return tuple(v for v in sorted(books) if self.state(books[v], now_ns)[0] == "LIVE")

    def publish(self, symbol: str, now_ns: int) -> ConsolidatedBook:
        """Return the merged book of a symbol as of `now_ns` (monotonic)."""
        books = self._books.get(symbol, {})
        price_exponent = max((b.price_exponent for b in books.values()), default=0)
        quantity_exponent = max((b.quantity_exponent for b in books.values()), default=0)
        quotes: list[VenueQuote] = []
        bids: list[tuple[int, int, int]] = []
        asks: list[tuple[int, int, int]] = []
        newest_event_ns = 0
        for index, venue in enumerate(sorted(books)):
            book = books[venue]
            state, reason = self.state(book, now_ns)
            if state != "LIVE":
                quotes.append(VenueQuote(venue, state, reason, book.mono_received_ns))
                continue
            p, q = (
                10 ** (price_exponent - book.price_exponent),
                10 ** (quantity_exponent - book.quantity_exponent),
            )
            own_bids = _levels(book.bids, p, q, index)
            own_asks = _levels(book.asks, p, q, index)
            quotes.append(_quote(book, own_bids, own_asks))
            bids += own_bids
            asks += own_asks
            newest_event_ns = max(newest_event_ns, book.ts_event_ns)
        self._counted[symbol] = tuple(q.venue for q in quotes if q.state == "LIVE")
        bids.sort(key=_price, reverse=True)
        asks.sort(key=_price)
        return ConsolidatedBook(
            symbol,
            price_exponent,
            quantity_exponent,
            _flat(bids[: self._depth]),
            _flat(asks[: self._depth]),
            quotes,
            newest_event_ns,
            now_ns,
        )


def _price(level: tuple[int, int, int]) -> int:
    return level[0]


def _levels(flat: list[int], p: int, q: int, index: int) -> list[tuple[int, int, int]]:
    if p == 1 and q == 1:
        return [(price, size, index) for price, size in zip(flat[::2], flat[1::2], strict=True)]
    return [(price * p, size * q, index) for price, size in zip(flat[::2], flat[1::2], strict=True)]


def _flat(levels: list[tuple[int, int, int]]) -> list[int]:
    return [number for level in levels for number in level]


def _quote(
    book: VenueBook, bids: list[tuple[int, int, int]], asks: list[tuple[int, int, int]]
) -> VenueQuote:
    bid = bids[0] if bids else (None, None, 0)
    ask = asks[0] if asks else (None, None, 0)
    return VenueQuote(
        book.venue, "LIVE", FRESH, book.mono_received_ns, bid[0], bid[1], ask[0], ask[1]
    )
