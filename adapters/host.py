"""The program of a venue's process: one adapter, between the venue's sockets and the core's.

Started by the core as `python -m adapters.host VENUE ADAPTER FD`; FD is its end of a private pair of
sockets, through which it is told everything else. It serves until the core tells it to stop. A core that
closes the socket or falls silent is lost: from that moment nothing new leaves, and adapters/core_loss.py
says what still does.
"""

import os
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from threading import Event
from typing import TYPE_CHECKING, Final

import msgspec
from loguru import logger

from adapters.configuration import Configuration, decode_configuration
from adapters.core_loss import sweep
from adapters.dead_man import DeadMan
from adapters.lanes import ThreadFactory
from adapters.outbox import Outbox
from adapters.runners import Runner, make_runner, preload, rests_orders
from engine import collector
from engine.clock import NS_PER_S, Clock, SystemClock
from engine.envelope import decode_body
from engine.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_OK, CoreError
from engine.faultpoints import FaultPoints
from engine.messages.base import Message
from engine.threads import DaemonThreads
from engine.venue_wire import (
    ACK,
    BEAT,
    BEAT_S,
    CONFIGURE,
    START,
    STOP,
    Ack,
    Ended,
    Frame,
    LogLine,
    Reader,
    Writer,
    encode_frame,
)

if TYPE_CHECKING:
    from loguru import Message as LoggedMessage

SWITCH_INTERVAL_S: Final = 5e-5  # the private link and the orders run beside a busy public one
DRAIN_S: Final = 0.5
MEMORY_EVERY_BEATS: Final = 20
_ack: Final = msgspec.msgpack.Decoder(Ack)
_seconds: Final = msgspec.msgpack.Decoder(float)


def make_adapter(
    given: Configuration, clock: Clock, deliver: Callable[[Message], None], threads: ThreadFactory
) -> Runner:
    """Return the adapter of a configuration. Raises ConfigError."""
    rng = Random(given.seed)  # noqa: S311  jitter of reconnects
    return make_runner(given.venue, clock=clock, rng=rng, deliver=deliver, threads=threads)


