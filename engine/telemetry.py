"""What the core counts of its own work, for metrics: orders by outcome, fills, latencies.

Counted on the edge's thread from what passes there anyway, and handed out by the control socket's
`metrics`; nothing on the tick path waits for it. The counts begin with the run and are not journaled:
they are for graphs and alerts, the journal is the truth.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.events import (
    BalanceDifferenceFound,
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderUnknown,
)
from engine.messages.market import ConsolidatedBook

# Upper bounds in microseconds; the last bucket takes the rest.
ACK_US: Final = (500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
                 1_000_000, 2_500_000, 5_000_000)  # fmt: skip
TICK_US: Final = (50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000)
COMMIT_US: Final = (100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
                    1_000_000)  # fmt: skip
SENT_MAX: Final = 10_000  # orders whose acknowledgement is waited for; older ones give way

OUTCOMES: Final[dict[type, str]] = {
    OrderApproved: "approved",
    OrderDenied: "denied",
    OrderAcknowledged: "acknowledged",
    OrderRejected: "rejected",
    OrderUnknown: "unknown",
    OrderCanceled: "canceled",
    OrderExpired: "expired",
    OrderResolved: "resolved",
}


class Histogram:
    """Counts of durations in buckets. One thread observes; any may read."""

    def __init__(self, bounds_us: Sequence[int]) -> None:
        self.bounds_us = tuple(bounds_us)
        self._bounds_ns = tuple(bound * 1_000 for bound in bounds_us)
        self._counts = [0] * (len(self.bounds_us) + 1)
        self._sum_ns = 0

    def observe(self, duration_ns: int) -> None:
        """Count one duration; a negative one is a clock of somebody else and is left out."""
        if duration_ns < 0:
            return
        self._counts[bisect_left(self._bounds_ns, duration_ns)] += 1
        self._sum_ns += duration_ns

    def view(self) -> dict[str, Any]:
        """Return {bounds_us, counts (one more than bounds, not added up), sum_s}."""
        return {
            "bounds_us": list(self.bounds_us),
            "counts": list(self._counts),
            "sum_s": self._sum_ns / NS_PER_S,
        }


class Telemetry:
    """The counts of one run. `take` is called by the edge's thread alone."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._fills: Counter[str] = Counter()
        self._venue_of: dict[str, str] = {}
        self._approved_ns: dict[str, int] = {}
        self._differences = 0
        self._books = 0
        self.ack = Histogram(ACK_US)
        self.tick = Histogram(TICK_US)

    def take(self, message: Message) -> None:
        """Count a book or a committed event."""
        if isinstance(message, ConsolidatedBook):
            self._take_book(message)
        elif isinstance(message, OrderFilled):
            self._fills[message.venue] += 1
            self._acknowledged(message.order_id)
        elif isinstance(message, BalanceDifferenceFound):
            self._differences += 1
        elif (outcome := OUTCOMES.get(type(message))) is not None:
            self._take_order(message, outcome)

    # From the newest frame that any venue's book in it came from to the publishing of the whole.
    def _take_book(self, book: ConsolidatedBook) -> None:
        self._books += 1
        newest_ns = max((quote.mono_received_ns for quote in book.venues), default=0)
        if newest_ns > 0:
            self.tick.observe(book.mono_published_ns - newest_ns)

    def _take_order(self, event: Any, outcome: str) -> None:
        spec = getattr(event, "order", None)
        order_id = event.order_id if spec is None else spec.order_id
        if spec is not None:
            self._venue_of[order_id] = spec.venue
            while len(self._venue_of) > SENT_MAX:
                del self._venue_of[next(iter(self._venue_of))]
        self._outcomes[self._venue_of.get(order_id, "other"), outcome] += 1
        if isinstance(event, OrderApproved):
            self._approved_ns[order_id] = event.approved_mono_ns
            while len(self._approved_ns) > SENT_MAX:
                del self._approved_ns[next(iter(self._approved_ns))]
        elif isinstance(event, OrderAcknowledged):
            self._acknowledged(order_id)

    # A fill may come before its acknowledgement: the first of the two proves that the venue has it.
    def _acknowledged(self, order_id: str) -> None:
        approved_ns = self._approved_ns.pop(order_id, None)
        if approved_ns is not None:
            self.ack.observe(self._clock.mono_ns() - approved_ns)

    def view(self, commits: Histogram) -> dict[str, Any]:
        """Return everything as plain data. Any thread."""
        return {
            "orders": [
                {"venue": venue, "outcome": outcome, "count": count}
                for (venue, outcome), count in sorted(self._outcomes.copy().items())
            ],
            "fills": [
                {"venue": v, "count": count} for v, count in sorted(self._fills.copy().items())
            ],
            "books": self._books,
            "balance_differences": self._differences,
            "order_ack": self.ack.view(),
            "tick_to_book": self.tick.view(),
            "journal_commit": commits.view(),
        }
