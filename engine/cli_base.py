"""What every command of the CLI shares: common options, one request, one way to fail.

An error ends as one sentence on stderr and an exit code of engine/errors.py, never a traceback.
"""

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import typer

from engine import cli_live
from engine.cli_watch import taken, watch
from engine.client import Client, RequestRefused, RequestUnknown
from engine.errors import (
    EXIT_CONFIG,
    EXIT_FAILED,
    EXIT_UNKNOWN,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    ConfigError,
    CoreError,
    Unreachable,
)
from engine.views import Screen


@dataclass
class Options:
    """The options that every command takes, before or behind its name."""

    screen: Screen
    state_dir: Path | None
    yes: bool = False
    live: bool = False


_COMMON: Final = {"--json": 0, "-o": 1, "--output": 1, "--state-dir": 1, "--color": 1,
                  "--yes": 0, "--live": 0}  # fmt: skip


NUMBERS: Final = ("--timeout", "--count", "-n", "--depth", "--limit", "--after-seq", "--port")
TEXTS: Final = ("--reason", "--command-id")


def group(text: str) -> typer.Typer:
    """Return an empty group of commands."""
    return typer.Typer(help=text, no_args_is_help=True, rich_markup_mode=None)


def ask(context: typer.Context, op: str, **arguments: Any) -> Any:
    """Send one request to the core and return its result."""
    chosen = options(context)
    with Client(chosen.state_dir) as client:
        return cli_live.request(
            client, chosen.screen, op, arguments, is_agreed=chosen.yes and chosen.live
        )


def options(context: typer.Context) -> Options:
    """Return the common options of a command."""
    found = context.obj
    assert isinstance(found, Options)
    return found


def show(context: typer.Context, value: Any, kind: str = "") -> None:
    """Print an answer in the wanted format."""
    options(context).screen.show(value, kind)


def usage(text: str) -> typer.BadParameter:
    """Return an error of the command line: a sentence and exit 2."""
    return typer.BadParameter(text)


def hoist(arguments: list[str]) -> list[str]:
    """Return the command line with the common options in front, wherever they were written."""
    front: list[str] = []
    rest: list[str] = []
    waiting = list(arguments)
    while waiting:
        word = waiting.pop(0)
        name, equals, _ = word.partition("=")
        if word == "--":
            return [*front, *rest, word, *waiting]
        if name not in _COMMON or (equals and not _COMMON[name]):
            rest.append(word)
            continue
        front.append(word)
        if _COMMON[name] and not equals and waiting:
            front.append(waiting.pop(0))
    return [*front, *rest]


def check_signs(arguments: list[str]) -> None:
    """Refuse a negative number with a sentence; the parser would take it for an option."""
    before = ""
    for given in arguments:
        name, _, value = given.partition("=")
        option, word = (name, value) if name in NUMBERS else (before, given)
        before = given
        if option in NUMBERS and re.fullmatch(r"[+-]?(nan|inf|infinity)", word, re.IGNORECASE):
            raise usage(f"{option} takes a number, not {word}")
        if re.fullmatch(r"-[\d.][\d.eE+-]*", word) is None or option in TEXTS:
            continue
        if option in NUMBERS:
            raise usage(f"{option} takes no negative number, not {word}")
        raise usage(f"{word} is negative; quantities and prices are more than zero")


def run(app: typer.Typer, given: list[str]) -> int:
    """Run one command line and return its exit code."""
    plain, every_s = taken(given)
    hoisted = hoist(plain)
    if every_s is None:
        return _once(app, hoisted)
    first = _command_at(hoisted)
    return watch(partial(_once, app), hoisted[:first], hoisted[first:], every_s)


def _once(app: typer.Typer, hoisted: list[str]) -> int:
    return _guarded(lambda: _run(app, hoisted), _screen(hoisted))


# Where the command begins, behind the common options that `hoist` has put in front.
def _command_at(hoisted: list[str]) -> int:
    place = 0
    while place < len(hoisted) and (name := hoisted[place].partition("="))[0] in _COMMON:
        place += 1 + (0 if name[1] else _COMMON[name[0]])
    return place


def _run(app: typer.Typer, given: list[str]) -> None:
    try:
        check_signs(given)
    except typer.BadParameter as error:
        sys.stderr.write(f"xcore: {error.message}\n")
        sys.exit(EXIT_USAGE)
    app(args=given, prog_name="xcore")


# What the common options say, for an error that ends the command before it could show anything.
def _screen(given: list[str]) -> Screen:
    if "--json" in given:
        return Screen("json")
    return Screen("jsonl" if "jsonl" in given else "json" if "json" in given else "table")


def _guarded(run: Callable[[], None], screen: Screen) -> int:
    try:
        run()
    except (RequestRefused, RequestUnknown) as error:
        if error.result:
            many = screen.is_table and "order_id" in error.result  # one order, as a row
            screen.show([error.result] if many else error.result, "order")
        return _sorry(error.text, error.exit_code)
    except Unreachable as error:
        return _sorry(str(error), EXIT_UNREACHABLE)
    except ConfigError as error:
        return _sorry(str(error), EXIT_CONFIG)
    except CoreError as error:
        return _sorry(str(error), EXIT_FAILED)
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return EXIT_FAILED
    except KeyboardInterrupt:
        return _sorry("interrupted; what was sent may have been carried out", EXIT_UNKNOWN)
    except Exception as error:  # noqa: BLE001  the last seam: a person gets a sentence, not a traceback
        return _sorry(f"failed inside: {type(error).__name__}: {error}", EXIT_FAILED)
    return 0


def _sorry(text: str, code: int) -> int:
    sys.stderr.write(f"xcore: {text}\n")
    return code
