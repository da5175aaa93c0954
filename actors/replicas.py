"""The durable actors' states, folded beside them from the journal, and stored as snapshots.

Two users: PersistenceActor keeps the replicas a little behind the journal and stores them now and
then; and before the actors of a new process start, a long tail behind the newest snapshots is folded
here once for all of them, instead of once by each.
"""

from threading import Lock

from loguru import logger

from actors.folds import Fold, Folds, addressed_to, concerns
from engine.envelope import decode_event
from engine.journal import Journal
from engine.messages.base import Event
from engine.messages.events import TradingHalted
from engine.trading.money import exact


class Shelf:
    """What PersistenceActor leaves here outlives it: its replicas, and the halt of a full disk.

    Restarting actors copy a state from the replicas. The halt, with its seq, is one of this process
    that nobody has resumed from: the next incarnation tells it again.
    """

    def __init__(self) -> None:
        self.replicas: Replicas | None = None
        self.halt: tuple[int, TradingHalted] | None = None


class Replicas:
    """One state per durable actor, all as of `folded_upto`.

    One thread folds and stores; another may copy. Neither waits for the other: who finds the other at
    work comes back later, or goes to the journal.
    """

    def __init__(self, journal: Journal, folds: Folds) -> None:
        """Begin where the newest snapshots end that all actors share the seq of, or at nothing."""
        self._journal = journal
        self.folded_upto = self.stored_upto = upto_seq = shared_seq(journal, folds)
        self._lock = Lock()
        self._whole = True  # no event has been folded into a part of the states only
        self._states: dict[str, Fold] = {}
        for actor, make in folds.items():
            held = journal.load_snapshot(actor, upto_seq) if upto_seq else None
            self._states[actor] = make(None if held is None else held.state)

    @exact
    def fold(self, upto_seq: int) -> bool:
        """Fold the journal up to `upto_seq`, or up to its head; False if a state is being copied."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            self._whole = False
            self._fold(upto_seq)
            self._whole = True
        finally:
            self._lock.release()
        return True

    def copy(self, actor: str, upto_seq: int) -> tuple[int, bytes] | None:
        """Return an actor's state and its seq, if it is at hand and not newer than `upto_seq`."""
        if not self._lock.acquire(blocking=False):
            return None
        try:
            if not self._whole or self.folded_upto > upto_seq:
                return None
            return self.folded_upto, self._states[actor].to_bytes()
        finally:
            self._lock.release()

    def _fold(self, upto_seq: int) -> None:
        folding: dict[tuple[str, str, str], list[Fold]] = {}
        for record in self._journal.read(self.folded_upto, min(upto_seq, self._journal.head_seq)):
            event = decode_event(record.kind, record.body)
            key = (record.kind, record.origin, addressed_to(event))
            states = folding.get(key)
            if states is None:
                states = folding[key] = self._folding(record.origin, event)
            for state in states:
                state.apply(event, record.seq)
            self.folded_upto = record.seq

    def _folding(self, origin: str, event: Event) -> list[Fold]:
        return [state for actor, state in self._states.items() if concerns(actor, origin, event)]

    def store(self) -> None:
        """Store a snapshot of each state. Blocks for fsyncs; raises as Journal.save_snapshot does."""
        for actor, state in self._states.items():
            self._journal.save_snapshot(actor, self.folded_upto, state.to_bytes())
        self.stored_upto = self.folded_upto


def bring_up_to_date(journal: Journal, folds: Folds, tail_max: int) -> None:
    """Fold and store what lies behind the newest snapshots, if that is more than `tail_max` records.

    Before the actors start: each of them then begins at the end. Raises as the journal does.
    """
    # By the names alone: reading them all would cost as much as it saves, and whoever loads one
    # that turns out bad takes an older one by itself.
    behind = journal.head_seq - min(journal.newest_snapshot_named(actor) for actor in folds)
    if behind <= tail_max:
        return
    logger.bind(records=behind).info("folding the journal behind the snapshots")
    replicas = Replicas(journal, folds)
    replicas.fold(journal.head_seq)
    replicas.store()


def shared_seq(journal: Journal, folds: Folds) -> int:
    """Return the newest seq of which every actor has a good snapshot; 0 without one.

    A kill may have come between the snapshots of two actors: then it is the one before.
    """
    upto_seq = journal.head_seq
    while upto_seq > 0:
        held = [journal.load_snapshot(actor, upto_seq) for actor in folds]
        seqs = {0 if snapshot is None else snapshot.seq for snapshot in held}
        if len(seqs) == 1:
            return seqs.pop()
        upto_seq = min(seqs)
    return 0
