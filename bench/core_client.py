"""The whole core as a client of the loopback venue: every actor, the real link, codec and feed.

As in the product: the actors of actors/tree.py, a caller-runs dispatcher, the edge with a thread of
its own. Different: the journal is in memory and PersistenceActor runs on the tick dispatcher; the
port writes the order as one WebSocket text instead of a signed REST call; and in the demo maker's
place stands a strategy that answers every new book with one order.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import count
from threading import Event, Thread
from typing import ClassVar, Final

import websocket

from actors.folds import Replicas
from actors.persistence import JournalRecovery
from actors.tree import DISK, TICK, child_specs, folds
from adapters.feed import PublicFeed
from adapters.offset import ClockOffset
from adapters.okx import OkxCodec
from adapters.registry import VenueConfig
from adapters.stream import Watch, WsLink
from bench.loopback import HOST, SIZE0, SYMBOL, T0_MS, VENUE_SYMBOL, order_json
from bench.memory_journal import MemoryJournal
from engine import collector
from engine.actor import Actor
from engine.clock import NS_PER_MS, SystemClock
from engine.config_models import Settings
from engine.control_port import Facts
from engine.dispatch import CallerRunsDispatcher
from engine.edge import Edge
from engine.messages.base import Message
from engine.messages.commands import PlaceOrder, Reply
from engine.messages.market import ConsolidatedBook
from engine.messages.port import (
    AdapterReady,
    BalanceReport,
    GateChanged,
    Instrument,
    LinkChanged,
    OrderReport,
    Reconcile,
    ReconcileResult,
    SetGate,
    SubmitOrder,
    SubmitResult,
)
from engine.supervision import Supervisor
from engine.threads import DaemonThreads

VENUE: Final = "okx"
ACCOUNT: Final = "okx.main"
SWITCH_INTERVAL_S: Final = 5e-5
STALE_AFTER_MS: Final = 600_000
# As long as a real session takes at least: balances seen earlier are not trusted by the core.
LOADING_S: Final = 0.7
MILLIONTH: Final = Decimal("0.000001")


class Strategy(Actor):
    """Answers each new book with one order, whose size carries the number of the tick."""

    durable: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()
        self.newest = 0

    def on_consolidated_book(self, book: ConsolidatedBook) -> None:
        """Buy at the best ask."""
        number = book.ts_event_ns // NS_PER_MS - T0_MS
        if number <= self.newest or not book.asks:
            return
        self.newest = number
        quantity = (SIZE0 + number) * MILLIONTH
        price = Decimal(book.asks[0]).scaleb(-book.price_exponent)
        self.send(
            "order_router",
            PlaceOrder(
                f"t{number}", VENUE, None, SYMBOL, "BUY", "LIMIT", "IOC", False, quantity, price,
                False, "bench", self.name,
            ),
        )  # fmt: skip

    def on_reply(self, message: Reply) -> None:
        """Nothing: the command was taken."""


class Port:
    """The venue's port: market data by the real link and feed, orders on a socket of their own.

    The venue's answers are made up here, when the order has left: accepted, then expired unfilled.
    """

    def __init__(self, port: int, clock: SystemClock, deliver: Callable[[Message], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._stopping = Event()
        self._sent: list[SubmitOrder] = []
        config = VenueConfig(
            VENUE, "okx", ACCOUNT, (SYMBOL,), depth=20, stale_after_ms=STALE_AFTER_MS
        )
        offset = ClockOffset(clock)
        now_ns = clock.mono_ns()
        offset.update([(now_ns, now_ns, T0_MS)])
        self._feed = PublicFeed(
            config,
            OkxCodec(VENUE, ACCOUNT, {VENUE_SYMBOL: SYMBOL}),
            clock=clock,
            rng=random.Random(1),
            deliver=deliver,
            ask_snapshot=lambda _: None,
            ask_clock=lambda: None,
            offset=offset,
        )
        self._instrument = Instrument(
            VENUE, SYMBOL, VENUE_SYMBOL, "BTC", "USDT", Decimal("0.1"), MILLIONTH,
            MILLIONTH, None, Decimal(0), Decimal(0), Decimal(0),
        )  # fmt: skip
        self._feed.set_instruments([self._instrument])
        watch = Watch(5.0, 60.0, 60.0, 0.0, 3600.0)
        self._link = WsLink(
            f"ws://{HOST}:{port}/market",
            self,
            clock=clock,
            rng=random.Random(1),
            watch=watch,
            stopping=self._stopping,
            ping_text="ping",
        )
        self._feed.link = self._link
        self.orders = connect(port, "/orders")

    # --- VenuePort

    def start(self) -> None:
        """Begin a session on the market link's thread."""
        Thread(target=self._run, name="ws-public", daemon=True).start()

    def _run(self) -> None:
        self._stopping.wait(LOADING_S)
        self._deliver(AdapterReady(VENUE, "s1", [self._instrument], [ACCOUNT]))
        self._deliver(LinkChanged(VENUE, "private", True, "bench", self._clock.mono_ns()))
        self._link.run()

    def shut(self) -> None:
        """Nothing waits in this port."""

    def stop(self, deadline_s: float) -> None:
        """End the link."""
        self._stopping.set()

    def handle(self, message: Message) -> None:
        """Send an order, or answer what the core asks at its start."""
        if isinstance(message, SubmitOrder):
            assert message.price is not None, "every order here has a price"
            text = order_json(
                message.client_order_id, f"{message.price:f}", f"{message.quantity:f}"
            )
            self.orders.send(text)
            self._sent.append(message)
        elif isinstance(message, SetGate):
            self._deliver(GateChanged(message.request_id, VENUE, message.closed))
        elif isinstance(message, Reconcile):
            balances = [BalanceReport("USDT", Decimal(1_000_000), Decimal(0))]
            wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
            self._deliver(
                ReconcileResult(
                    message.request_id, ACCOUNT, True, "", [], [], balances, wall_ns, mono_ns
                )
            )

    # --- LinkHandler: the feed, and behind it the venue's answers

    def on_open(self) -> list[str]:
        """Subscribe."""
        return self._feed.on_open()

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Run the tick to its end, then answer the order that it caused."""
        self._feed.on_frame(raw, wall_ns, mono_ns)
        while self._sent:
            self._answer(self._sent.pop(), wall_ns)

    def on_alive(self, mono_ns: int) -> None:
        """Pass on."""
        self._feed.on_alive(mono_ns)

    def on_tick(self, mono_ns: int) -> None:
        """Pass on."""
        self._feed.on_tick(mono_ns)

    def on_down(self, reason: str) -> None:
        """Pass on."""
        self._feed.on_down(reason)

    def _answer(self, order: SubmitOrder, wall_ns: int) -> None:
        venue_id = f"v{order.client_order_id}"
        self._deliver(
            SubmitResult(
                ACCOUNT, order.client_order_id, "ACCEPTED", venue_id, "", "", "bench", wall_ns,
                wall_ns,
            )
        )  # fmt: skip
        self._deliver(
            OrderReport(
                ACCOUNT, order.client_order_id, venue_id, SYMBOL, "BUY", "LIMIT", order.quantity,
                order.price, "EXPIRED", Decimal(0), "ioc", "stream", wall_ns,
            )
        )  # fmt: skip


def connect(port: int, path: str) -> websocket.WebSocket:
    """Return a plain websocket-client connection."""
    import socket  # noqa: PLC0415

    return websocket.create_connection(
        f"ws://{HOST}:{port}{path}",
        sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        skip_utf8_validation=True,
        http_no_proxy=[HOST],
    )


def settings() -> Settings:
    """Return the configuration: one venue, limits that never bind, the strategy's place taken."""
    return Settings.model_validate(
        {
            "name": "bench",
            "venues": {VENUE: {"symbols": [SYMBOL], "stale_after_ms": STALE_AFTER_MS}},
            "risk": {
                "max_order_notional": "1000000",
                "max_open_notional": "100000000",
                "max_open_orders": 100_000,
                "max_orders_per_second": 10_000,
                "max_position": {"BTC": "1000000"},
            },
            "orders": {"closed_kept_max": 1000},
            "journal": {"snapshot_every_records": 10_000_000},
        }
    )


