"""What REST is asked before each connection of a link: its address, or a ticket that its login shows.

An address may carry a token and so be a login, as a ticket is: neither ever goes into a log.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import Any, Final

from adapters.ccxt_rest import CcxtRest, RestFailure
from adapters.desk import Desk
from adapters.outcome import classify
from adapters.private import PrivateFeed
from adapters.rate import Priority, RateGovernor
from adapters.registry import Address, Ticket, VenueConfig, address
from adapters.stream import LinkHandler, NoAddress
from engine.clock import NS_PER_S

POLL_S: Final = 0.1


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
    asked: Address,
    desk: Desk,
    governor: RateGovernor,
    client: Callable[[], CcxtRest],
    rng: Random,
    stopping: threading.Event,
) -> Callable[[], str]:
    """Return what asks for the address, in the link's thread, with a client of the call's own.

    It waits for the governor until the session stops, blocks as long as one call may, and raises
    NoAddress where the venue does not tell. The link asks again after its backoff.
    """

    def ask() -> str:
        while wait_ns := governor.try_take(Priority.QUERY, asked.call.costs):
            if stopping.wait(min(POLL_S, wait_ns / NS_PER_S)):
                raise NoAddress("stopped")
        rest = client()
        try:
            reply = rest.call(asked.call)
            return asked.read(reply, f"{rng.getrandbits(64):016x}")
        except RestFailure as failure:
            verdict = desk.judge(classify(failure.evidence))
            is_final = verdict.kind == "AUTH"
            raise NoAddress(f"no address: {verdict.text}", is_final=is_final) from None
        except ValueError:
            raise NoAddress("no address: the answer is not what the venue documents") from None
        finally:
            rest.close()

    return ask
