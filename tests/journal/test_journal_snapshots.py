import ast
import hashlib
import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journal_factory import (
    SNAPSHOT_POINTS,
    crash_image,
    filled,
    fold,
    new_record,
    open_journal,
    plain,
    records_of,
)

from actors.exchange_state import ExchangeState
from actors.persistence import JournalRecovery
from engine.envelope import EVENT_KINDS, decode_event, to_plain
from engine.journal import JournalReader, Snapshot, verify_folder
from engine.messages.engine_events import (
    MessageParked,
    MessageSettled,
)
from engine.trading.orders import OrderTable

GOLDEN = Path(__file__).parent / "golden" / "v1"


def files_of(folder, pattern="*"):
    return sorted(path.name for path in (folder / "snapshots").glob(pattern))


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


def test_the_newest_snapshot_up_to_a_seq_comes_back(tmp_path):
    with filled(tmp_path, 20) as journal:
        assert journal.load_snapshot("risk_pnl") is None
        for seq in (0, 5, 9):
            journal.save_snapshot("risk_pnl", seq, b"state-%d" % seq)
        journal.save_snapshot("exchange.okx/@ü", 20, b"")
        assert journal.load_snapshot("risk_pnl") == Snapshot("risk_pnl", 9, b"state-9")
        assert journal.load_snapshot("risk_pnl", upto_seq=8) == Snapshot("risk_pnl", 5, b"state-5")
        assert journal.load_snapshot("risk_pnl", upto_seq=4) is None
        assert journal.load_snapshot("exchange.okx/@ü").seq == 20
        assert journal.load_snapshot("risk") is None
    with JournalReader(tmp_path) as reader:
        assert reader.snapshots() == [("exchange.okx/@ü", 20), ("risk_pnl", 9), ("risk_pnl", 5)]


def test_two_good_snapshots_are_kept_per_owner(tmp_path):
    with filled(tmp_path, 20) as journal:
        for seq in (3, 6, 9, 12):
            journal.save_snapshot("a", seq, b"a")
            journal.save_snapshot("b", seq, b"b")
        journal.save_snapshot("a", 12, b"again")
        assert journal.load_snapshot("a") == Snapshot("a", 12, b"again")
    assert [name[-7:-5] for name in files_of(tmp_path, "a@*")] == ["09", "12"]
    assert [name[-7:-5] for name in files_of(tmp_path, "b@*")] == ["09", "12"]


def test_a_damaged_snapshot_is_reported_and_the_older_one_serves(tmp_path):
    with filled(tmp_path, 20) as journal:
        journal.save_snapshot("a", 5, b"five")
        journal.save_snapshot("a", 9, b"nine")
        damage(next((tmp_path / "snapshots").glob("a@*9.snap")))
        assert journal.load_snapshot("a").state == b"five"
        assert "damaged" in journal.notices[-1]
        damage(next((tmp_path / "snapshots").glob("a@*5.snap")))
        assert journal.load_snapshot("a") is None


def test_a_damaged_snapshot_does_not_push_out_a_good_one(tmp_path):
    with filled(tmp_path, 20) as journal:
        journal.save_snapshot("a", 5, b"five")
        journal.save_snapshot("a", 9, b"nine")
        damage(next((tmp_path / "snapshots").glob("a@*9.snap")))
        journal.save_snapshot("a", 15, b"fifteen")
        assert journal.load_snapshot("a", upto_seq=14).state == b"five"
    assert len(files_of(tmp_path, "a@*.snap")) == 2
    assert len(files_of(tmp_path, "a@*.corrupt")) == 1


def test_a_snapshot_of_another_history_is_never_used(tmp_path):
    with filled(tmp_path / "a", 10) as journal:
        journal.save_snapshot("a", 8, b"of a")
    with open_journal(tmp_path / "b") as other:
        other.append([new_record(n, body=b"b") for n in range(1, 11)])
        shutil.copytree(tmp_path / "a/snapshots", tmp_path / "b/snapshots", dirs_exist_ok=True)
        assert other.load_snapshot("a") is None
        assert "another history" in other.notices[-1]


def test_a_snapshot_beyond_the_head_is_refused_at_saving(tmp_path):
    with filled(tmp_path, 3) as journal, pytest.raises(ValueError, match="head is 3"):
        journal.save_snapshot("a", 4, b"")


