"""The position of one account in one symbol: what is held, what it cost, what was earned.

Method: FIFO lots. A lot is a signed quantity and its signed cost, both exact decimals; nothing is
stored as a quotient. A fill first closes the oldest lots of the opposite sign, then opens a lot.
Closing part of a lot takes the same part of its cost; where that part is no finite decimal (only a
lot whose cost was given as a total, or lots that were merged) it is cut at 24 places and the rest
stays in the lot. So this identity holds to the last digit, always, at any mark:

    realized_pnl + unrealized(mark) == proceeds - payments + mark * quantity     (known lots)

Inventory of unknown cost (an opening balance nobody priced, a deposit) is kept apart. It is sold
only after the lots of known cost, and its proceeds are shown as `unknown_proceeds`: they are never
counted as profit, because what they cost is not known.

Fees are kept per asset beside the position and never change its quantity or cost: the quantity is
the sum of the signed fills, openings and adjustments, and the ledger's balances carry the fees.

Known weakness: beyond LOTS_MAX the two oldest lots are merged, which moves realized PnL between
those two but loses none of it.
"""

from decimal import Decimal
from typing import Final

from engine.messages.base import State
from engine.messages.events import OpeningBalance, OrderFilled
from engine.trading.money import ZERO, exact, part_of, ratio

LOTS_MAX: Final = 1000


class Lot(State):
    """A signed quantity and what it cost (negative: what it brought), opened together."""

    quantity: Decimal
    cost: Decimal


class Position(State):
    """One account's position in one symbol. Changed by `fill`, `open_with` and `adjust` alone."""

    account: str
    symbol: str
    lots: list[Lot] = []  # noqa: RUF012  msgspec copies the empty default
    lots_quantity: Decimal = ZERO
    lots_cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    fees: dict[str, Decimal] = {}  # noqa: RUF012
    unknown_quantity: Decimal = ZERO
    unknown_sold: Decimal = ZERO
    unknown_proceeds: Decimal = ZERO
    traded_quantity: Decimal = ZERO  # sum of signed fills
    opening_quantity: Decimal = ZERO
    adjusted_quantity: Decimal = ZERO
    adjusted_cost: Decimal = ZERO  # cost that left with adjusted quantities; not PnL
    basis: str = "fills"  # of the opening: given, marked, unknown; fills when there was none
    ts_last_ns: int = 0

    @property
    @exact
    def quantity(self) -> Decimal:
        """Everything held: lots of known cost plus inventory of unknown cost."""
        return self.lots_quantity + self.unknown_quantity

    @property
    def average_entry_price(self) -> Decimal | None:
        """Cost over quantity of the lots of known cost, to 28 digits; None when there are none."""
        return ratio(self.lots_cost, self.lots_quantity)

    @exact
    def unrealized(self, mark: Decimal) -> Decimal:
        """Return the unrealized PnL of the lots of known cost at `mark`, before fees."""
        return mark * self.lots_quantity - self.lots_cost

    @exact
    def fill(self, event: OrderFilled) -> None:
        """Take one execution."""
        signed = event.quantity if event.side == "BUY" else -event.quantity
        self.traded_quantity += signed
        rest = self._close(signed, event.price)
        if rest < 0 < self.unknown_quantity:
            rest = self._sell_unknown(rest, event.price)
        if rest != 0:
            self._open(rest, rest * event.price)
        if event.fee != 0:
            self.fees[event.fee_asset] = self.fees.get(event.fee_asset, ZERO) + event.fee
        self.ts_last_ns = max(self.ts_last_ns, event.ts_event_ns)

    @exact
    def open_with(self, event: OpeningBalance) -> None:
        """Take an opening balance as the first lot, or as inventory of unknown cost."""
        self.opening_quantity += event.quantity
        self.basis = event.basis
        if event.cost is None:
            self.unknown_quantity += event.quantity
        elif event.quantity != 0:
            self._open(event.quantity, event.cost)
        self.ts_last_ns = max(self.ts_last_ns, event.ts_ns)

    @exact
    def adjust(self, quantity: Decimal) -> None:
        """Take an accepted difference: what came has no known cost, what went takes its cost along."""
        self.adjusted_quantity += quantity
        if quantity > 0:
            self.unknown_quantity += quantity
            return
        from_unknown = min(-quantity, self.unknown_quantity)
        self.unknown_quantity -= from_unknown
        rest = -quantity - from_unknown
        while rest > 0 and self.lots_quantity > 0:
            taken, cost = self._take_oldest(rest)
            self.adjusted_cost += cost
            rest -= taken
        self.unknown_quantity -= rest  # below zero: more left than was ever known here

    # Close the oldest lots against `signed`; return what is left of it.
    def _close(self, signed: Decimal, price: Decimal) -> Decimal:
        rest = signed
        while rest != 0 and self.lots and (self.lots[0].quantity > 0) != (rest > 0):
            taken, cost = self._take_oldest(abs(rest))
            self.realized_pnl += taken * price - cost
            rest += taken
        return rest

    # Take up to `wanted` (positive) from the oldest lot; return its signed quantity and cost.
    def _take_oldest(self, wanted: Decimal) -> tuple[Decimal, Decimal]:
        lot = self.lots[0]
        size = min(wanted, abs(lot.quantity))
        taken = size if lot.quantity > 0 else -size
        cost = part_of(lot.cost, taken, lot.quantity)
        lot.quantity -= taken
        lot.cost -= cost
        if lot.quantity == 0:
            del self.lots[0]
        self.lots_quantity -= taken
        self.lots_cost -= cost
        return taken, cost

    def _sell_unknown(self, signed: Decimal, price: Decimal) -> Decimal:
        sold = min(-signed, self.unknown_quantity)
        self.unknown_quantity -= sold
        self.unknown_sold += sold
        self.unknown_proceeds += sold * price
        return signed + sold

    def _open(self, quantity: Decimal, cost: Decimal) -> None:
        self.lots_quantity += quantity
        self.lots_cost += cost
        last = self.lots[-1] if self.lots else None
        if last is not None and last.cost * quantity == cost * last.quantity:
            last.quantity += quantity  # the same price: still one lot
            last.cost += cost
            return
        self.lots.append(Lot(quantity, cost))
        if len(self.lots) > LOTS_MAX:
            second = self.lots.pop(1)
            self.lots[0] = Lot(
                self.lots[0].quantity + second.quantity, self.lots[0].cost + second.cost
            )
