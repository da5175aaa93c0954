"""Replay recorded frames through a venue's real codec and book keeper, and count.

Reads what others recorded: cryptofeed's text lines, hftbacktest's `recv_ns json` lines and plain
JSON lines, each also as .gz. Several files of one session are merged by receive time; each must be
in order itself. A recording that another continues (the second has no snapshot) just follows it.
"""

import gzip
import heapq
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Final, NamedTuple

import msgspec

from adapters.binance import BinanceCodec
from adapters.codec import Acked, BookTop, Codec, Heartbeat, Problem, Reconnect
from adapters.okx import OkxCodec
from engine.errors import ConfigError, MessageError
from engine.trading.book import BookDelta
from engine.trading.keeper import BookKeeper

# Recordings name no tick size, so units fine enough for every venue's texts.
EXPONENT: Final = 18
SILENT: Final = (Acked, Heartbeat, Problem, Reconnect)
CODECS: Final[dict[str, type[BinanceCodec] | type[OkxCodec]]] = {
    "binance": BinanceCodec,
    "binance_us": BinanceCodec,
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


class _Frame(NamedTuple):
    recv_ns: int
    order: int
    raw: bytes
    url: str


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


class _Replay:
    # Books, the venue's last word on the touch, and the counts of one session.
    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.keepers: dict[str, BookKeeper] = {}
        self.synced: set[str] = set()
        self.tops: dict[str, list[BookTop]] = {}
        self.frames = self.malformed = self.understood = self.checked = self.agreed = 0
        self.decode_snapshot = msgspec.json.Decoder(_Snapshot).decode

    def take(self, frame: _Frame) -> None:
        if frame.url:
            if "/depth?" in frame.url:
                self.frames += 1
                self.on_rest(frame, _symbol_of(frame.url))
            return
        self.frames += 1
        if frame.raw.startswith(b'{"lastUpdateId"'):
            for symbol in self.keepers:
                self.on_rest(frame, symbol)
            return
        events = self.codec.on_public(frame.raw, frame.recv_ns)
        self.understood += any(not isinstance(event, SILENT) for event in events)
        for event in events:
            if isinstance(event, BookDelta):
                self.on_delta(event)
            elif isinstance(event, BookTop):
                self.tops.setdefault(event.symbol, []).append(event)
            elif isinstance(event, Problem):
                self.malformed += event.code in ("malformed", "huge")

    def keeper(self, symbol: str) -> BookKeeper:
        keeper = self.keepers.get(symbol)
        if keeper is None:
            keeper = BookKeeper(symbol, self.codec.policy, EXPONENT, EXPONENT, units_max=10**40)
            keeper.begin()
            self.keepers[symbol] = keeper
        return keeper

    def on_rest(self, frame: _Frame, symbol: str) -> None:
        try:
            body = self.decode_snapshot(frame.raw)
        except msgspec.DecodeError:
            self.malformed += 1
            return
        self.understood += 1
        last = body.lastUpdateId
        keeper = self.keeper(symbol)
        keeper.on_snapshot(
            BookDelta(symbol, last, last, None, body.bids, body.asks, 0, is_snapshot=True)
        )
        self.synced.add(symbol)
        if keeper.sequence > last:
            self.compare(keeper, keeper.sequence)

    def on_delta(self, delta: BookDelta) -> None:
        keeper = self.keeper(delta.symbol)
        diffs_before = keeper.diffs
        keeper.on_delta(delta)
        if delta.is_snapshot:
            self.synced.add(delta.symbol)
        elif keeper.diffs > diffs_before:
            self.compare(keeper, delta.last)
        if keeper.state == "GAP":
            keeper.begin("replay")

    # After each diff the rebuilt touch must equal the venue's last word up to that diff.
    def compare(self, keeper: BookKeeper, last: int) -> None:
        tops = self.tops.get(keeper.symbol)
        if not tops or tops[0].last > last:
            return
        index = 0
        while index + 1 < len(tops) and tops[index + 1].last <= last:
            index += 1
        top = tops[index]
        del tops[:index]
        prices = keeper.book.prices
        self.checked += 1
        self.agreed += (prices[top.bid], prices[top.ask]) == (
            keeper.book.best_bid,
            keeper.book.best_ask,
        )

    def report(self) -> ReplayReport:
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
        )


def replay(venue: str, files: Sequence[Path | str]) -> ReplayReport:
    """Replay one session's files; ConfigError for an unknown venue, MessageError for a bad line."""
    make = CODECS.get(venue)
    if make is None:
        raise ConfigError(f"no codec for venue {venue!r}; known: {', '.join(sorted(CODECS))}")
    session = _Replay(make(venue, "", _Itself()))
    streams = [_frames(Path(name), order) for order, name in enumerate(files)]
    for frame in heapq.merge(*streams):
        session.take(frame)
    return session.report()


def frames(venue_file: Path | str) -> Iterator[tuple[int, bytes]]:
    """Yield `(recv_ns, frame)` of one recording, as a benchmark wants them."""
    for frame in _frames(Path(venue_file), 0):
        if not frame.url:
            yield frame.recv_ns, frame.raw


def _frames(path: Path, order: int) -> Iterator[_Frame]:
    recv_ns = 0
    for number, line in _lines(path):
        try:
            frame = _parse(line.rstrip(b"\r\n"), order, recv_ns)
        except ValueError as error:
            raise MessageError(f"{path.name} line {number}: {error}") from error
        if frame is not None:
            recv_ns = frame.recv_ns
            yield frame


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 0
    try:
        with _open(path) as lines:
            for number, line in enumerate(lines, 1):
                yield number, line
    except EOFError:
        text = f"{path.name} is cut off: the compressed data ends behind line {number}"
        raise MessageError(text) from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise MessageError(f"{path.name} is no whole gzip file: {error}") from None
    except OSError as error:
        raise MessageError(f"{path.name} cannot be read: {error.strerror or error}") from None


def _open(path: Path) -> IO[bytes] | gzip.GzipFile:
    if path.suffix == ".gz":
        return gzip.open(path, "rb")
    return path.open("rb")


# One line of any of the three formats; None for what is no received frame.
def _parse(line: bytes, order: int, recv_ns: int) -> _Frame | None:
    if not line or line.startswith((b"configuration:", b"#")):
        return None
    if line.startswith(b"{"):
        return _Frame(recv_ns, order, line, "")
    head, _, rest = line.partition(b" ")
    if head.isdigit():
        return _Frame(int(head), order, rest, "")
    if head.endswith(b":") and head[:-1].replace(b".", b"", 1).isdigit():
        return _Frame(_seconds(head[:-1]), order, rest, "")
    arrow, _, tail = rest.partition(b" ")
    if arrow == b"->":
        at, _, body = tail.partition(b": ")
        return _Frame(_seconds(at), order, body, head.decode())
    if arrow in (b"<-", b"<->"):
        return None
    raise ValueError(f"not a recorded frame: {line[:80]!r}")


def _seconds(text: bytes) -> int:
    whole, _, fraction = text.partition(b".")
    return int(whole) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") or 0)


# https://api.binance.us/api/v3/depth?symbol=COMPUSDT&limit=1000 -> COMPUSDT
def _symbol_of(url: str) -> str:
    return url.partition("symbol=")[2].partition("&")[0]
