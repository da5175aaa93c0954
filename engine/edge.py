"""The core as its edges see it: questions answered, commands told, events and books handed on.

One mailbox, `edge`, read by one thread. What the edges show of venues and books is kept here, so
that a question about them never disturbs an actor; what the router and risk know is asked of them
by message, and the answer is a future with a deadline of the asker's own.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from itertools import count
from threading import Lock
from typing import Any, Final, Protocol

from loguru import logger

from engine.clock import Clock
from engine.control_port import Facts, Watcher
from engine.edge_futures import done, fail, settle, unpack_into
from engine.edge_views import Shown, actors_view, parked_row
from engine.envelope import decode_event
from engine.errors import CoreError, Fenced, MessageError, Refused, Unreachable
from engine.journal import Journal
from engine.messages.base import Event, Message
from engine.messages.commands import (
    Append,
    AppendRefused,
    Committed,
    CommittedNow,
    PlaceOrder,
    Query,
    Reply,
)
from engine.messages.engine_events import (
    CommandRecorded,
)
from engine.messages.market import ConsolidatedBook, VenueState
from engine.messages.port import VenueHealth
from engine.supervision import Supervisor
from engine.telemetry import Telemetry

ADDRESS: Final = "edge"
ROUTER: Final = "order_router"
RISK: Final = "risk_pnl"
TAKE_S: Final = 0.5
PENDING_MAX: Final = 10_000

TOPIC_OF: Final = {
    "orders": ROUTER,
    "order": ROUTER,
    "counts": ROUTER,
    "instruments": ROUTER,
    "positions": RISK,
    "pnl": RISK,
    "balances": RISK,
    "risk": RISK,
    "trading_state": RISK,
    "venue_book": "order_book",
    "depth": "order_book",
    "fee_checks": RISK,
}


class FaultPort(Protocol):
    """The simulator's control plane; only demo mode has one."""

    def call(self, action: str, arguments: Mapping[str, str]) -> Any:
        """List, inject or clear faults. May block for a short HTTP request."""
        ...


