"""What an order cost after the fact, beside what its best single venue would have cost. Pure."""

from decimal import Decimal
from typing import Any, Final, Protocol

from engine.messages.events import OrderSpec
from engine.messages.market import ConsolidatedBook, MarketSeen, RouteBenchmark
from engine.trading.money import ZERO, exact, plain, plain_or_none, ratio, split_symbol

BPS: Final = Decimal(10_000)


class Executed(Protocol):
    """What is looked at of an order, single or split."""

    spec: OrderSpec

    @property
    def filled_quantity(self) -> Decimal:
        """How much was filled."""
        ...

    @property
    def filled_notional(self) -> Decimal:
        """Price times quantity over all fills."""
        ...

    @property
    def fees(self) -> dict[str, Decimal]:
        """What was paid in fees, by asset."""
        ...


def seen(book: ConsolidatedBook | None, now_mono_ns: int) -> MarketSeen | None:
    """Return what a decision saw of the market, for the journal."""
    if book is None:
        return None
    bid, ask = (
        Decimal(side[0]).scaleb(-book.price_exponent) if side else None
        for side in (book.bids, book.asks)
    )
    age_ns = max(0, now_mono_ns - book.mono_published_ns)
    return MarketSeen(bid, ask, book.ts_event_ns, age_ns)


@exact
def cost_view(order: Executed, benchmark: RouteBenchmark | None) -> dict[str, Any] | None:
    """Return what a unit cost (BUY) or brought (SELL) after fees, against plan and best single venue.

    `vs_best_single_bps` is above zero where the split was better. Fees in the base count at the
    average price; one in a third asset is named in `not_valued`, and nothing is compared then. None
    before the first fill, and for an order that was not split.
    """
    if benchmark is None or not order.filled_quantity:
        return None
    base, quote = split_symbol(order.spec.symbol)
    average = ratio(order.filled_notional, order.filled_quantity)
    assert average is not None, "something was filled"
    fees, others = ZERO, []
    for asset, fee in sorted(order.fees.items()):
        if asset in (base, quote):
            fees += fee if asset == quote else _short(fee * average)
        else:
            others.append(f"{plain(fee)} {asset}")
    sign = 1 if order.spec.side == "BUY" else -1
    each = None if others else ratio(order.filled_notional + sign * fees, order.filled_quantity)
    return {
        "average_price": plain(_short(average)),
        "after_fees": plain_or_none(None if each is None else _short(each)),
        "expected": plain_or_none(benchmark.plan_price),
        "best_single_venue": benchmark.venue,
        "best_single_price": plain_or_none(benchmark.venue_price),
        "vs_expected_bps": _better_bps(benchmark.plan_price, each, sign),
        "vs_best_single_bps": _better_bps(benchmark.venue_price, each, sign),
        "not_valued": others,
    }


def _better_bps(reference: Decimal | None, each: Decimal | None, sign: int) -> str | None:
    if reference is None or each is None:
        return None
    share = ratio(sign * (reference - each) * BPS, reference)
    assert share is not None, "prices are positive"
    return plain(Decimal(f"{share:.2f}"))


def _short(value: Decimal) -> Decimal:
    return Decimal(f"{value:.12f}")
