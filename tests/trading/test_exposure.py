"""What open orders claim is summed up as it changes; the sums must be those of a full count, exactly."""

from decimal import Decimal
from random import Random

import pytest
import trading_factories as f

from engine.errors import IllegalTransition
from engine.trading.exposure import Exposure
from engine.trading.order import Order
from engine.trading.orders import OrderTable

FEE = Decimal("0.002")


def sums(exposure: Exposure) -> dict[str, object]:
    """Everything a judgement reads, without what has come back to zero."""
    kept = {
        name: {key: value for key, value in getattr(exposure, name).items() if value}
        for name in ("_by_side", "_net_by_side", "_reserved", "notional", "unpriced", "_charges")
    }
    resting = {key: held for key, held in exposure._resting.items() if held}
    return {**kept, "resting": resting, "open": exposure.open_orders}


def counted_anew(table: OrderTable) -> Exposure:
    exposure = Exposure(FEE)
    for order in table.select(parents=False):
        assert isinstance(order, Order)
        exposure.update(order)
    return exposure


def side_of(order_id: str) -> str:
    return "SELL" if int(order_id[1:]) % 2 else "BUY"


def some_event(rng: Random, order_id: str, number: int):
    quantity = f"0.{rng.randrange(1, 10**9):09d}"
    return rng.choice(
        [
            lambda: f.acknowledged(order_id, f"v-{order_id}"),
            lambda: f.unknown(order_id),
            lambda: f.canceled(order_id),
            lambda: f.cancel_requested(order_id),
            lambda: f.rejected(order_id),
            lambda: f.venue_filled(order_id, quantity),
            lambda: f.filled(order_id, quantity, f"t{number}", side=side_of(order_id)),
        ]
    )()


@pytest.mark.parametrize("seed", range(20))
def test_the_running_sums_are_those_of_a_full_count(seed):
    rng = Random(seed)
    table, running = OrderTable(), Exposure(FEE)
    for number in range(300):
        order_id = f"o{rng.randrange(12)}"
        event = some_event(rng, order_id, number)
        if table.get(order_id) is None:
            price = rng.choice((None, Decimal("100.25")))
            event = f.approved(f.spec(order_id, side=side_of(order_id), price=price))
        try:
            table.apply(event)
        except IllegalTransition:
            continue
        order = table.order(order_id)
        assert order is not None
        running.update(order)
        assert sums(running) == sums(counted_anew(table)), f"seed {seed}, event {number}: {event}"
