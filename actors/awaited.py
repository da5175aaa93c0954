"""Which answers of a venue are still due. Pure, in memory only."""

from engine.clock import NS_PER_S
from engine.trading.order import Order
from engine.trading.orders import OrderTable


class Awaited:
    """Submits whose answer is due, oldest first, behind one timer for all of them."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_ns = int(timeout_s * NS_PER_S)
        self._due_ns: dict[str, int] = {}
        self._watched = False

    def add(self, order_id: str, now_ns: int) -> float | None:
        """Await an answer; return how long the timer has to run if none is running."""
        self._due_ns[order_id] = now_ns + self._timeout_ns
        was, self._watched = self._watched, True
        return None if was else self._timeout_ns / NS_PER_S

    def drop(self, order_id: str) -> None:
        """The answer is here."""
        self._due_ns.pop(order_id, None)

    def look(self, now_ns: int, orders: OrderTable) -> tuple[list[Order], float | None]:
        """Return and forget those that are late, and how long to wait until the next may be."""
        over = [order_id for order_id, due_ns in self._due_ns.items() if due_ns <= now_ns]
        for order_id in over:
            del self._due_ns[order_id]
        found = [orders.order(order_id) for order_id in over]
        late = [order for order in found if order is not None and order.status == "PENDING_NEW"]
        next_ns = next(iter(self._due_ns.values()), None)
        self._watched = next_ns is not None
        return late, None if next_ns is None else (next_ns - now_ns) / NS_PER_S
