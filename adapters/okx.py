"""OKX, the streams: books with sequence and checksum, trades, private orders and account. Pure.

https://www.okx.com/docs-v5/en/#order-book-trading-market-data-ws-order-book-channel and
#overview-websocket. REST is in adapters/okx_rest.py.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

import hmac
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, Final

import msgspec

from adapters.codec import (
    FRAME_BYTES_MAX,
    NS_PER_MS,
    Acked,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    RenewSoon,
    StreamEvent,
    Verification,
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

SERVICE_UPGRADE: Final = "64008"
BOOK_CHANNELS: Final = frozenset({"books", "books-l2-tbt", "books50-l2-tbt"})
# 60005 invalid key, 60006 timestamp, 60007 sign, 60009 login failed, 60024 passphrase, 60022 ip
AUTH_CODES: Final = frozenset({"60005", "60007", "60022", "60024", "60032"})
STATUS: Final[Mapping[str, VenueStatus]] = {
    "live": "NEW",
    "partially_filled": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
    "mmp_canceled": "CANCELED",
}
# IOC or FOK remainder, post-only that would take, self trade: the venue's own rule ended it.
EXPIRED_SOURCES: Final = frozenset({"13", "14", "31", "32"})
SIDES: Final[Mapping[str, Side]] = {"buy": "BUY", "sell": "SELL"}
# Signed: a snapshot's predecessor is -1, a checksum is a signed integer.
WireSeq = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Levels = list[tuple[str, str, str, str]]


class _Arg(msgspec.Struct, gc=False):
    channel: str = ""
    instId: str = ""


class _Detail(msgspec.Struct):
    ccy: str
    availBal: str = "0"
    frozenBal: str = "0"


class _Row(msgspec.Struct, gc=False):
    # One struct for the rows of books, trades, orders and account.
    asks: _Levels | None = None
    bids: _Levels | None = None
    ts: str = "0"
    checksum: WireSeq = 0
    seqId: WireSeq | None = None
    prevSeqId: WireSeq | None = None
    instId: str = ""
    tradeId: str = ""
    px: str = ""
    sz: str = ""
    side: str = ""
    ordId: str = ""
    clOrdId: str = ""
    state: str = ""
    ordType: str = ""
    accFillSz: str = "0"
    fillSz: str = "0"
    fillPx: str = ""
    fillFee: str = "0"
    fillFeeCcy: str = ""
    fillTime: str = ""
    execType: str = ""
    uTime: str = "0"
    cancelSource: str = ""
    tgtCcy: str = ""
    details: list[_Detail] | None = None


class _Frame(msgspec.Struct, gc=False):
    arg: _Arg | None = None
    action: str = ""
    data: list[_Row] | None = None
    event: str = ""
    code: str = ""
    msg: str = ""


_decode = msgspec.json.Decoder(_Frame).decode
_encode = msgspec.json.Encoder().encode
_MALFORMED: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError, ValueError)


def venue_symbol(symbol: str) -> str:
    """BTC/USDT -> BTC-USDT."""
    return symbol.replace("/", "-")


def base_quantity(size: str, target: str, state: str, filled: str) -> str | None:
    """Return an order's quantity in the base; None while one for an amount of quote is open.

    Ours are all in the base. `tgtCcy` quote_ccy says that somebody else's `sz` is an amount of
    quote: what it was in the base is known once it has ended.
    """
    if target != "quote_ccy":
        return size
    return filled if state in ("filled", "canceled", "mmp_canceled") else None


def status_of(state: str, cancel_source: str) -> VenueStatus | None:
    """Return our word for the venue's state; None for one that is not known."""
    if state == "canceled" and cancel_source in EXPIRED_SOURCES:
        return "EXPIRED"
    return STATUS.get(state)


