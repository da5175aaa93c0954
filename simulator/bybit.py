"""Bybit's parts put together for the server."""

from simulator.bybit_calls import Calls
from simulator.bybit_market import Market
from simulator.bybit_rest import Limiter, Rest
from simulator.bybit_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def bybit_parts(venue: Venue) -> Parts:
    """Give a venue the Bybit dialect."""
    calls = Calls(venue)
    market = Market(venue, calls)
    limiter = Limiter(venue)
    sockets = Sockets(venue, calls, market, limiter)
    routes = [*sockets.routes(), *Rest(venue, calls, market, limiter).routes()]
    return Parts(routes, [sockets.hub], sockets.every_second, lambda: None)
