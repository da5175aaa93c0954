"""A long journal is opened by its snapshot; the rest is checked beside the core (P7, I31)."""

import os
import sqlite3

import pytest
from journal_factory import filled, new_record, open_journal

from engine import journal_audit
from engine.errors import EXIT_JOURNAL
from engine.journal import JournalCorrupt
from engine.journal_audit import audit, watch_over

LONG = {"whole_max": 10}  # what counts as long in these tests


def long_journal(folder):
    with filled(folder, 20) as journal:
        journal.save_snapshot("risk_pnl", 15, b"state")


def write_body(folder, seq, change):
    with sqlite3.connect(folder / "journal.db") as db:
        (body,) = db.execute("SELECT body FROM records WHERE seq = ?", (seq,)).fetchone()
        db.execute("UPDATE records SET body = ? WHERE seq = ?", (change(body), seq))
    db.close()


def flip(body):
    return bytes([body[0] ^ 1]) + body[1:]


class Ends:
    def __init__(self):
        self.told = []

    def __call__(self, why, exit_code):
        self.told.append((why, exit_code))


def test_a_good_long_journal_is_found_good_beside_its_user(tmp_path):
    long_journal(tmp_path)
    ends = Ends()
    with open_journal(tmp_path, **LONG) as journal:
        assert journal.unchecked_upto == 15
        journal.append([new_record(21)])
        watch_over(journal, ends)
        assert journal.unchecked_upto == 0
    assert ends.told == []
    assert not (tmp_path / "suspect").exists()


def test_a_journal_that_is_short_or_has_no_snapshot_is_checked_before_it_is_used(tmp_path):
    filled(tmp_path / "bare", 20).close()
    long_journal(tmp_path / "short")
    for folder in (tmp_path / "bare", tmp_path / "short"):
        whole_max = 10 if folder.name == "bare" else 20
        write_body(folder, 7, flip)
        with pytest.raises(JournalCorrupt) as refusal:
            open_journal(folder, whole_max=whole_max)
        assert refusal.value.seq == 7


def test_damage_below_the_snapshot_ends_the_run_and_is_refused_from_then_on(tmp_path):
    long_journal(tmp_path)
    write_body(tmp_path, 7, flip)
    ends = Ends()
    with open_journal(tmp_path, **LONG) as journal:
        watch_over(journal, ends)
        ((why, exit_code),) = ends.told
        assert exit_code == EXIT_JOURNAL
        assert "seq 7" in why
        assert journal.unchecked_upto == 15
        assert "seq 7" in journal.notices[-1]
    for _ in range(2):  # it stays refused, though there is a snapshot above the damage
        with pytest.raises(JournalCorrupt) as refusal:
            open_journal(tmp_path, **LONG)
        assert refusal.value.seq == 7


def test_damage_above_the_snapshot_is_refused_at_once(tmp_path):
    long_journal(tmp_path)
    write_body(tmp_path, 17, flip)
    with pytest.raises(JournalCorrupt) as refusal:
        open_journal(tmp_path, **LONG)
    assert refusal.value.seq == 17


def test_a_suspicion_is_cleared_by_a_check_of_everything(tmp_path):
    long_journal(tmp_path)
    write_body(tmp_path, 7, flip)
    with open_journal(tmp_path, **LONG) as journal:
        watch_over(journal, Ends())
    write_body(tmp_path, 7, flip)  # what was lost has been restored
    with open_journal(tmp_path, **LONG) as journal:
        assert journal.unchecked_upto == 0
        assert "found good as a whole" in journal.notices[-1]
    with open_journal(tmp_path, **LONG) as journal:
        assert journal.unchecked_upto == 15


def damage_index(folder):
    with sqlite3.connect(folder / "journal.db") as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'record_ids'"
        ).fetchone()
    db.close()
    with (folder / "journal.db").open("r+b") as file:
        file.seek((root - 1) * 4096)
        at = file.read(4096).rindex(b"r7")
        file.seek((root - 1) * 4096 + at)
        file.write(b"r6")


def test_a_damaged_index_is_found_beside_the_user(tmp_path):
    long_journal(tmp_path)
    damage_index(tmp_path)
    ends = Ends()
    with open_journal(tmp_path, **LONG) as journal:
        watch_over(journal, ends)
    assert "integrity check" in ends.told[0][0]


def test_a_damaged_index_of_a_short_journal_is_refused_at_once(tmp_path):
    long_journal(tmp_path)
    damage_index(tmp_path)
    with pytest.raises(JournalCorrupt, match="integrity check"):
        open_journal(tmp_path)


def test_a_check_that_gives_no_answer_counts_as_a_bad_one(tmp_path, monkeypatch):
    long_journal(tmp_path)
    monkeypatch.setattr(journal_audit.sys, "executable", "/bin/false")
    report = audit(tmp_path)
    assert not report.ok
    assert "no answer" in report.problem


def test_the_checking_process_ends_with_whoever_began_it():
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.dup2(reading, 0)
        try:
            journal_audit._end_with_the_parent()
        finally:
            os._exit(99)
    os.close(reading)
    os.close(writing)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 1
