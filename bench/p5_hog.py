"""P5: as P2, with a thread in the core's process that computes without end.

Floor: the same websocket-client loop as in P2, with the same thread beside it, at the same switch
interval of 50 us that the core sets.
"""

import sys
import threading

from bench import core_client
from bench.core_client import SWITCH_INTERVAL_S, Variant, hog
from bench.p2_tick_to_order import Trips, floor, ticks_of
from bench.report import Beside, Options, Result

TARGET_US, MOONSHOT_US = 1000.0, 200.0


def run(options: Options) -> dict[str, Result]:
    clients = {"core": core_hogged, "floor": floor_hogged}
    trips = Trips(clients, ticks_of(options), options.repeats)
    ours, bare = trips.p50("core"), trips.p50("floor")
    return {
        "P5": Result(
            value=ours,
            unit="us p50",
            reference="websocket-client + hog",
            reference_value=bare,
            ratio=round(ours / bare, 3),
            target=f"<= {TARGET_US:g} us (moonshot {MOONSHOT_US:g})",
            met=ours <= TARGET_US,
            beside=[
                Beside("ours", trips.p99("core"), "us p99"),
                Beside("floor", trips.p99("floor"), "us p99"),
            ],
            notes=trips.notes(),
        )
    }


def core_hogged(port: int) -> None:
    """Be the core with a CPU-bound thread."""
    core_client.run(port, Variant(hog=True))


def floor_hogged(port: int) -> None:
    """Be the bare loop with a CPU-bound thread."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    threading.Thread(target=hog, daemon=True).start()
    floor(port)
