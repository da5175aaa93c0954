"""Addresses that a venue tells by REST, asked for anew before each connection of a link.

Such an address may carry a token and so be a login: it goes to the link alone, never into a log.
"""

from collections.abc import Callable
from random import Random

from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.registry import Address
from adapters.stream import NoAddress


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
