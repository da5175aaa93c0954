"""The seeded dispatcher, timers, and the smaller promises of the actor base."""

from decimal import Decimal
from random import Random

import pytest
from toys import Counter, Passer, World, persistence, recorded, spec

from engine.actor import Actor, handler_name
from engine.dispatch import CrashInjector
from engine.messages import Append, Committed, CommittedNow, Message, PlaceOrder, Reply, Tick
from engine.timers import Timers


def story(seed: int) -> tuple[str, int]:
    faults = CrashInjector(Random(seed), 0.05)
    world = World(
        [persistence(), spec("b", Counter), spec("a", lambda: Counter("b"))],
        seed=seed,
        faults=faults,
    )
    world.start(1.0)
    for number in range(100):
        world.tick("a", number)
    world.run(30.0)
    return world.dispatcher.trace(), world.journal.seq


def test_the_same_seed_gives_the_same_trace_and_another_seed_another():
    assert story(11) == story(11)
    assert len({story(seed)[0] for seed in range(10)}) == 10


def test_two_hundred_seeds_with_crashes_all_end_complete():
    assert {story(seed)[1] for seed in range(200)} == {200}


class Alarm(Actor):
    def __init__(self, heard: list[tuple[str, int]], delays: list[tuple[float, str, str | None]]):
        super().__init__()
        self.heard = heard
        self.delays = delays

    def ready(self) -> None:
        for delay_s, argument, key in self.delays:
            self.schedule(delay_s, Tick("alarm", argument), key=key)

    def on_tick(self, message: Tick) -> None:
        self.heard.append((message.argument, self.clock.mono_ns()))


def test_timers_fire_in_order_of_their_time_and_the_same_key_replaces():
    heard: list[tuple[str, int]] = []
    delays = [(2.0, "b", None), (1.0, "a", None), (5.0, "old", "k"), (3.0, "new", "k")]
    world = World([spec("a", lambda: Alarm(heard, delays))]).start()
    began = world.clock.mono_ns()
    world.run(10.0)
    assert [(name, (at - began) / 1e9) for name, at in heard] == [
        ("a", 1.0),
        ("b", 2.0),
        ("new", 3.0),
    ]


def test_a_restart_cancels_the_timers_of_the_incarnation_before():
    heard: list[tuple[str, int]] = []
    world = World([spec("a", lambda: Alarm(heard, [(2.0, "a", None)]))]).start(1.0)
    world.supervisor.kill("a")
    world.run(10.0)
    assert len(heard) == 1


def test_a_step_of_the_wall_clock_fires_no_timer_early_or_late():
    heard: list[tuple[str, int]] = []
    world = World([spec("a", lambda: Alarm(heard, [(2.0, "a", None)]))]).start(1.0)
    world.clock.step_wall_ns(3_600 * 10**9)
    world.run(0.5)
    world.clock.step_wall_ns(-7_200 * 10**9)
    world.run(0.4)
    assert heard == []
    world.run(0.2)
    assert len(heard) == 1


def test_a_hundred_thousand_timers_keep_their_order_and_cancelled_ones_are_swept():
    rng = Random(5)
    timers = Timers()
    fired: list[int] = []
    made = []
    for _ in range(100_000):
        due = rng.randrange(10**6)
        made.append((due, timers.add(due, lambda due=due: fired.append(due))))
    kept = []
    for due, timer in made:
        if rng.random() < 0.7:
            timer.cancel()
        else:
            kept.append(due)
    assert len(timers._heap) < 100_000
    assert timers.fire_due(10**6) == len(kept)
    assert fired == sorted(kept)


def test_events_leave_first_and_as_one_message_under_derived_ids():
    class Both(Counter):
        def on_tick(self, message: Tick) -> None:
            self.send("out", message)
            self.emit(recorded(1, self.name))
            self.send("out", Tick("second", ""))
            self.emit(recorded(2, self.name))

    def ids() -> list[tuple[str, str, str, str]]:
        world = World([persistence(), spec("a", Both)], run_id="r").start()
        out = world.supervisor.add_mailbox("out")
        world.supervisor.tell("a", Tick("t", ""), message_id="m", correlation_id="user")
        world.run()
        assert [record_id[-2:] for _, record_id, _ in world.journal.records] == [".0", ".1"]
        entries = []
        while (entry := out.peek()) is not None:
            e = entry.envelope
            entries.append((e.message_id, e.cause_id, e.correlation_id, e.sender))
            out.ack(entry)
        return entries

    first = ids()
    assert first == ids()
    assert [e[1:] for e in first] == [("m", "user", "a")] * 2


