"""The base of every actor: a Pykka actor whose loop, inbox and death belong to our runtime.

A subclass names its road to the journal and writes handlers `on_<kind>(message)`. What a handler sends,
emits and schedules is buffered and leaves together after it returned, under ids derived from the message
that caused it; a handler that raises has sent nothing. Durable state changes only in `apply(event)`.

Stock Pykka drops the mail of a dead actor, lets an ask's exception pass as normal and stops the whole
process at a SystemExit. Of its three hooks for new actor types we use all: the inbox is a view that
never holds mail, futures are Pykka's, and the loop hands the actor to a dispatcher.
"""

import re
from collections.abc import Callable, Iterable
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar, Final

import pykka
from loguru import logger
from pykka.messages import _ActorStop

from engine.clock import Clock
from engine.envelope import KINDS, Delayed, Entry, Output, Retried
from engine.errors import Fenced, MessageError, Refused
from engine.ids import message_id
from engine.messages.base import Event, Handler, Lane, Message
from engine.messages.commands import (
    Append,
    Barrier,
    BarrierPassed,
    Committed,
    CommittedNow,
    InjectCrash,
    Ping,
)
from engine.messages.engine_events import (
    MessageSettled,
)

if TYPE_CHECKING:
    from loguru import Logger

NS_PER_S: Final = 1_000_000_000
_MARKET: Final = Lane.MARKET
DRILL_ERRORS: Final[dict[str, type[BaseException]]] = {
    error.__name__: error
    for error in (
        RuntimeError,
        SystemExit,
        KeyboardInterrupt,
        GeneratorExit,
        MemoryError,
        RecursionError,
    )
}


def handler_name(kind: str) -> str:
    """Return the name of the method that handles messages of `kind`."""
    return "on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()


_HANDLER_NAMES: Final = {kind: handler_name(kind) for kind in KINDS}


class Birth:
    """What the runtime gives an incarnation. `fenced` turns true when it has been replaced."""

    __slots__ = ("attach", "clock", "fenced", "incarnation", "name", "rng", "run_id")

    def __init__(
        self,
        name: str,
        incarnation: int,
        run_id: str,
        clock: Clock,
        rng: Random,
        attach: Callable[["Actor"], None],
    ) -> None:
        self.name = name
        self.incarnation = incarnation
        self.run_id = run_id
        self.clock = clock
        self.rng = rng
        self.attach = attach
        self.fenced = False


# Pykka's side door. Mail never lies here, so a dying actor has nothing to drain (facts 1, 2, 4); who
# asks or stops through a raw ActorRef is refused at once instead of waiting for ever (facts 9, 12).
class _Inbox:
    def put(self, envelope: Any, /) -> None:
        what = "stop" if isinstance(envelope.message, _ActorStop) else "message"
        refusal = Refused("NOT_BY_REF", f"a {what} by ActorRef: use the supervisor and addresses")
        if envelope.reply_to is None:
            raise refusal
        envelope.reply_to.set_exception((Refused, refusal, None))

    def get(self) -> Any:
        raise AssertionError("the runtime delivers messages, nobody reads this inbox")

    def empty(self) -> bool:
        return True


