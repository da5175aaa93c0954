"""The CLI's commands about venues: their state, and the records that they keep of our account."""

from typing import Annotated

import typer

from engine.cli_base import ask, group, show

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


def _records(context: typer.Context, kind: str, venue: str, limit: int) -> None:
    show(context, ask(context, "venue.records", venue=venue, kind=kind, limit=limit), kind)
