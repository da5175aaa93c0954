"""Deriv's WebSocket faces: the New API's public, demo and real ones, and v3's one.

A call's answer carries `echo_req` and `req_id`; a push carries them, too, with its subscription's id.
Budgets are counted per login and row of the venue's table; a ping is free. v3 ends a connection that has
been silent for two minutes.
"""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from aiohttp import web

from simulator.clock import NS_PER_S
from simulator.deriv_calls import PRIVATE, Calls, Client, Subscription
from simulator.deriv_dealer import FOLLOWS, Deal, Dealer
from simulator.deriv_rest import Passwords
from simulator.deriv_words import CallRefused, Json, error_json, fault_reply, transaction_json
from simulator.peers import Hub, Peer
from simulator.reply import HANG_UP, Reply, serve
from simulator.venue import Venue

IDLE_S = 120
MINUTE_NS = 60 * NS_PER_S
# Calls a minute, by dialect and row; a call in no row is one of the others.
BUDGETS = {
    "new": {"trading": 360, "money": 100, "history": 30, "others": 220},
    "v3": {"pricing": 80, "outcome": 25, "others": 180},
}
ROWS = {
    "new": {
        "proposal": "trading", "proposal_open_contract": "trading", "buy": "trading",
        "sell": "trading", "balance": "money", "statement": "money", "portfolio": "history",
        "profit_table": "history",
    },
    "v3": {
        "proposal": "pricing", "proposal_open_contract": "pricing", "portfolio": "outcome",
        "statement": "outcome", "profit_table": "outcome",
    },
}  # fmt: skip
# What faults know a call as.
TARGETS = {"buy": "order", "sell": "order"}


