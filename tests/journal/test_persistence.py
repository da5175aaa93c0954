"""The PersistenceActor by itself: what it tells when it died at the wrong moment, and what it refuses."""

import sqlite3
from decimal import Decimal
from random import Random

import pytest
from journal_factory import open_journal

from actors.persistence import PersistenceActor
from actors.replicas import Shelf
from actors.tree import folds
from engine.actor import Birth
from engine.clock import VirtualClock
from engine.config_models import Settings
from engine.envelope import Entry
from engine.ids import client_order_id, parent_order_id
from engine.messages.commands import Append, AppendRefused, ApprovedOrder, CommittedNow
from engine.messages.events import (
    OrderApproved,
    OrderSpec,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)


def spec(command_id, leg=0, parent_id=None):
    order_id = client_order_id("alpha", command_id, leg)
    return OrderSpec(
        order_id, command_id, order_id, parent_id, "okx.main", "okx", "BTC/USDT", "BUY", "LIMIT",
        "GTC", False, Decimal(1), Decimal(100), "COMMAND", "ann", 1,
    )  # fmt: skip


def approved(order):
    return OrderApproved(order, 1, 2, "fits")


def one_order(command_id):
    return [approved(spec(command_id))]


def split_order(command_id, legs):
    parent_id = parent_order_id("alpha", command_id)
    children = [spec(command_id, leg, parent_id) for leg in range(1, legs + 1)]
    parent = OrderSpec(
        parent_id, command_id, None, None, None, "best", "BTC/USDT", "BUY", "LIMIT", "GTC", False,
        Decimal(legs), Decimal(100), "COMMAND", "ann", 1,
    )  # fmt: skip
    accepted = ParentAccepted(parent, [child.order_id for child in children], "split")
    return [accepted, *map(approved, children)]


def born(journal, shelf, incarnation=1, fault_point=lambda _: None):
    actor = PersistenceActor(
        journal,
        folds(Settings()),
        shelf,
        snapshot_every_records=1000,
        fail_stop=pytest.fail,
        fault_point=fault_point,
    )
    actor.bind(Birth("persistence", incarnation, "r", VirtualClock(), Random(0), lambda _: None))
    return actor


def append(message_id, events):
    message = Append(events)
    entry = Entry(
        "persistence", "Append", message.lane, message_id, None, "risk_pnl", "", "", 1, 1, message
    )
    return [(entry, message)]


def sent(outputs, kind):
    return [out.message for out in outputs if isinstance(getattr(out, "message", None), kind)]


def test_the_halt_of_a_full_disk_is_told_although_who_journaled_it_died_before(fast_folder):
    full = [True]

    def fills_up(point):
        if point == "journal.before_commit" and full:
            full.pop()
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error

    def dies(point):
        if point == "after_commit":
            raise RuntimeError(point)

    shelf = Shelf()
    with open_journal(fast_folder, faults=fills_up) as journal:
        with pytest.raises(RuntimeError):
            born(journal, shelf, 1, dies).handle_batch(append("m1", one_order("a")))
        successor = born(journal, shelf, 2)
        told = sent(successor.run_hook(successor.ready), CommittedNow)
        assert told
        assert all(isinstance(m.event, TradingHalted) and m.seq == 1 for m in told)
        resumed = TradingResumed("all", "there is room", "ann", 2, "c2")
        successor.handle_batch(append("m2", [resumed]))
        last = born(journal, shelf, 3)
        assert sent(last.run_hook(last.ready), CommittedNow) == [], "a person has resumed"


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (split_order("a", 2), split_order("a", 3)),
        (split_order("a", 2), one_order("a")),
        (one_order("a"), split_order("a", 2)),
        (split_order("a", 2)[2:], split_order("a", 3)),
    ],
)
def test_a_command_that_only_the_journal_remembers_makes_no_second_order_of_another_shape(
    fast_folder, first, again
):
    with open_journal(fast_folder) as journal:
        actor = born(journal, Shelf())
        for _ in range(2):  # once more, as after a crash: it is the same order
            outputs = actor.handle_batch(append("m1", first))
            approvals = [e for e in first if isinstance(e, OrderApproved)]
            assert len(sent(outputs, ApprovedOrder)) == len(approvals)
        outputs = actor.handle_batch(append("m2", again))
        assert sent(outputs, ApprovedOrder) == []
        refused = {m.events[0].order.order_id: m.code for m in sent(outputs, AppendRefused)}
        assert refused == {e.order.order_id: "already_journaled" for e in again}
        assert journal.head_seq == len(first)
        assert len(sent(actor.handle_batch(append("m3", one_order("b"))), ApprovedOrder)) == 1
