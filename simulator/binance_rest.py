"""Binance's REST face: /api/v3 with its headers, weights, limits and signatures."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.binance_calls import Calls, Params
from simulator.binance_market import Market
from simulator.binance_words import RATE_LIMITS, ApiError, Json, error, fault_error
from simulator.clock import NS_PER_S
from simulator.limits import Windows
from simulator.reply import HANG_UP, Reply, serve, write
from simulator.venue import Venue

# (method, path): (call, weight, what faults know it as)
SIGNED: dict[tuple[str, str], tuple[str, int, str]] = {
    ("POST", "order"): ("order.place", 1, "order"),
    ("POST", "order/test"): ("order.test", 1, "query"),
    ("DELETE", "order"): ("order.cancel", 1, "cancel"),
    ("DELETE", "openOrders"): ("openOrders.cancelAll", 1, "cancel"),
    ("POST", "order/cancelReplace"): ("order.cancelReplace", 1, "order"),
    ("PUT", "order/amend/keepPriority"): ("order.amend.keepPriority", 4, "amend"),
    ("GET", "order"): ("order.status", 4, "query"),
    ("GET", "openOrders"): ("openOrders.status", 6, "query"),
    ("GET", "allOrders"): ("allOrders", 20, "query"),
    ("GET", "myTrades"): ("myTrades", 20, "query"),
    ("GET", "account"): ("account.status", 20, "query"),
    ("GET", "account/commission"): ("account.commission", 20, "query"),
    ("GET", "account/apiRestrictions"): ("account.apiRestrictions", 1, "query"),
}
BAN_AFTER = 200  # requests beyond the limit before 429 becomes 418
BAN_S = 120


class Limiter:
    """Request weight by address, orders by account; 429, then 418."""

    def __init__(self, venue: Venue) -> None:
        self.weight = Windows(venue.clock, 60_000, 6000)
        self.orders_10s = Windows(venue.clock, 10_000, 100)
        self.orders_day = Windows(venue.clock, 86_400_000, 200_000)
        self._venue = venue
        self._banned_until_ns = 0
        self._excess = 0

    def charge(self, weight: int) -> Reply | None:
        """Count a request; return the refusal when it is one too many."""
        now_ns = self._venue.clock.monotonic_ns()
        if now_ns < self._banned_until_ns:
            left_s = (self._banned_until_ns - now_ns) // NS_PER_S + 1
            return fault_error("ban_418", {"retry_after_s": left_s})
        if self.weight.add("ip", weight) <= self.weight.limit:
            self._excess = 0
            return None
        self._excess += 1
        if self._excess > BAN_AFTER:
            self._banned_until_ns = now_ns + BAN_S * NS_PER_S
        return fault_error("rate_limit_429", {"retry_after_s": self.weight.seconds_left()})

    def charge_order(self, account: str) -> Reply | None:
        """Count an order; return the refusal when it is one too many."""
        day = self.orders_day.add(account)
        if self.orders_10s.add(account) <= self.orders_10s.limit and day <= self.orders_day.limit:
            return None
        retry = {"Retry-After": str(self.orders_10s.seconds_left())}
        return error(429, -1015, "Too many new orders; current limit is 100 orders per 10 SECOND.",
                     retry)  # fmt: skip

    def rate_limits(self, account: str | None) -> list[Json]:
        """Return the counters as the WebSocket API shows them: an account's only with its orders."""
        counts = [self.weight.used("ip")]
        if account is not None:
            counts += [self.orders_10s.used(account), self.orders_day.used(account)]
        return [{**limit, "count": n} for limit, n in zip(RATE_LIMITS, counts, strict=False)]

    def headers(self, account: str | None) -> dict[str, str]:
        """Return the counters as the venue shows them."""
        out = {"x-mbx-used-weight-1m": str(self.weight.used("ip")),
               "x-mbx-used-weight": str(self.weight.used("ip"))}  # fmt: skip
        if account is not None:
            out["x-mbx-order-count-10s"] = str(self.orders_10s.used(account))
            out["x-mbx-order-count-1d"] = str(self.orders_day.used(account))
        return out


class Rest:
    """Routes under /api/v3."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, limiter: Limiter) -> None:
        self._venue = venue
        self._calls = calls
        self._market = market
        self._limiter = limiter

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.route("*", "/api/v3/{path:.*}", self.handle),
            web.get("/sapi/v1/{path:account/apiRestrictions}", self.handle),
        ]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer any request under /api/v3."""
        path = request.match_info["path"]
        body = (await request.read()).decode("utf-8", "replace")
        reply = await self._answer(request, path, request.rel_url.raw_query_string, body)
        return await write(request, reply)

    async def _answer(self, request: web.Request, path: str, query: str, body: str) -> Reply:
        # Parameters may come in both places; the query string wins.
        params = dict(parse_qsl(body, keep_blank_values=True))
        params.update(parse_qsl(query, keep_blank_values=True))
        params.pop("_via", None)
        signed = SIGNED.get((request.method, path))
        if signed is not None:
            text = _unsigned(query + body)
            key = request.headers.get("X-MBX-APIKEY")
            return await self._signed(signed, key, params, text)
        if request.method == "GET" and path == "rateLimit/order":
            return Reply(200, [])
        public = self._market.table.get(path) if request.method == "GET" else None
        if public is None:
            return error(404, -1000, f"No endpoint {request.method} /api/v3/{path}.")
        return await self._public(path, public, params)

    async def _signed(
        self, signed: tuple[str, int, str], key: str | None, params: Params, text: str
    ) -> Reply:
        name, weight, on = signed
        who: list[str] = []

        def execute() -> Reply:
            try:
                account = self._calls.authenticate(key, params, text)
                who.append(account.name)
                limited = self._limiter.charge_order(account.name) if on == "order" else None
                return limited or Reply(200, self._calls.run(name, account, params))
            except ApiError as refused:
                return refused.reply

        symbol = self._symbol(params)
        reply = self._limiter.charge(weight)
        if reply is None:
            reply = await serve(self._venue, on, symbol, execute, fault_error)
        if reply is not HANG_UP:
            reply.headers = {**self._limiter.headers(who[0] if who else None), **reply.headers}
        return reply

    async def _public(self, path: str, public: Callable[[Params], Any], params: Params) -> Reply:
        def execute() -> Reply:
            try:
                return Reply(200, public(params))
            except ApiError as refused:
                return refused.reply

        reply = self._limiter.charge(self._market.weight(path, params))
        if reply is None:
            on = "book" if path == "depth" else "public"
            reply = await serve(self._venue, on, self._symbol(params), execute, fault_error)
        if reply is not HANG_UP:
            reply.headers = {**self._limiter.headers(None), **reply.headers}
        return reply

    def _symbol(self, params: Params) -> str | None:
        instrument = self._calls.symbols.get(params.get("symbol", ""))
        return None if instrument is None else instrument.symbol


def _unsigned(text: str) -> str:
    # query + body as received, cut at the last signature
    at = text.rfind("&signature=")
    return text[:at] if at >= 0 else text
