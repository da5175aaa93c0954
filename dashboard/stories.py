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
Read = Callable[[int, int], Awaitable[list[Row]]]


class Stories:
    """Events by order id. `seq` is the newest that was taken."""

    def __init__(self) -> None:
        self.seq = 0
        self._events: OrderedDict[str, list[Row]] = OrderedDict()

    def take(self, seq: int, event: Row, seen_ms: int | None) -> str:
        """Remember an event, and when it was seen if it was seen live; return its order's id."""
        order_id = order_of(event)
        self.seq = max(self.seq, seq)
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

    async def whole(self, order_id: str, head: int, read: Read) -> tuple[list[Row], bool]:
        """Return an order's events, and whether they are all there, from its birth on.

        What is not remembered is read from the journal, whose newest record is `head`: first what
        came since, then what was before, newest page first, within a bound. `read(after_seq, count)`
        returns records.
        """
        found, before = [], head + 1
        if order_id in self._events and head - self.seq <= PAGE:
            found = self.known(order_id)
            before = found[0]["seq"]
            if head > self.seq:
                found += _about(order_id, await read(self.seq, head - self.seq))
        for _ in range(PAGES_MAX):
            if before <= 1 or _is_born(found):
                break
            start = max(0, before - 1 - PAGE)
            found = _about(order_id, await read(start, before - 1 - start)) + found
            before = start + 1
        return found, _is_born(found) and len(found) < EVENTS_MAX


def order_of(event: Row) -> str:
    """Return the id of the order that an event is about; empty when it is about none."""
    spec = event.get("order")
    named = spec.get("order_id") if isinstance(spec, dict) else event.get("order_id")
    return str(named or "")


def _about(order_id: str, rows: list[Row]) -> list[Row]:
    return [row for row in rows if order_of(row) == order_id]


def _is_born(events: list[Row]) -> bool:
    return bool(events) and events[0]["kind"] in BIRTHS
