import shutil
import sqlite3

import pytest
from journal_factory import (
    content,
    crash_image,
    filled,
    new_record,
    open_journal,
    plain,
    records_of,
)

from engine import journal_check, journal_high_water
from engine.journal import (
    JournalCorrupt,
    JournalError,
    JournalReader,
    JournalVersionError,
    verify_folder,
)
from engine.journal_records import chain_hash

WAL = "journal.db-wal"


def change_row(folder, seq, column="body", value=b"changed"):
    with sqlite3.connect(folder / "journal.db") as db:
        db.execute(f"UPDATE records SET {column} = ? WHERE seq = ?", (value, seq))
    db.close()


def grown_past_its_mark(folder):
    """Return a crash image with 10 records whose mark stands at 7, as after a power loss."""
    journal = filled(folder / "own", 7)
    old_mark = (folder / "own" / "high_water").read_bytes()
    for n in (8, 9, 10):
        journal.append([new_record(n)])
    image = crash_image(folder / "own", folder / "image")
    journal.close()
    (image / "high_water").write_bytes(old_mark)
    return image


def test_a_log_cut_anywhere_in_its_last_transaction_gives_every_acknowledged_record(fast_folder):
    journal = filled(fast_folder / "own", 30)
    acknowledged = crash_image(fast_folder / "own", fast_folder / "acknowledged")
    start = (acknowledged / WAL).stat().st_size
    journal.append([new_record(31), new_record(32)])
    whole = crash_image(fast_folder / "own", fast_folder / "whole")
    journal.close()
    size = (whole / WAL).stat().st_size
    assert size > start
    cuts = {start, start + 1, start + 20, start + 24, start + 25, size - 1, size}
    cuts |= set(range(start, size, 997))
    for cut in sorted(cuts):
        image = fast_folder / f"cut-{cut}"
        shutil.copytree(whole, image)
        shutil.copy(acknowledged / "high_water", image / "high_water")
        with (image / WAL).open("r+b") as log:
            log.truncate(cut)
        with open_journal(image) as recovered:
            found = [plain(record) for record in recovered.read()]
            assert found == [new_record(n) for n in range(1, 31 if cut < size else 33)]
            aside = b"".join(path.read_bytes() for path in image.glob(f"{WAL}.corrupt-*"))
            torn = (whole / WAL).read_bytes()[start:cut] if cut < size else b""
            assert aside == torn
            assert bool(recovered.notices) == bool(aside)
            statuses = [result.status for result in recovered.append([new_record(32)])]
            assert statuses == (["appended"] if cut < size else ["repeated"])
        shutil.rmtree(image)


def test_a_lost_log_is_noticed(fast_folder):
    journal = filled(fast_folder / "own", 10)
    image = crash_image(fast_folder / "own", fast_folder / "image")
    journal.close()
    (image / WAL).unlink()
    before = content(image)
    with pytest.raises(JournalCorrupt, match="acknowledged up to seq 10") as caught:
        open_journal(image)
    assert caught.value.seq == 1
    assert "Restore the whole folder from a backup" in str(caught.value)
    assert {k: v for k, v in content(image).items() if k in before} == before
    report = verify_folder(image)
    assert (report.ok, report.first_bad_seq) == (False, 1)


def test_a_log_is_not_missed_after_a_clean_close(tmp_path):
    filled(tmp_path, 10).close()
    (tmp_path / WAL).unlink(missing_ok=True)
    (tmp_path / "journal.db-shm").unlink(missing_ok=True)
    assert len(records_of(tmp_path)) == 10


def test_a_missing_or_stale_index_of_the_log_is_rebuilt(fast_folder):
    journal = filled(fast_folder / "own", 10)
    shm = (fast_folder / "own" / "journal.db-shm").read_bytes()
    journal.append([new_record(11)])
    image = crash_image(fast_folder / "own", fast_folder / "image")
    journal.close()
    (image / "journal.db-shm").write_bytes(shm)
    assert len(records_of(image)) == 11


@pytest.mark.parametrize("name", ["journal.db", "high_water"])
def test_a_missing_file_is_named_and_nothing_is_made_in_its_place(tmp_path, name):
    filled(tmp_path, 10).close()
    (tmp_path / name).unlink()
    (tmp_path / WAL).unlink(missing_ok=True)
    before = content(tmp_path)
    with pytest.raises(JournalCorrupt, match=f"{name} is missing"):
        open_journal(tmp_path)
    assert content(tmp_path) == before
    assert not verify_folder(tmp_path).ok


