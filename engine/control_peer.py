"""One connection as the operations see it, and how a command is waited for."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from engine.control_args import Args
from engine.control_hub import Hub
from engine.control_orders import WAIT_S, reply_body
from engine.control_port import Facts
from engine.ids import Ids

RISK: Final = "risk_pnl"


@dataclass
class Peer:
    """One connection, as the operations see it."""

    hub: Hub
    facts: Facts
    ids: Ids
    who: str
    cancel_on_disconnect: bool = False
    placed: dict[str, str] = field(default_factory=dict)  # order id by command id


Operation = Callable[[Peer, Args], Awaitable[Any]]


def as_map(receipt: object) -> dict[str, Any]:
    """Return a receipt as a map."""
    return receipt if isinstance(receipt, dict) else {"receipt": receipt}


# A command is done when its Reply comes, or when the event that it causes is journaled.
async def told(
    peer: Peer, address: str, message: Any, command_id: str, kind: str, about: str, seen: int
) -> Any:
    """Tell a command and return its Reply's body, or the seq of the event `kind` that it causes."""
    hub = peer.hub
    reply = hub.core.command(address, message, command_id)
    end_ns = hub.clock.mono_ns() + int(WAIT_S * 1e9)
    try:
        while not reply.done():
            events = await hub.events_after(seen)
            for seq, event in events:
                seen = seq
                if type(event).__name__ == kind and about in (
                    getattr(event, name, None) for name in ("order_id", "request_id", "asset")
                ):
                    return {"seq": seq}
            if hub.clock.mono_ns() >= end_ns:
                break
            if not events:
                await hub.changed(0.05)
        return await reply_body(reply, 0.05, f"{type(message).__name__}; look again")
    finally:
        reply.cancel()
