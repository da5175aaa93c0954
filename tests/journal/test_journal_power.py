"""A power loss at every write of a journal's life loses nothing that was acknowledged.

A real process with the real journal is traced (strace); its writes and syncs are replayed on a disk that
forgets what was not synced, and the real journal opens what is left after each of them.
"""

import json
import random

import pytest
from journal_factory import new_record, open_journal, plain
from power import CALLS, Disk, calls_of, emptied
from test_journal_crash import run_child, strace_works

from engine.journal import JournalError

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("journal_power")]
BATCH = 2


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The calls of one journal: born, filled, checkpointed, closed, opened again, filled."""
    reason = strace_works()
    if reason:
        pytest.skip(reason)
    place = tmp_path_factory.mktemp("power").resolve()
    trace, root = place / "trace", place / "disk"
    root.mkdir()
    strace = ["strace", "-f", "-o", str(trace), "-xx", "-s", "1000000", "-e", f"trace={CALLS}"]
    code, _, errors = run_child(root / "state" / "journal", "life", str(BATCH), prefix=strace)
    assert code == 0, errors
    calls = list(calls_of(trace))
    disk = Disk(root)
    useful = [call for call in calls if concerns(disk, call)]
    return root, useful


# Those that open and close count too: they say which file a number means.
def concerns(disk, call):
    name = call[0]
    return disk.play(*call) or name in ("openat", "close")


def acknowledged(disk):
    lines = disk.out.splitlines()
    return max((json.loads(line)["acknowledged"] for line in lines), default=0)


def problem_after(folder, safe, may_be):
    """Open what is left with the real journal; return what is wrong with it, or None."""
    try:
        with open_journal(folder / "state" / "journal") as journal:
            found = [plain(record) for record in journal.read()]
            if found != [new_record(n) for n in range(1, len(found) + 1)]:
                return "not a prefix of what was sent"
            if not safe <= len(found) <= may_be:
                return f"{len(found)} records, {safe} were acknowledged"
            snapshot = journal.load_snapshot("a")
            if snapshot is not None and snapshot.state != b"state-%d" % snapshot.seq:
                return "a snapshot of another state"
            return None if journal.verify().ok else journal.verify().problem
    except JournalError as error:
        return f"{type(error).__name__}: {error}"


def first_problem(life, folder, rng, *, rounds, deaf=lambda _: False):
    """Cut the power after each call; return where and what went wrong first, and how many cuts."""
    root, calls = life
    disk, cuts = Disk(root, deaf), 0
    for number, call in enumerate(calls):
        if not disk.play(*call):
            continue
        safe = acknowledged(disk)
        for turn in range(rounds):
            cuts += 1
            disk.crash(emptied(folder), rng if turn else None)
            problem = problem_after(folder, safe, safe + BATCH)
            if problem is not None:
                return f"call {number} {call[0]} {call[1][:2]}: {problem}", cuts
    return None, cuts


def test_no_power_loss_takes_an_acknowledged_record(life, fast_folder, seed):
    problem, cuts = first_problem(life, fast_folder / "left", random.Random(seed), rounds=4)
    assert problem is None
    assert cuts > 300


# Each sync that the journal's life needs, as what a disk may lie about; without it something is lost.
NEEDED = (
    "journal.db-wal",
    "journal.db",
    "journal.db.new",
    "high_water.new",
    "journal/",
    "state/",
    "disk/",
)


@pytest.mark.parametrize("target", NEEDED)
def test_every_sync_is_needed(life, fast_folder, target):
    problem, _ = first_problem(
        life, fast_folder / "left", random.Random(1), rounds=2, deaf=lambda t: t == target
    )
    assert problem is not None
