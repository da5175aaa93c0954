"""OKX's words for its dead man's switch, cancel-all-after.

https://www.okx.com/docs-v5/en/#order-book-trading-trade-post-cancel-all-after: `timeOut` is 0 (off) or 10 to
120 seconds, once a second at most. Not the venue's: the orders' cancelSource is that of a user's cancel.
"""

import json

from simulator.clock import NS_PER_S
from simulator.dead_man import DeadMan
from simulator.okx_words import ApiError, Json
from simulator.venue import Account, Venue

SECONDS_MIN = 10
SECONDS_MAX = 120


class CancelAllAfter:
    """The call that sets the switch."""

    def __init__(self, venue: Venue) -> None:
        self.dead_man = DeadMan(venue)
        self._venue = venue
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
        self.dead_man.set(account.name, seconds)
        trigger_ms = self._venue.now_ms() + seconds * 1000 if seconds else 0
        return {"triggerTime": str(trigger_ms), "tag": "", "ts": str(self._venue.now_ms())}
