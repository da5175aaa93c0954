"""The HALT file and the receipts of panics: who may make them, and what a core takes from them."""

from decimal import Decimal

import pytest

from engine import halt_file
from engine.errors import Fenced
from engine.halt_watch import HaltWatch
from engine.ids import UlidIds
from engine.messages.commands import Append, Halt

RECEIPT = {
    "panic_id": "p1",
    "who": "panic by ann",
    "ts_ns": 7,
    "venues": [
        {
            "venue": "okx",
            "account": "okx.main",
            "canceled": ["ce1"],
            "filled": [{"order_id": "ce1", "quantity": "0.5"}],
            "unknown": [],
            "left": ["4711"],
            "proven": True,
            "problem": "",
        }
    ],
}


class Told:
    """Collects what is told."""

    def __init__(self):
        self.messages = []

    def tell(self, address, message, *, sender):
        self.messages.append((address, message))


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def journaled():
    return {}


@pytest.fixture
def watch(tmp_path, told, journaled):
    return HaltWatch(tmp_path, told, UlidIds(), journaled.get)


def test_the_file_is_made_once_and_lifted_once(tmp_path):
    path = halt_file.halt_path(tmp_path)
    assert not halt_file.stands(path)
    assert halt_file.put(tmp_path, "ann", "fire")
    assert not halt_file.put(tmp_path, "bob", "smoke"), "the first word stands"
    assert halt_file.stands(path)
    note = halt_file.note_of(tmp_path)
    assert (note.who, note.reason) == ("ann", "fire")
    assert halt_file.lift(tmp_path)
    assert not halt_file.lift(tmp_path)
    assert halt_file.note_of(tmp_path) is None


def test_what_cannot_be_looked_for_counts_as_there(tmp_path):
    assert halt_file.stands(str(tmp_path / ("x" * 300))), "a name too long is no proof of absence"
    (tmp_path / "HALT").symlink_to(tmp_path / "nowhere")
    assert halt_file.stands(halt_file.halt_path(tmp_path)), "a dangling link is a file too"


@pytest.mark.parametrize(
    ("text", "reason"), [("", "HALT file"), ("the desk is on fire\n", "the desk is on fire"), ("[1]", "[1]")]
)  # fmt: skip
def test_a_file_that_a_person_wrote_is_obeyed_once(tmp_path, watch, told, text, reason):
    watch.look()
    assert told.messages == []
    (tmp_path / "HALT").write_text(text)
    watch.look()
    watch.look()
    ((address, halt),) = told.messages
    assert isinstance(halt, Halt)
    assert (address, halt.scope, halt.reason, halt.cancel) == ("risk_pnl", "all", reason, True)
    halt_file.lift(tmp_path)
    watch.look()
    (tmp_path / "HALT").write_text(text)
    watch.look()
    assert len(told.messages) == 2, "made again, it is another halt"


def test_a_signal_halts_by_the_file_and_by_word_where_none_can_be_made(tmp_path, watch, told):
    watch.ask("SIGUSR1")
    watch.look()
    (tmp_path / "nowhere").touch()
    without = HaltWatch(tmp_path / "nowhere", told, UlidIds(), {}.get)
    without.ask("SIGUSR1")
    without.look()
    without.look()
    assert [(address, halt.who, halt.cancel) for address, halt in told.messages] == [
        ("risk_pnl", "SIGUSR1", True)
    ] * 2


def test_a_thread_that_was_given_up_as_stuck_goes_on_watching(tmp_path, watch, told):
    tell, welcomed = told.tell, []

    def fenced_once(address, message, *, sender):
        if not welcomed:
            raise Fenced("given up as stuck")
        tell(address, message, sender=sender)

    told.tell, told.register_thread = fenced_once, welcomed.append
    halt_file.put(tmp_path, "ann", "fire")
    watch.look()
    ((address, halt),) = told.messages
    assert (address, halt.who) == ("risk_pnl", "ann")


def test_a_receipt_is_imported_once_and_an_unreadable_one_is_kept_aside(
    tmp_path, watch, told, journaled
):
    halt_file.keep_receipt(tmp_path, "p1", RECEIPT)
    halt_file.keep_receipt(tmp_path, "p2", {"panic_id": "p2", "venues": [{}]})
    (tmp_path / "panic" / "p3.json").write_text("no json")
    watch.import_receipts()
    watch.import_receipts()
    ((address, append),) = told.messages
    assert isinstance(append, Append)
    (swept,) = append.events
    assert (address, swept.by, swept.venue, swept.canceled) == (
        "persistence",
        "panic",
        "okx",
        ["ce1"],
    )
    assert swept.filled == [("ce1", Decimal("0.5"))]
    assert (tmp_path / "panic" / "p1.json").exists(), "a core that dies now must find it again"
    journaled[swept.unique_key()] = append
    watch.look()
    assert len(told.messages) == 1
    names = {path.name for path in (tmp_path / "panic").iterdir()}
    assert names == {"p1.imported", "p2.unreadable", "p3.json"}
