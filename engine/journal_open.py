"""Opening a journal for writing: lock, birth, check, identity, a new epoch, the reserve.

A refused open changes no record: everything is checked through read-only connections first.
"""

import contextlib
import errno
import fcntl
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from engine import journal_store as store
from engine.clock import Clock
from engine.journal_check import Inspection, JournalReader, inspect
from engine.journal_high_water import FILE_NAME, HighWater, read_mark
from engine.journal_records import (
    Identity,
    JournalCorrupt,
    JournalFailed,
    JournalFull,
    JournalIdentityError,
    JournalLocked,
    Opening,
    Sync,
)
from engine.snapshot import FOLDER_NAME, sync_folder, write_durably

LOCK_NAME: Final = "journal.lock"
RESERVE_NAME: Final = "reserve"
SUSPECT_NAME: Final = "suspect"

# A folder that may not be looked at, or is on a read-only disk: nothing of ours is new in it.
_NOT_OURS: Final = frozenset({errno.EACCES, errno.EPERM, errno.EINVAL, errno.EROFS})

Report = Callable[[str], None]


class Opened(msgspec.Struct, frozen=True):
    """All that a writer holds."""

    lock_fd: int
    db: sqlite3.Connection
    reader: JournalReader
    high_water: HighWater
    opening: Opening
    head_seq: int
    head_hash: bytes
    unchecked_upto: int

    def release(self) -> None:
        """Close and unlock everything; writes nothing.

        The reader goes after the writer: a read-only connection that closes last leaves the log
        as it is, a writing one would checkpoint it, which must not happen after a failure.
        """
        with contextlib.suppress(sqlite3.Error):
            self.db.close()
        self.reader.close()
        self.high_water.close()
        os.close(self.lock_fd)


