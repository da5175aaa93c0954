"""Labelled points at which a drill kills the process, so that recovery is tested where it hurts.

`XCORE_FAULT_POINT=NAME:N` kills the process with SIGKILL at the N-th time NAME is passed. Read once
at the start and only in demo mode; without it a point costs one comparison.
"""

import os
import signal
from collections.abc import Mapping
from typing import Final

from engine.errors import ConfigError

VARIABLE: Final = "XCORE_FAULT_POINT"


class FaultPoints:
    """Counts passes of one named point. Call it with a point's name."""

    def __init__(self, name: str = "", at: int = 0) -> None:
        self._name = name
        self._left = at

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], mode: str) -> "FaultPoints":
        """Return what the environment asks for. Raises ConfigError if it cannot be understood."""
        asked = environ.get(VARIABLE, "")
        if not asked or mode != "demo":
            return cls()
        name, _, number = asked.rpartition(":")
        if not name or not number.isdigit() or int(number) < 1:
            raise ConfigError(f"{VARIABLE}={asked!r} should be NAME:N with N from 1")
        return cls(name, int(number))

    def __call__(self, point: str) -> None:
        """Pass a point; the process may end here."""
        if point != self._name:
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
