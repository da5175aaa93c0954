"""One round of killing the core with kill -9, and the judgement after many of them.

The tests in test_fault_kill_points.py die at labelled points, those in test_fault_kill_core.py at random
moments; they are two files so that two workers share them.
"""

import contextlib

from checker import problems
from core_process import Burst
from waiting import wait_for

from engine.errors import CoreError

RANDOM_ROUNDS = 15
SEEDS = 4
BOOT_LINES = 28  # about as many are logged until it is ready
BURST_RECORDS = 32  # about as many are journaled of a burst
PARTS_MAX = 8  # bursts in one round, until its point is met
DIES_WITHIN_S = 10  # of a snapshot's idle moment, the fortieth book: what comes by itself
IN_FLIGHT = ("CREATED", "PENDING_NEW", "PENDING_CANCEL", "UNKNOWN")


def rested(venues, number):
    """Restart the simulator now and then: so many starts a minute would spend Binance's weight."""
    if number % 6 == 5:
        venues.kill()
        venues.start()


def is_at_rest(core, burst):
    """Tell whether every order of a burst has got an answer."""
    with contextlib.suppress(CoreError), core.client() as client:
        orders = [o for o in client.orders(limit=1000) if o["command_id"] in burst.sent]
        return all(o["status"] not in IN_FLIGHT for o in orders)
    return False


def killed_round(core, number, before, point, rng):
    """Start, submit the last rounds' commands again and new ones, and die; tell whether by itself."""
    lines = core.logged()
    core.start(**({"XCORE_FAULT_POINT": point} if point else {}))
    burst = Burst(f"r{number}")
    if point is None and rng.random() < 0.4:  # somewhere in its boot
        count = lines + rng.randint(1, BOOT_LINES)
        wait_for(lambda: core.logged() >= count or core.is_ready(), "it boots")
    elif core.ready():
        for again in [b for b in before if b.sent][-2:]:
            again.submit(core, 4)
        if point is None:
            core.kill_during(lambda: burst.submit(core, 4), rng.randint(1, BURST_RECORDS))
        else:
            work_until_it_dies(core, burst, number, asks=point.startswith("deliver.QueryResult"))
    by_itself = not core.is_alive()
    core.kill()
    return burst, by_itself


def work_until_it_dies(core, burst, number, *, asks):
    """Submit a burst, ask the venues for its orders if so told, and go on until the point is met."""
    burst.submit(core, 4)
    for part in range(PARTS_MAX):
        wait_for(lambda: not core.is_alive() or is_at_rest(core, burst), "it dies, or rests")
        with contextlib.suppress(CoreError), core.client() as client:
            ids = [order["order_id"] for order in client.orders(limit=4)] if asks else []
            for order_id in ids:
                client.request("order.reconcile", order_ids=[order_id])
        if not core.is_alive():
            return
        Burst(f"r{number}.{part}").submit(core, 4)
    with contextlib.suppress(AssertionError):  # not met: the caller says so
        wait_for(lambda: not core.is_alive(), "it dies", DIES_WITHIN_S)


def check_quiet(core, venues, bursts):
    rested(venues, 5)
    core.start()
    assert core.ready()
    for burst in bursts:  # every command once more: each is the same order still
        burst.submit(core, 4)
    core.quiesce()
    assert core.terminate() == 0
    acknowledged = {command for burst in bursts for command in burst.acknowledged}
    assert acknowledged
    assert problems(core.journal, venues.log, acknowledged) == []
