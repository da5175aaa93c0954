"""P2: from a book tick on a loopback WebSocket to the order on the socket, one tick per 2 ms.

Ours: the whole core (bench/core_client.py). Floor: websocket-client in one thread: typed decode,
float book, order. ccxt.pro: its OKX loop, `await watch_order_book`, then send.
"""

import asyncio
import socket
from bisect import bisect_left
from collections.abc import Callable, Mapping

import msgspec
import websocket

from bench import core_client
from bench.core_client import Variant
from bench.loopback import HOST, T0_MS, VENUE_SYMBOL, Ticks, measure, order_text
from bench.peers.ccxt_pro import ccxt_market
from bench.ports import connect
from bench.report import Beside, Options, Result, median, percentile_us, spread

TARGET_FLOOR, TARGET_PROCESS = 1.4, 2.7


def run(options: Options) -> dict[str, Result]:
    ticks = ticks_of(options)
    clients = {
        "floor": floor, "core": core_client.run, "process": core_in_process, "ccxt": ccxt_pro,
    }  # fmt: skip
    trips = Trips(clients, ticks, options.repeats)
    ours, ours99 = trips.p50("core"), trips.p99("core")
    bare, bare99 = trips.p50("floor"), trips.p99("floor")
    peer, peer99 = trips.p50("ccxt"), trips.p99("ccxt")
    apart, apart99 = trips.p50("process"), trips.p99("process")
    return {
        "P2 process": Result(
            value=apart,
            unit="us p50",
            reference="websocket-client floor",
            reference_value=bare,
            ratio=round(apart / bare, 3),
            target=f"<= {TARGET_PROCESS} x",
            met=apart <= TARGET_PROCESS * bare,
            beside=[
                Beside("ours", apart99, "us p99"),
                Beside("ccxt.pro loop", peer, "us p50", round(apart / peer, 3)),
            ],
            notes=["isolation: process; the rest as P2, in the same run"],
        ),
        "P2": Result(
            value=ours,
            unit="us p50",
            reference="websocket-client floor",
            reference_value=bare,
            ratio=round(ours / bare, 3),
            target=f"<= {TARGET_FLOOR} x; p50, p99 < ccxt.pro",
            met=ours <= TARGET_FLOOR * bare and ours < peer and ours99 < peer99,
            beside=[
                Beside("ours", ours99, "us p99"),
                Beside("floor", bare99, "us p99", round(ours99 / bare99, 3)),
                Beside("ccxt.pro loop", peer, "us p50", round(ours / peer, 3)),
                Beside("ccxt.pro loop", peer99, "us p99", round(ours99 / peer99, 3)),
            ],
            notes=["isolation: thread; the journal is in memory", *trips.notes()],
        ),
    }


def core_in_process(port: int) -> None:
    """Be the core with the venue in a process of its own."""
    core_client.run(port, Variant(process=True))


def ticks_of(options: Options) -> Ticks:
    """Return how many ticks there are."""
    return Ticks(warm=5, paced=20) if options.quick else Ticks()


class Trips:
    """Round trips of several clients, each repeat in turn, so that all see the same noise."""

    def __init__(
        self, clients: Mapping[str, Callable[[int], None]], ticks: Ticks, repeats: int
    ) -> None:
        """Measure. Takes two to four seconds a client and repeat."""
        self._ticks = ticks
        self._p50: dict[str, list[float]] = {name: [] for name in clients}
        self._p99: dict[str, list[float]] = {name: [] for name in clients}
        for _ in range(repeats):
            for name, client in clients.items():
                trips = measure(client, ticks)
                self._p50[name].append(percentile_us(trips, 0.5))
                self._p99[name].append(percentile_us(trips, 0.99))

    def p50(self, name: str) -> float:
        """Return the median over the repeats of a client's median, in microseconds."""
        return median(self._p50[name])

    def p99(self, name: str) -> float:
        """Return the median over the repeats of a client's 99th percentile, in microseconds."""
        return median(self._p99[name])

    def notes(self) -> list[str]:
        """Return what was done, and how noisy it was."""
        return [
            f"{self._ticks.paced} ticks after {self._ticks.warm} to warm up, an order for each",
            *(f"{n} p50 {spread(p50)}, p99 {spread(self._p99[n])}" for n, p50 in self._p50.items()),
        ]


# --- the floor ------------------------------------------------------------------------------------


class _Row(msgspec.Struct, gc=False):
    asks: list[tuple[float, float, str, str]]
    bids: list[tuple[float, float, str, str]]
    ts: str


class _Frame(msgspec.Struct, gc=False):
    data: list[_Row] = []


def floor(port: int) -> None:
    """Decode, apply and order in the reader's thread: no checks, no actors, no journal."""
    decode = msgspec.json.Decoder(_Frame, strict=False).decode
    market = connect(port, "/market")
    orders = connect(port, "/orders")
    market.send("subscribe")
    sides: tuple[list[float], list[tuple[float, ...]]] = ([], [])
    asks: tuple[list[float], list[tuple[float, ...]]] = ([], [])
    said = False
    while True:
        frame = decode(market.recv())
        if not frame.data:
            continue
        row = frame.data[0]
        _apply(sides, row.bids, 1)
        _apply(asks, row.asks, -1)
        number = int(row.ts) - T0_MS
        if number > 0:
            orders.send(order_text(number, f"{asks[1][-1][0]:.1f}"))
        elif not said:
            said = True
            connect(port, "/ready")


def _apply(
    side: tuple[list[float], list[tuple[float, ...]]],
    levels: list[tuple[float, float, str, str]],
    sign: int,
) -> None:
    keys, rows = side
    for row in levels:
        key = row[0] * sign
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            if row[1]:
                rows[at] = row
            else:
                del keys[at], rows[at]
        elif row[1]:
            keys.insert(at, key)
            rows.insert(at, row)


# --- ccxt.pro -------------------------------------------------------------------------------------


def ccxt_pro(port: int) -> None:
    """Run ccxt.pro's own loop: watch_order_book, then an order on a plain second connection."""
    asyncio.run(_ccxt_pro(port))


async def _ccxt_pro(port: int) -> None:
    import ccxt.pro  # noqa: PLC0415  takes a second to import; only this needs it

    exchange = ccxt.pro.okx({"newUpdates": True})
    exchange.urls["api"]["ws"] = f"ws://{HOST}:{port}/market"
    exchange.get_url = lambda *_: f"ws://{HOST}:{port}/market"
    exchange.set_markets([ccxt_market(VENUE_SYMBOL, "spot")])
    exchange.options["watchOrderBook"] = {"depth": "books", "checksum": False}
    orders: websocket.WebSocket = connect(port, "/orders")
    orders.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        book = await exchange.watch_order_book("BTC/USDT")
        number = book["timestamp"] - T0_MS
        if number > 0:
            orders.send(order_text(number, f"{book['asks'][0][0]:.1f}"))
        else:
            connect(port, "/ready")
