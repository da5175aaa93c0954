"""The program: configuration -> parts in start order -> run -> stop in reverse.

`python supervisor.py [-c FILE] [--mode MODE] [--state-dir DIR]`. This is the composition root: the
only file that knows every part, and nothing imports it.
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import SystemRandom
from threading import Event
from typing import Final

from loguru import logger

from actors.persistence import JournalRecovery
from actors.replicas import Shelf, bring_up_to_date
from actors.tree import TICK, child_specs, enabled_venues, folds, restart_policy
from adapters.configuration import read_losses
from adapters.hosting import Surroundings, Venues
from adapters.runners import NAMELESS
from engine import collector, halt_file, service
from engine.alarms import Alarms
from engine.clock import NS_PER_S, SystemClock
from engine.config import config_hash, default_path, load
from engine.config_models import Config
from engine.control import ControlServer, Facts, Limits
from engine.demo import Simulator, begin
from engine.dispatch import CallerRunsDispatcher, ThreadDispatcher
from engine.edge import Edge
from engine.errors import EXIT_CONFIG, EXIT_FAILED, EXIT_JOURNAL, EXIT_OK, ConfigError, CoreError
from engine.faultpoints import ActorCrashes, FaultPoints
from engine.greeting import greet, say
from engine.halt_watch import HaltWatch
from engine.ids import UlidIds
from engine.journal import Identity, Journal
from engine.journal_audit import watch_over
from engine.logs import configure, hider, secrets_of
from engine.messages.commands import Append, CancelOrders, Tick
from engine.messages.engine_events import CommandRecorded, EngineStarted, EngineStopped
from engine.page_process import PageProcess
from engine.run_note import note_run
from engine.supervision import ActorStatus, Supervisor
from engine.threads import DaemonThreads

VERSION: Final = "0.1.0"
SWITCH_INTERVAL_S: Final = 5e-5  # a CPU-bound thread costs the tick path 0.1 ms instead of 10
READY_WITHIN_S: Final = 30.0
DRILL_AFTER_S: Final = 20.0
LOOK_EVERY_S: Final = 0.05
SIMULATOR_LOOK_S: Final = 0.5
STOP_WITHIN_S: Final = 3.0
SAME_SIGNAL_NS: Final = NS_PER_S  # `timeout` and terminals signal a process and its group


class Core:
    """One run of the program, from an open journal to a closed one."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.clock = SystemClock()
        self.rng = SystemRandom()
        self.ids = UlidIds()
        self.threads = DaemonThreads()
        self.service = service.Service(os.environ, self.clock)
        self.alarms = Alarms(self.ids, self.clock, self.threads.background)
        self.faults = FaultPoints.from_environment(os.environ, config.mode)
        self.ended = Event()
        self.signaled_ns = 0
        self.exit_code = EXIT_OK
        self.why = ""
        self.simulator: Simulator | None = None
        self.page = PageProcess(config, self.threads.start, self.clock.mono_ns)
        self.venues = Venues(config, enabled_venues(config), self._surroundings())
        self.journal: Journal | None = None
        self.runtime: Supervisor | None = None
        self.edge: Edge | None = None
        self.control: ControlServer | None = None
        self.halts: HaltWatch | None = None

    def _surroundings(self) -> Surroundings:
        threads = self.threads.start
        return Surroundings(self.clock, self.rng, threads, self.faults, os.environ)

    # --- start ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Bring everything up. Raises CoreError with what is wrong and what to do."""
        config, venues = self.config, enabled_venues(self.config)
        self.venues.prepare()
        self.journal = Journal.open(
            config.state_dir / "journal",
            identity=Identity(config.mode, config.name, {v.account: n for n, v in venues.items()}),
            clock=self.clock,
            sync=config.journal.sync,
            faults=self.faults,
        )
        if config.mode == "demo" and any(v.is_simulated for v in venues.values()):
            self.simulator = begin(config, venues.values(), self.clock)
        bring_up_to_date(self.journal, folds(config), 2 * config.journal.snapshot_every_records)
        self.runtime = self._build_runtime(self.journal)
        if self.simulator is not None:
            self.simulator.wait()
            self.venues.simulated = self.simulator.endpoints
        self.alarms.runtime = self.venues.runtime = self.runtime
        self.edge = self._build_edge(self.runtime, self.journal)
        self.threads.start("edge", self.edge.run)
        self.runtime.start()
        now_ns = self.clock.wall_ns()
        started = EngineStarted(VERSION, config.mode, config.name, config_hash(config), now_ns)
        self.runtime.tell("persistence", Append([started]), sender="supervisor")
        self._tell_losses(self.runtime, now_ns)
        self.halts = HaltWatch(config.state_dir, self.runtime, self.ids, self.journal.find)
        self.halts.look()  # before anybody may place an order
        self.threads.start("halt-file", self.halts.run)
        note_run(config.state_dir, source=config.source, mode=config.mode, pid=os.getpid())
        self.control = ControlServer(
            config.state_dir,
            self.edge,
            clock=self.clock,
            ids=self.ids,
            limits=Limits(
                connections_max=config.control.connections_max,
                frame_max_bytes=config.control.frame_max_bytes,
            ),
            threads=self.threads,
        )
        self.control.start()
        if self.journal.unchecked_upto:
            self.threads.start("journal-check", partial(watch_over, self.journal, self._escalate))

    def _build_runtime(self, journal: Journal) -> Supervisor:
        config = self.config
        shelf = Shelf()
        specs = child_specs(
            config,
            journal=journal,
            adapters={name: self.venues.factory(name) for name in enabled_venues(config)},
            run=f"demo-{journal.epoch}",
            fail_stop=self._fail_stop,
            fault_point=self.faults,
            enforce_expiry=self.venues.enforce_expiry(),
            background=self.threads.background,
            shelf=shelf,
            nameless=NAMELESS,
            absent=self.venues.absent(),
        )
        return Supervisor(
            specs,
            faults=ActorCrashes.from_environment(os.environ, config.mode, self._tree),
            clock=self.clock,
            rng=self.rng,
            dispatchers={
                name: CallerRunsDispatcher(name) if name == TICK else ThreadDispatcher(name)
                for name in {TICK} | {spec.dispatcher for spec in specs}
            },
            recovery=JournalRecovery(journal, shelf),
            policy=restart_policy(config),
            observer=self.alarms.observe,
            on_escalate=self._escalate,
            parked_to="persistence",
            hide=hider(secrets_of(config)),
            run_id=f"{config.name}-{journal.epoch}",
        )

    # What the venues' processes of a core that died did about its orders, for people to see.
    def _tell_losses(self, runtime: Supervisor, now_ns: int) -> None:
        for told in read_losses(self.config.state_dir):
            logger.bind(**told).warning("a venue process had lost its core")
            event = CommandRecorded("", "core lost", str(told)[:2000], "venue process", now_ns)
            runtime.tell("persistence", Append([event]), sender="supervisor")

    def _tree(self) -> list[ActorStatus]:
        return self.runtime.tree() if self.runtime is not None else []

    def _build_edge(self, runtime: Supervisor, journal: Journal) -> Edge:
        venues = enabled_venues(self.config)
        facts = Facts(
            mode=self.config.mode,
            instance=self.config.name,
            version=VERSION,
            venues={name: tuple(venue.symbols) for name, venue in venues.items()},
            accounts={name: venue.account for name, venue in venues.items()},
            time_in_force=self.config.orders.time_in_force,
            state_dir=self.config.state_dir,
        )
        return Edge(
            runtime,
            journal,
            self.clock,
            facts,
            faults=self.simulator,
            background=self.threads.background,
            processes=self.venues.view,
        )

    # --- run --------------------------------------------------------------------------------------

    def run(self) -> None:
        """Say what there is, wait for a reason to stop, and drill once in demo mode."""
        assert self.edge is not None
        edge = self.edge
        greet(self.config, VERSION, list(enabled_venues(self.config)))
        self.page.start()
        is_ready = self._until(lambda: service.is_ready(edge, self.venues.absent()), READY_WITHIN_S)
        self.page.hurry()
        self.service.ready()  # a venue that is down is no reason to be started anew
        collector.settle()  # once the actors have their states back: those stay
        if is_ready:
            say(f"ready: every venue is reconciled and may trade{self._but()}")
            self._sweep_old_quotes()
        elif not self.ended.is_set():
            say("not every venue is ready yet; `xcore status` says why")
        drill_ns = self.clock.mono_ns() + int(DRILL_AFTER_S * NS_PER_S)
        wants_drill = self.config.mode == "demo" and self.config.demo.drill
        while not self.ended.wait(SIMULATOR_LOOK_S):
            self.service.beat(edge)
            if self.simulator is not None and self.simulator.revive():
                say("the simulator was gone; it runs again, with the orders it had")
            if wants_drill and self.clock.mono_ns() >= drill_ns:
                wants_drill = False
                self._drill()

    def _but(self) -> str:
        missing = self.venues.absent()
        return f", but for {', '.join(missing)}, not there" if missing else ""

    def _sweep_old_quotes(self) -> None:
        """Cancel what the demo maker of a killed run left resting; it does not know them any more."""
        if self.edge is None or self.runtime is None:
            return
        run = f"demo-{self.journal.epoch if self.journal else 0}-"
        held = self.edge.query("orders", {"state": "open"}).result(1.0)
        old = [o for o in held if o["who"] == "demo maker" and not o["command_id"].startswith(run)]
        if old:
            ids = [o["order_id"] for o in old]
            command = CancelOrders(
                self.ids.command_id(), ids, False, None, None, "old quote", "supervisor", "edge"
            )
            self.runtime.tell("order_router", command, sender="supervisor")

    def _drill(self) -> None:
        """Kill one ExchangeActor, so that a newcomer sees what happens then."""
        assert self.edge is not None
        name = f"exchange.{next(iter(enabled_venues(self.config)))}"
        say(f"drill    killing {name}; it restarts from the journal, the others trade on")
        self.edge.kill_actor(name, "demo drill")

    def _until(self, condition: Callable[[], bool], within_s: float) -> bool:
        end_ns = self.clock.mono_ns() + int(within_s * NS_PER_S)
        while self.clock.mono_ns() < end_ns and not self.ended.is_set():
            if condition():
                return True
            self.ended.wait(LOOK_EVERY_S)
        return False

    # --- stop -------------------------------------------------------------------------------------

    def end(self, why: str, exit_code: int = EXIT_OK) -> None:
        """Ask the main thread to stop in order. From any thread, or a signal handler."""
        if not self.ended.is_set():
            self.why, self.exit_code = why, exit_code
            self.ended.set()

    def ask_halt(self, signal_name: str) -> None:
        """Halt everything, from a signal handler: by the HALT file, which closes every gate by itself."""
        if self.halts is not None:
            self.halts.ask(signal_name)
        else:  # a core that cannot be halted yet does not start
            halt_file.put(self.config.state_dir, signal_name, f"signal {signal_name}")

    def _escalate(self, what: str, exit_code: int) -> None:
        logger.bind(reason=what, exit_code=exit_code).critical("giving up")
        if self.runtime is not None:
            self.alarms.halt("all", what)
        self.end(what, exit_code)

    def _fail_stop(self, why: str) -> None:
        """The journal cannot be trusted: nothing more may happen in this process, not even tidying."""
        logger.critical("{}", why)
        sys.stderr.write(f"stopped at once: {why}\n")
        sys.stderr.flush()
        os._exit(EXIT_JOURNAL)

    def stop(self) -> int:
        """Take no new orders, cancel or keep what rests, and close everything, within the grace."""
        config, edge, runtime = self.config, self.edge, self.runtime
        grace_s = config.supervision.shutdown_grace_s
        self.service.stopping()
        if edge is not None and runtime is not None and self.journal is not None:
            edge.refuse_orders("the core is stopping")
            if "demo_maker" in {status.name for status in runtime.tree()}:
                runtime.tell("demo_maker", Tick("stop"), sender="supervisor")
            left = self._cancel_all(edge, runtime, grace_s / 2)
            ended = EngineStopped(self.why or "asked to stop", self.clock.wall_ns())
            runtime.tell("persistence", Append([ended]), sender="supervisor")
            restarts = sum(status.restarts for status in runtime.tree())
            if self.control is not None:
                self.control.stop()
            if self.halts is not None:
                self.halts.stop()
            clean = runtime.stop(grace_s / 3) and self.venues.stop(STOP_WITHIN_S)
            edge.stop()
            records = self.journal.head_seq  # now that nobody writes any more
            say(
                f"stopped  {self.why}: {records} journal records, {left} orders left open,"
                f" {restarts} restarts{'' if clean else ', not clean'}"
            )
        self._release()
        return self.exit_code

    def _cancel_all(self, edge: Edge, runtime: Supervisor, within_s: float) -> int:
        """Cancel what rests if so configured; return how many orders are still open."""
        if self.config.orders.on_shutdown == "cancel":
            command = CancelOrders(
                self.ids.command_id(), [], True, None, None, "shutdown", "supervisor", "edge"
            )
            runtime.tell("order_router", command, sender="supervisor")
        end_ns = self.clock.mono_ns() + int(within_s * NS_PER_S)
        pause = Event()
        while True:
            try:
                left = int(edge.query("counts", {}).result(1.0)["open"])
            except (CoreError, TimeoutError):
                left = -1
            keep = self.config.orders.on_shutdown == "keep"
            if left == 0 or keep or self.clock.mono_ns() >= end_ns:
                return left
            pause.wait(LOOK_EVERY_S)

    def _release(self) -> None:
        self.page.stop()
        self.venues.stop(STOP_WITHIN_S)
        if self.journal is not None:
            self.journal.close()
        if self.simulator is not None and self.config.demo.simulator == "embedded":
            self.simulator.stop()
        self.threads.stop()


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="supervisor.py", description="Run the trading core.")
    parser.add_argument("-c", "--config", type=Path, help="config.yaml; default: ./config.yaml")
    parser.add_argument("--mode", choices=("demo", "paper", "testnet", "live"),
                        help="can only lower the configured mode")  # fmt: skip
    parser.add_argument("--state-dir", type=Path, help="journal, control socket and logs")
    parser.add_argument("--version", action="version", version=VERSION)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; return the exit code (docs/cli.md lists them)."""
    given = _arguments(sys.argv[1:] if argv is None else argv)
    try:
        path = given.config if given.config is not None else default_path()
        config = load(path, mode_flag=given.mode, state_dir=given.state_dir)
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIG
    except OSError as error:
        sys.stderr.write(f"the state folder cannot be used: {error}; name another (--state-dir)\n")
        return EXIT_CONFIG
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    configure(config.log, config.state_dir, secrets_of(config))
    core = Core(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda n, _: _on_signal(core, n))
    signal.signal(signal.SIGUSR1, lambda *_: core.ask_halt("SIGUSR1"))
    try:
        collector.pause()
        core.start()
        core.run()
    except CoreError as error:
        sys.stderr.write(f"{error}\n")
        core.end(str(error), error.exit_code)
    return core.stop()


def _on_signal(core: Core, number: int) -> None:
    """Stop in order; a second signal, not one of the same burst, stops at once."""
    now_ns = core.clock.mono_ns()
    if not core.ended.is_set():
        core.signaled_ns = now_ns
        core.end(signal.Signals(number).name)
    elif now_ns - core.signaled_ns > SAME_SIGNAL_NS:
        if core.simulator is not None and core.config.demo.simulator == "embedded":
            core.simulator.stop()
        os._exit(core.exit_code or EXIT_FAILED)  # what was acknowledged is in the journal


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # a thread that is stuck in a socket must not keep the process alive
