"""The CLI's commands for the core's process: start it, stop it, read its log."""

import json
import os
import signal
import socket
import struct
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from io import TextIOBase
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import typer

from engine.cli_base import options, show, usage
from engine.client import find_state_dir
from engine.errors import EXIT_UNKNOWN, Unreachable
from engine.frames import connect

ROOT: Final = Path(__file__).resolve().parent.parent
LOOK_EVERY_S: Final = 0.1
LEVELS: Final = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")
_PEER: Final = struct.Struct("3i")  # pid, uid, gid

log_app = typer.Typer(help="The core's log.", no_args_is_help=True, rich_markup_mode=None)


def up(
    context: typer.Context,
    config: Annotated[Path | None, typer.Option("-c", "--config", help="config.yaml.")] = None,
    mode: Annotated[str | None, typer.Option(help="Can only lower the configured mode.")] = None,
) -> None:
    """Start the core in the foreground: the same as `python supervisor.py`."""
    words = [sys.executable, str(ROOT / "supervisor.py")]
    for option, value in (
        ("--config", config),
        ("--mode", mode),
        ("--state-dir", options(context).state_dir),
    ):
        words += [] if value is None else [option, str(value)]
    os.execv(sys.executable, words)  # noqa: S606  our own program


def down(
    context: typer.Context,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 30.0,
) -> None:
    """Stop the core in order, as SIGTERM does, and wait until it has ended."""
    state_dir = find_state_dir(options(context).state_dir)
    pid = _pid_of(state_dir)
    options(context).screen.say(f"asked process {pid} to stop")
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + timeout
    while _is_alive(pid):
        if time.monotonic() >= end:
            sys.stderr.write(f"xcore: process {pid} has not ended in {timeout:g} s\n")
            raise typer.Exit(EXIT_UNKNOWN)
        time.sleep(LOOK_EVERY_S)
    show(context, {"schema": 1, "pid": pid, "stopped": True})


# Who answers on the control socket, by the kernel's word: a number in a file may be another's by now.
def _pid_of(state_dir: Path) -> int:
    try:
        with connect(state_dir, 2.0) as peer:
            raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    except OSError as error:
        raise Unreachable(f"no core answers on {state_dir} ({error.strerror or error})") from None
    return int(_PEER.unpack(raw)[0])


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    with suppress(OSError):
        return state.read_text().rpartition(")")[2].split()[0] != "Z"
    return True


@log_app.command("tail")
def log_tail(
    context: typer.Context,
    count: Annotated[int, typer.Option("-n", "--count", help="How many lines.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="And those to come.")] = False,
    actor: Annotated[str | None, typer.Option(help="Of one actor only.")] = None,
    level: Annotated[str, typer.Option(help="This level and above.")] = "TRACE",
) -> None:
    """Show the newest lines of the log; works without a running core."""
    if level.upper() not in LEVELS:
        raise usage(f"no level '{level}'; there is {', '.join(LEVELS)}")
    lowest = LEVELS.index(level.upper())
    state_dir = find_state_dir(options(context).state_dir)
    path = state_dir / "log" / "xcore.jsonl"
    try:
        file = path.open(encoding="utf-8", errors="replace")
    except OSError as error:
        raise usage(f"{path}: {error.strerror}; is log.file.path set?") from None
    with file:
        kept = deque((r for r in _records(file) if _wanted(r, actor, lowest)), maxlen=max(0, count))
        for record in kept:
            _print(context, record)
        while follow:
            for record in _records(file):
                if _wanted(record, actor, lowest):
                    _print(context, record)
            time.sleep(LOOK_EVERY_S)
            if not _same_file(file, path):  # rotated: what is left was read just now
                file.close()
                file = path.open(encoding="utf-8", errors="replace")


def _same_file(file: TextIO | TextIOBase, path: Path) -> bool:
    with suppress(OSError):
        return os.fstat(file.fileno()).st_ino == path.stat().st_ino
    return True


# A line that is half written is read again as a whole.
def _records(file: TextIO) -> Iterator[dict[str, Any]]:
    while True:
        place = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(place)
            return
        with suppress(ValueError):
            found = json.loads(line)
            if isinstance(found, dict):
                yield found


def _wanted(record: dict[str, Any], actor: str | None, lowest: int) -> bool:
    level = record.get("level")
    high_enough = level not in LEVELS or LEVELS.index(level) >= lowest
    return high_enough and actor in (None, record.get("actor"))


def _print(context: typer.Context, record: dict[str, Any]) -> None:
    screen = options(context).screen
    if not screen.is_table:
        show(context, record)
        return
    fields = " ".join(
        f"{k}={v}" for k, v in record.items() if k not in ("ts", "level", "event", "trace")
    )
    screen.line(f"{record.get('ts')} {record.get('level')} {record.get('event')} {fields}".rstrip())
