"""The `orderbook` topics' memory: what subscribers have, the next delta, their ids.

A topic shows the best levels of its depth. Each delta is the difference to the view before and its `u`
is the last one's plus one; it begins at 1, as after a restart of the venue's service.
"""

from collections import deque
from dataclasses import dataclass

from simulator.bybit_words import Json, Levels

OLD_KEPT = 20


@dataclass(frozen=True, slots=True)
class Published:
    """A view subscribers were given."""

    u: int
    seq: int
    bids: Levels
    asks: Levels


class TopicBook:
    """One topic `orderbook.{depth}.{symbol}`."""

    def __init__(self, topic: str, symbol: str) -> None:
        self.topic = topic
        self.now = Published(0, 0, [], [])
        self.old: deque[Published] = deque(maxlen=OLD_KEPT)
        self._symbol = symbol

    def renew(self, bids: Levels, asks: Levels, seq: int) -> None:
        """Take the book as it is: nobody listened until now."""
        self.now = Published(self.now.u + 1, seq, bids, asks)

    def snapshot(self, now_ms: int, view: Published | None = None) -> Json:
        """Return a whole view as a subscriber first gets it."""
        view = view or self.now
        return self._message("snapshot", view.bids, view.asks, view, now_ms)

    def update(self, bids: Levels, asks: Levels, seq: int, now_ms: int) -> Json | None:
        """Move on to a new view; return the message that tells of it, None if nothing changed."""
        before = self.now
        changed_bids = _difference(before.bids, bids)
        changed_asks = _difference(before.asks, asks)
        if not changed_bids and not changed_asks:
            return None
        self.now = Published(before.u + 1, seq, bids, asks)
        return self._message("delta", changed_bids, changed_asks, self.now, now_ms)

    def _message(self, kind: str, bids: Levels, asks: Levels, view: Published, now_ms: int) -> Json:
        data = {"s": self._symbol, "b": bids, "a": asks, "u": view.u, "seq": view.seq}
        return {"topic": self.topic, "ts": now_ms, "type": kind, "data": data, "cts": now_ms}


def _difference(before: Levels, after: Levels) -> Levels:
    old = {row[0]: row for row in before}
    changed = [row for row in after if old.pop(row[0], None) != row]
    kept = {row[0] for row in after}
    return changed + [[price, "0"] for price in old if price not in kept]
