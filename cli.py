"""The message CLI `xcore`: asks a running core over its control socket and shows the answer.

It parses and shows; every decision is the core's. Errors are one sentence on stderr and an exit code
of engine/errors.py, never a traceback. docs/cli.md has each command with examples.
"""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine import cli_process, cli_setup
from engine.cli_backup import backup_app
from engine.cli_base import Options, ask, group, options, run, show, usage
from engine.cli_check import venue_check
from engine.cli_dashboard import dashboard
from engine.cli_market import arb, depth, impact, route
from engine.cli_operator import actor_app, config_app, fault_app, journal_app
from engine.cli_panic import panic
from engine.cli_venue import venue_app
from engine.cli_why import why
from engine.errors import EXIT_DEGRADED, EXIT_FAILED, ConfigError, MessageError
from engine.views import COLORS, FORMATS, Screen

REPLAY_FIELDS: Final = (
    *("frames", "diffs", "stale", "gaps", "crossed", "checksum_ok", "checksum_bad", "books"),
    *("bookticker_checked", "bookticker_agreed", "locked", "malformed", "lost", "verification"),
)

app = typer.Typer(
    help="Talk to a running Cross-Exchange Trading Core.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
order_app = group("Place, look at, cancel and settle orders.")
position_app = group("Positions.")
risk_app = group("Limits, halt and resume.")
codec_app = group("Recorded frames.")
for name, part in {
    "venue": venue_app,
    "order": order_app,
    "position": position_app,
    "risk": risk_app,
    "actor": actor_app,
    "journal": journal_app,
    "fault": fault_app,
    "codec": codec_app,
    "config": config_app,
    "log": cli_process.log_app,
    "backup": backup_app,
}.items():
    app.add_typer(part, name=name)
app.command()(dashboard)


app.command("up")(cli_process.up)
app.command("down")(cli_process.down)
app.command("doctor")(cli_setup.doctor)
app.command("completion")(cli_setup.completion)
app.command("init")(cli_setup.init)
config_app.command("path")(cli_setup.config_path)


@app.callback()
def _common(
    context: typer.Context,
    state_dir: Annotated[
        Path | None, typer.Option(help="The core's state folder (also XCORE_STATE_DIR).")
    ] = None,
    output: Annotated[
        str, typer.Option("-o", "--output", help="table, wide, json, jsonl, csv or name.")
    ] = "table",
    json: Annotated[bool, typer.Option("--json", help="The same as -o json.")] = False,
    color: Annotated[str, typer.Option(help="auto, always or never.")] = "auto",
    yes: Annotated[bool, typer.Option("--yes", help="With --live: do not ask.")] = False,
    live: Annotated[bool, typer.Option("--live", help="With --yes: a live core is meant.")] = False,
) -> None:
    if output not in FORMATS:
        raise typer.BadParameter(f"'{output}' is none of {', '.join(FORMATS)}", param_hint="-o")
    if color not in COLORS:
        raise typer.BadParameter(f"'{color}' is none of {', '.join(COLORS)}", param_hint="--color")
    context.obj = Options(Screen("json" if json else output, color), state_dir, yes, live)


# --- looking --------------------------------------------------------------------------------------


@app.command()
def status(
    context: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Exit 9 when degraded.")] = False,
) -> None:
    """Show the core on one page."""
    answer = ask(context, "status")
    show(context, answer)
    ready = all(v["state"] in ("READY", "DISABLED", "RETIRED") for v in answer["venues"])
    well = ready and answer["trading_state"] == "ACTIVE" and not answer["orders"]["unknown"]
    if check and not well:
        raise typer.Exit(EXIT_DEGRADED)


venue_app.command("check")(venue_check)


@app.command()
def bbo(context: typer.Context, symbol: Annotated[str | None, typer.Argument()] = None) -> None:
    """Show the best bid and offer over all venues."""
    show(context, ask(context, "bbo", symbol=symbol), "bbo")


@app.command()
def book(
    context: typer.Context,
    symbol: str,
    venue: Annotated[str | None, typer.Option(help="One venue's book only.")] = None,
    depth: Annotated[int, typer.Option(help="Levels a side.")] = 10,
) -> None:
    """Show the consolidated book of SYMBOL, or one venue's."""
    answer = ask(context, "book", symbol=symbol, venue=venue, depth=depth)
    options(context).screen.book(answer)


for market_command in (depth, impact, arb, route):
    app.command()(market_command)


@position_app.command("list")
def position_list(context: typer.Context) -> None:
    """List the positions."""
    show(context, ask(context, "position.list"), "position")


@app.command()
def pnl(context: typer.Context) -> None:
    """Show profit and loss."""
    show(context, ask(context, "pnl"))


@app.command()
def balance(context: typer.Context) -> None:
    """Show the balances of each account."""
    show(context, ask(context, "balance"), "balance")


# --- orders ---------------------------------------------------------------------------------------


@order_app.command("place")
def order_place(
    context: typer.Context,
    venue: Annotated[str, typer.Argument(help="A venue, or best for all of them.")],
    symbol: str,
    side: Annotated[str, typer.Argument(help="buy or sell.")],
    quantity: str,
    price: Annotated[str | None, typer.Argument(help="@61000.5")] = None,
    market: Annotated[bool, typer.Option("--market", help="Without a price.")] = False,
    tif: Annotated[str | None, typer.Option(help="GTC, IOC or FOK.")] = None,
    post_only: Annotated[bool, typer.Option("--post-only")] = False,
    command_id: Annotated[str | None, typer.Option(help="Repeat a command safely.")] = None,
    wait: Annotated[str, typer.Option(help="accepted, filled or none.")] = "accepted",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for that.")] = 10.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan, send nothing.")
    ] = False,
) -> None:
    """Place an order and wait until the venue has acknowledged it."""
    if price is None and not market:
        raise usage("say @PRICE for a limit order, or --market")
    if command_id is None:
        from engine.ids import UlidIds  # noqa: PLC0415  only here is an id made

        command_id = UlidIds().command_id()
        options(context).screen.say(f"command id {command_id}")
    answer = ask(
        context,
        "order.place",
        venue=venue,
        symbol=symbol,
        side=side,
        quantity=quantity,
        price=None if price is None else price.removeprefix("@"),
        market=market or None,
        time_in_force=None if tif is None else tif.upper(),
        post_only=post_only or None,
        command_id=command_id,
        wait=wait,
        timeout_s=timeout,
        dry_run=dry_run or None,
    )
    show(
        context,
        answer if dry_run or not options(context).screen.is_table else [answer],
        "order",
    )


