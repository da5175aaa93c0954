"""What `xcore doctor` looks at: one row a check, with what is wrong and what to do about it.

Nothing here changes anything, and nothing needs a running core; a core that runs is asked as well.
"""

import os
import re
import resource
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from engine.client import Client, find_state_dir
from engine.errors import ConfigError, CoreError, Unreachable

PYTHON_MIN: Final = (3, 11)
FREE_MIN_BYTES: Final = (
    1 << 30
)  # the journal's reserve is 64 MB; snapshots are written beside old ones
FREE_BAD_BYTES: Final = 200 << 20
FILES_MIN: Final = 1024  # each venue takes some ten, each connection of the control socket one
DNS_TRIES_MAX: Final = 20

Word = Literal["ok", "warning", "failed"]


class Finding(NamedTuple):
    """One check: what it is, how it ended, what was seen, and the remedy where it is not well."""

    check: str
    result: Word
    found: str
    remedy: str = ""


class Examination:
    """Examines one configuration and the state folder it names."""

    def __init__(self, file: Path | None, state_dir: Path | None) -> None:
        self._file = file
        self._state_dir = state_dir

    def run(self) -> list[Finding]:
        """Return every finding, in order; a check that itself fails is a finding, too."""
        config, findings = self._config()
        folder = self._folder(config)
        checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
            ("python", _python),
            ("libraries", _libraries),
            ("open files", _open_files),
        ]
        if config is not None:
            checks += [
                ("credentials", lambda: _credentials(config)),
                ("names", lambda: _names(config)),
            ]
        if folder is not None:
            checks += [
                ("state folder", lambda: _state_folder(folder)),
                ("disk", lambda: _disk(folder)),
                ("core", lambda: _core(folder)),
            ]
        for name, check in checks:
            try:
                findings += check()
            except OSError as error:
                findings.append(
                    Finding(name, "failed", str(error), "make it readable for this user")
                )
        return findings

    def _config(self) -> tuple[Any, list[Finding]]:
        config: Any = import_module("engine.config")  # pydantic and YAML only where they are needed
        path = config.default_path() if self._file is None else self._file
        try:
            found = config.load(path, state_dir=self._state_dir)
        except ConfigError as error:
            remedy = "mend what it names; `xcore config check` shows it again"
            return None, [Finding("configuration", "failed", str(error), remedy)]
        enabled = [name for name, venue in found.venues.items() if venue.enabled]
        text = f"{path or 'built in'}: {found.mode} mode, {found.name}, venues {', '.join(enabled)}"
        if enabled:
            return found, [Finding("configuration", "ok", text)]
        return found, [
            Finding("configuration", "warning", text, "enable a venue: nothing can trade")
        ]

    def _folder(self, config: Any) -> Path | None:
        if config is not None:
            return Path(config.state_dir)
        try:
            return find_state_dir(self._state_dir)
        except ConfigError:
            return None


def _python() -> Iterator[Finding]:
    text = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] >= PYTHON_MIN:
        yield Finding("python", "ok", text)
    else:
        yield Finding("python", "failed", text, "install Python 3.11 or newer, then `make setup`")


def _libraries() -> Iterator[Finding]:
    needed = [line for line in requires("xcore") or [] if "extra ==" not in line]
    found, missing = [], []
    for name in sorted(re.findall(r"^[\w.-]+", "\n".join(needed), re.MULTILINE)):
        try:
            found.append(f"{name} {installed_version(name)}")
        except PackageNotFoundError:
            missing.append(name)
    if missing:
        yield Finding("libraries", "failed", f"missing: {', '.join(missing)}", "run `make setup`")
    else:
        yield Finding("libraries", "ok", ", ".join(found))


def _open_files() -> Iterator[Finding]:
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if limit == resource.RLIM_INFINITY or limit >= FILES_MIN:
        yield Finding("open files", "ok", f"limit {limit}")
    else:
        text = f"limit {limit}, wanted {FILES_MIN}"
        yield Finding("open files", "warning", text, "raise it: `ulimit -n 4096`")


def _credentials(config: Any) -> Iterator[Finding]:
    for name, venue in config.venues.items():
        if not venue.enabled or config.mode == "demo":
            continue
        if venue.credentials.api_key:
            yield Finding(f"credentials of {name}", "ok", "an API key is given")
        else:
            yield Finding(
                f"credentials of {name}", "warning", "no API key",
                f"its books are read, nothing is traded; set venues.{name}.credentials",
            )  # fmt: skip


