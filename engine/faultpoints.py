"""Labelled points at which a drill kills the process, so that recovery is tested where it hurts.

`XCORE_FAULT_POINT=NAME:N` kills the process with SIGKILL at the N-th time NAME is passed. Read once
at the start and only in demo mode; without it a point costs one comparison.

`XCORE_CRASH_ACTOR=ACTOR:KIND:N:ERROR[:POINT],...` raises ERROR in an actor's thread at the N-th
message of KIND it handles, at POINT of that handling: before_handler, in_handler (the default),
before_flush, mid_flush or before_ack. KIND `start` is the work an incarnation begins with.
"""

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import Final

from engine.actor import DRILL_ERRORS
from engine.errors import ConfigError
from engine.specs import ActorStatus

VARIABLE: Final = "XCORE_FAULT_POINT"
CRASH_VARIABLE: Final = "XCORE_CRASH_ACTOR"
CRASH_POINTS: Final = ("before_handler", "in_handler", "before_flush", "mid_flush", "before_ack")
HANDLING: Final = CRASH_POINTS[:2]
START: Final = "start"


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


@dataclass(slots=True)
class _Crash:
    actor: str
    kind: str
    left: int
    error: type[BaseException]
    point: str
    text: str


class ActorCrashes:
    """Raises at the asked points of an actor's work; each asked crash happens once."""

    def __init__(self, crashes: list[_Crash], tree: Callable[[], list[ActorStatus]]) -> None:
        self._crashes = crashes
        self._tree = tree
        self._steps: dict[str, list[str]] = {}
        self._flushing: set[str] = set()
        self._lock = Lock()

    @classmethod
    def from_environment(
        cls,
        environ: Mapping[str, str],
        mode: str,
        tree: Callable[[], list[ActorStatus]],
    ) -> "ActorCrashes | None":
        """Return what the environment asks for, None for nothing. Raises ConfigError if unclear.

        Args:
            environ: the environment.
            mode: crashes are taken in demo mode only.
            tree: tells what each actor has in hand.
        """
        asked = environ.get(CRASH_VARIABLE, "")
        if not asked or mode != "demo":
            return None
        return cls([_read_crash(text) for text in asked.split(",")], tree)

    def __call__(self, point: str, actor: str) -> None:
        """Pass a point; the actor may crash here."""
        kind = next((s.in_hand for s in self._tree() if s.name == actor), "") or START
        with self._lock:
            kinds = self._kinds(point, actor, kind)
            due = None
            for crash in self._crashes:
                if (crash.actor, crash.point) == (actor, point) and crash.kind in kinds:
                    crash.left -= 1
                    due = crash if crash.left == 0 and due is None else due
            if due is not None:
                self._steps.pop(actor, None)
        if due is not None:
            raise due.error(f"drill {due.text}")

    # One step may handle many messages and flush what all of them sent: from there on it is at the
    # point for each of their kinds.
    def _kinds(self, point: str, actor: str, kind: str) -> list[str]:
        if point in HANDLING:
            if actor in self._flushing:
                self._flushing.discard(actor)
                self._steps.pop(actor, None)
            if point == HANDLING[0]:
                self._steps.setdefault(actor, []).append(kind)
            return [kind]
        self._flushing.add(actor)
        return [kind] if kind == START else self._steps.get(actor, [kind])


def _read_crash(text: str) -> _Crash:
    actor, kind, number, error, point = (*text.split(":"), "", "", "", "")[:5]
    point = point or "in_handler"
    known = error in DRILL_ERRORS and point in CRASH_POINTS
    if not (actor and kind and known and number.isdigit() and int(number) >= 1):
        raise ConfigError(f"{CRASH_VARIABLE}: {text!r} should be ACTOR:KIND:N:ERROR[:POINT]")
    return _Crash(actor, kind, int(number), DRILL_ERRORS[error], point, text)
