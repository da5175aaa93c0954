"""Where a session's streams are: fixed, told by REST, or fixed but with a ticket that REST gives out before.

What REST tells is asked for anew before each connection, in the link's thread. An address may be a login
by itself, and so is a ticket: neither is ever told to anybody.
"""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

from adapters.ccxt_rest import CcxtRest
from adapters.codec import RestCall
from adapters.desk import CallFailed, Desk
from adapters.private import PrivateFeed
from adapters.registry import Address, Ticket, VenueConfig, address
from adapters.stream import LinkHandler, NoAddress


class Addresses:
    """The addresses of one session; `client` makes a REST client for one question."""

    def __init__(
        self,
        config: VenueConfig,
        ticket: Ticket | None,
        desk: Desk,
        client: Callable[[], CcxtRest],
        rng: random.Random,
    ) -> None:
        self._config = config
        self._ticket = ticket
        self._desk = desk
        self._client = client
        self._rng = rng

    def of(self, kind: str, handler: LinkHandler) -> str | Callable[[], str]:
        """Return the address of a link, or what to ask for it before each connection."""
        asked = address(self._config, kind)
        if asked is not None:
            return partial(self._ask, asked.call, partial(self._read, asked))
        fixed = self._config.url(kind)
        if self._ticket is None or not isinstance(handler, PrivateFeed):
            return fixed
        take = partial(handler.take_ticket, self._ticket)

        def read(reply: Any) -> str:
            take(reply)
            return fixed

        return partial(self._ask, self._ticket.call, read)

    def _read(self, asked: Address, reply: Any) -> str:
        return asked.read(reply, f"{self._rng.getrandbits(64):016x}")

    # NoAddress says why not; blocks as REST does.
    def _ask(self, call: RestCall, read: Callable[[Any], str]) -> str:
        rest = self._client()
        try:
            return read(self._desk.read(rest, call))
        except CallFailed as failed:
            is_final = failed.verdict.kind == "AUTH"
            raise NoAddress(f"no address: {failed}", is_final=is_final) from None
        except ValueError:
            raise NoAddress("no address: the answer is not what the venue documents") from None
        finally:
            rest.close()
