"""`python -m bench [P1 P2 ...]`: run benchmarks, print a table, write bench/results.json."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from loguru import logger

from bench import (
    order_road,
    p1_consolidate,
    p2_tick_to_order,
    p3_durable,
    p4_neighbour,
    p5_hog,
    p6_orders,
    p7_restore,
    p8_restart,
    p9_memory,
    p10_growth,
    p11_start,
)
from bench.report import RESULTS, Options, Result, Skipped, machine, save, show
from bench.tables import rewrite_documents

BENCHMARKS: dict[str, Callable[[Options], dict[str, Result]]] = {
    "P1": p1_consolidate.run,
    "P2": p2_tick_to_order.run,
    "P3": p3_durable.run,
    "P4": p4_neighbour.run,
    "P5": p5_hog.run,
    "P6": p6_orders.run,
    "P7": p7_restore.run,
    "P8": p8_restart.run,
    "P9": p9_memory.run,
    "P10": p10_growth.run,
    "P11": p11_start.run,
    "ORDER": order_road.run,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {' '.join(BENCHMARKS)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="the median of how many runs")
    parser.add_argument("--minutes", type=float, default=1.0, help="how long P9 watches memory")
    parser.add_argument("--quick", action="store_true", help="tiny: shows that it works, no more")
    parser.add_argument(
        "--docs", action="store_true", help="only bring the documents' tables up to date"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="where the JSON goes")
    given = parser.parse_args(argv)
    if given.docs:
        rewrite_documents(given.out)
        return 0
    unknown = [name for name in given.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    logger.remove()  # what the parts under test log is not the table
    options = Options(
        repeats=1 if given.quick else given.repeats, quick=given.quick, minutes=given.minutes
    )
    print(machine(), flush=True)
    failed = False
    results: dict[str, Result] = {}
    for name in given.names or BENCHMARKS:
        try:
            found = BENCHMARKS[name](options)
        except Skipped as why:
            print(f"{name} skipped: {why}", flush=True)
        except (AssertionError, OSError, RuntimeError) as error:  # the others still run
            failed = True
            print(f"{name} failed: {type(error).__name__}: {error}", flush=True)
        else:
            results.update(found)
            save(found, given.out)
            print(f"{name} done", flush=True)
    if results:
        print(show(results))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
