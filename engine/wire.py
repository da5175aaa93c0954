"""Plain MessagePack for the edges: dictionaries of text, integers, lists; money as text."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import msgpack

from engine.errors import MessageError
from engine.messages.base import encode_state
from engine.trading.money import plain

BODY_MAX_BYTES = 64 * 2**20


def _default(value: Any) -> Any:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{type(value).__name__} cannot cross to an edge")


def pack(value: Any) -> bytes:
    """Return plain data as MessagePack; Decimals become text."""
    data: bytes = msgpack.packb(value, default=_default)
    return data


def pack_text(value: Mapping[str, str | bool]) -> bytes:
    """Return the same for a few words and flags, at a tenth of the price."""
    return encode_state(value)


def unpack(data: bytes) -> Any:
    """Return the plain data of `pack`.

    Raises:
        MessageError: the bytes are not MessagePack, or larger than any answer may be.
    """
    if len(data) > BODY_MAX_BYTES:
        raise MessageError(f"reply body: {len(data)} bytes, more than {BODY_MAX_BYTES}")
    try:
        return msgpack.unpackb(data, strict_map_key=True)
    except (ValueError, msgpack.UnpackException) as error:
        raise MessageError(f"reply body: {error}") from error
