"""Time as an argument. The only file that reads the machine's clocks.

Wall time stamps and signs; monotonic time measures, orders and expires. On Linux the monotonic
clock is shared by all processes of a machine, so ages may be computed across them.
"""

import time
from functools import partial
from typing import Final, Protocol

NS_PER_S: Final = 1_000_000_000
NS_PER_MS: Final = 1_000_000


# After a suspend every age must show it: a book, an approval, a link's last word.
_MONO: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Clock(Protocol):
    """Where every part of the core reads the time."""

    def wall_ns(self) -> int:
        """Return UTC nanoseconds since the epoch; may jump."""
        ...

    def mono_ns(self) -> int:
        """Return monotonic nanoseconds; never jumps, has no date."""
        ...


class SystemClock:
    """The machine's clocks, without a Python frame: they are read some twenty times a tick.

    The monotonic one goes on while the machine is suspended.
    """

    wall_ns = staticmethod(time.time_ns)
    mono_ns = staticmethod(partial(time.clock_gettime_ns, _MONO))


class VirtualClock:
    """A clock that moves only when told to; the simulation's and the tests' time."""

    def __init__(self, wall_ns: int = 1_700_000_000 * NS_PER_S, mono_ns: int = NS_PER_S) -> None:
        self._wall_ns = wall_ns
        self._mono_ns = mono_ns

    def wall_ns(self) -> int:
        """Return the virtual wall time."""
        return self._wall_ns

    def mono_ns(self) -> int:
        """Return the virtual monotonic time."""
        return self._mono_ns

    def advance_ns(self, delta_ns: int) -> None:
        """Move both clocks forward by `delta_ns` (never backwards)."""
        if delta_ns < 0:
            raise ValueError(f"time does not go back: {delta_ns} ns")
        self._wall_ns += delta_ns
        self._mono_ns += delta_ns

    def step_wall_ns(self, delta_ns: int) -> None:
        """Step the wall clock alone, as an operator or NTP does; the monotonic clock stays."""
        self._wall_ns += delta_ns
