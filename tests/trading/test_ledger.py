"""Money from fills alone: balances, positions and PnL, exact against fractions."""

from collections import deque
from decimal import Decimal
from fractions import Fraction

import pytest
import trading_factories as f
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import MessageError
from engine.messages.base import encode_state
from engine.messages.commands import AccountSnapshot
from engine.messages.events import BalanceDifferenceAccepted, BalanceDifferenceFound
from engine.trading import position as position_module
from engine.trading.ledger import Ledger
from engine.trading.pnl import balance_rows, position_rows, position_view, symbol_rows, total_row
from engine.trading.position import Position
from engine.trading.reconcile import (
    DifferenceTracker,
    accept,
    opening_events,
    totals,
    with_given_cost,
)

ASSETS = ("BTC", "USDT", "BNB")
prices = st.decimals(Decimal("0.01"), 100_000, places=8)
quantities = st.decimals(Decimal("0.00000001"), 1000, places=8)
fees = st.decimals(-1, 1, places=8)


def ledger(*events):
    book = Ledger("USDT")
    for event in events:
        book.apply(event)
    return book


@st.composite
def fill_lists(draw, max_size=25):
    rows = draw(
        st.lists(
            st.tuples(
                st.sampled_from(["BUY", "SELL"]), quantities, prices, fees, st.sampled_from(ASSETS)
            ),
            max_size=max_size,
        )
    )
    return [
        f.filled(
            side=side, quantity=quantity, price=price, fee=fee, fee_asset=asset, trade_id=f"t{n}"
        )
        for n, (side, quantity, price, fee, asset) in enumerate(rows)
    ]


def fifo(fills, first=()):
    """Return (realized, quantity, cost) of FIFO lots in fractions: the textbook, written plainly."""
    lots = deque([Fraction(q), Fraction(c) / Fraction(q)] for q, c in first)
    realized = Fraction(0)
    for fill in fills:
        rest = Fraction(fill.quantity) * (1 if fill.side == "BUY" else -1)
        price = Fraction(fill.price)
        while rest and lots and lots[0][0] * rest < 0:
            size = min(abs(rest), abs(lots[0][0]))
            closed = size if lots[0][0] > 0 else -size
            realized += closed * (price - lots[0][1])
            lots[0][0] -= closed
            rest += closed
            if not lots[0][0]:
                lots.popleft()
        if rest:
            lots.append([rest, price])
    return realized, sum(q for q, _ in lots), sum(q * p for q, p in lots)


@settings(max_examples=200)
@given(fill_lists(), prices)
def test_positions_equal_fifo_in_fractions_to_the_last_digit(fills, mark):
    position = ledger(*fills).position(f.ACCOUNT, f.SYMBOL) or Position(f.ACCOUNT, f.SYMBOL)
    realized, quantity, cost = fifo(fills)
    assert Fraction(position.realized_pnl) == realized
    assert Fraction(position.quantity) == quantity
    assert Fraction(position.lots_cost) == cost
    assert Fraction(position.unrealized(mark)) == Fraction(mark) * quantity - cost


@settings(max_examples=200)
@given(fill_lists(), prices, st.dictionaries(st.sampled_from(ASSETS), quantities))
def test_balances_are_openings_plus_flows_and_pnl_is_the_change_of_equity(fills, mark, openings):
    events = [f.opening(asset, quantity, None) for asset, quantity in openings.items()]
    book = ledger(*events, *fills)
    flows = {asset: Fraction(openings.get(asset, 0)) for asset in ASSETS}
    for fill in fills:
        sign = 1 if fill.side == "BUY" else -1
        flows["BTC"] += sign * Fraction(fill.quantity)
        flows["USDT"] -= sign * Fraction(fill.quantity) * Fraction(fill.price)
        flows[fill.fee_asset] -= Fraction(fill.fee)
    assert {asset: Fraction(book.balance(f.ACCOUNT, asset)) for asset in ASSETS} == flows

    values = {"BTC": Fraction(mark), "USDT": Fraction(1), "BNB": Fraction(300)}
    equity = sum(flows[a] * values[a] - Fraction(openings.get(a, 0)) * values[a] for a in ASSETS)
    position = book.position(f.ACCOUNT, f.SYMBOL) or Position(f.ACCOUNT, f.SYMBOL)
    charged = sum(Fraction(fee) * values[asset] for asset, fee in position.fees.items())
    unknown = Fraction(position.unknown_proceeds) - Fraction(mark) * Fraction(position.unknown_sold)
    earned = Fraction(position.realized_pnl) + Fraction(position.unrealized(mark))
    assert earned - charged + unknown == equity


