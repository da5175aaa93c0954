"""The venue operations of the control socket: retire a venue by a person's word, and take that back."""

from typing import Any, Final

from engine.control_args import Args, check_venue
from engine.control_orders import EDGE, WAIT_MAX_S, WAIT_S, query, reply_body
from engine.control_peer import RISK, Peer, as_map
from engine.messages.commands import Halt, QueryRequest, Resume
from engine.trading.halts import RETIRED

LOOK_S: Final = 0.2
ASK_EVERY_NS: Final = 1_000_000_000
OPEN_SHOWN: Final = 50


async def venue_retire(peer: Peer, args: Args) -> Any:
    """Stop new orders at a venue for good, cancel what rests, and say whether zero open is proven.

    Proven: the gate is closed with nothing in flight, and a comparison with the venue's own account that
    began afterwards left no order open, ours or others'.
    """
    venue = check_venue(peer.facts, args.text("venue", 64))
    reason = args.text("reason")
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    end_ns = peer.hub.clock.mono_ns() + int(timeout_s * 1e9)
    command_id = peer.ids.command_id()
    message = Halt(command_id, f"{RETIRED}{venue}", reason, peer.who, True, EDGE)
    reply = peer.hub.core.command(RISK, message, command_id)
    try:
        receipt = as_map(await reply_body(reply, timeout_s, "the retirement; it is on its way"))
    finally:
        reply.cancel()
    left, looked = await _look(peer, venue, end_ns)
    problem = ""
    if not looked:
        problem = f"{venue} has not told what is open there; it is asked at every reconciliation"
    elif left:
        problem = f"{len(left)} orders are still open there"
    return {
        "command_id": command_id,
        "venue": venue,
        "retired": True,
        "who": peer.who,
        "reason": reason,
        "proven": not problem,
        "open_orders": left[:OPEN_SHOWN],
        "unproven": receipt.get("unproven", {}).get(venue, 0),
        "problem": problem,
    }


async def venue_unretire(peer: Peer, args: Args) -> Any:
    """Let a venue trade again that a person had retired."""
    venue = check_venue(peer.facts, args.text("venue", 64))
    reason = args.text("reason")
    args.end()
    command_id = peer.ids.command_id()
    message = Resume(command_id, f"{RETIRED}{venue}", reason, peer.who, EDGE)
    reply = peer.hub.core.command(RISK, message, command_id)
    try:
        await reply_body(reply, WAIT_S, "the end of the retirement; it is on its way")
    finally:
        reply.cancel()
    return {
        "command_id": command_id, "venue": venue, "retired": False, "who": peer.who,
        "reason": reason,
    }  # fmt: skip


# Ask the venue until an answer that began now shows nothing open, or the time is up.
async def _look(peer: Peer, venue: str, end_ns: int) -> tuple[list[str], bool]:
    hub = peer.hub
    began_ns = asked_ns = 0
    while True:
        now_ns = hub.clock.mono_ns()
        began_ns = began_ns or now_ns
        if now_ns - asked_ns >= ASK_EVERY_NS:
            asked_ns = now_ns
            hub.core.tell(f"exchange.{venue}", QueryRequest("", "a retirement is proven"))
        rows: Any = await query(hub, "venues", {})
        looked = any(row["name"] == venue and row["reconciled_mono_ns"] >= began_ns for row in rows)
        arguments = {"state": "open", "venue": venue, "limit": "10000"}
        held: Any = await query(hub, "orders", arguments)
        left = [order["order_id"] for order in held]
        if (looked and not left) or now_ns >= end_ns:
            return left, looked
        await hub.changed(LOOK_S)
