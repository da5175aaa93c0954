"""What every venue's codec has in common: the events it emits and the calls it describes.

A codec is pure: bytes in, events out; a command in, a described REST call out. It opens nothing,
waits for nothing and reads no clock, so recorded frames replay through the very code that trades.
"""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, NamedTuple, Protocol

from msgspec import Meta

from engine.messages.base import Liquidity, Side
from engine.messages.market import BookDelta, TradePrint
from engine.messages.port import (
    BalanceReport,
    BalanceUpdate,
    CancelOrder,
    FillReport,
    Instrument,
    OrderReport,
    Source,
    SubmitOrder,
)
from engine.trading.book import Policy

CANNOT_SIGN: Final = "CANNOT_SIGN"  # what a login is refused as, by us, whose secret is no secret
FRAME_BYTES_MAX: Final = 4 * 1024 * 1024
NS_PER_MS: Final = 1_000_000
# What still fits 64 bits, as ids and as nanoseconds; beyond is malformed, not a venue's number.
WireId = Annotated[int, Meta(ge=0, le=2**63 - 1)]
WireMs = Annotated[int, Meta(ge=0, le=9_000_000_000_000)]


class Secret:
    """A text that never shows itself; `reveal()` is called only where it signs."""

    __slots__ = ("_text",)

    def __init__(self, text: str = "") -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the secret itself."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return "Secret(***)" if self._text else "Secret()"


class Credentials(NamedTuple):
    """What signs for one account."""

    api_key: Secret
    api_secret: Secret
    passphrase: Secret


# --- events of the streams ------------------------------------------------------------------------


class Acked(NamedTuple):
    """The venue confirmed a subscription or a login."""

    what: str


class Denied(NamedTuple):
    """The venue refuses our credentials: trying again does not help."""

    code: str
    text: str


class Reconnect(NamedTuple):
    """The venue asks for, or the protocol needs, a new connection."""

    reason: str


class RenewSoon(NamedTuple):
    """The venue will end this connection before long: a successor should be level by then."""

    reason: str


class Problem(NamedTuple):
    """A frame that is malformed, huge, or names something unknown. Counted; the link lives on."""

    code: str
    text: str


class Heartbeat(NamedTuple):
    """A frame that proves life and says nothing else."""


class FillSeen(NamedTuple):
    """An execution whose fee the stream does not tell: a hint. REST brings the fill itself."""

    account: str
    client_order_id: str
    venue_order_id: str
    trade_id: str
    symbol: str
    side: Side
    price: Decimal
    quantity: Decimal
    liquidity: Liquidity
    ts_event_ns: int


class BooksLost(NamedTuple):
    """Messages of this connection are missing, and nobody can say whose: no book is right now."""

    reason: str


class BookShape(NamedTuple):
    """How the venue writes one book: the decimals of its checksum, how many levels a side it keeps."""

    symbol: str
    price_decimals: int
    quantity_decimals: int
    levels_max: int


class BookTop(NamedTuple):
    """The venue's own best bid and ask with its book id: an oracle for replays."""

    symbol: str
    last: int
    bid: str
    ask: str


StreamEvent = (
    BookDelta
    | TradePrint
    | OrderReport
    | FillReport
    | FillSeen
    | BalanceUpdate
    | Acked
    | Denied
    | Reconnect
    | RenewSoon
    | Problem
    | Heartbeat
    | BooksLost
    | BookShape
    | BookTop
)


# --- REST -----------------------------------------------------------------------------------------


class RestCall(NamedTuple):
    """One REST call, described: ccxt's method name, exact parameters, what it costs.

    `symbol` and `venue_order_id` are not sent: they are what the reader of the answer must know
    where the venue cannot be asked for less than everything.
    """

    method: str
    params: Mapping[str, Any]
    costs: Mapping[str, int]
    expires: bool = False
    symbol: str = ""
    venue_order_id: str = ""
    is_unified: bool = False  # one of ccxt's unified methods, called with `params` as its arguments


class Ack(NamedTuple):
    """A validated answer to a submit; `reports` are what it already tells about the order."""

    venue_order_id: str
    ts_event_ns: int
    reports: Sequence[OrderReport | FillReport]


class Page(NamedTuple):
    """Some fills and the call for the next page, if there may be one."""

    fills: list[FillReport]
    next: RestCall | None


class Orders(NamedTuple):
    """Some open orders and the call for the next page, if there may be one."""

    orders: list[OrderReport]
    next: RestCall | None


class BadReply(ValueError):
    """A success answer that is not what the venue documents: the outcome is not proven by it."""


class NotListed(BadReply):
    """The venue's answer is an empty list: it does not have the order where it was looked for."""


class IdNeeded(LookupError):
    """The venue wants its own id of the order, which is not known here: it has to be looked up."""


def ms_of(text: str) -> int:
    """Return the milliseconds a venue wrote as text; ValueError for anything else."""
    if len(text) > 13 or not (text.isascii() and text.isdigit()):
        raise ValueError(f"not a time: {text[:40]!r}")
    return int(text)


