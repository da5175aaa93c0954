"""From a command to orders: which venue, which price on its grid, how much in its lots. Pure.

It holds what the venues and the market last said; it decides nothing about risk and sends nothing.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from engine.clock import NS_PER_S
from engine.errors import Refused
from engine.ids import client_order_id, parent_order_id
from engine.messages.commands import PlaceOrder
from engine.messages.events import AnyEvent, OrderDenied, OrderSpec, ParentAccepted
from engine.messages.market import ConsolidatedBook, VenueState
from engine.messages.port import Instrument
from engine.trading.benchmark import seen
from engine.trading.instrument import standing
from engine.trading.routing import (
    Plan,
    Want,
    collar_price,
    mid_price,
    plan_best,
    quantise_price,
    round_down,
)

BEST: Final = "best"
BOOK_AGE_NS_MAX: Final = 5 * NS_PER_S
Decision = tuple[list[AnyEvent], list[OrderSpec], Plan | None]


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """What the router is told at birth. `accounts` maps each venue to its account."""

    instance: str
    accounts: dict[str, str]
    collar_pct: Decimal
    closed_kept_max: int


class Planner:
    """See the module's docstring."""

    def __init__(self, config: RouterConfig) -> None:
        self.config = config
        self.instruments: dict[str, dict[str, Instrument]] = {}
        self.venues: dict[str, VenueState] = {}
        self.books: dict[str, ConsolidatedBook] = {}
        self.now_ns = self.now_mono_ns = 0

    def order_id(self, command: PlaceOrder) -> str:
        """Return the id that the command's order has, now and for ever."""
        if command.venue == BEST:
            return parent_order_id(self.config.instance, command.command_id)
        return client_order_id(self.config.instance, command.command_id)

    def decide(self, command: PlaceOrder, now_ns: int, now_mono_ns: int) -> Decision:
        """Return events that need no judgement, orders for risk to judge, and the plan of a split.

        Raises:
            Refused: nothing can be planned; the text says why and what there is.
        """
        self.now_ns, self.now_mono_ns = now_ns, now_mono_ns
        if command.venue == BEST:
            return self._decide_best(command)
        rule = self._instrument(command.venue, command.symbol)
        price = self._limit(command)
        price = quantise_price(price, command.side, rule.tick_size)
        quantity = round_down(command.quantity, rule.lot_size)
        spec = self._spec(command, command.venue, quantity, price, leg=0, parent_id=None)
        if quantity <= 0:
            text = f"{command.quantity} is less than one lot of {rule.lot_size}"
            return [OrderDenied(spec, "below_minimum", text)], [], None
        return [], [spec], None

    def _decide_best(self, command: PlaceOrder) -> Decision:
        rules = {v: r[command.symbol] for v, r in self.instruments.items() if command.symbol in r}
        if not rules:
            raise Refused("NOT_FOUND", f"no venue lists {command.symbol}")
        price = self._limit(command)
        parent = self._parent(command, price)
        book = self.books.get(command.symbol)
        want = Want(
            command.symbol, command.side, command.order_type, command.time_in_force,
            command.post_only, command.quantity, price,
        )  # fmt: skip
        try:
            if book is None:
                raise Refused("no_market", f"no book of {command.symbol} yet")  # noqa: TRY301
            plan = plan_best(want, book, rules, self._unfit(rules))
        except Refused as refusal:
            if command.dry_run:
                raise
            return [OrderDenied(parent, refusal.code, refusal.text)], [], None
        children = [
            self._spec(
                command, leg.venue, leg.quantity, leg.price, leg=n + 1, parent_id=parent.order_id
            )
            for n, leg in enumerate(plan.legs)
        ]
        text = plan.text() + (f"; not placed: {plan.unplaced:f}" if plan.unplaced else "")
        ids, looked = [c.order_id for c in children], seen(book, self.now_mono_ns)
        accepted = ParentAccepted(parent, ids, text[:2000], looked, plan.benchmark)
        return [accepted], children, plan

    def _unfit(self, rules: dict[str, Instrument]) -> dict[str, str]:
        unfit: dict[str, str] = {}
        for venue, rule in rules.items():
            state = self.venues.get(venue)
            if state is None or state.state != "READY":
                unfit[venue] = f"venue {state.state}: {state.reason}" if state else "venue unknown"
            elif state.gate_closed:
                unfit[venue] = "halted"
            elif rule.status != "TRADING":
                unfit[venue] = f"symbol {standing(rule)}"
        return unfit

    def _instrument(self, venue: str, symbol: str) -> Instrument:
        if venue not in self.config.accounts:
            names = ", ".join(sorted(self.config.accounts))
            raise Refused("NOT_FOUND", f"no venue {venue!r}; there are {names} and {BEST}")
        state = self.venues.get(venue)
        if state is not None and state.state == "RETIRED":
            raise Refused("venue_retired", f"{venue} is RETIRED: {state.reason}")
        if state is not None and state.state == "DISABLED":
            raise Refused("venue_not_ready", f"{venue} is DISABLED: {state.reason}")
        if venue not in self.instruments:
            raise Refused("venue_not_ready", f"{venue} has not loaded its instruments yet")
        rule = self.instruments[venue].get(symbol)
        if rule is None:
            names = ", ".join(sorted(self.instruments[venue]))
            raise Refused("NOT_FOUND", f"{venue} does not trade {symbol!r} here; it trades {names}")
        if rule.status != "TRADING":
            raise Refused("symbol_halted", f"{symbol} at {venue} is {standing(rule)}")
        return rule

    def _limit(self, command: PlaceOrder) -> Decimal:
        """Return the limit price; for a market order the collar, which is mandatory."""
        if command.order_type == "LIMIT":
            if command.price is None:
                raise Refused("BAD_REQUEST", "a limit order needs a price")
            return command.price
        book = self.books.get(command.symbol)
        mid = mid_price(book) if book is not None else None
        if book is not None and self.now_mono_ns - book.mono_published_ns > BOOK_AGE_NS_MAX:
            mid = None
        if mid is None:
            text = f"no live consolidated price of {command.symbol} to bound a market order with"
            raise Refused("no_market", text)
        return collar_price(mid, command.side, self.config.collar_pct)

    def _parent(self, command: PlaceOrder, price: Decimal) -> OrderSpec:
        return self._build(
            command, self.order_id(command), None, None, None, BEST, command.quantity, price
        )

    def _spec(
        self,
        command: PlaceOrder,
        venue: str,
        quantity: Decimal,
        price: Decimal,
        *,
        leg: int,
        parent_id: str | None,
    ) -> OrderSpec:
        order_id = client_order_id(self.config.instance, command.command_id, leg)
        account = command.account or self.config.accounts[venue]
        return self._build(command, order_id, order_id, parent_id, account, venue, quantity, price)

    def _build(
        self,
        command: PlaceOrder,
        order_id: str,
        client_id: str | None,
        parent_id: str | None,
        account: str | None,
        venue: str,
        quantity: Decimal,
        price: Decimal,
    ) -> OrderSpec:
        market = command.order_type == "MARKET"
        return OrderSpec(
            order_id, command.command_id, client_id, parent_id, account, venue, command.symbol,
            command.side, command.order_type, "IOC" if market else command.time_in_force,
            command.post_only, quantity, price, "COMMAND", command.who, self.now_ns,
        )  # fmt: skip
