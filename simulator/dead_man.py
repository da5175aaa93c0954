"""Timers that cancel an account's open orders unless they are set again in time.

A restart of the venue forgets them. What a venue says of it is its dialect's business.
"""

from simulator.clock import NS_PER_S
from simulator.orders import Refused
from simulator.venue import Venue


class Timers:
    """The timers of all accounts, each for some symbols or for all; looked at once a second."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._due: dict[str, tuple[int, tuple[str, ...]]] = {}

    def set(self, account: str, seconds: int, symbols: tuple[str, ...] = ()) -> int:
        """Set or renew an account's timer, 0 turns it off; return when it fires, venue's ms or 0."""
        self._due.pop(account, None)
        if not seconds:
            return 0
        due_ns = self._venue.clock.monotonic_ns() + seconds * NS_PER_S
        self._due[account] = due_ns, symbols
        return self._venue.now_ms() + seconds * 1000

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