class Host:
    """One life of a venue's process."""

    def __init__(
        self,
        venue: str,
        sock: socket.socket,
        faults: Callable[[str], None],
        make: Callable[..., Runner] = make_adapter,
    ) -> None:
        self.venue = venue
        self._make = make
        self.clock = SystemClock()
        self.threads = DaemonThreads()
        self._faults = faults
        self._reader = Reader(sock, BEAT_S)
        self._outbox = Outbox(sock, Writer(sock), self.clock, faults)
        self._outbox.never_hold_up()
        self._given: Configuration | None = None
        self._adapter: Runner | None = None
        self._dead_man: DeadMan | None = None
        self._stop_within_s = 0.0
        self._beats = 0
        self._beat_ns = 0

    def run(self) -> int:
        """Serve until told to stop or until the core is lost; return the exit code."""
        logger.remove()
        logger.add(self._log, level="TRACE", format="{message}", diagnose=False, backtrace=False)
        self.threads.start(f"{self.venue}.outbox", self._outbox.run)
        silent = 0
        while True:
            try:
                frames = self._reader.read()
            except Ended:
                return self._lost("the core is gone")
            silent = silent + 1 if frames is None else 0
            if self._given is not None and silent * BEAT_S >= self._given.silent_s:
                return self._lost(f"the core was silent for {self._given.silent_s:g} s")
            for frame in frames or ():
                if not self._take(frame):
                    return self._stop()
            self._beat()

    def _take(self, frame: Frame) -> bool:
        """Act on one frame; False when it tells to stop."""
        if frame.kind == ACK:
            ack = _ack.decode(frame.body)
            self._outbox.taken(ack.frames, ack.cost_ns)
        elif frame.kind == CONFIGURE:
            self._configure(decode_configuration(frame.body))
        elif frame.kind == STOP:
            self._stop_within_s = _seconds.decode(frame.body)
            return False
        elif frame.kind != BEAT:
            assert self._adapter is not None, "configured first"
            self._command(self._adapter, frame)
        return True

    def _command(self, adapter: Runner, frame: Frame) -> None:
        self._faults(f"take.{frame.kind}")
        if frame.kind == START:
            adapter.start()
            collector.settle()
        else:
            adapter.handle(decode_body(frame.kind, frame.body))
        self._faults(f"taken.{frame.kind}")

    def _configure(self, given: Configuration) -> None:
        self._given = given
        self._outbox.set_share(given.market_share)
        self._adapter = self._make(given, self.clock, self._report, self.threads.start)
        if given.is_dedicated:
            self._dead_man = DeadMan(given.venue, given.instance, self.clock)

    def _report(self, message: Message) -> None:
        if self._dead_man is not None:
            self._dead_man.observe(message)
        self._outbox.put(message)

    # Every half second, whatever comes in between.
    def _beat(self) -> None:
        now_ns = self.clock.mono_ns()
        if now_ns - self._beat_ns < BEAT_S * NS_PER_S:
            return
        self._beat_ns = now_ns
        memory = memory_bytes() if self._beats % MEMORY_EVERY_BEATS == 0 else 0
        self._beats += 1
        self._outbox.frame(encode_frame(BEAT, "", memory))
        if self._dead_man is not None and self._adapter is not None:
            self._dead_man.keep(self._adapter)

    def _stop(self) -> int:
        is_clean = True
        if self._adapter is not None:
            if self._dead_man is not None:
                self._dead_man.disarm(self._adapter)
            is_clean = self._adapter.stop(self._stop_within_s)
        is_clean = self._outbox.drain(DRAIN_S) and is_clean
        return EXIT_OK if is_clean else EXIT_FAILED

    # Nothing new leaves from here on; what was on its way is waited for where orders are cancelled.
    def _lost(self, why: str) -> int:
        adapter, given = self._adapter, self._given
        if adapter is not None:
            adapter.shut()
        self._outbox.close()
        if adapter is None or given is None or given.cancel_after_s is None:
            return EXIT_OK
        if not rests_orders(given.venue.adapter):
            return EXIT_OK  # nothing of ours can be waiting there
        pause = Event()
        return sweep(adapter, given, why, self.clock, self._hears_core, pause.wait)

    def _hears_core(self) -> bool:
        """Tell whether the core has spoken again. Blocks for up to half a second."""
        try:
            return bool(self._reader.read())
        except Ended:
            return False

    # --- the log, which goes through the core's one sink

    def _log(self, message: "LoggedMessage") -> None:
        record = message.record
        fields = {str(key): str(value)[:300] for key, value in record["extra"].items()}
        text = str(record["message"])
        error = record["exception"]
        if error is not None and error.value is not None:
            text += "\n" + "".join(traceback.format_exception(error.value)).rstrip()
        self._outbox.log(LogLine(record["level"].name, text[:4000], fields))


def memory_bytes() -> int:
    """Return the memory that this process alone costs: its own pages and its part of the shared ones."""
    with Path("/proc/self/smaps_rollup").open() as lines:
        return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one venue; return the exit code."""
    # Stopping is the core's business, which has orders to cancel through this process first. Whoever
    # signals the whole group or the whole service must not end it before.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    venue, adapter, fd = sys.argv[1:] if argv is None else argv
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    faults = FaultPoints.from_environment(os.environ, "demo")
    try:
        preload(adapter)  # while the core opens its journal
        return Host(venue, socket.socket(fileno=int(fd)), faults).run()
    except CoreError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except Exception:  # noqa: BLE001  a named seam: the end of the process, told to the core's log
        traceback.print_exc()
        return EXIT_FAILED


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # no thread that is stuck in a socket keeps a process without a core alive
