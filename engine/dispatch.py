"""Dispatchers: which thread runs which actor is configuration, not code.

CallerRunsDispatcher: whoever brings a message takes the lock, if it is free, and runs all waiting actors
to the end, one at a time, in turn. Its actors must never block. ThreadDispatcher: a thread of its own,
for actors that wait for a disk. SeededDispatcher: no thread at all, a random but repeatable order and a
virtual clock, for simulation.

A thread cannot be killed. One that is stuck in a handler is left behind: its dispatcher gets a new gate
or a new thread, and the old thread, should it ever wake, finds that nothing there is its own any more.
"""

from collections import deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from queue import SimpleQueue
from random import Random
from threading import Lock, Thread, get_ident
from threading import enumerate as threads
from typing import Final, Protocol, cast

from engine.cell import Cell, InjectedFault, Slot
from engine.clock import VirtualClock
from engine.timers import Timers

BATCH: Final = 64
JOIN_S: Final = 2.0


class Dispatcher(Protocol):
    """Runs cells that have something to do, each by one thread at a time."""

    name: str
    threaded: bool

    def ready(self, cell: Cell) -> None:
        """Run the cell soon. Called from any thread; may run it before it returns."""
        ...

    def wake(self, slots: Sequence[Slot]) -> None:
        """Have mailboxes read soon; called by a cell of this dispatcher when its step is over."""
        ...

    def aside(self, job: Callable[[], None]) -> None:
        """Do a long job without holding up the other cells."""
        ...

    def start(self) -> None:
        """Begin running cells."""
        ...

    def stop(self) -> None:
        """Run no more cells."""
        ...

    def heal(self, lost_ident: int | None = None) -> bool:
        """Replace a thread that is lost or dead; tell whether there was one."""
        ...

    def kick(self) -> None:
        """Have somebody else than the calling thread run what waits."""
        ...


# The right to run the cells. Whoever is stuck keeps its old gate; all others use the new one.
class _Gate:
    __slots__ = ("holder", "lock")

    def __init__(self) -> None:
        self.lock = Lock()
        self.holder: int | None = None


class CallerRunsDispatcher:
    """The tick path: no thread of its own and, on an idle core, no thread switch."""

    threaded = True

    def __init__(self, name: str = "tick", batch: int = BATCH) -> None:
        self.name = name
        self._batch = batch
        self._queue: deque[Cell] = deque()
        self._caused: deque[Cell] = deque()
        self._gate = _Gate()
        self._open = False
        self._outside: dict[int, Slot] = {}

    def start(self) -> None:
        """Begin: from now on callers run cells."""
        self._open = True
        self._run()

    def stop(self) -> None:
        """Run no more cells."""
        self._open = False

    def ready(self, cell: Cell) -> None:
        """Queue the cell and run what waits, unless somebody is at it already."""
        if not cell.scheduled:
            cell.scheduled = True
            self._queue.append(cell)
        if self._gate.holder is None:
            self._run()

    # What a step caused comes before what waited: an order goes its whole way to the socket before the
    # others are told of it. Readers with a thread of their own wait until the cells are done: a thread
    # that wakes asks for the interpreter at once, and would get it in the middle of a tick.
    def wake(self, slots: Sequence[Slot]) -> None:
        """Queue the cells to run next, in this order; the others' turn is the end of the round."""
        for slot in reversed(slots):
            runner = slot.runner
            if runner is self:
                cell = cast("Cell", slot)  # nothing else has a dispatcher
                if not cell.scheduled:
                    cell.scheduled = True
                    self._caused.appendleft(cell)
            elif runner is None:
                self._outside[id(slot)] = slot
            else:
                slot.wake()
        if self._gate.holder is None:
            self._run()

    def aside(self, job: Callable[[], None]) -> None:
        """Do the job in a thread of its own."""
        Thread(target=job, name=f"{self.name}-aside", daemon=True).start()

    def heal(self, lost_ident: int | None = None) -> bool:
        """Open a new gate if the lost thread holds the present one; a helper runs what waits."""
        holder = self._gate.holder
        if holder is None:
            return False
        dead = lost_ident is None and all(thread.ident != holder for thread in threads())
        if holder != lost_ident and not dead:
            return False
        self._gate = _Gate()
        self.kick()
        return True

    def kick(self) -> None:
        """Start a helper that runs what waits."""
        if (self._caused or self._queue) and self._gate.holder is None:
            Thread(target=self._run, name=f"{self.name}-helper", daemon=True).start()

    def holder(self) -> int | None:
        """Return the thread that is running cells now."""
        return self._gate.holder

    # After the release somebody may have queued and gone away in the belief that we would see to it:
    # look again.
    def _run(self) -> None:
        while (self._caused or self._queue) and self._open:
            gate = self._gate
            if not gate.lock.acquire(blocking=False):
                return
            gate.holder = get_ident()
            try:
                self._drain(gate)
            finally:
                outside, self._outside = self._outside, {}
                gate.holder = None
                gate.lock.release()
                for slot in outside.values():
                    slot.wake()
            if self._gate is not gate:
                return

    def _wake_outside(self) -> None:
        outside, self._outside = self._outside, {}
        for slot in list(outside.values()):
            slot.wake()

    def _drain(self, gate: _Gate) -> None:
        caused, queue = self._caused, self._queue
        turns = 0
        while (caused or queue) and self._gate is gate and self._open:
            turns += 1
            fair = turns % self._batch == 0
            if fair:  # nobody waits for ever: all that is left takes its turn in the queue
                queue.extend(caused)
                caused.clear()
            try:
                cell = caused.popleft() if caused else queue.popleft()
            except IndexError:
                return
            cell.scheduled = False
            if cell.run() and not cell.scheduled:
                cell.scheduled = True
                queue.append(cell)
            if fair and self._outside:
                self._wake_outside()


