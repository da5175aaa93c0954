"""A benchmark's port in a process of its own, across the product's boundary: host, wire, outbox, inlet.

The program here is adapters/host.py with another adapter in it. Both ends, the framing, the conflation
and the beats are the product's; only what stands behind the port is made up (bench/ports.py).
"""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.codec import Secret
from adapters.configuration import Configuration, encode_configuration
from adapters.host import SWITCH_INTERVAL_S, Host
from adapters.registry import VenueConfig
from bench.ports import MarketPort, OrderingPort
from engine.clock import SystemClock
from engine.inlet import Inlet
from engine.messages.base import Message
from engine.venue_port import ProcessPort
from engine.venue_process import HostSettings, VenueHost, inherited

if TYPE_CHECKING:
    from bench.core_client import Core

SILENT_S = 10.0
MARKET_SHARE = 0.8


def port_in_process(
    core: "Core", venue: str, symbol: str, port: int, *, orders: bool, share: float = MARKET_SHARE
) -> ProcessPort:
    """Return the port of a session whose process talks to the loopback venue on `port`."""
    command = [sys.executable, "-m", "bench.port_process", venue, "okx"]
    settings = HostSettings(venue, command, lambda _: inherited(os.environ), SILENT_S)
    host = VenueHost(settings, core.clock, core.threads.start)
    config = VenueConfig(
        name=venue,
        adapter="okx",
        account=f"{venue}.main",
        symbols=(symbol,),
        urls={"public_ws": f"ws://127.0.0.1:{port}", "trade_ws": "yes" if orders else ""},
        api_key=Secret(""),
        api_secret=Secret(""),
        passphrase=Secret(""),
    )
    given = Configuration(
        venue=config,
        instance="bench",
        state_dir=str(Path.cwd()),
        core_pid=os.getpid(),
        core_lock="",
        seed=1,
        log_level="WARNING",
        silent_s=SILENT_S,
        market_share=share,
        cancel_after_s=None,
        is_dedicated=False,
    )
    reports = Inlet(core.runtime, venue, 1, lambda _: None)
    return host.port(encode_configuration(given), reports)


def make_port(
    given: Configuration, clock: SystemClock, deliver: Callable[[Message], None], _threads: Any
) -> MarketPort:
    """Return what stands behind the port in the process."""
    venue = given.venue
    port = int(venue.urls["public_ws"].rpartition(":")[2])
    make = OrderingPort if venue.urls["trade_ws"] else MarketPort
    return make(venue.name, port, clock, deliver, venue.symbols[0])


def main() -> int:
    """Serve one venue; return the exit code."""
    venue, _adapter, fd = sys.argv[1:]
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    make: Any = make_port
    return Host(venue, socket.socket(fileno=int(fd)), lambda _: None, make).run()


if __name__ == "__main__":
    os._exit(main())
