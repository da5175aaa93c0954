"""The transaction: records in, rows committed, or nothing at all. Used by the Journal only.

Not locked and not fail-stop by itself: the Journal sees to both.
"""

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from engine import journal_store as store
from engine.journal_records import (
    AppendResult,
    JournalFailed,
    JournalFenced,
    NewRecord,
    Row,
    chained_rows,
)

_CHECKPOINT_PAGES: Final = (
    1000  # about 4 MB of log; a log that is reused costs less than one that grows
)
_PAGES_PER_COMMIT: Final = (
    3  # a leaf of the table and of each index, and one page a record: roughly
)


class Writer:
    """The head of the chain and the connection that moves it."""

    def __init__(
        self,
        db: sqlite3.Connection,
        epoch: int,
        head_seq: int,
        head_hash: bytes,
        faults: Callable[[str], None],
        report: Callable[[str], None],
    ) -> None:
        self._db = db
        self._epoch = epoch
        self._faults = faults
        self._report = report
        self._log_pages = 0
        self.head_seq = head_seq
        self.head_hash = head_hash

    def commit(self, records: Sequence[NewRecord]) -> list[AppendResult]:
        """Append what is new of `records`; the head moves only with a successful COMMIT.

        Inserting first and looking only if a unique index objects makes the common case, all new,
        cost no look-up at all; the indexes are the check either way.
        """
        if self._log_pages >= _CHECKPOINT_PAGES:
            self.checkpoint("PASSIVE")
        self._faults("journal.before_insert")
        try:
            results, rows = self._inserted(records)
            self._faults("journal.before_commit")
            self._db.execute("COMMIT" if rows else "ROLLBACK")
        except sqlite3.Error as error:
            self._undo(known_bad=not store.is_full(error))
            raise store.writing_error(error, f"appending {len(records)} records") from error
        except BaseException:
            self._undo(known_bad=False)
            raise
        if rows:
            self.head_seq, self.head_hash = rows[-1][9], rows[-1][12]
            self._log_pages += len(rows) + _PAGES_PER_COMMIT
            self._faults("journal.after_commit")
        return results

    def checkpoint(self, how: str) -> None:
        """Move the log into the database; raise JournalFailed if that fails.

        Too full to checkpoint is no failure: the log goes on growing, or an append says so.
        """
        try:
            self._db.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
            self._log_pages = 0
        except sqlite3.Error as error:
            failure = store.writing_error(error, "a checkpoint")
            if isinstance(failure, JournalFailed):
                raise failure from error
            self._report(str(failure))

    def _inserted(self, records: Sequence[NewRecord]) -> tuple[list[AppendResult], list[Row]]:
        self._begin()
        rows = self._chained(records)
        try:
            self._db.executemany(store.INSERT, rows)
        except sqlite3.IntegrityError:
            self._db.execute("ROLLBACK")
            self._begin()
            fresh, results = self._sifted(records)
            rows = self._chained(fresh)
            self._db.executemany(store.INSERT, rows)
            return results, rows
        return [AppendResult(row[9], "appended") for row in rows], rows

    def _begin(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        epoch = self._db.execute("SELECT max(epoch) FROM openings").fetchone()[0]
        if epoch != self._epoch:
            raise JournalFenced(
                f"epoch {epoch} has opened the journal; this writer is {self._epoch}"
            )

    def _chained(self, records: Sequence[NewRecord]) -> list[Row]:
        return chained_rows(
            records, after_seq=self.head_seq, after_hash=self.head_hash, epoch=self._epoch
        )

    # Separates the records that are new, in the journal and within the batch, from those known.
    def _sifted(self, records: Sequence[NewRecord]) -> tuple[list[NewRecord], list[AppendResult]]:
        fresh: list[NewRecord] = []
        results: list[AppendResult] = []
        ids: dict[str, int] = {}
        keys: dict[str, int] = {}
        for record in records:
            seq = ids.get(record.record_id) or self._seq_where("record_id = ?", record.record_id)
            if seq is not None:
                results.append(AppendResult(seq, "repeated"))
                continue
            if record.unique_key is not None:
                key = record.unique_key
                seq = keys.get(key) or self._seq_where("unique_key = ?", key)
                if seq is not None:
                    results.append(AppendResult(seq, "duplicate"))
                    continue
            fresh.append(record)
            ids[record.record_id] = seq = self.head_seq + len(fresh)
            if record.unique_key is not None:
                keys[record.unique_key] = seq
            results.append(AppendResult(seq, "appended"))
        return fresh, results

    def _seq_where(self, condition: str, value: str) -> int | None:
        query = f"SELECT seq FROM records WHERE {condition}"  # noqa: S608
        row = self._db.execute(query, (value,)).fetchone()
        return None if row is None else int(row[0])

    # After an error the database is asked where it stands: an exception may have arrived from
    # outside just behind a COMMIT that went through.
    def _undo(self, *, known_bad: bool) -> None:
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self.head_seq, self.head_hash = store.head_of(self._db)
        except sqlite3.Error as error:
            if not known_bad:
                raise JournalFailed(f"rolling back failed: {error}") from error
