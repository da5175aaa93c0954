"""Bybit's REST face: /v5 with its headers, signatures, envelopes and limits."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.bybit_calls import Calls
from simulator.bybit_market import Market
from simulator.bybit_words import ApiError, Json, envelope, error, fault_error
from simulator.limits import Windows
from simulator.reply import HANG_UP, Reply, serve, write
from simulator.venue import Venue

Call = Callable[..., Json]


class Limiter:
    """600 requests per 5 s and address; 20 creates, amends and cancels, 50 queries a second and account."""

    def __init__(self, venue: Venue) -> None:
        self.ip = Windows(venue.clock, 5000, 600)
        self.actions = Windows(venue.clock, 1000, 20)
        self.queries = Windows(venue.clock, 1000, 50)

    def charge(self, windows: Windows, key: str) -> None:
        """Count, or refuse with 10006."""
        if windows.add(key) > windows.limit:
            raise ApiError(10006, "Too many visits. Exceeded the API Rate Limit.")

    def charge_ip(self) -> Reply | None:
        """Count a request of this address; return the refusal when it is one too many."""
        if self.ip.add("ip") <= self.ip.limit:
            return None
        return fault_error("ban_418", {})

    def headers(self, windows: Windows, key: str, now_ms: int) -> dict[str, str]:
        """Return an endpoint's counters as the venue shows them."""
        left = max(0, windows.limit - windows.used(key))
        return {"X-Bapi-Limit": str(windows.limit), "X-Bapi-Limit-Status": str(left),
                "X-Bapi-Limit-Reset-Timestamp": str(now_ms)}  # fmt: skip


class Rest:
    """Routes under /v5."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, limiter: Limiter) -> None:
        self._venue = venue
        self._calls = calls
        self._market = market
        self._limiter = limiter
        # (method, path): call, what faults know it as
        self._private: dict[tuple[str, str], tuple[Call, str]] = {
            ("POST", "order/create"): (calls.create, "order"),
            ("POST", "order/cancel"): (calls.cancel, "cancel"),
            ("POST", "order/amend"): (calls.amend, "amend"),
            ("POST", "order/cancel-all"): (calls.cancel_all, "cancel"),
            ("GET", "order/realtime"): (calls.realtime, "query"),
            ("GET", "order/history"): (calls.history, "query"),
            ("GET", "execution/list"): (calls.executions, "query"),
            ("GET", "account/wallet-balance"): (calls.wallet, "query"),
            ("GET", "account/info"): (calls.info, "query"),
            ("GET", "account/fee-rate"): (calls.fee_rate, "query"),
            ("GET", "user/query-api"): (calls.identity, "query"),
        }

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve; the streams' routes come before these."""
        return [web.route("*", "/v5/{path:.*}", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under /v5."""
        body = (await request.read()).decode("utf-8", "replace")
        reply = await self._answer(request, request.match_info["path"], body)
        if reply is not HANG_UP and isinstance(reply.payload, dict):
            reply.payload["time"] = self._venue.now_ms()
        return await write(request, reply)

    async def _answer(self, request: web.Request, path: str, body: str) -> Reply:
        limited = self._limiter.charge_ip()
        if limited is not None:
            return limited
        query: Json = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        if request.method == "GET" and path in self._market.table:
            on = "book" if path == "market/orderbook" else "public"
            answer = self._market.table[path]
            return await self._run(on, query, lambda: answer(query), {})
        found = self._private.get((request.method, path))
        if found is None:
            return error(10404, f"no such path: /v5/{path}", 404)
        call, on = found
        payload = body if request.method == "POST" else request.rel_url.raw_query_string
        params = _params(body) if request.method == "POST" else query
        if params is None:
            return error(10001, "params error: no JSON object")
        windows = self._limiter.queries if on == "query" else self._limiter.actions
        key = f"{path}:{request.headers.get('X-BAPI-API-KEY', '')}"

        def act() -> Json:
            account = self._calls.authenticate(request.headers, payload)
            self._limiter.charge(windows, key)
            return self._calls.run(call, account, params, "rest")

        headers = self._limiter.headers(windows, key, self._venue.now_ms())
        return await self._run(on, params, act, headers)

    async def _run(
        self, on: str, params: Json, act: Callable[[], Json], headers: dict[str, str]
    ) -> Reply:
        def execute() -> Reply:
            try:
                return Reply(200, envelope(0, "OK", act(), self._venue.now_ms()))
            except ApiError as refused:
                return refused.reply

        instrument = self._calls.symbols.get(str(params.get("symbol", "")))
        symbol = None if instrument is None else instrument.symbol
        reply = await serve(self._venue, on, symbol, execute, fault_error)
        if reply is not HANG_UP:
            reply.headers = {**headers, **reply.headers}
        return reply


# A request's JSON object; only plain values count.
def _params(body: str) -> Json | None:
    try:
        parsed: Any = json.loads(body) if body else {}
    except ValueError:
        return None
    if not isinstance(parsed, dict):
        return None
    return {k: v for k, v in parsed.items() if isinstance(v, str | int | bool)}
