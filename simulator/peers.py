"""WebSocket connections: bounded queues out, fan-out by channel, and the faults of a stream.

Each peer has one writer, so frames leave in the order they were sent. A peer that does not read
fast enough is cut, as venues do. The peer knows nothing of what frames mean; a `tag` says
whether a frame is book data, private, or neither, and a fault hits a frame for all its receivers.
"""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from aiohttp import WSMsgType, web

from simulator.venue import Venue

QUEUE_MAX = 10_000
FRAME_BYTES_MAX = 256 * 1024
# The faults a frame can be hit by, by its tag.
_ANY = ("ws_gap", "ws_reorder", "ws_duplicate")
STRIKES = {
    "book": (*_ANY, "ws_corrupt_level", "bad_checksum"),
    "private": (*_ANY, "private_event_lost", "private_event_duplicate"),
    "reply": (*_ANY, "ws_half_open"),
}


class Peer:
    """One connection."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request, venue: Venue) -> None:
        self.ws = ws
        self.channels: set[str] = set()
        self.account = ""
        self.name = ""
        self.args: dict[str, Any] = {}  # what was asked for, by channel
        self.is_private = False
        self.is_silent = False  # half open: nothing is written any more, not even a pong
        self.last_seen_ns = venue.clock.monotonic_ns()
        self.sent_messages: list[int] = []
        self._request = request
        self._venue = venue
        self._queue: asyncio.Queue[str | bytes | None] = asyncio.Queue(QUEUE_MAX)
        self._held: str | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def begin(self, call: Coroutine[Any, Any, None]) -> None:
        """Serve one call beside the others: a slow one holds up neither them nor the pongs."""
        task = asyncio.get_running_loop().create_task(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def send(self, frame: str, strikes: frozenset[str] = frozenset()) -> None:
        """Queue a frame; `strikes` are the faults that hit it (see `Hub.strikes`)."""
        for text in self._through(frame, strikes):
            if self.is_silent:
                return
            try:
                self._queue.put_nowait(text)
            except asyncio.QueueFull:
                self.abort()
                return

    def send_json(self, message: Any, strikes: frozenset[str] = frozenset()) -> None:
        """Queue a message as JSON."""
        self.send(json.dumps(message, separators=(",", ":")), strikes)

    def send_ping(self, payload: bytes) -> None:
        """Queue a protocol ping."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(payload)

    def abort(self) -> None:
        """Cut the TCP connection without a closing handshake."""
        transport = self._request.transport
        if transport is not None:
            transport.abort()

    def close_soon(self) -> None:
        """Send what is queued, then close properly."""
        with contextlib.suppress(asyncio.QueueFull):
            self._queue.put_nowait(None)

    async def run(self, on_text: Callable[["Peer", str], Awaitable[None]]) -> None:
        """Read until the connection ends; writes happen beside it."""
        writer = asyncio.create_task(self._write())
        try:
            async for message in self.ws:
                self.last_seen_ns = self._venue.clock.monotonic_ns()
                if self.is_silent:
                    continue
                if message.type is WSMsgType.TEXT:
                    await on_text(self, message.data)
                elif message.type is WSMsgType.PING:
                    await self.ws.pong(message.data)
        finally:
            writer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writer

    async def _write(self) -> None:
        while True:
            item = await self._queue.get()
            if self.is_silent:
                continue
            try:
                if item is None:
                    await self.ws.close()
                    return
                if isinstance(item, bytes):
                    await self.ws.ping(item)
                else:
                    await self.ws.send_str(item)
            except (ConnectionError, RuntimeError):
                return  # the reader notices the end as well

    def _through(self, frame: str, strikes: frozenset[str]) -> list[str]:
        if not strikes and self._held is None:
            return [frame]
        if strikes & {"ws_gap", "private_event_lost"}:
            return []
        if "ws_half_open" in strikes:
            self.is_silent = True
            return []
        if "ws_corrupt_level" in strikes:
            frame = _corrupt_level(frame)
        if "bad_checksum" in strikes:
            frame = _bad_checksum(frame)
        if "ws_reorder" in strikes and self._held is None:
            self._held = frame
            return []
        out = [frame]
        if self._held is not None:
            out.append(self._held)
            self._held = None
        if strikes & {"ws_duplicate", "private_event_duplicate"}:
            out.append(frame)
        return out


class Hub:
    """All connections of one venue."""

    def __init__(self, venue: Venue) -> None:
        self.peers: set[Peer] = set()
        self._venue = venue

    async def accept(
        self, request: web.Request, on_text: Callable[[Peer, str], Awaitable[None]],
        on_open: Callable[[Peer], None],
    ) -> web.WebSocketResponse:  # fmt: skip
        """Serve one connection to its end."""
        ws = web.WebSocketResponse(autoping=False, max_msg_size=FRAME_BYTES_MAX)
        await ws.prepare(request)
        peer = Peer(ws, request, self._venue)
        on_open(peer)
        self.peers.add(peer)
        try:
            await peer.run(on_text)
        finally:
            self.peers.discard(peer)
        return ws

    def on_channel(self, channel: str) -> list[Peer]:
        """Return who listens to a channel."""
        return [peer for peer in self.peers if channel in peer.channels]

    def publish(self, channel: str, message: Any, tag: str = "", symbol: str | None = None) -> None:
        """Send a message to everyone on the channel; it becomes JSON once."""
        if self.on_channel(channel):
            self.publish_frame(channel, json.dumps(message, separators=(",", ":")), tag, symbol)

    def publish_frame(
        self, channel: str, frame: str, tag: str = "", symbol: str | None = None
    ) -> None:
        """Send a frame to everyone on the channel."""
        listeners = self.on_channel(channel)
        if listeners:
            strikes = self.strikes(tag, symbol)
            for peer in listeners:
                peer.send(frame, strikes)

    def strikes(self, tag: str, symbol: str | None) -> frozenset[str]:
        """Return the faults that hit the next frame, once for all who get it."""
        kinds = STRIKES.get(tag, ())
        take = self._venue.faults.take
        return frozenset(kind for kind in kinds if take(kind, tag, symbol) is not None)

    def matching(self, on: str) -> list[Peer]:
        """Return the peers a stream fault is about."""
        return [peer for peer in self.peers if on == "any" or peer.is_private == (on == "private")]


# The first level of a book frame, whatever its venue calls the sides and the quantity.
def _corrupt_level(frame: str) -> str:
    message = json.loads(frame)
    data = message.get("data", message.get("events", message))
    data = data[0] if isinstance(data, list) else data
    data = data.get("changes", data) if isinstance(data, dict) else data
    for name in ("b", "a", "bids", "asks", "updates"):
        if data.get(name):
            level = data[name][0]
            if "qty" in level:
                level["qty"] = 7777.7
            elif "new_quantity" in level:
                level["new_quantity"] = "7777.7"
            else:
                level[1] = "7777.7"
            break
    return json.dumps(message, separators=(",", ":"))


def _bad_checksum(frame: str) -> str:
    message = json.loads(frame)
    data = message.get("data")
    if isinstance(data, list) and data and "checksum" in data[0]:
        data[0]["checksum"] ^= 1
    return json.dumps(message, separators=(",", ":"))
