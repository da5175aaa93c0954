"""Copies a journal, beside a running engine or without one, and brings a copy back into use.

The mark is read before the database is copied: a mark may lag behind its database, never lead.
"""

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from engine import journal_store as store
from engine.clock import Clock
from engine.envelope import encode_body
from engine.journal import Journal
from engine.journal_check import verify_folder
from engine.journal_high_water import FILE_NAME as MARK
from engine.journal_records import (
    Identity,
    JournalCorrupt,
    NewRecord,
    VerifyReport,
)
from engine.messages.engine_events import CommandRecorded
from engine.messages.events import TradingHalted
from engine.snapshot import sync_folder, write_durably

SNAPSHOTS: Final = "snapshots"
ORIGIN: Final = "persistence"  # as its own halts: everybody folds them


def copy_journal(source: Path, target: Path) -> VerifyReport:
    """Copy the journal of folder `source` into the new folder `target`, and verify the copy.

    Raises JournalError when the source cannot be read, OSError when the target cannot be written.
    """
    mark = (source / MARK).read_bytes()
    target.mkdir(mode=0o700, parents=True)
    with (
        store.reading(),
        contextlib.closing(store.connect(source)) as db,
        contextlib.closing(sqlite3.connect(target / store.DB_NAME)) as copy,
    ):
        db.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")  # one file, nothing beside it
    (target / store.DB_NAME).chmod(0o600)
    write_durably(target / MARK, mark)
    for snapshot in sorted((source / SNAPSHOTS).glob("*.snap")):
        with contextlib.suppress(FileNotFoundError):  # pruned meanwhile: a newer one is there
            (target / SNAPSHOTS).mkdir(mode=0o700, exist_ok=True)
            write_durably(target / SNAPSHOTS / snapshot.name, snapshot.read_bytes())
    _drop_newer_snapshots(target)
    sync_folder(target)
    return verify_folder(target)


# A snapshot that was stored after the database was copied is of records that the copy has not.
def _drop_newer_snapshots(target: Path) -> None:
    with store.reading(), contextlib.closing(store.connect(target)) as db:
        (head,) = db.execute("SELECT coalesce(max(seq), 0) FROM records").fetchone()
    for snapshot in (target / SNAPSHOTS).glob("*.snap"):
        if int(snapshot.stem.partition("@")[2]) > head:
            snapshot.unlink()


def identity_of(folder: Path) -> Identity:
    """Return what a journal is bound to: mode, instance, accounts. Raises JournalError."""
    with store.reading(), contextlib.closing(store.connect(folder)) as db:
        opening, _ = store.newest_opening(db)
    if opening is None:
        raise JournalCorrupt(f"{folder} was never opened")
    return opening.identity


def bring_back(folder: Path, clock: Clock, *, who: str, reason: str) -> int:
    """Begin a new epoch on a restored journal, halted; return the seq of its newest record.

    What was decided after the copy was made is not in it. So it says that it was restored, and
    trading stands halted until a person has seen what the venues know more, and resumes.
    """
    journal = Journal.open(folder, identity=identity_of(folder), clock=clock, reserve_bytes=0)
    try:
        now_ns = clock.wall_ns()
        text = f"restored at seq {journal.head_seq}: {reason}"[:2000]
        halt = f"restored from a backup: {reason}; compare with the venues, then resume"[:2000]
        events = [
            CommandRecorded("", "RESTORED", text, who, now_ns),
            TradingHalted("all", halt, who, False, now_ns),
        ]
        journal.append(
            [
                NewRecord(
                    f"restore-{journal.epoch}:{n}",
                    event.unique_key(),
                    type(event).__name__,
                    ORIGIN,
                    "",
                    "",
                    encode_body(event),
                    now_ns,
                    clock.mono_ns(),
                )
                for n, event in enumerate(events)
            ]
        )
        return journal.head_seq
    finally:
        journal.close()
