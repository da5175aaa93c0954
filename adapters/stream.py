"""One WebSocket link to a venue: kept up, watched, and renewed. The only importer of websocket.

Runs in a thread of its own until stopped. What frames mean is its handler's business. It proves
life by transport pings (or the venue's text ping), gives up on a link that does not answer, falls
silent or grows too old, and comes back after a backoff with full jitter, drawn from the injected
generator, that starts over once a link was healthy for a minute.
"""

import random
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, NamedTuple, Protocol
from urllib.parse import urlsplit

import websocket
from websocket._abnf import frame_buffer

from adapters.codec import FRAME_BYTES_MAX
from engine.clock import NS_PER_MS, NS_PER_S, Clock

BACKOFF_S_MIN: Final = 0.25
BACKOFF_S_MAX: Final = 30.0
HEALTHY_NS: Final = 60 * NS_PER_S
TICK_NS: Final = 50 * NS_PER_MS
RECV_S: Final = 0.05
# A frame beyond the codec's limit is read and refused there; one beyond this ends the link.
TRANSPORT_BYTES_MAX: Final = 16 * FRAME_BYTES_MAX
UNSENT_MAX: Final = 1000


class Watch(NamedTuple):
    """When a link counts as dead, in seconds; `idle_s` 0 means silence is normal."""

    connect_s: float
    ping_every_s: float
    ping_answer_s: float
    idle_s: float
    age_s: float


class Link(Protocol):
    """What a feed may ask of whatever keeps its connection up."""

    connections: int

    def send(self, texts: list[str]) -> None:
        """Queue frames."""
        ...

    def reconnect(self, reason: str) -> None:
        """End this connection and make a new one."""
        ...

    def give_up(self) -> None:
        """End for good: trying again does not help."""
        ...


class LinkHandler(Protocol):
    """What a link tells; all calls come from the link's thread."""

    def on_open(self) -> list[str]:
        """Return what to send first on a new connection."""
        ...

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Take one data frame."""
        ...

    def on_alive(self, mono_ns: int) -> None:
        """Something arrived that is no data: a ping or a pong."""
        ...

    def on_tick(self, mono_ns: int) -> None:
        """Some tens of milliseconds have passed."""
        ...

    def on_down(self, reason: str) -> None:
        """The connection is gone or could not be made."""
        ...


class NoAddress(Exception):
    """The venue did not tell where to connect to; `is_final`: asking again does not help."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final


class _LinkLost(Exception):
    # We or the venue ended this connection, for the reason given.
    pass


class _BoundedFrames(frame_buffer):
    def recv_length(self) -> None:
        super().recv_length()
        if self.length is not None and self.length > TRANSPORT_BYTES_MAX:
            raise websocket.WebSocketPayloadException(f"a frame of {self.length} bytes")


def text_frame(text: str) -> bytes:
    """Return a whole masked text frame, for whoever sends by himself."""
    frame = websocket.ABNF.create_frame(text, websocket.ABNF.OPCODE_TEXT)
    return bytes(frame.format())


def backoff_s(attempt: int, rng: random.Random) -> float:
    """Return 0.25 * 2^n seconds, at most 30, with full jitter."""
    ceiling: float = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(attempt, 20))
    return rng.random() * ceiling


