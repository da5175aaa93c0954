"""Puts venues on the network: listeners, the beat that drives them, and what a restart does.

One process, one event loop, loopback only. The beat is the only place that waits for time.
"""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

from aiohttp import web

from simulator.binance import binance_parts
from simulator.bybit import bybit_parts
from simulator.clock import NS_PER_MS, NS_PER_S, Clock
from simulator.coinbase import coinbase_parts
from simulator.deriv import deriv_parts
from simulator.flow import STEP_MS
from simulator.kraken import kraken_parts
from simulator.kucoin import kucoin_parts
from simulator.okx import okx_parts
from simulator.parts import Parts
from simulator.venue import Venue

HOST = "127.0.0.1"
BOOK_EVERY_STEPS = 2  # 100 ms
PING_EVERY_S, PONG_WITHIN_S = 20, 60
BODY_BYTES_MAX = 256 * 1024
DIALECTS: dict[str, Callable[[Venue], Parts]] = {
    "binance": binance_parts,
    "bybit": bybit_parts,
    "kucoin": kucoin_parts,
    "coinbase": coinbase_parts,
    "kraken": kraken_parts,
    "okx": okx_parts,
    "deriv": deriv_parts,
}


@dataclass(slots=True)
class Site:
    """One venue on one port."""

    venue: Venue
    parts: Parts
    port: int = 0
    runner: web.AppRunner | None = None
    listener: web.SockSite | None = None
    is_flowing: bool = True
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self) -> None:
        """Listen; a wanted port that is taken is replaced by a free one."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes(self.parts.routes)
        self.runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.5
        )
        await self.runner.setup()
        await self.listen()

    async def listen(self) -> None:
        """Open the port (again)."""
        assert self.runner is not None
        listening = bind(self.port)
        self.port = listening.getsockname()[1]
        self.venue.address = f"{HOST}:{self.port}"
        self.listener = web.SockSite(self.runner, listening)
        await self.listener.start()

    def cut_all(self) -> None:
        """Cut every connection at once, as a dying server does."""
        for hub in self.parts.hubs:
            for peer in list(hub.peers):
                peer.abort()
        assert self.runner is not None
        if self.runner.server is not None:
            for connection in list(self.runner.server.connections):
                if connection.transport is not None:
                    connection.transport.abort()

    async def refuse_for(self, seconds: float, *, is_cutting: bool) -> None:
        """Stop listening for a while; existing connections stay unless cut."""
        assert self.listener is not None
        if seconds > 0:
            await self.listener.stop()
        if is_cutting:
            notice = self.parts.shutdown_notice()
            for hub in self.parts.hubs if notice is not None else ():
                for peer in hub.peers:
                    peer.send_json(notice)
            await asyncio.sleep(0.02)  # let the notice leave
            self.cut_all()
        if seconds > 0:
            await asyncio.sleep(seconds)
            await self.listen()

    async def stop(self) -> None:
        """Close everything."""
        for task in self.tasks:
            task.cancel()
        self.cut_all()
        if self.runner is not None:
            await self.runner.cleanup()
        self.venue.close()

    def beat(self, step: int) -> None:
        """Advance by STEP_MS: flow, books, slow streams."""
        if self.is_flowing:
            self.venue.step_flow()
        if step % BOOK_EVERY_STEPS == 0:
            self.venue.flush_books()
        if step % (1000 // STEP_MS) == 0:
            self.parts.every_second()
            self.venue.keep_snapshots()
            if self.parts.has_protocol_pings:
                self._ping(step // (1000 // STEP_MS))

    def _ping(self, second: int) -> None:
        now_ns = self.venue.clock.monotonic_ns()
        for hub in self.parts.hubs:
            for peer in list(hub.peers):
                if now_ns - peer.last_seen_ns > PONG_WITHIN_S * NS_PER_S and not peer.is_silent:
                    peer.close_soon()
                elif second % PING_EVERY_S == 0:
                    peer.send_ping(str(self.venue.now_ms()).encode())


def make_site(venue: Venue, port: int) -> Site:
    """Give a venue its dialect."""
    return Site(venue, DIALECTS[venue.name](venue), port)


def bind(port: int) -> socket.socket:
    """Open a loopback listener on this port, or on any free one if it is taken."""
    for wanted in (port, 0):
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            listening.bind((HOST, wanted))
            listening.setblocking(False)
            return listening
        listening.close()
    raise OSError("no free loopback port")


async def run_beat(sites: list[Site], clock: Clock) -> None:
    """Beat all venues in step until cancelled; a stall is skipped, not caught up with."""
    step = 0
    due_ms = clock.monotonic_ns() // NS_PER_MS
    while True:
        step += 1
        for site in sites:
            site.beat(step)
        now_ms = clock.monotonic_ns() // NS_PER_MS
        due_ms = max(due_ms + STEP_MS, now_ms)
        await asyncio.sleep((due_ms - now_ms) / 1000)