def test_a_log_without_its_database_is_not_adopted_by_a_new_one(fast_folder):
    journal = filled(fast_folder / "own", 10)
    image = crash_image(fast_folder / "own", fast_folder / "image")
    journal.close()
    (image / "journal.db").unlink()
    (image / "high_water").unlink()
    with pytest.raises(JournalCorrupt, match="write-ahead log"):
        open_journal(image)


def test_a_birth_that_was_cut_short_starts_again(tmp_path):
    open_journal(tmp_path).close()
    (tmp_path / "journal.db").rename(tmp_path / "journal.db.new")
    (tmp_path / WAL).unlink(missing_ok=True)
    journal_high_water.HighWater.create(tmp_path)
    with open_journal(tmp_path) as journal:
        assert (journal.epoch, journal.head_seq) == (1, 0)
        assert journal.append([new_record(1)])[0].seq == 1
    assert not list(tmp_path.glob("*.new*"))


def test_a_damaged_last_record_beyond_the_mark_is_moved_aside_not_deleted(fast_folder):
    image = grown_past_its_mark(fast_folder)
    change_row(image, 10, value=b"torn-body")
    report = verify_folder(image)
    assert (report.ok, report.first_bad_seq, report.head_seq) == (False, 10, 9)
    with open_journal(image) as journal:
        assert [record.seq for record in journal.read()] == list(range(1, 10))
        assert "moved" in journal.notices[-1]
        (aside,) = image.glob("records.corrupt-*")
        assert b"torn-body" in aside.read_bytes()
        assert journal.append([new_record(10)])[0].seq == 10
        assert journal.verify().ok


def test_a_damaged_record_with_good_ones_behind_it_is_refused_even_beyond_the_mark(fast_folder):
    image = grown_past_its_mark(fast_folder)
    change_row(image, 9)
    with pytest.raises(JournalCorrupt) as caught:
        open_journal(image)
    assert caught.value.seq == 9
    assert not list(image.glob("*.corrupt-*"))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("body", b"changed"),
        ("kind", "Other"),
        ("kind", b"OrderFilled"),
        ("epoch", 2),
        ("hash", bytes(32)),
        ("prev_hash", bytes(32)),
        ("prev_hash", "text"),
        ("ts_wall_ns", 1.5),
        ("origin", sqlite3.Binary(b"\xff")),
        ("seq", 77),
    ],
)
def test_a_changed_record_below_the_mark_is_refused_by_its_seq(tmp_path, column, value):
    filled(tmp_path, 10).close()
    change_row(tmp_path, 10, column, value)
    before = content(tmp_path)
    with pytest.raises(JournalCorrupt) as caught:
        open_journal(tmp_path)
    assert caught.value.seq == 10
    assert caught.value.exit_code == 74
    assert content(tmp_path) == before
    report = verify_folder(tmp_path)
    assert (report.ok, report.first_bad_seq, report.records) == (False, 10, 9)
    with JournalReader(tmp_path) as reader, pytest.raises(JournalCorrupt):
        list(reader.read(kinds={"OrderFilled"}))


def test_text_that_is_no_longer_text_is_corruption_not_a_crash(tmp_path):
    filled(tmp_path, 10).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("UPDATE records SET origin = CAST(x'fffe' AS TEXT) WHERE seq = 4")
    db.close()
    assert verify_folder(tmp_path).first_bad_seq == 4
    with pytest.raises(JournalCorrupt):
        open_journal(tmp_path)


def test_removed_records_are_noticed(tmp_path):
    filled(tmp_path, 10).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("DELETE FROM records WHERE seq = 5")
    db.close()
    with pytest.raises(JournalCorrupt) as caught:
        open_journal(tmp_path)
    assert caught.value.seq == 5


def test_a_history_rewritten_with_right_hashes_is_not_the_acknowledged_one(tmp_path):
    filled(tmp_path / "a", 10).close()
    with open_journal(tmp_path / "b") as other:
        other.append([new_record(n, body=b"other") for n in range(1, 11)])
    shutil.copy(tmp_path / "b" / "journal.db", tmp_path / "a" / "journal.db")
    with pytest.raises(JournalCorrupt, match="not the record that was acknowledged"):
        open_journal(tmp_path / "a")


