"""Orders to a dealer: the venue names the price, so no collar and no self-trade; the stake is what counts."""

from decimal import Decimal

from trading_factories import Market, approved, instrument, opened, opening, spec

from engine.trading.ledger import Ledger
from engine.trading.risk import RiskGate
from engine.trading.risk_limits import RiskLimits

D = Decimal
UP = "cryBTCUSD.MULTUP.100/USD"


def gate(**changes):
    fields = {
        "max_order_notional": D(50), "max_open_notional": D(60), "max_open_orders": 10,
        "max_position": {"cryBTCUSD.MULTUP.100": D(3)}, "price_collar_pct": D(2),
        "max_orders_per_second": 100, "declared_rates": {"USD": D(1)},
    }  # fmt: skip
    made = RiskGate(RiskLimits(**(fields | changes)), ledger=Ledger("USDT"))
    for event in (
        opening("USD", "100"),
        opening("cryBTCUSD.MULTUP.100", "1"),
        opened(),
    ):
        made.apply(event)
    return made


def market(pricing="quoted"):
    rules = {"symbol": UP, "quantity_min": D(1), "lot_size": D(1), "notional_min": D(0)}
    return Market(mids={}, instruments=[instrument(**rules, pricing=pricing)])


def order(order_id="o1", side="BUY", price="10", quantity="1", **more):
    return spec(
        order_id, symbol=UP, side=side, price=D(price), quantity=D(quantity),
        time_in_force="IOC", **more,
    )  # fmt: skip


def judged(made, wanted, at=None):
    return made.judge(wanted, 1, 1, at or market())


def test_without_a_book_an_order_is_bounded_by_its_own_price():
    assert judged(gate(), order()).approved
    assert judged(gate(), order(), market("book")).code == "no_mid"
    assert judged(gate(), order(price="50.01")).code == "max_order_notional"
    assert judged(gate(), order(quantity="4", price="1")).code == "max_position"


def test_what_was_declared_values_what_the_market_does_not_price():
    assert judged(gate(declared_rates={}), order()).code == "not_valuable"
    priced = market()
    priced.mids["USD/USDT"] = (D(10), 0)
    assert judged(gate(), order(), priced).code == "max_order_notional", (
        "the market's rate goes first"
    )


def test_a_close_is_no_trade_with_ourselves():
    made = gate()
    made.apply(approved(order("o1")))
    assert judged(made, order("o2", "SELL", "0.01")).approved
    assert judged(made, order("o2", "SELL", "0.01"), market("book")).code == "self_trade"
