"""The whole core inside a benchmark: every actor of actors/tree.py, dispatched as in the product.

A caller-runs dispatcher for the tick path, the edge with a thread of its own. What differs is said
by whoever builds one: the journal (in memory, with PersistenceActor on the tick dispatcher; or the
real one on disk, with a thread of its own), the venues' ports, and who stands in the demo maker's
place as a reader of the consolidated book.
"""

import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread
from typing import Any, Final

from actors.adapter import VenuePort
from actors.persistence import JournalRecovery
from actors.replicas import Shelf
from actors.tree import DISK, TICK, child_specs
from bench.loopback import SYMBOL
from bench.memory_journal import MemoryJournal
from bench.port_process import port_in_process
from bench.ports import STALE_AFTER_MS, OrderingPort, Strategy, connect
from engine import collector
from engine.actor import Actor
from engine.clock import SystemClock
from engine.config_models import Settings
from engine.control_port import Facts
from engine.dispatch import CallerRunsDispatcher, ThreadDispatcher
from engine.edge import Edge
from engine.inlet import Inlet
from engine.journal import Identity, Journal
from engine.messages.base import Message
from engine.specs import RuntimeEvent
from engine.supervision import Supervisor
from engine.threads import DaemonThreads

VENUE: Final = "okx"
SWITCH_INTERVAL_S: Final = 5e-5
LOOK_EVERY_S: Final = 0.02
NAME: Final = "bench"

Deliver = Callable[[Message], None]
MakePort = Callable[["Core", str], VenuePort]


def settings(venues: Mapping[str, str], *, maker: bool = True) -> Settings:
    """Return the configuration: venues and their symbols, and limits that never bind."""
    return Settings.model_validate(
        {
            "name": NAME,
            "demo": {"maker": maker},
            "venues": {
                venue: {
                    "adapter": "okx",
                    "symbols": [symbol],
                    "stale_after_ms": STALE_AFTER_MS,
                    "credentials": {"api_key": venue, "api_secret": "unused"},
                }
                for venue, symbol in venues.items()
            },
            "risk": {
                "max_order_notional": "1000000",
                "max_open_notional": "100000000",
                "max_open_orders": 100_000,
                "max_orders_per_second": 10_000,
                "max_position": {"BTC": "1000000"},
            },
            "orders": {"closed_kept_max": 1000},
            "journal": {"snapshot_every_records": 10_000_000},
        }
    )


class Core:
    """The runtime with its edge, built as supervisor.py builds it."""

    def __init__(
        self,
        ports: Mapping[str, MakePort],
        *,
        symbols: Mapping[str, str] | None = None,
        reader: Callable[[], Actor] | None = None,
        folder: Path | None = None,
        observer: Callable[[RuntimeEvent], None] = lambda _: None,
    ) -> None:
        """Build everything; nothing runs yet.

        Args:
            ports: what makes each venue's port.
            symbols: the symbols of venues that do not trade the usual one.
            reader: makes the actor that reads the consolidated book in the demo maker's place.
            folder: where a journal on disk is kept; None keeps it in memory.
            observer: is told what happens to the actors.
        """
        self.clock = SystemClock()
        self.threads = DaemonThreads()
        self._ports = ports
        traded = dict.fromkeys(ports, SYMBOL) | dict(symbols or {})
        config = settings(traded, maker=reader is not None)
        self.journal: Any = MemoryJournal()
        if folder is not None:
            accounts = {venue.account: name for name, venue in config.venues.items()}
            self.journal = Journal.open(
                folder, identity=Identity("demo", NAME, accounts), clock=self.clock
            )
        shelf = Shelf()
        specs = child_specs(
            config,
            journal=self.journal,
            adapters={venue: lambda venue=venue: self._make_port(venue) for venue in ports},  # type: ignore[misc]
            run="bench-1",
            fail_stop=sys.exit,
            fault_point=lambda _: None,
            enforce_expiry=(),
            background=self.threads.background,
            shelf=shelf,
        )
        if reader is not None:
            specs = [replace(s, factory=reader) if s.name == "demo_maker" else s for s in specs]
        ring = CallerRunsDispatcher(TICK)
        self.runtime = Supervisor(
            specs,
            clock=self.clock,
            rng=random.Random(1),
            dispatchers={TICK: ring, DISK: ring if folder is None else ThreadDispatcher(DISK)},
            recovery=JournalRecovery(self.journal, shelf),
            observer=observer,
            parked_to="persistence",
            run_id="bench-1",
        )
        facts = Facts("demo", NAME, "0", dict.fromkeys(ports, (SYMBOL,)))
        self.edge = Edge(
            self.runtime, self.journal, self.clock, facts, background=self.threads.background
        )

    def _make_port(self, venue: str) -> VenuePort:
        return self._ports[venue](self, venue)

    def deliver_to(self, venue: str) -> Deliver:
        """Return the way of a venue's reports to its actor."""
        return Inlet(self.runtime, venue, 1, lambda _: None)

    def start(self, within_s: float = 30.0) -> None:
        """Start the edge's thread and the actors; return when every venue may trade."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        self.threads.start("edge", self.edge.run)
        self.runtime.start()
        pause = Event()
        for _ in range(int(within_s / LOOK_EVERY_S)):
            if self._is_ready():
                collector.settle()
                return
            pause.wait(LOOK_EVERY_S)
        raise TimeoutError(f"the core is not ready after {within_s:g} s")

    def _is_ready(self) -> bool:
        status = self.edge.query("status", {}).result(5.0)
        ready = [venue["state"] == "READY" for venue in status["venues"]]
        return bool(ready) and all(ready) and bool(status["accounts_opened"])

    def stop(self) -> None:
        """Stop the actors and close the journal."""
        self.runtime.stop(5.0)
        self.edge.stop()
        self.threads.stop()
        if isinstance(self.journal, Journal):
            self.journal.close()


@dataclass(frozen=True)
class Variant:
    """Which core stands behind the loopback venue.

    `folder` of a journal on disk, `hog` for a CPU-bound thread, `process` for a venue apart.
    """

    folder: Path | None = None
    hog: bool = False
    process: bool = False


def run(port: int, variant: Variant = Variant()) -> None:
    """Be the client: bring the core up, say that it is ready, and run until killed."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()

    def make_port(core: Core, venue: str) -> VenuePort:
        if variant.process:
            return port_in_process(core, venue, SYMBOL, port, orders=True)
        return OrderingPort(venue, port, core.clock, core.deliver_to(venue))

    core = Core({VENUE: make_port}, reader=Strategy, folder=variant.folder)
    core.start()
    if variant.hog:
        Thread(target=hog, daemon=True).start()
    connect(port, "/ready")
    Event().wait()


def hog() -> None:
    """Compute without end."""
    number = 0
    while True:
        for n in range(2000):
            number += n * n
