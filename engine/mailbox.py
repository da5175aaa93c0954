"""Mailboxes that belong to an address, so that an actor's death loses, doubles and reorders nothing.

A mailbox has three lanes, served in this order: control, orders and fills, market data. A message is
peeked, handled, committed (its outputs are recorded on it) and only then acknowledged; a crash before
the commit leaves it at the head. Each incarnation of the owner claims an epoch; whoever holds an older
one gets `Fenced` and can take, commit and acknowledge nothing.

A put never blocks. Orders and control are never dropped: above the limit they are still taken and
counted as overflow, which is an alarm. Market data with a key conflates in place; without one, or over
the limit, the oldest goes and is counted. An entry is taken once: a successor that finishes the flush of
its predecessor puts the very same entries again, and those that had arrived are dropped.
"""

from collections import deque
from collections.abc import Callable, Sequence
from enum import Enum, auto
from itertools import islice
from threading import Lock
from typing import Final

from engine.envelope import Entry, Output, entry_of
from engine.errors import Fenced
from engine.messages.base import Lane

HIGH_WATER_SHARE: Final = 0.8


class PutResult(Enum):
    """What became of a put. Only FULL lost something: the oldest market data."""

    ACCEPTED = auto()
    CONFLATED = auto()
    DUPLICATE = auto()
    FULL = auto()
    OVERFLOW = auto()


# Reading a member of an Enum costs as much as a dictionary look-up; these are read for every message.
_MARKET: Final = Lane.MARKET
_ACCEPTED: Final = PutResult.ACCEPTED
_DUPLICATE: Final = PutResult.DUPLICATE
_OVERFLOW: Final = PutResult.OVERFLOW
_NOTHING: Final[tuple[Entry, ...]] = ()


