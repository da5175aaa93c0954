"""A real simulator process, and a real adapter on real sockets and threads pointed at it."""

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from decimal import Decimal
from pathlib import Path

from traits import TRAITS
from waiting import wait_for

from adapters.adapter import VenueAdapter
from adapters.configuration import Configuration, encode_configuration
from adapters.registry import Secret, Timeouts, VenueConfig
from engine.clock import NS_PER_S, SystemClock
from engine.envelope import decode_body
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterReady,
    CancelOrder,
    CancelResult,
    LinkChanged,
    QueryOrder,
    QueryResult,
    SetGate,
    SubmitOrder,
    SubmitResult,
)
from engine.venue_process import HostSettings, VenueHost, inherited
from simulator.log import read_log

DEADLINE_S = 30
CLOCK = SystemClock()


class Sim:
    """A simulator process and its control plane."""

    VENUES = tuple(TRAITS)

    def __init__(self, folder):
        self.folder = Path(folder)
        command = [sys.executable, "-m", "simulator", "--state-dir", str(folder)]
        command += ["--parent-pid", str(os.getpid()), "--venues", ",".join(self.VENUES)]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        path = self.folder / "sim" / "endpoints.json"

        def is_up():
            assert self.process.poll() is None, "the simulator ended"
            with contextlib.suppress(OSError, ValueError):
                self.endpoints = json.loads(path.read_text())
                return self.endpoints["pid"] == self.process.pid
            return False

        wait_for(is_up, "simulator is up")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)

    def ctl(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.endpoints['ctl']}/_ctl/{path}"
        request = urllib.request.Request(url, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            raise AssertionError(refused.read()) from None

    def fault(self, kind, venue, on=None, count=1, **params):
        body = {"kind": kind, "venue": venue, "count": count, "params": params}
        return self.ctl("fault", body if on is None else {**body, "on": on})["id"]

    def requests(self, venue, client_order_id):
        """Return the (action, road) of each request about an order that the engine carried out."""
        log = read_log(self.folder / "sim" / f"{venue}.jsonl")
        mine = [r for r in log.requests if r["client_order_id"] == client_order_id]
        return [(r["action"], r["via"]) for r in mine]

    def orders(self, venue, client_order_id):
        found = self.ctl(f"truth/{venue}")["orders"]
        return [o for o in found if o["client_order_id"] == client_order_id]


class Reports(list):
    """What a core would be told, decoded where it came encoded."""

    def __call__(self, message):
        self.append(message)

    def pass_on(self, kind, key, body):
        self.append(decode_body(kind, body))

    def is_full(self):
        return False


class Hosted:
    """An adapter in a process of its own, with the face of one in threads; a port a session."""

    def __init__(self, config, reports, threads, **more):
        self.config, self.reports = config, reports
        self.more = {"cancel_after_s": None, "is_dedicated": False, "silent_s": 5.0, **more}
        command = [sys.executable, "-m", "adapters.host", config.name, config.adapter]
        environment = self.more.pop("environment", lambda life: {})
        settings = HostSettings(
            config.name, command, lambda life: inherited(os.environ) | environment(life),
            self.more["silent_s"],
        )  # fmt: skip
        self.host = VenueHost(settings, CLOCK, threads)
        self.gate = None
        self.port = self._port()

    def _port(self):
        state_dir = self.more.get("state_dir", "/nonexistent")
        more = {
            "state_dir": state_dir,
            "core_lock": f"{state_dir}/journal/journal.lock",
            **self.more,
        }
        configuration = Configuration(
            venue=self.config, instance="rig", core_pid=os.getpid(), seed=7, log_level="INFO",
            market_share=0.8, **more,
        )  # fmt: skip
        return self.host.port(encode_configuration(configuration), self.reports)

    @property
    def process(self):
        return self.host._process

    def start(self):
        if self.port._is_started:
            self.port = self._port()
            if self.gate is not None:
                self.port.handle(self.gate)
        self.port.start()

    def handle(self, message):
        if isinstance(message, SetGate):
            self.gate = message
        self.port.handle(message)

    def stop(self, deadline_s):
        return self.port.stop(deadline_s)


class Desk:
    """One adapter under test and everything it has reported."""

    def __init__(self, sim, venue, isolation="thread", hosting=None, **more):
        account = sim.endpoints["accounts"][venue]
        settings = {
            "urls": sim.endpoints["venues"][venue],
            "api_secret": Secret(account["api_secret"]),
            "timeouts": Timeouts(read_s=1.5),
            "adapter": venue,
            **more,
        }
        self.sim, self.venue, self.traits = sim, venue, TRAITS[venue]
        self.config = VenueConfig(
            name=venue,
            account=f"{venue}.main",
            symbols=("BTC/USDT", "ETH/USDT"),
            api_key=Secret(account["api_key"]),
            passphrase=Secret(account.get("passphrase", "")),
            **settings,
        )
        self.reports = Reports()
        self.threads = []
        self.count = 0
        self.isolation = isolation
        if isolation == "process":
            self.adapter = Hosted(self.config, self.reports, self.spawn, **hosting or {})
        else:
            self.adapter = VenueAdapter(
                self.config,
                clock=CLOCK,
                rng=random.Random(7),
                deliver=self.reports,
                threads=self.spawn,
            )

    def spawn(self, name, run):
        thread = threading.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def start(self, *, books=True):
        mark = self.mark()
        self.adapter.start()
        self.wait(AdapterReady, since=mark)
        self.wait(LinkChanged, lambda m: m.link == "private" and m.up, since=mark)
        if self.has_trade_road:
            self.wait(LinkChanged, lambda m: m.link == "trade" and m.up, since=mark)
        if books:
            for symbol in self.config.symbols:
                self.live(symbol, since=mark)
        return self

    @property
    def has_trade_road(self):
        return self.traits.has_trade_road and self.config.order_road == "ws"

    def mark(self):
        return len(self.reports)

    def found(self, kind, test=lambda _: True, since=0):
        return [m for m in self.reports[since:] if isinstance(m, kind) and test(m)]

    def wait(self, kind, test=lambda _: True, since=0, deadline_s=DEADLINE_S):
        def first():
            return next(iter(self.found(kind, test, since)), None)

        return wait_for(first, f"{kind.__name__} from {self.venue}", deadline_s)

    def live(self, symbol="BTC/USDT", since=0):
        return self.wait(VenueBook, lambda b: b.symbol == symbol and b.state == "LIVE", since)

    def new_order(self, side="BUY", price="30000", quantity="0.01", **more):
        self.count += 1
        settings = {
            "order_type": "LIMIT",
            "time_in_force": "GTC",
            "post_only": False,
            "expires_mono_ns": CLOCK.mono_ns() + 10 * NS_PER_S,
            "symbol": "BTC/USDT",
            **more,
        }
        return SubmitOrder(
            account=self.config.account,
            client_order_id=f"ce{os.getpid():010x}{time.monotonic_ns():020x}"[:32],
            side=side,
            quantity=Decimal(quantity),
            price=None if price is None else Decimal(price),
            **settings,
        )


def ask(desk, order):
    desk.adapter.handle(order)
    return desk.wait(SubmitResult, lambda m: m.client_order_id == order.client_order_id)


def query(desk, client_order_id):
    mark = desk.mark()
    since_ns = CLOCK.wall_ns() - 60 * NS_PER_S
    desk.adapter.handle(
        QueryOrder(desk.config.account, client_order_id, None, "BTC/USDT", since_ns)
    )
    return desk.wait(QueryResult, lambda m: m.client_order_id == client_order_id, mark)


def cancel(desk, order, symbol="BTC/USDT"):
    mark = desk.mark()
    desk.adapter.handle(CancelOrder(desk.config.account, order.client_order_id, None, symbol))
    return desk.wait(CancelResult, since=mark)
