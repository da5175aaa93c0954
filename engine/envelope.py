"""A message on its way: in memory an Entry, wherever it leaves the process an Envelope's bytes.

An Entry carries the frozen typed message from one actor to another; its bytes are made when somebody
needs them (docs/decisions/0015-objects-inside-bytes-outside.md). On the wire an envelope is the array
[schema, seq, message_id, cause_id, correlation_id, sender, recipient, ts_event_ns, ts_received_ns,
kind, body]; body is itself an array whose first element is the message's class name. `decode_header`
reads the header without touching the body.
"""

from typing import Any, Final, NamedTuple, cast

import msgspec

from engine.errors import MessageError
from engine.messages import base, commands, engine_events, events, market, port
from engine.messages.base import Event, Lane, Message

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


class Retried(NamedTuple):
    """What a parked message that is given back remembers: who did it, the attempts before."""

    who: str
    attempts: int
    journal: str


class Delayed(msgspec.Struct, eq=False):
    """An output that is a timer: `entry` goes to its sender itself after the delay."""

    entry: "Entry"
    delay_ns: int
    key: str | None


# Made for every hop, so a Struct: its constructor is C. Compared by identity.
class Entry(msgspec.Struct, eq=False):
    """One message on its way to one address. `message` or `encoded` is there, perhaps both.

    The header's fields are those of the Envelope. `outputs` is what its handler sent, once that is
    committed; `attempts` counts crashes. `accepted` turns true with the first put: what
    a successor sends again is the same entry, and is known by that.
    """

    recipient: str
    kind: str
    lane: Lane
    message_id: str
    key: str | None
    sender: str
    cause_id: str
    correlation_id: str
    ts_event_ns: int
    ts_received_ns: int
    message: Message | None
    encoded: msgspec.Raw | None = None
    enqueued_mono_ns: int = 0
    outputs: "list[Output] | None" = None
    attempts: int = 0
    accepted: bool = False
    retried: Retried | None = None

    @property
    def body(self) -> msgspec.Raw:
        """Return the encoded message. Raises MessageError if it is larger than any may be."""
        if self.encoded is None:
            assert self.message is not None, "an entry has a message or its bytes"
            self.encoded = raw_body(self.message)
        return self.encoded

    @property
    def envelope(self) -> Envelope:
        """Return what would go to a socket."""
        return Envelope(
            SCHEMA, 0, self.message_id, self.cause_id, self.correlation_id, self.sender,
            self.recipient, self.ts_event_ns, self.ts_received_ns, self.kind, self.body,
        )  # fmt: skip

    @property
    def data(self) -> bytes:
        """Return the bytes of the whole envelope, as they would go to a socket or a journal."""
        return encode(self.envelope)

    def typed(self, *, by_bytes: bool) -> Message:
        """Return the message; with `by_bytes` as its bytes tell it, and as nobody else holds it.

        Raises:
            MessageError: malformed, or of an unknown kind.
        """
        message = self.message
        if message is None or by_bytes:
            return decode_body(self.kind, self.body)
        return message

    def replace_by(self, newer: "Entry") -> None:
        """Take over the content of a newer message of the same slot, and keep the place."""
        self.kind = newer.kind
        self.message_id = newer.message_id
        self.sender = newer.sender
        self.cause_id = newer.cause_id
        self.correlation_id = newer.correlation_id
        self.ts_event_ns = newer.ts_event_ns
        self.ts_received_ns = newer.ts_received_ns
        self.message = newer.message
        self.encoded = newer.encoded
        self.enqueued_mono_ns = newer.enqueued_mono_ns


Output = Entry | Delayed


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


def entry_of(data: bytes, lane: Lane, key: str | None = None) -> Entry:
    """Return the entry of an envelope's bytes, its body still encoded.

    Raises:
        MessageError: the bytes are not an envelope of this schema.
    """
    e = decode_header(data)
    return Entry(
        e.recipient, e.kind, lane, e.message_id, key, e.sender, e.cause_id, e.correlation_id,
        e.ts_event_ns, e.ts_received_ns, None, e.body,
    )  # fmt: skip


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
