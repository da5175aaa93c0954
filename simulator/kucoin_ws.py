"""KuCoin's WebSocket face: one endpoint, entered with a token; welcome, subscribe, ack, ping, pong.

Level 2 sends changes only: the snapshot is REST's. A client that is silent for longer than the ping
interval and timeout together is cut. The private topics tell an order's life, never a fee.
"""

import json
from typing import Any

from aiohttp import web

from simulator.book import BookDelta
from simulator.clock import NS_PER_MS, NS_PER_S
from simulator.instruments import plain
from simulator.kucoin_calls import Calls
from simulator.kucoin_market import Market
from simulator.kucoin_tokens import PATH, PING_INTERVAL_MS, PING_TIMEOUT_MS, Tokens
from simulator.kucoin_words import (
    Json,
    level2,
    levels,
    match_json,
    order_event,
    venue_symbol,
)
from simulator.orders import BalanceChanged, Event, OrderChanged, Status, Traded
from simulator.peers import Hub, Peer
from simulator.venue import Venue

PUBLIC = ("/market/level2", "/market/match", "/market/ticker", "/spotMarket/level2Depth5",
          "/spotMarket/level2Depth50")  # fmt: skip
ORDERS, ORDERS_V2 = "/spotMarket/tradeOrders", "/spotMarket/tradeOrdersV2"
BALANCE = "/account/balance"
PRIVATE = (ORDERS, ORDERS_V2, BALANCE)
SYMBOLS_MAX = 100
MESSAGES_MAX, MESSAGES_PER_NS = 100, 10 * NS_PER_S
ENDS = {"CANCELED", "EXPIRED", "TRADE_PREVENTION"}


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, tokens: Tokens) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._market = market
        self._tokens = tokens
        venue.on_event.append(self.on_event)
        venue.on_book.append(self.on_book)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get(PATH, self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        owner = self._tokens.owner(request.query.get("token", ""))

        def on_open(peer: Peer) -> None:
            peer.name = request.query.get("connectId", "")
            if owner is None:
                self._refuse(peer, peer.name, 401, "token is invalid")
                peer.close_soon()
                return
            peer.account, peer.is_private = owner, bool(owner)
            peer.send_json({"id": peer.name, "type": "welcome"})

        return await self.hub.accept(request, self._on_text, on_open)

    # -- in

    async def _on_text(self, peer: Peer, text: str) -> None:
        now_ns = self._venue.clock.monotonic_ns()
        recent = [t for t in peer.sent_messages if t > now_ns - MESSAGES_PER_NS]
        peer.sent_messages = [*recent, now_ns]
        if len(peer.sent_messages) > MESSAGES_MAX:
            self._refuse(peer, "", 509, "exceed upload message limit")
            return
        try:
            message = json.loads(text)
            kind, number = message.get("type"), str(message.get("id", ""))
        except (ValueError, AttributeError):
            self._refuse(peer, "", 400, "invalid json")
            return
        if kind == "ping":
            peer.send_json({"id": number, "type": "pong"})
        elif kind in {"subscribe", "unsubscribe"}:
            self._subscribe(peer, kind, number, message)
        else:
            self._refuse(peer, number, 415, "type is not supported")

    def _subscribe(self, peer: Peer, kind: str, number: str, message: Json) -> None:
        topic = str(message.get("topic", ""))
        name, _, symbols = topic.partition(":")
        channels = {topic} if name in PRIVATE else {f"{name}:{s}" for s in symbols.split(",")}
        if name in PRIVATE:
            is_known = bool(peer.account) and message.get("privateChannel") is True
        else:
            wanted = symbols.split(",")
            is_known = name in PUBLIC and all(s in self._calls.symbols for s in wanted)
            is_known = is_known and len(wanted) <= SYMBOLS_MAX
        if not is_known:
            self._refuse(peer, number, 404, f"topic {topic[:100]} is not found")
            return
        if kind == "subscribe":
            peer.channels |= channels
        else:
            peer.channels -= channels
        if message.get("response") is True:
            peer.send_json({"id": number, "type": "ack"})

    def _refuse(self, peer: Peer, number: str, code: int, text: str) -> None:
        peer.send_json({"id": number, "type": "error", "code": code, "data": text})

    # -- out

    def on_book(self, delta: BookDelta) -> None:
        """Publish a book's changes of the last 100 ms."""
        instrument = self._venue.engine.instruments[delta.symbol]
        name, now_ms = venue_symbol(delta.symbol), self._venue.now_ms()
        if self.hub.on_channel(f"/market/level2:{name}"):
            data = level2(instrument, delta, now_ms)
            self._publish(f"/market/level2:{name}", "trade.l2update", data, "book", delta.symbol)
        for depth in (5, 50):
            topic = f"/spotMarket/level2Depth{depth}:{name}"
            if self.hub.on_channel(topic):
                view = self._venue.engine.books[delta.symbol].view(depth)
                data = {"asks": levels(instrument, view.asks),
                        "bids": levels(instrument, view.bids), "timestamp": now_ms}  # fmt: skip
                self._publish(topic, "level2", data, "book", delta.symbol)
        if self.hub.on_channel(f"/market/ticker:{name}"):
            data = self._market.ticker(instrument)
            self._publish(f"/market/ticker:{name}", "trade.ticker", data, "book", delta.symbol)

    def on_event(self, event: Event) -> None:
        """Publish trades; send accounts their orders and balances."""
        if isinstance(event, Traded):
            topic = f"/market/match:{venue_symbol(event.symbol)}"
            if self.hub.on_channel(topic):
                data = match_json(event, self._venue.engine.instruments[event.symbol])
                self._publish(topic, "trade.l3match", data, "", event.symbol)
        elif isinstance(event, OrderChanged):
            self._tell_order(event)
        elif isinstance(event, BalanceChanged):
            self._tell_balance(event)

    def _publish(self, topic: str, subject: str, data: Json, tag: str, symbol: str) -> None:
        message = {"type": "message", "topic": topic, "subject": subject, "data": data}
        self.hub.publish(topic, message, tag, symbol)

    # An order that is matched whole never enters the book: it is received, matched and filled.
    def _tell_order(self, event: OrderChanged) -> None:
        order = event.order
        if event.what == "NEW":
            self._tell(event, "received", (ORDERS_V2,))
            now = self._venue.engine.orders.get(order.order_id)
            if now is not None and now.is_open:
                self._tell(event, "open", (ORDERS, ORDERS_V2))
            return
        what = {"TRADE": "match", "REPLACED": "update"}.get(event.what, "canceled")
        self._tell(event, what, (ORDERS, ORDERS_V2))
        if event.what == "TRADE" and order.status is Status.FILLED:
            self._tell(event, "filled", (ORDERS, ORDERS_V2))

    def _tell(self, event: OrderChanged, what: str, topics: tuple[str, ...]) -> None:
        order = event.order
        instrument = self._venue.engine.instruments[order.symbol]
        for topic in topics:
            data = order_event(event, instrument, what, is_v2=topic == ORDERS_V2)
            self._send(order.account, topic, "orderChange", data, order.symbol)

    def _tell_balance(self, event: BalanceChanged) -> None:
        words = {"trade": "setted", "external": "transfer", "deposit": "transfer"}
        now_ms = self._venue.now_ms()
        data = {
            "accountId": "", "available": plain(event.free), "availableChange": plain(event.delta),
            "currency": event.asset, "hold": plain(event.locked), "holdChange": "0",
            "relationContext": {}, "relationEvent": f"trade_hf.{words.get(event.reason, 'other')}",
            "relationEventId": str(now_ms), "time": str(now_ms),
            "total": plain(event.free + event.locked),
        }  # fmt: skip
        self._send(event.account, BALANCE, "account.balance", data, None)

    def _send(self, name: str, topic: str, subject: str, data: Any, symbol: str | None) -> None:
        listeners = [
            peer
            for peer in self.hub.on_channel(topic)
            if peer.account and self._venue.accounts[peer.account].name == name
        ]
        strikes = self.hub.strikes("private", symbol) if listeners else frozenset()
        for peer in listeners:
            uid = str(self._venue.accounts[peer.account].uid)
            message = {"type": "message", "topic": topic, "subject": subject, "userId": uid,
                       "channelType": "private", "data": data}  # fmt: skip
            peer.send_json(message, strikes)

    def every_second(self) -> None:
        """Cut who has been silent for too long."""
        silent_ns = (PING_INTERVAL_MS + PING_TIMEOUT_MS) * NS_PER_MS
        oldest_ns = self._venue.clock.monotonic_ns() - silent_ns
        for peer in list(self.hub.peers):
            if peer.last_seen_ns < oldest_ns and not peer.is_silent:
                peer.close_soon()
