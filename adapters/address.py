"""Addresses that a venue tells by REST, asked for anew before each connection of a link.

Such an address may carry a token and so be a login: it goes to the link alone, never into a log.
"""

import threading
from collections.abc import Callable
from random import Random
from typing import Final

from adapters.ccxt_rest import CcxtRest, RestFailure
from adapters.desk import Desk
from adapters.outcome import classify
from adapters.rate import Priority, RateGovernor
from adapters.registry import Address
from adapters.stream import NoAddress
from engine.clock import NS_PER_S

POLL_S: Final = 0.1


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
