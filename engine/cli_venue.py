"""The CLI's commands about venues: their state, their records of our account, and their retirement."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli_base import ask, group, options, show, usage
from engine.cli_panic import configuration
from engine.client import find_state_dir
from engine.errors import EXIT_UNKNOWN

venue_app = group("Venues.")
Limit = Annotated[int, typer.Option(help="So many rows at most.")]


@venue_app.command("list")
def venue_list(context: typer.Context) -> None:
    """List the venues with their state."""
    show(context, ask(context, "venues"), "venue")


@venue_app.command("portfolio")
def venue_portfolio(context: typer.Context, venue: str, limit: Limit = 50) -> None:
    """Show the contracts that are open at VENUE, oldest first, with what each would bring now."""
    _records(context, "portfolio", venue, limit)


@venue_app.command("statement")
def venue_statement(context: typer.Context, venue: str, limit: Limit = 50) -> None:
    """Show VENUE's own statement of the account, newest first."""
    _records(context, "statement", venue, limit)


@venue_app.command("profits")
def venue_profits(context: typer.Context, venue: str, limit: Limit = 50) -> None:
    """Show the contracts that were closed at VENUE, with what they cost and brought."""
    _records(context, "profit_table", venue, limit)


@venue_app.command("retire")
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


@venue_app.command("unretire")
def venue_unretire(
    context: typer.Context,
    venue: str,
    reason: Annotated[str, typer.Option(help="Why; journaled.")],
) -> None:
    """Let VENUE trade again."""
    show(context, ask(context, "venue.unretire", venue=venue, reason=reason))


@venue_app.command("fees")
def venue_fees(
    context: typer.Context, venue: Annotated[str | None, typer.Argument()] = None
) -> None:
    """Show maker and taker rates by account and symbol, where they come from, and what fills say."""
    show(context, ask(context, "fees", venue=venue), "fee")


@venue_app.command("symbols")
def venue_symbols(
    context: typer.Context,
    venue: str,
    words: Annotated[str, typer.Argument(metavar="FILTER", help="Part of a symbol.")] = "",
    config_file: Annotated[
        Path | None, typer.Option("-c", "--config", help="Else the one that the core runs with.")
    ] = None,
) -> None:
    """Show what VENUE lists, by identity: aliases, multiples, quotes, contracts, its own spelling."""
    given = options(context).state_dir
    state_dir = find_state_dir(given) if given is not None or config_file is None else None
    config = configuration(config_file, state_dir)
    if venue not in config.venues:
        raise usage(f"no venue {venue!r}; there are {', '.join(config.venues)}")
    found: Any = import_module("adapters.listing_of").listing_of(config, venue, words)
    for conflict in found["conflicts"]:
        sys.stderr.write(f"conflict: {conflict}\n")
    screen = options(context).screen
    show(context, found["symbols"] if screen.is_table else found, "listed")


def _records(context: typer.Context, kind: str, venue: str, limit: int) -> None:
    show(context, ask(context, "venue.records", venue=venue, kind=kind, limit=limit), kind)
