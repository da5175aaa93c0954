"""Coinbase's REST face: /api/v3/brokerage with its tokens and limits, and /v2/time."""

import json
from collections.abc import Callable
from urllib.parse import parse_qs

from aiohttp import web

from simulator.clock import NS_PER_S
from simulator.coinbase_auth import Doorman, NotAuthenticated
from simulator.coinbase_calls import Calls, Params
from simulator.coinbase_market import Market
from simulator.coinbase_words import ApiError, Json, error, fault_error, timestamp, unauthorized
from simulator.limits import Windows
from simulator.reply import Reply, serve, write
from simulator.venue import Account, Venue

# What faults know an action as.
ON = {"orders": "order", "orders/batch_cancel": "cancel", "orders/edit": "amend"}
HISTORICAL = "orders/historical/"
# Per second, of a login and of an address; more than the venue's, so that one address can be many clients.
PRIVATE_MAX, PUBLIC_MAX = 150, 100


class Rest:
    """Routes under /api/v3/brokerage."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, doorman: Doorman) -> None:
        self._venue = venue
        self._calls = calls
        self._market = market
        self._doorman = doorman
        self._private = Windows(venue.clock, 1000, PRIVATE_MAX)
        self._public = Windows(venue.clock, 1000, PUBLIC_MAX)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.get("/v2/time", self.old_time),
            web.route("*", "/api/v3/brokerage/{path:.*}", self.handle),
        ]

    async def old_time(self, request: web.Request) -> web.StreamResponse:
        """Answer the time as the API before this one tells it."""
        now_ns = self._venue.now_ns()
        data = {"iso": timestamp(now_ns), "epoch": now_ns // NS_PER_S}
        return await write(request, Reply(200, {"data": data}))

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under /api/v3/brokerage."""
        body = (await request.read()).decode("utf-8", "replace")
        return await write(request, await self._answer(request, request.match_info["path"], body))

    async def _answer(self, request: web.Request, path: str, body: str) -> Reply:
        params: Params = parse_qs(request.rel_url.raw_query_string, keep_blank_values=True)
        if request.method == "POST" and path in self._calls.actions:
            return await self._act(request, path, body)
        if request.method != "GET":
            return error("NOT_FOUND", f"no endpoint {request.method} {path}", 404)
        public = self._public_question(path, params)
        if public is not None:
            on = "book" if path == "market/product_book" else "public"
            return await self._run(on, self._symbol(params), None, public)
        private = self._calls.queries.get(path)
        if private is not None:
            query = private
            return await self._query(request, params, lambda account: query(account, params))
        if path.startswith(HISTORICAL):
            name = path.removeprefix(HISTORICAL)
            return await self._query(request, params, lambda a: self._calls.order(a, name))
        return error("NOT_FOUND", f"no endpoint GET {path}", 404)

    def _public_question(self, path: str, params: Params) -> Callable[[], Json] | None:
        known = self._market.table.get(path)
        if known is not None:
            table = known
            return lambda: table(params)
        # market/products/BTC-USD and what may follow it; with a token the same without `market/`
        words = path.removeprefix("market/").split("/")
        if words[0] != "products" or not 2 <= len(words) <= 3:
            return None
        by_product = self._market.by_product.get(words[2] if len(words) == 3 else "")
        if by_product is None:
            return None
        answer = by_product
        return lambda: answer(self._market.instrument(words[1]), params)

    async def _act(self, request: web.Request, path: str, body: str) -> Reply:
        try:
            account = self._authenticate(request)
        except NotAuthenticated:
            return unauthorized()
        try:
            parsed = json.loads(body or "{}", parse_float=str)
        except ValueError:
            return error("INVALID_ARGUMENT", "the body is not JSON")
        if not isinstance(parsed, dict):
            return error("INVALID_ARGUMENT", "the body is not an object")
        product = self._calls.products.get(str(parsed.get("product_id")))
        symbol = None if product is None else product.symbol
        action = self._calls.actions[path]
        return await self._run(ON[path], symbol, account, lambda: action(account, parsed))

    async def _query(
        self, request: web.Request, params: Params, query: Callable[[Account], Json]
    ) -> Reply:
        try:
            account = self._authenticate(request)
        except NotAuthenticated:
            return unauthorized()
        return await self._run("query", self._symbol(params), account, lambda: query(account))

    async def _run(
        self, on: str, symbol: str | None, account: Account | None, act: Callable[[], Json]
    ) -> Reply:
        windows = self._public if account is None else self._private
        key = "address" if account is None else account.api_key
        if windows.add(key) > windows.limit:
            return error("rate_limit_exceeded", "Too many requests", 429, {"Retry-After": "1"})

        def execute() -> Reply:
            try:
                return Reply(200, act())
            except ApiError as refused:
                return refused.reply

        return await serve(self._venue, on, symbol, execute, fault_error)

    def _authenticate(self, request: web.Request) -> Account:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Bearer":
            raise NotAuthenticated("no token")
        return self._doorman.account(token, f"{request.method} {request.host}{request.path}")

    def _symbol(self, params: Params) -> str | None:
        for name in ("product_id", "product_ids"):
            product = self._calls.products.get(params.get(name, [""])[0])
            if product is not None:
                return product.symbol
        return None
