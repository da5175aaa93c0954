"""The risk operations of the control socket: halt, resume, and a difference that a person accepts."""

from typing import Any

from engine.control_args import Args, bad, check_symbol, check_venue, not_found
from engine.control_orders import EDGE, WAIT_MAX_S, WAIT_S, reply_body
from engine.control_peer import RISK, Peer, as_map, told
from engine.control_port import Facts
from engine.errors import Refused
from engine.halt_file import lift
from engine.messages.commands import AcceptDifference, Halt, Resume


def _scope(facts: Facts, scope: str) -> str:
    kind, _, name = scope.partition(":")
    if scope == "all":
        return scope
    if kind == "venue":
        check_venue(facts, name)
        return scope
    if kind == "symbol":
        check_symbol(facts, name, None)
        return scope
    raise bad(f"scope '{scope[:64]}' should be all, venue:NAME or symbol:BASE/QUOTE")


async def risk_halt(peer: Peer, args: Args) -> Any:
    """Halt a scope and return the receipt."""
    scope = _scope(peer.facts, args.optional("scope", 64) or "all")
    reason = args.text("reason")
    sweep = args.flag("cancel", default=True)
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    command_id = peer.ids.command_id()
    message = Halt(command_id, scope, reason, peer.who, sweep, EDGE)
    reply = peer.hub.core.command(RISK, message, command_id)
    try:
        receipt = await reply_body(reply, timeout_s, "the halt; it is on its way")
    finally:
        reply.cancel()
    return {"command_id": command_id, "scope": scope, "halted": True, **as_map(receipt)}


async def risk_resume(peer: Peer, args: Args) -> Any:
    """Lift a halt, and with the scope `all` the HALT file."""
    scope = _scope(peer.facts, args.optional("scope", 64) or "all")
    reason = args.text("reason")
    args.end()
    if scope == "all":
        _lift_halt_file(peer.facts)
    command_id = peer.ids.command_id()
    message = Resume(command_id, scope, reason, peer.who, EDGE)
    reply = peer.hub.core.command(RISK, message, command_id)
    try:
        receipt = await reply_body(reply, WAIT_S, "the resume; it is on its way")
    finally:
        reply.cancel()
    return {"command_id": command_id, "scope": scope, "halted": False, **as_map(receipt)}


# First the file, then the halt: whoever makes another one in between is obeyed.
def _lift_halt_file(facts: Facts) -> None:
    if facts.state_dir is None:
        return
    try:
        lift(facts.state_dir)
    except OSError as error:
        raise Refused(
            "FAILED", f"the HALT file cannot be removed, the halt stands: {error}"
        ) from None


async def difference_accept(peer: Peer, args: Args) -> Any:
    """Accept a balance difference by a person's word."""
    account = args.text("account", 64)
    asset = args.text("asset", 64)
    reason = args.text("reason")
    args.end()
    if account not in peer.facts.accounts.values():
        raise not_found("account", account, peer.facts.accounts.values())
    command_id = peer.ids.command_id()
    message = AcceptDifference(command_id, account, asset, reason, peer.who, EDGE)
    seen = peer.hub.head_seq
    kind = "BalanceDifferenceAccepted"
    receipt = await told(peer, RISK, message, command_id, kind, asset, seen)
    return {"command_id": command_id, "account": account, "asset": asset, **as_map(receipt)}
