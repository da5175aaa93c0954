"""What the server needs of a dialect, whichever it is."""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from simulator.peers import Hub


@dataclass(frozen=True, slots=True)
class Parts:
    """A dialect put together over one venue.

    `shutdown_notice` is what the streams are told before a restart, None where the venue says nothing.
    """

    routes: list[web.RouteDef]
    hubs: list[Hub]
    every_second: Callable[[], None]
    shutdown_notice: Callable[[], dict[str, object] | None]
    has_protocol_pings: bool = False
    forget_spent: Callable[[], None] = lambda: None  # gives every client its budgets back
