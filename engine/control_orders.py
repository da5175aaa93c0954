"""Places and cancels orders for a connection, and waits until the outcome is known.

A command is told to the router once; its further life is read from committed events and the order's
view. Repeating a command id is safe: the router makes no second order, and the answer is the view of
the first. A deadline that passes answers exit 5: query, never resend.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgpack

from engine.control_args import Args, bad, check_symbol, check_venue
from engine.control_hub import Hub
from engine.control_port import Facts
from engine.errors import (
    EXIT_DENIED,
    EXIT_FAILED,
    EXIT_REJECTED,
    EXIT_UNKNOWN,
    Refused,
    Unreachable,
)
from engine.messages.base import Event
from engine.messages.commands import CancelOrders, PlaceOrder, Reply
from engine.messages.events import OrderSpec
from engine.trading.money import plain
from engine.trading.routing import quantise_price, round_down

ROUTER: Final = "order_router"
EDGE: Final = "edge"
POLL_FIRST_S: Final = 0.005
POLL_S: Final = 0.25  # between looks at an order of which no event speaks
WAIT_S: Final = 10.0
WAIT_MAX_S: Final = 3_600.0
FATE_S: Final = 0.5  # behind the acknowledgement, for the end of an order that may not rest
ENDED: Final = ("FILLED", "CANCELED", "EXPIRED", "DENIED", "REJECTED")
ACKNOWLEDGED: Final = ("NEW", "PARTIALLY_FILLED", "PENDING_CANCEL", "PENDING_REPLACE")


class Outcome(Exception):
    """An answer that is known but not what was wanted: a code, a sentence and an exit code."""

    def __init__(self, code: str, text: str, exit_code: int, result: object) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.exit_code = exit_code
        self.result = result


@dataclass(frozen=True)
class Placing:
    """One checked request to place an order."""

    message: PlaceOrder
    wait: str
    timeout_s: float


def read_placing(args: Args, facts: Facts, who: str, fresh_id: str) -> Placing:
    """Return the checked request. Raises Refused with a sentence for the user."""
    venue = args.text("venue", 64)
    if venue != "best":
        check_venue(facts, venue)
    symbol = check_symbol(facts, args.text("symbol", 64), None if venue == "best" else venue)
    side = args.choice("side", ("buy", "sell", "BUY", "SELL"), "").upper()
    quantity = args.amount("quantity")
    if quantity is None:
        raise bad("order.place needs quantity")
    price = args.amount("price")
    market = args.flag("market")
    if market and price is not None:
        raise bad("a market order has no price; leave one of the two out")
    if not market and price is None:
        raise bad("say @PRICE for a limit order, or --market")
    default_tif = "IOC" if market else facts.time_in_force
    post_only = args.flag("post_only")
    if post_only and default_tif != "GTC" and not market:
        default_tif = "GTC"
    tif = args.choice("time_in_force", ("GTC", "IOC", "FOK"), default_tif)
    if post_only and (market or tif != "GTC"):
        raise bad("post-only needs a limit order that may rest: time in force GTC")
    if market and tif == "GTC":
        raise bad("a market order cannot rest: time in force IOC or FOK")
    message = PlaceOrder(
        command_id=args.identifier("command_id") or fresh_id,
        venue=venue,
        account=args.optional("account", 64),
        symbol=symbol,
        side="BUY" if side == "BUY" else "SELL",
        order_type="MARKET" if market else "LIMIT",
        time_in_force=tif,  # type: ignore[arg-type]
        post_only=post_only,
        quantity=quantity,
        price=price,
        dry_run=args.flag("dry_run"),
        who=who,
        reply_to=EDGE,
    )
    wait = args.choice("wait", ("accepted", "filled", "none"), "accepted")
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    return Placing(message, wait, timeout_s)


async def place(hub: Hub, placing: Placing) -> dict[str, Any]:
    """Tell the router, wait for the wanted point, return the order's view (or a dry run's plan)."""
    message = placing.message
    command_id = message.command_id
    deadline = _now(hub) + max(placing.timeout_s, 0.05)
    seen = hub.head_seq
    hub.refused(command_id)  # of an earlier try
    reply = hub.core.command(ROUTER, message, command_id)
    try:
        if message.dry_run:
            return _plan(dict(await reply_body(reply, placing.timeout_s, "the plan")))
        view: dict[str, Any] | None = None
        ids, pause_s = {command_id}, POLL_FIRST_S
        fate_at: float | None = None
        while True:
            view = await look(hub, {"command_id": command_id}) or view
            _check_reply(reply, view)
            refused = hub.refused(command_id) if view is None else None
            if refused is not None:
                raise refused
            now = _now(hub)
            left_s = deadline - now
            if view is not None and _reached(view, placing.wait):
                fate_at = fate_at or min(now + FATE_S, deadline)
                if now >= fate_at or not _ends_soon(view, placing):
                    await _check_same(hub, view, message, reply)
                    return _judged(view, placing.wait)
                left_s = fate_at - now
            if left_s <= 0:
                break
            ids.update([str(view["order_id"])] if view else [])
            seen, pause_s = await _next_event(hub, seen, ids, min(left_s, pause_s), reply)
    finally:
        reply.cancel()
    raise _overdue(view, placing)


async def cancel(hub: Hub, message: CancelOrders, timeout_s: float) -> list[dict[str, Any]]:
    """Cancel orders and wait until the venue confirmed each; return their views."""
    deadline = _now(hub) + max(timeout_s, 0.05)
    waiting = list(message.order_ids) or await _open_orders(hub, message)
    for order_id in message.order_ids:
        await must_look(hub, order_id)
    seen = hub.head_seq
    reply = hub.core.command(ROUTER, message, message.command_id)
    views: dict[str, dict[str, Any]] = {}
    pause_s = POLL_FIRST_S
    try:
        while True:
            if reply.done() and not reply.result().ok:
                raise refusal(reply.result())
            for order_id in waiting:
                if views.get(order_id, {}).get("status") not in ENDED:
                    views[order_id] = await must_look(hub, order_id)
            still = [i for i in waiting if views[i]["status"] not in ENDED]
            left_s = deadline - _now(hub)
            if not still or left_s <= 0:
                break
            ids = set(still)
            seen, pause_s = await _next_event(hub, seen, ids, min(left_s, pause_s), reply)
    finally:
        reply.cancel()
    answer = [views[i] for i in waiting]
    if still:
        text = f"{len(still)} of {len(waiting)} not confirmed by the venue yet; look again, they stay open"
        raise Outcome("UNCONFIRMED", text, EXIT_UNKNOWN, answer)
    return answer


async def look(hub: Hub, arguments: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the view of one order, None if the core has none by that id."""
    try:
        view = await query(hub, "order", arguments)
    except Refused as error:
        if error.code == "NOT_FOUND":
            return None
        raise
    return dict(view)


