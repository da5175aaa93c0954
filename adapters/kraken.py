"""Kraken spot, the streams of API v2: books by their checksum, trades, executions. Pure.

https://docs.kraken.com/api/docs/websocket-v2/book and .../guides/spot-ws-book-v2 (the checksum),
.../websocket-v2/trade, .../websocket-v2/executions. REST is in adapters/kraken_rest.py.

Verification: the CRC32 over the ten best levels with each update; there are no sequence numbers.
What lies deeper is proven by nothing, so ten levels are what is subscribed. Numbers are JSON
numbers and are read as written, never as floats. The age of an update is the venue's time.

The private stream opens with a token that REST gives out (adapters/kraken_session.py). Only the first
report of an order, or the snapshot's, carries its terms; those that follow name the order by the
venue's id, so what an order is must be remembered. The channel numbers its messages: a gap calls for a
new connection, whose snapshot brings the open orders anew. Balances are told as totals that do not say
what is free, so they are not asked for here: they come by REST.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from adapters.codec import (
    Acked,
    BookShape,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    StreamEvent,
    Verification,
)
from adapters.kraken_executions import Executions
from adapters.symbols import venue_symbol
from adapters.wire import (
    MALFORMED,
    amount,
    head,
    malformed,
    ns_of_rfc3339,
    parsed,
    positive,
    side_of,
)
from engine.messages.market import BookDelta, TradePrint
from engine.trading.book import Policy

DEPTH: Final = 10
DECIMALS_MAX: Final = 18
# No retry mends these.
AUTH_ERRORS: Final = ("EAPI:Invalid key", "EGeneral:Permission denied", "EAPI:Invalid signature")


class _Result(msgspec.Struct):
    channel: str = ""
    depth: int = 0


class _Frame(msgspec.Struct):
    channel: str = ""
    type: str = ""
    method: str = ""
    success: bool | None = None
    error: str = ""
    result: _Result | None = None
    sequence: int | None = None
    event: str = ""  # only in frames of the retired API v1
    data: msgspec.Raw = msgspec.Raw()


class _Level(msgspec.Struct):
    price: Decimal
    qty: Decimal


class _Book(msgspec.Struct):
    symbol: str
    bids: list[_Level] = []
    asks: list[_Level] = []
    checksum: int | None = None
    timestamp: str = ""


class _Trade(msgspec.Struct):
    symbol: str
    side: str
    price: Decimal
    qty: Decimal
    trade_id: int
    timestamp: str


class _Pair(msgspec.Struct):
    symbol: str
    price_precision: int
    qty_precision: int


class _Instruments(msgspec.Struct):
    pairs: list[_Pair] = []


_decode = msgspec.json.Decoder(_Frame).decode
_decode_books = msgspec.json.Decoder(list[_Book]).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_instruments = msgspec.json.Decoder(_Instruments).decode
_encode = msgspec.json.Encoder().encode


class KrakenCodec:
    """Kraken's frames. `symbols` maps the streams' spelling, BTC/USD, to ours."""

    policy: Policy = "crc32_top10"
    verification: Verification = "checksum_top10"
    levels_max = DEPTH
    ping_text: str | None = '{"method":"ping"}'
    private_acks = 1
    has_stream_snapshots = True

    def __init__(
        self,
        venue: str,
        account: str,
        symbols: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:
        del credentials
        self.venue = venue
        self.account = account
        self._symbols = symbols
        self._depth = DEPTH
        self._token = ""
        self._executions = Executions(account, symbols)

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USD -> BTC/USD."""
        return venue_symbol("kraken", symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """Books and trades of every symbol."""
        names = list(self._symbols)
        book = {"channel": "book", "symbol": names, "depth": DEPTH, "snapshot": True}
        trades = {"channel": "trade", "symbol": names, "snapshot": False}
        return [_request("subscribe", book), _request("subscribe", trades)]

    def resubscribe(self, symbol: str) -> list[str]:
        """Leave and join the book: the venue answers with a new snapshot."""
        book = {"channel": "book", "symbol": [self.venue_symbol(symbol)], "depth": DEPTH}
        return [_request("unsubscribe", book), _request("subscribe", {**book, "snapshot": True})]

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the public link.

        {"channel":"book","type":"update","data":[{"symbol":"MATIC/USD","bids":[{"price":0.5657,
         "qty":1098.3947558}],"asks":[],"checksum":2114181697,
         "timestamp":"2023-10-06T17:35:55.440295Z"}]}
        """
        frame = _parse(raw)
        if isinstance(frame, Problem):
            return [frame]
        try:
            if frame.channel == "book":
                is_snapshot = frame.type == "snapshot"
                return [self._book(row, is_snapshot) for row in _decode_books(frame.data)]
            if frame.channel == "trade" and frame.type == "update":
                return [self._trade(row, recv_ns) for row in _decode_trades(frame.data)]
            if frame.channel == "instrument":
                return self._shapes(_decode_instruments(frame.data)) or [Heartbeat()]
        except MALFORMED as error:
            return [malformed(error, raw)]
        if frame.method == "subscribe" and frame.success and frame.result is not None:
            self._depth = frame.result.depth or self._depth
        return [_control(frame, raw)]

    def _book(self, row: _Book, is_snapshot: bool) -> StreamEvent:
        symbol = self._symbols.get(row.symbol)
        if symbol is None:
            return Problem("unknown_symbol", row.symbol[:40])
        if row.checksum is None and not is_snapshot:
            raise ValueError(f"an update of {symbol} without a checksum")
        ts_ns = 0 if is_snapshot and not row.timestamp else ns_of_rfc3339(row.timestamp)
        return BookDelta(
            symbol,
            0,
            ts_ns,
            None,
            [_texts(level) for level in row.bids],
            [_texts(level) for level in row.asks],
            ts_ns,
            is_snapshot,
            row.checksum or 0,
        )

    # {"symbol":"BTC/USD","side":"sell","price":26599.9,"qty":0.005,"ord_type":"limit",
    #  "trade_id":365573,"timestamp":"2023-09-25T07:49:37.708706Z"}; `side` is the taker's.
    def _trade(self, row: _Trade, recv_ns: int) -> StreamEvent:
        symbol = self._symbols.get(row.symbol)
        if symbol is None:
            return Problem("unknown_symbol", row.symbol[:40])
        return TradePrint(
            venue=self.venue,
            symbol=symbol,
            trade_id=str(row.trade_id)[:64],
            side=side_of(row.side),
            price=positive(row.price),
            quantity=positive(row.qty),
            ts_event_ns=ns_of_rfc3339(row.timestamp),
            ts_received_ns=recv_ns,
        )

    # {"pairs":[{"symbol":"BTC/USD","price_precision":1,"qty_precision":8, ...}],"assets":[...]}
    def _shapes(self, data: _Instruments) -> list[StreamEvent]:
        shapes: list[StreamEvent] = []
        for pair in data.pairs:
            symbol = self._symbols.get(pair.symbol)
            decimals = (pair.price_precision, pair.qty_precision)
            if not all(0 <= d <= DECIMALS_MAX for d in decimals):
                raise ValueError(f"{pair.symbol[:40]} with {decimals} decimals")
            if symbol is not None:
                shapes.append(BookShape(symbol, *decimals, self._depth))
        return shapes

    # --- private

    def admit(self, token: str) -> None:
        """Take the token that the next login shows."""
        self._token = token

    def login(self, now_ms: int) -> list[str]:
        """Subscribe our executions, with a snapshot of the open orders."""
        del now_ms
        self._executions.restart()
        params = {"channel": "executions", "token": self._token, "snap_orders": True,
                  "snap_trades": False}  # fmt: skip
        return [_request("subscribe", params)]

    def after_login(self) -> list[str]:
        """Nothing."""
        return []

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the private link.

        {"channel":"executions","type":"update","sequence":8,"data":[{"order_id":"OK4GJX-..",
         "cl_ord_id":"ce01..","exec_id":"TIZ45M-..","exec_type":"trade","trade_id":365573,
         "symbol":"BTC/USD","side":"sell","order_qty":0.005,"cum_qty":0.005,"last_qty":0.005,
         "last_price":26599.9,"liquidity_ind":"m","order_status":"filled","order_type":"limit",
         "timestamp":"2023-09-22T10:33:05.709950Z","fees":[{"asset":"USD","qty":0.3458}]}]}
        """
        del recv_ns
        frame = _parse(raw)
        if isinstance(frame, Problem):
            return [frame]
        try:
            if frame.channel == "executions":
                is_snapshot = frame.type == "snapshot"
                if not self._executions.is_next(frame.sequence, is_snapshot=is_snapshot):
                    return [Reconnect(f"execution {frame.sequence} is not the next")]
                return self._executions.read(frame.data) or [Heartbeat()]
        except MALFORMED as error:
            return [malformed(error, raw)]
        if frame.channel == "balances":
            return [Problem("unsupported", "a total that does not tell free from locked")]
        return [_control(frame, raw)]


def _texts(level: _Level) -> tuple[str, str]:
    return f"{amount(level.price):f}", f"{amount(level.qty):f}"


def _parse(raw: bytes) -> _Frame | Problem:
    if raw.startswith(b"["):
        return Problem("unsupported", f"API v1: {head(raw)}")
    frame = parsed(_decode, raw)
    if isinstance(frame, _Frame) and frame.event:
        return Problem("unsupported", f"API v1: {head(raw)}")
    return frame


# {"method":"subscribe","result":{"channel":"book","depth":10,"symbol":"BTC/USD"},"success":true,..},
# {"method":"subscribe","success":false,"error":"Currency pair not supported X/Y", ..},
# {"channel":"heartbeat"}, {"channel":"status","type":"update","data":[..]}, {"method":"pong", ..}
def _control(frame: _Frame, raw: bytes) -> StreamEvent:
    if frame.error:
        is_final = frame.error.startswith(AUTH_ERRORS)
        text = frame.error[:300]
        return Denied(frame.error[:40], text) if is_final else Reconnect(f"refused: {text}"[:300])
    if frame.method == "subscribe" and frame.success:
        return Acked("subscribe")
    if frame.method in ("pong", "unsubscribe") or frame.channel:
        return Heartbeat()
    if frame.method in ("add_order", "edit_order", "amend_order", "cancel_order"):
        return Problem("unsupported", f"{frame.method}: orders go by REST")
    return Problem("unknown_frame", head(raw))


def _request(method: str, params: Mapping[str, Any]) -> str:
    return _encode({"method": method, "params": params}).decode()
