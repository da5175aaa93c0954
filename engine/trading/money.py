"""Exact arithmetic for money: no result is ever rounded unless its name says so.

Python's default decimal context rounds to 28 digits without a word. Every function of the trading
code that adds or multiplies money runs inside `exact`, where a rounded result is an error.
"""

from collections.abc import Callable
from decimal import (
    ROUND_DOWN,
    ROUND_HALF_EVEN,
    Context,
    Decimal,
    DivisionByZero,
    Inexact,
    InvalidOperation,
    Overflow,
    getcontext,
    setcontext,
)
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from engine.messages.base import DIGITS_MAX, EXPONENT_MAX

ZERO: Final = Decimal(0)
PLACES_MAX: Final = Decimal(1).scaleb(-EXPONENT_MAX)

# Two factors of 38 digits and 24 places, summed for ever, stay far below this.
_PRECISION: Final = 400
_EXACT: Final = Context(
    prec=_PRECISION, traps=[InvalidOperation, DivisionByZero, Overflow, Inexact]
)
_DISPLAY: Final = Context(prec=28, rounding=ROUND_HALF_EVEN, traps=[InvalidOperation])
_LOOSE: Final = Context(prec=_PRECISION, rounding=ROUND_DOWN, traps=[InvalidOperation])

# One operation by itself, exact like those inside `exact` and cheaper than entering it.
plus: Final = _EXACT.add
minus: Final = _EXACT.subtract
times: Final = _EXACT.multiply

P = ParamSpec("P")
R = TypeVar("R")


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` where rounding raises decimal.Inexact instead of losing a digit."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        outer = getcontext()
        if outer is _EXACT:  # called by another exact function
            return function(*args, **kwargs)
        setcontext(_EXACT)
        try:
            return function(*args, **kwargs)
        finally:
            setcontext(outer)

    return guarded


def ratio(numerator: Decimal, denominator: Decimal) -> Decimal | None:
    """Return the quotient to 28 digits, for display; None when the denominator is zero."""
    if denominator == 0:
        return None
    return _DISPLAY.divide(numerator, denominator)


def part_of(total: Decimal, part: Decimal, whole: Decimal) -> Decimal:
    """Return total * part / whole: exact where a decimal can be, else cut at 24 places.

    Callers subtract the result from `total` and keep the rest, so that nothing is ever lost.
    """
    if part == whole:
        return total
    context = _LOOSE.copy()
    context.clear_flags()
    share = context.divide(context.multiply(total, part), whole)
    if not context.flags[Inexact]:
        return share
    return share.quantize(PLACES_MAX, context=context)


def for_message(value: Decimal) -> Decimal:
    """Return `value` as a message can carry it: unchanged up to 38 digits and 24 places."""
    _, digits, exponent = value.as_tuple()
    if len(digits) <= DIGITS_MAX and abs(int(exponent)) <= EXPONENT_MAX:
        return value
    plain_value = Decimal(plain(value))
    places = max(0, DIGITS_MAX - max(1, plain_value.adjusted() + 1))
    return plain_value.quantize(Decimal(1).scaleb(-min(EXPONENT_MAX, places)), context=_LOOSE)


def plain(value: Decimal) -> str:
    """Return `value` without exponent and without trailing zeros: `0.0000001`, never `1E-7`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text


def plain_or_none(value: Decimal | None) -> str | None:
    """Return `plain(value)`, or None for what is not known."""
    return None if value is None else plain(value)


def split_symbol(symbol: str) -> tuple[str, str]:
    """Return base and quote of `BTC/USDT`; ValueError for anything else."""
    base, slash, quote = symbol.partition("/")
    if not (base and slash and quote):
        raise ValueError(f"symbol {symbol!r} is not BASE/QUOTE")
    return base, quote
