"""The judge of a simulated run: the venues' own books against the journal and every actor's state.

It believes no actor. What it finds is a list of sentences in `found`, each naming its invariant
(docs/runtime-semantics.md); an empty list is the only pass.
"""

from collections import Counter
from typing import TYPE_CHECKING, Any

from dst_venue import ZERO, SimVenue, VenueOrder

from actors.folds import concerns
from engine.envelope import decode_event
from engine.ids import client_order_id
from engine.journal import Record
from engine.messages.base import Event, encode_state
from engine.messages.commands import ReconcileOrders
from engine.messages.engine_events import (
    MessageParked,
)
from engine.messages.events import (
    BalanceDifferenceFound,
    OrderApproved,
    OrderCancelRejected,
    OrderCancelTaken,
    OrderFilled,
    OrderRejected,
)
from engine.messages.port import SubmitOrder
from engine.specs import RuntimeEvent
from engine.trading.order import Order
from engine.trading.orders import ParentOrder
from engine.trading.risk import RiskGate

if TYPE_CHECKING:
    from world import Process, World

NS = 1_000_000_000
WIRE_NS = 5 * NS  # a request that left is refused by the venue when it arrives later
EXPECTED_ENDS = ("InjectedFault", "Killed")
LEGS_MAX = 8


class Judge:
    """See the module's docstring."""

    def __init__(self, world: "World") -> None:
        self.world = world
        self.found: list[str] = []
        self.writes: dict[str, list[int]] = {}  # client_order_id -> when it went to a socket
        self.crashes: Counter[str] = Counter()

    def fail(self, text: str) -> None:
        if text not in self.found:
            self.found.append(text)

    # --- while it runs ----------------------------------------------------------------------------

    def observe(self, event: RuntimeEvent) -> None:
        if event.what == "crashed":
            self.crashes[event.actor.partition(".")[0]] += 1
            if not event.detail.startswith(EXPECTED_ENDS):
                self.fail(f"crash: {event.actor} on {event.kind}: {event.detail[:300]}")
        elif event.what in ("parked", "unknown_message", "dead_letter", "overflow", "gave_up"):
            self.fail(f"{event.what}: {event.actor} {event.kind} {event.detail[:200]}")

    def sent(self, process: "Process", venue: SimVenue, order: SubmitOrder) -> None:
        """An order is about to reach the socket: is it journaled, and is it allowed to?"""
        client_id = order.client_order_id
        self.writes.setdefault(client_id, []).append(self.world.clock.wall_ns())
        if len(self.writes[client_id]) > 1:
            self.fail(f"I17 {client_id} went to the socket {len(self.writes[client_id])} times")
        intent = process.journal.find(f"order:{client_id}")
        if intent is None or intent.kind != "OrderApproved":
            self.fail(f"I12 {client_id} reached the socket without a journaled intent")
        for scope in ("all", f"venue:{venue.name}", f"symbol:{order.symbol}"):
            if scope in self.world.user.halted:
                self.fail(
                    f"I5 {client_id} reached {venue.name} after the halt of {scope} was acked"
                )

    def arrives(self, venue: SimVenue, order: SubmitOrder) -> None:
        """An order reaches the venue: was a halt acknowledged that did not wait for it?"""
        process, halted = self.world.process, self.world.user.halted
        in_scope = halted & {"all", f"venue:{venue.name}", f"symbol:{order.symbol}"}
        if process is None or not in_scope:
            return
        actor = process.actor(f"exchange.{venue.name}")
        ours = actor.state.orders.order(order.client_order_id) if actor is not None else None
        if ours is not None and ours.status == "PENDING_NEW":
            self.fail(
                f"I5 {order.client_order_id} arrived at {venue.name} after {in_scope} was acked"
            )

    # --- the judgement ----------------------------------------------------------------------------

    def judge(self) -> None:
        process = self.world.process
        assert process is not None
        self._reconcile_twice(process)
        self.records = list(process.journal.read())
        self.events = [(r, decode_event(r.kind, r.body)) for r in self.records]
        self._check_runtime(process)
        for name, venue in self.world.venues.items():
            self._check_orders(process, name, venue)
            self._check_fills(process, name, venue)
            self._check_money(process, venue)
        self._check_commands(process)
        self._check_cancels(process)
        self._check_views(process)
        self._check_evidence()
        self._check_replay(process)

    # I20. The first one may still learn something; the second must not.
    def _reconcile_twice(self, process: "Process") -> None:
        heads = []
        for number in range(3):
            command = ReconcileOrders(f"judge-{number}", [], "judge", "edge")
            self.world.tell("order_router", command)
            self.world._advance(4.0)
            heads.append(process.journal.head_seq)
        if heads[1] != heads[2]:
            kinds = [r.kind for r in process.journal.read(heads[1])]
            self.fail(f"I20 a repeated reconciliation appended {kinds}")

    def _check_runtime(self, process: "Process") -> None:
        for status in process.supervisor.tree():
            if status.state != "running":
                self.fail(f"liveness: {status.name} is {status.state}")
            if status.mailbox["control"] or status.mailbox["orders"]:
                self.fail(f"liveness: {status.name} has mail: {status.mailbox}")
        if process.supervisor.dead_letters or process.supervisor.parking.list():
            self.fail(f"runtime: parked {process.supervisor.parking.list()}")
        for name in self.world.venues:
            actor = process.actor(f"exchange.{name}")
            if actor.venue_state != "READY":
                self.fail(f"liveness: {name} is {actor.venue_state}: {actor.reason}")
            if actor.orphans:
                self.fail(f"liveness: {name} holds fills of nobody: {list(actor.orphans)}")

    def _check_orders(self, process: "Process", name: str, venue: SimVenue) -> None:
        router = process.actor("order_router").state
        for client_id, orders in venue.by_client.items():
            if len(orders) > 1:
                self.fail(f"I17 {len(orders)} orders at {name} for {client_id}")
        for theirs in venue.orders.values():
            ours = router.order(theirs.client_order_id) or router.by_venue_order_id(
                venue.account, theirs.symbol, theirs.venue_order_id
            )
            if ours is None:
                if not theirs.external or theirs.is_open:
                    self.fail(f"I3 {_words(theirs)} is not in our books")
                continue
            if theirs.external:
                self._compare_external(ours, theirs)
                continue
            if not self._same_status(ours, theirs):
                self.fail(f"I3 ours {_our_words(ours)} is theirs {_words(theirs)}")
            if ours.filled_quantity != theirs.filled:
                self.fail(f"I4 {_our_words(ours)} {ours.filled_quantity} != {_words(theirs)}")
        for order in router.select(parents=False):
            there = venue.find(order.order_id, order.venue_order_id)
            ended = order.status in ("DENIED", "REJECTED", "CANCELED") and not order.filled_quantity
            if order.spec.venue == name and not there and not ended:
                self.fail(f"I3 {_our_words(order)} never reached {name}")

    def _same_status(self, ours: Order, theirs: VenueOrder) -> bool:
        if ours.status == theirs.status:
            return True
        # Both are over without a fill: it ended unseen behind the proof that it was absent.
        unseen = theirs.ever_hidden and theirs.filled == ZERO and not theirs.is_open
        return unseen and ours.status == "REJECTED" and ours.reason_code == "not_received"

    def _compare_external(self, ours: Order, theirs: VenueOrder) -> None:
        if ours.is_open != theirs.is_open or (ours.is_open and ours.missing_fills):
            self.fail(f"F32 external {_our_words(ours)} is theirs {_words(theirs)}")
        if ours.missing_fills:
            self.fail(f"F32 external {_our_words(ours)} misses {ours.missing_fills} for ever")

    def _check_fills(self, process: "Process", name: str, venue: SimVenue) -> None:
        opened_ns = process.actor(f"exchange.{name}").state.opened_ns(venue.account)
        theirs = Counter(
            (f.venue_order_id, f.trade_id)
            for f in venue.fills
            if f.ts_event_ns >= opened_ns or not venue.orders[f.venue_order_id].external
        )
        ours = Counter(
            (e.venue_order_id, e.trade_id)
            for _, e in self.events
            if isinstance(e, OrderFilled) and e.venue == name
        )
        if theirs != ours:
            lost, extra = theirs - ours, ours - theirs
            self.fail(f"I4 fills at {name}: lost {dict(lost)}, not theirs {dict(extra)}")

    def _check_money(self, process: "Process", venue: SimVenue) -> None:
        ledger = process.actor("risk_pnl").state.ledger
        if not ledger.is_opened(venue.account):
            self.fail(f"I19 {venue.account} was never opened")
            return
        held = ledger.balances(venue.account)
        for asset, total in venue.balances.items():
            if held.get(asset, ZERO) != total:
                text = f"ours {held.get(asset)}, theirs {total}"
                self.fail(f"I19 {venue.account} {asset}: {text}")
        for symbol in venue.symbols:
            position = ledger.position(venue.account, symbol)
            traded = sum(
                (e.quantity if e.side == "BUY" else -e.quantity)
                for _, e in self.events
                if isinstance(e, OrderFilled) and (e.account, e.symbol) == (venue.account, symbol)
            )
            if position is not None and position.traded_quantity != traded:
                self.fail(f"I18 {symbol} at {venue.name}: {position.traded_quantity} != {traded}")
        if ledger.differences(venue.account):
            self.fail(f"I18 {venue.account} differs: {ledger.differences(venue.account)}")

    # What the user was told: an acknowledged command is in the journal, a refused one made no order.
    def _check_commands(self, process: "Process") -> None:
        user, instance = self.world.user, self.world.settings.name
        at_venues = {c for v in self.world.venues.values() for c in v.by_client}
        router = process.actor("order_router").state
        for command_id, command in user.placed.items():
            first = 1 if command.venue == "best" else 0
            ids = [client_order_id(instance, command_id, n) for n in range(first, LEGS_MAX)]
            known = [i for i in ids if router.order(i) is not None]
            parent = any(
                isinstance(o, ParentOrder) or o.spec.venue == "best"
                for o in router.select()
                if o.spec.command_id == command_id
            )
            told = user.accepted.get(command_id) == process.epoch or command_id in user.journaled
            if told and not known and not parent:
                self.fail(f"I3 {command_id} was acknowledged and is nowhere")
            never = command_id in user.refused and command_id not in user.accepted
            if never and at_venues & set(ids):
                self.fail(f"I3 {command_id} was refused ({user.refused[command_id]}) and placed")
            if command.venue != "best" and len(at_venues & set(ids)) > 1:
                self.fail(f"I17 {command_id} has several orders: {at_venues & set(ids)}")
            total = sum(
                (o.quantity for v in self.world.venues.values() for i in ids
                 for o in v.by_client.get(i, ())), ZERO,
            )  # fmt: skip
            if total > command.quantity:
                self.fail(f"I17 {command_id} asked for {command.quantity} and placed {total}")

    # A cancel that was taken either ended its order, or was refused by the venue, and that is told.
    def _check_cancels(self, process: "Process") -> None:
        router = process.actor("order_router").state
        refused = {e.order_id for _, e in self.events if isinstance(e, OrderCancelRejected)}
        for order_id, epoch in self.world.user.canceled.items():
            order = router.order(order_id)
            if epoch != process.epoch or order is None or order.is_closed:
                continue
            if order_id not in refused:
                self.fail(f"cancel: {_our_words(order)} lives on, and nobody was told")

    def _check_views(self, process: "Process") -> None:
        risk, router = process.actor("risk_pnl").state, process.actor("order_router").state
        views = {"router": _view(router), "risk": _view(risk.orders)}
        for name in self.world.venues:
            state = process.actor(f"exchange.{name}").state
            mine = _view(state.orders)
            for held, view in views.items():
                theirs = {i: row for i, row in view.items() if i in mine}
                if theirs != mine:
                    odd = [(mine[i], theirs.get(i)) for i in mine if mine[i] != theirs.get(i)]
                    self.fail(f"views: exchange.{name} and {held} differ: {odd[:3]}")
            if sorted(state.halts) != sorted(risk.halts):
                self.fail(f"I5 halts at {name} {sorted(state.halts)}, at risk {sorted(risk.halts)}")
        if views["router"] != views["risk"]:
            odd = views["router"].items() ^ views["risk"].items()
            self.fail(f"views: router and risk differ: {sorted(odd, key=repr)[:4]}")

    # I16: what ended from UNKNOWN ended by proof, and absence was proven late enough.
    def _check_evidence(self) -> None:
        orders: dict[str, Order] = {}
        for record, event in self.events:
            if isinstance(event, MessageParked):
                self.fail(f"parked: {event}")
            if isinstance(event, BalanceDifferenceFound):
                self.fail(f"I18 a false difference: {event}")
            spec = getattr(event, "order", None)
            if isinstance(event, OrderApproved) and spec is not None:
                orders.setdefault(spec.order_id, Order(spec=spec))
            order = orders.get(getattr(event, "order_id", spec.order_id if spec else ""))
            if order is None or isinstance(event, OrderCancelTaken):
                continue
            before = order.status
            order.apply(event)
            if before == "UNKNOWN" and order.is_closed:
                self._check_end(record, event)

    def _check_end(self, record: Record, event: Event) -> None:
        proof = getattr(event, "evidence", "") or getattr(event, "trade_id", "")
        order_id = getattr(event, "order_id", "")
        if not proof:
            self.fail(f"I16 {order_id} left UNKNOWN by {type(event).__name__} without evidence")
        if isinstance(event, OrderRejected) and event.code == "not_received":
            gone_ns = max(self.writes.get(order_id, [0])) + WIRE_NS
            if record.ts_wall_ns < gone_ns:
                self.fail(f"I16 {order_id} called absent while it could still arrive")
            for venue in self.world.venues.values():
                there = [o for o in venue.by_client.get(order_id, ()) if not o.ever_hidden]
                if there:
                    self.fail(f"I16 {order_id} called absent and is there: {_words(there[0])}")

    # I36 and the order of events: what an actor holds is what the journal says, byte for byte.
    def _check_replay(self, process: "Process") -> None:
        for name, make in self.world.folds.items():
            fold = make(None)
            marks = {process.journal.head_seq: b""}
            snapshot = process.journal.load_snapshot(name)
            if snapshot is not None:
                marks[snapshot.seq] = snapshot.state
                self.world.count("snapshot_checked")
            for record, event in self.events:
                if concerns(name, record.origin, event):
                    fold.apply(event, record.seq)
                if snapshot is not None and record.seq == snapshot.seq:
                    if fold.to_bytes() != snapshot.state:
                        self.fail(f"I36 {name}: the snapshot at {record.seq} is not the replay")
                    rest = make(snapshot.state)
            replayed = fold.to_bytes()
            if snapshot is not None:
                for record, event in self.events:
                    if record.seq > snapshot.seq and concerns(name, record.origin, event):
                        rest.apply(event, record.seq)
                if rest.to_bytes() != replayed:
                    self.fail(f"I36 {name}: snapshot + rest is not replay(all)")
            live = process.actor(name).state
            exact = name == "order_router"
            if live.to_bytes() != replayed and (exact or _unordered(live) != _unordered(fold)):
                self.fail(f"replay: {name} holds another state than its journal")


