"""`xcore panic`: fence the core, cancel what this instance has open everywhere, prove it, leave a receipt.

A process of its own with REST clients of its own: it needs no core, and trusts none. The fence comes
first and needs neither configuration nor venue: the HALT file, which every gate asks as the last code
before its socket. All venues are swept at once; one that is down is said to be, and the others go on.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from adapters.absent import absence
from adapters.hosting import venue_settings
from adapters.panic_venue import VenuePanic, can_trade
from adapters.runners import rests_orders
from engine import halt_file
from engine.client import Client
from engine.clock import NS_PER_S, SystemClock
from engine.config_models import Config
from engine.demo import endpoints_of
from engine.errors import EXIT_OK, EXIT_UNKNOWN, ConfigError, CoreError
from engine.ids import UlidIds
from engine.journal import JournalError
from engine.journal_orders import JournalOrders, orders_of
from engine.threads import DaemonThreads

CORE_ANSWERS_S: Final = 2.0
JOURNAL_WITHIN_S: Final = 20.0
Say = Callable[[str], None]
_T = TypeVar("_T")


class Panic:
    """One panic on one state folder. Blocks; each step says on `say` what it does."""

    def __init__(self, state_dir: Path, who: str, reason: str, say: Say) -> None:
        self.state_dir = state_dir
        self.panic_id = UlidIds().command_id()
        self._who = who
        self._reason = reason
        self._say = say
        self._clock = SystemClock()
        self._threads = DaemonThreads()
        self._fenced_ns = self._clock.mono_ns()
        self._known: Future[JournalOrders | None] | None = None
        self._asked: Future[str] | None = None
        self._asked_ns = 0

    def fence(self) -> None:
        """Stop every new order, durably. Raises OSError when the state folder cannot be written."""
        is_new = halt_file.put(self.state_dir, self._who, self._reason)
        self._fenced_ns = self._clock.mono_ns()
        self.read_journal()
        place = self.state_dir / halt_file.HALT_NAME
        self._say(f"fenced: {place}{'' if is_new else ' stood already'}")

    def read_journal(self) -> None:
        """Begin to read what is open: behind the fence, and before a living core cancels it."""
        self._known = self._aside("panic.journal", self._journal)

    def ask_core(self) -> None:
        """Have a living core halt over its control socket too; waits for nothing."""
        self._asked = self._aside("panic.core", self._halt_core)
        self._asked_ns = self._clock.mono_ns()

    def core_said(self) -> str:
        """Return what the core answered, within two seconds of having been asked."""
        assert self._asked is not None, "ask it first"
        waited_s = (self._clock.mono_ns() - self._asked_ns) / NS_PER_S
        try:
            text = self._asked.result(max(0.0, CORE_ANSWERS_S - waited_s))
        except TimeoutError:
            text = f"the core did not answer within {CORE_ANSWERS_S:g} s: wedged, and fenced"
        self._say(text)
        return text

    def _halt_core(self) -> str:
        try:
            with Client(self.state_dir) as client:
                receipt = client.request(
                    "risk.halt", reason=self._reason, timeout_s=CORE_ANSWERS_S, cancel=True
                )
        except CoreError as error:
            return f"no core confirmed a halt: {error}"
        return f"the core halted: {dict(receipt)['trading_state']}"

    def sweep(self, config: Config, within_s: float) -> dict[str, Any]:
        """Cancel and prove at every enabled venue; return the receipt, which is kept for the next core."""
        if self._known is None:  # it could not be fenced
            self.read_journal()
        known = self._known
        assert known is not None, "just begun"
        end_ns = self._clock.mono_ns() + int(within_s * NS_PER_S)
        simulated = endpoints_of(self.state_dir) if config.mode == "demo" else {}
        venues, skipped, dealers = [], [], {}
        for name, venue in config.venues.items():
            if not venue.enabled:
                continue
            why = absence(venue, config.mode)
            if why is not None:
                skipped.append(_skipped(name, venue.account, "", why.text))
                continue
            try:
                settings = venue_settings(name, venue, simulated, self.state_dir, config.mode)
            except KeyError:
                skipped.append(
                    _skipped(name, venue.account, "it is simulated, and no simulator runs")
                )
                continue
            if not rests_orders(settings.adapter):
                dealers[name] = _skipped(name, venue.account, "", "no order can rest there")
                continue
            try:
                may_have_traded = can_trade(settings)
            except ConfigError as error:  # one venue's mistake holds up no other's sweep
                skipped.append(_skipped(name, venue.account, str(error)))
                continue
            if not may_have_traded:
                skipped.append(_skipped(name, venue.account, ""))
                continue
            venues.append(
                VenuePanic(
                    settings,
                    config.name,
                    self._clock,
                    say=self._say,
                    fenced_mono_ns=self._fenced_ns,
                    end_mono_ns=end_ns,
                )
            )
        running = [
            self._threads.start(f"panic.{v.receipt.venue}", partial(v.run, partial(_waited, known)))
            for v in venues
        ]
        for venue_panic, thread in zip(venues, running, strict=True):
            left_s = (end_ns - self._clock.mono_ns()) / NS_PER_S
            thread.join(max(0.0, left_s) + CORE_ANSWERS_S)
            if thread.is_alive():
                venue_panic.give_up(f"not done within {within_s:g} s", _waited(known))
        # What was on its way to a dealer is done or not, and nothing here can cancel it.
        journal = _waited(known) if dealers else None
        for order in () if journal is None else journal.open_orders:
            if order.spec.venue in dealers:
                dealers[order.spec.venue]["unknown"].append(order.spec.order_id)
        rows = [*(v.receipt.plain() for v in venues), *skipped, *dealers.values()]
        return self._receipt(rows)

    # On a daemon thread: a core that never answers must not keep this process.
    def _aside(self, name: str, work: Callable[[], _T]) -> "Future[_T]":
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except Exception as error:  # noqa: BLE001  told to whoever waits, as an executor does
                future.set_exception(error)

        self._threads.start(name, run)
        return future

    def _journal(self) -> JournalOrders | None:
        try:
            return orders_of(self.state_dir / "journal")
        except (JournalError, CoreError, OSError) as error:
            self._say(f"the journal cannot be read, the venues are asked alone: {error}")
            return None

    def _receipt(self, venues: list[dict[str, Any]]) -> dict[str, Any]:
        receipt = {
            "schema": 1,
            "panic_id": self.panic_id,
            "who": self._who,
            "reason": self._reason,
            "ts_ns": self._clock.wall_ns(),
            "halt_file": str(self.state_dir / halt_file.HALT_NAME),
            "proven": all(row["proven"] for row in venues),
            "venues": venues,
        }
        try:
            halt_file.keep_receipt(self.state_dir, self.panic_id, receipt)
        except OSError as error:
            self._say(f"the receipt was not kept for the next core: {error}")
        return receipt


def exit_code(receipt: Mapping[str, Any]) -> int:
    """Return 0 when every venue is proven empty of ours and nothing is unknown, else 5."""
    unknown = any(row["unknown"] for row in receipt["venues"])
    return EXIT_OK if receipt["proven"] and not unknown else EXIT_UNKNOWN


def _waited(known: "Future[JournalOrders | None]") -> JournalOrders | None:
    try:
        return known.result(JOURNAL_WITHIN_S)
    except TimeoutError:
        return None


def _skipped(
    venue: str, account: str, problem: str, text: str = "no key: it cannot have traded"
) -> dict[str, Any]:
    return {
        "venue": venue, "account": account, "canceled": [], "filled": [], "unknown": [],
        "left": [], "proven": not problem, "problem": problem or text,
    }  # fmt: skip
