"""OrderRouterActor: commands in, proposals out, and the one list of all orders.

A command id never makes a second order: it is looked up among the orders journaled and among the
proposals still on their way. What the router proposes becomes true only when the journal returns
it, so its durable state is a fold of committed events and nothing else.
"""

from typing import Any, ClassVar, Final

from actors.planning import Planner, RouterConfig
from engine.actor import Actor
from engine.errors import Refused
from engine.messages.base import Event, Message
from engine.messages.commands import (
    AppendRefused,
    CancelOrders,
    CancelRequest,
    DryRun,
    Introduce,
    PlaceOrder,
    Proposal,
    Query,
    QueryRequest,
    ReconcileOrders,
    Reply,
    ResolveOrder,
    ResolveRequest,
)
from engine.messages.engine_events import (
    CommandRecorded,
)
from engine.messages.events import (
    ExternalOrderSeen,
    OrderApproved,
    OrderCancelTaken,
    OrderDenied,
    OrderSpec,
    ParentAccepted,
)
from engine.messages.market import ConsolidatedBook, VenueState
from engine.messages.port import AdapterReady
from engine.trading.benchmark import cost_view
from engine.trading.order import Order
from engine.trading.orders import AnyOrder, OrderTable, to_view
from engine.wire import pack, pack_text

COMMANDS_PER_ORDER: Final = 4
BIRTHS: Final = frozenset({ParentAccepted, OrderApproved, OrderDenied, ExternalOrderSeen})


__all__ = ["OrderRouterActor", "RouterConfig"]


