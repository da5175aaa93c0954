"""What a venue charges for a fill, in which asset, and what an order must reserve for it.

Most venues take the fee out of what is received. Some take it in the quote asset always: there a buy
costs more than its price, and its order reserves the fee beforehand, at the taker's rate.
"""

from dataclasses import dataclass

BPS = 10_000


@dataclass(frozen=True, slots=True)
class Fees:
    """Fee rates in basis points; `step` is the unit count fees are cut to."""

    maker_bps: int
    taker_bps: int
    step: int
    is_in_quote: bool = False

    def of(self, amount: int, *, is_maker: bool) -> int:
        """Return the fee on an amount of the asset it is taken in, in units."""
        fee = amount * (self.maker_bps if is_maker else self.taker_bps) // BPS
        return fee - fee % self.step

    def with_allowance(self, cost: int) -> int:
        """Return what a buy of this cost (in units of the quote) must reserve."""
        if not self.is_in_quote:
            return cost
        return cost - -cost * max(self.maker_bps, self.taker_bps) // BPS
