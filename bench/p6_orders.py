"""P6: durable orders per second, end to end in the core: intent, acknowledgement, fill, state.

Commands go to the router, through risk, into the real journal (FULL, group commit) and to the venue's
port, which fills each at once; an order counts when its fill is journaled and told to the edge. At
most WINDOW orders are on their way. No socket, no venue.
Floor: bare SQLite FULL, the same number of rows an order, a commit for each window.
"""

import itertools
import os
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from decimal import Decimal
from pathlib import Path

from bench.core_client import VENUE, Core
from bench.loopback import SYMBOL
from bench.ports import FillingPort
from bench.report import Beside, Options, Result, median, spread
from engine.messages.base import Message
from engine.messages.commands import PlaceOrder
from engine.messages.events import OrderFilled
from engine.messages.market import VenueBook

TARGET, MOONSHOT = 10_000, 20_000
ORDERS, ORDERS_QUICK = 10_000, 100
WINDOW = 256
WITHIN_S = 60.0
ROW_BYTES = 300
PRICE = Decimal("64000.0")
QUANTITY = Decimal("0.0001")


def run(options: Options) -> dict[str, Result]:
    orders = ORDERS_QUICK if options.quick else ORDERS
    rates: list[float] = []
    busy: list[float] = []
    floors: list[float] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
            rate, cpu_us, records = _core(Path(name) / "journal", orders)
            floors.append(_floor(Path(name), orders, max(1, round(records / orders))))
        rates.append(rate)
        busy.append(cpu_us)
    ours, bare = median(rates), median(floors)
    return {
        "P6": Result(
            value=ours,
            unit="orders/s",
            reference="bare SQLite FULL",
            reference_value=bare,
            ratio=round(ours / bare, 3),
            target=f">= {TARGET:,} (moonshot {MOONSHOT:,})",
            met=ours >= TARGET,
            beside=[Beside("CPU", median(busy), "us an order")],
            notes=[
                f"{orders:,} orders, {records / orders:.1f} records each, {WINDOW} on their way",
                f"orders/s {spread(rates)}",
            ],
        )
    }


def _core(folder: Path, orders: int) -> tuple[float, float, int]:
    core = Core({VENUE: filling_port}, folder=folder)
    core.start()
    before = core.journal.head_seq
    cpu, began = time.process_time(), time.perf_counter()
    fill_orders(core, orders)
    took, cpu = time.perf_counter() - began, time.process_time() - cpu
    records = core.journal.head_seq - before
    core.stop()
    return orders / took, cpu / orders * 1e6, records


def filling_port(core: Core, venue: str) -> FillingPort:
    """Return a port that fills every order."""
    return FillingPort(venue, core.clock, core.deliver_to(venue))


def fill_orders(core: Core, orders: int) -> None:
    """Place that many orders, at most WINDOW on their way, and wait until all fills are journaled."""
    room = threading.Semaphore(WINDOW)
    done = threading.Event()
    filled = itertools.count(1)

    def watch(_seq: int, message: Message) -> None:
        if isinstance(message, OrderFilled):
            room.release()
            if next(filled) == orders:
                done.set()

    unwatch = core.edge.watch(watch)
    core.runtime.tell(f"exchange.{VENUE}", _book(core), sender=f"adapter.{VENUE}")
    for number in range(orders):
        if not room.acquire(timeout=WITHIN_S):
            raise TimeoutError("the orders do not get through")
        core.runtime.tell("order_router", _order(number), sender="edge")
    if not done.wait(WITHIN_S):
        raise TimeoutError("not every order was filled")
    unwatch()


def _order(number: int) -> PlaceOrder:
    return PlaceOrder(
        f"o{number}", VENUE, None, SYMBOL, "BUY", "LIMIT", "GTC", False, QUANTITY, PRICE, False,
        "bench", "edge",
    )  # fmt: skip


# Without a book there is no mid, and without a mid risk refuses.
def _book(core: Core) -> VenueBook:
    wall_ns, mono_ns = core.clock.wall_ns(), core.clock.mono_ns()
    sides = [640_000], [1000], [640_001], [1000]
    return VenueBook(
        VENUE, SYMBOL, "LIVE", "", 1, 3, *sides, 1, wall_ns, wall_ns, mono_ns + 600 * 10**9
    )


def _floor(folder: Path, orders: int, rows_per_order: int) -> float:
    row = (os.urandom(ROW_BYTES),)
    began = time.perf_counter()
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body BLOB)")
        for _ in range(0, orders, WINDOW):
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT INTO rows (body) VALUES (?)", [row] * (WINDOW * rows_per_order))
            db.execute("COMMIT")
    return orders / (time.perf_counter() - began)
