"""Binance's WebSocket faces: market streams under /stream and /ws, and the WS-API."""

import json
from typing import Any

from aiohttp import web

from simulator.binance_calls import Calls, Params
from simulator.binance_market import Market
from simulator.binance_rest import SIGNED, Limiter
from simulator.binance_words import (
    ApiError,
    Json,
    depth,
    depth_update,
    error,
    execution_report,
    fault_error,
    trade_event,
    wire_symbol,
)
from simulator.book import BookDelta
from simulator.clock import NS_PER_S
from simulator.instruments import Instrument, fixed8
from simulator.orders import BalanceChanged, Event, OrderChanged, Side, Traded
from simulator.peers import Hub, Peer
from simulator.reply import HANG_UP, Reply, serve
from simulator.venue import Venue

PING_EVERY_S, PONG_WITHIN_S = 20, 60
STREAMS_MAX = 1024
MESSAGES_PER_S_MAX = 5
WEIGHTS = {name: (weight, on) for name, weight, on in SIGNED.values()}
KINDS = ("depth", "depth@100ms", "depth5", "depth10", "depth20", "depth5@100ms", "depth10@100ms",
         "depth20@100ms", "trade", "aggTrade", "bookTicker", "ticker", "miniTicker",
         "kline_1m")  # fmt: skip


