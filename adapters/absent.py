"""A venue that has no adapter to talk to: closed for good, or not there. It says why; the others go on.

It answers the port like any other: each order NOT_SENT with the reason, at once, and tries nothing again.
"""

from collections.abc import Callable
from typing import NamedTuple

from adapters.ccxt_names import is_known
from engine.clock import Clock
from engine.config_models import Venue
from engine.messages.base import Message
from engine.messages.port import AdapterFailed, SubmitOrder
from engine.port_refusals import refusal, submit_result
from engine.venue_kinds import CCXT, RETIRED
from engine.venue_names import ADAPTERS


class Absence(NamedTuple):
    """Why there is no adapter: `retired`, `no_class` or `not_simulated`, and the sentence."""

    code: str
    text: str


def absence(venue: Venue, mode: str) -> Absence | None:
    """Return why a configured venue cannot be talked to; None where it can."""
    name = venue.ccxt_id if venue.adapter == CCXT else venue.adapter
    retired = RETIRED.get(name)
    if retired is not None:
        return Absence("retired", retired.text())
    if venue.adapter == CCXT and not is_known(venue.ccxt_id):
        text = f"the installed ccxt has no class {venue.ccxt_id!r}; the names are in its list of exchanges"
        return Absence("no_class", text)
    if mode == "demo" and name not in ADAPTERS and not venue.urls.given():
        text = (
            f"demo mode has no simulated {name}; give the venue urls, or leave it for a real mode"
        )
        return Absence("not_simulated", text)
    return None


class AbsentPort:
    """The port of a venue that is not there."""

    def __init__(
        self, venue: str, why: Absence, clock: Clock, deliver: Callable[[Message], None]
    ) -> None:
        self._venue = venue
        self._why = why
        self._clock = clock
        self._deliver = deliver

    def start(self) -> None:
        """Say why there is nothing to start."""
        self._deliver(AdapterFailed(self._venue, self._why.code, self._why.text))

    def handle(self, message: Message) -> None:
        """Refuse what would have to be sent; a gate is as closed as it was asked to be."""
        if isinstance(message, SubmitOrder):
            why = self._why
            self._deliver(submit_result(message, "NOT_SENT", why.code, why.text, self._clock))
        elif (answer := refusal(message, self._venue, self._why.text, self._clock)) is not None:
            self._deliver(answer)

    def shut(self) -> None:
        """Nothing is open."""

    def stop(self, deadline_s: float) -> bool:
        """Nothing runs."""
        del deadline_s
        return True
