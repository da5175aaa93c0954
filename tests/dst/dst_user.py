"""The user of the simulated core, and everybody else who trades on the same accounts.

It places, repeats, cancels, halts and reconciles at seeded moments and remembers what it was told:
what was acknowledged to it is a promise that the judge holds the core to.
"""

from random import Random
from typing import TYPE_CHECKING

from dst_venue import LOT, TICK, SimVenue

from engine.ids import client_order_id, parent_order_id
from engine.messages.base import Message
from engine.messages.commands import (
    CancelOrders,
    Committed,
    CommittedNow,
    Halt,
    PlaceOrder,
    ReconcileOrders,
    Reply,
    Resume,
)
from engine.messages.port import SubmitOrder
from engine.wire import unpack

if TYPE_CHECKING:
    from world import Process, World

ACTORS = ("persistence", "risk_pnl", "order_router", "order_book")
KINDS = (
    ("LIMIT", "GTC", False), ("LIMIT", "GTC", False), ("LIMIT", "GTC", True),
    ("LIMIT", "IOC", False), ("LIMIT", "FOK", False), ("MARKET", "IOC", False),
)  # fmt: skip


class User:
    """See the module's docstring."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.rng = world.rng
        self.busy = True
        self.placed: dict[str, PlaceOrder] = {}
        self.accepted: dict[str, int] = {}  # command -> epoch in which the router took it
        self.refused: dict[str, str] = {}
        self.journaled: set[str] = set()
        self.cancels: set[str] = set()
        self.canceled: dict[str, int] = {}  # order -> epoch in which the router took its cancel
        self.halts: dict[str, str] = {}  # command -> scope, asked for
        self.halted: set[str] = set()  # scopes whose halt was acknowledged and not lifted since
        self.numbers = 0

    # --- what it is told --------------------------------------------------------------------------

    def hear(self, process: "Process", message: Message) -> None:
        if isinstance(message, Reply):
            self._hear_reply(process, message)
        elif isinstance(message, Committed | CommittedNow):
            order = getattr(message.event, "order", None)
            if order is not None and order.command_id:
                self.journaled.add(order.command_id)

    def _hear_reply(self, process: "Process", reply: Reply) -> None:
        command_id = reply.correlation_id
        if command_id in self.placed:
            if reply.ok:
                self.accepted[command_id] = process.epoch
            else:
                self.refused[command_id] = reply.code
        elif command_id in self.cancels and reply.ok:
            for order_id in unpack(reply.body)["order_ids"]:
                self.canceled[order_id] = process.epoch
        elif command_id in self.halts and reply.ok:
            self.halted.add(self.halts.pop(command_id))

    # --- what it does -----------------------------------------------------------------------------

    def plan(self, for_s: float) -> None:
        """Spread the seed's actions over the time."""
        rng, after = self.rng, self.world.after
        for _ in range(rng.randint(12, 26)):
            after(rng.uniform(0, for_s), self.place)
        for _ in range(rng.randint(3, 10)):
            after(rng.uniform(0, for_s), self.cancel)
        for _ in range(rng.choice((0, 0, 1, 2))):
            after(rng.uniform(0, for_s), self.halt)
        for _ in range(rng.randint(0, 2)):
            after(rng.uniform(0, for_s), self.reconcile)
        for _ in range(rng.randint(0, 3)):
            after(rng.uniform(0, for_s), self.kill_one)
        for _ in range(rng.randint(0, 4)):
            venue = rng.choice(list(self.world.venues.values()))
            after(rng.uniform(0, for_s), lambda v=venue: self.act_outside(v))
        if self.world.seed % 4 == 3:  # a storm of halts over crashing venues
            storm = Random(f"{self.world.seed}|storm")
            for _ in range(8):
                at_s = storm.uniform(0, for_s)
                after(at_s - storm.uniform(0, 0.02), self.place)
                after(at_s, self.halt)
                after(at_s + storm.uniform(-0.1, 0.05), self.kill_one)
        after(for_s, self.rest)

    def rest(self) -> None:
        self.busy = False
        for scope in sorted(set(self.halts.values()) | self.halted):
            if self.rng.random() < 0.5:
                self.resume(scope)

    def place(self) -> None:
        rng = self.rng
        if self.placed and rng.random() < 0.2:
            self.world.count("command_repeated")
            self.world.tell("order_router", self.placed[rng.choice(list(self.placed))])
            return
        venue = rng.choice([*self.world.venues, "best"])
        some = self.world.venues.get(venue) or next(iter(self.world.venues.values()))
        symbol, side = rng.choice(some.symbols), rng.choice(("BUY", "SELL"))
        order_type, tif, post_only = rng.choice(KINDS)
        scale = 1 if symbol.startswith("BTC") else 15
        quantity = LOT * rng.randint(3, 300) * scale
        offset = rng.randint(-60, 120) if not post_only else rng.randint(20, 120)
        sign = 1 if side == "BUY" else -1
        price = (some.mids[symbol] - sign * offset) * TICK
        command = PlaceOrder(
            self._fresh(), venue, None, symbol, side, order_type, tif, post_only, quantity,
            None if order_type == "MARKET" else price, False, "user", "edge",
        )  # fmt: skip
        self.placed[command.command_id] = command
        self.world.count(f"placed_{'best' if venue == 'best' else order_type.lower()}_{tif}")
        self.world.tell("order_router", command)
        if rng.random() < 0.1:
            self.world.count("cancel_right_behind")
            self._cancel([self._order_id(command)])

    def cancel(self) -> None:
        rng = self.rng
        if rng.random() < 0.2 or not self.placed:
            self.world.count("cancel_all")
            self._cancel([])
            return
        command = self.placed[rng.choice(list(self.placed))]
        self._cancel([self._order_id(command)])

    def halt(self) -> None:
        scopes = ["all", "symbol:BTC/USDT", *(f"venue:{v}" for v in self.world.venues)]
        scope = self.rng.choice(scopes)
        command_id = self._fresh()
        self.halts[command_id] = scope
        self.world.count("halt")
        cancel = self.rng.random() < 0.5
        self.world.tell("risk_pnl", Halt(command_id, scope, "drill", "user", cancel, "edge"))
        self.world.after(self.rng.uniform(0.5, 6.0), lambda: self.resume(scope))

    def resume(self, scope: str) -> None:
        self.halted.discard(scope)
        self.halts = {c: s for c, s in self.halts.items() if s != scope}
        self.world.tell("risk_pnl", Resume(self._fresh(), scope, "drill over", "user", "edge"))

    def reconcile(self) -> None:
        self.world.count("reconcile_asked")
        self.world.tell("order_router", ReconcileOrders(self._fresh(), [], "user", "edge"))

    def kill_one(self) -> None:
        process = self.world.process
        names = [*ACTORS, *(f"{k}.{v}" for k in ("exchange", "adapter") for v in self.world.venues)]
        name = self.rng.choice(names)
        if process is not None and self.world.faulty:
            self.world.count("actor_killed")
            process.supervisor.kill(name)

    def act_outside(self, venue: SimVenue, times: int = 1) -> None:
        """Somebody else places or cancels an order on the account, past the core."""
        rng = self.rng
        for _ in range(times):
            theirs = [o for o in venue.orders.values() if o.external and o.is_open]
            if theirs and rng.random() < 0.4:
                venue.cancel("", rng.choice(theirs).venue_order_id)
                continue
            self.world.count("external_order")
            sibling = f"ce{'0' * 5}{self.world.next_number():025x}"
            client_id = sibling if rng.random() < 0.3 else f"web-{self.world.next_number()}"
            symbol, side = rng.choice(venue.symbols), rng.choice(("BUY", "SELL"))
            sign = 1 if side == "BUY" else -1
            price = (venue.mids[symbol] - sign * rng.randint(-20, 60)) * TICK
            order = SubmitOrder(
                venue.account, client_id, symbol, side, "LIMIT", "GTC", False,
                LOT * rng.randint(1, 100), price, 0,
            )  # fmt: skip
            venue.accept(order, external=True)

    # --- private ----------------------------------------------------------------------------------

    def _fresh(self) -> str:
        self.numbers += 1
        return f"c{self.world.seed}-{self.numbers}"

    def _order_id(self, command: PlaceOrder) -> str:
        make = parent_order_id if command.venue == "best" else client_order_id
        return make(self.world.settings.name, command.command_id)

    def _cancel(self, order_ids: list[str]) -> None:
        command_id = self._fresh()
        self.cancels.add(command_id)
        self.world.tell(
            "order_router",
            CancelOrders(command_id, order_ids, not order_ids, None, None, "", "user", "edge"),
        )