class Sockets:
    """All WebSocket connections of the venue."""

    def __init__(self, venue: Venue, dealer: Dealer, calls: Calls, passwords: Passwords) -> None:
        self.hub = Hub(venue)
        self._venue = venue
        self._dealer = dealer
        self._calls = calls
        self._passwords = passwords
        self._clients: dict[Peer, Client] = {}
        self._spent: dict[tuple[str, str], list[int]] = {}
        dealer.on_deal.append(self._on_deal)

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        return [
            web.get("/trading/v1/options/ws/{face:public|demo|real}", self._accept_new),
            web.get("/websockets/v3", self._accept_v3),
        ]

    async def _accept_new(self, request: web.Request) -> web.StreamResponse:
        client = Client("new", "0")
        if request.match_info["face"] != "public":
            ticket = self._passwords.take(request.query.get("otp", ""))
            if ticket is None:
                return web.Response(status=401)
            client.account, client.app_id = ticket
        return await self._serve(request, client)

    async def _accept_v3(self, request: web.Request) -> web.StreamResponse:
        app_id = request.query.get("app_id", "")
        if not app_id:
            return web.Response(status=401)
        return await self._serve(request, Client("v3", app_id))

    async def _serve(self, request: web.Request, client: Client) -> web.StreamResponse:
        def on_open(peer: Peer) -> None:
            peer.is_private = client.account is not None
            self._clients[peer] = client

        try:
            return await self.hub.accept(request, self._on_text, on_open)
        finally:
            for peer in [p for p, known in self._clients.items() if known is client]:
                del self._clients[peer]

    # -- in

    async def _on_text(self, peer: Peer, text: str) -> None:
        try:
            message = json.loads(text)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            peer.send_json({"msg_type": "", **error_json("input")})
            return
        if "ping" in message:
            peer.send_json(self._framed(message, {"msg_type": "ping", "ping": "pong"}))
            return
        peer.begin(self._act(peer, message))

    async def _act(self, peer: Peer, message: Json) -> None:
        client = self._clients[peer]
        method = self._calls.method(message)
        if method is None:
            peer.send_json(self._framed(message, {"msg_type": "", **error_json("unknown_call")}))
            return
        on = TARGETS.get(method, "query")
        symbol = _symbol_of(message)

        def execute() -> Reply:
            try:
                self._charge(client, method)
                return Reply(200, self._calls.execute(client, method, message))
            except CallRefused as refused:
                return Reply(200, refused.error)

        reply = await serve(self._venue, on, symbol, execute, fault_reply)
        if reply is HANG_UP:
            peer.abort()
            return
        peer.is_private = client.account is not None
        strikes = self.hub.strikes("reply", symbol) if method in TARGETS else frozenset()
        if reply.raw is not None:
            peer.send(reply.raw, strikes)
            return
        frame = json.dumps(self._framed(message, {"msg_type": method, **reply.payload}))
        peer.send(frame[: len(frame) // 2] if reply.is_cut else frame, strikes)
        if "subscription" in reply.payload and method == "proposal_open_contract":
            self._push_contracts(peer, client)

    def _framed(self, message: Json, answer: Json) -> Json:
        echo = dict(message)
        if "authorize" in echo:
            echo["authorize"] = "<not shown>"
        framed: Json = {"echo_req": echo, **answer}
        if "req_id" in message:
            framed["req_id"] = message["req_id"]
        if "passthrough" in message:
            framed["passthrough"] = message["passthrough"]
        return framed

    def _charge(self, client: Client, method: str) -> None:
        row = ROWS[client.dialect].get(method, "others")
        who = client.account.name if client.account is not None else f"app {client.app_id}"
        now_ns = self._venue.clock.monotonic_ns()
        spent = self._spent.setdefault((who, row), [])
        while spent and spent[0] <= now_ns - MINUTE_NS:
            spent.pop(0)
        if len(spent) >= BUDGETS[client.dialect][row]:
            raise CallRefused("rate_limit_429")
        spent.append(now_ns)

    def forget_spent(self) -> None:
        """Give every login its budgets back."""
        self._spent.clear()

    # -- out

    def every_second(self) -> None:
        """Ticks, stop outs, contracts' states, silent connections."""
        self._dealer.look_after()
        now_ns = self._venue.clock.monotonic_ns()
        for underlying in FOLLOWS:
            if self._dealer.is_open(underlying):
                self._push_tick(underlying)
        for peer, client in list(self._clients.items()):
            self._push_contracts(peer, client)
            if client.dialect == "v3" and peer.last_seen_ns < now_ns - IDLE_S * NS_PER_S:
                peer.close_soon()

    def _push_tick(self, underlying: str) -> None:
        listeners = list(self._subscribed("ticks", underlying))
        strikes = self.hub.strikes("book", underlying) if listeners else frozenset()
        for peer, made in listeners:
            tick = self._calls.tick(underlying)
            self._push(peer, made, {"msg_type": "tick", "tick": tick}, strikes)

    # Each open contract's state; of one that was sold, its last state once.
    def _push_contracts(self, peer: Peer, client: Client) -> None:
        if client.account is None:
            return
        for made in list(client.subscriptions.values()):
            if made.method != "proposal_open_contract":
                continue
            for contract in list(self._dealer.contracts.values()):
                if contract.account != client.account.name:
                    continue
                if made.key not in ("", str(contract.contract_id)):
                    continue
                if not contract.is_open and made.told.get(contract.contract_id, True):
                    continue
                made.told[contract.contract_id] = not contract.is_open
                state = self._calls.open_contract(contract, client.dialect)
                body = {"msg_type": "proposal_open_contract", "proposal_open_contract": state}
                self._push(peer, made, body, frozenset())

    def _on_deal(self, deal: Deal) -> None:
        contract = deal.contract
        if deal.action == "buy":
            rule = self._venue.faults.take("hidden_order", "order", contract.underlying)
            if rule is not None:
                until_ns = self._venue.now_ns() + rule.number("ms", 5000) * 1_000_000
                self._dealer.hidden_until_ns[contract.contract_id] = until_ns
        for method in ("transaction", "balance"):
            listeners = [
                (peer, made)
                for peer, made in self._subscribed(method, "")
                if self._clients[peer].account is not None
                and self._clients[peer].account.name == contract.account  # type: ignore[union-attr]
            ]
            strikes = self.hub.strikes("private", contract.underlying) if listeners else frozenset()
            for peer, made in listeners:
                client = self._clients[peer]
                assert client.account is not None
                body: Json = {"msg_type": method}
                if method == "transaction":
                    body["transaction"] = transaction_json(deal, client.dialect)
                else:
                    body["balance"] = self._calls.balance(client.account)
                self._push(peer, made, body, strikes)

    def _subscribed(self, method: str, key: str) -> Iterator[tuple[Peer, Subscription]]:
        for peer, client in list(self._clients.items()):
            for made in client.subscriptions.values():
                if made.method == method and made.key == key:
                    yield peer, made

    def _push(self, peer: Peer, made: Subscription, body: Json, strikes: frozenset[str]) -> None:
        with contextlib.suppress(RuntimeError):
            frame: dict[str, Any] = {**body, "subscription": {"id": made.number}}
            peer.send_json(self._framed(made.request, frame), strikes)


def _symbol_of(message: Json) -> str | None:
    found = message.get("underlying_symbol") or message.get("symbol") or message.get("ticks")
    return found if isinstance(found, str) else None


assert set(TARGETS) < PRIVATE
