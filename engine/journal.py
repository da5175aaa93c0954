"""The journal: every durable event of the core, in one total order, in SQLite. The one writer.

Promises (docs/runtime-semantics.md, ../tests/journal):
* `append` is one transaction. When it returns, with sync=full, its records survive a power loss.
* A record_id is appended at most once for ever, and at most one record carries a unique_key.
* A damaged journal is refused or its damage is reported; it is never silently shortened.
Promises NOT: to batch (the caller does, one call is one commit), to rotate (a journal only grows),
to retry after an I/O error (fail-stop: JournalFailed, every later call raises it).

Files of a journal's folder (back up all of them while the core is stopped; while it runs copy
`high_water` first and then the database with SQLite's own backup or VACUUM INTO):
  journal.db, -wal, -shm  the database (WAL); tables `records` and `openings` (one row per open:
                          epoch, identity, accounts; chained by hash like the records)
  high_water              newest acknowledged (epoch, seq, hash), two checksummed slots
  snapshots/              OWNER@SEQ.snap, two good ones per owner
  suspect                 why the background check failed: the next open checks everything first
  reserve                 space to go on with when the disk is full; may be missing
  journal.lock            flock of the one engine; holds its process id
  *.corrupt-NS            unfinished tails moved aside; for a person to read and delete

The high-water mark and what its lag means. The mark is written (pwrite, no sync) after each commit
and before `append` returns, and synced every 64 batches, with each snapshot, at open and at close;
syncing it each time would double the latency of a commit. It can therefore only lag behind what is
committed, never lead (with sync=full). After a kill of the process the page cache survives: at most
the one batch that was committed and not yet acknowledged lies beyond the mark, so the loss of any
acknowledged record is detected. After a power loss up to 64 acknowledged batches may lie beyond it:
the log holds them (FULL synced them) and they are recovered and verified like all others; only if,
besides the power loss, the medium also damaged that stretch of the log would SQLite cut them off
with nothing outside to contradict it. A bad record beyond the mark is moved aside only if no good
record follows it; below the mark, or with good records behind it, the journal is refused.
With sync=normal a power loss may take acknowledged records, and the mark may then lead: the slot
says so and names the boot, and after another boot such a loss is reported instead of refused.

Two writers. flock keeps a second engine out. If the lock is circumvented (the file deleted, another
host), the later open has the higher epoch, and the earlier writer's next append finds this inside
its own transaction and raises JournalFenced.
"""

import contextlib
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Final, Self

from loguru import logger

from engine import snapshot as snapshots
from engine.clock import Clock
from engine.journal_check import JournalReader, verify_folder
from engine.journal_open import (
    Opened,
    drop_reserve,
    make_reserve,
    mark_suspect,
    open_for_writing,
    os_errors,
)
from engine.journal_records import (
    GENESIS,
    AppendResult,
    Identity,
    JournalCorrupt,
    JournalError,
    JournalFailed,
    JournalFenced,
    JournalFull,
    JournalIdentityError,
    JournalLocked,
    JournalVersionError,
    NewRecord,
    Record,
    Snapshot,
    Sync,
    VerifyReport,
)
from engine.journal_writer import Writer
from engine.telemetry import COMMIT_US, Histogram

__all__ = [
    "GENESIS",
    "AppendResult",
    "Identity",
    "Journal",
    "JournalCorrupt",
    "JournalError",
    "JournalFailed",
    "JournalFenced",
    "JournalFull",
    "JournalIdentityError",
    "JournalLocked",
    "JournalReader",
    "JournalVersionError",
    "NewRecord",
    "Record",
    "Snapshot",
    "VerifyReport",
    "verify_folder",
]

WHOLE_CHECK_MAX: Final = 20_000  # records: a tenth of a second
_MARK_SYNC_BATCHES: Final = 64
_NOTICES_MAX: Final = 100


def _no_faults(_point: str) -> None:
    pass


