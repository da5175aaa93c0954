"""REST through ccxt: its signing and its error maps, none of its retries, throttle or floats.

Calls go through ccxt's raw endpoints with exact texts, so ccxt neither rounds a price nor parses an
amount; answers come back with every number as text. One instance per worker thread: a ccxt object
is not thread safe. What went wrong is told as evidence (HTTP status, venue code, transport cause),
never as an exception class alone, and never with the request's URL, which carries the signature.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.exceptions import ChunkedEncodingError, ContentDecodingError, ReadTimeout
from urllib3.poolmanager import PoolManager

from adapters import ccxt_classes as ccxt
from adapters.codec import Credentials, RestCall
from adapters.gate import GateShut, Sending, pool_classes
from adapters.offset import ClockOffset
from adapters.outcome import Action, Evidence
from adapters.turnstile import Turnstile
from adapters.wire import rfc3339_of_ms
from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.errors import Refused

REPLY_BYTES_MAX: Final = 32 * 1024 * 1024
IDLE_NS_MAX: Final = 20 * NS_PER_S
CHAIN_MAX: Final = 12
FINE: Final = frozenset({"", "0", "200000"})
COINBASE_WORDS: Final = ("message", "error_details", "preview_failure_reason")
# Which of ccxt's addresses lead to a venue's REST, where it is not `rest`.
ADDRESSES: Final[Mapping[str, tuple[str, ...]]] = {
    "kucoin": ("public", "private"),
    "bybit": ("public", "private"),
    "kraken": ("public", "private"),
}
# What keeps ccxt from calling anything that was not asked for (venues differ in what they serve).
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "binance": {"fetchMarkets": {"types": ["spot"]}, "fetchCurrencies": False,
                "fetchMargins": False},
    "okx": {"fetchMarkets": {"types": ["spot"]}, "createOrder": "privatePostTradeOrder"},
}  # fmt: skip


class RestFailure(Exception):
    """A call that did not plainly succeed, with all that is known of it."""

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(f"{evidence.http_status} {evidence.code} {evidence.message}"[:200])
        self.evidence = evidence


class ReplyTooSlow(ReadTimeout):
    """The answer's body did not arrive within the read timeout in total."""


class ReplyTooLarge(ChunkedEncodingError):
    """The answer's body is larger than any answer of a venue."""


