"""What open orders can still do, summed up as they change: the worst case that risk charges.

Every order that may still trade is charged with all it may still fill: in flight, UNKNOWN and
PENDING_CANCEL ones in full, and closed ones with the fills that the venue claims and has not yet
itemised. The sums are exact, so adding and taking away leaves no trace.
"""

from decimal import Decimal
from typing import Final, NamedTuple, TypeVar

from engine.trading.money import ZERO, minus, plus, split_symbol, times
from engine.trading.order import Order

Key = tuple[str, str]
K = TypeVar("K")
ONE: Final = Decimal(1)


class Charge(NamedTuple):
    """One order's claim: it may still trade `quantity` at `price` or better."""

    order_id: str
    account: str
    venue: str
    symbol: str
    base: str
    quote: str
    side: str
    price: Decimal | None
    quantity: Decimal
    is_open: bool


class Exposure:
    """Running sums over all charges. `update` is the only thing that changes them."""

    def __init__(self, fee_reserve: Decimal) -> None:
        self._fee_factor: Final = plus(ONE, fee_reserve)
        self._charges: dict[str, Charge] = {}
        self._resting: dict[tuple[str, str, str], dict[str, Charge]] = {}  # venue, symbol, side
        self._by_side: dict[tuple[str, str, str], Decimal] = {}  # account, base, side
        self._net_by_side: dict[Key, Decimal] = {}  # base, side: the same over all accounts
        self._reserved: dict[Key, Decimal] = {}  # account, asset
        self.notional: dict[str, Decimal] = {}  # per quote asset, orders with a price
        self.unpriced: dict[str, Decimal] = {}  # per symbol, orders without one
        self.open_orders = 0

    def update(self, order: Order) -> None:
        """Charge the order for what it can do now, in place of its former charge."""
        spec = order.spec
        former = self._charges.get(spec.order_id)
        quantity, is_open = order.exposure_quantity, order.is_open
        if former is None:
            if quantity or is_open:
                self._begin(order, quantity)
            return
        change = minus(quantity, former.quantity)
        if not change and is_open is former.is_open:
            return
        self.open_orders += is_open - former.is_open
        self._count(former, change)
        resting = self._resting[spec.venue, spec.symbol, spec.side]
        if quantity or is_open:
            charge = former._replace(quantity=quantity, is_open=is_open)
            self._charges[spec.order_id] = resting[spec.order_id] = charge
        else:
            del self._charges[spec.order_id], resting[spec.order_id]

    def _begin(self, order: Order, quantity: Decimal) -> None:
        spec = order.spec
        base, quote = split_symbol(spec.symbol)
        charge = Charge(
            spec.order_id,
            spec.account or "",
            spec.venue,
            spec.symbol,
            base,
            quote,
            spec.side,
            spec.price,
            quantity,
            order.is_open,
        )
        self._charges[spec.order_id] = charge
        self._resting.setdefault((spec.venue, spec.symbol, spec.side), {})[spec.order_id] = charge
        self.open_orders += charge.is_open
        self._count(charge, quantity)

    def side_quantity(self, base: str, side: str, account: str | None = None) -> Decimal:
        """Return what all orders of one side may still trade of an asset, per account or net."""
        if account is not None:
            return self._by_side.get((account, base, side), ZERO)
        return self._net_by_side.get((base, side), ZERO)

    def reserved(self, account: str, asset: str) -> Decimal:
        """Return what open orders claim of a balance: quote with fees for buys, base for sells."""
        return self._reserved.get((account, asset), ZERO)

    def bases(self) -> set[str]:
        """Return the assets that any order has ever been charged for."""
        return {base for (base, _) in self._net_by_side}

    def crossing(self, venue: str, symbol: str, side: str, price: Decimal | None) -> list[Charge]:
        """Return our own orders on the other side that `side` at `price` could trade with."""
        other = "SELL" if side == "BUY" else "BUY"
        found: list[Charge] = []
        for charge in self._resting.get((venue, symbol, other), {}).values():
            if not charge.is_open:
                continue
            if price is None or charge.price is None:
                found.append(charge)
                continue
            buy, sell = (price, charge.price) if side == "BUY" else (charge.price, price)
            if buy >= sell:
                found.append(charge)
        return found

    # Each sum of a charge moves by `change` of its quantity: what was added goes away again exactly.
    def _count(self, charge: Charge, change: Decimal) -> None:
        account, base, side, price = charge.account, charge.base, charge.side, charge.price
        _add(self._by_side, (account, base, side), change)
        _add(self._net_by_side, (base, side), change)
        if side == "SELL":
            _add(self._reserved, (account, base), change)
        if price is None:
            _add(self.unpriced, charge.symbol, change)
            return
        notional = times(price, change)
        _add(self.notional, charge.quote, notional)
        if side == "BUY":
            _add(self._reserved, (account, charge.quote), times(notional, self._fee_factor))


def _add(sums: dict[K, Decimal], key: K, quantity: Decimal) -> None:
    former = sums.get(key)
    sums[key] = quantity if former is None else plus(former, quantity)
