"""PersistenceActor: the only writer of the journal, and the gate through which orders leave.

Everything that waits is committed in one transaction (group commit), and only then is it passed on:
each event to those who fold it, each approval as an ApprovedOrder to its venue. When the disk is
full nothing that would send an order is recorded or passed on; fills, cancels and the halt still
are, on the reserve. When the journal cannot be trusted any more the process stops.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, Final, NamedTuple

from msgspec.structs import replace

from actors.folds import HALTS, IN_PLACE, RISK, ROUTER, Folds, addressed_to, concerns
from actors.replicas import Replicas, Shelf
from engine.actor import Actor
from engine.envelope import Entry, decode_event, encode_body
from engine.ids import client_order_id, parent_order_id
from engine.journal import AppendResult, Journal, JournalFailed, JournalFull, NewRecord
from engine.messages.base import Event, Message
from engine.messages.commands import (
    AccountSnapshot,
    Append,
    AppendNow,
    AppendRefused,
    ApprovedOrder,
    Barrier,
    BarrierPassed,
    Committed,
    CommittedNow,
    Tick,
)
from engine.messages.engine_events import (
    MessageParked,
)
from engine.messages.events import (
    OrderApproved,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)

EDGE: Final = "edge"
_APPENDS: Final = (Append, AppendNow)
# Small, so that a stretch fits between two ticks: folding a record into all states takes 50 us.
FOLD_CHUNK: Final = 50
FOLD_LATER_S: Final = 0.02


class _Item(NamedTuple):
    envelope: Entry
    number: int
    event: Event


class PersistenceActor(Actor):
    """See the module's docstring. Idempotent: a record_id is appended once for ever."""

    batch_kinds: ClassVar[frozenset[str]] = frozenset({"Append", "AppendNow", "Barrier"})
    durable: ClassVar[bool] = False
    by_bytes: ClassVar[bool] = True  # what cannot be read back must not get into the journal

    def __init__(
        self,
        journal: Journal,
        folds: Folds,
        shelf: Shelf,
        *,
        snapshot_every_records: int,
        fail_stop: Callable[[str], None],
        fault_point: Callable[[str], None],
    ) -> None:
        super().__init__()
        self.journal = journal
        self.folds = folds
        self.snapshot_every = snapshot_every_records
        self.fold_chunk = min(FOLD_CHUNK, snapshot_every_records)
        self.fail_stop = fail_stop
        self.fault_point = fault_point
        self.shelf = shelf
        self.replicas: Replicas | None = None  # made when there is something to fold
        shelf.replicas = None
        self.folding = False
        self.folded_upto = journal.head_seq
        self.busy = False  # whether anything was appended since the last look
        self.readers: dict[tuple[type[Event], str, str], tuple[str, ...]] = {}

    def ready(self) -> None:
        """Tell of the halt of a full disk again: who journaled it may have died before it was told.

        Nothing but that halt would stop what waits here: the reserve has made room for it.
        """
        if self.shelf.halt is not None:
            self._pass_on(
                self.name, self.shelf.halt[1], AppendResult(self.shelf.halt[0], "repeated")
            )

    # --- append, commit, pass on ------------------------------------------------------------------

    def on_batch(self, batch: list[tuple[Entry, Message]]) -> None:
        """Commit all that waits in one transaction, then pass it on in order."""
        items = [
            _Item(envelope, index, event)
            for envelope, message in batch
            if isinstance(message, _APPENDS)
            for index, event in enumerate(message.events)
        ]
        self.busy = bool(items) or self.busy  # a barrier alone is no work
        results = iter(self._commit(items))
        self.fault_point("after_commit")
        for envelope, message in batch:
            self.take(envelope)
            if isinstance(message, _APPENDS):
                for event in message.events:
                    self._pass_on(envelope.sender, event, next(results))
            elif isinstance(message, Barrier):
                seq = self.journal.head_seq
                self.send(message.actor, BarrierPassed(message.actor, message.incarnation, seq))
        if any(isinstance(item.event, TradingResumed) for item in items):
            self._set_reserve_aside()
        self._fold_soon()

    def on_append(self, message: Append) -> None:
        """Commit a single append; the batch of one."""
        self.on_batch([(self.envelope, message)])

    def on_append_now(self, message: AppendNow) -> None:
        """Commit a single urgent append; the batch of one."""
        self.on_batch([(self.envelope, message)])

    def on_barrier(self, message: Barrier) -> None:
        """Answer a barrier that came alone."""
        self.on_batch([(self.envelope, message)])

    def _commit(self, items: list[_Item]) -> Sequence[AppendResult | None]:
        if not items:
            return []
        self.check_fence()
        self.fault_point("before_commit")
        try:
            known = self._known_commands(items)
            fresh = [item for item in items if id(item) not in known] if known else items
            results: Sequence[AppendResult | None] = self.journal.append(self._records(fresh))
        except JournalFull as error:
            results = self._commit_on_reserve(fresh, str(error))
        except JournalFailed as error:
            self.fail_stop(f"the journal failed: {error}")
            raise
        if not known:
            return results
        left = iter(results)
        return [known[id(item)] if id(item) in known else next(left) for item in items]

    # A command's orders are taken together or not at all. The key of each guards that one only: of a
    # command that the router has forgotten, a new plan may have more legs, or another shape.
    def _known_commands(self, items: Sequence[_Item]) -> dict[int, AppendResult]:
        earlier: dict[str, int] = {}
        for envelope, _, event in items:
            if isinstance(event, OrderApproved | ParentAccepted) and event.order.parent_id is None:
                for key in self._roots(event):
                    record = self.journal.find(key)
                    if record and not record.record_id.startswith(f"{envelope.message_id}:"):
                        earlier[envelope.message_id] = record.seq
        return {
            id(item): AppendResult(earlier[item.envelope.message_id], "duplicate")
            for item in (items if earlier else ())
            if item.envelope.message_id in earlier
            and isinstance(item.event, OrderApproved | ParentAccepted)
        }

    # The keys of whatever else the command may have made: the order of one venue, the parent, its legs.
    def _roots(self, event: OrderApproved | ParentAccepted) -> list[str]:
        instance, command_id = self.journal.identity.instance, event.order.command_id
        if isinstance(event, OrderApproved):  # its own key is looked at by the journal itself
            return [f"order:{parent_order_id(instance, command_id)}"]
        # Of a journal from a backup the parent may be missing, and a leg adopted from its venue.
        legs = (client_order_id(instance, command_id), *event.children)
        return [event.unique_key(), *(f"order:{leg}" for leg in legs)]

    def _commit_on_reserve(self, items: list[_Item], problem: str) -> list[AppendResult | None]:
        """Record what reduces risk, refuse what adds to it, and halt."""
        self.log.bind(problem=problem).critical("journal full: trading halts")
        self.journal.release_reserve()
        kept = [i for i in items if not isinstance(i.event, OrderApproved | ParentAccepted)]
        now_ns = self.clock.wall_ns()
        halt = TradingHalted("all", f"journal full: {problem}"[:2000], self.name, True, now_ns)
        own = replace(
            items[0].envelope, sender=self.name
        )  # everybody is told, whose batch it was too
        mark = _Item(own, -1, halt)
        try:
            results = self.journal.append(self._records([*kept, mark]))
        except JournalFull as error:
            self.fail_stop(f"the journal is full and the reserve is used up: {error}")
            raise
        self.shelf.halt = (results[-1].seq, halt)
        self._pass_on(self.name, halt, results[-1])
        answers = {id(item): result for item, result in zip(kept, results, strict=False)}
        return [answers.get(id(item)) for item in items]

    # A person resumed after a full disk: from here on there must be something to go on with again.
    def _set_reserve_aside(self) -> None:
        self.shelf.halt = None
        try:
            if not self.journal.restore_reserve():
                self.log.warning("no space for the journal's reserve")
        except JournalFull as error:
            self.log.bind(problem=str(error)).warning("no space for the journal's reserve")

    def _records(self, items: Sequence[_Item]) -> list[NewRecord]:
        wall_ns, mono_ns = self.clock.wall_ns(), self.clock.mono_ns()
        return [
            NewRecord(
                f"{envelope.message_id}:{index}",
                event.unique_key(),
                type(event).__name__,
                envelope.sender,
                envelope.cause_id,
                envelope.correlation_id,
                encode_body(event),
                wall_ns,
                mono_ns,
            )
            for envelope, index, event in items
        ]

    def _pass_on(self, origin: str, event: Any, result: AppendResult | None) -> None:
        if result is None or result.status == "duplicate":
            self._refuse(origin, event, result)
            return
        seq = result.seq
        urgent = isinstance(event, HALTS)
        message: Message = CommittedNow(seq, event) if urgent else Committed(seq, event)
        if type(event) is OrderApproved:
            self.send(f"exchange.{event.order.venue}", ApprovedOrder(seq, event))
        key = (type(event), origin, addressed_to(event))
        readers = self.readers.get(key)
        if readers is None:
            readers = self.readers[key] = self._readers(origin, event)
        for reader in readers:
            self.send(reader, message)

    # Who is told of a committed event: those who fold it, but for who has decided it, and the edge.
    def _readers(self, origin: str, event: Event) -> tuple[str, ...]:
        found = []
        for actor in self.folds:
            as_approval = isinstance(event, OrderApproved) and actor.startswith("exchange.")
            decided = actor == origin and not isinstance(event, IN_PLACE)
            if not decided and not as_approval and concerns(actor, origin, event):
                found.append(actor)
        return (*found, EDGE)

    def _refuse(self, origin: str, event: Event, result: AppendResult | None) -> None:
        if not isinstance(event, OrderApproved | ParentAccepted):
            return
        code, text = "journal_full", "the journal could not record the order"
        if result is not None:
            code, text = "already_journaled", f"this order is already record {result.seq}"
        refusal = AppendRefused([event], code, text)
        for actor in (origin, ROUTER, EDGE):
            self.send(actor, refusal)

    def on_account_snapshot(self, message: AccountSnapshot) -> None:
        """Pass a venue's balances on, behind the fills that were journaled before them."""
        self.forward(RISK)

    # --- snapshots --------------------------------------------------------------------------------

    def _fold_soon(self, after_s: float = 0.0) -> None:
        if not self.folding and self.journal.head_seq - self.folded_upto >= self.fold_chunk:
            self.folding = True
            self.schedule(after_s, Tick("fold"), key="fold")

    def on_tick(self, message: Tick) -> None:
        """Fold the next stretch of the journal, and store snapshots when enough has come.

        An idle moment is waited for, until a whole snapshot's worth of records waits.
        """
        self.folding = False
        lag = self.journal.head_seq - self.folded_upto
        if self.busy and lag < self.snapshot_every + self.fold_chunk:
            self.busy = False
            self._fold_soon(FOLD_LATER_S)
            return
        self.busy = False
        if self.replicas is None:  # not at the start: that is when everybody waits for us
            self.shelf.replicas = self.replicas = Replicas(self.journal, self.folds)
        replicas = self.replicas
        if not replicas.fold(replicas.folded_upto + self.fold_chunk):
            self._fold_soon(FOLD_LATER_S)
            return
        self.folded_upto = replicas.folded_upto
        if replicas.folded_upto - replicas.stored_upto >= self.snapshot_every:
            try:
                replicas.store()
            except JournalFull as error:
                self.log.bind(problem=str(error)).error("snapshot not stored")
        self._fold_soon()


