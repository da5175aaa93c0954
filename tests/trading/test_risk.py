"""The risk gate: each refusal, what counts, what reduces, what is freed."""

import msgspec
import pytest
import trading_factories as f
from trading_factories import D

from engine.errors import MessageError
from engine.messages.base import replaced
from engine.messages.events import (
    BalanceDifferenceFound,
    OrderApproved,
    OrderDenied,
    ParentAccepted,
    TradingHalted,
    TradingResumed,
)
from engine.trading.risk import RiskGate, leg_view
from engine.trading.risk_limits import REASONS, RiskLimits

S = 1_000_000_000


def limits(**changes):
    fields = {
        "max_order_notional": D(2000),
        "max_open_notional": D(3000),
        "max_open_orders": 5,
        "max_position": {"BTC": D(30), "*": D(50)},
        "price_collar_pct": D(2),
        "max_orders_per_second": 4,
    }
    return RiskLimits(**(fields | changes))


def gate(btc="10", usdt="100000", **changes):
    made = RiskGate(limits(**changes))
    for event in (f.opening("BTC", btc), f.opening("USDT", usdt), f.opened()):
        made.apply(event)
    return made


def judge(made, order=None, market=None, now=0):
    return made.judge(order or f.spec(), now, 0, market or f.Market())


def let(made, order, now=0, market=None):
    verdict = judge(made, order, market, now)
    made.apply(made.event(verdict, now))
    return verdict.code


def test_an_order_within_all_limits_is_approved_with_a_deadline():
    made = gate()
    verdict = judge(made, now=5)
    assert (verdict.approved, verdict.code, verdict.order) == (True, "", f.spec())
    assert made.event(verdict, 5) == OrderApproved(f.spec(), 5, 5 + 2 * S, "mid 100")


def halted(scope, level="no_new"):
    return TradingHalted(scope, "drill", "ann", True, 1, level=level)


REFUSALS = {
    "halted": ({}, halted("all"), {}, {}),
    "no_account": ({"account": None, "venue": "best"}, None, {}, {}),
    "account_not_opened": ({"account": "okx.other"}, None, {}, {}),
    "unknown_instrument": ({"symbol": "ETH/USDT"}, None, {}, {}),
    "instrument_not_trading": ({}, None, {"instruments": [f.instrument(status="HALTED")]}, {}),
    "quantity_rule": ({"quantity": D("1.0001")}, None, {}, {}),
    "price_rule": ({"price": D("99.999")}, None, {}, {}),
    "notional_rule": ({"quantity": D("0.01")}, None, {}, {}),
    "no_mid": ({}, None, {"mids": {}}, {}),
    "stale_mid": ({}, None, {"mids": {f.SYMBOL: (D(100), 6 * S)}}, {}),
    "not_valuable": ({}, None, {}, {"report_currency": "EUR"}),
    "price_collar": ({"price": D("102.01")}, None, {}, {}),
    "max_orders_per_second": ({}, None, {}, {"max_orders_per_second": 0}),
    "max_open_orders": ({}, None, {}, {"max_open_orders": 0}),
    "max_order_notional": ({}, None, {}, {"max_order_notional": D("999.99")}),
    "max_open_notional": ({}, None, {}, {"max_open_notional": D("999.99")}),
    "max_position": ({}, None, {}, {"max_position": {"BTC": D("19.999")}}),
    "no_position_limit": ({}, None, {}, {"max_position": {"ETH": D(1)}}),
    "insufficient_balance": ({"side": "SELL", "quantity": D("10.001")}, None, {}, {}),
    "reduce_only": ({}, BalanceDifferenceFound(f.ACCOUNT, "USDT", D(1), D(2), 1), {}, {}),
    "duplicate": ({}, f.approved(), {}, {}),
    "self_trade": ({}, f.approved(f.spec("o2", side="SELL", quantity=D(1))), {}, {}),
}


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_has_its_own_code_and_an_explanation(code):
    order, event, market, changed = REFUSALS[code]
    made = gate(**changed)
    if event is not None:
        made.apply(event)
    before = made.to_bytes()
    verdict = judge(made, f.spec(**order), f.Market(**market), now=S)
    assert (verdict.approved, verdict.code) == (False, code)
    assert verdict.text
    assert code in REASONS
    assert made.to_bytes() == before
    assert isinstance(made.event(verdict, 0), OrderDenied)