class ThreadDispatcher:
    """A thread of its own, for actors that may wait."""

    threaded = True

    def __init__(self, name: str) -> None:
        self.name = name
        self._queue: SimpleQueue[Cell | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._cells: dict[str, Cell] = {}

    def start(self) -> None:
        """Start the thread."""
        self._thread = Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the step in hand."""
        thread, self._thread = self._thread, None
        self._queue.put(None)
        if thread is not None and thread.ident != get_ident():
            thread.join(JOIN_S)

    def ready(self, cell: Cell) -> None:
        """Queue the cell for the thread."""
        if not cell.scheduled:
            cell.scheduled = True
            self._cells[cell.name] = cell
            self._queue.put(cell)

    def wake(self, slots: Sequence[Slot]) -> None:
        """Wake each at once."""
        for slot in slots:
            slot.wake()

    def aside(self, job: Callable[[], None]) -> None:
        """Do the job here: the thread is the actor's own."""
        job()

    def heal(self, lost_ident: int | None = None) -> bool:
        """Start a new thread in place of a lost or dead one, with everything that waited."""
        thread = self._thread
        if thread is None or (thread.is_alive() and thread.ident != lost_ident):
            return False
        self._queue = SimpleQueue()
        self.start()
        for cell in self._cells.values():
            cell.scheduled = True
            self._queue.put(cell)
        return True

    def kick(self) -> None:
        """Have the thread look at all its cells."""
        for cell in list(self._cells.values()):
            self._queue.put(cell)

    def _run(self) -> None:
        me, queue = self._thread, self._queue
        while self._thread is me:
            cell = queue.get()
            if cell is None:
                continue
            cell.scheduled = False
            if self._thread is me and cell.run():
                self.ready(cell)


class SeededDispatcher:
    """One step at a time, by the caller, in an order drawn from `rng`; time is virtual.

    `trace` hashes every step, so that two runs can be compared. Give the same object under each name
    that the specs use.
    """

    threaded = False

    def __init__(self, rng: Random, clock: VirtualClock, timers: Timers | None = None) -> None:
        self.name = "seeded"
        self.steps = 0
        self._rng = rng
        self._clock = clock
        self.timers = timers if timers is not None else Timers()
        self._ready: list[Cell] = []
        self._jobs: deque[Callable[[], None]] = deque()
        self._hash = blake2b(digest_size=16)

    def start(self) -> None:
        """Nothing: the caller steps."""

    def stop(self) -> None:
        """Forget what waits."""
        self._ready.clear()

    def ready(self, cell: Cell) -> None:
        """Note that the cell may be picked."""
        if not cell.scheduled:
            cell.scheduled = True
            self._ready.append(cell)

    def wake(self, slots: Sequence[Slot]) -> None:
        """Wake each at once."""
        for slot in slots:
            slot.wake()

    def aside(self, job: Callable[[], None]) -> None:
        """Do the job between two steps."""
        self._jobs.append(job)

    def heal(self, lost_ident: int | None = None) -> bool:
        """Return False: there is no thread to lose."""
        return False

    def kick(self) -> None:
        """Nothing: the caller steps."""

    def step(self, until_ns: int | None = None) -> bool:
        """Do one thing: a job, one message of some actor, or the next timer; False if there is none.

        Time moves only when nothing else is left to do, and not beyond `until_ns`.
        """
        if self._jobs:
            self._jobs.popleft()()
            return True
        if self.timers.fire_due(self._clock.mono_ns()):
            return True
        if self._ready:
            self._step_cell()
            return True
        due_ns = self.timers.next_due_ns()
        if due_ns is None or (until_ns is not None and due_ns > until_ns):
            return False
        self._clock.advance_ns(max(0, due_ns - self._clock.mono_ns()))
        self.timers.fire_due(due_ns)
        return True

    def run(self, for_s: float = 0.0, steps_max: int = 10_000_000) -> int:
        """Step until nothing is left to do within `for_s` of virtual time; return the steps made."""
        until_ns = self._clock.mono_ns() + int(for_s * 1e9)
        made = 0
        while made < steps_max and self.step(until_ns):
            made += 1
        if made < steps_max:
            self._clock.advance_ns(max(0, until_ns - self._clock.mono_ns()))
        return made

    def trace(self) -> str:
        """Return the hash of all steps so far."""
        return self._hash.hexdigest()

    def _step_cell(self) -> None:
        index = self._rng.randrange(len(self._ready))
        cell = self._ready.pop(index)
        cell.scheduled = False
        more = cell.run()
        self.steps += 1
        mark = f"{cell.name}|{cell.state}|{cell.life.incarnation}|{cell.last_message_id}"
        self._hash.update(f"{mark}|{self._clock.mono_ns()}\n".encode())
        if more:
            self.ready(cell)


class CrashInjector:
    """Crashes actors at random fault points; a callable for the supervisor's `faults`."""

    def __init__(self, rng: Random, share: float, only: frozenset[str] = frozenset()) -> None:
        self.share = share
        self.count: dict[str, int] = {}
        self._rng = rng
        self._only = only

    def __call__(self, point: str, actor: str) -> None:
        """Raise at a share of the calls, for the actors in `only` (empty: all)."""
        if self._only and actor not in self._only:
            return
        if self._rng.random() < self.share:
            self.count[point] = self.count.get(point, 0) + 1
            raise InjectedFault(f"{actor} at {point}")

    @property
    def total(self) -> int:
        """Return how many crashes were injected."""
        return sum(self.count.values())
