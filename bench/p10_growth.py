"""P10: what things cost when there are more of them: venues, symbols, open orders, journal records.

CPU time in microseconds a unit of work, on the real objects of the core. Each curve is given as rows,
an exponent fitted by least squares over the logarithms (1 is linear, 0 flat), and the knee: the first
step at which the cost grows faster than the number does.
"""

import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from bench.history import make_journal
from bench.p7_restore import ACCOUNTS, restore
from bench.report import Beside, Options, Result, slope
from engine.envelope import raw_body
from engine.ids import client_order_id
from engine.journal import Identity
from engine.messages.events import (
    AccountOpened,
    OpeningBalance,
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderSpec,
)
from engine.messages.market import VenueBook
from engine.messages.port import Instrument
from engine.trading.consolidated import Consolidator
from engine.trading.orders import OrderTable
from engine.trading.risk import RiskGate
from engine.trading.risk_limits import RiskLimits

VENUES = (1, 2, 4, 8, 16)
SYMBOLS = (1, 10, 50, 200)
ORDERS = (10, 100, 1_000, 10_000)
RECORDS = (10_000, 100_000, 1_000_000)
DEPTH = 20
NS = 1_000_000_000
STALE_NS = 3600 * NS
KNEE = 1.15  # steeper than this between two steps is no longer linear, noise apart


@dataclass(frozen=True)
class Curve:
    """One cost against one number of things."""

    name: str
    unit: str
    target: str
    exponent_max: float
    points: Sequence[tuple[int, float]]

    @property
    def exponent(self) -> float:
        """The slope over the logarithms."""
        return slope([(math.log(n), math.log(max(cost, 1e-9))) for n, cost in self.points])

    @property
    def knee(self) -> str:
        """Where the cost begins to grow faster than the number."""
        for (n1, cost1), (n2, cost2) in zip(self.points, self.points[1:], strict=False):
            if math.log(cost2 / cost1) > KNEE * math.log(n2 / n1):
                return f"between {n1:,} and {n2:,}"
        return f"none up to {self.points[-1][0]:,}"


def run(options: Options) -> dict[str, Result]:
    curves = _curves(options)
    worst = max(curves, key=lambda c: c.exponent - c.exponent_max)
    first, last = curves[0].points[0][1], curves[0].points[-1][1]
    return {
        "P10": Result(
            value=round(worst.exponent, 2),
            unit=f"exponent, {worst.name}",
            reference="its limit",
            reference_value=worst.exponent_max,
            ratio=None,
            target="books: <= 1 in venues, flat a symbol",
            met=all(c.exponent <= c.exponent_max for c in curves if c.target),
            beside=[Beside("16 venues against 1", round(last / first, 2), "x a merge")],
            notes=[_line(curve) for curve in curves],
        )
    }


def _line(curve: Curve) -> str:
    costs = ", ".join(f"{n:,}: {cost:,.1f}" for n, cost in curve.points)
    fitted = f"exponent {curve.exponent:.2f}, knee {curve.knee}"
    return f"{curve.name} [{curve.unit}] {costs}; {fitted}"


def _curves(options: Options) -> list[Curve]:
    work = 20 if options.quick else 2_000
    orders, records = (ORDERS[:2], (1_000, 2_000)) if options.quick else (ORDERS, RECORDS)
    repeats = options.repeats
    gates = {n: _gate(n) for n in orders}

    def curve(
        name: str, target: str, most: float, numbers: Sequence[int], cost: Callable[[int], float]
    ) -> Curve:
        return Curve(name, "us", target, most, [(n, _least(cost, n, repeats)) for n in numbers])

    curves = [
        curve("venues a merge", "linear", 1.0, VENUES, lambda n: _books(n, 1, work)),
        # Flat, but for what caches cost: a tenth of an exponent is a quarter from 1 to 10.
        curve("symbols an update", "flat", 0.1, SYMBOLS, lambda n: _books(2, n, work)),
        curve("open orders a judgement", "", 0.1, orders, lambda n: _judge(gates[n], work)),
        curve("open orders an order placed", "", 0.1, orders, lambda n: _place(gates[n], work)),
        curve("open orders a status", "", 1.0, orders, lambda n: _count(gates[n], 10)),
    ]
    points = [(n, _boot_s(n)) for n in records]
    return [*curves, Curve("records a boot without snapshot", "s", "", 1.0, points)]


# The least of the repeats: what the work costs when nobody else is in the way.
def _least(cost: Callable[[int], float], n: int, repeats: int) -> float:
    return min(cost(n) for _ in range(repeats))


def _timed(work: Callable[[int], None], count: int) -> float:
    began = time.thread_time()
    for n in range(count):
        work(n)
    return (time.thread_time() - began) / count * 1e6


# --- books ----------------------------------------------------------------------------------------


