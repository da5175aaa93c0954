"""One address at work: its mailbox, its present incarnation, and the steps that a dispatcher runs.

A step is peek, handle, commit, flush, acknowledge. The commit is the only point that counts: a crash
before it means that the handler never ran, a crash after it that it did, and then the next incarnation
finishes the flush before it does anything else. Under load a step takes several messages of the orders
lane, one after the other, and commits them as one. The cell decides nothing about restarts: it
reports every end to the supervisor. Nobody is woken before the step is over.
"""

from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from threading import get_ident
from typing import Final, Protocol

from engine.actor import Actor, Birth
from engine.clock import Clock
from engine.envelope import Delayed, Entry, Output
from engine.errors import MessageError
from engine.ids import message_id
from engine.mailbox import Mailbox
from engine.messages.base import Message
from engine.messages.commands import Barrier, BarrierPassed
from engine.specs import ChildSpec, State
from engine.timers import Timer

# Where a drill may strike, in the order of a step.
FAULT_POINTS: Final = (
    "before_handler",
    "in_handler",
    "before_flush",
    "mid_flush",
    "before_ack",
)


class InjectedFault(BaseException):
    """A crash that a drill or a simulation caused. Blamed on no message."""


class Phase(Enum):
    """How far an incarnation has come."""

    RESTING = auto()
    BORN = auto()
    WAITING = auto()
    LOADING = auto()
    LOADED = auto()
    RUNNING = auto()
    STOPPING = auto()


# What a thread is in the middle of: since when, which thread, which message. The watchdog looks at it.
# A plain tuple, since one is made for every message.
Running = tuple[int, int, Entry | None]
_RUNNING: Final = Phase.RUNNING
# How many orders and fills one step takes at most: more share a commit, fewer let a halt through sooner.
RUN_MAX: Final = 32


class Life:
    """One incarnation."""

    __slots__ = ("actor", "birth", "epoch", "incarnation", "phase", "running")

    def __init__(self, epoch: int, incarnation: int) -> None:
        self.epoch = epoch
        self.incarnation = incarnation
        self.phase = Phase.RESTING
        self.actor: Actor | None = None
        self.birth: Birth | None = None
        self.running: Running | None = None


class Slot(Protocol):
    """Anything that has an address."""

    mailbox: Mailbox

    @property
    def runner(self) -> "Runner | None":
        """Return what runs it; None where a thread of its own reads the mailbox."""
        ...

    def wake(self) -> None:
        """See to it that the mailbox is read soon."""
        ...


class Host(Protocol):
    """What a cell needs of the supervisor."""

    clock: Clock
    faults: Callable[[str, str], None] | None
    by_bytes: bool

    def deliver(self, entry: Entry) -> Slot | None:
        """Put an entry into its recipient's mailbox and return whom to wake."""
        ...

    def arm(self, cell: "Cell", life: Life, delayed: Delayed) -> None:
        """Set an actor's timer."""
        ...

    def make_birth(self, cell: "Cell", life: Life) -> Birth:
        """Return what a new incarnation is given."""
        ...

    def load(self, cell: "Cell", life: Life, seq: int) -> None:
        """Fold the journal up to `seq` into the actor. May read a disk."""
        ...

    def unreadable(self, cell: "Cell", life: Life, entry: Entry, error: MessageError) -> None:
        """Park a message that the actor cannot read."""
        ...

    def crashed(self, cell: "Cell", life: Life, blamed: Entry | None, error: BaseException) -> None:
        """Take note that an incarnation ended by an error."""
        ...

    def entered(self, cell: "Cell", life: Life, state: State) -> None:
        """Take note of a new state."""
        ...


class Runner(Protocol):
    """What a cell needs of its dispatcher."""

    name: str

    def ready(self, cell: "Cell") -> None:
        """Run the cell soon."""
        ...

    def wake(self, slots: Sequence[Slot]) -> None:
        """Have mailboxes read soon, once a step is over."""
        ...

    def aside(self, job: Callable[[], None]) -> None:
        """Do a long job where it holds nobody up."""
        ...