class _Transport(HTTPAdapter):
    # requests' adapter with two timeouts, a deadline for the whole body, and the gate.
    def __init__(self, sending: Sending, clock: Clock, timeouts_s: tuple[float, float]) -> None:
        self._sending = sending
        self._clock = clock
        self._timeouts_s = timeouts_s
        super().__init__(max_retries=0, pool_connections=2, pool_maxsize=2)

    def init_poolmanager(
        self, connections: int, maxsize: int, block: bool = False, **kwargs: Any
    ) -> None:
        self.poolmanager = PoolManager(connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = pool_classes(self._sending)

    def send(self, request: Any, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        kwargs |= {"timeout": self._timeouts_s, "stream": True}
        response = super().send(request, **kwargs)
        response._content = self._read(response.raw, request)  # noqa: SLF001  as requests does
        response._content_consumed = True  # type: ignore[attr-defined]  # noqa: SLF001
        return response

    def _read(self, raw: Any, request: Any) -> bytes:
        deadline_ns = self._clock.mono_ns() + int(self._timeouts_s[1] * NS_PER_S)
        parts: list[bytes] = []
        size, is_whole = 0, False
        try:
            while chunk := raw.read1(65536, decode_content=True):
                parts.append(chunk)
                size += len(chunk)
                if size > REPLY_BYTES_MAX:
                    raise ReplyTooLarge(request=request)
                if self._clock.mono_ns() > deadline_ns:
                    raise ReplyTooSlow(request=request)
            is_whole = True
        except urllib3.exceptions.DecodeError as error:
            raise ContentDecodingError(error, request=request) from error
        except urllib3.exceptions.ReadTimeoutError as error:
            raise ReadTimeout(error, request=request) from error
        except urllib3.exceptions.HTTPError as error:
            raise ChunkedEncodingError(error, request=request) from error
        finally:
            if not is_whole:
                raw.close()  # what is left unread must never be taken for the next answer
        raw.release_conn()
        return b"".join(parts)


class _Tap:
    # What the last request and answer were; reset before each call.
    def __init__(self, offset: ClockOffset, turnstile: Turnstile | None, clock: Clock) -> None:
        self.offset = offset
        self.clock = clock
        self.turnstile = turnstile
        self.attempted = False
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.body = ""
        self.expires_ms: int | None = None

    def reset(self, expires_ms: int | None) -> None:
        self.attempted = False
        self.status = None
        self.headers = {}
        self.body = ""
        self.expires_ms = expires_ms


def _tapped(base: Any) -> Any:
    # ccxt's class with our clock for signatures and a tap on what passes.
    class Tapped(base):  # type: ignore[misc]
        tap: _Tap

        def nonce(self) -> int:
            turnstile = self.tap.turnstile
            if turnstile is None:
                return self.tap.offset.now_ms()
            # Our own clock: the venue's is known to a second only, and the next session's estimate
            # may be the lower one. Then every nonce would be refused until it has caught up.
            return turnstile.nonce(self.tap.clock.wall_ns() // NS_PER_MS)

        def seconds(self) -> int:
            return self.tap.offset.now_ms() // 1000  # Coinbase's tokens are dated by it

        def sign(
            self,
            path: Any,
            api: Any = "public",
            method: Any = "GET",
            params: Any = None,
            *more: Any,
        ) -> Any:
            expiry_ms = 0
            if self.tap.expires_ms is not None:
                expiry_ms = self.tap.offset.now_ms() + self.tap.expires_ms
            if expiry_ms and self.id == "kraken":
                params = {**(params or {}), "deadline": rfc3339_of_ms(expiry_ms)}
            signed = super().sign(path, api, method, {} if params is None else params, *more)
            if expiry_ms and self.id == "okx":
                signed["headers"] = {**(signed["headers"] or {}), "expTime": str(expiry_ms)}
            return signed

        # ccxt's own reader makes floats; amounts, prices and ids must come as they were written.
        def on_json_response(self, body: Any) -> Any:
            return json.loads(body, parse_float=str, parse_int=str)

        def fetch(self, *args: Any, **kwargs: Any) -> Any:
            self.tap.attempted = True
            return super().fetch(*args, **kwargs)

        def on_rest_response(
            self, code: Any, reason: Any, url: Any, method: Any, response_headers: Any,
            response_body: Any, request_headers: Any, request_body: Any,
        ) -> Any:  # fmt: skip
            self.tap.status = int(code)
            self.tap.headers = dict(response_headers)
            self.tap.body = response_body
            return super().on_rest_response(
                code, reason, url, method, response_headers, response_body, request_headers,
                request_body,
            )  # fmt: skip

    Tapped.__name__ = base.__name__
    return Tapped


class CcxtRest:
    """One worker's REST client of one venue. Not thread safe; blocks up to the timeouts."""

    def __init__(
        self,
        exchange_id: str,
        url: str,
        credentials: Credentials,
        *,
        offset: ClockOffset,
        clock: Clock,
        timeouts_s: tuple[float, float] = (2.0, 5.0),
        expires_ms: int = 5000,
        turnstile: Turnstile | None = None,
        more_headers: Mapping[str, str] | None = None,
    ) -> None:
        self._clock = clock
        self._expires_ms = expires_ms
        self._used_ns = clock.mono_ns()
        self._tap = _Tap(offset, turnstile, clock)
        self.sending = Sending(clock)
        self._ccxt = _tapped(ccxt.exchange_class(exchange_id))(
            {
                "apiKey": credentials.api_key.reveal(),
                "secret": credentials.api_secret.reveal(),
                "password": credentials.passphrase.reveal(),
                "enableRateLimit": False,
                "timeout": int(sum(timeouts_s) * 1000),
                "options": {**OPTIONS.get(exchange_id, {}), "maxRetriesOnFailure": 0},
            }
        )
        self._ccxt.tap = self._tap
        self._ccxt.headers = {**self._ccxt.headers, **(more_headers or {})}
        self.aim(exchange_id, url)
        session = self._ccxt.session
        session.max_redirects = 0  # a redirected order would be sent twice
        session.trust_env = not _is_loopback(url)
        transport = _Transport(self.sending, clock, timeouts_s)
        session.mount("https://", transport)
        session.mount("http://", transport)

    def call(
        self,
        call: RestCall,
        action: Action = "read",
        gate: Callable[[], AbstractContextManager[None]] | None = None,
    ) -> Any:
        """Make the call and return the answer with numbers as texts.

        Raises RestFailure with the evidence, or GateShut when the gate let nothing out. Waits for its
        turn first where the venue takes one signed request at a time.
        """
        turnstile = self._tap.turnstile
        is_signed = "private" in call.method.lower()
        has_turn = nullcontext() if turnstile is None or not is_signed else turnstile.turn(action)
        with has_turn:
            return self._call(call, action, gate)

    def _call(
        self,
        call: RestCall,
        action: Action,
        gate: Callable[[], AbstractContextManager[None]] | None,
    ) -> Any:
        self._drop_idle_connections()
        self._tap.reset(self._expires_ms if call.expires else None)
        self.sending.reset(gate)
        try:
            return self.invoke(call)
        except GateShut:
            raise
        except (ccxt.BaseError, requests.RequestException, Refused, OSError) as error:
            raise RestFailure(self.evidence(action, error)) from None
        except ValueError as error:
            if self._tap.attempted:
                raise
            raise RestFailure(self._unsigned(action, error)) from None
        finally:
            self._used_ns = self._clock.mono_ns()

    def aim(self, exchange_id: str, url: str) -> None:
        """Point ccxt at the venue's address."""
        _point_at(self._ccxt, exchange_id, url)

    def invoke(self, call: RestCall) -> Any:
        """Make the call itself."""
        return getattr(self._ccxt, call.method)(dict(call.params))

    def evidence(self, action: Action, error: Exception | None = None) -> Evidence:
        """Return what is known of the last call; `error` None tells of an odd success."""
        code, message = venue_error(self._tap.body)
        causes = tuple(_causes(error)) if error is not None else ()
        classes = () if error is None else tuple(c.__name__ for c in type(error).__mro__[:-2])
        if isinstance(error, Refused):
            code, message = error.code, error.text
        return Evidence(
            action=action,
            attempted=self._tap.attempted,
            left=self.sending.left,
            classes=classes,
            causes=causes,
            http_status=self._tap.status,
            code=code,
            message=message,
            headers=self._tap.headers,
            odd_success=error is None and not code,
        )

    # ccxt signs with what it is given: a secret that is no key of its venue fails there.
    def _unsigned(self, action: Action, error: Exception) -> Evidence:
        text = "the secret cannot sign: it is not in the form that the venue gives it"
        evidence = self.evidence(action, error)
        return evidence._replace(classes=("AuthenticationError",), causes=(), message=text)

    @property
    def headers(self) -> Mapping[str, str]:
        """The last answer's headers."""
        return self._tap.headers

    def close(self) -> None:
        """Close the connections."""
        self._ccxt.session.close()

    # A connection idle for long is the likeliest to die under a POST, whose outcome is then unknown.
    def _drop_idle_connections(self) -> None:
        if self._clock.mono_ns() - self._used_ns > IDLE_NS_MAX:
            self._ccxt.session.close()


def venue_error(body: str) -> tuple[str, str]:
    """Return the venue's code and words, both empty for an answer that refuses nothing.

    Binance and KuCoin {code,msg}, OKX {code,msg,data:[{sCode,sMsg}]}, Bybit {retCode,retMsg},
    Kraken {error:[".."]}, Coinbase {error,message}, {success:false,error_response:{error,..}}, or for
    a cancel {results:[{success:false,failure_reason}]}.
    """
    try:
        answer = json.loads(body, parse_float=str) if body else None
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(answer, dict):
        return "", ""
    rows = answer.get("data")
    row = rows[0] if isinstance(rows, list) and rows and isinstance(rows[0], dict) else {}
    s_code = str(row.get("sCode", ""))
    if s_code not in ("", "0"):
        return s_code[:40], str(row.get("sMsg", ""))[:300]
    code, text = _refusal(answer)
    return ("", "") if code in FINE else (code[:64], text[:300])


def _refusal(answer: Mapping[str, Any]) -> tuple[str, str]:
    error = answer.get("error")
    if isinstance(error, list):
        return (str(error[0]), str(error[0])) if error else ("", "")
    results = answer.get("results")
    if isinstance(results, list) and len(results) == 1 and isinstance(results[0], dict):
        failed = results[0].get("success") is False
        code = str(results[0].get("failure_reason") or "UNKNOWN_FAILURE_REASON") if failed else ""
        return code, code
    refused = answer.get("error_response")
    if answer.get("success") is False and isinstance(refused, dict):
        text = " ".join(str(refused[k]) for k in ("error", *COINBASE_WORDS) if refused.get(k))
        return str(refused.get("error") or "UNKNOWN_FAILURE_REASON"), text
    if isinstance(error, str):
        return error, str(answer.get("message", ""))
    if "retCode" in answer:
        return str(answer["retCode"]), str(answer.get("retMsg", ""))
    return str(answer.get("code", "")), str(answer.get("msg", ""))


def _causes(error: BaseException) -> Iterator[str]:
    # Class names along __cause__, and through what requests and urllib3 wrap in args and reason.
    seen: list[BaseException] = []
    waiting = [error.__cause__ or error.__context__]
    while waiting and len(seen) < CHAIN_MAX:
        cause = waiting.pop(0)
        if not isinstance(cause, BaseException) or cause in seen:
            continue
        seen.append(cause)
        for cls in type(cause).__mro__:
            if cls in (Exception, BaseException, object):
                break
            yield cls.__name__
        waiting += [getattr(cause, "reason", None), cause.__cause__]
        waiting += [arg for arg in cause.args if isinstance(arg, BaseException)]


def _point_at(exchange: Any, exchange_id: str, url: str) -> None:
    root = url.rstrip("/")
    if exchange_id == "binance":
        base = root if root.endswith("/api/v3") else f"{root}/api/v3"
        for name in ("public", "private", "v1"):
            exchange.urls["api"][name] = base
        exchange.urls["api"]["sapi"] = f"{base.removesuffix('/api/v3')}/sapi/v1"
    else:
        for name in ADDRESSES.get(exchange_id, ("rest",)):
            exchange.urls["api"][name] = root


def _is_loopback(url: str) -> bool:
    return (urlsplit(url).hostname or "") in ("127.0.0.1", "localhost", "::1")