class Journal:
    """The writer. One thread at a time may append; reading and snapshots are open to all."""

    def __init__(
        self,
        folder: Path,
        opened: Opened,
        notices: list[str],
        faults: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self.folder = folder
        self._opened = opened
        self._writer = Writer(
            opened.db, opened.opening.epoch, opened.head_seq, opened.head_hash, faults, self._report
        )
        self._reader = opened.reader
        self._high_water = opened.high_water
        self._faults = faults
        self._busy = threading.Lock()
        self._failed: JournalFailed | None = None
        self._closed = False
        self._clock = clock
        self.commit_times = Histogram(COMMIT_US)
        self._batches = 0
        self._reserve_bytes = 0
        self.notices = notices  # what was odd, newest last; shown by `status`
        self.unchecked_upto = opened.unchecked_upto  # 0: the whole journal has been checked
        self.epoch = opened.opening.epoch
        self.identity = opened.opening.identity

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        identity: Identity,
        clock: Clock,
        sync: Sync = "full",
        reserve_bytes: int = 64 * 2**20,
        faults: Callable[[str], None] = _no_faults,
        whole_max: int = WHOLE_CHECK_MAX,
    ) -> Self:
        """Open or create the journal of `folder` and begin a new epoch.

        Up to `whole_max` records everything is checked before this returns. A longer journal with
        a snapshot is checked from there on, `unchecked_upto` says so, and the caller owes it a
        background check (engine.journal_audit) whose outcome goes to `settle_check`.

        Raises JournalLocked, JournalIdentityError, JournalVersionError, JournalCorrupt,
        JournalFull (even with the reserve given up) or JournalFailed.
        """
        notices: list[str] = []

        def report(text: str) -> None:
            _note(notices, text)

        try:
            opened = open_for_writing(folder, identity, clock, sync, report, whole_max)
        except JournalFull:
            with os_errors("giving up the reserve"):
                freed = drop_reserve(folder)
            if freed == 0:
                raise
            report(f"the disk is full: the reserve of {freed} bytes was given up to open")
            opened = open_for_writing(folder, identity, clock, sync, report, whole_max)
            reserve_bytes = 0
        journal = cls(folder, opened, notices, faults, clock)
        journal._reserve_bytes = reserve_bytes
        try:
            journal.restore_reserve()
        except JournalError:
            journal.close()
            raise
        return journal

    @property
    def head_seq(self) -> int:
        """The seq of the newest durable record; 0 for an empty journal."""
        return self._writer.head_seq

    @property
    def head_hash(self) -> bytes:
        """The hash of the newest durable record: it stands for the whole history."""
        return self._writer.head_hash

    def append(self, records: Sequence[NewRecord]) -> list[AppendResult]:
        """Append `records` in one transaction; durable on return. Blocks for one fsync.

        Raises JournalFull or JournalLocked (nothing happened, may be tried again), JournalFenced
        (a newer epoch took over) or JournalFailed (unknown until the next open).
        """
        with self._writing():
            if not records:
                return []
            before = self._writer.head_seq
            began_ns = self._clock.mono_ns()
            results = self._writer.commit(records)
            self.commit_times.observe(self._clock.mono_ns() - began_ns)
            if self._writer.head_seq > before:
                self._faults("journal.before_high_water")
                self._write_mark()
                self._faults("journal.after_high_water")
            return results

    def read(
        self,
        after_seq: int = 0,
        upto_seq: int | None = None,
        kinds: Collection[str] | None = None,
    ) -> Iterator[Record]:
        """Yield the verified records after `after_seq`, up to the head of the moment it starts."""
        self._check_usable()
        return self._reader.read(after_seq, upto_seq, kinds)

    def find(self, unique_key: str) -> Record | None:
        """Return the record that carries this business key."""
        self._check_usable()
        return self._reader.find(unique_key)

    def find_record(self, record_id: str) -> Record | None:
        """Return the record with this id."""
        self._check_usable()
        return self._reader.find_record(record_id)

    def keyed(self, prefix: str) -> list[Record]:
        """Return the records whose business key begins with `prefix`, in order."""
        self._check_usable()
        return self._reader.keyed(prefix)

    def verify(self, from_seq: int = 0) -> VerifyReport:
        """Check everything, the chain from `from_seq` on. Any thread; takes seconds per million."""
        self._check_usable()
        return self._reader.verify(from_seq)

    def settle_check(self, report: VerifyReport) -> None:
        """Take the outcome of the background check. A bad one binds the next open: it checks all.

        Raises JournalFull or JournalFailed if that cannot be noted down.
        """
        if report.ok:
            self.unchecked_upto = 0
            return
        self._report(f"the background check of the journal failed: {report.problem}")
        with self._failing("noting a suspicion"):
            mark_suspect(self.folder, report.problem or "no reason given")

    def save_snapshot(self, owner: str, seq: int, state: bytes) -> None:
        """Store an owner's state as of `seq`, durably. Blocks for fsyncs; any thread.

        Raises ValueError if there is no record `seq`, JournalFull, or JournalFailed.
        """
        self._check_usable()
        chain_hash = self._reader.hash_at(seq)
        if chain_hash is None:
            raise ValueError(f"snapshot of {owner} at seq {seq}, but the head is {self.head_seq}")
        self._faults("snapshot.before_write")
        with self._failing("saving a snapshot"):
            self._high_water.sync()
            stored = snapshots.StoredSnapshot(owner, seq, chain_hash, state)
            snapshots.save(self.folder, stored, self._report)
        self._faults("snapshot.after_write")

    def newest_snapshot_named(self, owner: str) -> int:
        """Return the seq that the owner's newest snapshot claims, without reading it; 0 for none."""
        return snapshots.newest_named(self.folder, owner)

    def load_snapshot(self, owner: str, upto_seq: int | None = None) -> Snapshot | None:
        """Return the owner's newest good snapshot with seq <= `upto_seq`; report bad ones."""
        self._check_usable()
        return self._reader.load_snapshot(owner, upto_seq)

    def checkpoint(self) -> None:
        """Move the log into the database; for an idle moment, else `append` does it now and then.

        Blocks for two fsyncs. Counts as writing: only the appending thread may call it.
        """
        with self._writing():
            self._writer.checkpoint("PASSIVE")

    def release_reserve(self) -> int:
        """Give the reserve back to a full disk; return the bytes freed (0: there was none)."""
        with self._failing("giving up the reserve"):
            return drop_reserve(self.folder)

    def restore_reserve(self) -> bool:
        """Set the reserve aside again; False without space for it. For the operator's resume."""
        with self._failing("setting the reserve aside"):
            return make_reserve(self.folder, self._reserve_bytes, self._report)

    def close(self) -> None:
        """Checkpoint, close and unlock. After a failure nothing is written. May be repeated."""
        if self._closed:
            return
        try:
            if (
                self._failed is None and not self._busy.locked()
            ):  # a writer hangs: leave it to the log
                with self._writing():
                    self._writer.checkpoint("TRUNCATE")
                with self._failing("closing the journal"):
                    self._high_water.sync()
        finally:
            self._closed = True
            self._opened.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _write_mark(self) -> None:
        self._batches += 1
        with self._failing("writing the high-water mark", full_is_survived=False):
            self._high_water.write(self.epoch, self.head_seq, self.head_hash)
            if self._batches % _MARK_SYNC_BATCHES == 0:
                self._high_water.sync()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        alone = self._busy.acquire(blocking=False)
        assert alone, "two threads write to the journal at once"
        try:
            self._check_usable()
            yield
        except JournalFailed as failure:
            self._fail(failure)
            raise
        finally:
            self._busy.release()

    @contextlib.contextmanager
    def _failing(self, doing: str, *, full_is_survived: bool = True) -> Iterator[None]:
        self._check_usable()
        try:
            with os_errors(doing):
                yield
        except JournalFull as error:
            if full_is_survived:
                raise
            failure = JournalFailed(str(error))
            self._fail(failure)
            raise failure from error
        except JournalFailed as failure:
            self._fail(failure)
            raise

    def _check_usable(self) -> None:
        if self._failed is not None:
            raise JournalFailed(f"the journal failed before: {self._failed}") from self._failed
        if self._closed:
            raise JournalError("the journal is closed")

    def _fail(self, failure: JournalFailed) -> None:
        self._failed = self._failed or failure
        logger.bind(folder=str(self.folder), problem=str(failure)).critical("journal failed")

    def _report(self, text: str) -> None:
        _note(self.notices, text)


def _note(notices: list[str], text: str) -> None:
    notices.append(text)
    del notices[:-_NOTICES_MAX]
    logger.bind(notice=text).warning("journal notice")
