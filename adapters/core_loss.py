"""What a venue's process does when it has lost its core: cancel what rests, prove it, say so, and end.

The gate is shut before this begins, so nothing new leaves. Only orders that this instance minted are touched.
Zero open is proven by two looks at the venue in a row, a while apart, both after every submit that was on
its way has been answered. Another core on the same state folder, or the old one speaking again, ends
this at once: the orders are its business then.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from loguru import logger

from adapters.ccxt_rest import CcxtRest
from adapters.configuration import Configuration, write_loss
from adapters.runners import Runner
from adapters.session import Session
from engine.clock import NS_PER_S, Clock
from engine.errors import EXIT_FAILED, EXIT_OK
from engine.ids import is_ours
from engine.messages.port import CancelOrder, OrderReport, Reconcile

LOOK_APART_S: Final = 1.0
AGAIN_S: Final = 0.5
GIVE_UP_S: Final = 120.0
WAIT_STEP_S: Final = 0.1


def sweep(
    adapter: Runner,
    given: Configuration,
    why: str,
    clock: Clock,
    hears_core: Callable[[], bool],
    pause: Callable[[float], object],
) -> int:
    """Wait for a core to come back, cancel otherwise; return the exit code. Blocks for all of it.

    Args:
        adapter: its gate is shut already.
        given: the configuration of this process.
        why: how the core was lost.
        clock: the clock.
        hears_core: tells whether the old core has spoken again.
        pause: waits so many seconds.
    """
    assert given.cancel_after_s is not None, "asked to cancel"
    lost_ns = clock.mono_ns()
    told: dict[str, Any] = {
        "venue": given.venue.name, "account": given.venue.account, "pid": os.getpid(),
        "core_pid": given.core_pid, "why": why, "lost_wall_ns": clock.wall_ns(),
        "canceled": [], "left": [], "is_proven": False,
    }  # fmt: skip
    due_ns = lost_ns + int(given.cancel_after_s * NS_PER_S)
    while clock.mono_ns() < due_ns:
        if hears_core() or is_replaced(given):
            return EXIT_OK
        pause(WAIT_STEP_S)
    session = adapter.session
    if session is None or is_replaced(given):
        return EXIT_OK
    give_up_ns = clock.mono_ns() + int(GIVE_UP_S * NS_PER_S)
    rest = session.client()
    told["is_proven"] = _cancel_all(
        adapter, session, rest, given, told, lambda: clock.mono_ns() < give_up_ns, pause
    )
    told["ended_wall_ns"] = clock.wall_ns()
    write_loss(Path(given.state_dir), given.venue.name, told)
    return EXIT_OK if told["is_proven"] else EXIT_FAILED


def is_replaced(given: Configuration) -> bool:
    """Tell whether another core than ours runs on the state folder."""
    try:
        holder = int(Path(given.core_lock).read_text())
        os.kill(holder, 0)
    except (OSError, ValueError):
        return False
    return holder != given.core_pid


# True once two looks in a row found nothing of ours open.
def _cancel_all(
    adapter: Runner,
    session: Session,
    rest: CcxtRest,
    given: Configuration,
    told: dict[str, Any],
    may_go_on: Callable[[], bool],
    pause: Callable[[float], object],
) -> bool:
    clean_looks = number = 0
    while may_go_on() and not is_replaced(given):
        number += 1
        is_settled = not adapter.unanswered()
        ask = Reconcile(f"core-loss:{number}", given.venue.account, session.clock.wall_ns())
        result = session.inquiry.reconcile(rest, ask)
        if not result.ok:
            logger.warning("the venue does not answer after the loss of the core: {}", result.text)
            clean_looks = 0
            pause(AGAIN_S)
            continue
        ours = [o for o in result.open_orders if is_ours(o.client_order_id, given.instance)]
        told["left"] = [order.client_order_id for order in ours]
        clean_looks = clean_looks + 1 if is_settled and not ours else 0
        if clean_looks == 2:
            return True
        _cancel(session, rest, ours, told["canceled"])
        pause(LOOK_APART_S if not ours else AGAIN_S)
    return False


def _cancel(
    session: Session, rest: CcxtRest, orders: list[OrderReport], canceled: list[str]
) -> None:
    for order in orders:
        cancel = CancelOrder(
            order.account, order.client_order_id, order.venue_order_id, order.symbol
        )
        result, _ = session.desk.cancel(rest, cancel)
        if result.outcome == "ACCEPTED" and order.client_order_id not in canceled:
            canceled.append(order.client_order_id)
