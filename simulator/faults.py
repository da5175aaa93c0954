"""Faults on demand: which kinds there are, which rules are set, and when one strikes.

A rule is asked for at fixed points (`take`), counts itself down and is written to the venue's log
each time it strikes. It decides nothing about how a fault looks on the wire; that is for the
transport (`reply.py`, `peers.py`) and the venue.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from simulator.clock import NS_PER_MS, Clock

RULES_MAX = 100
# `reply` is an answer to a call made over a WebSocket.
TARGETS = ("order", "cancel", "amend", "query", "book", "private", "reply", "any")


@dataclass(frozen=True, slots=True)
class Kind:
    """What a fault does, where it can strike (the first target is the default), its parameters."""

    description: str
    targets: tuple[str, ...]
    parameters: dict[str, str] = field(default_factory=dict)


_REQUEST = ("order", "cancel", "amend", "query", "any")
_WHEN = "before or after the engine acted"
KINDS: dict[str, Kind] = {
    "lost_reply": Kind("accepted, then the connection closes without an answer", _REQUEST),
    "drop_request": Kind("the connection closes before the engine sees the request", _REQUEST),
    "error_5xx": Kind(
        "an HTTP 5xx answer", _REQUEST, {"status": "500-599, default 503", "when": _WHEN}
    ),
    "delay": Kind("the answer or the request waits", _REQUEST, {"ms": "2000", "when": _WHEN}),
    "malformed_200": Kind("done, but the answer is broken JSON with status 200", _REQUEST),
    "empty_200": Kind("done, but the answer is empty with status 200", _REQUEST),
    "html_200": Kind("done, but the answer is a web page with status 200", _REQUEST),
    "truncated": Kind("done, but the answer's body stops half way", _REQUEST),
    "rate_limit_429": Kind(
        "too many requests; not executed", ("any", *_REQUEST[:4]), {"retry_after_s": "1"}
    ),
    "ban_418": Kind(
        "the address is banned; not executed", ("any", *_REQUEST[:4]), {"retry_after_s": "5"}
    ),
    "auth_revoked": Kind("the API key stops working", ("any", *_REQUEST[:4])),
    "maintenance": Kind("every request answers 'under maintenance'", ("any",), {"s": "5"}),
    "clock_skew": Kind("the venue's clock is off", ("any",), {"ms": "20000"}),
    "late_execution": Kind(
        "the request reaches the engine late; the answer comes even later", _REQUEST,
        {"ms": "1500"},
    ),
    "hidden_order": Kind("a new order is invisible to queries for a while", ("order",),
                         {"ms": "5000"}),
    "partial_fill": Kind("a new resting order is partly filled at once", ("order",),
                         {"percent": "50"}),
    "cancel_race": Kind("the order fills just before its cancel is executed", ("cancel",)),
    "balance_drift": Kind("money leaves or comes behind the client's back", ("any",),
                          {"asset": "USDT", "amount": "-100"}),
    "stale_snapshot": Kind("a book snapshot is some seconds old", ("book",)),
    "ws_drop": Kind("streams are cut", ("any", "book", "private"), {"code": "1006 (TCP reset)"}),
    "ws_half_open": Kind(
        "streams fall silent but stay connected; on reply: in place of an answer to an order",
        ("any", "book", "private", "reply"),
    ),
    "ws_duplicate": Kind("frames are sent twice", ("book", "private", "any", "reply")),
    "ws_reorder": Kind("a frame is sent after the next one", ("book", "private", "any", "reply")),
    "ws_gap": Kind("frames are not sent", ("book", "private", "any", "reply")),
    "ws_corrupt_level": Kind("a level in a book frame has a wrong quantity", ("book",)),
    "bad_checksum": Kind("a book frame carries a wrong checksum (OKX, Kraken)", ("book",)),
    "private_event_lost": Kind("a private event is not sent", ("private",)),
    "private_event_duplicate": Kind("a private event is sent twice", ("private",)),
    "private_event_before_ack": Kind(
        "the event comes, the answer waits", ("order", "cancel"), {"ms": "300"}
    ),
    "private_event_after_ack": Kind(
        "the answer comes, the event waits", ("order", "cancel"), {"ms": "300"}
    ),
    "venue_restart": Kind("all connections are cut", ("any",), {"down_ms": "0"}),
    "refuse_connections": Kind("new connections are refused", ("any",), {"s": "3"}),
}  # fmt: skip

# These strike as soon as they are set; the server carries them out.
IMMEDIATE = frozenset(
    {"ws_drop", "ws_half_open", "balance_drift", "venue_restart", "refuse_connections"}
)
# These hold for a time rather than a count.
TIMED = {"clock_skew": 30, "maintenance": 5}


@dataclass(slots=True)
class Rule:
    """A fault that has been asked for."""

    rule_id: int
    kind: str
    on: str
    count: int
    params: dict[str, Any]
    symbol: str | None
    nth: int
    probability_percent: int
    expires_ns: int | None
    seen: int = 0

    @property
    def is_immediate(self) -> bool:
        """Whether it strikes as soon as it is set. A reply has to come first."""
        return self.kind in IMMEDIATE and self.on != "reply"

    def number(self, name: str, default: int) -> int:
        """Return a whole-number parameter; a bad one was refused when the rule was set."""
        return int(self.params.get(name, default))

    def describe(self) -> dict[str, Any]:
        """Return the rule for the control plane and the log."""
        return {
            "id": self.rule_id, "kind": self.kind, "on": self.on, "count": self.count,
            "params": self.params, "symbol": self.symbol,
        }  # fmt: skip


class Faults:
    """The rules of one venue."""

    def __init__(
        self,
        venue: str,
        clock: Clock,
        rng: random.Random,
        log: Callable[[list[dict[str, Any]]], None],
    ) -> None:
        self.venue = venue
        self._clock = clock
        self._rng = rng
        self._log = log
        self._rules: list[Rule] = []
        self._next_id = 1

    def set(self, wanted: dict[str, Any]) -> Rule:
        """Set a rule from the control plane's words; ValueError says what is wrong with them."""
        kind = wanted.get("kind")
        if kind not in KINDS:
            raise ValueError(f"unknown fault kind {kind!r}; there are: {', '.join(KINDS)}")
        on = wanted.get("on") or KINDS[kind].targets[0]
        if on not in KINDS[kind].targets:
            raise ValueError(f"{kind} strikes on {', '.join(KINDS[kind].targets)}, not on {on!r}")
        if len(self._rules) >= RULES_MAX:
            raise ValueError(f"there are {RULES_MAX} rules already")
        params = wanted.get("params") or {}
        duration_s = wanted.get("duration_s") or params.get("s") or TIMED.get(kind)
        # A fault that holds for a time has no count unless one is given.
        count_default = 10**9 if duration_s else 1
        rule = Rule(
            self._next_id, kind, on, int(wanted.get("count") or count_default), dict(params),
            wanted.get("symbol"), int(wanted.get("nth") or 1),
            round(float(wanted.get("probability") or 1) * 100),
            None if duration_s is None else self._now_ns() + int(float(duration_s) * 1e9),
        )  # fmt: skip
        _check_numbers(rule)
        self._next_id += 1
        if not rule.is_immediate:
            self._rules.append(rule)
        self._note("set", rule, {})
        return rule

    def take(
        self,
        kind: str,
        on: str,
        symbol: str | None = None,
        fits: Callable[[Rule], bool] = lambda _: True,
    ) -> Rule | None:
        """Return a rule of this kind that strikes here and now, and count it."""
        if not self._rules:
            return None
        self._expire()
        for rule in self._rules:
            if rule.kind != kind or rule.on not in {on, "any"}:
                continue
            if rule.symbol is not None and symbol is not None and rule.symbol != symbol:
                continue
            if not fits(rule):
                continue
            rule.seen += 1
            if rule.seen < rule.nth or self._rng.randrange(100) >= rule.probability_percent:
                continue
            rule.count -= 1
            if rule.count <= 0:
                self._rules.remove(rule)
            self._note("applied", rule, {"struck": on, "struck_symbol": symbol})
            return rule
        return None

    def skew_ms(self) -> int:
        """Return how far the venue's clock is off; asking does not count."""
        if not self._rules:
            return 0
        self._expire()
        return sum(rule.number("ms", 20_000) for rule in self._rules if rule.kind == "clock_skew")

    def active(self) -> list[dict[str, Any]]:
        """Return the rules that are still set."""
        self._expire()
        return [{"venue": self.venue, **rule.describe()} for rule in self._rules]

    def clear(self, rule_id: int | None = None) -> int:
        """Drop one rule, or all; return how many there were."""
        gone = [rule for rule in self._rules if rule_id is None or rule.rule_id == rule_id]
        for rule in gone:
            self._rules.remove(rule)
            self._note("cleared", rule, {})
        return len(gone)

    def _expire(self) -> None:
        now_ns = self._now_ns()
        self._rules = [r for r in self._rules if r.expires_ns is None or r.expires_ns > now_ns]

    def _now_ns(self) -> int:
        return self._clock.monotonic_ns()

    def _note(self, phase: str, rule: Rule, more: dict[str, Any]) -> None:
        words = rule.describe()
        self._log([{"kind": "fault", "phase": phase, "fault_id": words.pop("id"),
                    "fault_kind": words.pop("kind"), **words, **more}])  # fmt: skip


def delay_s(rule: Rule, default_ms: int) -> float:
    """Return the rule's `ms` parameter in seconds."""
    return rule.number("ms", default_ms) * NS_PER_MS / 1e9


def _check_numbers(rule: Rule) -> None:
    for name in ("ms", "s", "status", "percent", "retry_after_s", "down_ms"):
        if name in rule.params:
            value = float(rule.params[name])
            if not -86_400_000 <= value <= 86_400_000:
                raise ValueError(f"{rule.kind}: {name}={value} is out of range")
