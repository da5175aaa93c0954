"""ORDER: from the hand-over of an order to its acknowledgement, over the trading WebSocket and over REST.

Ours, both roads: the real adapter against the simulated OKX on 127.0.0.1, `handle(SubmitOrder)` to
`SubmitResult`, with gate, rate governor, outcome table and ledger of submits; REST goes through ccxt.
Floor: websocket-client in one thread: the same frame, send, receive, decode. Peers: ccxt's
`create_order` and ccxt.pro's `create_order_ws`, unmodified. One order at a time, paced below the
venue's limit; IOC far from the market, so that none rests.
"""

import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import ccxt
import ccxt.pro
import msgspec
import websocket

from adapters.adapter import VenueAdapter
from adapters.codec import Credentials
from adapters.okx_rest import OkxRest
from adapters.okx_trade import OkxTrade
from adapters.registry import Secret, VenueConfig
from bench.report import Beside, Options, Result, median, percentile_us, spread
from engine.clock import NS_PER_S, SystemClock
from engine.messages.base import Message
from engine.messages.port import LinkChanged, SubmitOrder, SubmitResult
from engine.threads import DaemonThreads

SYMBOL, PRICE, QUANTITY = "BTC/USDT", "20000", "0.001"
EVERY_S = 0.045  # the venue takes 60 a 2 s, and the governor keeps a share for cancels
WITHIN_S = 20
CLOCK = SystemClock()
Sides = dict[str, Callable[["Venue", "Orders"], "Trips"]]


class Orders(NamedTuple):
    """How many orders a side sends, and how many of them only to warm up."""

    warm: int = 20
    counted: int = 150


class Trips(NamedTuple):
    """What a side measured: to the answer, in the caller's thread, and CPU of the whole process."""

    answer_ns: list[int]
    caller_ns: list[int]
    cpu_us: float


class Venue(NamedTuple):
    """Where the simulated venue is, and whose account."""

    urls: dict[str, str]
    account: dict[str, str]

    @property
    def credentials(self) -> Credentials:
        """The account's keys."""
        keys = ("api_key", "api_secret", "passphrase")
        return Credentials(*(Secret(self.account[key]) for key in keys))


