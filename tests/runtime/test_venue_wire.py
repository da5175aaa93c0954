"""The frames between the core and a venue's process: whole, in order, never blocking, to the last one."""

import random
import socket
from decimal import Decimal

import pytest

from engine.envelope import decode_body
from engine.errors import MessageError
from engine.messages.market import LinkAlive
from engine.messages.port import GateChanged, SubmitOrder, SubmitResult
from engine.venue_wire import (
    BEAT,
    Ended,
    Reader,
    Writer,
    encode_frame,
    encode_message,
)


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    yield ours, theirs
    ours.close()
    theirs.close()


def submit(number, text=""):
    return SubmitOrder(
        "v.main", f"id-{number}", f"BTC/USDT{text}", "BUY", "LIMIT", "GTC", False, Decimal("0.1"),
        Decimal(100), 0,
    )  # fmt: skip


def read_all(reader, count):
    found = []
    while len(found) < count:
        frames = reader.read()
        assert frames is not None, f"{len(found)} of {count}"
        found += frames
    return found


@pytest.mark.parametrize("seed", range(5))
def test_frames_cut_anywhere_arrive_whole_and_in_order(pair, seed):
    rng = random.Random(seed)
    ours, theirs = pair
    messages = [submit(n, "x" * rng.randrange(50)) for n in range(50)]
    data = b"".join(encode_message(m) for m in messages)
    reader = Reader(theirs, 5.0)
    found = []
    while data:
        size = rng.randrange(1, 300)
        ours.sendall(data[:size])
        data = data[size:]
        found += reader.read()
    assert [decode_body(f.kind, f.body) for f in found] == messages


def test_what_the_core_must_know_unread_is_the_frames_key(pair):
    ours, theirs = pair
    result = SubmitResult("v.main", "c-1", "UNKNOWN", None, "", "", "", 0, 0)
    for message in (result, GateChanged("r-1", "v", True), LinkAlive("v", 1), submit(1)):
        ours.sendall(encode_message(message))
    frames = read_all(Reader(theirs, 5.0), 4)
    assert [(f.kind, f.key) for f in frames] == [
        ("SubmitResult", "c-1"), ("GateChanged", "r-1"), ("LinkAlive", "l|v"), ("SubmitOrder", ""),
    ]  # fmt: skip


def test_a_full_kernel_never_blocks_the_writer_and_nothing_is_lost(pair):
    ours, theirs = pair
    writer = Writer(ours)
    sent = 0
    while writer.send(encode_message(submit(sent)), f"k-{sent}"):
        sent += 1
    for number in range(sent + 1, sent + 50):
        assert not writer.send(encode_message(submit(number)), f"k-{number}")
    assert writer.unsent() == [f"k-{n}" for n in range(sent, sent + 50)]
    reader, found = Reader(theirs, 5.0), []
    while len(found) < sent + 50:
        found += reader.read()
        writer.flush()
    assert writer.unsent() == []
    ids = [decode_body(f.kind, f.body).client_order_id for f in found]
    assert ids == [f"id-{n}" for n in range(sent + 50)]


def test_everything_a_dead_process_sent_is_read_before_its_end(pair):
    ours, theirs = pair
    ours.sendall(encode_frame(BEAT, ""))  # unread by the one that dies: a reset, not an end of file
    for number in range(100):
        theirs.sendall(encode_message(submit(number)))
    theirs.close()
    reader = Reader(ours, 5.0)
    assert len(read_all(reader, 100)) == 100
    with pytest.raises(Ended):
        reader.read()


def test_a_writer_to_a_dead_process_says_what_has_not_gone(pair):
    ours, theirs = pair
    theirs.close()
    writer = Writer(ours)
    assert not writer.send(encode_message(submit(1)), "one")
    assert not writer.send(encode_message(submit(2)), "two")
    assert writer.unsent() == ["one", "two"]


def test_silence_is_told_and_garbage_is_refused(pair):
    ours, theirs = pair
    reader = Reader(theirs, 0.01)
    assert reader.read() is None
    ours.sendall(b"\xff\xff\xff\xff")
    with pytest.raises(MessageError):
        reader.read()
    other, more = socket.socketpair()
    with other, more:
        other.sendall(b"\x00\x00\x00\x02\xc1\xc1")
        with pytest.raises(MessageError):
            Reader(more, 5.0).read()
