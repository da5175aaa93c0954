"""One order book: price levels holding orders in time order, and the ids of its changes.

It knows nothing of money or accounts. Every level change takes one update id, as Binance's
stream counts them; `flush` hands out what changed since the last call.
"""

from bisect import bisect_left, insort
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from simulator.orders import Order, Side


@dataclass(slots=True)
class Level:
    """All orders at one price, oldest first (a dict keeps insertion order)."""

    orders: dict[int, Order] = field(default_factory=dict)
    lots: int = 0


@dataclass(frozen=True, slots=True)
class BookDelta:
    """Absolute lots of each level that changed; 0 lots removes it.

    `touched` has the update id at which a level last changed, for venues that number their rows.
    """

    symbol: str
    first_id: int
    last_id: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]
    touched: Mapping[tuple[Side, int], int]


@dataclass(frozen=True, slots=True)
class BookView:
    """The book by price level at one update id, best first."""

    symbol: str
    last_id: int
    bids: tuple[tuple[int, int], ...]
    asks: tuple[tuple[int, int], ...]


class BookSide:
    """The bids or the asks."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.levels: dict[int, Level] = {}
        self._prices: list[int] = []  # ascending on both sides

    def best(self) -> int | None:
        """Return the price that trades first."""
        if not self._prices:
            return None
        return self._prices[-1 if self.side is Side.BUY else 0]

    def prices(self) -> Iterator[int]:
        """Yield prices from best to worst."""
        return reversed(self._prices) if self.side is Side.BUY else iter(self._prices)

    def __len__(self) -> int:
        return len(self._prices)

    def first(self, price: int) -> Order:
        """Return the oldest order at this price."""
        return next(iter(self.levels[price].orders.values()))

    def add(self, order: Order) -> None:
        """Queue the order behind everything at its price."""
        assert order.price is not None
        level = self.levels.get(order.price)
        if level is None:
            level = self.levels[order.price] = Level()
            insort(self._prices, order.price)
        assert order.order_id not in level.orders
        level.orders[order.order_id] = order
        level.lots += order.leaves

    def reduce(self, order: Order, lots: int) -> None:
        """Take lots off a resting order that keeps its place."""
        assert order.price is not None
        self.levels[order.price].lots -= lots

    def remove(self, order: Order, lots: int) -> None:
        """Take the order out, with the lots it still showed."""
        assert order.price is not None
        level = self.levels[order.price]
        del level.orders[order.order_id]
        level.lots -= lots
        if not level.orders:
            assert level.lots == 0, f"level {order.price} empty but shows {level.lots} lots"
            del self.levels[order.price]
            self._prices.pop(bisect_left(self._prices, order.price))

    def walk(
        self,
        taker: Order,
        is_wanted: Callable[[int], bool],
        is_self_trade: Callable[[Order, Order], bool],
    ) -> tuple[int, int]:
        """Return how many of the taker's lots are there at wanted prices, and their cost in ticks.

        Its own makers do not count: they are expired, not traded.
        """
        found = cost = 0
        for price in self.prices():
            if found >= taker.quantity or not is_wanted(price):
                break
            makers = self.levels[price].orders.values()
            there = sum(o.leaves for o in makers if not is_self_trade(taker, o))
            taken = min(taker.quantity - found, there)
            found += taken
            cost += price * taken
        return found, cost

    def top(self, depth: int) -> tuple[tuple[int, int], ...]:
        """Return the best levels as (price, lots)."""
        out: list[tuple[int, int]] = []
        for price in self.prices():
            if len(out) == depth:
                break
            out.append((price, self.levels[price].lots))
        return tuple(out)


class Book:
    """Both sides and the change counter."""

    def __init__(self, symbol: str, first_update_id: int) -> None:
        self.symbol = symbol
        self.sides = {Side.BUY: BookSide(Side.BUY), Side.SELL: BookSide(Side.SELL)}
        self.update_id = first_update_id
        self._flushed_id = first_update_id
        self._dirty: dict[tuple[Side, int], int] = {}  # the update id of the last touch

    def touch(self, side: Side, price: int) -> None:
        """Note that a level changed."""
        self.update_id += 1
        self._dirty[side, price] = self.update_id

    def flush(self) -> BookDelta | None:
        """Return what changed since the last flush, None if nothing did."""
        if not self._dirty:
            return None
        changed: dict[Side, list[tuple[int, int]]] = {Side.BUY: [], Side.SELL: []}
        for side, price in self._dirty:
            level = self.sides[side].levels.get(price)
            changed[side].append((price, 0 if level is None else level.lots))
        delta = BookDelta(
            self.symbol,
            self._flushed_id + 1,
            self.update_id,
            tuple(sorted(changed[Side.BUY], reverse=True)),
            tuple(sorted(changed[Side.SELL])),
            self._dirty,
        )
        self._dirty = {}
        self._flushed_id = self.update_id
        return delta

    def view(self, depth: int) -> BookView:
        """Return the levels as they are now."""
        return BookView(
            self.symbol,
            self.update_id,
            self.sides[Side.BUY].top(depth),
            self.sides[Side.SELL].top(depth),
        )

    def best(self) -> tuple[int | None, int | None]:
        """Return best bid and best ask."""
        return self.sides[Side.BUY].best(), self.sides[Side.SELL].best()

    def assert_not_crossed(self) -> None:
        """A crossed book can only be a bug of the matching."""
        bid, ask = self.best()
        assert bid is None or ask is None or bid < ask, f"{self.symbol} crossed: {bid} >= {ask}"