# In demo mode the venues are on this machine; elsewhere their hosts must have addresses.
def _names(config: Any) -> Iterator[Finding]:
    hosts = {
        str(urlsplit(url).hostname): name
        for name, venue in config.venues.items()
        if venue.enabled
        for url in venue.urls.given().values()
    }
    for host, name in [*hosts.items()][:DNS_TRIES_MAX]:
        try:
            addresses = {row[4][0] for row in socket.getaddrinfo(host, None)}
        except OSError as error:
            text = f"{host}: {error.strerror or error}"
            yield Finding(f"address of {name}", "failed", text, "check the URL and the resolver")
        else:
            yield Finding(f"address of {name}", "ok", f"{host}: {min(map(str, addresses))}")


def _state_folder(folder: Path) -> Iterator[Finding]:
    if not folder.exists():
        yield Finding("state folder", "ok", f"{folder}: not there yet, the first start makes it")
        return
    if not os.access(folder, os.W_OK | os.X_OK):
        remedy = "give it to the user that runs the core"
        yield Finding("state folder", "failed", f"{folder}: may not be written", remedy)
        return
    status = folder.stat()
    if status.st_uid == os.getuid() and status.st_mode & 0o077:
        text, remedy = f"{folder}: open to other users", f"chmod 700 {folder}"
        yield Finding("state folder", "warning", text, remedy)
        return
    yield Finding("state folder", "ok", str(folder))


def _disk(folder: Path) -> Iterator[Finding]:
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / (1 << 30):.1f} GiB free at {there}"
    if free < FREE_BAD_BYTES:
        remedy = "make room: with a full disk no order is accepted"
        yield Finding("disk", "failed", text, remedy)
    elif free < FREE_MIN_BYTES:
        yield Finding("disk", "warning", text, "make room before it is needed")
    else:
        yield Finding("disk", "ok", text)


def _core(folder: Path) -> Iterator[Finding]:
    try:
        with Client(folder) as client:
            status = client.status()
            report = client.request("journal.verify")
    except Unreachable:
        yield Finding("core", "ok", "none runs on this folder")
        yield from _journal(folder / "journal")
        return
    except CoreError as error:
        yield Finding("core", "failed", str(error), "look at its log: log/xcore.jsonl there")
        return
    yield from _journal_row(report)
    yield from _running(status)


def _running(status: Mapping[str, Any]) -> Iterator[Finding]:
    state, unknown = status["trading_state"], status["orders"]["unknown"]
    text = f"running, {state}"
    if state == "ACTIVE":
        yield Finding("core", "ok", text)
    else:
        yield Finding("core", "warning", text, "`xcore risk show` says why")
    if unknown:
        text = f"{unknown} orders whose fate is not known"
        yield Finding("orders", "warning", text, "`xcore order list --state unknown`")
    for venue in status["venues"]:
        name = f"venue {venue['name']}"
        if venue["state"] == "READY":
            yield Finding(name, "ok", "READY")
        elif venue["state"] in ("DISABLED", "RETIRED"):
            yield Finding(
                name, "warning", f"{venue['state']}: {venue.get('reason', '')}", "as it says"
            )
        else:
            text = f"{venue['state']}: {venue.get('reason') or venue.get('waits_for') or ''}"
            yield Finding(name, "failed", text, "`xcore venue list` shows what it waits for")
    for actor in status["actors"]:
        if actor["state"] not in ("RUNNING", "running", "disabled", "DISABLED"):
            text = f"{actor['state']}, {actor['restarts']} restarts"
            remedy = f"`xcore actor restart {actor['name']}`"
            yield Finding(f"actor {actor['name']}", "failed", text, remedy)


def _journal(journal: Path) -> Iterator[Finding]:
    if not journal.is_dir():
        yield Finding("journal", "ok", "none yet")
        return
    report: Any = import_module("engine.journal").verify_folder(journal)
    yield from _journal_row({name: getattr(report, name) for name in ("ok", "records", "problem")})


def _journal_row(report: Mapping[str, Any]) -> Iterator[Finding]:
    if report["ok"]:
        yield Finding("journal", "ok", f"{report['records']} records, whole")
    else:
        remedy = "keep the folder as it is and restore a backup; docs/runtime-semantics.md"
        yield Finding("journal", "failed", str(report["problem"]), remedy)
