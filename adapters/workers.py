"""Threads of one session and the queues of those that work: each bug of theirs ends the session."""

import queue
import threading
from collections.abc import Callable
from typing import Final

from adapters.lanes import Joinable, ThreadFactory

WAITING_MAX: Final = 1000
LOOK_S: Final = 0.05


class Workers:
    """Starts threads; `on_crash` is told once per bug, in words that name a place and never a value."""

    def __init__(
        self,
        name: str,
        threads: ThreadFactory,
        stopping: threading.Event,
        on_crash: Callable[[str], None],
    ) -> None:
        self._name = name
        self._threads = threads
        self._stopping = stopping
        self._on_crash = on_crash
        self.running: list[Joinable] = []

    def spawn(self, name: str, run: Callable[[], None]) -> None:
        """Start a thread whose own bug ends the session."""

        def guarded() -> None:
            # The one seam where a thread's own bug becomes a message; it is not mended here.
            try:
                run()
            except Exception as error:  # noqa: BLE001
                self._stopping.set()
                self._on_crash(f"{name}: {_place(error)}"[:500])

        self.running.append(self._threads(f"{self._name}.{name}", guarded))

    def queue(self, name: str) -> "JobQueue":
        """Return the queue of a new thread that does one job after another."""
        jobs = JobQueue(self._stopping)
        self.spawn(name, jobs.run)
        return jobs


class JobQueue:
    """Jobs of one thread, in order, bounded."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._jobs: queue.Queue[Callable[[], None]] = queue.Queue(WAITING_MAX)

    def put(self, job: Callable[[], None]) -> bool:
        """Queue a job; False when there are too many, or the session has ended."""
        if self._stopping.is_set():
            return False
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def run(self) -> None:
        """Do jobs until the session ends."""
        while not self._stopping.is_set():
            try:
                job = self._jobs.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            job()


def _place(error: Exception) -> str:
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    where = f"{at.tb_frame.f_code.co_filename}:{at.tb_lineno}" if at is not None else "?"
    return f"{type(error).__name__} at {where.rsplit('/', 1)[-1]}"
