"""What a benchmark yields, how it is shown, and where it is kept."""

import json
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results.json"


class Skipped(Exception):
    """A benchmark cannot run here; the text says why."""


@dataclass(frozen=True)
class Beside:
    """One more thing measured in the same run."""

    reference: str
    value: float
    unit: str
    ratio: float | None = None


@dataclass(frozen=True)
class Result:
    """One line of the table. `ratio` is ours over the reference.

    `met` None: there is no target. `value` None: it cannot be measured here, the notes say why.
    """

    value: float | None
    unit: str
    reference: str
    reference_value: float | None
    ratio: float | None
    target: str
    met: bool | None
    beside: list[Beside] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Options:
    """How much to do. `quick` is for the smoke test: the figures mean nothing then."""

    repeats: int = 5
    quick: bool = False
    minutes: float = 1.0  # how long memory is watched


def not_available(unit: str, why: str) -> Result:
    """Return the line of something that cannot be measured here."""
    return Result(None, unit, "", None, None, "", None, notes=[f"not available: {why}"])


def median(values: Iterable[float]) -> float:
    """Return the middle value, rounded for people."""
    return round(statistics.median(values), 2)


def spread(values: Iterable[float], digits: int = 0) -> str:
    """Return the range as text: how noisy the machine was."""
    seen = list(values)
    return f"[{min(seen):,.{digits}f} to {max(seen):,.{digits}f}]"


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the slope of the least-squares line; 0 where there are not two different places."""
    mean_x = statistics.fmean(x for x, _ in points)
    mean_y = statistics.fmean(y for _, y in points)
    spread_x = sum((x - mean_x) ** 2 for x, _ in points)
    if spread_x == 0:
        return 0.0
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread_x


def percentile_us(samples_ns: list[int], share: float) -> float:
    """Return the given percentile of nanosecond samples, in microseconds."""
    ordered = sorted(samples_ns)
    return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))] / 1000, 1)


def machine() -> str:
    """Return one line about where this ran."""
    load = os.getloadavg()[0]
    return (
        f"{os.cpu_count()} CPUs, {platform.machine()}, Linux {platform.release()}, "
        f"CPython {platform.python_version()}, load {load:.1f}"
    )


def show(results: Mapping[str, Result]) -> str:
    """Return the table, and below each line what was measured beside it."""
    heads = ("name", "value", "unit", "reference", "ref value", "ratio", "target", "met")
    rows = [heads]
    for name, r in results.items():
        met = "-" if r.met is None else ("yes" if r.met else "NO")
        rows.append(
            (name, number(r.value), r.unit, r.reference, number(r.reference_value),
             number(r.ratio), r.target, met)
        )  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    for name, r in results.items():
        for b in r.beside:
            ratio = "" if b.ratio is None else f"  (ours is {b.ratio:.2f} x)"
            lines.append(f"  {name}  {b.reference}: {number(b.value)} {b.unit}{ratio}")
        lines += [f"  {name}  {note}" for note in r.notes]
    return "\n".join(line.rstrip() for line in lines)


def number(value: float | None) -> str:
    """Return a figure for people: three digits that mean something, thousands apart."""
    if value is None:
        return "-"
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def save(results: Mapping[str, Result], path: Path = RESULTS) -> None:
    """Write the results; those of benchmarks that did not run now stay."""
    kept: dict[str, Any] = {}
    if path.exists():
        kept = json.loads(path.read_text())
    kept.update({name: asdict(result) for name, result in results.items()})
    path.write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n")