@order_app.command("list")
def order_list(
    context: typer.Context,
    state: Annotated[
        str | None, typer.Option(help="open, closed, unknown, all or a status.")
    ] = None,
    venue: Annotated[str | None, typer.Option()] = None,
    symbol: Annotated[str | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 500,
) -> None:
    """List orders."""
    answer = ask(context, "order.list", state=state, venue=venue, symbol=symbol, limit=limit)
    show(context, answer, "order")


@order_app.command("show")
def order_show(context: typer.Context, order_id: str) -> None:
    """Show one order whole."""
    show(context, ask(context, "order.show", order_id=order_id))


@order_app.command("cancel")
def order_cancel(
    context: typer.Context,
    order_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
    every: Annotated[bool, typer.Option("--all", help="All open orders.")] = False,
    venue: Annotated[str | None, typer.Option(help="With --all: of one venue.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the venue.")] = 10.0,
) -> None:
    """Cancel orders and wait until the venue has confirmed."""
    answer = ask(
        context,
        "order.cancel",
        order_ids=order_ids or None,
        all=every or None,
        venue=venue,
        timeout_s=timeout,
    )
    show(context, answer, "order")


@order_app.command("reconcile")
def order_reconcile(
    context: typer.Context,
    order_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...")] = None,
) -> None:
    """Ask the venues anew about some orders, or about everything."""
    show(context, ask(context, "order.reconcile", order_ids=order_ids or None))


@order_app.command("resolve")
def order_resolve(
    context: typer.Context,
    order_id: str,
    status: Annotated[str, typer.Argument(help="REJECTED or CANCELED.")],
    reason: Annotated[str, typer.Option(help="Why; journaled with your name.")],
) -> None:
    """Settle an UNKNOWN order by your word."""
    answer = ask(context, "order.resolve", order_id=order_id, status=status.upper(), reason=reason)
    show(context, answer)


# --- risk -----------------------------------------------------------------------------------------


@risk_app.command("show")
def risk_show(context: typer.Context) -> None:
    """Show the limits, what is used of them, and what is halted."""
    show(context, ask(context, "risk.show"))


@risk_app.command("halt")
def risk_halt(
    context: typer.Context,
    scope: Annotated[str, typer.Option(help="all, venue:NAME or symbol:BASE/QUOTE.")] = "all",
    level: Annotated[str, typer.Option(help="no-new, reduce-only or flat.")] = "no-new",
    reason: Annotated[str, typer.Option()] = "halted by hand",
    keep_orders: Annotated[
        bool, typer.Option("--keep-orders", "--no-cancel", help="Leave open orders.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the gates.")] = 10.0,
) -> None:
    """Stop new orders now and cancel the open ones. Never asks, survives restarts."""
    from engine.cli_waiting import halt  # noqa: PLC0415  asyncio is slow to load, for one command

    chosen = options(context)
    arguments = {"scope": scope, "reason": reason, "cancel": not keep_orders, "timeout_s": timeout}
    arguments |= {"level": level}
    show(context, halt(chosen.screen, chosen.state_dir, arguments))


@risk_app.command("resume")
def risk_resume(
    context: typer.Context,
    scope: Annotated[str, typer.Option(help="all, venue:NAME or symbol:BASE/QUOTE.")] = "all",
    reason: Annotated[str, typer.Option()] = "resumed by hand",
) -> None:
    """Lift a halt."""
    show(context, ask(context, "risk.resume", scope=scope, reason=reason))


@risk_app.command("accept")
def risk_accept(
    context: typer.Context,
    account: Annotated[str, typer.Argument(help="okx.main")],
    asset: str,
    reason: Annotated[str, typer.Option(help="Why; journaled with your name.")],
) -> None:
    """Accept a balance difference as an adjustment, which ends reduce-only."""
    show(context, ask(context, "difference.accept", account=account, asset=asset, reason=reason))


# --- without a core -------------------------------------------------------------------------------

for offline in (panic, why):
    app.command()(offline)


@codec_app.command("replay")
def codec_replay(
    context: typer.Context,
    venue: str,
    files: list[Path],
    dialect: Annotated[
        str, typer.Option(help="The retired format of the recording, kraken_v1 for one.")
    ] = "",
    channel: Annotated[
        str, typer.Option(help="public, or private for single messages.")
    ] = "public",
) -> None:
    """Replay recorded frames through a venue's real codec and book keeper."""
    if channel not in ("public", "private"):
        raise usage(f"no channel '{channel}'; there is public, private")
    if dialect and channel == "private":
        raise usage("a dialect is of public recordings")
    for file in files:
        if file.is_dir():
            raise usage(f"{file} is a folder, not a recording")
        if not file.exists():
            raise usage(f"there is no file {file}")
    player: Any = import_module("adapters.replay")  # the adapters' libraries, only here
    try:
        if channel == "private":
            events = player.private_events(venue, files)
            _show_events(context, venue, events)
            return
        report = player.replay(venue, files, dialect)
    except (ConfigError, MessageError) as error:
        raise usage(str(error)) from None
    found = {name: getattr(report, name) for name in REPLAY_FIELDS if hasattr(report, name)}
    show(context, {"schema": 1, "venue": venue, **found})
    if not report.understood:
        names = ", ".join(str(file) for file in files)
        sys.stderr.write(f"xcore: no frame of {venue} in {names}\n")
        raise typer.Exit(EXIT_FAILED)


def _show_events(context: typer.Context, venue: str, events: list[dict[str, Any]]) -> None:
    screen = options(context).screen
    if not screen.is_table:
        show(context, {"schema": 1, "venue": venue, "channel": "private", "events": events})
        return
    for event in events:
        fields = (f"{name}={value}" for name, value in event.items() if name != "event")
        screen.line(" ".join((event["event"], *fields)))


@app.command()
def version(context: typer.Context) -> None:
    """Show the version."""
    from importlib.metadata import version as installed  # noqa: PLC0415

    show(context, {"schema": 1, "name": "xcore", "version": installed("xcore")})


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and end the process with its exit code."""
    sys.exit(run(app, sys.argv[1:] if arguments is None else arguments))


if __name__ == "__main__":
    main()
