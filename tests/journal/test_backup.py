"""Backups: made beside a writer, verified, never over anything, and refused when they are not whole."""

import tarfile
import threading
from pathlib import Path

import pytest
from journal_factory import IDENTITY, filled, new_record, open_journal

from engine import backup
from engine.backup import BackupError
from engine.clock import VirtualClock
from engine.envelope import decode_event
from engine.errors import ConfigError
from engine.journal import verify_folder
from engine.messages.engine_events import CommandRecorded
from engine.messages.events import TradingHalted

CLOCK = VirtualClock()


@pytest.fixture
def state(fast_folder):
    """A state folder with a journal of 40 records and a snapshot."""
    journal = filled(fast_folder / "journal", 40)
    journal.save_snapshot("risk_pnl", 30, b"state")
    journal.close()
    return fast_folder


def restored(file, into):
    return backup.restore(file, into, CLOCK, who="somebody", reason="a drill")


def made(state):
    row = backup.create(state, None, CLOCK)
    return row, state / "backups" / row["file"].rpartition("/")[2]


def test_a_backup_holds_every_record_and_says_so(state):
    row, file = made(state)
    assert (row["head_seq"], row["records"], row["instance"]) == (40, 40, IDENTITY.instance)
    assert file.stat().st_mode & 0o777 == 0o600
    assert backup.verify(file)["ok"]
    assert [r["head_seq"] for r in backup.listed(state / "backups")] == [40]
    assert [p.name for p in (state / "backups").iterdir()] == [file.name], (
        "nothing is left beside it"
    )


def test_a_backup_in_a_folder_that_cannot_be_written_is_verified_elsewhere(state):
    _, file = made(state)
    with file.open("rb") as opened:
        assert backup.verify(Path(f"/proc/self/fd/{opened.fileno()}"))["ok"]


def test_a_backup_beside_a_writer_is_a_whole_prefix(state):
    journal = open_journal(state / "journal")
    stop, numbers = threading.Event(), iter(range(1000, 10**6))

    def write():
        while not stop.is_set():
            journal.append([new_record(next(numbers)) for _ in range(5)])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        rows = [backup.create(state, state / f"b{n}", CLOCK) for n in range(5)]
    finally:
        stop.set()
        writer.join()
    heads = [row["head_seq"] for row in rows]
    assert heads == sorted(heads)
    assert heads[-1] > heads[0] >= 40, "it wrote meanwhile"
    for row, n in zip(rows, range(5), strict=True):
        (file,) = (state / f"b{n}").glob("*.tar.gz")
        assert backup.verify(file)["head_seq"] == row["head_seq"]
    journal.close()


def test_a_restored_journal_begins_anew_halted_and_says_what_it_is(state, fast_folder):
    _, file = made(state)
    into = fast_folder / "new"
    told = restored(file, into)
    assert (told["restored_from"], told["head_seq"]) == (40, 42)
    assert verify_folder(into / "journal").ok
    journal = open_journal(into / "journal")
    tail = [decode_event(r.kind, r.body) for r in journal.read(40, 42)]
    snapshot = journal.load_snapshot("risk_pnl", 42)
    journal.close()
    assert isinstance(tail[0], CommandRecorded)
    assert (tail[0].what, tail[0].who) == ("RESTORED", "somebody")
    assert isinstance(tail[1], TradingHalted)
    assert (tail[1].scope, tail[1].cancel) == ("all", False)
    assert (snapshot.seq, snapshot.state) == (30, b"state")


def test_a_snapshot_of_records_that_the_copy_has_not_is_left_out(state, fast_folder):
    snapshots = state / "journal" / "snapshots"
    (known,) = snapshots.glob("*.snap")
    newer = known.with_name(known.name.replace("30", "99"))
    newer.write_bytes(known.read_bytes())
    _, file = made(state)
    restored(file, fast_folder / "new")
    kept = (fast_folder / "new" / "journal" / "snapshots").glob("*.snap")
    assert [path.name for path in kept] == [known.name]


def test_nothing_is_restored_over_anything(state, fast_folder):
    _, file = made(state)
    taken = fast_folder / "taken"
    taken.mkdir()
    (taken / "mine").write_text("x")
    with pytest.raises(ConfigError, match="not empty"):
        restored(file, taken)
    assert [p.name for p in taken.iterdir()] == ["mine"]


@pytest.mark.parametrize("harm", ["cut", "flipped", "another", "empty"])
def test_a_file_that_is_not_a_whole_backup_is_refused_and_leaves_nothing(state, fast_folder, harm):
    _, file = made(state)
    data = bytearray(file.read_bytes())
    if harm == "cut":
        data = data[: len(data) // 2]
    elif harm == "flipped":
        data[len(data) // 2] ^= 1
    elif harm == "empty":
        data = bytearray()
    file.write_bytes(data)
    if harm == "another":
        with tarfile.open(file, "w:gz") as tar:
            tar.add(state / "journal", arcname="journal")
    with pytest.raises(BackupError):
        backup.verify(file)
    with pytest.raises(BackupError):
        restored(file, fast_folder / "new")
    assert not (fast_folder / "new").exists()
    assert not list(fast_folder.glob(".*")), "what was unpacked is gone"


def test_a_damaged_journal_makes_no_backup(state):
    database = state / "journal" / "journal.db"
    data = database.read_bytes()
    at = data.rindex(b"order_router")
    database.write_bytes(data[:at] + b"Order_router" + data[at + 12 :])
    with pytest.raises(BackupError, match="not whole"):
        backup.create(state, None, CLOCK)
    assert not list((state / "backups").iterdir())


def test_a_folder_without_a_journal_makes_no_backup(fast_folder):
    with pytest.raises(BackupError, match="no journal"):
        backup.create(fast_folder, None, CLOCK)
