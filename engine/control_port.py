"""What the control server asks of the core, so that neither knows the other's insides.

supervisor.py implements CorePort over the actors; the tests implement it with a plain object.
Futures are concurrent.futures.Future: the server waits for them with a deadline and cancels those
that it no longer waits for. Nothing here may block, except where the docstring says so.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine.messages.base import Event, Message
from engine.messages.commands import Reply


@dataclass(frozen=True)
class Facts:
    """What is fixed for a run: from the configuration, for checking requests at the door."""

    mode: str
    instance: str
    version: str
    venues: Mapping[str, tuple[str, ...]]  # the symbols of each venue
    accounts: Mapping[str, str] = field(default_factory=dict)  # the account of each venue
    time_in_force: str = "GTC"
    state_dir: Path | None = None  # where the HALT file would be


@dataclass(frozen=True)
class Limits:
    """Bounds of the control socket."""

    connections_max: int = 64
    frame_max_bytes: int = 1_048_576
    in_flight_max: int = 32
    frame_deadline_s: float = 5.0  # from a frame's first byte to its last
    write_deadline_s: float = 20.0  # for a reader that does not read
    query_timeout_s: float = 5.0
    market_interval_s: float = 0.1  # bbo and book pushes at most this often
    ring_max: int = 10_000  # committed events kept for live subscribers


Watcher = Callable[[int, Message], None]


class CorePort(Protocol):
    """The core as the control server sees it."""

    def facts(self) -> Facts:
        """Return what is fixed for this run."""
        ...

    def tell(self, address: str, message: Message) -> None:
        """Put a message into an actor's mailbox, from `edge`.

        Raises:
            Refused: code BUSY, the mailbox takes no more of these.
            Unreachable: the core is stopping.
        """
        ...

    def command(self, address: str, message: Message, command_id: str) -> Future[Reply]:
        """Tell, and return the future of the Reply whose correlation_id is `command_id`.

        Many commands are never replied to (an order's life is told by events): the server cancels
        the future when it stops waiting, and the core then forgets it. Raises as `tell`.
        """
        ...

    def query(self, topic: str, arguments: Mapping[str, str]) -> Future[Any]:
        """Ask for plain data (money as strings). docs/client.md lists topics and arguments.

        The future fails with Refused (code NOT_FOUND, BAD_REQUEST) or Unreachable.
        """
        ...

    def head_seq(self) -> int:
        """Return the seq of the newest committed record."""
        ...

    def events_after(self, seq: int, count: int) -> list[tuple[int, Event]]:
        """Read up to `count` committed events with a seq above `seq`, in order, from the journal.

        Called on a thread of the server's own; may block on the disk.
        """
        ...

    def verify_journal(self) -> Mapping[str, Any]:
        """Check the whole journal: ok, records, head_seq, first_bad_seq, problem. May block."""
        ...

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher(seq, event)` for each committed event in order, `watcher(0, book)` for each
        ConsolidatedBook. Returns the function that ends it. The watcher returns at once.
        """  # noqa: D205  one sentence of two calls
        ...

    def kill_actor(self, name: str, who: str) -> Future[Any]:
        """Crash an actor as a drill. Refused: NOT_FOUND, or NOT_ALLOWED outside demo."""
        ...

    def restart_actor(self, name: str, who: str) -> Future[Any]:
        """Stop an actor and start it again from its snapshot and journal."""
        ...

    def retry_parked(self, message_id: str, who: str) -> Future[Any]:
        """Give a parked message back to its actor. Refused: NOT_FOUND, NOT_ALLOWED, BUSY."""
        ...

    def discard_parked(self, message_id: str, reason: str, who: str) -> Future[Any]:
        """Forget a parked message, journaled. Refused: NOT_FOUND."""
        ...

    def faults(self, action: str, arguments: Mapping[str, str], who: str) -> Future[Any]:
        """`list`, `inject` (kind, venue, maybe on, count) or `clear` faults of the simulator."""
        ...


class Joinable(Protocol):
    """A thread that was started."""

    def join(self, timeout: float | None = None) -> None:
        """Wait for its end, at most `timeout` seconds."""
        ...


class Threads(Protocol):
    """Who may start threads."""

    def start(self, name: str, run: Callable[[], None]) -> Joinable:
        """Run `run` on a new daemon thread called `name`."""
        ...
