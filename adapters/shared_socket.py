"""A connected socket that one thread reads and any thread may write to, without ever waiting to write.

Sending holds a lock for one system call: a frame leaves whole at once, or the connection is cut. So
nothing is queued that could leave later, and no caller is held up by a venue that does not read. The
reader waits for bytes outside the lock and takes them inside it, because TLS cannot be read and
written at the same moment. The lock is shared with whoever keeps count of what was sent.
"""

import select
import socket
import ssl
import struct
from contextlib import AbstractContextManager, suppress
from typing import Any, Final

CHUNK_BYTES: Final = 65_536
_NOT_NOW: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


class SharedSocket:
    """Stands in for a connected TCP or TLS socket; `recv` waits at most `wait_s` for bytes."""

    def __init__(self, sock: Any, lock: AbstractContextManager[Any], wait_s: float) -> None:
        sock.settimeout(0)
        self._sock = sock
        self._lock = lock
        self._wait_s = wait_s
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._held, self._at = b"", 0
        self.is_open = True

    def send(self, data: bytes) -> int:
        """Send all of it now, or cut the connection and raise ConnectionError. Never waits."""
        with self._lock:
            if not self.is_open:
                raise ConnectionError("the connection has ended")
            try:
                sent = self._sock.send(data)
            except _NOT_NOW:
                sent = 0
            except OSError:
                self._cut()
                raise
            if sent == len(data):
                return len(data)
            self._cut()
        raise ConnectionError(f"the connection took {sent} of {len(data)} bytes")

    def recv(self, size: int) -> bytes:
        """Return at most `size` bytes, none at the end; TimeoutError if none came in time.

        Only one thread may read.
        """
        if self._at == len(self._held):
            self._held, self._at = self._fill(), 0
        part = self._held[self._at : self._at + size]
        self._at += len(part)
        return part

    def _fill(self) -> bytes:
        if not self._poll.poll(self._wait_s * 1000):
            raise TimeoutError
        with self._lock:
            if not self.is_open:
                return b""
            try:
                data = bytes(self._sock.recv(CHUNK_BYTES))
            except _NOT_NOW:
                raise TimeoutError from None
            self.is_open = data != b""
            return data

    # The reader wakes at once and sees the end; what the kernel still holds is thrown away.
    def _cut(self) -> None:
        self.is_open = False
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close it; nothing can be sent from here on."""
        with self._lock:
            self.is_open = False
            self._sock.close()

    def gettimeout(self) -> float:
        """Return how long `recv` waits."""
        return self._wait_s

    def fileno(self) -> int:
        """Return the descriptor."""
        return int(self._sock.fileno())
