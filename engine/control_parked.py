"""Parked messages at the control socket: listed, given back to their actor, or discarded.

What became of one is the journal's word, never a guess: who asks waits for it.
"""

from typing import Any

from engine.control_args import Args
from engine.control_hub import Hub
from engine.control_orders import WAIT_MAX_S, WAIT_S, Outcome, query, settled
from engine.errors import EXIT_FAILED, EXIT_UNKNOWN
from engine.messages.engine_events import (
    MessageParked,
    MessageSettled,
)


async def parked_list(hub: Hub, args: Args) -> Any:
    """Return what is parked, oldest first; of one actor, if it is named."""
    actor = args.optional("actor", 64)
    args.end()
    return await query(hub, "parked", {} if actor is None else {"actor": actor})


async def parked_retry(hub: Hub, args: Args, who: str) -> Any:
    """Give a message back to its actor and wait for what becomes of it; see `_end_of`."""
    message_id = args.text("message_id", 64)
    timeout_s = args.seconds("timeout_s", WAIT_MAX_S, WAIT_S)
    args.end()
    seen = hub.head_seq
    row = await settled(hub, hub.core.retry_parked(message_id, who))
    return await _end_of(hub, row, seen, timeout_s)


async def parked_discard(hub: Hub, args: Args, who: str) -> Any:
    """Forget a message, with a reason, and wait until that is journaled."""
    message_id = args.text("message_id", 64)
    reason = args.text("reason")
    args.end()
    seen = hub.head_seq
    row = await settled(hub, hub.core.discard_parked(message_id, reason, who))
    return await _end_of(hub, row, seen, WAIT_S)


async def _end_of(hub: Hub, row: dict[str, Any], seen: int, timeout_s: float) -> dict[str, Any]:
    """Return the message's row with its `outcome`, once one is journaled after `seen`.

    Raises:
        Outcome: it was parked again, or nothing is journaled of it within `timeout_s`.
    """
    end_ns = hub.clock.mono_ns() + int(timeout_s * 1e9)
    message_id = row["id"]
    while True:
        changed = hub.next_change()
        events = await hub.events_after(seen)
        for seq, event in events:
            seen = seq
            if isinstance(event, MessageSettled) and event.message_id == message_id:
                return {**row, "outcome": event.outcome, "who": event.who, "reason": event.reason}
            if isinstance(event, MessageParked) and event.message_id == message_id:
                text = f"{event.actor} failed on it again: {event.error}"
                failed = {**row, "attempts": event.attempts, "outcome": "PARKED"}
                raise Outcome("PARKED_AGAIN", text, EXIT_FAILED, failed)
        left_s = (end_ns - hub.clock.mono_ns()) / 1e9
        if left_s <= 0:
            text = f"no word of {message_id} yet; `xcore actor parked` lists it if it fails again"
            raise Outcome("NO_ANSWER", text, EXIT_UNKNOWN, {**row, "outcome": "WAITING"})
        if not events and not changed.is_set():
            await hub.changed(min(left_s, 0.25))
