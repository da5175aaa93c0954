import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from journal_factory import (
    POINTS,
    SNAPSHOT_POINTS,
    die,
    filled,
    in_child,
    new_record,
    open_journal,
    plain,
)

from engine.journal import JournalFailed, JournalFull, verify_folder

HERE = Path(__file__).parent


def check_recovered(folder, acknowledged, sent):
    """Assert: the journal is a prefix of what was sent, with all that was acknowledged in it."""
    with open_journal(folder) as journal:
        found = [plain(record) for record in journal.read()]
        assert found == [new_record(n) for n in range(1, len(found) + 1)]
        assert acknowledged <= len(found) <= sent
        assert journal.verify().ok
        if found:
            result = journal.append([new_record(len(found))])[0]
            assert (result.seq, result.status) == (len(found), "repeated")
        snapshot = journal.load_snapshot("a")
        assert snapshot is None or snapshot.state == b"state-%d" % snapshot.seq
        return len(found)


def append_for_ever(folder, batch, faults, say):
    """The child: sends each batch again from one before the head, as a redelivery would."""
    journal = open_journal(folder, faults=faults)
    n = journal.head_seq
    while True:
        results = journal.append([new_record(k) for k in range(max(n, 1), n + batch + 1)])
        assert n == 0 or results[0].status == "repeated"
        n = results[-1].seq
        say(n)
        if n % 4 == 0:
            journal.save_snapshot("a", n, b"state-%d" % n)


@pytest.mark.processes
@pytest.mark.parametrize("point", [*POINTS, *SNAPSHOT_POINTS])
def test_a_kill_at_a_named_point_loses_nothing_acknowledged(tmp_path, point):
    head = 0
    for round_number in range(4):
        hits = []

        def fault(name, hits=hits, nth=3 + round_number):
            hits.append(name)
            if name == point and hits.count(point) == nth:
                die()

        pid, output = in_child(lambda say, f=fault: append_for_ever(tmp_path, 3, f, say))
        with output:
            lines = output.readlines()
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        acknowledged = json.loads(lines[-1])
        head = check_recovered(tmp_path, acknowledged, acknowledged + 3)
    assert head > 10


@pytest.mark.processes
def test_a_kill_at_any_time_loses_nothing_acknowledged(tmp_path, seed):
    rng = random.Random(seed)
    head = 0
    for _ in range(60):
        batch = rng.choice([1, 2, 20])
        pid, output = in_child(
            lambda say, batch=batch: append_for_ever(tmp_path, batch, lambda _point: None, say)
        )
        acknowledged = head
        with output:
            for _ in range(rng.randrange(0, 12)):
                acknowledged = json.loads(output.readline())
            for _ in range(rng.randrange(0, 20_000)):
                pass  # lets the child get somewhere inside its next batch
            os.kill(pid, signal.SIGKILL)
            rest = output.readlines()
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        acknowledged = json.loads(rest[-1]) if rest else acknowledged
        head = check_recovered(tmp_path, acknowledged, acknowledged + batch)
    assert head > 60


@pytest.mark.processes
def test_a_kill_during_birth_leaves_a_folder_that_opens(tmp_path):
    reached = 0
    for kill_at in range(1, 200):
        folder = tmp_path / str(kill_at)

        def born(say, folder=folder, kill_at=kill_at):
            count = 0

            def trace(event, args):
                nonlocal count
                if event in ("open", "os.rename", "sqlite3.connect", "os.mkdir", "os.truncate"):
                    count += 1
                    if count == kill_at:
                        die()

            sys.addaudithook(trace)
            open_journal(folder, reserve_bytes=4096)
            say(1)

        pid, output = in_child(born)
        with output:
            survived = output.read()
        os.waitpid(pid, 0)
        assert check_recovered(folder, 0, 0) == 0
        if survived:
            break
        reached = kill_at
    assert 8 < reached < 199


# --- the disk refuses to sync ---


def strace_works():
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-o", "/dev/null", "-e", "inject=fsync:error=EIO:when=99", "true"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return "" if tried.returncode == 0 else f"strace may not trace here: {tried.stderr[-200:]!r}"


