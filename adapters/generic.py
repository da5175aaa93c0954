"""Any venue that ccxt has: its markets, orders and streams through ccxt's unified words.

What nothing proves is said: the book is `unverified`, because ccxt's streams continue in silence where
messages are missing. Orders leave only through the classes in PROVEN, whose lost replies can be resolved by
our own id; every other class is read only, and says so. Pure: the calls are made by adapters/ccxt_generic.py,
the frames by adapters/ccxt_streams.py, with every number as text.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, NamedTuple

import msgspec

from adapters.codec import (
    NS_PER_MS,
    Acked,
    BadReply,
    BooksLost,
    Credentials,
    Denied,
    Problem,
    StreamEvent,
    Verification,
)
from engine.messages.base import Side
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import FillReport, OrderReport, Source
from engine.trading.book import LEVELS_MAX, Policy

PREFIX: Final = "ccxt:"
SIDES: Final[Mapping[str, Side]] = {"buy": "BUY", "sell": "SELL"}
ENDED: Final = {"canceled": "CANCELED", "expired": "EXPIRED", "rejected": "REJECTED"}


class Proof(NamedTuple):
    """What makes the orders of a ccxt class provable: where its venue documents it, what to add.

    `enforces_expiry`: its venue drops a request that arrives later than it allows.
    """

    source: str
    submit: Mapping[str, Any]
    enforces_expiry: bool


# The classes whose venue finds an order by the client's own id, open or ended, so that the outcome of a
# lost reply can be proven. Any other class is read only: a lost reply there would stay unknown for ever.
PROVEN: Final[Mapping[str, Proof]] = {
    "binance": Proof(
        "https://developers.binance.com/docs/binance-spot-api-docs/rest-api/account-endpoints"
        " (GET /api/v3/order by origClientOrderId)",
        {"recvWindow": 5000},
        enforces_expiry=True,
    ),
    "okx": Proof(
        "https://www.okx.com/docs-v5/en/#order-book-trading-trade-get-order-details (by clOrdId)",
        {},
        enforces_expiry=True,
    ),
}


def ccxt_id(adapter: str) -> str:
    """Return the class that an adapter's name asks for; empty for another adapter."""
    return adapter.removeprefix(PREFIX) if adapter.startswith(PREFIX) else ""


def read_only(exchange_id: str) -> str:
    """Return why no order may leave through this class; empty where it may."""
    if exchange_id in PROVEN:
        return ""
    return (
        f"ccxt's {exchange_id} is read only here: no order by client id is documented to be found again,"
        f" so a lost reply could not be proven; orders go through {', '.join(sorted(PROVEN))}"
    )


# --- reading what ccxt unified --------------------------------------------------------------------


def number(value: Any) -> Decimal:
    """Return an exact number; BadReply for what is none. ccxt's floats are the shortest that read back."""
    try:
        found = Decimal(repr(value) if isinstance(value, float) else str(value))
    except InvalidOperation:
        raise BadReply(f"not a number: {str(value)[:40]}") from None
    if not found.is_finite():
        raise BadReply(f"not a number: {str(value)[:40]}")
    return found


def text_of(value: Any) -> str:
    """Return a number as plain text, without an exponent."""
    return f"{number(value):f}"


def maybe(value: Any) -> Decimal | None:
    """Return an exact number where one is told."""
    return None if value is None else number(value)


def ns_of(stamp: Any) -> int:
    """Return ccxt's milliseconds as nanoseconds; 0 where none are told."""
    return int(number(stamp)) * NS_PER_MS if stamp is not None else 0


def _told(row: Mapping[str, Any], key: str) -> Any:
    value = row.get(key)
    if value is None or value == "":
        raise BadReply(f"no {key} in the answer")
    return value


def order_report(row: Any, account: str, source: Source) -> OrderReport:
    """Return ccxt's unified order. Raises BadReply where it leaves open what it is."""
    if not isinstance(row, Mapping):
        raise BadReply("not an order")
    quantity, filled = number(_told(row, "amount")), number(row.get("filled") or "0")
    state, side = row.get("status"), SIDES.get(str(row.get("side")))
    if side is None:
        raise BadReply(f"unknown side {row.get('side')}")
    if state in ("open", "canceling"):
        status = "PARTIALLY_FILLED" if filled > 0 else "NEW"
    elif state == "closed":
        # Some venues close what they canceled in part.
        status = "FILLED" if filled >= quantity else "CANCELED"
    else:
        status = ENDED.get(str(state), "")
    if not status:
        raise BadReply(f"unknown status {str(state)[:40]}")
    return OrderReport(
        account=account,
        client_order_id=str(row.get("clientOrderId") or ""),
        venue_order_id=str(_told(row, "id")),
        symbol=str(_told(row, "symbol")),
        side=side,
        order_type="MARKET" if row.get("type") == "market" else "LIMIT",
        quantity=quantity,
        price=maybe(row.get("price")) or None,
        status=status,  # type: ignore[arg-type]
        filled_quantity=filled,
        reason="",
        source=source,
        ts_event_ns=ns_of(row.get("lastUpdateTimestamp") or row.get("lastTradeTimestamp")
                        or row.get("timestamp")),
    )  # fmt: skip


