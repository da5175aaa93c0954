"""The states that are folded beside the actors: the same from snapshots as from the beginning."""

import shutil

import pytest

from actors.persistence import JournalRecovery
from actors.replicas import Replicas, Shelf, bring_up_to_date, shared_seq
from actors.tree import folds, risk_limits
from bench.history import make_journal
from engine.clock import VirtualClock
from engine.config_models import Settings
from engine.journal import Identity, Journal
from engine.trading.orders import OrderTable
from engine.trading.risk import RiskGate

IDENTITY = Identity("demo", "alpha", {"binance.main": "binance", "okx.main": "okx"})
FOLDS = folds(Settings())
RECORDS = 400


@pytest.fixture
def journal(fast_folder):
    make_journal(fast_folder, IDENTITY, RECORDS)
    with Journal.open(
        fast_folder, identity=IDENTITY, clock=VirtualClock(), reserve_bytes=0
    ) as opened:
        yield opened


def states(replicas):
    return {actor: state.to_bytes() for actor, state in replicas._states.items()}


def from_the_beginning(journal, upto_seq):
    aside = journal.folder / "aside"
    (journal.folder / "snapshots").rename(aside)
    (journal.folder / "snapshots").mkdir()
    replicas = Replicas(journal, FOLDS)
    assert replicas.folded_upto == 0
    replicas.fold(upto_seq)
    shutil.rmtree(journal.folder / "snapshots")
    aside.rename(journal.folder / "snapshots")
    return states(replicas)


def test_snapshot_and_rest_give_the_same_bytes_as_the_whole(journal):
    first = Replicas(journal, FOLDS)
    first.fold(250)
    first.store()
    second = Replicas(journal, FOLDS)
    assert (second.folded_upto, second.stored_upto) == (250, 250)
    second.fold(RECORDS)
    assert second.folded_upto == RECORDS
    assert states(second) == from_the_beginning(journal, RECORDS)
    assert states(second) != states(first)


def test_the_replicas_are_what_the_actors_fold_by_themselves(journal):
    settings = Settings()
    gate = RiskGate(risk_limits(settings), OrderTable(settings.orders.closed_kept_max))  # judges
    alone = {actor: make(None) for actor, make in FOLDS.items()} | {"risk_pnl": gate}
    recovery = JournalRecovery(journal)
    for actor, state in alone.items():
        _, events = recovery.load(actor, RECORDS)
        for seq, event in events:
            state.apply(event, seq)
    replicas = Replicas(journal, FOLDS)
    replicas.fold(RECORDS)
    assert states(replicas) == {actor: state.to_bytes() for actor, state in alone.items()}


def test_a_long_tail_is_folded_and_stored_before_the_actors_start(journal):
    bring_up_to_date(journal, FOLDS, tail_max=RECORDS)
    assert shared_seq(journal, FOLDS) == 0  # not long enough
    bring_up_to_date(journal, FOLDS, tail_max=RECORDS - 1)
    assert shared_seq(journal, FOLDS) == RECORDS
    wanted = from_the_beginning(journal, RECORDS)
    assert {actor: journal.load_snapshot(actor).state for actor in FOLDS} == wanted


def test_a_kill_between_two_actors_snapshots_leaves_the_one_before(journal):
    replicas = Replicas(journal, FOLDS)
    for upto_seq in (200, 300):
        replicas.fold(upto_seq)
        replicas.store()
    (newest,) = (journal.folder / "snapshots").glob("risk_pnl@*300.snap")
    newest.unlink()
    assert shared_seq(journal, FOLDS) == 200
    assert Replicas(journal, FOLDS).folded_upto == 200


def test_a_restart_from_a_copied_state_comes_to_the_same_as_one_from_the_journal(journal):
    shelf = Shelf()
    shelf.replicas = Replicas(journal, FOLDS)
    shelf.replicas.fold(300)
    plain, quick = JournalRecovery(journal), JournalRecovery(journal, shelf)
    for actor, make in FOLDS.items():
        for upto_seq in (RECORDS, 300, 299):  # a state that is newer than asked for is not used
            found = []
            for recovery in (plain, quick):
                snapshot, events = recovery.load(actor, upto_seq)
                state = make(snapshot)
                for seq, event in events:
                    state.apply(event, seq)
                found.append(state.to_bytes())
            assert found[0] == found[1], (actor, upto_seq)
        assert quick.load(actor, RECORDS)[0] is not None
        assert quick.load(actor, 299)[0] is None


def test_nobody_copies_a_state_in_the_middle_of_a_fold(journal, monkeypatch):
    replicas = Replicas(journal, FOLDS)
    copied = []
    read = journal.read

    def reading(*args):
        for record in read(*args):
            copied.append(replicas.copy("risk_pnl", RECORDS))
            yield record

    monkeypatch.setattr(journal, "read", reading)
    assert replicas.fold(20)
    assert copied == [None] * 20
    assert replicas.copy("risk_pnl", RECORDS) is not None
