"""Subscriptions of one connection: durable topics by journal seq, market topics by newest value.

Durable pushes (order, fill, halt) are pulled: a subscriber that lags continues from its own seq, from
the ring or the journal, so none is lost or doubled. Market pushes (bbo, book) are sampled at an
interval and only when changed; a slow reader just gets fewer.
"""

from collections.abc import Iterator
from typing import Any, Final

from engine.control_args import Args, bad, check_symbol
from engine.control_hub import Hub
from engine.control_port import Facts
from engine.control_views import bbo_row, book_view
from engine.envelope import to_plain
from engine.messages.base import Event
from engine.messages.events import (
    ExternalOrderSeen,
    OrderEvent,
    OrderFilled,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)

DURABLE: Final[dict[str, Any]] = {
    "order": OrderEvent | ParentAccepted | ExternalOrderSeen,
    "fill": OrderFilled,
    "halt": TradingHalted | TradingResumed,
}
MARKET: Final = ("bbo", "book")
TOPICS: Final = (*MARKET, *DURABLE)
BOOK_DEPTH: Final = 20


class Subscriptions:
    """What one connection wants to be told, and how far it has been told."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._topics: set[str] = set()
        self._symbols: set[str] | None = None
        self._sent: dict[tuple[str, str], int] = {}  # when the book of the last push was published
        self.seq = 0

    @property
    def durable(self) -> bool:
        """Tell whether a durable topic is wanted."""
        return not self._topics.isdisjoint(DURABLE)

    @property
    def market(self) -> bool:
        """Tell whether a market topic is wanted."""
        return not self._topics.isdisjoint(MARKET)

    def subscribe(self, args: Args, facts: Facts) -> dict[str, Any]:
        """Add topics; durable ones start behind `after_seq`, without one at the newest record."""
        topics = args.identifiers("topics", len(TOPICS))
        symbols = args.symbols("symbols")
        after_seq = args.whole("after_seq", -1, 2**62, -1)
        args.end()
        if not topics:
            raise bad(f"subscribe needs topics, of {', '.join(TOPICS)}")
        for topic in topics:
            if topic not in TOPICS:
                raise bad(f"no topic '{topic}'; there are: {', '.join(TOPICS)}")
        head = self._hub.core.head_seq()
        if after_seq > head:
            raise bad(f"after_seq {after_seq} is beyond the journal's newest record {head}")
        for symbol in symbols:
            check_symbol(facts, symbol, None)
        started = self.durable
        if after_seq >= 0:
            self.seq = after_seq
        elif not started:
            self.seq = head
        self._topics.update(topics)
        if not set(topics).isdisjoint(MARKET):
            self._symbols = set(symbols) or None
        return {"topics": sorted(self._topics), "seq": self.seq}

    def unsubscribe(self, args: Args) -> dict[str, Any]:
        """Drop topics, or all of them when none is named."""
        topics = args.identifiers("topics", len(TOPICS))
        args.end()
        self._topics.difference_update(topics or TOPICS)
        return {"topics": sorted(self._topics), "seq": self.seq}

    async def durable_pushes(self) -> list[dict[str, Any]]:
        """Return the next pushes and move on; an empty list says that nothing new was wanted."""
        wanted = [(topic, kinds) for topic, kinds in DURABLE.items() if topic in self._topics]
        if not wanted:
            return []
        while events := await self._hub.events_after(self.seq):
            pushes = [push for seq, event in events for push in _pushes(seq, event, wanted)]
            self.seq = max(self.seq, events[-1][0])
            if pushes:
                return pushes
        return []

    def market_pushes(self) -> list[dict[str, Any]]:
        """Return a push for every wanted book that changed since the last one."""
        now = self._hub.clock.mono_ns()
        pushes = []
        for symbol, book in list(self._hub.books.items()):
            if self._symbols is not None and symbol not in self._symbols:
                continue
            for topic in MARKET:
                key = (topic, symbol)
                if topic not in self._topics or self._sent.get(key) == book.mono_published_ns:
                    continue
                self._sent[key] = book.mono_published_ns
                view = bbo_row(book, now) if topic == "bbo" else book_view(book, BOOK_DEPTH, now)
                pushes.append({"push": topic, "seq": 0, "data": {"schema": 1, **view}})
        return pushes


def _pushes(seq: int, event: Event, wanted: list[tuple[str, Any]]) -> Iterator[dict[str, Any]]:
    for topic, kinds in wanted:
        if isinstance(event, kinds):
            data = {"schema": 1, "seq": seq, **to_plain(event)}
            yield {"push": topic, "seq": seq, "data": data}