def fill_report(row: Any, account: str, source: Source) -> FillReport:
    """Return ccxt's unified trade of ours. Raises BadReply, also where its fee is not told."""
    if not isinstance(row, Mapping):
        raise BadReply("not a fill")
    side, fee = SIDES.get(str(row.get("side"))), row.get("fee")
    if side is None:
        raise BadReply(f"unknown side {row.get('side')}")
    if not isinstance(fee, Mapping):
        raise BadReply(f"fill {row.get('id')} is told without its fee")
    return FillReport(
        account=account,
        client_order_id=str(row.get("clientOrderId") or ""),
        venue_order_id=str(_told(row, "order")),
        trade_id=str(_told(row, "id")),
        symbol=str(_told(row, "symbol")),
        side=side,
        price=number(_told(row, "price")),
        quantity=number(_told(row, "amount")),
        fee=number(_told(fee, "cost")),
        fee_asset=str(_told(fee, "currency")),
        liquidity="MAKER" if row.get("takerOrMaker") == "maker" else "TAKER",
        source=source,
        ts_event_ns=ns_of(row.get("timestamp")),
    )


class GenericCodec:
    """The frames that adapters/ccxt_streams.py makes of ccxt's unified structures. Never raises."""

    policy: Policy = "conn_seq"  # each frame is a whole book, numbered as it came
    verification: Verification = "unverified"
    levels_max = LEVELS_MAX
    ping_text: str | None = None
    private_acks = 1
    has_stream_snapshots = True

    def __init__(
        self, venue: str, account: str, symbols: Mapping[str, str], credentials: Credentials | None
    ) -> None:
        del credentials
        self.venue = venue
        self.account = account
        self._symbols = symbols

    def venue_symbol(self, symbol: str) -> str:
        """Return ccxt's spelling, which is ours."""
        return symbol

    def subscribe(self) -> list[str]:
        """Nothing: ccxt subscribes."""
        return []

    def resubscribe(self, symbol: str) -> list[str]:
        """Nothing: each frame is a whole book."""
        del symbol
        return []

    def login(self, now_ms: int) -> list[str]:
        """Nothing: ccxt logs in."""
        del now_ms
        return []

    def after_login(self) -> list[str]:
        """Nothing."""
        return []

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """{"k":"book","n":7,"row":{"symbol":"BTC/USDT","bids":[["1","2"]],"asks":[],"timestamp":1}}."""
        return self._on_frame(raw, recv_ns)

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """{"k":"order","n":8,"row":{..}}, the row as ccxt unified it."""
        return self._on_frame(raw, recv_ns)

    def _on_frame(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        try:
            frame = msgspec.json.decode(raw)
            kind, row = frame["k"], frame["row"]
            return [self._event(kind, frame["n"], row, recv_ns)]
        except (msgspec.MsgspecError, ValueError, KeyError, TypeError) as error:
            return [Problem("malformed", str(error)[:200])]

    def _event(self, kind: str, count: int, row: Any, recv_ns: int) -> StreamEvent:
        if kind == "book":
            stamp = ns_of(row.get("timestamp"))
            bids, asks = row["bids"], row["asks"]
            return BookDelta(row["symbol"], count, count, None, bids, asks, stamp, is_snapshot=True)
        if kind == "trade":
            price, quantity = number(_told(row, "price")), number(_told(row, "amount"))
            side, name = SIDES[row["side"]], str(row.get("id") or count)
            stamp = ns_of(row.get("timestamp"))
            return TradePrint(
                self.venue, row["symbol"], name, side, price, quantity, stamp, recv_ns
            )
        if kind == "order":
            return order_report(row, self.account, "stream")
        told: Mapping[str, StreamEvent] = {
            "up": Acked("orders"),
            "lost": BooksLost(str(row)),
            "denied": Denied("auth", str(row)),
        }
        return told.get(kind) or Problem("unknown", kind[:40])
