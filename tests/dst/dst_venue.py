"""A venue that cannot lie: books, orders, fills and balances in exact Decimals, outliving every core.

It is the judge of the simulation: what it accepted is in `orders`, `fills` and `balances`, whatever
the core under test was told. It injects nothing by itself; dst_port.py is the bad road to it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random

from engine.clock import VirtualClock
from engine.messages.market import VenueBook
from engine.messages.port import BalanceReport, FillReport, Instrument, OrderReport, SubmitOrder

TICK = Decimal("0.1")
LOT = Decimal("0.0001")
FEE = Decimal("0.001")
ZERO = Decimal(0)
MIDS = {"BTC/USDT": 500_000, "ETH/USDT": 30_000}
OPEN = ("NEW", "PARTIALLY_FILLED")


@dataclass
class VenueOrder:
    """One accepted order, as the venue keeps it."""

    venue_order_id: str
    client_order_id: str
    symbol: str
    side: str
    order_type: str
    quantity: Decimal
    price: Decimal
    external: bool
    accepted_mono_ns: int
    status: str = "NEW"
    filled: Decimal = ZERO
    ts_ns: int = 0
    hidden_until_ns: int = 0
    ever_hidden: bool = False
    fills: list[FillReport] = field(default_factory=list)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN


class SimVenue:
    """One venue and the one account on it. `listener` is the private stream, when one is connected."""

    def __init__(self, name: str, rng: Random, clock: VirtualClock, symbols: list[str]) -> None:
        self.name = name
        self.account = f"{name}.main"
        self.uid = "uid-1" if name == "okx" else None  # one tells whose account it is, one does not
        self.told: list[tuple[str | None, str]] = []  # as whom which command was given
        self.symbols = symbols
        self.rng = rng
        self.clock = clock
        self.dedupes = rng.random() < 0.5
        self.fee_asset = "BNB" if rng.random() < 0.3 else ""
        self.orders: dict[str, VenueOrder] = {}
        self.by_client: dict[str, list[VenueOrder]] = {}
        self.fills: list[FillReport] = []
        self.balances = {"USDT": Decimal(100_000)}
        if self.fee_asset:
            self.balances[self.fee_asset] = Decimal(50)
        self.listener: Callable[[OrderReport | FillReport], None] | None = None
        self.mids = {s: MIDS[s] for s in symbols}
        self.levels: dict[str, dict[str, list[list[Decimal]]]] = {}
        self.trade_number = 0
        self.sequence = 0
        for symbol in symbols:
            self.balances[symbol.partition("/")[0]] = Decimal(5)
            self._quote(symbol)

    # --- the market -------------------------------------------------------------------------------

    def instruments(self) -> list[Instrument]:
        return [
            Instrument(
                self.name, s, s.replace("/", ""), *s.split("/"), TICK, LOT, LOT, None, Decimal(5),
                FEE, FEE,
            )
            for s in self.symbols
        ]  # fmt: skip

    def move(self, symbol: str) -> None:
        """Move the market a little and trade with what rests in its way."""
        self.mids[symbol] += self.rng.randint(-40, 40)
        self._quote(symbol)
        best = {"BUY": self.levels[symbol]["SELL"][0][0], "SELL": self.levels[symbol]["BUY"][0][0]}
        for order in [o for o in self.orders.values() if o.is_open and o.symbol == symbol]:
            sign = 1 if order.side == "BUY" else -1
            crossed = (order.price - best[order.side]) * sign >= 0
            if crossed or self.rng.random() < 0.1:
                left = order.quantity - order.filled
                part = left if self.rng.random() < 0.5 else _lots(left * Decimal("0.4"))
                if part > 0:
                    self._fill(order, part, order.price, "MAKER")

    def book(self, symbol: str, state: str, reason: str) -> VenueBook:
        self.sequence += 1
        now = self.clock.wall_ns()
        sides = [
            [int(level[i] * unit) for level in self.levels[symbol][side]]
            for side in ("BUY", "SELL")
            for i, unit in ((0, 10), (1, 10**4))
        ]
        return VenueBook(
            self.name, symbol, state, reason, 1, 4, *sides, self.sequence, now, now,
            self.clock.mono_ns(),
        )  # fmt: skip

    def _quote(self, symbol: str) -> None:
        mid = self.mids[symbol] * TICK
        self.levels[symbol] = {
            side: [
                [mid + sign * TICK * (5 + 20 * n), LOT * self.rng.randint(20, 400)]
                for n in range(4)
            ]
            for side, sign in (("BUY", -1), ("SELL", 1))
        }

    # --- orders -----------------------------------------------------------------------------------

    def accept(self, order: SubmitOrder, *, external: bool = False) -> VenueOrder | tuple[str, str]:
        """Take an order into the book and match it, or return code and text of the refusal."""
        client_id, side, symbol = order.client_order_id, order.side, order.symbol
        if self.dedupes and client_id in self.by_client:
            return "DUPLICATE", "Duplicate order sent."
        levels = self.levels[symbol]["SELL" if side == "BUY" else "BUY"]
        sign = 1 if side == "BUY" else -1
        price = order.price if order.price is not None else levels[-1][0]
        reachable = sum((s for p, s in levels if (price - p) * sign >= 0), ZERO)
        if order.post_only and reachable:
            return "POST_ONLY", "would trade at once"
        if not self._affords(order, price):
            return "BALANCE", "insufficient balance"
        number = len(self.orders) + 1
        found = VenueOrder(
            f"{self.name[0]}{number}", client_id, symbol, side, order.order_type, order.quantity,
            price, external, self.clock.mono_ns(), ts_ns=self.clock.wall_ns(),
        )  # fmt: skip
        self.orders[found.venue_order_id] = found
        self.by_client.setdefault(client_id, []).append(found)
        self._tell(found)
        if order.time_in_force != "FOK" or reachable >= order.quantity:
            for level in levels:
                take = min(level[1], order.quantity - found.filled)
                if take > 0 and (price - level[0]) * sign >= 0:
                    level[1] -= take
                    self._fill(found, take, level[0], "TAKER")
        if found.is_open and order.time_in_force != "GTC":
            self._end(found, "EXPIRED")
        return found

    def cancel(self, client_id: str, venue_order_id: str | None) -> tuple[str, str]:
        """Cancel; return outcome and code."""
        found = self.find(client_id, venue_order_id)
        if found is None:
            return "REJECTED", "not_found"
        if not found.is_open:
            return "REJECTED", "not_found" if self.rng.random() < 0.5 else "too_late"
        self._end(found, "CANCELED")
        return "ACCEPTED", ""

    def find(self, client_id: str, venue_order_id: str | None) -> VenueOrder | None:
        if venue_order_id is not None and venue_order_id in self.orders:
            return self.orders[venue_order_id]
        found = self.by_client.get(client_id)
        return found[-1] if found else None

    def is_hidden(self, order: VenueOrder) -> bool:
        return self.clock.mono_ns() < order.hidden_until_ns

    def report(self, order: VenueOrder, source: str) -> OrderReport:
        return OrderReport(
            self.account, order.client_order_id, order.venue_order_id, order.symbol, order.side,
            order.order_type, order.quantity, order.price, order.status, order.filled, "", source,
            order.ts_ns,
        )  # fmt: skip

    def balance_reports(self) -> list[BalanceReport]:
        locked = dict.fromkeys(self.balances, ZERO)
        for order in self.orders.values():
            if order.is_open:
                base, _, quote = order.symbol.partition("/")
                left = order.quantity - order.filled
                if order.side == "BUY":
                    locked[quote] += left * order.price
                else:
                    locked[base] += left
        return [BalanceReport(a, t - locked[a], locked[a]) for a, t in self.balances.items()]

    # --- private ----------------------------------------------------------------------------------

    def _affords(self, order: SubmitOrder, price: Decimal) -> bool:
        base, _, quote = order.symbol.partition("/")
        free = {b.asset: b.free for b in self.balance_reports()}
        if order.side == "BUY":
            return free[quote] >= price * order.quantity * (1 + FEE)
        return free[base] >= order.quantity

    def _fill(self, order: VenueOrder, size: Decimal, price: Decimal, liquidity: str) -> None:
        base, _, quote = order.symbol.partition("/")
        sign = 1 if order.side == "BUY" else -1
        fee_asset = self.fee_asset or (base if order.side == "BUY" else quote)
        fee = {base: size, quote: size * price}.get(fee_asset, size) * FEE
        fee = -fee if liquidity == "MAKER" and self.rng.random() < 0.2 else fee  # a rebate
        self.balances[base] += sign * size
        self.balances[quote] -= sign * size * price
        self.balances[fee_asset] -= fee
        order.filled += size
        order.ts_ns = self.clock.wall_ns()
        order.status = "FILLED" if order.filled == order.quantity else "PARTIALLY_FILLED"
        self.trade_number += 1
        fill = FillReport(
            self.account, order.client_order_id, order.venue_order_id, f"t{self.trade_number}",
            order.symbol, order.side, price, size, fee, fee_asset, liquidity, "stream",
            self.clock.wall_ns(),
        )  # fmt: skip
        self.fills.append(fill)
        order.fills.append(fill)
        self._tell(order, fill)

    def _end(self, order: VenueOrder, status: str) -> None:
        order.status, order.ts_ns = status, self.clock.wall_ns()
        self._tell(order)

    def _tell(self, order: VenueOrder, fill: FillReport | None = None) -> None:
        if self.listener is not None:
            if fill is not None:
                self.listener(fill)
            self.listener(self.report(order, "stream"))


def _lots(quantity: Decimal) -> Decimal:
    return quantity // LOT * LOT
