"""One signed request at a time, for a venue that wants each nonce above the last (Kraken).

Two requests under way at once may arrive the other way round, and the venue refuses the lower nonce. So
the next one is signed when the one before has been answered or given up, the most urgent first: a request
that hangs holds up all others of its key pair until its timeout. That is the price of such a venue.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from adapters.outcome import Action

URGENCY: Final[tuple[Action, ...]] = ("cancel", "submit", "read")


class Turnstile:
    """One request at a time, the most urgent first, each with a nonce above the last. Thread safe."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._is_taken = False
        self._waiting = dict.fromkeys(URGENCY, 0)
        self._nonce = 0

    @contextmanager
    def turn(self, action: Action) -> Iterator[None]:
        """Hold the one turn there is. Waits for whoever has it, and for those who are more urgent."""
        ahead = URGENCY[: URGENCY.index(action)]
        with self._changed:
            self._waiting[action] += 1
            self._changed.wait_for(
                lambda: not (self._is_taken or any(self._waiting[other] for other in ahead))
            )
            self._waiting[action] -= 1
            self._is_taken = True
        try:
            yield
        finally:
            with self._changed:
                self._is_taken = False
                self._changed.notify_all()

    def nonce(self, now_ms: int) -> int:
        """Return the time, or the next number where the last nonce was not below it."""
        with self._changed:
            self._nonce = max(self._nonce + 1, now_ms)
            return self._nonce
