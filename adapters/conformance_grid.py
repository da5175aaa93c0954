"""C2: prices and quantities on the venue's grid, and how they are written."""

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from adapters.conformance_bench import check
from adapters.conformance_suite import Suite
from engine.errors import Refused
from engine.messages.base import Side
from engine.messages.port import (
    Instrument,
    SubmitOrder,
)
from engine.trading.instrument import check_order, quantise_price, quantise_quantity

SAMPLES: Final = 100


# --- C2 -------------------------------------------------------------------------------------------


def quantise(suite: Suite) -> None:
    """Prices and quantities of any sort end on the venue's grid, as texts, never in our disfavour."""
    bench = suite.main
    codec = bench.session.desk.codec  # which has read how the venue spells its symbols
    for symbol in bench.config.symbols:
        rules = bench.instrument(symbol)
        market = bench.best("BUY", symbol)
        for number in range(SAMPLES):
            side: Side = "BUY" if number % 2 else "SELL"
            raw = market * Decimal(suite.at.rng.randrange(500_000, 1_500_000)) / 1_000_000
            price = quantise_price(rules, side, raw)
            quantity = bench_least(rules, price) + rules.lot_size * suite.at.rng.randrange(1000)
            off = rules.tick_size
            check(raw - off < price <= raw if side == "BUY" else raw <= price < raw + off,
                  f"{side} {raw} became {price}")  # fmt: skip
            order = bench.order(side, price=price, quantity=quantity, symbol=symbol)
            _written_exactly(codec.submit(order).params, order)
        _small_ones_are_refused(rules, market)


def bench_least(rules: Instrument, price: Decimal) -> Decimal:
    """Return the least quantity on the grid that these rules allow at a price."""
    worth = quantise_quantity(rules, rules.notional_min / price) + rules.lot_size
    return max(rules.quantity_min, worth)


def _written_exactly(params: Mapping[str, Any], order: SubmitOrder) -> None:
    values = list(_leaves(params))
    check(not any(isinstance(v, float) for v in values), "a float is on the wire")
    texts = [v for v in values if isinstance(v, str)]
    for wanted in (order.price, order.quantity):
        found = [text for text in texts if _is_number(text) and Decimal(text) == wanted]
        check(found, f"{wanted} is not on the wire: {texts}")
        check(not any(c in text for text in found for c in "eE_+ "), f"{found} is no plain number")


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d{1,20}(\.\d*)?([eE][+-]?\d{1,3})?", text) is not None


def _small_ones_are_refused(rules: Instrument, price: Decimal) -> None:
    grid = quantise_price(rules, "BUY", price)
    enough = bench_least(rules, grid)
    check_order(rules, enough, grid)
    for quantity, at in (
        (quantise_quantity(rules, rules.quantity_min) - rules.lot_size, grid),
        (enough + rules.lot_size / 2, grid),
        (enough, grid + rules.tick_size / 2),
    ):
        try:
            check_order(rules, quantity, at)
        except Refused:
            continue
        check(False, f"{quantity} at {at} was not refused here")


def quantised_on_the_wire(suite: Suite) -> None:
    """The venue holds exactly the price and quantity that were decided here."""
    bench, stage = suite.main, suite.staged
    rules = bench.instrument()
    raw = bench.far_price() + rules.tick_size * Decimal("0.7")
    order = bench.order(price=quantise_price(rules, "BUY", raw))
    bench.accepted(order)
    held = stage.orders(order)[0]
    check(Decimal(held["price"]) == order.price, f"{held['price']} at the venue, not {order.price}")
    check(Decimal(held["quantity"]) == order.quantity, f"quantity {held['quantity']}")
    bench.cancel(order)
