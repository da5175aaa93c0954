"""`python -m bench [P1 P2 ...]`: run benchmarks, print a table, write bench/results.json."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from bench import order_road, p1_consolidate, p2_tick_to_order
from bench.report import RESULTS, Options, Result, Skipped, machine, save, show

BENCHMARKS: dict[str, Callable[[Options], dict[str, Result]]] = {
    "P1": p1_consolidate.run,
    "P2": p2_tick_to_order.run,
    "ORDER": order_road.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {' '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="the median of how many runs")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works, no more")
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    given = parser.parse_args(argv)
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    options = Options(repeats=1 if given.quick else given.repeats, quick=given.quick)
    results: dict[str, Result] = {}
    print(machine(), flush=True)
    for name in given.names or BENCHMARKS:
        try:
            results.update(BENCHMARKS[name](options))
        except Skipped as why:
            print(f"{name} skipped: {why}", flush=True)
    if results:
        print(show(results))
        save(results, given.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
