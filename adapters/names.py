"""Which of our ids belongs to which of the venue's, as far as this process has learned it. Thread safe."""

import threading
from collections import OrderedDict
from typing import Final

NAMES_MAX: Final = 10_000


class Names:
    """The latest pairs of a client order id and a venue order id, both ways."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._venue_ids: OrderedDict[str, str] = OrderedDict()
        self._client_ids: dict[str, str] = {}

    def learn(self, client_order_id: str, venue_order_id: str) -> None:
        """Remember a pair; an order without an id of ours is not one."""
        if not client_order_id or not venue_order_id:
            return
        with self._lock:
            self._venue_ids[client_order_id] = venue_order_id
            self._client_ids[venue_order_id] = client_order_id
            while len(self._venue_ids) > NAMES_MAX:
                _, oldest = self._venue_ids.popitem(last=False)
                self._client_ids.pop(oldest, None)

    def venue_id(self, client_order_id: str) -> str:
        """Return the venue's id, "" where it is not known."""
        return self._venue_ids.get(client_order_id, "")

    def client_id(self, venue_order_id: str) -> str:
        """Return our id, "" where it is not known."""
        return self._client_ids.get(venue_order_id, "")
