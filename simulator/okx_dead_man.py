"""OKX's cancel-all-after: an account's open orders are cancelled unless it is told again in time.

https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-all-after: `timeOut` is 0 (off) or 10 to
120 seconds, once a second at most. Not the venue's: the orders' cancelSource is that of a user's cancel.
"""

import json

from simulator.okx_words import ApiError, Json
from simulator.orders import Refused
from simulator.venue import Account, Venue

SECONDS_MIN = 10
SECONDS_MAX = 120
NS_PER_S = 1_000_000_000


class DeadMan:
    """The timers of all accounts; looked at once a second. A restart of the venue forgets them."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._due_ns: dict[str, int] = {}
        self._told_ns: dict[str, int] = {}

    def tell(self, account: Account, body: str) -> Json:
        """Set, renew or turn off the timer of an account; return the answer's row."""
        try:
            asked = json.loads(body)
            seconds = int(str(asked["timeOut"]))
        except (ValueError, KeyError, TypeError):
            raise ApiError("51000", "Parameter timeOut error.", 400) from None
        if seconds != 0 and not SECONDS_MIN <= seconds <= SECONDS_MAX:
            raise ApiError("51000", "Parameter timeOut error.", 400)
        now_ns = self._venue.clock.monotonic_ns()
        if now_ns - self._told_ns.get(account.name, -NS_PER_S) < NS_PER_S:
            raise ApiError("50011", "Too Many Requests", 429)
        self._told_ns[account.name] = now_ns
        trigger_ms = 0
        self._due_ns.pop(account.name, None)
        if seconds:
            self._due_ns[account.name] = now_ns + seconds * NS_PER_S
            trigger_ms = self._venue.now_ms() + seconds * 1000
        return {"triggerTime": str(trigger_ms), "tag": "", "ts": str(self._venue.now_ms())}

    def every_second(self) -> None:
        """Cancel for whoever has not been heard of in time."""
        now_ns = self._venue.clock.monotonic_ns()
        for account, due_ns in list(self._due_ns.items()):
            if now_ns >= due_ns:
                del self._due_ns[account]
                for order in list(self._venue.engine.open_orders(account)):
                    self._cancel(order.order_id, account)

    def _cancel(self, order_id: int, account: str) -> None:
        order = self._venue.find(account, order_id, "")
        if order is None:
            return
        try:
            self._venue.cancel(order, "", "dead-man")
        except Refused:
            return  # filled in the meantime
