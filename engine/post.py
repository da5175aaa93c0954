"""Addresses: who has which mailbox, and how a message gets into it from inside and from outside.

Messages from outside get fresh ids of this run; those from actors come with derived ones. A thread that
was given up as stuck in an actor may send nothing any more until it registers anew.
"""

from collections.abc import Callable
from itertools import count
from threading import Thread, current_thread, get_ident
from threading import enumerate as threads
from typing import Final
from weakref import WeakSet

from loguru import logger
from msgspec import Raw

from engine.cell import Slot
from engine.clock import Clock
from engine.envelope import KINDS, Entry, raw_body
from engine.errors import Fenced, MessageError, Refused
from engine.mailbox import PutResult
from engine.messages.base import Lane, Message

_MARKET: Final = Lane.MARKET
_OVERFLOW: Final = PutResult.OVERFLOW
_LANES: Final = {kind: cls.lane for kind, cls in KINDS.items()}
Observe = Callable[[str, str, int, str, Entry | None], None]


class Post:
    """All addresses of a runtime."""

    def __init__(self, clock: Clock, run_id: str, observe: Observe) -> None:
        self.dead_letters = 0
        self._clock = clock
        self._run_id = run_id
        self._observe = observe
        self._slots: dict[str, Slot] = {}
        self._numbers = count(1)
        self._readers: dict[int, Callable[[], None]] = {}
        self._lost: WeakSet[Thread] = WeakSet()

    def add(self, address: str, slot: Slot) -> None:
        """Give an address to a slot. Raises Refused if it is taken."""
        if address in self._slots:
            raise Refused("ADDRESS_TAKEN", f"{address!r} has an owner already")
        self._slots[address] = slot

    def slot(self, address: str) -> Slot:
        """Return what is at an address. Raises Refused if there is nothing."""
        slot = self._slots.get(address)
        if slot is None:
            raise Refused("NO_SUCH_ADDRESS", f"nobody is called {address!r}")
        return slot

    def tell(
        self,
        address: str,
        message: Message,
        sender: str,
        message_id: str | None,
        correlation_id: str,
        cause_id: str,
        ts_event_ns: int,
    ) -> PutResult:
        """Send a message from outside; see `Supervisor.tell`.

        Whatever may reach the journal is read by its actor from bytes, and so checked whole.
        """
        market = message.lane is _MARKET
        return self._accept(
            address, type(message).__name__, message.lane,
            message.conflate_key() if market else None,
            message if market else None, None if market else raw_body(message),
            sender, message_id, correlation_id, cause_id, ts_event_ns,
        )  # fmt: skip

    def tell_encoded(
        self, address: str, kind: str, key: str, body: Raw, sender: str, message_id: str
    ) -> PutResult:
        """Send a message from outside that is encoded already: only its recipient reads it.

        Raises:
            MessageError: no message is called `kind`.
            Fenced, Refused: as `Supervisor.tell`.
        """
        lane = _LANES.get(kind)
        if lane is None:
            raise MessageError(f"{kind[:64]!r}: no message has this name")
        slot_key = key if lane is _MARKET and key else None
        return self._accept(address, kind, lane, slot_key, None, body, sender, message_id)

    def _accept(
        self,
        address: str,
        kind: str,
        lane: Lane,
        key: str | None,
        message: Message | None,
        body: Raw | None,
        sender: str,
        message_id: str | None,
        correlation_id: str = "",
        cause_id: str = "",
        ts_event_ns: int = 0,
    ) -> PutResult:
        if self._lost and current_thread() in self._lost:
            raise Fenced(f"thread {current_thread().name} was stuck and has been replaced")
        slot = self.slot(address)
        now_ns = self._clock.wall_ns()
        new_id = message_id or f"{self._run_id}.{sender}.{next(self._numbers)}"
        entry = Entry(
            address, kind, lane, new_id, key, sender, cause_id, correlation_id,
            ts_event_ns or now_ns, now_ns, message, body,
        )  # fmt: skip
        entry.enqueued_mono_ns = self._clock.mono_ns()
        result = slot.mailbox.accept(entry)
        if result is _OVERFLOW:
            self._overflow(slot, entry)
        slot.wake()
        return result

    def deliver(self, entry: Entry) -> Slot | None:
        """Put an entry into its recipient's mailbox and return whom to wake."""
        slot = self._slots.get(entry.recipient)
        if slot is None:
            self.dead_letters += 1
            logger.error("dead letter: {} for {!r}", entry.kind, entry.recipient)
            self._observe("dead_letter", entry.recipient, 0, "nobody has this address", entry)
            return None
        if slot.mailbox.accept(entry) is _OVERFLOW:
            self._overflow(slot, entry)
        return slot

    def register_thread(self, on_lost: Callable[[], None]) -> None:
        """Make the calling thread welcome and remember whom to tell if it gets stuck."""
        self._lost.discard(current_thread())
        self._readers[get_ident()] = on_lost

    def lose_thread(self, ident: int) -> Callable[[], None] | None:
        """Shut a stuck thread out and return whom to tell."""
        for thread in threads():
            if thread.ident == ident:
                self._lost.add(thread)
        return self._readers.pop(ident, None)

    def _overflow(self, slot: Slot, entry: Entry) -> None:
        box = slot.mailbox
        self._observe("overflow", box.address, 0, f"{box.depth()}", entry)
