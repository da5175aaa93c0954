"""Bybit v5 spot, the streams: level 50 books by their numbering, trades, private orders. Pure.

https://bybit-exchange.github.io/docs/v5/websocket/public/orderbook and .../private/order,
.../private/execution, .../private/wallet. REST is in adapters/bybit_rest.py.

Verification: the sequence. Each delta's `u` is the last one's plus one; a snapshot may replace the
book at any time, and one with `u` 1 says that the venue's service numbers from the start again.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

import hmac
from collections.abc import Mapping
from hashlib import sha256
from typing import Any, Final

import msgspec

from adapters.codec import (
    Acked,
    Credentials,
    Denied,
    FillSeen,
    Heartbeat,
    Problem,
    Reconnect,
    StreamEvent,
    Verification,
    WireId,
)
from adapters.symbols import venue_symbol
from adapters.wire import (
    MALFORMED,
    Short,
    amount,
    head,
    malformed,
    money,
    ns_of_ms,
    parsed,
    positive,
    side_of,
)
from engine.messages.base import Liquidity
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import (
    BalanceReport,
    BalanceUpdate,
    FillReport,
    OrderReport,
    VenueStatus,
)
from engine.trading.book import LEVELS_MAX, Policy

DEPTH: Final = 50
# How long a login frame is good for; its own clock may be behind.
LOGIN_MS: Final = 10_000
RESTARTED: Final = 1
STATUS: Final[Mapping[str, VenueStatus]] = {
    "New": "NEW",
    "Untriggered": "NEW",
    "Triggered": "NEW",
    "PartiallyFilled": "PARTIALLY_FILLED",
    "Filled": "FILLED",
    "Cancelled": "CANCELED",
    "PartiallyFilledCanceled": "CANCELED",
    "Deactivated": "CANCELED",
    "Rejected": "REJECTED",
}
# The venue's own rule ended it: the remainder of an IOC or FOK, a post-only that would take.
EXPIRED_REASONS: Final = frozenset(
    {"EC_NoImmediateQtyToFill", "EC_CancelForNoFullFill", "EC_PostOnlyWillTakeLiquidity"}
)
NO_REASON: Final = frozenset({"", "EC_NoError"})
_Levels = list[tuple[str, str]]


class _Frame(msgspec.Struct):
    topic: str = ""
    type: str = ""
    ts: int = 0
    creationTime: int = 0
    op: str = ""
    success: bool | None = None
    ret_msg: str = ""
    retCode: int | None = None
    retMsg: str = ""
    data: msgspec.Raw = msgspec.Raw()


class _Book(msgspec.Struct):
    s: str
    b: _Levels
    a: _Levels
    u: WireId


class _Trade(msgspec.Struct):
    T: int
    s: str
    S: str
    v: str
    p: str
    i: Short


class _Order(msgspec.Struct):
    category: str
    symbol: str
    orderId: Short
    side: str
    orderType: str
    orderStatus: str
    qty: str
    cumExecQty: str
    updatedTime: str
    price: str = ""
    orderLinkId: Short = ""
    rejectReason: str = ""
    marketUnit: str = ""


class _Execution(msgspec.Struct):
    category: str
    symbol: str
    orderId: Short
    execId: Short
    side: str
    execPrice: str
    execQty: str
    execTime: str
    execType: str = "Trade"
    orderLinkId: Short = ""
    execFee: str = ""
    feeCurrency: Short = ""
    isMaker: bool = False


class _Coin(msgspec.Struct):
    coin: Short
    walletBalance: str
    locked: str = "0"


class _Wallet(msgspec.Struct):
    accountType: str
    coin: list[_Coin]


_decode = msgspec.json.Decoder(_Frame).decode
_decode_book = msgspec.json.Decoder(_Book).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_orders = msgspec.json.Decoder(list[_Order]).decode
_decode_executions = msgspec.json.Decoder(list[_Execution]).decode
_decode_wallets = msgspec.json.Decoder(list[_Wallet]).decode
_encode = msgspec.json.Encoder().encode


def status_of(status: str, reason: str) -> VenueStatus | None:
    """Return our word for the venue's status; None for one that is not known."""
    if status in ("Cancelled", "PartiallyFilledCanceled") and reason in EXPIRED_REASONS:
        return "EXPIRED"
    return STATUS.get(status)


def login_signature(secret: str, expires_ms: int) -> str:
    """Return the hex HMAC-SHA256 over `GET/realtime` and the expiry."""
    text = f"GET/realtime{expires_ms}"
    return hmac.new(secret.encode(), text.encode(), sha256).hexdigest()


