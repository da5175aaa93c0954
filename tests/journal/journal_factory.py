"""Records, folders and crash images for the journal's tests."""

import json
import os
import shutil
import signal
from pathlib import Path

from engine.clock import VirtualClock
from engine.journal import Identity, Journal, NewRecord, Record

IDENTITY = Identity("demo", "alpha", {"binance.main": "key-1", "okx.main": "key-2"})
POINTS = (
    "journal.before_insert",
    "journal.before_commit",
    "journal.after_commit",
    "journal.before_high_water",
    "journal.after_high_water",
)
SNAPSHOT_POINTS = ("snapshot.before_write", "snapshot.after_write")


def new_record(n, *, key="", kind="OrderFilled", body=None):
    """Return the n-th record of a history that is the same in every process."""
    unique_key = (key or f"fill:{n}") if n % 2 or key else None
    body = bytes([n % 251]) * (n % 90) if body is None else body
    return NewRecord(
        f"r{n}",
        unique_key,
        kind,
        "order_router",
        f"c{n}",
        f"k{n // 3}",
        body,
        10**18 + n,
        10**9 + n,
    )


def open_journal(folder, **options):
    options = {"identity": IDENTITY, "clock": VirtualClock(), "reserve_bytes": 0} | options
    return Journal.open(Path(folder), **options)


def plain(record):
    """Return what the caller gave, without what the journal added."""
    return NewRecord(*(getattr(record, name) for name in NewRecord.__struct_fields__))


def filled(folder, count, *, batch=7, **options):
    """Return an open journal with `count` records."""
    journal = open_journal(folder, **options)
    for start in range(1, count + 1, batch):
        journal.append([new_record(n) for n in range(start, min(start + batch, count + 1))])
    return journal


def crash_image(folder, target):
    """Copy what a kill of the process would leave behind at this moment."""
    leave_out = shutil.ignore_patterns("*-shm", "journal.lock", "reserve")
    return Path(shutil.copytree(folder, target, ignore=leave_out))


def content(folder):
    """Return every byte that matters, by file name; an empty log is none."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and path.name != "journal.lock" and not path.name.endswith("-shm")
        if not (path.name.endswith("-wal") and path.stat().st_size == 0)
    }


def records_of(folder):
    with open_journal(folder) as journal:
        return list(journal.read())


def in_child(work):
    """Run `work(say)` in a forked process; return (what it said, its exit status or -signal)."""
    readable, writable = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(readable)
            work(lambda thing: os.write(writable, json.dumps(thing).encode() + b"\n"))
            code = 0
        finally:
            os._exit(code)
    os.close(writable)
    return pid, os.fdopen(readable, "rb")


def die(_point=""):
    os.kill(os.getpid(), signal.SIGKILL)


def fold(state, records):
    """A toy actor: sums and the last body per correlation id, order-sensitive."""
    state = dict(state)
    for record in records:
        assert isinstance(record, Record)
        total, text = state.get(record.correlation_id, (0, ""))
        state[record.correlation_id] = (total * 31 + record.seq, text + record.body.hex()[:2])
    return state
