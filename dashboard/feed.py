"""What a page is shown, kept fresh from the core over its control socket.

Watched, it asks twice a second and takes the books as they are pushed; unwatched it asks how
things are every five seconds and no more, so that an open page costs the core little and a closed one
nearly nothing. When the core does not answer, everything is kept as it was and called old.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any, Final

from dashboard.stories import Stories
from engine.client_async import AsyncClient
from engine.errors import CoreError, Refused

ANSWER_S: Final = 3.0
AGAIN_S: Final = 0.3
WATCHED_S: Final = 0.5
IDLE_S: Final = 5.0
GATHER_S: Final = 0.1  # changes of orders are asked for together, at most ten times a second
ORDERS_MAX: Final = 500
CLOSED_SHOWN: Final = 100
DIRTY_MAX: Final = 24
HISTORY: Final = 200  # records read again when a page opens; older ones when a story is asked for
CURVE_EVERY_S: Final = 2.0
CURVE_MAX: Final = 1_800
TOPICS: Final = ("order", "fill", "halt")
OPEN: Final = frozenset(
    {"CREATED", "PENDING_NEW", "UNKNOWN", "NEW", "PARTIALLY_FILLED", "PENDING_CANCEL",
     "PENDING_REPLACE"}
)  # fmt: skip

Row = dict[str, Any]
Changed = Callable[[str, str], None]


class Feed:
    """The newest of everything, by part: core, status, risk, money, metrics, arb, orders, books."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.parts: dict[str, Any] = {}
        self.orders: dict[str, Row] = {}
        self.books: dict[str, Row] = {}
        self.stories = Stories()
        self.connected = False
        self.lost_at_ms: int | None = None
        self._curve: deque[tuple[int, str]] = deque(maxlen=CURVE_MAX)
        self._curve_at = 0.0
        self._watchers: set[Changed] = set()
        self._watched = asyncio.Event()
        self._dirty: set[str] = set()
        self._dirtied = asyncio.Event()
        self._orders_known = False

    # --- watching ---------------------------------------------------------------------------------

    def watch(self, changed: Changed) -> None:
        """Call `changed(part, key)` whenever something is new. On the event loop."""
        self._watchers.add(changed)
        self._watched.set()

    def unwatch(self, changed: Changed) -> None:
        """End that; without a watcher the feed goes quiet."""
        self._watchers.discard(changed)
        if not self._watchers:
            self._watched.clear()
            self._orders_known = False

    @property
    def is_watched(self) -> bool:
        """Tell whether a page is open."""
        return self._watched.is_set()

    def _tell(self, part: str, key: str = "") -> None:
        for changed in tuple(self._watchers):
            changed(part, key)

    def _set(self, part: str, value: Any) -> None:
        self.parts[part] = value
        self._tell(part)

    def core(self) -> Row:
        """Return what is known of the connection itself."""
        return {"connected": self.connected, "lost_at_ms": self.lost_at_ms, "ts_ms": now_ms()}

    # --- the connection ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Follow the core for ever, over any number of its lives."""
        while True:
            with suppress(CoreError, OSError, TimeoutError):
                async with AsyncClient(self.state_dir) as client:
                    await self._begin(client)
                    await _first_of(
                        self._ask_on_and_on(client), self._follow_events(client),
                        self._follow_books(), self._follow_orders(client),
                    )  # fmt: skip
            self._lost()
            await asyncio.sleep(AGAIN_S)

    async def _begin(self, client: AsyncClient) -> None:
        self._orders_known = False
        await self._ask_status(client)
        self.connected, self.lost_at_ms = True, None
        self._tell("core")

    def _lost(self) -> None:
        if self.connected or self.lost_at_ms is None:
            self.connected, self.lost_at_ms = False, now_ms()
            self._tell("core")

    # --- questions --------------------------------------------------------------------------------

    async def _ask_on_and_on(self, client: AsyncClient) -> None:
        beat = 0
        while True:
            await self._ask_status(client)
            if self.is_watched and beat % 2 == 0:
                self._set("risk", await _asked(client, "risk.show"))
                self._set("metrics", await _asked(client, "metrics"))
                self._set("arb", await _asked(client, "arb"))
            if beat % 2 == 0 or not self.is_watched:
                await self._ask_money(client)
            beat += 1
            with suppress(TimeoutError):
                if self.is_watched:
                    await asyncio.sleep(WATCHED_S)
                else:
                    async with asyncio.timeout(IDLE_S):
                        await self._watched.wait()

    async def _ask_status(self, client: AsyncClient) -> None:
        self._set("status", await _asked(client, "status"))

    async def _ask_money(self, client: AsyncClient) -> None:
        pnl = await _asked(client, "pnl")
        total = pnl.get("total", {})
        if time.monotonic() >= self._curve_at and total.get("net_pnl") is not None:
            self._curve_at = time.monotonic() + CURVE_EVERY_S
            self._curve.append((now_ms(), total["net_pnl"]))
        if self.is_watched:
            money = {
                "pnl": pnl,
                "positions": await _asked(client, "position.list"),
                "curve": [list(point) for point in self._curve],
            }
            self._set("money", money)

    # --- orders -----------------------------------------------------------------------------------

    async def _follow_events(self, client: AsyncClient) -> None:
        while True:
            await self._watched.wait()
            head = int((await _asked(client, "status"))["journal"]["seq"])
            start = min(max(self.stories.seq, head - HISTORY, 0), head)
            if start > self.stories.seq:  # a story with a hole in it is none
                self.stories = Stories()
            async with aclosing(self._pushes(TOPICS, start)) as pushes:
                async for push in pushes:
                    await self._take_event(client, push, is_live=push["seq"] > head)
                    if not self.is_watched:
                        break

    async def _take_event(self, client: AsyncClient, push: Row, *, is_live: bool) -> None:
        if push["push"] == "halt":
            self._set("risk", await _asked(client, "risk.show"))
            return
        if push["push"] == "fill":
            return  # it comes as an order event, too
        order_id = self.stories.take(push["seq"], push["data"], now_ms() if is_live else None)
        if is_live:
            self._dirty.add(order_id)
            self._dirtied.set()
            self._tell("story", order_id)

    async def _follow_orders(self, client: AsyncClient) -> None:
        while True:
            await self._watched.wait()
            if not self._orders_known or len(self._dirty) > DIRTY_MAX:
                self._dirty.clear()
                await self._list_orders(client)
            while self._dirty and self._orders_known:
                await self._show_order(client, self._dirty.pop())
            self._dirtied.clear()
            await asyncio.sleep(GATHER_S)
            if not self._dirty and self._orders_known:
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._dirtied.wait(), WATCHED_S)

    async def _list_orders(self, client: AsyncClient) -> None:
        held = await _asked(client, "order.list", state="open", limit=ORDERS_MAX)
        ended = await _asked(client, "order.list", state="all", limit=CLOSED_SHOWN)
        self.orders = {row["order_id"]: row for row in (*held, *ended)}
        self._orders_known = True
        self._tell("orders")

    async def _show_order(self, client: AsyncClient, order_id: str) -> None:
        try:
            row = await _asked(client, "order.show", order_id=order_id)
        except Refused:  # forgotten meanwhile
            self.orders.pop(order_id, None)
            return
        row.pop("children", None)
        self.orders[order_id] = row
        if row["parent_id"]:  # a parent has no events of its own: it is what its children are
            self._dirty.add(row["parent_id"])
        self._tell("orders", order_id)
        if row["status"] not in OPEN and len(self.orders) > ORDERS_MAX + CLOSED_SHOWN:
            oldest = min(
                (o for o in self.orders.values() if o["status"] not in OPEN),
                key=lambda o: int(o["ts_last_ns"]),
            )
            self.orders.pop(oldest["order_id"])

    # --- books ------------------------------------------------------------------------------------

    async def _follow_books(self) -> None:
        while True:
            await self._watched.wait()
            async with aclosing(self._pushes(("book",), None)) as pushes:
                async for push in pushes:
                    self.books[push["data"]["symbol"]] = push["data"]
                    self._tell("book", push["data"]["symbol"])
                    if not self.is_watched:
                        break

    async def _pushes(
        self, topics: tuple[str, ...], after_seq: int | None
    ) -> AsyncGenerator[Row, None]:
        async with AsyncClient(self.state_dir) as own:
            async for push in own.subscribe(topics, after_seq=after_seq, reconnect=False):
                yield push


def now_ms() -> int:
    """Return the wall time in milliseconds, for people."""
    return time.time_ns() // 1_000_000


async def _asked(client: AsyncClient, op: str, **arguments: Any) -> Any:
    async with asyncio.timeout(ANSWER_S):
        return await client.request(op, **arguments)


# Run all until the first ends or fails; then none of them runs any more.
async def _first_of(*works: Coroutine[Any, Any, None]) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in ended:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