def test_forwarding_keeps_the_body_and_names_the_cause():
    class Forwarder(Actor):
        def on_tick(self, message: Tick) -> None:
            self.forward("out")

    world = World([spec("a", Forwarder)]).start()
    out = world.supervisor.add_mailbox("out")
    world.supervisor.tell("a", Tick("t", "7"), message_id="m")
    world.run()
    envelope, message = out.read(out.peek())
    assert (message, envelope.cause_id, envelope.sender) == (Tick("t", "7"), "m", "a")


def test_a_handler_that_raises_has_sent_and_emitted_nothing():
    class Half(Counter):
        def on_tick(self, message: Tick) -> None:
            self.emit(recorded(1, self.name))
            self.send("out", message)
            self.schedule(0.1, message)
            raise RuntimeError("half way")

    world = World([persistence(), spec("a", Half)])
    out = world.supervisor.add_mailbox("out")
    world.start()
    world.tick("a", 1)
    world.run(10.0)
    assert out.peek() is None
    assert world.journal.seq == 0
    assert world.actor("a").state == []


def test_a_committed_event_is_folded_once_whatever_comes_again_or_overtakes():
    world = World([persistence(), spec("a", Counter)]).start()
    for seq in (1, 2, 2, 1):
        world.supervisor.tell("a", Committed(seq, recorded(seq)))
    world.run()
    world.supervisor.tell("a", CommittedNow(9, recorded(9)))
    world.run()
    world.supervisor.tell("a", Committed(3, recorded(3)))
    world.run()
    assert world.actor("a").state == ["1", "2", "9", "3"]


def test_a_parked_command_is_answered():
    class Router(Actor):
        def on_place_order(self, message: PlaceOrder) -> None:
            raise RuntimeError("cannot")

    world = World([spec("order_router", Router)]).start()
    edge = world.supervisor.add_mailbox("edge")
    command = PlaceOrder(
        "c1",
        "sim",
        None,
        "BTC/USDT",
        "BUY",
        "MARKET",
        "IOC",
        False,
        Decimal(1),
        None,
        False,
        "me",
        "edge",
    )
    world.supervisor.tell("order_router", command)
    world.run(10.0)
    reply = edge.read(edge.peek())[1]
    assert isinstance(reply, Reply)
    assert (reply.correlation_id, reply.ok, reply.code) == ("c1", False, "FAILED_POISON")


def test_random_numbers_depend_on_run_name_and_incarnation_only():
    def draw(run_id: str) -> float:
        world = World([spec("a", lambda: Passer("out"))], run_id=run_id).start()
        return world.actor("a").rng.random()

    assert draw("r") == draw("r") != draw("s")


@pytest.mark.parametrize(
    ("kind", "name"), [("Tick", "on_tick"), ("OrderReport", "on_order_report")]
)
def test_handlers_are_named_after_their_kind(kind, name):
    assert handler_name(kind) == name


def test_the_same_message_to_several_is_shared_and_by_bytes_each_has_its_own():
    class Spreader(Actor):
        def on_tick(self, message: Tick) -> None:
            same = Append([])
            self.send("x", same)
            self.send("y", same)

    def taken(*, by_bytes: bool) -> list[Message]:
        world = World([spec("a", Spreader)], by_bytes=by_bytes).start()
        x, y = world.supervisor.add_mailbox("x"), world.supervisor.add_mailbox("y")
        world.tick("a", 1)
        world.run()
        assert x.peek().message_id != y.peek().message_id
        assert x.peek().body == y.peek().body
        return [out.peek().typed(by_bytes=by_bytes) for out in (x, y)]

    one, other = taken(by_bytes=False)
    assert one is other
    one, other = taken(by_bytes=True)
    assert one == other
    assert one.events is not other.events


def test_whoever_changes_a_message_it_was_given_is_found_out_by_bytes():
    class Keeper(Actor):
        def on_append(self, message: Append) -> None:
            message.events.append(recorded(1))
            self.forward("out")

    def forwarded(*, by_bytes: bool) -> int:
        world = World([spec("a", Keeper)], by_bytes=by_bytes).start()
        out = world.supervisor.add_mailbox("out")
        world.supervisor.tell("a", Append([]))
        world.run()
        return len(out.peek().typed(by_bytes=by_bytes).events)

    assert (forwarded(by_bytes=False), forwarded(by_bytes=True)) == (1, 0)
