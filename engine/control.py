"""The control socket: one Unix socket in the state folder, for the owner of the core alone.

A thread of its own runs an event loop; each connection has one task that reads requests and one that
writes. A bad frame costs a connection, never the server. When the table is full the connection that
has been idle longest gives way, so that a halt always finds a seat. It decides nothing about orders.
"""

import asyncio
import os
import socket
import stat
import struct
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from loguru import logger

from engine.clock import Clock
from engine.control_connection import Connection
from engine.control_hub import Hub
from engine.control_peer import Peer
from engine.control_port import CorePort, Facts, Joinable, Limits, Threads, Watcher
from engine.errors import EXIT_LOCKED, ConfigError, CoreError
from engine.frames import SOCKET_NAME, connect, socket_path
from engine.ids import Ids

__all__ = [
    "ControlServer",
    "CorePort",
    "Facts",
    "Joinable",
    "Limits",
    "SocketTaken",
    "Threads",
    "Watcher",
]

START_DEADLINE_S: Final = 5.0
STOP_WITHIN_S: Final = 0.5
STOPPING: Final = "the core is stopping"
ACCEPT_PAUSE_S: Final = 1.0
_CREDENTIALS: Final = struct.Struct("3i")


class SocketTaken(CoreError):
    """Another core answers on the control socket of this state folder."""

    exit_code: int = EXIT_LOCKED


class ControlServer:
    """Serves the control socket of `state_dir` from `start` to `stop`."""

    def __init__(
        self,
        state_dir: Path,
        core: CorePort,
        *,
        clock: Clock,
        ids: Ids,
        limits: Limits,
        threads: Threads,
    ) -> None:
        self._state_dir = state_dir
        self._core = core
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._threads = threads
        self._connections: dict[Connection, None] = {}
        self._serving: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._thread: Joinable | None = None
        self._hub: Hub | None = None

    def start(self) -> None:
        """Bind the socket and serve it on a thread of its own.

        Raises:
            SocketTaken: a live core answers there.
            ConfigError: the folder cannot be used.
        """
        listener = bind(self._state_dir)
        ready: Future[None] = Future()
        self._thread = self._threads.start(
            "control", lambda: asyncio.run(self._serve(listener, ready))
        )
        ready.result(START_DEADLINE_S)

    def stop(self, timeout_s: float = 2.0) -> None:
        """Close every connection with a reason, remove the socket, end the thread. May repeat."""
        loop, stop, thread = self._loop, self._stop, self._thread
        if loop is None or stop is None or thread is None:
            return
        self._loop = None
        _unlink(self._state_dir)
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:  # the loop has ended by itself
            return
        thread.join(timeout_s)

    async def _serve(self, listener: socket.socket, ready: "Future[None]") -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.set_exception_handler(_log_loop_error)
        self._stop = asyncio.Event()
        executor = ThreadPoolExecutor(2, thread_name_prefix="control-disk")
        try:
            self._hub = Hub(self._core, self._limits, self._clock, executor)
            accepting = self._loop.create_task(self._accept(self._loop, listener))
        except BaseException as error:
            ready.set_exception(error)
            raise
        ready.set_result(None)
        try:
            await self._stop.wait()
        finally:
            accepting.cancel()
            await asyncio.wait({accepting})
            listener.close()
            self._hub.close()
            closing = [c.close(STOPPING) for c in self._connections]
            await asyncio.gather(*closing, return_exceptions=True)
            if self._serving:
                await asyncio.wait(self._serving, timeout=STOP_WITHIN_S)
            executor.shutdown(wait=False, cancel_futures=True)

    # Each accepted socket has a task from the moment it is accepted: asyncio's own server forgets one
    # that it accepts while it is closing, and its peer would wait for ever.
    async def _accept(self, loop: asyncio.AbstractEventLoop, listener: socket.socket) -> None:
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:  # out of file descriptors: others will end
                logger.bind(error=str(error)).warning("control connection not accepted")
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            task = loop.create_task(self._serve_one(accepted))
            self._serving.add(task)
            task.add_done_callback(self._serving.discard)

    async def _serve_one(self, accepted: socket.socket) -> None:
        assert self._hub is not None
        assert self._stop is not None
        reader, writer = await asyncio.open_unix_connection(sock=accepted)
        uid = peer_uid(accepted)
        if uid not in (os.getuid(), 0):
            logger.bind(uid=uid).warning("control connection of another user refused")
            writer.close()
            return
        if len(self._connections) >= self._limits.connections_max:
            self._make_room()
        peer = Peer(self._hub, self._core.facts(), self._ids, f"uid:{uid}")
        connection = Connection(reader, writer, peer)
        if self._stop.is_set():
            await connection.close(STOPPING)
            return
        if len(self._connections) >= self._limits.connections_max:
            await connection.close(f"all {self._limits.connections_max} connections are busy")
            return
        self._connections[connection] = None
        try:
            await connection.run()
        finally:
            self._connections.pop(connection, None)

    # The longest idle one goes; one that waits for an answer or a push is not idle.
    def _make_room(self) -> None:
        idle = [c for c in self._connections if c.idle]
        if not idle:
            return
        oldest = min(idle, key=lambda c: c.active_mono_ns)
        del self._connections[oldest]
        oldest.close_soon("idle, and another one needed the seat")


def bind(state_dir: Path) -> socket.socket:
    """Return the listening socket of `state_dir`, mode 0600 in a folder of mode 0700.

    The file that a dead core left behind is replaced; a live core's is not.
    """
    _prepare_folder(state_dir)
    _remove_stale(state_dir)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        with socket_path(state_dir) as path:
            listener.bind(path)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise ConfigError(f"{state_dir / SOCKET_NAME}: {error.strerror}") from None
    finally:
        os.umask(before)
    listener.setblocking(False)
    return listener


def peer_uid(sock: Any) -> int:
    """Return the user id of the process at the other end."""
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(raw)[1])


# A folder of ours is closed to others; a shared one like /tmp (sticky) is not a state folder.
def _prepare_folder(state_dir: Path) -> None:
    try:
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = state_dir.stat()
        if status.st_mode & stat.S_ISVTX:
            raise ConfigError(f"{state_dir} is shared by all users; name a folder inside it")
        if status.st_uid == os.getuid() and status.st_mode & 0o077:
            state_dir.chmod(0o700)
    except OSError as error:
        raise ConfigError(f"{state_dir}: {error.strerror}") from None


def _remove_stale(state_dir: Path) -> None:
    with socket_path(state_dir) as path:
        if not os.path.lexists(path):
            return
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConfigError(f"{state_dir / SOCKET_NAME} is not a socket; it was not touched")
    try:
        connect(state_dir, 1.0).close()
    except ConnectionRefusedError:
        _unlink(state_dir)
        return
    except OSError as error:
        raise SocketTaken(f"{state_dir / SOCKET_NAME}: {error}") from None
    raise SocketTaken(f"a core is running already on {state_dir}")


def _unlink(state_dir: Path) -> None:
    try:
        with socket_path(state_dir) as path:
            Path(path).unlink(missing_ok=True)
    except OSError as error:
        logger.bind(error=str(error)).warning("control socket could not be removed")


def _log_loop_error(_loop: Any, context: dict[str, Any]) -> None:
    error = context.get("exception")
    logger.bind(error=repr(error)).warning("control loop: {}", context.get("message"))
