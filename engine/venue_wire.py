"""What the core and a venue's process say to each other: frames over one private pair of sockets.

A frame is a 4-byte big-endian length and the MessagePack array [kind, key, body]. `kind` is a message
of the port, whose body is the message itself, still encoded; or one of the link's own, which begin
with `#`. `key` is a message's slot of conflation, the client_order_id of a submit's result, or the
request_id of a gate's. Writing never blocks; reading blocks up to the socket's patience, and silence
is counted in those, so that a suspended machine or process is not taken for a silent one.
"""

import socket
import struct
from collections import deque
from functools import lru_cache
from threading import Lock
from typing import Final, NamedTuple

import msgspec

from engine.envelope import ENVELOPE_MAX_BYTES, raw_body
from engine.errors import MessageError
from engine.messages.base import Lane, Message
from engine.messages.port import GateChanged, SubmitResult

CONFIGURE: Final = "#configure"  # core to process, first: everything it needs, secrets among it
START: Final = "#start"  # begin the session
STOP: Final = "#stop"  # end in order
ACK: Final = "#ack"  # so much market data was taken, and what it cost the core
BEAT: Final = "#beat"  # both ways: I am alive; from the process with its memory
LOG: Final = "#log"  # a line for the core's log

BEAT_S: Final = 0.5
CHUNK: Final = 262_144
HEADS_KEPT: Final = 4_096
_LENGTH: Final = struct.Struct(">I")


class Ended(Exception):
    """The other end is gone: it closed the socket or died."""


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One frame, its body still encoded."""

    kind: str
    key: str
    body: msgspec.Raw


class Ack(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Body of an ACK: how many frames of market data were taken, and how long that took."""

    frames: int
    cost_ns: int


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """Body of a LOG."""

    level: str
    text: str
    fields: dict[str, str]


_encoder: Final = msgspec.msgpack.Encoder()
_MARKET: Final = Lane.MARKET
_frames: Final = msgspec.msgpack.Decoder(Frame)


def encode_frame(kind: str, key: str, body: object = None) -> bytes:
    """Return the bytes of a frame of the link's own; `body` is any struct or plain data."""
    return _framed(_head(kind, key), _encoder.encode(body))


def encode_message(message: Message) -> bytes:
    """Return the bytes of a frame that carries a message. Raises MessageError if it is too large."""
    key = key_of(message)
    kind = type(message).__name__
    # Keys of market data are few and come again; those of orders are new each time.
    head = _head(kind, key) if message.lane is _MARKET else _head.__wrapped__(kind, key)
    return _framed(head, bytes(raw_body(message)))


def key_of(message: Message) -> str:
    """Return what the core must know of a message without reading it."""
    if isinstance(message, SubmitResult):
        return message.client_order_id
    if isinstance(message, GateChanged):
        return message.request_id
    return message.conflate_key() or ""


# The array [kind, key, body] up to its body.
@lru_cache(HEADS_KEPT)
def _head(kind: str, key: str) -> bytes:
    return b"\x93" + _encoder.encode(kind) + _encoder.encode(key)


def _framed(head: bytes, body: bytes) -> bytes:
    return _LENGTH.pack(len(head) + len(body)) + head + body


class Reader:
    """Reads whole frames. One reading thread."""

    def __init__(self, sock: socket.socket, patience_s: float) -> None:
        """Take a blocking socket; `patience_s` is how long one `read` waits."""
        self._sock = sock
        self._rest = b""
        self._chunk = bytearray(CHUNK)  # kept: to have so much allocated costs more than to read it
        self._view = memoryview(self._chunk)
        seconds = int(patience_s)
        micros = int((patience_s - seconds) * 1_000_000)
        # The kernel waits: a timeout of Python's would cost one more system call a read.
        sock.setblocking(True)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", seconds, micros))

    def read(self) -> list[Frame] | None:
        """Return the frames that have come, perhaps none yet whole; None when nothing came in time.

        Raises:
            Ended: the other end is gone, and everything it sent has been returned.
            MessageError: these are no frames.
        """
        try:
            size = self._sock.recv_into(self._chunk)
        except BlockingIOError:
            return None
        except ConnectionResetError:
            size = 0  # it died with something of ours unread; all of its own has been read
        except OSError as error:
            raise Ended(f"{type(error).__name__}: {error}") from error
        if not size:
            raise Ended("its end of the socket is closed")
        chunk = bytes(self._view[:size])
        data = self._rest + chunk if self._rest else chunk
        found: list[Frame] = []
        at = 0
        while len(data) - at >= _LENGTH.size:
            length: int = _LENGTH.unpack_from(data, at)[0]
            if length > ENVELOPE_MAX_BYTES:
                raise MessageError(f"venue process: a frame of {length} bytes")
            end = at + _LENGTH.size + length
            if len(data) < end:
                break
            found.append(_decode(data[at + _LENGTH.size : end]))
            at = end
        self._rest = data[at:]
        return found


def _decode(data: bytes) -> Frame:
    try:
        return _frames.decode(data)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise MessageError(f"venue process: {error}") from error


class _Piece(NamedTuple):
    data: bytes
    key: str


class Writer:
    """Sends frames without ever blocking; what the kernel does not take waits. Any thread."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._lock = Lock()
        self._waiting: deque[_Piece] = deque()
        self._sent = 0  # bytes of the first piece that have gone
        self._is_broken = False

    def send(self, data: bytes, key: str = "") -> bool:
        """Send, or keep for later; tell whether all has gone. `key` is what `unsent` calls it."""
        with self._lock:
            self._waiting.append(_Piece(data, key))
            return self._flush()

    def flush(self) -> bool:
        """Send what waits, as far as it goes; tell whether all has gone."""
        with self._lock:
            return self._flush()

    def unsent(self) -> list[str]:
        """Return the keys of what has not gone to its last byte: the other end cannot act on it."""
        with self._lock:
            return [piece.key for piece in self._waiting]

    def __len__(self) -> int:
        return len(self._waiting)

    def close(self) -> None:
        """Send nothing any more, and keep what waits as unsent."""
        with self._lock:
            self._is_broken = True

    def _flush(self) -> bool:
        waiting = self._waiting
        while waiting and not self._is_broken:
            data = waiting[0].data
            piece: bytes | memoryview = memoryview(data)[self._sent :] if self._sent else data
            try:
                self._sent += self._sock.send(piece, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            except OSError:
                self._is_broken = True  # the reader of this end learns why
                return False
            if self._sent == len(data):
                waiting.popleft()
                self._sent = 0
        return not waiting