class WsLink:
    """A link that is kept up. `run()` blocks until `stopping` is set or `give_up()` was called.

    `url` may be asked for before each connection, in the link's thread; it raises NoAddress. Such an
    address may be a login by itself: it is never told to anybody.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        handler: LinkHandler,
        *,
        clock: Clock,
        rng: random.Random,
        watch: Watch,
        stopping: threading.Event,
        ping_text: str | None = None,
        send_every_s: float = 0.0,
        stand_in: Callable[[Any], Any] | None = None,
    ) -> None:
        self._url = url
        self._handler = handler
        self._clock = clock
        self._rng = rng
        self._watch = watch
        self._stopping = stopping
        self._ping_text = ping_text
        self._send_every_ns = int(send_every_s * NS_PER_S)
        self._stand_in = stand_in
        self._unsent: deque[str] = deque(maxlen=UNSENT_MAX)
        self._ending = ""
        self._given_up = False
        self._sent_ns = self._pinged_ns = self._data_ns = self._opened_ns = self._ticked_ns = 0
        self._expires_ns = 0
        self._awaits_life = False
        self.connections = 0

    @property
    def opened_ns(self) -> int:
        """When the newest connection was made, in monotonic time; 0 before any."""
        return self._opened_ns

    def send(self, texts: list[str]) -> None:
        """Queue frames; the link's thread sends them, paced as the venue wants it."""
        self._unsent.extend(texts)

    def reconnect(self, reason: str) -> None:
        """End this connection and make a new one."""
        self._ending = reason or "asked to"

    def give_up(self) -> None:
        """End for good: trying again does not help."""
        self._given_up = True
        self._ending = self._ending or "given up"

    def run(self) -> None:
        """Keep the link up until stopped. Network trouble is handled here, nothing else is."""
        attempt = 0
        while not (self._stopping.is_set() or self._given_up):
            began_ns = self._clock.mono_ns()
            reason = self._hold()
            self._handler.on_down(reason)
            if self._clock.mono_ns() - began_ns >= HEALTHY_NS:
                attempt = 0
            if not self._given_up:
                self._stopping.wait(backoff_s(attempt, self._rng))
            attempt += 1

    # One connection from its opening to its end; returns why it ended.
    def _hold(self) -> str:
        self._unsent.clear()
        self._ending = ""
        link = None
        try:
            link = self._connect()
            self._read_on(link)
        except _LinkLost as lost:
            return str(lost)
        except NoAddress as none:
            if none.is_final:
                self.give_up()
            return str(none)
        except (websocket.WebSocketException, OSError) as error:
            if not isinstance(self._url, str) and self._is_secret(error):
                return type(error).__name__
            return f"{type(error).__name__}: {str(error)[:150]}"
        finally:
            if link is not None:
                link.shutdown()  # type: ignore[no-untyped-call]
        return "stopped"

    # An address that is made for one connection may be a secret, and an error may quote it.
    @staticmethod
    def _is_secret(error: Exception) -> bool:
        return "otp=" in str(error) or "token=" in str(error)

    def _connect(self) -> websocket.WebSocket:
        url = self._url if isinstance(self._url, str) else self._url()
        host = urlsplit(url).hostname or ""
        is_loopback = host in ("127.0.0.1", "localhost", "::1")
        link = websocket.WebSocket(
            skip_utf8_validation=True,
            enable_multithread=False,
            sockopt=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )
        link.settimeout(self._watch.connect_s)
        no_proxy = [host] if is_loopback else None
        try:
            link.connect(url, http_no_proxy=no_proxy)  # type: ignore[no-untyped-call]
        except ValueError as error:
            raise _LinkLost(f"no WebSocket answer: {str(error)[:150]}") from error
        link.frame_buffer = _BoundedFrames(link._recv, skip_utf8_validation=True)  # noqa: SLF001
        link.settimeout(RECV_S)
        if self._stand_in is not None:
            link.sock = self._stand_in(link.sock)
        now_ns = self._clock.mono_ns()
        self._opened_ns = self._pinged_ns = self._data_ns = self._ticked_ns = now_ns
        self._expires_ns = now_ns + int(
            self._watch.age_s * (1 - 0.1 * self._rng.random()) * NS_PER_S
        )
        self._sent_ns = 0
        self._awaits_life = False
        self.connections += 1
        self._unsent.extend(self._handler.on_open())
        return link

    def _read_on(self, link: websocket.WebSocket) -> None:
        while not self._stopping.is_set():
            try:
                opcode, frame = link.recv_data_frame(control_frame=True)
            except websocket.WebSocketTimeoutException:
                opcode, frame = -1, None
            now_ns = self._clock.mono_ns()
            if frame is not None:
                self._take(opcode, frame.data, now_ns)
            if self._ending:
                raise _LinkLost(self._ending)
            if self._unsent:
                self._send_one(link, now_ns)
            if now_ns - self._ticked_ns >= TICK_NS:
                self._ticked_ns = now_ns
                self._handler.on_tick(now_ns)
                self._look_after(link, now_ns)

    def _take(self, opcode: int, data: bytes, now_ns: int) -> None:
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
            words = data[2:100].decode("utf-8", "replace")
            raise _LinkLost(f"closed by the venue: {code} {words}".strip())
        self._awaits_life = False
        if opcode in (websocket.ABNF.OPCODE_TEXT, websocket.ABNF.OPCODE_BINARY):
            self._data_ns = now_ns
            self._handler.on_frame(data, self._clock.wall_ns(), now_ns)
        else:
            self._handler.on_alive(now_ns)

    def _send_one(self, link: websocket.WebSocket, now_ns: int) -> None:
        if now_ns - self._sent_ns >= self._send_every_ns:
            self._sent_ns = now_ns
            link.send(self._unsent.popleft())

    def _look_after(self, link: websocket.WebSocket, now_ns: int) -> None:
        watch = self._watch
        since_ping_ns = now_ns - self._pinged_ns
        if self._awaits_life and since_ping_ns > watch.ping_answer_s * NS_PER_S:
            raise _LinkLost(f"no answer to a ping for {watch.ping_answer_s:g} s")
        if watch.idle_s and now_ns - self._data_ns > watch.idle_s * NS_PER_S:
            raise _LinkLost(f"silent for {watch.idle_s:g} s")
        if now_ns > self._expires_ns:
            raise _LinkLost("renewed for its age")
        # One ping at a time: a younger one would give a silent venue more time, again and again.
        if since_ping_ns >= watch.ping_every_s * NS_PER_S and not self._awaits_life:
            self._pinged_ns = now_ns
            self._awaits_life = True
            if self._ping_text is None:
                link.ping()
            else:
                link.send(self._ping_text)
