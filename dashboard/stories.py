"""The stories of orders: each order's own events in the journal's order, bounded."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, Final

ORDERS_MAX: Final = 2_000
EVENTS_MAX: Final = 200  # of one order; then its story counts as incomplete
PAGE: Final = 1_000
PAGES_MAX: Final = 20
BIRTHS: Final = ("OrderApproved", "OrderDenied", "ParentAccepted", "ExternalOrderSeen")

Row = dict[str, Any]


class Stories:
    """Events by order id. `seq` is the newest that was taken."""

    def __init__(self) -> None:
        self.seq = 0
        self.first_seq: int | None = None
        self._events: OrderedDict[str, list[Row]] = OrderedDict()

    def take(self, seq: int, event: Row, seen_ms: int | None) -> str:
        """Remember an event, and when it was seen if it was seen live; return its order's id."""
        order_id = order_of(event)
        self.seq = max(self.seq, seq)
        self.first_seq = seq if self.first_seq is None else min(self.first_seq, seq)
        told = self._events.setdefault(order_id, [])
        self._events.move_to_end(order_id)
        if len(told) < EVENTS_MAX:
            told.append({**event, "seq": seq, "seen_ms": seen_ms})
        while len(self._events) > ORDERS_MAX:
            self._events.popitem(last=False)
        return order_id

    def known(self, order_id: str) -> list[Row]:
        """Return what is remembered of an order, oldest first."""
        return list(self._events.get(order_id, ()))

    async def whole(
        self, order_id: str, read: Callable[[int, int], Awaitable[list[Row]]]
    ) -> tuple[list[Row], bool]:
        """Return an order's events, and whether they are all there, from its birth on.

        What happened before this process began is read from the journal, newest page first, within
        a bound. `read(after_seq, count)` returns records of the journal.
        """
        found = self.known(order_id)
        before = min((row["seq"] for row in found), default=(self.first_seq or self.seq) + 1)
        for _ in range(PAGES_MAX):
            if before <= 1 or (found and found[0]["kind"] in BIRTHS):
                break
            start = max(0, before - 1 - PAGE)
            rows = await read(start, before - 1 - start)
            found = [r for r in rows if order_of(r) == order_id and r["seq"] < before] + found
            before = start + 1
        born = bool(found) and found[0]["kind"] in BIRTHS
        return found, born and len(found) < EVENTS_MAX


def order_of(event: Row) -> str:
    """Return the id of the order that an event is about; empty when it is about none."""
    spec = event.get("order")
    named = spec.get("order_id") if isinstance(spec, dict) else event.get("order_id")
    return str(named or "")
