"""A mailbox whose reader is not an actor: an adapter's worker thread, the control server, a test."""

from collections.abc import Callable
from threading import Event as Flag

from engine.envelope import Entry
from engine.mailbox import Mailbox
from engine.messages.base import Message


class Consumer:
    """Reads one address by peek, handle, acknowledge. One reading thread at a time.

    A reader that begins anew calls `claim`; from then on the one before gets Fenced.
    """

    runner = None

    def __init__(self, mailbox: Mailbox, on_ready: Callable[[], None] | None = None) -> None:
        self.mailbox = mailbox
        self._on_ready = on_ready
        self._flag = Flag()
        self._epoch = mailbox.claim()
        mailbox.on_ready = self.wake

    def wake(self) -> None:
        """Tell the reader that there is mail. Called by whoever put it."""
        self._flag.set()
        if self._on_ready is not None:
            self._on_ready()

    def claim(self) -> int:
        """Begin a new epoch, which fences the reader before, and return it."""
        self._epoch = self.mailbox.claim()
        return self._epoch

    def peek(self, epoch: int | None = None) -> Entry | None:
        """Return the entry to handle next, or None. Never blocks."""
        return self.mailbox.peek(self._epoch if epoch is None else epoch)

    def take(self, timeout_s: float, epoch: int | None = None) -> Entry | None:
        """Return the entry to handle next, waiting for one up to `timeout_s`."""
        entry = self.peek(epoch)
        if entry is not None:
            return entry
        self._flag.clear()
        entry = self.peek(epoch)
        if entry is None and self._flag.wait(timeout_s):
            entry = self.peek(epoch)
        return entry

    def ack(self, entry: Entry, epoch: int | None = None) -> None:
        """Remove a handled entry."""
        self.mailbox.ack(self._epoch if epoch is None else epoch, (entry,))

    def read(self, entry: Entry) -> tuple[Entry, Message]:
        """Return header and typed message. Raises MessageError."""
        return entry, entry.typed(by_bytes=False)
