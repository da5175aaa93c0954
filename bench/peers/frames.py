"""One peer on the recorded frames of P1, in the peers' environment: `python -m bench.peers.frames NAME`.

Prints one JSON line: {"rows": [[what, value, unit], ...], "does": ..., "does_not": ...}. Rates are per
second of this process's CPU, the median of the repeats. Nothing of the core is imported here.
"""

import asyncio
import gc
import importlib.metadata
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec

from bench import recorded
from bench.recorded import Session

Row = tuple[str, float, str]
TOP = 20
TICK_DECIMALS, LOT_DECIMALS = 2, 6


def rate(work: Callable[[], None], count: int) -> float:
    """Return how many of `count` units are done in a second of CPU."""
    gc.collect()
    began = time.process_time()
    work()
    return count / (time.process_time() - began)


# --- cryptofeed -----------------------------------------------------------------------------------


def cryptofeed(session: Session, repeats: int) -> dict[str, Any]:
    """Its Binance feed: message_handler on each frame, its book callback at the end."""
    plain = [asyncio.run(_cryptofeed(session, top=False)) for _ in range(repeats)]
    reading = [asyncio.run(_cryptofeed(session, top=True)) for _ in range(repeats)]
    return {
        "rows": [
            ("callback on each book", statistics.median(plain), "frames/s"),
            ("callback reads its top 20", statistics.median(reading), "frames/s"),
        ],
        "does": "JSON with Decimal prices, sequence check, a C book of one venue, a callback",
        "does_not": "merge venues, encode, ticks and lots as integers, crossed-book and lag checks",
    }


async def _cryptofeed(session: Session, *, top: bool) -> float:
    from cryptofeed.connection import HTTPAsyncConn, HTTPSync
    from cryptofeed.defines import L2_BOOK
    from cryptofeed.exchanges import EXCHANGE_MAP

    snapshots = {s: msgspec.json.encode(held).decode() for s, held in session.snapshots.items()}
    symbols = [
        {"symbol": s, "baseAsset": s.removesuffix("USDT"), "quoteAsset": "USDT",
         "filters": [{"tickSize": "0.01"}], "status": "TRADING"}
        for s in snapshots
    ]  # fmt: skip

    async def read(_self: Any, url: str, **_more: Any) -> str:
        return next(text for s, text in snapshots.items() if s in url)

    HTTPAsyncConn.read = read
    HTTPSync.read = lambda *_a, **_k: {"symbols": symbols}
    calls = 0

    async def on_book(book: Any, _at: float) -> None:
        nonlocal calls
        calls += 1
        if top:
            for side in (book.book.bids, book.book.asks):
                for n in range(min(TOP, len(side))):
                    side.index(n)

    wanted = [f"{s.removesuffix('USDT')}-USDT" for s in snapshots]
    feed = EXCHANGE_MAP["BINANCE"](subscription={L2_BOOK: wanted}, callbacks={L2_BOOK: on_book})
    frames = [raw.decode() for raw in session.frames]
    first: dict[str, str] = {}
    for frame in frames:  # the first frame of a symbol makes it read the snapshot: not timed
        first.setdefault(frame[11:18], frame)
    for frame in first.values():
        await feed.message_handler(frame, None, 1.0)
    rest = [frame for frame in frames if frame not in first.values()]
    calls = 0
    gc.collect()
    began = time.process_time()
    for frame in rest:
        await feed.message_handler(frame, None, 1.0)
    took = time.process_time() - began
    assert calls == len(rest), f"{calls} callbacks for {len(rest)} frames"
    return len(rest) / took


# --- ccxt.pro -------------------------------------------------------------------------------------


def ccxt(session: Session, repeats: int) -> dict[str, Any]:
    """Its Binance class: the handler that its WebSocket client calls, futures resolved."""
    from bench.peers.ccxt_pro import ccxt_pro

    rates = [asyncio.run(ccxt_pro(session, complete=True)) for _ in range(repeats)]
    return {
        "rows": [("handler, futures resolved", statistics.median(rates), "frames/s")],
        "does": "JSON, sequence check, a float book of one venue, wakes whoever awaits it",
        "does_not": "read a top 20, merge venues, encode, exact numbers, crossed-book and lag checks",
    }


# --- nautilus_trader ------------------------------------------------------------------------------


def nautilus_trader(session: Session, repeats: int) -> dict[str, Any]:
    """Its Python adapter into its data engine, and its backtest engine with an order a tick."""
    from bench.peers import nautilus

    into_engine = [nautilus.frames(session) for _ in range(repeats)]
    trades = [nautilus.orders(2_000) for _ in range(repeats)]
    return {
        "rows": [
            ("adapter, engine, handler; no book", statistics.median(into_engine), "frames/s"),
            ("tick to fill event, no socket, p50", statistics.median(t[0] for t in trades), "us"),
            ("tick to fill event, no socket, p99", statistics.median(t[1] for t in trades), "us"),
        ],
        "does": "typed decode, fixed-point deltas, data engine, message bus, handler; the second row"
        " adds book, risk engine, order and fill in its simulated exchange",
        "does_not": "merge venues, keep the book (first row), touch a socket or a disk, gap checks",
    }


PEERS: dict[str, Callable[[Session, int], dict[str, Any]]] = {
    "cryptofeed": cryptofeed,
    "ccxt": ccxt,
    "nautilus_trader": nautilus_trader,
}


def main(name: str, repeats: int) -> None:
    logging.disable(logging.CRITICAL)
    found = PEERS[name](recorded.load(), repeats)
    found["version"] = importlib.metadata.version(name)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