class BybitCodec:
    """Bybit's frames, both links. `symbols` maps the venue's spelling to ours."""

    policy: Policy = "u_plus_1"
    verification: Verification = "sequence"
    levels_max = LEVELS_MAX
    ping_text: str | None = '{"op":"ping"}'
    private_acks = 1
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

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USDT -> BTCUSDT."""
        return venue_symbol("bybit", symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """Books and trades of every symbol; the venue takes ten topics in a request."""
        names = [
            f"{kind}.{s}" for s in self._symbols for kind in (f"orderbook.{DEPTH}", "publicTrade")
        ]
        return [_request("subscribe", names[i : i + 10]) for i in range(0, len(names), 10)]

    def resubscribe(self, symbol: str) -> list[str]:
        """Leave and join the book: the venue answers with a new snapshot."""
        names = [f"orderbook.{DEPTH}.{venue_symbol('bybit', symbol)}"]
        return [_request("unsubscribe", names), _request("subscribe", names)]

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the public link.

        {"topic":"orderbook.50.BTCUSDT","ts":1680652808085,"type":"delta","data":{"s":"BTCUSDT",
         "b":[["28161.04","0.177474"],["28145.71","0"]],"a":[],"u":59438061,"seq":4281282232}}
        """
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        try:
            if frame.topic.startswith("orderbook."):
                return [self._book(frame, _decode_book(frame.data))]
            if frame.topic.startswith("publicTrade."):
                return [self._trade(row, recv_ns) for row in _decode_trades(frame.data)]
        except MALFORMED as error:
            return [malformed(error, raw)]
        return [Heartbeat() if frame.topic else _control(frame, raw)]

    def _book(self, frame: _Frame, data: _Book) -> StreamEvent:
        symbol = self._symbols.get(data.s)
        if symbol is None:
            return Problem("unknown_symbol", data.s[:40])
        if frame.type not in ("snapshot", "delta"):
            return Problem("malformed", f"book of {symbol} is a {frame.type[:40]!r}")
        is_snapshot = frame.type == "snapshot" or data.u == RESTARTED
        previous = None if is_snapshot else data.u - 1
        return BookDelta(
            symbol, data.u, data.u, previous, data.b, data.a, ns_of_ms(frame.ts), is_snapshot
        )

    # {"i":"2290000000050703789","T":1680652847524,"p":"28165.38","v":"0.041732","S":"Sell",
    #  "s":"BTCUSDT","BT":false}; `S` is the taker's side.
    def _trade(self, row: _Trade, recv_ns: int) -> StreamEvent:
        symbol = self._symbols.get(row.s)
        if symbol is None:
            return Problem("unknown_symbol", row.s[:40])
        return TradePrint(
            venue=self.venue,
            symbol=symbol,
            trade_id=row.i,
            side=side_of(row.S),
            price=positive(row.p),
            quantity=positive(row.v),
            ts_event_ns=ns_of_ms(row.T),
            ts_received_ns=recv_ns,
        )

    # --- private

    def login(self, now_ms: int) -> list[str]:
        """Log in, signed for the next seconds."""
        assert self._credentials is not None, "a private link needs credentials"
        expires_ms = now_ms + LOGIN_MS
        signature = login_signature(self._credentials.api_secret.reveal(), expires_ms)
        return [_request("auth", [self._credentials.api_key.reveal(), expires_ms, signature])]

    def after_login(self) -> list[str]:
        """Subscribe orders, executions and the wallet in one request."""
        return [_request("subscribe", ["order", "execution", "wallet"])]

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the private link.

        {"id":"59..","topic":"execution","creationTime":1672364174455,"data":[{"category":"spot",
         "symbol":"XRPUSDT","execFee":"0.005061","feeCurrency":"USDT","execId":"7e2a..",
         "execPrice":"0.3374","execQty":"25","execType":"Trade","isMaker":false,"orderId":"f6e3..",
         "orderLinkId":"ce01..","side":"Sell","execTime":"1672364174443", ...}]}
        """
        del recv_ns
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        kind = frame.topic.partition(".")[0]
        try:
            if kind == "order":
                return [self._order(row) for row in _decode_orders(frame.data)]
            if kind == "execution":
                return [self._execution(row) for row in _decode_executions(frame.data)]
            if kind == "wallet":
                return [self._wallet(row, frame) for row in _decode_wallets(frame.data)]
        except MALFORMED as error:
            return [malformed(error, raw)]
        return [Heartbeat() if frame.topic else _control(frame, raw)]

    def _order(self, row: _Order) -> StreamEvent:
        symbol, status = self._spot(row), status_of(row.orderStatus, row.rejectReason)
        if isinstance(symbol, Problem):
            return symbol
        if status is None:
            return Problem("unknown_status", row.orderStatus[:40])
        filled = amount(row.cumExecQty or "0")
        is_quote = row.marketUnit == "quoteCoin"  # somebody else's: ours are all in the base
        if is_quote and status in ("NEW", "PARTIALLY_FILLED"):
            return Problem("unsupported", f"order {row.orderId} is for an amount of the quote")
        return OrderReport(
            account=self.account,
            client_order_id=row.orderLinkId,
            venue_order_id=row.orderId,
            symbol=symbol,
            side=side_of(row.side),
            order_type="MARKET" if row.orderType == "Market" else "LIMIT",
            quantity=filled if is_quote else amount(row.qty),
            price=(amount(row.price) or None) if row.price else None,
            status=status,
            filled_quantity=filled,
            reason="" if row.rejectReason in NO_REASON else row.rejectReason[:200],
            source="stream",
            ts_event_ns=ns_of_ms(row.updatedTime),
        )

    def _execution(self, row: _Execution) -> StreamEvent:
        symbol = self._spot(row)
        if isinstance(symbol, Problem):
            return symbol
        if row.execType != "Trade":
            return Problem("unsupported", f"an execution that is a {row.execType[:40]}")
        side, ts_ns = side_of(row.side), ns_of_ms(row.execTime)
        price, quantity = positive(row.execPrice), positive(row.execQty)
        liquidity: Liquidity = "MAKER" if row.isMaker else "TAKER"
        if not row.execFee or not row.feeCurrency:
            return FillSeen(self.account, row.orderLinkId, row.orderId, row.execId, symbol, side,
                            price, quantity, liquidity, ts_ns)  # fmt: skip
        return FillReport(
            account=self.account,
            client_order_id=row.orderLinkId,
            venue_order_id=row.orderId,
            trade_id=row.execId,
            symbol=symbol,
            side=side,
            price=price,
            quantity=quantity,
            fee=money(row.execFee),
            fee_asset=row.feeCurrency,
            liquidity=liquidity,
            source="stream",
            ts_event_ns=ts_ns,
        )

    # {"accountType":"UNIFIED","coin":[{"coin":"USDT","walletBalance":"100","locked":"8", ...}]}
    def _wallet(self, row: _Wallet, frame: _Frame) -> StreamEvent:
        held = []
        for coin in row.coin:
            locked = amount(coin.locked or "0")
            held.append(BalanceReport(coin.coin, money(coin.walletBalance or "0") - locked, locked))
        return BalanceUpdate(self.account, held, ns_of_ms(frame.creationTime))

    def _spot(self, row: _Order | _Execution) -> str | Problem:
        if row.category != "spot":
            return Problem("unsupported", f"{row.category[:20]} {row.symbol[:40]} is not spot")
        symbol = self._symbols.get(row.symbol)
        return Problem("unknown_symbol", row.symbol[:40]) if symbol is None else symbol


# {"success":true,"ret_msg":"subscribe","conn_id":"..","req_id":"1","op":"subscribe"},
# {"success":true,"ret_msg":"pong","op":"ping"}, {"op":"pong","args":["1699"]},
# {"success":false,"ret_msg":"..","op":"auth"}
def _control(frame: _Frame, raw: bytes) -> StreamEvent:
    if frame.op in ("ping", "pong", "unsubscribe"):
        return Heartbeat()
    if frame.op.startswith("order."):
        return Problem("unsupported", f"{frame.op[:40]} answers on the trade stream")
    is_fine = frame.retCode == 0 if frame.success is None else frame.success
    text = frame.ret_msg or frame.retMsg
    if frame.op == "auth":
        if is_fine:
            return Acked("login")
        is_clock = "expire" in text.lower() or "timestamp" in text.lower()
        return Reconnect(f"login: {text}"[:300]) if is_clock else Denied("auth", text[:300])
    if frame.op == "subscribe":
        return Acked("subscribe") if is_fine else Reconnect(f"subscription refused: {text}"[:300])
    return Problem("unknown_frame", head(raw))


def _request(op: str, args: list[Any]) -> str:
    return _encode({"op": op, "args": args}).decode()
