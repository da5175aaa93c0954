"""Checks the arguments of a request at the door: a clear sentence and exit 2, or exact values.

Nothing here knows the core; venue and symbol names come in as Facts.
"""

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal, InvalidOperation
from difflib import get_close_matches
from typing import Any, Final

from engine.control_port import Facts
from engine.errors import (
    EXIT_DENIED,
    EXIT_FAILED,
    EXIT_NOT_FOUND,
    EXIT_UNCONFIRMED,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    Refused,
)
from engine.ids import SYMBOL_PATTERN

QUANTITY_MAX: Final = Decimal(10) ** 15
DECIMALS_MAX: Final = 18
_SYMBOL: Final = re.compile(SYMBOL_PATTERN)
_ID: Final = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_NUMBER: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
UNCONFIRMED: Final = "UNCONFIRMED"  # a live core's command without its word
_BUSY: Final = ("BUSY", "UNREACHABLE", "NOT_READY", "STOPPING", "TIMEOUT")


def exit_code(code: str) -> int:
    """Return the exit code that a refusal's code stands for."""
    upper = code.upper()
    if upper in _BUSY:
        return EXIT_UNREACHABLE
    if "NOT_FOUND" in upper or upper.startswith("UNKNOWN_"):
        return EXIT_NOT_FOUND
    if upper.startswith(("BAD_", "INVALID", "COMMAND_ID")):
        return EXIT_USAGE
    if upper == UNCONFIRMED:
        return EXIT_UNCONFIRMED
    if upper in ("FAILED", "INTERNAL"):
        return EXIT_FAILED
    return EXIT_DENIED


def bad(text: str) -> Refused:
    """Return the refusal of a wrong argument."""
    return Refused("BAD_REQUEST", text)


def not_found(what: str, name: str, known: Iterable[str]) -> Refused:
    """Return the refusal of a name that does not exist, with the nearest that does."""
    return Refused("NOT_FOUND", _nearest(what, name, known))


def _nearest(what: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    close = get_close_matches(name, names, n=1)
    hint = f"did you mean '{close[0]}'?" if close else f"there are: {', '.join(names) or 'none'}"
    return f"no {what} '{name[:64]}'; {hint}"


def amount(name: str, value: object) -> Decimal:
    """Return an exact, positive, sane number. Floats are refused: money travels as text."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise bad(f'{name} should be a number as text, like "0.01"')
    text = str(value)
    if len(text) > 80 or _NUMBER.fullmatch(text) is None:
        raise bad(f"{name} '{text[:40]}' is not a number")
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise bad(f"{name} '{text[:40]}' is not a number") from None
    if number <= 0:
        raise bad(f"{name} should be more than zero, not {text}")
    digits = number.normalize().as_tuple()
    if number > QUANTITY_MAX or int(digits.exponent) < -DECIMALS_MAX or len(digits.digits) > 30:
        raise bad(f"{name} {text[:40]} is of no size that money has")
    return number


def check_venue(facts: Facts, venue: str) -> str:
    """Return `venue` if this core has it."""
    if venue not in facts.venues:
        raise not_found("venue", venue, facts.venues)
    return venue


def check_symbol(facts: Facts, symbol: str, venue: str | None) -> str:
    """Return `symbol` if the venue (or with None any venue) trades it."""
    if _SYMBOL.fullmatch(symbol) is None:
        raise bad(f"symbol '{symbol[:64]}' should be spelled like BTC/USDT")
    lists = facts.venues.values() if venue is None else [facts.venues[venue]]
    known = {name for names in lists for name in names}
    if symbol not in known:
        raise bad(_nearest("symbol" if venue is None else f"symbol at {venue}", symbol, known))
    return symbol


class Args:
    """The arguments of one request; each is taken once, what is left over is refused."""

    def __init__(self, op: str, given: Mapping[str, Any]) -> None:
        self._op = op
        self._given = dict(given)

    def end(self) -> None:
        """Refuse arguments that nobody asked for."""
        if self._given:
            raise bad(f"{self._op} takes no argument '{min(self._given)[:64]}'")

    def holds(self, name: str) -> bool:
        """Tell whether an argument is given and true; it stays to be taken."""
        return self._given.get(name) is True

    def optional(self, name: str, length_max: int = 2_000) -> str | None:
        """Return a text or None."""
        value = self._given.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str) or not value:
            raise bad(f"{name} should be text")
        if len(value) > length_max:
            raise bad(f"{name} is longer than {length_max} characters")
        return value

    def text(self, name: str, length_max: int = 2_000) -> str:
        """Return a text that must be there."""
        value = self.optional(name, length_max)
        if value is None:
            raise bad(f"{self._op} needs {name}")
        return value

    def choice(self, name: str, options: tuple[str, ...], default: str) -> str:
        """Return one of `options`."""
        value = self.optional(name) or default
        if value not in options:
            raise bad(f"{name} should be one of {', '.join(options)}, not '{value[:40]}'")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return a truth value."""
        value = self._given.pop(name, None)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise bad(f"{name} should be true or false")
        return value

    def whole(self, name: str, least: int, most: int, default: int) -> int:
        """Return a whole number within bounds."""
        value = self._given.pop(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            raise bad(f"{name} should be a whole number")
        if not least <= value <= most:
            raise bad(f"{name} should be from {least} to {most}, not {value}")
        return value

    def seconds(self, name: str, most: float, default: float) -> float:
        """Return a duration in seconds."""
        value = self._given.pop(name, None)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise bad(f"{name} should be from 0 to {most:g} seconds")
        return float(value)

    def amount(self, name: str) -> Decimal | None:
        """Return an exact positive number or None."""
        value = self._given.pop(name, None)
        return None if value is None else amount(name, value)

    def identifier(self, name: str) -> str | None:
        """Return an id or None."""
        value = self.optional(name, 64)
        if value is not None and _ID.fullmatch(value) is None:
            raise bad(f"{name} '{value}' should be letters, digits and . _ : - only")
        return value

    def identifiers(self, name: str, length_max: int = 1_000) -> list[str]:
        """Return a list of ids, empty if not given."""
        value = self._given.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > length_max:
            raise bad(f"{name} should be a list of at most {length_max} ids")
        for item in value:
            if not isinstance(item, str) or _ID.fullmatch(item) is None:
                raise bad(f"{name}: '{str(item)[:64]}' is not an id")
        return list(dict.fromkeys(value))

    def symbols(self, name: str, length_max: int = 1_000) -> list[str]:
        """Return a list of symbols, empty if not given."""
        value = self._given.pop(name, None)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > length_max:
            raise bad(f"{name} should be a list of symbols")
        if not all(isinstance(item, str) for item in value):
            raise bad(f"{name} should be a list of symbols")
        return list(value)