@given(fill_lists(), quantities, st.decimals(0, 10**6, places=2), prices)
def test_an_opening_lot_of_uneven_cost_loses_nothing(fills, quantity, cost, mark):
    book = ledger(f.opening("BTC", quantity, cost, "USDT"), *fills)
    position = book.position(f.ACCOUNT, f.SYMBOL)
    spent = sum(
        Fraction(x.quantity) * Fraction(x.price) * (1 if x.side == "BUY" else -1) for x in fills
    )
    held = Fraction(quantity) + Fraction(position.traded_quantity)
    earned = Fraction(position.realized_pnl) + Fraction(position.unrealized(mark))
    assert earned == Fraction(mark) * held - spent - Fraction(cost)
    assert abs(Fraction(position.realized_pnl) - fifo(fills, [(quantity, cost)])[0]) < Fraction(
        1, 10**20
    )


@settings(max_examples=50)
@given(fill_lists(max_size=40), prices)
def test_merging_old_lots_loses_nothing(fills, mark):
    kept = position_module.LOTS_MAX
    position_module.LOTS_MAX = 2
    try:
        position = ledger(*fills).position(f.ACCOUNT, f.SYMBOL) or Position(f.ACCOUNT, f.SYMBOL)
    finally:
        position_module.LOTS_MAX = kept
    realized, quantity, cost = fifo(fills)
    whole = realized + Fraction(mark) * quantity - cost
    assert len(position.lots) <= 2
    assert Fraction(position.realized_pnl) + Fraction(position.unrealized(mark)) == whole


def test_unknown_inventory_is_sold_last_and_never_counted_as_profit():
    book = ledger(
        f.opening("BTC", "5"),
        f.filled(quantity="2", price=Decimal(100), fee=Decimal(0)),
        f.filled(side="SELL", quantity="3", price=Decimal(110), trade_id="t2", fee=Decimal(0)),
    )
    position = book.position(f.ACCOUNT, f.SYMBOL)
    assert (position.realized_pnl, position.unknown_sold, position.unknown_proceeds) == (20, 1, 110)
    assert (position.quantity, position.unknown_quantity, position.basis) == (4, 4, "unknown")
    assert position.average_entry_price is None
    assert position_view(position, None)["unrealized_pnl"] == "0"


def test_fills_at_one_price_are_one_lot():
    fills = [f.filled(trade_id=f"t{n}", quantity="1") for n in range(50)]
    position = ledger(*fills, f.filled(trade_id="x", price=Decimal(101))).position(
        f.ACCOUNT, f.SYMBOL
    )
    assert [(lot.quantity, lot.cost) for lot in position.lots] == [(50, 5000), (4, 404)]


def test_a_fill_is_counted_once_even_if_delivered_twice():
    book = ledger(f.filled())
    assert not book.apply(f.filled())
    assert book.balance(f.ACCOUNT, "BTC") == Decimal("3.999")
    assert book.apply(f.filled(trade_id="t2"))


def test_openings_count_once_and_the_report_currency_is_no_position():
    book = ledger(f.opening("USDT", "1000"), f.opening("BTC", "2", "150", "USDT"))
    assert not book.apply(f.opening("USDT", "1000"))
    assert book.balances(f.ACCOUNT) == {"BTC": 2, "USDT": 1000}
    assert [p.symbol for p in book.positions()] == ["BTC/USDT"]
    assert book.position(f.ACCOUNT, f.SYMBOL).average_entry_price == 75


def test_net_holdings_add_all_accounts_with_or_without_what_was_there_before():
    book = ledger(
        f.opening("BTC", "2"),
        f.opening("BTC", "3", account="binance.main"),
        f.filled(quantity="1", fee=Decimal(0)),
    )
    assert book.net("BTC") == 6
    assert book.net("BTC", with_opening=False) == 1
    assert book.net("BTC", account="binance.main") == 3


