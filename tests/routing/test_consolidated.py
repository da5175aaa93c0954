"""The consolidated book counts who is live and fresh, and nobody else."""

import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.control_views import bbo_row
from engine.envelope import decode_body, encode_body
from engine.messages.base import replaced
from engine.messages.market import VenueBook
from engine.trading.consolidated import LINK_SILENT, Consolidator

MS = 1_000_000
LIMITS = {"a": 100 * MS, "b": 100 * MS}


def book(venue, bids, asks, *, at=0, state="LIVE", reason="", pe=2, qe=3, symbol="BTC/USDT"):
    sides = bids[::2], bids[1::2], asks[::2], asks[1::2]
    return VenueBook(venue, symbol, state, reason, pe, qe, *sides, 1, 0, 0, at)


def make(**limits):
    return Consolidator(stale_after_ns=limits or LIMITS)


def bids(got):
    assert [level.price for level in got.bid_levels()] == got.bids
    return [tuple(level) for level in got.bid_levels()]


def asks(got):
    assert [level.price for level in got.ask_levels()] == got.asks
    return [tuple(level) for level in got.ask_levels()]


def test_the_best_of_two_venues_is_best():
    c = make()
    c.update(book("a", [100, 5, 99, 1], [103, 5]))
    c.update(book("b", [101, 7], [102, 9, 104, 1]))
    got = c.publish("BTC/USDT", 0)
    assert bids(got) == [(101, 7, "b"), (100, 5, "a"), (99, 1, "a")]
    assert asks(got) == [(102, 9, "b"), (103, 5, "a"), (104, 1, "b")]


def test_at_one_price_the_venues_stand_in_their_order():
    c = make()
    for venue in ("b", "a"):
        c.update(book(venue, [100, 5], [103, 5]))
    got = c.publish("BTC/USDT", 0)
    assert bids(got) == [(100, 5, "a"), (100, 5, "b")]
    assert asks(got) == [(103, 5, "a"), (103, 5, "b")]


def test_a_silent_venue_is_never_best_however_good_its_last_quote():
    c = make()
    c.update(book("a", [200, 5], [201, 5], at=0))
    c.update(book("b", [100, 7], [101, 9], at=0))
    for now in range(0, 400 * MS, 20 * MS):
        c.update(book("b", [100, 7], [101, 9], at=now))
        got = c.publish("BTC/USDT", now)
        if now > 100 * MS:
            assert bids(got) == [(100, 7, "b")]
            quote = next(q for q in got.venues if q.venue == "a")
            assert (quote.state, quote.reason, quote.bid_prices) == ("STALE", "link_silent", [])


def test_a_quiet_symbol_on_a_live_link_stays():
    c = make()
    c.update(book("a", [200, 5], [201, 5], at=0))
    c.alive("a", 500 * MS)
    assert c.publish("BTC/USDT", 550 * MS).bids == [200]


def test_a_gapped_venue_leaves_at_once_with_its_reason():
    c = make()
    c.update(book("a", [200, 5], [201, 5]))
    c.publish("BTC/USDT", 0)
    c.update(book("a", [200, 5], [201, 5], at=1, state="GAP", reason="sequence_gap"))
    got = c.publish("BTC/USDT", 1)
    assert (bids(got), got.venues[0].reason) == ([], "sequence_gap")


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
    assert bids(got) == [(1000155, 7, "b"), (1000100, 500, "a")]


def test_an_older_book_that_arrives_late_changes_nothing():
    c = make()
    c.update(book("a", [200, 5], [], at=10))
    c.update(book("a", [100, 5], [], at=9))
    assert c.publish("BTC/USDT", 10).bids == [200]


def test_a_dropped_venue_takes_its_levels_with_it():
    c = make()
    c.update(book("a", [200, 5], [201, 1]))
    c.update(book("b", [100, 5], [101, 1]))
    c.publish("BTC/USDT", 0)
    assert c.drop("a") == ["BTC/USDT"]
    assert bids(c.publish("BTC/USDT", 0)) == [(100, 5, "b")]