def run(options: Options) -> dict[str, Result]:
    orders = Orders(warm=2, counted=5) if options.quick else Orders()
    sides: Sides = {
        "ws": lambda venue, n: ours(venue, n, "ws"),
        "rest": lambda venue, n: ours(venue, n, "rest"),
        "floor": floor,
        "ccxt": ccxt_rest,
        "ccxt.pro": ccxt_pro,
    }
    trips: dict[str, list[Trips]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder:
        simulator, venue = _start_simulator(Path(folder))
        try:
            for _ in range(options.repeats):  # in turn, so that all see the same noise
                for name, side in sides.items():
                    trips[name].append(side(venue, orders))
        finally:
            simulator.terminate()
            simulator.wait(10)
    return {"ORDER": _result(trips, orders)}


def _result(trips: dict[str, list[Trips]], orders: Orders) -> Result:
    p50 = {n: median(percentile_us(t.answer_ns, 0.5) for t in ts) for n, ts in trips.items()}
    p99 = {n: median(percentile_us(t.answer_ns, 0.99) for t in ts) for n, ts in trips.items()}
    cpu = {n: median(t.cpu_us for t in ts) for n, ts in trips.items()}
    caller = median(percentile_us(t.caller_ns, 0.5) for t in trips["ws"])
    ws = p50["ws"]
    return Result(
        value=ws,
        unit="us p50",
        reference="ours over REST (ccxt)",
        reference_value=p50["rest"],
        ratio=round(ws / p50["rest"], 3),
        target="below REST, p50 and p99",
        met=ws < p50["rest"] and p99["ws"] < p99["rest"],
        beside=[
            Beside("ours, in the caller's thread", caller, "us p50"),
            *(
                Beside(name, p50[name], "us p50", round(ws / p50[name], 3))
                for name in ("floor", "ccxt", "ccxt.pro")
            ),
            *(Beside(name, p99[name], "us p99") for name in trips),
            *(Beside(name, cpu[name], "us CPU an order") for name in trips),
        ],
        notes=[
            f"{orders.counted} orders a side after {orders.warm} to warm up, one in {EVERY_S * 1000:g} ms",
            *(
                f"{name} p50 {spread(percentile_us(t.answer_ns, 0.5) for t in ts)}"
                for name, ts in trips.items()
            ),
        ],
    )


# --- the sides ------------------------------------------------------------------------------------


def ours(venue: Venue, orders: Orders, road: Any) -> Trips:
    """Send through the real adapter."""
    config = VenueConfig(
        "okx", "okx", "okx.main", (SYMBOL,), urls=venue.urls, order_road=road,
        **venue.credentials._asdict(),
    )  # fmt: skip
    told: dict[str, int] = {}
    answered = threading.Condition()

    def deliver(message: Message) -> None:
        now_ns = time.perf_counter_ns()
        with answered:
            if isinstance(message, SubmitResult):
                assert message.outcome == "ACCEPTED", message
                told[message.client_order_id] = now_ns
            elif isinstance(message, LinkChanged) and message.up:
                told[message.link] = now_ns
            answered.notify_all()

    def wait(what: str) -> int:
        with answered:
            assert answered.wait_for(lambda: what in told, WITHIN_S), f"no {what}"
        return told[what]

    threads = DaemonThreads()
    adapter = VenueAdapter(
        config, clock=CLOCK, rng=random.Random(1), deliver=deliver, threads=threads.start
    )
    adapter.start()
    for link in ("public", "private", *(("trade",) if road == "ws" else ())):
        wait(link)

    def send() -> tuple[int, int, int]:
        order = _order()
        began_ns = time.perf_counter_ns()
        adapter.handle(order)
        handed_ns = time.perf_counter_ns()
        return began_ns, handed_ns, wait(order.client_order_id)

    try:
        return _measure(send, orders)
    finally:
        adapter.stop(5)
        threads.stop()


def floor(venue: Venue, orders: Orders) -> Trips:
    """Send the same frame in one thread, and decode the answer."""
    codec, rest = OkxTrade(venue.credentials, {}), OkxRest("okx", "okx.main", {"BTC-USDT": SYMBOL})
    decode = msgspec.json.Decoder().decode
    link = websocket.create_connection(venue.urls["trade_ws"], 5)
    link.send(codec.login(time.time_ns() // 10**6)[0])
    assert decode(link.recv())["code"] == "0"

    def send() -> tuple[int, int, int]:
        call = rest.submit(_order())
        began_ns = time.perf_counter_ns()
        link.send(codec.request("1", call, time.time_ns() // 10**6, 5000) or "")
        handed_ns = time.perf_counter_ns()
        assert decode(link.recv())["code"] == "0"
        return began_ns, handed_ns, time.perf_counter_ns()

    try:
        return _measure(send, orders)
    finally:
        link.close()


def ccxt_rest(venue: Venue, orders: Orders) -> Trips:
    """Send by ccxt's create_order."""
    client = _client(ccxt.okx, venue)
    client.load_markets()

    def send() -> tuple[int, int, int]:
        began_ns = time.perf_counter_ns()
        placed = client.create_order(*_arguments())
        ended_ns = time.perf_counter_ns()
        assert placed["id"]
        return began_ns, ended_ns, ended_ns

    return _measure(send, orders)


def ccxt_pro(venue: Venue, orders: Orders) -> Trips:
    """Send by ccxt.pro's create_order_ws, in its loop."""
    return asyncio.run(_ccxt_pro(venue, orders))


async def _ccxt_pro(venue: Venue, orders: Orders) -> Trips:
    client = _client(ccxt.pro.okx, venue)
    client.urls["api"]["ws"] = venue.urls["private_ws"].rsplit("/", 1)[0]
    client.options["createOrderWs"] = {"op": "order"}
    answers: list[int] = []
    cpu_ns = 0
    try:
        await client.load_markets()
        await client.authenticate()
        for number in range(orders.warm + orders.counted):
            began_ns, cpu_began_ns = time.perf_counter_ns(), time.process_time_ns()
            placed = await client.create_order_ws(*_arguments())
            if number >= orders.warm:
                answers.append(time.perf_counter_ns() - began_ns)
                cpu_ns += time.process_time_ns() - cpu_began_ns
            assert placed["id"]
            await asyncio.sleep(EVERY_S)
    finally:
        await client.close()
    return Trips(answers, answers, round(cpu_ns / 1000 / orders.counted, 1))


def _measure(send: Callable[[], tuple[int, int, int]], orders: Orders) -> Trips:
    answer, caller = [], []
    cpu_ns = 0
    for number in range(orders.warm + orders.counted):
        cpu_began_ns = time.process_time_ns()
        began_ns, handed_ns, answered_ns = send()
        if number >= orders.warm:
            cpu_ns += time.process_time_ns() - cpu_began_ns
            answer.append(answered_ns - began_ns)
            caller.append(handed_ns - began_ns)
        time.sleep(EVERY_S)
    return Trips(answer, caller, round(cpu_ns / 1000 / orders.counted, 1))


# --- orders, clients, the venue -------------------------------------------------------------------


def _name() -> str:
    return f"be{time.time_ns():030x}"


def _order() -> SubmitOrder:
    expires_ns = CLOCK.mono_ns() + 10 * NS_PER_S
    return SubmitOrder(
        "okx.main", _name(), SYMBOL, "BUY", "LIMIT", "IOC", False, Decimal(QUANTITY),
        Decimal(PRICE), expires_ns,
    )  # fmt: skip


def _arguments() -> tuple[Any, ...]:
    more = {"timeInForce": "IOC", "clientOrderId": _name(), "tdMode": "cash"}
    return SYMBOL, "limit", "buy", float(QUANTITY), float(PRICE), more


def _client(kind: Any, venue: Venue) -> Any:
    client = kind(
        {
            "apiKey": venue.account["api_key"],
            "secret": venue.account["api_secret"],
            "password": venue.account["passphrase"],
            "enableRateLimit": False,
            "options": {
                "fetchMarkets": {"types": ["spot"]}, "createOrder": "privatePostTradeOrder",
            },
        }
    )  # fmt: skip
    client.urls["api"]["rest"] = venue.urls["rest"]
    client.has["fetchCurrencies"] = False
    return client


def _start_simulator(folder: Path) -> tuple[subprocess.Popen[bytes], Venue]:
    process = subprocess.Popen(
        [sys.executable, "-m", "simulator", "--state-dir", str(folder), "--venues", "okx",
         "--flow", "off", "--parent-pid", str(os.getpid())],
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    path = folder / "sim" / "endpoints.json"
    deadline = time.monotonic() + WITHIN_S
    while not path.exists():
        assert process.poll() is None, "the simulator ended"
        assert time.monotonic() < deadline, "the simulator did not start"
        time.sleep(0.01)
    told = json.loads(path.read_text())
    return process, Venue(told["venues"]["okx"], told["accounts"]["okx"])
