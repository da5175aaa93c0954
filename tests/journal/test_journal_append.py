import os
import threading

import pytest
from journal_factory import (
    IDENTITY,
    POINTS,
    crash_image,
    filled,
    in_child,
    new_record,
    open_journal,
    plain,
    records_of,
)

from engine.clock import VirtualClock
from engine.journal import (
    GENESIS,
    Identity,
    JournalError,
    JournalFenced,
    JournalIdentityError,
    JournalLocked,
    JournalReader,
    NewRecord,
)


def test_records_come_back_as_given_in_one_unbroken_chain(tmp_path):
    wanted = [new_record(n) for n in range(1, 26)]
    with open_journal(tmp_path) as journal:
        results = journal.append(wanted[:20]) + journal.append(wanted[20:])
        found = list(journal.read())
        head = (journal.head_seq, journal.head_hash)
    assert [(result.seq, result.status) for result in results] == [
        (n, "appended") for n in range(1, 26)
    ]
    assert [plain(record) for record in found] == wanted
    assert [record.prev_hash for record in found] == [GENESIS] + [r.hash for r in found[:-1]]
    assert head == (25, found[-1].hash)
    assert records_of(tmp_path) == found


def test_reading_can_start_and_stop_anywhere_and_choose_kinds(tmp_path):
    with open_journal(tmp_path) as journal:
        journal.append([new_record(n, kind="AB"[n % 2]) for n in range(1, 2501)])
        assert [r.seq for r in journal.read(1203, 2300)] == list(range(1204, 2301))
        assert [r.seq for r in journal.read(2490, kinds={"A"})] == [2492, 2494, 2496, 2498, 2500]
        assert list(journal.read(2500)) == list(journal.read(9999)) == []
        assert list(journal.read(10, 10)) == []
        assert list(journal.read(kinds=())) == []


def test_a_record_is_found_by_its_key_and_by_its_id(tmp_path):
    with filled(tmp_path, 9) as journal:
        assert plain(journal.find("fill:7")) == new_record(7)
        assert plain(journal.find_record("r8")) == new_record(8)
        assert journal.find("fill:8") is None
        assert journal.find_record("r99") is None


def test_a_repeated_record_id_is_never_appended_again(tmp_path):
    with filled(tmp_path, 5) as journal:
        results = journal.append([new_record(3), new_record(6), new_record(6), new_record(5)])
        assert [(r.seq, r.status) for r in results] == [
            (3, "repeated"),
            (6, "appended"),
            (6, "repeated"),
            (5, "repeated"),
        ]
        assert [(r.seq, r.status) for r in journal.append([new_record(6)])] == [(6, "repeated")]
    with open_journal(tmp_path) as journal:
        assert [(r.seq, r.status) for r in journal.append([new_record(2)])] == [(2, "repeated")]
        assert journal.head_seq == 6
        assert journal.verify().ok


def test_a_unique_key_belongs_to_one_record_for_ever(tmp_path):
    with filled(tmp_path, 5) as journal:
        batch = [
            new_record(20, key="fill:3"),
            new_record(21, key="intent:x"),
            new_record(22, key="intent:x"),
            new_record(24),
        ]
        results = journal.append(batch)
        assert [(r.seq, r.status) for r in results] == [
            (3, "duplicate"),
            (6, "appended"),
            (6, "duplicate"),
            (7, "appended"),
        ]
        assert journal.find_record("r20") is None
    with open_journal(tmp_path) as journal:
        again = journal.append([new_record(22, key="intent:x")])
        assert [(r.seq, r.status) for r in again] == [(6, "duplicate")]
        assert journal.verify().ok


def test_an_empty_batch_and_a_batch_of_repeats_commit_nothing(tmp_path):
    points = []
    with filled(tmp_path, 5, faults=points.append) as journal:
        points.clear()
        assert journal.append([]) == []
        assert points == []
        journal.append([new_record(1)])
        assert points == ["journal.before_insert", "journal.before_commit"]
        assert journal.head_seq == 5


