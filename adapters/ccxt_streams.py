"""Streams of any ccxt venue: ccxt.pro on one event loop, REST polling where a class has no stream.

One thread runs the loop for the public and the private side, each with a ccxt object of its own, so that
one side's trouble leaves the other alone. What ccxt unified goes on as one JSON frame each, to the very
feeds that native links serve. Network trouble is mended here. ccxt does not tell when a private subscription
is confirmed: the side counts as up once its socket has stood for a second, and what was missed is found by
the reconciliations. Executions are not taken from streams: ccxt's signs of their fees differ from class to
class (OKX's stream says -0.000001 where REST says 0.000001), so an order's report has them asked for.
"""

import asyncio
import json
import random
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Final

from adapters import ccxt_classes
from adapters.ccxt_generic import CLASS_OPTIONS, redirect
from adapters.ccxt_rest import OPTIONS
from adapters.codec import Credentials, RestCodec
from adapters.feed import PublicFeed
from adapters.generic import text_of
from adapters.generic_rest import GenericRest
from adapters.offset import ClockOffset
from adapters.private import PrivateFeed
from adapters.registry import VenueConfig
from adapters.stream import HEALTHY_NS, LinkHandler, backoff_s
from engine.clock import NS_PER_S, Clock

TICK_S: Final = 0.05
POLL_S: Final = 1.0
STANDING_NS: Final = NS_PER_S
CLOSE_S: Final = 2.0
REFUSED: Final = frozenset({"AuthenticationError", "PermissionDenied", "AccountSuspended"})
# A book that ccxt has lost and begins anew by itself, at the next call.
LOST: Final = frozenset({"ChecksumError", "InvalidNonce"})
BOOK_FIELDS: Final = ("symbol", "timestamp")
TRADE_FIELDS: Final = ("symbol", "id", "side", "price", "amount", "timestamp")


class Side:
    """One side, public or private, with the face of a link."""

    def __init__(self, handler: LinkHandler, *, is_private: bool) -> None:
        self.handler = handler
        self.is_private = is_private
        self.connections = 0
        self.ending = ""
        self.is_given_up = False
        self.is_up = False
        self.opened_ns = self.standing_ns = 0
        self.heard = 0

    def send(self, texts: list[str]) -> None:
        """Nothing: ccxt subscribes by itself."""

    def reconnect(self, reason: str) -> None:
        """Begin anew with a new ccxt object."""
        self.ending = reason or "asked to"

    def give_up(self) -> None:
        """End for good."""
        self.is_given_up = True
        self.ending = self.ending or "given up"