def run_child(folder, *args, prefix=()):
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1])])
    done = subprocess.run(
        [*prefix, sys.executable, str(HERE / "journal_child.py"), str(folder), *args],
        capture_output=True,
        check=False,
        timeout=60,
        env=os.environ | {"PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    return done.returncode, facts, done.stderr.decode(errors="replace")


@pytest.mark.processes
def test_a_failed_sync_stops_the_journal_for_good_and_loses_nothing_acknowledged(tmp_path):
    reason = strace_works()
    if reason:
        pytest.skip(reason)
    outcomes = set()
    for when in (1, 3, 6, 9, 14, 16, 18, 22, 24, 25, 26):
        folder = tmp_path / str(when)
        filled(folder, 5).close()
        inject = f"inject=fsync,fdatasync:error=EIO:when={when}"
        strace = ["strace", "-f", "-o", str(tmp_path / "trace"), "--seccomp-bpf"]
        strace += ["-e", "trace=fsync,fdatasync", "-e", inject]
        code, facts, errors = run_child(folder, "steady", "15", prefix=strace)
        assert code == 74, (when, code, facts, errors)
        acknowledged = max([5] + [f["acknowledged"] for f in facts if "acknowledged" in f])
        if "open_failed" in facts[-1]:
            assert facts[-1]["open_failed"] == "JournalFailed"
            outcomes.add("open")
        else:
            assert {"failed": "JournalFailed"} in facts
            at_close = facts[-1] == {"failed": "JournalFailed"}
            assert at_close or facts[-5:] == [{"again": "JournalFailed"}] * 5
            outcomes.add("close" if at_close else "append")
        assert verify_folder(folder).head_seq >= acknowledged
        with open_journal(folder) as journal:
            found = [plain(record) for record in journal.read()]
        assert found == [new_record(n) for n in range(1, len(found) + 1)]
        assert acknowledged <= len(found) <= acknowledged + 1
    assert {"open", "append"} <= outcomes


@pytest.mark.parametrize("call", ["write", "sync"])
def test_a_mark_that_cannot_be_written_stops_the_journal(tmp_path, monkeypatch, call):
    journal = filled(tmp_path, 5)

    def broken(*_args):
        raise OSError(errno.ENOSPC if call == "write" else errno.EIO, "broken")

    monkeypatch.setattr(journal._high_water, call, broken)
    with pytest.raises(JournalFailed):  # noqa: PT012
        for n in range(6, 80):
            journal.append([new_record(n)])
    head = journal.head_seq
    with pytest.raises(JournalFailed):
        journal.append([new_record(99)])
    journal.close()
    assert check_recovered(tmp_path, head - 1, head) == head


def test_after_a_failure_closing_leaves_the_log_as_it_is(tmp_path, monkeypatch):
    journal = filled(tmp_path, 5)
    monkeypatch.setattr(journal._high_water, "write", lambda *_args: os.close(-1))
    with pytest.raises(JournalFailed):
        journal.append([new_record(6)])
    database = (tmp_path / "journal.db").read_bytes()
    log = (tmp_path / "journal.db-wal").read_bytes()
    assert log
    journal.close()
    assert (tmp_path / "journal.db").read_bytes() == database
    assert (tmp_path / "journal.db-wal").read_bytes() == log
    assert check_recovered(tmp_path, 5, 6) == 6


# --- the disk is full ---


def test_a_full_database_takes_nothing_and_goes_on_when_there_is_room(tmp_path):
    with filled(tmp_path, 20, reserve_bytes=2**16) as journal:
        assert (tmp_path / "reserve").stat().st_size == 2**16
        pages = journal._opened.db.execute("PRAGMA page_count").fetchone()[0]
        journal._opened.db.execute(f"PRAGMA max_page_count = {pages}")
        big = [new_record(n, body=b"x" * 5000) for n in range(21, 24)]
        for _ in range(2):
            with pytest.raises(JournalFull) as caught:
                journal.append(big)
            assert caught.value.exit_code == 74
            assert journal.head_seq == 20
            assert journal.find_record("r21") is None
            assert journal.verify().records == 20
        assert journal.release_reserve() == 2**16
        assert journal.release_reserve() == 0
        assert not (tmp_path / "reserve").exists()
        journal._opened.db.execute("PRAGMA max_page_count = 100000")
        assert [result.seq for result in journal.append(big)] == [21, 22, 23]
        assert journal.restore_reserve()
        assert (tmp_path / "reserve").stat().st_blocks * 512 >= 2**16
    assert verify_folder(tmp_path).records == 23


def tmpfs_works():
    if shutil.which("unshare") is None:
        return "unshare is not installed"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"],
        capture_output=True,
        check=False,
        timeout=20,
    )
    return "" if tried.returncode == 0 else f"no tmpfs may be mounted: {tried.stderr[-200:]!r}"


def on_small_disk(tmp_path, size_kb, mode):
    reason = tmpfs_works()
    if reason:
        pytest.skip(reason)
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size="$1" tmpfs "$2" && shift 2 && exec "$@"'
    prefix = ["unshare", "-m", "sh", "-c", script, "sh", f"{size_kb}k", str(disk)]
    code, facts, errors = run_child(disk / "state", mode, str(2**17), prefix=prefix)
    assert code == 0, errors
    return facts


@pytest.mark.processes
@pytest.mark.parametrize("size_kb", [600, 1024])
def test_a_full_disk_takes_nothing_and_the_reserve_gives_room_to_go_on(tmp_path, size_kb):
    facts = on_small_disk(tmp_path, size_kb, "until-full")
    first, second, snapshot, last = facts
    assert first["full_at"] > 20
    assert first["freed"] == 2**17
    assert second["full_at"] >= first["full_at"] + 20
    assert snapshot == {"snapshot": "JournalFull", "left": []}
    assert last == {"usable": True, "verified": second["full_at"]}


@pytest.mark.processes
def test_a_journal_opens_on_a_full_disk_by_giving_up_its_reserve(tmp_path):
    first, second, last = on_small_disk(tmp_path, 1024, "open-when-full")
    assert first["appended"] == 21
    assert "reserve of 131072 bytes was given up" in first["notices"][0]
    assert second == {"full": True}
    assert last == {"verified": 21}
