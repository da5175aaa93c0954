"""The venue's clock, estimated: what time it is there, and how sure that is.

The offset is taken against our monotonic clock, so a step of our wall clock cannot make a wrong
signature. Of a few samples the one with the shortest round trip wins: its error is at most half of
that. Without a fresh enough estimate nothing is signed.
"""

import threading
from typing import Final

from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.errors import Refused

SAMPLES: Final = 5
AGE_S_MAX: Final = 3600


class ClockOffset:
    """Estimates one venue's clock. Thread safe. `error_ms_max` bounds what may still be signed.

    `offset_ns` is what to add to our monotonic clock, None while it is not known; for reading only.
    """

    def __init__(self, clock: Clock, error_ms_max: int = 1000) -> None:
        self._clock = clock
        self._error_ns_max = error_ms_max * NS_PER_MS
        self._lock = threading.Lock()
        self.offset_ns: int | None = None
        self._error_ns = 0
        self._taken_ns = 0

    def update(self, samples: list[tuple[int, int, int]]) -> None:
        """Take samples of (mono before, mono after, venue ms); the quickest one counts."""
        before_ns, after_ns, venue_ms = min(samples, key=lambda s: s[1] - s[0])
        middle_ns = (before_ns + after_ns) // 2
        with self._lock:
            self.offset_ns = venue_ms * NS_PER_MS + NS_PER_MS // 2 - middle_ns
            self._error_ns = (after_ns - before_ns) // 2
            self._taken_ns = after_ns

    def now_ms(self) -> int:
        """Return the venue's time for a signature; Refused when it is not known well enough."""
        now_ns = self._clock.mono_ns()
        with self._lock:
            if self.offset_ns is None:
                raise Refused("clock", "the venue's clock is not known yet; nothing is signed")
            if self._error_ns > self._error_ns_max:
                error_ms = self._error_ns // NS_PER_MS
                raise Refused("clock", f"the venue's clock is known only to {error_ms} ms")
            if now_ns - self._taken_ns > AGE_S_MAX * NS_PER_S:
                raise Refused("clock", "the estimate of the venue's clock is too old")
            return (now_ns + self.offset_ns) // NS_PER_MS

    def venue_ns(self, mono_ns: int) -> int | None:
        """Return what the venue's clock showed at `mono_ns`, or None while it is not known."""
        with self._lock:
            return None if self.offset_ns is None else mono_ns + self.offset_ns

    def offset_ms(self) -> float:
        """Return the venue's wall clock minus ours, for people."""
        with self._lock:
            if self.offset_ns is None:
                return 0.0
            return (self._clock.mono_ns() + self.offset_ns - self._clock.wall_ns()) / NS_PER_MS
