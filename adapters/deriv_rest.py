"""Deriv's REST half of the New API: which accounts a token has, and the one-time address of a socket.

`POST .../accounts/{id}/otp` gives a WebSocket address with a one-time password in it. It is good for one
connection, so each connection asks for a new one, and it is a secret: it goes from here to the socket and
nowhere else, into no log, no error text and no file. Standard library only: two calls need no client.

https://developers.deriv.com/docs : {"data": {"url": "wss://api.derivws.com/...?otp=..."}}, errors as
{"errors": [{"status": 401, "code": "Unauthorized", "message": "..."}], "meta": {...}}.
"""

import http.client
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from adapters.codec import Secret
from adapters.deriv_words import DerivError
from adapters.wire import MALFORMED

BODY_BYTES_MAX: Final = 1_000_000
PREFIX: Final = "/trading/v1/options/accounts"


class RestRefused(Exception):
    """The venue answered, and not with what was asked for."""

    def __init__(self, status: int, error: DerivError) -> None:
        super().__init__(f"HTTP {status} {error.code}: {error.message}")
        self.status = status
        self.error = error

    @property
    def is_auth(self) -> bool:
        """Whether the token or the app id is refused: trying again does not help."""
        return self.status in (401, 403)


class Account(NamedTuple):
    """One account of a login: {"account_id": "...", "account_type": "demo", "currency": "USD", ...}."""

    account_id: str
    kind: str
    currency: str
    is_active: bool


class DerivRest:
    """REST calls of one token. Each opens a connection of its own and blocks for `wait_s` at most."""

    def __init__(self, base_url: str, token: Secret, app_id: Secret, wait_s: float) -> None:
        self._base_url = base_url
        parts = urlsplit(base_url)
        self._is_tls = parts.scheme == "https"
        self._host, self._port = parts.hostname or "", parts.port
        self._token = token
        self._app_id = app_id
        self._wait_s = wait_s

    def accounts(self) -> list[Account]:
        """Return the accounts of the token. Raises RestRefused, OSError, ValueError."""
        data = self._call("GET", PREFIX).get("data")
        if not isinstance(data, list) or not all(isinstance(row, dict) for row in data):
            raise ValueError("no list of accounts in the answer")
        return [
            Account(
                str(row.get("account_id", ""))[:64],
                str(row.get("account_type", "")),
                str(row.get("currency", ""))[:20],
                str(row.get("status", "active")) == "active",
            )
            for row in data
        ]

    def one_time_url(self, account_id: str) -> str:
        """Return the address of the next connection, a secret. Raises as `accounts` does."""
        data = self._call("POST", f"{PREFIX}/{quote(account_id, safe='')}/otp").get("data")
        return address_of(data, self._base_url)

    def _call(self, method: str, path: str) -> dict[str, Any]:
        make = http.client.HTTPSConnection if self._is_tls else http.client.HTTPConnection
        connection = make(self._host, self._port, timeout=self._wait_s)
        headers = {
            "Authorization": f"Bearer {self._token.reveal()}",
            "Deriv-App-ID": self._app_id.reveal(),
            "Accept": "application/json",
        }
        try:
            connection.request(method, path, headers=headers)
            response = connection.getresponse()
            body = response.read(BODY_BYTES_MAX)
            status = response.status
        except http.client.HTTPException as error:
            raise OSError(f"no HTTP answer: {type(error).__name__}") from None
        finally:
            connection.close()
        try:
            answer = msgspec.json.decode(body)
        except MALFORMED:
            answer = None
        if status not in (200, 201) or not isinstance(answer, dict):
            raise RestRefused(status, _error(answer))
        return answer


def address_of(data: object, base_url: str) -> str:
    """Return the address in an answer; ValueError, without the address, unless it is the venue's own.

    A token's address over plain text, or at another place than where the token is known, is not used.
    """
    url = data.get("url") if isinstance(data, dict) else None
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme not in ("ws", "wss") or not parts.hostname:
        raise ValueError("no address in the answer to the one-time password")
    base = urlsplit(base_url)
    is_venues = _domain(parts.hostname) == _domain(base.hostname or "")
    if base.scheme == "https" and (parts.scheme != "wss" or not is_venues):
        raise ValueError("the address of the one-time password is not the venue's")
    return str(url)


def _domain(host: str) -> str:
    return ".".join(host.split(".")[-2:])


def _error(answer: object) -> DerivError:
    errors = answer.get("errors") if isinstance(answer, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return DerivError("", "no error that makes sense")
    return DerivError(str(first.get("code", ""))[:64], str(first.get("message", ""))[:300])
