"""Recordings in formats that a venue has retired, told in the words it uses now. Only for replays.

Each translator turns one recorded frame into frames of the present format, number for number as
they were written; what it does not understand it passes on, for the codec to say so. Two of the
old formats have no sequence of their own: there the translator numbers the frames as they came,
which proves nothing about what the recording may lack (`verification` says so).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from adapters.codec import Verification
from adapters.symbols import asset

FIRST_NUMBER: Final = 1000
_encode = msgspec.json.Encoder(decimal_format="number").encode
_BAD: Final = (msgspec.DecodeError, RecursionError, ArithmeticError, ValueError)


class Translator(Protocol):
    """One recording's translator; it may remember what came before."""

    verification: Verification

    def translate(self, raw: bytes) -> list[bytes]:
        """Return the frames of today's format that say the same."""
        ...


class _Level(msgspec.Struct):
    price: Decimal
    qty: Decimal


# --- Kraken's API v1 ------------------------------------------------------------------------------


class _V1Side(msgspec.Struct):
    bs: list[list[str]] = []
    a: list[list[str]] = []
    b: list[list[str]] = []
    c: str = ""
    # The list of asks in a snapshot: `as`, which is a word of Python's.
    as_: list[list[str]] = msgspec.field(default_factory=list, name="as")


class _V1Event(msgspec.Struct):
    event: str
    status: str = ""
    subscription: dict[str, Any] = {}


_decode_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_side = msgspec.json.Decoder(_V1Side).decode
_decode_prints = msgspec.json.Decoder(list[list[str]]).decode
_decode_event = msgspec.json.Decoder(_V1Event).decode


# [992,{"b":[["354.15000000","5.00000000","1618678133.365913"]],"c":"2583817756"},"book-1000",
#  "XMR/USD"]
class KrakenV1:
    """Fixed decimals, checksums of updates, and times of levels instead of messages."""

    verification: Verification = "checksum_top10"

    def __init__(self) -> None:
        self._trades = 0

    def translate(self, raw: bytes) -> list[bytes]:
        """Return v2 frames; before a pair's snapshot the `instrument` frame with its decimals."""
        try:
            if raw.startswith(b"["):
                return self._push(_decode_list(raw)) or [raw]
            return self._event(_decode_event(raw)) or [raw]
        except _BAD:
            return [raw]

    def _event(self, event: _V1Event) -> list[bytes]:
        if event.event == "subscriptionStatus" and event.status == "subscribed":
            name, depth = event.subscription.get("name"), event.subscription.get("depth", 0)
            result = {"channel": name, "depth": depth}
            return [_encode({"method": "subscribe", "result": result, "success": True})]
        if event.event in ("heartbeat", "systemStatus", "pong"):
            return [_encode({"channel": "heartbeat"})]
        return []

    def _push(self, items: list[msgspec.Raw]) -> list[bytes]:
        if len(items) < 4:
            return []
        channel = _decode_text(items[-2])
        base, _, quote = _decode_text(items[-1]).partition("/")
        symbol = f"{asset('kraken', base)}/{asset('kraken', quote)}"
        if channel == "trade":
            return [self._prints(symbol, _decode_prints(items[1]))]
        if not channel.startswith("book-"):
            return [_encode({"channel": "ticker"})]
        sides = [_decode_side(raw) for raw in items[1:-2] if bytes(raw) != b"null"]
        if any(side.as_ or side.bs for side in sides):
            return _v1_snapshot(symbol, sides[0])
        return [_v1_update(symbol, sides)]

    def _prints(self, symbol: str, rows: list[list[str]]) -> bytes:
        data = []
        for price, quantity, at, side, *_ in rows:
            self._trades += 1  # v1 gave no ids
            data.append({"symbol": symbol, "side": {"b": "buy", "s": "sell"}[side],
                         "price": Decimal(price), "qty": Decimal(quantity),
                         "trade_id": self._trades, "timestamp": _rfc3339(at)})  # fmt: skip
        return _encode({"channel": "trade", "type": "update", "data": data})


