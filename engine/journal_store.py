"""The journal's SQL: schema, connections, and what each SQLite error means to the caller.

Readers open with `mode=ro`: such a connection can read a write-ahead log, but never checkpoint,
truncate or delete it, so that looking at a damaged journal leaves it as it was found.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec

from engine.journal_records import (
    GENESIS,
    JournalCorrupt,
    JournalError,
    JournalFailed,
    JournalFull,
    JournalLocked,
    JournalVersionError,
    Opening,
    Row,
    opening_hash,
)
from engine.snapshot import sync_folder, write_durably

DB_NAME: Final = "journal.db"
SCHEMA_VERSION: Final = 1
BUSY_S: Final = 5.0
WAL_HEADER_BYTES: Final = 32
WAL_FRAME_HEADER_BYTES: Final = 24
_PAGE_BYTES: Final = 4096

COLUMNS: Final = (
    "record_id, unique_key, kind, origin, cause_id, correlation_id, body, ts_wall_ns, ts_mono_ns,"
    " seq, epoch, prev_hash, hash"
)
INSERT: Final = f"INSERT INTO records ({COLUMNS}) VALUES ({', '.join('?' * 13)})"  # noqa: S608
SELECT: Final = f"SELECT {COLUMNS} FROM records "  # noqa: S608

_SCHEMA: Final = (
    "CREATE TABLE openings (epoch INTEGER PRIMARY KEY, body BLOB NOT NULL, hash BLOB NOT NULL)",
    (
        "CREATE TABLE records (record_id TEXT NOT NULL, unique_key TEXT, kind TEXT NOT NULL,"
        " origin TEXT NOT NULL, cause_id TEXT NOT NULL, correlation_id TEXT NOT NULL,"
        " body BLOB NOT NULL, ts_wall_ns INTEGER NOT NULL, ts_mono_ns INTEGER NOT NULL,"
        " seq INTEGER PRIMARY KEY, epoch INTEGER NOT NULL, prev_hash BLOB NOT NULL,"
        " hash BLOB NOT NULL)"
    ),
    "CREATE UNIQUE INDEX record_ids ON records (record_id)",
    "CREATE UNIQUE INDEX unique_keys ON records (unique_key) WHERE unique_key IS NOT NULL",
)


_FAILING: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY}
)


def connect(folder: Path, *, writer: bool = False) -> sqlite3.Connection:
    """Open the database. Never creates it. Usable from any thread, by one at a time."""
    path = quote(str((folder / DB_NAME).absolute()))
    db = sqlite3.connect(
        f"file:{path}?mode={'rw' if writer else 'ro'}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_S,
    )
    db.execute("PRAGMA cell_size_check = ON")
    db.execute("PRAGMA trusted_schema = OFF")
    return db


def create(folder: Path) -> None:
    """Make an empty database durably: complete under its name, or not there at all."""
    new = folder / f"{DB_NAME}.new"
    for stale in folder.glob(f"{DB_NAME}.new*"):
        stale.unlink()
    write_durably(new, b"")  # an empty file is an empty database; this one is private (0600)
    with closing(sqlite3.connect(new, isolation_level=None)) as db:
        db.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        for statement in _SCHEMA:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # a full checkpoint syncs the file
    new.replace(folder / DB_NAME)
    sync_folder(folder)


def check_schema(db: sqlite3.Connection) -> None:
    """Raise unless the database has exactly this program's schema."""
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > SCHEMA_VERSION:
        raise JournalVersionError(
            f"the journal has schema {version}, this program knows up to {SCHEMA_VERSION}: "
            "run the newer program again"
        )
    statements = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid")
    if version != SCHEMA_VERSION or tuple(sql for (sql,) in statements) != _SCHEMA:
        raise JournalCorrupt(f"the database's schema is not that of version {SCHEMA_VERSION}")


def check_pages(db: sqlite3.Connection) -> None:
    """Raise if SQLite finds its own structures, or an index and its table, at odds."""
    found = db.execute("PRAGMA integrity_check(1)").fetchone()
    if found != ("ok",):
        raise JournalCorrupt(f"SQLite's integrity check says: {found}")


