"""P11: from `python supervisor.py` to the first consolidated quote of two venues, as shipped.

The real program in demo mode with a fresh state folder: it starts its simulator, two venues' sessions
and all actors. The clock runs from the start of the process until a client on its control socket is
told a best bid and offer to which a venue counts as live.
Floor: the same interpreter, importing what the program imports and nothing else.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.program import ROOT, Program
from bench.report import Beside, Options, Result, median, spread
from engine.client import Client

TARGET_S, MOONSHOT_S = 3.0, 1.0
WITHIN_S = 60.0
CONFIG: dict[str, Any] = {
    "mode": "demo",
    "name": "bench",
    "venues": {venue: {"symbols": ["BTC/USDT", "ETH/USDT"]} for venue in ("binance", "okx")},
    "log": {"console": "off"},
}


def run(options: Options) -> dict[str, Result]:
    quotes: list[float] = []
    readies: list[float] = []
    imports: list[float] = []
    statuses: list[float] = []
    for _ in range(options.repeats):
        imports.append(_imports())
        with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
            quote, ready, status = _start(Path(name))
        quotes.append(quote)
        readies.append(ready)
        statuses.append(status)
    ours, bare = median(quotes), median(imports)
    return {
        "P11": Result(
            value=ours,
            unit="s to the first quote",
            reference="its imports alone",
            reference_value=bare,
            ratio=round(ours / bare, 3),
            target=f"<= {TARGET_S:g} s (moonshot {MOONSHOT_S:g})",
            met=ours <= TARGET_S,
            beside=[
                Beside("until every venue may trade", median(readies), "s"),
                Beside("`xcore status`, CPU", median(statuses), "s"),
            ],
            notes=[f"first quote {spread(quotes, 2)}, imports {spread(imports, 2)}"],
        )
    }


def _start(folder: Path) -> tuple[float, float, float]:
    with Program(folder, CONFIG) as program:
        program.until(_has_quote, WITHIN_S)
        quote = program.age_s()
        program.until(_is_ready, WITHIN_S)
        ready = program.age_s()
        status = _cpu_s([str(Path(sys.executable).parent / "xcore"), "--state-dir",
                         str(program.state_dir), "status"])  # fmt: skip
        program.stop()
    return quote, ready, status


def _has_quote(client: Client) -> bool:
    return any(row.get("bid") and row.get("ask") for row in client.bbo())


def _is_ready(client: Client) -> bool:
    status = client.status()
    ready = all(venue["state"] == "READY" for venue in status["venues"])
    return ready and bool(status["accounts_opened"])


def _imports() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import supervisor"], cwd=ROOT, check=True)
    return time.perf_counter() - began


def _cpu_s(command: list[str]) -> float:
    import resource  # noqa: PLC0415

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
