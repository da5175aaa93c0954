"""Kraken's WebSocket faces of API v2: /v2 (public) and /auth/v2 (private, with a token by REST).

Every subscription is answered, one answer a symbol. While anything is subscribed, a heartbeat comes
each second. The private channels number their messages, each channel of each connection from 1.
"""

import json
from typing import Any

from aiohttp import web

from simulator.kraken_book import DEPTHS, ChannelBook
from simulator.kraken_calls import Calls, is_nameless
from simulator.kraken_first import First
from simulator.kraken_market import Market
from simulator.kraken_rest import Tokens
from simulator.kraken_words import (
    ApiError,
    Json,
    amount,
    encode,
    error,
    executions,
    fault_error,
    timestamp,
    trade_json,
)
from simulator.orders import BalanceChanged, Event, OrderChanged, Traded
from simulator.peers import Hub, Peer
from simulator.reply import HANG_UP, Reply, serve
from simulator.venue import Account, Venue

PUBLIC = ("book", "trade", "ticker", "instrument")
PRIVATE = ("executions", "balances")
TRADES_SHOWN = 50
CHANNELS_MAX = 500
# method: (call, what faults know it as)
METHODS = {
    "add_order": ("AddOrder", "order"),
    "cancel_order": ("CancelOrder", "cancel"),
    "cancel_all": ("CancelAll", "cancel"),
    "amend_order": ("AmendOrder", "amend"),
}
# What an order's terms are called by REST, where that is another word.
REST_NAMES = {"order_qty": "volume", "order_type": "ordertype", "limit_price": "price",
              "symbol": "pair", "side": "type", "time_in_force": "timeinforce"}  # fmt: skip


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, tokens: Tokens) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._market = market
        self._tokens = tokens
        self._next_connection = venue.now_ms()
        self._first = First(venue, market)
        self._books: dict[tuple[str, int], ChannelBook] = {}
        venue.on_event.append(self.on_event)
        venue.on_book.append(lambda delta: self.on_book(delta.symbol))

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/v2", self.accept), web.get("/auth/v2", self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""

        def on_open(peer: Peer) -> None:
            peer.is_private = request.path.startswith("/auth")
            self._next_connection += 1
            data = {"version": "2.0.10", "system": "online", "api_version": "v2",
                    "connection_id": self._next_connection}  # fmt: skip
            self._send(peer, {"channel": "status", "type": "update", "data": [data]})

        return await self.hub.accept(request, self._on_text, on_open)

    def _send(self, peer: Peer, message: Json, strikes: frozenset[str] = frozenset()) -> None:
        peer.send(encode(message).decode(), strikes)

    # -- in

    async def _on_text(self, peer: Peer, text: str) -> None:
        try:
            message = json.loads(text, parse_float=str)
            method = message["method"]
            params = message.get("params", {})
            is_known = isinstance(method, str) and isinstance(params, dict)
        except (ValueError, TypeError, KeyError):
            is_known = False
        if not is_known:
            self._send(peer, {"error": "Malformed request", "success": False})
        elif method == "ping":
            self._answer(peer, message, {"method": "pong"})
        elif method in {"subscribe", "unsubscribe"}:
            self._subscribe(peer, message, method, params)
        elif method in METHODS and peer.is_private:
            peer.begin(self._act(peer, message, method, params))
        else:
            self._refuse(peer, message, "Event(s) not found")

    def _subscribe(self, peer: Peer, message: Json, method: str, params: Json) -> None:
        channel = str(params.get("channel", ""))
        if channel not in (PRIVATE if peer.is_private else PUBLIC):
            self._refuse(peer, message, "Subscription name invalid")
        elif channel in PRIVATE:
            self._subscribe_private(peer, message, method, channel, params)
        elif channel == "instrument":
            self._join(peer, message, method, channel, {"channel": channel, "snapshot": True})
            if method == "subscribe":
                self._send(peer, self._first.instruments())
        else:
            symbols = params.get("symbol")
            for symbol in symbols if isinstance(symbols, list) else [None]:
                self._subscribe_symbol(peer, message, method, channel, params, symbol)

    def _subscribe_symbol(
        self, peer: Peer, message: Json, method: str, channel: str, params: Json, symbol: Any
    ) -> None:
        if symbol not in self._venue.engine.instruments:
            self._refuse(peer, message, f"Currency pair not supported {symbol}")
            return
        result: Json = {"channel": channel, "symbol": symbol}
        key, depth = f"{channel}:{symbol}", 0
        if channel == "book":
            depth = params.get("depth", DEPTHS[0])
            if depth not in DEPTHS:
                self._refuse(peer, message, "Subscription depth not supported")
                return
            result["depth"], key = depth, f"book:{symbol}:{depth}"
        wants_first = params.get("snapshot", True) is not False
        if method == "subscribe":
            result["snapshot"] = wants_first
        if self._join(peer, message, method, key, result) and wants_first:
            self._send_first(peer, channel, symbol, depth)

    def _subscribe_private(
        self, peer: Peer, message: Json, method: str, channel: str, params: Json
    ) -> None:
        account = self._tokens.account(params.get("token"))
        if account is None:
            self._refuse(peer, message, "ESession:Invalid session")
            return
        if self._venue.faults.take("auth_revoked", "private"):
            self._refuse(peer, message, "EAPI:Invalid key")
            return
        peer.account = account.api_key
        result = {"channel": channel, "snapshot": True}
        if channel == "executions":
            result |= {"maxratecount": 125, "snap_orders": params.get("snap_orders", True),
                       "snap_trades": params.get("snap_trades", False)}  # fmt: skip
        if not self._join(peer, message, method, channel, result):
            return
        peer.args[channel] = 0
        if channel == "balances":
            self._tell(peer, channel, "snapshot", self._first.balances(account))
            return
        rows = []
        if result["snap_orders"]:
            rows += self._first.open_orders(account)
        if result["snap_trades"]:
            rows += self._first.last_fills(account)
        self._tell(peer, channel, "snapshot", rows)

    # Tells whether the peer has now joined and wants what a subscriber first gets.
    def _join(self, peer: Peer, message: Json, method: str, key: str, result: Json) -> bool:
        is_joining = method == "subscribe"
        if is_joining == (key in peer.channels):
            self._refuse(peer, message, "Already subscribed" if is_joining else "Not subscribed")
            return False
        if is_joining and len(peer.channels) >= CHANNELS_MAX:
            self._refuse(peer, message, "EAuth:Too many requests")
            return False
        (peer.channels.add if is_joining else peer.channels.discard)(key)
        self._answer(peer, message, {"method": method, "result": result, "success": True})
        return is_joining

    def _send_first(self, peer: Peer, channel: str, symbol: str, depth: int) -> None:
        instrument = self._venue.engine.instruments[symbol]
        if channel == "ticker":
            self._send(peer, self._first.ticker(symbol, "snapshot"))
        elif channel == "trade":
            tape = list(self._venue.tape[symbol].trades)[-TRADES_SHOWN:]
            rows = [trade_json(trade, instrument) for trade in tape]
            self._send(peer, {"channel": "trade", "type": "snapshot", "data": rows})
        else:
            book = self._books.get((symbol, depth))
            if book is None:
                view = self._market.levels(instrument, depth)
                book = self._books[symbol, depth] = ChannelBook(instrument, depth, view)
            stale = book.old and self._venue.faults.take("stale_snapshot", "book", symbol)
            first = book.snapshot(self._now(), book.old[0] if stale else None)
            self._send(peer, first, self.hub.strikes("book", symbol))

    async def _act(self, peer: Peer, message: Json, method: str, params: Json) -> None:
        call, on = METHODS[method]
        account = self._tokens.account(params.get("token"))
        if account is None:
            self._refuse(peer, message, "ESession:Invalid session")
            return
        for wanted in _as_rest(params):
            await self._act_once(peer, message, call, account, wanted, on)

    async def _act_once(
        self, peer: Peer, message: Json, call: str, account: Account, wanted: Json, on: str
    ) -> None:
        def execute() -> Reply:
            try:
                return Reply(200, self._calls.run(lambda: self._carry_out(call, account, wanted)))
            except ApiError as refused:
                return error(str(refused))

        symbol = (
            wanted.get("pair") if wanted.get("pair") in self._venue.engine.instruments else None
        )
        reply = await serve(self._venue, on, symbol, execute, fault_error)
        if reply is HANG_UP:
            peer.abort()
            return
        strikes = self.hub.strikes("reply", symbol)
        if reply.raw is not None:
            peer.send(reply.raw, strikes)
            return
        method = message["method"]
        if "error" in reply.payload:
            answer = {"method": method, "error": reply.payload["error"][0], "success": False}
        else:
            answer = {"method": method, "result": reply.payload, "success": True}
        self._answer(peer, message, answer, strikes, is_cut=reply.is_cut)

    def _carry_out(self, call: str, account: Account, params: Json) -> Json:
        if call == "AddOrder":
            placed = self._calls.place(account, params, "ws")
            named = {"cl_ord_id": params["cl_ord_id"]} if params.get("cl_ord_id") else {}
            return {"order_id": placed.get("txid", [""])[0], **named}
        if call == "CancelOrder":
            self._calls.cancel(account, params, "ws")
            return {"order_id": params.get("txid", ""), "cl_ord_id": params.get("cl_ord_id", "")}
        if call == "CancelAll":
            return self._calls.cancel_all(account, params, "ws")
        return self._calls.amend(account, params, "ws")

    def _answer(
        self, peer: Peer, message: Json, answer: Json, strikes: frozenset[str] = frozenset(),
        *, is_cut: bool = False,
    ) -> None:  # fmt: skip
        if message.get("req_id") is not None:
            answer["req_id"] = message["req_id"]
        now = self._now()
        frame = encode(answer | {"time_in": now, "time_out": now}).decode()
        peer.send(frame[: len(frame) // 2] if is_cut else frame, strikes)

    def _refuse(self, peer: Peer, message: Any, text: str) -> None:
        self._answer(peer, message, {"method": message["method"], "error": text, "success": False})

    # -- out

    def on_book(self, symbol: str) -> None:
        """Publish a book's changes of the last 100 ms at every depth that somebody has."""
        instrument, now = self._venue.engine.instruments[symbol], self._now()
        for depth in DEPTHS:
            book, key = self._books.get((symbol, depth)), f"book:{symbol}:{depth}"
            if book is None:
                continue
            if not self.hub.on_channel(key):
                del self._books[symbol, depth]
                continue
            message = book.update(self._market.levels(instrument, depth), now)
            if message is not None:
                self.hub.publish_frame(key, encode(message).decode(), "book", symbol)

    def on_event(self, event: Event) -> None:
        """Publish trades; send accounts their executions and balances."""
        if isinstance(event, Traded):
            row = trade_json(event, self._venue.engine.instruments[event.symbol])
            message = {"channel": "trade", "type": "update", "data": [row]}
            self.hub.publish_frame(f"trade:{event.symbol}", encode(message).decode())
        elif isinstance(event, OrderChanged):
            rows = executions(event, self._venue.engine.instruments[event.order.symbol])
            if is_nameless(event.order):
                rows = [{k: v for k, v in row.items() if k != "cl_ord_id"} for row in rows]
            self._tell_all(event.order.account, "executions", rows, event.order.symbol)
        elif isinstance(event, BalanceChanged) and event.delta:
            kind = "trade" if event.reason == "trade" else "deposit"
            row = {"asset": event.asset, "asset_class": "currency", "type": kind, "subtype": "",
                   "wallet_type": "spot", "wallet_id": "main", "amount": amount(event.delta),
                   "balance": amount(event.free + event.locked), "fee": 0,
                   "timestamp": self._now()}  # fmt: skip
            self._tell_all(event.account, "balances", [row], None)

    # Each row in a message of its own; a fault hits all that one thing which happened has to say.
    def _tell_all(self, name: str, channel: str, rows: list[Json], symbol: str | None) -> None:
        listeners = [
            peer
            for peer in self.hub.on_channel(channel)
            if peer.account and self._venue.accounts[peer.account].name == name
        ]
        strikes = self.hub.strikes("private", symbol) if listeners else frozenset()
        for peer in listeners:
            for row in rows:
                self._tell(peer, channel, "update", [row], strikes)

    def _tell(
        self, peer: Peer, channel: str, kind: str, rows: list[Json],
        strikes: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        peer.args[channel] += 1
        message = {"channel": channel, "type": kind, "data": rows, "sequence": peer.args[channel]}
        self._send(peer, message, strikes)

    def every_second(self) -> None:
        """Heartbeats, tickers, old views."""
        for book in self._books.values():
            book.old.append(book.now)
        for symbol in self._venue.engine.instruments:
            if self.hub.on_channel(f"ticker:{symbol}"):
                frame = encode(self._first.ticker(symbol, "update")).decode()
                self.hub.publish_frame(f"ticker:{symbol}", frame)
        for peer in self.hub.peers:
            if peer.channels:
                self._send(peer, {"channel": "heartbeat"})

    def maintenance(self) -> dict[str, object]:
        """Return what streams are told before a restart."""
        return {"channel": "status", "type": "update",
                "data": [{"version": "2.0.10", "system": "maintenance", "api_version": "v2",
                          "connection_id": self._next_connection}]}  # fmt: skip

    def _now(self) -> str:
        return timestamp(self._venue.now_ns())


def _as_rest(params: Json) -> list[Json]:
    """Return the requests in the words of REST: a cancel may name several orders."""
    wanted = {REST_NAMES.get(name, name): value for name, value in params.items()}
    wanted["oflags"] = "post" if params.get("post_only") is True else ""
    if "stp_type" in params:
        wanted["stptype"] = str(params["stp_type"]).replace("_", "-")
    for field, name in (("order_id", "txid"), ("cl_ord_id", "cl_ord_id")):
        named = params.get(field)
        if isinstance(named, list):
            return [{**wanted, field: None, name: each} for each in named[:CHANNELS_MAX]]
    if params.get("order_id"):
        wanted["txid"] = params["order_id"]
    return [wanted]
