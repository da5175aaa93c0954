"""OKX's cancel-all-after: an account's open orders are cancelled unless it is told again in time.

https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-all-after: `timeOut` is 0 (off) or 10 to
120 seconds, once a second at most. Not the venue's: the orders' cancelSource is that of a user's cancel.
"""

import json

from simulator.clock import NS_PER_S
from simulator.dead_man import Timers
from simulator.okx_words import ApiError, Json
from simulator.venue import Account, Venue

SECONDS_MIN = 10
SECONDS_MAX = 120


class DeadMan:
    """What OKX makes of the timers."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._timers = Timers(venue)
        self._told_ns: dict[str, int] = {}
        self.every_second = self._timers.every_second

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
        trigger_ms = self._timers.set(account.name, seconds)
        return {"triggerTime": str(trigger_ms), "tag": "", "ts": str(self._venue.now_ms())}
