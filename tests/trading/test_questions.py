"""What an ExchangeActor asks where the venue keeps no names: what to look for, and which fills wait."""

from decimal import Decimal

from trading_factories import acknowledged, approved, filled, resolved, spec, unknown

from actors.questions import Orphans, may_be_of, query_about
from engine.messages.port import FillReport
from engine.trading.orders import OrderTable

SYMBOL = spec().symbol


def table(*events):
    orders = OrderTable()
    for event in events:
        orders.apply(event, 1)
    return orders


def fill(side="BUY", name="", order="t9", trade="c9"):
    return FillReport(
        "binance.main", name, order, trade, SYMBOL, side, Decimal(10), Decimal(1), Decimal(0),
        "USDT", "TAKER", "reconcile", 5,
    )  # fmt: skip


def test_a_question_says_what_to_look_for_and_what_is_others():
    orders = table(
        approved(spec("o1")), acknowledged("o1", "t1"),
        approved(spec("o2", side="SELL")), acknowledged("o2", "t2"),
        approved(spec("o3")), unknown("o3"),
        approved(spec("o4")), unknown("o4"),
        approved(spec("o5")),
    )  # fmt: skip
    asked = query_about(orders.order("o3"), "binance.main", orders)
    assert asked.intent.taken == ["t1"]
    assert (asked.intent.side, asked.intent.price, asked.intent.twins) == ("BUY", spec().price, 2)
    assert query_about(orders.order("o3"), "binance.main").intent is None, "names are kept there"
    assert query_about(orders.order("o1"), "binance.main", orders).intent is None, "it has an id"


def test_a_fill_without_a_name_waits_while_it_may_be_that_of_an_unproven_order():
    orders = table(approved(spec("o1")), unknown("o1"))
    assert may_be_of(orders, fill())
    assert not may_be_of(orders, fill("SELL"))
    assert not may_be_of(orders, fill(name="ce77"))
    orphans = Orphans()
    assert orphans.hold(fill(), orders) == orphans.questions(orders) == []
    orders.apply(resolved("o1"), 2)
    assert [q.venue_order_id for q in orphans.questions(orders)] == ["t9"]


def test_a_fill_of_nobody_is_asked_for_once_and_held_once():
    orders = table(approved(spec("o1")), acknowledged("o1", "t1"), filled("o1"))
    orphans = Orphans()
    assert [q.venue_order_id for q in orphans.hold(fill(), orders)] == ["t9"]
    assert orphans.hold(fill(trade="c10"), orders) == orphans.hold(fill(), orders) == []
    assert [f.trade_id for f in orphans["t9"]] == ["c9", "c10"]
