"""The matching engine by itself: priority, money, self-trades, and random traffic."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.clock import VirtualClock
from simulator.fees import Fees
from simulator.instruments import INSTRUMENTS, UNIT, fixed8, plain
from simulator.matching import Engine
from simulator.orders import NewOrder, OrderType, Refused, Side, Status, Stp, TimeInForce

BTC = "BTC/USDT"
BUY, SELL = Side.BUY, Side.SELL


FEES = Fees(10, 10, 10**4)
IN_QUOTE = Fees(7, 13, 1, in_quote=True)


def make_engine(fees=FEES, **more):
    more.setdefault("client_id_forever", False)
    engine = Engine(INSTRUMENTS["binance"], fees, VirtualClock(), **more)
    for account in ("a", "b", "c"):
        for asset, amount in (("BTC", 10), ("ETH", 100), ("USDT", 1_000_000)):
            engine.ledger.fund(account, asset, amount * UNIT)
    return engine


def order(side, lots, price=None, client_id="x", **more):
    kind = OrderType.MARKET if price is None else OrderType.LIMIT
    more = {"order_type": kind, "client_order_id": client_id, "price": price, **more}
    return NewOrder(symbol=BTC, side=side, quantity=lots, **more)


def test_better_price_trades_first_and_then_the_older_order():
    engine = make_engine()
    late = engine.place("a", order(SELL, 10, 101, "1"))
    first = engine.place("a", order(SELL, 10, 100, "2"))
    second = engine.place("b", order(SELL, 10, 100, "3"))
    taker = engine.place("c", order(BUY, 15, 101, "4"))
    assert (first.filled, second.filled, late.filled, taker.status) == (10, 5, 0, Status.FILLED)


def test_buyer_is_charged_the_makers_price_and_gets_the_rest_back():
    engine = make_engine()
    engine.place("a", order(SELL, 100, 5_000_000, "1"))
    engine.place("b", order(BUY, 100, 6_000_000, "2"))
    assert engine.ledger.free("b", "USDT") == (1_000_000 - 50) * UNIT
    assert engine.ledger.locked("b", "USDT") == 0
    assert plain(engine.ledger.free("b", "BTC")) == "10.000999"
    assert plain(engine.ledger.free("a", "USDT")) == "1000049.95"
    assert plain(engine.ledger.free("fee", "USDT")) == "0.05"


def test_a_fee_in_the_quote_is_paid_on_top_by_the_buyer_and_reserved_before():
    engine = make_engine(IN_QUOTE)
    resting = engine.place("b", order(BUY, 100, 5_000_000, "1"))
    assert plain(resting.reserved) == "50.065"  # with the dearer of the two rates
    engine.place("a", order(SELL, 40, 5_000_000, "2"))
    assert plain(engine.ledger.locked("b", "USDT")) == "30.039"
    assert plain(engine.ledger.free("b", "USDT")) == "999949.947"  # 20 and 0.014 are gone
    assert plain(engine.ledger.free("b", "BTC")) == "10.0004"
    assert plain(engine.ledger.free("a", "USDT")) == "1000019.974"
    assert [(f.fee_asset, plain(f.fee)) for f in engine.fills] == [
        ("USDT", "0.014"), ("USDT", "0.026"),
    ]  # fmt: skip
    engine.amend(resting, 70, 5_000_000)
    assert plain(resting.reserved) == "15.0195"
    engine.place("c", order(SELL, 30, 5_000_000, "3"))
    assert engine.ledger.locked("b", "USDT") == 0
    bought = engine.place("c", order(BUY, 10, None, "4"))
    assert bought.status is Status.EXPIRED
    assert engine.ledger.locked("c", "USDT") == 0
    engine.assert_sound()


def test_fill_or_kill_fills_whole_or_changes_nothing():
    engine = make_engine()
    engine.place("a", order(SELL, 10, 100, "1"))
    killed = engine.place("b", order(BUY, 11, 100, "2", time_in_force=TimeInForce.FOK))
    filled = engine.place("b", order(BUY, 10, 100, "3", time_in_force=TimeInForce.FOK))
    assert (killed.status, killed.filled, filled.status) == (Status.EXPIRED, 0, Status.FILLED)
    assert engine.ledger.locked("b", "USDT") == 0


def test_immediate_or_cancel_keeps_what_it_got():
    engine = make_engine()
    engine.place("a", order(SELL, 10, 100, "1"))
    part = engine.place("b", order(BUY, 15, 100, "2", time_in_force=TimeInForce.IOC))
    assert (part.status, part.filled) == (Status.EXPIRED, 10)
    assert engine.ledger.locked("b", "USDT") == 0


def test_a_market_buy_reserves_for_others_quotes_and_not_for_its_own_that_expires():
    engine = make_engine()
    engine.place("a", order(SELL, 10, 90, "1"))
    engine.place("b", order(SELL, 10, 91, "2"))
    taker = engine.place("a", order(BUY, 10, None, "3", stp=Stp.EXPIRE_MAKER))
    assert (taker.status, taker.filled) == (Status.FILLED, 10)
    assert engine.ledger.locked("a", "USDT") == 0


def test_market_order_by_quote_spends_no_more_than_told():
    engine = make_engine()
    engine.place("a", order(SELL, 1000, 5_000_000, "1"))
    wanted = order(BUY, 0, None, "2", quote_quantity=100 * UNIT)
    taker = engine.place("b", wanted)
    assert (taker.status, taker.filled, taker.quote_filled) == (Status.FILLED, 200, 100 * UNIT)
    assert [e.order.status for e in engine.events if hasattr(e, "order")][-1] is Status.FILLED


def test_market_order_without_a_book_expires():
    engine = make_engine()
    assert engine.place("a", order(BUY, 5)).status is Status.EXPIRED


def test_post_only_is_refused_or_expires_as_the_venue_has_it():
    for expires in (False, True):
        engine = make_engine(post_only_expires=expires)
        engine.place("a", order(SELL, 10, 100, "1"))
        wanted = order(BUY, 10, 100, "2", order_type=OrderType.LIMIT_MAKER)
        if expires:
            assert engine.place("b", wanted).status is Status.EXPIRED
        else:
            with pytest.raises(Refused, match="would_take"):
                engine.place("b", wanted)
        assert not engine.fills


@pytest.mark.parametrize(
    ("stp", "maker", "taker"),
    [
        (Stp.NONE, Status.FILLED, Status.FILLED),
        (Stp.EXPIRE_MAKER, Status.EXPIRED_IN_MATCH, Status.NEW),
        (Stp.EXPIRE_TAKER, Status.NEW, Status.EXPIRED_IN_MATCH),
        (Stp.EXPIRE_BOTH, Status.EXPIRED_IN_MATCH, Status.EXPIRED_IN_MATCH),
    ],
)
def test_self_trade_is_prevented_as_asked(stp, maker, taker):
    engine = make_engine()
    resting = engine.place("a", order(SELL, 10, 100, "1"))
    incoming = engine.place("a", order(BUY, 10, 100, "2", stp=stp))
    assert (resting.status, incoming.status) == (maker, taker)
    engine.assert_sound()


def test_client_id_is_unique_among_open_orders_or_for_ever():
    for forever in (False, True):
        engine = make_engine(client_id_forever=forever)
        first = engine.place("a", order(BUY, 10, 100, "same"))
        with pytest.raises(Refused, match="duplicate"):
            engine.place("a", order(BUY, 10, 100, "same"))
        engine.cancel(first)
        if forever:
            with pytest.raises(Refused, match="duplicate"):
                engine.place("a", order(BUY, 10, 100, "same"))
        else:
            engine.place("a", order(BUY, 10, 100, "same"))
            assert len(engine.by_client_id("a", "same")) == 2


def test_amend_keeps_the_place_only_for_less_at_the_same_price():
    engine = make_engine()
    first = engine.place("a", order(SELL, 10, 100, "1"))
    second = engine.place("b", order(SELL, 10, 100, "2"))
    engine.amend(first, 5, 100)
    engine.place("c", order(BUY, 5, 100, "3"))
    assert (first.filled, second.filled) == (5, 0)
    third = engine.place("a", order(SELL, 10, 100, "4"))
    engine.amend(second, 12, 100)
    engine.place("c", order(BUY, 10, 100, "5"))
    assert (third.filled, second.filled) == (10, 0)


def test_refused_for_lack_of_money_changes_nothing():
    engine = make_engine()
    before = engine.ledger.free("a", "USDT")
    with pytest.raises(Refused, match="insufficient"):
        engine.place("a", order(BUY, 10**9, 10**6))
    assert (engine.ledger.free("a", "USDT"), engine.orders) == (before, {})


def test_numbers_are_written_as_the_venues_write_them():
    assert (fixed8(UNIT), plain(UNIT), plain(10 * UNIT)) == ("1.00000000", "1", "10")
    assert (fixed8(-UNIT // 2), plain(1), plain(0)) == ("-0.50000000", "0.000000000001", "0")


actions = st.tuples(
    st.sampled_from(
        ["limit", "limit", "limit", "market", "maker", "ioc", "fok", "cancel", "amend"]
    ),
    st.sampled_from("abc"),
    st.sampled_from([BUY, SELL]),
    st.integers(1, 40),
    st.integers(90, 110),
    st.sampled_from(list(Stp)),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(actions, min_size=5, max_size=60), st.sampled_from([FEES, IN_QUOTE]))
def test_random_traffic_keeps_money_priority_and_an_uncrossed_book(steps, fees):
    engine = make_engine(fees)
    for number, (kind, account, side, lots, ticks, stp) in enumerate(steps):
        price = None if kind == "market" else ticks * 1000
        mine = engine.open_orders(account)
        try:
            if kind in {"cancel", "amend"}:
                if mine:
                    target = mine[lots % len(mine)]
                    if kind == "cancel":
                        engine.cancel(target)
                    else:
                        engine.amend(target, lots, price)
            else:
                types = {"maker": OrderType.LIMIT_MAKER, "market": OrderType.MARKET}
                tif = {"ioc": TimeInForce.IOC, "fok": TimeInForce.FOK}.get(kind, TimeInForce.GTC)
                wanted = order(
                    side, lots, price, str(number), stp=stp, time_in_force=tif,
                    order_type=types.get(kind, OrderType.LIMIT),
                )  # fmt: skip
                engine.place(account, wanted)
        except Refused:
            pass
        engine.assert_sound()
    check_reservations(engine)
    check_books(engine)


def check_reservations(engine):
    for account in "abc":
        for asset in ("BTC", "USDT"):
            held = sum(
                o.reserved
                for o in engine.open_orders(account)
                if (asset == "USDT") == (o.side is BUY)
            )
            assert engine.ledger.locked(account, asset) == held
    fees = sum(Decimal(f.fee) for f in engine.fills)
    assert fees == sum(engine.ledger.free("fee", a) for a in ("BTC", "USDT", "ETH"))


def check_books(engine):
    for side in engine.books[BTC].sides.values():
        for level in side.levels.values():
            waiting = list(level.orders.values())
            assert level.lots == sum(o.leaves for o in waiting) > 0
            assert [o.priority for o in waiting] == sorted(o.priority for o in waiting)