class Streams:
    """Public market streams. A peer on a /stream path gets {"stream","data"} around each event."""

    def __init__(self, venue: Venue, market: Market, calls: Calls) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._market = market
        self._calls = calls
        self._slow: dict[str, list[BookDelta]] = {}
        self._best: dict[str, Json] = {}
        venue.on_event.append(self.on_event)
        venue.on_book.append(self.on_book)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/stream{rest:.*}", self.accept), web.get("/ws{rest:(/.*)?}", self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection; streams may be named in the address."""
        wanted = request.query.get("streams", "").split("/")
        is_wrapped = request.path == "/stream" or "streams" in request.query
        if request.path.startswith("/ws/"):
            wanted = request.path[4:].split("/")

        def on_open(peer: Peer) -> None:
            peer.channels = {
                _channel(name, is_wrapped=is_wrapped) for name in wanted if self._known(name)
            }

        async def on_text(peer: Peer, text: str) -> None:
            self._on_text(peer, text, is_wrapped=is_wrapped)

        return await self.hub.accept(request, on_text, on_open)

    def _on_text(self, peer: Peer, text: str, *, is_wrapped: bool) -> None:
        if self._too_fast(peer):
            peer.close_soon()
            return
        try:
            message = json.loads(text)
            method, params, request_id = (
                str(message["method"]),
                message.get("params"),
                message["id"],
            )
        except (ValueError, TypeError, KeyError):
            peer.send_json({"error": {"code": 2, "msg": "Invalid request: request is malformed"}})
            return
        names = [n for n in params if isinstance(n, str)] if isinstance(params, list) else []
        if method == "LIST_SUBSCRIPTIONS":
            peer.send_json({"result": sorted(_name(c) for c in peer.channels), "id": request_id})
            return
        bad = [name for name in names if not self._known(name)]
        if method not in {"SUBSCRIBE", "UNSUBSCRIBE"} or bad or not names:
            reason = (
                f"unknown stream {bad[0]}" if bad else f"unknown method or no streams: {method}"
            )
            problem = {"code": 2, "msg": f"Invalid request: {reason}"}
            peer.send_json({"error": problem, "id": request_id})
            return
        channels = {_channel(name, is_wrapped=is_wrapped) for name in names}
        if method == "UNSUBSCRIBE":
            peer.channels -= channels
        elif len(peer.channels | channels) > STREAMS_MAX:
            problem = {"code": 2, "msg": "Invalid request: too many streams"}
            peer.send_json({"error": problem, "id": request_id})
            return
        else:
            peer.channels |= channels
        peer.send_json({"result": None, "id": request_id})

    def _too_fast(self, peer: Peer) -> bool:
        now_ns = self._venue.clock.monotonic_ns()
        peer.sent_messages = [t for t in peer.sent_messages if t > now_ns - NS_PER_S] + [now_ns]
        return len(peer.sent_messages) > MESSAGES_PER_S_MAX

    def _known(self, name: str) -> bool:
        symbol, _, kind = name.partition("@")
        return symbol.upper() in self._calls.symbols and symbol.islower() and kind in KINDS

    # -- out

    def on_event(self, event: Event) -> None:
        """Publish a trade."""
        if not isinstance(event, Traded):
            return
        instrument = self._venue.engine.instruments[event.symbol]
        for name in ("trade", "aggTrade"):
            data = trade_event(event, instrument, self._venue.now_ms(), name)
            self._publish(instrument, name, data, "")

    def on_book(self, delta: BookDelta) -> None:
        """Publish what changed in the last 100 ms, and keep it for the slower stream."""
        instrument = self._venue.engine.instruments[delta.symbol]
        self._slow.setdefault(delta.symbol, []).append(delta)
        update = depth_update(instrument, delta, self._venue.now_ms())
        self._publish(instrument, "depth@100ms", update, "book")
        for levels in (5, 10, 20):
            view = self._venue.engine.books[delta.symbol].view(levels)
            self._publish(instrument, f"depth{levels}@100ms", depth(instrument, view), "book")
        best = self._market.book_ticker(instrument)
        if best != self._best.get(delta.symbol):
            self._best[delta.symbol] = best
            names = {"b": "bidPrice", "B": "bidQty", "a": "askPrice", "A": "askQty"}
            short = {key: best[name] for key, name in names.items()}
            data = {"u": delta.last_id, "s": best["symbol"], **short}
            self._publish(instrument, "bookTicker", data, "book")

    def every_second(self) -> None:
        """Publish the slow streams."""
        for symbol, instrument in self._venue.engine.instruments.items():
            deltas = self._slow.pop(symbol, [])
            if deltas:
                update = depth_update(instrument, _merged(deltas), self._venue.now_ms())
                self._publish(instrument, "depth", update, "book")
                for levels in (5, 10, 20):
                    view = self._venue.engine.books[symbol].view(levels)
                    self._publish(instrument, f"depth{levels}", depth(instrument, view), "book")
            self._publish_tickers(instrument)

    def _publish_tickers(self, instrument: Instrument) -> None:
        if not self.hub.peers:
            return
        day = self._market.day_ticker(instrument)
        head = {"E": self._venue.now_ms(), "s": day["symbol"]}
        mini = {"c": day["lastPrice"], "o": day["openPrice"], "h": day["highPrice"],
                "l": day["lowPrice"], "v": day["volume"], "q": day["quoteVolume"]}  # fmt: skip
        more = {"p": day["priceChange"], "P": day["priceChangePercent"],
                "w": day["weightedAvgPrice"], "x": day["prevClosePrice"], "Q": day["lastQty"],
                "b": day["bidPrice"], "B": day["bidQty"], "a": day["askPrice"],
                "A": day["askQty"], "O": day["openTime"], "C": day["closeTime"],
                "F": day["firstId"], "L": day["lastId"], "n": day["count"]}  # fmt: skip
        self._publish(instrument, "miniTicker", {"e": "24hrMiniTicker", **head, **mini}, "")
        self._publish(instrument, "ticker", {"e": "24hrTicker", **head, **mini, **more}, "")
        rows = self._market.klines({"symbol": day["symbol"], "interval": "1m", "limit": "1"})
        if rows:
            r = rows[0]
            k = {"t": r[0], "T": r[6], "s": day["symbol"], "i": "1m", "o": r[1], "h": r[2],
                 "l": r[3], "c": r[4], "v": r[5], "n": r[8], "x": False, "q": r[7],
                 "V": r[9], "Q": r[10], "B": "0"}  # fmt: skip
            self._publish(instrument, "kline_1m", {"e": "kline", **head, "k": k}, "")

    def _publish(self, instrument: Instrument, kind: str, data: Json, tag: str) -> None:
        name = f"{wire_symbol(instrument.symbol).lower()}@{kind}"
        self.hub.publish(_channel(name, is_wrapped=False), data, tag, instrument.symbol)
        wrapped = {"stream": name, "data": data}
        self.hub.publish(_channel(name, is_wrapped=True), wrapped, tag, instrument.symbol)


