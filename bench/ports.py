"""The venues' ports of the benchmarks: in the place of an adapter, with the venue's answers made up.

Market data comes by the product's own link, codec and feed. What an order costs behind the port (REST,
signatures, the venue) is not what these benchmarks look at.
"""

import queue
import random
import socket
from collections.abc import Callable
from decimal import Decimal
from itertools import count
from threading import Event, Thread
from typing import ClassVar, Final

import websocket

from adapters.feed import PublicFeed
from adapters.offset import ClockOffset
from adapters.okx import OkxCodec
from adapters.registry import VenueConfig
from adapters.stream import Watch, WsLink
from bench.loopback import HOST, SIZE0, SYMBOL, T0_MS, VENUE_SYMBOL, order_json
from engine.actor import Actor
from engine.clock import NS_PER_MS, SystemClock
from engine.messages.base import Message
from engine.messages.commands import PlaceOrder, Reply
from engine.messages.market import ConsolidatedBook
from engine.messages.port import (
    AdapterReady,
    BalanceReport,
    FillReport,
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
                f"t{number}", "okx", None, SYMBOL, "BUY", "LIMIT", "IOC", False, quantity, price,
                False, "bench", self.name,
            ),
        )  # fmt: skip

    def on_reply(self, message: Reply) -> None:
        """Nothing: the command was taken."""


def instrument(venue: str, symbol: str = SYMBOL) -> Instrument:
    """Return the rules of a symbol."""
    zero, base = Decimal(0), symbol.partition("/")[0]
    return Instrument(
        venue, symbol, VENUE_SYMBOL, base, "USDT", Decimal("0.1"), MILLIONTH, MILLIONTH, None,
        zero, zero, zero,
    )  # fmt: skip


class Port:
    """What every port here does: a session that opens, a gate, a reconciliation that finds nothing."""

    symbol = SYMBOL

    def __init__(self, venue: str, clock: SystemClock, deliver: Callable[[Message], None]) -> None:
        self.venue = venue
        self.account = f"{venue}.main"
        self.clock = clock
        self.deliver = deliver
        self.stopping = Event()

    def start(self) -> None:
        """Begin a session on a thread of its own."""
        Thread(target=self._run, name=f"{self.venue}.session", daemon=True).start()

    def _run(self) -> None:
        self.stopping.wait(LOADING_S)
        self.deliver(
            AdapterReady(self.venue, "s1", [instrument(self.venue, self.symbol)], [self.account])
        )
        self.deliver(LinkChanged(self.venue, "private", True, "bench", self.clock.mono_ns()))
        self.work()

    def work(self) -> None:
        """Do what the session is there for. On its thread; returns when it is stopped."""

    def shut(self) -> None:
        """Nothing waits in this port."""

    def stop(self, deadline_s: float) -> bool:
        """End the session."""
        self.stopping.set()
        return True

    def handle(self, message: Message) -> None:
        """Send an order, or answer what the core asks at its start."""
        if isinstance(message, SubmitOrder):
            self.submit(message)
        elif isinstance(message, SetGate):
            self.deliver(GateChanged(message.request_id, self.venue, message.closed))
        elif isinstance(message, Reconcile):
            balances = [BalanceReport("USDT", Decimal(1_000_000), Decimal(0))]
            wall_ns, mono_ns = self.clock.wall_ns(), self.clock.mono_ns()
            self.deliver(
                ReconcileResult(
                    message.request_id, self.account, True, "", [], [], balances, wall_ns, mono_ns
                )
            )

    def submit(self, order: SubmitOrder) -> None:
        """Send one order."""
        raise NotImplementedError(f"{self.venue} takes no orders: {order.client_order_id}")

    def accepted(self, order: SubmitOrder, wall_ns: int) -> SubmitResult:
        """Return the venue's answer to a submit."""
        return SubmitResult(
            self.account, order.client_order_id, "ACCEPTED", f"v{order.client_order_id}", "", "",
            "bench", wall_ns, wall_ns,
        )  # fmt: skip

    def ended(self, order: SubmitOrder, status: str, filled: Decimal, wall_ns: int) -> OrderReport:
        """Return the venue's report of an order's end."""
        return OrderReport(
            self.account, order.client_order_id, f"v{order.client_order_id}", SYMBOL, order.side,
            "LIMIT", order.quantity, order.price, status, filled, "ioc", "stream", wall_ns,  # type: ignore[arg-type]
        )  # fmt: skip


