"""A venue process's reports on their way: order events all and in order, market data the newest."""

import socket
import threading

import pytest
from waiting import wait_for

from adapters.outbox import BURST_NS, Outbox
from engine.clock import VirtualClock
from engine.envelope import decode_body
from engine.messages.market import VenueBook
from engine.messages.port import GateChanged, OrderReport
from engine.venue_wire import LogLine, Reader, Writer


@pytest.fixture
def core():
    """The core's end of the socket, which reads only when told to."""
    ours, theirs = socket.socketpair()
    yield Core(ours, theirs)
    ours.close()
    theirs.close()


class Core:
    def __init__(self, ours, theirs):
        self.clock = VirtualClock()
        self.reader = Reader(ours, 0.2)
        self.theirs = theirs

    def outbox(self, **more):
        return Outbox(self.theirs, Writer(self.theirs), self.clock, **more)

    def messages(self):
        """Return what has come by now."""
        found = []
        while frames := self.reader.read():
            found += [decode_body(f.kind, f.body) for f in frames if f.kind[0] != "#"]
        return found


def book(symbol, sequence, levels=1):
    return VenueBook(
        "v",
        symbol,
        "LIVE",
        "",
        1,
        1,
        *([number] * levels for number in (1, 2, 3, 4)),
        sequence,
        0,
        0,
        0,
    )


def report(number):
    return OrderReport(
        "v.main", f"id-{number}", f"v-{number}", "BTC/USDT", "BUY", "LIMIT", 1, 1, "NEW", 0, "x" * 500,
        "stream", 0,
    )  # fmt: skip


def sequences(messages, symbol):
    return [m.sequence for m in messages if isinstance(m, VenueBook) and m.symbol == symbol]


def test_one_book_a_key_is_on_its_way_and_the_newest_follows_when_it_was_taken(core):
    outbox = core.outbox()
    for number in range(100):
        outbox.put(book("A", number))
        outbox.put(book("B", number))
    first = core.messages()
    assert (sequences(first, "A"), sequences(first, "B")) == ([0], [0])
    outbox.taken(1, 0)
    second = core.messages()
    assert (sequences(second, "A"), sequences(second, "B")) == ([99], [])
    outbox.taken(2, 0)
    assert sequences(core.messages(), "B") == [99]


def test_a_venue_uses_its_share_of_the_core_and_no_more(core):
    outbox = core.outbox()
    outbox.set_share(0.25)
    cost_ns, second_ns = 100_000, 10**9
    taken, end_ns = 0, core.clock.mono_ns() + second_ns
    while core.clock.mono_ns() < end_ns:
        outbox.put(book("A", taken))
        while core.reader.read() if outbox._flying else False:
            taken += 1
            outbox.taken(1, cost_ns)
        core.clock.advance_ns(50_000)
    burst = BURST_NS * 0.25 / cost_ns
    assert taken * cost_ns == pytest.approx(0.25 * second_ns + burst * cost_ns, rel=0.05)


def test_a_book_after_quiet_goes_at_once_whatever_was_spent_before(core):
    outbox = core.outbox()
    outbox.set_share(0.1)
    outbox.put(book("A", 1))
    outbox.taken(1, 50_000_000)
    outbox.put(book("A", 2))
    assert sequences(core.messages(), "A") == [1]
    core.clock.advance_ns(500_000_000)
    outbox.put(book("A", 3))
    assert sequences(core.messages(), "A") == [3]


def test_a_core_that_reads_nothing_holds_up_no_public_data_and_loses_no_order_event(core):
    outbox = core.outbox()
    runner = threading.Thread(target=outbox.run, daemon=True)
    runner.start()
    for number in range(3000):  # far more than the kernel takes
        outbox.put(report(number))
        outbox.put(book("A", number, levels=50))
    assert len(outbox._lossless) > 1000
    found = []
    wait_for(lambda: found.extend(core.messages()) or len(found) >= 3001, "all reports")
    reports = [m for m in found if isinstance(m, OrderReport)]
    assert [m.client_order_id for m in reports] == [f"id-{n}" for n in range(3000)]
    outbox.close()
    runner.join(5)
    assert not runner.is_alive()


def test_a_gate_overtakes_reports_and_log_lines_come_last(core):
    outbox = core.outbox()
    number = 0
    while not outbox._lossless:
        outbox.put(report(number))
        number += 1
    outbox.log(LogLine("INFO", "hello", {}))
    outbox.put(report(number))
    outbox.put(GateChanged("r", "v", True))
    found = []
    while len(found) < number + 2:
        found += core.messages()
        outbox.taken(0, 0)
    assert isinstance(found[-3], GateChanged), "ahead of the two reports that still waited"


def test_who_brings_reports_from_the_venue_waits_for_room_and_who_answers_does_not(core):
    outbox = core.outbox(lossless_max=5)
    outbox.never_hold_up()
    number = 0
    while len(outbox._lossless) < 5:  # fill the kernel, then the queue
        outbox.put(report(number))
        number += 1
    outbox.put(report(number))  # this thread brings answers
    passed = threading.Event()

    def venue():
        outbox.put(report(number + 1))
        passed.set()

    thread = threading.Thread(target=venue, daemon=True)
    thread.start()
    wait_for(lambda: outbox._lock._waiters, "the venue's thread waits")
    assert not passed.is_set()
    found = []
    while len(found) < number + 2:
        found += core.messages()
        outbox.taken(0, 0)
    assert passed.wait(5)
    assert [m.client_order_id for m in found] == [f"id-{n}" for n in range(number + 2)]


def test_closing_lets_go_of_whoever_waits_and_sends_nothing_any_more(core):
    outbox = core.outbox(lossless_max=1)
    while not outbox._lossless:
        outbox.put(report(0))
    thread = threading.Thread(target=lambda: outbox.put(report(1)), daemon=True)
    thread.start()
    wait_for(lambda: outbox._lock._waiters, "the thread waits")
    outbox.close()
    thread.join(5)
    assert not thread.is_alive()
    core.messages()
    outbox.put(report(2))
    outbox.put(book("A", 1))
    assert core.messages() == []
