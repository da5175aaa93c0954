"""P4: a quiet venue's tick to the router while another venue floods at full rate.

Two loopback venues in the words of OKX, each in a process of its own, each with a symbol of its own.
The quiet one stamps and sends a tick per 2 ms; the clock stops when the consolidated book with this
tick reaches an actor beside the router (all readers get the same message). Measured first while the
neighbour says nothing, which is the reference, then while it sends as fast as the socket takes.
"""

import time
from contextlib import suppress
from threading import Event
from typing import Any, ClassVar, NamedTuple

from bench import loopback
from bench.core_client import Core
from bench.loopback import SYMBOL, T0_MS, Ticks, context, framed
from bench.port_process import MARKET_SHARE, port_in_process
from bench.ports import MarketPort
from bench.report import Beside, Options, Result, median, percentile_us, spread
from engine.actor import Actor
from engine.clock import NS_PER_MS
from engine.messages.market import ConsolidatedBook

TARGET = 2.0
QUIET, BUSY = "quiet", "busy"
SYMBOLS = {QUIET: "ETH/USDT", BUSY: SYMBOL}
WITHIN_S = 60.0


class Round(NamedTuple):
    """Nanoseconds from stamp to router, without and with the flood, and how much of one it was."""

    idle: list[int]
    flooded: list[int]
    rate: float


def run(options: Options) -> dict[str, Result]:
    ticks = Ticks(warm=0, paced=30) if options.quick else Ticks(warm=0, paced=1000)
    rounds: dict[bool, list[Round]] = {False: [], True: []}
    for _ in range(options.repeats):
        for apart, found in rounds.items():
            found.append(_round(ticks, apart=apart))
    return {
        "P4": _result(rounds[False], ticks, "isolation: thread"),
        "P4 process": _result(rounds[True], ticks, "isolation: process, as shipped"),
    }


def _result(rounds: list[Round], ticks: Ticks, how: str) -> Result:
    idle, flooded = [r.idle for r in rounds], [r.flooded for r in rounds]
    ours = median(percentile_us(f, 0.99) for f in flooded)
    rest = median(percentile_us(i, 0.99) for i in idle)
    return Result(
        value=ours,
        unit="us p99",
        reference="the same, neighbour silent",
        reference_value=rest,
        ratio=round(ours / rest, 3),
        target=f"<= {TARGET:g} x",
        met=ours <= TARGET * rest,
        beside=[
            Beside("flooded", median(percentile_us(f, 0.5) for f in flooded), "us p50"),
            Beside("silent", median(percentile_us(i, 0.5) for i in idle), "us p50"),
            Beside("frames that the neighbour sent", median(r.rate for r in rounds), "frames/s"),
        ],
        notes=[
            how,
            f"{ticks.paced} ticks; flooded p99 {spread(percentile_us(f, 0.99) for f in flooded)}",
        ],
    )


def _round(ticks: Ticks, *, apart: bool) -> Round:
    pipes, processes = [], []
    frames = context.Value("q", 0)
    for target in (serve_quiet, serve_flood):
        ours, theirs = context.Pipe()
        process = context.Process(target=target, args=(theirs, ticks, frames), daemon=True)
        process.start()
        pipes.append(ours)
        processes.append(process)
    quiet, busy = pipes
    ours, theirs = context.Pipe()
    ports = {QUIET: quiet.recv(), BUSY: busy.recv()}
    client = context.Process(target=be_core, args=(theirs, ports, apart), daemon=True)
    client.start()
    try:
        idle = _measure(quiet, ours)
        busy.send("flood")
        began, before = time.perf_counter(), frames.value
        flooded = _measure(quiet, ours)
        rate = (frames.value - before) / (time.perf_counter() - began)
    finally:
        for process in (client, *processes):
            process.kill()
            process.join()
    return Round(idle, flooded, rate)


# One stretch of the quiet venue's ticks: from the moment each was sent until it was heard of.
def _measure(quiet: Any, core: Any) -> list[int]:
    core.send("begin")
    assert _answer(core) == "listening"
    quiet.send("go")
    sent: dict[int, int] = _answer(quiet)
    core.send("heard")
    heard: dict[int, int] = _answer(core)
    missing = len(sent.keys() - heard.keys())
    assert missing <= len(sent) // 2, f"{missing} of {len(sent)} ticks were not heard of"
    return [heard[number] - at_ns for number, at_ns in sent.items() if number in heard]


def _answer(pipe: Any) -> Any:
    if not pipe.poll(WITHIN_S):
        raise TimeoutError(f"no answer within {WITHIN_S:g} s")
    return pipe.recv()


# --- the venues -----------------------------------------------------------------------------------


def serve_quiet(pipe: Any, ticks: Ticks, _frames: Any) -> None:
    """Send a stretch of paced ticks whenever asked; answer when each left."""
    listener = loopback.listen()
    pipe.send(listener.getsockname()[1])
    market = loopback.accept(listener)
    loopback.open_market(market)
    number = 0
    while pipe.recv() == "go":
        sent: dict[int, int] = {}
        for _ in range(ticks.paced):
            number += 1
            frame = framed(loopback.frame(number))
            time.sleep(ticks.period_s)
            sent[number] = time.perf_counter_ns()
            market.socket.sendall(frame)
        time.sleep(0.2)  # the last ones are on their way
        pipe.send(sent)


def serve_flood(pipe: Any, _ticks: Ticks, frames: Any) -> None:
    """Send as fast as the socket takes, once asked, until killed."""
    listener = loopback.listen()
    pipe.send(listener.getsockname()[1])
    market = loopback.accept(listener)
    loopback.open_market(market)
    pipe.recv()
    number = 0
    with suppress(ConnectionError):  # the core is killed first
        while True:
            batch = b"".join(framed(loopback.frame(number + n)) for n in range(1, 101))
            number += 100
            market.socket.sendall(batch)
            frames.value = number


# --- the core -------------------------------------------------------------------------------------


class Listener(Actor):
    """Notes when each tick of the quiet venue is heard of, and how many of the other."""

    durable: ClassVar[bool] = False
    heard: ClassVar[dict[int, int]] = {}

    def on_consolidated_book(self, book: ConsolidatedBook) -> None:
        """Note the tick's number and the moment."""
        if book.symbol == SYMBOLS[QUIET] and book.asks:
            number = book.ts_event_ns // NS_PER_MS - T0_MS
            self.heard.setdefault(number, time.perf_counter_ns())


def be_core(pipe: Any, ports: dict[str, int], apart: bool) -> None:
    """Be the core with both venues; answer what was heard."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()

    def make_port(core: Core, venue: str) -> Any:
        if apart:
            share = MARKET_SHARE / len(ports)
            return port_in_process(
                core, venue, SYMBOLS[venue], ports[venue], orders=False, share=share
            )
        deliver = core.deliver_to(venue)
        return MarketPort(venue, ports[venue], core.clock, deliver, SYMBOLS[venue])

    core = Core(dict.fromkeys(ports, make_port), symbols=SYMBOLS, reader=Listener)
    core.start()
    pause = Event()
    while len(core.edge.query("bbo", {}).result(5.0)) < len(ports):
        pause.wait(0.02)
    while True:
        if pipe.recv() == "begin":
            Listener.heard.clear()
            pipe.send("listening")
        else:
            pipe.send(dict(Listener.heard))
