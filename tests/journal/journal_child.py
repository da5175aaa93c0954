"""A process of its own that appends and says what was acknowledged, one JSON line each.

python journal_child.py FOLDER MODE NUMBER; the modes are the functions below.
"""

import errno
import json
import os
import sys
from pathlib import Path

from journal_factory import filled, new_record, open_journal

from engine.journal import JournalError, JournalFailed, JournalFull, verify_folder


def say(**facts):
    os.write(1, json.dumps(facts).encode() + b"\n")


def name_of(error):
    return type(error).__name__


def steady(folder, count):
    """Append one by one until an error; show that the error is for ever."""
    try:
        journal = open_journal(folder)
    except JournalError as error:
        say(open_failed=name_of(error))
        return error.exit_code
    start = journal.head_seq
    try:
        for n in range(start + 1, start + count + 1):
            say(acknowledged=journal.append([new_record(n)])[0].seq)
            if n % 10 == 0:
                journal.checkpoint()
                journal.save_snapshot("a", n, b"state")
    except JournalFailed as error:
        say(failed=name_of(error))
        calls = (
            lambda: journal.append([new_record(999)]),
            lambda: journal.save_snapshot("a", 1, b""),
            journal.read,
            lambda: journal.find("x"),
            journal.release_reserve,
        )
        for call in calls:
            try:
                call()
            except JournalFailed as again:
                say(again=name_of(again))
        journal.close()
        return error.exit_code
    try:
        journal.close()
    except JournalFailed as error:
        say(failed=name_of(error))
        return error.exit_code
    return 0


def life(folder, batch):
    """Be born, filled, snapshotted, checkpointed, closed, and opened and filled again."""
    for _ in range(2):
        with open_journal(folder, reserve_bytes=4096) as journal:
            for _ in range(4):
                n = journal.head_seq
                journal.append([new_record(k) for k in range(n + 1, n + batch + 1)])
                say(acknowledged=n + batch)
                if n % 4 == 2:
                    journal.save_snapshot("a", n, b"state-%d" % n)
                    journal.checkpoint()
    return 0


def until_full(folder, reserve_bytes):
    """Fill the disk, go on in the reserve, and fill that too."""
    journal = open_journal(folder, reserve_bytes=reserve_bytes)
    n, full = 0, 0
    while full < 2:
        records = [new_record(k, body=b"x" * 900) for k in range(n + 1, n + 6)]
        try:
            journal.append(records)
            n += 5
        except JournalFull:
            full += 1
            head, report = journal.head_seq, journal.verify()
            assert (head, report.head_seq, report.ok) == (n, n, True), (head, n, report)
            say(full_at=n, freed=journal.release_reserve() if full == 1 else 0)
    try:
        journal.save_snapshot("a", n, b"s" * 10**6)
    except JournalFull:
        left = [path.name for path in (folder / "snapshots").iterdir()]
        say(snapshot="JournalFull", left=left)
    again = journal.append(records[:0]) == []
    journal.close()
    say(usable=again, verified=verify_folder(folder).records)
    return 0


def open_when_full(folder, reserve_bytes):
    """Fill the disk from outside between two opens, first beside the reserve, then for good."""
    filled(folder, 20).close()
    open_journal(folder, reserve_bytes=reserve_bytes).close()
    for _ in range(2):
        with (folder.parent / "other").open("ab", buffering=0) as other:
            try:
                while True:
                    other.write(b"x" * 4096)
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017
        try:
            with open_journal(folder, reserve_bytes=reserve_bytes) as journal:
                result = journal.append([new_record(journal.head_seq + 1)])[0]
                say(appended=result.seq, notices=journal.notices)
        except JournalFull:
            say(full=True)
    say(verified=verify_folder(folder).records)
    return 0


if __name__ == "__main__":
    work = {
        "life": life,
        "steady": steady,
        "until-full": until_full,
        "open-when-full": open_when_full,
    }[sys.argv[2]]
    sys.exit(work(Path(sys.argv[1]), int(sys.argv[3])))
