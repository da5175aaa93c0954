"""What a halt's sweep did, venue by venue: cancelled, filled meanwhile, still unknown, and proven empty.

The orders' ends are read from the journal's events since the halt was asked for; that nothing is
open any more is the venue's own word, asked after the last of them. A venue that does not answer in
time is named, and the others' receipts are told.
"""

import asyncio
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from engine.control_orders import (
    EDGE,
    ENDED,
    Outcome,
    Placing,
    look,
    place,
    query,
    reply_body,
)
from engine.control_peer import Peer
from engine.errors import CoreError, Refused
from engine.messages.commands import Append, AskOpen, PlaceOrder
from engine.messages.engine_events import VenueSwept
from engine.messages.events import OrderCanceled, OrderExpired, OrderFilled
from engine.trading.money import plain

NAMED_MAX: Final = 1_000
PAUSE_S: Final = 0.05
VERIFY_S: Final = 5.0  # behind the deadline of the sweep, for the venues' word


class Sweep:
    """One halt's sweep: what ended since a seq of the journal, and what the venues say is open."""

    def __init__(
        self, peer: Peer, scope: str, request_id: str, since_seq: int, timeout_s: float
    ) -> None:
        self._peer = peer
        self._hub = peer.hub
        self._scope = scope
        self._request_id = request_id
        self._seen = since_seq
        self._end_ns = peer.hub.clock.mono_ns() + int(timeout_s * 1e9)
        self._ended: dict[str, None] = {}
        self._filled: dict[str, Decimal] = {}

    async def rows(self) -> list[dict[str, Any]]:
        """Return a row a venue of the scope, journaled. Blocks up to the deadline and five seconds."""
        open_orders = await self._until_ended()
        venues = [v for v in self._peer.facts.venues if self._concerns(v)]
        told = await asyncio.gather(*(self._ask(venue) for venue in venues))
        views = await self._views()
        answer = [
            self._row(venue, word, views, open_orders)
            for venue, word in zip(venues, told, strict=True)
        ]
        self._journal(answer)
        return answer

    def _concerns(self, venue: str) -> bool:
        kind, _, name = self._scope.partition(":")
        symbols = self._peer.facts.venues[venue]
        return kind == "all" or name == venue or (kind == "symbol" and name in symbols)

    async def _until_ended(self) -> list[Mapping[str, Any]]:
        while True:
            await self._collect()
            found = [o for o in await query(self._hub, "orders", self._open()) if self._is_ours(o)]
            if not found or self._hub.clock.mono_ns() >= self._end_ns:
                await self._collect()
                return found
            await self._hub.changed(PAUSE_S)

    def _open(self) -> dict[str, str]:
        kind, _, name = self._scope.partition(":")
        return {"state": "open", "limit": "10000"} | ({kind: name} if name else {})

    def _is_ours(self, order: Mapping[str, Any]) -> bool:
        return str(order.get("origin", "COMMAND")) == "COMMAND" and str(order["venue"]) != "best"

    async def _collect(self) -> None:
        while events := await self._hub.events_after(self._seen):
            for seq, event in events:
                self._seen = seq
                if isinstance(event, OrderCanceled | OrderExpired):
                    self._ended[event.order_id] = None
                elif isinstance(event, OrderFilled):
                    before = self._filled.get(event.order_id, Decimal(0))
                    self._filled[event.order_id] = before + event.quantity

    async def _views(self) -> dict[str, Mapping[str, Any]]:
        wanted = [*dict.fromkeys([*self._ended, *self._filled])][: 2 * NAMED_MAX]
        found = [await look(self._hub, {"order_id": order_id}) for order_id in wanted]
        return {v["order_id"]: v for v in found if v is not None and self._in_scope(v)}

    def _in_scope(self, view: Mapping[str, Any]) -> bool:
        kind, _, name = self._scope.partition(":")
        return kind == "all" or view[kind] == name

    async def _ask(self, venue: str) -> dict[str, Any]:
        correlation_id = f"{self._request_id}-{venue}"[:64]
        message = AskOpen(correlation_id, self._scope, EDGE)
        left_s = (self._end_ns - self._hub.clock.mono_ns()) / 1e9
        reply = self._hub.core.command(f"exchange.{venue}", message, correlation_id)
        try:
            return dict(await reply_body(reply, max(0.0, left_s) + VERIFY_S, "what is open"))
        except (Outcome, Refused) as error:
            return {"ok": False, "text": error.text, "ours": [], "others": []}
        finally:
            reply.cancel()

    def _row(
        self,
        venue: str,
        word: Mapping[str, Any],
        views: Mapping[str, Mapping[str, Any]],
        open_orders: list[Mapping[str, Any]],
    ) -> dict[str, Any]:
        here = {order_id for order_id, view in views.items() if view["venue"] == venue}
        unknown = [str(o["order_id"]) for o in open_orders if o["venue"] == venue]
        unknown += [name for name in word["ours"] if name not in unknown]
        proven = bool(word["ok"]) and not word["ours"]
        problem = "" if word["ok"] else f"the venue did not say what is open: {word['text']}"
        if word["ours"]:
            problem = f"{len(word['ours'])} orders are still open there"
        canceled = [i for i in self._ended if i in here and views[i]["status"] in ENDED]
        return {
            "venue": venue,
            "account": self._peer.facts.accounts.get(venue, ""),
            "canceled": canceled[:NAMED_MAX],
            "filled": [
                {"order_id": order_id, "quantity": plain(quantity)}
                for order_id, quantity in self._filled.items()
                if order_id in here
            ][:NAMED_MAX],
            "unknown": unknown[:NAMED_MAX],
            "left": list(word["others"])[:NAMED_MAX],
            "proven": proven,
            "problem": problem,
        }

    def _journal(self, rows: list[dict[str, Any]]) -> None:
        at_ns = self._hub.clock.wall_ns()
        swept = [
            VenueSwept(
                self._request_id, "halt", row["venue"], row["account"], self._peer.who,
                row["canceled"], [(f["order_id"], Decimal(f["quantity"])) for f in row["filled"]],
                row["unknown"], row["left"], row["proven"], row["problem"][:2000], at_ns,
            )
            for row in rows
        ]  # fmt: skip
        self._hub.core.tell("persistence", Append([*swept]))