@pytest.mark.parametrize("point", SNAPSHOT_POINTS)
def test_a_save_that_is_cut_short_leaves_the_older_snapshot(tmp_path, point):
    armed = []

    def fault(name):
        if armed and name == point:
            raise RuntimeError(name)

    with filled(tmp_path, 9, faults=fault) as journal:
        journal.save_snapshot("a", 4, b"four")
        armed.append(1)
        with pytest.raises(RuntimeError):
            journal.save_snapshot("a", 8, b"eight")
        expected = b"four" if point == "snapshot.before_write" else b"eight"
        assert journal.load_snapshot("a").state == expected
    assert files_of(tmp_path, "*.tmp") == []


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.integers(0, 40), st.integers(0, 12), st.binary(max_size=40)), max_size=6
        ),
        max_size=12,
    ),
    snapshot_after=st.sets(st.integers(0, 12), max_size=4),
    reopen_after=st.sets(st.integers(0, 12), max_size=3),
)
def test_replaying_all_equals_a_snapshot_and_the_rest(batches, snapshot_after, reopen_after):
    """Also a model of the journal: ids and keys are unique, in any batches, over restarts."""
    ids, keys, wanted = {}, {}, []
    with tempfile.TemporaryDirectory(dir=_memory()) as name:
        folder = Path(name)
        journal = open_journal(folder)
        state = {}
        for n, batch in enumerate(batches):
            before = len(wanted)
            records = [new_record(i, key=f"k{key}" if key else "", body=b) for i, key, b in batch]
            expected = [_expect(record, ids, keys, wanted) for record in records]
            results = journal.append(records)
            assert [(result.seq, result.status) for result in results] == expected
            state = fold(state, journal.read(before))
            if n in snapshot_after:
                text = repr(sorted(state.items())).encode()
                journal.save_snapshot("toy", journal.head_seq, text)
            if n in reopen_after:
                journal.close()
                journal = open_journal(folder)
        assert [plain(record) for record in journal.read()] == wanted
        assert fold({}, journal.read()) == state
        snapshot = journal.load_snapshot("toy")
        if snapshot is not None:
            start = dict(ast.literal_eval(snapshot.state.decode()))
            assert fold(start, journal.read(snapshot.seq)) == state
        assert journal.verify().ok
        journal.close()


def _memory():
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def _expect(record, ids, keys, wanted):
    if record.record_id in ids:
        return ids[record.record_id], "repeated"
    if record.unique_key in keys:
        return keys[record.unique_key], "duplicate"
    wanted.append(record)
    ids[record.record_id] = len(wanted)
    if record.unique_key is not None:
        keys[record.unique_key] = len(wanted)
    return len(wanted), "appended"


def test_a_journal_of_version_1_opens_replays_and_goes_on(tmp_path):
    """The golden folder was written by the first release (golden/make.py); it never changes."""
    folder = crash_image(GOLDEN, tmp_path / "copy")
    assert verify_folder(folder).records == 40
    with open_journal(folder) as journal:
        assert journal.epoch == 3
        digest = hashlib.sha256(repr([plain(r) for r in journal.read()]).encode()).hexdigest()
        assert digest == "9f6e408972840303dbe218f3247e5fe31128a0c3d113e57046dba99de772fe84"
        assert (
            journal.head_hash.hex()
            == "0c234f3a0d00b121f2f42c0c77a659641a3806218e458c0525f4bd34a1c172fa"
        )
        snapshot = journal.load_snapshot("toy")
        assert snapshot.seq == 30
        assert fold(dict(ast.literal_eval(snapshot.state.decode())), journal.read(30)) == fold(
            {}, journal.read()
        )
        statuses = [r.status for r in journal.append([new_record(40), new_record(41)])]
        assert statuses == ["repeated", "appended"]
        assert journal.verify().ok
    assert len(records_of(folder)) == 41


GOLDEN_EVENTS = sorted((Path(__file__).parent / "golden").glob("events-*"))


@pytest.mark.parametrize("golden", GOLDEN_EVENTS, ids=lambda path: path.name)
def test_events_of_every_version_are_read_and_folded_today(tmp_path, golden):
    """The folders were written by golden/make_events.py and never change."""
    folder = crash_image(golden, tmp_path / "copy")
    with open_journal(folder) as journal:
        events = [decode_event(record.kind, record.body) for record in journal.read()]
        recovery = JournalRecovery(journal)
        parked = recovery.parked()
        for actor in ("order_router", "risk_pnl", "exchange.venue"):
            recovery.load(actor, journal.head_seq)
    written = json.loads((folder / "events.json").read_text())
    for event, was in zip(events, written, strict=True):
        now = to_plain(event)
        assert {name: now[name] for name in was} == was
    table, exchange = OrderTable(closed_kept_max=10), ExchangeState.empty(10)
    for seq, event in enumerate(events, 1):
        table.apply(event, seq)
        exchange.apply(event, seq)
    held = {event.message_id for event in events if isinstance(event, MessageParked)}
    held -= {event.message_id for event in events if isinstance(event, MessageSettled)} | {"m0"}
    assert {event.message_id for event in parked} == held, "m0 is of a version that kept no message"


def test_every_event_of_today_is_in_the_newest_golden_journal():
    written = json.loads((GOLDEN_EVENTS[-1] / "events.json").read_text())
    fields = {row["kind"]: {name for name in row if name != "kind"} for row in written}
    today = {kind: set(cls.__struct_fields__) for kind, cls in EVENT_KINDS.items()}
    today["MessageParked"] = today["MessageParked"] - {"kind"} | {"message_kind"}
    assert fields == today
