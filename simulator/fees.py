"""What a venue charges, and what an order must hold so that it can pay. Pure; amounts are units."""

from dataclasses import dataclass

from simulator.instruments import Instrument
from simulator.orders import Order, Side

BPS = 10_000


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee rates in basis points; `step` is the unit count fees are cut to.

    `in_quote`: every fee is paid in the quote, a buyer's on top of the price; else in what is received.
    """

    maker_bps: int
    taker_bps: int
    step: int
    in_quote: bool = False

    def of(self, amount: int, *, is_maker: bool) -> int:
        """Return the fee of an amount."""
        fee = amount * (self.maker_bps if is_maker else self.taker_bps) // BPS
        return fee - fee % self.step

    def is_on_top(self, side: Side) -> bool:
        """Tell whether this side pays its fee beside the price."""
        return self.in_quote and side is Side.BUY

    def with_room(self, notional: int) -> int:
        """Return a buyer's price with the most that its fee can be, rounded up."""
        if not self.in_quote:
            return notional
        return notional - (-notional * max(self.maker_bps, self.taker_bps) // BPS)

    def needed(self, order: Order, instrument: Instrument, lots: int, price: int) -> int:
        """Return what so many lots hold at a limit: what a seller gives, or a buyer pays."""
        if order.side is Side.SELL:
            return lots * instrument.lot_units
        return self.with_room(lots * price * instrument.notional_unit)
