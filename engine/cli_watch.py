"""`-w`: shows an answer again and again; on a terminal redrawn, in a pipe a JSON line a change."""

import io
import sys
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Final

from engine.errors import EXIT_OK, EXIT_USAGE

EVERY_S: Final = 1.0
EVERY_MIN_S: Final = 0.1
EVERY_MAX_S: Final = 3600.0
# What only looks. Whatever acts is done once.
WATCHED: Final = (
    *("status", "bbo", "book", "depth", "impact", "arb", "pnl", "balance", "venue list"),
    *("order list", "order show", "position list", "risk show", "actor tree", "actor parked"),
)
_CLEAR: Final = "\x1b[H\x1b[2J"


class _Drawn(io.StringIO):
    # What is drawn for a terminal before it is shown: a whole picture at once does not flicker.
    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def taken(arguments: list[str]) -> tuple[list[str], float | None]:
    """Return the command line without `-w [SECS]`, and the seconds between two looks, or None."""
    rest: list[str] = []
    every_s: float | None = None
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, value = word.partition("=")
        if word == "--":
            return [*rest, word, *waiting], every_s
        if name not in ("-w", "--watch"):
            rest.append(word)
        elif equals:
            every_s = _seconds(value)
        elif waiting and _is_number(waiting[0]):
            every_s = _seconds(waiting.pop(0))
        else:
            every_s = EVERY_S
    return rest, every_s


def watch(
    run: Callable[[list[str]], int], common: list[str], command: list[str], every_s: float
) -> int:
    """Run a command that only looks until Ctrl-C; return the exit code.

    `common` are the options that every command takes, `command` begins with the command's name.
    """
    if not any(command[: len(name)] == name for name in map(str.split, WATCHED)):
        sys.stderr.write(f"xcore: -w is for what only looks: {', '.join(WATCHED)}\n")
        return EXIT_USAGE
    terminal = sys.stdout.isatty()
    line = [*common, *([] if terminal else ["-o", "jsonl"]), *command]
    before = ""
    try:
        while True:
            out, err = _Drawn(), io.StringIO()
            code: object = EXIT_OK
            with redirect_stdout(out), redirect_stderr(err):
                try:
                    code = run(line)
                except SystemExit as ended:  # how typer ends a command
                    code = ended.code
            if code == EXIT_USAGE:
                _say(out.getvalue(), err.getvalue())
                return EXIT_USAGE
            shown = out.getvalue() + (err.getvalue() if terminal or not out.getvalue() else "")
            if terminal:
                sys.stdout.write(f"{_CLEAR}{shown}")
                sys.stdout.flush()
            elif shown != before:
                _say(out.getvalue(), err.getvalue())
            before = shown
            time.sleep(every_s)
    except KeyboardInterrupt:
        return EXIT_OK


def _say(out: str, err: str) -> None:
    sys.stdout.write(out)
    sys.stdout.flush()
    sys.stderr.write("" if out else err)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _seconds(word: str) -> float:
    found = float(word) if _is_number(word) else EVERY_S
    return min(max(found, EVERY_MIN_S), EVERY_MAX_S)
