"""Binance spot, orders over the WebSocket API: order.place, order.cancel, order.status. Pure.

https://github.com/binance/binance-spot-api-docs/blob/master/web-socket-api.md. Each request carries
its own HMAC signature: `session.logon` takes Ed25519 keys only. Parameters and results are REST's.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Final

import msgspec

from adapters.codec import FRAME_BYTES_MAX, Credentials, Problem, Reconnect, RestCall
from adapters.trade_codec import Answer, TradeEvent

METHODS: Final[Mapping[str, str]] = {
    "privatePostOrder": "order.place",
    "privateDeleteOrder": "order.cancel",
    "privateGetOrder": "order.status",
}
# Written as numbers in the request; signed as the same digits.
NUMBERS: Final = frozenset({"orderId", "recvWindow", "timestamp"})
SCOPES: Final[Mapping[tuple[str, str, int], str]] = {
    ("REQUEST_WEIGHT", "MINUTE", 1): "weight",
    ("ORDERS", "SECOND", 10): "orders",
    ("ORDERS", "DAY", 1): "orders_day",
}
# What ends a connection from the venue's side.
ENDINGS: Final = frozenset({"serverShutdown", "eventStreamTerminated"})


class _Wait(msgspec.Struct):
    serverTime: int = 0
    retryAfter: int = 0


class _Failure(msgspec.Struct):
    code: int = 0
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Limit(msgspec.Struct):
    rateLimitType: str = ""
    interval: str = ""
    intervalNum: int = 0
    count: int = 0


class _Event(msgspec.Struct):
    e: str = ""


class _Frame(msgspec.Struct):
    # {"id":"7","status":200,"result":{...},"rateLimits":[{"rateLimitType":"ORDERS","interval":
    #  "SECOND","intervalNum":10,"limit":50,"count":12}]}, or "error":{"code":-2010,"msg":"..."}
    id: str | int | None = None
    status: int = 0
    result: msgspec.Raw = msgspec.Raw()
    error: _Failure | None = None
    rateLimits: list[_Limit] = []
    event: _Event | None = None
    e: str = ""


_decode = msgspec.json.Decoder(_Frame).decode
_decode_result = msgspec.json.Decoder(float_hook=str).decode
_decode_wait = msgspec.json.Decoder(_Wait).decode
_encode = msgspec.json.Encoder().encode
_MALFORMED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError)


def signature(params: Mapping[str, str], secret: str) -> str:
    """Return the hex HMAC-SHA256 of the parameters, sorted by name and joined as in a query."""
    text = "&".join(f"{name}={params[name]}" for name in sorted(params))
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


class BinanceTrade:
    """Binance spot's trading link for one account."""

    needs_login = False
    relogin_codes: frozenset[str] = frozenset()

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def login(self, now_ms: int) -> list[str]:
        """Nothing: every request is signed."""
        del now_ms
        return []

    def request(self, request_id: str, call: RestCall, now_ms: int, expires_ms: int) -> str | None:
        """Return the signed request. Its expiry is the recvWindow, which the call carries."""
        del expires_ms
        method = METHODS.get(call.method)
        if method is None:
            return None
        key, secret = self._credentials.api_key.reveal(), self._credentials.api_secret.reveal()
        texts = {**call.params, "apiKey": key, "timestamp": str(now_ms)}
        params: dict[str, str | int] = {
            name: int(text) if name in NUMBERS else text for name, text in texts.items()
        }
        params["signature"] = signature(texts, secret)
        return _encode({"id": request_id, "method": method, "params": params}).decode()

    def on_frame(self, raw: bytes) -> TradeEvent:
        """Parse one frame. An error without an id belongs to no request that we know of."""
        if len(raw) > FRAME_BYTES_MAX:
            return Problem("huge", f"{len(raw)} bytes")
        try:
            frame = _decode(raw)
            kind = frame.event.e if frame.event is not None else frame.e
            if kind:
                return Reconnect(kind) if kind in ENDINGS else Problem("unknown_frame", kind[:40])
            if frame.id is None:
                return Problem("unknown_frame", f"an answer to nothing, status {frame.status}")
            return _answer(frame, str(frame.id))
        except _MALFORMED as error:
            return Problem("malformed", str(error)[:160])


def _answer(frame: _Frame, request_id: str) -> Answer:
    used = {
        scope: limit.count
        for limit in frame.rateLimits
        if (scope := SCOPES.get((limit.rateLimitType, limit.interval, limit.intervalNum)))
    }
    failure = frame.error
    if failure is None:
        result = bytes(frame.result)
        payload = _decode_result(result) if result else None
        return Answer(request_id, frame.status, "", "", payload, 0, used)
    message = failure.msg[:300]
    wait_s = _wait_s(bytes(failure.data))
    return Answer(request_id, frame.status, str(failure.code), message, None, wait_s, used)


# {"serverTime":1659142907531,"retryAfter":1659146400000}: when to come again, on the venue's clock.
def _wait_s(data: bytes) -> int:
    try:
        wait = _decode_wait(data) if data else _Wait()
    except _MALFORMED:
        return 0
    return max(0, -((wait.serverTime - wait.retryAfter) // 1000)) if wait.retryAfter else 0
