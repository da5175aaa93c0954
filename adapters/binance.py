"""Binance spot, the streams: market data, and the user stream of the WebSocket API. Pure.

https://github.com/binance/binance-spot-api-docs: web-socket-streams.md, web-socket-api.md,
user-data-stream.md. Listen keys are gone since 2026-02; the user stream is subscribed with a
signature on the WebSocket API. REST is in adapters/binance_rest.py.
"""

import hmac
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Final

import msgspec

from adapters.codec import (
    FRAME_BYTES_MAX,
    NS_PER_MS,
    Acked,
    BookTop,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    RenewSoon,
    StreamEvent,
    Verification,
    WireId,
    WireMs,
    ms_of,
)
from engine.messages.base import Side
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import (
    BalanceReport,
    BalanceUpdate,
    FillReport,
    OrderReport,
    VenueStatus,
)
from engine.trading.book import LEVELS_MAX, Policy

RECV_WINDOW_MS: Final = 5000
# Codes that say the key is wrong, revoked or not allowed: no retry mends them.
AUTH_CODES: Final = frozenset({-2014, -2015, -1022, -1002})
STATUS: Final[Mapping[str, VenueStatus]] = {
    "NEW": "NEW",
    "PENDING_NEW": "NEW",
    "PARTIALLY_FILLED": "PARTIALLY_FILLED",
    "FILLED": "FILLED",
    "CANCELED": "CANCELED",
    "PENDING_CANCEL": "NEW",
    "REJECTED": "REJECTED",
    "EXPIRED": "EXPIRED",
    "EXPIRED_IN_MATCH": "EXPIRED",
}
_Levels = list[tuple[str, str]]


class _Data(msgspec.Struct, gc=False):
    # One struct for all market frames: their letters clash only in type, which the unions allow.
    e: str = ""
    E: WireMs = 0
    s: str = ""
    U: WireId = 0
    u: WireId = 0
    pu: WireId | None = None
    b: _Levels | str | int = ""
    a: _Levels | str | int = ""
    t: int | str = 0
    p: str = ""
    q: str | int = ""
    T: WireMs | str = 0
    m: bool = False


class _Error(msgspec.Struct):
    code: int = 0
    msg: str = ""


class _Frame(_Data, gc=False):
    stream: str = ""
    data: _Data | None = None
    id: int | str | None = None
    error: _Error | None = None


class _Reply(msgspec.Struct):
    # {"id":"1","status":200,"result":{...}} or {"subscriptionId":0,"event":{...}}
    id: int | str | None = None
    status: int = 0
    error: _Error | None = None
    event: msgspec.Raw = msgspec.Raw()


class _Kind(msgspec.Struct):
    e: str = ""


class _Execution(msgspec.Struct):
    E: WireMs
    s: str
    c: str
    S: Side
    o: str
    q: Decimal
    p: Decimal
    x: str
    X: str
    i: int
    l: Decimal  # noqa: E741  the venue's letter
    z: Decimal
    L: Decimal
    T: WireMs
    t: int
    C: str = ""
    r: str = "NONE"
    n: Decimal | None = None
    N: str | None = None
    m: bool = False


class _Held(msgspec.Struct):
    a: str
    f: Decimal
    l: Decimal  # noqa: E741


class _Position(msgspec.Struct):
    E: WireMs
    B: list[_Held]


_decode_public = msgspec.json.Decoder(_Frame).decode
_decode_private = msgspec.json.Decoder(_Reply).decode
_decode_kind = msgspec.json.Decoder(_Kind).decode
_decode_execution = msgspec.json.Decoder(_Execution).decode
_decode_position = msgspec.json.Decoder(_Position).decode
_encode = msgspec.json.Encoder().encode
_MALFORMED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError)


def venue_symbol(symbol: str) -> str:
    """BTC/USDT -> BTCUSDT."""
    return symbol.replace("/", "")