class WsApi:
    """The WS-API: calls as on REST, and the account's events on signed subscriptions."""

    def __init__(self, venue: Venue, calls: Calls, market: Market, limiter: Limiter) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._calls = calls
        self._market = market
        self._limiter = limiter
        self._public = {"ping": "ping", "time": "time", "exchangeInfo": "exchangeInfo",
                        "depth": "depth", "ticker.book": "ticker/bookTicker",
                        "ticker.price": "ticker/price"}  # fmt: skip
        self._subscribed: dict[Peer, dict[int, str]] = {}
        venue.on_event.append(self.on_event)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [web.get("/ws-api/v3", self.accept)]

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serve one connection."""

        def on_open(peer: Peer) -> None:
            peer.is_private = True
            self._subscribed[peer] = {}

        try:
            return await self.hub.accept(request, self._on_text, on_open)
        finally:
            gone = [peer for peer in self._subscribed if peer not in self.hub.peers]
            for peer in gone:
                del self._subscribed[peer]

    async def _on_text(self, peer: Peer, text: str) -> None:
        peer.begin(self._serve(peer, text))

    async def _serve(self, peer: Peer, text: str) -> None:
        try:
            message = json.loads(text)
            method, request_id = str(message["method"]), message.get("id")
            params = {k: _text(v) for k, v in (message.get("params") or {}).items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            self._answer(peer, None, error(400, -1135, "Invalid JSON Request"), [])
            return
        who: list[str] = []
        reply = await self._call(peer, method, params, who)
        limits = self._limiter.rate_limits(who[0] if who else None)
        strikes: frozenset[str] = frozenset()
        if method in self._calls.table and reply is not HANG_UP:
            strikes = self.hub.strikes("reply", self._symbol(params))
        wanted = params.get("returnRateLimits") != "false"
        self._answer(peer, request_id, reply, limits if wanted else None, strikes)

    async def _call(self, peer: Peer, method: str, params: Params, who: list[str]) -> Reply:
        if method in self._public:
            limited = self._limiter.charge(2)
            return limited or self._try(lambda: self._market.table[self._public[method]](params))
        if method == "userDataStream.subscribe.signature":
            return self._try(lambda: self._subscribe(peer, params))
        if method == "userDataStream.unsubscribe":
            number = params.get("subscriptionId", "")
            subscribed = self._subscribed[peer]
            subscribed.pop(int(number), None) if number.isdigit() else subscribed.clear()
            return Reply(200, {})
        if method == "session.subscriptions":
            ids = [{"subscriptionId": number} for number in self._subscribed[peer]]
            return Reply(200, ids)
        if method not in self._calls.table:
            return error(400, -1000, f"Unknown method {method[:60]!r}.")
        return await self._signed(method, params, who)

    # `who` is told whose orders were counted.
    async def _signed(self, method: str, params: Params, who: list[str]) -> Reply:
        weight, on = WEIGHTS[method]

        def execute() -> Reply:
            try:
                account = self._calls.authenticate(
                    params.get("apiKey"), params, _signed_text(params)
                )
                limited = None
                if on == "order":
                    who.append(account.name)
                    limited = self._limiter.charge_order(account.name)
                return limited or Reply(
                    200, self._calls.run(method, account, {**params, "_via": "ws"})
                )
            except ApiError as refused:
                return refused.reply

        limited = self._limiter.charge(weight)
        return limited or await serve(self._venue, on, self._symbol(params), execute, fault_error)

    def _symbol(self, params: Params) -> str | None:
        instrument = self._calls.symbols.get(params.get("symbol", ""))
        return None if instrument is None else instrument.symbol

    def _try(self, act: Any) -> Reply:
        try:
            return Reply(200, act())
        except ApiError as refused:
            return refused.reply

    def _subscribe(self, peer: Peer, params: Params) -> Json:
        if self._venue.faults.take("auth_revoked", "private"):
            raise ApiError(401, -2015, "Invalid API-key, IP, or permissions for action.")
        account = self._calls.authenticate(params.get("apiKey"), params, _signed_text(params))
        subscribed = self._subscribed[peer]
        if account.name in subscribed.values():
            raise ApiError(409, -2035, "User data stream is already subscribed.")
        number = max(subscribed, default=-1) + 1
        subscribed[number] = account.name
        return {"subscriptionId": number}

    def _answer(
        self, peer: Peer, request_id: Any, reply: Reply, limits: list[Json] | None,
        strikes: frozenset[str] = frozenset(),
    ) -> None:  # fmt: skip
        if reply is HANG_UP:
            peer.abort()
            return
        if reply.raw is not None:
            peer.send(reply.raw, strikes)
            return
        key, content = "result" if reply.status == 200 else "error", reply.payload
        if "Retry-After" in reply.headers:
            now_ms = self._venue.now_ms()
            again_ms = now_ms + int(reply.headers["Retry-After"]) * 1000
            content = {**content, "data": {"serverTime": now_ms, "retryAfter": again_ms}}
        answer = {"id": request_id, "status": reply.status, key: content}
        if limits is not None:
            answer["rateLimits"] = limits
        frame = json.dumps(answer, separators=(",", ":"))
        peer.send(frame[: len(frame) // 2] if reply.is_cut else frame, strikes)

    def on_event(self, event: Event) -> None:
        """Send an account's events to its subscriptions."""
        symbol = None
        now_ms = self._venue.now_ms()
        if isinstance(event, OrderChanged):
            symbol, account = event.order.symbol, event.order.account
            instrument = self._venue.engine.instruments[symbol]
            data = execution_report(event.what, event.order, event.fill, instrument, now_ms)
        elif isinstance(event, BalanceChanged):
            account = event.account
            data = _balance_event(event, now_ms)
        else:
            return
        listeners = [
            (peer, number)
            for peer, subscribed in self._subscribed.items()
            for number, name in subscribed.items()
            if name == account
        ]
        strikes = self.hub.strikes("private", symbol) if listeners else frozenset()
        for peer, number in listeners:
            peer.send_json({"subscriptionId": number, "event": data}, strikes)


