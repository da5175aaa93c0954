"""Barrier, fold, and the commit point."""

from random import Random

import pytest
from toys import BatchPersistence, Counter, ToyPersistence, World, persistence, spec

from engine.dispatch import CrashInjector


@pytest.mark.parametrize("kind", [ToyPersistence, BatchPersistence])
def test_a_chain_of_durable_actors_counts_each_message_once_in_order(kind):
    world = World(
        [
            persistence(kind),
            spec("b", Counter),
            spec("a", lambda: Counter("b")),
        ]
    )
    world.start()
    for number in range(100):
        world.tick("a", number)
    world.run()
    assert [s.state for s in world.supervisor.tree()] == ["running"] * 3
    assert world.actor("a").state == [str(n) for n in range(100)]
    assert world.actor("b").state == [str(n) for n in range(100)]
    assert world.journal.seq == 200


def test_a_restarted_actor_folds_what_it_had_decided_before_it_takes_mail():
    world = World([persistence(), spec("a", Counter)]).start()
    for number in range(10):
        world.tick("a", number)
    while len(world.actor("a").state) < 5:
        world.dispatcher.step()
    world.supervisor.kill("a")
    world.run()
    assert world.actor("a").incarnation == 2
    assert world.actor("a").state == [str(n) for n in range(10)]
    assert world.journal.seq == 10
    assert world.actor("a").folded_seq >= 5


def test_thousands_of_crashes_at_every_point_lose_double_and_reorder_nothing():
    faults = CrashInjector(Random(7), 0.0)
    world = World(
        [persistence(BatchPersistence), spec("b", Counter), spec("a", lambda: Counter("b"))],
        faults=faults,
    )
    world.start()
    faults.share = 0.2
    sent = 0
    while faults.total < 6_000:
        for _ in range(20):
            world.tick("a", sent)
            sent += 1
        world.run(1.0)
    faults.share = 0.0
    world.run(60.0)
    expected = [str(n) for n in range(sent)]
    assert set(faults.count) == {
        "before_handler",
        "in_handler",
        "before_flush",
        "mid_flush",
        "before_ack",
    }
    assert min(faults.count.values()) > 500
    for name in ("a", "b"):
        assert world.actor(name).state == expected
        mine = [e.arguments for _, _, e in world.journal.records if e.who == name]
        assert mine == expected
    assert world.supervisor.parking.list() == []
