"""Who does what waits for a venue's REST answers: lanes, so that a hanging request holds up only its own.

Jobs carry a key (the symbol). Those of one key run one at a time and in the order they came; those of
different keys run beside each other, each in a thread of its own while there are enough of them. Threads
are started when there is work for them and stay.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from adapters.ccxt_rest import CcxtRest

WAITING_MAX: Final = 1000
Job = Callable[[CcxtRest], None]


class Joinable(Protocol):
    """What a thread factory returns: a started thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        ...


ThreadFactory = Callable[[str, Callable[[], None]], Joinable]


class Lanes:
    """A bounded queue of jobs with keys. Thread safe; `put` never blocks.

    `grow` starts the thread of that number, from 1, which calls `take` and `done` in turn; it is called
    `lanes_max` times at most. With one lane all keys are one.
    """

    def __init__(self, lanes_max: int, grow: Callable[[int], None]) -> None:
        assert lanes_max > 0, "somebody has to work"
        self._lanes_max = lanes_max
        self._grow = grow
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[tuple[str, Job]]] = {}  # with what each is about
        self._ready: deque[str] = deque()  # keys with a job that may begin, the longest wait first
        self._busy: set[str] = set()
        self._lanes = 0
        self._count = 0

    def __len__(self) -> int:
        """Return how many jobs have not begun."""
        return self._count

    def start(self) -> None:
        """Start the first thread, so that the first job need not wait for it."""
        with self._changed:
            self._lanes += 1
            number = self._lanes
        self._grow(number)

    def put(self, key: str, job: Job, about: str = "") -> bool:
        """Queue a job behind those of its key; False when there are too many.

        One `about` the same that has not begun is replaced where it stands: a question that is asked
        anew before its turn came is one question, or a slow venue would only answer old ones.
        """
        key = self._key(key)
        with self._changed:
            jobs = self._waiting.get(key, deque())
            for at, (known, _) in enumerate(jobs):
                if about and known == about:
                    jobs[at] = about, job
                    return True
            if self._count >= WAITING_MAX:
                return False
            self._count += 1
            self._waiting[key] = jobs
            jobs.append((about, job))
            if len(jobs) == 1 and key not in self._busy:
                self._ready.append(key)
            is_short = len(self._ready) > self._lanes - len(self._busy)
            needs_more = is_short and self._lanes < self._lanes_max
            self._lanes += needs_more
            number = self._lanes
            self._changed.notify()
        if needs_more:
            self._grow(number)
        return True

    def take(self, timeout_s: float) -> tuple[str, Job] | None:
        """Return the key and job that is due, or None after the timeout. `done(key)` must follow."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._ready, timeout_s):
                return None
            key = self._ready.popleft()
            self._busy.add(key)
            self._count -= 1
            return key, self._waiting[key].popleft()[1]

    def done(self, key: str) -> None:
        """Let the next job of this key begin."""
        with self._changed:
            self._busy.discard(key)
            if self._waiting[key]:
                self._ready.append(key)
                self._changed.notify()
            else:
                del self._waiting[key]

    def is_idle(self, key: str) -> bool:
        """Tell whether no job of this key waits or runs."""
        return self._key(key) not in self._waiting

    def _key(self, key: str) -> str:
        return key if self._lanes_max > 1 else ""
