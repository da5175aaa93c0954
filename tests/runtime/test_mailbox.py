"""A mailbox belongs to an address: lanes, limits, epochs, duplicates."""

from random import Random

import pytest

from engine.envelope import SCHEMA, Envelope, encode, entry_of, raw_body
from engine.errors import Fenced, MessageError
from engine.mailbox import Mailbox, PutResult
from engine.messages import Tick
from engine.messages.base import Lane


def data(message_id: str, kind: str = "Tick") -> bytes:
    body = raw_body(Tick("t", message_id))
    return encode(Envelope(SCHEMA, 0, message_id, "", "", "s", "box", 1, 1, kind, body))


def put(box: Mailbox, message_id: str, lane: Lane = Lane.ORDERS, key: str | None = None):
    return box.put(data(message_id), lane=lane, key=key)


def drain(box: Mailbox, epoch: int) -> list[str]:
    found = []
    while (entry := box.peek(epoch)) is not None:
        found.append(entry.message_id)
        box.ack(epoch, (entry,))
    return found


def test_an_entry_stays_until_it_is_acknowledged():
    box = Mailbox("box")
    epoch = box.claim()
    assert put(box, "1") is PutResult.ACCEPTED
    first = box.peek(epoch)
    assert first is not None
    assert box.peek(epoch) is first
    assert (first.kind, first.lane) == ("Tick", Lane.ORDERS)
    assert encode(first.envelope) == data("1")
    box.ack(epoch, (first,))
    assert box.peek(epoch) is None


def test_control_comes_before_a_backlog_of_a_hundred_thousand():
    box = Mailbox("box", orders_limit=10**6)
    epoch = box.claim()
    for number in range(100_000):
        box.put(data(str(number)), lane=Lane.ORDERS)
    put(box, "m", Lane.MARKET)
    put(box, "halt", Lane.CONTROL)
    entry = box.peek(epoch)
    assert entry is not None
    assert entry.message_id == "halt"
    box.ack(epoch, (entry,))
    assert drain(box, epoch)[-1] == "m"


def test_a_successor_begins_with_the_message_that_was_not_acknowledged():
    box = Mailbox("box")
    old = box.claim()
    for number in range(5):
        put(box, str(number))
    box.peek(old)
    new = box.claim()
    assert box.depth()["orders"] == 5
    assert drain(box, new) == ["0", "1", "2", "3", "4"]


def test_an_old_epoch_can_take_commit_and_acknowledge_nothing():
    box = Mailbox("box")
    old = box.claim()
    put(box, "1")
    entry = box.peek(old)
    assert entry is not None
    box.claim()
    for touch in (
        lambda: box.peek(old),
        lambda: box.ack(old, (entry,)),
        lambda: box.commit(old, [entry], []),
        lambda: box.committed(old),
        lambda: box.peek_batch(old, frozenset({"Tick"}), 9),
    ):
        with pytest.raises(Fenced):
            touch()
    assert box.depth()["orders"] == 1
    assert entry.outputs is None


def test_an_entry_is_taken_once_whether_it_waits_or_was_handled_long_ago():
    box = Mailbox("box")
    epoch = box.claim()
    entry = entry_of(data("1"), Lane.ORDERS)
    assert box.accept(entry) is PutResult.ACCEPTED
    assert box.accept(entry) is PutResult.DUPLICATE
    assert drain(box, epoch) == ["1"]
    assert box.accept(entry) is PutResult.DUPLICATE
    assert drain(box, epoch) == []
    assert box.duplicates == 2


def test_market_data_conflates_in_its_place():
    box = Mailbox("box")
    epoch = box.claim()
    first = entry_of(data("a1"), Lane.MARKET, "a")
    box.accept(first)
    put(box, "b1", Lane.MARKET, "b")
    assert put(box, "a2", Lane.MARKET, "a") is PutResult.CONFLATED
    assert box.accept(first) is PutResult.DUPLICATE
    assert drain(box, epoch) == ["a2", "b1"]
    assert box.conflated == 1


