"""How the core on a state folder was started: for `xcore panic`, which must use the same configuration."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

NAME: Final = "run.json"


def note_run(state_dir: Path, *, source: Path | None, mode: str, pid: int) -> None:
    """Say from which configuration, in which mode, by which process. Holds no secret."""
    told = {"config": None if source is None else str(source.absolute()), "mode": mode, "pid": pid}
    new = state_dir / f"{NAME}.new"
    new.write_text(json.dumps(told))
    new.replace(state_dir / NAME)


def last_run(state_dir: Path) -> dict[str, Any]:
    """Return what the newest core of the folder said; empty if none did."""
    with suppress(OSError, ValueError):
        told = json.loads((state_dir / NAME).read_text())
        if isinstance(told, dict):
            return told
    return {}