class JournalRecovery:
    """What restarts begin with: an actor's state, at hand or stored, what came after, what is parked."""

    def __init__(self, journal: Journal, shelf: Shelf | None = None) -> None:
        self._journal = journal
        self._shelf = Shelf() if shelf is None else shelf

    def load(
        self, actor_name: str, upto_seq: int
    ) -> tuple[bytes | None, Iterator[tuple[int, Event]]]:
        """Return a state of an actor, and the events after it up to `upto_seq` that it folds."""
        replicas = self._shelf.replicas
        at_hand = replicas.copy(actor_name, upto_seq) if replicas is not None else None
        if at_hand is not None:
            return at_hand[1], self._events(actor_name, at_hand[0], upto_seq)
        snapshot = self._journal.load_snapshot(actor_name, upto_seq)
        if snapshot is None:
            return None, self._events(actor_name, 0, upto_seq)
        return snapshot.state, self._events(actor_name, snapshot.seq, upto_seq)

    def _events(self, actor: str, after_seq: int, upto_seq: int) -> Iterator[tuple[int, Event]]:
        for record in self._journal.read(after_seq, upto_seq):
            event = decode_event(record.kind, record.body)
            if concerns(actor, record.origin, event):
                yield record.seq, event

    def parked(self) -> list[MessageParked]:
        """Return what was parked in earlier runs and is neither retried nor discarded."""
        settled = {record.unique_key for record in self._journal.keyed("settled:")}
        newest: dict[str, MessageParked] = {}
        for record in self._journal.keyed("parked:"):
            event = decode_event(record.kind, record.body)
            assert isinstance(event, MessageParked)
            if f"settled:{event.message_id}" not in settled:
                newest[event.message_id] = event
        return list(newest.values())
