"""A plan never exceeds what was asked, takes the cheapest after fees, and gives every venue a reason."""

from decimal import Decimal as D  # noqa: N817  prices read better

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import Refused
from engine.messages.market import RouteBenchmark, VenueBook
from engine.messages.port import Instrument
from engine.trading.consolidated import Consolidator
from engine.trading.routing import (
    Want,
    collar_price,
    mid_price,
    plan_best,
    quantise_price,
    quantity_before,
    round_down,
)

S = "BTC/USDT"


def rule(venue, **changes):
    fields = {
        "venue": venue, "symbol": S, "venue_symbol": "X", "base": "BTC", "quote": "USDT",
        "tick_size": D("0.1"), "lot_size": D("0.001"), "quantity_min": D("0.001"),
        "quantity_max": None, "notional_min": D(1), "maker_fee": D("0.001"),
        "taker_fee": D("0.001"),
    }  # fmt: skip
    return Instrument(**(fields | changes))


def market(**books):
    c = Consolidator(stale_after_ns=dict.fromkeys(books, 10**9))
    for venue, (bids, asks) in books.items():
        sides = bids[::2], bids[1::2], asks[::2], asks[1::2]
        c.update(VenueBook(venue, S, "LIVE", "", 1, 3, *sides, 1, 0, 0, 0))
    return c.publish(S, 0)


def want(**changes):
    fields = {"symbol": S, "side": "BUY", "order_type": "LIMIT", "time_in_force": "IOC",
              "post_only": False, "quantity": D(1), "price": D(200)}  # fmt: skip
    return Want(**(fields | changes))


TWO = {"a": ([990, 500], [1000, 400, 1010, 1000]), "b": ([980, 500], [1001, 300, 1020, 1000])}
RULES = {"a": rule("a"), "b": rule("b")}


def legs(plan):
    return {leg.venue: leg.quantity for leg in plan.legs}


def test_depth_is_taken_from_the_cheapest_level_up():
    plan = plan_best(want(quantity=D("0.9")), market(**TWO), RULES, {})
    assert legs(plan) == {"a": D("0.6"), "b": D("0.3")}


def test_a_fee_can_make_the_better_price_the_worse_one():
    rules = {"a": rule("a", taker_fee=D("0.01")), "b": rule("b", taker_fee=D(0))}
    plan = plan_best(want(quantity=D("0.3")), market(**TWO), rules, {})
    assert legs(plan) == {"b": D("0.3")}


def test_nothing_is_taken_beyond_the_limit():
    plan = plan_best(want(quantity=D(5), price=D(100)), market(**TWO), RULES, {})
    assert legs(plan) == {"a": D("0.4")}
    assert plan.unplaced == D("4.6")


def test_a_sell_takes_the_highest_bid():
    plan = plan_best(want(side="SELL", quantity=D("0.2"), price=D(90)), market(**TWO), RULES, {})
    assert legs(plan) == {"a": D("0.2")}


def test_the_remainder_of_a_resting_order_rests_where_the_maker_fee_is_lowest():
    rules = {"a": rule("a"), "b": rule("b", maker_fee=D("0.0001"))}
    asked = want(quantity=D(1), price=D(100), time_in_force="GTC")
    plan = plan_best(asked, market(**TWO), rules, {})
    assert legs(plan) == {"a": D("0.4"), "b": D("0.6")}
    assert plan.unplaced == 0


def test_a_fill_or_kill_order_goes_to_one_venue_or_nowhere():
    asked = want(quantity=D(1), time_in_force="FOK")
    assert legs(plan_best(asked, market(**TWO), RULES, {})) == {"a": D(1)}
    big = want(quantity=D("2.5"), time_in_force="FOK")
    with pytest.raises(Refused, match="fill-or-kill"):
        plan_best(big, market(**TWO), RULES, {})


def test_post_only_goes_to_one_venue_whole():
    asked = want(post_only=True, time_in_force="GTC", price=D(90))
    plan = plan_best(asked, market(**TWO), RULES, {})
    assert legs(plan) == {"a": D(1)}


def test_an_unfit_venue_is_left_out_with_its_reason():
    plan = plan_best(want(quantity=D("0.3")), market(**TWO), RULES, {"a": "venue DOWN: test"})
    assert legs(plan) == {"b": D("0.3")}
    assert plan.reasons["a"] == "venue DOWN: test"


def test_with_no_venue_left_the_refusal_says_why_for_each():
    with pytest.raises(Refused, match="a: one; b: two"):
        plan_best(want(), market(**TWO), RULES, {"a": "one", "b": "two"})


def test_a_share_too_small_for_its_venue_moves_to_another():
    rules = {"a": rule("a"), "b": rule("b", quantity_min=D("0.5"))}
    plan = plan_best(want(quantity=D("0.9")), market(**TWO), rules, {})
    assert legs(plan) == {"a": D("0.9")}
    assert "left out" in plan.reasons["b"]


def test_prices_are_never_worse_than_asked():
    assert quantise_price(D("99.999"), "BUY", D("0.01")) == D("99.99")
    assert quantise_price(D("99.991"), "SELL", D("0.01")) == D("100.00")


