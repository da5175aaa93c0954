"""What became of our orders: one order's fate, and the whole account's, asked over REST.

An order counts as not found only when the order query, the open orders and the fills all miss it,
each asked after the question came. Fills are paged to the end and matched to client ids.
"""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from adapters.ccxt_rest import CcxtRest
from adapters.codec import BadReply, NotListed, RestCall
from adapters.desk import CallFailed, Desk
from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.errors import Refused
from engine.messages.port import (
    FillReport,
    OrderReport,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    Source,
)

OVERLAP_MS: Final = 5 * 60 * 1000
FIRST_LOOK_MS: Final = 24 * 3600 * 1000
PAGES_MAX: Final = 200
LOOKUPS_MAX: Final = 50
_Item = TypeVar("_Item")


class Inquiry:
    """Queries and reconciliations of one account. Used by one worker at a time."""

    def __init__(
        self, desk: Desk, symbols: tuple[str, ...], clock: Clock, orders_at_once: int = 1
    ) -> None:
        self._orders_at_once = orders_at_once
        self._desk = desk
        self._codec = desk.codec
        self._symbols = symbols
        self._clock = clock

    # The venue's clock where it is known: a step of ours must not move the cursor.
    def _now(self) -> tuple[int, int]:
        mono_ns = self._clock.mono_ns()
        return self._desk.venue_ns(mono_ns) or self._clock.wall_ns(), mono_ns

    def query(self, rest: CcxtRest, query: QueryOrder) -> QueryResult:
        """Ask for the order, the open orders and the fills; `found` None if one did not answer."""
        asked_wall_ns, asked_mono_ns = self._now()
        try:
            found, order, fills, evidence = self._look_for(rest, query)
        except (CallFailed, ValueError, Refused) as failed:
            found, order, fills, evidence = None, None, [], f"not answered: {failed}"[:500]
        return QueryResult(
            account=query.account,
            client_order_id=query.client_order_id,
            found=found,
            order=order,
            fills=fills,
            asked_wall_ns=asked_wall_ns,
            asked_mono_ns=asked_mono_ns,
            evidence=evidence,
        )

    def _look_for(
        self, rest: CcxtRest, query: QueryOrder
    ) -> tuple[bool, OrderReport | None, list[FillReport], str]:
        order = self._order(rest, query.symbol, query.client_order_id, query.venue_order_id)
        if order is None:
            listed = self._open_orders(rest, query.symbol, "query")
            order = next((o for o in listed if _is_asked(o, query)), None)
        if order is None and (venue_order_id := self._id_in_history(rest, query)):
            order = self._order(rest, query.symbol, "", venue_order_id)
        if order is not None:
            call = self._codec.fills_of(query.symbol, order.venue_order_id)
            fills = [_named(f, order.client_order_id) for f in self._fills(rest, call, "query")]
            return True, order, fills, f"{order.status} as {order.venue_order_id}"
        since_ms = self._since_ms(query.since_wall_ns)
        call = self._codec.fills(query.symbol, since_ms, self._now_ms())
        fills = [f for f in self._fills(rest, call, "query") if _is_filled(f, query)]
        if fills:
            return True, None, fills, f"{len(fills)} fills, no order"
        return False, None, [], "absent from the order query, the open orders and the fills"

    def reconcile(self, rest: CcxtRest, ask: Reconcile) -> ReconcileResult:
        """Ask for open orders and fills of all symbols, then balances."""
        asked_wall_ns, asked_mono_ns = self._now()
        open_orders: list[OrderReport] = []
        fills: list[FillReport] = []
        balances = []
        since_ms = self._since_ms(ask.fills_since_wall_ns)
        try:
            for symbol in self._symbols:
                open_orders += self._open_orders(rest, symbol, "reconcile")
                fills += self._named_fills(rest, symbol, since_ms)
            balances = self._codec.read_balances(self._desk.read(rest, self._codec.balances()))
            ok, text = True, ""
        except (CallFailed, ValueError, Refused) as failed:
            ok, text = False, str(failed)[:500]
            open_orders, fills, balances = [], [], []
        return ReconcileResult(
            request_id=ask.request_id,
            account=ask.account,
            ok=ok,
            text=text,
            open_orders=open_orders,
            fills=fills,
            balances=balances,
            asked_wall_ns=asked_wall_ns,
            asked_mono_ns=asked_mono_ns,
        )

    # --- the parts

    def _order(
        self, rest: CcxtRest, symbol: str, client_order_id: str, venue_order_id: str | None
    ) -> OrderReport | None:
        call = self._codec.order(symbol, client_order_id, venue_order_id)
        try:
            order = self._codec.read_order(self._desk.read(rest, call))
        except NotListed:
            return None
        except CallFailed as failed:
            if failed.verdict.kind == "NOT_FOUND":
                return None
            raise
        if client_order_id and order.client_order_id != client_order_id:
            raise BadReply(f"asked for {client_order_id}, told of {order.client_order_id}")
        return order

    def _open_orders(self, rest: CcxtRest, symbol: str, source: Source) -> list[OrderReport]:
        def read(reply: Any, call: RestCall) -> tuple[list[OrderReport], RestCall | None]:
            page = self._codec.read_open_orders(reply, call, source)
            return page.orders, page.next

        return self._pages(rest, self._codec.open_orders(symbol), read)

    def _fills(self, rest: CcxtRest, call: RestCall, source: Source) -> list[FillReport]:
        def read(reply: Any, call: RestCall) -> tuple[list[FillReport], RestCall | None]:
            page = self._codec.read_fills(reply, call, source, self._now_ms())
            return page.fills, page.next

        return self._pages(rest, call, read)

    def _pages(
        self,
        rest: CcxtRest,
        call: RestCall,
        read: Callable[[Any, RestCall], tuple[list[_Item], RestCall | None]],
    ) -> list[_Item]:
        items: list[_Item] = []
        following: RestCall | None = call
        for _ in range(PAGES_MAX):
            if following is None:
                return items
            page, following = read(self._desk.read(rest, following), following)
            items += page
        raise ValueError(f"more than {PAGES_MAX} pages; the cursor is too old")

    # Fills with the client id of their order, where the venue's fills do not carry it.
    def _named_fills(self, rest: CcxtRest, symbol: str, since_ms: int) -> list[FillReport]:
        call = self._codec.fills(symbol, since_ms, self._now_ms())
        fills = self._fills(rest, call, "reconcile")
        nameless = {f.venue_order_id for f in fills if not f.client_order_id}
        if not nameless:
            return fills
        names = self._client_ids(rest, symbol, since_ms)
        missing = sorted(nameless - names.keys())
        for at in range(
            0, min(len(missing), LOOKUPS_MAX * self._orders_at_once), self._orders_at_once
        ):
            names |= self._look_up(rest, symbol, missing[at : at + self._orders_at_once])
        return [
            f if f.client_order_id else _named(f, names.get(f.venue_order_id, "")) for f in fills
        ]

    def _look_up(self, rest: CcxtRest, symbol: str, venue_ids: list[str]) -> dict[str, str]:
        if self._orders_at_once > 1:
            call = self._codec.order(symbol, "", ",".join(venue_ids))
            try:
                return self._codec.read_client_ids(self._desk.read(rest, call))
            except CallFailed as failed:
                if failed.verdict.kind != "NOT_FOUND":
                    raise  # else one of them is not there: the venue does not say which
        orders = {name: self._order(rest, symbol, "", name) for name in venue_ids}
        return {name: o.client_order_id if o is not None else "" for name, o in orders.items()}

    def _client_ids(self, rest: CcxtRest, symbol: str, since_ms: int) -> dict[str, str]:
        call = self._codec.orders_since(symbol, since_ms)
        return {} if call is None else self._codec.read_client_ids(self._desk.read(rest, call))

    # A venue may still list an order by id that its query by client id does not find.
    def _id_in_history(self, rest: CcxtRest, query: QueryOrder) -> str:
        since_ms = self._since_ms(query.since_wall_ns)
        names = self._client_ids(rest, query.symbol, since_ms)
        wanted = query.client_order_id
        return next((vid for vid, name in names.items() if wanted and name == wanted), "")

    def _now_ms(self) -> int:
        return self._clock.wall_ns() // NS_PER_MS

    # With some overlap; a first look at an account goes back a day.
    def _since_ms(self, since_wall_ns: int) -> int:
        if since_wall_ns < NS_PER_S:
            return self._now_ms() - FIRST_LOOK_MS
        return since_wall_ns // NS_PER_MS - OVERLAP_MS


def _named(fill: FillReport, client_order_id: str) -> FillReport:
    return msgspec.structs.replace(fill, client_order_id=client_order_id)


def _is_asked(order: OrderReport, query: QueryOrder) -> bool:
    if query.client_order_id:
        return order.client_order_id == query.client_order_id
    return order.venue_order_id == query.venue_order_id


def _is_filled(fill: FillReport, query: QueryOrder) -> bool:
    if query.client_order_id and fill.client_order_id == query.client_order_id:
        return True
    return query.venue_order_id is not None and fill.venue_order_id == query.venue_order_id
