"""The consolidated book counts who is live and fresh, and nobody else."""

from hypothesis import given
from hypothesis import strategies as st

from engine.messages.market import VenueBook
from engine.trading.consolidated import Consolidator

MS = 1_000_000
LIMITS = {"a": 100 * MS, "b": 100 * MS}


def book(venue, bids, asks, *, at=0, state="LIVE", reason="", pe=2, qe=3, symbol="BTC/USDT"):
    return VenueBook(venue, symbol, state, reason, pe, qe, bids, asks, 1, 0, 0, at)


def make(**limits):
    return Consolidator(stale_after_ns=limits or LIMITS)


def test_the_best_of_two_venues_is_best():
    c = make()
    c.update(book("a", [100, 5, 99, 1], [103, 5]))
    c.update(book("b", [101, 7], [102, 9, 104, 1]))
    got = c.publish("BTC/USDT", 0)
    assert got.bids == [101, 7, 1, 100, 5, 0, 99, 1, 0]
    assert got.asks == [102, 9, 1, 103, 5, 0, 104, 1, 1]


def test_a_silent_venue_is_never_best_however_good_its_last_quote():
    c = make()
    c.update(book("a", [200, 5], [201, 5], at=0))
    c.update(book("b", [100, 7], [101, 9], at=0))
    for now in range(0, 400 * MS, 20 * MS):
        c.update(book("b", [100, 7], [101, 9], at=now))
        got = c.publish("BTC/USDT", now)
        if now > 100 * MS:
            assert got.bids == [100, 7, 1]
            quote = next(q for q in got.venues if q.venue == "a")
            assert (quote.state, quote.reason, quote.bid) == ("STALE", "link_silent", None)


def test_a_quiet_symbol_on_a_live_link_stays():
    c = make()
    c.update(book("a", [200, 5], [201, 5], at=0))
    c.alive("a", 500 * MS)
    assert c.publish("BTC/USDT", 550 * MS).bids == [200, 5, 0]


def test_a_gapped_venue_leaves_at_once_with_its_reason():
    c = make()
    c.update(book("a", [200, 5], [201, 5]))
    c.update(book("a", [200, 5], [201, 5], at=1, state="GAP", reason="sequence_gap"))
    got = c.publish("BTC/USDT", 1)
    assert (got.bids, got.venues[0].reason) == ([], "sequence_gap")


def test_silence_is_noticed_without_any_message():
    c = make()
    c.update(book("a", [200, 5], [201, 5]))
    c.publish("BTC/USDT", 0)
    assert c.stale_symbols(50 * MS) == []
    assert c.stale_symbols(101 * MS) == ["BTC/USDT"]
    c.publish("BTC/USDT", 101 * MS)
    assert c.stale_symbols(102 * MS) == []


def test_exponents_are_unified_without_losing_a_digit():
    c = make()
    c.update(book("a", [10001, 5], [], pe=2, qe=3))
    c.update(book("b", [1000155, 7], [], pe=4, qe=5))
    got = c.publish("BTC/USDT", 0)
    assert (got.price_exponent, got.quantity_exponent) == (4, 5)
    assert got.bids == [1000155, 7, 1, 1000100, 500, 0]


def test_an_older_book_that_arrives_late_changes_nothing():
    c = make()
    c.update(book("a", [200, 5], [], at=10))
    c.update(book("a", [100, 5], [], at=9))
    assert c.publish("BTC/USDT", 10).bids == [200, 5, 0]


def test_a_dropped_venue_takes_its_levels_with_it():
    c = make()
    c.update(book("a", [200, 5], [201, 1]))
    c.update(book("b", [100, 5], [101, 1]))
    assert c.drop("a") == ["BTC/USDT"]
    assert c.publish("BTC/USDT", 0).bids == [100, 5, 0]


levels = st.lists(
    st.tuples(st.integers(1, 500), st.integers(1, 9)), max_size=30, unique_by=lambda x: x[0]
)


@given(levels, levels)
def test_levels_are_sorted_complete_and_bounded(one, two):
    c = make()
    for venue, side in (("a", one), ("b", two)):
        ordered = sorted(side, reverse=True)
        c.update(book(venue, [n for level in ordered for n in level], []))
    got = c.publish("BTC/USDT", 0)
    prices = got.bids[::3]
    assert prices == sorted(prices, reverse=True)
    assert len(prices) == min(20, len(one) + len(two))
    assert sum(got.bids[1::3]) <= sum(q for _, q in one + two)


def test_what_each_venue_said_last_can_be_looked_at():
    c = make()
    assert (c.symbols(), c.venue_book("BTC/USDT", "a")) == ([], None)
    gapped = book("a", [200, 5], [201, 5], state="GAP", reason="sequence_gap")
    c.update(gapped)
    assert (c.symbols(), c.venue_book("BTC/USDT", "a")) == (["BTC/USDT"], gapped)
    assert c.venue_book("BTC/USDT", "b") is None
