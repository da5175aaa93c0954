"""The operations of the control socket: one function each, found by name in one table.

Each checks its arguments, tells or asks the core, and returns plain data. Who asks is the peer's uid
and goes into every command. Nothing here touches a socket.
"""

import json
from typing import Any, Final

from engine.control_args import Args, bad, check_symbol, check_venue
from engine.control_market import arb, depth, fees, impact, route
from engine.control_orders import (
    EDGE,
    ROUTER,
    WAIT_MAX_S,
    WAIT_S,
    Outcome,
    cancel,
    must_look,
    place,
    query,
    read_placing,
    settled,
)
from engine.control_parked import parked_discard, parked_list, parked_retry
from engine.control_peer import Operation, Peer, told
from engine.control_records import venue_records
from engine.control_risk import difference_accept, risk_halt, risk_receipt, risk_resume
from engine.control_venue import venue_retire, venue_unretire
from engine.envelope import to_plain
from engine.errors import Refused
from engine.messages.commands import (
    CancelOrders,
    ReconcileOrders,
    ResolveOrder,
)

TAIL_MAX: Final = 1_000
PLACED_MAX: Final = 10_000
ORDER_STATES: Final = (
    *("open", "closed", "unknown", "all"),
    *("CREATED", "DENIED", "PENDING_NEW", "UNKNOWN", "NEW", "PARTIALLY_FILLED", "FILLED"),
    *("PENDING_CANCEL", "CANCELED", "PENDING_REPLACE", "REJECTED", "EXPIRED"),
)


def schema_in_each(result: object) -> object:
    """Return the answer with `schema` in each of its objects that stand alone."""
    if isinstance(result, dict):
        return {"schema": 1, **result}
    if isinstance(result, list):
        return [schema_in_each(item) for item in result]
    return result


# --- questions ------------------------------------------------------------------------------------


def _plain_question(topic: str) -> Operation:
    async def ask(peer: Peer, args: Args) -> Any:
        args.end()
        return await query(peer.hub, topic, {})

    return ask


async def _bbo(peer: Peer, args: Args) -> Any:
    symbol = args.optional("symbol", 64)
    args.end()
    if symbol is None:
        return await query(peer.hub, "bbo", {})
    return await query(peer.hub, "bbo", {"symbol": check_symbol(peer.facts, symbol, None)})


async def _book(peer: Peer, args: Args) -> Any:
    symbol = args.text("symbol", 64)
    venue = args.optional("venue", 64)
    depth = args.whole("depth", 1, 1_000, 10)
    args.end()
    if venue is not None:
        check_venue(peer.facts, venue)
    arguments = {"symbol": check_symbol(peer.facts, symbol, venue), "depth": str(depth)}
    return await query(peer.hub, "book", arguments | ({} if venue is None else {"venue": venue}))


async def _order_list(peer: Peer, args: Args) -> Any:
    state = args.choice("state", ORDER_STATES, "all")
    venue = args.optional("venue", 64)
    symbol = args.optional("symbol", 64)
    limit = args.whole("limit", 1, 10_000, 500)
    args.end()
    arguments = {"state": state, "limit": str(limit)}
    if venue is not None:
        arguments["venue"] = venue if venue == "best" else check_venue(peer.facts, venue)
    if symbol is not None:
        arguments["symbol"] = check_symbol(peer.facts, symbol, None)
    return await query(peer.hub, "orders", arguments)


async def _order_show(peer: Peer, args: Args) -> Any:
    order_id = args.identifier("order_id")
    args.end()
    if order_id is None:
        raise bad("order.show needs order_id")
    return await must_look(peer.hub, order_id)


# --- orders ---------------------------------------------------------------------------------------


async def _order_place(peer: Peer, args: Args) -> Any:
    placing = read_placing(args, peer.facts, peer.who, peer.ids.command_id())
    command_id = placing.message.command_id
    if placing.message.dry_run:
        return await place(peer.hub, placing)
    if len(peer.placed) < PLACED_MAX:
        peer.placed.setdefault(command_id, "")
    elif peer.cancel_on_disconnect:
        raise bad(f"a connection with cancel-on-disconnect places at most {PLACED_MAX} orders")
    try:
        view = await place(peer.hub, placing)
    except Refused:
        if not peer.placed.get(command_id):  # else it is the id of an order placed before
            peer.placed.pop(command_id, None)
        raise
    except Outcome as outcome:
        if isinstance(outcome.result, dict):
            peer.placed[command_id] = str(outcome.result["order_id"])
        raise
    if command_id in peer.placed:
        peer.placed[command_id] = str(view["order_id"])
    return view


async def _order_cancel(peer: Peer, args: Args) -> Any:
    order_ids = args.identifiers("order_ids")
    every = args.flag("all")
    venue = args.optional("venue", 64)
    symbol = args.optional("symbol", 64)
    reason = args.optional("reason") or "canceled by hand"
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    command_id = args.identifier("command_id") or peer.ids.command_id()
    args.end()
    if every == bool(order_ids):
        raise bad("say which orders to cancel: their ids, or all")
    if not every and (venue or symbol):
        raise bad("venue and symbol narrow all; an id needs neither")
    if venue is not None:
        check_venue(peer.facts, venue)
    if symbol is not None:
        check_symbol(peer.facts, symbol, venue)
    message = CancelOrders(command_id, order_ids, every, venue, symbol, reason, peer.who, EDGE)
    return await cancel(peer.hub, message, timeout_s)


