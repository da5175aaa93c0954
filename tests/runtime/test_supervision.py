"""Who is restarted, when, how often, and what happens after too often."""

import gc

import pykka
import pytest
from toys import Counter, Passer, World, persistence, spec

from engine.actor import Actor
from engine.cell import RUN_MAX
from engine.errors import Refused
from engine.messages import CancelRequest, InjectCrash, Tick
from engine.specs import RestartPolicy

SHORT = RestartPolicy(max_restarts=3, within_s=60.0, backoff_initial_s=0.1, backoff_max_s=0.4)
BASE_ERRORS = [
    RuntimeError,
    SystemExit,
    KeyboardInterrupt,
    GeneratorExit,
    MemoryError,
    RecursionError,
]


class Idle(Actor):
    def __init__(self, story: list[str], name: str = "", fails: str = "") -> None:
        super().__init__()
        self.story = story
        self.called = name
        self.fails = fails
        if fails == "__init__":
            raise RuntimeError("no life")

    def on_start(self) -> None:
        self.story.append(f"start {self.called}")
        if self.fails == "on_start":
            raise SystemExit("no life")

    def on_stop(self) -> None:
        self.story.append(f"stop {self.called}")
        if self.fails == "on_stop":
            raise RuntimeError("no end")

    def on_tick(self, message: Tick) -> None:
        self.story.append(f"{self.called} {message.argument}")


def idle(story, name, **options):
    return spec(name, lambda: Idle(story, name), **options)


def crash(world, name, error="RuntimeError"):
    world.supervisor.tell(name, InjectCrash(error, "drill"))


@pytest.mark.parametrize("error", BASE_ERRORS)
def test_whatever_a_handler_raises_ends_only_its_own_incarnation(error):
    world = World(
        [spec("a", lambda: Passer("out", error, on="1")), spec("b", lambda: Passer("out"))]
    )
    out = world.supervisor.add_mailbox("out")
    world.start()
    for number in range(3):
        world.tick("a", number)
        world.tick("b", number + 10)
    world.run(10.0)
    assert sorted(world.received(out)) == ["0", "10", "11", "12", "2"]
    assert [p.error.split(":")[0] for p in world.supervisor.parking.list()] == [error.__name__]
    tree = {s.name: s for s in world.supervisor.tree()}
    assert (tree["a"].state, tree["a"].restarts) == ("running", 3)
    assert (tree["b"].state, tree["b"].incarnation) == ("running", 1)


def test_three_crashes_on_one_message_park_it_and_the_others_go_on_in_order():
    world = World(
        [persistence(), spec("a", lambda: Passer("out", RuntimeError, on="5"))],
        policy=SHORT,
        parked_to="persistence",
    )
    out = world.supervisor.add_mailbox("out")
    world.start()
    for number in range(20):
        world.tick("a", number)
    world.run(10.0)
    assert world.received(out) == [str(n) for n in range(20) if n != 5]
    (parked,) = world.supervisor.parking.list()
    assert (parked.actor, parked.kind) == ("a", "Tick")
    assert world.watcher.count("parked", "a") == 1
    assert [type(e).__name__ for _, _, e in world.journal.records] == ["MessageParked"]
    assert world.state("a") == "running"
    assert next(s for s in world.supervisor.tree() if s.name == "a").parked == 1


def test_poison_alone_never_trips_the_limit():
    world = World([spec("a", lambda: Passer("out", RuntimeError, on="5"))], policy=SHORT).start()
    for _ in range(3):
        world.tick("a", 5)
        world.run(5.0)
    assert world.state("a") == "running"
    assert len(world.supervisor.parking.list()) == 3


def test_an_unknown_kind_is_parked_and_the_actor_lives():
    world = World([idle([], "a")]).start()
    world.supervisor.tell("a", InjectCrash("RuntimeError", ""), message_id="drill")
    world.run(1.0)
    world.supervisor.tell("a", CancelRequest("o1", "why"), message_id="u1")
    world.tick("a", 1)
    world.run(1.0)
    (parked,) = world.supervisor.parking.list()
    assert (parked.message_id, parked.order_id) == ("u1", "o1")
    assert world.supervisor.tree()[0].counters["unknown"] == 1
    assert world.supervisor.tree()[0].incarnation == 2
    assert world.actor("a").story[-1] == "a 1"