def test_a_fill_of_a_symbol_without_two_sides_changes_nothing():
    book = ledger(f.filled())
    before = book.to_bytes()
    with pytest.raises(MessageError, match="BASE/QUOTE"):
        book.apply(f.filled(symbol="BTCUSDT", trade_id="t2"))
    assert book.to_bytes() == before


def sampled(book, *samples):
    tracker = DifferenceTracker(book)
    found = []
    for reported, quiet in samples:
        for event in tracker.sample(f.ACCOUNT, reported, quiet=quiet, ts_ns=9):
            book.apply(event)
            found.append(event)
    return found


GOOD, BAD, WORSE = ({"USDT": Decimal(n)} for n in (100, 99, 98))


def account():
    return ledger(f.opening("USDT", "100"), f.opened())


def test_a_difference_counts_after_two_quiet_samples_and_restricts_the_account():
    book = account()
    assert sampled(book, (BAD, True)) == []
    assert not book.is_restricted(f.ACCOUNT)
    assert sampled(book, (BAD, True), (BAD, False), (BAD, True)) == []
    assert sampled(book, (BAD, True), (WORSE, True)) == []
    found = sampled(book, (BAD, True), (BAD, True), (BAD, True))
    assert found == [BalanceDifferenceFound(f.ACCOUNT, "USDT", Decimal(100), Decimal(99), 9)]
    assert book.is_restricted(f.ACCOUNT)


def test_a_difference_that_grows_is_found_again_and_one_that_vanishes_is_cleared():
    book = account()
    found = sampled(book, *[(BAD, True)] * 2, *[(WORSE, True)] * 2, (GOOD, True))
    assert [type(e).__name__ for e in found] == ["BalanceDifferenceFound"] * 2 + [
        "BalanceDifferenceCleared"
    ]
    assert not book.is_restricted(f.ACCOUNT)


def test_samples_of_an_account_that_trades_in_between_are_compared_by_the_difference():
    book = account()
    tracker = DifferenceTracker(book)
    assert tracker.sample(f.ACCOUNT, BAD, quiet=True, ts_ns=1) == []
    book.apply(f.filled(side="SELL", quantity="1", price=Decimal(7), fee=Decimal(0)))
    moved = {"USDT": Decimal(106), "BTC": Decimal(-1)}
    assert [e.asset for e in tracker.sample(f.ACCOUNT, moved, quiet=True, ts_ns=2)] == ["USDT"]


def test_nothing_is_a_difference_before_the_account_is_opened_and_a_missing_asset_is_zero():
    book = ledger(f.opening("USDT", "100"))
    assert sampled(book, (BAD, True), (BAD, True)) == []
    book.apply(f.opened())
    assert [e.reported for e in sampled(book, ({}, True), ({}, True))] == [0]


def test_an_accepted_difference_adjusts_the_ledger_and_frees_the_account():
    book = account()
    book.apply(f.opening("BTC", "2", "150", "USDT"))
    reported = {"USDT": Decimal(100), "BTC": Decimal("0.5")}
    sampled(book, (reported, True), (reported, True))
    event = accept(book, f.ACCOUNT, "BTC", "ann", "withdrawn by hand", 10)
    assert event.quantity == Decimal("-1.5")
    assert book.apply(event)
    assert not book.apply(event)
    assert not book.is_restricted(f.ACCOUNT)
    assert book.check_balances(f.ACCOUNT, reported) == {}
    position = book.position(f.ACCOUNT, f.SYMBOL)
    assert (position.quantity, position.lots_cost, position.realized_pnl) == (
        Decimal("0.5"),
        Decimal("37.5"),
        0,
    )
    assert (position.adjusted_quantity, position.adjusted_cost) == (
        Decimal("-1.5"),
        Decimal("112.5"),
    )
    assert accept(book, f.ACCOUNT, "BTC", "ann", "again", 11) is None


