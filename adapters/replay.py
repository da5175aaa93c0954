"""Replay recorded frames through a venue's real codec and book keeper, and count.

Several files of one session are merged by receive time; each must be in order itself. A recording
that another continues (the second has no snapshot) just follows it. Recordings in a format that the
venue has retired pass a translator first (adapters/dialects.py). Private messages are not counted
but shown as what they became.
"""

import heapq
import json
from collections import deque
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from adapters.binance import BinanceCodec
from adapters.bybit import BybitCodec
from adapters.codec import (
    Acked,
    BookShape,
    BooksLost,
    BookTop,
    Codec,
    Heartbeat,
    Problem,
    Reconnect,
    StreamEvent,
    Verification,
)
from adapters.coinbase import CoinbaseCodec
from adapters.dialects import DIALECTS, Translator
from adapters.kraken import KrakenCodec
from adapters.kucoin import KucoinCodec
from adapters.kucoin_rest import KucoinRest
from adapters.okx import OkxCodec
from adapters.recording import Frame, frames, messages, recorded
from adapters.registry import known_adapter
from engine.errors import ConfigError
from engine.messages.market import BookDelta
from engine.trading.keeper import BookKeeper

__all__ = ["CODECS", "ReplayReport", "Replayer", "frames", "private_events", "replay"]

# Recordings name no tick size, so units fine enough for every venue's texts.
EXPONENT: Final = 18
# Kraken's lots have eight decimals; a recording without the instrument channel tells no others.
LOT_DECIMALS: Final = 8
SILENT: Final = (Acked, BooksLost, BookShape, Heartbeat, Problem, Reconnect)
CODECS: Final[Mapping[str, Any]] = {
    "binance": BinanceCodec,
    "binance_coinm": BinanceCodec,
    "binance_us": BinanceCodec,
    "binance_usdm": BinanceCodec,
    "bybit": BybitCodec,
    "coinbase": CoinbaseCodec,
    "kraken": KrakenCodec,
    "kucoin": KucoinCodec,
    "okx": OkxCodec,
}


class ReplayReport(NamedTuple):
    """What a recording did to the books."""

    frames: int
    diffs: int
    stale: int
    gaps: int
    crossed: int
    locked: int
    checksum_ok: int
    checksum_bad: int
    books: int
    bookticker_checked: int
    bookticker_agreed: int
    malformed: int
    understood: int  # frames that say something of this venue's market
    lost: int  # how often a whole connection's books were lost
    verification: Verification  # what proves the books that were rebuilt


class _Snapshot(msgspec.Struct):
    # Also hftbacktest's {"lastUpdateId":..,"bids":..,"asks":..} of a session with one symbol.
    lastUpdateId: int  # noqa: N815
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class _Itself(dict[str, str]):
    # Recordings speak the venue's spelling; it is its own symbol here.
    def __missing__(self, key: str) -> str:
        return key

    def get(self, key: str, default: object = None) -> str:
        del default
        return key


