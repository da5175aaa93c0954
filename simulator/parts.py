"""What the server needs of a dialect."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.peers import Hub


@dataclass(frozen=True, slots=True)
class Parts:
    """One venue's routes, connections and slow beat.

    Args:
        routes: what is served, REST and WebSocket.
        hubs: all its WebSocket connections.
        every_second: called once a second.
        shutdown_notice: what it says on its streams before it goes away; None: nothing.
        has_protocol_pings: whether it sends WebSocket pings and cuts who does not answer.
    """

    routes: list[web.RouteDef]
    hubs: list[Hub]
    every_second: Callable[[], None]
    shutdown_notice: Callable[[], dict[str, object]] | None = None
    has_protocol_pings: bool = False
