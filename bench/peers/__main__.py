"""`make bench-peers`: install other libraries apart, run them on P1's frames, print them beside us."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from loguru import logger

from bench import p1_consolidate, recorded
from bench.peers.environment import NAMES, ask, install
from bench.report import Skipped, machine, median, number

OUT = Path(__file__).resolve().parent.parent / "peers.json"
OURS_DOES = (
    "typed decode, exact integers, sequence, crossed-book and lag checks, two venues merged,"
)
OURS_DOES += " the consolidated top 20 encoded for every frame"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"which: {' '.join(NAMES)} (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=OUT, help="where the JSON goes")
    given = parser.parse_args(argv)
    unknown = [name for name in given.names if name not in NAMES]
    if unknown:
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(NAMES)}")
    logger.remove()
    print(machine(), flush=True)
    found: dict[str, object] = {}
    try:
        ours = median(p1_consolidate.core(recorded.load(), complete=True)
                      for _ in range(given.repeats))  # fmt: skip
    except Skipped as why:
        print(f"skipped: {why}")
        return 0
    print(f"ours: {number(ours)} frames/s\n    does: {OURS_DOES}", flush=True)
    found["ours"] = {"rows": [["consolidated, published", ours, "frames/s"]], "does": OURS_DOES}
    for name in given.names or NAMES:
        problem = install(name)
        answer = None
        if not problem:
            answer, problem = ask(name, given.repeats)
        if answer is None:
            print(f"{name}: not run here: {problem}", flush=True)
            found[name] = {"problem": problem}
            continue
        found[name] = answer
        print(f"{name} {answer['version']}")
        for what, value, unit in answer["rows"]:
            beside = f"  (ours is {ours / value:.2f} x)" if unit == "frames/s" else ""
            print(f"    {what}: {number(value)} {unit}{beside}")
        print(f"    does: {answer['does']}\n    does not: {answer['does_not']}", flush=True)
    given.out.write_text(json.dumps(found, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
