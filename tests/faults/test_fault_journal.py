"""A core on a long, damaged journal: it starts by its snapshot, finds the damage, halts and leaves."""

import shutil
import sqlite3

import pytest
from core_process import VENUES, Core, wait_for

from engine.clock import SystemClock
from engine.envelope import decode_event, encode_body
from engine.journal import (
    WHOLE_CHECK_MAX,
    Identity,
    Journal,
    JournalReader,
    NewRecord,
    verify_folder,
)
from engine.messages.events import CommandRecorded

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

LINKS = ("public_ws", "private_ws", "trade_ws")
NOWHERE = {"rest": "http://127.0.0.1:9/", **dict.fromkeys(LINKS, "ws://127.0.0.1:9/")}


class NoVenues:
    """The endpoints of venues that are not there: a core starts without them."""

    def __init__(self):
        self.endpoints = {
            "venues": dict.fromkeys(VENUES, NOWHERE),
            "accounts": {name: {} for name in VENUES},
        }


@pytest.fixture(scope="module")
def long_state(tmp_path_factory):
    """The state folder of a core with a long journal and a snapshot near its end."""
    core = Core(tmp_path_factory.mktemp("long"), NoVenues())
    identity = Identity("demo", "crash-1", {"binance.main": "binance", "okx.main": "okx"})
    body = encode_body(CommandRecorded("", "note", "", "test", 1))
    with Journal.open(
        core.journal, identity=identity, clock=SystemClock(), reserve_bytes=0
    ) as journal:
        for start in range(1, WHOLE_CHECK_MAX + 500, 1000):
            journal.append(
                [
                    NewRecord(f"n{n}", None, "CommandRecorded", "edge", "", "", body, n, n)
                    for n in range(start, start + 1000)
                ]
            )
    core.start()
    wait_for(core.status, core.output)  # it has folded the tail and stored snapshots
    assert core.terminate() == 0
    assert len(list((core.journal / "snapshots").glob("*.snap"))) == 4
    return core.state_dir


@pytest.fixture
def long_core(tmp_path, long_state):
    core = Core(tmp_path, NoVenues())
    shutil.copytree(long_state, core.state_dir, ignore=shutil.ignore_patterns("*.sock"))
    yield core
    core.cleanup()


def test_a_good_long_journal_is_verified_while_the_core_runs(long_core):
    long_core.start()
    wait_for(
        lambda: (status := long_core.status()) and status["journal"]["verified"],
        lambda: f"verified: {long_core.status()} {long_core.output()}",
    )
    assert long_core.terminate() == 0


def test_damage_below_the_snapshot_halts_the_core_and_is_refused_at_the_next_start(long_core):
    with sqlite3.connect(long_core.journal / "journal.db") as db:
        db.execute("UPDATE records SET ts_wall_ns = ts_wall_ns + 1 WHERE seq = 77")
    db.close()
    long_core.start()
    assert long_core.process.wait(60) == 74, long_core.output()
    assert "seq 77" in long_core.output()
    report = verify_folder(long_core.journal)
    assert report.first_bad_seq == 77
    with JournalReader(long_core.journal) as reader:
        records = reader.read(78, kinds=["TradingHalted"])
        halts = [decode_event(record.kind, record.body) for record in records]
    assert [halt.scope for halt in halts] == ["all"]
    assert "seq 77" in halts[0].reason
    before = long_core.output()
    long_core.start()
    assert long_core.process.wait(60) == 74
    assert "journal corrupt (seq 77)" in long_core.output().removeprefix(before)
