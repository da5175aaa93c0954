"""Where the simulator gets its time: the one file that may ask the operating system.

Everything else takes a `Clock`, so that a whole day of order flow can run in seconds on a
`VirtualClock` and give the same book every time. It promises nothing about time zones.
"""

import time
from typing import Protocol

NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000


class Clock(Protocol):
    """Two readings: one that never steps, one that people and signatures use."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that only ever grow."""
        ...

    def wall_ns(self) -> int:
        """Return UTC nanoseconds since the epoch."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def monotonic_ns(self) -> int:
        """Return nanoseconds that only ever grow."""
        return time.clock_gettime_ns(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))

    def wall_ns(self) -> int:
        """Return UTC nanoseconds since the epoch."""
        return time.time_ns()


class VirtualClock:
    """A clock that moves only when told to."""

    def __init__(self, wall_ns: int = 1_700_000_000 * NS_PER_S) -> None:
        self._start_ns = wall_ns
        self._elapsed_ns = 0

    def monotonic_ns(self) -> int:
        """Return the nanoseconds advanced so far."""
        return self._elapsed_ns

    def wall_ns(self) -> int:
        """Return the start time plus what was advanced."""
        return self._start_ns + self._elapsed_ns

    def advance_ms(self, ms: int) -> None:
        """Move time on; it never goes back."""
        if ms < 0:
            raise ValueError(f"time cannot go back by {ms} ms")
        self._elapsed_ns += ms * NS_PER_MS
