"""Coinbase Advanced Trade, the streams: level 2 by the connection's numbering, trades, orders. Pure.

https://docs.cdp.coinbase.com/advanced-trade/docs/ws-channels. REST is in adapters/coinbase_rest.py.

Verification: the connection's sequence. The venue numbers all messages of a connection, whatever
they say; one that is missing may have been anybody's, so a gap loses every book (`BooksLost`) and
calls for a new connection. The frame that shows the gap is not believed either.

BTC-USDC shares its book with BTC-USD, and its market data arrives under that name.

The private stream wants a token, signed with the account's key (adapters/coinbase_token.py); the public
one wants none. Its orders tell what is filled in all; the fills and the balances come by REST.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

import msgspec

from adapters.codec import (
    Acked,
    BooksLost,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    Reconnect,
    StreamEvent,
    Verification,
    WireId,
)
from adapters.coinbase_token import stream_token
from adapters.symbols import shared_spelling, venue_symbol
from adapters.wire import (
    MALFORMED,
    Short,
    amount,
    head,
    malformed,
    ns_of_rfc3339,
    parsed,
    positive,
    side_of,
)
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import OrderReport, VenueStatus
from engine.trading.book import LEVELS_MAX, Policy

STATUS: Final[Mapping[str, VenueStatus]] = {
    "PENDING": "NEW",
    "OPEN": "NEW",
    "QUEUED": "NEW",
    "CANCEL_QUEUED": "NEW",
    "EDIT_QUEUED": "NEW",
    "FILLED": "FILLED",
    "CANCELLED": "CANCELED",
    "EXPIRED": "EXPIRED",
    "FAILED": "REJECTED",
}
NO_REASON: Final = frozenset({"", "REJECT_REASON_UNSPECIFIED"})


class _Frame(msgspec.Struct):
    channel: str = ""
    timestamp: str = ""
    sequence_num: WireId | None = None
    type: str = ""
    message: str = ""
    events: msgspec.Raw = msgspec.Raw()


class _Update(msgspec.Struct):
    side: Literal["bid", "offer"]
    price_level: str
    new_quantity: str


class _Level2(msgspec.Struct):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[_Update]


class _Trade(msgspec.Struct):
    trade_id: Short
    product_id: str
    price: str
    size: str
    side: str
    time: str


class _Trades(msgspec.Struct):
    type: str
    trades: list[_Trade] = []


class _Order(msgspec.Struct):
    order_id: Short
    product_id: str
    order_side: str
    order_type: str
    status: str
    cumulative_quantity: str
    leaves_quantity: str
    client_order_id: Short = ""
    limit_price: str = ""
    product_type: str = "SPOT"
    reject_reason: str = ""
    cancel_reason: str = ""


class _Orders(msgspec.Struct):
    type: str
    orders: list[_Order] = []


_decode = msgspec.json.Decoder(_Frame).decode
_decode_level2 = msgspec.json.Decoder(list[_Level2]).decode
_decode_trades = msgspec.json.Decoder(list[_Trades]).decode
_decode_orders = msgspec.json.Decoder(list[_Orders]).decode
_encode = msgspec.json.Encoder().encode


class Numbering:
    """The numbering of one connection's messages: `take` tells whether none is missing."""

    def __init__(self) -> None:
        self._next: int | None = None

    def restart(self) -> None:
        """A new connection numbers anew."""
        self._next = None

    def take(self, number: int) -> bool:
        """Return whether this is the next one. An older one is refused and moves nothing."""
        if self._next is None or number >= self._next:
            expected, self._next = self._next, number + 1
            return expected is None or expected == number
        return False


