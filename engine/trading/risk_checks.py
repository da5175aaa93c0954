"""The single checks of the risk gate, in the order in which they are made. Pure; each may refuse.

A check sees one `Case`: the order, its market, and whether it provably reduces. The cheap and the
certain come first, so that the reason given is the one to mend first.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from engine.messages.events import OrderSpec
from engine.messages.port import Instrument
from engine.trading import risk_limits as why
from engine.trading.exposure import Charge
from engine.trading.money import ZERO, plain

if TYPE_CHECKING:
    from engine.trading.risk import RiskGate

Refusal = tuple[str, str]


class MarketView(Protocol):
    """What the gate may ask about the market at the moment of judging."""

    def mid(self, symbol: str) -> tuple[Decimal, int] | None:
        """Return the consolidated mid of a symbol and its age in ns; None when there is none."""
        ...

    def ahead(self, venue: str, symbol: str, side: str, price: Decimal) -> Decimal | None:
        """Return what the venue's live book offers a taker of `side` strictly before `price`."""
        ...

    def instrument(self, venue: str, symbol: str) -> Instrument | None:
        """Return the venue's rules of a symbol, or None."""
        ...


class Case(NamedTuple):
    """One order under judgement, with all that is known of its market."""

    spec: OrderSpec
    account: str
    base: str
    quote: str
    instrument: Instrument
    mid: Decimal | None
    mid_problem: str
    reduces: bool
    now_mono_ns: int
    market: MarketView

    @property
    def notional(self) -> Decimal:
        """The most the order may be worth in its quote; a sell may fill at the mid or better."""
        price = self.spec.price
        assert price is not None, "an order without a price was refused before"
        if self.spec.side == "SELL" and self.mid is not None:
            price = max(price, self.mid)
        return price * self.spec.quantity


def approval_text(case: Case) -> str:
    """Return what the approval was based on, for the journal."""
    mid = "none" if case.mid is None else plain(case.mid)
    return f"mid {mid}{', reduces' if case.reduces else ''}"


