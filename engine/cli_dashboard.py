"""`xcore dashboard`: a page beside a running core, or the URL of the one that it has."""

import os
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from engine.cli_base import options, show
from engine.client import find_state_dir
from engine.errors import Unreachable
from engine.page_session import read_session

ROOT: Final = Path(__file__).resolve().parent.parent


def dashboard(
    context: typer.Context,
    host: Annotated[
        str, typer.Option(help="Where to listen; not loopback: read only.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: a free one.")] = 0,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no commands.")] = False,
    url: Annotated[
        bool, typer.Option("--url", help="Print the URL of the core's own page.")
    ] = False,
) -> None:
    """Serve a page of its own until Ctrl-C; one that shows, places, cancels, halts and resumes."""
    folder = find_state_dir(options(context).state_dir)
    if url:
        found = read_session(folder)
        if found is None or not found["url"]:
            raise Unreachable(f"no page runs on {folder}; `xcore dashboard` starts one")
        show(context, {"schema": 1, "url": found["url"], "pid": found["pid"]})
        return
    words = [sys.executable, "-m", "dashboard", "--state-dir", str(folder), "--host", host]
    words += ["--port", str(port), *(["--read-only"] if read_only else [])]
    os.chdir(ROOT)
    os.execv(sys.executable, words)  # noqa: S606  our own program, in our place
