"""OKX's WebSocket face: /ws/v5/public, /private and /business.

Text `ping` is answered by text `pong`; a client that is silent for 30 s is cut. Channels with
books send a snapshot first. Every subscribe and unsubscribe is answered, the latter because
ccxt waits for it before it subscribes anew.
"""

import json
import random

from aiohttp import web

from simulator.clock import NS_PER_S
from simulator.okx_book import DEPTH, ChannelBook
from simulator.okx_calls import Calls, shown
from simulator.okx_market import Market
from simulator.okx_rest import Limiter, is_signed, late
from simulator.okx_words import (
    ApiError,
    Json,
    balance_json,
    fault_error,
    inst_id,
    order_event,
    trade_json,
)
from simulator.orders import BalanceChanged, Event, OrderChanged, Traded
from simulator.peers import Hub, Peer
from simulator.reply import HANG_UP, Reply, serve
from simulator.venue import Account, Venue

IDLE_S = 30
HEARTBEAT_S = 5
CHANNELS_MAX = 480
PUBLIC = ("books", "books5", "bbo-tbt", "trades", "trades-all", "tickers")
PRIVATE = ("orders", "account")
# op: (action, what faults know it as)
OPS = {
    "order": ("order", "order"),
    "batch-orders": ("order", "order"),
    "cancel-order": ("cancel-order", "cancel"),
    "batch-cancel-orders": ("cancel-order", "cancel"),
    "amend-order": ("amend-order", "amend"),
    "batch-amend-orders": ("amend-order", "amend"),
}


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, limiter: Limiter,
                 rng: random.Random) -> None:  # fmt: skip
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._market = market
        self._limiter = limiter
        self._second = 0
        self._next_connection = 1
        first_seq = venue.now_ms()
        self._books = {
            symbol: ChannelBook(inst_id(symbol), first_seq, rng)
            for symbol in venue.engine.instruments
        }
        self._quiet_since = dict.fromkeys(self._books, 0)
        venue.on_event.append(self.on_event)
        venue.on_book.append(lambda delta: self.on_book(delta.symbol))

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/ws/v5/{face:public|private|business}", self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""

        def on_open(peer: Peer) -> None:
            peer.is_private = request.match_info["face"] == "private"
            peer.name = f"sim{self._next_connection:08x}"
            self._next_connection += 1

        return await self.hub.accept(request, self._on_text, on_open)

    # -- in

    async def _on_text(self, peer: Peer, text: str) -> None:
        if text == "ping":
            peer.send("pong")
            return
        try:
            message = json.loads(text)
            op, args = message["op"], message["args"]
            known = (
                isinstance(op, str)
                and isinstance(args, list)
                and all(isinstance(arg, dict) for arg in args)
            )
        except (ValueError, TypeError, KeyError):
            known = False
        if not known:
            self._problem(peer, "60012", f"Illegal request: {text[:200]}")
        elif op == "login":
            self._login(peer, args[0] if args else {})
        elif op in {"subscribe", "unsubscribe"}:
            for arg in args:
                self._subscribe(peer, op, arg)
        elif op in OPS:
            peer.begin(self._act(peer, op, args, message))
        else:
            self._problem(peer, "60012", f"Illegal request: {text[:200]}")

    def _login(self, peer: Peer, arg: Json) -> None:
        account = self._venue.accounts.get(str(arg.get("apiKey")))
        timestamp = str(arg.get("timestamp", ""))
        if account is None or self._venue.faults.take("auth_revoked", "private"):
            self._problem(peer, "60005", "Invalid apiKey")
        elif arg.get("passphrase") != account.passphrase:
            self._problem(peer, "60024", "Wrong passphrase")
        elif not _is_near(timestamp, self._venue.now_ms()):
            self._problem(peer, "60006", "Timestamp request expired")
        elif not is_signed(account, f"{timestamp}GET/users/self/verify", str(arg.get("sign"))):
            self._problem(peer, "60007", "Invalid sign")
        else:
            peer.account = account.api_key
            peer.send_json({"event": "login", "code": "0", "msg": "", "connId": peer.name})
            return
        peer.close_soon()

    def _subscribe(self, peer: Peer, op: str, arg: Json) -> None:
        channel, inst = str(arg.get("channel", "")), str(arg.get("instId", ""))
        is_private = channel in PRIVATE
        if channel not in (*PUBLIC, *PRIVATE):
            self._problem(peer, "60018", f"Wrong URL or channel:{channel} doesn't exist.")
            return
        if is_private and not peer.account:
            self._problem(peer, "60011", "Please log in")
            return
        if not is_private and inst not in self._calls.symbols:
            self._problem(peer, "60018", f"channel:{channel},instId:{inst} doesn't exist.")
            return
        key = self._key(channel, inst, peer)
        if op == "unsubscribe":
            peer.channels.discard(key)
            peer.args.pop(key, None)
            peer.send_json({"event": "unsubscribe", "arg": arg, "connId": peer.name})
            return
        if len(peer.channels) >= CHANNELS_MAX:
            self._problem(peer, "60014", "Requests too frequent")
            return
        peer.channels.add(key)
        peer.args[key] = arg
        peer.send_json({"event": "subscribe", "arg": arg, "connId": peer.name})
        self._send_first(peer, channel, inst, arg)

    def _send_first(self, peer: Peer, channel: str, inst: str, arg: Json) -> None:
        if channel == "books":
            symbol = self._calls.symbols[inst].symbol
            book = self._books[symbol]
            if book.now.bids == [] and book.now.asks == []:
                self.on_book(symbol)  # nothing was ever published: take the book as it is
            stale = book.old and self._venue.faults.take("stale_snapshot", "book", symbol)
            view = book.old[0] if stale else None
            peer.send_json(book.snapshot(self._ts(), view), self.hub.strikes("book", symbol))
        elif channel in {"books5", "bbo-tbt"}:
            peer.send_json(self._small(channel, inst))
        elif channel == "tickers":
            data = [self._market.ticker(self._calls.symbols[inst])]
            peer.send_json({"arg": arg, "data": data})
        elif channel == "account":
            account = self._venue.accounts[peer.account]
            row = balance_json(self._venue.balances(account.name), self._venue.now_ms())
            peer.send_json({"arg": arg, "data": [row]})

    async def _act(self, peer: Peer, op: str, args: list[Json], message: Json) -> None:
        action, on = OPS[op]
        request_id, in_us = message.get("id"), self._venue.now_ns() // 1000
        if not peer.account:
            self._problem(peer, "60011", "Please log in")
            return
        account = self._venue.accounts[peer.account]
        expiry = str(message.get("expTime", ""))

        def execute() -> Reply:
            return self._execute(action, account, args, expiry)

        instrument = self._calls.named(args[0]) if args else None
        symbol = None if instrument is None else instrument.symbol
        reply = await serve(self._venue, on, symbol, execute, fault_error)
        if reply is HANG_UP:
            peer.abort()
            return
        strikes = self.hub.strikes("reply", symbol)
        if reply.raw is not None:
            peer.send(reply.raw, strikes)
        else:
            out_us = self._venue.now_ns() // 1000
            answer = {"id": request_id, "op": op, **reply.payload, "inTime": str(in_us),
                      "outTime": str(out_us)}  # fmt: skip
            frame = json.dumps(answer, separators=(",", ":"))
            peer.send(frame[: len(frame) // 2] if reply.is_cut else frame, strikes)

    def _execute(self, action: str, account: Account, args: list[Json], expiry: str) -> Reply:
        try:
            instrument = self._calls.named(args[0]) if args else None
            key = f"{action}:{account.name}:{instrument and inst_id(instrument.symbol)}"
            self._limiter.charge(self._limiter.orders, key, len(args))
            is_late = late(self._venue, expiry)
            return Reply(200, self._calls.act(action, account, args, "ws", is_late))
        except ApiError as refused:
            return refused.reply

    def _problem(self, peer: Peer, code: str, msg: str) -> None:
        peer.send_json({"event": "error", "code": code, "msg": msg, "connId": peer.name})

    # -- out

    def on_book(self, symbol: str) -> None:
        """Publish a book's changes of the last 100 ms."""
        instrument = self._venue.engine.instruments[symbol]
        bids, asks = self._market.levels(instrument, DEPTH)
        inst = inst_id(symbol)
        self._quiet_since[symbol] = self._second
        message = self._books[symbol].update(bids, asks, self._ts())
        if message is not None:
            self.hub.publish(f"books:{inst}", message, "book", symbol)
        for channel in ("books5", "bbo-tbt"):
            if self.hub.on_channel(f"{channel}:{inst}"):
                self.hub.publish(f"{channel}:{inst}", self._small(channel, inst), "book", symbol)

    def on_event(self, event: Event) -> None:
        """Publish trades; send accounts their orders and balances."""
        if isinstance(event, Traded):
            instrument = self._venue.engine.instruments[event.symbol]
            inst = inst_id(event.symbol)
            for channel in ("trades", "trades-all"):
                if self.hub.on_channel(f"{channel}:{inst}"):
                    row = trade_json(event, instrument)
                    arg = {"channel": channel, "instId": inst}
                    self.hub.publish(f"{channel}:{inst}", {"arg": arg, "data": [row]})
        elif isinstance(event, OrderChanged):
            instrument = self._venue.engine.instruments[event.order.symbol]
            row = shown(order_event(event, instrument))
            self._tell(event.order.account, "orders", row, event.order.symbol)
        elif isinstance(event, BalanceChanged):
            both = {event.asset: (event.free, event.locked)}
            self._tell(event.account, "account", balance_json(both, self._venue.now_ms()), None)

    def _tell(self, name: str, channel: str, row: Json, symbol: str | None) -> None:
        listeners = [
            (peer, arg)
            for peer in self.hub.peers
            if peer.account and self._venue.accounts[peer.account].name == name
            for arg in peer.args.values()
            if arg.get("channel") == channel
            and (symbol is None or arg.get("instId") in {None, "", inst_id(symbol)})
        ]
        strikes = self.hub.strikes("private", symbol) if listeners else frozenset()
        for peer, arg in listeners:
            uid = str(self._venue.accounts[peer.account].uid)
            peer.send_json({"arg": {**arg, "uid": uid}, "data": [row]}, strikes)

    def every_second(self) -> None:
        """Heartbeats of quiet books, tickers, idle connections, old views."""
        self._second += 1
        for symbol, book in self._books.items():
            inst = inst_id(symbol)
            book.old.append(book.now)
            if self._second - self._quiet_since[symbol] >= HEARTBEAT_S:
                self._quiet_since[symbol] = self._second
                self.hub.publish(f"books:{inst}", book.heartbeat(self._ts()), "book", symbol)
            if self.hub.on_channel(f"tickers:{inst}"):
                row = self._market.ticker(self._venue.engine.instruments[symbol])
                arg = {"channel": "tickers", "instId": inst}
                self.hub.publish(f"tickers:{inst}", {"arg": arg, "data": [row]})
        oldest_ns = self._venue.clock.monotonic_ns() - IDLE_S * NS_PER_S
        for peer in list(self.hub.peers):
            if peer.last_seen_ns < oldest_ns and not peer.is_silent:
                peer.close_soon()

    def _small(self, channel: str, inst: str) -> Json:
        symbol = self._calls.symbols[inst].symbol
        depth = 1 if channel == "bbo-tbt" else 5
        bids, asks = self._market.levels(self._calls.symbols[inst], depth)
        data = {"asks": asks, "bids": bids, "instId": inst, "ts": self._ts(),
                "seqId": self._books[symbol].now.seq}  # fmt: skip
        return {"arg": {"channel": channel, "instId": inst}, "data": [data]}

    def _key(self, channel: str, inst: str, peer: Peer) -> str:
        return f"{channel}:{inst}:{peer.account}" if channel in PRIVATE else f"{channel}:{inst}"

    def _ts(self) -> str:
        return str(self._venue.now_ms())


def _is_near(seconds: str, now_ms: int) -> bool:
    whole = seconds.partition(".")[0]
    return whole.isascii() and whole.isdigit() and len(whole) < 12 and abs(
        int(whole) * 1000 - now_ms
    ) <= 30_000  # fmt: skip
