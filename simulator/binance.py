"""Binance's parts put together for the server."""

from simulator.binance_calls import Calls
from simulator.binance_market import Market
from simulator.binance_rest import Limiter, Rest
from simulator.binance_ws import Streams, WsApi
from simulator.parts import Parts
from simulator.venue import Venue


def binance_parts(venue: Venue) -> Parts:
    """Give a venue the Binance dialect."""
    calls = Calls(venue)
    market = Market(venue, calls)
    limiter = Limiter(venue)
    streams = Streams(venue, market, calls)
    ws_api = WsApi(venue, calls, market, limiter)
    routes = [*ws_api.routes(), *streams.routes(), *Rest(venue, calls, market, limiter).routes()]
    return Parts(
        routes,
        [streams.hub, ws_api.hub],
        streams.every_second,
        lambda: {"e": "serverShutdown", "E": venue.now_ms()},
        has_protocol_pings=True,
    )