def _v1_snapshot(symbol: str, side: _V1Side) -> list[bytes]:
    levels = side.as_ + side.bs
    decimals = [max(len(row[i].partition(".")[2]) for row in levels) for i in (0, 1)]
    pair = {"symbol": symbol, "price_precision": decimals[0], "qty_precision": decimals[1]}
    book = {"symbol": symbol, "bids": _levels(side.bs), "asks": _levels(side.as_)}
    return [
        _encode({"channel": "instrument", "type": "update", "data": {"pairs": [pair]}}),
        _encode({"channel": "book", "type": "snapshot", "data": [book]}),
    ]


def _v1_update(symbol: str, sides: Sequence[_V1Side]) -> bytes:
    bids = [row for side in sides for row in side.b]
    asks = [row for side in sides for row in side.a]
    book: dict[str, Any] = {"symbol": symbol, "bids": _levels(bids), "asks": _levels(asks)}
    checksum = next((side.c for side in sides if side.c), None)
    if checksum is not None:
        book["checksum"] = int(checksum)
    book["timestamp"] = _rfc3339(max((row[2] for row in bids + asks), key=Decimal))
    return _encode({"channel": "book", "type": "update", "data": [book]})


def _levels(rows: Iterable[Sequence[str]]) -> list[_Level]:
    return [_Level(Decimal(row[0]), Decimal(row[1])) for row in rows]


# 1618678133.365913 -> 2021-04-17T16:48:53.365913Z
def _rfc3339(seconds: str) -> str:
    whole, _, fraction = seconds.partition(".")
    if not (fraction or "0").isdigit():
        raise ValueError(f"not a time: {seconds[:40]!r}")
    return f"{datetime.fromtimestamp(int(whole), UTC):%Y-%m-%dT%H:%M:%S}.{fraction or '0'}Z"


# --- Bybit's API v2 -------------------------------------------------------------------------------


class _V2Row(msgspec.Struct):
    price: Decimal
    symbol: str
    side: str
    size: Decimal = Decimal(0)


class _V2Changes(msgspec.Struct):
    delete: list[_V2Row] = []
    update: list[_V2Row] = []
    insert: list[_V2Row] = []
    order_book: list[_V2Row] = []


class _V2Trade(msgspec.Struct):
    symbol: str
    side: str
    price: Decimal
    size: Decimal
    trade_id: str
    trade_time_ms: int | str


class _V2Frame(msgspec.Struct):
    topic: str = ""
    type: str = ""
    timestamp_e6: int | str = 0
    success: bool | None = None
    data: msgspec.Raw = msgspec.Raw()


_decode_v2 = msgspec.json.Decoder(_V2Frame).decode
_decode_changes = msgspec.json.Decoder(_V2Changes).decode
_decode_rows = msgspec.json.Decoder(list[_V2Row]).decode
_decode_trades = msgspec.json.Decoder(list[_V2Trade]).decode


# {"topic":"orderBookL2_25.BCHUSDT","type":"delta","data":{"delete":[{"price":"1054.30",..}],
#  "update":[{"price":"1053.90","symbol":"BCHUSDT","side":"Buy","size":3.66}],"insert":[]}}
class BybitV2:
    """Levels deleted, updated and inserted by name, without a numbering of one book."""

    verification: Verification = "unverified"

    def __init__(self) -> None:
        self._last: Counter[str] = Counter()

    def translate(self, raw: bytes) -> list[bytes]:
        """Return v5 frames, numbered from 1000 for each book."""
        try:
            frame = _decode_v2(raw)
            if frame.topic.startswith("orderBookL2_25."):
                return [self._book(frame)]
            if frame.topic.startswith("trade."):
                return [_v2_prints(frame)]
        except _BAD:
            return [raw]
        if frame.success is not None:
            return [_encode({"success": frame.success, "op": "subscribe"})]
        return [_encode({"topic": "tickers"})] if frame.topic else [raw]

    def _book(self, frame: _V2Frame) -> bytes:
        symbol = frame.topic.partition(".")[2]
        is_list = bytes(frame.data).startswith(b"[")
        changes = _V2Changes() if is_list else _decode_changes(frame.data)
        gone = [_V2Row(row.price, row.symbol, row.side) for row in changes.delete]
        rows = _decode_rows(frame.data) if is_list else changes.order_book
        rows = [*rows, *gone, *changes.update, *changes.insert]
        self._last[symbol] += FIRST_NUMBER if symbol not in self._last else 1
        data = {
            "s": symbol,
            "b": [_pair(row) for row in rows if row.side == "Buy"],
            "a": [_pair(row) for row in rows if row.side == "Sell"],
            "u": self._last[symbol],
        }
        topic, at_ms = f"orderbook.25.{symbol}", int(frame.timestamp_e6) // 1000
        return _encode({"topic": topic, "type": frame.type, "ts": at_ms, "data": data})