@contextlib.contextmanager
def os_errors(doing: str) -> Iterator[None]:
    """Translate what the operating system raises: no space is survived, all else is fail-stop."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise JournalFull(f"no space: {doing} did not happen") from error
        raise JournalFailed(f"{doing} failed: {error}") from error


def take_lock(folder: Path) -> int:
    """Make the folder if need be and lock it, or raise JournalLocked. The lock dies with us."""
    with os_errors(f"locking {folder}"):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fd = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise JournalLocked(f"{folder} is in use by process {holder}") from None
        os.truncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def open_for_writing(
    folder: Path, identity: Identity, clock: Clock, sync: Sync, report: Report, whole_max: int
) -> Opened:
    """Check the folder (which is locked) and begin a new epoch in it, durably."""
    with contextlib.ExitStack() as undo:
        undo.callback(os.close, lock_fd := take_lock(folder))
        with os_errors(f"opening {folder}"), store.reading():
            (folder / FOLDER_NAME).mkdir(mode=0o700, exist_ok=True)
            if not (folder / store.DB_NAME).exists():
                _give_birth(folder)
            reader = JournalReader(folder, report)
            undo.callback(reader.close)
            found = _inspected(folder, reader, whole_max)
            for note in found.notes:
                report(note)
            opening = _next_opening(found, identity, clock, sync)
            db = store.connect(folder, writer=True)
            undo.callback(db.close)  # before the reader's: the last to close must be read-only
            _set_up_writer(db, sync)
            _move_torn_tail(folder, db, found, clock, report)
            _write_opening(db, opening, found)
            high_water = HighWater.open(folder, found.mark.counter, sync)
            undo.callback(high_water.close)
            high_water.write(opening.epoch, found.head_seq, found.head_hash)
            high_water.sync()
            _clear_suspicion(folder, report)
        undo.pop_all()
    return Opened(
        lock_fd, db, reader, high_water, opening, found.head_seq, found.head_hash,
        unchecked_upto=found.head_seq - found.records,
    )  # fmt: skip


def make_reserve(folder: Path, size: int, report: Report) -> bool:
    """Set `size` bytes aside for the day the disk is full; False (and a report) without space."""
    path = folder / RESERVE_NAME
    if size == 0 or (path.exists() and path.stat().st_size >= size):
        return True
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        os.fsync(fd)
    except OSError as error:
        path.unlink(missing_ok=True)
        report(f"no space for the reserve of {size} bytes: {error}")
        return False
    finally:
        os.close(fd)
    sync_folder(folder)
    return True


def drop_reserve(folder: Path) -> int:
    """Delete the reserve; return how many bytes that gave back."""
    path = folder / RESERVE_NAME
    try:
        size = path.stat().st_size
        path.unlink()
    except FileNotFoundError:
        return 0
    sync_folder(folder)
    return size


# The database appears under its name complete or not at all, and after the mark: a kill between
# the two leaves the mark of an empty journal, from which birth starts again.
def _give_birth(folder: Path) -> None:
    mark, _notes = read_mark(folder)
    if mark is not None and mark.epoch > 0:
        raise JournalCorrupt(f"{store.DB_NAME} is missing; {FILE_NAME} knows of seq {mark.seq}")
    if (folder / f"{store.DB_NAME}-wal").exists():
        raise JournalCorrupt(f"{store.DB_NAME} is missing; its write-ahead log is there")
    _sync_ancestors(folder)
    HighWater.create(folder)
    store.create(folder)


# Of a new folder the journal can sync what it lists, but not that it is there itself: this says the
# folder above, and of that the one above it. First of all, so that a killed birth is not half durable.
def _sync_ancestors(folder: Path) -> None:
    for place in folder.absolute().parents:
        try:
            sync_folder(place)
        except OSError as error:
            if error.errno not in _NOT_OURS:
                raise


# All is checked before the first record is written, but for a long journal with a snapshot: there
# the snapshot, what came after it, the openings and the mark are, and the owner of the journal has
# the rest (the chain below, SQLite's pages and indexes) checked beside its work: see Journal.open.
def _inspected(folder: Path, reader: JournalReader, whole_max: int) -> Inspection:
    with contextlib.closing(store.connect(folder)) as db:
        store.check_schema(db)
        head_seq = store.head_of(db)[0]
        from_seq = 0
        if head_seq > whole_max and not (folder / SUSPECT_NAME).exists():
            # The record beside a snapshot may be bad: a whole walk says so.
            with contextlib.suppress(JournalCorrupt):
                from_seq = min(reader.newest_snapshot_seq(), head_seq)
        found = inspect(folder, db, from_seq, pages=from_seq == 0)
    if found.opening is None and (found.head_seq > 0 or found.mark.epoch > 0):
        raise JournalCorrupt("the record of the journal's birth is gone")
    return found


def mark_suspect(folder: Path, problem: str) -> None:
    """Have the next open check the whole journal before anything else, whatever its length."""
    write_durably(folder / SUSPECT_NAME, problem.encode())
    sync_folder(folder)


def _clear_suspicion(folder: Path, report: Report) -> None:
    path = folder / SUSPECT_NAME
    if path.exists():
        report(f"suspected ({path.read_text(errors='replace')}), and found good as a whole")
        path.unlink()
        sync_folder(folder)


def _next_opening(found: Inspection, identity: Identity, clock: Clock, sync: Sync) -> Opening:
    old = found.opening
    if old is None:
        return Opening(store.SCHEMA_VERSION, 1, identity, sync, clock.wall_ns(), found.head_seq)
    bound = old.identity
    differences = [
        f"{name} is {was!r}, not {now!r}"
        for name, was, now in (
            ("mode", bound.mode, identity.mode),
            ("instance", bound.instance, identity.instance),
            *_accounts(bound.accounts, identity.accounts),
        )
        if was != now
    ]
    if differences:
        raise JournalIdentityError(f"this journal's {'; '.join(differences)}")
    everything = Identity(bound.mode, bound.instance, bound.accounts | identity.accounts)
    epoch = max(old.epoch, found.mark.epoch) + 1
    return Opening(store.SCHEMA_VERSION, epoch, everything, sync, clock.wall_ns(), found.head_seq)


# An account's meaning is fixed both ways: neither may a name come to mean something else, nor may what
# it meant be reached under another name.
def _accounts(bound: dict[str, str], now: dict[str, str]) -> Iterator[tuple[str, str, str]]:
    names = {meaning: name for name, meaning in bound.items()}
    for name, meaning in sorted(now.items()):
        if name in bound:
            yield f"account {name}", bound[name], meaning
        if meaning in names:
            yield f"account of {meaning}", names[meaning], name


# Checkpoints are made by the journal itself, before a transaction, so that their failure is seen.
def _set_up_writer(db: sqlite3.Connection, sync: Sync) -> None:
    db.execute(f"PRAGMA synchronous = {'FULL' if sync == 'full' else 'NORMAL'}")
    db.execute("PRAGMA wal_autocheckpoint = 0")


def _move_torn_tail(
    folder: Path, db: sqlite3.Connection, found: Inspection, clock: Clock, report: Report
) -> None:
    frames = store.torn_wal_tail(folder, store.last_wal_frame(db))
    if frames:
        _set_aside(folder, f"{store.DB_NAME}-wal", frames, clock, report)
    if found.torn_rows:
        content = msgspec.msgpack.encode([_plain(row) for row in found.torn_rows])
        _set_aside(folder, "records", content, clock, report)
        with _transaction(db):
            db.execute("DELETE FROM records WHERE seq > ?", (found.head_seq,))


def _plain(row: tuple[object, ...]) -> list[object]:
    return [
        value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        for value in row
    ]


def _set_aside(folder: Path, what: str, content: bytes, clock: Clock, report: Report) -> None:
    stamp = clock.wall_ns()
    while (path := folder / f"{what}.corrupt-{stamp}").exists():
        stamp += 1
    write_durably(path, content)
    sync_folder(folder)
    report(f"an unfinished tail of {what} ({len(content)} bytes) was moved to {path.name}")


# A full checkpoint after the commit writes every page of the log into the database anew and syncs
# it: pages that an earlier, failed fsync left only in memory become durable here or fail here.
def _write_opening(db: sqlite3.Connection, opening: Opening, found: Inspection) -> None:
    try:
        with _transaction(db):
            store.insert_opening(db, opening, found.opening_hash)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.Error as error:
        raise store.writing_error(error, "opening the journal") from error


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")
