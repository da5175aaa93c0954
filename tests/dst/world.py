"""The whole core in one thread and virtual time, with two venues and a user, all drawn from one seed.

The tree is the real one (actors.tree.child_specs), the journal is the real one on a RAM disk. A killed
process leaves behind its journal, what is on the wire, and the venues. dst_checker.py is the judge.
"""

import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from random import Random

from dst_checker import Judge
from dst_port import SimulatedPort
from dst_user import User
from dst_venue import SimVenue

from actors.persistence import JournalRecovery
from actors.replicas import Shelf
from actors.tree import child_specs, folds
from engine.cell import InjectedFault
from engine.clock import NS_PER_S, VirtualClock
from engine.config_models import Settings
from engine.dispatch import CrashInjector, SeededDispatcher
from engine.errors import MessageError
from engine.journal import Identity, Journal
from engine.messages.base import Message
from engine.specs import ChildSpec, RestartPolicy
from engine.supervision import Supervisor
from engine.timers import Timers

RAM = Path("/dev/shm")
WORK_S = 20.0
SETTLE_S = 110.0
POLICY = RestartPolicy(max_restarts=10**9, backoff_max_s=2.0)


class Killed(BaseException):
    """The process ends here; only what is durable stays."""


class Process:
    """One run of the core, from an open journal to a kill."""

    def __init__(self, world: "World") -> None:
        self.alive = True
        self.world = world
        self.dispatcher = SeededDispatcher(world.steps_rng, world.clock, world.timers)
        accounts = {v.account: n for n, v in world.settings.venues.items()}
        self.journal = Journal.open(
            world.folder,
            identity=Identity("demo", world.settings.name, accounts),
            clock=world.clock,
            sync="normal",
            reserve_bytes=0,
        )
        self.epoch = self.journal.epoch
        self.shelf = Shelf()
        self.supervisor = Supervisor(
            world.specs(self),
            clock=world.clock,
            rng=Random(f"{world.seed}|{self.epoch}"),
            dispatchers=dict.fromkeys(("tick", "disk", "adapters"), self.dispatcher),
            recovery=JournalRecovery(self.journal, self.shelf),
            policy=POLICY,
            observer=world.judge.observe,
            on_escalate=lambda what, code: world.judge.fail(f"escalated: {what} {code}"),
            parked_to="persistence",
            run_id=f"dst-{self.epoch}",
            faults=world.crash,
            by_bytes=world.by_bytes,
        )
        self.edge = self.supervisor.add_mailbox("edge", self._read_edge)
        self.supervisor.start()

    def actor(self, name: str):
        return self.supervisor._cells[name].life.actor

    def fault_point(self, point: str) -> None:
        """End the whole process between two statements of the PersistenceActor."""
        if self.alive and self.world.strike(f"killed_{point}", 0.004):
            self.world.must_die = True
            raise InjectedFault(point)

    def die(self) -> None:
        self.alive = False
        self.world.note(self.dispatcher.trace())
        self.dispatcher.stop()
        for cell in self.supervisor._cells.values():
            if cell.life.actor is not None:
                cell.life.actor.retire()
                port = getattr(cell.life.actor, "_port", None)
                if port is not None:
                    port.late_words = False
                    port.stop(0.0)
        self.journal._opened.release()  # as the kernel does: nothing is flushed or told

    def _read_edge(self) -> None:
        while (entry := self.edge.peek()) is not None:
            try:
                self.world.user.hear(self, self.edge.read(entry)[1])
            except MessageError as error:
                self.world.judge.fail(f"unreadable at the edge: {error}")
            self.edge.ack(entry)


