"""A real simulator process per test module, and unmodified ccxt clients pointed at it."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import ccxt
import ccxt.pro
import pytest
from waiting import wait_for

from simulator.faults import IMMEDIATE
from simulator.log import read_log

INJECTED = []  # (kind, id, log of the venue) of every fault that this process asked for


class Sim:
    """A simulator process and its control plane."""

    def __init__(self, folder, *options):
        self.folder = Path(folder)
        self.options = options
        self.process = None
        self.start()

    def start(self):
        path = self.folder / "sim" / "endpoints.json"
        command = [sys.executable, "-m", "simulator", "--state-dir", str(self.folder)]
        command += ["--venues", ",".join(CLIENTS)]
        self.process = subprocess.Popen([*command, *self.options], stderr=subprocess.PIPE)

        def is_up():
            assert self.process.poll() is None, self.process.stderr.read()
            with contextlib.suppress(OSError, ValueError):
                self.endpoints = json.loads(path.read_text())
                return self.endpoints["pid"] == self.process.pid
            return False

        wait_for(is_up, "simulator is up")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stderr.close()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(10)
        self.process.stderr.close()
        return code

    def ctl(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.endpoints['ctl']}/_ctl/{path}"
        request = urllib.request.Request(url, data, method=method)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return {"status": refused.code, **json.loads(refused.read())}

    def fault(self, kind, venue="binance", **more):
        answer = self.ctl("fault", {"kind": kind, "venue": venue, **more})
        assert "id" in answer, answer
        INJECTED.append((kind, answer["id"], self.log(venue)))
        return answer["id"]

    def log(self, venue):
        return self.folder / "sim" / f"{venue}.jsonl"


def binance(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["binance"]
    at = urlsplit(sim.endpoints["venues"]["binance"]["rest"]).netloc
    client = package.binance(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "enableRateLimit": False,
            "timeout": 3000,
            "options": {
                "fetchMarkets": {"types": ["spot"]},
                "fetchCurrencies": False,
                "fetchMargins": False,
            },
            **more,
        }
    )
    for name in ("public", "private", "v1"):
        client.urls["api"][name] = f"http://{at}/api/v3"
    if package is ccxt.pro:
        client.urls["api"]["ws"]["spot"] = f"ws://{at}/stream/ws"
        client.urls["api"]["ws"]["ws-api"]["spot"] = f"ws://{at}/ws-api/v3"
    return client


def okx(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["okx"]
    at = urlsplit(sim.endpoints["venues"]["okx"]["rest"]).netloc
    client = package.okx(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "password": account["passphrase"],
            "enableRateLimit": False,
            "timeout": 3000,
            "options": {"fetchMarkets": {"types": ["spot"]}},
            **more,
        }
    )
    client.has["fetchCurrencies"] = False
    client.urls["api"]["rest"] = f"http://{at}"
    if package is ccxt.pro:
        client.urls["api"]["ws"] = f"ws://{at}/ws/v5"
    return client


def kucoin(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["kucoin"]
    client = package.kucoin(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "password": account["passphrase"],
            "enableRateLimit": False,
            "timeout": 3000,
            "options": {"fetchMarkets": {"types": ["spot"]}},
            **more,
        }
    )
    client.has["fetchCurrencies"] = False
    for name in ("public", "private", "utaPrivate"):
        client.urls["api"][name] = sim.endpoints["venues"]["kucoin"]["rest"]
    return client


def kraken(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["kraken"]
    at = urlsplit(sim.endpoints["venues"]["kraken"]["rest"]).netloc
    client = package.kraken(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "enableRateLimit": False,
            "timeout": 3000,
            **more,
        }
    )
    for name in ("public", "private"):
        client.urls["api"][name] = f"http://{at}"
    if package is ccxt.pro:
        ws = client.urls["api"]["ws"]
        ws["publicV2"] = f"ws://{at}/v2"
        ws["privateV2"] = ws["private"] = f"ws://{at}/auth/v2"
    return client


def coinbase(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["coinbase"]
    at = urlsplit(sim.endpoints["venues"]["coinbase"]["rest"]).netloc
    client = package.coinbase(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "enableRateLimit": False,
            "timeout": 3000,
            "options": {"fetchBalance": "v3PrivateGetBrokerageAccounts"},
            **more,
        }
    )
    client.has["fetchCurrencies"] = False
    client.urls["api"]["rest"] = f"http://{at}"
    if package is ccxt.pro:
        client.urls["api"]["ws"] = f"ws://{at}/ws"
    return client


def bybit(sim, package=ccxt, **more):
    account = sim.endpoints["accounts"]["bybit"]
    url = sim.endpoints["venues"]["bybit"]["rest"]
    client = package.bybit(
        {
            "apiKey": account["api_key"],
            "secret": account["api_secret"],
            "enableRateLimit": False,
            "timeout": 3000,
            "options": {
                "defaultType": "spot",
                "fetchMarkets": {"types": ["spot"]},
                "fetchOrder": {"acknowledged": True},
            },
            **more,
        }
    )
    client.has["fetchCurrencies"] = False
    for name in ("public", "private"):
        client.urls["api"][name] = url
    if package is ccxt.pro:
        ws, at = client.urls["api"]["ws"], urlsplit(url).netloc
        ws["public"]["spot"] = f"ws://{at}/v5/public/spot"
        ws["private"]["contract"] = f"ws://{at}/v5/private"
        ws["private"]["trade"] = f"ws://{at}/v5/trade"
    return client


CLIENTS = {
    "binance": binance,
    "okx": okx,
    "kraken": kraken,
    "coinbase": coinbase,
    "kucoin": kucoin,
    "bybit": bybit,
}


@pytest.fixture(autouse=True, scope="session")
def _no_proxy():
    os.environ["NO_PROXY"] = "127.0.0.1"


@pytest.fixture(scope="module")
def quiet_sim(tmp_path_factory):
    """No background flow: the books hold only what tests put there."""
    sim = Sim(tmp_path_factory.mktemp("quiet"), "--flow", "off")
    yield sim
    sim.stop()


@pytest.fixture(scope="module")
def busy_sim(tmp_path_factory):
    """With background flow."""
    sim = Sim(tmp_path_factory.mktemp("busy"))
    yield sim
    sim.stop()


@pytest.fixture
def sim(quiet_sim):
    """The quiet simulator, swept clean of faults and orders."""
    quiet_sim.ctl("fault", method="DELETE")
    for venue in CLIENTS:
        for account in ("main", "other"):
            quiet_sim.ctl("cancel_all", {"venue": venue, "account": account})
    return quiet_sim


@pytest.fixture(params=["binance", "okx"])
def venue(request):
    return request.param


# --- every fault kind is shown by a test ---

SHOWN = set()
# The log says when they were set; they strike at that moment, or hold for a time.
NOT_LOGGED = IMMEDIATE | {"clock_skew"}


def shows(*kinds):
    """Say which faults a test injects and whose effect it sees; `_claims` holds it to that."""
    SHOWN.update(kinds)
    return pytest.mark.shows(*kinds)


@pytest.fixture(autouse=True)
def _claims(request):
    marker = request.node.get_closest_marker("shows")
    before = len(INJECTED)
    yield
    if marker is None:
        return
    case = getattr(request.node, "callspec", None)
    kinds = {case.params["kind"]} if case and "kind" in case.params else set(marker.args)
    injected = [fault for fault in INJECTED[before:] if fault[0] in kinds]
    assert {kind for kind, _, _ in injected} == kinds, "a fault that is claimed was not injected"
    for kind, number, log in injected:
        phases = {row["phase"] for row in read_log(log).faults if row["fault_id"] == number}
        assert phases >= ({"set"} if kind in NOT_LOGGED else {"set", "applied"}), kind