def test_every_reason_is_tested_but_the_one_that_is_decided_after_the_gate():
    assert set(REASONS) - set(REFUSALS) == {"stale_approval"}


@pytest.mark.parametrize("scope", ["all", "venue:okx", "symbol:BTC/USDT"])
def test_a_halt_is_sticky_until_its_own_scope_is_resumed(scope):
    made = gate()
    made.apply(halted(scope))
    made = RiskGate.from_bytes(made.to_bytes(), limits())
    assert judge(made).code == "halted"
    made.apply(TradingResumed("venue:binance", "", "ann", 2))
    assert judge(made).code == "halted"
    made.apply(TradingResumed(scope, "", "ann", 2))
    assert judge(made).approved


@pytest.mark.parametrize("level", ["reduce_only", "flat"])
def test_a_halt_to_reducing_lets_only_what_reduces_pass(level):
    made = gate()
    made.apply(halted("venue:okx", level))
    made = RiskGate.from_bytes(made.to_bytes(), limits())
    assert judge(made).code == "reduce_only"
    sale = judge(made, f.spec(side="SELL", quantity=D(4)))
    assert (sale.approved, sale.reduces) == (True, True)
    assert made.event(sale, 0).reduces
    made.apply(halted("symbol:BTC/USDT"))
    assert judge(made, f.spec(side="SELL", quantity=D(4))).code == "halted", "the strictest binds"


def test_approvals_older_than_a_second_are_forgotten():
    made = gate(max_orders_per_second=2)
    for n, at in enumerate((0, 0, 2 * S, 2 * S)):
        assert let(made, f.spec(f"o{n}", quantity=D(1)), now=at) == ""
    assert let(made, f.spec("o9", quantity=D(1)), now=2 * S) == "max_orders_per_second"


def test_a_second_halt_of_a_scope_never_loosens_it():
    made = gate()
    assert made.strictest("all", "flat") == "flat"
    made.apply(halted("all", "reduce_only"))
    assert made.strictest("all", "no_new") == "no_new"
    made.apply(halted("all"))
    assert made.strictest("all", "flat") == "no_new"


def test_a_halt_of_another_venue_or_symbol_does_not_concern_the_order():
    made = gate()
    made.apply(halted("venue:binance"))
    made.apply(halted("symbol:ETH/USDT"))
    assert judge(made).approved


@pytest.mark.parametrize(("side", "price"), [("BUY", "102.3"), ("SELL", "98.4")])
def test_a_market_order_gets_the_collar_as_its_price_on_the_tick(side, price):
    order = f.spec(order_type="MARKET", price=None, side=side, time_in_force="IOC")
    rules = [f.instrument(tick_size=D("0.1"))]
    verdict = judge(gate(), order, f.Market({f.SYMBOL: (D("100.36"), 0)}, rules))
    assert verdict.order.price == D(price)
    assert judge(gate(), order, f.Market({})).code == "no_mid"


def test_a_price_on_the_collar_is_allowed_and_a_sell_is_valued_at_the_mid_it_may_fill_at():
    assert judge(gate(), f.spec(price=D(102))).approved
    sell = f.spec(price=D(98), side="SELL")
    assert judge(gate(), sell).approved
    assert judge(gate(max_order_notional=D(999)), sell).code == "max_order_notional"


