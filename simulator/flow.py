"""Background order flow that looks like a market, from one seed.

A random walk shared by all venues (`SharedMid`) gives each symbol's fair value; each venue adds a
small mean-reverting basis of its own, so that spreads sit close together and now and then cross.
Around it makers place, move and cancel quotes, takers hit them, in bursts. All of it belongs to
one internal account and is never written to the log.

Floats are used for opinions (a fair price, a size wanted); what reaches the engine is
ticks and lots.
"""

import math
import random
from dataclasses import dataclass, field

from simulator.instruments import UNIT, Instrument
from simulator.matching import Engine
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, TimeInForce

FLOW_ACCOUNT = "flow"
STEP_MS = 50
START_PRICE = {"BTC/USDT": 65_000.0, "ETH/USDT": 3_400.0, "ETH/BTC": 0.0523}
# Median size in base units, and how busy the symbol is.
MEDIAN_SIZE = {"BTC/USDT": 0.04, "ETH/USDT": 0.6, "ETH/BTC": 0.4}
ACTIVITY = {"BTC/USDT": 1.0, "ETH/USDT": 0.8, "ETH/BTC": 0.15}
LEVELS_TARGET = 30
QUOTES_MAX = 45  # per side
STEP_SIGMA = 0.000012  # about 1 % an hour at 20 steps a second


class SharedMid:
    """The fair price of every symbol at each step, the same for all venues."""

    def __init__(self, seed: int, start: dict[str, float] | None = None) -> None:
        self._rng = random.Random(f"mid-{seed}")
        self._at = 0
        self.prices = dict(START_PRICE)
        self.prices.update(start or {})

    def at(self, step: int) -> dict[str, float]:
        """Return the prices at a step; steps are asked for in rising order."""
        while self._at < step:
            self._at += 1
            common = self._rng.gauss(0, STEP_SIGMA)
            for symbol in ("BTC/USDT", "ETH/USDT"):
                own = self._rng.gauss(0, STEP_SIGMA * 0.6)
                self.prices[symbol] *= math.exp(common + own)
            self.prices["ETH/BTC"] = self.prices["ETH/USDT"] / self.prices["BTC/USDT"]
        return self.prices


@dataclass(slots=True)
class _Quotes:
    """What the flow has resting on one symbol."""

    orders: dict[Side, dict[int, Order]] = field(
        default_factory=lambda: {Side.BUY: {}, Side.SELL: {}}
    )
    basis: float = 0.0
    burst_left: int = 0


