"""DemoMakerActor: a small maker for demo mode, so that there is something to see.

It quotes both sides of one symbol at one venue after another, cancels what has grown old, and now
and then takes a little over all venues. It uses the same commands as any client and knows nothing
that a client could not know. Demo mode only.
"""

from decimal import Decimal
from typing import ClassVar, Final

from engine.actor import Actor
from engine.ids import client_order_id
from engine.messages.base import OrderType, Side
from engine.messages.commands import CancelOrders, PlaceOrder, Reply, Tick
from engine.messages.market import ConsolidatedBook
from engine.trading.routing import mid_price

EVERY_S: Final = 2.0
LIVES_ROUNDS: Final = 4
TAKES_EVERY: Final = 5
OFFSET: Final = Decimal("0.0004")
WHO: Final = "demo maker"


class DemoMakerActor(Actor):
    """See the module's docstring. Holds nothing durable."""

    durable: ClassVar[bool] = False

    def __init__(
        self, *, instance: str, run: str, venues: list[str], sizes: dict[str, Decimal]
    ) -> None:
        super().__init__()
        self.instance = instance
        self.run_name = run
        self.venues = venues
        self.sizes = sizes
        self.books: dict[str, ConsolidatedBook] = {}
        self.round = 0
        self.stopped = False
        self.quoted: list[tuple[int, str]] = []

    def ready(self) -> None:
        """Begin after a pause, when books are there."""
        self.schedule(EVERY_S, Tick("quote"), key="quote")

    def on_consolidated_book(self, book: ConsolidatedBook) -> None:
        """Keep the newest book."""
        self.books[book.symbol] = book

    def on_reply(self, message: Reply) -> None:
        """Remember an accepted quote, to cancel it later."""

    def on_tick(self, message: Tick) -> None:
        """Quote, take, and cancel what is old; `stop` ends it."""
        self.stopped = self.stopped or message.name == "stop"
        if self.stopped:
            return
        self.schedule(EVERY_S, Tick("quote"), key="quote")
        self.round += 1
        self._cancel_old()
        for symbol, size in self.sizes.items():
            book = self.books.get(symbol)
            mid = mid_price(book) if book is not None else None
            if mid is None:
                continue
            venue = self.venues[self.round % len(self.venues)]
            self._place(venue, symbol, "BUY", "LIMIT", size, mid * (1 - OFFSET))
            self._place(venue, symbol, "SELL", "LIMIT", size, mid * (1 + OFFSET))
            if self.round % TAKES_EVERY == 0:
                side: Side = "BUY" if self.round % (2 * TAKES_EVERY) else "SELL"
                self._place("best", symbol, side, "MARKET", size, None)

    def _place(
        self,
        venue: str,
        symbol: str,
        side: Side,
        order_type: OrderType,
        quantity: Decimal,
        price: Decimal | None,
    ) -> None:
        asset = symbol.partition("/")[0]
        command_id = f"{self.run_name}-{self.incarnation}-{self.round}-{venue}-{asset}-{side}"
        if price is not None:
            price = price.quantize(Decimal("0.00000001"))
        post_only = order_type == "LIMIT"
        self.send(
            "order_router",
            PlaceOrder(
                command_id, venue, None, symbol, side, order_type, "GTC", post_only, quantity,
                price, False, WHO, self.name,
            ),
        )  # fmt: skip
        if order_type == "LIMIT":
            self.quoted.append((self.round, command_id))

    def _cancel_old(self) -> None:
        old = [c for placed, c in self.quoted if placed <= self.round - LIVES_ROUNDS]
        self.quoted = [(r, c) for r, c in self.quoted if r > self.round - LIVES_ROUNDS]
        if old:
            ids = [client_order_id(self.instance, c) for c in old]
            self.send(
                "order_router",
                CancelOrders(
                    f"{self.run_name}-{self.incarnation}-{self.round}-c", ids, False, None, None,
                    "old quote", WHO, self.name,
                ),
            )  # fmt: skip
