"""Renewing a link without a gap: the successor runs beside the old link until it is level with it.

Venues end connections after a day, and say so before a restart. The successor is a whole feed with a
codec and a connection of its own. Of the public one nothing is heard before every book that the old one
has is LIVE in it and not older; then it takes over within one message, and the old link is closed. Trades
are heard from both and told once. A private successor is heard from the moment it is subscribed, beside
the old one, which is read on for a while: reports may repeat, none may be missing.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final, Generic, NamedTuple, Protocol, TypeVar

from adapters.stream import Link, WsLink
from engine.clock import NS_PER_S
from engine.messages.base import Message, replaced
from engine.messages.market import LinkAlive, TradePrint, VenueBook
from engine.messages.port import LinkChanged
from engine.trading.book import Policy

# At this part of the age that a link may reach.
RENEWED_AT: Final = 0.8
LEVEL_WITHIN_NS: Final = 60 * NS_PER_S
AGAIN_NS: Final = 60 * NS_PER_S
LINGER_NS: Final = 5 * NS_PER_S
TRADES_MAX: Final = 10_000
COUNTED: Final = ("frames", "gaps", "resyncs")
# Where a book's ids are the venue's own, the same on every connection.
NUMBERED: Final[frozenset[Policy]] = frozenset({"U_u", "start_end", "prev_seq", "u_plus_1"})


class Feed(Protocol):
    """What is renewed: the handler of one link."""

    link: Link | None
    is_up: bool


_F = TypeVar("_F", bound=Feed)


# Makes a feed that reports to the first and asks for a renewal of its link through the second.
Make = Callable[[Callable[[Message], None], Callable[[str], None]], _F]


class _Pair(NamedTuple, Generic[_F]):
    # Read once where it is needed without the lock: both or neither.
    current: _F
    successor: _F | None


class Renewal(Generic[_F]):
    """One kind of feed, the one that is heard and perhaps its successor. Thread safe.

    `open_link(feed)` gives a feed its link, running.
    """

    def __init__(
        self,
        make: Make[_F],
        open_link: Callable[[_F], None],
        out: Callable[[Message], None],
        age_s: float,
    ) -> None:
        self._make = make
        self._open_link = open_link
        self._out = out
        self._age_ns = int(age_s * RENEWED_AT * NS_PER_S)
        self._lock = threading.RLock()
        self._asked = ""
        self._reason = ""
        self._begun_ns = self._tried_ns = 0
        self._gone: _F | None = None
        self._gone_ns = 0
        self._past: Counter[str] = Counter()
        self.renewals = 0
        self._pair = _Pair(self._new(), None)

    @property
    def current(self) -> _F:
        """The feed that is heard."""
        return self._pair.current

    def count(self, name: str) -> int:
        """Return a counter of `COUNTED` or `reconnects`, over all feeds that have been heard."""
        current = self._pair.current
        here = _reconnects(current) if name == "reconnects" else int(getattr(current, name, 0))
        return self._past[name] + here

    def ask(self, reason: str) -> None:
        """Have the link renewed at the next look: the venue will end it. From any thread."""
        self._asked = reason

    def look(self, now_ns: int) -> None:
        """Begin a renewal that is due, end one that does not succeed. Once a second, by one thread."""
        self._let_go(now_ns)
        current, successor = self._pair
        link = current.link
        if not isinstance(link, WsLink) or not link.opened_ns:
            return
        if successor is not None:
            if now_ns - self._begun_ns > LEVEL_WITHIN_NS:
                self._drop(successor)
            return
        is_old = now_ns - link.opened_ns > self._age_ns
        reason = self._asked or ("renewed for its age" if is_old else "")
        if reason and current.is_up and (self._asked or now_ns - self._tried_ns > AGAIN_NS):
            self._asked, self._reason = "", reason
            self._begun_ns = self._tried_ns = now_ns
            self._begin(current)

    def end(self) -> None:
        """End what nobody hears."""
        for feed in (self._pair.successor, self._gone):
            if feed is not None and feed.link is not None:
                feed.link.give_up()

    # A feed that reports under its own name.
    def _new(self) -> _F:
        def deliver(message: Message) -> None:
            self._from(feed, message)

        feed = self._make(deliver, self.ask)
        return feed

    def _begin(self, current: _F) -> None:
        successor = self._new()
        with self._lock:
            self._pair = _Pair(current, successor)
        self._open_link(successor)

    def _drop(self, successor: _F) -> None:
        with self._lock:
            if self._pair.successor is not successor:
                return
            self._pair = _Pair(self._pair.current, None)
        if successor.link is not None:
            successor.link.give_up()

    # The lock is held.
    def _switch(self, now_ns: int) -> None:
        old, successor = self._pair
        for name in COUNTED:
            self._past[name] += getattr(old, name, 0)
        self._past["reconnects"] += _reconnects(old)
        assert successor is not None, "somebody takes over"
        self._pair = _Pair(successor, None)
        self._gone, self._gone_ns = old, now_ns
        self.renewals += 1

    def _let_go(self, now_ns: int) -> None:
        gone = self._gone
        if gone is not None and now_ns - self._gone_ns > LINGER_NS:
            self._gone = None
            if gone.link is not None:
                gone.link.give_up()

    def _from(self, feed: _F, message: Message) -> None:
        raise NotImplementedError


class BookFeed(Feed, Protocol):
    """A public feed."""

    def tell_books(self) -> None:
        """Publish every book as it is."""
        ...


_B = TypeVar("_B", bound=BookFeed)


class PublicRenewal(Renewal[_B]):
    """Books and trades without a gap. `is_numbered`: ids of books mean the same on any connection."""

    def __init__(
        self,
        make: Make[_B],
        open_link: Callable[[_B], None],
        out: Callable[[Message], None],
        age_s: float,
        *,
        is_numbered: bool,
    ) -> None:
        self._is_numbered = is_numbered
        self._shown: dict[str, VenueBook] = {}
        self._next: dict[str, VenueBook] = {}
        self._next_up: LinkChanged | None = None
        self._is_known = False  # each book of the current feed has been told since the beginning
        self._trades: OrderedDict[tuple[str, str], None] = OrderedDict()
        super().__init__(make, open_link, out, age_s)

    def _begin(self, current: _B) -> None:
        with self._lock:
            self._shown, self._next, self._next_up, self._is_known = {}, {}, None, False
            self._trades.clear()
        super()._begin(current)
        current.tell_books()
        self._is_known = True

    def _from(self, feed: _B, message: Message) -> None:
        current, successor = self._pair
        if successor is None:
            if feed is current:
                self._out(message)
            return
        with self._lock:
            current, successor = self._pair
            if feed is current:
                self._from_current(message)
            elif feed is successor:
                self._from_successor(message)

    def _from_current(self, message: Message) -> None:
        if isinstance(message, TradePrint) and not self._is_new(message):
            return
        self._out(message)
        if isinstance(message, VenueBook):
            self._shown[message.symbol] = message
            self._take_over_if_level()

    def _from_successor(self, message: Message) -> None:
        if isinstance(message, TradePrint):
            if self._is_new(message):
                self._out(message)
        elif isinstance(message, LinkChanged):
            self._next_up = message if message.up else None
        elif isinstance(message, VenueBook):
            self._next[message.symbol] = message
        if not isinstance(message, LinkAlive):
            self._take_over_if_level()

    def _is_new(self, trade: TradePrint) -> bool:
        key = trade.symbol, trade.trade_id
        if key in self._trades:
            return False
        self._trades[key] = None
        if len(self._trades) > TRADES_MAX:
            self._trades.popitem(last=False)
        return True

    def _take_over_if_level(self) -> None:
        up = self._next_up
        if up is None or not self._is_known or self._pair.successor is None:
            return
        if not self._shown.keys() <= self._next.keys():
            return
        if not all(
            self._is_level(self._next[symbol], shown) for symbol, shown in self._shown.items()
        ):
            return
        old = self._pair.current
        self._switch(up.mono_ns)
        for symbol, book in self._next.items():
            shown = self._shown.get(symbol)
            before_ns = 0 if shown is None else shown.mono_received_ns
            # The same or a newer book may have come earlier on the new link; it must not look older.
            received_ns = max(before_ns, book.mono_received_ns)
            self._out(replaced(book, mono_received_ns=received_ns))
        self._out(replaced(up, reason=f"taken over by a successor: {self._reason}"[:300]))
        if old.link is not None:
            old.link.give_up()

    def _is_level(self, book: VenueBook, shown: VenueBook) -> bool:
        if shown.state != "LIVE":
            return True
        if book.state != "LIVE":
            return False
        if self._is_numbered:
            return book.sequence >= shown.sequence
        return book.ts_event_ns >= shown.ts_event_ns or _levels(book) == _levels(shown)


class PrivateRenewal(Renewal[_F]):
    """Reports of one account without a gap; those of the overlap may come twice."""

    def _from(self, feed: _F, message: Message) -> None:
        if not isinstance(message, LinkChanged):
            self._out(message)
            return
        with self._lock:
            current, successor = self._pair
            if feed is current:
                self._out(message)
            elif feed is successor and message.up:
                was_up = current.is_up
                self._switch(message.mono_ns)
                if not was_up:  # something may have been missed in between
                    self._out(message)


def _levels(book: VenueBook) -> tuple[list[int], list[int], list[int], list[int]]:
    return book.bid_prices, book.bid_quantities, book.ask_prices, book.ask_quantities


def _reconnects(feed: Feed) -> int:
    return 0 if feed.link is None else max(0, feed.link.connections - 1)