class CcxtStreams:
    """Both sides of one venue. `run` blocks until `stopping` is set."""

    def __init__(
        self,
        config: VenueConfig,
        codec: RestCodec,
        *,
        clock: Clock,
        offset: ClockOffset,
        rng: random.Random,
        stopping: threading.Event,
    ) -> None:
        self._config = config
        assert isinstance(codec, GenericRest), "the two halves of one dialect"
        self._codec = codec
        self._clock = clock
        self._offset = offset
        self._rng = rng
        self._stopping = stopping
        self._count = count(1)
        self.sides: list[Side] = []

    def add(self, handler: LinkHandler, *, is_private: bool) -> Side:
        """Serve one more side; before `run`."""
        side = Side(handler, is_private=is_private)
        self.sides.append(side)
        return side

    def run(self) -> None:
        """Keep the sides up until stopped."""
        asyncio.run(self._main())

    async def _main(self) -> None:
        await asyncio.gather(*(self._keep(side) for side in self.sides))

    async def _keep(self, side: Side) -> None:
        attempt = 0
        while not (self._stopping.is_set() or side.is_given_up):
            began_ns = self._clock.mono_ns()
            side.handler.on_down(await self._hold(side))
            if self._clock.mono_ns() - began_ns >= HEALTHY_NS:
                attempt = 0
            until_ns = self._clock.mono_ns() + int(backoff_s(attempt, self._rng) * NS_PER_S)
            while not self._stopping.is_set() and self._clock.mono_ns() < until_ns:  # noqa: ASYNC110  another thread sets it
                await asyncio.sleep(TICK_S)
            attempt += 1

    # One ccxt object from its first call to its end; returns why it ended.
    async def _hold(self, side: Side) -> str:
        exchange = self._exchange()
        side.ending, side.is_up, side.heard = "", False, 0
        side.opened_ns = side.standing_ns = self._clock.mono_ns()
        side.connections += 1
        pumps: list[asyncio.Task[str]] = []
        try:
            side.handler.on_open()
            pumps = [asyncio.ensure_future(pump) for pump in self._pumps(side, exchange)]
            while not self._stopping.is_set():
                done: set[asyncio.Task[str]] = set()
                if pumps:
                    done, _ = await asyncio.wait(
                        pumps, timeout=TICK_S, return_when=asyncio.FIRST_COMPLETED
                    )
                else:
                    await asyncio.sleep(TICK_S)
                for pump in done:
                    return pump.result()
                if side.ending:
                    return side.ending
                self._look_after(side, exchange)
            return "stopped"
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            with suppress(Exception):  # what ccxt cannot close is closed with the loop
                await asyncio.wait_for(exchange.close(), CLOSE_S)

    def _exchange(self) -> Any:
        codec, keys = self._codec, self._config.credentials
        pro = ccxt_classes.streams_class(codec.exchange_id)
        offset = self._offset

        class Timed(pro):  # type: ignore[misc, valid-type]
            def nonce(self) -> int:
                return offset.now_ms()

        Timed.__name__ = pro.__name__
        exchange = Timed(_settings(codec.exchange_id, keys, self._config.timeouts.ping_every_s))
        exchange.number = str
        exchange.asyncio_loop = asyncio.get_running_loop()  # some classes use it before they set it
        exchange.has["fetchCurrencies"] = False
        redirect(exchange.urls["api"], codec.exchange_id, self._config.urls)
        exchange.set_markets(list(codec.markets.values()))
        return exchange

    # --- what is pumped

    def _pumps(self, side: Side, exchange: Any) -> list[Any]:
        pumps = []
        for symbol in self._config.symbols:
            if not side.is_private:
                pumps.append(self._books(side, exchange, symbol))
                if exchange.has.get("watchTrades"):
                    watch = _bound(exchange.watch_trades, symbol)
                    pumps.append(self._rows(side, "trade", watch, TRADE_FIELDS))
            elif exchange.has.get("watchOrders"):
                pumps.append(self._rows(side, "order", _bound(exchange.watch_orders, symbol), None))
        return pumps

    async def _books(self, side: Side, exchange: Any, symbol: str) -> str:
        depth, is_pushed = self._config.depth, bool(exchange.has.get("watchOrderBook"))
        ask = exchange.watch_order_book if is_pushed else exchange.fetch_order_book
        every_s = max(POLL_S, exchange.rateLimit * len(self._config.symbols) / 1000)
        while True:
            book, why = await _asked(_bound(ask, symbol))
            if why in LOST:
                self._tell(side, "lost", why)
                continue
            if book is None:
                return why
            self._up(side)
            row = {"symbol": symbol, "timestamp": book.get("timestamp")}
            for name in ("bids", "asks"):
                row[name] = [[text_of(lv[0]), text_of(lv[1])] for lv in book[name][:depth]]
            self._tell(side, "book", row)
            if not is_pushed:
                await asyncio.sleep(every_s)

    async def _rows(
        self,
        side: Side,
        kind: str,
        watch: Callable[[], Awaitable[Any]],
        fields: tuple[str, ...] | None,
    ) -> str:
        while True:
            rows, why = await _asked(watch)
            if rows is None:
                if why in REFUSED:
                    self._tell(side, "denied", why)
                return why
            for row in rows:
                self._tell(side, kind, row if fields is None else {f: row.get(f) for f in fields})

    # --- what is told

    def _tell(self, side: Side, kind: str, row: Any) -> None:
        frame = json.dumps({"k": kind, "n": next(self._count), "row": row}, default=str)
        side.handler.on_frame(frame.encode(), self._clock.wall_ns(), self._clock.mono_ns())

    def _up(self, side: Side) -> None:
        if not side.is_up:
            side.is_up = True
            self._tell(side, "up", None)

    def _look_after(self, side: Side, exchange: Any) -> None:
        now_ns = self._clock.mono_ns()
        side.handler.on_tick(now_ns)
        clients = list(exchange.clients.values())
        heard = max((max(c.last_message_at or 0, c.lastPong or 0) for c in clients), default=0)
        if heard > side.heard:
            side.heard = heard
            side.handler.on_alive(now_ns)
        if side.is_private and not side.is_up:
            if exchange.has.get("watchOrders") and not any(c.isConnected for c in clients):
                side.standing_ns = now_ns
            elif now_ns - side.standing_ns >= STANDING_NS:
                self._up(side)


def streams_of(
    config: VenueConfig,
    codec: RestCodec,
    feeds: Sequence[PublicFeed | PrivateFeed],
    clock: Clock,
    offset: ClockOffset,
    rng: random.Random,
    stopping: threading.Event,
) -> Callable[[], None]:
    """Return what keeps these feeds up on one loop, until stopped; each has its side as its link."""
    streams = CcxtStreams(config, codec, clock=clock, offset=offset, rng=rng, stopping=stopping)
    for feed in feeds:
        feed.link = streams.add(feed, is_private=isinstance(feed, PrivateFeed))
    return streams.run


def _bound(method: Any, symbol: str) -> Callable[[], Awaitable[Any]]:
    return lambda: method(symbol)


# ccxt raises anything where a frame is not what it expects; all of it ends the side, nothing the session.
async def _asked(watch: Callable[[], Awaitable[Any]]) -> tuple[Any, str]:
    try:
        return await watch(), ""
    except Exception as error:  # noqa: BLE001  the seam to a library that reads untrusted frames
        return None, type(error).__name__


def _settings(exchange_id: str, keys: Credentials, ping_every_s: float) -> Mapping[str, Any]:
    return {
        "apiKey": keys.api_key.reveal(),
        "secret": keys.api_secret.reveal(),
        "password": keys.passphrase.reveal(),
        "enableRateLimit": True,
        "streaming": {"keepAlive": int(ping_every_s * 1000)},
        "options": {
            **OPTIONS.get(exchange_id, {}),
            **CLASS_OPTIONS.get(exchange_id, {}),
            "maxRetriesOnFailure": 0,
        },
    }