class World:
    """Everything of one seed. `run` returns it with what the judge found in `judge.found`."""

    def __init__(
        self,
        seed: int,
        *,
        change: Callable[[ChildSpec], ChildSpec] = lambda spec: spec,
        bias: Mapping[str, float] | None = None,
        by_bytes: bool = False,
    ) -> None:
        self.by_bytes = by_bytes  # whether every hop encodes and decodes
        self.bias = bias or {}  # makes single kinds of fault more frequent
        self.seed = seed
        self.change = change
        self.rng = Random(f"{seed}|world")
        self.steps_rng = Random(f"{seed}|steps")
        self.clock = VirtualClock()
        self.timers = Timers()
        self.fired: Counter[str] = Counter()
        self.faulty = False
        self.must_die = False
        self.numbers = 0
        self.steps = 0
        self._hash = blake2b(digest_size=16)
        root = RAM if RAM.is_dir() else None
        self.folder = Path(tempfile.mkdtemp(prefix="dst-", dir=root))
        self.overlap_ns = self.rng.choice((2, 300)) * NS_PER_S
        pairs = {"symbols": ["BTC/USDT", "ETH/USDT"]}
        snapshots, again_s = self.rng.choice((20, 60, 5_000)), self.rng.choice((7, 20, 60))
        self.settings = Settings.model_validate(
            {
                "venues": {"binance": pairs, "okx": pairs},
                "demo": {"maker": False},
                "journal": {"snapshot_every_records": snapshots},
                "orders": {"reconcile_every_s": again_s, "settle_window_s": 20},
            }
        )
        symbols = ["BTC/USDT", "ETH/USDT"] if self.rng.random() < 0.3 else ["BTC/USDT"]
        self.venues = {
            name: SimVenue(name, self.rng, self.clock, symbols) for name in self.settings.venues
        }
        self.crash = CrashInjector(Random(f"{seed}|crashes"), 0.0)
        self.crash_share = self.rng.choice((0.0, 0.001, 0.003))
        self.fault_share = self.rng.choice((0.3, 1.0, 2.0))
        self.kills = self.rng.choice((0, 0, 1, 2))
        self.folds = folds(self.settings)
        self.judge = Judge(self)
        self.user = User(self)
        self.process: Process | None = None
        self.head_hash = b""

    # --- what the parts use -----------------------------------------------------------------------

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def after(self, delay_s: float, call: Callable[[], object]) -> None:
        """Call in virtual time, whatever becomes of the process."""
        self.timers.add(self.clock.mono_ns() + int(delay_s * NS_PER_S), call)

    def strike(self, kind: str, chance: float) -> bool:
        """Draw whether a fault happens now, and count it."""
        share = self.fault_share * self.bias.get(kind, 1.0)
        hit = self.faulty and self.rng.random() < chance * share
        if hit:
            self.count(kind)
        return hit

    def count(self, kind: str) -> None:
        self.fired[kind] += 1

    def note(self, text: str) -> None:
        """Take something into the trace."""
        self._hash.update(text.encode())

    def tell(self, address: str, message: Message) -> None:
        if self.process is not None:
            self.process.supervisor.tell(address, message)

    def port(self, venue: str) -> SimulatedPort | None:
        actor = self.process.actor(f"adapter.{venue}") if self.process is not None else None
        return getattr(actor, "_port", None)

    def specs(self, process: Process) -> list[ChildSpec]:
        def factory(venue: SimVenue) -> Callable[[], SimulatedPort]:
            return lambda: SimulatedPort(self, process, venue)

        specs = child_specs(
            self.settings,
            journal=process.journal,
            adapters={name: factory(venue) for name, venue in self.venues.items()},
            run="dst",
            fail_stop=lambda why: self.judge.fail(f"fail-stop: {why}"),
            fault_point=process.fault_point,
            enforce_expiry={"binance", "okx"},
            background=lambda work: self.after(self.rng.uniform(0.0, 0.2), work),
            shelf=process.shelf,
        )
        return [self.change(spec) for spec in specs]

    # --- life -------------------------------------------------------------------------------------

    def run(self) -> "World":
        """Live through the seed, faults first, then a quiet window, then the judgement."""
        try:
            for venue in self.venues.values():
                self.user.act_outside(venue, 1)
            self.boot()
            self._beat()
            # An asset without a price (BNB) holds the first opening back; mostly that is waited for.
            self._advance(self.rng.choice((0.2, 3.0, 13.0, 13.0, 13.0)))
            self.faulty = True
            self.crash.share = self.crash_share
            self.user.plan(WORK_S)
            for _ in range(self.kills):
                self.after(self.rng.uniform(0.0, WORK_S), self._kill_soon)
            self._advance(WORK_S)
            self.faulty, self.crash.share = False, 0.0
            self._advance(3.0)
            self._calm()
            self._advance(SETTLE_S)
            self.judge.judge()
            assert self.process is not None
            self.head_hash = self.process.journal.head_hash
            self.note(self.process.dispatcher.trace() if self.process else "")
            self.note(repr(sorted(self.fired.items())))
        finally:
            self.close()
        return self

    @property
    def trace(self) -> str:
        return self._hash.hexdigest()

    def boot(self) -> None:
        self.must_die = False
        self.process = Process(self)

    def close(self) -> None:
        if self.process is not None:
            self.process.die()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _kill_soon(self) -> None:
        self.must_die = True

    def _calm(self) -> None:
        if self.process is None:
            self.boot()
        for name in self.venues:
            port = self.port(name)
            if port is not None:
                port.drop_private(0.5)
                port.set_public(up=True)

    def _beat(self) -> None:
        """The venues' pulse: markets move while there is work, links live for ever."""
        quiet = not self.user.busy
        for name, venue in self.venues.items():
            port = self.port(name)
            for symbol in [] if quiet else venue.symbols:
                venue.move(symbol)
            if port is not None and not quiet:
                port.prove_life()
                gap = self.strike("book_gap", 0.1)
                port.publish_books(*(("GAP", "gap") if gap else ("LIVE", "")))
                if self.strike("private_link_down", 0.02):
                    port.drop_private(self.rng.uniform(0.2, 4.0))
                if self.strike("public_link_down", 0.02):
                    port.set_public(up=False)
                    port.after(self.rng.uniform(0.5, 5.0), lambda p=port: p.set_public(up=True))
        if not quiet:
            self.after(0.9, self._beat)

    def _advance(self, for_s: float) -> None:
        until_ns = self.clock.mono_ns() + int(for_s * NS_PER_S)
        idle = SeededDispatcher(Random(0), self.clock, self.timers)
        while True:
            runner = self.process.dispatcher if self.process is not None else idle
            if not runner.step(until_ns):
                break
            self.steps += 1
            if self.must_die:
                self._kill()
        self.clock.advance_ns(max(0, until_ns - self.clock.mono_ns()))

    def _kill(self) -> None:
        self.must_die = False
        if self.process is None:
            return
        self.count("process_killed")
        self.process.die()
        self.process = None
        self.after(self.rng.uniform(0.1, 4.0), lambda: self.process is None and self.boot())
