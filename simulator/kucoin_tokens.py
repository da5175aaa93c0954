"""KuCoin's tokens for its streams: REST gives one with an address, a connection shows it.

POST bullet-public and bullet-private. A private token is the login of its stream.
"""

import random
from base64 import urlsafe_b64encode
from typing import Any

from simulator.clock import NS_PER_S
from simulator.venue import Venue

PING_INTERVAL_MS, PING_TIMEOUT_MS = 18_000, 10_000
VALID_NS = 24 * 3600 * NS_PER_S
KEPT_MAX = 10_000
PATH = "/endpoint"


class Tokens:
    """The tokens that are valid. `port` is where the streams are, known once the venue listens."""

    def __init__(self, venue: Venue, rng: random.Random) -> None:
        self._venue = venue
        self._rng = rng
        self._issued: dict[str, tuple[str, int]] = {}

    def bullet(self, api_key: str) -> dict[str, Any]:
        """Return a new token of this key (empty: public) and where to go with it."""
        token = f"2neAiu{urlsafe_b64encode(self._rng.randbytes(60)).decode()}=="
        until_ns = self._venue.clock.monotonic_ns() + VALID_NS
        self._issued[token] = api_key, until_ns
        if len(self._issued) > KEPT_MAX:
            del self._issued[next(iter(self._issued))]
        server = {
            "endpoint": f"ws://{self._venue.address}{PATH}", "encrypt": True,
            "protocol": "websocket", "pingInterval": PING_INTERVAL_MS,
            "pingTimeout": PING_TIMEOUT_MS,
        }  # fmt: skip
        return {"token": token, "instanceServers": [server]}

    def owner(self, token: str) -> str | None:
        """Return whose token it is (empty: anybody's), None for one that is not valid."""
        api_key, until_ns = self._issued.get(token, ("", 0))
        return api_key if until_ns > self._venue.clock.monotonic_ns() else None