def on_step(value: Decimal, step: Decimal, rounding: str) -> Decimal:
    """Return the multiple of `step` next to `value` in the direction of `rounding`."""
    steps = (value // step).to_integral_value()
    on = steps * step
    return on + step if rounding == "ROUND_CEILING" and on != value else on


def _check_restriction(gate: "RiskGate", case: Case) -> Refusal | None:
    if case.reduces:
        return None
    for halt in gate.halts_of(case.spec):
        return why.REDUCE_ONLY, f"{halt.scope} halted to {halt.level} by {halt.who}: {halt.reason}"
    if not gate.ledger.is_restricted(case.account):
        return None
    assets = ", ".join(gate.ledger.differences(case.account))
    return why.REDUCE_ONLY, f"{case.account} differs from the venue in {assets}"


def _check_quantity(_: "RiskGate", case: Case) -> Refusal | None:
    quantity, rules = case.spec.quantity, case.instrument
    if quantity <= 0 or quantity % rules.lot_size != 0:
        return why.QUANTITY_RULE, f"{plain(quantity)} is no multiple of {plain(rules.lot_size)}"
    if quantity < rules.quantity_min:
        return why.QUANTITY_RULE, f"{plain(quantity)} is below {plain(rules.quantity_min)}"
    if rules.quantity_max is not None and quantity > rules.quantity_max:
        return why.QUANTITY_RULE, f"{plain(quantity)} is above {plain(rules.quantity_max)}"
    return None


# A market order without a mid has no collar price: it cannot be bounded, whether it reduces or not.
def _check_price(_: "RiskGate", case: Case) -> Refusal | None:
    price, tick = case.spec.price, case.instrument.tick_size
    if price is None and case.spec.order_type == "MARKET":
        return case.mid_problem, f"no collar price for a market order in {case.spec.symbol}"
    if price is None or price <= 0:
        return why.PRICE_RULE, f"{case.spec.order_type} at {price}"
    if price % tick != 0:
        return why.PRICE_RULE, f"{plain(price)} is not on the tick of {plain(tick)}"
    notional, least = price * case.spec.quantity, case.instrument.notional_min
    if notional < least:
        return why.NOTIONAL_RULE, f"{plain(notional)} is below {plain(least)} {case.quote}"
    return None


def _check_rate(gate: "RiskGate", case: Case) -> Refusal | None:
    limit = gate.limits.max_orders_per_second
    used = gate.orders_in_last_second(case.now_mono_ns)
    return (why.ORDER_RATE, f"{used} orders of {limit} a second") if used >= limit else None


def _check_count(gate: "RiskGate", _: Case) -> Refusal | None:
    used, limit = gate.exposure.open_orders, gate.limits.max_open_orders
    return (why.OPEN_ORDERS, f"{used} of {limit} are open") if used >= limit else None


def _check_self_trade(gate: "RiskGate", case: Case) -> Refusal | None:
    """Refuse what would reach our own order: others' quotes before it do not cover the quantity.

    A post-only order never takes, so others' quotes are no shield for it. What moves between this look and
    the match is left to the venue's own prevention, which the adapters ask for with every order.
    """
    spec = case.spec
    if case.instrument.pricing == "quoted":
        return None  # the venue is the other side, always
    found = gate.exposure.crossing(spec.venue, spec.symbol, spec.side, spec.price)
    for charge in found:
        ahead = None
        if not spec.post_only and charge.price is not None:
            ahead = case.market.ahead(spec.venue, spec.symbol, spec.side, charge.price)
        if ahead is None or ahead < spec.quantity + _own_ahead(found, charge, spec.side):
            return why.SELF_TRADE, f"would meet our own order {charge.order_id}"
    return None


# Our own quantity at better prices than `charge`: the book shows it, but it is not others'.
def _own_ahead(found: list[Charge], charge: Charge, side: str) -> Decimal:
    assert charge.price is not None
    total = ZERO
    for other in found:
        if other.price is not None and other is not charge:
            better = other.price < charge.price if side == "BUY" else other.price > charge.price
            total += other.quantity if better else ZERO
    return total


def _check_collar(gate: "RiskGate", case: Case) -> Refusal | None:
    price = case.spec.price
    assert price is not None
    if case.instrument.pricing == "quoted":
        return (
            None  # the venue names the price: what may be paid is the order's own, and is counted
        )
    if case.mid is None:
        return None if case.reduces else (case.mid_problem, f"no usable mid of {case.spec.symbol}")
    sign = 1 if case.spec.side == "BUY" else -1
    limit = gate.collar(case.mid, sign)
    if (price - limit) * sign <= 0:
        return None
    return why.PRICE_COLLAR, f"{plain(price)} is through {plain(limit)}, mid {plain(case.mid)}"


def _check_notional(gate: "RiskGate", case: Case) -> Refusal | None:
    limits = gate.limits
    rate, notional = gate.rate(case.quote, case.market), case.notional
    others = gate.open_notional(case.market)
    if rate is None or others is None:
        if case.reduces:
            return None
        return (
            why.NOT_VALUABLE,
            f"{case.quote} or an open order has no price in {limits.report_currency}",
        )
    worth = notional * rate
    if worth > limits.max_order_notional:
        return why.ORDER_NOTIONAL, f"{plain(worth)} is above {plain(limits.max_order_notional)}"
    if worth + others > limits.max_open_notional:
        return (
            why.OPEN_NOTIONAL,
            f"{plain(worth)} and {plain(others)} open are above {plain(limits.max_open_notional)}",
        )
    return None


def _check_position(gate: "RiskGate", case: Case) -> Refusal | None:
    limit = gate.limits.position_max(case.base)
    if limit is None:
        reason = (why.NO_POSITION_LIMIT, f"no limit for {case.base}")
        return None if case.reduces else reason
    side, held = case.spec.side, gate.position(case.base)
    worst = gate.exposure.side_quantity(case.base, side) + case.spec.quantity
    worst += held if side == "BUY" else -held
    if worst <= limit:
        return None
    way = "long" if side == "BUY" else "short"
    return why.POSITION, f"{plain(worst)} {case.base} {way} at worst, limit {plain(limit)}"


def _check_balance(gate: "RiskGate", case: Case) -> Refusal | None:
    spec = case.spec
    assert spec.price is not None
    if spec.side == "BUY":
        fee = max(case.instrument.taker_fee, gate.limits.fee_reserve, ZERO)
        asset, needed = case.quote, spec.price * spec.quantity * (1 + fee)
    else:
        asset, needed = case.base, spec.quantity
    held = gate.ledger.balance(case.account, asset)
    free = held - gate.exposure.reserved(case.account, asset)
    if needed <= free:
        return None
    return why.INSUFFICIENT_BALANCE, f"needs {plain(needed)} {asset}, {plain(free)} is free"


CHECKS: Final[tuple[Callable[["RiskGate", Case], Refusal | None], ...]] = (
    _check_restriction,
    _check_quantity,
    _check_price,
    _check_rate,
    _check_count,
    _check_self_trade,
    _check_collar,
    _check_notional,
    _check_position,
    _check_balance,
)
