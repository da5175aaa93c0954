"""The `books` channel's memory: what subscribers have, the next change, its checksum and ids.

Subscribers see the best 400 levels as of the last beat. Each update is the difference to the
view before, so a level that drops out of the 400 is sent with size 0. Sequence ids jump by
random steps and are chained by `prevSeqId`; a quiet book repeats its id as a heartbeat.
"""

import random
from collections import deque
from dataclasses import dataclass

from simulator.okx_words import Json, Levels, checksum

DEPTH = 400
SEQ_STEP_MAX = 12
OLD_KEPT = 20


@dataclass(slots=True)
class Published:
    """A view subscribers were given."""

    seq: int
    bids: Levels
    asks: Levels


class ChannelBook:
    """One instrument's `books` channel."""

    def __init__(self, inst: str, first_seq: int, rng: random.Random) -> None:
        self.inst = inst
        self.now = Published(first_seq, [], [])
        self.old: deque[Published] = deque(maxlen=OLD_KEPT)
        self._rng = rng

    def snapshot(self, ts: str, view: Published | None = None) -> Json:
        """Return a whole view as a subscriber first gets it."""
        view = view or self.now
        data = {"asks": view.asks, "bids": view.bids, "ts": ts,
                "checksum": checksum(view.bids, view.asks), "seqId": view.seq,
                "prevSeqId": -1}  # fmt: skip
        return {"arg": self._arg(), "action": "snapshot", "data": [data]}

    def update(self, bids: Levels, asks: Levels, ts: str) -> Json | None:
        """Move on to a new view; return the message that tells of it, None if nothing changed."""
        before = self.now
        changed_bids = _difference(before.bids, bids)
        changed_asks = _difference(before.asks, asks)
        if not changed_bids and not changed_asks:
            return None
        seq = before.seq + self._rng.randint(1, SEQ_STEP_MAX)
        self.now = Published(seq, bids, asks)
        return self._message(changed_bids, changed_asks, ts, before.seq)

    def heartbeat(self, ts: str) -> Json:
        """Return the message of a quiet book."""
        return self._message([], [], ts, self.now.seq)

    def _message(self, bids: Levels, asks: Levels, ts: str, previous: int) -> Json:
        data = {"asks": asks, "bids": bids, "ts": ts,
                "checksum": checksum(self.now.bids, self.now.asks), "seqId": self.now.seq,
                "prevSeqId": previous}  # fmt: skip
        return {"arg": self._arg(), "action": "update", "data": [data]}

    def _arg(self) -> Json:
        return {"channel": "books", "instId": self.inst}


def _difference(before: Levels, after: Levels) -> Levels:
    old = {row[0]: row for row in before}
    changed = [row for row in after if old.pop(row[0], None) != row]
    # What is left in `old` is gone, or was there unchanged; only the gone is told.
    kept = {row[0] for row in after}
    return changed + [[price, "0", "0", "0"] for price in old if price not in kept]
