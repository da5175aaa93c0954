"""KuCoin's REST face: /api/v1..v3 with its headers, signatures, envelopes and pools of weight."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.kucoin_calls import Calls, params_of
from simulator.kucoin_market import Market
from simulator.kucoin_tokens import Tokens
from simulator.kucoin_words import RESET, ApiError, Json, error, fault_error, ok
from simulator.limits import Windows
from simulator.reply import HANG_UP, Reply, serve, write
from simulator.venue import Account, Venue

Call = Callable[[Account, Json], Any]
ORDER_PATH = "v1/hf/orders/"
CLIENT_PATH = "v1/hf/orders/client-order/"


class Limiter:
    """4000 of weight per 30 s and account, 2000 public per 30 s and address (VIP 0)."""

    def __init__(self, venue: Venue) -> None:
        self.spot = Windows(venue.clock, 30_000, 4000)
        self.public = Windows(venue.clock, 30_000, 2000)

    def charge(self, windows: Windows, key: str, weight: int) -> None:
        """Count, or refuse with 429000."""
        if windows.add(key, weight) > windows.limit:
            raise ApiError("429000", "Too many requests in a short period of time", 429)

    def headers(self, windows: Windows, key: str) -> dict[str, str]:
        """Return the pool's counters as the venue shows them."""
        left = max(0, windows.limit - windows.used(key))
        return {"gw-ratelimit-limit": str(windows.limit), "gw-ratelimit-remaining": str(left),
                RESET: str(windows.seconds_left() * 1000)}  # fmt: skip


class Rest:
    """Routes under /api."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, tokens: Tokens) -> None:
        self._venue = venue
        self._calls = calls
        self._market = market
        self._tokens = tokens
        self._limiter = Limiter(venue)
        # (method, path): call, weight, what faults know it as
        self._private: dict[tuple[str, str], tuple[Call, int, str]] = {
            ("POST", "v1/hf/orders"): (calls.place, 1, "order"),
            ("DELETE", "v1/hf/orders"): (calls.cancel_all, 2, "cancel"),
            ("POST", "v1/hf/orders/alter"): (calls.alter, 3, "amend"),
            ("POST", "v1/hf/orders/dead-cancel-all"): (calls.cancel_after, 2, "query"),
            ("GET", "v1/hf/orders/active"): (calls.active, 2, "query"),
            ("GET", "v1/hf/orders/done"): (calls.done, 2, "query"),
            ("GET", "v1/hf/fills"): (calls.fills, 2, "query"),
            ("GET", "v1/hf/accounts/opened"): (lambda *_: True, 2, "query"),
            ("GET", "v1/accounts"): (calls.accounts, 5, "query"),
            ("GET", "v1/trade-fees"): (calls.fees, 3, "query"),
            ("GET", "v1/user/api-key"): (calls.api_key, 20, "query"),
            ("GET", "v3/market/orderbook/level2"): (self._whole_book, 3, "book"),
            ("GET", "v3/margin/symbols"): (lambda *_: {"items": []}, 3, "query"),
            ("GET", "v1/isolated/symbols"): (lambda *_: [], 20, "query"),
            ("GET", "ua/v1/account/mode"): (_account_mode, 30, "query"),
            ("POST", "v1/bullet-private"): (self._private_token, 10, "private"),
        }

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.route("*", "/api/{path:.*}", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under /api."""
        body = (await request.read()).decode("utf-8", "replace")
        reply = await self._answer(request, request.match_info["path"], body)
        return await write(request, reply)

    async def _answer(self, request: web.Request, path: str, body: str) -> Reply:
        query: Json = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        if request.method == "POST" and path == "v1/bullet-public":
            return await self._public("public", lambda _: self._tokens.bullet(""), query, 10)
        if request.method == "GET" and path in self._market.table:
            on = "book" if "orderbook" in path else "public"
            return await self._public(on, self._market.table[path], query, 3)
        found = self._find(request.method, path)
        if found is None:
            return error("404000", f"Not Found: /api/{path}", 404)
        return await self._signed(request, found, query, body)

    # The call and, where the path names the order, by what.
    def _find(self, method: str, path: str) -> tuple[Call, int, str, Json] | None:
        known = self._private.get((method, path))
        if known is not None:
            return (*known, {})
        if path.startswith(CLIENT_PATH):
            name = {"clientOid": path.removeprefix(CLIENT_PATH)}
            if method == "GET":
                return self._calls.order, 2, "query", name
            return (
                (self._calls.cancel_by_client_id, 1, "cancel", name) if method == "DELETE" else None
            )
        if path.startswith(ORDER_PATH):
            name = {"orderId": path.removeprefix(ORDER_PATH)}
            if method == "GET":
                return self._calls.order, 2, "query", name
            return (self._calls.cancel_by_id, 1, "cancel", name) if method == "DELETE" else None
        return None

    async def _public(
        self, on: str, answer: Callable[[Json], Any], params: Json, weight: int
    ) -> Reply:
        def act() -> Reply:
            self._limiter.charge(self._limiter.public, "ip", weight)
            return ok(answer(params))

        return await self._run(on, self._symbol(params), act, self._limiter.public, "ip")

    async def _signed(
        self, request: web.Request, found: tuple[Call, int, str, Json], query: Json, body: str
    ) -> Reply:
        call, weight, on, named = found
        key = request.headers.get("KC-API-KEY", "")
        try:
            params = {**query, **params_of(body), **named}
        except ApiError as refused:
            return refused.reply

        def act() -> Reply:
            account = self._calls.authenticate(
                request.headers, request.method, request.raw_path, body, self._venue.now_ms()
            )
            self._limiter.charge(self._limiter.spot, account.name, weight)
            return ok(self._calls.run(call, account, params))

        return await self._run(on, self._symbol(params), act, self._limiter.spot, key)

    async def _run(
        self, on: str, symbol: str | None, act: Callable[[], Reply], windows: Windows, key: str
    ) -> Reply:
        def execute() -> Reply:
            try:
                return act()
            except ApiError as refused:
                return refused.reply

        reply = await serve(self._venue, on, symbol, execute, fault_error)
        if reply is not HANG_UP:
            account = self._venue.accounts.get(key)
            owner = key if account is None else account.name
            reply.headers = {**self._limiter.headers(windows, owner), **reply.headers}
        return reply

    def _whole_book(self, account: Account, params: Json) -> Json:
        del account
        return self._market.book(params, 5000)

    def _private_token(self, account: Account, params: Json) -> Json:
        del params
        return self._tokens.bullet(account.api_key)

    def _symbol(self, params: Json) -> str | None:
        instrument = self._calls.symbols.get(str(params.get("symbol", "")))
        return None if instrument is None else instrument.symbol


def _account_mode(account: Account, params: Json) -> Json:
    del account, params
    return {"selfAccountMode": "CLASSIC"}
