"""What a public feed asks over REST: the snapshot that its stream continues, the audit of a quiet book.

Asked in the lanes of books; the answer goes to the feed that asked, which may meanwhile be another one
than the one that is heard.
"""

from collections.abc import Callable
from functools import partial
from typing import Protocol

from adapters.audit import Depth
from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.lanes import Job
from adapters.rate import Priority
from engine.messages.market import BookDelta
from engine.messages.port import Instrument


class Asker(Protocol):
    """The feed that wants to know."""

    def on_snapshot(self, snapshot: BookDelta) -> None:
        """Join a snapshot."""
        ...

    def on_no_snapshot(self, symbol: str) -> None:
        """The fetch failed."""
        ...

    def on_audit(self, symbol: str, theirs: BookDelta | None) -> None:
        """Compare; None where the venue did not say."""
        ...


class BookQuestions:
    """The questions of one feed, which is named once it exists. `put` queues a job of a symbol."""

    def __init__(self, desk: Desk, depth: Depth | None, put: Callable[[str, Job], bool]) -> None:
        self._desk = desk
        self._depth = depth
        self._put = put
        self.feed: Asker | None = None

    @property
    def can_audit(self) -> bool:
        """Whether the venue is known to answer for the best levels of a book."""
        return self._depth is not None

    def snapshot(self, symbol: str) -> None:
        """Queue the fetch of a book snapshot; one that finds no place is asked for again in time."""
        self._put(symbol, partial(self._fetch_snapshot, symbol))

    def audit(self, instrument: Instrument) -> bool:
        """Queue the audit of a quiet book; False when there is no place for it now."""
        return self._put(instrument.symbol, partial(self._fetch_depth, instrument))

    def _fetch_snapshot(self, symbol: str, rest: CcxtRest) -> None:
        codec, feed = self._desk.codec, self._asker()
        call = codec.snapshot(symbol)
        assert call is not None, "asked for a snapshot that the stream brings"
        try:
            feed.on_snapshot(codec.read_snapshot(self._desk.read(rest, call), symbol))
        except (CallFailed, ValueError):
            feed.on_no_snapshot(symbol)

    def _fetch_depth(self, instrument: Instrument, rest: CcxtRest) -> None:
        assert self._depth is not None, "asked only where the venue answers"
        symbol = instrument.symbol
        try:
            reply = self._desk.read(rest, self._depth.call(instrument.venue_symbol), Priority.QUERY)
            theirs = self._depth.read(reply, symbol)
        except (CallFailed, ValueError):
            self._asker().on_audit(symbol, None)
        else:
            self._asker().on_audit(symbol, theirs)

    def _asker(self) -> Asker:
        assert self.feed is not None, "asked by nobody"
        return self.feed
