"""Who may speak to the page: this host's names, this start's token, and no other site's scripts.

A page on loopback is reachable by any web site that the user's browser visits: by DNS rebinding (so
the Host header is checked), by forged requests (so the Origin is), and by anybody on the machine (so
a token is needed). The token comes once in the printed URL and then lives in a cookie that scripts
cannot read.
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Middleware

LOOPBACK_NAMES: Final = ("127.0.0.1", "localhost", "[::1]", "::1")
COOKIE: Final = "xcore_page"
CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'"
)
HEADERS: Final = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}
WELCOME: Final = (
    "401: this page needs its token. Open the URL that the core printed at its start, or ask for it:\n"
    "    xcore dashboard --url\n"
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Guard:
    """The rules of one start."""

    token: str
    host: str
    allowed_hosts: tuple[str, ...] = field(default=())

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach the page."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def knows_host(self, given: str) -> bool:
        """Tell whether a Host header names us."""
        name = urlsplit(f"//{given}").hostname or ""
        return name in (*LOOPBACK_NAMES, self.host, *self.allowed_hosts)

    def middleware(self) -> Middleware:
        """Return what stands before every handler of the page."""

        @web.middleware
        async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = self._refuse(request)
            response: web.StreamResponse
            if refusal is not None:
                response = refusal
            else:
                try:
                    response = await handler(request)
                except web.HTTPException as error:
                    response = web.Response(status=error.status, text=f"{error.status}\n")
            if not response.prepared:
                response.headers.update(HEADERS)
            return response

        return check

    def _refuse(self, request: web.Request) -> web.Response | None:
        if not self.knows_host(request.host):
            return web.Response(status=421, text="421: this page does not go by that name\n")
        if request.method == "GET" and request.path == "/" and "token" in request.query:
            return self._let_in(request)
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if bearer:
            return None if self._is_token(bearer) else web.Response(status=401, text=WELCOME)
        if not self._is_token(request.cookies.get(f"{COOKIE}_{_port(request)}", "")):
            return web.Response(status=401, text=WELCOME)
        origin = request.headers.get("Origin")
        changes = request.method not in ("GET", "HEAD") or "Upgrade" in request.headers
        if changes and origin != f"{request.scheme}://{request.host}":
            return web.Response(status=403, text="403: not from this page\n")
        return None

    # The token leaves the address bar at once; the cookie is for this port alone.
    def _let_in(self, request: web.Request) -> web.Response:
        if not self._is_token(request.query["token"]):
            return web.Response(status=401, text=WELCOME)
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            f"{COOKIE}_{_port(request)}", self.token, httponly=True, samesite="Strict", path="/"
        )
        return response

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self.token.encode())


def _port(request: web.Request) -> int:
    return urlsplit(f"//{request.host}").port or 80
