"""NautilusTrader, its Python side: adapter and data engine on recorded frames, and its backtest engine."""

import gc
import random
import time
from typing import Any

import msgspec
from nautilus_trader.adapters.binance.common.schemas.market import BinanceOrderBookMsg
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.config import LoggingConfig, RiskEngineConfig
from nautilus_trader.data.engine import DataEngine
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import BookOrder, OrderBookDelta, OrderBookDeltas
from nautilus_trader.model.enums import (
    AccountType,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    TimeInForce,
)
from nautilus_trader.model.identifiers import TraderId, Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

from bench.recorded import Session

INSTRUMENT = TestInstrumentProvider.btcusdt_binance()
LAST = 128  # the flag of a frame's last delta
LEVELS = 8


def frames(session: Session) -> float:
    """Return frames per second of CPU: decode, deltas, data engine, message bus, handler."""
    clock = TestClock()
    bus = MessageBus(TraderId("T-001"), clock)
    cache = Cache()
    engine = DataEngine(bus, cache, clock)
    cache.add_instrument(INSTRUMENT)
    handled = 0

    def handle(_deltas: Any) -> None:
        nonlocal handled
        handled += 1

    bus.subscribe(f"data.book.deltas.{INSTRUMENT.id.venue}.{INSTRUMENT.id.symbol}", handle)
    decode = msgspec.json.Decoder(BinanceOrderBookMsg).decode
    gc.collect()
    began = time.process_time()
    for raw in session.frames:
        data = decode(raw).data
        engine.process(data.parse_to_order_book_deltas(instrument_id=INSTRUMENT.id, ts_init=1))
    took = time.process_time() - began
    assert handled == len(session.frames), f"{handled} of {len(session.frames)} were handled"
    return len(session.frames) / took


def orders(ticks: int) -> tuple[float, float]:
    """Return the median and 99th percentile, in us, from a book tick to the fill of its order."""
    limits = RiskEngineConfig(max_order_submit_rate="1000000/00:00:01")
    quiet = LoggingConfig(bypass_logging=True, log_level="ERROR")
    engine = BacktestEngine(
        BacktestEngineConfig(logging=quiet, risk_engine=limits, run_analysis=False)
    )
    money = [Money(100_000_000, USDT), Money(1000, BTC)]
    engine.add_venue(
        Venue("BINANCE"), OmsType.NETTING, AccountType.MARGIN, money, base_currency=None,
        book_type=BookType.L2_MBP,
    )  # fmt: skip
    engine.add_instrument(INSTRUMENT)
    strategy = _Trades()
    engine.add_strategy(strategy)
    engine.add_data(_stream(ticks))
    gc.collect()
    engine.run()
    took = sorted(strategy.took_ns)
    engine.dispose()
    assert len(took) == ticks, f"{len(took)} fills of {ticks}"
    return took[len(took) // 2] / 1000, took[len(took) * 99 // 100] / 1000


class _Trades(Strategy):
    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0
        self.began_ns = 0
        self.took_ns: list[int] = []

    def on_start(self) -> None:
        self.subscribe_order_book_deltas(INSTRUMENT.id, BookType.L2_MBP)

    def on_order_book_deltas(self, _deltas: Any) -> None:
        self.ticks += 1
        if self.ticks == 1:
            return
        self.began_ns = time.perf_counter_ns()
        side = OrderSide.BUY if self.ticks % 2 else OrderSide.SELL
        order = self.order_factory.market(
            INSTRUMENT.id, side, Quantity(0.01, 6), time_in_force=TimeInForce.IOC
        )
        self.submit_order(order)

    def on_order_filled(self, _event: Any) -> None:
        self.took_ns.append(time.perf_counter_ns() - self.began_ns)


def _stream(ticks: int) -> list[Any]:
    rng = random.Random(3)
    mid, at_ns = 6_425_000, 1_700_000_000_000_000_000
    rows = [(side, n) for side in (OrderSide.BUY, OrderSide.SELL) for n in range(100)]
    found = [_deltas([(s, BookAction.ADD, _price(mid, s, n), 1.0 + n) for s, n in rows], at_ns)]
    for _ in range(ticks):
        at_ns += 1_000_000
        changes = []
        for _ in range(LEVELS):
            side = rng.choice((OrderSide.BUY, OrderSide.SELL))
            price = _price(mid, side, int(rng.expovariate(1 / 12)))
            changes.append((side, BookAction.UPDATE, price, 1.0 + rng.random()))
        found.append(_deltas(changes, at_ns))
    return found


def _price(mid: int, side: Any, level: int) -> float:
    return (mid - 1 - level if side == OrderSide.BUY else mid + level) / 100


def _deltas(rows: list[tuple[Any, Any, float, float]], at_ns: int) -> Any:
    last = len(rows) - 1
    return OrderBookDeltas(
        INSTRUMENT.id,
        [
            OrderBookDelta(
                INSTRUMENT.id, action, BookOrder(side, Price(price, 2), Quantity(size, 6), 0),
                LAST if n == last else 0, 0, at_ns, at_ns,
            )
            for n, (side, action, price, size) in enumerate(rows)
        ],
    )  # fmt: skip