class Edge:
    """Implements engine.control_port.CorePort over the runtime and the journal."""

    def __init__(
        self,
        runtime: Supervisor,
        journal: Journal,
        clock: Clock,
        facts: Facts,
        *,
        faults: FaultPort | None = None,
        background: Callable[[Callable[[], Any]], Future[Any]],
        processes: Callable[[], Mapping[str, Mapping[str, Any]]] = dict,
    ) -> None:
        """Take the runtime and the journal.

        `background` runs what may block elsewhere; `processes` tells of each venue's process.
        """
        self._runtime = runtime
        self._journal = journal
        self._clock = clock
        self._facts = facts
        self._faults = faults
        self._background = background
        self._consumer = runtime.add_mailbox(ADDRESS)
        self._processes = processes
        self._shown = Shown(facts, clock, processes)
        self._telemetry = Telemetry(clock)
        self._watchers: dict[int, Watcher] = {}
        self._numbers = count(1)
        self._pending: dict[str, Future[Reply]] = {}
        self._lock = Lock()
        self._stopping = False
        self._refusal = ""

    # --- the reading thread -----------------------------------------------------------------------

    def run(self) -> None:
        """Read the mailbox until `stop`. Runs on a thread of its own."""
        while not self._stopping:
            entry = self._consumer.take(TAKE_S)
            if entry is None:
                continue
            try:
                _, message = self._consumer.read(entry)
                self._take(message)
            except (MessageError, Fenced) as error:
                logger.bind(actor=ADDRESS).error("unreadable: {}", error)
            self._consumer.ack(entry)

    def stop(self) -> None:
        """Let the reading thread end."""
        self._stopping = True
        self._consumer.wake()

    def refuse_orders(self, why: str) -> None:
        """Take no new orders any more; everything else goes on."""
        self._refusal = why

    def _take(self, message: Message) -> None:
        shown = self._shown
        if isinstance(message, ConsolidatedBook):
            shown.books[message.symbol] = message
            self._telemetry.take(message)
            self._tell_watchers(0, message)
        elif isinstance(message, Committed | CommittedNow):
            self._telemetry.take(message.event)
            self._tell_watchers(message.seq, message.event)
        elif isinstance(message, Reply):
            self._resolve(message)
        elif isinstance(message, VenueState):
            shown.venues[message.venue] = message
        elif isinstance(message, VenueHealth):
            shown.health[message.venue] = message
        elif isinstance(message, AppendRefused):
            self._tell_watchers(0, message)

    def _tell_watchers(self, seq: int, message: Message) -> None:
        for watcher in tuple(self._watchers.values()):
            watcher(seq, message)

    def _resolve(self, reply: Reply) -> None:
        with self._lock:
            future = self._pending.get(reply.correlation_id)
        if future is not None:
            settle(future, reply)

    # --- CorePort ---------------------------------------------------------------------------------

    def facts(self) -> Facts:
        """Return what is fixed for this run."""
        return self._facts

    def tell(self, address: str, message: Message) -> None:
        """Put a message into an actor's mailbox. Refused BUSY above the high-water mark."""
        if isinstance(message, PlaceOrder):
            if self._refusal:
                raise Unreachable(self._refusal)
            for gate in (ROUTER, RISK, "persistence"):
                if self._runtime.mailbox(gate).above_high_water:
                    raise Refused("BUSY", f"{gate} has too much work waiting; try again")
        self._put(address, message)

    # An edge's thread may run actors; given up as stuck in one and back again, it is welcome again.
    def _put(self, address: str, message: Message) -> None:
        try:
            self._runtime.tell(address, message, sender=ADDRESS)
        except Fenced:
            self._runtime.register_thread(lambda: None)
            self._runtime.tell(address, message, sender=ADDRESS)

    def command(self, address: str, message: Message, command_id: str) -> Future[Reply]:
        """Tell, and return the future of the Reply to `command_id`."""
        future = self._expect(command_id)
        try:
            self.tell(address, message)
        except CoreError:
            self._forget(command_id)
            raise
        return future

    def query(self, topic: str, arguments: Mapping[str, str]) -> Future[Any]:
        """Answer from what is shown here, or ask the actor that knows."""
        here: dict[str, Callable[[Mapping[str, str]], Any]] = {
            "venues": self._shown.venues_view,
            "bbo": self._shown.bbo_view,
            "actors": self._actors_view,
            "parked": self._parked_view,
            "metrics": lambda _: self._telemetry.view(self._journal.commit_times),
        }
        if topic in here:
            return done(here[topic], arguments)
        if topic == "status":
            return self._status()
        if topic == "book":
            if arguments.get("venue"):
                return self._ask("venue_book", arguments)
            return done(self._shown.book_view, arguments)
        return self._ask(topic, arguments)

    def head_seq(self) -> int:
        """Return the seq of the newest committed record."""
        return self._journal.head_seq

    def events_after(self, seq: int, count: int) -> list[tuple[int, Event]]:
        """Read up to `count` committed events after `seq` from the journal."""
        records = self._journal.read(seq, seq + count)
        return [(record.seq, decode_event(record.kind, record.body)) for record in records]

    def verify_journal(self) -> Mapping[str, Any]:
        """Check the whole journal."""
        report = self._journal.verify()
        return {name: getattr(report, name) for name in report.__struct_fields__}

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` for each committed event and each consolidated book."""
        number = next(self._numbers)
        self._watchers[number] = watcher
        for book in tuple(self._shown.books.values()):
            watcher(0, book)

        def end() -> None:
            self._watchers.pop(number, None)

        return end

    def kill_actor(self, name: str, who: str) -> Future[Any]:
        """Crash an actor as a drill."""
        return done(lambda _: self._drill(name, "actor kill", who), {})

    def restart_actor(self, name: str, who: str) -> Future[Any]:
        """Start an actor anew from its snapshot and journal."""
        return done(lambda _: self._drill(name, "actor restart", who), {})

    def retry_parked(self, message_id: str, who: str) -> Future[Any]:
        """Give a parked message back to its actor; that it was asked for is journaled before."""

        def retry(_: Mapping[str, str]) -> dict[str, Any]:
            self._record("actor retry", message_id, who)
            return parked_row(self._runtime.parking.retry(message_id, who))

        return done(retry, {})

    def discard_parked(self, message_id: str, reason: str, who: str) -> Future[Any]:
        """Forget a parked message, journaled with who and why."""
        parking = self._runtime.parking
        return done(lambda _: parked_row(parking.discard(message_id, who, reason)), {})

    def faults(self, action: str, arguments: Mapping[str, str], who: str) -> Future[Any]:
        """List, inject or clear faults of the simulator."""
        port = self._faults
        if port is None:
            raise Refused(
                "NOT_ALLOWED", "this core runs no simulator, so it has no faults to inject"
            )
        if action != "list":
            self._record(f"fault {action}", " ".join(arguments.values()), who)
        return self._background(lambda: port.call(action, arguments))

    # --- status ---------------------------------------------------------------------------------

    def _actors_view(self, _: Mapping[str, str]) -> list[dict[str, Any]]:
        return actors_view(self._runtime.tree(), self._processes(), self._clock.mono_ns())

    def _parked_view(self, arguments: Mapping[str, str]) -> list[dict[str, Any]]:
        actor = arguments.get("actor")
        if actor is not None and actor not in {status.name for status in self._runtime.tree()}:
            raise Refused("NOT_FOUND", f"no actor {actor!r}")
        rows = [parked_row(parked) for parked in self._runtime.parking.list()]
        return [row for row in rows if actor in (None, row["actor"])]

    def _status(self) -> Future[Any]:
        answer: Future[Any] = Future()
        parts: dict[str, Any] = {}

        def collect(name: str, future: Future[Any]) -> None:
            error = None if future.cancelled() else future.exception()
            if future.cancelled() or error is not None:
                fail(answer, error or Refused("TIMEOUT", f"no answer from {name}"))
                return
            parts[name] = future.result()
            if len(parts) == 2:
                settle(answer, self._status_view(parts))

        for topic in ("counts", "trading_state"):
            self._ask(topic, {}).add_done_callback(lambda f, topic=topic: collect(topic, f))  # type: ignore[misc]
        return answer

    def _status_view(self, parts: dict[str, Any]) -> dict[str, Any]:
        return {
            "mode": self._facts.mode,
            "name": self._facts.instance,
            "version": self._facts.version,
            "trading_state": parts["trading_state"]["trading_state"],
            "accounts_opened": parts["trading_state"]["opened"],
            "venues": self._shown.venues_view({}),
            "actors": self._actors_view({}),
            "orders": parts["counts"],
            "journal": {
                "seq": self._journal.head_seq,
                "verified": not self._journal.unchecked_upto,
                "lag": self._runtime.mailbox("persistence").waiting_durable(),
                "notices": list(self._journal.notices),
            },
        }

    # --- private ----------------------------------------------------------------------------------

    def _ask(self, topic: str, arguments: Mapping[str, str]) -> Future[Any]:
        address = TOPIC_OF.get(topic)
        if topic == "venue_records":
            address = f"exchange.{arguments['venue']}"
        if address is None:
            raise Refused("BAD_REQUEST", f"no topic {topic!r}")
        correlation_id = f"q{next(self._numbers)}"
        replied = self._expect(correlation_id)
        answer: Future[Any] = Future()
        replied.add_done_callback(lambda future: unpack_into(answer, future))
        answer.add_done_callback(lambda _: self._forget(correlation_id))
        query = Query(correlation_id, topic, dict(arguments), ADDRESS)
        self._put(address, query)
        return answer

    def _expect(self, correlation_id: str) -> Future[Reply]:
        future: Future[Reply] = Future()
        with self._lock:
            if len(self._pending) >= PENDING_MAX:
                raise Refused("BUSY", "too many unanswered questions; try again")
            self._pending[correlation_id] = future
        future.add_done_callback(lambda _: self._forget(correlation_id))
        return future

    def _forget(self, correlation_id: str) -> None:
        with self._lock:
            self._pending.pop(correlation_id, None)

    def _drill(self, name: str, what: str, who: str) -> dict[str, Any]:
        if name not in {status.name for status in self._runtime.tree()}:
            names = ", ".join(status.name for status in self._runtime.tree())
            raise Refused("NOT_FOUND", f"no actor {name!r}; there are {names}")
        if self._facts.mode == "live" and what == "actor kill":
            raise Refused("NOT_ALLOWED", "actors are not killed for drills in live mode")
        self._record(what, name, who)
        before = next(s for s in self._runtime.tree() if s.name == name)
        if before.state in ("gave_up", "disabled", "stopped"):
            self._runtime.restart(name)
        else:
            self._runtime.kill(name)
        return {"name": name, "incarnation": before.incarnation, "restarts": before.restarts}

    def _record(self, what: str, arguments: str, who: str) -> None:
        event = CommandRecorded("", what, arguments[:2000], who, self._clock.wall_ns())
        self._put("persistence", Append([event]))