def test_old_records_are_checked_by_verify_and_by_reading_when_a_snapshot_spares_the_open(tmp_path):
    with filled(tmp_path, 20) as journal:
        journal.save_snapshot("risk_pnl", 15, b"state")
    change_row(tmp_path, 4)
    with open_journal(tmp_path, whole_max=19) as journal:
        assert journal.unchecked_upto == 15
        assert journal.verify().first_bad_seq == 4
        assert journal.verify(from_seq=15).ok
        assert [record.seq for record in journal.read(15)] == [16, 17, 18, 19, 20]
        with pytest.raises(JournalCorrupt):
            list(journal.read())
    change_row(tmp_path, 15)
    with pytest.raises(JournalCorrupt):
        open_journal(tmp_path, whole_max=19)


def test_a_lost_opening_is_noticed(tmp_path):
    for _ in range(3):
        filled(tmp_path, 1).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("DELETE FROM openings WHERE epoch = 3")
    db.close()
    with pytest.raises(JournalCorrupt, match="epoch 3"):
        open_journal(tmp_path)


def test_with_full_sync_no_power_loss_excuses_a_loss(fast_folder, monkeypatch):
    journal = filled(fast_folder / "own", 10)
    image = crash_image(fast_folder / "own", fast_folder / "image")
    journal.close()
    (image / WAL).unlink()
    for module in (journal_check, journal_high_water):
        monkeypatch.setattr(module, "this_boot", lambda: b"another boot".ljust(36, b"\0"))
    with pytest.raises(JournalCorrupt, match="acknowledged up to seq 10"):
        open_journal(image)


def test_a_damaged_slot_of_the_mark_leaves_the_mark_of_the_batch_before(tmp_path):
    journal = filled(tmp_path, 10, batch=2)
    marks = set()
    for place in (100, 4196):
        whole = (tmp_path / "high_water").read_bytes()
        damaged = bytearray(whole)
        damaged[place] ^= 1
        (tmp_path / "high_water").write_bytes(damaged)
        mark, notes = journal_high_water.read_mark(tmp_path)
        marks.add(mark.seq)
        assert "damaged" in notes[0]
        (tmp_path / "high_water").write_bytes(whole)
    journal.close()
    assert marks == {8, 10}


def test_a_record_that_is_right_by_itself_but_follows_another_is_refused(tmp_path):
    with filled(tmp_path, 10) as journal:
        fields = plain(journal.find_record("r5"))
    other = bytes(range(32))
    change_row(tmp_path, 5, "prev_hash", other)
    change_row(tmp_path, 5, "hash", chain_hash(other, 5, 1, fields))
    with pytest.raises(JournalCorrupt, match="chain is broken") as caught:
        open_journal(tmp_path)
    assert caught.value.seq == 5


@pytest.mark.parametrize("other_boot", [True, False])
def test_with_normal_sync_a_loss_is_excused_by_a_power_loss_only(
    fast_folder, monkeypatch, other_boot
):
    journal = filled(fast_folder / "own", 10, sync="normal")
    image = crash_image(fast_folder / "own", fast_folder / "image")
    journal.close()
    (image / WAL).unlink()
    if not other_boot:
        with pytest.raises(JournalCorrupt):
            open_journal(image)
        return
    for module in (journal_check, journal_high_water):
        monkeypatch.setattr(module, "this_boot", lambda: b"another boot".ljust(36, b"\0"))
    with open_journal(image, sync="normal") as recovered:
        assert recovered.head_seq == 0
        assert "journal.sync is normal" in recovered.notices[0]
        recovered.append([new_record(1)])
        assert recovered.verify().ok


def test_a_journal_of_a_newer_program_is_left_alone(tmp_path):
    filled(tmp_path, 3).close()
    with sqlite3.connect(tmp_path / "journal.db") as db:
        db.execute("PRAGMA user_version = 2")
    db.close()
    before = content(tmp_path)
    with pytest.raises(JournalVersionError, match="schema 2") as caught:
        open_journal(tmp_path)
    assert caught.value.exit_code == 78
    assert content(tmp_path) == before
    assert "schema 2" in verify_folder(tmp_path).problem


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(JournalError, match="file"):
        open_journal(tmp_path / "file" / "state")
    assert not verify_folder(tmp_path / "nowhere").ok
    with pytest.raises(JournalError):
        JournalReader(tmp_path / "nowhere")
