"""Each benchmark runs, tiny, and yields its JSON. Nothing here looks at how fast anything was."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import BENCHMARKS

ROOT = Path(__file__).resolve().parent.parent.parent
FIELDS = {"value", "unit", "reference", "reference_value", "ratio", "target", "met"}


@pytest.mark.processes
@pytest.mark.timeout(180)
@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_a_benchmark_yields_its_line(name: str, tmp_path: Path):
    out = tmp_path / "results.json"
    ran = subprocess.run(
        [sys.executable, "-m", "bench", name, "--quick", "--out", str(out)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=170,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    if f"{name} skipped: no recorded frames" in ran.stdout:
        pytest.skip(ran.stdout.strip().splitlines()[-1])
    line = json.loads(out.read_text())[name]
    assert line.keys() >= FIELDS
    assert line["value"] > 0
    assert line["reference_value"] > 0
    assert isinstance(line["met"], bool)


def test_an_unknown_benchmark_is_refused_by_name():
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "P99"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 2
    assert "P99" in ran.stderr
