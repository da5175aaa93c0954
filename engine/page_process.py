"""The life of the page's process beside a core: started, watched, started again, ended with the core.

It serves the dashboard and the metrics (package `dashboard`) and knows of the core what the control
socket tells it. Nothing here waits for it but a thread of its own; its death costs a page, never a
trade. A core that is killed leaves it behind for a while, so that open pages can say so; the next core
on the same state folder ends it and has its own listen in its place, with the same token.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event, Lock
from typing import Any, Final

from loguru import logger

from engine.config_models import Config
from engine.greeting import say
from engine.logs import hider
from engine.page_session import is_page, read_session
from engine.venue_process import inherited

ROOT: Final = Path(__file__).resolve().parent.parent
BACKOFF_S: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 30.0)
LASTED_S: Final = 60.0  # one that ran for so long is started again at once
HELD_BACK_S: Final = 3.0
PREDECESSOR_S: Final = 3.0
STOP_WITHIN_S: Final = 2.0
LOOK_EVERY_S: Final = 0.02
TOKEN_BYTES: Final = 24
LINE_MAX: Final = 4_000

Threads = Callable[[str, Callable[[], None]], Any]


class PageProcess:
    """Keeps one page's process alive from `start` to `stop`."""

    def __init__(self, config: Config, threads: Threads, mono_ns: Callable[[], int]) -> None:
        self._config = config
        self._threads = threads
        self._mono_ns = mono_ns
        self._lock = Lock()
        self._stopping = Event()
        self._due = Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._url = ""
        self.restarts = 0

    def start(self) -> None:
        """Begin, if the configuration wants a page or metrics; returns at once.

        The process itself comes when `hurry` is called, or a little later: a core that starts needs the
        machine more.
        """
        if self._config.dashboard.enabled or self._config.metrics.enabled:
            self._threads("page", self._keep)

    def hurry(self) -> None:
        """The core is ready: nothing is held up any more by another process' start."""
        self._due.set()

    def stop(self) -> None:
        """End the process in order, within two seconds."""
        self._stopping.set()
        self._due.set()
        with self._lock:
            process = self._process
        if process is None:
            return
        with suppress(OSError, ValueError):
            assert process.stdin is not None
            process.stdin.write(b"stop\n")
            process.stdin.close()
        try:
            process.wait(STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()

    # --- the thread -------------------------------------------------------------------------------

    def _keep(self) -> None:
        self._due.wait(HELD_BACK_S)
        settings = self._settings()
        failures = 0
        while not self._stopping.is_set():
            began_ns = self._mono_ns()
            try:
                process = self._begin(settings)
            except OSError as error:
                logger.bind(error=str(error)).error("page process not started")
                return
            if process is None:
                return
            self._follow(process, settings)
            if self._stopping.is_set():
                return
            lasted_s = (self._mono_ns() - began_ns) / 1e9
            failures = 0 if lasted_s >= LASTED_S else failures + 1
            self.restarts += 1
            pause_s = BACKOFF_S[min(failures, len(BACKOFF_S) - 1)]
            logger.bind(exit_code=process.returncode, again_s=pause_s).warning("page process ended")
            self._stopping.wait(pause_s)

    def _settings(self) -> dict[str, Any]:
        config = self._config
        before = self._end_predecessor()
        page, metrics, log = config.dashboard, config.metrics, config.log.file.path
        return {
            "dashboard": page.enabled,
            "host": page.host,
            "port": before.get("port", page.port),
            "token": page.given_token()
            or before.get("token")
            or secrets.token_urlsafe(TOKEN_BYTES),
            "own_token": bool(page.given_token()),
            "allow_commands": page.allow_commands,
            "allowed_hosts": list(page.allowed_hosts),
            "metrics": metrics.enabled,
            "metrics_host": metrics.host,
            "metrics_port": metrics.port or before.get("metrics_port", 0),
            "log": str(config.state_dir / log) if log else "",
        }

    # Only one that lost its core is still there: it keeps pages open that should come to us.
    def _end_predecessor(self) -> dict[str, Any]:
        found = read_session(self._config.state_dir)
        if found is None:
            return {}
        with suppress(OSError):
            os.kill(found["pid"], signal.SIGKILL)
        end_ns = self._mono_ns() + int(PREDECESSOR_S * 1e9)
        while self._mono_ns() < end_ns and is_page(found["pid"], self._config.state_dir):
            self._stopping.wait(LOOK_EVERY_S)
        return found

    def _begin(self, settings: dict[str, Any]) -> "subprocess.Popen[bytes] | None":
        with self._lock:
            if self._stopping.is_set():
                return None
            # A group of its own, so that a terminal's Ctrl-C is for the core alone to act on.
            process = self._process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "dashboard", "--child", "--state-dir",
                 str(self._config.state_dir)],
                cwd=ROOT, env=inherited(os.environ), process_group=0,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            assert process.stdin is not None
            with suppress(OSError):
                process.stdin.write(json.dumps(settings).encode() + b"\n")
                process.stdin.flush()
            return process

    # Its first line says where it listens, all others are for the log; until its end.
    def _follow(self, process: "subprocess.Popen[bytes]", settings: dict[str, Any]) -> None:
        hide = hider([settings["token"]])
        assert process.stdout is not None
        with process.stdout as output:
            while line := output.readline(LINE_MAX):
                text = line.decode(errors="replace").rstrip()
                if text.startswith('{"listening"'):
                    self._greet(json.loads(text), settings)
                elif text:
                    logger.bind(said=hide(text)).warning("page process says")
        process.wait()

    # The URL goes to the terminal, never into a log: whoever has it may trade.
    def _greet(self, told: dict[str, Any], settings: dict[str, Any]) -> None:
        settings["port"] = told["port"] or settings["port"]  # a restart listens where pages look
        settings["metrics_port"] = told["metrics_port"]
        url = told["url"]
        if url and url != self._url:
            say(f"page     {url}")
        for note in () if self._url else told["notes"]:
            say(f"         {note}")
        self._url = url