class Cell:
    """An address with an actor behind it."""

    def __init__(self, spec: ChildSpec, mailbox: Mailbox, runner: Runner, host: Host) -> None:
        self.spec = spec
        self.name = spec.name
        self.mailbox = mailbox
        self.runner = runner
        self.life = Life(mailbox.claim(), 0)
        self.state: State = "stopped"
        self.scheduled = False
        self.handled = 0
        self.unknown = 0
        self.restarts = 0
        self.last_message_mono_ns = 0
        self.last_message_id = ""
        self.crash_times_ns: list[int] = []
        self.counted_times_ns: list[int] = []
        self.timers: dict[str, Timer] = {}
        self._host = host
        self._by_bytes = host.by_bytes  # and whatever the actor's class says, once it is born
        self._solo = 0
        mailbox.on_ready = self.wake

    def wake(self) -> None:
        """Have the dispatcher look at the mailbox."""
        self.runner.ready(self)

    def run(self) -> bool:
        """Take one step; tell whether there may be more to do. Raises nothing."""
        life = self.life
        if life.phase is not _RUNNING and not self._advance(life):
            return False
        actor = life.actor
        assert actor is not None
        return self._step_batch(life, actor) if actor.batch_kinds else self._step(life, actor)

    # --- steps ------------------------------------------------------------------------------------

    # One by one, each to its handler; committed, flushed and acknowledged together.
    def _step(self, life: Life, actor: Actor) -> bool:
        host, box, faults = self._host, self.mailbox, self._host.faults
        blamed: Entry | None = None
        woken: list[Slot] = []
        try:
            entries = box.peek_run(life.epoch, RUN_MAX)
            if not entries or life.phase is not _RUNNING:
                return False
            outputs: list[Output] = []
            for done, entry in enumerate(entries):
                now_ns = host.clock.mono_ns()
                life.running = (now_ns, get_ident(), entry)
                blamed = entry
                message = entry.message
                if message is None or self._by_bytes or entry.kind not in actor.handlers:
                    message = self._decode(life, actor, entry)
                    if message is None:  # it is parked; what was handled before it is finished
                        entries = entries[:done]
                        break
                if faults is not None:
                    faults("before_handler", self.name)
                if entry.kind == "InjectCrash":
                    box.ack(life.epoch, entries)
                    blamed = None
                sent = actor.handle(entry, message)
                if outputs:
                    outputs.extend(sent)
                else:
                    outputs = sent
                if faults is not None:
                    faults("in_handler", self.name)
            if not entries:
                return True
            blamed = None if len(entries) > 1 else entry
            if outputs or faults is not None:
                box.commit(life.epoch, entries, outputs)
                blamed = None
                self._flush(life, outputs, woken, now_ns)
            self.handled += len(entries)
            self.last_message_mono_ns = now_ns
            self.last_message_id = entries[-1].message_id
            return box.ack(life.epoch, entries)
        except BaseException as error:  # noqa: BLE001  a named seam: the actor base
            host.crashed(self, life, blamed, error)
            return False
        finally:
            life.running = None
            if woken:
                self.runner.wake(woken)

    def _step_batch(self, life: Life, actor: Actor) -> bool:
        host = self._host
        blamed: Entry | None = None
        woken: list[Slot] = []
        try:
            limit = 1 if self._solo else actor.batch_limit
            entries = self.mailbox.peek_batch(life.epoch, actor.batch_kinds, limit)
            if not entries or life.phase is not _RUNNING:
                return self._step(life, actor)
            now_ns = host.clock.mono_ns()
            life.running = (now_ns, get_ident(), entries[0])
            batch = []
            for entry in entries:
                message = self._decode(life, actor, entry)
                if message is None:
                    return True
                batch.append((entry, message))
            blamed = entries[0] if len(entries) == 1 else None
            # After a crash the same messages come one by one, so that the guilty one is found.
            self._solo = self._solo - 1 if self._solo else len(entries)
            if host.faults is not None:
                host.faults("before_handler", self.name)
            outputs = actor.handle_batch(batch)
            if host.faults is not None:
                host.faults("in_handler", self.name)
            self.mailbox.commit(life.epoch, entries, outputs)
            blamed = None
            self._solo = 0 if limit > 1 else self._solo
            self._flush(life, outputs, woken, now_ns)
            self.handled += len(entries)
            self.last_message_mono_ns = now_ns
            self.last_message_id = entries[-1].message_id
            return self.mailbox.ack(life.epoch, entries)
        except BaseException as error:  # noqa: BLE001  a named seam: the actor base
            host.crashed(self, life, blamed, error)
            return False
        finally:
            life.running = None
            if woken:
                self.runner.wake(woken)

    def _decode(self, life: Life, actor: Actor, entry: Entry) -> Message | None:
        try:
            return actor.decode(entry, by_bytes=self._by_bytes)
        except MessageError as error:
            self.unknown += 1
            self._host.unreadable(self, life, entry, error)
            return None

    # Puts are repeatable: a recipient drops an id that it has queued or acknowledged.
    def _flush(self, life: Life, outputs: Iterable[Output], woken: list[Slot], now_ns: int) -> None:
        host = self._host
        faults, deliver = host.faults, host.deliver
        if faults is not None:
            faults("before_flush", self.name)
        for output in outputs:
            if type(output) is Entry:
                if host.by_bytes:
                    output.body  # noqa: B018  made now: who changes the message later is found out
                output.enqueued_mono_ns = now_ns
                slot = deliver(output)
                if slot is not None:
                    woken.append(slot)
            else:
                assert isinstance(output, Delayed)
                host.arm(self, life, output)
            if faults is not None:
                faults("mid_flush", self.name)
        if faults is not None:
            faults("before_ack", self.name)

    # --- from birth to work -----------------------------------------------------------------------

    # One phase after the other, as far as it goes now; true once the actor takes messages.
    def _advance(self, life: Life) -> bool:
        woken: list[Slot] = []
        try:
            now_ns = self._host.clock.mono_ns()
            life.running = (now_ns, get_ident(), None)
            if life.phase is Phase.BORN:
                self._be_born(life, woken, now_ns)
            if life.phase is Phase.WAITING:
                self._await_barrier(life)
            if life.phase is Phase.LOADED:
                assert life.actor is not None
                hook = life.actor.recovered if life.actor.durable else life.actor.ready
                self._flush(life, life.actor.run_hook(hook), woken, now_ns)
                if life.phase is Phase.LOADED:
                    life.phase = Phase.RUNNING
                    self._host.entered(self, life, "running")
            if life.phase is Phase.STOPPING:
                self._stop(life)
        except BaseException as error:  # noqa: BLE001  a named seam: the actor base
            self._host.crashed(self, life, None, error)
            return False
        finally:
            life.running = None
            if woken:
                self.runner.wake(woken)
        return life.phase is Phase.RUNNING

    def _be_born(self, life: Life, woken: list[Slot], now_ns: int) -> None:
        left_over = self.mailbox.committed(life.epoch)
        if left_over:
            # The timers among them died with their incarnation; recovery sets its own.
            messages = [out for out in left_over[0].outputs or () if isinstance(out, Entry)]
            self._flush(life, messages, woken, now_ns)
            self.mailbox.ack(life.epoch, left_over)
        actor = self.spec.factory()
        life.birth = self._host.make_birth(self, life)
        life.actor = actor
        self._by_bytes = self._host.by_bytes or actor.by_bytes
        actor.bind(life.birth)
        actor.launch()
        actor.on_start()
        if not actor.durable:
            life.phase = Phase.LOADED
            return
        life.phase = Phase.WAITING
        self._host.entered(self, life, "recovering")
        self._flush(life, [_barrier(actor, life.birth)], woken, now_ns)

    def _await_barrier(self, life: Life) -> None:
        assert life.actor is not None
        while True:
            entry = self.mailbox.peek(life.epoch, _is_barrier_passed)
            if entry is None:
                return
            message = entry.typed(by_bytes=self._by_bytes)
            self.mailbox.ack(life.epoch, (entry,))
            assert isinstance(message, BarrierPassed)
            if message.actor == self.name and message.incarnation == life.incarnation:
                break
        life.phase = Phase.LOADING
        self.runner.aside(lambda: self._load(life, message))

    def _load(self, life: Life, passed: BarrierPassed) -> None:
        try:
            self._host.load(self, life, passed.seq)
            # Unless a stop came in between.
            if life.phase is Phase.LOADING:
                life.phase = Phase.LOADED
        except BaseException as error:  # noqa: BLE001  a named seam: the actor base
            self._host.crashed(self, life, None, error)
        else:
            self.wake()

    def _stop(self, life: Life) -> None:
        assert life.actor is not None
        life.phase = Phase.RESTING
        life.actor.on_stop()
        self._host.entered(self, life, "stopped")


def _is_barrier_passed(entry: Entry) -> bool:
    return entry.kind == "BarrierPassed"


def _barrier(actor: Actor, birth: Birth) -> Entry:
    assert actor.road, f"{birth.name} is durable but has no road to the journal"
    message = Barrier(birth.name, birth.incarnation)
    cause = f"{birth.run_id}|{birth.name}|{birth.incarnation}|barrier"
    now_ns = birth.clock.wall_ns()
    return Entry(
        actor.road[0], "Barrier", message.lane, message_id(cause, 0), None, birth.name, cause, "",
        now_ns, now_ns, message,
    )  # fmt: skip
