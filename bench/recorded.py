"""Recorded frames of Binance spot, read in place from ../shared/data; nothing of it is copied.

The session of 2021-04-04 (cryptofeed's sample data): BTC, ETH and DOT against USDT, depth diffs of
462 bytes and 10.6 levels on average, with REST snapshots of 1000 levels.
"""

import gzip
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.report import Skipped

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data" / "streams"
SESSION = DATA / "cryptofeed" / "binance_spot" / "2021-04-04_29970208_BINANCE-ee25be.0.gz"


class Snapshot(msgspec.Struct):
    """The answer to REST depth."""

    lastUpdateId: int  # noqa: N815  the venue's word
    bids: list[tuple[str, str]]
    asks: list[tuple[str, str]]


class Diff(msgspec.Struct):
    """The part of a depth diff that prepares a session."""

    s: str
    E: int
    U: int
    u: int
    b: list[tuple[str, str]]
    a: list[tuple[str, str]]


class _Frame(msgspec.Struct):
    data: Diff


class Session(NamedTuple):
    """Frames that apply one after another on top of the snapshots."""

    frames: list[bytes]
    snapshots: dict[str, Snapshot]
    decimals: dict[str, tuple[int, int]]
    last_ids: dict[str, int]
    levels: int
    began_ms: int


def load(path: Path = SESSION) -> Session:
    """Return the recorded session without the diffs that are older than their snapshot.

    Raises:
        Skipped: the recording is not there.
    """
    if not path.exists():
        raise Skipped(f"no recorded frames at {path}")
    snapshots: dict[str, Snapshot] = {}
    diffs: list[tuple[bytes, Diff]] = []
    read_frame = msgspec.json.Decoder(_Frame).decode
    with gzip.open(path, "rb") as lines:
        for line in lines:
            head, _, body = line.rstrip().partition(b": ")
            if b"/depth?" in head and b" -> " in head:
                symbol = head.partition(b"symbol=")[2].partition(b"&")[0].decode()
                snapshots[symbol] = msgspec.json.decode(body, type=Snapshot)
            elif b"@depth" in body[:60]:
                diffs.append((body, read_frame(body).data))
    kept = [(raw, d) for raw, d in diffs if d.u > snapshots[d.s].lastUpdateId]
    return Session(
        frames=[raw for raw, _ in kept],
        snapshots=snapshots,
        decimals={s: _decimals(s, snapshots[s], [d for _, d in diffs]) for s in snapshots},
        last_ids={d.s: d.u for _, d in kept},
        levels=sum(len(d.b) + len(d.a) for _, d in kept),
        began_ms=kept[0][1].E,
    )


# The tick and lot that the recording needs, since it names none.
def _decimals(symbol: str, snapshot: Snapshot, diffs: list[Diff]) -> tuple[int, int]:
    rows = [*snapshot.bids, *snapshot.asks]
    for diff in diffs:
        if diff.s == symbol:
            rows += [*diff.b, *diff.a]
    return (
        max(len(p.rstrip("0").partition(".")[2]) for p, _ in rows),
        max(len(q.rstrip("0").partition(".")[2]) for _, q in rows),
    )