class Core:
    """The runtime with its edge, built as supervisor.py builds it."""

    def __init__(self, port: int) -> None:
        self.clock = SystemClock()
        self.threads = DaemonThreads()
        self.journal = MemoryJournal()
        self.port: Port | None = None
        self._tcp_port = port
        self._numbers = count(1)
        config = settings()
        replicas = Replicas(folds(config))
        specs = child_specs(
            config,
            journal=self.journal,
            adapters={VENUE: self._make_port},
            run="bench-1",
            fail_stop=sys.exit,
            fault_point=lambda _: None,
            enforce_expiry=(),
            background=self.threads.background,
            replicas=replicas,
        )
        ring = CallerRunsDispatcher(TICK)
        self.runtime = Supervisor(
            [replace(s, factory=Strategy) if s.name == "demo_maker" else s for s in specs],
            clock=self.clock,
            rng=random.Random(1),
            dispatchers={TICK: ring, DISK: ring},
            recovery=JournalRecovery(self.journal, replicas),
            parked_to="persistence",
            run_id="bench-1",
        )
        facts = Facts("demo", "bench", "0", {VENUE: (SYMBOL,)})
        self.edge = Edge(
            self.runtime, self.journal, self.clock, facts, background=self.threads.background
        )

    def _make_port(self) -> Port:
        self.port = Port(self._tcp_port, self.clock, self._deliver)
        return self.port

    def _deliver(self, message: Message) -> None:
        new_id = f"bench-1.{VENUE}.1.{next(self._numbers)}"
        self.runtime.tell(
            f"exchange.{VENUE}", message, sender=f"adapter.{VENUE}", message_id=new_id
        )

    def start(self) -> None:
        """Start the edge's thread and the actors."""
        self.threads.start("edge", self.edge.run)
        self.runtime.start()

    def is_ready(self) -> bool:
        """Tell whether the venue may trade and its account is open."""
        status = self.edge.query("status", {}).result(5.0)
        ready = [venue["state"] == "READY" for venue in status["venues"]]
        return bool(ready) and all(ready) and bool(status["accounts_opened"])


def run(port: int) -> None:
    """Be the client: bring the core up, say that it is ready, and run until killed."""
    from loguru import logger  # noqa: PLC0415

    logger.remove()
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    core = Core(port)
    core.start()
    pause = Event()
    while not core.is_ready():
        pause.wait(0.05)
    assert core.port is not None, "the adapter's actor has not started"
    collector.settle()
    core.port.orders.send("ready")
    pause.wait()
