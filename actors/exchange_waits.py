"""Cancels that wait for the approval which they overtook. Pure, in memory only."""

from typing import Final

from engine.clock import NS_PER_S
from engine.messages.commands import CancelRequest

EARLY_CANCELS_MAX: Final = 1000
EARLY_CANCEL_NS: Final = 60 * NS_PER_S


class EarlyCancels:
    """Cancels that overtook their order's approval: with luck the order need not leave at all.

    In memory only: what must not be lost follows the approval as an OrderCancelTaken.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[str, int]] = {}

    def note(self, request: CancelRequest, now_ns: int) -> None:
        """Hold a cancel. One whose approval never comes is forgotten after a while."""
        held = self._held
        while held and (
            len(held) >= EARLY_CANCELS_MAX
            or now_ns - next(iter(held.values()))[1] > EARLY_CANCEL_NS
        ):
            del held[next(iter(held))]
        held[request.order_id] = (request.reason or "canceled", now_ns)

    def take(self, order_id: str) -> str:
        """Return why an order that has not left need not leave; empty if it shall."""
        return self._held.pop(order_id, ("", 0))[0]
