"""Coinbase's parts put together for the server."""

from simulator.coinbase_auth import Doorman
from simulator.coinbase_calls import Calls
from simulator.coinbase_market import Market
from simulator.coinbase_rest import Rest
from simulator.coinbase_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def coinbase_parts(venue: Venue) -> Parts:
    """Give a venue the Coinbase Advanced dialect."""
    calls = Calls(venue)
    market = Market(venue, calls)
    doorman = Doorman(venue)
    sockets = Sockets(venue, calls, doorman)
    routes = [*sockets.routes(), *Rest(venue, calls, market, doorman).routes()]
    return Parts(routes, [sockets.hub], sockets.every_second, lambda: None)