class Replayer:
    """Books, the venue's last word on the touch, and the counts of one session."""

    def __init__(self, venue: str, translator: Translator | None = None) -> None:
        self.codec: Codec = codec_of(venue)
        self.translator = translator
        self.keepers: dict[str, BookKeeper] = {}
        self.shapes: dict[str, BookShape] = {}
        self.synced: set[str] = set()
        self.tops: dict[str, deque[BookTop]] = {}
        self.touches: dict[str, deque[tuple[int, int | None, int | None]]] = {}
        self.frames = self.malformed = self.understood = self.checked = self.agreed = self.lost = 0
        self.decode_snapshot = msgspec.json.Decoder(_Snapshot).decode

    def take(self, frame: Frame) -> None:
        """Take one line of a recording."""
        if frame.url:
            if "/depth?" in frame.url or "/level2" in frame.url:
                self.frames += 1
                self.on_rest(frame, _symbol_of(frame.url))
            return
        self.frames += 1
        if frame.raw.startswith(b'{"lastUpdateId"'):
            for symbol in self.keepers:
                self.on_rest(frame, symbol)
            return
        raws = [frame.raw] if self.translator is None else self.translator.translate(frame.raw)
        for raw in raws:
            self.feed(raw, frame.recv_ns)

    def feed(self, raw: bytes, recv_ns: int = 0) -> None:
        """Take one frame of the venue's present format."""
        events = self.codec.on_public(raw, recv_ns)
        self.understood += any(not isinstance(event, SILENT) for event in events)
        for event in events:
            if isinstance(event, BookDelta):
                self.on_delta(event)
            elif isinstance(event, BookTop):
                self.on_top(event)
            elif isinstance(event, BookShape):
                self.shapes[event.symbol] = event
            elif isinstance(event, BooksLost):
                self.lost += 1
                self.lose_all(event.reason)
            elif isinstance(event, Problem):
                self.malformed += event.code in ("malformed", "huge")

    def lose_all(self, reason: str) -> None:
        """A message of the connection is missing: every book begins anew."""
        for keeper in self.keepers.values():
            keeper.lose(reason)
            keeper.begin("replay")

    def keeper(self, delta: BookDelta) -> BookKeeper:
        """Return the keeper of a delta's symbol, made at the first one."""
        symbol = delta.symbol
        keeper = self.keepers.get(symbol)
        if keeper is None:
            shape = self.shapes.get(symbol) or _guessed(delta, self.codec.levels_max)
            keeper = BookKeeper(
                symbol,
                self.codec.policy,
                EXPONENT,
                EXPONENT,
                units_max=10**40,
                levels_max=shape.levels_max,
                decimals=(shape.price_decimals, shape.quantity_decimals),
            )
            keeper.begin()
            self.keepers[symbol] = keeper
        return keeper

    def on_rest(self, frame: Frame, symbol: str) -> None:
        """Take a snapshot that came by HTTP."""
        try:
            snapshot = self.rest_snapshot(frame, symbol)
        except (msgspec.DecodeError, ValueError):
            self.malformed += 1
            return
        self.understood += 1
        keeper = self.keeper(snapshot)
        keeper.on_snapshot(snapshot)
        self.synced.add(symbol)
        if keeper.sequence > snapshot.last:
            self.compare(keeper, keeper.sequence)

    def rest_snapshot(self, frame: Frame, symbol: str) -> BookDelta:
        """Return what the HTTP answer says; ValueError if that is no book."""
        if isinstance(self.codec, KucoinCodec):
            reply = json.loads(frame.raw, parse_float=str)
            return KucoinRest("", "", {}).read_snapshot(reply, symbol)
        body = self.decode_snapshot(frame.raw)
        last = body.lastUpdateId
        return BookDelta(symbol, last, last, None, body.bids, body.asks, 0, is_snapshot=True)

    def on_delta(self, delta: BookDelta) -> None:
        """Take one message of the stream; a lost book begins anew at once."""
        keeper = self.keeper(delta)
        diffs_before = keeper.diffs
        keeper.on_delta(delta)
        if delta.is_snapshot:
            self.synced.add(delta.symbol)
        elif keeper.diffs > diffs_before:
            self.compare(keeper, delta.last)
        if keeper.state == "GAP":
            keeper.begin("replay")

    def compare(self, keeper: BookKeeper, last: int) -> None:
        """Keep the touch after a diff until the venue has said all about its id, then compare."""
        tops = self.tops.get(keeper.symbol)
        if tops:
            touches = self.touches[keeper.symbol]
            touches.append((last, keeper.book.best_bid, keeper.book.best_ask))
            self.settle(keeper.symbol, tops[-1].last)

    def on_top(self, top: BookTop) -> None:
        """Take the venue's own word on the touch."""
        self.tops.setdefault(top.symbol, deque()).append(top)
        self.touches.setdefault(top.symbol, deque())
        self.settle(top.symbol, top.last)

    # After each diff the touch must equal the venue's last word with no greater id.
    def settle(self, symbol: str, before: int) -> None:
        """Compare every touch whose id is below `before`."""
        touches, tops = self.touches[symbol], self.tops[symbol]
        while touches and touches[0][0] < before:
            last, *touch = touches.popleft()
            while len(tops) > 1 and tops[1].last <= last:
                tops.popleft()
            if tops[0].last <= last:
                prices = self.keepers[symbol].book.prices
                self.checked += 1
                self.agreed += touch == [prices[tops[0].bid], prices[tops[0].ask]]

    def report(self) -> ReplayReport:
        """Return the counts."""
        for symbol, touches in self.touches.items():
            self.settle(symbol, touches[-1][0] + 1 if touches else 0)
        keepers = self.keepers.values()
        return ReplayReport(
            frames=self.frames,
            diffs=sum(k.diffs for k in keepers),
            stale=sum(k.stale for k in keepers),
            gaps=sum(k.gaps for k in keepers),
            crossed=sum(k.crossed for k in keepers),
            locked=sum(k.locked for k in keepers),
            checksum_ok=sum(k.checksum_ok for k in keepers),
            checksum_bad=sum(k.checksum_bad for k in keepers),
            books=len(self.synced),
            bookticker_checked=self.checked,
            bookticker_agreed=self.agreed,
            malformed=self.malformed,
            understood=self.understood,
            lost=self.lost,
            verification=(self.translator or self.codec).verification,
        )


