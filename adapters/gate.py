"""The last gate before the socket, and the connection that asks it.

The gate is held while the first bytes of an order are written. Closing it takes the same lock, so
once `close` has returned, no order that was waiting (in a queue, for tokens, for a connection) can
reach the socket any more.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from engine.clock import Clock
from engine.messages.port import SetGate, SubmitOrder


class GateShut(Exception):
    """The gate did not let this order through: provably nothing was sent."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text


class GateBusy(Exception):
    """Somebody is passing the gate or setting it; nothing was sent."""


def _no_fence() -> bool:
    return False


class Gate:
    """Open at birth; closed for everything or for some symbols. It survives adapter restarts.

    While `fenced` says so nothing passes either: the HALT file, which needs no core to close the gate.
    """

    def __init__(self, clock: Clock, fenced: Callable[[], bool] = _no_fence) -> None:
        self._clock = clock
        self._fenced = fenced
        self._lock = threading.Lock()
        self._all_closed = False
        self._shut = False
        self._closed: set[str] = set()
        self._reduce_only = False
        self._reduce_symbols: set[str] = set()

    def set(self, order: SetGate) -> None:
        """Be as told from here on: closed for everything, for symbols, or for what does not reduce."""
        with self._lock:
            self._all_closed = order.closed
            self._closed = set(order.symbols)
            self._reduce_only = order.reduce_only
            self._reduce_symbols = set(order.reduce_symbols)

    def shut(self) -> None:
        """Close for good: its session has ended, and nothing that still waits in it may leave."""
        with self._lock:
            self._shut = True

    def successor(self) -> "Gate":
        """Return the gate of the next session, as far closed as this one, and shut this one."""
        after = Gate(self._clock, self._fenced)
        with self._lock:
            self._shut = True
            after._all_closed, after._closed = self._all_closed, set(self._closed)
            after._reduce_only = self._reduce_only
            after._reduce_symbols = set(self._reduce_symbols)
        return after

    @contextmanager
    def passing(self, order: SubmitOrder, *, wait: bool = True) -> Iterator[None]:
        """Hold the gate open for one write, or raise GateShut; without `wait` perhaps GateBusy."""
        symbol = order.symbol
        if not self._lock.acquire(blocking=wait):
            raise GateBusy
        try:
            if self._shut:
                raise GateShut("session_ended", "the session that had this order has ended")
            if self._all_closed or symbol in self._closed:
                raise GateShut("gate_closed", f"the gate is closed for {symbol}")
            if not order.reduces and (self._reduce_only or symbol in self._reduce_symbols):
                raise GateShut("gate_closed", f"{symbol} is reduce-only, and this does not reduce")
            if self._fenced():
                raise GateShut("halt_file", "the HALT file stands in the state folder")
            if self._clock.mono_ns() >= order.expires_mono_ns:
                raise GateShut("expired", "the order waited longer than its approval lasts")
            yield
        finally:
            self._lock.release()


class Sending:
    """What one worker's connections ask before the first byte of a request, and remember."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.gate: Callable[[], AbstractContextManager[None]] | None = None
        self.left = False
        self.left_wall_ns = 0

    def reset(self, gate: Callable[[], AbstractContextManager[None]] | None) -> None:
        """Prepare for one request."""
        self.gate = gate
        self.left = False
        self.left_wall_ns = 0

    @contextmanager
    def leaving(self) -> Iterator[None]:
        """Let the first bytes of a request out, if the gate agrees."""
        if self.gate is None:
            self._mark()
            yield
            return
        with self.gate():
            self._mark()
            yield

    def _mark(self) -> None:
        self.left = True
        self.left_wall_ns = self._clock.wall_ns()


def pool_classes(sending: Sending) -> dict[str, Any]:
    """Return urllib3 pools whose connections ask `sending` before a request's first byte."""

    class PlainConnection(HTTPConnection):
        is_new_request = False

        def putrequest(self, *args: Any, **kwargs: Any) -> None:
            self.is_new_request = True
            super().putrequest(*args, **kwargs)

        def send(self, data: Any) -> None:
            if not self.is_new_request:
                super().send(data)
                return
            if self.sock is None:
                self.connect()  # may take long: before the gate is asked, not after
            with sending.leaving():
                self.is_new_request = False
                super().send(data)

    class TlsConnection(HTTPSConnection):
        is_new_request = False
        putrequest = PlainConnection.putrequest
        send = PlainConnection.send

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}
