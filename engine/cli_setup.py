"""The CLI's commands for setting up and for looking whether all is well; none needs a running core."""

import re
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from engine.cli_base import options, show, usage
from engine.errors import EXIT_FAILED

SHIPPED: Final = Path(__file__).resolve().parent.parent / "config.yaml"


def doctor(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(help="Another configuration.")] = None,
) -> None:
    """Examine configuration, machine, state folder and core; exit 1 if a check failed."""
    from engine.doctor import Examination  # noqa: PLC0415  reads the installed libraries

    found = Examination(file, options(context).state_dir).run()
    rows: list[dict[str, Any]] = [{"schema": 1, **finding._asdict()} for finding in found]
    if options(context).screen.is_table:
        rows = [{k: v for k, v in row.items() if k != "schema"} for row in rows]
    show(context, rows, "finding")
    if any(finding.result == "failed" for finding in found):
        raise typer.Exit(EXIT_FAILED)


def init(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="Where to write it.")] = Path("config.yaml"),
    name: Annotated[str | None, typer.Option(help="The instance's name.")] = None,
) -> None:
    """Write a config.yaml with every key, its default and what it means."""
    if name is not None and re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}", name) is None:
        raise usage(f"{name!r} is no name: up to 32 letters, digits, - and _, as in desk-1")
    text = SHIPPED.read_text()
    if name is not None:
        text = re.sub(r"^name: \S+", f"name: {name}", text, count=1, flags=re.MULTILINE)
    try:
        with file.open("x", encoding="utf-8") as new:  # never over one that is there
            new.write(text)
    except FileExistsError:
        raise usage(f"{file} is there already; name another file, or move it away") from None
    except OSError as error:
        raise usage(f"{file} cannot be written: {error.strerror}") from None
    show(context, {"schema": 1, "file": str(file.absolute()), "next": f"xcore config check {file}"})


def config_path(context: typer.Context) -> None:
    """Tell which configuration and state folder are used here."""
    from engine import config  # noqa: PLC0415  pydantic only where it is needed

    path = config.default_path()
    found = config.load(path, state_dir=options(context).state_dir)
    show(
        context,
        {
            "schema": 1,
            "file": None if path is None else str(path.absolute()),
            "state_dir": str(found.state_dir),
        },
    )


def completion(
    context: typer.Context,
    shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell.")] = "bash",
) -> None:
    """Print the completion script of a shell: `source <(xcore completion bash)`."""
    if shell not in ("bash", "zsh", "fish", "powershell"):
        raise usage(f"no completion for '{shell}'; there is bash, zsh, fish, powershell")
    typers: Any = import_module("typer.completion")
    script = typers.get_completion_script(
        prog_name="xcore", complete_var="_XCORE_COMPLETE", shell=shell
    )
    options(context).screen.line(script)
