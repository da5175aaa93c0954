"""The note that a core's page leaves in the state folder: who it is and where it listens.

Its `url` carries the token, so the file is for the owner of the folder alone (0600). It goes with an
end in order; after a kill the next core finds the page that was left behind by it.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

SESSION_FILE: Final = "dashboard.json"


def read_session(state_dir: Path) -> dict[str, Any] | None:
    """Return {pid, port, token, url} of the page of a state folder that runs now, or None."""
    with suppress(OSError, ValueError):
        found = json.loads((state_dir / SESSION_FILE).read_text())
        if isinstance(found, dict) and isinstance(found.get("pid"), int):
            return found if is_page(found["pid"], state_dir) else None
    return None


def write_session(state_dir: Path, session: dict[str, Any]) -> None:
    """Write the note anew. Raises OSError."""
    path = state_dir / SESSION_FILE
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        json.dump(session, file)


def forget_session(state_dir: Path) -> None:
    """Take the note away, whether there is one or not."""
    (state_dir / SESSION_FILE).unlink(missing_ok=True)


def is_page(pid: int, state_dir: Path) -> bool:
    """Tell whether `pid` is a page of this state folder, and not another that got its number."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return b"dashboard" in words and os.fsencode(state_dir) in words
    return False
