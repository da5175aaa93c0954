"""The conformance suite: sixteen examinations of one adapter, C1 to C16, over the venue port.

The same code is run by the tests and by `xcore venue check`. Each examination has up to three parts:
`public` needs no key, `private` needs one and sends small orders, `staged` needs the simulated venue
with its faults and its truth. On the simulated venue all parts run; on a real endpoint the staged ones
do not. docs/conformance.md says what each examination does and what it does not prove.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from adapters import conformance_grid as grid
from adapters import conformance_life as life
from adapters import conformance_limits as limits
from adapters import conformance_links as links
from adapters import conformance_orders as orders
from adapters.conformance_bench import Failed
from adapters.conformance_suite import Subject, Suite
from adapters.registry import Timeouts
from engine.errors import CoreError

Part = Callable[[Suite], None]


class Exam(NamedTuple):
    """One examination; None where it has no such part."""

    number: str
    title: str
    public: Part | None
    private: Part | None
    staged: Part | None


# In the order in which they run: those that end or disturb the shared session come last.
EXAMS: Final = (
    Exam("C1", "symbols", limits.symbols_map, None, limits.symbols_refused),
    Exam("C2", "quantise", grid.quantise, None, grid.quantised_on_the_wire),
    Exam("C3", "submit", None, orders.submit, orders.submit_told_in_any_order),
    Exam("C4", "fills", None, orders.fills, orders.fills_in_parts),
    Exam("C5", "cancel", None, orders.cancel, orders.cancel_races),
    Exam("C6", "ambiguity", None, None, orders.ambiguity),
    Exam("C7", "duplicate", None, orders.duplicate, orders.duplicate_elsewhere),
    Exam("C8", "limits", None, None, limits.limits),
    Exam("C10", "book", links.book, None, links.book_under_faults),
    Exam("C12", "backlog", links.backlog, links.backlog_of_orders, None),
    Exam("C14", "isolation", links.isolation, None, None),
    Exam("C16", "record and replay", life.replayed, None, None),
    Exam("C15", "shutdown", life.shutdown, None, None),
    Exam("C9", "key and clock", None, None, limits.key_and_clock),
    Exam("C11", "link", links.link, None, links.link_under_faults),
    Exam("C13", "restart", None, None, life.restart),
)
PARTS: Final = ("public", "private", "staged")


# A venue joins the suite by one line here, and one small file in tests/conformance.
SUBJECTS: Final[Mapping[str, Subject]] = {
    "binance": Subject(),
    "okx": Subject(),
    # Its tokens live for two minutes: it does not see that a clock is off by seconds.
    "coinbase": Subject(numbers_private=True, skew_ms=300_000, signs_with_pem=True),
    # Its own counters, 20 and 15 calls and one more a second, would make the suite minutes long.
    "kraken": Subject(numbers_private=True, scopes={"counter": (200, 20.0), "public": (150, 15.0)}),
    "kucoin": Subject(ban="rate_limit_429"),  # it says for how long in its 429 only
    "bybit": Subject(ban="rate_limit_429"),  # it tells of no end of a ban
}


@dataclass(frozen=True)
class Mark:
    """What came of one examination. `passed` None: not applicable, and `text` says why."""

    number: str
    title: str
    passed: bool | None
    text: str = ""


@dataclass
class Score:
    """The marks of one adapter, in order of their numbers."""

    venue: str
    marks: list[Mark] = field(default_factory=list)

    @property
    def passed(self) -> int:
        """How many examinations were passed."""
        return sum(mark.passed is True for mark in self.marks)

    @property
    def applied(self) -> int:
        """How many examinations applied."""
        return sum(mark.passed is not None for mark in self.marks)

    def __str__(self) -> str:
        return f"{self.passed}/{self.applied}"

    def plain(self) -> dict[str, Any]:
        """Return the score as plain data."""
        rows = [
            {"exam": m.number, "title": m.title, "result": RESULTS[m.passed], "text": m.text}
            for m in sorted(self.marks, key=lambda m: int(m.number[1:]))
        ]
        return {"schema": 1, "venue": self.venue, "score": str(self), "exams": rows}


RESULTS: Final = {True: "passed", False: "failed", None: "not applicable"}


def examine(exam: Exam, suite: Suite, exempt: Mapping[str, str]) -> Mark:
    """Run the parts of one examination that the suite's surroundings allow."""
    if exam.number in exempt:
        return Mark(exam.number, exam.title, None, exempt[exam.number])
    held = {"public": True, "private": suite.may_trade, "staged": suite.stage is not None}
    parts = [part for name in PARTS if held[name] and (part := getattr(exam, name)) is not None]
    if not parts:
        need = "the simulated venue" if exam.private is None else "a key"
        return Mark(exam.number, exam.title, None, f"needs {need}")
    try:
        for part in parts:
            part(suite)
    except (Failed, CoreError, ValueError) as found:
        return Mark(exam.number, exam.title, False, str(found)[:300])
    finally:
        suite.tidy()
    return Mark(exam.number, exam.title, True)


def examine_all(suite: Suite, exempt: Mapping[str, str] | None = None) -> Iterator[Mark]:
    """Run every examination, and leave nothing open; each mark comes as soon as it is known."""
    with closing(suite):
        for exam in EXAMS:
            yield examine(exam, suite, exempt or {})


@contextmanager
def closing(suite: Suite) -> Iterator[Suite]:
    """Have a suite, and stop whatever it opened at the end."""
    try:
        yield suite
    finally:
        suite.close()


# For the tests: what is waited for on purpose is short, what must not be waited for is long.
TIMEOUTS: Final = Timeouts(read_s=5.0, sync_s=2.5)