async def must_look(hub: Hub, order_id: str) -> dict[str, Any]:
    """Return the view of one order. Raises Refused NOT_FOUND."""
    view = await look(hub, {"order_id": order_id})
    if view is None:
        raise Refused("NOT_FOUND", f"no order '{order_id}'; `xcore order list` shows them")
    return view


async def query(hub: Hub, topic: str, arguments: Mapping[str, str]) -> Any:
    """Ask the core, with a deadline. Raises Unreachable when it does not answer in time."""
    return await settled(hub, hub.core.query(topic, arguments), topic)


async def settled(hub: Hub, future: Future[Any], what: str = "the request") -> Any:
    """Wait for the core, with a deadline. Raises Unreachable when it does not answer in time."""
    try:
        async with asyncio.timeout(hub.limits.query_timeout_s):
            return await asyncio.wrap_future(future)
    except TimeoutError:
        future.cancel()
        raise Unreachable(f"the core did not answer {what} in time; it may be overloaded") from None


async def reply_body(reply: Future[Reply], timeout_s: float, what: str) -> Any:
    """Return the plain data of a command's Reply. Raises Refused, or Outcome at the deadline."""
    try:
        async with asyncio.timeout(timeout_s):
            answer = await asyncio.wrap_future(reply)
    except TimeoutError:
        raise Outcome(
            "TIMEOUT", f"no word of {what} in {timeout_s:g} s", EXIT_UNKNOWN, None
        ) from None
    if not answer.ok:
        raise refusal(answer)
    return plain_body(answer)


