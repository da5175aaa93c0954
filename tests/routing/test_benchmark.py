"""What an order cost, beside its plan and the best single venue; and what a decision saw."""

from decimal import Decimal as D  # noqa: N817  prices read better
from types import SimpleNamespace

from engine.messages.market import ConsolidatedBook, MarketSeen, RouteBenchmark
from engine.trading.benchmark import cost_view, seen


def order(side="BUY", filled="2", notional="200", fees=None):
    spec = SimpleNamespace(symbol="BTC/USDT", side=side)
    paid = {} if fees is None else {asset: D(fee) for asset, fee in fees.items()}
    return SimpleNamespace(
        spec=spec, filled_quantity=D(filled), filled_notional=D(notional), fees=paid
    )


def test_a_buy_is_compared_with_its_fees_in_base_and_quote():
    mark = RouteBenchmark(D("100.2"), "okx", D("100.5"))
    view = cost_view(order(fees={"BTC": "0.001", "USDT": "0.1"}), mark)
    assert (view["average_price"], view["after_fees"]) == ("100", "100.1")
    assert (view["best_single_venue"], view["vs_best_single_bps"]) == ("okx", "39.8")
    assert view["vs_expected_bps"] == "9.98"


def test_a_sale_that_brought_less_than_the_best_single_venue_is_worse():
    mark = RouteBenchmark(None, "okx", D(100))
    view = cost_view(order("SELL", fees={"USDT": "1"}), mark)
    assert (view["after_fees"], view["vs_best_single_bps"]) == ("99.5", "-50")
    assert view["vs_expected_bps"] is None


def test_a_fee_in_a_third_asset_is_named_and_nothing_is_compared():
    view = cost_view(order(fees={"BNB": "0.1"}), RouteBenchmark(D(100), "okx", D(100)))
    assert (view["not_valued"], view["after_fees"], view["vs_best_single_bps"]) == (
        ["0.1 BNB"], None, None,
    )  # fmt: skip


def test_nothing_is_said_of_an_order_without_fills_or_benchmark():
    assert cost_view(order(), None) is None
    assert cost_view(order(filled="0"), RouteBenchmark(None, None, None)) is None


def test_a_decision_remembers_the_touch_and_its_age():
    book = ConsolidatedBook("BTC/USDT", 1, 0, [999], [], [], 7, 100)
    assert seen(book, 130) == MarketSeen(D("99.9"), None, 7, 30)
    assert seen(None, 130) is None
