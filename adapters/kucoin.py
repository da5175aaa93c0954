"""KuCoin spot, the classic streams: level 2 with row sequences, trades, private orders. Pure.

https://www.kucoin.com/docs-new/websocket-api (3470221w order book increment, 3470227w orders).
The address and its token come from REST, for each connection anew (`bullet-public`,
`bullet-private`, adapters/kucoin_address.py), and are the login: no frame of ours is signed.

Verification: the sequence. Each message continues the one before, each row has its own id. The
snapshot without a key has a hundred levels a side; the keeper shows nothing beyond them.

The order stream tells no fee. A fill is therefore reported as what the order has filled in all,
and FillSeen; the fill itself, with its fee, comes by REST.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import msgspec

from adapters.codec import (
    Acked,
    Credentials,
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
    ns_of,
    ns_of_ms,
    parsed,
    positive,
    side_of,
)
from engine.messages.base import Liquidity
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import BalanceReport, BalanceUpdate, OrderReport, VenueStatus
from engine.trading.book import LEVELS_MAX, Policy

# At most so many symbols in one topic.
TOPIC_SYMBOLS_MAX: Final = 100
ORDERS: Final = "/spotMarket/tradeOrdersV2"
ORDER_TOPICS: Final = frozenset({ORDERS, "/spotMarket/tradeOrders"})
STATUS: Final[Mapping[str, VenueStatus]] = {
    "received": "NEW",
    "open": "NEW",
    "update": "NEW",
    "match": "PARTIALLY_FILLED",
    "filled": "FILLED",
    "canceled": "CANCELED",
}
# Accounts whose balances trade: main, margin and isolated ones are other money.
TRADE_ACCOUNTS: Final = frozenset({"trade", "trade_hf"})
_Rows = list[tuple[str, str, str]]


class _Frame(msgspec.Struct):
    id: str | int = ""
    type: str = ""
    topic: str = ""
    subject: str = ""
    code: int | str = ""
    data: msgspec.Raw = msgspec.Raw()
    T: str = ""  # the venue's other feed ("Pro") names its messages with this


class _Changes(msgspec.Struct):
    asks: _Rows
    bids: _Rows


class _Level2(msgspec.Struct):
    symbol: str
    sequenceStart: WireId
    sequenceEnd: WireId
    changes: _Changes
    time: int | str = 0


class _Match(msgspec.Struct):
    symbol: str
    side: str
    price: str
    size: str
    tradeId: Short
    time: str


class _Order(msgspec.Struct):
    symbol: str
    orderType: str
    side: str
    orderId: Short
    type: str
    ts: int
    size: str = ""
    originSize: str = ""
    filledSize: str = "0"
    price: str = ""
    clientOid: Short = ""
    matchPrice: str = ""
    matchSize: str = ""
    tradeId: Short = ""
    liquidity: str = ""


class _Balance(msgspec.Struct):
    currency: Short
    available: str
    hold: str
    relationEvent: str
    time: str | int


_decode = msgspec.json.Decoder(_Frame).decode
_decode_level2 = msgspec.json.Decoder(_Level2).decode
_decode_match = msgspec.json.Decoder(_Match).decode
_decode_order = msgspec.json.Decoder(_Order).decode
_decode_balance = msgspec.json.Decoder(_Balance).decode
_encode = msgspec.json.Encoder().encode


class KucoinCodec:
    """KuCoin's frames, both links. `symbols` maps the venue's spelling to ours."""

    policy: Policy = "start_end"
    verification: Verification = "sequence"
    levels_max = LEVELS_MAX
    ping_text: str | None = '{"id":"ping","type":"ping"}'
    private_acks = 2
    has_stream_snapshots = False

    def __init__(
        self,
        venue: str,
        account: str,
        symbols: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:
        del credentials  # they sign the REST call that gives the private link's token
        self.venue = venue
        self.account = account
        self._symbols = symbols

    def venue_symbol(self, symbol: str) -> str:
        """BTC/USDT -> BTC-USDT."""
        return venue_symbol("kucoin", symbol)

    # --- public

    def subscribe(self) -> list[str]:
        """Level 2 and matches of every symbol, a hundred to a topic."""
        names = list(self._symbols)
        parts = [names[i : i + TOPIC_SYMBOLS_MAX] for i in range(0, len(names), TOPIC_SYMBOLS_MAX)]
        topics = [
            f"/market/{kind}:{','.join(part)}" for kind in ("level2", "match") for part in parts
        ]
        return [_subscription(topic, is_private=False) for topic in topics]

    def resubscribe(self, symbol: str) -> list[str]:
        """Nothing: the snapshot comes by REST while the stream goes on."""
        del symbol
        return []

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the public link.

        {"type":"message","topic":"/market/level2:BTC-USDT","subject":"trade.l2update","data":
         {"changes":{"asks":[["18906","0.00331","14103845"]],"bids":[]},"sequenceEnd":14103847,
         "sequenceStart":14103844,"symbol":"BTC-USDT","time":1663747970273}}
        """
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        if frame.type not in ("message", "") or not frame.topic:
            return [_control(frame, raw, "public")]
        try:
            if frame.subject == "trade.l2update":
                return [self._level2(_decode_level2(frame.data))]
            if frame.subject == "trade.l3match":
                return [self._match(_decode_match(frame.data), recv_ns)]
        except MALFORMED as error:
            return [malformed(error, raw)]
        return [_other(frame)]

    def _level2(self, data: _Level2) -> StreamEvent:
        symbol = self._symbols.get(data.symbol)
        if symbol is None:
            return Problem("unknown_symbol", data.symbol[:40])
        if data.sequenceEnd < data.sequenceStart:
            raise ValueError(f"sequence {data.sequenceStart} ends at {data.sequenceEnd}")
        return BookDelta(
            symbol,
            data.sequenceStart,
            data.sequenceEnd,
            None,
            _in_order(data.changes.bids),
            _in_order(data.changes.asks),
            ns_of_ms(data.time),
        )

    # {"symbol":"BTC-USDT","sequence":"1636276321894","side":"sell","size":"0.00001255","price":
    #  "24093.9","takerOrderId":"62fa..","makerOrderId":"62fa..","tradeId":"62fa..","type":"match",
    #  "time":"1660608000026914990"}; `side` is the taker's.
    def _match(self, data: _Match, recv_ns: int) -> StreamEvent:
        symbol = self._symbols.get(data.symbol)
        if symbol is None:
            return Problem("unknown_symbol", data.symbol[:40])
        return TradePrint(
            venue=self.venue,
            symbol=symbol,
            trade_id=data.tradeId,
            side=side_of(data.side),
            price=positive(data.price),
            quantity=positive(data.size),
            ts_event_ns=ns_of(data.time),
            ts_received_ns=recv_ns,
        )

    # --- private

    def login(self, now_ms: int) -> list[str]:
        """Subscribe orders and balances: the token in the address was the login."""
        del now_ms
        return [_subscription(t, is_private=True) for t in (ORDERS, "/account/balance")]

    def after_login(self) -> list[str]:
        """Nothing."""
        return []

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the private link.

        {"type":"message","topic":"/spotMarket/tradeOrdersV2","subject":"orderChange",
         "channelType":"private","data":{"symbol":"KCS-USDT","orderType":"limit","side":"sell",
         "orderId":"5efa..","liquidity":"taker","type":"match","orderTime":1593487482038606180,
         "size":"0.1","filledSize":"0.1","price":"0.938","matchPrice":"0.96738","matchSize":"0.1",
         "tradeId":"5efa..","clientOid":"ce01..","remainSize":"0","status":"match",
         "ts":1593487482038606180}}
        """
        del recv_ns
        frame = parsed(_decode, raw)
        if isinstance(frame, Problem):
            return [frame]
        if frame.type not in ("message", "") or not frame.topic:
            return [_control(frame, raw, "private")]
        try:
            if frame.topic in ORDER_TOPICS:
                return self._order(_decode_order(frame.data))
            if frame.topic == "/account/balance":
                return [self._balance(_decode_balance(frame.data))]
        except MALFORMED as error:
            return [malformed(error, raw)]
        return [_other(frame)]

    def _order(self, row: _Order) -> list[StreamEvent]:
        symbol, status = self._symbols.get(row.symbol), STATUS.get(row.type)
        if symbol is None:
            return [Problem("unknown_symbol", row.symbol[:40])]
        if status is None:
            return [Problem("unknown_status", row.type[:40])]
        filled = amount(row.filledSize)
        quantity = row.size or row.originSize
        if not quantity and status not in ("FILLED", "CANCELED"):
            # Somebody else's: ours are all in the base.
            return [Problem("unsupported", f"order {row.orderId} is for an amount of the quote")]
        side, ts_ns = side_of(row.side), ns_of(row.ts)
        if status == "NEW" and filled:
            status = "PARTIALLY_FILLED"
        events: list[StreamEvent] = []
        if row.type == "match":
            liquidity: Liquidity = "MAKER" if row.liquidity == "maker" else "TAKER"
            price, size = positive(row.matchPrice), positive(row.matchSize)
            seen = FillSeen(self.account, row.clientOid, row.orderId, row.tradeId, symbol, side,
                            price, size, liquidity, ts_ns)  # fmt: skip
            events.append(seen)
        report = OrderReport(
            account=self.account,
            client_order_id=row.clientOid,
            venue_order_id=row.orderId,
            symbol=symbol,
            side=side,
            order_type="MARKET" if row.orderType == "market" else "LIMIT",
            quantity=amount(quantity) if quantity else filled,
            price=amount(row.price) or None if row.price else None,
            status=status,
            filled_quantity=filled,
            reason="",
            source="stream",
            ts_event_ns=ts_ns,
        )
        return [*events, report]

    # {"accountId":"..","currency":"USDT","total":"88","available":"80","hold":"8",
    #  "relationEvent":"trade.hold","time":"1545743136994", ...}
    def _balance(self, row: _Balance) -> StreamEvent:
        if row.relationEvent.partition(".")[0] not in TRADE_ACCOUNTS:
            return Heartbeat()  # money that does not trade
        free: Decimal = money(row.available)
        held = BalanceReport(row.currency, free, amount(row.hold))
        return BalanceUpdate(self.account, [held], ns_of_ms(row.time))


# In order of their sequence, and without price 0, which only advances it.
def _in_order(rows: _Rows) -> _Rows:
    if len(rows) > 1:
        rows = sorted(rows, key=lambda row: int(row[2]))
    return [row for row in rows if row[0] != "0"]


# {"id":"hQvf8jkno","type":"welcome"}, {"id":"1","type":"ack"}, {"id":"1","type":"pong"},
# {"id":"1","type":"error","code":404,"data":"topic /x is not found"}
def _control(frame: _Frame, raw: bytes, link: str) -> StreamEvent:
    if frame.type == "ack":
        return Acked(link)
    if frame.type in ("welcome", "pong", "notice"):
        return Heartbeat()
    if frame.type == "error":
        return Reconnect(f"error {frame.code} {head(bytes(frame.data))}"[:300])
    if frame.T:
        return Problem("unsupported", f"{frame.T[:40]} of the Pro feed")
    return Problem("unknown_frame", head(raw))


def _other(frame: _Frame) -> StreamEvent:
    if frame.topic.startswith(("/contract", "/margin", "/indicator")):
        return Problem("unsupported", f"{frame.topic[:60]} is not spot")
    if frame.topic.startswith("/spotMarket/advancedOrders"):
        return Problem("unsupported", "a stop order, which this program never places")
    if frame.topic.startswith("/"):
        return Heartbeat()  # a channel that is not asked for
    return Problem("unknown_frame", f"topic {frame.topic[:60]!r}")


def _subscription(topic: str, *, is_private: bool) -> str:
    request = {"id": "1", "type": "subscribe", "topic": topic, "privateChannel": is_private,
               "response": True}  # fmt: skip
    return _encode(request).decode()
