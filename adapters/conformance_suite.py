"""What the examinations of one run share: the configuration, the benches, the simulated venue.

One bench, `main`, is shared by most of them; whoever needs other timeouts opens one of its own.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.conformance_bench import Bench, Failed, Sent, Surroundings, changed, check
from adapters.conformance_stage import Stage
from adapters.registry import VenueConfig

OPEN_FILES: Final = Path("/proc/self/fd")


class Subject(NamedTuple):
    """What is examined at one venue; `exempt` says why an examination does not apply to it."""

    symbols: tuple[str, ...] = ("BTC/USDT", "ETH/USDT")
    exempt: Mapping[str, str] = {}
    ban: str = "ban_418"  # by which fault the venue orders silence, beside its 429
    scopes: Mapping[str, tuple[int, float]] = {}  # what the simulated venue allows in place of it
    numbers_private: bool = False  # its private stream is numbered: one out of turn ends it
    skew_ms: int = 20_000  # an error of the clock that the venue sees
    signs_with_pem: bool = False  # a wrong secret is no secret, and nothing can be signed with it


class Suite:
    """See the module's docstring. `close` at the end, whatever happened."""

    def __init__(
        self,
        config: VenueConfig,
        at: Surroundings,
        stage: Stage | None = None,
        subject: Subject = Subject(),  # noqa: B008  immutable
    ) -> None:
        self.config = config
        self.at = at
        self.stage = stage
        self.subject = subject
        self.sent = Sent()
        self.may_trade = bool(config.api_key)
        self.sockets_before = open_sockets()
        self._main: Bench | None = None
        self._benches: list[Bench] = []

    @property
    def main(self) -> Bench:
        """The shared bench, started when it is first asked for."""
        if self._main is None:
            bench = Bench(self.config, self.at, self.sent)
            self._main = bench
            self._benches.append(bench)
            bench.start()
        return self._main

    @property
    def staged(self) -> Stage:
        """The simulated venue of an examination that needs one."""
        assert self.stage is not None, "only staged parts ask for it"
        return self.stage

    @contextmanager
    def bench(self, *, books: bool = False, start: bool = True, **changes: Any) -> Iterator[Bench]:
        """Have a bench of one's own, with another configuration."""
        bench = Bench(changed(self.config, **changes), self.at, self.sent)
        self._benches.append(bench)
        try:
            yield bench.start(books=books) if start else bench
        finally:
            self.end(bench)

    @property
    def one(self) -> tuple[str, ...]:
        """The first symbol alone, for a bench of orders: every book costs the venue's budget."""
        return self.config.symbols[:1]

    def end(self, bench: Bench) -> None:
        """Stop a bench; Failed unless it ends in time."""
        if bench in self._benches:
            self._benches.remove(bench)
            self._main = None if bench is self._main else self._main
            check(bench.stop(), "a session did not end within its deadline")

    def tidy(self) -> None:
        """Take back every fault and stage direction."""
        if self.stage is not None:
            self.stage.clear()
            self.stage.act("flow", on=True)

    def left_open(self) -> list[str]:
        """Cancel what of this run's orders is open; return what still is. Opens a session if need be."""
        if not self.sent.orders:
            return []
        self.tidy()
        if self._main is not None:
            return self._main.sweep()
        with self.bench() as bench:
            return bench.sweep()

    def close(self) -> None:
        """Leave nothing open, and stop every session."""
        try:
            left = self.left_open()
        finally:
            benches, self._benches = self._benches, []
            self._main = None
            ended = [bench.stop() for bench in benches]
        if left:
            raise Failed(f"orders are left open: {', '.join(left)}")
        check(all(ended), "a session did not end within its deadline")


def open_sockets() -> set[str]:
    """Return the sockets this process has; empty where the system does not tell."""
    found: set[str] = set()
    if not OPEN_FILES.is_dir():
        return found
    for path in OPEN_FILES.iterdir():
        try:
            name = os.readlink(path)  # noqa: PTH115  the name of a socket is no path
        except OSError:
            continue
        if name.startswith("socket:"):
            found.add(name)
    return found
