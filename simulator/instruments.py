"""What can be traded, and the integers all money is held in.

Prices are whole ticks, quantities whole lots, and amounts of an asset whole `UNIT`s of 1e-12,
so that price x quantity and every fee are exact integers. Decimal strings appear only at the
edge. Floats never hold money here.
"""

from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

UNIT = 10**12
# Longer numbers are refused at the edge; no venue accepts them either.
NUMBER_LENGTH_MAX = 40


@dataclass(frozen=True, slots=True)
class Instrument:
    """One symbol on one venue with that venue's filters."""

    symbol: str
    base: str
    quote: str
    price_tick: Decimal
    quantity_lot: Decimal
    quantity_min: Decimal
    quantity_max: Decimal
    notional_min: Decimal
    tick_units: int = field(init=False)
    lot_units: int = field(init=False)
    notional_unit: int = field(init=False)

    def __post_init__(self) -> None:
        """Derive the integer scales once."""
        exact = self.price_tick * self.quantity_lot * UNIT
        assert exact == int(exact), f"{self.symbol}: tick x lot is finer than one unit"
        object.__setattr__(self, "tick_units", int(self.price_tick * UNIT))
        object.__setattr__(self, "lot_units", int(self.quantity_lot * UNIT))
        object.__setattr__(self, "notional_unit", int(exact))

    def ticks(self, price: Decimal) -> int | None:
        """Return whole ticks, or None when the price is off the grid."""
        count = price / self.price_tick
        return int(count) if count == int(count) else None

    def lots(self, quantity: Decimal) -> int | None:
        """Return whole lots, or None when the quantity is off the grid."""
        count = quantity / self.quantity_lot
        return int(count) if count == int(count) else None


def decimal_of(text: object) -> Decimal | None:
    """Parse a plain decimal number as a venue would; None for anything else."""
    if not isinstance(text, str | int) or isinstance(text, bool):
        return None
    text = str(text)
    if not text or len(text) > NUMBER_LENGTH_MAX or not set(text) <= set("0123456789.-+eE"):
        return None
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    # An exponent like 1e999999 would cost memory when scaled to an integer.
    if not value.is_finite() or value.adjusted() > 18 or value.adjusted() < -18:
        return Decimal(0) if value == 0 else None
    return value


def units_of(value: Decimal) -> int:
    """Return an amount in units, cut below 1e-12."""
    return int(value * UNIT)


def fixed8(units: int) -> str:
    """Write units the way Binance does: eight decimals, always."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    return f"{sign}{units // UNIT}.{units % UNIT // 10_000:08d}"


def plain(units: int) -> str:
    """Write units as the shortest plain decimal, never with an exponent."""
    sign, units = ("-", -units) if units < 0 else ("", units)
    whole, rest = divmod(units, UNIT)
    return f"{sign}{whole}.{rest:012d}".rstrip("0").rstrip(".")


def _instrument(symbol: str, tick: str, lot: str, low: str, notional: str) -> Instrument:
    base, quote = symbol.split("/")
    return Instrument(
        symbol, base, quote, Decimal(tick), Decimal(lot), Decimal(low), Decimal(9000),
        Decimal(notional),
    )  # fmt: skip


# The venues' own grids in 2026 (exchangeInfo and public/instruments).
INSTRUMENTS: dict[str, dict[str, Instrument]] = {
    "binance": {
        "BTC/USDT": _instrument("BTC/USDT", "0.01", "0.00001", "0.00001", "5"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.0001", "0.0001", "5"),
        "ETH/BTC": _instrument("ETH/BTC", "0.00001", "0.0001", "0.0001", "0.0001"),
    },
    "bybit": {
        "BTC/USDT": _instrument("BTC/USDT", "0.01", "0.000001", "0.000001", "5"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.00001", "0.00001", "5"),
        "ETH/BTC": _instrument("ETH/BTC", "0.000001", "0.00001", "0.0001", "0.0001"),
    },
    "kucoin": {
        "BTC/USDT": _instrument("BTC/USDT", "0.1", "0.00000001", "0.00001", "0.1"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.0000001", "0.0001", "0.1"),
        "ETH/BTC": _instrument("ETH/BTC", "0.00001", "0.0000001", "0.0001", "0.00001"),
    },
    # These two have one decimal less in ETH/BTC than at the venue: amounts would be finer than a unit.
    "coinbase": {
        "BTC/USDT": _instrument("BTC/USDT", "0.01", "0.00000001", "0.00000001", "1"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.00000001", "0.00000001", "1"),
        "ETH/BTC": _instrument("ETH/BTC", "0.00001", "0.0000001", "0.0000001", "0.00001"),
    },
    "kraken": {
        "BTC/USDT": _instrument("BTC/USDT", "0.1", "0.00000001", "0.00005", "0.5"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.00000001", "0.001", "0.5"),
        "ETH/BTC": _instrument("ETH/BTC", "0.00001", "0.0000001", "0.001", "0.00002"),
    },
    "okx": {
        "BTC/USDT": _instrument("BTC/USDT", "0.1", "0.00000001", "0.00001", "0"),
        "ETH/USDT": _instrument("ETH/USDT", "0.01", "0.000001", "0.0001", "0"),
        "ETH/BTC": _instrument("ETH/BTC", "0.00001", "0.000001", "0.0001", "0"),
    },
}