def test_mid_and_collar_are_exact():
    mid = mid_price(market(**TWO))
    assert mid == D("99.5")
    assert collar_price(mid, "BUY", D(2)) == D("101.49")
    assert collar_price(mid, "SELL", D(2)) == D("97.51")


sizes = st.integers(1, 3000)


@given(
    st.lists(sizes, min_size=1, max_size=5), st.lists(sizes, min_size=1, max_size=5),
    st.integers(1, 9000), st.sampled_from(["IOC", "GTC"]),
    st.sampled_from([D("0.001"), D("0.01"), D("0.5")]),
)  # fmt: skip
def test_legs_fit_every_rule_and_add_up(one, two, asked, tif, lot):
    books = {
        venue: ([10, 5], [n for i, q in enumerate(side) for n in (1000 + 2 * i + k, q)])
        for k, (venue, side) in enumerate((("a", one), ("b", two)))
    }
    rules = {"a": rule("a", lot_size=lot, quantity_min=lot), "b": rule("b")}
    quantity = D(asked) / 1000
    try:
        plan = plan_best(want(quantity=quantity, time_in_force=tif), market(**books), rules, {})
    except Refused:
        return
    placed = sum(leg.quantity for leg in plan.legs)
    assert placed + plan.unplaced == quantity
    for leg in plan.legs:
        assert leg.quantity == round_down(leg.quantity, rules[leg.venue].lot_size)
        assert leg.quantity >= rules[leg.venue].quantity_min
        assert leg.price * leg.quantity >= 1


def test_a_plan_says_its_reasons_in_one_line():
    plan = plan_best(want(quantity=D("0.1")), market(**TWO), RULES, {"c": "no key"})
    assert plan.text() == (
        "a: takes 0.1 at the best price after 0.001 taker fee; "
        "b: not needed: others are cheaper after its fee of 0.001; c: no key"
    )


def test_without_two_sides_there_is_no_mid():
    assert mid_price(market(a=([], [1000, 400]))) is None
    assert mid_price(market(a=([990, 400], []))) is None


def test_what_stands_before_a_price_is_counted_per_venue_and_side():
    book = market(**TWO)
    assert quantity_before(book, "a", "BUY", D("101.0")) == D("0.4")
    assert quantity_before(book, "a", "BUY", D("101.1")) == D("1.4")
    assert quantity_before(book, "b", "BUY", D("100.1")) == 0
    assert quantity_before(book, "a", "SELL", D("98.9")) == D("0.5")
    assert quantity_before(book, "a", "SELL", D("99.0")) == 0
    assert quantity_before(book, "nobody", "BUY", D(101)) is None


def test_a_share_above_a_venues_maximum_is_left_out_with_the_reason():
    rules = {"a": rule("a", quantity_max=D("0.2")), "b": rule("b")}
    plan = plan_best(want(quantity=D("0.6")), market(**TWO), rules, {})
    assert (legs(plan), plan.unplaced) == ({"b": D("0.6")}, 0), "b alone shows all of it"
    assert "above the maximum quantity 0.2" in plan.reasons["a"]
    plan = plan_best(want(quantity=D("1.5")), market(**TWO), rules, {})
    assert (legs(plan), plan.unplaced) == ({"b": D("0.3")}, D("1.2")), "nobody alone shows it"


def test_a_venue_whose_book_does_not_count_is_named():
    c = Consolidator(stale_after_ns={"a": 10**9, "b": 10**9})
    c.update(VenueBook("a", S, "LIVE", "", 1, 3, [990], [500], [1000], [400], 1, 0, 0, 0))
    c.update(VenueBook("b", S, "GAP", "sequence", 1, 3, [], [], [], [], 1, 0, 0, 0))
    plan = plan_best(want(quantity=D("0.1")), c.publish(S, 0), RULES, {})
    assert plan.reasons["b"] == "book GAP: sequence"
    better = VenueBook(
        "b", S, "LIVE", "", 1, 3, [991], [500], [995], [400], 2, 0, 0, 1, "synthetic"
    )
    c.update(better)
    plan = plan_best(want(quantity=D("0.1")), c.publish(S, 1), RULES, {})
    assert (legs(plan), plan.reasons["b"]) == ({"a": D("0.1")}, "book synthetic")
    assert quantity_before(c.publish(S, 1), "b", "BUY", D(200)) is None
    assert mid_price(c.publish(S, 1)) == D("99.5")


def test_a_fill_or_kill_order_passes_over_a_venue_whose_rules_it_breaks():
    rules = {"a": rule("a", lot_size=D("0.2")), "b": rule("b")}
    plan = plan_best(want(quantity=D("0.3"), time_in_force="FOK"), market(**TWO), rules, {})
    assert legs(plan) == {"b": D("0.3")}, "a is cheaper, but takes multiples of 0.2 only"


