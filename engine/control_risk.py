"""The risk operations of the control socket: halt, resume, and a difference that a person accepts."""

from typing import Any, Final

from engine.control_args import Args, bad, check_symbol, check_venue, not_found
from engine.control_orders import EDGE, WAIT_MAX_S, WAIT_S, Outcome, reply_body
from engine.control_peer import RISK, Peer, as_map
from engine.control_peer import told as done
from engine.control_port import Facts
from engine.control_sweep import Sweep, flatten
from engine.errors import EXIT_UNKNOWN, Refused
from engine.halt_file import lift
from engine.messages.base import HaltLevel
from engine.messages.commands import AcceptDifference, Halt, Resume

LEVELS: Final[dict[str, HaltLevel]] = {
    "no-new": "no_new",
    "reduce-only": "reduce_only",
    "flat": "flat",
}


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
    """Halt a scope; answered when every gate is closed. `risk.receipt` tells what the sweep did."""
    scope = _scope(peer.facts, args.optional("scope", 64) or "all")
    reason = args.text("reason")
    sweep = args.flag("cancel", default=True)
    level = LEVELS[args.choice("level", (*LEVELS,), "no-new")]
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    command_id = peer.ids.command_id()
    seen = peer.hub.head_seq
    message = Halt(command_id, scope, reason, peer.who, sweep, EDGE, level)
    reply = peer.hub.core.command(RISK, message, command_id)
    try:
        receipt = await reply_body(reply, timeout_s, "the halt; it is on its way")
    finally:
        reply.cancel()
    told: dict[str, Any] = {"command_id": command_id, "scope": scope, "halted": True}
    return told | {"level": level, "since_seq": seen, **as_map(receipt)}


async def risk_receipt(peer: Peer, args: Args) -> Any:
    """Wait for a halt's sweep and return what each venue proves; at the level flat, flatten then."""
    command_id = args.identifier("command_id")
    scope = _scope(peer.facts, args.optional("scope", 64) or "all")
    level = args.choice("level", (*LEVELS, *LEVELS.values()), "no-new")
    since_seq = args.whole("since_seq", 0, 2**62, peer.hub.head_seq)
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    if command_id is None:
        raise bad("risk.receipt needs the command_id of the halt")
    told: dict[str, Any] = {"command_id": command_id, "scope": scope}
    told["venues"] = await Sweep(peer, scope, command_id, since_seq, timeout_s).rows()
    if level == "flat":
        told["flattened"] = await flatten(peer, scope, command_id, timeout_s)
    open_at = [row["venue"] for row in told["venues"] if not row["proven"] or row["unknown"]]
    if open_at:
        text = f"halted, but what is open is not proven at {', '.join(open_at)}; see `venues`"
        raise Outcome("NOT_PROVEN", text, EXIT_UNKNOWN, told)
    return told


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
    receipt = await done(peer, RISK, message, command_id, kind, asset, seen)
    return {"command_id": command_id, "account": account, "asset": asset, **as_map(receipt)}