def test_a_venue_shows_its_own_best_even_where_others_are_better_twenty_times():
    c = make()
    c.update(book("a", [v for p in range(200, 150, -1) for v in (p, 1)], []))
    c.update(book("b", [100, 7, 99, 7], []))
    got = c.publish("BTC/USDT", 0)
    assert {level.venue for level in got.bid_levels()} == {"a"}
    assert got.venues[1].bid_prices == [100]


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
    prices = [price for price, _, _ in bids(got)]
    assert prices == sorted(prices, reverse=True)
    assert len(prices) == min(20, len(one) + len(two))
    assert sum(q for _, q, _ in bids(got)) <= sum(q for _, q in one + two)


def test_what_each_venue_said_last_can_be_looked_at():
    c = make()
    assert (c.symbols(), c.venue_book("BTC/USDT", "a")) == ([], None)
    gapped = book("a", [200, 5], [201, 5], state="GAP", reason="sequence_gap")
    c.update(gapped)
    assert (c.symbols(), c.venue_book("BTC/USDT", "a")) == (["BTC/USDT"], gapped)
    assert c.venue_book("BTC/USDT", "b") is None


# --- the same, told naively: all levels of all counted venues as Decimals, sorted anew each time ---


class Naive:
    """Holds every venue's newest book and looks at all of it for every answer."""

    def __init__(self, limits):
        self.limits = limits
        self.books = {}
        self.alive = {}

    def update(self, one):
        held = self.books.get(one.venue)
        if held is None or held.mono_received_ns <= one.mono_received_ns:
            self.books[one.venue] = one
            self.alive[one.venue] = max(self.alive.get(one.venue, 0), one.mono_received_ns)

    def levels(self, name, now):
        rows = []
        for venue, one in sorted(self.books.items()):
            fresh = now - self.alive[venue] <= self.limits[venue]
            if one.state == "LIVE" and fresh:
                side = getattr(one, f"{name}_prices"), getattr(one, f"{name}_quantities")
                for price, quantity in zip(*side, strict=True):
                    rows.append(
                        (
                            Decimal(price).scaleb(-one.price_exponent),
                            Decimal(quantity).scaleb(-one.quantity_exponent),
                            venue,
                        )
                    )
        rows.sort(key=lambda row: row[0], reverse=name == "bid")
        return rows[:20]


def in_decimals(got, rows):
    return [
        (
            Decimal(price).scaleb(-got.price_exponent),
            Decimal(quantity).scaleb(-got.quantity_exponent),
            venue,
        )
        for price, quantity, venue in rows
    ]


