"""Looks for the HALT file of a running core, and for receipts of panics that nobody has journaled.

A thread of its own looks ten times a second, so that neither a busy core nor a full mailbox delays
it; a signal makes it look at once. The gates look for the file themselves: this makes it a halt
that is journaled, swept and shown.
"""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, Final

import msgspec
from loguru import logger

from engine import halt_file
from engine.errors import Fenced
from engine.ids import Ids
from engine.journal_records import JournalError
from engine.messages.base import Message
from engine.messages.commands import Append, Halt
from engine.messages.engine_events import VenueSwept
from engine.supervision import Supervisor

LOOK_EVERY_S: Final = 0.1


class HaltWatch:
    """Watches the state folder of one core. `run` on a thread of its own."""

    def __init__(
        self,
        state_dir: Path,
        runtime: Supervisor,
        ids: Ids,
        find: Callable[[str], object | None],
    ) -> None:
        """Take the folder, whom to tell, and what finds a record of the journal by its key."""
        self._state_dir = state_dir
        self._path = halt_file.halt_path(state_dir)
        self._runtime = runtime
        self._ids = ids
        self._find = find
        self._told: set[Path] = set()  # receipts that are on their way into the journal
        self._asked = ""
        self._wake = Event()
        self._stopping = False
        self._obeyed: tuple[int, int] | None = None

    def run(self) -> None:
        """Look until `stop`."""
        self.import_receipts()
        while not self._stopping:
            self.look()
            self._wake.wait(LOOK_EVERY_S)
            self._wake.clear()

    def stop(self) -> None:
        """End `run` soon."""
        self._stopping = True
        self._wake.set()

    def ask(self, who: str) -> None:
        """Halt everything: by the file, by word where none can be made. From a signal handler, too."""
        try:
            halt_file.put(self._state_dir, who, f"signal {who}")
        except OSError:  # the disk may be full: what escaped a signal handler would end the core
            self._asked = who
        self._wake.set()

    def look(self) -> None:
        """Obey a HALT file that was not there at the last look, and import what panics have told."""
        asked, self._asked = self._asked, ""
        stands = halt_file.stands(self._path)
        if stands or self._told:
            self.import_receipts()
        if not stands:
            self._obeyed = None
            if asked:
                self._halt(asked, f"signal {asked}; no HALT file could be made")
            return
        note = halt_file.note_of(self._state_dir)
        if note is None or note.identity == self._obeyed:
            return
        self._obeyed = note.identity
        self._halt(note.who, note.reason)

    def _halt(self, who: str, reason: str) -> None:
        logger.bind(who=who, reason=reason).critical("HALT file: trading halts")
        self._tell("risk_pnl", Halt(self._ids.command_id(), "all", reason, who, True, "edge"))

    def import_receipts(self) -> None:
        """Journal what panics did meanwhile, each once; a receipt is done with when that is durable."""
        for path, told in halt_file.receipts(self._state_dir):
            try:
                swept = [msgspec.convert(row, VenueSwept) for row in swept_rows(told)]
            except (msgspec.ValidationError, ValueError, TypeError, KeyError) as error:
                logger.bind(path=str(path)).error("a panic's receipt cannot be read: {}", error)
                with suppress(OSError):
                    path.replace(path.with_suffix(".unreadable"))
                continue
            if all(self._is_journaled(event) for event in swept):
                halt_file.imported(path)
                self._told.discard(path)
            elif path not in self._told:
                for event in swept:
                    logger.bind(venue=event.venue, proven=event.proven).warning(
                        "a panic swept a venue"
                    )
                self._tell("persistence", Append([*swept]))
                self._told.add(path)

    def _is_journaled(self, event: VenueSwept) -> bool:
        try:
            return self._find(event.unique_key()) is not None
        except JournalError:  # it has failed, or the core stops: the next core imports it
            return False

    # Who tells may run actors: given up as stuck in one and back again, this thread goes on watching.
    def _tell(self, address: str, message: Message) -> None:
        try:
            self._runtime.tell(address, message, sender="supervisor")
        except Fenced:
            self._runtime.register_thread(lambda: None)
            self._runtime.tell(address, message, sender="supervisor")


def swept_rows(receipt: dict[str, Any]) -> list[list[Any]]:
    """Return a receipt's venues as the arrays that VenueSwept is made of."""
    return [
        [
            "VenueSwept", receipt["panic_id"], "panic", row["venue"], row["account"],
            receipt["who"], row["canceled"],
            [[f["order_id"], f["quantity"]] for f in row["filled"]],
            row["unknown"], row["left"], row["proven"], row["problem"][:2000], receipt["ts_ns"],
        ]
        for row in receipt["venues"]
    ]  # fmt: skip
