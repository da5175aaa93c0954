"""The venues that the shared tests run on, and what differs between them. A venue joins by a row."""

from typing import NamedTuple

from adapters.registry import ADAPTERS


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
    expired: str = "EXPIRED"  # how it calls an IOC order that found nothing
    levels: int = 20  # so many of a side are in its books at least
    tells_balances: bool = (
        True  # its private stream tells free and locked; else they come by REST alone
    )
    repeats_first: bool = (
        False  # an id used before is answered with the order it named; else refused
    )
    numbers_connection: bool = False  # a lost frame loses its connection, not one book
    checks_time: bool = True  # it refuses what is dated some seconds off

    @property
    def has_trade_road(self):
        """Whether it takes orders over a WebSocket."""
        return ADAPTERS[self.name].trade is not None

    @property
    def has_dead_man(self):
        """Whether it cancels by itself when nobody is heard of."""
        return ADAPTERS[self.name].dead_man is not None

    @property
    def has_one_lane(self):
        """Whether it takes one signed request at a time."""
        return ADAPTERS[self.name].one_lane


TRAITS = {
    traits.name: traits
    for traits in (
        Traits("binance", counts="orders_day", queries_by_link=True),
        Traits("okx", late_code="51149"),
        Traits("bybit"),
        Traits("kucoin", tells_fees=False, expired="CANCELED"),
        Traits(
            "kraken",
            tells_uid=False,
            expired="CANCELED",
            book_loss="checksum",
            levels=10,
            tells_balances=False,
            late_code="EService:Deadline elapsed",
        ),
        Traits(
            "coinbase",
            tells_fees=False,
            expired="CANCELED",
            tells_balances=False,
            repeats_first=True,
            numbers_connection=True,
            checks_time=False,
        ),
    )
}
