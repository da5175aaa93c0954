"""The rules of one instrument, applied exactly: what price and quantity a venue would accept.

Quantise before risk looks, so that what was judged is what is sent: a buy's price is floored, a
sell's is raised, both away from a worse deal; a quantity is always floored. Nothing here rounds to
nearest and nothing here knows what is affordable.
"""

from decimal import Decimal
from typing import Final

from engine.errors import Refused
from engine.messages.base import Side
from engine.messages.port import Instrument

# Books are finer than today's grid: venues coarsen ticks and lots, and orders from before stay in
# the book (recorded: 25.426189 BTC resting at Binance where the lot is 0.00001). Eight decimals are
# also what most venues write, so that nothing is to be divided, and venues agree on the units. What
# trades in whole coins is counted in billions, which would not fit a message with eight.
VENUE_DECIMALS: Final = 8
SPARE_DECIMALS: Final = 3


def standing(instrument: Instrument) -> str:
    """Return an instrument's status in words, with its reason where one is known."""
    reason = instrument.status_reason
    return f"{instrument.status}: {reason}" if reason else instrument.status


def decimals_of(step: Decimal) -> int:
    """Return how many decimals a tick or lot has: 0.01 -> 2, 10 -> 0."""
    exponent = step.normalize().as_tuple().exponent
    assert isinstance(exponent, int), f"a step is a finite number, not {step}"
    return max(0, -exponent)


def written_decimals(step: Decimal) -> int:
    """Return how many decimals a tick or lot is written with: 0.10 -> 2. Checksums count them."""
    exponent = step.as_tuple().exponent
    assert isinstance(exponent, int), f"a step is a finite number, not {step}"
    return max(0, -exponent)


def price_exponent(instrument: Instrument) -> int:
    """Return the exponent of this instrument's integer prices in books."""
    return max(VENUE_DECIMALS, decimals_of(instrument.tick_size))


def quantity_exponent(instrument: Instrument) -> int:
    """Return the exponent of this instrument's integer quantities in books."""
    decimals = decimals_of(instrument.lot_size)
    return max(VENUE_DECIMALS, decimals) if decimals else SPARE_DECIMALS


def quantise_price(instrument: Instrument, side: Side, price: Decimal) -> Decimal:
    """Return the price on the tick grid: floor for a buy, ceiling for a sell."""
    tick = instrument.tick_size
    ticks = price // tick
    if side == "SELL" and ticks * tick != price:
        ticks += 1
    return ticks * tick


def quantise_quantity(instrument: Instrument, quantity: Decimal) -> Decimal:
    """Return the quantity on the lot grid, never more than asked."""
    return quantity // instrument.lot_size * instrument.lot_size


def check_order(instrument: Instrument, quantity: Decimal, price: Decimal | None) -> None:
    """Raise Refused unless the venue's rules allow this already quantised order.

    `price` None (a market order without a collar) leaves the notional to the venue.
    """
    name = f"{instrument.symbol} at {instrument.venue}"
    if instrument.status != "TRADING":
        raise Refused("not_trading", f"{name} is {standing(instrument)}")
    if quantity <= 0 or quantity < instrument.quantity_min:
        raise Refused(
            "quantity_min", f"{name}: quantity {quantity} is below {instrument.quantity_min}"
        )
    if instrument.quantity_max is not None and quantity > instrument.quantity_max:
        raise Refused(
            "quantity_max", f"{name}: quantity {quantity} is above {instrument.quantity_max}"
        )
    if quantity % instrument.lot_size:
        raise Refused("lot_size", f"{name}: {quantity} is no multiple of {instrument.lot_size}")
    if price is None:
        return
    if price <= 0 or price % instrument.tick_size:
        raise Refused("tick_size", f"{name}: {price} is no multiple of {instrument.tick_size}")
    if price * quantity < instrument.notional_min:
        raise Refused(
            "notional_min",
            f"{name}: {price * quantity} is below the least value {instrument.notional_min}",
        )


def scale(value: Decimal, exponent: int) -> int:
    """Return `value * 10**exponent` as an integer; ValueError if that is not exact."""
    scaled = value.scaleb(exponent)
    whole = int(scaled)
    if whole != scaled:
        raise ValueError(f"{value} has more than {exponent} decimals")
    return whole


def unscale(units: int, exponent: int) -> Decimal:
    """Return the Decimal that `scale` made `units` of."""
    return Decimal(units).scaleb(-exponent)
