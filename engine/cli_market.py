"""The CLI's commands about the market: depth, impact, edges between venues."""

from typing import Annotated

import typer

from engine.cli_base import ask, options, show, usage
from engine.errors import EXIT_DENIED

Side = Annotated[str, typer.Argument(help="buy or sell.")]


def depth(
    context: typer.Context,
    symbol: str,
    depth: Annotated[int, typer.Option(help="Levels a side.")] = 20,
    every: Annotated[
        bool, typer.Option("--all", help="Also levels that do not count, behind the others.")
    ] = False,
) -> None:
    """Show the consolidated book of full depth: raw and after fees, ages, crossed markets."""
    answer = ask(context, "depth", symbol=symbol, depth=depth, all=every or None)
    screen = options(context).screen
    if not screen.is_table:
        show(context, answer)
        return
    ladder = [{"side": "ask", **row} for row in reversed(answer["asks"])]
    ladder += [{"side": "bid", **row} for row in answer["bids"]]
    screen.show(ladder)
    if answer["crossings"]:
        screen.show({"crossings": answer["crossings"]})
    for venue in answer["venues"]:
        if not venue["counts"]:
            screen.say(f"{venue['name']} does not count: {venue['state']} {venue['reason']}")


def impact(
    context: typer.Context,
    symbol: str,
    side: Side,
    quantity: Annotated[str | None, typer.Argument(help="In the base asset.")] = None,
    notional: Annotated[str | None, typer.Option(help="Instead: how much of the quote.")] = None,
    venue: Annotated[str | None, typer.Option(help="One venue only.")] = None,
) -> None:
    """Show what a size would cost now: average price, slippage, levels, together and venue by venue."""
    if (quantity is None) == (notional is None):
        raise usage("say how much: QTY of the base, or --notional N of the quote")
    answer = ask(
        context,
        "impact",
        symbol=symbol,
        side=side,
        quantity=quantity,
        notional=notional,
        venue=venue,
    )
    screen = options(context).screen
    show(context, [answer["all"], *answer["venues"]] if screen.is_table else answer, "impact")
    for row in answer["left_out"]:
        screen.say(f"{row['venue']} is left out: {row['why']}")


def arb(context: typer.Context, symbol: Annotated[str | None, typer.Argument()] = None) -> None:
    """Show what buying at one venue and selling at another brings after fees, best first."""
    show(context, ask(context, "arb", symbol=symbol), "edge")


def route(
    context: typer.Context,
    symbol: str,
    side: Side,
    quantity: Annotated[str, typer.Argument(help="In the base asset.")],
    price: Annotated[str | None, typer.Argument(help="@61000.5; else at the market.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, send nothing: the only way.")
    ] = False,
) -> None:
    """Show how an order would be split now, with a reason for each venue, also those left out."""
    if not dry_run:
        raise usage("route only plans: say --dry-run, or place it with `xcore order place best`")
    bare = None if price is None else price.removeprefix("@")
    answer = ask(context, "route", symbol=symbol, side=side, quantity=quantity, price=bare)
    show(context, answer)
    if not answer["approved"]:
        options(context).screen.say("risk would deny it: see `risk`")
        raise typer.Exit(EXIT_DENIED)