def _books(venues: int, symbols: int, count: int) -> float:
    """Return what one venue's update costs: taken, merged, encoded."""
    names = [f"v{n:02d}" for n in range(venues)]
    consolidator = Consolidator(stale_after_ns=dict.fromkeys(names, STALE_NS), depth=DEPTH)
    rng = random.Random(1)
    now_ns = time.monotonic_ns()
    books = [
        _book(f"v{n % venues:02d}", f"S{n // venues % symbols}/USDT", rng, now_ns + n)
        for n in range(2 * venues * symbols)
    ]
    for book in books[: venues * symbols]:
        consolidator.update(book)

    def update(n: int) -> None:
        book = books[n % len(books)]
        consolidator.update(book)
        raw_body(consolidator.publish(book.symbol, now_ns))

    # Each venue and symbol alternates between two books, so that something changes every time.
    return _timed(update, max(count, len(books)))


def _book(venue: str, symbol: str, rng: random.Random, mono_ns: int) -> VenueBook:
    mid = 6_400_000 + rng.randrange(20)
    bids, asks = [mid - n for n in range(DEPTH)], [mid + 1 + n for n in range(DEPTH)]
    sizes = [[rng.randrange(1, 1000) for _ in range(DEPTH)] for _ in range(2)]
    sides = bids, sizes[0], asks, sizes[1]
    return VenueBook(venue, symbol, "LIVE", "", 2, 3, *sides, 1, 1, 1, mono_ns)


# --- orders ---------------------------------------------------------------------------------------


class _Market:
    # What the gate asks of the market: one instrument, one mid.
    rules = Instrument(
        "okx", "BTC/USDT", "BTC-USDT", "BTC", "USDT", Decimal("0.1"), Decimal("0.0001"),
        Decimal("0.0001"), None, Decimal(0), Decimal(0), Decimal(0),
    )  # fmt: skip

    def instrument(self, _venue: str, _symbol: str) -> Instrument:
        return self.rules

    def mid(self, _symbol: str) -> tuple[Decimal, int]:
        return Decimal(64_000), 0

    def ahead(self, _venue: str, _symbol: str, _side: str, _price: Decimal) -> Decimal | None:
        return None


MARKET = _Market()


def _gate(open_orders: int) -> RiskGate:
    """Return a gate with that many orders resting, half of them on each side, around the mid."""
    limits = RiskLimits(
        max_order_notional=Decimal(10**6), max_open_notional=Decimal(10**9),
        max_open_orders=10**6, max_position={"BTC": Decimal(10**9)}, price_collar_pct=Decimal(20),
        max_orders_per_second=10**6,
    )  # fmt: skip
    gate = RiskGate(limits, OrderTable(closed_kept_max=1000))
    for asset, quantity in (("USDT", 10**9), ("BTC", 10**6)):
        opening = OpeningBalance("okx.main", asset, Decimal(quantity), None, None, "unknown", 1)
        gate.apply(opening)
    gate.apply(AccountOpened("okx.main", 1))
    for n in range(open_orders):
        _open(gate, _spec(n), n)
    return gate


def _open(gate: RiskGate, spec: OrderSpec, n: int) -> None:
    gate.apply(OrderApproved(spec, n * NS, n * NS + NS, "approved"))
    gate.apply(OrderAcknowledged(spec.order_id, f"v{spec.order_id}", "stream: NEW", n))


def _spec(n: int, run: str = "o") -> OrderSpec:
    side, sign = ("BUY", -1) if n % 2 else ("SELL", 1)
    price = Decimal(64_000) + sign * Decimal("0.1") * (1 + n % 5_000)
    order_id = client_order_id("bench", f"{run}{n}")
    return OrderSpec(
        order_id, f"{run}{n}", order_id, None, "okx.main", "okx", "BTC/USDT", side, "LIMIT",  # type: ignore[arg-type]
        "GTC", False, Decimal("0.001"), price, "COMMAND", "bench", n,
    )  # fmt: skip


def _judge(gate: RiskGate, count: int) -> float:
    specs = [_spec(n, "j") for n in range(100)]

    def judge(n: int) -> None:
        verdict = gate.judge(specs[n % 100], 10**6 * NS, 1, MARKET)
        assert verdict.approved, verdict.text

    return _timed(judge, count)


def _place(gate: RiskGate, count: int) -> float:
    """Return what it costs to take an order in and, once it has been denied after all, out again."""
    specs = [_spec(n, f"p{time.monotonic_ns()}-") for n in range(count)]

    def place(n: int) -> None:
        _open(gate, specs[n], n)
        gate.apply(OrderCanceled(specs[n].order_id, Decimal(0), "bench", "bench", 1))

    return _timed(place, count)


def _count(gate: RiskGate, count: int) -> float:
    """Return what the counts on the status page cost."""

    def look(_: int) -> None:
        assert sum(1 for _ in gate.orders.select(open_only=True, parents=False)) > 0

    return _timed(look, count)


# --- the journal ----------------------------------------------------------------------------------


def _boot_s(records: int) -> float:
    """Return the CPU seconds the program takes from its start until its state is restored."""
    with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
        folder = Path(name)
        make_journal(folder / "state" / "journal", Identity("demo", "bench", ACCOUNTS), records)
        return restore(folder)[1]
