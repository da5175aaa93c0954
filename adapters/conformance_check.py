"""`xcore venue check`: one venue of a configuration examined where it is configured to be.

In demo mode on a simulated venue of its own, with everything; elsewhere on the configured endpoint: the
public parts always, the private ones on a testnet with keys, never on a live endpoint. The canary is the
one thing that trades live: one order of the least size, post-only, far from the market, looked for,
cancelled, and proven gone. Whatever happens, also an interrupt, ends with a look that nothing is left open.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import SystemRandom
from typing import Final

from loguru import logger

from adapters.absent import absence
from adapters.codec import Secret
from adapters.conformance import EXAMS, SUBJECTS, TIMEOUTS, Mark, Score, examine
from adapters.conformance_bench import Failed, Surroundings, check
from adapters.conformance_stage import Stage
from adapters.conformance_suite import Subject, Suite
from adapters.hosting import venue_settings
from adapters.runners import OWN
from engine.clock import SystemClock
from engine.config_models import Config, Venue
from engine.demo import Simulator
from engine.errors import ConfigError, OutcomeUnknown
from engine.threads import DaemonThreads

CANARY: Final = "canary"
LOOKS: Final = 2


@dataclass(frozen=True)
class Wanted:
    """What to examine: some examinations by number (all if none is named), and whether to send a canary."""

    exams: Sequence[str] = ()
    canary: bool = False


def quiet() -> None:
    """Log nothing: the marks are what is told. For a process that does nothing else."""
    logger.remove()


def check_venue(config: Config, name: str, wanted: Wanted, say: Callable[[Mark], None]) -> Score:
    """Examine one venue and return its score; `say` hears each mark as it comes.

    Raises:
        ConfigError: there is nothing to examine: closed, not simulated, an unknown examination.
        OutcomeUnknown: an order of this run may be left open.
    """
    venue = config.venues[name]
    why = absence(venue, config.mode)
    if why is not None:
        raise ConfigError(f"venues.{name}: {why.text}")
    if venue.dialect in OWN:
        raise ConfigError(
            f"venues.{name}: the suite is about order books, {venue.dialect} has none"
        )
    unknown = set(wanted.exams) - {exam.number for exam in EXAMS}
    if unknown:
        raise ConfigError(f"no examination is called {', '.join(sorted(unknown))}")
    score = Score(name)
    with _suite(config, name, venue, canary=wanted.canary) as suite:
        try:
            for mark in _marks(suite, venue, wanted):
                score.marks.append(mark)
                say(mark)
        finally:
            _leave_nothing(suite)
    return score


def _marks(suite: Suite, venue: Venue, wanted: Wanted) -> Iterator[Mark]:
    if wanted.canary:
        yield canary(suite)
        return
    exempt = SUBJECTS.get(venue.dialect, Subject()).exempt
    for exam in EXAMS:
        if not wanted.exams or exam.number in wanted.exams:
            yield examine(exam, suite, exempt)


def _leave_nothing(suite: Suite) -> None:
    try:
        suite.close()
    except Failed as failed:
        raise OutcomeUnknown(f"{failed}; look at the venue itself") from None


@contextmanager
def _suite(config: Config, name: str, venue: Venue, *, canary: bool) -> Iterator[Suite]:
    clock = SystemClock()
    at = Surroundings(clock, SystemRandom(), DaemonThreads().start)
    if config.mode == "demo" and not venue.urls.given():
        with _simulated(config, venue) as stage:
            subject = SUBJECTS.get(venue.dialect, Subject(tuple(venue.symbols)))
            given = stage.config(venue.dialect, subject.symbols, timeouts=TIMEOUTS)
            at = replace(at, scopes=subject.scopes)
            yield Suite(given, at, stage, subject)
        return
    given = venue_settings(name, venue, {}, config.state_dir, config.mode)
    if config.mode == "live" and not canary:
        given = replace(given, api_key=Secret(), api_secret=Secret(), passphrase=Secret())
    yield Suite(given, at, subject=SUBJECTS.get(venue.dialect, Subject()))


# A venue of its own: the simulator of a running core is not to be disturbed. It ends with this process.
@contextmanager
def _simulated(config: Config, venue: Venue) -> Iterator[Stage]:
    with tempfile.TemporaryDirectory(prefix="xcore-check-") as folder:
        simulator = Simulator(Path(folder), SystemClock(), ends_with_us=True)
        simulator.begin(seed=config.demo.seed, venues=[venue.protocol], external=False)
        try:
            simulator.wait()
            yield Stage(simulator.endpoints, venue.protocol)
        finally:
            simulator.stop()


def canary(suite: Suite) -> Mark:
    """Send one least order far from the market, find it, cancel it, and prove that nothing is open."""
    title = "one order, found, cancelled, gone"
    if not suite.may_trade:
        return Mark(CANARY, title, None, "needs a key")
    try:
        bench = suite.main
        order = bench.order(post_only=True)
        result = bench.submit(order)
        check(result.outcome == "ACCEPTED", f"{result.outcome}: {result.text}")
        found = bench.query(order)
        check(
            found.order is not None and found.order.status == "NEW", f"not found: {found.evidence}"
        )
        canceled = bench.cancel(order)
        check(canceled.outcome == "ACCEPTED", f"cancel: {canceled.outcome} {canceled.text}")
        for _ in range(LOOKS):
            check(not bench.sweep(), "it is still open")
        ended = bench.query(order).order
        check(ended is not None and ended.status == "CANCELED" and not ended.filled_quantity,
              f"it ended as {ended}")  # fmt: skip
    except (Failed, ValueError) as failed:
        return Mark(CANARY, title, False, str(failed)[:300])
    text = f"{order.quantity} {order.symbol} at {order.price}"
    return Mark(CANARY, title, True, text)