class OkxCodec:
    """OKX's frames, both links. `symbols` maps the venue's spelling to ours."""

    policy: Policy = "prev_seq"
    verification: Verification = "sequence_and_checksum"
    levels_max = LEVELS_MAX
    ping_text: str | None = "ping"
    has_stream_snapshots = True

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
        self.private_acks = len(symbols) + 1

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USDT -> BTC-USDT."""
        return venue_symbol(symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """Books and trades of every symbol, in one request."""
        args = [{"channel": c, "instId": s} for s in self._symbols for c in ("books", "trades")]
        return [_request("subscribe", args)]

    def resubscribe(self, symbol: str) -> list[str]:
        """Leave and join the book channel: the venue answers with a new snapshot."""
        args = [{"channel": "books", "instId": venue_symbol(symbol)}]
        return [_request("unsubscribe", args), _request("subscribe", args)]

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame; a push may carry several rows.

        {"arg":{"channel":"books","instId":"BTC-USDT"},"action":"update","data":[{"asks":[],
         "bids":[["8476.97","256","0","12"]],"ts":"1597026383085","checksum":-855196043,
         "prevSeqId":123456,"seqId":123457}]}
        """
        parsed = _parse(raw)
        if not isinstance(parsed, _Frame):
            return [parsed]
        arg, rows = parsed.arg, parsed.data
        if arg is None or rows is None:
            return [_control(parsed)]
        if arg.channel in BOOK_CHANNELS:
            symbol = self._symbols.get(arg.instId)
            if symbol is None:
                return [Problem("unknown_symbol", arg.instId[:40])]
            return [_book(symbol, parsed.action == "snapshot", row) for row in rows]
        if arg.channel == "trades":
            return [self._trade(row, recv_ns) for row in rows]
        return [Heartbeat()]

    def _trade(self, row: _Row, recv_ns: int) -> StreamEvent:
        symbol, side = self._symbols.get(row.instId), SIDES.get(row.side)
        if symbol is None or side is None:
            return Problem("unknown_symbol", row.instId[:40])
        try:
            return TradePrint(
                venue=self.venue,
                symbol=symbol,
                trade_id=row.tradeId,
                side=side,
                price=Decimal(row.px),
                quantity=Decimal(row.sz),
                ts_event_ns=ms_of(row.ts) * NS_PER_MS,
                ts_received_ns=recv_ns,
            )
        except (ArithmeticError, ValueError):
            return Problem("malformed", f"trade of {symbol}: {row.px[:40]!r}")

    # --- private

    def login(self, now_ms: int) -> list[str]:
        """Log in: base64 HMAC over timestamp (seconds) + GET + /users/self/verify."""
        assert self._credentials is not None, "a private link needs credentials"
        timestamp = str(now_ms // 1000)
        secret = self._credentials.api_secret.reveal().encode()
        digest = hmac.new(secret, f"{timestamp}GET/users/self/verify".encode(), sha256).digest()
        login = {
            "apiKey": self._credentials.api_key.reveal(),
            "passphrase": self._credentials.passphrase.reveal(),
            "timestamp": timestamp,
            "sign": b64encode(digest).decode(),
        }
        return [_request("login", [login])]

    def after_login(self) -> list[str]:
        """Subscribe the orders of every symbol, and the account."""
        args = [{"channel": "orders", "instType": "SPOT", "instId": s} for s in self._symbols]
        return [_request("subscribe", [*args, {"channel": "account"}])]

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the private link.

        {"arg":{"channel":"orders","instType":"SPOT","instId":"BTC-USDT"},"data":[{"instId":
         "BTC-USDT","ordId":"312269865356374016","clOrdId":"ce01...","px":"999","sz":"0.1",
         "side":"buy","ordType":"limit","state":"live","accFillSz":"0","fillSz":"0","fillPx":"",
         "tradeId":"","fillFee":"0","fillFeeCcy":"","execType":"","uTime":"1597026383085"}]}
        """
        del recv_ns
        parsed = _parse(raw)
        if not isinstance(parsed, _Frame):
            return [parsed]
        if parsed.arg is None or parsed.data is None:
            return [_control(parsed)]
        try:
            if parsed.arg.channel == "orders":
                return [event for row in parsed.data for event in self._order(row)]
            if parsed.arg.channel == "account":
                return [self._account(row) for row in parsed.data]
        except (ArithmeticError, ValueError) as error:
            return [Problem("malformed", f"{str(error)[:160]} in {parsed.arg.channel}")]
        return [Heartbeat()]

    def _order(self, row: _Row) -> list[StreamEvent]:
        symbol, side = self._symbols.get(row.instId), SIDES.get(row.side)
        status = status_of(row.state, row.cancelSource)
        if symbol is None or side is None or status is None:
            return [Problem("unknown_symbol" if symbol is None else "unknown_status", row.instId)]
        events: list[StreamEvent] = []
        filled_now = Decimal(row.fillSz or "0")
        if row.tradeId and filled_now > 0:
            events.append(
                FillReport(
                    account=self.account,
                    client_order_id=row.clOrdId,
                    venue_order_id=row.ordId,
                    trade_id=row.tradeId,
                    symbol=symbol,
                    side=side,
                    price=Decimal(row.fillPx),
                    quantity=filled_now,
                    fee=-Decimal(row.fillFee or "0"),  # the venue writes charges as negative
                    fee_asset=row.fillFeeCcy,
                    liquidity="MAKER" if row.execType == "M" else "TAKER",
                    source="stream",
                    ts_event_ns=ms_of(row.fillTime or row.uTime) * NS_PER_MS,
                )
            )
        quantity = base_quantity(row.sz, row.tgtCcy, row.state, row.accFillSz)
        if quantity is None:
            return [*events, Problem("unsupported", f"order {row.ordId[:40]} is for quote")]
        events.append(
            OrderReport(
                account=self.account,
                client_order_id=row.clOrdId,
                venue_order_id=row.ordId,
                symbol=symbol,
                side=side,
                order_type="MARKET" if row.ordType == "market" else "LIMIT",
                quantity=Decimal(quantity),
                price=Decimal(row.px) if row.px else None,
                status=status,
                filled_quantity=Decimal(row.accFillSz or "0"),
                reason=f"cancelSource {row.cancelSource}" if row.cancelSource else "",
                source="stream",
                ts_event_ns=ms_of(row.uTime) * NS_PER_MS,
            )
        )
        return events

    def _account(self, row: _Row) -> StreamEvent:
        held = [
            BalanceReport(d.ccy, Decimal(d.availBal or "0"), Decimal(d.frozenBal or "0"))
            for d in row.details or []
        ]
        return BalanceUpdate(self.account, held, ms_of(row.uTime or "0") * NS_PER_MS)


def _book(symbol: str, is_snapshot: bool, row: _Row) -> StreamEvent:
    try:
        ts_ns = ms_of(row.ts) * NS_PER_MS
    except ValueError as error:
        return Problem("malformed", f"book row of {symbol}: {error}")
    if row.bids is None or row.asks is None:
        return Problem("malformed", f"book row of {symbol} without levels")
    # Recordings from before the venue had ids are in the order of its time.
    last = ts_ns if row.seqId is None else row.seqId
    previous = None if is_snapshot else row.prevSeqId
    return BookDelta(
        symbol,
        0,
        last,
        previous,
        row.bids,
        row.asks,
        ts_ns,
        is_snapshot,
        row.checksum,
    )


def _parse(raw: bytes) -> "_Frame | Heartbeat | Problem":
    if raw == b"pong":
        return Heartbeat()
    if len(raw) > FRAME_BYTES_MAX:
        return Problem("huge", f"{len(raw)} bytes")
    try:
        return _decode(raw)
    except _MALFORMED as error:
        head = raw[:120].decode("utf-8", "replace")
        return Problem("malformed", f"{str(error)[:160]} in {head!r}")


# Answers and notices: {"event":"subscribe","arg":{...}}, {"event":"login","code":"0"},
# {"event":"notice","code":"64008","msg":"..."}, {"event":"error","code":"60009","msg":"..."}.
def _control(frame: _Frame) -> StreamEvent:
    text = f"{frame.code} {frame.msg}"[:300]
    if frame.event == "subscribe":
        return Acked("subscribe")
    if frame.event == "login":
        return Acked("login") if frame.code in ("", "0") else Denied(frame.code, text)
    if frame.event == "notice":
        return RenewSoon(f"notice {text}") if frame.code == SERVICE_UPGRADE else Heartbeat()
    if frame.event == "error":
        is_final = frame.code in AUTH_CODES
        return Denied(frame.code, text) if is_final else Reconnect(f"error {text}")
    if frame.event in ("unsubscribe", "channel-conn-count"):
        return Heartbeat()
    return Problem("unknown_frame", f"event {frame.event[:40]!r}")


def _request(op: str, args: list[Any]) -> str:
    return _encode({"op": op, "args": args}).decode()