def test_the_fault_points_come_in_order(tmp_path):
    points = []
    with open_journal(tmp_path, faults=points.append) as journal:
        journal.append([new_record(1)])
        assert tuple(points) == POINTS


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("error", [RuntimeError, MemoryError, KeyboardInterrupt, SystemExit])
def test_an_exception_at_any_point_leaves_all_or_nothing(tmp_path, point, error):
    armed = []

    def fault(name):
        if name == point and armed:
            armed.clear()
            raise error(name)

    with filled(tmp_path, 5, faults=fault) as journal:
        armed.append(1)
        with pytest.raises(error):
            journal.append([new_record(6), new_record(7)])
        committed = POINTS.index(point) >= POINTS.index("journal.after_commit")
        assert journal.head_seq == (7 if committed else 5)
        statuses = {result.status for result in journal.append([new_record(6), new_record(7)])}
        assert statuses == {"repeated" if committed else "appended"}
        assert journal.verify().records == 7
    assert [r.record_id for r in records_of(tmp_path)] == [f"r{n}" for n in range(1, 8)]


def test_each_open_begins_a_new_epoch_and_records_carry_it(tmp_path):
    for epoch in (1, 2, 3):
        with open_journal(tmp_path) as journal:
            assert journal.epoch == epoch
            journal.append([new_record(epoch)])
    assert [record.epoch for record in records_of(tmp_path)] == [1, 2, 3]


def test_a_second_engine_is_refused_and_told_who_holds_the_journal(tmp_path):
    with open_journal(tmp_path) as journal:
        with pytest.raises(JournalLocked, match=str(os.getpid())) as caught:
            open_journal(tmp_path)
        assert caught.value.exit_code == 75

        def second(say):
            try:
                open_journal(tmp_path)
            except JournalLocked as error:
                say(error.exit_code)

        pid, output = in_child(second)
        assert output.read() == b"75\n"
        os.waitpid(pid, 0)
        journal.append([new_record(1)])


def test_a_writer_of_an_old_epoch_can_write_nothing_after_a_takeover(tmp_path):
    old = filled(tmp_path, 3)
    (tmp_path / "journal.lock").unlink()
    with open_journal(tmp_path) as new:
        with pytest.raises(JournalFenced) as caught:
            old.append([new_record(4)])
        assert caught.value.exit_code == 75
        assert isinstance(caught.value, JournalLocked)
        new.append([new_record(5)])
        with pytest.raises(JournalFenced):
            old.append([new_record(6)])
    old.close()
    assert [record.record_id for record in records_of(tmp_path)] == ["r1", "r2", "r3", "r5"]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (Identity("live", "alpha", {}), "mode is 'demo', not 'live'"),
        (Identity("demo", "beta", {}), "instance is 'alpha', not 'beta'"),
        (
            Identity("demo", "alpha", {"okx.main": "key-3"}),
            "account okx.main is 'key-2', not 'key-3'",
        ),
        (
            Identity("demo", "alpha", {"okx.other": "key-2"}),
            "account of key-2 is 'okx.main', not 'okx.other'",
        ),
    ],
)
def test_a_journal_is_not_opened_with_another_identity(tmp_path, other, named):
    filled(tmp_path, 3).close()
    with pytest.raises(JournalIdentityError, match=named) as caught:
        open_journal(tmp_path, identity=other)
    assert caught.value.exit_code == 78
    with open_journal(tmp_path) as journal:
        assert journal.epoch == 2


def test_accounts_may_be_added_and_are_bound_from_then_on(tmp_path):
    filled(tmp_path, 1).close()
    more = Identity("demo", "alpha", {"bybit.main": "key-9"})
    open_journal(tmp_path, identity=more).close()
    with open_journal(tmp_path, identity=Identity("demo", "alpha", {})) as journal:
        assert journal.identity.accounts == IDENTITY.accounts | more.accounts
    with pytest.raises(JournalIdentityError, match=r"bybit\.main"):
        open_journal(tmp_path, identity=Identity("demo", "alpha", {"bybit.main": "other"}))


