"""The program itself as a process: `supervisor.py` with a configuration, asked over its socket."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self, TypeVar

from engine.client import Client
from engine.errors import CoreError

ROOT: Final = Path(__file__).resolve().parent.parent
LOOK_EVERY_S: Final = 0.002
END_WITHIN_S: Final = 30.0

Found = TypeVar("Found")


class Program:
    """One run of `supervisor.py` on a state folder. Ends with the `with` block, by SIGKILL."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.state_dir = folder / "state"
        self.log = folder / "program.log"
        path = folder / "config.json"
        path.write_text(json.dumps({"schema": 1, **config}))
        kept = {name: value for name, value in os.environ.items() if not name.startswith("XCORE_")}
        with self.log.open("ab") as log:
            self.began = time.perf_counter()
            self.process = subprocess.Popen(
                [sys.executable, "supervisor.py", "-c", str(path), "--state-dir",
                 str(self.state_dir)],
                cwd=ROOT, env={**kept, "NO_PROXY": "127.0.0.1"}, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip

    def age_s(self) -> float:
        """Return how long ago the process was started."""
        return time.perf_counter() - self.began

    def cpu_s(self) -> float:
        """Return the CPU time of the program's own process, without its children."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def until(self, look: Callable[[Client], Found | None], within_s: float) -> Found:
        """Ask until there is something true, by a client that connects as soon as it can."""
        end = time.perf_counter() + within_s
        client = Client(self.state_dir)
        with contextlib.closing(client):
            while time.perf_counter() < end:
                if self.process.poll() is not None:
                    raise RuntimeError(f"it ended with {self.process.returncode}; see {self.log}")
                with contextlib.suppress(CoreError):
                    if found := look(client):
                        return found
                time.sleep(LOOK_EVERY_S)
        raise TimeoutError(f"not within {within_s:g} s; see {self.log}")

    def processes(self) -> list[int]:
        """Return the process ids of the program and of all that it started."""
        return [self.process.pid, *descendants(self.process.pid)]

    def kill(self) -> None:
        """End it as `kill -9` does, with its children and a simulator that outlived it."""
        for pid in [*self.processes(), *_naming(str(self.state_dir))]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(END_WITHIN_S)

    def stop(self) -> None:
        """Ask it to stop in order, and see that it does."""
        self.process.terminate()
        try:
            self.process.wait(END_WITHIN_S)
        finally:
            self.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.kill()


def descendants(pid: int) -> list[int]:
    """Return the process ids of a process's children and theirs."""
    return list(_descendants(pid))


def _descendants(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in path.read_text().split():
                yield int(child)
                yield from _descendants(int(child))


# The processes that were given this run's own folder on their command line.
def _naming(folder: str) -> Iterator[int]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if folder.encode() in path.read_bytes():
                yield int(path.parent.name)


def pss_mb(pid: int) -> float:
    """Return a process's proportional set size in megabytes (10^6 bytes)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise ValueError(f"no Pss of {pid}")
