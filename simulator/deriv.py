"""Deriv's parts put together for the server.

Of the fault catalogue these cannot strike here: `partial_fill` and `cancel_race` (nothing rests),
`stale_snapshot`, `ws_corrupt_level` and `bad_checksum` (there is no book).
"""

from simulator.deriv_calls import Calls
from simulator.deriv_dealer import Dealer
from simulator.deriv_rest import Passwords, Rest
from simulator.deriv_ws import Sockets
from simulator.parts import Parts
from simulator.venue import Venue


def deriv_parts(venue: Venue) -> Parts:
    """Give a venue both of Deriv's APIs."""
    dealer = Dealer(venue)
    calls = Calls(venue, dealer)
    passwords = Passwords(venue)
    sockets = Sockets(venue, dealer, calls, passwords)
    routes = [*sockets.routes(), *Rest(venue, dealer, passwords).routes()]
    return Parts(
        routes,
        [sockets.hub],
        sockets.every_second,
        lambda: None,
        forget_spent=sockets.forget_spent,
    )
