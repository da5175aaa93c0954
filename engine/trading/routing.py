"""Routing: one order in, a plan of child orders out, each venue's share with its reason.

Pure arithmetic over the consolidated book and the instruments. Marketable quantity is taken level
by level at the best price after taker fees; what is left of a resting order goes to the venue with
the lowest maker fee. A plan never exceeds the quantity asked for and never sends less than a
venue's minimum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from engine.errors import Refused
from engine.messages.base import OrderType, Side, TimeInForce
from engine.messages.market import ConsolidatedBook
from engine.messages.port import Instrument

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)


@dataclass(frozen=True, slots=True)
class Want:
    """What is to be routed. `price` is the limit, for a market order the collar."""

    symbol: str
    side: Side
    order_type: OrderType
    time_in_force: TimeInForce
    post_only: bool
    quantity: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Leg:
    """One child order: where and how much, at the limit of the whole."""

    venue: str
    quantity: Decimal
    price: Decimal


@dataclass(slots=True)
class Plan:
    """The legs, what could not be placed, and a reason for every venue, also those left out."""

    legs: list[Leg]
    unplaced: Decimal
    reasons: dict[str, str] = field(default_factory=dict)

    def text(self) -> str:
        """Return the plan as one line a venue, for people and the journal."""
        return "; ".join(f"{venue}: {reason}" for venue, reason in sorted(self.reasons.items()))


def round_down(value: Decimal, step: Decimal) -> Decimal:
    """Return the largest multiple of `step` that is not above `value`."""
    return (value / step).to_integral_value(ROUND_FLOOR) * step


def round_up(value: Decimal, step: Decimal) -> Decimal:
    """Return the smallest multiple of `step` that is not below `value`."""
    return (value / step).to_integral_value(ROUND_CEILING) * step


def quantise_price(price: Decimal, side: Side, tick_size: Decimal) -> Decimal:
    """Return the price on the venue's grid, never worse than asked: buy down, sell up."""
    return round_down(price, tick_size) if side == "BUY" else round_up(price, tick_size)


def mid_price(book: ConsolidatedBook) -> Decimal | None:
    """Return the middle between the best bid and ask over all counted venues, exact, or None."""
    if not book.bids or not book.asks:
        return None
    return Decimal(book.bids[0] + book.asks[0]).scaleb(-book.price_exponent) / 2


def quantity_before(
    book: ConsolidatedBook, venue: str, side: str, price: Decimal
) -> Decimal | None:
    """Return what one venue offers a taker of `side` at prices strictly better than `price`.

    Only the published top levels are seen, so the answer may be too small, never too large. None
    when the venue's book does not count now.
    """
    if not any(q.venue == venue and q.counts for q in book.venues):
        return None
    total = 0
    for level in book.ask_levels() if side == "BUY" else book.bid_levels():
        at = Decimal(level.price).scaleb(-book.price_exponent)
        if level.venue == venue and (at < price if side == "BUY" else at > price):
            total += level.quantity
    return Decimal(total).scaleb(-book.quantity_exponent)


def collar_price(mid: Decimal, side: Side, collar_pct: Decimal) -> Decimal:
    """Return the worst price a market order may pay: the mid moved by the collar."""
    share = collar_pct / 100
    return mid * (ONE + share) if side == "BUY" else mid * (ONE - share)


def refuse_below_minimum(instrument: Instrument, quantity: Decimal, price: Decimal) -> str | None:
    """Return why an order is too small for the venue, or None."""
    if quantity < instrument.quantity_min:
        return f"{quantity} is below the minimum quantity {instrument.quantity_min}"
    if quantity * price < instrument.notional_min:
        return f"{quantity * price} is below the minimum notional {instrument.notional_min}"
    if instrument.quantity_max is not None and quantity > instrument.quantity_max:
        return f"{quantity} is above the maximum quantity {instrument.quantity_max}"
    return None


def plan_best(
    want: Want, book: ConsolidatedBook, instruments: Mapping[str, Instrument], unfit: dict[str, str]
) -> Plan:
    """Split `want` over the venues of `instruments`.

    Args:
        want: the order.
        book: the consolidated book of its symbol.
        instruments: the venues that may be used, with their rules and fees.
        unfit: venues that may not be used, with the reason; they appear in the plan.

    Raises:
        Refused: nothing can be placed at all; the text says why, venue by venue.
    """
    reasons = dict(unfit)
    for quote in book.venues:
        if not quote.counts and quote.venue not in reasons:
            why = f"{quote.state}: {quote.reason}" if quote.state != "LIVE" else quote.quality
            reasons[quote.venue] = f"book {why}"
    fit = {venue: rule for venue, rule in instruments.items() if venue not in reasons}
    if not fit:
        raise Refused("no_venue", _explain("no venue can take this order", reasons))
    if want.post_only:
        return _rest(want, want.quantity, fit, reasons, [])
    if want.time_in_force == "FOK":
        return _all_at_one(want, book, fit, reasons)
    taken, _ = _take(want, book, fit)
    legs, left = _sized(want, taken, fit, reasons)
    if want.time_in_force == "IOC" or want.order_type == "MARKET":
        if not legs:
            raise Refused("no_liquidity", _explain("nothing to take within the limit", reasons))
        return Plan(legs, left, reasons)
    return _rest(want, left, fit, reasons, legs)


