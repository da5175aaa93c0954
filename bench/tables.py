"""The tables of figures in the documents, made from results.json: `python -m bench --docs`.

They stand between `<!-- bench:NAME -->` and `<!-- /bench -->`; everything else is left alone.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from bench.report import number

ROOT: Final = Path(__file__).resolve().parent.parent
DOCUMENTS: Final = (ROOT / "docs" / "performance.md", ROOT / "README.md")
WHAT: Final = {
    "P1": "recorded frames to a published consolidated top 20",
    "P2": "book tick to order, paced 2 ms, journal in memory",
    "P3": "the same, intent durable before it leaves (FULL)",
    "P4": "quiet venue's tick to the router, neighbour floods",
    "P4 process": "the same, venues in processes of their own",
    "P5": "P2 with a CPU-bound thread in the core",
    "P6": "durable orders end to end in the core (FULL)",
    "P7": "state restored after kill -9, 1,000,000 records",
    "P8": "actor restart after a crash, mailbox kept",
    "P9": "memory, core and four venues",
    "P10": "growth: the curve nearest to or beyond its limit",
    "P11": "`supervisor.py` to the first consolidated quote",
    "ORDER": "an order's acknowledgement over the trading WebSocket",
}
_MARKED: Final = re.compile(r"(<!-- bench:(\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)

Results = Mapping[str, Mapping[str, Any]]


def table(results: Results) -> str:
    """Return one row a benchmark: ours, what stands beside it, ratio, target."""
    lines = [
        "| # | what | ours | beside it | ratio | target | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in sorted(results, key=_order):
        row = results[name]
        if row["value"] is None:
            lines.append(f"| {name} | {WHAT.get(name, '')} | {row['notes'][0]} | | | | |")
            continue
        met = {None: "", True: "yes", False: "no"}[row["met"]]
        beside = f"{row['reference']}: {number(row['reference_value'])}"
        lines.append(
            f"| {name} | {WHAT.get(name, '')} | {number(row['value'])} {row['unit']} | {beside} |"
            f" {number(row['ratio'])} | {row['target']} | {met} |"
        )
    return "\n".join(lines) + "\n"


def details(results: Results) -> str:
    """Return all that was measured beside each line, and how it was done, as a list."""
    lines: list[str] = []
    for name in sorted(results, key=_order):
        row = results[name]
        for beside in row["beside"]:
            ratio = "" if beside["ratio"] is None else f" (ours is {number(beside['ratio'])} x)"
            value = number(beside["value"])
            lines.append(f"- {name}: {beside['reference']}: {value} {beside['unit']}{ratio}")
        lines += [f"- {name}: {note}" for note in row["notes"] if row["value"] is not None]
    return "\n".join(lines) + "\n"


TABLES: Final[dict[str, Callable[[Results], str]]] = {"table": table, "details": details}


def rewrite(text: str, results: Results) -> str:
    """Return a document with its marked tables made anew."""
    return _MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]](results)}{m[3]}", text)


def rewrite_documents(results_path: Path) -> None:
    """Bring the documents up to date with a results file."""
    results = json.loads(results_path.read_text())
    for path in DOCUMENTS:
        path.write_text(rewrite(path.read_text(), results))


def _order(name: str) -> tuple[int, str]:
    return int(name.split(maxsplit=1)[0][1:]), name
