"""A dead man's switch: an account's open orders are canceled unless the venue is told again in time.

The timers only; what sets them, and in which words, is the dialect's. A restart of the venue forgets them.
"""

from simulator.clock import NS_PER_S
from simulator.orders import Refused
from simulator.venue import Venue


class DeadMan:
    """The timers of all accounts, each for some symbols or for all; looked at once a second."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._due: dict[str, tuple[int, tuple[str, ...]]] = {}

    def set(self, account: str, seconds: int, symbols: tuple[str, ...] = ()) -> None:
        """Set or renew the timer of an account; 0 turns it off. No symbols: all of them."""
        self._due.pop(account, None)
        if seconds:
            due_ns = self._venue.clock.monotonic_ns() + seconds * NS_PER_S
            self._due[account] = due_ns, symbols

    def every_second(self) -> None:
        """Cancel for whoever has not been heard of in time."""
        now_ns = self._venue.clock.monotonic_ns()
        for account, (due_ns, symbols) in list(self._due.items()):
            if now_ns >= due_ns:
                del self._due[account]
                for order in list(self._venue.engine.open_orders(account)):
                    if not symbols or order.symbol in symbols:
                        self._cancel(order.order_id, account)

    def _cancel(self, order_id: int, account: str) -> None:
        order = self._venue.find(account, order_id, "")
        if order is None:
            return
        try:
            self._venue.cancel(order, "", "dead-man")
        except Refused:
            return  # filled in the meantime
