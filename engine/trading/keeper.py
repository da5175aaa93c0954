"""The state machine that says whether one venue's book for one symbol can be trusted.

Two ways to join a stream, by policy. With a snapshot taken by REST (`U_u` Binance, `start_end`
KuCoin) diffs are buffered until it arrives; diffs up to its id are stale, the first one kept must
span id + 1, then each must begin where the last ended (at Binance's futures: must name the last as
its predecessor). Where the stream itself brings the snapshot, each update names its predecessor
(`prev_seq` OKX, `u_plus_1` Bybit), or the codec watches the numbering of the whole connection
(`conn_seq` Coinbase), or only a checksum over the touch can tell (`crc32_top10` Kraken; OKX's over
the top 25 is verified where it is not zero).

Ids tell age: no book is LIVE that is older than what the stream has already said on this
connection. Kraken has no ids, only times of updates: there a snapshot that comes behind updates
waits until the next update, whose checksum confirms it.

Known weaknesses: a quiet book with no diff to confirm its REST snapshot stays SYNCING until a diff
or a second snapshot with the same id confirms it; the keeper's owner asks for that one. Bybit
numbers from 1 after a restart of its service, so a late repetition of such a snapshot is believed
until the next update breaks the chain. A snapshot by REST may fall into the middle of a diff: a
level that left and came back within it (recorded at Binance's futures) is in no diff, and wrong
until it changes again.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from engine.messages.market import BookDelta
from engine.trading.book import LEVELS_MAX, UNITS_MAX, Book, BookSide, Level, Policy

if TYPE_CHECKING:
    from engine.messages.market import BookState

BUFFERED_MAX: Final = 2000
JOINS: Final[frozenset[Policy]] = frozenset({"U_u", "start_end"})
# KuCoin's book without an API key: the best hundred of each side, and nothing is known of the rest.
KUCOIN_PART: Final = 100
# A part of which so few levels are left is asked for anew.
LEVELS_MIN: Final = 20


class BookKeeper:
    """A book with its sync state, counters and rules; fed with deltas and snapshots, never waits.

    `wants_snapshot` says that its owner must fetch it, or resubscribe where the stream brings it.
    `decimals` (price, quantity) are those that the venue writes its checksum with (Kraken).
    """

    __slots__ = (
        "_awaiting", "_buffer", "_decimals", "_floors", "_is_joined", "_joins", "_last", "_seen",
        "book", "checksum_bad", "checksum_ok", "crossed", "diffs", "gaps", "locked", "policy",
        "reason", "resyncs", "stale", "state", "symbol", "ts_event_ns", "wants_snapshot",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        policy: Policy,
        price_exponent: int,
        quantity_exponent: int,
        *,
        units_max: int = UNITS_MAX,
        levels_max: int = LEVELS_MAX,
        decimals: tuple[int, int] | None = None,
    ) -> None:
        self.symbol = symbol
        self.policy = policy
        price_decimals, quantity_decimals = decimals or (0, 0)
        self.book = Book(
            max(price_exponent, price_decimals),
            max(quantity_exponent, quantity_decimals),
            with_texts=policy == "prev_seq",
            units_max=units_max,
            levels_max=levels_max,
        )
        self._joins = policy in JOINS
        self._decimals = decimals
        self.state: BookState = "EMPTY"
        self.reason = "never_synced"
        self.wants_snapshot = False
        self.ts_event_ns = 0
        self.diffs = self.stale = self.gaps = self.resyncs = 0
        self.checksum_ok = self.checksum_bad = self.crossed = self.locked = 0
        self._last: int | None = None
        self._seen = 0  # the newest id that the stream has said on this connection
        self._floors: tuple[int | None, int | None] | None = None
        self._awaiting = False  # a snapshot is loaded, and something must still confirm it
        self._is_joined = False  # a diff has continued the snapshot
        self._buffer: deque[BookDelta] = deque()

    @property
    def sequence(self) -> int:
        """The venue's id of the last applied update; 0 before any."""
        return self._last or 0

    @property
    def is_unconfirmed(self) -> bool:
        """A snapshot is loaded, but no diff has joined it yet."""
        return self.state == "SYNCING" and self._awaiting

    def begin(self, reason: str = "subscribed") -> None:
        """Start (again) to synchronise: everything before counts no more."""
        if self.state != "EMPTY":
            self.resyncs += 1
        self.state, self.reason = "SYNCING", reason
        self.wants_snapshot = True
        self._last, self._awaiting = None, False
        self._buffer.clear()

    def disconnect(self, reason: str) -> None:
        """The stream is gone: what is held is old from now on."""
        if self.state == "EMPTY":
            return
        self.state, self.reason = "STALE", reason
        self.wants_snapshot = False
        self._last, self._awaiting, self._seen = None, False, 0
        self._buffer.clear()

    def on_snapshot(self, snapshot: BookDelta) -> None:
        """Take a snapshot that came by REST. Ignored unless synchronising."""
        if self.state != "SYNCING":
            return
        confirmed = self._awaiting and self._last == snapshot.last and not self._buffer
        if self._buffer and self._buffer[0].first > snapshot.last + 1:
            self.reason = "snapshot_too_old"
            self.wants_snapshot = True
            return
        try:
            self.book.load(snapshot.bids, snapshot.asks)
        except ValueError:
            self._lose("malformed")
            return
        self._floors = self._floors_of(snapshot)
        self._last, self._awaiting, self._is_joined = snapshot.last, True, False
        self.wants_snapshot = False
        self.ts_event_ns = max(self.ts_event_ns, snapshot.ts_event_ns)
        if confirmed:
            self._look_at_touch()
        buffered = self._buffer
        self._buffer = deque()
        while buffered and self.state in ("SYNCING", "LIVE"):
            self._join(buffered.popleft())

    def on_delta(self, delta: BookDelta) -> None:
        """Take one message of the stream, whatever the state."""
        if not self._joins:
            self._chain(delta)
            return
        self._seen = max(self._seen, delta.last)
        if self.state == "LIVE" or self._awaiting:
            self._join(delta)
        elif self.state == "SYNCING":
            if len(self._buffer) >= BUFFERED_MAX:
                self._buffer.popleft()
            self._buffer.append(delta)
        elif self.state == "GAP":
            self.stale += 1

    def lose(self, reason: str) -> None:
        """Something that is not in the messages themselves says that the book is wrong."""
        if self.state in ("SYNCING", "LIVE"):
            self._lose(reason)

    # Stale, joining, or contiguous; anything else is a gap.
    def _join(self, delta: BookDelta) -> None:
        last = self._last
        assert last is not None, "a joined book has an id"
        if delta.last <= last and not self._is_first_of_futures(delta, last):
            self.stale += 1
            if self._awaiting:
                self._look_at_touch()  # the snapshot is ahead of the stream: nothing is missing
        elif (delta.first > last + 1) if delta.previous is None else self._breaks(delta, last):
            self._lose("sequence")
        else:
            self._is_joined = True
            self._take(delta, after=last if self.policy == "start_end" else None)

    # Binance's futures also give the diff that ends exactly where the snapshot stands.
    def _is_first_of_futures(self, delta: BookDelta, last: int) -> bool:
        return delta.previous is not None and not self._is_joined and delta.last == last

    def _breaks(self, delta: BookDelta, last: int) -> bool:
        return delta.previous != last and (self._is_joined or delta.first > last)

    # The stream brings the snapshot. Ids jump, and fall when OKX was maintained.
    def _chain(self, delta: BookDelta) -> None:
        if delta.is_snapshot:
            if self.state in ("SYNCING", "LIVE"):
                self._replace(delta)
            return
        seen = self._seen
        if delta.last > seen or (delta.previous is not None and delta.previous > delta.last):
            self._seen = delta.last
        if self.state != "LIVE" and not self._awaiting:
            self.stale += 1
        elif (delta.last < seen) if delta.previous is None else (delta.previous != self._last):
            self._lose("sequence")
        elif delta.previous is not None and delta.previous == delta.last:
            self.ts_event_ns = delta.ts_event_ns  # an idle heartbeat
        else:
            self._take(delta)

    def _replace(self, snapshot: BookDelta) -> None:
        if self.policy == "u_plus_1" and snapshot.last == 1:
            self._seen = 1  # Bybit's service has started anew, and with it the ids
        is_proven = snapshot.last >= self._seen
        if is_proven:
            self._seen = snapshot.last
        if is_proven or self.policy == "crc32_top10":
            self._take(snapshot, replaces=True, is_proven=is_proven)
        elif self.state == "LIVE":
            self._lose("snapshot_too_old")
        else:
            self.reason, self.wants_snapshot = "snapshot_too_old", True

    # Apply a full message, then ids, checksum and a look at the touch; only then LIVE.
    def _take(
        self,
        delta: BookDelta,
        *,
        replaces: bool = False,
        is_proven: bool = True,
        after: int | None = None,
    ) -> None:
        try:
            if replaces:
                self.book.load(delta.bids, delta.asks)
            elif after is not None and delta.first <= after:
                self.book.apply(_newer(delta.bids, after), _newer(delta.asks, after))
            else:
                self.book.bids.apply(delta.bids)
                self.book.asks.apply(delta.asks)
        except ValueError:
            self._lose("malformed")
            return
        self.wants_snapshot = False
        self.diffs += 1
        self._last = delta.last
        self.ts_event_ns = delta.ts_event_ns
        if delta.checksum and not self._matches(delta.checksum):
            return
        if not is_proven:
            self.state, self.reason, self._awaiting = "SYNCING", "unconfirmed", True
        elif self._floors is None or self._keeps_to(self._floors):
            bids, asks = self.book.bids.keys, self.book.asks.keys
            if self.state != "LIVE" or not bids or not asks or bids[-1] + asks[-1] >= 0:
                self._look_at_touch()  # else it is LIVE, bids below asks, and stays so

    def _checksum(self) -> int:
        if self.policy != "crc32_top10":
            return self.book.checksum()
        assert self._decimals is not None, "Kraken's checksum needs the pair's decimals"
        return self.book.kraken_checksum(self._decimals)

    def _matches(self, checksum: int) -> bool:
        if self._checksum() == checksum & 0xFFFFFFFF:
            self.checksum_ok += 1
            return True
        self.checksum_bad += 1
        self._lose("checksum")
        return False

    # Beyond the last level of a partial snapshot levels may exist that nobody has told us of.
    def _floors_of(self, snapshot: BookDelta) -> tuple[int | None, int | None] | None:
        if self.policy != "start_end":
            return None
        bids, asks = self.book.bids.keys, self.book.asks.keys
        return (
            bids[0] if len(snapshot.bids) == KUCOIN_PART else None,
            asks[0] if len(snapshot.asks) == KUCOIN_PART else None,
        )

    def _keeps_to(self, floors: tuple[int | None, int | None]) -> bool:
        for side, floor in zip((self.book.bids, self.book.asks), floors, strict=True):
            if floor is not None and not _cut(side, floor):
                self._lose("too_few_levels")
                return False
        return True

    def _look_at_touch(self) -> None:
        spread = self.book.gap_units()
        if spread is None or spread > 0:
            if self._joins and self._last is not None and self._last < self._seen:
                return  # the stream has already said more than this book knows
            self._awaiting = False
            self.state, self.reason = "LIVE", ""
            return
        self.crossed += spread < 0
        self.locked += spread == 0
        self._lose("crossed" if spread < 0 else "locked")

    def _lose(self, reason: str) -> None:
        self.gaps += reason == "sequence"
        self.state, self.reason = "GAP", reason
        self.wants_snapshot = True
        self._awaiting, self._last = False, None
        self._buffer.clear()


# KuCoin's rows are single changes, each with its id: those before the snapshot must not come back.
def _newer(rows: Sequence[Level], last: int) -> list[Level]:
    return [row for row in rows if int(row[2]) > last]


def _cut(side: BookSide, floor: int) -> bool:
    unknown = bisect_left(side.keys, floor)
    if unknown:
        side.drop_worst(unknown)
    return len(side.keys) >= LEVELS_MIN
