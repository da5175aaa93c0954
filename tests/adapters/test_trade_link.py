"""The trading link on a real socket, without a venue: what is in flight ends once, whatever happens."""

import json
import socket

import pytest

from adapters.codec import Credentials, RestCall, Secret
from adapters.offset import ClockOffset
from adapters.okx_trade import OkxTrade
from adapters.registry import Timeouts, VenueConfig
from adapters.trade_codec import Answer, Lost
from adapters.trade_link import IN_FLIGHT_MAX, SendFailed, TradeLink
from engine.clock import NS_PER_S, VirtualClock
from engine.messages.port import LinkChanged

CONFIG = VenueConfig("okx", "okx", "okx.main", ("BTC/USDT",), timeouts=Timeouts(link_age_s=1000))
CALL = RestCall("privatePostTradeCancelOrder", {"instId": "BTC-USDT", "clOrdId": "c" * 32}, {})
LOGGED_IN = b'{"event":"login","code":"0","msg":""}'


class Wire:
    """A link that is logged in, its far end, and everything that was told."""

    def __init__(self):
        self.clock = VirtualClock()
        offset = ClockOffset(self.clock)
        now_ns = self.clock.mono_ns()
        offset.update([(now_ns - 1000, now_ns, 1_700_000_000_000)])
        self.told, self.ends, self.refused, self.reasons = [], [], [], []
        codec = OkxTrade(Credentials(Secret("k"), Secret("s"), Secret("p")), {})
        self.link = TradeLink(
            CONFIG, codec, clock=self.clock, offset=offset, deliver=self.told.append,
            ask_clock=lambda: None, on_auth=self.refused.append,
        )  # fmt: skip
        self.link.link = self
        self.open()

    def open(self):
        ours, self.theirs = socket.socketpair()
        self.socket = self.link.stand_in(ours)
        assert json.loads(self.link.on_open()[0])["op"] == "login"
        assert not self.link.is_up
        self.frame(LOGGED_IN)
        assert self.link.is_up

    def reconnect(self, reason):
        self.reasons.append(reason)

    def give_up(self):
        self.reasons.append("given up")

    def frame(self, raw):
        self.link.on_frame(raw, 0, 0)

    def request(self, answer_s=10.0):
        def on_end(request, end):
            self.ends.append((request.request_id, end))

        return self.link.request(CALL, answer_s, on_end)

    def send(self, **more):
        request = self.request(**more)
        assert self.link.send(request)
        return request

    def answer(self, request, code="0"):
        row = {"sCode": "0", "ordId": "1", "clOrdId": "c" * 32}
        rows = [row] if code == "0" else []
        self.frame(json.dumps({"id": request.request_id, "op": "x", "code": code, "msg": "",
                               "data": rows}).encode())  # fmt: skip


@pytest.fixture
def wire():
    made = Wire()
    yield made
    made.socket.close()
    made.theirs.close()


def test_an_answer_ends_its_own_request_once(wire):
    first, second = wire.send(), wire.send()
    wire.answer(second)
    wire.answer(second)
    wire.answer(first)
    assert [name for name, _ in wire.ends] == [second.request_id, first.request_id]
    assert all(isinstance(end, Answer) and end.is_done for _, end in wire.ends)
    assert wire.link.problems["unsolicited"] == 1
    assert wire.link.settle(0)


def test_the_end_of_the_connection_ends_everything_and_what_follows_is_not_sent(wire):
    requests = [wire.send() for _ in range(3)]
    wire.link.on_down("gone")
    assert [name for name, _ in wire.ends] == [r.request_id for r in requests]
    assert all(isinstance(end, Lost) and "gone" in end.text for _, end in wire.ends)
    assert not wire.link.send(wire.request())
    wire.open()
    wire.answer(requests[0])  # words of another connection
    assert len(wire.ends) == 3


def test_a_socket_that_takes_no_more_fails_the_send_and_nothing_else(wire):
    sent = []

    def fill():
        while True:
            sent.append(wire.send())

    with pytest.raises(SendFailed):
        fill()
    assert (
        wire.ends == []
    )  # the failed one is the caller's to end; the others wait for the link's end
    assert not wire.link.send(wire.request())
    wire.link.on_down("cut")
    assert len(wire.ends) == len(sent)


def test_no_more_are_in_flight_than_there_may_be(wire):
    first = wire.send()
    for _ in range(IN_FLIGHT_MAX - 1):
        wire.theirs.recv(65536)
        wire.send()
    assert not wire.link.send(wire.request())
    wire.answer(first)
    assert wire.link.send(wire.request())


def test_who_may_not_begin_is_forgotten(wire):
    assert wire.link.send(wire.request(), lambda: False)
    assert wire.link.settle(0)
    wire.theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        wire.theirs.recv(1)


def test_a_late_answer_is_told_after_the_timeout(wire):
    late = []
    request = wire.link.request(CALL, 0.0, lambda r, end: wire.ends.append(end), late.append)
    assert wire.link.send(request)
    wire.link.on_tick(wire.clock.mono_ns() + NS_PER_S)
    assert [type(end) for end in wire.ends] == [Lost]
    wire.answer(request)
    assert [answer.request_id for answer in late] == [request.request_id]
    assert len(wire.ends) == 1


def test_a_login_that_has_run_out_makes_a_new_one_once_all_is_answered(wire):
    first, second = wire.send(), wire.send()
    wire.answer(first, code="60011")
    assert not wire.link.is_up  # what comes now takes the other road
    wire.link.on_tick(wire.clock.mono_ns())
    assert wire.reasons == []
    wire.answer(second)
    wire.link.on_tick(wire.clock.mono_ns())
    assert len(wire.reasons) == 1
    wire.link.on_down(wire.reasons[0])
    wire.open()
    assert wire.link.send(wire.request())


def test_a_refused_login_is_told_and_not_tried_again(wire):
    wire.link.on_down("x")
    wire.socket = wire.link.stand_in(socket.socketpair()[0])
    wire.link.on_open()
    wire.frame(b'{"event":"error","code":"60005","msg":"Invalid apiKey"}')
    assert wire.refused == ["60005 Invalid apiKey"]
    assert wire.reasons == ["given up"]


def test_a_link_that_nobody_looked_after_is_not_trusted_until_it_is_made_anew(wire):
    """As after SIGSTOP or a suspended machine: it may be half open, and pings tell only later."""
    in_flight = wire.send()
    request = wire.request()
    wire.clock.advance_ns(4 * NS_PER_S)
    assert not wire.link.is_up, "before the link's own thread has noticed"
    assert not wire.link.send(request)
    wire.link.on_tick(wire.clock.mono_ns())
    assert not wire.link.is_up
    assert wire.reasons == [], "what is in flight may be answered yet"
    wire.answer(in_flight)
    wire.link.on_tick(wire.clock.mono_ns())
    assert wire.reasons == ["not looked after for 4.0 s: perhaps half open"]
    wire.link.on_down("as asked")
    wire.open()
    wire.clock.step_wall_ns(60 * NS_PER_S)  # the monotonic clock was suspended with the machine
    wire.link.on_tick(wire.clock.mono_ns())
    assert not wire.link.is_up


def test_the_state_is_told_when_it_changes(wire):
    wire.link.on_down("first")
    wire.link.on_down("second")
    states = [(m.link, m.up) for m in wire.told if isinstance(m, LinkChanged)]
    assert states == [("trade", True), ("trade", False)]
