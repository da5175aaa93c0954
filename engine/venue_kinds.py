"""What a configuration may name beside this program's own adapters: ccxt's venues, closed ones, plug-ins.

Names and dates only, with their sources; nothing of an adapter is loaded for it.
"""

import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Final, NamedTuple

from engine.venue_names import ADAPTERS

CCXT: Final = "ccxt"
ENTRY_POINTS: Final = "xcore.venues"
MODULE: Final = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")


class Retired(NamedTuple):
    """A venue that has closed for good: when, what it said, and where."""

    since: str
    reason: str
    source: str

    def text(self) -> str:
        """Return the sentence that every refusal carries."""
        return f"closed on {self.since}: {self.reason}"


RETIRED: Final[Mapping[str, Retired]] = {
    "bitmart": Retired(
        "2026-08-26",
        "all trading ended that day, new orders and deposits on 2026-07-26; withdrawals until 2027-01-31",
        "the venue's notice of 2026-07-26, quoted in ccxt's pull request 29376 (delist: remove bitmart);"
        " ccxt has no class of it since 4.5.71",
    ),
}


def plugged_in() -> tuple[str, ...]:
    """Return the names of the venues that installed packages offer."""
    return tuple(sorted(found.name for found in entry_points(group=ENTRY_POINTS)))


def adapters() -> tuple[str, ...]:
    """Return every name that `adapter` may have, beside `module:NAME`."""
    return (*ADAPTERS, CCXT, *RETIRED, *plugged_in())


def is_adapter(name: str) -> bool:
    """Tell whether a configuration may name this adapter."""
    return MODULE.match(name) is not None or name in adapters()