# What proves that a LIVE book is the venue's, from the strongest to nothing at all.
Verification = Literal[
    "sequence_and_checksum",  # each update names its predecessor, and a checksum over the top 25
    "sequence",  # each update continues the one before
    "connection_sequence",  # the connection numbers its messages; a gap loses all of its books
    "checksum_top25",  # the 25 best levels are proven with each update, the others by nothing
    "checksum_top10",  # the ten best levels are proven with each update, the others by nothing
    "unverified",  # nothing
]


class Codec(Protocol):
    """The dialect of one venue: streams both ways, REST both ways, all pure."""

    venue: str
    account: str
    policy: Policy
    verification: Verification
    levels_max: int
    ping_text: str | None
    private_acks: int
    has_stream_snapshots: bool

    def venue_symbol(self, symbol: str) -> str:
        """Return the venue's spelling."""
        ...

    def subscribe(self) -> list[str]:
        """Return the frames that subscribe every configured symbol."""
        ...

    def resubscribe(self, symbol: str) -> list[str]:
        """Return the frames that make the stream send this book anew, if it can."""
        ...

    def on_public(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the public link."""
        ...

    def login(self, now_ms: int) -> list[str]:
        """Return the frames that authenticate (and, where that is one step, subscribe)."""
        ...

    def after_login(self) -> list[str]:
        """Return the frames to send once the login is confirmed."""
        ...

    def on_private(self, raw: bytes, recv_ns: int) -> list[StreamEvent]:
        """Parse one frame of the private link."""
        ...


class RestCodec(Protocol):
    """The REST half of a dialect: describes calls, reads answers (BadReply if they are odd)."""

    exchange_id: str

    @property
    def scopes(self) -> Mapping[str, tuple[int, float]]:
        """What the venue counts: name -> so many in so many seconds."""
        ...

    def used(self, headers: Mapping[str, str]) -> dict[str, int]:
        """Return what the venue says is spent, per scope."""
        ...

    def server_time(self) -> RestCall:
        """Describe the call that tells the venue's time."""
        ...

    def read_server_time(self, reply: Any) -> int:
        """Return the venue's time in ms."""
        ...

    def instruments(self) -> RestCall:
        """Describe the call that lists instruments."""
        ...

    def read_instruments(self, reply: Any) -> list[Instrument]:
        """Return the configured instruments; fees are the defaults until `read_fees`."""
        ...

    def fees(self, symbol: str) -> RestCall:
        """Describe the call that tells the account's fee rates."""
        ...

    def read_fees(self, reply: Any, instrument: Instrument) -> Instrument:
        """Return the instrument with the account's own rates."""
        ...

    def snapshot(self, symbol: str) -> RestCall | None:
        """Describe the call for a book snapshot; None where the stream brings it."""
        ...

    def read_snapshot(self, reply: Any, symbol: str) -> BookDelta:
        """Return the snapshot."""
        ...

    def submit(self, order: SubmitOrder) -> RestCall:
        """Describe the call that places this order."""
        ...

    def read_submit(self, reply: Any, order: SubmitOrder) -> Ack:
        """Return the proven acknowledgement."""
        ...

    def cancel(self, cancel: CancelOrder) -> RestCall:
        """Describe the call that cancels."""
        ...

    def read_cancel(self, reply: Any, cancel: CancelOrder) -> list[OrderReport]:
        """Return what the answer proves of the order."""
        ...

    def order(self, symbol: str, client_order_id: str, venue_order_id: str | None) -> RestCall:
        """Describe the query of one order."""
        ...

    def read_order(self, reply: Any) -> OrderReport:
        """Return the order."""
        ...

    def open_orders(self, symbol: str) -> RestCall:
        """Describe the list of open orders of one symbol."""
        ...

    def read_open_orders(self, reply: Any, call: RestCall, source: Source) -> Orders:
        """Return one page of them."""
        ...

    def fills(self, symbol: str, since_ms: int, now_ms: int) -> RestCall:
        """Describe the list of our fills in one symbol since a time."""
        ...

    def fills_of(self, symbol: str, venue_order_id: str) -> RestCall:
        """Describe the list of one order's fills."""
        ...

    def read_fills(self, reply: Any, call: RestCall, source: Source, now_ms: int) -> Page:
        """Return one page of them."""
        ...

    def orders_since(self, symbol: str, since_ms: int) -> RestCall | None:
        """Describe the call that maps order ids to client ids; None where fills carry them."""
        ...

    def read_client_ids(self, reply: Any) -> dict[str, str]:
        """Return venue order id -> client order id."""
        ...

    def account(self) -> RestCall | None:
        """Describe the call that tells the venue's own id of the account; None where none does."""
        ...

    def read_account_uid(self, reply: Any) -> str:
        """Return that id."""
        ...

    def balances(self) -> RestCall:
        """Describe the call for balances."""
        ...

    def read_balances(self, reply: Any) -> list[BalanceReport]:
        """Return free and locked of every asset held."""
        ...
