"""One venue's part of a panic: cancel what this instance has open, prove it, say what is not known.

It runs beside a core that may be wedged, dead or well, with REST clients of its own, and it never places
an order: its own gate is shut from the start. Only orders that this instance minted are touched;
others' are listed and left. Zero open is proven by two looks in a row, a while apart, the last of them after
every order that had passed a gate before the fence can have arrived.
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from threading import Event
from typing import Any, Final

from adapters.ccxt_generic import client_of
from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.gate import Gate
from adapters.inquiry import Inquiry
from adapters.offset import ClockOffset
from adapters.rate import RateGovernor
from adapters.registry import ADAPTERS, VenueConfig, dialect
from engine.clock import NS_PER_S, Clock
from engine.errors import CoreError
from engine.ids import is_ours
from engine.journal_orders import JournalOrders
from engine.messages.port import CancelOrder, OrderReport, QueryOrder, Reconcile
from engine.trading.order import Order

LOOK_APART_S: Final = 1.0
AGAIN_S: Final = 0.3
ARRIVES_WITHIN_S: Final = 6.0  # the expiry of our requests is 5 s at every venue that has one
NAMED_MAX: Final = 1_000
OPEN: Final = ("NEW", "PARTIALLY_FILLED")


@dataclass
class VenueReceipt:
    """What was done at one venue, found and proved."""

    venue: str
    account: str
    canceled: list[str] = field(default_factory=list)
    filled: dict[str, Decimal] = field(default_factory=dict)  # meanwhile, by order
    unknown: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # others' orders, by the venue's id
    proven: bool = False
    problem: str = "not finished"

    def plain(self) -> dict[str, Any]:
        """Return the receipt as plain data; of very many orders the first are named."""
        more = max(len(self.canceled), len(self.filled), len(self.unknown), len(self.left))
        cut = f"; more than {NAMED_MAX}: the first are named" if more > NAMED_MAX else ""
        return {
            "venue": self.venue,
            "account": self.account,
            "canceled": self.canceled[:NAMED_MAX],
            "filled": [
                {"order_id": order_id, "quantity": f"{quantity:f}"}
                for order_id, quantity in [*self.filled.items()][:NAMED_MAX]
            ],
            "unknown": self.unknown[:NAMED_MAX],
            "left": self.left[:NAMED_MAX],
            "proven": self.proven,
            "problem": self.problem + cut,
        }


class VenuePanic:
    """Sweeps one venue. `run` blocks, at most until its deadline; everything else is private."""

    def __init__(
        self,
        config: VenueConfig,
        instance: str,
        clock: Clock,
        *,
        say: Callable[[str], None],
        fenced_mono_ns: int,
        end_mono_ns: int,
    ) -> None:
        """Take whose orders to cancel. `say` tells a person what goes on."""
        self.receipt = VenueReceipt(config.name, config.account)
        self._config = config
        self._instance = instance
        self._clock = clock
        self._say = say
        self._fenced_ns = fenced_mono_ns
        self._end_ns = end_mono_ns
        self._stopping = Event()
        self._looks = 0
        self._needs_listing = False
        self._touched: dict[str, OrderReport] = {}

    def run(self, known: Callable[[], JournalOrders | None]) -> None:
        """Cancel and prove; what stands at the end is in `receipt`. `known` waits for the journal."""
        try:
            self._run(known)
        except (CallFailed, ValueError, CoreError) as failed:
            self.give_up(f"the venue does not answer: {failed}"[:500], known())

    def _run(self, known: Callable[[], JournalOrders | None]) -> None:
        desk, inquiry, rest = self._open(self._config)
        try:
            self._reach(desk, rest)
            self._cancel_all(desk, rest, self._look(inquiry, rest))  # first of all, asking nobody
            journal = known()
            self._check_account(desk, rest, journal)
            if not self.receipt.problem:
                if self._extend(journal):
                    rest.close()
                    desk, inquiry, rest = self._open(self._config)
                    self._reach(desk, rest)
                self.receipt.proven = self._prove(desk, inquiry, rest, journal)
                self._settle(inquiry, rest, journal)
        finally:
            rest.close()

    def _open(self, config: VenueConfig) -> tuple[Desk, Inquiry, CcxtRest]:
        venue, clock = dialect(config), self._clock
        gate, offset = Gate(clock), ClockOffset(clock)
        gate.shut()  # this process sends no order
        desk = Desk(
            config.name, venue.rest, governor=RateGovernor(venue.rest.scopes, clock, 1.0),
            offset=offset, gate=gate, clock=clock, rng=random.Random(0), stopping=self._stopping,  # noqa: S311
            on_auth=lambda _: None, on_clock=lambda: None,
        )  # fmt: skip
        times = config.timeouts
        rest = client_of(
            venue.rest, config.url("rest"), config.credentials,
            offset=offset, clock=clock, timeouts_s=(times.connect_s, times.read_s),
            more_headers=config.headers,
        )  # fmt: skip
        symbols = ("",) if venue.lists_account else config.symbols
        self._needs_listing = venue.lists_account
        return desk, Inquiry(desk, symbols, clock, venue.orders_at_once), rest

    # The venue's clock is what nothing can be signed without; a venue that is down is tried to the end.
    def _reach(self, desk: Desk, rest: CcxtRest) -> None:
        while True:
            try:
                desk.sync_clock(rest)
                if self._needs_listing:  # whose lists are of all symbols: which of them are ours
                    desk.listing(rest)
            except (CallFailed, ValueError) as failed:
                if self._clock.mono_ns() >= self._end_ns:
                    raise
                self._tell(f"does not answer yet: {failed}")
                self._pause(AGAIN_S)
            else:
                return

    def _check_account(self, desk: Desk, rest: CcxtRest, journal: JournalOrders | None) -> None:
        bound = None if journal is None else journal.uids.get(self._config.account)
        if bound is None:
            return
        found = desk.account_uid(rest)
        if found != bound:
            self.receipt.problem = (
                f"the credentials are of the venue's uid {found}, and the journal is of {bound}: "
                "what rests there is not seen from here"
            )

    # Symbols of open orders that the configuration no longer names.
    def _extend(self, journal: JournalOrders | None) -> bool:
        named = {order.spec.symbol for order in self._open_in(journal)}
        missing = sorted(named - set(self._config.symbols))
        if missing:
            self._config = replace(self._config, symbols=(*self._config.symbols, *missing))
        return bool(missing)

    def _open_in(self, journal: JournalOrders | None) -> list[Order]:
        found = () if journal is None else journal.open_orders
        return [order for order in found if order.spec.venue == self._config.name]

    # What of ours is open now; None when the venue does not say.
    def _look(self, inquiry: Inquiry, rest: CcxtRest) -> list[OrderReport] | None:
        self._looks += 1
        ask = Reconcile(f"panic:{self._looks}", self._config.account, self._clock.wall_ns())
        result = inquiry.reconcile(rest, ask)
        if not result.ok:
            self._tell(f"does not tell its open orders: {result.text}")
            self.receipt.problem = result.text
            return None
        self.receipt.problem = ""
        ours = [o for o in result.open_orders if is_ours(o.client_order_id, self._instance)]
        self.receipt.left = [o.venue_order_id for o in result.open_orders if o not in ours]
        return ours

    def _cancel_all(self, desk: Desk, rest: CcxtRest, orders: Iterable[OrderReport] | None) -> None:
        for order in orders or ():
            self._touched.setdefault(order.client_order_id, order)
            cancel = CancelOrder(
                order.account, order.client_order_id, order.venue_order_id, order.symbol
            )
            desk.cancel(rest, cancel)  # what became of it is asked for; a refusal is no news

    def _prove(
        self, desk: Desk, inquiry: Inquiry, rest: CcxtRest, journal: JournalOrders | None
    ) -> bool:
        doubtful = {o.spec.order_id for o in self._open_in(journal) if o.venue_order_id is None}
        may_arrive = bool(doubtful) or journal is None
        arrived_ns = self._fenced_ns + int(ARRIVES_WITHIN_S * NS_PER_S) * may_arrive
        clean = 0
        while clean < 2:
            ours = self._look(inquiry, rest)
            is_late = self._clock.mono_ns() >= arrived_ns
            clean = clean + 1 if ours == [] and is_late else 0
            self._cancel_all(desk, rest, ours)
            if clean < 2:
                if self._clock.mono_ns() >= self._end_ns:
                    self.receipt.problem = self.receipt.problem or "orders are still open there"
                    return False
                self._pause(AGAIN_S if ours else LOOK_APART_S)
        return True

    # What became of each order that was open: the venue's own word, order by order.
    def _settle(self, inquiry: Inquiry, rest: CcxtRest, journal: JournalOrders | None) -> None:
        before = {order.spec.order_id: order for order in self._open_in(journal)}
        for order_id in [*dict.fromkeys([*before, *self._touched])]:
            order, touched = before.get(order_id), self._touched.get(order_id)
            symbol = order.spec.symbol if order is not None else touched.symbol if touched else ""
            since_ns = order.spec.ts_created_ns if order is not None else self._clock.wall_ns()
            venue_order_id = touched.venue_order_id if touched else None
            result = inquiry.query(
                rest, QueryOrder(self._config.account, order_id, venue_order_id, symbol, since_ns)
            )
            report = result.order
            if report is None or report.status in OPEN:
                self.receipt.unknown.append(order_id)
                continue
            known = (
                order.filled_quantity
                if order is not None
                else (touched.filled_quantity if touched else Decimal(0))
            )
            if report.filled_quantity > known:
                self.receipt.filled[order_id] = report.filled_quantity - known
            if report.status != "FILLED":
                self.receipt.canceled.append(order_id)

    def give_up(self, problem: str, journal: JournalOrders | None) -> None:
        """Say what is not proven: every order that the journal knows as open, or that was seen so."""
        found = {order.spec.order_id: None for order in self._open_in(journal)}
        self.receipt.unknown = [*dict.fromkeys([*found, *self._touched])]
        self.receipt.proven, self.receipt.problem = False, problem

    def _tell(self, text: str) -> None:
        self._say(f"{self._config.name}: {text}")

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)


def can_trade(config: VenueConfig) -> bool:
    """Tell whether a venue's configuration could have placed an order at all."""
    return bool(config.api_key) and (config.adapter in ADAPTERS or not dialect(config).read_only)
