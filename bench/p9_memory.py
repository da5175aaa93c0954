"""P9: memory of the core and four venues, and whether it grows.

The real program in demo mode: two venues of each of two dialects, two symbols, the demo maker trading.
As shipped, but for the closed orders that are kept: 100 instead of 10,000, so that the warm-up fills
what is bounded and the slope shows what is not (P7 tells the size with 10,000 kept). Counted: the
proportional set size (PSS) of the core's process and of the venues' processes where they have their
own; not counted: the simulator. Sampled each second after a warm-up; the slope is a least-squares
line, and over a minute or two it says little: `--minutes`.
Floor: an interpreter that has imported what the program imports.
"""

import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bench.program import ROOT, Program, pss_mb
from bench.report import Beside, Options, Result, slope
from engine.client import Client

TARGET_MB, TARGET_MB_PER_H = 600.0, 1.0
WARM_S = 20.0
WITHIN_S = 60.0
SAMPLE_S = 1.0
VENUES = {"binance": "binance", "binance2": "binance", "okx": "okx", "okx2": "okx"}


def _second_account(adapter: str) -> dict[str, str]:
    keys = {name: f"other-{name}-{adapter}" for name in ("key", "secret", "pass")}
    more = {"passphrase": keys["pass"]} if adapter == "okx" else {}
    return {"api_key": keys["key"], "api_secret": keys["secret"], **more}


CONFIG: dict[str, Any] = {
    "mode": "demo",
    "name": "bench",
    "venues": {
        name: {
            "adapter": adapter,
            "symbols": ["BTC/USDT", "ETH/USDT"],
            # The simulated venue's second account: two names for one would be told each fill twice.
            "credentials": {} if name == adapter else _second_account(adapter),
        }
        for name, adapter in VENUES.items()
    },
    "demo": {"drill": False},
    "orders": {"closed_kept_max": 100},
    "log": {"console": "off"},
}


def run(options: Options) -> dict[str, Result]:
    warm_s, length_s = (1.0, 3.0) if options.quick else (WARM_S, options.minutes * 60)
    with (
        tempfile.TemporaryDirectory(prefix="xcore-bench-") as name,
        Program(Path(name), CONFIG) as program,
    ):
        program.until(_all_ready, WITHIN_S)
        time.sleep(warm_s)
        samples = _samples(program, length_s)
        parts = _parts(program)
        program.stop()
    ours = samples[-1][1]
    grows = slope([(at_s / 3600, mb) for at_s, mb in samples])
    bare = _floor_mb()
    return {
        "P9": Result(
            value=round(ours, 1),
            unit="MB PSS",
            reference="its imports alone",
            reference_value=round(bare, 1),
            ratio=round(ours / bare, 3),
            target=f"<= {TARGET_MB:g} MB; slope <= {TARGET_MB_PER_H:g} MB/h",
            met=ours <= TARGET_MB and grows <= TARGET_MB_PER_H,
            beside=[
                Beside("slope", round(grows, 1), "MB/h"),
                *(Beside(what, round(mb, 1), "MB PSS") for what, mb in parts.items()),
            ],
            notes=[
                f"{len(samples)} samples over {length_s:g} s, {warm_s:g} s after all were ready"
            ],
        )
    }


def _all_ready(client: Client) -> bool:
    venues = client.status()["venues"]
    return len(venues) == len(VENUES) and all(v["state"] == "READY" for v in venues)


def _samples(program: Program, length_s: float) -> list[tuple[float, float]]:
    samples: list[tuple[float, float]] = []
    began = time.monotonic()
    while (at_s := time.monotonic() - began) < length_s:
        samples.append((at_s, sum(_parts(program).values())))
        time.sleep(SAMPLE_S)
    return samples


# Who has how much. The simulator is another program that happens to be our child.
def _parts(program: Program) -> dict[str, float]:
    parts: dict[str, float] = {}
    for pid in program.processes():
        with suppress(OSError):  # a short-lived one, like the journal's check, may have gone
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if b"simulator" not in words:
                what = "core" if pid == program.process.pid else f"process {len(parts)}"
                parts[what] = pss_mb(pid)
    if "core" not in parts:
        raise RuntimeError(f"the program ended; see {program.log}")
    return parts


def _floor_mb() -> float:
    code = "import supervisor, sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None, "stdout is a pipe"
        process.stdout.readline()
        return pss_mb(process.pid)