def plain_body(reply: Reply) -> Any:
    """Return what a Reply carries; a map with its text when it carries nothing."""
    if not reply.body:
        return {"code": reply.code, "text": reply.text}
    return msgpack.unpackb(reply.body, raw=False)


def refusal(reply: Reply) -> Refused:
    """Return a negative Reply as the error it stands for."""
    return Refused(reply.code or "REFUSED", reply.text or "refused without a reason")


def concerns(event: Event, ids: set[str]) -> bool:
    """Tell whether an event speaks of an order or command in `ids`, which learns its children."""
    spec = getattr(event, "order", None)
    if isinstance(spec, OrderSpec):
        found = not ids.isdisjoint((spec.order_id, spec.command_id, spec.parent_id or ""))
        ids.update([spec.order_id] if found else [])  # a child's events bear on its parent
        return found
    return getattr(event, "order_id", None) in ids or getattr(event, "request_id", None) in ids


# Returns at the first event after `seen` that concerns `ids`, at the reply, or after `pause_s`; and how
# long to pause next. The event may be here before the actor that answers has folded it: so the first
# pauses after one are short, and double.
async def _next_event(
    hub: Hub, seen: int, ids: set[str], pause_s: float, reply: Future[Reply]
) -> tuple[int, float]:
    end = _now(hub) + pause_s
    answered = reply.done()
    while answered or not reply.done():
        events = await hub.events_after(seen)
        for seq, event in events:
            seen = seq
            if concerns(event, ids):
                return seen, POLL_FIRST_S
        left_s = end - _now(hub)
        if left_s <= 0:
            break
        if not events:
            await hub.changed(min(left_s, 0.05))
    return seen, min(2 * pause_s, POLL_S)


async def _open_orders(hub: Hub, message: CancelOrders) -> list[str]:
    arguments = {"state": "open", "limit": "10000"}
    arguments |= {k: v for k, v in (("venue", message.venue), ("symbol", message.symbol)) if v}
    orders = await query(hub, "orders", arguments)
    return [str(order["order_id"]) for order in orders]


def _reached(view: Mapping[str, Any], wait: str) -> bool:
    if wait == "none" or view["status"] in ENDED:
        return True
    return wait == "accepted" and view["status"] in ACKNOWLEDGED


# Whether the venue is about to say how an acknowledged order ended: it may not rest, or not take.
def _ends_soon(view: Mapping[str, Any], placing: Placing) -> bool:
    message = placing.message
    may_not_rest = message.order_type == "MARKET" or message.time_in_force != "GTC"
    waits = placing.wait == "accepted" and view["status"] not in ENDED
    return waits and (may_not_rest or message.post_only)


# A command id that the router knew already stands for that order: the request must be the same.
async def _check_same(
    hub: Hub, view: Mapping[str, Any], message: PlaceOrder, reply: Future[Reply]
) -> None:
    wanted: dict[str, Any] = {
        "symbol": message.symbol,
        "side": message.side,
        "venue": message.venue,
    }
    if await _is_repeated(reply):
        wanted |= {"order_type": message.order_type, "post_only": message.post_only}
        if message.order_type == "LIMIT":
            wanted["time_in_force"] = message.time_in_force
        wanted |= await _amounts_unless_same(hub, view, message)
    for name, value in wanted.items():
        if view.get(name, value) != value:
            raise Refused(
                "COMMAND_ID_REUSED",
                f"command id {message.command_id} belongs to order {view['order_id']} with "
                f"{name} {view[name]}, not {value}; nothing was sent",
            )