class CoinbaseCodec:
    """Coinbase's frames. `symbols` maps the venue's spelling to ours."""

    policy: Policy = "conn_seq"
    verification: Verification = "connection_sequence"
    levels_max = LEVELS_MAX
    ping_text: str | None = None
    private_acks = 2
    has_stream_snapshots = True

    def __init__(
        self,
        venue: str,
        account: str,
        symbols: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:
        self._credentials = credentials
        self._tokens = 0
        self.venue = venue
        self.account = account
        self._names = symbols
        shared = {shared_spelling("coinbase", ours): ours for ours in symbols.values()}
        self._shared = {name: ours for name, ours in shared.items() if name is not None}
        self._public = Numbering()
        self._private = Numbering()

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USD -> BTC-USD."""
        return venue_symbol("coinbase", symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """Books, trades, and the heartbeats without which a quiet connection is closed."""
        self._public.restart()
        names = list(self._names)
        return [_request("subscribe", kind, names) for kind in ("level2", "market_trades")] + [
            _request("subscribe", "heartbeats", None)
        ]

    def resubscribe(self, symbol: str) -> list[str]:
        """Leave and join the book: the venue answers with a new snapshot."""
        names = [self.venue_symbol(symbol)]
        return [_request(verb, "level2", names) for verb in ("unsubscribe", "subscribe")]

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the public link.

        {"channel":"l2_data","client_id":"","timestamp":"2023-02-09T20:32:50.714964855Z",
         "sequence_num":0,"events":[{"type":"update","product_id":"BTC-USD","updates":[{"side":
         "bid","event_time":"1970-01-01T00:00:00Z","price_level":"21921.73","new_quantity":
         "0.06317902"}]}]}
        """
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        if frame.sequence_num is not None and not self._public.take(frame.sequence_num):
            reason = f"message {frame.sequence_num} is not the next of this connection"
            return [BooksLost("sequence"), Reconnect(reason)]
        try:
            if frame.channel == "l2_data":
                return self._level2(frame)
            if frame.channel == "market_trades":
                return self._trades(frame, recv_ns)
        except MALFORMED as error:
            # Its number is taken, so no later message will show that its content is missing.
            return [BooksLost("malformed"), malformed(error, raw)]
        return [_control(frame, raw)]

    def _ours(self, product_id: str) -> list[str]:
        found = (self._names.get(product_id), self._shared.get(product_id))
        return [ours for ours in found if ours is not None]

    def _level2(self, frame: _Frame) -> list[StreamEvent]:
        if frame.sequence_num is None:
            raise ValueError("a book message without a number")
        last, ts_ns = frame.sequence_num, ns_of_rfc3339(frame.timestamp)
        events: list[StreamEvent] = []
        for event in _decode_level2(frame.events):
            bids = [(u.price_level, u.new_quantity) for u in event.updates if u.side == "bid"]
            asks = [(u.price_level, u.new_quantity) for u in event.updates if u.side == "offer"]
            symbols = self._ours(event.product_id)
            if not symbols:
                events.append(Problem("unknown_symbol", event.product_id[:40]))
            is_snapshot = event.type == "snapshot"
            events += [
                BookDelta(symbol, last, last, None, bids, asks, ts_ns, is_snapshot)
                for symbol in symbols
            ]
        return events

    # {"type":"update","trades":[{"trade_id":"000000000","product_id":"ETH-USD","price":"1260.01",
    #  "size":"0.3","side":"BUY","time":"2019-08-14T20:42:27.265Z"}]}; `side` is the MAKER's.
    def _trades(self, frame: _Frame, recv_ns: int) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for event in _decode_trades(frame.events):
            for row in event.trades if event.type == "update" else ():
                symbols = self._ours(row.product_id)
                if not symbols:
                    events.append(Problem("unknown_symbol", row.product_id[:40]))
                events += [self._trade(row, symbol, recv_ns) for symbol in symbols]
        return events or [Heartbeat()]

    def _trade(self, row: _Trade, symbol: str, recv_ns: int) -> TradePrint:
        return TradePrint(
            venue=self.venue,
            symbol=symbol,
            trade_id=row.trade_id,
            side="SELL" if side_of(row.side) == "BUY" else "BUY",
            price=positive(row.price),
            quantity=positive(row.size),
            ts_event_ns=ns_of_rfc3339(row.time),
            ts_received_ns=recv_ns,
        )

    # --- private

    def login(self, now_ms: int) -> list[str]:
        """Subscribe our orders with a token; Refused if the secret is no key.

        Beside it the heartbeats, without which a connection with nothing to say is closed.
        """
        self._private.restart()
        assert self._credentials is not None, "a private link is opened with a key only"
        self._tokens += 1
        jwt = stream_token(self._credentials, now_ms // 1000, self._tokens)
        user = {"type": "subscribe", "channel": "user", "product_ids": [*self._names], "jwt": jwt}
        return [_encode(user).decode(), _request("subscribe", "heartbeats", None)]

    def after_login(self) -> list[str]:
        """Nothing."""
        return []

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the user channel.

        {"channel":"user","timestamp":"2023-02-09T20:33:57.609931463Z","sequence_num":0,"events":[
         {"type":"snapshot","orders":[{"order_id":"YYY","client_order_id":"ce01..",
         "cumulative_quantity":"0.01","leaves_quantity":"0","avg_price":"50000","order_side":"BUY",
         "order_type":"Limit","product_id":"BTC-USD","status":"FILLED","limit_price":"50000",..}]}]}
        """
        del recv_ns
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        if frame.sequence_num is not None and not self._private.take(frame.sequence_num):
            return [Reconnect(f"message {frame.sequence_num} is not the next of this connection")]
        try:
            if frame.channel == "user":
                ts_ns = ns_of_rfc3339(frame.timestamp)
                events = _decode_orders(frame.events)
                return [self._order(o, ts_ns) for e in events for o in e.orders] or [Heartbeat()]
        except MALFORMED as error:
            return [malformed(error, raw)]
        return [_control(frame, raw)]

    def _order(self, row: _Order, ts_ns: int) -> StreamEvent:
        symbol, status = self._names.get(row.product_id), STATUS.get(row.status)
        if row.product_type != "SPOT":
            return Problem("unsupported", f"{row.product_type[:20]} is not spot")
        if symbol is None or status is None:
            code = "unknown_symbol" if symbol is None else "unknown_status"
            return Problem(code, f"{row.product_id[:40]} {row.status[:40]}")
        filled = amount(row.cumulative_quantity or "0")
        if status == "NEW" and filled:
            status = "PARTIALLY_FILLED"
        reasons = [r for r in (row.reject_reason, row.cancel_reason) if r not in NO_REASON]
        return OrderReport(
            account=self.account,
            client_order_id=row.client_order_id,
            venue_order_id=row.order_id,
            symbol=symbol,
            side=side_of(row.order_side),
            order_type="MARKET" if row.order_type.upper() == "MARKET" else "LIMIT",
            quantity=filled + amount(row.leaves_quantity or "0"),
            price=(amount(row.limit_price) or None) if row.limit_price else None,
            status=status,
            filled_quantity=filled,
            reason=" ".join(reasons)[:200],
            source="stream",
            ts_event_ns=ts_ns,
        )


# {"channel":"subscriptions","sequence_num":1,"events":[{"subscriptions":{"level2":["ETH-USD"]}}]},
# {"channel":"heartbeats","sequence_num":2,"events":[{"current_time":"..","heartbeat_counter":3}]},
# {"type":"error","message":"authentication failure"}
def _control(frame: _Frame, raw: bytes) -> StreamEvent:
    if frame.channel == "subscriptions":
        return Acked("subscribe")
    if frame.type == "error":
        text = frame.message[:300]
        is_final = "authentication" in text.lower()
        return Denied("auth", text) if is_final else Reconnect(f"error {text}"[:300])
    if frame.channel.startswith(("futures", "perpetual")):
        return Problem("unsupported", f"{frame.channel[:40]} is not spot")
    return Heartbeat() if frame.channel else Problem("unknown_frame", head(raw))


def _request(verb: str, channel: str, names: list[str] | None) -> str:
    request: dict[str, Any] = {"type": verb, "channel": channel}
    if names is not None:
        request["product_ids"] = names
    return _encode(request).decode()
