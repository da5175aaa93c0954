"""The supervisor: owns addresses and mailboxes, starts actors in order, and re-decides when one ends.

Nothing here waits or sleeps, except `stop` up to its deadline: an end is noted under a short lock, the
restart is a timer, and the new incarnation is run by its dispatcher. The actors start in the order of their
specs, each once the one before runs, and stop in reverse. What follows a crash is in engine.restarts.

It does not know what an actor does, and it promises nothing over the end of the process: that is the
journal's part.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from threading import Event as Flag
from threading import Lock
from typing import Final

from loguru import logger

from engine.actor import Actor, Birth
from engine.cell import Cell, Life, Phase
from engine.clock import NS_PER_S, Clock
from engine.consumer import Consumer
from engine.dispatch import Dispatcher, SeededDispatcher
from engine.envelope import Delayed, Entry
from engine.errors import MessageError, Refused
from engine.mailbox import Mailbox, PutResult
from engine.messages.base import Message
from engine.parking import Parking
from engine.post import Post
from engine.restarts import ALIVE, Killed, Restarts, status_of
from engine.specs import (
    ActorStatus,
    ChildSpec,
    ParkedMessage,
    RecoverySource,
    RestartPolicy,
    RuntimeEvent,
    State,
)
from engine.timers import Timers, TimerThread, WatchThread
from engine.watchdog import Watchdog

__all__ = [
    "ActorStatus",
    "ChildSpec",
    "ParkedMessage",
    "RecoverySource",
    "RestartPolicy",
    "RuntimeEvent",
    "Supervisor",
]

POLL_S: Final = 0.002
WATCH_PERIOD_S: Final = 0.25


class Supervisor:
    """The runtime's one owner. `tell` and everything that reads is safe from any thread."""

    def __init__(
        self,
        specs: Sequence[ChildSpec],
        *,
        clock: Clock,
        rng: Random,
        dispatchers: Mapping[str, Dispatcher],
        recovery: RecoverySource,
        policy: RestartPolicy | None = None,
        observer: Callable[[RuntimeEvent], None] = lambda _: None,
        on_escalate: Callable[[str, int], None] = lambda _what, _code: None,
        parked_to: str | None = None,
        hide: Callable[[str], str] = str,
        run_id: str | None = None,
        watch_period_s: float = WATCH_PERIOD_S,
        faults: Callable[[str, str], None] | None = None,
        by_bytes: bool = False,
    ) -> None:
        """Take the specs and what they need. `by_bytes`, for tests: no hop hands an object over."""
        self.clock = clock
        self.faults = faults
        self.by_bytes = by_bytes
        self.run_id = run_id if run_id is not None else f"{rng.getrandbits(64):016x}"
        self._dispatchers = dict(dispatchers)
        self._recovery = recovery
        self._observer = observer
        self._boot: deque[Cell] = deque()
        self._booting: Cell | None = None
        self._boot_lock = Lock()
        self.timers = self._make_timers()
        self._post = Post(clock, self.run_id, self._observe)
        self.deliver = self._post.deliver
        self.tell_encoded = self._post.tell_encoded
        self._cells: dict[str, Cell] = {}
        for spec in specs:
            self._add_cell(spec)
        self.parking = Parking(self._cells, clock, self.deliver, parked_to, hide)
        self._restarts = Restarts(
            self.timers,
            clock,
            rng,
            policy if policy is not None else RestartPolicy(),
            self.parking,
            self._notify,
            on_escalate,
            self._settled,
        )
        self._timer_thread = TimerThread(self.timers, clock)
        healers = [d.heal for d in self._unique()] + [self._timer_thread.heal]
        self.watchdog = Watchdog(
            self._cells,
            clock,
            self._restarts,
            self.timers,
            self._notify,
            self._thread_lost,
            healers,
        )
        self._watch_thread = WatchThread(self.watchdog.check, watch_period_s)

    # --- life -------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all actors in order; returns at once, `tree` tells how far they are."""
        for dispatcher in self._unique():
            dispatcher.start()
        if self._threaded():
            self._timer_thread.start()
            self._watch_thread.start()
        self.parking.restore(self._recovery.parked())
        with self._boot_lock:
            self._boot = deque(self._cells.values())
        self._boot_next()

    def stop(self, deadline_s: float) -> bool:
        """Let the mailboxes run dry, then stop all in reverse order; tell whether all was in time.

        Blocks up to the deadline. Market data is not waited for. An actor that is still busy at the
        deadline is fenced; what it has not handled stays unhandled, as after a crash.
        """
        with self._boot_lock:
            self._boot.clear()
        end_ns = self.clock.mono_ns() + int(deadline_s * NS_PER_S)
        clean = self._wait(self._dry, end_ns)
        for cell in reversed(list(self._cells.values())):
            clean = self._stop_cell(cell, end_ns) and clean
        if self._threaded():
            self._watch_thread.stop()
            self._timer_thread.stop()
        for dispatcher in self._unique():
            dispatcher.stop()
        return clean

    def kill(self, name: str) -> None:
        """End an actor as a drill: it restarts at once, and it does not count."""
        cell = self._cell(name)
        if cell.state not in ALIVE:
            return
        self._restarts.end(cell, cell.life, None, Killed(f"{name} was killed on request"))

    def restart(self, name: str) -> None:
        """Start an actor that rests, gave up or was disabled, with a clean record."""
        cell = self._cell(name)
        with self._restarts.lock:
            if cell.state in ALIVE or cell.state == "restarting":
                return
            cell.crash_times_ns, cell.counted_times_ns = [], []
            self._restarts.renew(cell, "starting")
        self._restarts.begin(cell)

    # --- messages from outside --------------------------------------------------------------------

    def tell(
        self,
        address: str,
        message: Message,
        *,
        sender: str = "edge",
        message_id: str | None = None,
        correlation_id: str = "",
        cause_id: str = "",
        ts_event_ns: int = 0,
    ) -> PutResult:
        """Send a message from any thread. Never blocks, but may run actors before it returns.

        `message_id` is what its consequences are named after; without one it gets a fresh one.

        Raises:
            Refused: nobody has this address.
            Fenced: this thread was given up as stuck; `register_thread` makes it welcome again.
        """
        return self._post.tell(
            address, message, sender, message_id, correlation_id, cause_id, ts_event_ns
        )

    def add_mailbox(
        self,
        address: str,
        on_ready: Callable[[], None] | None = None,
        *,
        orders_limit: int = 10_000,
        market_limit: int = 10_000,
        control_limit: int = 1_000,
    ) -> Consumer:
        """Give an address to a reader that is not an actor, and return what it reads with."""
        mailbox = Mailbox(
            address,
            orders_limit=orders_limit, market_limit=market_limit, control_limit=control_limit,
        )  # fmt: skip
        consumer = Consumer(mailbox, on_ready)
        self._post.add(address, consumer)
        return consumer

    def register_thread(self, on_lost: Callable[[], None]) -> None:
        """Have `on_lost` called, by another thread, if the calling one gets stuck in an actor."""
        self._post.register_thread(on_lost)

    # --- what is to be seen -----------------------------------------------------------------------

    def tree(self) -> list[ActorStatus]:
        """Return the state of every actor, in start order."""
        return [status_of(c, self.parking.count(c.name)) for c in self._cells.values()]

    def mailbox(self, address: str) -> Mailbox:
        """Return the mailbox of an address, for its counters and its high-water mark."""
        return self._post.slot(address).mailbox

    @property
    def dead_letters(self) -> int:
        """Return how many messages had an address that nobody has."""
        return self._post.dead_letters

    # --- for cells --------------------------------------------------------------------------------

    def arm(self, cell: Cell, life: Life, delayed: Delayed) -> None:
        """Set an actor's timer; a new incarnation or the same key cancels it."""
        key = delayed.key if delayed.key is not None else delayed.entry.message_id

        def fire() -> None:
            if cell.life is life:
                cell.timers.pop(key, None)
                delayed.entry.enqueued_mono_ns = self.clock.mono_ns()
                cell.mailbox.accept(delayed.entry)
                cell.wake()

        with self._restarts.lock:
            if cell.life is not life:
                return
            old = cell.timers.pop(key, None)
            if old is not None:
                old.cancel()
            cell.timers[key] = self.timers.add(self.clock.mono_ns() + delayed.delay_ns, fire)

    def make_birth(self, cell: Cell, life: Life) -> Birth:
        """Return what a new incarnation is given; its random numbers depend on run and name only."""
        rng = Random(f"{self.run_id}|{cell.name}|{life.incarnation}")  # noqa: S311  not a secret

        def attach(actor: Actor) -> None:
            assert life.actor is actor

        return Birth(cell.name, life.incarnation, self.run_id, self.clock, rng, attach)

    def load(self, cell: Cell, life: Life, seq: int) -> None:
        """Fold the journal up to `seq` into the actor."""
        actor = life.actor
        assert actor is not None
        snapshot, records = self._recovery.load(cell.name, seq)
        actor.recover(snapshot, records)
        actor.fold_up_to(seq)

    def unreadable(self, cell: Cell, life: Life, entry: Entry, error: MessageError) -> None:
        """Park a message that the actor cannot read; the actor goes on."""
        cell.mailbox.ack(life.epoch, (entry,))
        self.parking.park(cell, entry, error)
        self._notify("unknown_message", cell, str(error), entry)

    def crashed(self, cell: Cell, life: Life, blamed: Entry | None, error: BaseException) -> None:
        """Take note that an incarnation ended by an error; a zombie's end changes nothing."""
        if not self._restarts.end(cell, life, blamed, error):
            logger.bind(actor=cell.name).info("a replaced incarnation came to its end: {}", error)

    def entered(self, cell: Cell, life: Life, state: State) -> None:
        """Take note of a new state."""
        with self._restarts.lock:
            if cell.life is not life:
                return
            cell.state = state
        self._notify(state, cell, "", None)
        if state in ("running", "stopped"):
            self._settled(cell)

    # --- private ----------------------------------------------------------------------------------

    def _add_cell(self, spec: ChildSpec) -> None:
        mailbox = Mailbox(
            spec.name,
            orders_limit=spec.orders_limit,
            market_limit=spec.market_limit,
            control_limit=spec.control_limit,
        )
        cell = Cell(spec, mailbox, self._dispatchers[spec.dispatcher], self)
        self._post.add(spec.name, cell)
        self._cells[spec.name] = cell

    def _make_timers(self) -> Timers:
        seeded = [d for d in self._dispatchers.values() if isinstance(d, SeededDispatcher)]
        return seeded[0].timers if seeded else Timers()

    def _unique(self) -> list[Dispatcher]:
        return list({id(d): d for d in self._dispatchers.values()}.values())

    def _threaded(self) -> bool:
        return any(dispatcher.threaded for dispatcher in self._dispatchers.values())

    def _cell(self, name: str) -> Cell:
        cell = self._cells.get(name)
        if cell is None:
            raise Refused("NO_SUCH_ACTOR", f"no actor is called {name!r}")
        return cell

    # The next one starts once the one before runs, or never will.
    def _boot_next(self) -> None:
        with self._boot_lock:
            cell = self._booting = self._boot.popleft() if self._boot else None
        if cell is not None:
            with self._restarts.lock:
                self._restarts.renew(cell, "starting")
            self._restarts.begin(cell)

    def _settled(self, cell: Cell) -> None:
        if cell is self._booting:
            self._boot_next()

    def _dry(self) -> bool:
        alive = [cell for cell in self._cells.values() if cell.state in (*ALIVE, "restarting")]
        return all(not c.mailbox.waiting_durable() and c.life.running is None for c in alive)

    def _stop_cell(self, cell: Cell, end_ns: int) -> bool:
        life = cell.life
        if cell.state not in ALIVE or life.actor is None:
            with self._restarts.lock:
                self._restarts.renew(cell, "stopped")
            return True
        life.phase = Phase.STOPPING
        self.timers.add(self.clock.mono_ns(), cell.wake)
        if self._wait(lambda: cell.state == "stopped", end_ns):
            life.actor.retire()
            return True
        with self._restarts.lock:
            self._restarts.renew(cell, "stopped")
        return False

    # The calling thread waits; in a simulation it is the one that steps.
    def _wait(self, done: Callable[[], bool], end_ns: int) -> bool:
        flag = Flag()
        seeded = [d for d in self._unique() if isinstance(d, SeededDispatcher)]
        while not done():
            if self.clock.mono_ns() >= end_ns:
                return False
            if seeded:
                if not seeded[0].step(end_ns):
                    return done()
            else:
                flag.wait(POLL_S)
        return True

    def _thread_lost(self, ident: int) -> None:
        on_lost = self._post.lose_thread(ident)
        for dispatcher in self._unique():
            dispatcher.heal(ident)
        self._timer_thread.heal(ident)
        if on_lost is not None:
            self.timers.add(self.clock.mono_ns(), on_lost)

    def _notify(self, what: str, cell: Cell, detail: str, entry: Entry | None) -> None:
        self._observe(what, cell.name, cell.life.incarnation, detail, entry)

    def _observe(
        self, what: str, actor: str, incarnation: int, detail: str, entry: Entry | None
    ) -> None:
        message_id, kind = (entry.message_id, entry.kind) if entry is not None else ("", "")
        now_ns = self.clock.mono_ns()
        event = RuntimeEvent(what, actor, incarnation, now_ns, detail, message_id, kind)
        try:
            self._observer(event)
        except Exception:  # noqa: BLE001  a named seam: who looks on must not stop the supervisor
            logger.exception("the observer failed on {}", what)
