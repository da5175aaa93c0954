"""The page's HTTP and WebSocket API (docs/dashboard.md): state out, commands in.

A command is passed on to the core once, on a connection of its own, and answered with what the core
said. Nothing is tried again here: an order without an answer is UNKNOWN, and the answer says so.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from dashboard.feed import Feed
from dashboard.guard import Guard
from dashboard.logtail import LogTail
from engine.client import RequestRefused, RequestUnknown
from engine.client_async import AsyncClient
from engine.errors import CoreError, Refused, Unreachable

STATIC: Final = Path(__file__).resolve().parent / "static"
KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript",
                ".svg": "image/svg+xml"}  # fmt: skip
PUSH_EVERY_S: Final = 0.1
PAGES_MAX: Final = 16
BODY_MAX: Final = 16_384
PLACE_KEYS: Final = frozenset(
    {"venue", "symbol", "side", "quantity", "price", "market", "time_in_force", "post_only",
     "command_id", "dry_run"}
)  # fmt: skip
WAIT_S: Final = 10.0

Row = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What the page may do."""

    state_dir: Path
    guard: Guard
    commands: bool


class Page:
    """One open page: what it has not been sent yet. A slow one gets the newest of each, later."""

    def __init__(self, feed: Feed, log: LogTail) -> None:
        self._feed = feed
        self._log = log
        self._parts = {"core", *feed.parts}
        self._orders: set[str] | None = None  # None: all of them
        self._books = set(feed.books)
        self._stories: set[str] = set()
        self._logged = 0
        self.woken = asyncio.Event()
        self.woken.set()

    def changed(self, part: str, key: str) -> None:
        """Note that something is new."""
        if part == "orders":
            if not key:
                self._orders = None
            elif self._orders is not None:
                self._orders.add(key)
        elif part == "book":
            self._books.add(key)
        elif part == "story":
            self._stories.add(key)
        else:
            self._parts.add(part)
        self.woken.set()

    def take(self) -> Row:
        """Return everything that is new, and call it sent."""
        feed, self.woken = self._feed, asyncio.Event()
        news: Row = {part: feed.parts[part] for part in self._parts if part in feed.parts}
        news["core"] = feed.core()
        if self._orders is None:
            news["orders"] = {"all": True, "rows": list(feed.orders.values())}
        elif self._orders:
            rows = [feed.orders[i] for i in self._orders if i in feed.orders]
            news["orders"] = {"all": False, "rows": rows}
        if self._books:
            news["books"] = [feed.books[symbol] for symbol in sorted(self._books)]
        if self._stories:
            news["stories"] = sorted(self._stories)
        if lines := self._log.after(self._logged):
            news["log"] = lines
        self._logged = self._log.number
        self._parts, self._orders, self._books, self._stories = set(), set(), set(), set()
        return news


