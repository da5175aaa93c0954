"""`/metrics`, `/livez` and `/readyz`: the core is asked when somebody scrapes, and at no other time."""

import asyncio
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from dashboard.guard import Guard
from dashboard.metrics import CONTENT_TYPE, exposition
from engine.client_async import AsyncClient
from engine.errors import CoreError

ANSWER_S: Final = 3.0
FRESH_S: Final = 0.5  # scrapes closer together share one answer
OPEN_MAX: Final = 1_000

Row = dict[str, Any]


class Probes:
    """The application of the metrics' port. `scraped_at` is when it was last used, in loop time."""

    def __init__(self, state_dir: Path, guard: Guard) -> None:
        self._state_dir = state_dir
        self._guard = guard
        self._asking = asyncio.Lock()
        self._found: tuple[float, Row | None] = (-FRESH_S, None)
        self.scraped_at = -1e9

    def application(self) -> web.Application:
        """Return the web application."""
        application = web.Application(middlewares=[self._check_host])
        application.router.add_get("/metrics", self._metrics)
        application.router.add_get("/livez", self._livez)
        application.router.add_get("/readyz", self._readyz)
        return application

    # A web site whose name points here must not read positions. Behind another address, whoever
    # reaches the port may scrape: its names are not ours to know.
    @web.middleware
    async def _check_host(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.scraped_at = asyncio.get_running_loop().time()
        if self._guard.is_loopback and not self._guard.knows_host(request.host):
            return web.Response(status=421, text="421: not our name\n")
        answer: web.StreamResponse = await handler(request)
        return answer

    async def _metrics(self, _: web.Request) -> web.Response:
        text = exposition(await self._gathered())
        return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE})

    async def _livez(self, _: web.Request) -> web.Response:
        """200 while the core's own loop answers; a venue that is down is no reason to restart it."""
        status = await self._status()
        return _answer([] if status is not None else ["the core does not answer"])

    async def _readyz(self, _: web.Request) -> web.Response:
        """200 while the core may trade: accounts reconciled, journal taking, a venue READY and fresh."""
        status = await self._status()
        if status is None:
            return _answer(["the core does not answer"])
        venues = [
            v for v in status["venues"] if v["state"] == "READY" and v["book_state"] == "LIVE"
        ]
        persistence = [a for a in status["actors"] if a["name"] == "persistence"]
        wrong = {
            "not every account has been reconciled yet": not status["accounts_opened"],
            "no venue is READY with a LIVE book": not venues,
            "the journal is not being written": any(a["state"] != "running" for a in persistence),
        }
        return _answer([text for text, is_so in wrong.items() if is_so])

    async def _status(self) -> Row | None:
        try:
            async with asyncio.timeout(ANSWER_S), AsyncClient(self._state_dir) as client:
                return await client.status()
        except (CoreError, OSError, TimeoutError):
            return None

    async def _gathered(self) -> Row | None:
        loop = asyncio.get_running_loop()
        async with self._asking:
            if loop.time() - self._found[0] >= FRESH_S:
                self._found = (loop.time(), await self._gather())
            return self._found[1]

    async def _gather(self) -> Row | None:
        try:
            async with asyncio.timeout(ANSWER_S), AsyncClient(self._state_dir) as client:
                status = await client.status()
                symbols = sorted({s for venue in status["venues"] for s in venue["symbols"]})
                return {
                    "status": status,
                    "risk": await client.request("risk.show"),
                    "metrics": await client.request("metrics"),
                    "pnl": await client.pnl(),
                    "positions": await client.positions(),
                    "orders": await client.orders("open", limit=OPEN_MAX),
                    "books": await _books(client, symbols),
                }
        except (CoreError, OSError, TimeoutError):
            return None


async def _books(client: AsyncClient, symbols: list[str]) -> list[Row]:
    books = []
    for symbol in symbols:
        try:
            books.append(await client.book(symbol, depth=1))
        except CoreError:  # none yet
            continue
    return books


def _answer(wrong: list[str]) -> web.Response:
    return web.Response(status=503 if wrong else 200, text="\n".join(wrong or ["ok"]) + "\n")
