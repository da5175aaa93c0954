"""OKX's REST face: /api/v5 with its headers, signatures, envelopes and limits."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.limits import Windows
from simulator.okx_calls import Calls
from simulator.okx_dead_man import DeadMan
from simulator.okx_market import Market
from simulator.okx_words import ApiError, Json, RowError, error, fault_error
from simulator.reply import HANG_UP, Reply, serve, write
from simulator.signing import is_base64_of
from simulator.venue import Account, Venue

# POST path: (action, is a batch, what faults know it as)
ACTIONS = {
    "trade/order": ("order", False, "order"),
    "trade/batch-orders": ("order", True, "order"),
    "trade/cancel-order": ("cancel-order", False, "cancel"),
    "trade/cancel-batch-orders": ("cancel-order", True, "cancel"),
    "trade/amend-order": ("amend-order", False, "amend"),
    "trade/amend-batch-orders": ("amend-order", True, "amend"),
}
TIMESTAMP_MS_MAX = 30_000


class Limiter:
    """60 order requests per 2 s and instrument, 20 reads per 2 s and address, as OKX has them."""

    def __init__(self, venue: Venue) -> None:
        self.orders = Windows(venue.clock, 2000, 60)
        self.batches = Windows(venue.clock, 2000, 300)
        self.reads = Windows(venue.clock, 2000, 60)

    def charge(self, windows: Windows, key: str, amount: int = 1) -> None:
        """Count, or refuse with 50011."""
        if windows.add(key, amount) > windows.limit:
            raise ApiError("50011", "Too Many Requests", 429)


class Rest:
    """Routes under /api/v5."""

    def __init__(
        self,
        venue: Venue,
        calls: Calls,
        market: Market,
        limiter: Limiter,
        dead_man: DeadMan,
    ) -> None:
        self._venue = venue
        self._dead_man = dead_man
        self._calls = calls
        self._market = market
        self._limiter = limiter

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.route("*", "/api/v5/{path:.*}", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under /api/v5."""
        path = request.match_info["path"]
        in_us = self._venue.now_ns() // 1000
        body = (await request.read()).decode("utf-8", "replace")
        reply = await self._answer(request, path, body)
        if isinstance(reply.payload, dict) and path in ACTIONS:
            out_us = self._venue.now_ns() // 1000
            reply.payload |= {"inTime": str(in_us), "outTime": str(out_us)}
        if reply is not HANG_UP and reply.status == 429:
            reply.headers.setdefault("Retry-After", "1")
        return await write(request, reply)

    async def _answer(self, request: web.Request, path: str, body: str) -> Reply:
        params: Json = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        if request.method == "POST" and path in ACTIONS:
            return await self._action(request, path, body)
        if request.method == "POST" and path == "trade/cancel-all-after":
            return await self._run("query", None, lambda: self._cancel_all_after(request, body))
        if request.method == "GET" and path in self._calls.queries:

            def query() -> Reply:
                account = self._authenticate(request, body)
                self._limiter.charge(self._limiter.reads, f"{account.name}:{path}")
                return _ok(self._calls.queries[path](account, params))

            return await self._run("query", self._symbol(params), query)
        if request.method == "GET" and path in self._market.table:

            def public() -> Reply:
                self._limiter.charge(self._limiter.reads, path)
                return _ok(self._market.table[path](params))

            on = "book" if path == "market/books" else "public"
            return await self._run(on, self._symbol(params), public)
        return error("50404" if path else "50000", f"Invalid request path /api/v5/{path}", 404)

    async def _action(self, request: web.Request, path: str, body: str) -> Reply:
        action, is_batch, on = ACTIONS[path]
        try:
            parsed = json.loads(body)
        except ValueError:
            return error("50002", "JSON syntax error", 400)
        rows: list[Any] = parsed if isinstance(parsed, list) else [parsed]
        first = rows[0] if rows and isinstance(rows[0], dict) else {}

        def act() -> Reply:
            account = self._authenticate(request, body)
            windows = self._limiter.batches if is_batch else self._limiter.orders
            key = f"{action}:{account.name}:{first.get('instId')}"
            self._limiter.charge(windows, key, len(rows))
            expiry = request.headers.get("expTime", "")
            return Reply(
                200, self._calls.act(action, account, rows, "rest", late(self._venue, expiry))
            )

        return await self._run(on, self._symbol(first), act)

    def _cancel_all_after(self, request: web.Request, body: str) -> Reply:
        return _ok([self._dead_man.tell(self._authenticate(request, body), body)])

    async def _run(self, on: str, symbol: str | None, act: Callable[[], Reply]) -> Reply:
        def execute() -> Reply:
            try:
                return act()
            except ApiError as refused:
                return refused.reply
            except RowError as refused:
                return error(refused.code, refused.msg)

        return await serve(self._venue, on, symbol, execute, fault_error)

    def _authenticate(self, request: web.Request, body: str) -> Account:
        headers = request.headers
        names = {"OK-ACCESS-KEY": "50103", "OK-ACCESS-PASSPHRASE": "50104",
                 "OK-ACCESS-SIGN": "50106", "OK-ACCESS-TIMESTAMP": "50107"}  # fmt: skip
        for name, code in names.items():
            if not headers.get(name):
                raise ApiError(code, f"Request header {name} cannot be empty.", 401)
        account = self._venue.accounts.get(headers["OK-ACCESS-KEY"])
        if account is None:
            raise ApiError("50111", "Invalid OK-ACCESS-KEY", 401)
        timestamp = headers["OK-ACCESS-TIMESTAMP"]
        try:
            sent_ms = int(datetime.fromisoformat(timestamp).timestamp() * 1000)
        except (ValueError, OverflowError):
            raise ApiError("50112", "Invalid OK-ACCESS-TIMESTAMP", 401) from None
        if abs(self._venue.now_ms() - sent_ms) > TIMESTAMP_MS_MAX:
            raise ApiError("50102", "Timestamp request expired", 401)
        if headers["OK-ACCESS-PASSPHRASE"] != account.passphrase:
            raise ApiError("50105", "Request header OK-ACCESS-PASSPHRASE incorrect.", 401)
        text = timestamp + request.method + request.raw_path + body
        if not is_signed(account, text, headers["OK-ACCESS-SIGN"]):
            raise ApiError("50113", "Invalid Sign", 401)
        return account

    def _symbol(self, params: Json) -> str | None:
        instrument = self._calls.symbols.get(str(params.get("instId", "")))
        return None if instrument is None else instrument.symbol


def is_signed(account: Account, text: str, sign: str) -> bool:
    """Tell whether `sign` is this account's signature of the text."""
    return is_base64_of(account.api_secret, text, sign)


def late(venue: Venue, expiry: str) -> Callable[[], bool]:
    """Return the question whether expTime (milliseconds) has passed; asked when the engine acts."""
    if not (expiry.isascii() and expiry.isdigit() and len(expiry) < 20):
        return lambda: False
    return lambda: venue.now_ms() > int(expiry)


def _ok(data: list[Json]) -> Reply:
    return Reply(200, {"code": "0", "msg": "", "data": data})
