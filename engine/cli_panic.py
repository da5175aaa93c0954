"""The command of last resort: `xcore panic`, which needs no running core."""

import getpass
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli_base import options, show
from engine.client import find_state_dir
from engine.errors import EXIT_CONFIG, ConfigError
from engine.run_note import last_run

WITHIN_S: Final = 30.0


def panic(
    context: typer.Context,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "-c", "--config", help="The core's config.yaml; else the one it last ran with."
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why; journaled by the next core.")] = "panic",
    timeout: Annotated[float, typer.Option(help="Seconds for all venues together.")] = WITHIN_S,
    fence_only: Annotated[
        bool, typer.Option("--fence-only", help="Stop new orders, leave open ones.")
    ] = False,
) -> None:
    """Stop everything with the core wedged or dead: fence it, cancel all, prove it. Never asks."""
    screen, state_dir = options(context).screen, _state_dir(context, config_file)
    who = f"panic by {getpass.getuser()}"
    run: Any = import_module("adapters.panic").Panic(state_dir, who, reason, _say)
    fenced = True
    try:
        run.fence()
    except OSError as error:
        fenced = False
        _say(f"NOT FENCED: {error}; orders are cancelled, but a living core may send new ones")
    run.ask_core()
    if fence_only:
        told = {"schema": 1, "panic_id": run.panic_id, "fenced": fenced, "core": run.core_said()}
        show(context, told)
        return
    try:
        config = configuration(config_file, state_dir)
    except ConfigError as error:
        _say(f"fenced, but without its configuration nothing can be cancelled: {error}")
        raise typer.Exit(EXIT_CONFIG) from None
    receipt = {**run.sweep(config, timeout), "core": run.core_said()}
    if screen.is_table:
        receipt = {**receipt, "venues": [_counted(row) for row in receipt["venues"]]}
    show(context, receipt)
    code = import_module("adapters.panic").exit_code(receipt)
    if code:
        _say("not proven, or not all known: see `problem` and `unknown`; run it again")
        raise typer.Exit(code)


# Whatever the format: what goes on matters more here than elsewhere, and stdout has the receipt alone.
def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


# For a table: short lists whole, long ones as a number.
def _counted(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: f"{len(value)} orders" if isinstance(value, list) and len(value) > 3 else value
        for name, value in row.items()
    }


def _state_dir(context: typer.Context, config_file: Path | None) -> Path:
    given = options(context).state_dir
    if given is None and config_file is not None:
        return Path(configuration(config_file, None).state_dir)
    return find_state_dir(given)


def configuration(config_file: Path | None, state_dir: Path | None) -> Any:
    """Return the configuration of a core: the given file, or what it last ran with. ConfigError."""
    from engine import config  # noqa: PLC0415  pydantic only where it is needed

    noted = last_run(state_dir) if state_dir is not None else {}
    path = config_file
    if path is None and noted:
        path = Path(noted["config"]) if noted.get("config") else None
    elif path is None:
        path = config.default_path()
    return config.load(path, mode_flag=noted.get("mode"), state_dir=state_dir, gated=False)
