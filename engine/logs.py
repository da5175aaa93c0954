"""The one place that configures logging: people on stderr, JSON lines in a file, never a secret.

Logs are for reading; the journal is the truth. `diagnose` and `backtrace` are off everywhere: they would
print the values of variables, secrets among them.
"""

import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loguru import logger

from engine.config_models import Config, Log
from engine.views import wants_color

if TYPE_CHECKING:
    from loguru import Record

SECRET_LENGTH_MIN: Final = 4
HIDDEN: Final = "***"
# As functions: to a text of its own loguru would add the traceback, with whatever stands in it.
_CONSOLE: Final = (
    "<dim>{time:HH:mm:ss.SSS}</dim> <level>{level: <7}</level> "
    "{message}{extra[fields]}{extra[trace]}\n"
)
_LINE: Final = "{extra[line]}\n"


def configure(log: Log, state_dir: Path, secrets: Iterable[str] = ()) -> None:
    """Send log records where `log` says; any of `secrets` in them is replaced by asterisks."""
    hide = hider(secrets)
    logger.remove()
    logger.configure(
        extra={"fields": "", "trace": "", "line": ""}, patcher=lambda record: _patch(record, hide)
    )
    terminal = sys.stderr.isatty()
    as_json = log.console == "json" or (log.console == "auto" and not terminal)
    if log.console != "off":
        logger.add(
            sys.stderr,
            level=log.level,
            format=(lambda _: _LINE) if as_json else (lambda _: _CONSOLE),
            colorize=not as_json and wants_color(log.color, terminal=terminal),
            diagnose=False,
            backtrace=False,
        )
    if log.file.path:
        path = state_dir / log.file.path
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        logger.add(
            path,
            level=log.level,
            format=lambda _: _LINE,
            rotation=f"{log.file.rotation_mb} MB",
            retention=log.file.kept_max,
            enqueue=True,  # a slow disk never holds up a thread that trades
            diagnose=False,
            backtrace=False,
            opener=_private,
        )


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return what replaces any of `secrets` in a text by asterisks."""
    hidden = sorted({s for s in secrets if len(s) >= SECRET_LENGTH_MIN}, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in hidden:
            text = text.replace(secret, HIDDEN)
        return text

    return hide


def secrets_of(config: Config) -> list[str]:
    """Return every secret of a configuration, for the filter and nothing else."""
    accounts = [venue.credentials for venue in config.venues.values()]
    held = [s for a in accounts for s in (a.api_key, a.api_secret, a.passphrase)]
    held.append(config.dashboard.token)
    return [secret.get_secret_value() for secret in held if secret is not None]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# Adds the JSON line and the bound fields to a record, and hides what should not be read.
def _patch(record: "Record", hide: Callable[[str], str]) -> None:
    message = hide(record["message"])
    bound = {k: v for k, v in record["extra"].items() if k not in ("fields", "trace", "line")}
    record["message"] = message
    record["extra"]["fields"] = hide("".join(f" {k}={v}" for k, v in bound.items()))
    trace = hide(_traceback(record))
    record["extra"]["trace"] = f"\n{trace}" if trace else ""
    line: Mapping[str, Any] = {
        "ts": record["time"].isoformat(),
        "level": record["level"].name,
        "event": message,
        **{str(k): v if isinstance(v, int | float | None) else str(v) for k, v in bound.items()},
        **({"trace": trace} if trace else {}),
    }
    record["extra"]["line"] = hide(json.dumps(line, ensure_ascii=False, default=str))


def _traceback(record: "Record") -> str:
    error = record["exception"]
    if error is None or error.value is None:
        return ""
    return "".join(traceback.format_exception(error.value)).rstrip()
