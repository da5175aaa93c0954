"""Brings the core's committed events and books onto the server's event loop.

The core calls `_on_message` on its own threads; it only stores and wakes. Durable events sit in a
bounded ring for live subscribers; whoever lags behind the ring reads the journal instead, so nothing
is lost and nothing waits for a slow reader. Books conflate per symbol.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from itertools import islice
from typing import Final, TypeVar

from engine.clock import Clock
from engine.control_port import CorePort, Limits
from engine.errors import Refused
from engine.messages.base import Event, Message
from engine.messages.commands import AppendRefused
from engine.messages.events import OrderSpec
from engine.messages.market import ConsolidatedBook

BATCH_MAX: Final = 500
T = TypeVar("T")


class Hub:
    """The server's view of what happens in the core. Its methods run on the event loop."""

    def __init__(self, core: CorePort, limits: Limits, clock: Clock, executor: Executor) -> None:
        self.core = core
        self.limits = limits
        self.clock = clock
        self.books: dict[str, ConsolidatedBook] = {}
        self._executor = executor
        self._ring: deque[tuple[int, Event]] = deque(maxlen=limits.ring_max)
        self._arrived: deque[tuple[int, Event]] = deque()
        self._not_taken: deque[AppendRefused] = deque()
        self._woken = False
        self._changed = asyncio.Event()
        self._refused: dict[str, Refused] = {}
        self._loop = asyncio.get_running_loop()
        self._unwatch: Callable[[], None] = core.watch(self._on_message)
        self.head_seq = core.head_seq()  # after watch, so that nothing falls between the two

    def close(self) -> None:
        """Stop watching the core."""
        self._unwatch()

    def next_change(self) -> asyncio.Event:
        """Return what the next committed event sets; taken before looking, it misses nothing."""
        return self._changed

    def refused(self, command_id: str) -> Refused | None:
        """Return why the journal did not take what this command asked for, once."""
        return self._refused.pop(command_id, None)

    async def changed(self, timeout_s: float) -> None:
        """Return at the next committed event, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def events_after(self, seq: int) -> list[tuple[int, Event]]:
        """Return some committed events after `seq`, in order; an empty list when there are none."""
        ring = self._ring
        if ring and ring[0][0] <= seq + 1:
            start = seq + 1 - ring[0][0]
            return list(islice(ring, start, start + BATCH_MAX))
        if seq >= self.head_seq:
            return []
        return await self.read_journal(seq, BATCH_MAX)

    async def read_journal(self, seq: int, count: int) -> list[tuple[int, Event]]:
        """Read up to `count` events after `seq` from the journal itself."""
        return await self.off_loop(lambda: self.core.events_after(seq, count))

    async def off_loop(self, work: Callable[[], T]) -> T:
        """Run what may block on one of the server's few worker threads."""
        return await self._loop.run_in_executor(self._executor, work)

    # Called by the core, on whichever thread: store, wake, return.
    def _on_message(self, seq: int, message: Message) -> None:
        if isinstance(message, ConsolidatedBook):
            self.books[message.symbol] = message
            return
        if isinstance(message, Event):
            self._arrived.append((seq, message))
        elif isinstance(message, AppendRefused):
            self._not_taken.append(message)
        if not self._woken:
            self._woken = True
            self._wake()

    def _wake(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._take)
        except RuntimeError:  # the loop has ended; the watcher is about to be removed
            return

    def _take(self) -> None:
        self._woken = False
        while self._not_taken:
            self._note_refused(self._not_taken.popleft())
        while self._arrived:
            seq, event = self._arrived.popleft()
            if seq <= self.head_seq:
                continue
            if seq != self.head_seq + 1:
                self._ring.clear()  # not contiguous: subscribers read the journal up to here
            self._ring.append((seq, event))
            self.head_seq = seq
        self._changed.set()
        self._changed = asyncio.Event()

    # Nobody may wait for some of them: the oldest give way.
    def _note_refused(self, message: AppendRefused) -> None:
        for event in message.events:
            spec = getattr(event, "order", None)
            if isinstance(spec, OrderSpec):
                self._refused[spec.command_id] = Refused(message.code, message.text)
        while len(self._refused) > self.limits.ring_max:
            del self._refused[next(iter(self._refused))]