# Risk and the exchange actors apply what they decide at once, and what others decided when the journal
# tells them: of two orders that arrived or ended at the same moment, their tables may list the other
# one first until the next restart. Nothing but the order of the two lists may differ.
def _unordered(state: Any) -> list[Any]:
    table = state.orders.to_state()
    rest: list[Any] = [sorted(state.halts.items(), key=repr)]
    if isinstance(state, RiskGate):
        rest = [[repr(h) for h in rest[0]], state.ledger.to_bytes(), list(state._approvals)]
    else:
        rest += [state.cursors, state.opened, state.fills_since_cursor, list(state.cancels_taken)]
    orders = sorted(encode_state(order) for order in table.orders)
    parents = sorted(encode_state(parent) for parent in table.parents)
    return [orders, parents, sorted(table.closed), *rest]


def _view(table: Any) -> dict[str, tuple[Any, ...]]:
    return {
        o.order_id: (o.order_id, o.status, o.filled_quantity, o.venue_order_id, o.missing_fills)
        for o in table.select(parents=False)
    }


def _words(order: VenueOrder) -> str:
    return (
        f"{order.client_order_id}/{order.venue_order_id} {order.status} {order.filled} of"
        f" {order.quantity}{' hidden' if order.ever_hidden else ''}"
    )


def _our_words(order: Order) -> str:
    return f"{order.order_id} {order.status} {order.reason_code} {order.reason}"
