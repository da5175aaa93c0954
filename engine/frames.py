"""The frames of the control socket, and how to reach that socket whatever the length of its path.

A frame is a 4-byte big-endian length and one MessagePack map of plain data: null, booleans, integers,
finite floats, text, lists and maps with text keys. Everything else is refused by name. Shared by
the server and the clients; it knows nothing of operations.
"""

import math
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NoReturn

import msgpack

from engine.errors import MessageError

SOCKET_NAME: Final = "control.sock"
REQUEST_MAX_BYTES: Final = 1_048_576
ANSWER_MAX_BYTES: Final = 16 * 1_048_576
DEPTH_MAX: Final = 16
ITEMS_MAX: Final = 200_000
HEADER: Final = struct.Struct(">I")

_PLAIN: Final = (type(None), bool, int, float, str)


def encode_frame(value: dict[str, Any], max_bytes: int = ANSWER_MAX_BYTES) -> bytes:
    """Return the bytes of one frame.

    Raises:
        MessageError: the value is not plain data, or larger than `max_bytes`.
    """
    try:
        body: bytes = msgpack.packb(value, use_bin_type=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise MessageError(f"frame: {error}") from None
    if len(body) > max_bytes:
        raise MessageError(f"frame: {len(body)} bytes, more than {max_bytes}")
    return HEADER.pack(len(body)) + body


def frame_length(header: bytes, max_bytes: int) -> int:
    """Return the length that a header announces.

    Raises:
        MessageError: it is empty or more than `max_bytes`.
    """
    length: int = HEADER.unpack(header)[0]
    if not 0 < length <= max_bytes:
        raise MessageError(f"frame: {length} bytes announced, 1 to {max_bytes} are allowed")
    return length


def decode_body(body: bytes) -> dict[str, Any]:
    """Return the map inside a frame.

    Raises:
        MessageError: malformed, nested too deep, or with a value that plain data does not have.
    """
    size = len(body)
    try:
        value = msgpack.unpackb(
            body,
            raw=False,
            strict_map_key=True,
            max_str_len=size,
            max_bin_len=0,
            max_array_len=ITEMS_MAX,
            max_map_len=ITEMS_MAX,
            max_ext_len=0,
            ext_hook=_refuse_extension,
            object_pairs_hook=_each_key_once,
        )
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MessageError(f"frame: not MessagePack of plain data: {error}"[:300]) from None
    if not isinstance(value, dict):
        raise MessageError(f"frame: a {type(value).__name__} instead of a map")
    _check_plain(value)
    return value


def read_frame(sock: socket.socket, max_bytes: int = ANSWER_MAX_BYTES) -> dict[str, Any] | None:
    """Return the next frame of a blocking socket, None at its orderly end.

    Raises:
        MessageError: the bytes are no frame, or the stream ends inside one.
        OSError: the socket failed or timed out.
    """
    header = _read_exactly(sock, HEADER.size)
    if header is None:
        return None
    body = _read_exactly(sock, frame_length(header, max_bytes))
    if body is None:
        raise MessageError("frame: the stream ended inside it")
    return decode_body(body)


@contextmanager
def socket_path(state_dir: Path) -> Iterator[str]:
    """Give a short path of the socket in `state_dir`: a Unix socket's own is limited to 107 bytes."""
    folder = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{SOCKET_NAME}"
    finally:
        os.close(folder)


def connect(state_dir: Path, timeout_s: float) -> socket.socket:
    """Return a socket connected to the core of `state_dir`. Raises OSError.

    The kernel does the waiting: a non-blocking connect to a full queue would fail at once.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(timeout_s))
        with socket_path(state_dir) as path:
            sock.connect(path)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(0.0))
        sock.settimeout(timeout_s)
    except BaseException:
        sock.close()
        raise
    return sock


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1_000_000))


def _read_exactly(sock: socket.socket, size: int) -> bytes | None:
    data = bytearray()
    while len(data) < size:
        piece = sock.recv(min(size - len(data), 262_144))
        if not piece:
            if data:
                raise MessageError("frame: the stream ended inside it")
            return None
        data += piece
    return bytes(data)


def _refuse_extension(code: int, _data: bytes) -> NoReturn:
    raise ValueError(f"extension type {code}")


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    built = dict(pairs)
    if len(built) != len(pairs):
        raise ValueError("a key appears twice in one map")
    return built


# Walks without recursion, so that depth is counted and not suffered.
def _check_plain(root: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(root, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEPTH_MAX:
            raise MessageError(f"frame: nested deeper than {DEPTH_MAX}")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise MessageError("frame: a map's keys should be text")
            waiting.extend((item, depth + 1) for item in value.values())
        elif isinstance(value, list):
            waiting.extend((item, depth + 1) for item in value)
        elif not isinstance(value, _PLAIN):
            raise MessageError(f"frame: a {type(value).__name__} is not plain data")
        elif isinstance(value, float) and not math.isfinite(value):
            raise MessageError("frame: NaN and infinities are not numbers here")