def test_a_remainder_rests_where_it_is_large_enough():
    rules = {"a": rule("a", notional_min=D(1000), maker_fee=D(0)), "b": rule("b")}
    plan = plan_best(want(time_in_force="GTC", price=D("99.5")), market(**TWO), rules, {})
    assert legs(plan) == {"b": D(1)}
    assert plan.reasons["a"].startswith("cannot rest: ")
    with pytest.raises(Refused, match="too small for every venue"):
        plan_best(want(time_in_force="GTC", price=D("99.5"), quantity=D("0.0001")),
                  market(**TWO), RULES, {})  # fmt: skip


def test_what_can_rest_nowhere_is_left_beside_what_is_taken():
    rules = {"a": rule("a", quantity_max=D("0.4")), "b": rule("b", quantity_min=D(10))}
    plan = plan_best(
        want(time_in_force="GTC", quantity=D("0.5"), price=D(100)), market(**TWO), rules, {}
    )
    assert (legs(plan), plan.unplaced) == ({"a": D("0.4")}, D("0.1"))
    assert plan.reasons["b"].startswith("cannot rest: ")


def test_a_split_that_lots_make_dearer_gives_way_to_the_venue_that_has_it_all():
    books = {"a": ([990, 500], [1000, 5]), "b": ([980, 500], [1001, 1000]), "c": ([1], [1000, 600])}
    books["c"] = ([970, 500], [1002, 1000])
    coarse = {"a": rule("a", lot_size=D("0.01")), "b": rule("b"), "c": rule("c")}
    plan = plan_best(want(quantity=D(1)), market(**books), coarse, {})
    assert legs(plan) == {"b": D(1)}, "five thousandths at a are less than its lot"
    assert plan.benchmark == RouteBenchmark(D("100.2001"), "b", D("100.2001"))


def test_a_plan_says_what_it_should_cost_beside_the_best_single_venue():
    plan = plan_best(want(quantity=D("0.6")), market(**TWO), RULES, {})
    assert legs(plan) == {"a": D("0.4"), "b": D("0.2")} or legs(plan) == {
        "a": D("0.3"),
        "b": D("0.3"),
    }
    assert plan.benchmark.venue == "a"
    assert plan.benchmark.plan_price < plan.benchmark.venue_price
    sold = plan_best(want(side="SELL", quantity=D("0.9"), price=D(50)), market(**TWO), RULES, {})
    assert sold.benchmark.venue is None
    assert sold.benchmark.plan_price == sold.benchmark.plan_price.copy_abs()


LADDERS = st.lists(st.tuples(st.integers(990, 1010), st.integers(1, 3000)), min_size=1, max_size=5)
GRIDS = st.sampled_from([D("0.001"), D("0.01"), D("0.25"), D(1)])
VENUES = st.lists(
    st.tuples(LADDERS, st.sampled_from([D(0), D("0.0005"), D("0.001"), D("0.01")]), GRIDS),
    min_size=1, max_size=4,
)  # fmt: skip


@given(venues=VENUES, lots=st.integers(1, 6000), side=st.sampled_from(["BUY", "SELL"]),
       notional_min=st.sampled_from([D(0), D(50)]))  # fmt: skip
def test_a_split_is_exact_stays_within_depth_and_is_never_worse_than_the_best_single_venue(
    venues, lots, side, notional_min
):
    books, rules = {}, {}
    for n, (ladder, fee, lot) in enumerate(venues):
        levels = sorted(dict(ladder).items(), reverse=side == "SELL")
        flat = [number for level in levels for number in level]
        books[f"v{n}"] = ([], flat) if side == "BUY" else (flat, [])
        rules[f"v{n}"] = rule(f"v{n}", taker_fee=fee, lot_size=lot, notional_min=notional_min)
    quantity = D(lots) / 1000
    asked = want(side=side, quantity=quantity, price=D(200) if side == "BUY" else D(1))
    try:
        plan = plan_best(asked, market(**books), rules, {})
    except Refused:
        return
    assert sum(leg.quantity for leg in plan.legs) + plan.unplaced == quantity
    for leg in plan.legs:
        assert leg.quantity <= shown(books[leg.venue], side)
        assert leg.quantity % rules[leg.venue].lot_size == 0
        assert leg.quantity * leg.price >= notional_min
    cost = sum(taking(books, rules, side, leg.venue, leg.quantity) for leg in plan.legs)
    for venue, alone in rules.items():
        fits = quantity % alone.lot_size == 0 and quantity * asked.price >= notional_min
        if fits and shown(books[venue], side) >= quantity and quantity >= alone.quantity_min:
            assert plan.unplaced == 0
            assert cost <= taking(books, rules, side, venue, quantity)


def shown(book, side):
    levels = book[1] if side == "BUY" else book[0]
    return D(sum(levels[1::2])) / 1000


def taking(books, rules, side, venue, quantity):
    """Return what taking a quantity at one venue costs after fees; a sale costs less than nothing."""
    levels = books[venue][1] if side == "BUY" else books[venue][0]
    fee, total = rules[venue].taker_fee, D(0)
    for price, offered in zip(levels[::2], levels[1::2], strict=True):
        part = min(quantity, D(offered) / 1000)
        total += part * D(price) / 10 * (1 + fee if side == "BUY" else fee - 1)
        quantity -= part
    return total