def codec_of(venue: str) -> Codec:
    """Return the codec of a venue, whose own spellings are its symbols; ConfigError if none."""
    make: Any = CODECS.get(venue) or (known_adapter(venue).codec if ":" in venue else None)
    if make is None:
        raise ConfigError(f"no codec for venue {venue!r}; known: {', '.join(sorted(CODECS))}")
    codec: Codec = make(venue, "", _Itself())
    return codec


def replay(venue: str, files: Sequence[Path | str], dialect: str = "") -> ReplayReport:
    """Replay one session's files.

    ConfigError for a venue without a codec or a dialect that is not one of its own, MessageError
    for a bad line.
    """
    session = Replayer(venue, _translator(venue, dialect))
    streams = [recorded(Path(name), order) for order, name in enumerate(files)]
    for frame in heapq.merge(*streams):
        session.take(frame)
    return session.report()


def private_events(venue: str, files: Sequence[Path | str]) -> list[dict[str, Any]]:
    """Return what each private message of the files becomes: `event` names it, the rest is in it."""
    codec_of(venue)  # an unknown venue is told before any file is read
    return [
        _shown(event)
        for name in files
        for raw in messages(Path(name))
        for event in codec_of(venue).on_private(raw, 0)  # each message stands for itself
    ]


def _translator(venue: str, dialect: str) -> Translator | None:
    if not dialect:
        return None
    known = DIALECTS.get(dialect)
    if known is None or known.venue != venue:
        names = ", ".join(sorted(name for name, d in DIALECTS.items() if d.venue == venue))
        raise ConfigError(f"no dialect {dialect!r} of {venue}; known: {names or 'none'}")
    return known.make()


# Without the instrument channel the texts themselves tell: the checksum then proves the guess.
def _guessed(delta: BookDelta, levels_max: int) -> BookShape:
    prices = [level[0] for side in (delta.bids, delta.asks) for level in side]
    decimals = max((len(text.partition(".")[2]) for text in prices), default=0)
    return BookShape(delta.symbol, min(decimals, EXPONENT), LOT_DECIMALS, levels_max)


def _shown(event: StreamEvent) -> dict[str, Any]:
    fields = event._asdict() if isinstance(event, tuple) else msgspec.structs.asdict(event)
    return {"event": type(event).__name__, **{key: _plain(v) for key, v in fields.items()}}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, msgspec.Struct):
        return {key: _plain(item) for key, item in msgspec.structs.asdict(value).items()}
    return value


# https://api.binance.us/api/v3/depth?symbol=COMPUSDT&limit=1000 -> COMPUSDT
def _symbol_of(url: str) -> str:
    return url.partition("symbol=")[2].partition("&")[0]
