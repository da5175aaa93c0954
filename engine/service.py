"""Tells systemd how the core is: READY=1, STATUS=, STOPPING=1, and WATCHDOG=1 while its actors answer.

The protocol is a datagram of lines to $NOTIFY_SOCKET (sd_notify(3)); without that variable nothing is
sent. The clock is the monotonic one: after a jump of the wall clock a beat would else be late, and the
service manager would kill a core that is well.
"""

import os
import socket
from collections.abc import Iterable, Mapping
from typing import Any, Final

from loguru import logger

from engine.clock import NS_PER_S, Clock
from engine.control_port import CorePort
from engine.errors import CoreError

BEATS_PER_TIMEOUT: Final = 3
NS_PER_US: Final = 1_000
ANSWER_WITHIN_S: Final = 1.0
STANDS_MS: Final = 5_000


class Service:
    """The service manager of this process, if it has one."""

    def __init__(self, environ: Mapping[str, str], clock: Clock) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._clock = clock
        self._every_ns = 0
        self._next_ns = 0
        self._status = ""
        micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        if self._address and micros.isdigit() and pid in ("", str(os.getpid())):
            self._every_ns = int(micros) * NS_PER_US // BEATS_PER_TIMEOUT

    def ready(self) -> None:
        """Tell that it runs and every venue is reconciled, or that it has waited long enough."""
        self._send("READY=1")

    def stopping(self) -> None:
        """Tell that it stops in order."""
        self._send("STOPPING=1")

    def beat(self, core: CorePort) -> None:
        """Ask the essential actors how things are; tell that, and that they have answered, when due."""
        now_ns = self._clock.mono_ns()
        if not self._address or now_ns < self._next_ns:
            return
        line = status_line(core)
        if not line:
            logger.warning("no word for the service manager: an essential actor does not answer")
            return
        self._next_ns = now_ns + (self._every_ns or NS_PER_S)
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")
        if self._every_ns:
            self._send("WATCHDOG=1")

    # A manager that does not listen is no reason to stop trading.
    def _send(self, line: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
                out.setblocking(False)
                out.sendto(line.encode(), address)
        except OSError as error:
            logger.bind(error=str(error)).warning("the service manager was not told {}", line)


def is_ready(core: CorePort, absent: Iterable[str]) -> bool:
    """Tell whether every venue that is there is reconciled or retired, and every account opened."""
    try:
        venues = core.query("venues", {}).result(ANSWER_WITHIN_S)
        money: Mapping[str, Any] = core.query("trading_state", {}).result(ANSWER_WITHIN_S)
    except (CoreError, TimeoutError):
        return False
    missing = set(absent)
    states = [venue["state"] for venue in venues if venue["name"] not in missing]
    return bool(money["opened"]) and all(state in ("READY", "RETIRED") for state in states)


def status_line(core: CorePort) -> str:
    """Return one line on the core, or the empty text while an essential actor does not answer."""
    try:
        venues = core.query("venues", {}).result(ANSWER_WITHIN_S)
        counts = core.query("counts", {}).result(ANSWER_WITHIN_S)
        money: Mapping[str, Any] = core.query("trading_state", {}).result(ANSWER_WITHIN_S)
        actors = core.query("actors", {}).result(ANSWER_WITHIN_S)
    except (CoreError, TimeoutError):
        return ""
    if any(a["name"] == "persistence" and not _moves(a) for a in actors):
        return ""
    ready = sum(venue["state"] == "READY" for venue in venues)
    return (
        f"{core.facts().mode.upper()} {money['trading_state']}, {ready}/{len(venues)} venues,"
        f" {counts['open']} open, {counts['unknown']} unknown"
    )


# Persistence answers no questions: it is well while it runs and nothing waits for it for long.
def _moves(actor: Mapping[str, Any]) -> bool:
    idle_ms = actor["last_message_ms"] or 0
    return actor["state"] == "running" and (not actor["mailbox"] or idle_ms < STANDS_MS)
