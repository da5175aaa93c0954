"""What REST is asked before each connection of a link: its address, or a ticket that its login shows.

An address may carry a token and so be a login, as a ticket is: neither ever goes into a log.
"""

from collections.abc import Callable
from random import Random
from typing import Any

from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.private import PrivateFeed
from adapters.registry import Address, Ticket, VenueConfig, address
from adapters.stream import LinkHandler, NoAddress


def address_of(
    config: VenueConfig, kind: str, ticket: Ticket | None, handler: LinkHandler
) -> Address | None:
    """Return what to ask before each connection of a link; None where there is nothing to ask.

    The private feed of a venue with tickets takes one each time, and its address stays the same.
    """
    asked = address(config, kind)
    if asked is not None or ticket is None or not isinstance(handler, PrivateFeed):
        return asked

    def read(reply: Any, connection: str) -> str:
        del connection
        handler.take_ticket(ticket, reply)
        return config.url(kind)

    return Address(ticket.call, read)


def asker(
    asked: Address, desk: Desk, client: Callable[[], CcxtRest], rng: Random
) -> Callable[[], str]:
    """Return what asks for the address, in the link's thread, with a client of the call's own.

    It blocks as long as a read may, and raises NoAddress where the venue does not tell.
    """

    def ask() -> str:
        rest = client()
        try:
            reply = desk.read(rest, asked.call)
            return asked.read(reply, f"{rng.getrandbits(64):016x}")
        except CallFailed as failed:
            is_final = failed.verdict.kind == "AUTH"
            raise NoAddress(f"no address: {failed}", is_final=is_final) from None
        except ValueError:
            raise NoAddress("no address: the answer is not what the venue documents") from None
        finally:
            rest.close()

    return ask
