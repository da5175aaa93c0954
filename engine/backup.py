"""Backups of a state folder: made beside a running core, verified when made, restored into a new folder.

A backup is one compressed tar file: the journal with its mark and snapshots, and a manifest. It holds no
secret. The configuration is not in it: that is yours to keep.
"""

import json
import shutil
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from engine.clock import NS_PER_S, Clock
from engine.errors import ConfigError, CoreError
from engine.journal import verify_folder
from engine.journal_copy import bring_back, copy_journal, identity_of
from engine.journal_records import JournalError
from engine.snapshot import sync_folder

SUFFIX: Final = ".xcore.tar.gz"
FOLDER: Final = "backups"
MANIFEST: Final = "manifest.json"
JOURNAL: Final = "journal"
MANIFEST_MAX_BYTES: Final = 65_536


class BackupError(CoreError):
    """A backup could not be made, read or brought back; nothing was changed."""


def create(state_dir: Path, to: Path | None, clock: Clock) -> dict[str, Any]:
    """Write a verified backup of a state folder; return what its manifest says, with the file.

    Raises:
        BackupError: there is no journal, it is not whole, or the file cannot be written.
    """
    journal, folder = state_dir / JOURNAL, to or state_dir / FOLDER
    if not journal.is_dir():
        raise BackupError(f"there is no journal in {state_dir}; no core has run on it")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".making-", dir=folder) as place:
            report = copy_journal(journal, Path(place) / JOURNAL)
            if not report.ok:
                raise BackupError(
                    f"the journal is not whole, nothing was written: {report.problem}"
                )
            now_ns = clock.wall_ns()
            identity = identity_of(Path(place) / JOURNAL)
            manifest = {
                "schema": 1,
                "mode": identity.mode,
                "instance": identity.instance,
                "records": report.records,
                "head_seq": report.head_seq,
                "created": _stamp(now_ns, "%Y-%m-%dT%H:%M:%SZ"),
                "created_ns": now_ns,
            }
            (Path(place) / MANIFEST).write_text(json.dumps(manifest, indent=1))
            stamp = _stamp(now_ns, "%Y%m%dT%H%M%SZ")
            file = folder / f"{identity.instance}-{stamp}-{report.head_seq}{SUFFIX}"
            _pack(Path(place), file)
    except (OSError, JournalError) as error:
        raise BackupError(f"no backup was made: {error}") from error
    return {**manifest, "file": str(file), "bytes": file.stat().st_size}


# Written beside its name and then renamed: a file of that name is a whole one.
def _pack(place: Path, file: Path) -> None:
    new = place / "new"
    with tarfile.open(new, "w:gz", compresslevel=6) as tar:
        for name in (MANIFEST, JOURNAL):
            tar.add(place / name, arcname=name)
    new.chmod(0o600)
    new.replace(file)
    sync_folder(file.parent)


def _stamp(ts_ns: int, form: str) -> str:
    return datetime.fromtimestamp(ts_ns / NS_PER_S, tz=UTC).strftime(form)


def listed(folder: Path) -> list[dict[str, Any]]:
    """Return the backups of a folder, oldest first, as their manifests say."""
    rows = []
    for file in sorted(folder.glob(f"*{SUFFIX}")):
        try:
            rows.append({**_manifest(file), "file": str(file), "bytes": file.stat().st_size})
        except BackupError as error:
            rows.append({"schema": 1, "file": str(file), "problem": str(error)})
    return sorted(rows, key=lambda row: row.get("created_ns", 0))


def _manifest(file: Path) -> dict[str, Any]:
    try:
        with tarfile.open(file, "r:gz") as tar:
            member = tar.next()
            if member is None or member.name != MANIFEST or member.size > MANIFEST_MAX_BYTES:
                raise BackupError(f"{file} is no backup of this program")
            inside = tar.extractfile(member)
            found = json.loads(inside.read() if inside is not None else b"")
    except (OSError, EOFError, tarfile.TarError, ValueError) as error:
        raise BackupError(f"{file} is not a whole backup: {error}") from error
    if not isinstance(found, dict):
        raise BackupError(f"{file} is no backup of this program")
    return found


def verify(file: Path) -> dict[str, Any]:
    """Unpack a backup, beside it if it can be, and check every record; return its manifest, and ok.

    Raises:
        BackupError: the file is not a whole backup, or its journal is damaged.
    """
    try:
        place = tempfile.TemporaryDirectory(prefix=".verifying-", dir=file.parent)
    except OSError:  # a medium that can only be read
        place = tempfile.TemporaryDirectory(prefix=".verifying-")
    with place as folder:
        return {**_unpacked(file, Path(folder)), "file": str(file), "ok": True}


def _unpacked(file: Path, place: Path) -> dict[str, Any]:
    manifest = _manifest(file)
    try:
        with tarfile.open(file, "r:gz") as tar:
            tar.extractall(place, filter="data")
    except (OSError, EOFError, tarfile.TarError) as error:
        raise BackupError(f"{file} cannot be unpacked: {error}") from error
    report = verify_folder(place / JOURNAL)
    if not report.ok:
        raise BackupError(f"the journal in {file} is damaged: {report.problem}")
    if report.head_seq != manifest.get("head_seq"):
        text = f"{file} says {manifest.get('head_seq')} records and holds {report.head_seq}"
        raise BackupError(text)
    return manifest


def restore(file: Path, into: Path, clock: Clock, *, who: str, reason: str) -> dict[str, Any]:
    """Make a new state folder of a backup: a new epoch, marked as restored, and halted.

    Raises:
        BackupError: the backup is not whole.
        ConfigError: `into` is there already; nothing is ever restored over anything.
    """
    if into.exists() and any(into.iterdir() if into.is_dir() else [into]):
        raise ConfigError(f"{into} is not empty; a backup is restored into a new folder")
    place = into.with_name(f".{into.name}.restoring")
    try:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
        manifest = _unpacked(file, place)
        (place / MANIFEST).unlink()
        head_seq = bring_back(place / JOURNAL, clock, who=who, reason=reason)
        if into.is_dir():
            into.rmdir()
        place.replace(into)
        sync_folder(into.parent)
    except (OSError, JournalError) as error:
        raise BackupError(f"nothing was restored: {error}") from error
    finally:
        shutil.rmtree(place, ignore_errors=True)
    return {**manifest, "state_dir": str(into), "restored_from": manifest["head_seq"],
            "head_seq": head_seq}  # fmt: skip
