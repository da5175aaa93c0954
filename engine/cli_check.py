"""The CLI's command that examines a venue's adapter; needs no running core."""

from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine import cli_live
from engine.cli_base import options
from engine.client import RequestRefused
from engine.errors import EXIT_FAILED, EXIT_NOT_FOUND, EXIT_UNKNOWN, OutcomeUnknown

_RESULT: Final = {True: "passed", False: "FAILED", None: "not applicable,"}


def venue_check(
    context: typer.Context,
    venue: str,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="config.yaml.")] = None,
    exam: Annotated[list[str] | None, typer.Option(help="Only this one, C1 to C16.")] = None,
    canary: Annotated[
        bool, typer.Option("--canary", help="One least order, far off: found, cancelled, gone.")
    ] = False,
) -> None:
    """Examine VENUE's adapter where it is configured to be; needs no running core."""
    found = _load(context, config)
    if venue not in found.venues:
        text = f"no venue '{venue}'; there are: {', '.join(found.venues)}"
        raise RequestRefused("NOT_FOUND", text, EXIT_NOT_FOUND, None)
    screen = options(context).screen
    if canary and found.mode == "live":
        cli_live.agree(screen, found.name, f"one least order at {venue}, cancelled at once",
                       is_agreed=options(context).yes and options(context).live)  # fmt: skip
    player: Any = import_module("adapters.conformance_check")  # the adapters' libraries, only here
    player.quiet()
    try:
        score = player.check_venue(
            found, venue, player.Wanted(exam or (), canary),
            lambda mark: screen.say(f"{mark.number} {mark.title}: {_RESULT[mark.passed]} {mark.text}"),
        )  # fmt: skip
    except KeyboardInterrupt:
        screen.say("interrupted; nothing of it is left open at the venue")
        raise typer.Exit(EXIT_FAILED) from None
    except OutcomeUnknown as error:
        screen.say(str(error))
        raise typer.Exit(EXIT_UNKNOWN) from None
    told = {**score.plain(), "mode": found.mode}
    if screen.is_table:
        screen.show(told["exams"])
        screen.line(f"conformance: {venue} {score}")
    else:
        screen.show(told)
    if any(mark.passed is False for mark in score.marks) or not score.applied:
        raise typer.Exit(EXIT_FAILED)


def _load(context: typer.Context, path: Path | None) -> Any:
    from engine import config  # noqa: PLC0415  pydantic only where it is needed

    return config.load(path or config.default_path(), state_dir=options(context).state_dir)