def _balance_event(event: BalanceChanged, now_ms: int) -> Json:
    if event.reason != "trade":
        return {"e": "balanceUpdate", "E": now_ms, "a": event.asset, "d": fixed8(event.delta),
                "T": now_ms}  # fmt: skip
    balance = {"a": event.asset, "f": fixed8(event.free), "l": fixed8(event.locked)}
    return {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": [balance]}


def _merged(deltas: list[BookDelta]) -> BookDelta:
    bids: dict[int, int] = {}
    asks: dict[int, int] = {}
    touched: dict[tuple[Side, int], int] = {}
    for delta in deltas:
        bids.update(delta.bids)
        asks.update(delta.asks)
        touched.update(delta.touched)
    first, last = deltas[0], deltas[-1]
    return BookDelta(
        first.symbol, first.first_id, last.last_id,
        tuple(sorted(bids.items(), reverse=True)), tuple(sorted(asks.items())), touched,
    )  # fmt: skip


def _channel(name: str, *, is_wrapped: bool) -> str:
    return f"{'wrapped' if is_wrapped else 'raw'}:{name}"


def _name(channel: str) -> str:
    return channel.partition(":")[2]


def _text(value: Any) -> str:
    # Signatures cover JSON booleans as true/false.
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _signed_text(params: Params) -> str:
    return "&".join(f"{k}={params[k]}" for k in sorted(params) if k != "signature")
