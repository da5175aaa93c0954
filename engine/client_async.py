"""The asyncio twin of engine.client.Client: many requests in flight on one connection.

The same operations, answers and errors; see docs/client.md.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from engine.client import (
    Amount,
    Follower,
    Order,
    Row,
    find_state_dir,
    no_answer,
    place_arguments,
    request_failed,
    unreachable,
    wait_for_answer_s,
)
from engine.errors import MessageError, OutcomeUnknown, Unreachable
from engine.frames import (
    ANSWER_MAX_BYTES,
    HEADER,
    REQUEST_MAX_BYTES,
    connect,
    decode_body,
    encode_frame,
    frame_length,
)

PUSHES_MAX = 1_000


class AsyncClient:
    """A connection to the core of `state_dir`, used as `async with AsyncClient() as client:`."""

    def __init__(self, state_dir: str | Path | None = None) -> None:
        self.state_dir = find_state_dir(state_dir)
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._pushes: asyncio.Queue[dict[str, Any]] = asyncio.Queue(PUSHES_MAX)
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._cancel_on_disconnect = False

    async def __aenter__(self) -> Self:
        await self._connected()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up. With cancel_on_disconnect the core now cancels what this connection placed."""
        writer, reading = self._writer, self._reading
        self._writer = self._reading = None
        if writer is not None:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def request(self, op: str, **arguments: Any) -> Any:
        """Send one request and return its result. Raises as engine.client.Client.request."""
        given = {name: value for name, value in arguments.items() if value is not None}
        request_id = str(next(self._numbers))
        frame = encode_frame({"id": request_id, "op": op, "args": given}, REQUEST_MAX_BYTES)
        writer = await self._connected()
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[request_id] = future
        try:
            writer.write(frame)
            async with asyncio.timeout(wait_for_answer_s(given)):
                await writer.drain()
                answer = await future
        except (OSError, TimeoutError) as error:
            await self.close()
            raise no_answer(op, str(error) or "timed out") from None
        finally:
            self._waiting.pop(request_id, None)
        if not answer.get("ok"):
            raise request_failed(answer["error"])
        return answer["result"]

    async def place(
        self,
        venue: str,
        symbol: str,
        side: str,
        quantity: Amount,
        price: Amount | None = None,
        **more: Any,
    ) -> Order:
        """Place an order (no price: market) and return it once the venue has acknowledged it."""
        arguments = place_arguments(venue, symbol, side, quantity, price, **more)
        result: Order = await self.request("order.place", **arguments)
        return result

    async def cancel(self, *order_ids: str, timeout_s: float | None = None) -> list[Order]:
        """Cancel orders and return them once each venue confirmed."""
        result: list[Order] = await self.request(
            "order.cancel", order_ids=list(order_ids), timeout_s=timeout_s
        )
        return result

    async def cancel_all(self, venue: str | None = None, symbol: str | None = None) -> list[Order]:
        """Cancel all open orders, or those of one venue or symbol."""
        result: list[Order] = await self.request(
            "order.cancel", all=True, venue=venue, symbol=symbol
        )
        return result

    async def orders(self, state: str | None = None, **narrow: Any) -> list[Order]:
        """Return orders: all that are kept, or those of a `state` (open, closed, unknown)."""
        result: list[Order] = await self.request("order.list", state=state, **narrow)
        return result

    async def order(self, order_id: str) -> Order:
        """Return one order. Raises Refused NOT_FOUND."""
        result: Order = await self.request("order.show", order_id=order_id)
        return result

    async def cancel_on_disconnect(self, *, enabled: bool = True) -> None:
        """Ask that what this connection places is cancelled when it closes."""
        self._cancel_on_disconnect = enabled
        await self.request("cancel_on_disconnect", enabled=enabled)

    async def status(self) -> Row:
        """Return the state of the core on one page."""
        result: Row = await self.request("status")
        return result

    async def bbo(self, symbol: str | None = None) -> list[Row]:
        """Return the best bid and offer of each symbol over all venues."""
        result: list[Row] = await self.request("bbo", symbol=symbol)
        return result

    async def book(self, symbol: str, venue: str | None = None, depth: int | None = None) -> Row:
        """Return the consolidated book of a symbol, or one venue's."""
        result: Row = await self.request("book", symbol=symbol, venue=venue, depth=depth)
        return result

    async def positions(self) -> list[Row]:
        """Return the positions."""
        result: list[Row] = await self.request("position.list")
        return result

    async def pnl(self) -> Any:
        """Return profit and loss."""
        return await self.request("pnl")

    async def balances(self) -> list[Row]:
        """Return the balances per account and asset."""
        result: list[Row] = await self.request("balance")
        return result

    balance = balances

    async def halt(self, reason: str, scope: str = "all", *, cancel: bool = True) -> Row:
        """Stop new orders; with `cancel` sweep the open ones. Sticky over restarts."""
        result: Row = await self.request("risk.halt", reason=reason, scope=scope, cancel=cancel)
        return result

    async def resume(self, reason: str, scope: str = "all") -> Row:
        """Lift a halt."""
        result: Row = await self.request("risk.resume", reason=reason, scope=scope)
        return result

    async def subscribe(
        self,
        topics: Sequence[str],
        *,
        symbols: Sequence[str] = (),
        after_seq: int | None = None,
        reconnect: bool = True,
    ) -> AsyncIterator[Row]:
        """Yield pushes {push, seq, data} as engine.client.Client.subscribe does."""
        follower = Follower(topics, symbols, after_seq)
        while True:
            try:
                async with AsyncClient(self.state_dir) as own:
                    follower.began(await own.request("subscribe", **follower.arguments()))
                    while (push := await own._pushes.get()).get("push") != "goodbye":
                        if follower.takes(push):
                            yield push
            except (Unreachable, OutcomeUnknown):
                if not reconnect:
                    raise
            if not reconnect:
                raise unreachable(self.state_dir)
            await asyncio.sleep(follower.pause_s())

    # The next push, or None at the end of the connection with all of them taken.
    async def _next_push(self) -> Row | None:
        assert self._reading is not None
        getting = asyncio.ensure_future(self._pushes.get())
        try:
            await asyncio.wait({getting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            return getting.result() if getting.done() else None
        finally:
            getting.cancel()

    async def _connected(self) -> asyncio.StreamWriter:
        async with self._connecting:
            return await self._connect()

    async def _connect(self) -> asyncio.StreamWriter:
        if self._writer is None:
            try:
                sock = connect(self.state_dir, 5.0)
                sock.setblocking(False)
                reader, writer = await asyncio.open_connection(sock=sock)
            except OSError as error:
                raise unreachable(self.state_dir, error) from None
            self._writer = writer
            self._reading = asyncio.create_task(self._read(reader, writer))
            if self._cancel_on_disconnect:
                request = {"id": "cod", "op": "cancel_on_disconnect", "args": {}}
                self._writer.write(encode_frame(request))
        return self._writer

    # A full queue of pushes stops the reading: the server waits, and nothing is dropped.
    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reason = "the core hung up"
        try:
            while True:
                header = await reader.readexactly(HEADER.size)
                length = frame_length(header, ANSWER_MAX_BYTES)
                frame = decode_body(await reader.readexactly(length))
                if frame.get("push") == "goodbye":
                    raise ConnectionError(f"the core hung up: {frame['data']['reason']}")
                if "push" in frame:
                    await self._pushes.put(frame)
                    continue
                waiting = self._waiting.get(str(frame.get("id")))
                if waiting is not None and not waiting.done():
                    waiting.set_result(frame)
        except (OSError, EOFError, MessageError) as error:
            reason = str(error) or reason
        finally:
            self._writer = None
            writer.close()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(OSError(reason))
