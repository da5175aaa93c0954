"""Snapshot files: an actor's state at a seq, durable, hashed, two newest good ones kept per owner.

A snapshot only saves replay time: any of them may be missing or damaged, and then an older one, or
the whole journal, gives the same state. It is therefore kept outside the database (a damaged
snapshot cannot hurt the records) and bound to the hash of the journal's record at its seq (a
snapshot of another history, or of records that a power loss took, is never used).

File `snapshots/OWNER@SEQ.snap`: magic, msgpack of [owner, seq, chain hash, state], blake2b-256 of
all before it. Written to a temporary name, fsynced, renamed, folder fsynced.
"""

import os
import re
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

FOLDER_NAME: Final = "snapshots"
KEPT: Final = 2
_MAGIC: Final = b"XCSNAP01"
_CHECK_BYTES: Final = 32
_NAME: Final = re.compile(r"(?P<owner>[^@]+)@(?P<seq>\d{20})\.snap")

Reports = Callable[[str], None]


class StoredSnapshot(msgspec.Struct, frozen=True, array_like=True):
    """The content of one file."""

    owner: str
    seq: int
    chain_hash: bytes
    state: bytes


def save(folder: Path, snapshot: StoredSnapshot, report: Reports) -> None:
    """Write `snapshot` durably, then drop what is older than the two newest good ones."""
    place = folder / FOLDER_NAME
    path = place / f"{_owner_part(snapshot.owner)}@{snapshot.seq:020d}.snap"
    data = _MAGIC + msgspec.msgpack.encode(snapshot)
    temporary = path.with_suffix(".tmp")
    try:
        write_durably(temporary, data + blake2b(data, digest_size=_CHECK_BYTES).digest())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(place)
    _prune(place, snapshot.owner, report)


def newest_first(
    folder: Path, owner: str | None, upto_seq: int | None, report: Reports
) -> Iterator[StoredSnapshot]:
    """Yield the good snapshots (of one owner, or of all), newest first; report the bad ones."""
    for path in _paths(folder / FOLDER_NAME, owner):
        if upto_seq is not None and _seq_of(path) > upto_seq:
            continue
        snapshot = _load(path)
        if snapshot is None:
            report(f"snapshot {path.name} is damaged and was skipped")
            continue
        yield snapshot


def newest_named(folder: Path, owner: str) -> int:
    """Return the seq that the owner's newest file claims by its name, unread; 0 without one."""
    return max((_seq_of(path) for path in _paths(folder / FOLDER_NAME, owner)), default=0)


def write_durably(path: Path, data: bytes) -> None:
    """Create or replace `path` with `data` and fsync it; the folder entry is not synced."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
        os.fsync(fd)
    finally:
        os.close(fd)


def sync_folder(folder: Path) -> None:
    """Make the folder's entries (new names, renames, removals) durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _prune(place: Path, owner: str, report: Reports) -> None:
    good = 0
    for path in _paths(place, owner):
        if good == KEPT:
            path.unlink(missing_ok=True)
        elif _load(path) is not None:
            good += 1
        else:  # kept for a person to look at, under a name that is not counted
            report(f"snapshot {path.name} is damaged and was moved aside")
            path.replace(path.with_suffix(".corrupt"))


def _paths(place: Path, owner: str | None) -> list[Path]:
    matches = [(match, path) for path in place.glob("*.snap") if (match := _NAME.match(path.name))]
    wanted = None if owner is None else _owner_part(owner)
    found = [path for match, path in matches if wanted in (None, match["owner"])]
    return sorted(found, key=lambda path: (_seq_of(path), path.name), reverse=True)


def _seq_of(path: Path) -> int:
    return int(path.stem.rpartition("@")[2])


def _owner_part(owner: str) -> str:
    return quote(owner, safe="")


def _load(path: Path) -> StoredSnapshot | None:
    try:
        data = path.read_bytes()
    except OSError:  # pruned by the writer in the meantime, or unreadable: not usable either way
        return None
    content, check = memoryview(data)[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if blake2b(content, digest_size=_CHECK_BYTES).digest() != check:
        return None
    if not data.startswith(_MAGIC):
        return None
    snapshot = msgspec.msgpack.decode(content[len(_MAGIC) :], type=StoredSnapshot)
    named_so = (_owner_part(snapshot.owner), snapshot.seq)
    return snapshot if named_so == (path.stem.rpartition("@")[0], _seq_of(path)) else None