def test_two_threads_that_write_at_once_are_a_bug_that_is_noticed(tmp_path):
    inside, leave = threading.Event(), threading.Event()

    def hold(point):
        if point == "journal.before_commit":
            inside.set()
            assert leave.wait(10)

    with open_journal(tmp_path, faults=hold) as journal:
        thread = threading.Thread(target=journal.append, args=([new_record(1)],))
        thread.start()
        assert inside.wait(10)
        with pytest.raises(AssertionError, match="two threads"):
            journal.append([new_record(2)])
        leave.set()
        thread.join(10)
        journal.append([new_record(2)])  # another thread in its turn is welcome
        assert journal.head_seq == 2


def test_other_threads_and_folders_read_while_one_writes(tmp_path):
    problems = []
    done = threading.Event()
    with open_journal(tmp_path) as journal:

        def read():
            try:
                with JournalReader(tmp_path) as outside:
                    while not done.is_set():
                        head = journal.head_seq
                        for source in (journal, outside):
                            seqs = [record.seq for record in source.read()]
                            assert seqs == list(range(1, len(seqs) + 1))
                            assert len(seqs) >= head
                        assert outside.head()[0] >= head
                        assert outside.verify().ok
                        assert head == 0 or journal.find_record(f"r{head}").seq == head
            except BaseException as error:  # noqa: BLE001
                problems.append(error)

        threads = [threading.Thread(target=read) for _ in range(2)]
        for thread in threads:
            thread.start()
        for n in range(1, 120):
            journal.append([new_record(n)])
        done.set()
        for thread in threads:
            thread.join(20)
    assert problems == []


def test_a_clock_that_runs_backwards_changes_nothing(tmp_path):
    clock = VirtualClock()
    with filled(tmp_path, 3, clock=clock) as journal:
        clock.step_wall_ns(-3600 * 10**9)
        journal.append([new_record(4)])
    with open_journal(tmp_path, clock=clock) as journal:
        assert journal.epoch == 2
        assert journal.verify().ok


def test_a_closed_journal_says_so(tmp_path):
    journal = filled(tmp_path, 1)
    journal.close()
    journal.close()
    for call in (
        lambda: journal.append([new_record(2)]),
        journal.read,
        lambda: journal.find("x"),
        lambda: journal.save_snapshot("a", 1, b""),
    ):
        with pytest.raises(JournalError, match="closed"):
            call()


def test_a_record_that_cannot_be_stored_harms_nothing(tmp_path):
    with filled(tmp_path, 3) as journal:
        bad = [
            new_record(4, key="\ud800"),
            NewRecord("r5", None, "k", "o", "c", "k", b"", 2**63, 0),
        ]
        for record in bad:
            with pytest.raises((UnicodeError, OverflowError)):
                journal.append([new_record(6), record])
        assert journal.head_seq == 3
        journal.append([new_record(6)])
        assert journal.verify().ok


def test_the_files_are_for_their_owner_only(tmp_path):
    with filled(tmp_path / "state", 3) as journal:
        journal.save_snapshot("risk_pnl", 3, b"x")
        open_modes = {
            path.name: path.stat().st_mode & 0o077 for path in (tmp_path / "state").rglob("*")
        }
    assert len(open_modes) >= 7
    assert not any(open_modes.values())


def test_a_log_is_checkpointed_on_the_way_and_stays_bounded(fast_folder):
    with open_journal(fast_folder) as journal:
        for start in range(0, 12000, 100):
            journal.append([new_record(n) for n in range(start, start + 100)])
        automatic = journal._opened.db.execute("PRAGMA wal_autocheckpoint").fetchone()[0]
        assert automatic == 0  # SQLite's own checkpoints swallow their errors
        assert (fast_folder / "journal.db-wal").stat().st_size < 24 * 2**20
        assert (fast_folder / "journal.db").stat().st_size > 2**20
        image = crash_image(fast_folder, fast_folder / "image")
    assert len(records_of(image)) == 12000