async def _is_repeated(reply: Future[Reply]) -> bool:
    try:
        async with asyncio.timeout(FATE_S):
            answer = await asyncio.wrap_future(reply)
    except TimeoutError:
        return False
    return answer.ok and bool(plain_body(answer).get("repeated"))


# The order's amounts were put on the venue's grid: they are the same if these are, there.
async def _amounts_unless_same(
    hub: Hub, view: Mapping[str, Any], message: PlaceOrder
) -> dict[str, str]:
    asked = {"quantity": message.quantity}
    if message.order_type == "LIMIT" and message.price is not None:
        asked["price"] = message.price
    different = {k: v for k, v in asked.items() if Decimal(view.get(k) or 0) != v}
    if different and message.venue != "best":
        for rule in await query(hub, "instruments", {}):
            if (rule["venue"], rule["symbol"]) == (message.venue, message.symbol):
                different = _off_grid(different, view, message.side, rule)
    return {k: plain(v) for k, v in different.items()}


def _off_grid(
    different: Mapping[str, Decimal], view: Mapping[str, Any], side: Any, rule: Mapping[str, Any]
) -> dict[str, Decimal]:
    tick, lot = Decimal(rule["tick_size"]), Decimal(rule["lot_size"])
    return {
        name: value
        for name, value in different.items()
        if Decimal(view.get(name) or 0)
        != (round_down(value, lot) if name == "quantity" else quantise_price(value, side, tick))
    }


# A refusal ends the waiting, unless it only says that the order exists already.
def _check_reply(reply: Future[Reply], view: Mapping[str, Any] | None) -> None:
    if reply.done() and not reply.result().ok:
        answer = refusal(reply.result())
        if answer.code == "NOT_FOUND":  # the venue was found at the door: it lists no such symbol
            raise bad(answer.text)
        if view is None or answer.code.startswith("COMMAND_ID"):
            raise answer


def _judged(view: dict[str, Any], wait: str) -> dict[str, Any]:
    status = view["status"]
    reason = str(view.get("reason") or view.get("reason_code") or "no reason given")
    if status == "DENIED":
        code = str(view.get("reason_code") or "DENIED")
        raise Outcome(code, f"denied: {reason}", EXIT_DENIED, view)
    if status == "REJECTED":
        raise Outcome("REJECTED", f"rejected by {view['venue']}: {reason}", EXIT_REJECTED, view)
    if wait == "filled" and status != "FILLED":
        raise Outcome(status, f"ended {status} before it was filled", EXIT_FAILED, view)
    return view


def _plan(body: dict[str, Any]) -> dict[str, Any]:
    if body.get("approved", True) and body.get("orders", True):
        return body
    denied = [leg for leg in body.get("orders", ()) if not leg.get("approved", True)]
    verdicts = "; ".join(f"{leg['venue']}: {leg['verdict']}" for leg in denied)
    text = f"would be denied: {verdicts or 'no order comes of it'}; nothing was sent"
    raise Outcome("DENIED", text, EXIT_DENIED, body)


def _overdue(view: dict[str, Any] | None, placing: Placing) -> Outcome:
    command_id = placing.message.command_id
    if view is None:
        text = f"no word of command {command_id} in {placing.timeout_s:g} s; repeat with this command id"
        return Outcome("TIMEOUT", text, EXIT_UNKNOWN, None)
    text = (
        f"order {view['order_id']} is {view['status']} after {placing.timeout_s:g} s; "
        f"look with `xcore order show {view['order_id']}`, do not send it again"
    )
    code = "UNKNOWN" if view["status"] == "UNKNOWN" else "TIMEOUT"
    return Outcome(code, text, EXIT_UNKNOWN, view)


def _now(hub: Hub) -> float:
    return hub.clock.mono_ns() / 1e9
