"""The book's lists and its memory of texts, against the plainest thing that does the same."""

import random
from decimal import Decimal
from zlib import crc32

import pytest

from engine.trading.book import SCALED_MAX, UNITS_MAX, Book, Scaled

PRICE_EXPONENT, QUANTITY_EXPONENT = 2, 3


def text(rng, units, exponent):
    """Return the units as a venue might write them: with its zeros, or with none of them."""
    plain = f"{Decimal(units).scaleb(-exponent):f}"
    if rng.random() < 0.5 and "." in plain:
        return plain.rstrip("0").rstrip(".")
    return plain + "00" if "." in plain and rng.random() < 0.3 else plain


class Plain:
    """Dictionaries by price, sorted when asked; the texts as they came."""

    def __init__(self):
        self.sides = {"bids": {}, "asks": {}}

    def apply(self, bids, asks):
        for name, levels in (("bids", bids), ("asks", asks)):
            for price, quantity in levels:
                if Decimal(quantity):
                    self.sides[name][Decimal(price)] = (price, quantity)
                else:
                    self.sides[name].pop(Decimal(price), None)

    def best(self, name, depth):
        prices = sorted(self.sides[name], reverse=name == "bids")[:depth]
        return [self.sides[name][price] for price in prices]

    def top(self, depth):
        units = (PRICE_EXPONENT, QUANTITY_EXPONENT)
        return tuple(
            [int(Decimal(level[i]).scaleb(units[i])) for level in self.best(name, depth)]
            for name in ("bids", "asks")
            for i in (0, 1)
        )

    def checksum(self):
        bids, asks = self.best("bids", 25), self.best("asks", 25)
        parts = []
        for i in range(25):
            parts += [*bids[i : i + 1], *asks[i : i + 1]]
        return crc32(":".join(word for level in parts for word in level).encode())


@pytest.mark.parametrize("seed", range(20))
def test_a_stream_of_deltas_makes_the_book_that_a_snapshot_of_its_end_makes(seed):
    rng = random.Random(seed)
    book = Book(PRICE_EXPONENT, QUANTITY_EXPONENT, with_texts=True)
    plain = Plain()
    width = rng.choice((5, 60))  # few levels: sides of different length, often empty
    for step in range(300):
        sides = []
        for low, high in ((100_00 - width, 100_00), (100_01, 100_01 + width)):
            levels = []
            for _ in range(rng.randint(0, 6)):
                quantity = 0 if rng.random() < 0.45 else rng.randint(1, 99_999)
                price = text(rng, rng.randint(low, high), PRICE_EXPONENT)
                levels.append((price, text(rng, quantity, QUANTITY_EXPONENT)))
            sides.append(levels)
        book.apply(*sides)
        plain.apply(*sides)
        assert book.top(20) == plain.top(20), f"seed {seed}, step {step}"
        assert book.checksum() == plain.checksum(), f"seed {seed}, step {step}"
        if step % 50 == 49:
            again = Book(PRICE_EXPONENT, QUANTITY_EXPONENT, with_texts=True)
            again.load(plain.best("bids", 1000), plain.best("asks", 1000))
            assert again.top(1000) == book.top(1000), f"seed {seed}, step {step}"
            assert again.checksum() == book.checksum(), f"seed {seed}, step {step}"


def test_the_levels_farthest_from_the_touch_are_dropped():
    book = Book(0, 0, with_texts=True, levels_max=3)
    book.load([(str(p), "1") for p in range(10, 15)], [(str(p), "1") for p in range(20, 25)])
    assert book.top(9) == ([14, 13, 12], [1, 1, 1], [20, 21, 22], [1, 1, 1])
    assert book.checksum() == crc32(b"14:1:20:1:13:1:21:1:12:1:22:1")
    assert book.top(0) == ([], [], [], [])


def test_a_memory_of_texts_is_bounded_and_right_after_it_was_cleared():
    units = Scaled(1, sign=-1)
    for n in range(2 * SCALED_MAX + 10):
        assert units[f"{n}.5"] == -(10 * n + 5)
        assert len(units) <= SCALED_MAX
    assert units["0.5"] == -5


@pytest.mark.parametrize("exponent", [0, 3, 8])
def test_what_does_not_fit_a_message_is_refused_however_it_is_written(exponent):
    units = Scaled(exponent)
    most = Decimal(UNITS_MAX).scaleb(-exponent)
    assert units[f"{most:f}"] == UNITS_MAX
    beyond = f"{Decimal(UNITS_MAX + 1).scaleb(-exponent):f}"
    for written in (beyond, beyond + "0" if exponent else beyond + ".0", "9" * 50):
        with pytest.raises(ValueError, match=r"does not fit|not a plain decimal"):
            units[written]
        assert written not in units
    for wrong in ("-1.000", "1_0.000", " 1.000", "1.00\u0661", "1.00000000e", ""):
        with pytest.raises(ValueError, match="decimal"):
            units[wrong]
