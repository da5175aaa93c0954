"""Poison: messages that crashed their actor too often, or cannot be read, set aside where people see them.

A parked message is never forgotten silently: the observer is told, the journal gets a MessageParked, and
whoever waits for a reply gets FAILED_POISON. A person may retry or discard it.
"""

from collections.abc import Callable

from engine.cell import Cell, Slot
from engine.clock import Clock
from engine.envelope import Entry
from engine.errors import MessageError
from engine.ids import message_id
from engine.messages.base import Message
from engine.messages.commands import Append, Reply
from engine.messages.events import MessageParked
from engine.specs import ParkedMessage

TEXT_MAX = 2_000
ID_MAX = 64


class Parking:
    """What is parked now, by message id."""

    def __init__(
        self, clock: Clock, deliver: Callable[[Entry], Slot | None], parked_to: str | None
    ) -> None:
        self._clock = clock
        self._deliver = deliver
        self._parked_to = parked_to
        self._lots: dict[str, tuple[Cell, Entry, ParkedMessage]] = {}

    def park(self, cell: Cell, entry: Entry, error: str) -> ParkedMessage:
        """Keep an entry that has left its mailbox, and tell the journal and who waits for it."""
        message = _try_decode(entry)
        order_id = str(getattr(message, "order_id", "") or getattr(message, "client_order_id", ""))
        parked = ParkedMessage(
            cell.name,
            entry.message_id,
            entry.kind[:ID_MAX],
            order_id[:ID_MAX],
            error[:TEXT_MAX],
            self._clock.mono_ns(),
        )
        self._lots[entry.message_id] = (cell, entry, parked)
        self._tell_journal(parked)
        self._answer(cell, entry, message)
        return parked

    def list(self) -> list[ParkedMessage]:
        """Return what is parked, oldest first."""
        return [parked for _, _, parked in list(self._lots.values())]

    def count(self, actor: str) -> int:
        """Return how many messages of an actor are parked."""
        return sum(1 for parked in self.list() if parked.actor == actor)

    def retry(self, parked_id: str) -> bool:
        """Give a parked message back to its actor, behind what waits; False if there is none."""
        lot = self._lots.pop(parked_id, None)
        if lot is None:
            return False
        lot[0].mailbox.requeue(lot[1])
        return True

    def discard(self, parked_id: str) -> bool:
        """Forget a parked message; False if there is none."""
        return self._lots.pop(parked_id, None) is not None

    # The journal's own poison cannot be told to the journal: the observer has it.
    def _tell_journal(self, parked: ParkedMessage) -> None:
        if self._parked_to is None or parked.actor == self._parked_to:
            return
        event = MessageParked(
            parked.actor,
            parked.message_id[:ID_MAX],
            parked.kind,
            parked.order_id,
            parked.error,
            self._clock.wall_ns(),
        )
        self._post(self._parked_to, Append([event]), parked.message_id, "", "journal")

    def _answer(self, cell: Cell, entry: Entry, message: Message | None) -> None:
        reply_to = getattr(message, "reply_to", "")
        if not reply_to:
            return
        asked = str(getattr(message, "command_id", "") or getattr(message, "correlation_id", ""))
        correlation_id = entry.correlation_id or asked
        text = f"{cell.name} failed on this {entry.kind}; it is parked as {entry.message_id}"
        reply = Reply(correlation_id[:ID_MAX], False, "FAILED_POISON", text, b"")
        self._post(reply_to, reply, entry.message_id, correlation_id, "reply")

    def _post(self, to: str, message: Message, cause: str, correlation_id: str, why: str) -> None:
        now_ns = self._clock.wall_ns()
        new_id = message_id(cause, why)
        kind = type(message).__name__
        slot = self._deliver(
            Entry(
                to, kind, message.lane, new_id, None, "supervisor", cause, correlation_id,
                now_ns, now_ns, message,
            )
        )  # fmt: skip
        if slot is not None:
            slot.wake()


def _try_decode(entry: Entry) -> Message | None:
    try:
        return entry.typed(by_bytes=False)
    except MessageError:
        return None
