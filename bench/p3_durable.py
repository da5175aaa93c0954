"""P3: as P2, with the intent durable before it leaves: the real journal, one fsync an order.

Floor: what it must cost at least, measured in the same run: P2, one hop to another thread, and one
and a half bare commits of one row (SQLite, WAL, synchronous=FULL).
"""

import queue
import sqlite3
import tempfile
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bench import core_client
from bench.core_client import Variant
from bench.p2_tick_to_order import Trips, ticks_of
from bench.report import Beside, Options, Result, percentile_us

PERIOD_S = 0.002
COMMITS_PER_ORDER = 1.5


def run(options: Options) -> dict[str, Result]:
    rounds = 20 if options.quick else 500
    with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
        commit = percentile_us(commits(Path(name), rounds), 0.5)
        hop = percentile_us(hops(rounds), 0.5)
        clients = {"memory": core_client.run, "disk": _Durable(Path(name))}
        trips = Trips(clients, ticks_of(options), options.repeats)
    ours, memory = trips.p50("disk"), trips.p50("memory")
    allowed = round(memory + hop + COMMITS_PER_ORDER * commit, 1)
    return {
        "P3": Result(
            value=ours,
            unit="us p50",
            reference="P2 + hop + 1.5 commits",
            reference_value=allowed,
            ratio=round(ours / allowed, 3),
            target="<= 1 x",
            met=ours <= allowed,
            beside=[
                Beside("ours", trips.p99("disk"), "us p99"),
                Beside("P2 in the same run", memory, "us p50", round(ours / memory, 3)),
                Beside("one thread hop", hop, "us p50"),
                Beside("one bare commit, FULL", commit, "us p50"),
            ],
            notes=trips.notes(),
        )
    }


@dataclass(frozen=True)
class _Durable:
    """The core with a journal of its own for each run. Sent to another process, hence no closure."""

    folder: Path

    def __call__(self, port: int) -> None:
        core_client.run(port, Variant(folder=self.folder / f"journal-{port}"))


def commits(folder: Path, count: int) -> list[int]:
    """Return what one commit of one row costs, in nanoseconds, paced as the ticks are."""
    took: list[int] = []
    with closing(sqlite3.connect(folder / "bare.db", isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE rows (seq INTEGER PRIMARY KEY, body BLOB)")
        for _ in range(count):
            time.sleep(PERIOD_S)
            began = time.perf_counter_ns()
            db.execute("BEGIN IMMEDIATE")
            db.execute("INSERT INTO rows (body) VALUES (?)", (bytes(300),))
            db.execute("COMMIT")
            took.append(time.perf_counter_ns() - began)
    return took


def hops(count: int) -> list[int]:
    """Return how long an item takes to another thread that waits for it, in nanoseconds."""
    took: list[int] = []
    line: queue.SimpleQueue[int] = queue.SimpleQueue()

    def take() -> None:
        while sent := line.get():
            took.append(time.perf_counter_ns() - sent)

    thread = threading.Thread(target=take, daemon=True)
    thread.start()
    for _ in range(count):
        time.sleep(PERIOD_S)
        line.put(time.perf_counter_ns())
    line.put(0)
    thread.join()
    return took
