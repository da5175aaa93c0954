"""P8: an actor is ended as by a crash, with mail waiting; how long until its successor runs?

The whole core with its real journal on disk and 1,000 closed orders in its states. Each of the tick path's
actors in turn is given questions and ended; the clock runs from the end (`crashed`) to the successor
having its state back (`running`). The backoff that follows a real crash (0.1 s at first, so that a crash
loop does not eat the processor) is left out: a drill has none. Every question must be answered.
Floor: a bare Pykka actor on its own thread: start, first answer, stop.
"""

import itertools
import tempfile
import threading
import time
from pathlib import Path

import pykka

from bench.core_client import VENUE, Core
from bench.p6_orders import fill_orders, filling_port
from bench.report import Beside, Options, Result, median, percentile_us, spread
from engine.specs import RuntimeEvent

TARGET_MS, MOONSHOT_MS = 10.0, 0.5
NAMES = ("order_router", "risk_pnl", "order_book", f"exchange.{VENUE}")
QUESTIONS = {"order_router": "counts", "risk_pnl": "trading_state"}
MAIL = 20
ORDERS, KILLS = 1_000, 50
WITHIN_S = 30.0


def run(options: Options) -> dict[str, Result]:
    orders, kills = (50, 3) if options.quick else (ORDERS, KILLS)
    restarts: list[list[int]] = []
    bare: list[float] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="xcore-bench-") as name:
            restarts.append(_restarts(Path(name) / "journal", orders, kills))
        bare.append(percentile_us(_floor(kills * len(NAMES)), 0.99) / 1000)
    p99 = [percentile_us(r, 0.99) / 1000 for r in restarts]
    ours, floor = median(p99), median(bare)
    return {
        "P8": Result(
            value=ours,
            unit="ms p99",
            reference="bare Pykka start",
            reference_value=floor,
            ratio=round(ours / floor, 3),
            target=f"<= {TARGET_MS:g} ms (moonshot {MOONSHOT_MS:g})",
            met=ours <= TARGET_MS,
            beside=[
                Beside("ours", median(percentile_us(r, 0.5) / 1000 for r in restarts), "ms p50")
            ],
            notes=[
                f"{kills} ends each of {', '.join(NAMES)}; {orders:,} orders in each state",
                f"p99 {spread(p99, 2)}; all {MAIL} questions in the mailbox answered each time",
            ],
        )
    }


class _Watch:
    # Notes the moments of the runtime's events, and lets somebody wait for an actor to run.
    def __init__(self) -> None:
        self.ended_ns: dict[str, int] = {}
        self.took_ns: list[int] = []
        self.running = threading.Event()

    def __call__(self, event: RuntimeEvent) -> None:
        if event.what == "crashed":
            self.ended_ns[event.actor] = event.mono_ns
        elif event.what == "running" and event.actor in self.ended_ns:
            self.took_ns.append(event.mono_ns - self.ended_ns.pop(event.actor))
            self.running.set()


def _restarts(folder: Path, orders: int, kills: int) -> list[int]:
    watch = _Watch()
    core = Core({VENUE: filling_port}, folder=folder, observer=watch)
    core.start()
    fill_orders(core, orders)
    for name in itertools.islice(itertools.cycle(NAMES), kills * len(NAMES)):
        watch.running.clear()
        topic = QUESTIONS.get(name)
        answers = []
        if topic is not None:
            answers = [core.edge.query(topic, {}) for _ in range(MAIL // 2)]
        core.runtime.kill(name)
        if topic is not None:
            answers += [core.edge.query(topic, {}) for _ in range(MAIL // 2)]
        if not watch.running.wait(WITHIN_S):
            raise TimeoutError(f"{name} did not come back")
        for answer in answers:
            answer.result(WITHIN_S)
    core.stop()
    return watch.took_ns


class _Bare(pykka.ThreadingActor):
    def on_receive(self, message: int) -> int:
        return message


def _floor(count: int) -> list[int]:
    took: list[int] = []
    for n in range(count):
        began = time.perf_counter_ns()
        actor = _Bare.start()
        actor.ask(n)
        took.append(time.perf_counter_ns() - began)
        actor.stop()
    return took
