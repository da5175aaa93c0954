"""Kraken's REST face: /0/public and /0/private with signature, rising nonce, and call counter.

A private request is signed over its nonce and body, and its nonce must be higher than any that this
key has used: of two that cross on their way the venue refuses one. Both are looked at as the request
comes in, before anything delays it.
"""

import base64
import hmac
import json
from hashlib import sha256, sha512
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web

from simulator.clock import NS_PER_S, Clock
from simulator.dead_man import Timers
from simulator.kraken_calls import INVALID, Calls
from simulator.kraken_market import Market
from simulator.kraken_words import ApiError, Json, encode, error, fault_error, timestamp
from simulator.reply import HANG_UP, Reply, serve, write
from simulator.venue import Account, Venue

# What faults know a private call as; the others are queries.
ON = {"AddOrder": "order", "CancelOrder": "cancel", "CancelAll": "cancel", "AmendOrder": "amend"}
# What a call adds to the key's counter; orders have counters of their own, which are not kept here.
COSTS = {"AddOrder": 0, "CancelOrder": 0, "AmendOrder": 0, "CancelAllOrdersAfter": 0,
         "TradesHistory": 2, "ClosedOrders": 2}  # fmt: skip
COUNTER_MAX, FALL_PER_S = 1000, 50
TOKEN_S = 900
TOKENS_MAX = 10_000


class Counter:
    """A key's call counter: it falls all the time, and no call may lift it above the limit.

    Higher and quicker than the venue gives to anybody, so that one address can be many clients.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._values: dict[str, tuple[int, int]] = {}  # key: value in ns of falling, and as of when

    def charge(self, key: str, cost: int) -> None:
        """Count, or refuse."""
        now_ns, unit_ns = self._clock.monotonic_ns(), NS_PER_S // FALL_PER_S
        value, at_ns = self._values.get(key, (0, now_ns))
        value = max(0, value - (now_ns - at_ns)) + cost * unit_ns
        if cost and value > COUNTER_MAX * unit_ns:
            raise ApiError("EAPI:Rate limit exceeded")
        self._values[key] = (value, now_ns)


class Tokens:
    """The tokens that open the private streams, each good for fifteen minutes."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._issued: dict[str, tuple[str, int]] = {}
        self._next = venue.clock.wall_ns()

    def issue(self, account: Account) -> Json:
        """Return a new token."""
        self._next += 1
        digest = sha256(f"{self._venue.name}-{account.api_key}-{self._next}".encode()).digest()
        token = base64.b64encode(digest).decode()
        while len(self._issued) >= TOKENS_MAX:
            del self._issued[next(iter(self._issued))]
        self._issued[token] = (account.api_key, self._venue.clock.monotonic_ns())
        return {"token": token, "expires": TOKEN_S}

    def account(self, token: object) -> Account | None:
        """Return whose token it is, None if it is nobody's or too old."""
        key, issued_ns = self._issued.get(str(token), ("", 0))
        if not key or self._venue.clock.monotonic_ns() - issued_ns > TOKEN_S * NS_PER_S:
            return None
        return self._venue.accounts[key]


class Rest:
    """Routes under /0."""

    def __init__(
        self, venue: Venue, calls: Calls, market: Market, tokens: Tokens, timers: Timers
    ) -> None:
        self._venue = venue
        self._calls = calls
        self._market = market
        self._counter = Counter(venue.clock)
        self._nonces: dict[str, int] = {}
        self._table = {
            **calls.table,
            "GetWebSocketsToken": lambda account, _: tokens.issue(account),
            "CancelAllOrdersAfter": self._cancel_all_after,
        }
        self._timers = timers

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.get("/0/public/{name}", self.public),
            web.post("/0/public/{name}", self.public),
            web.post("/0/private/{name}", self.private),
        ]

    async def public(self, request: web.Request) -> web.StreamResponse:
        """Answer a public question."""
        name = request.match_info["name"]
        params: Json = dict(parse_qsl(request.rel_url.raw_query_string, keep_blank_values=True))
        act = self._market.table.get(name)
        if act is None:
            return await _write(request, error("EGeneral:Unknown method"))

        def execute() -> Reply:
            try:
                return _ok(act(params))
            except ApiError as refused:
                return error(str(refused))

        on = "book" if name == "Depth" else "public"
        reply = await serve(self._venue, on, self._symbol(params), execute, fault_error)
        return await _write(request, reply)

    async def private(self, request: web.Request) -> web.StreamResponse:
        """Answer an account's request."""
        name = request.match_info["name"]
        body = (await request.read()).decode("utf-8", "replace")
        return await _write(request, await self._private(request, name, body))

    async def _private(self, request: web.Request, name: str, body: str) -> Reply:
        params = _params(body)
        act = self._table.get(name)
        try:
            account = self._authenticate(request, params, body)
            if act is None:
                return error("EGeneral:Unknown method")
            self._counter.charge(account.api_key, COSTS.get(name, 1))
        except ApiError as refused:
            return error(str(refused))

        def execute() -> Reply:
            try:
                return _ok(self._calls.run(lambda: act(account, params)))
            except ApiError as refused:
                return error(str(refused))

        on = ON.get(name, "query")
        return await serve(self._venue, on, self._symbol(params), execute, fault_error)

    def _authenticate(self, request: web.Request, params: Json, body: str) -> Account:
        key = request.headers.get("API-Key", "")
        account = self._venue.accounts.get(key)
        if account is None:
            raise ApiError("EAPI:Invalid key")
        nonce = str(params.get("nonce", ""))
        if not (nonce.isascii() and nonce.isdigit() and len(nonce) < 20):
            raise ApiError("EAPI:Invalid nonce")
        digest = sha256((nonce + body).encode("utf-8", "replace")).digest()
        right = hmac.new(
            base64.b64decode(account.api_secret), request.path.encode() + digest, sha512
        )
        sign = request.headers.get("API-Sign", "")
        if not hmac.compare_digest(base64.b64encode(right.digest()), sign.encode()):
            raise ApiError("EAPI:Invalid signature")
        if int(nonce) <= self._nonces.get(key, 0):
            raise ApiError("EAPI:Invalid nonce")
        self._nonces[key] = int(nonce)
        return account

    def _cancel_all_after(self, account: Account, params: Json) -> Json:
        text = str(params.get("timeout", ""))
        if not (text.isascii() and text.isdigit() and len(text) < 6):
            raise ApiError(f"{INVALID}:timeout")
        trigger_ms = self._timers.set(account.name, int(text))
        now_ns = self._venue.now_ns()
        fires = timestamp(trigger_ms * 1_000_000) if trigger_ms else "0"
        return {"currentTime": timestamp(now_ns), "triggerTime": fires}

    # By the pair, or for a request that names an order by that order's.
    def _symbol(self, params: Json) -> str | None:
        instrument = self._calls.pairs.get(str(params.get("pair", "")))
        return None if instrument is None else instrument.symbol


def _params(body: str) -> Json:
    if body.startswith("{"):
        try:
            parsed: Any = json.loads(body, parse_float=str)
        except ValueError:
            return {}
        return parsed if isinstance(parsed, dict) else {}
    return dict(parse_qsl(body, keep_blank_values=True))


def _ok(result: Json) -> Reply:
    return Reply(200, {"error": [], "result": result})


async def _write(request: web.Request, reply: Reply) -> web.StreamResponse:
    if reply is not HANG_UP and reply.raw is None:
        reply.raw = encode(reply.payload).decode()
    return await write(request, reply)
