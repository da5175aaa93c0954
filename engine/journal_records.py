"""The journal's words: records, results, errors, and the hash that chains them. No files, no SQL.

A record's `hash` is blake2b-256 over the hash of the record before it and the canonical msgpack of
its own seq, epoch and fields. It is the record's checksum and the link of the chain at once: a
flipped bit in any stored field, in `prev_hash` or in `hash` itself makes the two disagree, so a
separate crc would find nothing that this does not.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any, ClassVar, Final, Literal

import msgspec

from engine.errors import EXIT_CONFIG, EXIT_JOURNAL, EXIT_LOCKED, CoreError, Fenced

HASH_BYTES: Final = 32
GENESIS: Final = bytes(HASH_BYTES)

Sync = Literal["full", "normal"]

_encode = msgspec.msgpack.Encoder(order="deterministic").encode


class NewRecord(msgspec.Struct, frozen=True, array_like=True):
    """What an actor wants durable. `seq`, `epoch` and the hashes are the journal's to give."""

    record_id: str
    unique_key: str | None
    kind: str
    origin: str
    cause_id: str
    correlation_id: str
    body: bytes
    ts_wall_ns: int
    ts_mono_ns: int


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One durable record, verified against its own hash when it was read."""

    record_id: str
    unique_key: str | None
    kind: str
    origin: str
    cause_id: str
    correlation_id: str
    body: bytes
    ts_wall_ns: int
    ts_mono_ns: int
    seq: int
    epoch: int
    prev_hash: bytes
    hash: bytes


class AppendResult(msgspec.Struct, frozen=True):
    """What became of one NewRecord.

    `repeated`: this record_id was committed before, `seq` is where. `duplicate`: another record
    holds this unique_key, `seq` is that record's; nothing was appended.
    """

    seq: int
    status: Literal["appended", "repeated", "duplicate"]


class Identity(msgspec.Struct, frozen=True):
    """What a journal is bound to at birth. Accounts may be added later, never changed."""

    mode: str
    instance: str
    accounts: dict[str, str]


class Snapshot(msgspec.Struct, frozen=True):
    """An actor's canonical state after it applied every record up to `seq`."""

    owner: str
    seq: int
    state: bytes


class VerifyReport(msgspec.Struct, frozen=True):
    """The outcome of a check. `problem` is a sentence for a person; None when ok."""

    ok: bool
    records: int
    head_seq: int
    first_bad_seq: int | None
    problem: str | None


class Opening(msgspec.Struct, frozen=True):
    """One row of the meta table, written at each open: the writer's epoch and all it is bound to.

    The rows are chained by hash like the records, so that a lost or changed one is noticed.
    """

    schema: int
    epoch: int
    identity: Identity
    sync: str
    ts_wall_ns: int
    after_seq: int


class JournalError(CoreError):
    """Base of the journal's errors. `exit_code` is what the program ends with."""

    exit_code: int = EXIT_JOURNAL


class JournalLocked(JournalError):
    """Another engine holds this journal."""

    exit_code: int = EXIT_LOCKED


class JournalFenced(JournalLocked, Fenced):
    """A newer epoch has opened this journal: this writer may never write again."""


class JournalIdentityError(JournalError):
    """The journal belongs to another mode, instance or account identity."""

    exit_code: int = EXIT_CONFIG


class JournalVersionError(JournalError):
    """The journal was written by a newer program."""

    exit_code: int = EXIT_CONFIG


class JournalCorrupt(JournalError):
    """The stored records contradict their checksums or the high-water mark. `seq` is the first."""

    REMEDY: ClassVar[str] = (
        "Nothing was changed. Restore the whole folder from a backup; or move it away and start "
        "with a new one, which takes its first state from the venues"
    )

    def __init__(self, problem: str, *, seq: int | None = None) -> None:
        at = "" if seq is None else f" (seq {seq})"
        super().__init__(f"journal corrupt{at}: {problem}. {self.REMEDY}.")
        self.problem = problem
        self.seq = seq


class JournalFull(JournalError):
    """No space: the transaction did NOT happen and the journal stays usable."""


class JournalFailed(JournalError):
    """An I/O error after which nothing may be believed: stop the process; a new open verifies."""


Row = tuple[Any, ...]  # one row of `records`: the fields of Record in the same order


def chain_hash(prev_hash: bytes, seq: int, epoch: int, fields: object) -> bytes:
    """Return the hash of a record; `fields` is a NewRecord or the tuple of its fields."""
    return blake2b(prev_hash + _encode((seq, epoch, fields)), digest_size=HASH_BYTES).digest()


def opening_hash(prev_hash: bytes, body: bytes) -> bytes:
    """Return the hash of a row of the meta table."""
    return blake2b(b"opening" + prev_hash + body, digest_size=HASH_BYTES).digest()


def chained_rows(
    records: Sequence[NewRecord], *, after_seq: int, after_hash: bytes, epoch: int
) -> list[Row]:
    """Give `records` the next seqs and chain them to `after_hash`; the rows to be inserted."""
    rows: list[Row] = []
    seq, prev_hash = after_seq, after_hash
    for record in records:
        seq += 1
        own_hash = chain_hash(prev_hash, seq, epoch, record)
        rows.append((*msgspec.structs.astuple(record), seq, epoch, prev_hash, own_hash))
        prev_hash = own_hash
    return rows


def record_of(row: Row) -> Record:
    """Return the record of a stored row, or raise JournalCorrupt: the row must match its hash."""
    problem = row_problem(row)
    if problem is not None:
        raise JournalCorrupt(problem, seq=row[9] if isinstance(row[9], int) else None)
    return Record(*row)


def row_problem(row: Row) -> str | None:
    """Return what is wrong with a stored row by itself, or None."""
    seq, epoch, prev_hash, own_hash = row[9:]
    # A flipped bit can change a column's storage type, so nothing is assumed about the types.
    if not (isinstance(prev_hash, bytes) and len(prev_hash) == HASH_BYTES):
        return "the stored hash of the record before is malformed"
    try:
        expected = chain_hash(prev_hash, seq, epoch, row[:9])
    except (UnicodeError, OverflowError) as error:
        return f"the record cannot be encoded: {error}"
    return None if expected == own_hash else "the record does not match its hash"


def verified_chain(rows: Iterator[Row], *, after_seq: int, after_hash: bytes) -> Iterator[Record]:
    """Yield each row as a record while the chain holds from `after_seq`; raise JournalCorrupt."""
    for row in rows:
        if row[9] != after_seq + 1:
            raise JournalCorrupt(f"the next record says seq {row[9]!r}", seq=after_seq + 1)
        record = record_of(row)
        if record.prev_hash != after_hash:
            raise JournalCorrupt("the chain is broken before this record", seq=record.seq)
        yield record
        after_seq, after_hash = record.seq, record.hash