def test_what_a_handler_holds_is_not_conflated_away():
    box = Mailbox("box")
    epoch = box.claim()
    put(box, "a1", Lane.MARKET, "a")
    entry = box.peek(epoch)
    assert put(box, "a2", Lane.MARKET, "a") is PutResult.ACCEPTED
    assert entry is not None
    assert entry.message_id == "a1"
    assert drain(box, epoch) == ["a1", "a2"]


def test_market_data_over_the_limit_drops_the_oldest_and_never_the_one_in_hand():
    box = Mailbox("box", market_limit=3)
    epoch = box.claim()
    for number in range(3):
        put(box, str(number), Lane.MARKET)
    box.peek(epoch)
    assert put(box, "3", Lane.MARKET) is PutResult.FULL
    assert drain(box, epoch) == ["0", "2", "3"]
    assert box.dropped == 1


@pytest.mark.parametrize("lane", [Lane.ORDERS, Lane.CONTROL])
def test_orders_and_control_over_the_limit_are_taken_and_counted(lane):
    box = Mailbox("box", orders_limit=10, control_limit=10)
    epoch = box.claim()
    results = [put(box, str(number), lane) for number in range(13)]
    assert results.count(PutResult.OVERFLOW) == 3
    assert box.overflow == 3
    assert len(drain(box, epoch)) == 13


def test_the_high_water_mark_is_seen_before_the_limit_and_goes_away():
    box = Mailbox("box", orders_limit=10)
    epoch = box.claim()
    for number in range(7):
        put(box, str(number))
    assert not box.above_high_water
    put(box, "7")
    assert box.above_high_water
    drain(box, epoch)
    assert not box.above_high_water


def test_a_put_fires_on_ready():
    fired = []
    box = Mailbox("box", on_ready=lambda: fired.append(1))
    put(box, "1")
    assert len(fired) == 1


def test_bytes_that_are_no_envelope_are_refused_at_the_door():
    box = Mailbox("box")
    with pytest.raises(MessageError):
        box.put(b"\xc1 no", lane=Lane.ORDERS)
    assert box.waiting() == 0


def test_a_batch_is_a_run_of_wanted_kinds_and_stops_at_the_first_other():
    box = Mailbox("box")
    epoch = box.claim()
    for number, kind in enumerate(["Append", "Append", "Barrier", "Append"]):
        box.put(data(str(number), kind), lane=Lane.ORDERS)
    wanted = frozenset({"Append"})
    assert [e.message_id for e in box.peek_batch(epoch, wanted, 100)] == ["0", "1"]
    assert [e.message_id for e in box.peek_batch(epoch, wanted, 1)] == ["0"]
    box.put(data("c", "Ping"), lane=Lane.CONTROL)
    assert box.peek_batch(epoch, wanted, 100) == []


@pytest.mark.parametrize("seed", range(20))
def test_any_mix_of_puts_crashes_and_acks_keeps_each_lane_in_order(seed):
    rng = Random(seed)
    box = Mailbox("box")
    epoch = box.claim()
    sent: dict[Lane, list[str]] = {Lane.CONTROL: [], Lane.ORDERS: []}
    got: dict[Lane, list[str]] = {Lane.CONTROL: [], Lane.ORDERS: []}
    for number in range(3_000):
        what = rng.random()
        if what < 0.5:
            lane = rng.choice(list(sent))
            box.put(data(str(number)), lane=lane)
            sent[lane].append(str(number))
        elif what < 0.6:
            epoch = box.claim()
        elif (entry := box.peek(epoch)) is not None and what < 0.95:
            box.ack(epoch, (entry,))
            got[entry.lane].append(entry.message_id)
    while (entry := box.peek(epoch)) is not None:
        box.ack(epoch, (entry,))
        got[entry.lane].append(entry.message_id)
    assert got == sent, f"seed {seed}"
