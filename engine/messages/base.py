"""What every message is: a frozen, typed, array-like struct with a tag, safe to encode and to trust.

The tag is the class name and the first element of the array, so that the plain `msgpack` package
reads `["OrderFilled", ...]`. Decimals travel as strings; NaN and infinities are refused at the door.
"""

from collections.abc import Callable
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeVar

import msgspec
from msgspec import Meta

from engine.errors import MessageError

DIGITS_MAX: Final = 38
EXPONENT_MAX: Final = 24


class Lane(IntEnum):
    """The three lanes of a mailbox, served in this order."""

    CONTROL = 0
    ORDERS = 1
    MARKET = 2


Name = Annotated[str, Meta(max_length=64)]
Id = Annotated[str, Meta(max_length=64)]
Code = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=2000)]
TsNs = int
KEPT_BYTES_MAX: Final = 32_768
KeptBytes = Annotated[bytes, Meta(max_length=KEPT_BYTES_MAX)]  # of a parked message, in the journal

Side = Literal["BUY", "SELL"]
OrderType = Literal["LIMIT", "MARKET"]
TimeInForce = Literal["GTC", "IOC", "FOK"]
Liquidity = Literal["MAKER", "TAKER"]
HaltLevel = Literal["no_new", "reduce_only", "flat"]


def check_decimal(name: str, value: Decimal) -> None:
    """Raise ValueError unless `value` is finite and of a size that money can have."""
    if not value.is_finite():
        raise ValueError(f"{name} is {value}, not a finite number")
    _, digits, exponent = value.as_tuple()
    if len(digits) > DIGITS_MAX or abs(int(exponent)) > EXPONENT_MAX:
        raise ValueError(f"{name} has more digits than any price or quantity: {str(value)[:60]}")


class Part(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A typed piece of a message. Not sent by itself.

    A class with Decimal fields refuses NaN, infinities and absurd sizes in each of them, whether it
    is made here or decoded; the others, most of what crosses on a tick, pay nothing for that.
    """

    def __init_subclass__(cls) -> None:
        """Give a class with Decimal fields of its own or inherited its check."""
        super().__init_subclass__()
        hints = [h for c in cls.__mro__ for h in vars(c).get("__annotations__", {}).items()]
        names = tuple(dict.fromkeys(name for name, hint in hints if _is_decimal(hint)))
        if names:
            setattr(cls, "__post_init__", _checker(names))  # noqa: B010  unknown to the type checker


def _is_decimal(hint: Any) -> bool:
    return hint is Decimal or Decimal in getattr(hint, "__args__", ())


def _checker(names: tuple[str, ...]) -> Callable[[Any], None]:
    # Plain and short is nearly always so, and much cheaper to see than to take apart.
    def check(part: Any) -> None:
        for name in names:
            value = getattr(part, name)
            if value is None:
                continue
            text = str(value)
            if len(text) > EXPONENT_MAX or not text.lstrip("-").replace(".", "", 1).isdigit():
                check_decimal(name, value)

    return check


class Message(Part, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    """Base of everything that one actor sends to another.

    `lane` says which mailbox lane carries it. `conflate_key`, where a class defines it, names the
    slot in which a newer message of the MARKET lane replaces an older one.
    """

    lane: ClassVar[Lane] = Lane.ORDERS

    def conflate_key(self) -> str | None:
        """Return the slot in which only the newest counts, or None to queue."""
        return None


class Event(Message, frozen=True, array_like=True, tag=True, forbid_unknown_fields=True):
    """A fact that is journaled. Named in the past tense; state changes only by applying one."""

    def unique_key(self) -> str | None:
        """Return the business key that at most one record of a journal may carry, or None."""
        return None


class State(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """Base of what a fold of events keeps: mutable, changed only by its `apply`, never sent."""


StateT = TypeVar("StateT")
_state_encoder: Final = msgspec.msgpack.Encoder(decimal_format="string", order="deterministic")


def encode_state(state: object) -> bytes:
    """Return the canonical bytes of a state: equal states give equal bytes."""
    return _state_encoder.encode(state)


def decode_state(data: bytes, kind: type[StateT]) -> StateT:
    """Return the state of type `kind` that `encode_state` wrote; MessageError if it is not one."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise MessageError(f"not a snapshot of {kind.__name__}: {error}") from error


PartT = TypeVar("PartT", bound=Part)


def replaced(part: PartT, **changes: object) -> PartT:
    """Return a copy of a frozen part or message with some fields changed."""
    return msgspec.structs.replace(part, **changes)


Handler = Callable[[Any], None]