class Flow:
    """Drives one venue's books; call `step` every STEP_MS of the venue's time."""

    def __init__(self, engine: Engine, mid: SharedMid, seed: int, venue: str) -> None:
        self._engine = engine
        self._mid = mid
        self._rng = random.Random(f"flow-{venue}-{seed}")
        self._quotes = {symbol: _Quotes() for symbol in engine.instruments}
        self._step = 0
        engine.ledger.mark_internal(FLOW_ACCOUNT)

    def step(self) -> None:
        """Act once on every symbol."""
        self._step += 1
        prices = self._mid.at(self._step)
        for symbol, quotes in self._quotes.items():
            quotes.basis = quotes.basis * 0.995 + self._rng.gauss(0, 0.00001)
            self._act(symbol, quotes, prices[symbol] * (1 + quotes.basis))

    def prices(self) -> dict[str, float]:
        """Return the fair prices as they stand."""
        return dict(self._mid.prices)

    def set_price(self, symbol: str, price: float) -> None:
        """Put the fair price somewhere else, for all venues that share it; ValueError for a bad one."""
        if symbol not in self._mid.prices or not 0 < price < 1e9:
            raise ValueError(f"no such symbol or price: {symbol} {price}")
        self._mid.prices[symbol] = price

    def fill_books(self) -> None:
        """Lay a first set of quotes, so that a book is never empty at the start."""
        prices = self._mid.at(self._step)
        for symbol, quotes in self._quotes.items():
            for side in Side:
                for _ in range(LEVELS_TARGET):
                    self._quote(symbol, quotes, prices[symbol], side)

    def clear(self) -> None:
        """Cancel all quotes (the flow is being switched off with an empty market wanted)."""
        for quotes in self._quotes.values():
            for side in Side:
                for order in list(quotes.orders[side].values()):
                    self._cancel(quotes, order)

    def _act(self, symbol: str, quotes: _Quotes, fair: float) -> None:
        rng = self._rng
        if quotes.burst_left:
            quotes.burst_left -= 1
        elif rng.random() < 0.004:
            quotes.burst_left = rng.randrange(5, 40)
        busy = ACTIVITY[symbol] * (4.0 if quotes.burst_left else 1.0)
        for side in Side:
            self._forget_closed(quotes, side)
            self._pull_stale(symbol, quotes, fair, side)
            if len(quotes.orders[side]) < LEVELS_TARGET:
                self._quote(symbol, quotes, fair, side)
        for _ in range(self._count(1.6 * busy)):
            self._quote(symbol, quotes, fair, rng.choice((Side.BUY, Side.SELL)))
        for _ in range(self._count(1.2 * busy)):
            self._cancel_some(quotes, rng.choice((Side.BUY, Side.SELL)))
        self._take_mispriced(symbol, fair)
        if rng.random() < 0.10 * busy:
            self._take(symbol, rng.choice((Side.BUY, Side.SELL)))

    def _count(self, mean: float) -> int:
        return int(mean) + (self._rng.random() < mean - int(mean))

    def _quote(self, symbol: str, quotes: _Quotes, fair: float, side: Side) -> None:
        if len(quotes.orders[side]) >= QUOTES_MAX:
            self._cancel_some(quotes, side)
        instrument = self._engine.instruments[symbol]
        # Half a basis point from fair at the best, thinning out to about twenty.
        distance = fair * (0.00005 + self._rng.expovariate(1.0) * 0.0004)
        price = self._ticks(instrument, fair - distance if side is Side.BUY else fair + distance)
        best = self._engine.books[symbol].sides[side.opposite].best()
        if best is not None and (price >= best if side is Side.BUY else price <= best):
            price = best - 1 if side is Side.BUY else best + 1
        if price <= 0:
            return
        order = self._place(symbol, side, OrderType.LIMIT, self._size(symbol, 1.1), price)
        if order is not None and order.is_open:
            quotes.orders[side][order.order_id] = order

    def _cancel_some(self, quotes: _Quotes, side: Side) -> None:
        if quotes.orders[side]:
            # Old quotes are likelier to go: pick from the older half.
            pool = list(quotes.orders[side].values())
            self._cancel(quotes, pool[self._rng.randrange((len(pool) + 1) // 2)])

    def _pull_stale(self, symbol: str, quotes: _Quotes, fair: float, side: Side) -> None:
        limit = self._ticks(self._engine.instruments[symbol], fair)
        for order in list(quotes.orders[side].values()):
            assert order.price is not None
            wrong = order.price > limit if side is Side.BUY else order.price < limit
            # Makers are quick, not perfect: some stale quotes are left for the takers.
            if wrong and self._rng.random() < 0.7:
                self._cancel(quotes, order)

    def _take_mispriced(self, symbol: str, fair: float) -> None:
        instrument = self._engine.instruments[symbol]
        for side in Side:
            edge = fair * (1.0002 if side is Side.SELL else 0.9998)
            best = self._engine.books[symbol].sides[side.opposite].best()
            limit = self._ticks(instrument, edge)
            if best is None or self._rng.random() > 0.3:
                continue
            if best > limit if side is Side.SELL else best < limit:
                self._place(symbol, side, OrderType.LIMIT, self._size(symbol, 0.8), limit, ioc=True)

    def _take(self, symbol: str, side: Side) -> None:
        self._place(symbol, side, OrderType.MARKET, self._size(symbol, 0.9), None)

    def _place(
        self,
        symbol: str,
        side: Side,
        order_type: OrderType,
        lots: int,
        price: int | None,
        *,
        ioc: bool = False,
    ) -> Order | None:
        tif = TimeInForce.IOC if ioc else TimeInForce.GTC
        wanted = NewOrder(symbol, side, order_type, "", lots, price, None, tif)
        try:
            return self._engine.place(FLOW_ACCOUNT, wanted)
        except Refused:  # a halted symbol
            return None

    def _cancel(self, quotes: _Quotes, order: Order) -> None:
        quotes.orders[order.side].pop(order.order_id, None)
        if order.is_open:
            self._engine.cancel(order)

    def _forget_closed(self, quotes: _Quotes, side: Side) -> None:
        orders = quotes.orders[side]
        for order_id in [i for i, order in orders.items() if not order.is_open]:
            del orders[order_id]

    def _size(self, symbol: str, sigma: float) -> int:
        instrument = self._engine.instruments[symbol]
        base = MEDIAN_SIZE[symbol] * self._rng.lognormvariate(0, sigma)
        return max(1, int(base * UNIT) // instrument.lot_units)

    def _ticks(self, instrument: Instrument, price: float) -> int:
        return round(price * UNIT) // instrument.tick_units
