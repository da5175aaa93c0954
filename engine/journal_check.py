"""Looking at a journal without changing it: reading, finding, checking.

Everything here works beside a running engine and on a damaged folder. What is read is verified as
it is read: each record against its own hash, and against the record before it.
"""

import sqlite3
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Self

import msgspec

from engine import journal_store as store
from engine import snapshot as files
from engine.journal_high_water import FILE_NAME, Mark, read_mark, this_boot
from engine.journal_records import (
    GENESIS,
    Identity,
    JournalCorrupt,
    JournalError,
    Opening,
    Record,
    Row,
    Snapshot,
    VerifyReport,
    record_of,
    row_problem,
    verified_chain,
)

_CHUNK: Final = 1000  # rows per query: no reader holds the write-ahead log back for longer
_NO_LIMIT: Final = 2**63 - 1


class JournalReader:
    """A read-only view of a folder, beside a running engine or without one.

    Any thread may call any method: `find` and its like share a connection under a lock, each
    `read` and `verify` has its own.
    """

    def __init__(self, folder: Path, report: Callable[[str], None] = lambda _text: None) -> None:
        self._folder = folder
        self._report = report
        self._lock = threading.Lock()
        with store.reading():
            self._db = store.connect(folder)
            # Attaches to the write-ahead log: only then a writer that closes is not the last one.
            store.head_of(self._db)

    def head(self) -> tuple[int, bytes]:
        """Return seq and hash of the newest durable record."""
        with self._lock, store.reading():
            return store.head_of(self._db)

    def identity(self) -> Identity | None:
        """Return what the journal is bound to; None before its first opening."""
        with self._lock, store.reading():
            opening, _hash = store.newest_opening(self._db)
        return None if opening is None else opening.identity

    def read(
        self,
        after_seq: int = 0,
        upto_seq: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> Iterator[Record]:
        """Yield the records after `after_seq` in order, up to the head of the moment it starts.

        Raises JournalCorrupt at the first record that is missing or does not verify. `kinds` is
        applied after verification: a damaged kind must not make a record disappear quietly.
        """
        wanted = None if kinds is None else frozenset(kinds)
        with store.reading(), closing(store.connect(self._folder)) as db:
            for record in _walk(db, after_seq, upto_seq):
                if wanted is None or record.kind in wanted:
                    yield record

    def find(self, unique_key: str) -> Record | None:
        """Return the record that carries this business key."""
        return self._one("WHERE unique_key = ?", unique_key)

    def find_record(self, record_id: str) -> Record | None:
        """Return the record with this id."""
        return self._one("WHERE record_id = ?", record_id)

    def keyed(self, prefix: str) -> list[Record]:
        """Return the records whose business key begins with `prefix`, in order. Uses the index."""
        after = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        where = "WHERE unique_key >= ? AND unique_key < ? ORDER BY seq"
        with self._lock, store.reading():
            rows = self._db.execute(store.SELECT + where, (prefix, after)).fetchall()
        return [record_of(row) for row in rows]

    def hash_at(self, seq: int) -> bytes | None:
        """Return the hash of the record at `seq`, None where there is none."""
        if seq == 0:
            return GENESIS
        record = self._one("WHERE seq = ?", seq)
        return None if record is None else record.hash

    def load_snapshot(self, owner: str, upto_seq: int | None = None) -> Snapshot | None:
        """Return the owner's newest good snapshot of this very history; bad ones are reported."""
        for found in files.newest_first(self._folder, owner, upto_seq, self._report):
            if self._belongs(found):
                return Snapshot(owner, found.seq, found.state)
        return None

    def newest_snapshot_seq(self) -> int:
        """Return the seq of the newest good snapshot of any owner; 0 without one."""
        found = files.newest_first(self._folder, None, None, self._report)
        return next((snapshot.seq for snapshot in found if self._belongs(snapshot)), 0)

    def snapshots(self) -> list[tuple[str, int]]:
        """Return (owner, seq) of every good snapshot, newest first."""
        found = files.newest_first(self._folder, None, None, self._report)
        return [(snapshot.owner, snapshot.seq) for snapshot in found if self._belongs(snapshot)]

    def verify(self, from_seq: int = 0) -> VerifyReport:
        """Check everything, the chain from `from_seq` on. Reads the whole file; never raises."""
        return _verify(self._folder, from_seq)

    def close(self) -> None:
        """Close the shared connection."""
        with self._lock:
            self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _belongs(self, snapshot: files.StoredSnapshot) -> bool:
        belongs = self.hash_at(snapshot.seq) == snapshot.chain_hash
        if not belongs:
            self._report(f"snapshot {snapshot.owner}@{snapshot.seq} is of another history: skipped")
        return belongs

    def _one(self, where: str, value: str | int) -> Record | None:
        with self._lock, store.reading():
            row = self._db.execute(store.SELECT + where, (value,)).fetchone()
        return None if row is None else record_of(row)


class Inspection(msgspec.Struct, frozen=True):
    """A journal found good, but for a torn tail that a writer may move aside."""

    mark: Mark
    opening: Opening | None
    opening_hash: bytes
    head_seq: int
    head_hash: bytes
    records: int
    torn_rows: list[Row]
    notes: list[str]


def verify_folder(folder: Path) -> VerifyReport:
    """Check a folder read-only, beside a running engine or without one. Never raises."""
    return _verify(folder, 0)


def inspect(
    folder: Path, db: sqlite3.Connection, from_seq: int, *, pages: bool = True
) -> Inspection:
    """Check all but the records up to `from_seq`; raise JournalCorrupt or JournalVersionError.

    The mark is read before the records, so that a running engine is never ahead of what it says.
    Without `pages` SQLite's own structures are not looked at: that takes seconds per million.
    """
    mark, notes = read_mark(folder)
    if mark is None:
        raise JournalCorrupt(f"{FILE_NAME} is missing, so lost records could not be noticed")
    with store.reading():
        store.check_schema(db)
        opening, opening_hash = store.newest_opening(db)
        if pages:
            store.check_pages(db)
        head_seq, head_hash, torn_rows = _walk_to_the_end(db, from_seq, mark)
        notes += _check_mark(db, mark, head_seq, 0 if opening is None else opening.epoch)
    return Inspection(
        mark, opening, opening_hash, head_seq, head_hash, head_seq - from_seq, torn_rows, notes
    )


def _verify(folder: Path, from_seq: int) -> VerifyReport:
    try:
        with store.reading(), closing(store.connect(folder)) as db:
            found = inspect(folder, db, from_seq)
    except JournalError as error:
        bad_seq = error.seq if isinstance(error, JournalCorrupt) else None
        good = 0 if bad_seq is None else max(bad_seq - 1 - from_seq, 0)
        return VerifyReport(False, good, from_seq + good, bad_seq, str(error))
    if found.torn_rows:
        problem = "the last record is torn and was never acknowledged; the next open moves it aside"
        return VerifyReport(False, found.records, found.head_seq, found.head_seq + 1, problem)
    return VerifyReport(True, found.records, found.head_seq, None, None)


# Walks the chain to its end. Bad rows after the mark with nothing good behind them are a torn
# tail; any other bad row means that a record was damaged which somebody may rely on.
def _walk_to_the_end(
    db: sqlite3.Connection, from_seq: int, mark: Mark
) -> tuple[int, bytes, list[Row]]:
    head_seq, head_hash = from_seq, _stored_hash(db, from_seq)
    try:
        for record in _walk(db, from_seq, None):
            head_seq, head_hash = record.seq, record.hash
    except JournalCorrupt:
        rest = store.rows_after(db, head_seq, _NO_LIMIT, _CHUNK)
        torn = len(rest) < _CHUNK and all(row_problem(row) is not None for row in rest)
        if head_seq < mark.seq or not torn:
            raise
        return head_seq, head_hash, rest
    return head_seq, head_hash, []


def _check_mark(db: sqlite3.Connection, mark: Mark, head_seq: int, epoch: int) -> list[str]:
    lost = head_seq < mark.seq or epoch < mark.epoch
    if lost and not mark.durable and mark.boot_id != this_boot():
        note = (
            f"records {head_seq + 1} to {mark.seq} were lost when the machine went down: "
            "journal.sync is normal, which permits it"
        )
        return [note]
    if head_seq < mark.seq:
        raise JournalCorrupt(
            f"acknowledged up to seq {mark.seq}, but the records end at {head_seq}",
            seq=head_seq + 1,
        )
    if epoch < mark.epoch:
        raise JournalCorrupt(f"the opening of epoch {mark.epoch} is gone, the last is {epoch}")
    if _stored_hash(db, mark.seq) != mark.hash:
        raise JournalCorrupt("this is not the record that was acknowledged", seq=mark.seq)
    return []


def _stored_hash(db: sqlite3.Connection, seq: int) -> bytes:
    if seq == 0:
        return GENESIS
    row = db.execute(store.SELECT + "WHERE seq = ?", (seq,)).fetchone()
    if row is None:
        raise JournalCorrupt("the record is missing", seq=seq)
    return record_of(row).hash


def _walk(db: sqlite3.Connection, after_seq: int, upto_seq: int | None) -> Iterator[Record]:
    head_seq, _hash = store.head_of(db)
    end = head_seq if upto_seq is None else min(upto_seq, head_seq)
    if after_seq >= end:
        return
    after_hash = _stored_hash(db, after_seq)
    while after_seq < end:
        rows = store.rows_after(db, after_seq, end, _CHUNK)
        if not rows:
            raise JournalCorrupt("the record is missing", seq=after_seq + 1)
        for record in verified_chain(iter(rows), after_seq=after_seq, after_hash=after_hash):
            after_seq, after_hash = record.seq, record.hash
            yield record
