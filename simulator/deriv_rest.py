"""Deriv's REST face of the New API: accounts, one-time passwords, the demo balance.

A password is good for one connection within a minute. Errors are {"errors": [{...}], "meta": {...}}.
"""

import json
import random
from collections.abc import Awaitable, Callable

from aiohttp import web

from simulator.clock import NS_PER_S
from simulator.deriv_calls import account_id
from simulator.deriv_dealer import CURRENCY, Dealer
from simulator.deriv_words import ERRORS, Json
from simulator.instruments import UNIT
from simulator.reply import HANG_UP, Reply, serve
from simulator.venue import Account, Venue

PASSWORD_LIVES_S = 60
PREFIX = "/trading/v1/options/accounts"
DEMO_BALANCE = 10_000


class Passwords:
    """One-time passwords: made by REST, taken by the connection that they are for."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._rng = random.Random(f"otp-{venue.name}-{venue.now_ns()}")
        self._open: dict[str, tuple[Account, str, int]] = {}

    def make(self, account: Account, app_id: str) -> str:
        """Return a password that was never made before."""
        password = f"{self._rng.getrandbits(128):032x}"
        expires_ns = self._venue.clock.monotonic_ns() + PASSWORD_LIVES_S * NS_PER_S
        self._open[password] = (account, app_id, expires_ns)
        return password

    def take(self, password: str) -> tuple[Account, str] | None:
        """Return whose a password is and spend it; None if it is none, spent or too old."""
        found = self._open.pop(password, None)
        if found is None or found[2] < self._venue.clock.monotonic_ns():
            return None
        return found[0], found[1]


class Rest:
    """The REST calls."""

    def __init__(self, venue: Venue, dealer: Dealer, passwords: Passwords) -> None:
        self._venue = venue
        self._dealer = dealer
        self._passwords = passwords
        self._tokens = {a.api_secret: a for a in venue.accounts.values()}

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.get(PREFIX, self._served(self._accounts)),
            web.post(PREFIX + "/{account}/otp", self._served(self._otp)),
            web.post(PREFIX + "/{account}/reset-demo-balance", self._served(self._reset)),
        ]

    def _served(
        self, act: Callable[[web.Request, Account], Reply]
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            def execute() -> Reply:
                account = self._login(request)
                if account is None:
                    return _error(401, "auth_revoked", "Unauthorized")
                return act(request, account)

            reply = await serve(self._venue, "query", None, execute, _fault)
            if reply is HANG_UP:
                if request.transport is not None:
                    request.transport.abort()
                return web.Response(status=500)
            text = json.dumps(reply.payload) if reply.raw is None else reply.raw
            text = text[: len(text) // 2] if reply.is_cut else text
            return web.Response(
                status=reply.status, text=text, content_type=reply.content_type,
                headers=reply.headers,
            )  # fmt: skip

        return handle

    # A personal token needs the app's id beside it.
    def _login(self, request: web.Request) -> Account | None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        account = self._tokens.get(token) if scheme == "Bearer" else None
        app_id = request.headers.get("Deriv-App-ID", "")
        return account if account is not None and app_id == account.api_key else None

    def _accounts(self, _: web.Request, account: Account) -> Reply:
        row = {
            "account_id": account_id(account), "account_type": "demo", "currency": CURRENCY,
            "balance": f"{self._dealer.balance(account.name):.2f}", "status": "active",
            "group": "row",
        }  # fmt: skip
        return Reply(200, {"data": [row], "meta": {}})

    def _otp(self, request: web.Request, account: Account) -> Reply:
        if request.match_info["account"] != account_id(account):
            return _error(404, "contract_not_found", "NotFound")
        password = self._passwords.make(account, account.api_key)
        url = f"ws://{request.host}/trading/v1/options/ws/demo?otp={password}"
        return Reply(200, {"data": {"url": url}, "meta": {}})

    def _reset(self, request: web.Request, account: Account) -> Reply:
        if request.match_info["account"] != account_id(account):
            return _error(404, "contract_not_found", "NotFound")
        balance = self._dealer.balance(account.name)
        missing = int((DEMO_BALANCE - balance) * UNIT)
        self._venue.drift(account.name, CURRENCY, missing)
        return Reply(200, {"data": {"balance": f"{DEMO_BALANCE:.2f}"}, "meta": {}})


def _error(status: int, name: str, code: str = "") -> Reply:
    known, message = ERRORS[name]
    body: Json = {
        "errors": [{"status": status, "code": code or known, "message": message}], "meta": {},
    }  # fmt: skip
    return Reply(status, body)


def _fault(name: str, params: dict[str, int]) -> Reply:
    statuses = {"rate_limit_429": 429, "ban_418": 429, "auth_revoked": 401, "maintenance": 503}
    status = params.get("status") or statuses.get(name, 500)
    reply = _error(status, name)
    if "retry_after_s" in params:
        reply.headers["Retry-After"] = str(params["retry_after_s"])
    return reply
