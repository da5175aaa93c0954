"""A venue's process as the core sees it: its life and death, never two at a time, and the port to it.

The process holds sockets, codec, books and REST workers of one session of an adapter. Its death is one
more crash: what it had in hand is answered UNKNOWN, what was not handed to it NOT_SENT, its gate counts
as closed, and its successor starts only after the kernel has said that it is gone. Nothing here knows
what an adapter does; the process is any program that speaks engine.venue_wire.
"""

import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import IO, TYPE_CHECKING, Any, Final, Protocol

import msgspec
from loguru import logger

from engine.clock import Clock
from engine.messages.base import Message
from engine.venue_port import EXIT_S, ProcessPort
from engine.venue_wire import BEAT_S, STOP, Ended, Reader, Writer, encode_frame

if TYPE_CHECKING:
    from loguru import Logger

ROOT: Final = Path(__file__).resolve().parent.parent
LINE_MAX: Final = 2_000
DEATH_S: Final = 2.0
# What a process may inherit of the environment: nothing that a configuration could have a secret in.
INHERITED: Final = frozenset(
    {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "VIRTUAL_ENV", "LD_LIBRARY_PATH",
     "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
)  # fmt: skip
INHERITED_PREFIXES: Final = ("LC_", "PYTHON")
PROXIES: Final = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


class Joinable(Protocol):
    """A started thread."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end."""
        ...

    def is_alive(self) -> bool:
        """Tell whether it still runs."""
        ...


Threads = Callable[[str, Callable[[], None]], Joinable]


class Reports(Protocol):
    """The way of a session's reports into the core. Any thread; never blocks."""

    def __call__(self, message: Message) -> None:
        """Deliver one report of our own making."""
        ...

    def pass_on(self, kind: str, key: str, body: msgspec.Raw) -> None:
        """Deliver one that came encoded. Raises Fenced when the calling thread was given up."""
        ...

    def is_full(self) -> bool:
        """Tell whether so many reports wait that no more should be read."""
        ...


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the part of an environment that a venue's process is given."""
    return {
        name: value
        for name, value in environ.items()
        if name in INHERITED or name.startswith(INHERITED_PREFIXES) or name.lower() in PROXIES
    }


class VenueProcess:
    """One operating system process, from its start to its reaping."""

    def __init__(
        self, venue: str, command: Sequence[str], environment: Mapping[str, str], threads: Threads
    ) -> None:
        """Start it. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            # In a group of its own, so that a terminal's Ctrl-C is for the core alone to act on.
            self._popen = subprocess.Popen(  # noqa: S603  our own program
                [*command, str(theirs.fileno())],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, cwd=ROOT, env=dict(environment), process_group=0,
            )  # fmt: skip
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()
        self._sock = ours
        self.venue = venue
        self.pid = self._popen.pid
        self.is_taken = False
        self.was_told_to_stop = False
        self.memory_bytes: int | None = None
        self.reader = Reader(ours, BEAT_S)
        self.writer = Writer(ours)
        self.log: Logger = logger.bind(venue=venue, pid=self.pid)
        output = self._popen.stdout
        assert output is not None, "asked for as a pipe"
        threads(f"{venue}.output", lambda: self._read_output(output))

    def stop_soon(self, within_s: float) -> None:
        """Tell it to end in order, with so long a time for what it has in hand."""
        self.was_told_to_stop = True
        self.writer.send(encode_frame(STOP, "", within_s))

    def kill(self) -> None:
        """Kill -9. Nothing of it runs any more from here on; `wait` for the proof. Never blocks."""
        self._popen.kill()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; tell whether it has come."""
        try:
            self._popen.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def is_alive(self) -> bool:
        """Tell whether it has not been reaped yet."""
        return self._popen.poll() is None

    @property
    def ended_well(self) -> bool:
        """Whether it ended by itself with everything done."""
        return self._popen.returncode == 0

    def how_it_ended(self) -> str:
        """Return its exit code or signal in words."""
        code = self._popen.returncode
        if code is None:
            return "runs"
        return f"exit code {code}" if code >= 0 else signal.Signals(-code).name

    def close(self) -> None:
        """Let go of the socket, once it has been read to its end."""
        self.writer.close()
        with suppress(OSError):
            self._sock.close()

    # Whatever it prints is a sign of trouble: its log comes as frames.
    def _read_output(self, output: IO[bytes]) -> None:
        with output:
            while line := output.readline(LINE_MAX):
                text = line.decode(errors="replace").rstrip()
                if text:
                    self.log.bind(said=text).error("venue process says")


@dataclass(frozen=True, slots=True)
class HostSettings:
    """How a venue's process is started and watched. `environment` is given the number of the life."""

    venue: str
    command: Sequence[str]
    environment: Callable[[int], Mapping[str, str]]
    silent_s: float


class VenueHost:
    """One venue's processes, one after the other."""

    def __init__(self, settings: HostSettings, clock: Clock, threads: Threads) -> None:
        self.settings = settings
        self.clock = clock
        self.threads = threads
        self._lock = Lock()
        self._process: VenueProcess | None = None
        self._lives = 0
        self._is_closed = False

    def prepare(self) -> None:
        """Start a process ahead, so that it imports while the core does something else.

        It does nothing before a port takes it. A failure shows when one does.
        """
        with suppress(OSError), self._lock:
            self._spawn()

    def port(self, configuration: bytes, reports: Reports) -> ProcessPort:
        """Return the port of the next session. `configuration` is all that its process is told."""
        return ProcessPort(self, configuration, reports)

    def take(self) -> VenueProcess:
        """Return a process that is this caller's alone. Blocks until the one before is dead.

        Raises:
            Ended: the core is stopping.
            OSError: no process can be started.
        """
        with self._lock:
            before = self._process
            if before is None or before.is_taken or not before.is_alive():
                if before is not None:
                    before.kill()
                    before.wait()
                before = self._spawn()
            before.is_taken = True
            return before

    def view(self) -> dict[str, Any]:
        """Return what people are shown: pid, memory (PSS) and how often it was replaced."""
        process = self._process
        is_alive = process is not None and process.is_alive()
        return {
            "pid": process.pid if process is not None and is_alive else None,
            "memory_bytes": process.memory_bytes if process is not None and is_alive else None,
            "restarts": max(0, self._lives - 1),
        }

    def stop_soon(self, deadline_s: float) -> None:
        """Start no process any more, and tell the one that there is to end in order."""
        self._is_closed = True
        process = self._process
        if process is not None and process.is_taken:
            process.stop_soon(deadline_s)
        elif process is not None:
            process.kill()

    def stop(self, deadline_s: float) -> bool:
        """Have no process from here on; True if it ended by itself within the deadline."""
        process = self._process
        if process is None:
            return True
        is_clean = process.wait(deadline_s + EXIT_S)
        process.kill()
        process.wait(DEATH_S)
        return is_clean

    def _spawn(self) -> VenueProcess:
        if self._is_closed:
            raise Ended("the core is stopping")
        self._lives += 1
        settings = self.settings
        environment = settings.environment(self._lives)
        self._process = VenueProcess(settings.venue, settings.command, environment, self.threads)
        return self._process
