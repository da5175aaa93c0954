"""`xcore why ORDER`: walks the causes of one order, from the journal, with or without a core."""

import sys
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import typer

from engine.cli_base import options, show, usage
from engine.client import find_state_dir
from engine.errors import EXIT_NOT_FOUND, Refused


def why(context: typer.Context, order_id: str) -> None:
    """Walk the causes of an order: tick, command, plan, risk, intent, send, reports, fills."""
    journal = find_state_dir(options(context).state_dir) / "journal"
    if not journal.is_dir():
        raise usage(f"there is no journal in {journal.parent}; no core has run on it")
    screen = options(context).screen
    try:
        found: Any = import_module("engine.journal_story").story(journal, order_id)
        rows = [_row(step) for step in found]
    except Refused as refused:
        sys.stderr.write(f"xcore: {refused.text}\n")
        raise typer.Exit(EXIT_NOT_FOUND) from None
    if not screen.is_table:
        show(context, {"schema": 1, "order_id": order_id, "steps": rows})
        return
    show(context, rows, "step")


def _row(step: Any) -> dict[str, Any]:
    return {
        "step": step.step,
        "at": clock_time(step.ours_ns),
        "venue_at": clock_time(step.venue_ns),
        "venue": step.venue,
        "text": step.text,
        "order_id": step.order_id,
        "seq": step.seq,
        "origin": step.origin,
        "caused_by": step.caused_by,
        "ts_ns": step.ours_ns or None,
        "ts_event_ns": step.venue_ns or None,
    }


def clock_time(ts_ns: int) -> str | None:
    """Return a time as people read it, to the microsecond, in UTC; None for none."""
    if not ts_ns:
        return None
    stamp = datetime.fromtimestamp(ts_ns // 1_000_000_000, tz=UTC)
    return f"{stamp:%Y-%m-%d %H:%M:%S}.{ts_ns % 1_000_000_000 // 1_000:06d}Z"
