"""OrderBookActor: the consolidated book, published on every change, emptied of whoever falls silent.

It holds nothing durable: after a restart every adapter is asked to publish its books anew.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from msgspec.structs import replace

from engine.actor import Actor
from engine.control_views import venue_book_view
from engine.messages.commands import Query, Reply, Tick
from engine.messages.market import LinkAlive, VenueBook, VenueState
from engine.messages.port import AdapterReady, Resubscribe
from engine.trading.consolidated import Consolidator
from engine.wire import pack

CHECK_EVERY_S: Final = 0.1
PUBLISH_EVERY_LOOKS: Final = 10
READERS: Final = ("order_router", "risk_pnl", "edge")


class OrderBookActor(Actor):
    """See the module's docstring. Idempotent: the newest book of a venue is the state."""

    durable: ClassVar[bool] = False

    def __init__(
        self,
        *,
        stale_after_ns: dict[str, int],
        depth: int,
        venues: Sequence[str],
        readers: Sequence[str] = READERS,
    ) -> None:
        super().__init__()
        self.books = Consolidator(stale_after_ns=stale_after_ns, depth=depth)
        self.venues = list(venues)
        self.readers = tuple(readers)
        self.looks = 0
        self.retired: set[str] = set()

    def ready(self) -> None:
        """Ask for every book, and look for silence ten times a second."""
        for venue in self.venues:
            self.send(f"adapter.{venue}", Resubscribe("the book actor has started"))
        self.schedule(CHECK_EVERY_S, Tick("check"), key="check")

    def on_venue_book(self, book: VenueBook) -> None:
        """Merge one venue's newest book and publish the symbol."""
        if book.venue in self.retired:
            return
        self.books.update(book)
        self._publish(book.symbol)

    def on_link_alive(self, message: LinkAlive) -> None:
        """Note proof of life."""
        self.books.alive(message.venue, message.mono_ns)

    def on_venue_state(self, message: VenueState) -> None:
        """Withdraw a venue that is down before its silence proves it."""
        if message.state == "RETIRED":
            self.retired.add(message.venue)
        else:
            self.retired.discard(message.venue)
        if message.state in ("DOWN", "RETIRED"):
            for symbol in self.books.drop(message.venue):
                self._publish(symbol)

    def on_adapter_ready(self, message: AdapterReady) -> None:
        """A new session publishes its books by itself."""

    def on_tick(self, message: Tick) -> None:
        """Withdraw whoever has fallen silent since the last look."""
        self.schedule(CHECK_EVERY_S, Tick("check"), key="check")
        self.looks += 1
        every = self.looks % PUBLISH_EVERY_LOOKS == 0  # quiet symbols, so that their age stays true
        now_ns = self.clock.mono_ns()
        for symbol in self.books.symbols() if every else self.books.stale_symbols(now_ns):
            self._publish(symbol)

    def _publish(self, symbol: str) -> None:
        book = self.books.publish(symbol, self.clock.mono_ns())
        for reader in self.readers:
            self.send(reader, book)

    def on_query(self, query: Query) -> None:
        """Answer an edge: topics `venue_book` (symbol, venue) and `depth` (symbol: every venue's)."""
        symbol = query.arguments.get("symbol", "")
        depth = int(query.arguments.get("depth", "10"))
        if query.topic == "depth":
            views = [self._view(symbol, venue, depth) for venue in self.venues]
            body = pack([view for view in views if view is not None])
            self.send(query.reply_to, Reply(query.correlation_id, True, "", "", body))
            return
        view = self._view(symbol, query.arguments.get("venue", ""), depth)
        if view is None:
            text = f"no book of {symbol} at {query.arguments.get('venue')}"
            self.send(query.reply_to, Reply(query.correlation_id, False, "NOT_FOUND", text, b""))
            return
        self.send(query.reply_to, Reply(query.correlation_id, True, "", "", pack(view)))

    def _view(self, symbol: str, venue: str, depth: int) -> dict[str, Any] | None:
        book = self.books.venue_book(symbol, venue)
        if book is None:
            return None
        now_ns = self.clock.mono_ns()
        state, reason = self.books.state(book, now_ns)
        return venue_book_view(replace(book, state=state, reason=reason), depth, now_ns)
