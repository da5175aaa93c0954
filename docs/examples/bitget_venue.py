"""Bitget spot as a venue of your own: its streams by a codec written here, its REST by ccxt.

The example of docs/adding-a-venue.md. A configuration names `adapter: docs.examples.bitget_venue:VENUE`; or
a package offers it as an entry point of the group `xcore.venues`. Its books are proven by the checksum that
Bitget sends with every message; orders do not leave, because nothing here proves a lost reply.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec

from adapters.codec import (
    FRAME_BYTES_MAX,
    NS_PER_MS,
    Acked,
    Credentials,
    Denied,
    Heartbeat,
    Problem,
    StreamEvent,
    Verification,
    ms_of,
)
from adapters.generic_rest import GenericRest
from adapters.registry import Adapter
from engine.messages.market import BookDelta, TradePrint
from engine.trading.book import LEVELS_MAX, Policy

SIDES = {"buy": "BUY", "sell": "SELL"}


def venue_symbol(symbol: str) -> str:
    """Return Bitget's spelling: BTC/USDT -> BTCUSDT."""
    return symbol.replace("/", "")


class BitgetCodec:
    """Frames in, events out; pure. https://www.bitget.com/api-doc/spot/websocket/public/Depth-Channel."""

    policy: Policy = "prev_seq"  # the stream brings the snapshot; with the checksum over the top 25
    verification: Verification = "checksum_top25"
    levels_max = LEVELS_MAX
    ping_text: str | None = "ping"
    private_acks = 1
    has_stream_snapshots = True

    def __init__(
        self, venue: str, account: str, symbols: Mapping[str, str],
        credentials: Credentials | None = None,
    ) -> None:  # fmt: skip
        self.venue = venue
        self.account = account
        self._symbols = symbols  # Bitget's spelling -> ours
        self._credentials = credentials

    def venue_symbol(self, symbol: str) -> str:
        """Return Bitget's spelling."""
        return venue_symbol(symbol)

    def subscribe(self) -> list[str]:
        """Return one frame for the books and trades of every symbol."""
        return [_op("subscribe", list(self._symbols), ("books", "trade"))]

    def resubscribe(self, symbol: str) -> list[str]:
        """Return the frames that make Bitget send one book's snapshot again."""
        theirs = [venue_symbol(symbol)]
        return [_op("unsubscribe", theirs, ("books",)), _op("subscribe", theirs, ("books",))]

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame; whatever makes no sense is a Problem."""
        if raw == b"pong":
            return [Heartbeat()]
        if len(raw) > FRAME_BYTES_MAX:
            return [Problem("huge", f"{len(raw)} bytes")]
        try:
            return list(self._events(msgspec.json.decode(raw), recv_ns))
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError, ArithmeticError) as error:
            return [Problem("malformed", str(error)[:200])]

    # {"event":"subscribe","arg":{"instType":"sp","channel":"books","instId":"MASKUSDT"}}
    # {"action":"update","arg":{..},"data":[{"asks":[["6.0001","72.9"]],"bids":[],"checksum":1,"ts":"16490"}]}
    def _events(self, frame: dict[str, Any], recv_ns: int) -> Iterator[StreamEvent]:
        if "event" in frame:
            yield _said(frame)
            return
        arg = frame["arg"]
        symbol = self._symbols.get(arg["instId"])
        if symbol is None:
            yield Problem("unknown_symbol", str(arg["instId"])[:40])
        elif arg["channel"] == "books":
            for row in frame["data"]:
                yield _book(symbol, row, is_snapshot=frame["action"] == "snapshot")
        elif arg["channel"] == "trade" and frame["action"] == "update":
            for row in frame["data"]:
                if isinstance(row, dict):
                    yield self._trade(symbol, row, recv_ns)
        else:
            yield Heartbeat()

    # {"ts":"1695709835822","price":"26293.4","size":"0.0013","side":"buy","tradeId":"1000000000"}
    def _trade(self, symbol: str, row: Mapping[str, str], recv_ns: int) -> TradePrint:
        price, size = msgspec.convert((row["price"], row["size"]), _Exact, strict=False)
        stamp_ns = ms_of(row["ts"]) * NS_PER_MS
        side: Any = SIDES[row["side"]]
        return TradePrint(self.venue, symbol, row["tradeId"], side, price, size, stamp_ns, recv_ns)

    def login(self, now_ms: int) -> list[str]:
        """Return the login: base64(HMAC-SHA256(seconds + "GET" + "/user/verify"))."""
        assert self._credentials is not None, "only an account logs in"
        key, secret, passphrase = (secret.reveal() for secret in self._credentials)
        stamp = str(now_ms // 1000)
        digest = hmac.digest(secret.encode(), f"{stamp}GET/user/verify".encode(), hashlib.sha256)
        sign = base64.b64encode(digest).decode()
        arg = {"apiKey": key, "passphrase": passphrase, "timestamp": stamp, "sign": sign}
        return [json.dumps({"op": "login", "args": [arg]})]

    def after_login(self) -> list[str]:
        """Return the subscription of our orders."""
        return [_op("subscribe", ["default"], ("orders",))]

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame. What it says of orders is a hint here: REST tells them."""
        del recv_ns
        if raw == b"pong":
            return [Heartbeat()]
        try:
            frame = msgspec.json.decode(raw)
            return [_said(frame) if "event" in frame else Heartbeat()]
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            return [Problem("malformed", str(error)[:200])]


_Exact = tuple[Decimal, Decimal]


def _book(symbol: str, row: Mapping[str, Any], *, is_snapshot: bool) -> BookDelta:
    stamp = ms_of(row["ts"])
    return BookDelta(
        symbol=symbol,
        first=stamp,
        last=stamp,  # the recorded format has no numbers: the checksum alone proves each message
        previous=None,
        bids=row["bids"],
        asks=row["asks"],
        ts_event_ns=stamp * NS_PER_MS,
        is_snapshot=is_snapshot,
        checksum=int(row["checksum"]),
    )


def _said(frame: Mapping[str, Any]) -> StreamEvent:
    event = frame["event"]
    if event == "error":
        code = str(frame.get("code", ""))
        kind = Denied if code in ("30005", "30006", "30011", "30012", "30015") else Problem
        return kind(code, str(frame.get("msg", ""))[:200])
    return Acked("login" if event == "login" else str(frame["arg"]["channel"]))


def _op(name: str, symbols: list[str], channels: tuple[str, ...]) -> str:
    args = [{"instType": "SPOT", "channel": c, "instId": s} for s in symbols for c in channels]
    return json.dumps({"op": name, "args": args})


VENUE = Adapter(
    urls={
        "rest": "https://api.bitget.com",
        "public_ws": "wss://ws.bitget.com/v2/ws/public",
        "private_ws": "wss://ws.bitget.com/v2/ws/private",
    },
    venue_symbol=venue_symbol,
    codec=BitgetCodec,
    rest=partial(GenericRest, exchange_id="bitget"),
    send_every_s=0.1,
    enforces_expiry=False,
    read_only="Bitget is read only here: nothing in this example proves what became of a lost order",
)
