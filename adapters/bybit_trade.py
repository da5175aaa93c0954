"""Bybit v5 spot, orders over the trading WebSocket: op order.create and order.cancel. Pure.

https://bybit-exchange.github.io/docs/v5/websocket/trade/guideline. The link logs in once; then requests
carry no signature, but their time and how long they are good for: the venue drops one that is older. The
arguments are REST's.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from adapters.bybit import LOGIN_MS, login_signature
from adapters.codec import (
    FRAME_BYTES_MAX,
    Acked,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    RestCall,
)
from adapters.trade_codec import Answer, TradeEvent
from adapters.wire import MALFORMED

OPS: Final[Mapping[str, str]] = {
    "privatePostV5OrderCreate": "order.create",
    "privatePostV5OrderCancel": "order.cancel",
}
FINE: Final = 0
# Said before anything else looks at the order: parameters, time, key, signature, permission, limits, op.
REFUSED_AT_THE_DOOR: Final = frozenset(
    {10001, 10002, 10003, 10004, 10005, 10006, 10018, 10403, 10404, 10429, 20003, 20006}
)
# Codes of spot's order system: REST's own, whose outcome the table of outcomes knows.
SPOT_CODES: Final = range(170_000, 171_000)
RESTARTS: Final = 10019  # no new request is taken on this connection; those in process go on
LOGIN_CLOCK: Final = 10002


class _Frame(msgspec.Struct):
    # {"reqId":"7","retCode":0,"retMsg":"OK","op":"order.create","data":{"orderId":"a4c1..",
    #  "orderLinkId":"ce01"},"retExtInfo":{},"header":{"X-Bapi-Limit":"10","Timenow":"1711001595209",
    #  "X-Bapi-Limit-Status":"9","X-Bapi-Limit-Reset-Timestamp":"1711001595208"},"connId":"cnt5.."}
    reqId: str = ""
    retCode: int | None = None
    retMsg: str = ""
    op: str = ""
    data: msgspec.Raw = msgspec.Raw()
    header: Mapping[str, Any] = {}


_decode = msgspec.json.Decoder(_Frame).decode
_decode_any = msgspec.json.Decoder(float_hook=str).decode
_encode = msgspec.json.Encoder().encode


class BybitTrade:
    """Bybit spot's trading link for one account."""

    needs_login = True
    relogin_codes: frozenset[str] = frozenset({"10003", "10005"})

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def login(self, now_ms: int) -> list[str]:
        """Log in, signed for the next seconds."""
        expires_ms = now_ms + LOGIN_MS
        signature = login_signature(self._credentials.api_secret.reveal(), expires_ms)
        args = [self._credentials.api_key.reveal(), expires_ms, signature]
        return [_encode({"op": "auth", "args": args}).decode()]

    def request(self, request_id: str, call: RestCall, now_ms: int, expires_ms: int) -> str | None:
        """Return the request, good for `expires_ms` from now."""
        op = OPS.get(call.method)
        if op is None:
            return None
        header = {"X-BAPI-TIMESTAMP": str(now_ms), "X-BAPI-RECV-WINDOW": str(expires_ms)}
        frame = {"reqId": request_id, "header": header, "op": op, "args": [dict(call.params)]}
        return _encode(frame).decode()

    def on_frame(self, raw: bytes) -> TradeEvent:
        """Parse one frame."""
        if len(raw) > FRAME_BYTES_MAX:
            return Problem("huge", f"{len(raw)} bytes")
        try:
            frame = _decode(raw)
            if frame.op in ("pong", "ping"):
                return Heartbeat()
            if frame.op == "auth":
                return _login(frame)
            if frame.retCode == RESTARTS and not frame.reqId:
                return Reconnect(f"{frame.retCode} {frame.retMsg}"[:300])
            if not frame.reqId or frame.retCode is None:
                return Problem("unknown_frame", f"an answer to nothing, op {frame.op[:40]!r}")
            return _answer(frame, frame.retCode)
        except MALFORMED as error:
            return Problem("malformed", str(error)[:160])


# What is not known to be a refusal has no status: it proves nothing.
def _answer(frame: _Frame, code: int) -> Answer:
    if code == FINE:
        time = int(str(frame.header.get("Timenow", "0")))
        data = bytes(frame.data)
        payload = {"result": _decode_any(data) if data else None, "time": time}
        return Answer(frame.reqId, 200, "0", "", payload)
    is_definite = code in REFUSED_AT_THE_DOOR or code in SPOT_CODES
    return Answer(frame.reqId, 200 if is_definite else 0, str(code), frame.retMsg[:300], None)


def _login(frame: _Frame) -> TradeEvent:
    text = f"{frame.retCode} {frame.retMsg}"[:300]
    if frame.retCode == FINE:
        return Acked("login")
    if frame.retCode == LOGIN_CLOCK or "expire" in frame.retMsg.lower():
        return Reconnect(f"login: {text}")
    return Denied(str(frame.retCode), text)