class Actor(pykka.ThreadingActor):
    """Base of all actors. Subclasses handle messages in `on_<kind>` and change state in `apply`."""

    road: ClassVar[tuple[str, ...]] = ()
    durable: ClassVar[bool] = False
    # Kinds that `on_batch` takes many of at a time, and how many; empty means one by one.
    batch_kinds: ClassVar[frozenset[str]] = frozenset()
    batch_limit: ClassVar[int] = 1_000
    # Whether to read every message from its bytes: what they cannot carry is found before it is used.
    by_bytes: ClassVar[bool] = False

    name: str
    clock: Clock
    rng: Random
    incarnation: int
    log: "Logger"
    envelope: Entry
    state: Any
    handlers: dict[str, Handler]

    def __init__(self) -> None:
        super().__init__()
        self.state = None
        self._birth: Birth | None = None
        self.handlers = {}
        self._outputs: list[Output] = []
        self._events: list[Event] = []
        self._index = 0
        self._message: Message | None = None
        self._recovered_seq = 0
        self._folded = {False: 0, True: 0}

    # --- for handlers -----------------------------------------------------------------------------

    def send(self, recipient: str, message: Message, *, correlation_id: str | None = None) -> None:
        """Send when the handler has returned. From here on nobody may change what is in `message`.

        Raises:
            Fenced: this incarnation has been replaced.
        """
        self._outputs.append(self._wrap(recipient, message, correlation_id))

    def forward(self, recipient: str, *, correlation_id: str | None = None) -> None:
        """Send the message in hand on as it came; bytes that are there already go along."""
        assert self._message is not None, "only a handler has a message to forward"
        entry = self._wrap(recipient, self._message, correlation_id)
        entry.encoded = self.envelope.encoded
        self._outputs.append(entry)

    def schedule(self, delay_s: float, message: Message, *, key: str | None = None) -> None:
        """Send `message` to myself after a delay. The same key replaces; a restart cancels."""
        entry = self._wrap(self.name, message, None)
        self._outputs.append(Delayed(entry, max(0, int(delay_s * NS_PER_S)), key))

    def emit(self, event: Event) -> None:
        """Apply an event at once and send it to the journal, before all else this handler sends."""
        self.apply(event)
        self._events.append(event)

    def take(self, envelope: Entry) -> None:
        """Say, inside `on_batch`, which message causes what is sent from here on."""
        self.envelope = envelope

    def check_fence(self) -> None:
        """Raise Fenced if this incarnation has been replaced: call it before touching the world."""
        if self._birth is not None and self._birth.fenced:
            raise Fenced(f"{self.name}: incarnation {self.incarnation} was replaced")

    @property
    def folded_seq(self) -> int:
        """Return the journal's seq up to which this actor's state is folded."""
        return max(self._recovered_seq, self._folded[False])

    # --- for subclasses to define -----------------------------------------------------------------

    def journal_message(self, events: list[Event]) -> Message:
        """Return the one message that carries a handler's events to `road[0]`."""
        return Append(events)  # type: ignore[arg-type]

    def apply(self, event: Event) -> None:
        """Change the state by one event: the only place that may."""
        raise NotImplementedError(f"{type(self).__name__} does not fold {type(event).__name__}")

    def restore(self, snapshot: bytes) -> None:
        """Set the state from a snapshot."""
        raise NotImplementedError(f"{type(self).__name__} has no snapshots")

    def recover(self, snapshot: bytes | None, records: Iterable[tuple[int, Event]]) -> None:
        """Rebuild the state. Runs before any message, perhaps in a thread of its own."""
        if snapshot is not None:
            self.restore(snapshot)
        for _, event in records:
            self.apply(event)

    def recovered(self) -> None:
        """Begin work after recovery; may send, emit and schedule. Runs again after a crash in it."""

    def ready(self) -> None:
        """Begin work as an actor without durable state; may send and schedule."""

    def committed(self, seq: int, event: Event) -> None:
        """Act on an event of another actor that has just been journaled and applied."""

    def on_batch(self, batch: list[tuple[Entry, Message]]) -> None:
        """Handle all waiting messages of `batch_kinds` as one. Call `take` for each."""
        raise NotImplementedError(f"{type(self).__name__} names batch_kinds without on_batch")

    # --- handlers that every actor has ------------------------------------------------------------

    def on_committed(self, message: Committed) -> None:
        """Apply a journaled event, unless it is folded already."""
        self._fold(message.seq, message.event, now=False)

    def on_committed_now(self, message: CommittedNow) -> None:
        """The same for the control lane, which overtakes: its numbers run by themselves."""
        self._fold(message.seq, message.event, now=True)

    def on_barrier(self, message: Barrier) -> None:
        """Pass a restarted neighbour's barrier on, behind all that went the same way before."""
        self.forward(self.road[0])

    def on_barrier_passed(self, message: BarrierPassed) -> None:
        """Ignore a late answer; the runtime takes the awaited one itself."""

    def on_ping(self, message: Ping) -> None:
        """Show that messages are handled; the runtime notes the time."""

    def on_inject_crash(self, message: InjectCrash) -> None:
        """Die as told, for a drill."""
        raise DRILL_ERRORS.get(message.error, RuntimeError)(message.text or "injected crash")

    # --- the runtime's side -----------------------------------------------------------------------

    def bind(self, birth: Birth) -> None:
        """Take clock, name and the rest from the runtime. Once, right after the constructor."""
        self._birth = birth
        self.name, self.clock, self.rng = birth.name, birth.clock, birth.rng
        self.incarnation = birth.incarnation
        self.log = logger.bind(actor=self.name, incarnation=self.incarnation)
        names = {kind: name for kind, name in _HANDLER_NAMES.items() if hasattr(self, name)}
        self.handlers = {kind: getattr(self, name) for kind, name in names.items()}
        self.begin_hook()

    def launch(self) -> None:
        """Start as Pykka's `start` does: register, then begin the loop."""
        pykka.ActorRegistry.register(self.actor_ref)
        self._start_actor_loop()

    def retire(self) -> None:
        """Leave Pykka's registry; the incarnation is over."""
        pykka.ActorRegistry.unregister(self.actor_ref)
        self.actor_stopped.set()

    def decode(self, entry: Entry, *, by_bytes: bool = False) -> Message:
        """Return the typed message of an entry.

        Raises:
            MessageError: malformed, or a kind that this actor does not handle.
        """
        if entry.kind not in self.handlers:
            raise MessageError(f"{self.name}: no handler for {entry.kind[:64]!r}")
        return entry.typed(by_bytes=by_bytes)

    def handle(self, entry: Entry, message: Message) -> list[Output]:
        """Run the handler of one message and return what it sends, events first."""
        self.envelope = entry
        self._message = message
        outputs: list[Output] = []
        self._outputs = outputs
        self._index = 0
        if self._events:
            self._events = []
        self.handlers[entry.kind](message)
        if entry.retried is not None:
            self._end_parked(entry.message_id, entry.retried)
        return self._collect() if self._events else outputs

    def handle_batch(self, batch: list[tuple[Entry, Message]]) -> list[Output]:
        """Run `on_batch` and return what it sends."""
        self._begin(batch[0][0])
        self.on_batch(batch)
        return self._collect()

    def begin_hook(self) -> None:
        """Prepare for a hook that no message causes: its ids derive from run and incarnation."""
        assert self._birth is not None
        cause, now = f"{self._birth.run_id}|{self.name}|{self.incarnation}", self.clock.wall_ns()
        ping = Ping(0)
        self._begin(
            Entry(self.name, "Ping", ping.lane, cause, None, self.name, "", "", now, now, ping)
        )

    def run_hook(self, hook: Callable[[], None]) -> list[Output]:
        """Run a hook and return what it sends."""
        self.begin_hook()
        hook()
        return self._collect()

    def fold_up_to(self, seq: int) -> None:
        """Note that recovery has folded everything up to `seq`."""
        self._recovered_seq = seq

    # --- Pykka's hooks for implementors of actor types --------------------------------------------

    @staticmethod
    def _create_actor_inbox() -> Any:
        return _Inbox()

    def _start_actor_loop(self) -> None:
        assert self._birth is not None, "actors are started by the supervisor, not by start()"
        self._birth.attach(self)

    # --- private ----------------------------------------------------------------------------------

    def _begin(self, envelope: Entry) -> None:
        self.envelope = envelope
        self._message = None
        self._outputs = []
        self._events = []
        self._index = 0

    def _collect(self) -> list[Output]:
        if not self._events:
            return self._outputs
        assert self.road, f"{self.name} emits events but has no road to the journal"
        message = self.journal_message(self._events)
        return [self._wrap(self.road[0], message, None, index=0), *self._outputs]

    # The word that a retry is done is in one transaction with what it emits, or comes behind what it
    # sends: it is never there alone.
    def _end_parked(self, settled_id: str, retried: Retried) -> None:
        now_ns = self.clock.wall_ns()
        event = MessageSettled(self.name, settled_id, "APPLIED", retried.who, "", now_ns)
        to = self.road[0] if self.road else retried.journal
        if self._events:
            self._events.append(event)
        elif to:
            self._outputs.append(self._wrap(to, self.journal_message([event]), None))

    # Index 0 belongs to the journal's message, so that later sends cannot shift its id.
    def _wrap(
        self, recipient: str, message: Message, correlation_id: str | None, index: int = -1
    ) -> Entry:
        assert self._birth is not None
        if self._birth.fenced:
            raise Fenced(f"{self.name}: incarnation {self.incarnation} was replaced")
        if index < 0:
            self._index = index = self._index + 1
        cause = self.envelope
        cause_id = cause.message_id
        lane = message.lane
        return Entry(
            recipient,
            type(message).__name__,
            lane,
            message_id(cause_id, index),
            message.conflate_key() if lane is _MARKET else None,
            self.name,
            cause_id,
            cause.correlation_id if correlation_id is None else correlation_id,
            cause.ts_event_ns,
            cause.ts_received_ns,
            message,
        )

    # Each lane is in the journal's order by itself; control overtakes orders, so each has its mark.
    def _fold(self, seq: int, event: Event, *, now: bool) -> None:
        if seq <= self._folded[now] or seq <= self._recovered_seq:
            return
        self._folded[now] = seq
        self.apply(event)
        self.committed(seq, event)