def test_the_first_contact_marks_what_has_a_price_and_says_so_where_not():
    snapshot = AccountSnapshot(
        f.ACCOUNT,
        [("BTC", Decimal(1), Decimal(1)), ("DUST", Decimal(3), Decimal(0)), ("USDT", Decimal(5), Decimal(0)),
         ("ETH", Decimal(0), Decimal(0))],
        True, 1, 1,
    )  # fmt: skip
    price = {"BTC": Decimal(100)}.get
    events = opening_events(f.ACCOUNT, totals(snapshot), price, "USDT", 7)
    assert [(e.asset, e.cost, e.basis) for e in events[:-1]] == [
        ("BTC", 200, "marked"),
        ("DUST", None, "unknown"),
        ("USDT", 5, "marked"),
    ]
    book = ledger(*events)
    assert book.is_opened(f.ACCOUNT)
    assert book.check_balances(f.ACCOUNT, totals(snapshot)) == {}


def no_price(_):
    return None


def test_what_cannot_be_valued_is_named_and_left_out():
    book = ledger(f.filled(quantity="2", fee=Decimal("0.5"), fee_asset="BNB"))
    row = total_row(book, no_price, {"USDT": Decimal(1)}.get)
    assert (row["complete"], row["net_pnl"]) == (False, "0")
    assert row["not_valued"] == ["okx.main BTC/USDT: no mark", "okx.main BTC/USDT: fee of 0.5 BNB"]
    assert position_rows(book, no_price)[0]["unrealized_pnl"] is None
    assert symbol_rows(book, no_price)[0]["not_valued"] == ["unrealized BTC/USDT"]


def test_totals_are_realized_plus_unrealized_less_fees():
    book = ledger(
        f.filled(quantity="2", price=Decimal(100), fee=Decimal(1), fee_asset="USDT"),
        f.filled(
            side="SELL",
            quantity="1",
            price=Decimal(110),
            fee=Decimal("0.01"),
            fee_asset="BNB",
            trade_id="2",
        ),
        f.filled(
            account="binance.main", venue="binance", quantity="1", price=Decimal(90), fee=Decimal(0)
        ),
    )
    mark = {f.SYMBOL: (Decimal(120), 5_000_000)}.get
    row = total_row(book, mark, {"USDT": Decimal(1), "BNB": Decimal(300)}.get)
    assert row == {
        "currency": "USDT", "realized_pnl": "10", "unrealized_pnl": "50", "fees": "4", "net_pnl": "56",
        "complete": True, "not_valued": [],
    }  # fmt: skip
    (symbol,) = symbol_rows(book, mark)
    assert (symbol["quantity"], symbol["realized_pnl"], symbol["unrealized_pnl"]) == (
        "2",
        "10",
        "50",
    )
    assert (symbol["mark_age_ms"], symbol["fees"]) == (5, {"BNB": "0.01", "USDT": "1"})


@settings(max_examples=100)
@given(fill_lists(), st.integers(0, 25))
def test_replaying_all_equals_a_ledger_snapshot_and_the_rest_byte_for_byte(fills, cut):
    events = [
        f.opening("BTC", "2", "7", "USDT"),
        f.opened(),
        BalanceDifferenceFound(f.ACCOUNT, "BTC", Decimal(1), Decimal(2), 1),
        *fills,
        BalanceDifferenceAccepted(f.ACCOUNT, "BTC", Decimal(1), "ann", "found", 2),
    ]
    half = Ledger.from_bytes(ledger(*events[:cut]).to_bytes())
    for event in events[cut:]:
        half.apply(event)
    assert half.to_bytes() == ledger(*events).to_bytes()
    assert encode_state(half.to_state()) == half.to_bytes()


def test_a_cost_that_the_owner_gives_beats_the_mark():
    events = opening_events(
        "a.main", {"BTC": Decimal(2), "USDT": Decimal(5)}, lambda _: Decimal(90), "USDT", 0
    )
    given = [with_given_cost(event, {"BTC": Decimal("50.5")}, "USDT") for event in events]
    btc = next(e for e in given if getattr(e, "asset", "") == "BTC")
    assert (btc.basis, btc.cost, btc.cost_asset) == ("given", Decimal(101), "USDT")
    assert [e for e in given if e is not btc] == [
        e for e in events if getattr(e, "asset", "") != "BTC"
    ]


