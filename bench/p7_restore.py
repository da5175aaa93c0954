"""P7: `kill -9` with a long journal, then: how long until the program has its state back?

The real program is started on the journal, killed, and started again; the clock runs from the start
of the process until the router has told its orders and risk its state over the control socket. The
venues of the configuration do not exist, so no venue's time is in it. With a snapshot (the usual
case: one is stored every 5,000 records), and without any.
Floor: reading the bodies of all records from SQLite and decoding them, nothing checked or folded.
"""

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.history import make_journal
from bench.program import Program, pss_mb
from bench.report import Beside, Options, Result, median, spread
from engine import journal_store as store
from engine.client import Client
from engine.envelope import decode_event
from engine.journal import Identity

RECORDS, RECORDS_QUICK = 1_000_000, 6_000
TARGET_S, TARGET_SNAPSHOT_S = 5.0, 1.0
WITHIN_S = 600.0
ACCOUNTS = {"binance.main": "binance", "okx.main": "okx"}
NOWHERE = {
    name: f"{scheme}://127.0.0.1:9/"  # the discard port: nobody listens
    for name, scheme in {
        "rest": "http",
        "public_ws": "ws",
        "private_ws": "ws",
        "trade_ws": "ws",
    }.items()
}
CONFIG: dict[str, Any] = {
    "mode": "demo",
    "name": "bench",
    "venues": {
        v: {"symbols": ["BTC/USDT", "ETH/USDT"], "urls": NOWHERE} for v in ACCOUNTS.values()
    },
    "demo": {"maker": False, "drill": False},
    "log": {"console": "off"},
}


def run(options: Options) -> dict[str, Result]:
    records = RECORDS_QUICK if options.quick else RECORDS
    with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
        folder = Path(name)
        journal = folder / "state" / "journal"
        make_journal(journal, Identity("demo", "bench", ACCOUNTS), records)
        bare = _floor(journal)
        without, without_cpu = restore(folder)  # stores snapshots before the actors start
        if not list((journal / "snapshots").glob("*.snap")):  # a short journal has none yet
            assert records <= RECORDS_QUICK, "no snapshot was stored"
        snapped = [restore(folder) for _ in range(options.repeats)]
        size_mb = _size_mb(folder)
    ours, cpu = median(wall for wall, _ in snapped), median(cpu for _, cpu in snapped)
    return {
        "P7": Result(
            value=ours,
            unit="s, with a snapshot",
            reference="SQLite read + decode",
            reference_value=round(bare, 2),
            ratio=round(ours / bare, 3),
            target=f"<= {TARGET_SNAPSHOT_S:g} s; <= {TARGET_S:g} s without one",
            met=ours <= TARGET_SNAPSHOT_S and without <= TARGET_S,
            beside=[
                Beside("its CPU", cpu, "s"),
                Beside("without a snapshot", round(without, 2), "s", round(without / bare, 3)),
                Beside("its CPU, without", round(without_cpu, 2), "s"),
                Beside("the core with 10,000 closed orders in each state", size_mb, "MB PSS"),
            ],
            notes=[
                f"{records:,} records; from exec of the program to its answer",
                f"with a snapshot {spread((wall for wall, _ in snapped), 2)}",
            ],
        )
    }


def restore(folder: Path) -> tuple[float, float]:
    """Start the program; return the seconds (wall, CPU) until its state was there. Kills it then."""
    with Program(folder, CONFIG) as program:
        program.until(_is_restored, WITHIN_S)
        return program.age_s(), program.cpu_s()


def _size_mb(folder: Path) -> float:
    with Program(folder, CONFIG) as program:
        program.until(_is_restored, WITHIN_S)
        return round(pss_mb(program.process.pid), 1)


def _is_restored(client: Client) -> bool:
    actors = client.request("actor.tree")
    durable = [a for a in actors if not a["name"].startswith("adapter.")]
    if not all(a["state"] == "running" for a in durable):
        return False
    return client.status()["orders"]["unknown"] == 0  # asked of the router, and of risk


def _floor(journal: Path) -> float:
    began = time.perf_counter()
    with closing(store.connect(journal)) as db:
        for kind, body in db.execute("SELECT kind, body FROM records ORDER BY seq"):
            decode_event(kind, body)
    return time.perf_counter() - began