class Server:
    """The handlers of the page."""

    def __init__(self, settings: Settings, feed: Feed, log: LogTail) -> None:
        self._settings = settings
        self._feed = feed
        self._log = log
        self._pages: dict[Page, web.WebSocketResponse] = {}
        self._files = {
            f"/{'' if path.name == 'index.html' else path.name}": (
                path.read_bytes(), KINDS[path.suffix]
            )
            for path in STATIC.iterdir()
            if path.suffix in KINDS
        }  # fmt: skip

    @property
    def open_pages(self) -> int:
        """How many pages are open now."""
        return len(self._pages)

    def application(self) -> web.Application:
        """Return the web application, guarded."""
        application = web.Application(
            middlewares=[self._settings.guard.middleware()], client_max_size=BODY_MAX
        )
        for path in self._files:
            application.router.add_get(path, self._file)
        application.router.add_get("/api/state", self._state)
        application.router.add_get("/api/feed", self._push)
        application.router.add_get("/api/orders/{order_id}", self._order)
        application.router.add_post("/api/orders", self._place)
        application.router.add_post("/api/orders/cancel", self._cancel)
        application.router.add_post("/api/halt", self._halt)
        application.router.add_post("/api/resume", self._resume)
        return application

    async def close(self) -> None:
        """Tell the open pages that this is an end in order."""
        for socket in tuple(self._pages.values()):
            await socket.close(code=WSCloseCode.GOING_AWAY, message=b"the core has stopped")

    def log_changed(self) -> None:
        """Tell the pages that the log has grown."""
        for page in self._pages:
            page.woken.set()

    async def _file(self, request: web.Request) -> web.Response:
        body, kind = self._files[request.path]
        return web.Response(body=body, content_type=kind, charset="utf-8")

    # --- state ------------------------------------------------------------------------------------

    async def _state(self, _: web.Request) -> web.Response:
        """Return the whole state once, as a page that has just opened gets it."""
        return _json(self._with_rights(Page(self._feed, self._log).take()))

    def _with_rights(self, news: Row) -> Row:
        news["core"]["commands"] = self._settings.commands
        return news

    async def _push(self, request: web.Request) -> web.StreamResponse:
        """Push the state, and then whatever changes, at most ten times a second."""
        if len(self._pages) >= PAGES_MAX:
            return web.Response(status=503, text=f"{PAGES_MAX} pages are open already\n")
        socket = web.WebSocketResponse(heartbeat=10.0, max_msg_size=1_024, compress=False)
        await socket.prepare(request)
        page = Page(self._feed, self._log)
        self._pages[page] = socket
        self._feed.watch(page.changed)
        pushing = asyncio.create_task(self._push_to(socket, page))
        try:
            async for message in socket:  # a page has nothing to say here; this finds its end
                if message.type in (WSMsgType.ERROR, WSMsgType.CLOSE):
                    break
        finally:
            self._feed.unwatch(page.changed)
            del self._pages[page]
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        return socket

    async def _push_to(self, socket: web.WebSocketResponse, page: Page) -> None:
        with suppress(ConnectionError, RuntimeError):
            while not socket.closed:
                await page.woken.wait()
                await socket.send_str(_text(self._with_rights(page.take())))
                await asyncio.sleep(PUSH_EVERY_S)

    async def _order(self, request: web.Request) -> web.Response:
        """Return one order and its story; a parent's is that of its children, too."""
        order_id = request.match_info["order_id"][:64]

        async def ask(client: AsyncClient) -> Row:
            async def read(after_seq: int, count: int) -> list[Row]:
                rows = await client.request("journal.tail", after_seq=after_seq, count=count)
                return list(rows)

            order = await client.request("order.show", order_id=order_id)
            head = int((await client.status())["journal"]["seq"])
            stories = self._feed.stories
            ids = [order_id, *(child["order_id"] for child in order["children"])]
            told = [await stories.whole(one, head, read) for one in ids]
            events = sorted((e for found, _ in told for e in found), key=lambda e: int(e["seq"]))
            return {"order": order, "events": events, "complete": all(w for _, w in told)}

        return await self._ask(ask)

    # --- commands ---------------------------------------------------------------------------------

    async def _place(self, request: web.Request) -> web.Response:
        body = await self._command(request, PLACE_KEYS, loosens=True)
        body.setdefault("wait", "accepted")
        if not body.get("price"):
            body.pop("price", None)
            body["market"] = True
        return await self._request("order.place", {**body, "timeout_s": WAIT_S})

    async def _cancel(self, request: web.Request) -> web.Response:
        body = await self._command(request, {"order_ids", "all", "venue", "symbol"})
        return await self._request(
            "order.cancel", {**body, "reason": "canceled on the page", "timeout_s": WAIT_S}
        )

    async def _halt(self, request: web.Request) -> web.Response:
        body = await self._command(request, {"scope", "reason", "cancel"})
        body["reason"] = body.get("reason") or "halted on the page"
        return await self._request("risk.halt", {**body, "timeout_s": WAIT_S})

    async def _resume(self, request: web.Request) -> web.Response:
        body = await self._command(request, {"scope", "reason"}, loosens=True)
        return await self._request("risk.resume", body)

    async def _command(
        self, request: web.Request, known: frozenset[str] | set[str], *, loosens: bool = False
    ) -> Row:
        """Return the checked body of a command, without what only the page's own door needs."""
        if not self._settings.commands:
            raise web.HTTPForbidden
        if request.content_type != "application/json":
            raise web.HTTPUnsupportedMediaType
        try:
            body = await request.json()
        except ValueError:
            raise web.HTTPBadRequest from None
        if not isinstance(body, dict) or set(body) - known - {"confirm"}:
            raise web.HTTPBadRequest
        confirmed = body.pop("confirm", None)
        if loosens and self._is_live and not body.get("dry_run") and confirmed != "yes":
            raise web.HTTPPreconditionRequired
        return {name: value for name, value in body.items() if value is not None}

    # Not known is taken for live.
    @property
    def _is_live(self) -> bool:
        return bool((self._feed.parts.get("status") or {}).get("mode", "live") == "live")

    async def _request(self, op: str, arguments: Mapping[str, Any]) -> web.Response:
        async def ask(client: AsyncClient) -> Any:
            return {"result": await client.request(op, **arguments)}

        return await self._ask(ask)

    async def _ask(self, ask: Callable[[AsyncClient], Any]) -> web.Response:
        try:
            async with AsyncClient(self._settings.state_dir) as client:
                return _json(await ask(client))
        except RequestUnknown as error:
            return _failed(504, error.code, error.text, error.result)
        except RequestRefused as error:
            return _failed(409, error.code, error.text, error.result)
        except Refused as error:
            return _failed(409, error.code, error.text, None)
        except Unreachable as error:
            return _failed(503, "UNREACHABLE", str(error), None)
        except CoreError as error:
            return _failed(500, "FAILED", str(error), None)


def _failed(status: int, code: str, text: str, result: Any) -> web.Response:
    return _json({"error": {"code": code, "text": text, "result": result}}, status)


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(status=status, text=_text(value), content_type="application/json")


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