class Mailbox:
    """The mailbox of one address. Thread-safe; no method blocks for longer than a few instructions."""

    def __init__(
        self,
        address: str,
        *,
        orders_limit: int = 10_000,
        market_limit: int = 10_000,
        control_limit: int = 1_000,
        on_ready: Callable[[], None] | None = None,
    ) -> None:
        self.address = address
        self.on_ready = on_ready
        self.epoch = 0
        self.accepted = 0
        self.acked = 0
        self.conflated = 0
        self.dropped = 0
        self.duplicates = 0
        self.overflow = 0
        self._limits = (control_limit, orders_limit, market_limit)
        self._market_limit = market_limit
        self._high_water = max(1, int(orders_limit * HIGH_WATER_SHARE))
        self._lock = Lock()
        self._control: deque[Entry] = deque()
        self._orders: deque[Entry] = deque()
        self._market: deque[Entry] = deque()
        self._lanes = (self._control, self._orders, self._market)
        self._slots: dict[str, Entry] = {}
        self._in_flight: Entry | None = None
        self._committed: Sequence[Entry] = _NOTHING

    # --- the senders' side ------------------------------------------------------------------------

    def put(self, data: bytes, *, lane: Lane, key: str | None = None, now_ns: int = 0) -> PutResult:
        """Queue an encoded envelope and fire `on_ready`. Never blocks.

        Raises:
            MessageError: the bytes are not an envelope.
        """
        entry = entry_of(data, lane, key)
        entry.enqueued_mono_ns = now_ns
        result = self.accept(entry)
        if result is not PutResult.DUPLICATE and self.on_ready is not None:
            self.on_ready()
        return result

    def accept(self, entry: Entry) -> PutResult:
        """Queue an entry without firing `on_ready`: who puts many wakes the readers afterwards."""
        lane = entry.lane
        with self._lock:
            if entry.accepted:
                self.duplicates += 1
                return _DUPLICATE
            entry.accepted = True
            if lane is _MARKET:
                return self._accept_market(entry)
            queue = self._lanes[lane]
            queue.append(entry)
            self.accepted += 1
            if len(queue) > self._limits[lane]:
                self.overflow += 1
                return _OVERFLOW
            return _ACCEPTED

    def requeue(self, entry: Entry) -> None:
        """Queue a parked entry again, behind what waits."""
        with self._lock:
            entry.attempts = 0
            entry.outputs = None
            self._lanes[entry.lane].append(entry)
        if self.on_ready is not None:
            self.on_ready()

    # --- the owner's side -------------------------------------------------------------------------

    def claim(self) -> int:
        """Begin a new epoch and return it; all older ones are fenced from here on."""
        with self._lock:
            self.epoch += 1
            self._in_flight = None
            return self.epoch

    def peek(self, epoch: int, accept: Callable[[Entry], bool] | None = None) -> Entry | None:
        """Return the entry to handle next and leave it in its place, or None.

        With `accept`, the first entry of the control lane that it takes, whatever stands before it.

        Raises:
            Fenced: `epoch` is not the newest.
        """
        with self._lock:
            if epoch != self.epoch:
                raise Fenced(f"{self.address}: epoch {epoch} was replaced by {self.epoch}")
            if accept is not None:
                return self._first(accept)
            if self._control:
                entry = self._control[0]
            elif self._orders:
                entry = self._orders[0]
            elif self._market:
                entry = self._market[0]
                if entry.key is not None and self._slots.get(entry.key) is entry:
                    del self._slots[entry.key]
            else:
                return None
            self._in_flight = entry
            return entry

    def peek_run(self, epoch: int, limit: int) -> list[Entry]:
        """Return the entries to handle next and leave them in their place; none if nothing waits.

        Up to `limit` of orders and fills; of control and of market data, one.
        """
        with self._lock:
            if epoch != self.epoch:
                raise Fenced(f"{self.address}: epoch {epoch} was replaced by {self.epoch}")
            if self._control:
                return [self._control[0]]
            orders = self._orders
            if orders:
                return [orders[0]] if len(orders) == 1 else list(islice(orders, limit))
            if not self._market:
                return []
            entry = self._market[0]
            if entry.key is not None and self._slots.get(entry.key) is entry:
                del self._slots[entry.key]
            self._in_flight = entry
            return [entry]

    def peek_batch(self, epoch: int, kinds: frozenset[str], limit: int) -> list[Entry]:
        """Return the longest run of entries of `kinds`, in serving order, at most `limit` of them."""
        batch: list[Entry] = []
        with self._lock:
            self._check(epoch)
            for queue in self._lanes[: Lane.MARKET]:
                for entry in queue:
                    if len(batch) >= limit or entry.kind not in kinds:
                        return batch
                    batch.append(entry)
        return batch

    def commit(self, epoch: int, entries: Sequence[Entry], outputs: list[Output]) -> None:
        """Record what the handler of `entries` sent: from here on they count as handled."""
        with self._lock:
            if epoch != self.epoch:
                raise Fenced(f"{self.address}: epoch {epoch} was replaced by {self.epoch}")
            entries[0].outputs = outputs
            self._committed = entries

    def committed(self, epoch: int) -> Sequence[Entry]:
        """Return the entries that an earlier incarnation committed and did not acknowledge."""
        with self._lock:
            self._check(epoch)
            return self._committed

    def ack(self, epoch: int, entries: Sequence[Entry]) -> bool:
        """Remove handled entries; tell whether others wait.

        Raises:
            Fenced: `epoch` is not the newest.
        """
        with self._lock:
            if epoch != self.epoch:
                raise Fenced(f"{self.address}: epoch {epoch} was replaced by {self.epoch}")
            for entry in entries:
                queue = self._lanes[entry.lane]
                if queue and queue[0] is entry:
                    queue.popleft()
                else:
                    queue.remove(entry)
            self.acked += len(entries)
            self._committed = _NOTHING
            self._in_flight = None
            return bool(self._control or self._orders or self._market)

    # --- what is to be seen -----------------------------------------------------------------------

    def depth(self) -> dict[str, int]:
        """Return how many messages wait in each lane."""
        return {lane.name.lower(): len(self._lanes[lane]) for lane in Lane}

    def waiting(self) -> int:
        """Return how many messages wait in all lanes."""
        return len(self._control) + len(self._orders) + len(self._market)

    def waiting_durable(self) -> int:
        """Return how many messages wait that may not be dropped."""
        return len(self._control) + len(self._orders)

    @property
    def above_high_water(self) -> bool:
        """Tell whether new work should be refused at the edge."""
        return len(self._orders) >= self._high_water

    # --- private, under the lock ------------------------------------------------------------------

    def _check(self, epoch: int) -> None:
        if epoch != self.epoch:
            raise Fenced(f"{self.address}: epoch {epoch} was replaced by {self.epoch}")

    def _first(self, accept: Callable[[Entry], bool]) -> Entry | None:
        return next((entry for entry in self._control if accept(entry)), None)

    def _accept_market(self, entry: Entry) -> PutResult:
        key = entry.key
        if key is not None:
            slot = self._slots.get(key)
            if slot is not None:
                slot.replace_by(entry)
                self.conflated += 1
                return PutResult.CONFLATED
            self._slots[key] = entry
        self._market.append(entry)
        self.accepted += 1
        if len(self._market) <= self._market_limit:
            return _ACCEPTED
        self._drop_oldest_market()
        return PutResult.FULL

    # The head may be in a handler's hands at this moment; then the one behind it goes.
    def _drop_oldest_market(self) -> None:
        index = 1 if self._market[0] is self._in_flight else 0
        victim = self._market[index]
        del self._market[index]
        if victim.key is not None and self._slots.get(victim.key) is victim:
            del self._slots[victim.key]
        self.dropped += 1