def _pair(row: _V2Row) -> tuple[str, str]:
    return f"{row.price:f}", f"{row.size:f}"


def _v2_prints(frame: _V2Frame) -> bytes:
    data = [
        {"T": int(row.trade_time_ms), "s": row.symbol, "S": row.side, "v": f"{row.size:f}",
         "p": f"{row.price:f}", "i": row.trade_id}
        for row in _decode_trades(frame.data)
    ]  # fmt: skip
    topic = frame.topic.replace("trade.", "publicTrade.", 1)
    return _encode({"topic": topic, "type": "snapshot", "data": data})


# --- Coinbase Exchange (Pro) ----------------------------------------------------------------------


class _ProFrame(msgspec.Struct):
    type: str
    product_id: str = ""
    time: str = "1970-01-01T00:00:00Z"
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    changes: list[tuple[str, str, str]] = []
    trade_id: int = 0
    price: str = ""
    size: str = ""
    side: str = ""


_decode_pro = msgspec.json.Decoder(_ProFrame).decode
_PRO_SIDES: Final = {"buy": "bid", "sell": "offer"}


# {"type":"l2update","product_id":"SKL-USD","changes":[["sell","0.7923","7441.5"]],
#  "time":"2021-04-17T16:43:37.075351Z"}
class CoinbaseExchange:
    """Each price absolute, without any numbering."""

    verification: Verification = "unverified"

    def __init__(self) -> None:
        self._count = -1

    def translate(self, raw: bytes) -> list[bytes]:
        """Return frames of Advanced Trade, numbered as they came."""
        try:
            told = _told_by_pro(_decode_pro(raw))
        except (*_BAD, KeyError):
            return [raw]
        if told is None:
            return [raw]
        self._count += 1
        return [_encode({**told, "sequence_num": self._count})]


def _told_by_pro(frame: _ProFrame) -> dict[str, Any] | None:
    if frame.type in ("snapshot", "l2update"):
        rows = [("bid", p, q) for p, q in frame.bids] + [("offer", p, q) for p, q in frame.asks]
        rows += [(_PRO_SIDES[side], p, q) for side, p, q in frame.changes]
        updates = [{"side": s, "price_level": p, "new_quantity": q} for s, p, q in rows]
        kind = "snapshot" if frame.type == "snapshot" else "update"
        event = {"type": kind, "product_id": frame.product_id, "updates": updates}
        return {"channel": "l2_data", "timestamp": frame.time, "events": [event]}
    if frame.type in ("match", "last_match"):
        trade = {"trade_id": str(frame.trade_id), "product_id": frame.product_id,
                 "price": frame.price, "size": frame.size, "side": frame.side.upper(),
                 "time": frame.time}  # fmt: skip
        event = {"type": "update", "trades": [trade]}
        return {"channel": "market_trades", "timestamp": frame.time, "events": [event]}
    if frame.type in ("subscriptions", "ticker", "heartbeat"):
        channel = {"heartbeat": "heartbeats"}.get(frame.type, frame.type)
        return {"channel": channel, "timestamp": frame.time, "events": []}
    return None


class Dialect(NamedTuple):
    """A retired format: whose it was, and what makes its translator."""

    venue: str
    make: type[KrakenV1] | type[BybitV2] | type[CoinbaseExchange]


DIALECTS: Final[Mapping[str, Dialect]] = {
    "kraken_v1": Dialect("kraken", KrakenV1),
    "bybit_v2": Dialect("bybit", BybitV2),
    "coinbase_exchange": Dialect("coinbase", CoinbaseExchange),
}
