"""The CLI's commands for backups; none needs a running core, and none disturbs one."""

import getpass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from engine.cli_base import group, options, show, usage
from engine.client import find_state_dir
from engine.clock import SystemClock

backup_app = group("Backups of the state folder.")
File = Annotated[Path, typer.Argument(exists=True, dir_okay=False)]


def _backups() -> Any:
    return import_module("engine.backup")  # SQLite and the journal, only here


@backup_app.command("create")
def backup_create(
    context: typer.Context,
    to: Annotated[Path | None, typer.Option(help="The folder; default: STATE_DIR/backups.")] = None,
) -> None:
    """Write a verified backup of the journal, also beside a running core."""
    state_dir = find_state_dir(options(context).state_dir)
    show(context, _backups().create(state_dir, to, SystemClock()))


@backup_app.command("list")
def backup_list(
    context: typer.Context,
    folder: Annotated[
        Path | None, typer.Option("--in", help="The folder; default: STATE_DIR/backups.")
    ] = None,
) -> None:
    """List the backups of a folder, oldest first."""
    place = folder or find_state_dir(options(context).state_dir) / "backups"
    show(context, _backups().listed(place), "backup")


@backup_app.command("verify")
def backup_verify(context: typer.Context, file: File) -> None:
    """Unpack a backup and check every record in it."""
    show(context, _backups().verify(file))


@backup_app.command("restore")
def backup_restore(
    context: typer.Context,
    file: File,
    into: Annotated[Path, typer.Option(help="The new state folder.")],
    reason: Annotated[str, typer.Option(help="Why; journaled with your name.")],
) -> None:
    """Make a new state folder of a backup: marked as restored, and halted until you resume."""
    if not reason.strip():
        raise usage("--reason: say why, it is journaled")
    clock, who = SystemClock(), getpass.getuser()
    found = _backups().restore(file, into.absolute(), clock, who=who, reason=reason)
    show(context, found)
    options(context).screen.say(
        "trading is halted there: start the core on it, look at `xcore order list` and `xcore risk show`,"
        " then `xcore risk resume`"
    )
