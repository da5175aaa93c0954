"""The `book` channel's memory: what the subscribers of one pair at one depth have been given.

They see the best so many levels. An update names the levels that are new or changed, among them those
that move up into view, and with quantity 0 those that are gone. One that only drops out of view is
not told: the client cuts its book to the depth. There are no sequence numbers, only a checksum.
"""

from collections import deque
from dataclasses import dataclass, field

from simulator.instruments import Instrument
from simulator.kraken_words import Json, Levels, checksum, level

DEPTHS = (10, 25, 100, 500, 1000)
OLD_KEPT = 20
View = tuple[Levels, Levels]


@dataclass(slots=True)
class ChannelBook:
    """One pair at one depth, as last published."""

    instrument: Instrument
    depth: int
    now: View
    old: deque[View] = field(default_factory=lambda: deque(maxlen=OLD_KEPT))

    def snapshot(self, timestamp: str, view: View | None = None) -> Json:
        """Return a whole view as a subscriber first gets it."""
        return self._message("snapshot", view or self.now, view or self.now, timestamp)

    def update(self, view: View, timestamp: str) -> Json | None:
        """Move on to a new view; return the message that tells of it, None if nothing changed."""
        before, self.now = self.now, view
        changed = tuple(
            _difference(old, new, is_full=len(new) == self.depth, best_first=sign)
            for old, new, sign in zip(before, view, (-1, 1), strict=True)
        )
        if not any(changed):
            return None
        return self._message("update", (changed[0], changed[1]), view, timestamp)

    def _message(self, kind: str, told: View, view: View, timestamp: str) -> Json:
        bids, asks = ([level(self.instrument, *row) for row in side] for side in told)
        row = {"symbol": self.instrument.symbol, "bids": bids, "asks": asks,
               "checksum": checksum(self.instrument, *view), "timestamp": timestamp}  # fmt: skip
        return {"channel": "book", "type": kind, "data": [row]}


# What is gone from a full view may only have been pushed out of it: that is not told.
def _difference(old: Levels, new: Levels, *, is_full: bool, best_first: int) -> Levels:
    before, after = dict(old), dict(new)
    worst = new[-1][0] * best_first if new and is_full else None
    gone = [
        (price, 0)
        for price in before
        if price not in after and (worst is None or price * best_first < worst)
    ]
    return (*gone, *(row for row in new if before.get(row[0]) != row[1]))
