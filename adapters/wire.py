"""What every codec needs to read a venue's frames without trusting them: sizes, numbers, times.

Whatever is wrong with a frame is told as a Problem or a ValueError, never as another exception.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, Final, TypeVar

import msgspec

from adapters.codec import FRAME_BYTES_MAX, NS_PER_MS, BadReply, Problem, ms_of
from engine.messages.base import Side

MALFORMED: Final = (
    msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError, ArithmeticError,
)  # fmt: skip
DIGITS_MAX: Final = 40
EXPONENT_MAX: Final = 24
# The longest id that fits a message; a longer one is nobody's.
Short = Annotated[str, msgspec.Meta(max_length=64)]
SIDES: Final[dict[str, Side]] = {
    "buy": "BUY", "sell": "SELL", "Buy": "BUY", "Sell": "SELL", "BUY": "BUY", "SELL": "SELL",
}  # fmt: skip
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
T = TypeVar("T")


def parsed(decode: Callable[[bytes], T], raw: bytes) -> T | Problem:
    """Return the decoded frame, or the Problem with it."""
    if len(raw) > FRAME_BYTES_MAX:
        return Problem("huge", f"{len(raw)} bytes")
    try:
        return decode(raw)
    except MALFORMED as error:
        return malformed(error, raw)


def malformed(error: Exception, raw: bytes) -> Problem:
    """Return the Problem that names what is wrong and where."""
    return Problem("malformed", f"{str(error)[:160]} in {head(raw)!r}")


def head(raw: bytes) -> str:
    """Return the beginning of a frame, for people."""
    return raw[:120].decode("utf-8", "replace")


def amount(text: str | int | Decimal) -> Decimal:
    """Return a price or a quantity; ValueError unless it is a plain number that is not negative."""
    value = money(text)
    if value < 0:
        raise ValueError(f"negative: {str(text)[:60]!r}")
    return value


def money(text: str | int | Decimal) -> Decimal:
    """Return a sum of money, which may be negative; ValueError unless it is a finite number."""
    try:
        value = Decimal(text)
    except ArithmeticError:
        raise ValueError(f"not a number: {str(text)[:60]!r}") from None
    _, digits, exponent = value.as_tuple()
    if not isinstance(exponent, int) or len(digits) > DIGITS_MAX or abs(exponent) > EXPONENT_MAX:
        raise ValueError(f"no number that money can have: {str(text)[:60]!r}")
    return value


def positive(text: str | int | Decimal) -> Decimal:
    """Return the price or quantity of a trade; ValueError unless it is above zero."""
    value = amount(text)
    if not value:
        raise ValueError("a trade of nothing")
    return value


def read(reply: object, kind: Any) -> Any:
    """Return a REST answer as `kind`, whose numbers came as text; BadReply if it is not one."""
    try:
        return msgspec.convert(reply, kind, strict=False)
    except (msgspec.ValidationError, ArithmeticError) as error:
        raise BadReply(str(error)[:200]) from error


def at(reply: object, *names: str) -> object:
    """Return what lies at these names in a REST answer, or None."""
    for name in names:
        reply = reply.get(name) if isinstance(reply, dict) else None
    return reply


def side_of(text: str) -> Side:
    """Return BUY or SELL for the venue's word; ValueError for another."""
    side = SIDES.get(text)
    if side is None:
        raise ValueError(f"unknown side {text[:40]!r}")
    return side


def ns_of_ms(value: str | int) -> int:
    """Return nanoseconds for a venue's milliseconds, as text or number."""
    return ms_of(str(value)) * NS_PER_MS


def ns_of(text: str | int) -> int:
    """Return a venue's nanoseconds; ValueError for what no clock shows."""
    digits = str(text)
    if len(digits) > 19 or not (digits.isascii() and digits.isdigit()):
        raise ValueError(f"not a time: {digits[:40]!r}")
    return int(digits)


def ns_of_seconds(seconds: Decimal) -> int:
    """Return nanoseconds for a venue's seconds with their decimals."""
    return int(seconds.scaleb(9))


def ns_of_rfc3339(text: str) -> int:
    """Return nanoseconds for 2023-10-06T17:35:55.440295Z, exactly; ValueError for another form."""
    if len(text) > 40 or not text.endswith("Z"):
        raise ValueError(f"not a time: {text[:40]!r}")
    whole, _, fraction = text[:-1].partition(".")
    if fraction and not (fraction.isascii() and fraction.isdigit()):
        raise ValueError(f"not a time: {text[:40]!r}")
    since = datetime.fromisoformat(whole).replace(tzinfo=UTC) - _EPOCH
    seconds = since.days * 86_400 + since.seconds
    return max(0, seconds * 1_000_000_000 + int(fraction[:9].ljust(9, "0")))


def rfc3339_of_ms(ms: int) -> str:
    """Return a time in milliseconds as 2023-10-06T17:35:55.440Z."""
    whole, rest = divmod(ms, 1000)
    return f"{datetime.fromtimestamp(whole, UTC).strftime('%Y-%m-%dT%H:%M:%S')}.{rest:03d}Z"
