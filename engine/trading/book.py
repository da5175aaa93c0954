"""One venue's order book for one symbol in exact integers; whether to trust it says keeper.py.

Levels are integers (price and quantity times a power of ten fixed per instrument); text that does
not fit exactly is refused. The keys of a side are kept sorted with the touch at the END of the
list, where most changes are, so an insert near the touch moves few items; asks are keyed by minus
the price. Quantities lie in a parallel list.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final, Literal
from zlib import crc32

LEVELS_MAX: Final = 10_000
SCALED_MAX: Final = 2_048
DIGITS_MAX: Final = 40
UNITS_MAX: Final = 2**63 - 1
CHECKSUM_LEVELS: Final = 25
_TENS: Final[tuple[int, ...]] = tuple(10**n for n in range(DIGITS_MAX + 1))
KRAKEN_LEVELS: Final = 10
Policy = Literal["U_u", "start_end", "prev_seq", "u_plus_1", "crc32_top10", "conn_seq"]
Level = Sequence[str]


class Scaled(dict[str, int]):
    """Venue text -> integer units, remembered: prices and sizes repeat. Bounded, exact.

    With `sign` -1 the units are negative, as the keys of asks are.
    """

    __slots__ = ("exponent", "sign", "units_max")

    def __init__(self, exponent: int, units_max: int = UNITS_MAX, sign: int = 1) -> None:
        super().__init__()
        self.exponent = exponent
        self.units_max = units_max
        self.sign = sign

    def __missing__(self, text: str) -> int:
        """Parse, check, remember."""
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        if len(fraction) == self.exponent and digits.isdigit() and digits.isascii():
            units = int(digits)  # written exactly as fine as the units are
        else:
            units = scaled_text(text, self.exponent)
        if units > self.units_max:
            raise ValueError(f"{text[:60]} does not fit a message")
        if len(self) >= SCALED_MAX:
            self.clear()
        self[text] = units = units * self.sign
        return units


def scaled_text(text: str, exponent: int) -> int:
    """Return the decimal text times 10**exponent; ValueError unless exact and not negative."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isdigit() and digits.isascii()) or len(digits) > DIGITS_MAX:
        raise ValueError(f"not a plain decimal: {text[:60]!r}")
    missing = exponent - len(fraction)
    if missing == 0:
        return int(digits)
    if missing > 0:
        return int(digits) * _TENS[missing]
    units, rest = divmod(int(digits), _TENS[-missing])
    if rest:
        raise ValueError(f"{text} has more than {exponent} decimals")
    return units


class BookSide:
    """One side: sorted keys (price times `sign`), touch last, and what belongs to each beside them.

    `prices` are the keys themselves for bids, and their opposites for asks. `texts`, where they are
    kept, are what the venue's checksum takes of each level.
    """

    __slots__ = ("keys", "keys_of", "levels_max", "prices", "quantities", "sizes_of", "texts")

    def __init__(
        self,
        keys_of: Scaled,
        sizes_of: Scaled,
        *,
        with_texts: bool = False,
        levels_max: int = LEVELS_MAX,
    ) -> None:
        self.keys_of = keys_of
        self.sizes_of = sizes_of
        self.levels_max = levels_max
        self.keys: list[int] = []
        self.prices: list[int] = self.keys if keys_of.sign > 0 else []
        self.quantities: list[int] = []
        self.texts: list[str] | None = [] if with_texts else None

    def clear(self) -> None:
        """Forget every level."""
        self.drop_worst(len(self.keys))

    def apply(self, levels: Iterable[Level]) -> None:
        """Set absolute levels; quantity 0 deletes. ValueError names text that is no exact level."""
        keys, quantities, texts = self.keys, self.quantities, self.texts
        prices = None if self.prices is keys else self.prices
        keys_of, sizes_of, count = self.keys_of, self.sizes_of, len(keys)
        for level in levels:
            key = keys_of[level[0]]
            quantity = sizes_of[level[1]]
            at = bisect_left(keys, key)
            if at < count and keys[at] == key:
                if quantity:
                    quantities[at] = quantity
                    if texts is not None:
                        texts[at] = f"{level[0]}:{level[1]}"
                    continue
                count -= 1
                del keys[at], quantities[at]
                if prices is not None:
                    del prices[at]
                if texts is not None:
                    del texts[at]
            elif quantity:
                count += 1
                keys.insert(at, key)
                quantities.insert(at, quantity)
                if prices is not None:
                    prices.insert(at, -key)
                if texts is not None:
                    texts.insert(at, f"{level[0]}:{level[1]}")
        if count > self.levels_max:
            self.drop_worst(count - self.levels_max)

    def drop_worst(self, count: int) -> None:
        """Drop the levels farthest from the touch: no book grows without bound."""
        del self.keys[:count], self.quantities[:count]
        if self.prices is not self.keys:
            del self.prices[:count]
        if self.texts is not None:
            del self.texts[:count]

    def top(self, depth: int) -> list[int]:
        """Return price, quantity, price, quantity ... best first, at most `depth` levels."""
        rows = zip(self.prices[: -depth - 1 : -1], self.quantities[: -depth - 1 : -1], strict=True)
        return list(chain.from_iterable(rows))


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
        negated = Scaled(price_exponent, units_max, sign=-1)
        self.bids, self.asks = (
            BookSide(prices, self.quantities, with_texts=with_texts, levels_max=levels_max)
            for prices in (self.prices, negated)
        )

    def load(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace everything by a snapshot."""
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set absolute levels on both sides; ValueError names text that is no exact level."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

    def top(self, depth: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return bid prices, bid quantities, ask prices, ask quantities; best first, `depth` each."""
        bids, asks, end = self.bids, self.asks, -depth - 1
        return (
            bids.prices[:end:-1],
            bids.quantities[:end:-1],
            asks.prices[:end:-1],
            asks.quantities[:end:-1],
        )

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
        paired = min(len(bids), len(asks))
        parts = chain(
            chain.from_iterable(zip(bids, asks, strict=False)), bids[paired:], asks[paired:]
        )
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
