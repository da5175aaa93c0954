"""Finds what raises nothing: a handler that never returns, a thread that is gone, a wake-up that was lost.

A stuck actor is fenced and replaced and the others go on at once; the thread in it is left behind and its
owner is told, so that a socket's reader can rebuild its link. The check itself runs no actor.
"""

import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from threading import enumerate as threads
from typing import Final

from loguru import logger

from engine.cell import Cell, Life, Phase, Running
from engine.clock import NS_PER_S, Clock
from engine.restarts import Notify, Restarts
from engine.timers import Timers

IDLE_CHECKS_MAX: Final = 2


class Stuck(BaseException):
    """A handler took longer than its actor may."""


class ThreadDied(BaseException):
    """The thread that ran the handler is gone."""


class Watchdog:
    """Checks all cells; `thread_lost` replaces what the thread was needed for."""

    def __init__(
        self,
        cells: Mapping[str, Cell],
        clock: Clock,
        restarts: Restarts,
        timers: Timers,
        notify: Notify,
        thread_lost: Callable[[int], None],
        healers: Iterable[Callable[[], bool]],
    ) -> None:
        self._cells = cells
        self._clock = clock
        self._restarts = restarts
        self._timers = timers
        self._notify = notify
        self._thread_lost = thread_lost
        self._healers = list(healers)
        self._idle: dict[str, tuple[int, int]] = {}

    def check(self) -> None:
        """Look at every cell once and replace what is stuck or dead."""
        alive = {thread.ident for thread in threads()}
        for cell in list(self._cells.values()):
            life = cell.life
            running = life.running
            if running is None:
                self._check_idle(cell)
            elif running[1] not in alive:
                self._replace(cell, life, running, ThreadDied(f"thread {running[1]} is gone"))
            elif self._overdue(cell, running):
                seconds = (self._clock.mono_ns() - running[0]) / NS_PER_S
                self._replace(cell, life, running, Stuck(f"in its handler for {seconds:.1f} s"))
        for heal in self._healers:
            if heal():
                logger.error("a thread of the runtime had died and was replaced")

    def _overdue(self, cell: Cell, running: Running) -> bool:
        return self._clock.mono_ns() - running[0] > cell.spec.stuck_after_s * NS_PER_S

    # Fence first: whoever runs the dispatcher next must not meet the incarnation that is stuck.
    def _replace(self, cell: Cell, life: Life, running: Running, error: Stuck | ThreadDied) -> None:
        frame = sys._current_frames().get(running[1])  # noqa: SLF001  the only way to see it
        stack = "".join(traceback.format_stack(frame)) if frame is not None else "no frame"
        if life.running is not running:
            return
        if not self._restarts.end(cell, life, running[2], error):
            return
        logger.bind(actor=cell.name).error("{}; its thread stands here:\n{}", error, stack)
        what = "stuck" if isinstance(error, Stuck) else "thread_died"
        self._notify(what, cell, str(error), running[2])
        self._thread_lost(running[1])

    # Mail waits, nobody runs, nothing was handled since the last checks: the wake-up got lost.
    def _check_idle(self, cell: Cell) -> None:
        if not cell.mailbox.waiting() or cell.life.phase is not Phase.RUNNING:
            self._idle.pop(cell.name, None)
            return
        handled, checks = self._idle.get(cell.name, (-1, 0))
        if handled != cell.handled:
            self._idle[cell.name] = (cell.handled, 1)
            return
        self._idle[cell.name] = (handled, checks + 1)
        if checks >= IDLE_CHECKS_MAX:
            cell.scheduled = False
            self._timers.add(self._clock.mono_ns(), cell.wake)
