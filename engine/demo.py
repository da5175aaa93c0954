"""Demo mode's venues: a simulator process of our own, started, adopted and stopped.

The simulator is a server like any venue and knows nothing of us; here are only its life and its
control plane. It runs in a session of its own, so that it outlives a killed core with its orders;
the next core on the same state folder adopts it.
"""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any, Final

from engine.clock import NS_PER_S, Clock
from engine.config_models import Config, Venue
from engine.errors import Refused, Unreachable
from engine.venue_names import ADAPTERS

START_WITHIN_S: Final = 15.0
STOP_WITHIN_S: Final = 5.0
CALL_WITHIN_S: Final = 3.0
LOOK_EVERY_S: Final = 0.005
ROOT: Final = Path(__file__).resolve().parent.parent


def begin(config: Config, venues: Iterable[Venue], clock: Clock) -> "Simulator":
    """Start or adopt the simulator of a configuration; `wait` before it is used.

    Raises:
        Unreachable: it is not ours to start, and does not run.
    """
    simulator = Simulator(config.state_dir, clock)
    # Two venues may speak one dialect, and some are played by nobody.
    names = list({v.protocol: None for v in venues if v.protocol in ADAPTERS})
    external = config.demo.simulator == "external"
    simulator.begin(seed=config.demo.seed, venues=names, external=external)
    return simulator


def endpoints_of(state_dir: Path) -> dict[str, Any]:
    """Return the endpoints of the simulator that runs on a folder; empty if none does."""
    try:
        found: dict[str, Any] = json.loads((state_dir / "sim" / "endpoints.json").read_text())
        os.kill(found["pid"], 0)
    except (OSError, ValueError, KeyError):
        return {}
    return found


class Simulator:
    """The simulator of one state folder."""

    def __init__(self, state_dir: Path, clock: Clock, *, ends_with_us: bool = False) -> None:
        self._state_dir = state_dir
        self._more = ["--parent-pid", str(os.getpid())] if ends_with_us else []
        self._clock = clock
        self._process: subprocess.Popen[bytes] | None = None
        self._again: tuple[int, list[str]] | None = None
        self._is_up = False
        self.endpoints: dict[str, Any] = {}

    def begin(self, *, seed: int, venues: list[str], external: bool) -> None:
        """Adopt the folder's running simulator, or start one; `wait` before it is used.

        Raises:
            Unreachable: it is not ours to start, and does not run.
        """
        self._again = None if external else (seed, venues)
        if self._adopt():
            return
        if external:
            raise Unreachable(
                f"demo.simulator is `external`, but none runs on {self._state_dir}: start it with"
                f" `python -m simulator --state-dir {self._state_dir}`"
            )
        self._spawn(seed, venues)

    def wait(self) -> None:
        """Wait until it listens.

        Raises:
            Unreachable: it did not come up; the text says where its log is.
        """
        if not self._is_up and not _until(self._adopt, START_WITHIN_S, self._clock):
            place = self._state_dir / "sim" / "simulator.log"
            raise Unreachable(f"the simulator did not start; see {place}")

    def revive(self) -> bool:
        """Start an embedded simulator that has died again, on its old ports; tell whether it had."""
        if self._again is None or self._is_alive():
            return False
        self._process, self._is_up = None, False
        self._spawn(*self._again)
        self.wait()
        return True

    def _is_alive(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def _spawn(self, seed: int, venues: list[str]) -> None:
        place = self._state_dir / "sim"
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (place / "simulator.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  our own program
                [sys.executable, "-m", "simulator", "--state-dir", str(self._state_dir),
                 "--seed", str(seed), "--venues", ",".join(venues), *self._more],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def _adopt(self) -> bool:
        """Take over endpoints.json if the process that wrote it still serves it."""
        if self._process is not None and self._process.poll() is not None:
            raise Unreachable(
                f"the simulator ended with {self._process.returncode};"
                f" see {self._state_dir / 'sim' / 'simulator.log'}"
            )
        try:
            found = json.loads((self._state_dir / "sim" / "endpoints.json").read_text())
            if self._process is not None and found["pid"] != self._process.pid:
                return False
            os.kill(found["pid"], 0)
            _call("GET", found["ctl"] + "/_ctl/active", None)
        except (OSError, ValueError, KeyError, Unreachable, Refused):
            return False
        self.endpoints, self._is_up = found, True
        return True

    @property
    def pid(self) -> int:
        """The simulator's process id."""
        return int(self.endpoints["pid"])

    def stop(self) -> None:
        """End the simulator in order; it keeps its state in the folder."""
        try:
            os.kill(self.pid, signal.SIGTERM)
        except (ProcessLookupError, KeyError):
            return
        if self._process is not None:
            try:
                self._process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()

    # --- faults -----------------------------------------------------------------------------------

    def call(self, action: str, arguments: Mapping[str, str]) -> Any:
        """List, inject or clear faults.

        Raises:
            Refused: the simulator does not know this fault; the text is its own.
            Unreachable: it does not answer.
        """
        base = self.endpoints["ctl"] + "/_ctl"
        if action == "list":
            return _call("GET", base + "/faults", None)
        if action == "clear":
            return _call("DELETE", base + "/fault", None)
        body: dict[str, Any] = dict(arguments)
        if "count" in body:
            body["count"] = int(body["count"])
        return _call("POST", base + "/fault", body)


def _call(method: str, url: str, body: dict[str, Any] | None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310  loopback http
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=CALL_WITHIN_S) as response:
            return json.loads(response.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")[:500]
        raise Refused("BAD_REQUEST", text) from error
    except (OSError, ValueError) as error:
        raise Unreachable(f"the simulator's control plane does not answer: {error}") from error


def _until(condition: Callable[[], bool], within_s: float, clock: Clock) -> bool:
    pause = Event()
    end_ns = clock.mono_ns() + int(within_s * NS_PER_S)
    while clock.mono_ns() < end_ns:
        if condition():
            return True
        pause.wait(LOOK_EVERY_S)
    return condition()
