"""The wire protocols that are simulated. A row a venue; what of the engine it chooses is in `rules.py`."""

from collections.abc import Callable
from dataclasses import dataclass

from simulator.binance import binance_parts
from simulator.okx import okx_parts
from simulator.parts import Parts
from simulator.venue import Venue


@dataclass(frozen=True, slots=True)
class Dialect:
    """One protocol: what serves it, and the paths of its streams (None: their addresses come by REST)."""

    parts: Callable[[Venue], Parts]
    public_ws: str | None = None
    private_ws: str | None = None
    trade_ws: str | None = None

    def endpoints(self, host: str, port: int) -> dict[str, str]:
        """Return the addresses that a client is told, by the names of the configuration's `urls`."""
        paths = {
            "public_ws": self.public_ws,
            "private_ws": self.private_ws,
            "trade_ws": self.trade_ws,
        }
        streams = {name: f"ws://{host}:{port}{path}" for name, path in paths.items() if path}
        return {"rest": f"http://{host}:{port}", **streams}


DIALECTS: dict[str, Dialect] = {
    "binance": Dialect(binance_parts, "/stream", "/ws-api/v3", "/ws-api/v3"),
    "okx": Dialect(okx_parts, "/ws/v5/public", "/ws/v5/private", "/ws/v5/private"),
}