def test_actors_start_in_order_and_stop_in_reverse():
    story: list[str] = []
    world = World([idle(story, name) for name in "abc"]).start()
    assert world.supervisor.stop(5.0)
    assert story == ["start a", "start b", "start c", "stop c", "stop b", "stop a"]
    assert [s.state for s in world.supervisor.tree()] == ["stopped"] * 3


def test_a_stop_waits_for_orders_first():
    story: list[str] = []
    world = World([idle(story, "a")]).start()
    world.tick("a", 1)
    assert world.supervisor.stop(5.0)
    assert story == ["start a", "a 1", "stop a"]


@pytest.mark.parametrize("where", ["__init__", "on_start"])
def test_a_failed_birth_is_a_crash_and_gives_up_in_the_end(where):
    story: list[str] = []
    world = World(
        [spec("a", lambda: Idle(story, "a", where)), idle(story, "b")], policy=SHORT
    ).start(60.0)
    assert world.watcher.count("crashed", "a") == 4
    assert world.watcher.count("disabled", "a") == 1
    assert world.state("a") == "disabled"
    assert world.state("b") == "running"


def test_a_failure_in_on_stop_is_seen_and_holds_nobody_up():
    story: list[str] = []
    world = World([idle(story, "a"), spec("b", lambda: Idle(story, "b", "on_stop"))]).start()
    world.supervisor.stop(5.0)
    assert world.watcher.count("crashed", "b") == 1
    assert story[-1] == "stop a"


def test_a_venue_that_crashes_too_often_is_disabled_once_and_the_others_go_on():
    story: list[str] = []
    world = World([idle(story, "x"), idle(story, "y")], policy=SHORT).start()
    for number in range(20):
        crash(world, "x")
        world.run(0.5)
        world.tick("y", number)
    world.run(60.0)
    assert world.watcher.count("disabled", "x") == 1
    assert world.watcher.count("crashed", "x") == 4
    assert world.watcher.escalations == []
    assert world.state("x") == "disabled"
    assert [line for line in story if line.startswith("y ")] == [f"y {n}" for n in range(20)]


@pytest.mark.parametrize("code", [70, 74])
def test_an_essential_actor_that_gives_up_halts_the_program_exactly_once(code):
    story: list[str] = []
    options = {"on_give_up": "halt_exit", "exit_code": code, "essential": True}
    world = World([idle(story, "a", **options), idle(story, "b", **options)], policy=SHORT)
    world.start()
    for _ in range(10):
        crash(world, "a")
        crash(world, "b")
        world.run(1.0)
    assert world.watcher.escalations == [("halt_exit", code)]
    assert world.state("a") == "gave_up"


def test_crashes_that_are_far_apart_never_give_up():
    world = World([idle([], "a")], policy=SHORT).start()
    for _ in range(20):
        crash(world, "a")
        world.run(30.0)
    assert world.state("a") == "running"
    assert world.supervisor.tree()[0].restarts == 20


def test_kills_by_people_restart_at_once_and_do_not_count():
    world = World([idle([], "a")], policy=SHORT).start()
    for _ in range(50):
        world.supervisor.kill("a")
        world.run()
    assert world.state("a") == "running"
    assert world.supervisor.tree()[0].incarnation == 51


def test_the_wait_before_a_restart_doubles_and_restarting_is_visible():
    policy = RestartPolicy(max_restarts=9, backoff_initial_s=1.0, backoff_max_s=4.0, jitter=0.0)
    world = World([idle([], "a")], policy=policy).start()
    waits = []
    for _ in range(4):
        crash(world, "a")
        world.run(0.5)
        assert world.state("a") == "restarting"
        waits.append(world.clock.mono_ns())
        while world.state("a") != "running":
            assert world.dispatcher.step()
        waits[-1] = round((world.clock.mono_ns() - waits[-1]) / 1e9 + 0.5, 3)
    assert waits == [1.0, 2.0, 4.0, 4.0]


def test_jitter_spreads_restarts_and_stays_in_its_bounds():
    policy = RestartPolicy(max_restarts=99, backoff_initial_s=1.0, backoff_max_s=1.0, jitter=0.5)
    world = World([idle([], "a")], policy=policy).start()
    for _ in range(30):
        crash(world, "a")
        world.run(2.0)
    waits = [float(e.detail.split()[1]) for e in world.watcher.events if e.what == "restarting"]
    assert len(set(waits)) > 20
    assert all(0.5 <= wait <= 1.0 for wait in waits)


