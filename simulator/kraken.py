"""Kraken's parts put together for the server."""

from simulator.dead_man import Timers
from simulator.kraken_calls import Calls
from simulator.kraken_market import Market
from simulator.kraken_rest import Rest, Tokens
from simulator.kraken_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def kraken_parts(venue: Venue) -> Parts:
    """Give a venue the Kraken dialect."""
    calls = Calls(venue)
    market = Market(venue, calls)
    tokens = Tokens(venue)
    timers = Timers(venue)
    sockets = Sockets(venue, calls, market, tokens)
    routes = [*sockets.routes(), *Rest(venue, calls, market, tokens, timers).routes()]

    def every_second() -> None:
        sockets.every_second()
        timers.every_second()

    return Parts(routes, [sockets.hub], every_second, sockets.maintenance)