async def _order_reconcile(peer: Peer, args: Args) -> Any:
    order_ids = args.identifiers("order_ids")
    args.end()
    for order_id in order_ids:
        await must_look(peer.hub, order_id)
    command_id = peer.ids.command_id()
    peer.hub.core.tell(ROUTER, ReconcileOrders(command_id, order_ids, peer.who, EDGE))
    return {
        "command_id": command_id,
        "asked": order_ids or "all",
        "text": "the venues are asked anew",
    }


async def _order_resolve(peer: Peer, args: Args) -> Any:
    order_id = args.text("order_id", 64)
    status = args.choice("status", ("REJECTED", "CANCELED"), "")
    reason = args.text("reason")
    args.end()
    view = await must_look(peer.hub, order_id)
    if view["status"] != "UNKNOWN":
        raise bad(
            f"order {order_id} is {view['status']}; only an UNKNOWN order is settled by a person"
        )
    command_id = peer.ids.command_id()
    message = ResolveOrder(command_id, order_id, status, reason, peer.who, EDGE)
    seen = peer.hub.head_seq
    await told(peer, ROUTER, message, command_id, "OrderResolved", order_id, seen)
    return await must_look(peer.hub, order_id)


# --- actors, journal, faults ----------------------------------------------------------------------


async def _actor_kill(peer: Peer, args: Args) -> Any:
    name = args.text("name", 64)
    args.end()
    return await settled(peer.hub, peer.hub.core.kill_actor(name, peer.who))


async def _actor_restart(peer: Peer, args: Args) -> Any:
    name = args.text("name", 64)
    args.end()
    return await settled(peer.hub, peer.hub.core.restart_actor(name, peer.who))


async def _journal_tail(peer: Peer, args: Args) -> Any:
    count = args.whole("count", 1, TAIL_MAX, 20)
    after_seq = args.whole("after_seq", -1, 2**62, -1)
    args.end()
    start = after_seq if after_seq >= 0 else max(0, peer.hub.core.head_seq() - count)
    events = await peer.hub.read_journal(start, count)
    return [{"seq": seq, **to_plain(event)} for seq, event in events]


async def _journal_verify(peer: Peer, args: Args) -> Any:
    args.end()
    return dict(await peer.hub.off_loop(peer.hub.core.verify_journal))


def _faults(action: str) -> Operation:
    async def run(peer: Peer, args: Args) -> Any:
        arguments: dict[str, str] = {}
        if action == "inject":
            arguments["kind"] = args.text("kind", 64)
            arguments["venue"] = check_venue(peer.facts, args.text("venue", 64))
            arguments |= _where_and_how_often(args)
        args.end()
        if peer.facts.mode != "demo":
            raise Refused("NOT_ALLOWED", f"faults are for demo mode, this is {peer.facts.mode}")
        try:
            return await settled(peer.hub, peer.hub.core.faults(action, arguments, peer.who))
        except Refused as error:
            raise Refused(error.code, _sentence(error.text)) from None

    return run


# What is not said the simulator decides: each kind has a first target and lasts its own time.
def _where_and_how_often(args: Args) -> dict[str, str]:
    on, count = args.optional("on", 64), args.whole("count", 1, 1_000_000, 0)
    return ({} if on is None else {"on": on}) | ({"count": str(count)} if count else {})


# The simulator says what is wrong as {"error": "..."}.
def _sentence(text: str) -> str:
    try:
        body = json.loads(text)
    except ValueError:
        return text
    return str(body["error"]) if isinstance(body, dict) and "error" in body else text


OPERATIONS: Final[dict[str, Operation]] = {
    "status": _plain_question("status"),
    "venues": _plain_question("venues"),
    "venue.records": lambda peer, args: venue_records(peer.hub, peer.facts, args),
    "metrics": _plain_question("metrics"),
    "bbo": _bbo,
    "book": _book,
    "depth": depth,
    "impact": impact,
    "arb": arb,
    "route": route,
    "fees": fees,
    "order.place": _order_place,
    "order.list": _order_list,
    "order.show": _order_show,
    "order.cancel": _order_cancel,
    "order.reconcile": _order_reconcile,
    "order.resolve": _order_resolve,
    "position.list": _plain_question("positions"),
    "pnl": _plain_question("pnl"),
    "balance": _plain_question("balances"),
    "risk.show": _plain_question("risk"),
    "risk.halt": risk_halt,
    "risk.receipt": risk_receipt,
    "risk.resume": risk_resume,
    "difference.accept": difference_accept,
    "venue.retire": venue_retire,
    "venue.unretire": venue_unretire,
    "actor.tree": _plain_question("actors"),
    "actor.kill": _actor_kill,
    "actor.restart": _actor_restart,
    "actor.parked": lambda peer, args: parked_list(peer.hub, args),
    "actor.retry": lambda peer, args: parked_retry(peer.hub, args, peer.who),
    "actor.discard": lambda peer, args: parked_discard(peer.hub, args, peer.who),
    "journal.tail": _journal_tail,
    "journal.verify": _journal_verify,
    "fault.list": _faults("list"),
    "fault.inject": _faults("inject"),
    "fault.clear": _faults("clear"),
}

# These go through when a connection has too many requests in flight: they reduce risk.
URGENT: Final = ("risk.halt", "order.cancel", "venue.retire")