class MarketPort(Port):
    """Market data of a loopback venue, by the product's link, codec and feed."""

    def __init__(
        self,
        venue: str,
        port: int,
        clock: SystemClock,
        deliver: Callable[[Message], None],
        symbol: str = SYMBOL,
    ) -> None:
        super().__init__(venue, clock, deliver)
        self.symbol = symbol
        self.frames = 0
        config = VenueConfig(
            venue, "okx", self.account, (symbol,), depth=20, stale_after_ms=STALE_AFTER_MS
        )
        offset = ClockOffset(clock)
        now_ns = clock.mono_ns()
        offset.update([(now_ns, now_ns, T0_MS)])
        self.feed = PublicFeed(
            config,
            OkxCodec(venue, self.account, {VENUE_SYMBOL: symbol}),
            clock=clock,
            rng=random.Random(1),
            deliver=deliver,
            ask_snapshot=lambda _: None,
            ask_clock=lambda: None,
            offset=offset,
        )
        self.feed.set_instruments([instrument(venue, symbol)])
        self.link = WsLink(
            f"ws://{HOST}:{port}/market",
            self,
            clock=clock,
            rng=random.Random(1),
            watch=Watch(5.0, 60.0, 60.0, 0.0, 3600.0),
            stopping=self.stopping,
            ping_text="ping",
        )
        self.feed.link = self.link

    def work(self) -> None:
        """Read the market link."""
        self.link.run()

    def on_open(self) -> list[str]:
        """Subscribe."""
        return self.feed.on_open()

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Run the tick to its end."""
        self.frames += 1
        self.feed.on_frame(raw, wall_ns, mono_ns)

    def on_alive(self, mono_ns: int) -> None:
        """Pass on."""
        self.feed.on_alive(mono_ns)

    def on_tick(self, mono_ns: int) -> None:
        """Pass on."""
        self.feed.on_tick(mono_ns)

    def on_down(self, reason: str) -> None:
        """Pass on."""
        self.feed.on_down(reason)


class OrderingPort(MarketPort):
    """Sends each order as one WebSocket text on a connection of its own.

    The venue's answers are made up here, when the tick has run to its end: accepted, then expired.
    """

    def __init__(
        self,
        venue: str,
        port: int,
        clock: SystemClock,
        deliver: Callable[[Message], None],
        symbol: str = SYMBOL,
    ) -> None:
        super().__init__(venue, port, clock, deliver, symbol)
        self._sent: list[SubmitOrder] = []
        self.orders = connect(port, "/orders")

    def submit(self, order: SubmitOrder) -> None:
        """Write the order to the socket."""
        assert order.price is not None, "every order here has a price"
        text = order_json(order.client_order_id, f"{order.price:f}", f"{order.quantity:f}")
        self.orders.send(text)
        self._sent.append(order)

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Run the tick to its end, then answer the orders that have left."""
        super().on_frame(raw, wall_ns, mono_ns)
        while self._sent:
            order = self._sent.pop()
            self.deliver(self.accepted(order, wall_ns))
            self.deliver(self.ended(order, "EXPIRED", Decimal(0), wall_ns))


class FillingPort(Port):
    """Fills every order at once, from the session's thread, as a venue's reader does."""

    def __init__(self, venue: str, clock: SystemClock, deliver: Callable[[Message], None]) -> None:
        super().__init__(venue, clock, deliver)
        self._orders: queue.SimpleQueue[SubmitOrder | None] = queue.SimpleQueue()
        self._trades = count(1)

    def submit(self, order: SubmitOrder) -> None:
        """Hand the order to the session's thread."""
        self._orders.put(order)

    def stop(self, deadline_s: float) -> bool:
        """End the session."""
        self._orders.put(None)
        return super().stop(deadline_s)

    def work(self) -> None:
        """Answer: accepted, filled, complete."""
        while (order := self._orders.get()) is not None:
            now_ns = self.clock.wall_ns()
            self.deliver(self.accepted(order, now_ns))
            self.deliver(self._fill(order, now_ns))
            self.deliver(self.ended(order, "FILLED", order.quantity, now_ns))

    def _fill(self, order: SubmitOrder, now_ns: int) -> FillReport:
        assert order.price is not None, "every order here has a price"
        return FillReport(
            self.account, order.client_order_id, f"v{order.client_order_id}",
            f"{next(self._trades)}", SYMBOL, order.side, order.price, order.quantity, Decimal(0),
            "USDT", "TAKER", "stream", now_ns,
        )  # fmt: skip


def connect(port: int, path: str) -> websocket.WebSocket:
    """Return a plain websocket-client connection."""
    return websocket.create_connection(
        f"ws://{HOST}:{port}{path}",
        sockopt=((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),),
        skip_utf8_validation=True,
        http_no_proxy=[HOST],
    )