def test_open_notional_adds_what_is_open_to_the_order():
    made = gate(max_position={"BTC": D(1000)})
    assert [let(made, f.spec(i, quantity=D(15))) for i in ("a", "b")] == ["", ""]
    assert let(made, f.spec("c", quantity=D(1))) == "max_open_notional"


def test_the_position_limit_holds_on_the_short_side_too():
    made = gate(count_opening=False, max_position={"BTC": D(5)})
    assert judge(made, f.spec(side="SELL", quantity=D("5.001"))).code == "max_position"
    assert let(made, f.spec("a", side="SELL", quantity=D(3))) == ""
    assert judge(made, f.spec("b", side="SELL", quantity=D("2.001"))).code == "max_position"
    assert judge(made, f.spec("b", side="SELL", quantity=D(2))).approved


def test_a_closed_order_that_is_owed_fills_is_charged_but_neither_open_nor_resting():
    made = gate(max_open_orders=1)
    let(made, f.spec("a", side="SELL", quantity=D(2)))
    made.apply(f.canceled("a", quantity="2"))
    assert made.worst_position("BTC") == (8, 10)
    assert judge(made, f.spec("b", quantity=D(1))).approved


def test_a_fill_repeated_after_the_ledgers_window_is_still_known_by_its_order(monkeypatch):
    monkeypatch.setattr("engine.trading.ledger.FILL_KEYS_MAX", 1)
    made = gate()
    let(made, f.spec())
    made.apply(f.filled())
    made.apply(f.filled(trade_id="t2"))
    before = made.to_bytes()
    assert not made.apply(f.filled())
    assert made.to_bytes() == before


def test_a_passive_price_far_from_the_mid_is_no_fault():
    assert judge(gate(), f.spec(price=D(20))).approved
    assert judge(gate(), f.spec(price=D(150), side="SELL")).approved


def test_an_approved_order_counts_before_the_journal_has_it():
    made = gate()
    assert let(made, f.spec("a", quantity=D(10))) == ""
    assert let(made, f.spec("b", quantity=D(20), price=D(99))) == "max_position"
    assert let(made, f.spec("c", quantity=D(10))) == ""
    assert let(made, f.spec("d", quantity=D(1))) == "max_position"
    assert made.worst_position("BTC") == (10, 30)


@pytest.mark.parametrize(
    ("event", "freed"),
    [
        (f.unknown("a"), False),
        (f.cancel_requested("a"), False),
        (f.canceled("a", quantity="20"), False),
        (f.canceled("a"), True),
        (f.rejected("a"), True),
        (f.denied(f.spec("a"), code="stale_approval"), True),
    ],
)
def test_exposure_is_freed_by_proof_and_by_nothing_else(event, freed):
    made = gate()
    let(made, f.spec("a", quantity=D(20)))
    made.apply(event)
    assert (judge(made, f.spec("b", quantity=D(20))).code == "") is freed


def test_an_order_that_the_journal_did_not_take_never_was():
    made = gate()
    before = made.exposure.notional | {}, made.exposure.open_orders
    let(made, f.spec("a"))
    made.forget(f.spec("a"), "journal_full", "no space")
    assert made.orders.get("a") is None
    assert made.exposure.open_orders == before[1]
    assert not any(made.exposure.notional.values())
    assert judge(made, f.spec("a")).approved, "the same order may come again"
    made.forget(f.spec("a"), "journal_full", "told to a successor, which never had it")
    assert len(made.orders) == 0


def test_a_refusal_that_comes_late_takes_no_order_back_that_the_journal_knows():
    made = gate()
    let(made, f.spec("a"))
    made.apply(f.acknowledged("a"))
    made.forget(f.spec("a"), "already_journaled", "this order is already record 1")
    assert made.orders.get("a").status == "NEW"
    assert made.exposure.open_orders == 1


