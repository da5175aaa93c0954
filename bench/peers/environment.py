"""The peers' own environment, `.venv-peers`: pinned by hash, apart from the core's and its lock."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
FOLDER: Final = ROOT / ".venv-peers"
PYTHON: Final = FOLDER / "bin" / "python"
NAMES: Final = ("ccxt", "cryptofeed", "nautilus_trader")
INSTALL_WITHIN_S: Final = 900.0
RUN_WITHIN_S: Final = 600.0


def install(name: str) -> str:
    """Install a peer as pinned; return why it cannot be installed here, or nothing."""
    if not PYTHON.exists():
        subprocess.run([sys.executable, "-m", "venv", str(FOLDER)], check=True)
    pinned = Path(__file__).parent / f"{name}.txt"
    command = [str(PYTHON), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--require-hashes", "-r", str(pinned)]  # fmt: skip
    return _run(command, INSTALL_WITHIN_S)[1]


def ask(name: str, repeats: int) -> tuple[dict[str, Any] | None, str]:
    """Return what a peer did with the recorded frames, or None and why not."""
    if not PYTHON.exists():
        return None, "not installed; `make bench-peers` installs it"
    answer, problem = _run(
        [str(PYTHON), "-m", "bench.peers.frames", name, str(repeats)], RUN_WITHIN_S
    )
    return (None, problem) if problem else (json.loads(answer), "")


def _run(command: list[str], within_s: float) -> tuple[str, str]:
    try:
        ran = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=within_s
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)[:200]
    lines = [line for line in ran.stderr.splitlines() if line and "WARNING" not in line]
    if ran.returncode != 0:
        return "", (lines or [f"it ended with {ran.returncode}"])[-1][:200]
    return ran.stdout, ""
