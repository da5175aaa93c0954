"""Routing: one order in, a plan of child orders out, each venue's share with its reason.

Pure arithmetic over the consolidated book and the instruments. Marketable quantity is taken level
by level at the best price after taker fees; what is left of a resting order goes to the venue with
the lowest maker fee. A plan never exceeds the quantity asked for and never sends less than a
venue's minimum.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final, NamedTuple

from engine.errors import Refused
from engine.messages.base import OrderType, Side, TimeInForce
from engine.messages.market import ConsolidatedBook, RouteBenchmark
from engine.messages.port import Instrument
from engine.trading.money import for_message, plain, ratio

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
    benchmark: RouteBenchmark | None = None

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
    plan = _planned(want, book, fit, reasons)
    for venue, rule in fit.items():
        fee = rule.maker_fee if want.post_only else rule.taker_fee
        reasons.setdefault(venue, f"not needed: others are cheaper after its fee of {plain(fee)}")
    return plan


def _planned(
    want: Want, book: ConsolidatedBook, fit: Mapping[str, Instrument], reasons: dict[str, str]
) -> Plan:
    if want.post_only:
        return _rest(want, want.quantity, fit, reasons, [])
    offers = _offers(want, book, fit)
    singles = _singles(want, fit, offers)
    if want.time_in_force == "FOK":
        return _all_at_one(want, fit, reasons, singles)
    taken, _ = _fill(offers, want.quantity)
    shown = {venue: _fill(offers, None, venue)[0][venue] for venue in taken}
    legs, left = _sized(want, taken, fit, reasons, shown)
    alone = _better_alone(want, fit, offers, singles, legs)
    if alone is not None:
        for leg in legs:
            reasons[leg.venue] = f"left out: all at {alone} is better after lots and minimums"
        legs, left = _sized(want, {alone: want.quantity}, fit, reasons)
    benchmark = _benchmark(want, offers, singles, legs)
    if want.time_in_force == "IOC" or want.order_type == "MARKET":
        if not legs:
            raise Refused("no_liquidity", _explain("nothing to take within the limit", reasons))
        return Plan(legs, left, reasons, benchmark)
    plan = _rest(want, left, fit, reasons, legs)
    plan.benchmark = benchmark
    return plan


def _explain(text: str, reasons: dict[str, str]) -> str:
    detail = "; ".join(f"{venue}: {reason}" for venue, reason in sorted(reasons.items()))
    return f"{text} ({detail})" if detail else text


class _Offer(NamedTuple):
    # What one level costs a unit after taker fees: negative for a seller, who wants the least of it.
    cost: Decimal
    venue: str
    quantity: Decimal


def _offers(want: Want, book: ConsolidatedBook, fit: Mapping[str, Instrument]) -> list[_Offer]:
    """Return the levels within the limit at the venues that fit, cheapest after taker fees first."""
    offers: list[_Offer] = []
    for level in book.ask_levels() if want.side == "BUY" else book.bid_levels():
        venue = level.venue
        price = Decimal(level.price).scaleb(-book.price_exponent)
        beyond = price > want.price if want.side == "BUY" else price < want.price
        if venue not in fit or beyond:
            continue
        fee = fit[venue].taker_fee
        cost = price * (ONE + fee) if want.side == "BUY" else -price * (ONE - fee)
        offers.append(_Offer(cost, venue, Decimal(level.quantity).scaleb(-book.quantity_exponent)))
    offers.sort()
    return offers


def _fill(
    offers: list[_Offer], quantity: Decimal | None, venue: str = ""
) -> tuple[dict[str, Decimal], Decimal]:
    """Return how much a taker of `quantity` (None: of all) gets at each venue, and what it costs."""
    taken: dict[str, Decimal] = {}
    left = quantity
    total = ZERO
    for offer in offers:
        if venue and offer.venue != venue:
            continue
        if left is not None and left <= 0:
            break
        part = offer.quantity if left is None else min(left, offer.quantity)
        taken[offer.venue] = taken.get(offer.venue, ZERO) + part
        total += offer.cost * part
        left = None if left is None else left - part
    return taken, total


def _singles(
    want: Want, fit: Mapping[str, Instrument], offers: list[_Offer]
) -> list[tuple[Decimal, str]]:
    """Return the venues that alone show the whole quantity, with its cost there, cheapest first."""
    found: list[tuple[Decimal, str]] = []
    for venue in fit:
        taken, cost = _fill(offers, want.quantity, venue)
        if taken.get(venue, ZERO) >= want.quantity:
            found.append((cost, venue))
    return sorted(found)


def _cost(offers: list[_Offer], legs: list[Leg]) -> tuple[Decimal, Decimal]:
    """Return how much of the legs the books show, and what that costs."""
    filled = [_fill(offers, leg.quantity, leg.venue) for leg in legs]
    count = sum((sum(taken.values(), ZERO) for taken, _ in filled), ZERO)
    return count, sum((cost for _, cost in filled), ZERO)


# Lots and minimums can make a split dearer, or smaller, than one venue that has it all.
def _better_alone(
    want: Want,
    fit: Mapping[str, Instrument],
    offers: list[_Offer],
    singles: list[tuple[Decimal, str]],
    legs: list[Leg],
) -> str | None:
    count, cost = _cost(offers, legs)
    if not singles or (count == want.quantity and cost <= singles[0][0]):
        return None  # nobody can be cheaper
    best, found = (-count, cost), None
    for _, venue in singles:
        whole, _ = _sized(want, {venue: want.quantity}, fit, {})
        count, cost = _cost(offers, whole)
        if whole and (-count, cost) < best:
            best, found = (-count, cost), venue
    return found


def _benchmark(
    want: Want, offers: list[_Offer], singles: list[tuple[Decimal, str]], legs: list[Leg]
) -> RouteBenchmark:
    count, cost = _cost(offers, legs)
    alone_cost, alone = singles[0] if singles else (ZERO, None)
    return RouteBenchmark(
        _a_unit(cost, count), alone, _a_unit(alone_cost, want.quantity) if alone else None
    )


def _a_unit(cost: Decimal, count: Decimal) -> Decimal | None:
    each = ratio(abs(cost), count)
    return None if each is None else for_message(each)


def _all_at_one(
    want: Want,
    fit: Mapping[str, Instrument],
    reasons: dict[str, str],
    singles: list[tuple[Decimal, str]],
) -> Plan:
    """Place a fill-or-kill order at one venue: two venues cannot fill or kill together."""
    for cost, venue in singles:
        legs, left = _sized(want, {venue: want.quantity}, fit, reasons)
        if legs and left == 0:
            each = _a_unit(cost, want.quantity)
            return Plan(legs, left, reasons, RouteBenchmark(each, venue, each))
    text = "no single venue shows the whole quantity, and a fill-or-kill order cannot be split"
    raise Refused("fok_needs_one_venue", _explain(text, reasons))


def _sized(
    want: Want,
    taken: dict[str, Decimal],
    fit: Mapping[str, Instrument],
    reasons: dict[str, str],
    shown: Mapping[str, Decimal] | None = None,
) -> tuple[list[Leg], Decimal]:
    """Turn shares into legs on each venue's grid, moving what is too small to the largest share.

    No leg is more than its venue shows (`shown`), whatever is moved there.
    """
    legs: list[Leg] = []
    left = want.quantity
    carry = ZERO
    for venue in sorted(taken, key=lambda v: (taken[v], v)):
        rule = fit[venue]
        price = quantise_price(want.price, want.side, rule.tick_size)
        most = left if shown is None else min(left, shown[venue])
        quantity = round_down(min(taken[venue] + carry, most), rule.lot_size)
        problem = refuse_below_minimum(rule, quantity, price)
        if problem is not None:
            carry += taken[venue]
            reasons[venue] = f"share left out: {problem}"
            continue
        carry += taken[venue] - quantity
        carry = max(carry, ZERO)
        left -= quantity
        legs.append(Leg(venue, quantity, price))
        fee = plain(rule.taker_fee)
        reasons[venue] = f"takes {plain(quantity)} at the best price after {fee} taker fee"
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
