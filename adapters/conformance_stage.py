"""The simulated venue as an examination sees it: what it really holds, and its faults on demand.

Talks to the simulator's control plane on loopback and to nothing else; knows nothing of the venue's
own wire protocol.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, Final

from adapters.codec import Secret
from adapters.registry import VenueConfig
from engine.messages.port import SubmitOrder

CALL_WITHIN_S: Final = 20.0


class Stage:
    """One simulated venue. Every call blocks until the simulator has answered."""

    def __init__(self, endpoints: Mapping[str, Any], venue: str) -> None:
        self._base = f"{endpoints['ctl']}/_ctl"
        self._endpoints = endpoints
        self.venue = venue

    def config(self, adapter: str, symbols: tuple[str, ...], **more: Any) -> VenueConfig:
        """Return the configuration of this venue's demo account."""
        keys = self._endpoints["accounts"][self.venue]
        given = {
            "name": self.venue, "adapter": adapter, "account": f"{self.venue}.main",
            "symbols": symbols, "urls": dict(self._endpoints["venues"][self.venue]),
            **{name: Secret(text) for name, text in keys.items()},
        }  # fmt: skip
        return VenueConfig(**{**given, **more})

    def fault(self, kind: str, on: str | None = None, count: int = 1, **params: Any) -> None:
        """Set a fault that strikes `count` times."""
        body = {"kind": kind, "venue": self.venue, "count": count, "params": params}
        self._call("POST", "fault", body | ({} if on is None else {"on": on}))

    def clear(self) -> None:
        """Take back every fault."""
        self._call("DELETE", "fault")

    @contextmanager
    def faulty(
        self, kind: str, on: str | None = None, count: int = 1, **more: Any
    ) -> Iterator[None]:
        """Have a fault for a while."""
        self.fault(kind, on, count, **more)
        try:
            yield
        finally:
            self.clear()

    def act(self, name: str, **body: Any) -> Any:
        """Give a stage direction: halt, fill, flow, balance."""
        return self._call("POST", name, {"venue": self.venue, **body})

    def truth(self) -> Any:
        """Return orders, fills, balances and books as they really are."""
        return self._call("GET", f"truth/{self.venue}")

    def orders(self, order: SubmitOrder) -> list[dict[str, Any]]:
        """Return every order that the venue has under this client_order_id."""
        held = self.truth()["orders"]
        return [o for o in held if o["client_order_id"] == order.client_order_id]

    def book(self, symbol: str, depth: int) -> tuple[list[tuple[Decimal, Decimal]], ...]:
        """Return the true bids and asks, best first."""
        book = self.truth()["books"][symbol]
        return tuple(
            [(Decimal(price), Decimal(quantity)) for price, quantity in book[side][:depth]]
            for side in ("bids", "asks")
        )

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._base}/{path}", data, method=method)  # noqa: S310
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=CALL_WITHIN_S) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise ValueError(f"{path}: {refused.read().decode(errors='replace')[:300]}") from None
