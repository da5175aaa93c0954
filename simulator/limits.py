"""Request counters in fixed windows, as venues keep them. Bounded: old windows are forgotten."""

from simulator.clock import Clock


class Windows:
    """Counts by key within windows of fixed length."""

    def __init__(self, clock: Clock, length_ms: int, limit: int) -> None:
        self.limit = limit
        self._clock = clock
        self._length_ms = length_ms
        self._window = -1
        self._counts: dict[str, int] = {}

    def add(self, key: str, amount: int = 1) -> int:
        """Count and return the total of this window."""
        window = self._clock.monotonic_ns() // 1_000_000 // self._length_ms
        if window != self._window:
            self._window, self._counts = window, {}
        self._counts[key] = self._counts.get(key, 0) + amount
        return self._counts[key]

    def used(self, key: str) -> int:
        """Return the total without counting."""
        return self.add(key, 0)

    def seconds_left(self) -> int:
        """Return how long the window still lasts, at least one."""
        now_ms = self._clock.monotonic_ns() // 1_000_000
        return max(1, (self._length_ms - now_ms % self._length_ms) // 1000)
