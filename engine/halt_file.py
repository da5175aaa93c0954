"""The HALT file: a halt that needs no core to be given, and none to hold.

`HALT` in the state folder stops all new orders while it stands. The gate of each venue looks for it as
the last code before the socket, so it holds with the core wedged or dead; a running core sees it
within a tenth of a second, halts, sweeps and journals that (engine/halt_watch.py), and so does the
next one that is started.
Anybody may make it (`touch HALT`); what is written in it is the reason. Removing it by hand lifts
nothing: `xcore risk resume` removes it and lifts the halt that was journaled.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

HALT_NAME: Final = "HALT"
PANIC_FOLDER: Final = "panic"
_TEXT_MAX: Final = 500


class HaltNote(NamedTuple):
    """Who made a HALT file and why, and which file it is: another one is another halt."""

    who: str
    reason: str
    identity: tuple[int, int]


def halt_path(state_dir: Path) -> str:
    """Return where the HALT file of a state folder is."""
    return str(state_dir / HALT_NAME)


def stands(path: str) -> bool:
    """Tell whether the HALT file is there; one that cannot be looked for counts as there.

    A system call of two microseconds: cheap enough for every order.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def put(state_dir: Path, who: str, reason: str) -> bool:
    """Make the HALT file durably; False if one stands already, which is left as it is.

    Raises OSError when it can neither be made nor be found.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = state_dir / HALT_NAME
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    try:
        os.write(fd, json.dumps({"who": who, "reason": reason}).encode())
        os.fsync(fd)
    finally:
        os.close(fd)
    _sync_folder(state_dir)
    return True


def note_of(state_dir: Path) -> HaltNote | None:
    """Return what the HALT file says; None while there is none."""
    path = state_dir / HALT_NAME
    if not stands(str(path)):
        return None
    identity, text = (0, 0), ""
    with suppress(OSError):
        status = path.lstat()
        identity = (status.st_ino, status.st_mtime_ns)
        text = path.read_bytes()[:4096].decode(errors="replace").strip()
    who, reason = "", text
    with suppress(ValueError, AttributeError):
        told = json.loads(text)
        who, reason = str(told.get("who", "")), str(told.get("reason", ""))
    return HaltNote(who[:_TEXT_MAX] or "HALT file", reason[:_TEXT_MAX] or "HALT file", identity)


def lift(state_dir: Path) -> bool:
    """Remove the HALT file; False if none stood. Raises OSError when it cannot be removed."""
    try:
        (state_dir / HALT_NAME).unlink()
    except (FileNotFoundError, NotADirectoryError):
        return False
    _sync_folder(state_dir)
    return True


def keep_receipt(state_dir: Path, panic_id: str, receipt: Mapping[str, Any]) -> Path:
    """Keep a panic's receipt, durably, for the core to import; return where."""
    folder = state_dir / PANIC_FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    new = folder / f"{panic_id}.new"
    with new.open("w") as file:
        json.dump(receipt, file)
        file.flush()
        os.fsync(file.fileno())
    path = folder / f"{panic_id}.json"
    new.replace(path)
    _sync_folder(folder)
    return path


def receipts(state_dir: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Return the receipts that no core has imported yet, oldest first; unreadable ones stay."""
    found: list[tuple[Path, dict[str, Any]]] = []
    for path in sorted((state_dir / PANIC_FOLDER).glob("*.json")):
        with suppress(OSError, ValueError):
            told = json.loads(path.read_bytes())
            if isinstance(told, dict):
                found.append((path, told))
    return found


def imported(path: Path) -> None:
    """Mark a receipt as journaled: it stays for people, under another name."""
    with suppress(OSError):
        path.replace(path.with_suffix(".imported"))


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
