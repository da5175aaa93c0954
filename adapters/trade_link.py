"""The trading link: requests out from any thread, answers matched by id in the link's own.

`send` never waits: it sends in the caller's thread, or says that nothing left. From the moment the
send call begins a request ends in exactly one way: with its answer, or as lost, when the answer is
late, when the connection ends, or when the socket did not take it whole. A late answer is still told
as long as its connection lasts. What an ending means for an order is not decided here.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from adapters.codec import Acked, Denied, Problem, Reconnect, RestCall
from adapters.offset import ClockOffset
from adapters.registry import VenueConfig
from adapters.shared_socket import SharedSocket
from adapters.stream import RECV_S, text_frame
from adapters.trade_codec import Answer, Lost, TradeCodec
from engine.clock import NS_PER_S, Clock
from engine.errors import Refused
from engine.messages.base import Message
from engine.messages.port import LinkChanged

if TYPE_CHECKING:
    from adapters.stream import WsLink

IN_FLIGHT_MAX: Final = 1000
LATE_MAX: Final = 1000
EXPIRES_MS: Final = 5000
# A link whose thread has not looked for so long has been suspended with its process, or is stuck: it
# may be half open by now, and is not trusted before a new connection has proven itself.
SUSPENDED_NS: Final = 3 * NS_PER_S
# Renewed between requests at this part of the age that a link may reach.
RENEWED_AT: Final = 0.8


class SendFailed(Exception):
    """The send call began and did not end well: something may have left."""


@dataclass(slots=True)
class Request:
    """One request on its way. `on_end` is called once, `on_late` for an answer after a timeout."""

    frame: bytes
    request_id: str
    deadline_ns: int
    on_end: Callable[["Request", Answer | Lost], None]
    on_late: Callable[[Answer], None]
    sent_wall_ns: int = 0

    def end(self, how: Answer | Lost) -> None:
        """Tell how it ended."""
        self.on_end(self, how)


class TradeLink:
    """Requests in flight on one connection to the venue. Thread safe; it is its WsLink's handler."""

    def __init__(
        self,
        config: VenueConfig,
        codec: TradeCodec,
        *,
        clock: Clock,
        offset: ClockOffset,
        deliver: Callable[[Message], None],
        ask_clock: Callable[[], None],
        on_auth: Callable[[str], None],
    ) -> None:
        self._config = config
        self._codec = codec
        self._clock = clock
        self._offset = offset
        self._deliver = deliver
        self._ask_clock = ask_clock
        self._on_auth = on_auth
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._numbers = count(1)
        self._socket: SharedSocket | None = None
        self._is_ready = False
        self._ending = ""  # why no new request is taken: the link ends when the last is answered
        self._opened_ns = 0
        self._looked_ns = self._looked_wall_ns = 0
        self._down_told = False
        self._in_flight: dict[str, Request] = {}
        self._late: OrderedDict[str, Request] = OrderedDict()
        self.link: WsLink | None = None
        self.problems: Counter[str] = Counter()
        self.last_problem = ""

    # --- out

    @property
    def is_up(self) -> bool:
        """Whether a request would be sent now: connected, watched, authenticated, not about to end."""
        is_watched = self._clock.mono_ns() - self._looked_ns < SUSPENDED_NS
        return self._is_ready and not self._ending and is_watched

    def request(
        self,
        call: RestCall,
        answer_s: float,
        on_end: Callable[[Request, Answer | Lost], None],
        on_late: Callable[[Answer], None] = lambda _: None,
    ) -> Request | None:
        """Return the request for this call, signed now; None if it cannot go over this link."""
        request_id = str(next(self._numbers))
        try:
            now_ms = self._offset.now_ms()
        except Refused:
            return None
        text = self._codec.request(request_id, call, now_ms, EXPIRES_MS)
        if text is None:
            return None
        deadline_ns = self._clock.mono_ns() + int(answer_s * NS_PER_S)
        return Request(text_frame(text), request_id, deadline_ns, on_end, on_late)

    def send(self, request: Request, begin: Callable[[], bool] = lambda: True) -> bool:
        """Send now, in this thread; False: nothing left and nothing will. Never waits.

        `begin` is asked last; if it says no, the request is dropped and forgotten. SendFailed means
        that it may have left, and that `on_end` will not be called.
        """
        with self._lock:
            sock = self._socket
            if sock is None or not sock.is_open or not self.is_up:
                return False
            if len(self._in_flight) >= IN_FLIGHT_MAX:
                return False
            if not begin():
                return True
            self._in_flight[request.request_id] = request
            request.sent_wall_ns = self._clock.wall_ns()
            try:
                sock.send(request.frame)
            except OSError as error:
                del self._in_flight[request.request_id]
                raise SendFailed(f"{type(error).__name__}: {str(error)[:150]}") from error
        return True

    def settle(self, timeout_s: float) -> bool:
        """Wait until nothing is in flight; False if something still is after the timeout."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._in_flight, timeout_s)

    # --- in: the link's thread

    def stand_in(self, sock: Any) -> SharedSocket:
        """Return what the link uses in place of a new connection's socket."""
        with self._lock:
            self._socket = SharedSocket(sock, self._lock, RECV_S)
            return self._socket

    def on_open(self) -> list[str]:
        """Log in where the venue wants it; else the link is up."""
        self._opened_ns = self._looked_ns = self._clock.mono_ns()
        self._looked_wall_ns = self._clock.wall_ns()
        try:
            frames = self._codec.login(self._offset.now_ms())
        except Refused as refused:
            self._ask_clock()
            self._reconnect(refused.text)
            return []
        if not self._codec.needs_login:
            self._up("connected")
        return frames

    def on_alive(self, mono_ns: int) -> None:
        """Nothing to tell."""

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Match an answer with its request, or take what the venue says of the link."""
        del wall_ns, mono_ns
        event = self._codec.on_frame(raw)
        if isinstance(event, Answer):
            self._answered(event)
        elif isinstance(event, Acked):
            self._up("logged in")
        elif isinstance(event, Denied):
            self._on_auth(event.text)
            if self.link is not None:
                self.link.give_up()
        elif isinstance(event, Reconnect):
            if not self._is_ready:
                self._ask_clock()  # the likeliest reason of a refused login that patience mends
            self._end_soon(event.reason)
        elif isinstance(event, Problem):
            self.problems[event.code] += 1
            self.last_problem = event.text

    def _answered(self, answer: Answer) -> None:
        if answer.code in self._codec.relogin_codes:
            self._end_soon(f"logged out: {answer.message}")
        with self._lock:
            request = self._in_flight.pop(answer.request_id, None)
            late = None if request is not None else self._late.pop(answer.request_id, None)
            self._idle.notify_all()
        if request is not None:
            request.end(answer)
        elif late is not None:
            late.on_late(answer)
        else:
            self.problems["unsolicited"] += 1

    def on_tick(self, mono_ns: int) -> None:
        """Give up on late answers; renew the link in a quiet moment; a login needs an answer."""
        self._look(mono_ns)
        self._expire(mono_ns)
        since_open_s = (mono_ns - self._opened_ns) / NS_PER_S
        if since_open_s > self._config.timeouts.link_age_s * RENEWED_AT:
            self._end_soon("renewed for its age")
        if not self._is_ready and since_open_s > self._config.timeouts.sync_s:
            self._reconnect("login was not acknowledged")
        if self._ending and not self._in_flight:
            self._reconnect(self._ending)

    # A suspended machine stops the monotonic clock, too: the wall clock tells of that.
    def _look(self, mono_ns: int) -> None:
        wall_ns = self._clock.wall_ns()
        away_ns = max(mono_ns - self._looked_ns, wall_ns - self._looked_wall_ns)
        if away_ns >= SUSPENDED_NS:
            self._ask_clock()  # what was estimated against a clock that stood still is wrong
            self._end_soon(f"not looked after for {away_ns / NS_PER_S:.1f} s: perhaps half open")
        self._looked_ns, self._looked_wall_ns = mono_ns, wall_ns

    def _expire(self, mono_ns: int) -> None:
        with self._lock:
            expired = [r for r in self._in_flight.values() if mono_ns > r.deadline_ns]
            for request in expired:
                del self._in_flight[request.request_id]
                self._late[request.request_id] = request
            while len(self._late) > LATE_MAX:
                self._late.popitem(last=False)
            self._idle.notify_all()
        for request in expired:
            request.end(Lost("ReadTimeout", "no answer over the trading link in time"))

    def on_down(self, reason: str) -> None:
        """The connection is gone: what was in flight on it is answered at once."""
        with self._lock:
            was_up, self._is_ready = self._is_ready, False
            self._socket = None
            self._ending = ""
            lost = list(self._in_flight.values())
            self._in_flight.clear()
            self._late.clear()
            self._idle.notify_all()
        for request in lost:
            request.end(Lost("ConnectionError", f"the trading link was lost: {reason[:200]}"))
        if was_up or not self._down_told:
            self._tell(reason[:300], up=False)
        self._down_told = True

    def republish(self) -> None:
        """Tell the link's state anew."""
        self._tell("republished", up=self._is_ready)

    def _up(self, why: str) -> None:
        self._is_ready, self._down_told = True, False
        self._tell(why, up=True)

    def _tell(self, why: str, *, up: bool) -> None:
        now_ns = self._clock.mono_ns()
        self._deliver(LinkChanged(self._config.name, "trade", up, why, now_ns))

    def _end_soon(self, reason: str) -> None:
        with self._lock:
            self._ending = self._ending or reason

    def _reconnect(self, reason: str) -> None:
        if self.link is not None:
            self.link.reconnect(reason)
