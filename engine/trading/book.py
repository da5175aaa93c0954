"""One venue's order book for one symbol in exact integers; whether to trust it says keeper.py.

Levels are integers (price and quantity times a power of ten fixed per instrument); text that does
not fit exactly is refused. The keys of a side are kept sorted with the touch at the END of the
list, where most changes are, so an insert near the touch moves few items; asks are keyed by minus
the price. Quantities lie in a parallel list.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple
from zlib import crc32

LEVELS_MAX: Final = 10_000
SCALED_MAX: Final = 65_536
DIGITS_MAX: Final = 40
UNITS_MAX: Final = 2**63 - 1
CHECKSUM_LEVELS: Final = 25
_TENS: Final[tuple[int, ...]] = tuple(10**n for n in range(DIGITS_MAX + 1))
KRAKEN_LEVELS: Final = 10
Policy = Literal["U_u", "start_end", "prev_seq", "u_plus_1", "crc32_top10", "conn_seq"]
Level = Sequence[str]


class BookDelta(NamedTuple):
    """One book message as the venue said it: levels are texts, price first, then quantity.

    `last` is the venue's id of the message, or its time where it has no ids; `first` the oldest id
    that it covers, `previous` the id before it, None where the venue names none. `checksum` 0 means
    the venue sent none.
    """

    symbol: str
    first: int
    last: int
    previous: int | None
    bids: Sequence[Level]
    asks: Sequence[Level]
    ts_event_ns: int
    is_snapshot: bool = False
    checksum: int = 0


class Scaled(dict[str, int]):
    """Venue text -> integer units, remembered: prices and sizes repeat. Bounded, exact."""

    def __init__(self, exponent: int, units_max: int = UNITS_MAX) -> None:
        super().__init__()
        self.exponent = exponent
        self.units_max = units_max

    def __missing__(self, text: str) -> int:
        """Parse, check, remember."""
        value = scaled_text(text, self.exponent)
        if value > self.units_max:
            raise ValueError(f"{text[:60]} does not fit a message")
        if len(self) >= SCALED_MAX:
            self.clear()
        self[text] = value
        return value


def scaled_text(text: str, exponent: int) -> int:
    """Return the decimal text times 10**exponent; ValueError unless exact and not negative."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isascii() and digits.isdigit()) or len(digits) > DIGITS_MAX:
        raise ValueError(f"not a plain decimal: {text[:60]!r}")
    missing = exponent - len(fraction)
    if missing >= 0:
        return int(digits) * _TENS[missing]
    units, rest = divmod(int(digits), _TENS[-missing])
    if rest:
        raise ValueError(f"{text} has more than {exponent} decimals")
    return units


class BookSide:
    """One side: sorted keys (price times `sign`), touch last, quantities and texts beside them."""

    __slots__ = ("keys", "levels_max", "quantities", "sign", "texts")

    def __init__(self, sign: int, *, with_texts: bool, levels_max: int = LEVELS_MAX) -> None:
        self.sign = sign
        self.levels_max = levels_max
        self.keys: list[int] = []
        self.quantities: list[int] = []
        self.texts: list[Level] | None = [] if with_texts else None

    def clear(self) -> None:
        """Forget every level."""
        self.keys.clear()
        self.quantities.clear()
        if self.texts is not None:
            self.texts.clear()

    def apply(self, levels: Iterable[Level], prices: Scaled, quantities: Scaled) -> None:
        """Set absolute levels; quantity 0 deletes."""
        keys, held, texts, sign = self.keys, self.quantities, self.texts, self.sign
        for level in levels:
            key = prices[level[0]] * sign
            quantity = quantities[level[1]]
            at = bisect_left(keys, key)
            if at < len(keys) and keys[at] == key:
                if quantity:
                    held[at] = quantity
                    if texts is not None:
                        texts[at] = level
                else:
                    del keys[at], held[at]
                    if texts is not None:
                        del texts[at]
            elif quantity:
                keys.insert(at, key)
                held.insert(at, quantity)
                if texts is not None:
                    texts.insert(at, level)
        if len(keys) > self.levels_max:
            self.drop_worst(len(keys) - self.levels_max)

    def drop_worst(self, count: int) -> None:
        """Drop the levels farthest from the touch: no book grows without bound."""
        del self.keys[:count], self.quantities[:count]
        if self.texts is not None:
            del self.texts[:count]

    def top(self, depth: int) -> list[int]:
        """Return price, quantity, price, quantity ... best first, at most `depth` levels."""
        prices = self.keys[: -depth - 1 : -1]
        flat = [0] * (2 * len(prices))
        flat[0::2] = prices if self.sign > 0 else [-key for key in prices]
        flat[1::2] = self.quantities[: -depth - 1 : -1]
        return flat


class Book:
    """Both sides of one venue's book, exact integers."""

    __slots__ = ("asks", "bids", "prices", "quantities")

    def __init__(
        self,
        price_exponent: int,
        quantity_exponent: int,
        *,
        with_texts: bool = False,
        units_max: int = UNITS_MAX,
        levels_max: int = LEVELS_MAX,
    ) -> None:
        self.prices = Scaled(price_exponent, units_max)
        self.quantities = Scaled(quantity_exponent, units_max)
        self.bids = BookSide(1, with_texts=with_texts, levels_max=levels_max)
        self.asks = BookSide(-1, with_texts=with_texts, levels_max=levels_max)

    def load(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace everything by a snapshot."""
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set absolute levels on both sides; ValueError names text that is no exact level."""
        self.bids.apply(bids, self.prices, self.quantities)
        self.asks.apply(asks, self.prices, self.quantities)

    @property
    def best_bid(self) -> int | None:
        """The highest bid, or None."""
        return self.bids.keys[-1] if self.bids.keys else None

    @property
    def best_ask(self) -> int | None:
        """The lowest ask, or None."""
        return -self.asks.keys[-1] if self.asks.keys else None

    def gap_units(self) -> int | None:
        """Return best ask minus best bid: 0 is locked, negative crossed, None one-sided."""
        bids, asks = self.bids.keys, self.asks.keys
        return -asks[-1] - bids[-1] if bids and asks else None

    def checksum(self) -> int:
        """Return the CRC32 over the top 25 as OKX defines it: bid:qty:ask:qty interleaved."""
        assert self.bids.texts is not None, "this book keeps no texts"
        assert self.asks.texts is not None, "this book keeps no texts"
        bids = self.bids.texts[: -CHECKSUM_LEVELS - 1 : -1]
        asks = self.asks.texts[: -CHECKSUM_LEVELS - 1 : -1]
        parts: list[str] = []
        for i in range(max(len(bids), len(asks))):
            if i < len(bids):
                parts += bids[i][:2]
            if i < len(asks):
                parts += asks[i][:2]
        return crc32(":".join(parts).encode())

    def kraken_checksum(self, decimals: tuple[int, int]) -> int:
        """Return the CRC32 over the top 10 as Kraken defines it: asks from the best, then bids.

        Each number is written with the pair's `decimals` (price, quantity), without its dot and its
        leading zeros: that is its integer in units of the last decimal.
        https://docs.kraken.com/api/docs/guides/spot-ws-book-v2
        """
        price_unit = 10 ** (self.prices.exponent - decimals[0])
        quantity_unit = 10 ** (self.quantities.exponent - decimals[1])
        parts: list[str] = []
        for side in (self.asks, self.bids):
            flat = side.top(KRAKEN_LEVELS)
            for i in range(0, len(flat), 2):
                parts += (str(flat[i] // price_unit), str(flat[i + 1] // quantity_unit))
        return crc32("".join(parts).encode())
