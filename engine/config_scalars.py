"""The scalars of config.yaml: exact numbers, names, URLs, and the base of every section.

What each key is called and means is engine/config_models.py's.
"""

from decimal import Decimal, InvalidOperation
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError

from engine.ids import ASSET_PATTERN, SYMBOL_PATTERN
from engine.venue_kinds import adapters, is_adapter

RESERVED_NAMES: Final = ("all", "best")


class Interpolated(str):
    """Text that came out of ${...}: a number or a truth value may be read from it."""

    __slots__ = ()


# Numbers arrive as int, as Decimal (the reader never makes a float), or as interpolated text.
def _exact(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise PydanticCustomError("number", "should be a number")
    try:
        number = Decimal(value.replace("_", "x") if isinstance(value, str) else value)
    except InvalidOperation:
        raise PydanticCustomError("number", "should be a number") from None
    if not number.is_finite():
        raise PydanticCustomError("number", "should be a finite number")
    if len(number.as_tuple().digits) > 38 or abs(int(number.as_tuple().exponent)) > 24:
        raise PydanticCustomError("number", "has more digits than any price or quantity")
    return number


def _whole(value: object) -> object:
    if isinstance(value, Interpolated):
        value = _exact(value)
        value = int(value) if isinstance(value, Decimal) and value == int(value) else value
    if isinstance(value, Decimal):
        raise PydanticCustomError("number", "should be a whole number")
    return value


def _real(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Interpolated):
        raise PydanticCustomError("number", "should be a number, without quotes")
    number = _exact(value)
    return float(number) if isinstance(number, Decimal) else number


# `auto`, null, or seconds as everywhere else.
def _auto(value: object) -> object:
    if value is None or value == "auto":
        return value
    number = _real(value)
    if not isinstance(number, float | int) or not 0 < number <= 86_400:
        raise PydanticCustomError("number", "should be auto, null, or seconds up to 86400")
    return float(number)


def _truth(value: object) -> object:
    if isinstance(value, Interpolated) and value in ("true", "false"):
        return value == "true"
    return value


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise PydanticCustomError("url", "should be a URL like https://host or wss://host/path")
    if parts.username is not None or parts.password is not None:
        raise PydanticCustomError("url", "should carry no user or password; use credentials")
    return value


def _not_reserved(value: str) -> str:
    if value in RESERVED_NAMES:
        raise PydanticCustomError("name", "is a word of the command line, not a venue's name")
    return value


Money = Annotated[Decimal, BeforeValidator(_exact), Field(gt=0)]
Share = Annotated[float, BeforeValidator(_real), Field(gt=0, le=1)]
Seconds = Annotated[float, BeforeValidator(_real), Field(gt=0, le=86_400)]
Whole = Annotated[int, BeforeValidator(_whole)]
PerMode = Annotated[Literal["auto"] | float | None, BeforeValidator(_auto)]
Switch = Annotated[bool, BeforeValidator(_truth)]
Url = Annotated[str, AfterValidator(_url)]
Asset = Annotated[str, Field(pattern=rf"^({ASSET_PATTERN})$")]
Symbol = Annotated[str, Field(pattern=rf"^{SYMBOL_PATTERN}$")]
VenueName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$"), AfterValidator(_not_reserved)]
AccountName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}\.[A-Za-z0-9_-]{1,31}$")]
InstanceName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$")]

ACTORS: Final = (
    r"^(persistence|risk_pnl|order_router|order_book|demo_maker|(exchange|adapter)\.\w+)$"
)
ActorName = Annotated[str, Field(pattern=ACTORS)]
ThreadName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,14}$")]


def _adapter(value: str) -> str:
    if not is_adapter(value):
        expected = ", ".join((*adapters(), "module:NAME"))
        raise PydanticCustomError("choice", "should be one of {expected}", {"expected": expected})
    return value


AdapterName = Annotated[str, AfterValidator(_adapter)]


def wrong(key: str, text: str) -> PydanticCustomError:
    """Return an error of a whole section that points at one of its keys."""
    return PydanticCustomError("relation", text, {"key": key})


class Section(BaseModel):
    """Base of every section: frozen, strict, no unknown keys, no values in error texts."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)