def test_the_rate_is_a_sliding_window():
    made = gate(max_open_notional=D(10**6), max_position={"BTC": D(1000)})
    for at in range(4):
        assert let(made, f.spec(f"o{at}", quantity=D(1)), now=at * S // 4) == ""
    assert judge(made, f.spec("next"), now=S - 1).code == "max_orders_per_second"
    assert judge(made, f.spec("next"), now=S).approved
    assert made.orders_in_last_second(S) == 3


def test_approvals_of_an_earlier_boot_do_not_block_a_smaller_monotonic_clock():
    made = gate()
    for at in range(4):
        let(made, f.spec(f"o{at}", quantity=D(1)), now=10 * S)
    assert judge(made, f.spec("next", quantity=D(1)), now=5).approved


def restricted(**changes):
    made = gate(**changes)
    made.apply(BalanceDifferenceFound(f.ACCOUNT, "BTC", D(1), D(2), 1))
    return made


def test_a_restricted_account_may_sell_what_it_holds_and_not_more():
    made = restricted()
    assert let(made, f.spec("a", side="SELL", quantity=D(6))) == ""
    assert judge(made, f.spec("b", side="SELL", quantity=D("4.001"))).code == "reduce_only"
    assert judge(made, f.spec("b", side="SELL", quantity=D(4))).approved
    assert judge(made, f.spec("b", side="BUY", quantity=D(1), price=D(50))).code == "reduce_only"


def test_with_openings_not_counted_a_sold_holding_is_bought_back_to_reduce():
    made = restricted(count_opening=False)
    sold = f.filled("x", "3", side="SELL", fee=D(0))
    made.apply(sold)
    assert made.position("BTC") == -3
    assert judge(made, f.spec("a", quantity=D(3), price=D(99))).approved
    assert judge(made, f.spec("a", quantity=D(4), price=D(99))).code == "reduce_only"


def test_what_provably_reduces_may_go_although_it_cannot_be_valued():
    nothing = f.Market({})
    assert judge(gate(), f.spec(side="SELL", quantity=D(10)), nothing).approved
    assert judge(gate(), f.spec(side="SELL", quantity=D("10.001")), nothing).code == "no_mid"
    assert judge(gate(), f.spec(quantity=D(1)), nothing).code == "no_mid"


def test_open_orders_reserve_their_part_of_the_balance_with_fees():
    made = gate(usdt="2000", btc="5")
    assert let(made, f.spec("a", quantity=D(10))) == ""
    assert made.exposure.reserved(f.ACCOUNT, "USDT") == D(1002)
    assert judge(made, f.spec("b", quantity=D("9.97"))).code == "insufficient_balance"
    assert judge(made, f.spec("b", quantity=D("9.96"))).approved
    assert let(made, f.spec("c", side="SELL", quantity=D(3), price=D(101))) == ""
    assert judge(made, f.spec("d", side="SELL", quantity=D("2.001"), price=D(101))).code == (
        "insufficient_balance"
    )


def test_self_trade_is_refused_at_the_same_venue_only_and_also_for_unknown_orders():
    made = gate()
    let(made, f.spec("a", side="SELL", quantity=D(1), price=D(101)))
    made.apply(f.unknown("a"))
    assert judge(made, f.spec("b", price=D("100.99"))).approved
    assert judge(made, f.spec("b", price=D(101))).code == "self_trade"
    market = f.Market(instruments=[f.instrument("binance")])
    assert judge(made, f.spec("b", price=D(101), venue="binance"), market).approved
    made.apply(f.canceled("a"))
    assert judge(made, f.spec("b", price=D(101))).approved


def test_an_order_that_only_takes_may_pass_if_others_quotes_before_ours_cover_it():
    made = gate()
    let(made, f.spec("a", side="SELL", quantity=D(1), price=D(101)))
    market = f.Market()
    taker = f.spec("b", price=D(101), quantity=D(2), time_in_force="IOC")
    market.offered = D(2)
    assert judge(made, taker, market).approved
    market.offered = D("1.999")
    assert judge(made, taker, market).code == "self_trade"
    market.offered = None
    assert judge(made, taker, market).code == "self_trade"
    market.offered = D(2)
    resting = f.spec("b", price=D(101), quantity=D(2))
    assert judge(made, resting, market).approved  # it is filled before it could rest
    maker = f.spec("b", price=D(101), quantity=D(2), post_only=True)
    assert judge(made, maker, market).code == "self_trade"


def test_our_own_better_quotes_are_not_counted_as_others():
    made = gate()
    let(made, f.spec("a", side="SELL", quantity=D(1), price=D(100)))
    let(made, f.spec("c", side="SELL", quantity=D(1), price=D(101)))
    market = f.Market()
    market.offered = D(2)
    taker = f.spec("b", price=D(101), quantity=D(2), time_in_force="IOC")
    assert judge(made, taker, market).code == "self_trade"


def test_orders_in_another_quote_are_valued_through_its_mid():
    market = f.Market(
        {"ETH/BTC": (D("0.05"), 0), f.SYMBOL: (D(100), 0)},
        [f.instrument(symbol="ETH/BTC", notional_min=D(0))],
    )
    order = f.spec(symbol="ETH/BTC", price=D("0.05"), quantity=D(10))
    made = gate(max_order_notional=D(50))
    assert let(made, order, market=market) == ""
    assert made.open_notional(market) == 50
    assert made.open_notional(f.Market({})) is None
    assert judge(gate(max_order_notional=D("49.99")), order, market).code == "max_order_notional"


def test_an_external_order_without_price_is_charged_at_the_mid():
    made = gate()
    made.apply(f.external(f.spec("x", origin="EXTERNAL", price=None, quantity=D(3))))
    assert made.open_notional(f.Market()) == 300
    assert made.worst_position("BTC") == (10, 13)


def test_a_repeated_fill_moves_neither_order_nor_money():
    made = gate()
    let(made, f.spec())
    assert made.apply(f.filled())
    before = made.to_bytes()
    assert not made.apply(f.filled())
    assert made.to_bytes() == before
    assert made.apply(f.filled("forgotten", venue_order_id="v9"))
    assert made.ledger.balance(f.ACCOUNT, "BTC") == D("17.998")


def test_show_puts_each_limit_beside_its_use():
    made = gate()
    let(made, f.spec(quantity=D(10)))
    rows = {(r["limit"], r["scope"]): r for r in made.show(0, f.Market())}
    assert rows["max_open_notional", "all"] == {
        "limit": "max_open_notional", "scope": "all", "unit": "USDT", "limit_value": "3000",
        "used": "1000", "headroom": "2000",
    }  # fmt: skip
    assert rows["max_position", "BTC"]["used"] == "20"
    assert rows["max_open_orders", "all"]["headroom"] == "4"
    assert rows["max_orders_per_second", "all"]["used"] == "1"
    assert rows["max_order_notional", "order"]["used"] is None


def test_bytes_that_are_no_gate_are_refused():
    with pytest.raises(MessageError):
        RiskGate.from_bytes(b"\x94\x90\x90\x90\x90", limits())


def test_limits_are_frozen_and_orders_are_not_changed_by_judging():
    order = f.spec(order_type="MARKET", price=None)
    judge(gate(), order)
    assert order.price is None
    assert replaced(order, price=D(1)).price == 1
    with pytest.raises((AttributeError, msgspec.ValidationError)):
        limits().max_open_orders = 9


def test_the_collar_is_asked_of_a_market_order_before_it_has_a_price():
    made = gate()
    ours = f.spec("a", side="SELL", price=D(101))
    let(made, ours)
    assert [c.price for c in made.exposure.crossing("okx", f.SYMBOL, "BUY", None)] == [D(101)]
    assert made.exposure.crossing("okx", f.SYMBOL, "BUY", D(100)) == []
    assert made.exposure.crossing("okx", f.SYMBOL, "SELL", None) == []


def test_an_order_without_a_price_has_no_value_until_there_is_a_mid():
    made = gate()
    made.apply(f.external(f.spec("x", origin="EXTERNAL", price=None, quantity=D(1))))
    assert made.open_notional(f.Market()) == D(100)
    assert made.open_notional(f.Market(mids={})) is None
    made.apply(f.canceled("x"))
    assert made.open_notional(f.Market(mids={})) == 0


@pytest.mark.parametrize(
    ("rules", "order", "code", "words"),
    [
        ({"quantity_min": D(20)}, {}, "quantity_rule", "is below"),
        ({"quantity_max": D(5)}, {}, "quantity_rule", "is above"),
        ({"tick_size": D(3)}, {}, "price_rule", "not on the tick"),
        ({}, {"price": D(0)}, "price_rule", "LIMIT at 0"),
        ({}, {"price": None}, "price_rule", "LIMIT at None"),
    ],
)
def test_the_venues_rules_are_checked_each_with_its_own_words(rules, order, code, words):
    verdict = judge(gate(), f.spec(**order), f.Market(instruments=[f.instrument(**rules)]))
    assert (verdict.approved, verdict.code) == (False, code)
    assert words in verdict.text


def test_what_cannot_be_valued_may_only_go_if_it_reduces():
    market = f.Market(mids={"BTC/EUR": (D(100), 0)}, instruments=[f.instrument(symbol="BTC/EUR")])
    made = gate()
    made.apply(f.opening("EUR", "100000"))
    more = f.spec("a", symbol="BTC/EUR", side="BUY", quantity=D(1))
    less = f.spec("b", symbol="BTC/EUR", side="SELL", quantity=D(1))
    assert judge(made, more, market).code == "not_valuable"
    assert judge(made, less, market).approved


def test_a_parent_charges_nothing_by_itself():
    made = gate()
    whole = f.spec("p", venue="best", account=None, client_order_id=None)
    assert made.apply(ParentAccepted(whole, ["a"], "all to okx"))
    assert made.open_notional(f.Market()) == 0


def test_a_dry_run_shows_the_verdict_or_the_reason():
    order = f.spec(price=None, quantity=D("2.50"))
    shown = leg_view(f.approved(order))
    assert (shown["approved"], shown["price"], shown["quantity"]) == (True, None, "2.5")
    shown = leg_view(f.denied(f.spec(), "halted"))
    assert (shown["approved"], shown["price"], shown["verdict"]) == (False, "100", "words")


def test_a_snapshot_from_before_halts_were_waited_for_is_still_read():
    made = gate()
    made.apply(TradingHalted("all", "why", "who", True, 7, "h1"))
    made.apply(TradingResumed("all", "why", "who", 8, "r1"))
    made.apply(TradingHalted("venue:okx", "why", "who", True, 9, "h2"))
    data = made.to_bytes()
    again = RiskGate.from_bytes(data, limits())
    assert again.to_bytes() == data
    found = [(a.request_id, a.scope, a.halted, a.ts_ns) for a in again.asked]
    assert found == [("h1", "all", True, 7), ("r1", "all", False, 8), ("h2", "venue:okx", True, 9)]
    fields = msgspec.msgpack.decode(data)
    older = RiskGate.from_bytes(msgspec.msgpack.encode(fields[:-1]), limits())
    assert list(older.halts) == ["venue:okx"]
    assert not older.asked


def test_a_gate_that_only_folds_keeps_the_same_state_and_judges_nothing():
    made = gate()
    let(made, f.spec("a", quantity=D(2)))
    made.apply(f.filled("a", quantity="1"))
    folded = RiskGate.from_bytes(made.to_bytes(), limits(), judging=False)
    for each in (made, folded):
        each.apply(f.canceled("a", quantity="1"))
    assert folded.to_bytes() == made.to_bytes()
    assert folded.exposure.bases() == set()
    with pytest.raises(AssertionError, match="only folds"):
        judge(folded, f.spec("b"))
