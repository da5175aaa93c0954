"""Write the golden journal of the present events: every kind once, and what it says as JSON.

Run for a new folder when an event is added or gains a field; a folder that is there never changes.
PYTHONPATH=.:tests/journal python tests/journal/golden/make_events.py tests/journal/golden/events-1
"""

import json
import sys
import types
import typing
from decimal import Decimal
from pathlib import Path

import msgspec
from journal_factory import open_journal

from engine.envelope import EVENT_KINDS, decode_event, encode_body, to_plain
from engine.journal import NewRecord
from engine.messages.base import Part

# As 0.1.0 wrote them: shorter than today's.
EARLY = [["MessageParked", "exchange.okx", "m0", "FillReport", "o1", "ValueError: boom", 7]]


def example(hint, name, kind):
    """Return a plain value of a field's type, different for each field and kind of event."""
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return typing.get_args(hint)[-1]
    if origin is list:
        return [example(typing.get_args(hint)[0], name, kind)] * 2
    if origin is tuple:
        return [example(part, name, kind) for part in typing.get_args(hint)]
    if origin in (typing.Union, types.UnionType):
        return example(typing.get_args(hint)[0], name, kind)
    if hint is Decimal:
        return f"{len(name)}.25"
    if isinstance(hint, type) and issubclass(hint, Part):
        return fields(hint, kind)
    return {bool: True, int: len(name), bytes: b"\x93", str: f"{kind}.{name}"}[hint]


def fields(cls, kind):
    hints = typing.get_type_hints(cls)
    return [example(hints[name], name, kind) for name in cls.__struct_fields__]


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    bodies = [(raw[0], msgspec.msgpack.encode(raw), None) for raw in EARLY]
    for kind in sorted(EVENT_KINDS):
        body = msgspec.msgpack.encode([kind, *fields(EVENT_KINDS[kind], kind)])
        event = decode_event(kind, body)
        assert encode_body(event) == body
        bodies.append((kind, body, event.unique_key()))
    with open_journal(folder) as journal:
        for n, (kind, body, key) in enumerate(bodies, 1):
            journal.append(
                [NewRecord(f"g{n}:0", key, kind, "order_router", f"c{n}", "k", body, n, n)]
            )
        said = [to_plain(decode_event(r.kind, r.body)) for r in journal.read()]
    (folder / "events.json").write_text(json.dumps(said, indent=1) + "\n")
    for name in ("journal.lock", "journal.db-wal", "journal.db-shm"):
        (folder / name).unlink(missing_ok=True)
