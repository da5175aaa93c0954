"""The CLI's commands about one venue."""

from typing import Annotated

import typer

from engine.cli_base import ask, show
from engine.errors import EXIT_UNKNOWN


def venue_retire(
    context: typer.Context,
    venue: str,
    reason: Annotated[str, typer.Option(help="Why; journaled and shown.")],
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the venue.")] = 10.0,
) -> None:
    """Retire VENUE: no new orders, cancel, prove zero open, and stay so over restarts."""
    receipt = ask(context, "venue.retire", venue=venue, reason=reason, timeout_s=timeout)
    show(context, receipt)
    if not receipt["proven"]:
        raise typer.Exit(EXIT_UNKNOWN)


def venue_unretire(
    context: typer.Context,
    venue: str,
    reason: Annotated[str, typer.Option(help="Why; journaled.")],
) -> None:
    """Let VENUE trade again."""
    show(context, ask(context, "venue.unretire", venue=venue, reason=reason))
