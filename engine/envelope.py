"""The one envelope: a header and a body, as MessagePack. What crosses between actors is these bytes.

On the wire an envelope is the array [schema, seq, message_id, cause_id, correlation_id, sender,
recipient, ts_event_ns, ts_received_ns, kind, body]; body is itself an array whose first element is
the message's class name. `decode_header` reads the header without touching the body.
"""

from typing import Any, Final, cast

import msgspec

from engine.errors import MessageError
from engine.messages import base, commands, engine_events, events, market, port
from engine.messages.base import Event, Message

SCHEMA: Final = 1
ENVELOPE_MAX_BYTES: Final = 4 * 2**20
BODY_MAX_BYTES: Final = ENVELOPE_MAX_BYTES - 4096


class Envelope(msgspec.Struct, frozen=True, array_like=True):
    """A message on its way. Times are UTC nanoseconds; `seq` is 0 unless the journal gave one."""

    schema: int
    seq: int
    message_id: str
    cause_id: str
    correlation_id: str
    sender: str
    recipient: str
    ts_event_ns: int
    ts_received_ns: int
    kind: str
    body: msgspec.Raw


def _classes(parent: type) -> list[type]:
    found: list[type] = []
    for module in (base, market, port, events, engine_events, commands):
        for value in vars(module).values():
            concrete = isinstance(value, type) and issubclass(value, parent)
            if concrete and value not in (Message, Event) and value not in found:
                found.append(value)
    return found


KINDS: Final[dict[str, type[Message]]] = {c.__name__: c for c in _classes(Message)}
EVENT_KINDS: Final[dict[str, type[Event]]] = {c.__name__: c for c in _classes(Event)}

_encoder: Final = msgspec.msgpack.Encoder()
_header: Final = msgspec.msgpack.Decoder(Envelope)
_bodies: Final = {name: msgspec.msgpack.Decoder(cls) for name, cls in KINDS.items()}


def encode_body(message: Message) -> bytes:
    """Return the canonical MessagePack of one message."""
    return _encoder.encode(message)


def raw_body(message: Message) -> msgspec.Raw:
    """Return one message encoded, ready to be the body of any number of envelopes.

    Raises:
        MessageError: it is larger than any message may be.
    """
    body = _encoder.encode(message)
    if len(body) > BODY_MAX_BYTES:
        kind = type(message).__name__
        raise MessageError(f"{kind}: {len(body)} bytes, more than {BODY_MAX_BYTES}")
    return msgspec.Raw(body)


def encode(envelope: Envelope) -> bytes:
    """Return the bytes of an envelope.

    Raises:
        MessageError: it is larger than any message may be.
    """
    data = _encoder.encode(envelope)
    if len(data) > ENVELOPE_MAX_BYTES:
        raise MessageError(f"{envelope.kind}: {len(data)} bytes, more than {ENVELOPE_MAX_BYTES}")
    return data


def decode_header(data: bytes) -> Envelope:
    """Return the envelope with its body still encoded.

    Raises:
        MessageError: the bytes are not an envelope of this schema.
    """
    if len(data) > ENVELOPE_MAX_BYTES:
        raise MessageError(f"envelope: {len(data)} bytes, more than {ENVELOPE_MAX_BYTES}")
    try:
        envelope = _header.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MessageError(f"envelope: {error}") from error
    if envelope.schema != SCHEMA:
        raise MessageError(f"envelope: schema {envelope.schema}, this program speaks {SCHEMA}")
    return envelope


def decode_body(kind: str, body: bytes | msgspec.Raw) -> Message:
    """Return the typed message of `kind`.

    Raises:
        MessageError: the kind is unknown, or the body does not fit it (NaN, over-long, malformed).
    """
    decoder = _bodies.get(kind)
    if decoder is None:
        raise MessageError(f"{kind[:64]!r}: no message has this name")
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError) as error:
        raise MessageError(f"{kind}: {error}") from error


def decode_event(kind: str, body: bytes) -> Event:
    """Return the typed event of a journal record. Raises MessageError as decode_body does."""
    if kind not in EVENT_KINDS:
        raise MessageError(f"{kind[:64]!r}: no event has this name")
    return cast("Event", decode_body(kind, body))


def to_plain(value: Any) -> Any:
    """Return `value` as plain data for people and JSON: structs by field name, money as strings."""
    return msgspec.to_builtins(as_dict(value), str_keys=True)


def as_dict(value: Any) -> Any:
    """Return structs as dictionaries by field name, recursively.

    A message's `kind` is its own; where it has a field of that name, this is `message_kind`.
    """
    if isinstance(value, msgspec.Struct):
        fields = {name: as_dict(getattr(value, name)) for name in value.__struct_fields__}
        if not isinstance(value, Message):
            return fields
        if "kind" in fields:
            fields["message_kind"] = fields.pop("kind")
        return {"kind": type(value).__name__, **fields}
    if isinstance(value, list | tuple):
        return [as_dict(item) for item in value]
    if isinstance(value, dict):
        return {str(key): as_dict(item) for key, item in value.items()}
    return value
