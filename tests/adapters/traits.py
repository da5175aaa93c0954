"""The venues that the shared tests run on, what differs between them, and which cases each runs.

A venue joins by a row. The first two run every case; each further one runs a third, chosen by the
case's name, so that three of them in a row run them all. `--all-venues` runs everything everywhere.
"""

from typing import NamedTuple
from zlib import crc32

from adapters.registry import ADAPTERS

ALL_CASES = ("binance", "okx")
PARTS = 3


class Traits(NamedTuple):
    """What a test may have to know of a venue; what the registry says is not repeated here."""

    name: str
    tells_fees: bool = True  # its private stream tells a fill's fee; else fills come by REST alone
    tells_uid: bool = True  # it has an id of its own for the account
    counts: str = ""  # the scope that its answers count, if they do
    queries_by_link: bool = False  # an order is asked for over its trading WebSocket
    late_code: str = (
        ""  # its trading link's word for an expiry that has passed, where that proves nothing
    )
    book_loss: str = "sequence"  # why a book with a missing frame is lost

    @property
    def has_trade_road(self):
        """Whether it takes orders over a WebSocket."""
        return ADAPTERS[self.name].trade is not None

    @property
    def has_dead_man(self):
        """Whether it cancels by itself when nobody is heard of."""
        return ADAPTERS[self.name].dead_man is not None


TRAITS = {
    traits.name: traits
    for traits in (
        Traits("binance", counts="orders_day", queries_by_link=True),
        Traits("okx", late_code="51149"),
    )
}


def is_case_of(venue, case):
    """Tell whether this venue runs this case."""
    if venue in ALL_CASES:
        return True
    others = [name for name in TRAITS if name not in ALL_CASES]
    return crc32(case.encode()) % PARTS == others.index(venue) % PARTS