async def flatten(
    peer: Peer, scope: str, request_id: str, timeout_s: float
) -> list[dict[str, Any]]:
    """Sell at the market what was bought here beyond the opening balances; return a row an order.

    Nothing is bought back: on a spot account that would not reduce a position. The same halt
    repeated places nothing twice only where its command id is the same.
    """
    kind, _, name = scope.partition(":")
    rows: list[dict[str, Any]] = []
    for number, held in enumerate(await query(peer.hub, "positions", {})):
        venue, symbol = held["account"].partition(".")[0], held["symbol"]
        fees = Decimal(held["fees"].get(symbol.partition("/")[0], 0))  # taken from what was bought
        traded = min(Decimal(held["traded_quantity"]) - fees, Decimal(held["quantity"]))
        if (
            traded <= 0
            or (kind == "venue" and name != venue)
            or (kind == "symbol" and name != symbol)
        ):
            continue
        command_id = f"{request_id}-f{number}"
        order = PlaceOrder(
            command_id, venue, held["account"], symbol, "SELL", "MARKET", "IOC", False, traded,
            None, False, peer.who, EDGE,
        )  # fmt: skip
        row = {"venue": venue, "symbol": symbol, "quantity": plain(traded), "problem": ""}
        try:
            row["order"] = await place(peer.hub, Placing(order, "filled", timeout_s))
        except Outcome as outcome:
            row |= {"order": outcome.result, "problem": outcome.text}
        except CoreError as error:
            row |= {"order": None, "problem": str(error)}
        rows.append(row)
    return rows
