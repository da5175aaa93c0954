"""Poison: messages that crashed their actor too often, or cannot be read, set aside where people see them.

A parked message is never forgotten silently: the observer is told, the journal gets a MessageParked that
holds the message itself, and whoever waits for a reply gets FAILED_POISON. A person gives it back to its
actor, under the id it had, or discards it with a reason; the journal's MessageSettled is its end. What is
parked and not settled is here again after a restart of the process.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from traceback import format_exception
from typing import Any, Final

from loguru import logger

from engine.cell import Cell, Slot
from engine.clock import Clock
from engine.envelope import KINDS, Entry, Retried, as_dict, entry_of
from engine.errors import MessageError, Refused
from engine.ids import message_id
from engine.messages.base import KEPT_BYTES_MAX, Lane, Message
from engine.messages.commands import Append, Reply
from engine.messages.engine_events import (
    MessageParked,
    MessageSettled,
)
from engine.specs import ParkedMessage

TEXT_MAX: Final = 2_000
WORDS_MAX: Final = 500
ID_MAX: Final = 64
PARKED_MAX: Final = 1_000


@dataclass(frozen=True, slots=True)
class _Lot:
    parked: ParkedMessage
    entry: Entry | None


class Parking:
    """What is parked now, by message id. Any thread may call any method."""

    def __init__(
        self,
        cells: Mapping[str, Cell],
        clock: Clock,
        deliver: Callable[[Entry], Slot | None],
        parked_to: str | None,
        hide: Callable[[str], str],
    ) -> None:
        self._cells = cells
        self._clock = clock
        self._deliver = deliver
        self._journal = parked_to or ""
        self._hide = hide
        self._lots: dict[str, _Lot] = {}

    def park(self, cell: Cell, entry: Entry, error: BaseException) -> ParkedMessage:
        """Keep an entry that has left its mailbox, and tell the journal and who waits for it."""
        message = _read(entry)
        before = entry.retried.attempts if entry.retried is not None else 0
        trace = "".join(format_exception(error)) if error.__traceback__ is not None else ""
        parked = ParkedMessage(
            cell.name,
            entry.message_id,
            entry.kind[:ID_MAX],
            _about(message, "order_id", "client_order_id"),
            _about(message, "symbol"),
            before + max(1, entry.attempts),
            self._hide(f"{type(error).__name__}: {error}")[:TEXT_MAX],
            self._hide(trace)[-TEXT_MAX:],
            self._hide(in_words(entry.kind, message)),
            self._clock.wall_ns(),
            retryable=True,
        )
        self._lots[entry.message_id] = _Lot(parked, entry)
        self._tell_journal(parked, entry)
        if entry.retried is None:
            self._answer(parked, entry, message)
        self._bound()
        return parked

    def restore(self, events: Iterable[MessageParked]) -> None:
        """Take up what earlier runs parked and nobody has settled."""
        for event in events:
            entry = _entry_of(event)
            message = None if entry is None else _read(entry)
            self._lots[event.message_id] = _Lot(
                ParkedMessage(
                    event.actor,
                    event.message_id,
                    event.kind,
                    event.order_id,
                    event.symbol,
                    event.attempts,
                    event.error,
                    event.traceback,
                    in_words(event.kind, message),
                    event.ts_ns,
                    retryable=entry is not None and event.actor in self._cells,
                ),
                entry,
            )
        self._bound()

    def list(self) -> list[ParkedMessage]:
        """Return what is parked, oldest first."""
        return [lot.parked for lot in list(self._lots.values())]

    def count(self, actor: str) -> int:
        """Return how many messages of an actor are parked."""
        return sum(1 for parked in self.list() if parked.actor == actor)

    def retry(self, parked_id: str, who: str) -> ParkedMessage:
        """Give a parked message back to its actor, behind what waits.

        Until its handler has returned and that is journaled, a restart of the process finds it parked.

        Raises:
            Refused: NOT_FOUND, or NOT_ALLOWED where the message is not there any more.
        """
        lot = self._lot(parked_id)
        if lot.entry is None or not lot.parked.retryable:
            text = "its actor is not in this core" if lot.entry else "the message was not kept"
            raise Refused("NOT_ALLOWED", f"{parked_id} can only be discarded: {text}")
        if self._lots.pop(parked_id, None) is None:
            raise _not_parked(parked_id)
        lot.entry.retried = Retried(who, lot.parked.attempts, self._journal)
        self._cells[lot.parked.actor].mailbox.requeue(lot.entry)
        return lot.parked

    def discard(self, parked_id: str, who: str, reason: str) -> ParkedMessage:
        """Forget a parked message, journaled with who and why. Raises Refused NOT_FOUND."""
        parked = self._lot(parked_id).parked
        if self._lots.pop(parked_id, None) is None:
            raise _not_parked(parked_id)
        now_ns = self._clock.wall_ns()
        event = MessageSettled(parked.actor, parked_id, "DISCARDED", who, reason, now_ns)
        if self._journal:
            self._post(self._journal, Append([event]), parked_id, "", "discard")
        return parked

    # --- private ----------------------------------------------------------------------------------

    def _lot(self, parked_id: str) -> _Lot:
        lot = self._lots.get(parked_id)
        if lot is None:
            raise _not_parked(parked_id)
        return lot

    # The journal still has what memory gives up; it is listed again after a restart.
    def _bound(self) -> None:
        while len(self._lots) > PARKED_MAX:
            oldest = next(iter(self._lots))
            del self._lots[oldest]
            logger.bind(message_id=oldest).error(
                "too many parked messages: the oldest is not shown"
            )

    # The journal's own poison cannot be told to the journal: the observer has it.
    def _tell_journal(self, parked: ParkedMessage, entry: Entry) -> None:
        if not self._journal or parked.actor == self._journal:
            return
        event = MessageParked(
            parked.actor,
            parked.message_id[:ID_MAX],
            parked.kind,
            parked.order_id,
            parked.error,
            parked.ts_ns,
            parked.symbol,
            parked.attempts,
            parked.traceback,
            self._kept(entry),
        )
        why = f"journal.{parked.attempts}"
        self._post(self._journal, Append([event]), parked.message_id, "", why)

    # Whole or not at all: a message with something hidden in it would be another message.
    def _kept(self, entry: Entry) -> bytes:
        data = entry.data
        text = data.decode("latin-1")
        return data if len(data) <= KEPT_BYTES_MAX and self._hide(text) == text else b""

    def _answer(self, parked: ParkedMessage, entry: Entry, message: Message | None) -> None:
        reply_to = getattr(message, "reply_to", "")
        if not reply_to:
            return
        asked = str(getattr(message, "command_id", "") or getattr(message, "correlation_id", ""))
        correlation_id = entry.correlation_id or asked
        text = f"{parked.actor} failed on this {entry.kind}; it is parked as {entry.message_id}"
        reply = Reply(correlation_id[:ID_MAX], False, "FAILED_POISON", text, b"")
        self._post(reply_to, reply, entry.message_id, correlation_id, "reply")

    def _post(self, to: str, message: Message, cause: str, correlation_id: str, why: str) -> None:
        now_ns = self._clock.wall_ns()
        slot = self._deliver(
            Entry(
                to, type(message).__name__, message.lane, message_id(cause, f"parking.{why}"), None,
                "supervisor", cause, correlation_id, now_ns, now_ns, message,
            )
        )  # fmt: skip
        if slot is not None:
            slot.wake()


def in_words(kind: str, message: Message | None) -> str:
    """Return a message as a person would read it: its kind, and what each field says."""
    if message is None:
        return f"{kind[:ID_MAX]}, which cannot be read"
    fields = as_dict(message)
    said = ", ".join(
        f"{name} {value}" for name, value in _leaves(fields) if value not in (None, "")
    )
    return f"{kind}: {said}"[:WORDS_MAX]


def _leaves(fields: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in fields.items():
        if isinstance(value, dict):
            if "kind" in value:
                yield name, value["kind"]
            yield from _leaves(value)
        elif isinstance(value, list | bytes):
            yield f"{len(value)}", "bytes" if isinstance(value, bytes) else name
        elif name != "kind" and value is not None:
            yield name.replace("_", " "), str(value)


def _about(message: Message | None, *names: str) -> str:
    found = (getattr(message, name, "") for name in names)
    return str(next((value for value in found if value), ""))[:ID_MAX]


def _entry_of(event: MessageParked) -> Entry | None:
    known = KINDS.get(event.kind)
    lane = known.lane if known is not None else Lane.ORDERS
    try:
        return entry_of(event.envelope, lane)
    except MessageError:
        return None  # not kept, or of a version that this program does not read


def _read(entry: Entry) -> Message | None:
    try:
        return entry.typed(by_bytes=False)
    except MessageError:
        return None


def _not_parked(parked_id: str) -> Refused:
    return Refused("NOT_FOUND", f"no message {parked_id!r} is parked")
