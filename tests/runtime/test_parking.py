"""What is parked is listed, given back or discarded, over restarts too, and takes effect once."""

from random import Random

import pytest
from toys import Counter, Passer, World, persistence, spec

from engine.envelope import decode_header
from engine.errors import Refused
from engine.logs import hider
from engine.messages import MessageParked, MessageSettled, PlaceOrder, Tick
from engine.messages.base import KEPT_BYTES_MAX
from engine.parking import PARKED_MAX
from engine.specs import RestartPolicy

SECRET = "canary-secret-5317"


class Fussy(Counter):
    """Counts, but cannot bear some numbers; the same for each incarnation."""

    def __init__(self, poison: set[str]) -> None:
        super().__init__()
        self.poison = poison

    def on_tick(self, message: Tick) -> None:
        super().on_tick(message)
        if message.argument in self.poison:
            raise ValueError(f"cannot bear {message.argument}, {SECRET}")


def fussy_world(poison, journal=None, **options):
    """A run on a journal, perhaps one that an earlier run was killed on."""
    specs = [persistence(), spec("a", lambda: Fussy(poison))]
    world = World(specs, parked_to="persistence", hide=hider([SECRET]), **options)
    if journal is not None:
        world.journal.records, world.journal.by_id = journal.records, journal.by_id
    return world.start(1.0)


def ids(world):
    return [parked.message_id for parked in world.supervisor.parking.list()]


def journaled(world, kind):
    return [event for _, _, event in world.journal.records if isinstance(event, kind)]


def counted(world):
    return [e.arguments for _, _, e in world.journal.records if hasattr(e, "arguments")]


def test_what_is_parked_is_listed_in_plain_words_with_its_attempts_and_traceback():
    world = fussy_world({"5"})
    world.tick("a", 5, message_id="p1")
    world.run(5.0)
    (parked,) = world.supervisor.parking.list()
    assert (parked.actor, parked.kind, parked.attempts, parked.retryable) == ("a", "Tick", 3, True)
    assert parked.text == "Tick: name t, argument 5"
    assert parked.error == "ValueError: cannot bear 5, ***"
    assert "in on_tick" in parked.traceback
    (event,) = journaled(world, MessageParked)
    assert event.attempts == 3
    assert event.traceback == parked.traceback
    assert decode_header(event.envelope).message_id == "p1"


def test_a_retry_takes_effect_once_and_is_journaled_in_the_same_breath():
    poison = {"5"}
    world = fussy_world(poison)
    world.tick("a", 5, message_id="p1")
    world.run(5.0)
    poison.clear()
    world.supervisor.parking.retry("p1", "uid 7")
    world.run(1.0)
    assert ids(world) == []
    assert counted(world) == ["5"]
    (settled,) = journaled(world, MessageSettled)
    assert (settled.actor, settled.message_id, settled.outcome) == ("a", "p1", "APPLIED")
    assert settled.who == "uid 7"
    records = [record_id.rpartition(".") for _, record_id, _ in world.journal.records[-2:]]
    assert records[0][0] == records[1][0], "one Append: neither is there without the other"
    with pytest.raises(Refused, match="NOT_FOUND"):
        world.supervisor.parking.retry("p1", "uid 7")


def test_an_actor_without_a_road_tells_the_journal_too():
    actors = []

    def passer():
        actors.append(Passer("out", RuntimeError, on="5" if len(actors) < 4 else "nothing"))
        return actors[-1]

    world = World([persistence(), spec("a", passer)], parked_to="persistence").start()
    world.supervisor.add_mailbox("out")
    world.tick("a", 5, message_id="p1")
    world.run(5.0)
    actors[-1].on = "nothing"
    world.supervisor.parking.retry("p1", "uid 7")
    world.run(1.0)
    assert [event.outcome for event in journaled(world, MessageSettled)] == ["APPLIED"]


def test_a_retry_that_fails_is_parked_again_and_counts_on():
    world = fussy_world({"5"})
    world.tick("a", 5, message_id="p1")
    world.run(5.0)
    for _ in range(2):
        world.supervisor.parking.retry("p1", "uid 7")
        world.run(20.0)
    assert [parked.attempts for parked in world.supervisor.parking.list()] == [9]
    assert [event.attempts for event in journaled(world, MessageParked)] == [3, 6, 9]
    assert journaled(world, MessageSettled) == []


def test_a_discarded_message_is_gone_with_who_and_why():
    world = fussy_world({"5"})
    world.tick("a", 5, message_id="p1")
    world.run(5.0)
    world.supervisor.parking.discard("p1", "uid 7", "a drill")
    world.run(1.0)
    (settled,) = journaled(world, MessageSettled)
    assert (settled.outcome, settled.who, settled.reason) == ("DISCARDED", "uid 7", "a drill")
    assert ids(world) == ids(fussy_world(set(), world.journal)) == []
    with pytest.raises(Refused, match="NOT_FOUND"):
        world.supervisor.parking.discard("p1", "uid 7", "again")


