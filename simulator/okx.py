"""OKX's parts put together for the server."""

import random

from simulator.okx_calls import Calls
from simulator.okx_dead_man import DeadMan
from simulator.okx_market import Market
from simulator.okx_rest import Limiter, Rest
from simulator.okx_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def okx_parts(venue: Venue) -> Parts:
    """Give a venue the OKX dialect."""
    calls = Calls(venue)
    market = Market(venue)
    limiter = Limiter(venue)
    sockets = Sockets(venue, calls, market, limiter, random.Random(f"seq-{venue.name}"))
    dead_man = DeadMan(venue)
    routes = [*sockets.routes(), *Rest(venue, calls, market, limiter, dead_man).routes()]

    def every_second() -> None:
        sockets.every_second()
        dead_man.every_second()

    text = "The connection will soon be closed for a service upgrade."
    notice: dict[str, object] = {"event": "notice", "code": "64008", "msg": text}
    return Parts(routes, [sockets.hub], every_second, lambda: notice)
