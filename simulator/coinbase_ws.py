"""Coinbase's WebSocket face: one kind of connection for public channels and the `user` channel.

Every message of a connection is numbered, whatever it says, from 0. A connection that subscribes to
nothing for five seconds is closed, and so is one that has nothing to say for long and no heartbeats.
"""

import json
from typing import Any

from aiohttp import web

from simulator.book import BookDelta
from simulator.clock import NS_PER_S
from simulator.coinbase_auth import Doorman, NotAuthenticated
from simulator.coinbase_calls import Calls
from simulator.coinbase_words import (
    Json,
    order_event,
    price_text,
    product_id,
    size_text,
    timestamp,
    trade_json,
)
from simulator.instruments import Instrument
from simulator.orders import Event, Order, OrderChanged, Side, Traded
from simulator.peers import Hub, Peer
from simulator.venue import Account, Venue

# What a client asks for, and what the channel's messages say they are.
CHANNELS = {"level2": "l2_data", "market_trades": "market_trades", "ticker": "ticker",
            "heartbeats": "heartbeats", "user": "user"}  # fmt: skip
SUBSCRIBE_WITHIN_S = 5
SILENT_S = 75
BATCH_MAX = 50
SNAPSHOT_LEVELS = 5000


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, calls: Calls, doorman: Doorman) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._doorman = doorman
        self._beats = 0
        venue.on_event.append(self.on_event)
        venue.on_book.append(self.on_book)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/ws", self.accept), web.get("/ws/user", self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""

        def on_open(peer: Peer) -> None:
            peer.is_private = request.path.endswith("/user")
            peer.args = {"sent": 0, "last_ns": self._venue.clock.monotonic_ns()}

        return await self.hub.accept(request, self._on_text, on_open)

    def _send(
        self, peer: Peer, channel: str, events: list[Json], strikes: frozenset[str] = frozenset()
    ) -> None:
        message = {"channel": channel, "client_id": "", "timestamp": self._now(),
                   "sequence_num": peer.args["sent"], "events": events}  # fmt: skip
        # The number is spent whether or not a fault lets the frame out: that is how a loss shows.
        peer.args["sent"] += 1
        peer.args["last_ns"] = self._venue.clock.monotonic_ns()
        peer.send(json.dumps(message, separators=(",", ":")), strikes)

    # -- in

    async def _on_text(self, peer: Peer, text: str) -> None:
        try:
            message = json.loads(text)
            verb, channel = message["type"], message["channel"]
            products = message.get("product_ids") or []
            is_known = (
                verb in {"subscribe", "unsubscribe"}
                and channel in CHANNELS
                and isinstance(products, list)
            )
        except (ValueError, TypeError, KeyError):
            is_known = False
        if not is_known:
            self._problem(peer, "malformed request or unknown channel")
            return
        unknown = [name for name in products if name not in self._calls.products]
        if unknown:
            self._problem(peer, f"invalid product id {str(unknown[0])[:40]}")
            return
        if "jwt" in message or channel == "user":
            account = self._authenticated(message.get("jwt"))
            if account is None or (
                channel == "user" and self._venue.faults.take("auth_revoked", "private")
            ):
                self._problem(peer, "authentication failure")
                peer.close_soon()
                return
            peer.account = account.api_key
        self._subscribe(peer, verb, channel, products)

    def _authenticated(self, token: Any) -> Account | None:
        try:
            return self._doorman.account(token, None)
        except NotAuthenticated:
            return None

    # As the venue does it: first what a channel begins with, then the list of subscriptions.
    def _subscribe(self, peer: Peer, verb: str, channel: str, products: list[str]) -> None:
        names = products or [*self._calls.products]
        if channel == "heartbeats" or (channel == "user" and not products):
            names = [""]
        for name in names:
            key = f"{channel}:{name}"
            (peer.channels.add if verb == "subscribe" else peer.channels.discard)(key)
        if verb == "subscribe":
            if channel == "user":
                peer.is_private = True
                self._send_orders(peer, products)
            elif channel != "heartbeats":
                for name in names:
                    self._send_first(peer, channel, self._calls.products[name])
        listed: dict[str, list[str]] = {}
        for key in sorted(peer.channels):
            kind, _, name = key.partition(":")
            listed.setdefault(kind, []).append(name or kind)
        self._send(peer, "subscriptions", [{"subscriptions": listed}])

    def _send_first(self, peer: Peer, channel: str, instrument: Instrument) -> None:
        symbol = instrument.symbol
        if channel == "ticker":
            self._send(
                peer, "ticker", [{"type": "snapshot", "tickers": [self._ticker(instrument)]}]
            )
        elif channel == "market_trades":
            tape = list(self._venue.tape[symbol].trades)[:-BATCH_MAX:-1]
            rows = [trade_json(trade, instrument) for trade in tape]
            self._send(peer, "market_trades", [{"type": "snapshot", "trades": rows}])
        else:
            view = self._venue.engine.books[symbol].view(SNAPSHOT_LEVELS)
            kept = self._venue.old_books[symbol]
            if kept and self._venue.faults.take("stale_snapshot", "book", symbol):
                view = kept[0]
            event = self._level2("snapshot", instrument, view.bids, view.asks)
            self._send(peer, "l2_data", [event], self.hub.strikes("book", symbol))

    def _send_orders(self, peer: Peer, products: list[str]) -> None:
        account = self._venue.accounts[peer.account]
        mine = [
            order
            for order in self._venue.engine.open_orders(account.name)
            if not products or product_id(order.symbol) in products
        ]
        for at in range(0, max(1, len(mine)), BATCH_MAX):
            rows = [self._order(order) for order in mine[at : at + BATCH_MAX]]
            self._send(peer, "user", [{"type": "snapshot", "orders": rows, "positions": {}}])

    def _problem(self, peer: Peer, text: str) -> None:
        peer.send_json({"type": "error", "message": text})

    # -- out

    def on_book(self, delta: BookDelta) -> None:
        """Publish a book's changes of the last 100 ms."""
        name = product_id(delta.symbol)
        listeners = self.hub.on_channel(f"level2:{name}")
        if listeners:
            instrument = self._venue.engine.instruments[delta.symbol]
            event = self._level2("update", instrument, delta.bids, delta.asks)
            strikes = self.hub.strikes("book", delta.symbol)
            for peer in listeners:
                self._send(peer, "l2_data", [event], strikes)

    def on_event(self, event: Event) -> None:
        """Publish trades; send accounts their orders. Balances are told by REST only."""
        if isinstance(event, Traded):
            row = trade_json(event, self._venue.engine.instruments[event.symbol])
            for peer in self.hub.on_channel(f"market_trades:{product_id(event.symbol)}"):
                self._send(peer, "market_trades", [{"type": "update", "trades": [row]}])
        elif isinstance(event, OrderChanged):
            order = event.order
            name = product_id(order.symbol)
            listeners = [
                peer
                for peer in self.hub.peers
                if peer.account
                and self._venue.accounts[peer.account].name == order.account
                and peer.channels & {"user:", f"user:{name}"}
            ]
            strikes = self.hub.strikes("private", order.symbol) if listeners else frozenset()
            for peer in listeners:
                self._send(
                    peer, "user", [{"type": "update", "orders": [self._order(order)]}], strikes
                )

    def every_second(self) -> None:
        """Heartbeats, tickers, and the end of connections that say nothing."""
        self._beats += 1
        now_ns = self._venue.clock.monotonic_ns()
        beat = {"current_time": f"{self._now()} m=+{self._beats}.0",
                "heartbeat_counter": str(self._beats)}  # fmt: skip
        for peer in list(self.hub.peers):
            idle_s = (now_ns - peer.args["last_ns"]) // NS_PER_S
            if idle_s > (SILENT_S if peer.channels else SUBSCRIBE_WITHIN_S) and not peer.is_silent:
                peer.close_soon()
            elif "heartbeats:" in peer.channels:
                self._send(peer, "heartbeats", [beat])
        for name, instrument in self._calls.products.items():
            for peer in self.hub.on_channel(f"ticker:{name}"):
                self._send(
                    peer, "ticker", [{"type": "update", "tickers": [self._ticker(instrument)]}]
                )

    def _level2(
        self, kind: str, instrument: Instrument,
        bids: tuple[tuple[int, int], ...], asks: tuple[tuple[int, int], ...],
    ) -> Json:  # fmt: skip
        now = self._now()
        updates = [
            {"side": side, "event_time": now, "price_level": price_text(instrument, price),
             "new_quantity": size_text(instrument, lots)}
            for side, levels in (("bid", bids), ("offer", asks))
            for price, lots in levels
        ]  # fmt: skip
        return {"type": kind, "product_id": product_id(instrument.symbol), "updates": updates}

    def _ticker(self, instrument: Instrument) -> Json:
        day = self._venue.tape[instrument.symbol].day()
        book = self._venue.engine.books[instrument.symbol]
        touch = {}
        for name, side in (("best_bid", Side.BUY), ("best_ask", Side.SELL)):
            ticks, lots = next(iter(book.sides[side].top(1)), (0, 0))
            touch[name] = price_text(instrument, ticks)
            touch[f"{name}_quantity"] = size_text(instrument, lots)
        prices = {name: price_text(instrument, ticks) for name, ticks in (
            ("price", day.last), ("low_24_h", day.low), ("high_24_h", day.high),
            ("low_52_w", day.low), ("high_52_w", day.high),
        )}  # fmt: skip
        return {"type": "ticker", "product_id": product_id(instrument.symbol), **prices,
                "volume_24_h": size_text(instrument, day.lots), "price_percent_chg_24_h": "0",
                **touch}  # fmt: skip

    def _order(self, order: Order) -> Json:
        fills = self._venue.engine.fills_by_order.get(order.order_id, [])
        return order_event(order, self._venue.engine.instruments[order.symbol], len(fills))

    def _now(self) -> str:
        return timestamp(self._venue.now_ns())
