"""OKX spot, orders over the private WebSocket: op order and cancel-order. Pure.

https://www.okx.com/docs-v5/en/#order-book-trading-trade-ws-place-order. The link logs in once; then
requests carry no signature. Arguments and rows are REST's, but the instrument is named by its number
(`instIdCode`) where the venue has told one, as its documentation asks for on this link.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

import hmac
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

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
from adapters.okx import AUTH_CODES, SERVICE_UPGRADE
from adapters.trade_codec import Answer, TradeEvent

OPS: Final[Mapping[str, str]] = {
    "privatePostTradeOrder": "order",
    "privatePostTradeCancelOrder": "cancel-order",
}
NOT_LOGGED_IN: Final = "60011"
# REST answers with an HTTP status, this link with a code alone. What belongs to the whole request and
# not to an order's row is a definite no only for these, which the gateway says before anything else.
REFUSED_AT_THE_DOOR: Final = frozenset(
    {"50000", "50002", "50014", NOT_LOGGED_IN, "60012", "60013", "60018"}
)
SERVER_ERRORS: Final = frozenset({"50026", "51054"})  # HTTP 500 over REST


class _Row(msgspec.Struct):
    sCode: str = ""
    sMsg: str = ""


class _Frame(msgspec.Struct):
    # {"id":"7","op":"order","code":"0","msg":"","data":[{"clOrdId":"ce01","ordId":"12","tag":"",
    #  "ts":"1695190491421","sCode":"0","sMsg":""}],"inTime":"...","outTime":"..."}
    id: str | None = None
    op: str = ""
    event: str = ""
    code: str = ""
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


_decode = msgspec.json.Decoder(_Frame).decode
_decode_rows = msgspec.json.Decoder(list[_Row]).decode
_decode_any = msgspec.json.Decoder(float_hook=str).decode
_encode = msgspec.json.Encoder().encode
_MALFORMED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError)


class OkxTrade:
    """OKX spot's trading link for one account. `codes` maps instId to instIdCode, as far as known."""

    needs_login = True
    relogin_codes = frozenset({NOT_LOGGED_IN})

    def __init__(self, credentials: Credentials, codes: Mapping[str, int]) -> None:
        self._credentials = credentials
        self._codes = codes

    def login(self, now_ms: int) -> list[str]:
        """Log in: base64 HMAC over timestamp (seconds) + GET + /users/self/verify."""
        timestamp = str(now_ms // 1000)
        secret = self._credentials.api_secret.reveal().encode()
        digest = hmac.new(secret, f"{timestamp}GET/users/self/verify".encode(), sha256).digest()
        login = {
            "apiKey": self._credentials.api_key.reveal(),
            "passphrase": self._credentials.passphrase.reveal(),
            "timestamp": timestamp,
            "sign": b64encode(digest).decode(),
        }
        return [_encode({"op": "login", "args": [login]}).decode()]

    def request(self, request_id: str, call: RestCall, now_ms: int, expires_ms: int) -> str | None:
        """Return the request; orders carry the time after which the venue must not act on them."""
        op = OPS.get(call.method)
        if op is None:
            return None
        args: dict[str, str | int] = dict(call.params)
        code = self._codes.get(call.params["instId"])
        if code is not None:
            del args["instId"]
            args["instIdCode"] = code
        frame: dict[str, Any] = {"id": request_id, "op": op, "args": [args]}
        if call.expires:
            frame["expTime"] = str(now_ms + expires_ms)
        return _encode(frame).decode()

    def on_frame(self, raw: bytes) -> TradeEvent:
        """Parse one frame."""
        if raw == b"pong":
            return Heartbeat()
        if len(raw) > FRAME_BYTES_MAX:
            return Problem("huge", f"{len(raw)} bytes")
        try:
            frame = _decode(raw)
            if frame.event:
                return _control(frame)
            if not frame.id:
                return Problem("unknown_frame", f"an answer to nothing, op {frame.op[:40]!r}")
            return _answer(frame, frame.id)
        except _MALFORMED as error:
            return Problem("malformed", str(error)[:160])


# The reason of a refused order stands in its row; the frame's own code then only says "1".
def _answer(frame: _Frame, request_id: str) -> Answer:
    data = bytes(frame.data)
    rows = _decode_rows(data) if data else []
    refused = next((row for row in rows if row.sCode not in ("", "0")), None)
    if refused is not None:
        status = 500 if refused.sCode in SERVER_ERRORS else 200
        return Answer(request_id, status, refused.sCode[:40], refused.sMsg[:300], None)
    if frame.code == "0":
        return Answer(request_id, 200, "0", "", {"data": _decode_any(data) if data else None})
    status = 400 if frame.code in REFUSED_AT_THE_DOOR else 0
    return Answer(request_id, status, frame.code[:40], frame.msg[:300], None)


def _control(frame: _Frame) -> TradeEvent:
    text = f"{frame.code} {frame.msg}"[:300]
    if frame.event == "login":
        return Acked("login") if frame.code in ("", "0") else Denied(frame.code, text)
    if frame.event == "error":
        denied = frame.code in AUTH_CODES
        return Denied(frame.code, text) if denied else Reconnect(f"error {text}")
    if frame.event == "notice" and frame.code == SERVICE_UPGRADE:
        return Reconnect(f"notice {text}")
    return Heartbeat()