def newest_opening(db: sqlite3.Connection) -> tuple[Opening | None, bytes]:
    """Return the newest row of the meta table and its hash, after checking all of them."""
    opening: Opening | None = None
    last_hash = GENESIS
    rows = db.execute("SELECT epoch, body, hash FROM openings ORDER BY epoch")
    for epoch, row in enumerate(rows, start=1):
        body = row[1] if isinstance(row[1], bytes) else b""
        last_hash = opening_hash(last_hash, body)
        if row[0] != epoch or row[2] != last_hash:
            raise JournalCorrupt(f"the record of opening {epoch} does not match its hash")
        opening = msgspec.msgpack.decode(body, type=Opening)
        if opening.epoch != epoch:
            raise JournalCorrupt(f"the record of opening {epoch} says epoch {opening.epoch}")
    return opening, last_hash


def insert_opening(db: sqlite3.Connection, opening: Opening, prev_hash: bytes) -> None:
    """Add a row to the meta table. Fails if the epoch is taken."""
    body = msgspec.msgpack.encode(opening, order="deterministic")
    row = (opening.epoch, body, opening_hash(prev_hash, body))
    db.execute("INSERT INTO openings (epoch, body, hash) VALUES (?, ?, ?)", row)


def head_of(db: sqlite3.Connection) -> tuple[int, bytes]:
    """Return seq and hash of the newest record as stored; (0, GENESIS) for an empty journal."""
    row = db.execute("SELECT seq, hash FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    return (0, GENESIS) if row is None else (row[0], row[1])


def rows_after(db: sqlite3.Connection, after_seq: int, upto_seq: int, count: int) -> list[Row]:
    """Return up to `count` rows. Text that is no longer UTF-8 comes as lone surrogates."""
    query = SELECT + "WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
    values = (after_seq, upto_seq, count)
    try:
        return db.execute(query, values).fetchall()
    except sqlite3.OperationalError as error:
        if hasattr(error, "sqlite_errorcode"):
            raise
    # Only Python's own decoding fails without a code; the lenient way is ten times slower.
    db.text_factory = lambda data: data.decode("utf-8", "surrogateescape")
    try:
        return db.execute(query, values).fetchall()
    finally:
        db.text_factory = str


def last_wal_frame(db: sqlite3.Connection) -> int:
    """Checkpoint what can be without waiting; return how many valid frames the log holds."""
    _busy, frames, _done = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
    return max(int(frames), 0)


def torn_wal_tail(folder: Path, frames: int) -> bytes:
    """Return what follows the last valid frame if it belongs to this generation of the log.

    A log is overwritten from its start after a checkpoint, under new salts. Frames of an older
    generation are ordinary waste; a frame under the current salts that SQLite does not count is
    a transaction that was cut short.
    """
    path = folder / f"{DB_NAME}-wal"
    try:
        with path.open("rb") as wal:
            header = wal.read(WAL_HEADER_BYTES)
            wal.seek(WAL_HEADER_BYTES + frames * (WAL_FRAME_HEADER_BYTES + _PAGE_BYTES))
            tail = wal.read()
    except FileNotFoundError:
        return b""
    return tail if tail and tail[8:16] == header[16:24][: len(tail[8:16])] else b""


@contextmanager
def reading() -> Iterator[None]:
    """Translate what SQLite raises while a journal is read."""
    try:
        yield
    except sqlite3.Error as error:
        raise reading_error(error) from error
    except UnicodeDecodeError as error:  # from SQLite's own message, quoting a damaged name
        raise JournalCorrupt(f"SQLite's answer is not text: {error}") from error


def reading_error(error: sqlite3.Error) -> JournalError:
    """Return what a failed read means: anything but a busy or failing disk is corruption."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    if code & 0xFF == sqlite3.SQLITE_BUSY:
        return JournalLocked(f"the journal is busy: {error}")
    if code & 0xFF == sqlite3.SQLITE_FULL:
        return JournalFull(f"no space: {error}")
    if code & 0xFF in _FAILING and code != sqlite3.SQLITE_IOERR_SHORT_READ:
        return JournalFailed(f"the journal cannot be read: {error} ({_name(error)})")
    return JournalCorrupt(f"SQLite says: {error}")


def is_full(error: sqlite3.Error) -> bool:
    """Tell a full disk from everything else."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_FULL


def writing_error(error: sqlite3.Error, doing: str) -> JournalError:
    """Return what a failed write means: a full disk is survived, all else is fail-stop."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
    if is_full(error):
        return JournalFull(f"no space: {doing} did not happen")
    if code == sqlite3.SQLITE_BUSY:
        return JournalLocked(f"another writer holds the journal: {doing} did not happen")
    return JournalFailed(f"{doing} failed: {error} ({_name(error)}); stop and open again")


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