class BinanceCodec:
    """Binance spot's frames, both links. `symbols` maps the venue's spelling to ours."""

    policy: Policy = "U_u"
    verification: Verification = "sequence"
    levels_max = LEVELS_MAX
    ping_text: str | None = None
    private_acks = 1
    has_stream_snapshots = False

    def __init__(
        self,
        venue: str,
        account: str,
        symbols: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:
        self.venue = venue
        self.account = account
        self._symbols = symbols
        self._credentials = credentials

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USDT -> BTCUSDT."""
        return venue_symbol(symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """One request for all streams: the venue allows five messages a second."""
        names = [f"{s.lower()}@{kind}" for s in self._symbols for kind in ("depth@100ms", "trade")]
        return [_encode({"method": "SUBSCRIBE", "params": names, "id": 1}).decode()]

    def resubscribe(self, symbol: str) -> list[str]:
        """Nothing: the snapshot comes by REST while the stream goes on."""
        del symbol
        return []

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame, raw or of a combined stream.

        {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161601273,"s":"BTCUSDT",
         "U":50093421585,"u":50093421612,"b":[["61685.99000000","1.25869000"]],"a":[]}}
        """
        if len(raw) > FRAME_BYTES_MAX:
            return [Problem("huge", f"{len(raw)} bytes")]
        try:
            frame = _decode_public(raw)
        except _MALFORMED as error:
            return [Problem("malformed", _shortly(error, raw))]
        data = frame if frame.data is None else frame.data
        if data.e == "depthUpdate":
            symbol = self._symbols.get(data.s)
            if symbol is None:
                return [Problem("unknown_symbol", data.s[:40])]
            bids, asks = data.b, data.a
            if not isinstance(bids, list) or not isinstance(asks, list) or data.u < data.U:
                return [Problem("malformed", f"depthUpdate of {symbol} without levels or ids")]
            return [
                BookDelta(symbol, data.U, data.u, data.pu, bids, asks, data.E * NS_PER_MS)
            ]  # positional: this is the hottest line of the codec
        if data.e == "trade":
            return [self._trade(data, recv_ns)]
        if data.e == "serverShutdown":
            return [RenewSoon("serverShutdown")]
        if (
            data.e in ("", "bookTicker")
            and data.u
            and isinstance(data.b, str)
            and isinstance(data.a, str)
        ):
            named = self._symbols.get(data.s)
            return [BookTop(named, data.u, data.b, data.a)] if named else [Heartbeat()]
        if frame.error is not None:
            return [Reconnect(f"subscription refused: {frame.error.code} {frame.error.msg}"[:300])]
        if frame.id is not None:
            return [Acked("public")]
        return [Problem("unknown_frame", _head(raw))] if data.e == "" else [Heartbeat()]

    def _trade(self, data: _Data, recv_ns: int) -> StreamEvent:
        symbol = self._symbols.get(data.s)
        if symbol is None:
            return Problem("unknown_symbol", data.s[:40])
        try:
            return TradePrint(
                venue=self.venue,
                symbol=symbol,
                trade_id=str(data.t),
                side="SELL" if data.m else "BUY",  # `m`: the buyer was the maker
                price=Decimal(data.p),
                quantity=Decimal(data.q),
                ts_event_ns=ms_of(str(data.T)) * NS_PER_MS,
                ts_received_ns=recv_ns,
            )
        except (ArithmeticError, ValueError):
            return Problem("malformed", f"trade of {symbol}: {data.p[:40]!r}")

    # --- private

    def login(self, now_ms: int) -> list[str]:
        """Subscribe the user stream, signed: HMAC over the parameters sorted by key."""
        assert self._credentials is not None, "a private link needs credentials"
        params = {
            "apiKey": self._credentials.api_key.reveal(),
            "recvWindow": str(RECV_WINDOW_MS),
            "timestamp": str(now_ms),
        }
        text = "&".join(f"{key}={params[key]}" for key in sorted(params))
        secret = self._credentials.api_secret.reveal().encode()
        signature = hmac.new(secret, text.encode(), sha256).hexdigest()
        request = {
            "id": "user",
            "method": "userDataStream.subscribe.signature",
            "params": {
                "apiKey": params["apiKey"],
                "recvWindow": RECV_WINDOW_MS,
                "timestamp": now_ms,
                "signature": signature,
            },
        }
        return [_encode(request).decode()]

    def after_login(self) -> list[str]:
        """Nothing: subscribing was the login."""
        return []

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the WebSocket API.

        {"subscriptionId":0,"event":{"e":"executionReport","E":1499405658658,"s":"ETHBTC",
         "c":"ce01...","S":"BUY","o":"LIMIT","f":"GTC","q":"1.0","p":"0.1","C":"","x":"NEW",
         "X":"NEW","r":"NONE","i":4293153,"l":"0.0","z":"0.0","L":"0.0","n":"0","N":null,
         "T":1499405658657,"t":-1,"m":false, ...}}
        """
        del recv_ns
        if len(raw) > FRAME_BYTES_MAX:
            return [Problem("huge", f"{len(raw)} bytes")]
        try:
            reply = _decode_private(raw)
            event = bytes(reply.event)
            if not event:
                return [_answer(reply)]
            return self._user_event(_decode_kind(event).e, event)
        except _MALFORMED as error:
            return [Problem("malformed", _shortly(error, raw))]

    def _user_event(self, kind: str, raw: bytes) -> list[StreamEvent]:
        if kind == "executionReport":
            return self._execution(_decode_execution(raw))
        if kind == "outboundAccountPosition":
            position = _decode_position(raw)
            held = [BalanceReport(h.a, h.f, h.l) for h in position.B]
            return [BalanceUpdate(self.account, held, position.E * NS_PER_MS)]
        if kind == "eventStreamTerminated":
            return [Reconnect(kind)]
        if kind == "serverShutdown":
            return [RenewSoon(kind)]
        return [Heartbeat()]

    def _execution(self, report: _Execution) -> list[StreamEvent]:
        symbol = self._symbols.get(report.s)
        status = STATUS.get(report.X)
        if symbol is None or status is None:
            return [
                Problem("unknown_symbol" if symbol is None else "unknown_status", report.s[:40])
            ]
        # On CANCELED the order's own id is `C`; `c` is the cancel's.
        client_order_id = report.C if report.x == "CANCELED" and report.C else report.c
        events: list[StreamEvent] = []
        if report.x == "TRADE" and report.l > 0:
            events.append(
                FillReport(
                    account=self.account,
                    client_order_id=client_order_id,
                    venue_order_id=str(report.i),
                    trade_id=str(report.t),
                    symbol=symbol,
                    side=report.S,
                    price=report.L,
                    quantity=report.l,
                    fee=report.n or Decimal(0),
                    fee_asset=report.N or "",
                    liquidity="MAKER" if report.m else "TAKER",
                    source="stream",
                    ts_event_ns=report.T * NS_PER_MS,
                )
            )
        events.append(
            OrderReport(
                account=self.account,
                client_order_id=client_order_id,
                venue_order_id=str(report.i),
                symbol=symbol,
                side=report.S,
                order_type="MARKET" if report.o == "MARKET" else "LIMIT",
                quantity=report.q,
                price=report.p or None,
                status=status,
                filled_quantity=report.z,
                reason="" if report.r == "NONE" else report.r[:200],
                source="stream",
                ts_event_ns=report.T * NS_PER_MS,
            )
        )
        return events


def _answer(reply: _Reply) -> StreamEvent:
    if reply.status == 200:
        return Acked("private")
    if reply.error is None:
        return Problem("unknown_frame", f"WebSocket API answer with status {reply.status}")
    text = f"{reply.error.code} {reply.error.msg}"[:300]
    if reply.status == 401 or reply.error.code in AUTH_CODES:
        return Denied(str(reply.error.code), text)
    return Reconnect(f"user stream refused: {text}")


def _head(raw: bytes) -> str:
    return raw[:120].decode("utf-8", "replace")


def _shortly(error: Exception, raw: bytes) -> str:
    return f"{str(error)[:160]} in {_head(raw)!r}"
