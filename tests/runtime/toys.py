"""Small actors and a journal in memory, to try the runtime with."""

from collections.abc import Iterable
from random import Random
from typing import ClassVar

from engine.actor import Actor
from engine.clock import VirtualClock
from engine.dispatch import SeededDispatcher
from engine.envelope import Entry
from engine.messages import (
    Append,
    Barrier,
    BarrierPassed,
    CommandRecorded,
    Committed,
    Event,
    Message,
    MessageParked,
    MessageSettled,
    Tick,
)
from engine.specs import ChildSpec, RestartPolicy, RuntimeEvent
from engine.supervision import Supervisor

ENDLESS = RestartPolicy(max_restarts=10**9, backoff_initial_s=0.0)


def recorded(number: int, who: str = "test") -> CommandRecorded:
    return CommandRecorded(f"c{number}", "count", str(number), who, number)


class Journal:
    """What a journal promises, without a disk: an order, and each record id once."""

    def __init__(self) -> None:
        self.records: list[tuple[int, str, Event]] = []
        self.by_id: dict[str, int] = {}
        self.repeated = 0

    def append(self, record_id: str, event: Event) -> int:
        if record_id in self.by_id:
            self.repeated += 1
            return self.by_id[record_id]
        seq = len(self.records) + 1
        self.records.append((seq, record_id, event))
        self.by_id[record_id] = seq
        return seq

    @property
    def seq(self) -> int:
        return len(self.records)

    def load(self, actor_name: str, upto_seq: int) -> tuple[None, Iterable[tuple[int, Event]]]:
        return None, [
            (seq, event)
            for seq, _, event in self.records
            if seq <= upto_seq and getattr(event, "who", "") == actor_name
        ]

    def parked(self) -> list[MessageParked]:
        events = [event for _, _, event in self.records]
        settled = {e.message_id for e in events if isinstance(e, MessageSettled)}
        parked = [e for e in events if isinstance(e, MessageParked)]
        return list({e.message_id: e for e in parked if e.message_id not in settled}.values())


class ToyPersistence(Actor):
    """Journals every Append and tells the followers."""

    def __init__(self, journal: Journal, followers: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.journal = journal
        self.followers = followers

    def on_append(self, message: Append) -> None:
        for index, event in enumerate(message.events):
            self.check_fence()
            seq = self.journal.append(f"{self.envelope.message_id}.{index}", event)
            for follower in self.followers:
                if follower != self.envelope.sender:
                    self.send(follower, Committed(seq, event))

    def on_barrier(self, message: Barrier) -> None:
        passed = BarrierPassed(message.actor, message.incarnation, self.journal.seq)
        self.send(message.actor, passed)


class BatchPersistence(ToyPersistence):
    """The same, with group commit."""

    batch_kinds: ClassVar[frozenset[str]] = frozenset({"Append"})

    def __init__(self, journal: Journal, followers: tuple[str, ...] = ()) -> None:
        super().__init__(journal, followers)
        self.batches: list[int] = []

    def on_batch(self, batch: list[tuple[Entry, Message]]) -> None:
        self.batches.append(len(batch))
        for envelope, message in batch:
            self.take(envelope)
            self.on_append(message)


class Counter(Actor):
    """Durable: each Tick becomes an event; the state is the list of what it has counted."""

    road: ClassVar[tuple[str, ...]] = ("persistence",)
    durable: ClassVar[bool] = True

    def __init__(self, next_hop: str | None = None) -> None:
        super().__init__()
        self.state = []
        self.next_hop = next_hop

    def apply(self, event: Event) -> None:
        self.state.append(event.arguments)

    def on_tick(self, message: Tick) -> None:
        assert message.argument not in self.state, "a tick took effect twice"
        self.emit(recorded(int(message.argument), self.name))
        if self.next_hop is not None:
            self.send(self.next_hop, message)


class Passer(Actor):
    """Passes every Tick on."""

    def __init__(self, to: str, raises: type[BaseException] | None = None, on: str = "") -> None:
        super().__init__()
        self.to = to
        self.raises = raises
        self.on = on

    def on_tick(self, message: Tick) -> None:
        if self.raises is not None and message.argument == self.on:
            raise self.raises("as the test wants it")
        self.send(self.to, message)


class Watcher:
    """Collects what the runtime tells."""

    def __init__(self) -> None:
        self.events: list[RuntimeEvent] = []
        self.escalations: list[tuple[str, int]] = []

    def __call__(self, event: RuntimeEvent) -> None:
        self.events.append(event)

    def escalate(self, what: str, code: int) -> None:
        self.escalations.append((what, code))

    def count(self, what: str, actor: str | None = None) -> int:
        return sum(1 for e in self.events if e.what == what and actor in (None, e.actor))


class World:
    """A seeded supervisor with its clock, dispatcher, journal and observer."""

    def __init__(self, specs, seed: int = 1, policy: RestartPolicy = ENDLESS, **options) -> None:
        self.clock = VirtualClock()
        self.dispatcher = SeededDispatcher(Random(seed), self.clock)
        self.journal = Journal()
        self.watcher = Watcher()
        self.supervisor = Supervisor(
            [spec(self) if callable(spec) else spec for spec in specs],
            clock=self.clock,
            rng=Random(seed),
            dispatchers={"main": self.dispatcher},
            recovery=self.journal,
            policy=policy,
            observer=self.watcher,
            on_escalate=self.watcher.escalate,
            **options,
        )

    def run(self, for_s: float = 0.0) -> "World":
        self.dispatcher.run(for_s)
        return self

    def start(self, for_s: float = 0.0) -> "World":
        self.supervisor.start()
        return self.run(for_s)

    def state(self, name: str) -> str:
        return next(s.state for s in self.supervisor.tree() if s.name == name)

    def actor(self, name: str):
        return self.supervisor._cells[name].life.actor

    def tick(self, to: str, number: int, **options) -> None:
        self.supervisor.tell(to, Tick("t", str(number)), **options)

    def received(self, consumer) -> list[str]:
        """Read and acknowledge all of a consumer's mail."""
        found = []
        while (entry := consumer.peek()) is not None:
            found.append(getattr(consumer.read(entry)[1], "argument", entry.kind))
            consumer.ack(entry)
        return found


def spec(name: str, factory, **options) -> ChildSpec:
    return ChildSpec(name, factory, "main", **options)


def persistence(kind=ToyPersistence, followers=(), **options):
    """A spec that gets its world's journal."""
    return lambda world: spec("persistence", lambda: kind(world.journal, followers), **options)