class Quotes:
    """Random books of one venue, each mostly the one before: as a venue's stream gives them."""

    def __init__(self, rng, venue):
        self.rng = rng
        self.venue = venue
        self.exponents = rng.choice((0, 1, 2, 4)), rng.choice((0, 3, 8))
        self.sides = {-1: {}, 1: {}}

    def next(self, at):
        rng = self.rng
        if rng.random() < 0.02:
            self.exponents = rng.choice((1, 2, 5)), rng.choice((1, 3, 8))
            self.sides = {-1: {}, 1: {}}
        state = "LIVE" if rng.random() < 0.93 else rng.choice(("GAP", "SYNCING", "STALE"))
        unit = 10 ** self.exponents[0]
        flats = []
        for sign, side in self.sides.items():
            for _ in range(rng.choice((0, 1, 2, 9))):
                distance = rng.randint(1, 40 if unit > 1 else 30)
                price = 100 * unit + sign * distance * max(1, unit // 10)
                if rng.random() < 0.4:
                    side.pop(price, None)
                else:
                    side[price] = rng.randint(1, 10**9)
            best = sorted(side, reverse=sign < 0)[:20]
            flats.append([n for price in best for n in (price, side[price])])
        pe, qe = self.exponents
        return book(self.venue, *flats, at=at, state=state, reason="r", pe=pe, qe=qe)


@pytest.mark.parametrize("seed", range(30))
def test_the_merged_book_equals_a_naive_merge_of_decimals(seed):
    rng = random.Random(seed)
    venues = [f"v{n}" for n in range(rng.choice((1, 2, 3, 16)))]
    limits = {venue: rng.choice((20, 100)) * MS for venue in venues}
    c, naive = Consolidator(stale_after_ns=limits), Naive(limits)
    quotes = {venue: Quotes(rng, venue) for venue in venues}
    now, seen, silent = 0, 0, 0
    for step in range(400):
        now += 200 * MS if rng.random() < 0.05 else rng.choice((0, MS, 30 * MS))
        venue = rng.choice(venues)
        fate = rng.random()
        if fate < 0.02:
            c.drop(venue)
            naive.books.pop(venue, None)
        elif fate < 0.1:
            c.alive(venue, now)
            naive.alive[venue] = max(naive.alive.get(venue, 0), now)
        elif fate < 0.9:
            late = rng.choice((0, 0, 0, 10 * MS))
            one = quotes[venue].next(max(0, now - late))
            c.update(one)
            naive.update(one)
        if rng.random() < 0.2:
            continue  # several books may come between two looks, or none
        got = c.publish("BTC/USDT", now)
        got = decode_body("ConsolidatedBook", encode_body(got))
        for name, rows in (("bid", bids(got)), ("ask", asks(got))):
            wanted = naive.levels(name, now)
            assert in_decimals(got, rows) == wanted, f"seed {seed}, step {step}, {name}"
            seen += len(wanted)
        shown = {quote.venue: quote for quote in got.venues}
        assert shown.keys() == naive.books.keys()
        silent += sum(quote.reason == LINK_SILENT for quote in got.venues)
        assert all(q.state == "LIVE" or not q.bid_prices + q.ask_prices for q in got.venues)
    assert seen > 1000, f"seed {seed}: hardly a level was compared"
    assert silent, f"seed {seed}: nobody fell silent"


def test_a_venues_own_book_says_whether_it_counts_and_why_not():
    c = make()
    live = book("a", [200, 5], [201, 5], at=0)
    c.update(live)
    assert c.state(live, 50 * MS) == ("LIVE", "")
    assert c.state(live, 101 * MS) == ("STALE", LINK_SILENT)
    assert c.state(book("a", [], [], state="GAP", reason="sequence"), 0) == ("GAP", "sequence")
    assert c.state(book("a", [], [], state="SYNCING"), 0) == ("SYNCING", "syncing")
    assert c.state(book("b", [200, 5], [201, 5]), 0) == ("STALE", LINK_SILENT), "never heard of"


def test_the_merged_book_is_as_new_as_the_newest_that_counts():
    c = make()
    for venue, ts_event_ns, state in (("a", 7, "LIVE"), ("b", 9, "GAP")):
        c.update(
            VenueBook(venue, "BTC/USDT", state, "", 2, 3, [1], [1], [2], [1], 1, ts_event_ns, 0, 0)
        )
    assert c.publish("BTC/USDT", 0).ts_event_ns == 7
    c.update(VenueBook("b", "BTC/USDT", "LIVE", "", 2, 3, [1], [1], [2], [1], 2, 9, 0, 0))
    assert c.publish("BTC/USDT", 0).ts_event_ns == 9


@pytest.mark.parametrize("quality", ["unverified", "synthetic"])
def test_a_book_that_is_not_verified_is_shown_and_never_merged(quality):
    c = make()
    c.update(book("a", [100, 5, 99, 5], [104, 5]))
    c.update(replaced(book("b", [102, 7, 101, 7], [103, 9]), quality=quality))
    got = c.publish("BTC/USDT", 0)
    assert (bids(got), asks(got)) == ([(100, 5, "a"), (99, 5, "a")], [(104, 5, "a")])
    shown = got.venues[1]
    assert (shown.state, shown.quality, shown.counts) == ("LIVE", quality, False)
    assert (shown.bid_prices, shown.ask_prices) == ([102], [103])
    assert bbo_row(got, 0)["not_counted"] == [
        {"venue": "b", "quality": quality, "bid": "1.02", "ask": "1.03"}
    ]
    assert decode_body("ConsolidatedBook", encode_body(got)) == got


def test_a_book_that_becomes_verified_counts_from_then_on():
    c = make()
    c.update(replaced(book("a", [100, 5], [104, 5]), quality="unverified"))
    assert c.publish("BTC/USDT", 0).bids == []
    c.update(book("a", [100, 5], [104, 5], at=1))
    assert c.stale_symbols(1) == ["BTC/USDT"]
    assert c.publish("BTC/USDT", 1).bids == [100]
