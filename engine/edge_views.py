"""What the edges are shown of venues, books and actors: the newest, as plain data."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.clock import NS_PER_MS, Clock
from engine.control_port import Facts
from engine.control_views import bbo_row
from engine.control_views import book_view as _book_view
from engine.errors import Refused
from engine.messages.market import ConsolidatedBook, VenueState
from engine.messages.port import VenueHealth
from engine.specs import ActorStatus, ParkedMessage

Processes = Callable[[], Mapping[str, Mapping[str, Any]]]


class Shown:
    """The newest of what the core tells by itself."""

    def __init__(self, facts: Facts, clock: Clock, processes: Processes = dict) -> None:
        self.facts = facts
        self.clock = clock
        self.processes = processes
        self.books: dict[str, ConsolidatedBook] = {}
        self.venues: dict[str, VenueState] = {}
        self.health: dict[str, VenueHealth] = {}

    def bbo_view(self, arguments: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return best bid and offer per symbol."""
        now_ns, wanted = self.clock.mono_ns(), arguments.get("symbol")
        books = self.books
        return [bbo_row(books[s], now_ns) for s in sorted(books) if wanted in (None, s)]

    def book_view(self, arguments: Mapping[str, str]) -> dict[str, Any]:
        """Return one consolidated book. Raises Refused NOT_FOUND."""
        book = self.books.get(arguments["symbol"])
        if book is None:
            raise Refused("NOT_FOUND", f"no book of {arguments['symbol']} yet")
        return _book_view(book, int(arguments.get("depth", "10")), self.clock.mono_ns())

    def venues_view(self, _: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return a row a venue."""
        processes = self.processes()
        return [self._venue_row(name, processes.get(name)) for name in sorted(self.facts.venues)]

    def _venue_row(self, name: str, process: Mapping[str, Any] | None) -> dict[str, Any]:
        state = self.venues.get(name)
        health = self.health.get(name)
        book_state, age_ms = self._book_of(name)
        return {
            "name": name,
            "state": state.state if state else "STARTING",
            "reason": state.reason if state else "",
            "gate_closed": state.gate_closed if state else False,
            "in_flight": state.in_flight if state else 0,
            "book_state": book_state,
            "book_age_ms": age_ms,
            "account": self.facts.accounts.get(name),
            "account_uid": state.account_uid if state else None,
            "reconciled_mono_ns": state.reconciled_mono_ns if state else 0,
            "symbols": list(self.facts.venues[name]),
            "not_trading": dict(state.not_trading) if state else {},
            "clock_offset_ms": round(health.clock_offset_ms, 3) if health else None,
            "rate_used_ratio": round(health.rate_used_ratio, 4) if health else None,
            "rate": _rate_of(health) if health else None,
            "waits_for": _waits_for(health) if health else "",
            "gaps": health.gaps if health else 0,
            "resyncs": health.resyncs if health else 0,
            "frames": health.frames if health else 0,
            "reconnects": health.reconnects if health else 0,
            "process": process,
        }

    def _book_of(self, venue: str) -> tuple[str, int | None]:
        """Return the worst book state of a venue over its symbols, and the oldest age in ms."""
        now_ns = self.clock.mono_ns()
        quotes = [
            quote
            for symbol in self.facts.venues[venue]
            for quote in getattr(self.books.get(symbol), "venues", ())
            if quote.venue == venue
        ]
        if len(quotes) < len(self.facts.venues[venue]):
            return "EMPTY", None
        bad = next((quote.state for quote in quotes if quote.state != "LIVE"), "LIVE")
        oldest_ns = min(quote.mono_received_ns for quote in quotes)
        return bad, max(0, (now_ns - oldest_ns) // NS_PER_MS)


def _rate_of(health: VenueHealth) -> dict[str, Any]:
    """Return the venue's limits, what is left of them, and who waits."""
    return {
        "limits": [
            {"name": s.name, "limit": s.limit, "left": s.left, "interval_s": s.interval_s}
            for s in health.rate_scopes
        ],
        "waiting": [
            {"urgency": w.urgency, "waiting": w.waiting, "given_up": w.given_up}
            for w in health.rate_waits
        ],
        "blocked_ms": health.rate_blocked_ms,
    }


def _waits_for(health: VenueHealth) -> str:
    """Return in words what waits for the venue's limits; empty while nothing does."""
    if not health.rate_waits and not health.rate_blocked_ms:
        return ""
    words = [f"{w.urgency}: {w.waiting} waiting, {w.given_up} given up" for w in health.rate_waits]
    if health.rate_blocked_ms:
        words.append(f"the venue asked for silence, {health.rate_blocked_ms // 1000 + 1} s more")
    tight = min(health.rate_scopes, key=lambda s: s.left / max(1, s.limit), default=None)
    left = "" if tight is None else f" ({tight.left} of {tight.limit} {tight.name} left)"
    return f"rate limit{left}: {'; '.join(words)}"


def actors_view(
    statuses: Iterable[ActorStatus], processes: Mapping[str, Mapping[str, Any]], now_ns: int
) -> list[dict[str, Any]]:
    """Return a row an actor, in start order. An adapter's names the process that it lives in."""
    return [
        {
            "name": s.name,
            "state": s.state,
            "restarts": s.restarts,
            "mailbox": sum(s.mailbox.values()),
            "lanes": s.mailbox,
            "incarnation": s.incarnation,
            "parked": s.parked,
            "dispatcher": s.dispatcher,
            "last_message_ms": (
                (now_ns - s.last_message_mono_ns) // NS_PER_MS if s.last_message_mono_ns else None
            ),
            "process": processes.get(venue) if kind == "adapter" else None,
        }
        for s in statuses
        for kind, _, venue in (s.name.partition("."),)
    ]


def parked_row(parked: ParkedMessage) -> dict[str, Any]:
    """Return a parked message for people and programs."""
    return {
        "id": parked.message_id,
        "actor": parked.actor,
        "kind": parked.kind,
        "ts_ns": parked.ts_ns,
        "attempts": parked.attempts,
        "error": parked.error,
        "text": parked.text,
        "order_id": parked.order_id,
        "symbol": parked.symbol,
        "retryable": parked.retryable,
        "traceback": parked.traceback,
    }
