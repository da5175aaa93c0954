"""One venue's order book for one symbol, and the state machine that says whether it can be trusted.

Levels are integers (price and quantity times a power of ten fixed per instrument); text that does
not fit exactly is refused. The keys of a side are kept sorted with the touch at the END of the
list, where most changes are, so an insert near the touch moves few items; asks are keyed by minus
the price. Quantities lie in a parallel list.

Two ways to join a stream, by policy. `U_u` (Binance): diffs are buffered until a snapshot taken by
REST arrives; diffs up to its id are stale, the first one kept must span id + 1, then each must
begin where the last ended. `prev_seq` (OKX): the stream itself brings the snapshot, each update
names its predecessor, and a non-zero checksum is verified over the top 25 as the venue sent them.

Known weakness: a quiet `U_u` book with no diff to confirm its snapshot stays SYNCING until a diff
or a second snapshot with the same id confirms it; the keeper's owner asks for that one.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, Literal
from zlib import crc32

from engine.messages.market import BookDelta

if TYPE_CHECKING:
    from engine.messages.market import BookState

BUFFERED_MAX: Final = 2000
LEVELS_MAX: Final = 10_000
SCALED_MAX: Final = 2_048
DIGITS_MAX: Final = 40
UNITS_MAX: Final = 2**63 - 1
CHECKSUM_LEVELS: Final = 25
_TENS: Final[tuple[int, ...]] = tuple(10**n for n in range(DIGITS_MAX + 1))
Policy = Literal["U_u", "prev_seq"]
Level = Sequence[str]


class Scaled(dict[str, int]):
    """Venue text -> integer units, remembered: prices and sizes repeat. Bounded, exact.

    With `sign` -1 the units are negative, as the keys of asks are.
    """

    __slots__ = ("exponent", "sign", "units_max")

    def __init__(self, exponent: int, units_max: int = UNITS_MAX, sign: int = 1) -> None:
        super().__init__()
        self.exponent = exponent
        self.units_max = units_max
        self.sign = sign

    def __missing__(self, text: str) -> int:
        """Parse, check, remember."""
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        if len(fraction) == self.exponent and digits.isdigit() and digits.isascii():
            units = int(digits)  # written exactly as fine as the units are
        else:
            units = scaled_text(text, self.exponent)
        if units > self.units_max:
            raise ValueError(f"{text[:60]} does not fit a message")
        if len(self) >= SCALED_MAX:
            self.clear()
        self[text] = units = units * self.sign
        return units


def scaled_text(text: str, exponent: int) -> int:
    """Return the decimal text times 10**exponent; ValueError unless exact and not negative."""
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if not (digits.isdigit() and digits.isascii()) or len(digits) > DIGITS_MAX:
        raise ValueError(f"not a plain decimal: {text[:60]!r}")
    missing = exponent - len(fraction)
    if missing == 0:
        return int(digits)
    if missing > 0:
        return int(digits) * _TENS[missing]
    units, rest = divmod(int(digits), _TENS[-missing])
    if rest:
        raise ValueError(f"{text} has more than {exponent} decimals")
    return units


class BookSide:
    """One side: sorted keys (price times `sign`), touch last, and what belongs to each beside them.

    `prices` are the keys themselves for bids, and their opposites for asks. `texts`, where they are
    kept, are what the venue's checksum takes of each level.
    """

    __slots__ = ("keys", "keys_of", "levels_max", "prices", "quantities", "sizes_of", "texts")

    def __init__(
        self,
        keys_of: Scaled,
        sizes_of: Scaled,
        *,
        with_texts: bool = False,
        levels_max: int = LEVELS_MAX,
    ) -> None:
        self.keys_of = keys_of
        self.sizes_of = sizes_of
        self.levels_max = levels_max
        self.keys: list[int] = []
        self.prices: list[int] = self.keys if keys_of.sign > 0 else []
        self.quantities: list[int] = []
        self.texts: list[str] | None = [] if with_texts else None

    def clear(self) -> None:
        """Forget every level."""
        self.drop_worst(len(self.keys))

    def apply(self, levels: Iterable[Level]) -> None:
        """Set absolute levels; quantity 0 deletes. ValueError names text that is no exact level."""
        keys, quantities, texts = self.keys, self.quantities, self.texts
        prices = None if self.prices is keys else self.prices
        keys_of, sizes_of, count = self.keys_of, self.sizes_of, len(keys)
        for level in levels:
            key = keys_of[level[0]]
            quantity = sizes_of[level[1]]
            at = bisect_left(keys, key)
            if at < count and keys[at] == key:
                if quantity:
                    quantities[at] = quantity
                    if texts is not None:
                        texts[at] = f"{level[0]}:{level[1]}"
                    continue
                count -= 1
                del keys[at], quantities[at]
                if prices is not None:
                    del prices[at]
                if texts is not None:
                    del texts[at]
            elif quantity:
                count += 1
                keys.insert(at, key)
                quantities.insert(at, quantity)
                if prices is not None:
                    prices.insert(at, -key)
                if texts is not None:
                    texts.insert(at, f"{level[0]}:{level[1]}")
        if count > self.levels_max:
            self.drop_worst(count - self.levels_max)

    def drop_worst(self, count: int) -> None:
        """Drop the levels farthest from the touch: no book grows without bound."""
        del self.keys[:count], self.quantities[:count]
        if self.prices is not self.keys:
            del self.prices[:count]
        if self.texts is not None:
            del self.texts[:count]

    def top(self, depth: int) -> list[int]:
        """Return price, quantity, price, quantity ... best first, at most `depth` levels."""
        rows = zip(self.prices[: -depth - 1 : -1], self.quantities[: -depth - 1 : -1], strict=True)
        return list(chain.from_iterable(rows))


class Book:
    """Both sides of one venue's book, exact integers."""

    __slots__ = ("asks", "bids", "prices", "quantities")

    def __init__(
        self,
        price_exponent: int,
        quantity_exponent: int,
        *,
        with_texts: bool = False,
        units_max: int = UNITS_MAX,
        levels_max: int = LEVELS_MAX,
    ) -> None:
        self.prices = Scaled(price_exponent, units_max)
        self.quantities = Scaled(quantity_exponent, units_max)
        negated = Scaled(price_exponent, units_max, sign=-1)
        self.bids, self.asks = (
            BookSide(prices, self.quantities, with_texts=with_texts, levels_max=levels_max)
            for prices in (self.prices, negated)
        )

    def load(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Replace everything by a snapshot."""
        self.bids.clear()
        self.asks.clear()
        self.apply(bids, asks)

    def apply(self, bids: Iterable[Level], asks: Iterable[Level]) -> None:
        """Set absolute levels on both sides; ValueError names text that is no exact level."""
        if bids:
            self.bids.apply(bids)
        if asks:
            self.asks.apply(asks)

    def top(self, depth: int) -> tuple[list[int], list[int], list[int], list[int]]:
        """Return bid prices, bid quantities, ask prices, ask quantities; best first, `depth` each."""
        bids, asks, end = self.bids, self.asks, -depth - 1
        return (
            bids.prices[:end:-1],
            bids.quantities[:end:-1],
            asks.prices[:end:-1],
            asks.quantities[:end:-1],
        )

    @property
    def best_bid(self) -> int | None:
        """The highest bid, or None."""
        return self.bids.keys[-1] if self.bids.keys else None

    @property
    def best_ask(self) -> int | None:
        """The lowest ask, or None."""
        return -self.asks.keys[-1] if self.asks.keys else None

    def gap_units(self) -> int | None:
        """Return best ask minus best bid: 0 is locked, negative crossed, None one-sided."""
        bids, asks = self.bids.keys, self.asks.keys
        return -asks[-1] - bids[-1] if bids and asks else None

    def checksum(self) -> int:
        """Return the CRC32 over the top 25 as OKX defines it: bid:qty:ask:qty interleaved."""
        assert self.bids.texts is not None, "this book keeps no texts"
        assert self.asks.texts is not None, "this book keeps no texts"
        bids = self.bids.texts[: -CHECKSUM_LEVELS - 1 : -1]
        asks = self.asks.texts[: -CHECKSUM_LEVELS - 1 : -1]
        paired = min(len(bids), len(asks))
        parts = chain(
            chain.from_iterable(zip(bids, asks, strict=False)), bids[paired:], asks[paired:]
        )
        return crc32(":".join(parts).encode())


class BookKeeper:
    """A book with its sync state, counters and rules; fed with deltas and snapshots, never waits.

    `wants_snapshot` says that its owner must fetch (U_u) or resubscribe (prev_seq).
    """

    __slots__ = (
        "_awaiting", "_buffer", "_last", "book", "checksum_bad", "checksum_ok", "crossed", "diffs",
        "gaps", "locked", "policy", "reason", "resyncs", "stale", "state", "symbol", "ts_event_ns",
        "wants_snapshot",
    )  # fmt: skip

    def __init__(
        self,
        symbol: str,
        policy: Policy,
        price_exponent: int,
        quantity_exponent: int,
        *,
        units_max: int = UNITS_MAX,
    ) -> None:
        self.symbol = symbol
        self.policy = policy
        with_texts = policy == "prev_seq"
        self.book = Book(
            price_exponent, quantity_exponent, with_texts=with_texts, units_max=units_max
        )
        self.state: BookState = "EMPTY"
        self.reason = "never_synced"
        self.wants_snapshot = False
        self.ts_event_ns = 0
        self.diffs = self.stale = self.gaps = self.resyncs = 0
        self.checksum_ok = self.checksum_bad = self.crossed = self.locked = 0
        self._last: int | None = None
        self._awaiting = False
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
        self._last, self._awaiting = None, False
        self._buffer.clear()

    def on_snapshot(self, snapshot: BookDelta) -> None:
        """Take a snapshot (U_u: from REST). Ignored unless synchronising."""
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
        self._last, self._awaiting = snapshot.last, True
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
        if self.policy == "prev_seq":
            self._chain(delta)
        elif self.state == "LIVE" or self._awaiting:
            self._join(delta)
        elif self.state == "SYNCING":
            if len(self._buffer) >= BUFFERED_MAX:
                self._buffer.popleft()
            self._buffer.append(delta)
        elif self.state == "GAP":
            self.stale += 1

    # U_u: stale, joining, or contiguous; anything else is a gap.
    def _join(self, delta: BookDelta) -> None:
        last = self._last
        assert last is not None, "a joined book has an id"
        if delta.last <= last:
            self.stale += 1
            if self._awaiting:
                self._look_at_touch()  # the snapshot is ahead of the stream: nothing is missing
            return
        if delta.first > last + 1:
            self._lose("sequence")
            return
        self._take(delta)

    # prev_seq: identity with the predecessor; ids jump, and fall when the venue was maintained.
    def _chain(self, delta: BookDelta) -> None:
        if delta.is_snapshot:
            if self.state in ("SYNCING", "LIVE"):
                self._take(delta, replaces=True)
            return
        if self.state != "LIVE":
            self.stale += 1
            return
        if delta.previous is not None and delta.previous != self._last:
            self._lose("sequence")
        elif delta.previous is not None and delta.previous == delta.last:
            self.ts_event_ns = delta.ts_event_ns  # an idle heartbeat
        else:
            self._take(delta)

    # Apply a full message, then ids, checksum and a look at the touch; only then LIVE.
    def _take(self, delta: BookDelta, *, replaces: bool = False) -> None:
        book = self.book
        try:
            if replaces:
                book.load(delta.bids, delta.asks)
            else:
                book.bids.apply(delta.bids)
                book.asks.apply(delta.asks)
        except ValueError:
            self._lose("malformed")
            return
        self.wants_snapshot = False
        self.diffs += 1
        self._last = delta.last
        self.ts_event_ns = delta.ts_event_ns
        if delta.checksum and self.policy == "prev_seq":
            if self.book.checksum() != delta.checksum & 0xFFFFFFFF:
                self.checksum_bad += 1
                self._lose("checksum")
                return
            self.checksum_ok += 1
        bids, asks = book.bids.keys, book.asks.keys
        if self.state != "LIVE" or not bids or not asks or bids[-1] + asks[-1] >= 0:
            self._look_at_touch()  # else LIVE, with its bids below its asks, and stays so

    def _look_at_touch(self) -> None:
        spread = self.book.gap_units()
        if spread is None or spread > 0:
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