class OrderRouterActor(Actor):
    """See the module's docstring. Commands are idempotent by command_id."""

    road: ClassVar[tuple[str, ...]] = ("risk_pnl", "persistence")
    durable: ClassVar[bool] = True

    state: OrderTable

    def __init__(self, config: RouterConfig) -> None:
        super().__init__()
        self.config = config
        self.state = OrderTable(closed_kept_max=config.closed_kept_max)
        self.commands: dict[str, str] = {}
        self.proposed: dict[str, list[OrderSpec]] = {}
        self.planner = Planner(config)

    def restore(self, snapshot: bytes) -> None:
        """Set the state from a snapshot."""
        self.state = OrderTable.from_bytes(snapshot, closed_kept_max=self.config.closed_kept_max)
        for order in self.state.select():
            self._note_command(order.spec)

    def journal_message(self, events: list[Event]) -> Message:
        """What the router wants journaled passes risk, behind the orders it has proposed."""
        return Proposal(events, [])  # type: ignore[arg-type]

    def apply(self, event: Event) -> None:
        """Fold one committed event."""
        self.state.apply(event)
        if type(event) in BIRTHS:
            self._note_command(event.order)  # type: ignore[attr-defined]

    def _note_command(self, spec: OrderSpec) -> None:
        """Note which order a command made. The journal's unique key guards what is forgotten here."""
        if spec.command_id and spec.parent_id is None:
            self.commands[spec.command_id] = spec.order_id
        if len(self.commands) > COMMANDS_PER_ORDER * self.config.closed_kept_max:
            self.commands = {c: o for c, o in self.commands.items() if self.state.get(o)}

    def committed(self, seq: int, event: Event) -> None:
        """A proposal that came back from the journal is no longer on its way."""
        if type(event) in BIRTHS:
            self._no_longer_proposed(event.order)  # type: ignore[attr-defined]

    def on_append_refused(self, message: AppendRefused) -> None:
        """The journal did not take these orders: they never were."""
        for event in message.events:
            spec = getattr(event, "order", None)
            if isinstance(spec, OrderSpec):
                self._no_longer_proposed(spec)

    def _no_longer_proposed(self, spec: OrderSpec) -> None:
        proposed = self.proposed.pop(spec.command_id, ())
        left = [s for s in proposed if s.order_id != spec.order_id]
        if left:
            self.proposed[spec.command_id] = left

    def recovered(self) -> None:
        """Ask every venue what it is and what it trades."""
        for venue in self.config.accounts:
            self.send(f"exchange.{venue}", Introduce(self.name, True))

    # --- what the market and the venues say -------------------------------------------------------

    def on_consolidated_book(self, book: ConsolidatedBook) -> None:
        """Keep the newest consolidated book."""
        self.planner.books[book.symbol] = book

    def on_venue_state(self, message: VenueState) -> None:
        """Keep what each venue's actor says of it."""
        self.planner.venues[message.venue] = message

    def on_adapter_ready(self, message: AdapterReady) -> None:
        """Keep the trading rules of a venue."""
        self.planner.instruments[message.venue] = {i.symbol: i for i in message.instruments}

    # --- commands ---------------------------------------------------------------------------------

    def on_place_order(self, command: PlaceOrder) -> None:
        """Plan an order and propose it to risk, or refuse it with a reason."""
        if self._repeated(command):
            return
        try:
            events, orders, plan = self.planner.decide(
                command, self.clock.wall_ns(), self.clock.mono_ns()
            )
        except Refused as refusal:
            self._reply(command.reply_to, command.command_id, refusal)
            return
        if command.dry_run:
            text = plan.text() if plan is not None else "to the named venue"
            reasons = {} if plan is None else plan.reasons
            mark = None if plan is None else plan.benchmark
            self.send(
                "risk_pnl",
                DryRun(command.command_id, orders, text, command.reply_to, reasons, mark),
            )
            return
        specs: list[OrderSpec] = orders or [e.order for e in events]  # type: ignore[union-attr]
        self.proposed[command.command_id] = specs
        self.send("risk_pnl", Proposal(events, orders))
        order_id = specs[0].parent_id or specs[0].order_id
        body: dict[str, str | bool] = {"order_id": order_id, "repeated": False}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack_text(body)))

    def _repeated(self, command: PlaceOrder) -> bool:
        made = self.commands.get(command.command_id)
        if made is None and command.command_id not in self.proposed:
            return False
        known = self.state.get(made or "")
        if known is None and command.command_id not in self.proposed:
            return False
        held = known.spec if known is not None else self.proposed[command.command_id][0]
        other = held.symbol != command.symbol or held.side != command.side
        if other:
            text = f"command {command.command_id} was used for {held.side} {held.symbol}"
            refusal = Refused("COMMAND_ID_REUSED", text)
            self._reply(command.reply_to, command.command_id, refusal)
            return True
        order_id = held.parent_id or held.order_id
        body = {"order_id": order_id, "repeated": True}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))
        return True

    # --- cancels and questions to the venues ------------------------------------------------------

    def on_cancel_orders(self, command: CancelOrders) -> None:
        """Pass cancels on to the venues' actors. Reducing risk is never refused."""
        chosen, unknown, closed = self._choose(command)
        for venue, order_id in chosen:
            self.send(f"exchange.{venue}", CancelRequest(order_id, command.reason))
        arguments = " ".join(command.order_ids) or f"all venue={command.venue}"
        now_ns = self.clock.wall_ns()
        event = CommandRecorded(command.command_id, "cancel", arguments[:2000], command.who, now_ns)
        # A request overtakes an approval that is still on its road, and only memory holds it then.
        # What follows the approval on the same road cannot be lost.
        pending = {spec.order_id for spec in self._pending()}
        behind = [OrderCancelTaken(i, v, command.reason) for v, i in chosen if i in pending]
        self.send("risk_pnl", Proposal([event, *behind], []))
        body = {"order_ids": [i for _, i in chosen], "not_found": unknown, "closed": closed}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))

    def _choose(self, command: CancelOrders) -> tuple[list[tuple[str, str]], list[str], list[str]]:
        unknown: list[str] = []
        closed: list[str] = []
        chosen: dict[str, str] = {}
        if command.all:
            for order in self._open_orders():
                if _wanted(order, command):
                    chosen[order.spec.order_id] = order.spec.venue
            for spec in self._pending():
                if command.venue in (None, spec.venue) and command.symbol in (None, spec.symbol):
                    chosen[spec.order_id] = spec.venue
        for order_id in command.order_ids:
            specs = self._with_children(order_id)
            if not specs:
                unknown.append(order_id)
            for spec in specs:
                held = self.state.order(spec.order_id)
                if held is not None and held.is_closed:
                    closed.append(spec.order_id)
                else:
                    chosen[spec.order_id] = spec.venue
        return [(venue, order_id) for order_id, venue in chosen.items()], unknown, closed

    def _open_orders(self) -> list[Order]:
        found = self.state.select(open_only=True, parents=False)
        return [order for order in found if isinstance(order, Order)]

    def _pending(self) -> list[OrderSpec]:
        return [spec for specs in self.proposed.values() for spec in specs if spec.account]

    def _with_children(self, order_id: str) -> list[OrderSpec]:
        order = self.state.get(order_id)
        specs = [order.spec] if order is not None and order.spec.account else []
        specs += [child.spec for child in self.state.children(order_id)]
        specs += [s for s in self._pending() if order_id in (s.order_id, s.parent_id)]
        return list({spec.order_id: spec for spec in specs}.values())

    def on_reconcile_orders(self, command: ReconcileOrders) -> None:
        """Have the venues asked anew."""
        unknown: list[str] = []
        if not command.order_ids:
            for venue in self.config.accounts:
                self.send(f"exchange.{venue}", QueryRequest("", "asked by a person"))
        for order_id in command.order_ids:
            specs = self._with_children(order_id)
            if not specs:
                unknown.append(order_id)
            for spec in specs:
                self.send(f"exchange.{spec.venue}", QueryRequest(spec.order_id, "asked"))
        body = {"asked": [i for i in command.order_ids if i not in unknown], "not_found": unknown}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))

    def on_resolve_order(self, command: ResolveOrder) -> None:
        """Let a person settle an UNKNOWN order."""
        order = self.state.order(command.order_id)
        if order is None:
            refusal = Refused("NOT_FOUND", f"no order {command.order_id}")
            self._reply(command.reply_to, command.command_id, refusal)
            return
        if order.status != "UNKNOWN" or command.status not in ("REJECTED", "CANCELED"):
            text = f"order is {order.status}; only UNKNOWN can be resolved as REJECTED or CANCELED"
            self._reply(command.reply_to, command.command_id, Refused("BAD_REQUEST", text))
            return
        self.send(
            f"exchange.{order.spec.venue}",
            ResolveRequest(command.order_id, command.status, command.reason, command.who),
        )
        body = {"order_id": command.order_id}
        self.send(command.reply_to, Reply(command.command_id, True, "", "", pack(body)))

    # --- questions from the edges -----------------------------------------------------------------

    def on_query(self, query: Query) -> None:
        """Answer an edge: topics `orders`, `order`, `counts`, `instruments`."""
        topics = {
            "orders": self._orders_view,
            "order": self._order_view,
            "counts": self._counts_view,
            "instruments": self._instruments_view,
        }
        try:
            body = topics[query.topic](query.arguments)
        except KeyError:
            self._reply(query.reply_to, query.correlation_id, Refused("BAD_REQUEST", query.topic))
            return
        except Refused as refusal:
            self._reply(query.reply_to, query.correlation_id, refusal)
            return
        self.send(query.reply_to, Reply(query.correlation_id, True, "", "", pack(body)))

    def _orders_view(self, arguments: dict[str, str]) -> list[dict[str, Any]]:
        state = arguments.get("state") or ""
        orders: list[AnyOrder] = list(
            self.state.select(
                open_only=state == "open",
                status=state.upper() if state not in ("", "open", "closed", "all") else None,
                venue=arguments.get("venue") or None,
                symbol=arguments.get("symbol") or None,
            )
        )
        if state == "closed":
            orders = [order for order in orders if order.is_closed]
        orders.sort(key=lambda o: (o.status != "UNKNOWN", -o.spec.ts_created_ns))
        limit = int(arguments.get("limit") or 1000)
        return [to_view(order) for order in orders[:limit]]

    def _order_view(self, arguments: dict[str, str]) -> dict[str, Any]:
        wanted = arguments.get("order_id") or self.commands.get(arguments.get("command_id", ""), "")
        order = self.state.get(wanted)
        if order is None:
            named = arguments.get("order_id") or arguments.get("command_id")
            raise Refused("NOT_FOUND", f"no order {named}")
        children = [to_view(c) for c in self.state.children(order.spec.order_id)]
        cost = None if isinstance(order, Order) else cost_view(order, order.state.benchmark)
        return {**to_view(order), "children": children, "cost": cost}

    def _counts_view(self, _: dict[str, str]) -> dict[str, int]:
        leaves = self._open_orders()
        unknown = sum(1 for o in leaves if o.status == "UNKNOWN")
        return {"open": len(leaves), "unknown": unknown}

    def _instruments_view(self, _: dict[str, str]) -> list[dict[str, Any]]:
        return [
            {"venue": i.venue, "symbol": i.symbol, "tick_size": i.tick_size,
             "lot_size": i.lot_size, "quantity_min": i.quantity_min,
             "notional_min": i.notional_min, "status": i.status,
             "status_reason": i.status_reason,
             "maker_fee": i.maker_fee, "taker_fee": i.taker_fee,
             "fee_source": i.fee_source, "fee_ts_ns": i.fee_ts_ns}
            for rules in self.planner.instruments.values() for i in rules.values()
        ]  # fmt: skip

    def _reply(self, reply_to: str, correlation_id: str, refusal: Refused) -> None:
        self.send(reply_to, Reply(correlation_id, False, refusal.code, refusal.text, b""))


def _wanted(order: Order, command: CancelOrders) -> bool:
    spec = order.spec
    ours = spec.origin == "COMMAND" and spec.account is not None
    venue_fits = command.venue in (None, spec.venue)
    return ours and venue_fits and command.symbol in (None, spec.symbol)