def _explain(text: str, reasons: dict[str, str]) -> str:
    detail = "; ".join(f"{venue}: {reason}" for venue, reason in sorted(reasons.items()))
    return f"{text} ({detail})" if detail else text


def _take(
    want: Want, book: ConsolidatedBook, fit: Mapping[str, Instrument]
) -> tuple[dict[str, Decimal], Decimal]:
    """Return how much to take at each venue, cheapest after taker fees first, and what it costs."""
    offers: list[tuple[Decimal, Decimal, str]] = []
    for level in book.ask_levels() if want.side == "BUY" else book.bid_levels():
        venue = level.venue
        price = Decimal(level.price).scaleb(-book.price_exponent)
        beyond = price > want.price if want.side == "BUY" else price < want.price
        if venue not in fit or beyond:
            continue
        fee = fit[venue].taker_fee
        cost = price * (ONE + fee) if want.side == "BUY" else -price * (ONE - fee)
        offers.append((cost, Decimal(level.quantity).scaleb(-book.quantity_exponent), venue))
    offers.sort(key=lambda offer: (offer[0], offer[2]))
    taken: dict[str, Decimal] = {}
    left = want.quantity
    total = ZERO
    for cost, quantity, venue in offers:
        if left <= 0:
            break
        part = min(left, quantity)
        taken[venue] = taken.get(venue, ZERO) + part
        total += cost * part
        left -= part
    return taken, total


def _all_at_one(
    want: Want, book: ConsolidatedBook, fit: Mapping[str, Instrument], reasons: dict[str, str]
) -> Plan:
    """Place a fill-or-kill order at one venue: two venues cannot fill or kill together."""
    offers: list[tuple[Decimal, str]] = []
    for venue, rule in fit.items():
        taken, cost = _take(want, book, {venue: rule})
        if taken.get(venue, ZERO) >= want.quantity:
            offers.append((cost, venue))
    for _, venue in sorted(offers):
        legs, left = _sized(want, {venue: want.quantity}, fit, reasons)
        if legs and left == 0:
            return Plan(legs, left, reasons)
    text = "no single venue shows the whole quantity, and a fill-or-kill order cannot be split"
    raise Refused("fok_needs_one_venue", _explain(text, reasons))


def _sized(
    want: Want, taken: dict[str, Decimal], fit: Mapping[str, Instrument], reasons: dict[str, str]
) -> tuple[list[Leg], Decimal]:
    """Turn shares into legs on each venue's grid, moving what is too small to the largest share."""
    legs: list[Leg] = []
    left = want.quantity
    carry = ZERO
    for venue in sorted(taken, key=lambda v: (taken[v], v)):
        rule = fit[venue]
        price = quantise_price(want.price, want.side, rule.tick_size)
        quantity = round_down(min(taken[venue] + carry, left), rule.lot_size)
        problem = refuse_below_minimum(rule, quantity, price)
        if problem is not None:
            carry += taken[venue]
            reasons[venue] = f"share left out: {problem}"
            continue
        carry += taken[venue] - quantity
        carry = max(carry, ZERO)
        left -= quantity
        legs.append(Leg(venue, quantity, price))
        reasons[venue] = f"takes {quantity} at the best price after {rule.taker_fee:f} taker fee"
    return legs, left


def _rest(
    want: Want,
    left: Decimal,
    fit: Mapping[str, Instrument],
    reasons: dict[str, str],
    legs: list[Leg],
) -> Plan:
    """Rest the remainder where resting is cheapest, joined to a leg that is already there."""
    if left <= 0:
        return Plan(legs, ZERO, reasons)
    for venue in sorted(fit, key=lambda v: (fit[v].maker_fee, v)):
        rule = fit[venue]
        price = quantise_price(want.price, want.side, rule.tick_size)
        own = next((leg.quantity for leg in legs if leg.venue == venue), ZERO)
        quantity = round_down(own + left, rule.lot_size)
        problem = refuse_below_minimum(rule, quantity, price)
        if problem is not None:
            reasons.setdefault(venue, f"cannot rest: {problem}")
            continue
        others = [leg for leg in legs if leg.venue != venue]
        reasons[venue] = f"rests {quantity - own} at {rule.maker_fee:f} maker fee" + (
            f", after taking {own}" if own else ""
        )
        return Plan([*others, Leg(venue, quantity, price)], left - (quantity - own), reasons)
    if not legs:
        raise Refused("below_minimum", _explain("too small for every venue", reasons))
    return Plan(legs, left, reasons)