def test_a_sample_that_was_asked_for_before_the_last_was_taken_is_no_second_look():
    tracker = DifferenceTracker(Ledger())

    def sample(asked_ns: int) -> AccountSnapshot:
        return AccountSnapshot(f.ACCOUNT, [], True, asked_ns, asked_ns)

    assert tracker.is_newer(sample(10), now_mono_ns=30)
    assert not tracker.is_newer(sample(20), now_mono_ns=40)
    assert tracker.is_newer(sample(31), now_mono_ns=50)


def test_a_zero_opening_with_a_cost_is_no_lot():
    book = ledger(f.opening("BTC", "0", cost="0", cost_asset="USDT"), f.opened())
    (position,) = book.positions()
    assert (position.quantity, position.lots, position.basis) == (0, [], "given")


def test_balance_rows_are_per_account_and_name_what_has_no_price():
    book = ledger(
        *(f.opening("BTC", "2"), f.opening("XYZ", "7"), f.opened()),
        *(f.opening("USDT", "5", account="binance.main"), f.opened("binance.main")),
    )
    known = {"BTC": Decimal(100), "USDT": Decimal(1)}
    rows = balance_rows(book, known.get)
    assert book.accounts() == ["binance.main", "okx.main"]
    assert [(r["account"], r["asset"], r["total"], r["value"]) for r in rows] == [
        ("binance.main", "USDT", "5", "5"),
        ("okx.main", "BTC", "2", "200"),
        ("okx.main", "XYZ", "7", None),
    ]
    assert {row["currency"] for row in rows} == {"USDT"}
    assert [r["asset"] for r in balance_rows(book, known.get, "okx")] == ["BTC", "XYZ"]
    assert balance_rows(book, known.get, "nowhere") == []


def test_pnl_in_a_quote_without_a_price_is_named_and_a_flat_position_needs_no_mark():
    book = ledger(
        f.filled(symbol="ETH/EUR", quantity="1", fee=Decimal(0), trade_id="t1"),
        f.filled(quantity="1", fee=Decimal(0), trade_id="t2"),
        f.filled(side="SELL", quantity="1", price=Decimal(110), fee=Decimal(0), trade_id="t3"),
    )
    total = total_row(book, lambda _: None, {"USDT": Decimal(1)}.get)
    assert (total["realized_pnl"], total["complete"]) == ("10", False)
    assert total["not_valued"] == ["okx.main ETH/EUR: quote currency"]


def test_an_accepted_difference_of_the_report_currency_moves_no_position():
    book = ledger(
        f.opening("USDT", "100"),
        f.opened(),
        BalanceDifferenceFound(f.ACCOUNT, "USDT", Decimal(100), Decimal(90), 2),
        BalanceDifferenceAccepted(f.ACCOUNT, "USDT", Decimal(-10), "ann", "a fee", 3),
    )
    assert book.balances(f.ACCOUNT) == {"USDT": Decimal(90)}
    assert list(book.positions()) == []


def test_a_sample_asked_for_before_we_began_is_not_looked_at():
    tracker = DifferenceTracker(account())
    tracker.since_mono_ns = 10

    def asked(at):
        return tracker.is_newer(AccountSnapshot(f.ACCOUNT, [], True, 0, at), at)

    assert [asked(at) for at in (9, 10, 11, 11, 15, 12)] == [False, False, True, False, True, False]


def test_an_account_opens_with_what_two_quiet_looks_agree_on_less_the_fills_that_count():
    tracker = DifferenceTracker(ledger(f.filled(quantity="4", fee=Decimal(0))))
    held = {"BTC": Decimal(6), "USDT": Decimal(500)}

    def look(reported, *, quiet=True):
        return tracker.opening(f.ACCOUNT, reported, quiet=quiet)

    assert look(held) is None
    assert look(held, quiet=False) is None, "a busy look proves nothing and begins anew"
    assert look(held) is None
    assert look({"BTC": Decimal(7), "USDT": Decimal(500)}) is None
    assert look(held) is None
    assert look(held) == {"BTC": Decimal(2), "USDT": Decimal(900)}


def test_a_position_is_valued_at_its_mark_with_the_marks_age():
    book = ledger(f.filled(quantity="2", fee=Decimal(0)))
    (row,) = position_rows(book, {f.SYMBOL: (Decimal(110), 3_000_000)}.get)
    assert (row["unrealized_pnl"], row["mark_price"], row["mark_age_ms"]) == ("20", "110", 3)
