"""The public trades of one symbol, lately, and the candles and day figures made from them.

It forgets: a thousand trades, a thousand minutes. Prices are ticks, quantities lots.
"""

from collections import deque
from dataclasses import dataclass, field

from simulator.clock import NS_PER_MS
from simulator.orders import Traded

MINUTE_MS = 60_000
KEPT = 1000


@dataclass(slots=True)
class Candle:
    """One minute."""

    start_ms: int
    first: int
    high: int
    low: int
    last: int
    lots: int = 0
    turnover: int = 0  # ticks x lots
    count: int = 0
    taker_lots: int = 0
    taker_turnover: int = 0


@dataclass(slots=True)
class Tape:
    """Recent prints and minutes."""

    trades: deque[Traded] = field(default_factory=lambda: deque(maxlen=KEPT))
    candles: deque[Candle] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, trade: Traded) -> None:
        """Take in one print."""
        self.trades.append(trade)
        start_ms = trade.time_ns // NS_PER_MS // MINUTE_MS * MINUTE_MS
        if not self.candles or self.candles[-1].start_ms != start_ms:
            price = trade.price
            self.candles.append(Candle(start_ms, price, price, price, price))
        candle = self.candles[-1]
        candle.high, candle.low = max(candle.high, trade.price), min(candle.low, trade.price)
        candle.last = trade.price
        candle.lots += trade.quantity
        candle.turnover += trade.price * trade.quantity
        candle.count += 1
        if not trade.buyer_is_maker:
            candle.taker_lots += trade.quantity
            candle.taker_turnover += trade.price * trade.quantity

    def day(self) -> Candle:
        """Return all kept minutes as one; zeros when nothing has traded."""
        if not self.candles:
            return Candle(0, 0, 0, 0, 0)
        first = self.candles[0]
        day = Candle(first.start_ms, first.first, first.high, first.low, self.candles[-1].last)
        for candle in self.candles:
            day.high, day.low = max(day.high, candle.high), min(day.low, candle.low)
            day.lots += candle.lots
            day.turnover += candle.turnover
            day.count += candle.count
        return day
