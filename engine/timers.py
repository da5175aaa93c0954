"""Timers in a heap, and the two threads that the runtime needs to notice time.

Timers run on the monotonic clock that they are given; a simulation fires them by hand. Equal times fire
in the order they were set. The watch thread runs nothing but its check, so that no actor can stop it.
"""

import heapq
from collections.abc import Callable
from threading import Condition, Event, Thread, get_ident
from typing import Final

from loguru import logger

from engine.clock import NS_PER_S, Clock

IDLE_WAIT_S: Final = 1.0
STALE_MIN: Final = 1_024


class Timer:
    """One pending call. `cancel` makes sure that it does not happen, unless it has begun."""

    __slots__ = ("_timers", "callback", "due_ns")

    def __init__(self, timers: "Timers", due_ns: int, callback: Callable[[], None]) -> None:
        self._timers = timers
        self.due_ns = due_ns
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Forget the call."""
        if self.callback is not None:
            self.callback = None
            self._timers.note_cancelled()


class Timers:
    """All pending calls, earliest first. Thread-safe."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0
        self._stale = 0
        self.changed = Condition()

    def add(self, due_ns: int, callback: Callable[[], None]) -> Timer:
        """Call `callback` once the monotonic clock has reached `due_ns`."""
        timer = Timer(self, due_ns, callback)
        with self.changed:
            self._count += 1
            heapq.heappush(self._heap, (due_ns, self._count, timer))
            if self._heap[0][2] is timer:
                self.changed.notify_all()
        return timer

    def next_due_ns(self) -> int | None:
        """Return when the next call is due, or None."""
        with self.changed:
            while self._heap and self._heap[0][2].callback is None:
                heapq.heappop(self._heap)
                self._stale = max(0, self._stale - 1)
            return self._heap[0][0] if self._heap else None

    def fire_due(self, now_ns: int) -> int:
        """Make every call that is due, in order, and return how many there were."""
        fired = 0
        while (callback := self._pop(now_ns)) is not None:
            callback()
            fired += 1
        return fired

    def note_cancelled(self) -> None:
        """Sweep the heap when most of it is cancelled."""
        with self.changed:
            self._stale += 1
            if self._stale > STALE_MIN and self._stale * 2 > len(self._heap):
                self._heap = [item for item in self._heap if item[2].callback is not None]
                heapq.heapify(self._heap)
                self._stale = 0

    def _pop(self, now_ns: int) -> Callable[[], None] | None:
        with self.changed:
            while self._heap and self._heap[0][0] <= now_ns:
                timer = heapq.heappop(self._heap)[2]
                if timer.callback is not None:
                    callback, timer.callback = timer.callback, None
                    return callback
                self._stale = max(0, self._stale - 1)
            return None


class TimerThread:
    """Fires timers as real time passes. A thread that got stuck in a call is left behind."""

    def __init__(self, timers: Timers, clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = Thread(target=self._run, name="timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the call in hand."""
        thread, self._thread = self._thread, None
        with self._timers.changed:
            self._timers.changed.notify_all()
        if thread is not None and thread.ident != get_ident():
            thread.join(IDLE_WAIT_S)

    def heal(self, lost_ident: int | None = None) -> bool:
        """Begin anew if the thread is the lost one or has died; tell whether that was so."""
        thread = self._thread
        if thread is None or (thread.is_alive() and thread.ident != lost_ident):
            return False
        self.start()
        return True

    def _run(self) -> None:
        me = self._thread
        while self._thread is me:
            try:
                self._timers.fire_due(self._clock.mono_ns())
            except Exception:  # noqa: BLE001  a named seam: the loop must outlive its calls
                logger.exception("a timer's call failed")
            due_ns = self._timers.next_due_ns()
            with self._timers.changed:
                wait_s = IDLE_WAIT_S
                if due_ns is not None:
                    wait_s = min(IDLE_WAIT_S, (due_ns - self._clock.mono_ns()) / NS_PER_S)
                if wait_s > 0 and self._thread is me:
                    self._timers.changed.wait(wait_s)


class WatchThread:
    """Runs one check at a fixed period, for ever."""

    def __init__(self, check: Callable[[], None], period_s: float) -> None:
        self._check = check
        self._period_s = period_s
        self._stop = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = Thread(target=self._run, name="watchdog", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the check in hand."""
        self._stop.set()
        if self._thread is not None and self._thread.ident != get_ident():
            self._thread.join(IDLE_WAIT_S)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            try:
                self._check()
            except Exception:  # noqa: BLE001  a named seam: the watchdog must outlive its findings
                logger.exception("the watchdog's check failed")