def test_after_a_kill_of_the_process_what_is_parked_is_there_and_can_be_retried():
    killed = fussy_world({"5", "6"})
    for number in (5, 6):
        killed.tick("a", number, message_id=f"p{number}")
    killed.run(9.0)
    before = killed.supervisor.parking.list()
    world = fussy_world(set(), killed.journal)
    assert world.supervisor.parking.list() == before
    world.supervisor.parking.retry("p6", "uid 7")
    world.run(1.0)
    assert counted(world) == ["6"]
    assert ids(world) == ids(fussy_world(set(), world.journal)) == ["p5"]


def test_a_retry_that_a_kill_overtakes_is_parked_still():
    killed = fussy_world({"5"})
    killed.tick("a", 5, message_id="p1")
    killed.run(5.0)
    killed.supervisor.parking.retry("p1", "uid 7")  # and nothing runs any more
    world = fussy_world(set(), killed.journal)
    assert ids(world) == ["p1"]
    world.supervisor.parking.retry("p1", "uid 7")
    world.run(1.0)
    assert counted(world) == ["5"]


def test_a_message_of_an_actor_that_this_core_has_not_can_only_be_discarded():
    killed = fussy_world({"5"})
    killed.tick("a", 5, message_id="p1")
    killed.run(5.0)
    world = World([persistence()], parked_to="persistence")
    world.journal.records, world.journal.by_id = killed.journal.records, killed.journal.by_id
    world.start(1.0)
    with pytest.raises(Refused, match="can only be discarded"):
        world.supervisor.parking.retry("p1", "uid 7")
    world.supervisor.parking.discard("p1", "uid 7", "that venue is gone")
    world.run(1.0)
    assert ids(world) == []


@pytest.mark.parametrize("why", ["large", "secret"])
def test_what_the_journal_may_not_keep_is_there_until_the_process_ends(why):
    poison = {SECRET, "5"}
    world = fussy_world(poison)
    argument = SECRET if why == "secret" else "5"
    sender = "x" * KEPT_BYTES_MAX if why == "large" else "edge"
    world.supervisor.tell("a", Tick("t", argument), message_id="p1", sender=sender)
    world.run(5.0)
    (event,) = journaled(world, MessageParked)
    assert event.envelope == b""
    assert SECRET not in repr(event)
    assert SECRET not in repr(world.supervisor.parking.list())
    restarted = fussy_world(set(), world.journal)
    assert [parked.retryable for parked in restarted.supervisor.parking.list()] == [False]
    with pytest.raises(Refused, match="was not kept"):
        restarted.supervisor.parking.retry("p1", "uid 7")


def test_parked_and_applied_are_what_was_received_whatever_is_poison(seed):
    rng = Random(seed)
    for _ in range(20):
        numbers = [str(number) for number in range(1, 30)]
        poison = set(rng.sample(numbers, 6))
        policy = RestartPolicy(max_restarts=9, backoff_initial_s=0.0)
        world = fussy_world(poison, seed=rng.randrange(10**6), policy=policy)
        for number in numbers:
            world.tick("a", int(number), message_id=f"p{number}")
        world.run(60.0)
        assert set(ids(world)) == {f"p{number}" for number in poison}
        assert counted(world) == [number for number in numbers if number not in poison]
        status = next(s for s in world.supervisor.tree() if s.name == "a")
        assert (status.restarts, status.state) == (3 * len(poison), "running")
        again = set(rng.sample(sorted(poison), 3))
        poison -= again
        for number in again:
            world.supervisor.parking.retry(f"p{number}", "uid 7")
        world.run(60.0)
        assert set(ids(world)) == {f"p{number}" for number in poison}
        assert sorted(counted(world)) == sorted(set(numbers) - poison)


def test_the_list_is_bounded_and_the_journal_still_has_the_rest():
    world = World(
        [persistence(), spec("a", lambda: Passer("out"))], parked_to="persistence"
    ).start()
    command = PlaceOrder("c", "okx", None, "BTC/USDT", "BUY", "LIMIT", "GTC", False, 1, 1, False,
                         "uid 7", "")  # fmt: skip
    for number in range(PARKED_MAX + 2):
        world.supervisor.tell("a", command, message_id=f"p{number}")
    world.run(1.0)
    assert len(ids(world)) == PARKED_MAX
    assert ids(world)[0] == "p2"
    assert len(journaled(world, MessageParked)) == PARKED_MAX + 2