def test_a_disabled_actor_keeps_its_mail_until_a_person_restarts_it():
    story: list[str] = []
    world = World([idle(story, "book"), idle(story, "other")], policy=SHORT).start()
    for _ in range(4):
        crash(world, "book")
        world.run(2.0)
    assert [s.state for s in world.supervisor.tree()] == ["disabled", "running"]
    world.tick("book", 1)
    world.run(5.0)
    assert "book 1" not in story
    world.supervisor.restart("book")
    world.run(5.0)
    assert "book 1" in story


def test_an_actor_without_parking_gives_up_on_its_poison():
    world = World(
        [spec("a", lambda: Passer("out", RuntimeError, on="5"), park_after=0)], policy=SHORT
    ).start()
    world.tick("a", 5)
    world.run(60.0)
    assert world.state("a") == "disabled"
    assert world.supervisor.parking.list() == []
    assert world.supervisor.mailbox("a").depth()["orders"] == 1


def test_a_temporary_actor_is_not_restarted():
    world = World([idle([], "a", restart="temporary")]).start()
    crash(world, "a")
    world.run(60.0)
    assert world.state("a") == "stopped"


def test_a_message_for_nobody_is_refused_at_the_edge_and_counted_inside():
    world = World([spec("a", lambda: Passer("nobody"))]).start()
    with pytest.raises(Refused):
        world.tick("nobody", 1)
    world.tick("a", 1)
    world.run()
    assert world.supervisor.dead_letters == 1
    assert world.watcher.count("dead_letter", "nobody") == 1
    assert world.state("a") == "running"


def test_a_crash_in_recovery_is_tried_again_and_gives_up_in_the_end():
    class Broken(Counter):
        def recover(self, snapshot, records):
            raise RuntimeError("the past is unreadable")

    world = World([persistence(), spec("a", Broken), spec("b", Counter)], policy=SHORT)
    world.start(60.0)
    assert world.state("a") == "disabled"
    assert world.state("b") == "running"
    assert world.watcher.count("crashed", "a") == 4


def test_the_runtime_holds_its_actors():
    world = World([spec("a", lambda: Passer("out"))])
    out = world.supervisor.add_mailbox("out")
    world.start()
    gc.collect()
    world.tick("a", 1)
    world.run()
    assert world.received(out) == ["1"]


def test_who_asks_or_tells_by_a_raw_ref_is_refused_at_once_and_nothing_lies_in_an_inbox():
    world = World([spec("a", lambda: Passer("out"))]).start()
    actor = world.actor("a")
    with pytest.raises(Refused):
        actor.actor_ref.ask("anything", timeout=5.0)
    with pytest.raises(Refused):
        actor.actor_ref.tell("anything")
    with pytest.raises(Refused):
        actor.actor_ref.stop(timeout=5.0)
    assert actor.actor_inbox.empty()
    assert world.state("a") == "running"


def test_a_dead_incarnation_leaves_the_registry():
    world = World([spec("a", lambda: Passer("out"))]).start()
    old = world.actor("a").actor_ref
    world.supervisor.kill("a")
    world.run()
    registered = pykka.ActorRegistry.get_all()
    assert old not in registered
    assert not old.is_alive()
    assert world.actor("a").actor_ref in registered
    world.supervisor.stop(1.0)


def test_many_orders_in_one_step_are_one_commit_and_keep_their_order():
    world = World([spec("a", lambda: Passer("out"))])
    out = world.supervisor.add_mailbox("out")
    for number in range(40):
        world.tick("a", number)
    commits = []
    box = world.supervisor.mailbox("a")
    commit = box.commit
    box.commit = lambda *args: (commits.append(len(args[1])), commit(*args))[1]
    world.start().run(1.0)
    assert world.received(out) == [str(number) for number in range(40)]
    assert commits == [RUN_MAX, 40 - RUN_MAX]


def test_what_cannot_be_read_amid_a_step_is_parked_and_the_rest_takes_effect_once():
    world = World([persistence(), spec("a", lambda: Counter("out"))])
    out = world.supervisor.add_mailbox("out")
    world.tick("a", 1)
    world.supervisor.tell("a", CancelRequest("o1", "why"))
    world.tick("a", 2)
    world.start().run(1.0)
    assert world.received(out) == ["1", "2"]
    assert [event.arguments for _, _, event in world.journal.records] == ["1", "2"]
    assert [p.kind for p in world.supervisor.parking.list()] == ["CancelRequest"]
    assert world.watcher.count("crashed") == 0
