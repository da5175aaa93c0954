"""Bybit's WebSocket faces: /v5/public/spot, /v5/private and /v5/trade.

Books send a snapshot first. `ping` is a message of its own; who is silent for ten minutes is cut. The
trade face takes orders as REST does, each request with its time in a header of the message.
"""

import json
from typing import Any

from aiohttp import web

from simulator.book import BookDelta
from simulator.bybit_book import TopicBook
from simulator.bybit_calls import Calls
from simulator.bybit_market import Market
from simulator.bybit_rest import Limiter
from simulator.bybit_words import (
    ApiError,
    Json,
    coin_json,
    envelope,
    fault_error,
    fill_json,
    levels,
    order_message,
    trade_json,
    venue_symbol,
    wallet_json,
)
from simulator.clock import NS_PER_S
from simulator.orders import BalanceChanged, Event, OrderChanged, Traded
from simulator.peers import Hub, Peer
from simulator.reply import HANG_UP, Reply, serve
from simulator.signing import is_hex_of
from simulator.venue import Account, Venue

IDLE_S = 600
TOPICS_MAX = 10  # of one request on spot
DEPTHS = (1, 50, 200, 1000)
PRIVATE = ("order", "execution", "wallet")
# op: what faults know it as
OPS = {"order.create": "order", "order.cancel": "cancel", "order.amend": "amend"}


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, limiter: Limiter) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._market = market
        self._limiter = limiter
        self._actions = {"order.create": calls.create, "order.cancel": calls.cancel,
                         "order.amend": calls.amend}  # fmt: skip
        self._next_connection = 1
        self._books = {
            f"orderbook.{depth}.{name}": (TopicBook(f"orderbook.{depth}.{name}", name), depth)
            for name in calls.symbols
            for depth in DEPTHS
        }
        venue.on_event.append(self.on_event)
        venue.on_book.append(self.on_book)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/v5/public/spot", self.accept), web.get("/v5/private", self.accept),
                web.get("/v5/trade", self.accept)]  # fmt: skip

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""
        face = request.path.split("/")[2]

        def on_open(peer: Peer) -> None:
            peer.is_private = face != "public"
            peer.name = f"sim{self._next_connection:08x}"
            self._next_connection += 1

        async def on_text(peer: Peer, text: str) -> None:
            await self._on_text(peer, text, face)

        return await self.hub.accept(request, on_text, on_open)

    # -- in

    async def _on_text(self, peer: Peer, text: str, face: str) -> None:
        try:
            message = json.loads(text)
            op, args = message["op"], message.get("args") or []
            is_known = isinstance(op, str) and isinstance(args, list)
        except (ValueError, TypeError, KeyError):
            is_known, message, op, args = False, {}, "", []
        if not is_known:
            self._say(peer, {}, "", face, is_fine=False, text="Params Error")
        elif op == "ping":
            self._pong(peer, message, face)
        elif op == "auth" and face != "public":
            self._login(peer, message, args, face)
        elif op in {"subscribe", "unsubscribe"} and face != "trade":
            self._subscribe(peer, message, op, [str(arg) for arg in args], face)
        elif op in OPS and face == "trade":
            peer.begin(self._act(peer, op, args, message))
        else:
            self._say(
                peer, message, op, face, is_fine=False, text=f"unknown op {op[:40]}", code=10404
            )

    # The trade face answers with retCode, the others with success.
    def _say(
        self, peer: Peer, message: Json, op: str, face: str, *, is_fine: bool, text: str,
        code: int = 10001,
    ) -> None:  # fmt: skip
        if face == "trade":
            peer.send_json({"reqId": message.get("reqId", ""), "retCode": 0 if is_fine else code,
                            "retMsg": text, "op": op, "connId": peer.name})  # fmt: skip
            return
        peer.send_json({"success": is_fine, "ret_msg": text, "conn_id": peer.name,
                        "req_id": message.get("req_id", ""), "op": op})  # fmt: skip

    def _pong(self, peer: Peer, message: Json, face: str) -> None:
        now_ms = str(self._venue.now_ms())
        if face == "public":
            self._say(peer, message, "ping", face, is_fine=True, text="pong")
        elif face == "private":
            peer.send_json({"req_id": message.get("req_id", ""), "op": "pong", "args": [now_ms],
                            "conn_id": peer.name})  # fmt: skip
        else:
            peer.send_json({"retCode": 0, "retMsg": "OK", "op": "pong", "data": [now_ms],
                            "connId": peer.name})  # fmt: skip

    def _login(self, peer: Peer, message: Json, args: list[Any], face: str) -> None:
        key, expires, sign = ([str(arg) for arg in args] + ["", "", ""])[:3]
        account = self._venue.accounts.get(key)
        is_time = expires.isascii() and expires.isdigit() and len(expires) < 16
        if account is None or self._venue.faults.take("auth_revoked", "private"):
            text, code = "API key is invalid.", 10003
        elif not is_time or int(expires) <= self._venue.now_ms():
            text, code = "Params Error: request expired", 10002
        elif not is_hex_of(account.api_secret, f"GET/realtime{expires}", sign):
            text, code = "error sign! please check your signature generation algorithm.", 10004
        else:
            peer.account = account.api_key
            self._say(
                peer, message, "auth", face, is_fine=True, text="OK" if face == "trade" else ""
            )
            return
        self._say(peer, message, "auth", face, is_fine=False, text=text, code=code)
        peer.close_soon()

    def _subscribe(self, peer: Peer, message: Json, op: str, topics: list[str], face: str) -> None:
        bad = [topic for topic in topics if not self._is_known(topic, face)]
        if bad or not topics or len(topics) > TOPICS_MAX:
            text = f"error:handler not found,topic:{bad[0][:60]}" if bad else "args size >10"
            self._say(peer, message, op, face, is_fine=False, text=text)
            return
        if face == "private" and not peer.account:
            self._say(peer, message, op, face, is_fine=False, text="Request not authorized")
            return
        if op == "unsubscribe":
            peer.channels -= set(topics)
            self._say(peer, message, op, face, is_fine=True, text="")
            return
        new = [topic for topic in topics if topic in self._books]
        for topic in new:
            if not self.hub.on_channel(topic):
                self._renew(topic)
        peer.channels |= set(topics)
        self._say(peer, message, op, face, is_fine=True, text="subscribe")
        for topic in new:
            self._send_snapshot(peer, topic)
        for topic in topics:
            kind, _, name = topic.partition(".")
            if kind == "tickers":
                peer.send_json(self._ticker(name))

    def _is_known(self, topic: str, face: str) -> bool:
        if face == "private":
            return topic in PRIVATE
        kind, _, name = topic.partition(".")
        return topic in self._books or (
            kind in {"publicTrade", "tickers"} and name in self._calls.symbols
        )

    def _view(self, topic: str) -> tuple[list[list[str]], list[list[str]], int]:
        _, depth = self._books[topic]
        instrument = self._calls.symbols[topic.rpartition(".")[2]]
        view = self._venue.engine.books[instrument.symbol].view(depth)
        return levels(instrument, view.bids), levels(instrument, view.asks), view.last_id

    def _renew(self, topic: str) -> None:
        book, _ = self._books[topic]
        book.renew(*self._view(topic))

    def _send_snapshot(self, peer: Peer, topic: str) -> None:
        book, _ = self._books[topic]
        symbol = self._calls.symbols[topic.rpartition(".")[2]].symbol
        is_stale = book.old and self._venue.faults.take("stale_snapshot", "book", symbol)
        view = book.old[0] if is_stale else None
        peer.send_json(book.snapshot(self._venue.now_ms(), view), self.hub.strikes("book", symbol))

    # -- orders

    async def _act(self, peer: Peer, op: str, args: list[Any], message: Json) -> None:
        params = args[0] if args and isinstance(args[0], dict) else {}
        params = {k: v for k, v in params.items() if isinstance(v, str | int | bool)}
        header = message.get("header")
        header = header if isinstance(header, dict) else {}

        def execute() -> Reply:
            try:
                account = self._authorized(peer, op)
                window = str(header.get("X-BAPI-RECV-WINDOW", "5000"))
                self._calls.check_time(str(header.get("X-BAPI-TIMESTAMP", "")), window)
                result = self._calls.run(self._actions[op], account, params, "ws")
                return Reply(200, envelope(0, "OK", result, 0))
            except ApiError as refused:
                return refused.reply

        instrument = self._calls.symbols.get(str(params.get("symbol", "")))
        symbol = None if instrument is None else instrument.symbol
        reply = await serve(self._venue, OPS[op], symbol, execute, fault_error)
        if reply is HANG_UP:
            peer.abort()
            return
        strikes = self.hub.strikes("reply", symbol)
        if reply.raw is not None:
            peer.send(reply.raw, strikes)
            return
        frame = json.dumps(self._answer(peer, op, message, reply.payload), separators=(",", ":"))
        peer.send(frame[: len(frame) // 2] if reply.is_cut else frame, strikes)

    def _answer(self, peer: Peer, op: str, message: Json, payload: Json) -> Json:
        now_ms = self._venue.now_ms()
        key = f"{op.replace('.', '/')}:{peer.account}"
        counters = self._limiter.headers(self._limiter.actions, key, now_ms)
        return {"reqId": message.get("reqId", ""), "retCode": payload["retCode"],
                "retMsg": payload["retMsg"], "op": op, "data": payload["result"],
                "retExtInfo": {}, "header": {**counters, "Timenow": str(now_ms)},
                "connId": peer.name}  # fmt: skip

    def _authorized(self, peer: Peer, op: str) -> Account:
        if not peer.account:
            raise ApiError(10003, "Request not authorized")
        self._limiter.charge(self._limiter.actions, f"{op.replace('.', '/')}:{peer.account}")
        return self._venue.accounts[peer.account]

    # -- out

    def on_book(self, delta: BookDelta) -> None:
        """Publish a book's changes of the last 100 ms, to each depth that is listened to."""
        name = venue_symbol(delta.symbol)
        for depth in DEPTHS:
            topic = f"orderbook.{depth}.{name}"
            if self.hub.on_channel(topic):
                message = self._books[topic][0].update(*self._view(topic), self._venue.now_ms())
                if message is not None:
                    self.hub.publish(topic, message, "book", delta.symbol)

    def on_event(self, event: Event) -> None:
        """Publish trades; send accounts their orders, executions and wallets."""
        now_ms, instruments = self._venue.now_ms(), self._venue.engine.instruments
        if isinstance(event, Traded):
            topic = f"publicTrade.{venue_symbol(event.symbol)}"
            if self.hub.on_channel(topic):
                rows = [trade_json(event, instruments[event.symbol])]
                message = {"topic": topic, "type": "snapshot", "ts": now_ms, "data": rows}
                self.hub.publish(topic, message)
        elif isinstance(event, OrderChanged):
            order = event.order
            if event.fill is not None:
                row = fill_json(event.fill, order, instruments[order.symbol])
                self._tell(order.account, "execution", [row], order.symbol)
            rows = order_message(event, instruments[order.symbol], now_ms)["data"]
            self._tell(order.account, "order", rows, order.symbol)
        elif isinstance(event, BalanceChanged):
            wallet = wallet_json({}) | {"coin": [coin_json(event.asset, event.free, event.locked)]}
            self._tell(event.account, "wallet", [wallet], None)

    def _tell(self, name: str, topic: str, rows: list[Json], symbol: str | None) -> None:
        listeners = [
            peer
            for peer in self.hub.on_channel(topic)
            if peer.account and self._venue.accounts[peer.account].name == name
        ]
        strikes = self.hub.strikes("private", symbol) if listeners else frozenset()
        now_ms = self._venue.now_ms()
        for peer in listeners:
            message = {"id": f"{peer.name}-{now_ms}", "topic": topic, "creationTime": now_ms,
                       "data": rows}  # fmt: skip
            peer.send_json(message, strikes)

    def every_second(self) -> None:
        """Old views, tickers, idle connections."""
        for topic, (book, _) in self._books.items():
            if self.hub.on_channel(topic):
                book.old.append(book.now)
        for name in self._calls.symbols:
            if self.hub.on_channel(f"tickers.{name}"):
                self.hub.publish(f"tickers.{name}", self._ticker(name))
        oldest_ns = self._venue.clock.monotonic_ns() - IDLE_S * NS_PER_S
        for peer in list(self.hub.peers):
            if peer.last_seen_ns < oldest_ns and not peer.is_silent:
                peer.close_soon()

    def _ticker(self, name: str) -> Json:
        data = self._market.ticker(self._calls.symbols[name])
        return {"topic": f"tickers.{name}", "ts": self._venue.now_ms(), "type": "snapshot",
                "cs": 1, "data": data}  # fmt: skip
