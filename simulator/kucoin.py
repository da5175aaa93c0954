"""KuCoin's parts put together for the server."""

import random

from simulator.kucoin_calls import Calls
from simulator.kucoin_market import Market
from simulator.kucoin_rest import Rest
from simulator.kucoin_tokens import Tokens
from simulator.kucoin_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def kucoin_parts(venue: Venue) -> Parts:
    """Give a venue the KuCoin dialect."""
    calls = Calls(venue)
    market = Market(venue, calls)
    tokens = Tokens(venue, random.Random(f"tokens-{venue.name}-{venue.clock.wall_ns()}"))
    sockets = Sockets(venue, calls, market, tokens)
    routes = [*sockets.routes(), *Rest(venue, calls, market, tokens).routes()]

    def every_second() -> None:
        sockets.every_second()
        calls.timers.every_second()

    return Parts(routes, [sockets.hub], every_second, lambda: None)
