"""One connection of the control socket: reads requests, answers them, writes pushes, ends politely.

Every wait has a deadline: a frame must arrive whole, a reader must read. Market pushes conflate while
the peer is slow; durable pushes wait for it, and past the deadline the connection is closed with a
reason and resumes by seq.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any, Final

from loguru import logger

from engine.control_args import Args, exit_code
from engine.control_live import confirm
from engine.control_ops import OPERATIONS, URGENT, schema_in_each
from engine.control_orders import EDGE, ENDED, ROUTER, Outcome, look
from engine.control_peer import Peer
from engine.control_push import Subscriptions
from engine.errors import (
    EXIT_FAILED,
    EXIT_UNKNOWN,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    CoreError,
    MessageError,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from engine.frames import HEADER, decode_body, encode_frame, frame_length
from engine.messages.commands import CancelOrders

ID_MAX: Final = 64
SWEEP_TRIES: Final = 40
SWEEP_PAUSE_S: Final = 0.25


class Connection:
    """Serves one peer from `run` until it hangs up, misbehaves, or is told to close."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, peer: Peer
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._peer = peer
        self._limits = peer.hub.limits
        self._subscriptions = Subscriptions(peer.hub)
        self._answers: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self._sent_away = False
        self.active_mono_ns = peer.hub.clock.mono_ns()

    @property
    def idle(self) -> bool:
        """Tell whether the peer waits for nothing and asked for nothing to be done at its end."""
        waits = self._tasks or self._subscriptions.durable or self._subscriptions.market
        return not waits and not self._peer.cancel_on_disconnect

    # Every answer of a live core says so.
    @property
    def _live(self) -> dict[str, str]:
        facts = self._peer.facts
        return {"live": facts.instance} if facts.mode == "live" else {}

    @property
    def _behind(self) -> bool:
        return self._subscriptions.durable and self._subscriptions.seq < self._peer.hub.head_seq

    async def run(self) -> None:
        """Serve until the end."""
        writing = asyncio.create_task(self._write())
        reading = asyncio.create_task(self._read())
        try:
            await asyncio.wait({writing, reading}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                with suppress(OSError, TimeoutError):
                    await self._flush()
        finally:
            self._closed = True
            for task in (writing, reading):
                task.cancel()
            for ended in await asyncio.gather(writing, reading, return_exceptions=True):
                if isinstance(ended, Exception):
                    logger.bind(error=repr(ended)).error("control connection failed")
            await self._hang_up()
            if self._peer.cancel_on_disconnect and self._peer.placed and not self._sent_away:
                await self._sweep()

    async def close(self, reason: str) -> None:
        """Tell the peer why, then hang up. A core that stops settles its orders by its own rule."""
        self._closed = self._sent_away = True
        goodbye = {"push": "goodbye", "seq": self._subscriptions.seq, "data": {"reason": reason}}
        with suppress(OSError, TimeoutError):
            self._writer.write(encode_frame(goodbye))
            async with asyncio.timeout(0.5):
                await self._writer.drain()
        await self._hang_up()

    def close_soon(self, reason: str) -> None:
        """Close without waiting for it."""
        task = asyncio.get_running_loop().create_task(self.close(reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # A peer that does not read what is left is cut off.
    async def _hang_up(self) -> None:
        with suppress(OSError, TimeoutError):
            self._writer.close()
            async with asyncio.timeout(0.5):
                await self._writer.wait_closed()
        self._writer.transport.abort()

    # --- requests ---------------------------------------------------------------------------------

    async def _read(self) -> None:
        try:
            while not self._closed:
                request = await self._next_request()
                if request is None:
                    return
                self.active_mono_ns = self._peer.hub.clock.mono_ns()
                self._begin(request)
        except MessageError as error:
            logger.bind(who=self._peer.who, error=str(error)).warning("control frame refused")
            self._fail("", "BAD_FRAME", str(error), EXIT_USAGE)
        except TimeoutError:
            self._fail("", "BAD_FRAME", "a frame did not arrive whole in time", EXIT_USAGE)
        except OSError:
            return

    # Between frames a peer may be silent for ever; inside one it may not.
    async def _next_request(self) -> dict[str, Any] | None:
        first = await self._reader.read(1)
        if not first:
            return None
        try:
            async with asyncio.timeout(self._limits.frame_deadline_s):
                header = first + await self._reader.readexactly(HEADER.size - 1)
                length = frame_length(header, self._limits.frame_max_bytes)
                body = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            return None
        return decode_body(body)

    def _begin(self, request: dict[str, Any]) -> None:
        request_id, op, args = request.get("id"), request.get("op"), request.get("args", {})
        if not isinstance(request_id, str) or not 0 < len(request_id) <= ID_MAX:
            raise MessageError("request: id should be a text of 1 to 64 characters")
        if (
            not isinstance(op, str)
            or not isinstance(args, dict)
            or set(request) - {"id", "op", "args"}
        ):
            raise MessageError("request: should have id, op and args, and nothing else")
        in_flight = len(self._tasks)
        if in_flight >= 2 * self._limits.in_flight_max:
            raise MessageError(f"request: {in_flight} are in flight on this connection")
        if in_flight >= self._limits.in_flight_max and op not in URGENT:
            text = f"{in_flight} requests are in flight on this connection; wait for some"
            self._fail(request_id, "BUSY", text, EXIT_UNREACHABLE)
            return
        task = asyncio.create_task(self._answer(request_id, op, Args(op[:64], args)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, request_id: str, op: str, args: Args) -> None:
        try:
            result = await self._perform(op, args)
            answer = {"id": request_id, "ok": True, "result": schema_in_each(result)}
            self._put(encode_frame(answer | self._live))
        except Outcome as outcome:
            result = schema_in_each(outcome.result)
            self._fail(request_id, outcome.code, outcome.text, outcome.exit_code, result)
        except Refused as error:
            self._fail(request_id, error.code, error.text, exit_code(error.code))
        except Unreachable as error:
            self._fail(request_id, "UNREACHABLE", str(error), EXIT_UNREACHABLE)
        except OutcomeUnknown as error:
            self._fail(request_id, "UNKNOWN", str(error), EXIT_UNKNOWN)
        except MessageError as error:
            self._fail(request_id, "FAILED", f"{error}; ask for less", EXIT_FAILED)
        except CoreError as error:
            self._fail(request_id, "FAILED", str(error), EXIT_FAILED)
        except Exception as error:  # noqa: BLE001  the seam: a bug in one answer is not the server's end
            logger.bind(op=op, error=repr(error)).error("control operation failed")
            self._fail(request_id, "INTERNAL", f"{op} failed inside: {error!r}"[:500], EXIT_FAILED)

    async def _perform(self, op: str, args: Args) -> Any:
        if op == "subscribe":
            answer = self._subscriptions.subscribe(args, self._peer.facts)
            self._wake.set()
            return answer
        if op == "unsubscribe":
            return self._subscriptions.unsubscribe(args)
        if op == "cancel_on_disconnect":
            self._peer.cancel_on_disconnect = args.flag("enabled", default=True)
            args.end()
            return {"enabled": self._peer.cancel_on_disconnect}
        operation = OPERATIONS.get(op)
        if operation is None:
            raise Refused("BAD_REQUEST", f"no operation '{op[:64]}'")
        confirm(self._peer.facts, op, args)
        return await operation(self._peer, args)

    def _fail(
        self, request_id: str, code: str, text: str, code_of_exit: int, result: object = None
    ) -> None:
        error = {"code": code, "text": text, "exit": code_of_exit, "result": result}
        self._put(encode_frame({"id": request_id, "ok": False, "error": error} | self._live))

    def _put(self, frame: bytes) -> None:
        self._answers.append(frame)
        self._wake.set()

    # --- writing ----------------------------------------------------------------------------------

    async def _write(self) -> None:
        hub = self._peer.hub
        market_ns = 0
        try:
            while not self._closed:
                await self._flush()
                pushes = await self._subscriptions.durable_pushes()
                for push in pushes:
                    self._writer.write(encode_frame(push))
                if not pushes and self._behind:  # the journal's reader has not caught up yet
                    await asyncio.sleep(self._limits.market_interval_s)
                now = hub.clock.mono_ns()
                if self._subscriptions.market and now >= market_ns:
                    market_ns = now + int(self._limits.market_interval_s * 1e9)
                    for push in self._subscriptions.market_pushes():
                        self._writer.write(encode_frame(push))
                await self._drain()
                await self._something_to_write()
        except TimeoutError:
            logger.bind(who=self._peer.who).warning("control connection too slow, closed")
            self._writer.transport.abort()
        except OSError:
            return

    async def _flush(self) -> None:
        while self._answers:
            self._writer.write(self._answers.popleft())
            await self._drain()

    async def _drain(self) -> None:
        async with asyncio.timeout(self._limits.write_deadline_s):
            await self._writer.drain()

    # Wakes for an answer at once, for a committed event at once, for books at their interval.
    async def _something_to_write(self) -> None:
        subscriptions, hub = self._subscriptions, self._peer.hub
        self._wake.clear()
        if self._answers or self._behind:
            return
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
        if subscriptions.durable:
            waits.append(asyncio.ensure_future(hub.next_change().wait()))
        timeout_s = self._limits.market_interval_s if subscriptions.market else None
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    # --- cancel on disconnect ---------------------------------------------------------------------

    async def _sweep(self) -> None:
        peer = self._peer
        missing = dict(peer.placed)
        for _ in range(SWEEP_TRIES):
            found: list[str] = []
            for command_id in list(missing):
                with suppress(CoreError):
                    view = await look(peer.hub, {"command_id": command_id})
                    if view is not None:
                        del missing[command_id]
                        found += [] if view["status"] in ENDED else [str(view["order_id"])]
            if found:
                await self._cancel(found)
            if not missing:
                return
            await asyncio.sleep(SWEEP_PAUSE_S)

    async def _cancel(self, order_ids: list[str]) -> None:
        peer = self._peer
        reason = "its connection closed"
        message = CancelOrders(
            peer.ids.command_id(), order_ids, False, None, None, reason, peer.who, EDGE
        )
        for _ in range(SWEEP_TRIES):
            try:
                peer.hub.core.tell(ROUTER, message)
            except CoreError as error:
                logger.bind(error=str(error)).warning("cancel on disconnect: not taken yet")
                await asyncio.sleep(SWEEP_PAUSE_S)
            else:
                logger.bind(orders=len(order_ids), who=peer.who).info("canceled on disconnect")
                return
