"""Real processes for the tests of faults: a simulator, and a core that may be killed and restarted.

Nothing here judges; tests/faults/checker.py does. Every process that is started is ended by its pid.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from waiting import DEADLINE_S, wait_for

from engine.client import Client
from engine.errors import CoreError
from engine.journal import JournalCorrupt
from engine.journal_high_water import read_mark

ROOT = Path(__file__).resolve().parents[2]
VENUES = ("binance", "okx")
CONFIG = {
    "schema": 1,
    "mode": "demo",
    "name": "crash-1",
    "demo": {"maker": False, "drill": False, "simulator": "external"},
    "orders": {"settle_window_s": 1, "reconcile_every_s": 3, "ack_timeout_s": 1},
    "risk": {
        "max_order_notional": 100_000,
        "max_open_notional": 10_000_000,
        "max_open_orders": 1000,
        "max_orders_per_second": 1000,
        "max_position": {"BTC": 100, "ETH": 1000},
    },
    "supervision": {"max_restarts": 1000, "backoff_initial_s": 0.01, "backoff_max_s": 0.2},
    "journal": {"snapshot_every_records": 100},
    "dashboard": {"enabled": False},
    "metrics": {"enabled": False},
    "log": {"console": "off"},
}


def environment(**more):
    env = {name: value for name, value in os.environ.items() if not name.startswith("XCORE_")}
    return {**env, "NO_PROXY": "127.0.0.1", **more}


class Venues:
    """The simulator's process and its control plane."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.options = options
        self.start()

    def start(self):
        path = self.folder / "sim" / "endpoints.json"
        command = [sys.executable, "-m", "simulator", "--state-dir", str(self.folder)]
        self.process = subprocess.Popen(
            [*command, *self.options], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True
        )

        def is_up():
            assert self.process.poll() is None, "the simulator ended"
            with contextlib.suppress(OSError, ValueError):
                self.endpoints = json.loads(path.read_text())
                return self.endpoints["pid"] == self.process.pid
            return False

        wait_for(is_up, "the simulator is up")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(5)
        if self.process.poll() is None:
            self.kill()

    def ctl(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.endpoints['ctl']}/_ctl/{path}"
        request = urllib.request.Request(url, data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(refused.read().decode()) from None

    def time_ms(self):
        """Return what the venue's own clock says."""
        url = f"{self.endpoints['venues']['binance']['rest']}/api/v3/time"
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(url, timeout=5) as answer:
            return json.loads(answer.read())["serverTime"]

    def fault(self, kind, venue, **more):
        return self.ctl("fault", {"kind": kind, "venue": venue, **more})["id"]

    def clear_faults(self):
        self.ctl("fault", method="DELETE")

    def log(self, venue):
        return self.folder / "sim" / f"{venue}.jsonl"


class Core:
    """One core's state folder, and the process that runs on it now."""

    def __init__(self, folder, venues, **changes):
        self.folder = Path(folder)
        self.venues = venues
        self.state_dir = self.folder / "state"
        self.config_path = self.folder / "config.json"
        self.process = None
        self.folder.mkdir(parents=True, exist_ok=True)
        self.configure(**changes)

    def configure(self, only=None, **changes):
        config = json.loads(json.dumps(CONFIG))
        config["venues"] = only or {
            name: {
                "symbols": ["BTC/USDT", "ETH/USDT"],
                "urls": self.venues.endpoints["venues"][name],
                "credentials": self.venues.endpoints["accounts"][name],
                "rate_limit_share": 1.0,
            }
            for name in VENUES
        }
        for section, values in changes.items():
            if isinstance(values, dict):
                config[section] = {**config.get(section, {}), **values}
            else:
                config[section] = values
        self.config_path.write_text(json.dumps(config))

    @property
    def journal(self):
        return self.state_dir / "journal"

    def command(self):
        return [sys.executable, "supervisor.py", "-c", str(self.config_path),
                "--state-dir", str(self.state_dir)]  # fmt: skip

    def start(self, **env):
        """Start the process; `ready` waits until it may trade."""
        assert self.process is None or self.process.poll() is not None
        with (self.folder / "output.log").open("ab") as out:
            self.process = subprocess.Popen(
                self.command(), cwd=ROOT, env=environment(**env), stdin=subprocess.DEVNULL,
                stdout=out, stderr=out, start_new_session=True,
            )  # fmt: skip
        return self

    def output(self):
        return (self.folder / "output.log").read_text(errors="replace")

    def is_alive(self):
        return self.process is not None and self.process.poll() is None

    def is_suspended(self):
        """Tell whether every thread of the process is stopped."""
        states = [
            path.read_text().rpartition(")")[2].split()[0]
            for path in Path(f"/proc/{self.process.pid}/task").glob("*/stat")
        ]
        return states != [] and set(states) == {"T"}

    def client(self):
        return Client(self.state_dir)

    def status(self):
        """Return the status, or None when nobody answers."""
        with contextlib.suppress(CoreError), self.client() as client:
            return client.status()
        return None

    def process_of(self, venue):
        """Return what is shown of a venue's process: pid, memory_bytes, restarts."""
        status = self.status()
        rows = status["venues"] if status else ()
        return next((v["process"] for v in rows if v["name"] == venue), None)

    def venue_pid(self, venue):
        """Return the pid of a venue's process, waiting for there to be one."""
        return wait_for(lambda: (self.process_of(venue) or {}).get("pid"), f"a process of {venue}")

    def is_ready(self):
        status = self.status()
        return status is not None and status["accounts_opened"] and all(
            v["state"] == "READY" and v["book_state"] == "LIVE" for v in status["venues"]
        )  # fmt: skip

    def ready(self, deadline_s=DEADLINE_S):
        """Wait until every venue may trade; False if the process died before."""
        wait_for(
            lambda: self.is_ready() or not self.is_alive(),
            lambda: f"ready: {self.status()} {self.output()[-2000:]}",
            deadline_s,
        )
        return self.is_alive()

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        """Kill -9."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def recorded(self):
        """Return how many records the journal has acknowledged, by its high-water mark."""
        with contextlib.suppress(JournalCorrupt):  # caught in the middle of being made
            mark, _ = read_mark(self.journal)
            return mark.seq if mark is not None else 0
        return 0

    def logged(self):
        """Return how many lines the core has logged in all its runs."""
        path = self.state_dir / "log" / "xcore.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def wait_for_records(self, count):
        """Return when the journal has so many more records. Something must be making them."""
        target = self.recorded() + count
        wait_for(lambda: self.recorded() >= target, f"{count} more records")

    def kill_during(self, work, records):
        """Do `work` beside, and kill -9 once so many more records are journaled, or it is done."""
        target = self.recorded() + records
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        wait_for(
            lambda: self.recorded() >= target or not thread.is_alive() or not self.is_alive(),
            f"{records} records, or the end of the work",
        )
        self.kill()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()

    def terminate(self, within_s=20):
        """Stop as a service manager does; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.process.wait(within_s)

    def cleanup(self):
        if self.process is not None and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.kill()

    def quiesce(self, deadline_s=DEADLINE_S):
        """Have nothing open and nothing unknown, and every balance compared since."""

        def is_quiet():
            with contextlib.suppress(CoreError), self.client() as client:
                if client.orders(state="open"):
                    client.request("order.cancel", all=True, timeout_s=1)
                counts = client.status()["orders"]
                return counts == {"open": 0, "unknown": 0} and self._fills_are_in(client)
            return False

        wait_for(is_quiet, lambda: f"quiet: {self._open()}", deadline_s)

    def _fills_are_in(self, client):
        ended = client.orders(state="closed", limit=1000)
        return all(order.get("missing_fills", "0") in (None, "0") for order in ended)

    def _open(self):
        with contextlib.suppress(CoreError), self.client() as client:
            rows = [(o["order_id"], o["venue"], o["command_id"], o["status"], o["reason"])
                    for o in client.orders(state="open")]  # fmt: skip
            return rows, client.status()["venues"]
        return self.output()[-2000:]

    def crash_lines(self):
        """Return the log's lines about crashed actors."""
        path = self.state_dir / "log" / "xcore.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [line for line in lines if line["event"] == "actor crashed"]


class Burst:
    """Orders of every sort with command ids from a fixed list; submitting twice is the same order."""

    def __init__(self, name, symbols=("BTC/USDT", "ETH/USDT")):
        self.name = name
        self.acknowledged = set()
        self.sent = []
        self.symbols = symbols
        self._prices = {}

    def _look(self, client):
        for row in client.bbo():
            if row["bid"] is not None and row["ask"] is not None:
                self._prices[row["symbol"]] = (float(row["bid"]), float(row["ask"]))

    def commands(self, symbol, first=0, count=6):
        """Return (command id, arguments), the same for the same burst once its prices are known."""
        bid, ask = self._prices[symbol]
        size = "0.002" if symbol == "BTC/USDT" else "0.05"
        shapes = [
            ("binance", "buy", f"{bid * 0.995:.1f}", {}),
            ("okx", "sell", f"{bid * 0.99:.1f}", {"time_in_force": "IOC"}),
            ("best", "buy", None, {"market": True}),
            ("okx", "sell", f"{ask * 1.005:.1f}", {"post_only": True}),
            ("binance", "sell", f"{bid * 0.99:.1f}", {"time_in_force": "IOC"}),
            ("best", "buy", f"{ask * 1.01:.1f}", {"time_in_force": "IOC"}),
            ("okx", "buy", f"{bid * 0.995:.1f}", {}),
            ("binance", "buy", f"{ask * 1.01:.1f}", {"time_in_force": "FOK"}),
        ]
        for number in range(first, first + count):
            venue, side, price, more = shapes[number % len(shapes)]
            command_id = f"{self.name}-{symbol[:3]}-{number}"
            yield command_id, (venue, symbol, side, size, price), {"wait": "none", **more}

    def submit(self, core, count=6):
        """Send all commands and some cancels until done or until the core goes away."""
        with contextlib.suppress(CoreError), core.client() as client:
            if not self._prices:
                self._look(client)
            for symbol in self._prices:
                for command_id, arguments, more in self.commands(symbol, count=count):
                    self._place(client, command_id, arguments, more)
            return True
        return False

    def _place(self, client, command_id, arguments, more):
        self.sent.append(command_id)
        try:
            order = client.place(*arguments, command_id=command_id, **more)
        except CoreError as error:
            result = getattr(error, "result", None)
            if result is None:
                if hasattr(error, "code") and error.code != "NO_ANSWER":
                    return  # refused at the door: nothing was accepted
                raise
            order = result
        self.acknowledged.add(command_id)
        if command_id.endswith(("0", "3")):
            with contextlib.suppress(CoreError):
                client.cancel(order["order_id"], timeout_s=0.05)


class Traffic:
    """Bursts one after another on a thread of its own, until told to stop."""

    def __init__(self, core, name, count=8):
        self.core = core
        self.name = name
        self.count = count
        self.bursts = []
        self.failure = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self):
        number = 0
        try:
            while not self._stop.is_set():
                burst = Burst(f"{self.name}-{number}")
                self.bursts.append(burst)
                burst.submit(self.core, self.count)
                number += 1
        except BaseException as error:  # noqa: BLE001  a bug of the test must not pass unseen
            self.failure = error

    def stop_soon(self):
        self._stop.set()

    @property
    def acknowledged(self):
        return {command for burst in tuple(self.bursts) for command in tuple(burst.acknowledged)}

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure
