"""Depth, crossings, impact and edges: what counts is true now, and every figure is after its fee."""

from decimal import Decimal as D  # noqa: N817  prices read better

from hypothesis import given
from hypothesis import strategies as st

from engine.messages.market import VenueBook
from engine.trading.consolidated import Consolidator
from engine.trading.depth import VenueDepth, depth_view, edge_rows, impact_view, walk

S = "BTC/USDT"


def pairs(*flat):
    return [(D(p), D(q)) for p, q in zip(flat[::2], flat[1::2], strict=True)]


def venue(name, bids, asks, **changes):
    fields = {"state": "LIVE", "reason": "", "age_ms": 3, "taker_fee": D("0.001")}
    return VenueDepth(name, **(fields | changes), bids=pairs(*bids), asks=pairs(*asks))


A = venue("a", ["99", "1"], ["100", "1", "102", "5"])
B = venue("b", ["98", "2"], ["101", "2"], taker_fee=D(0))
STALE = venue("s", ["120", "9"], ["50", "9"], state="STALE", reason="link_silent", age_ms=9000)


def test_depth_shows_each_level_with_its_venue_fee_age_and_running_total():
    view = depth_view(S, [A, B, STALE], 10)
    asks = [(r["price"], r["adjusted_price"], r["total"], r["venue"]) for r in view["asks"]]
    assert asks == [
        ("100", "100.1", "1", "a"),
        ("101", "101", "3", "b"),
        ("102", "102.102", "8", "a"),
    ]
    assert [(r["price"], r["adjusted_price"]) for r in view["bids"]] == [
        ("99", "98.901"),
        ("98", "98"),
    ]
    assert {r["age_ms"] for r in view["asks"]} == {3}
    assert view["venues"][2]["reason"] == "link_silent"
    assert len(depth_view(S, [A, B], 1)["asks"]) == 1


def test_what_does_not_count_stands_behind_and_enters_no_total():
    rows = depth_view(S, [STALE, A], 10, every=True)["asks"]
    assert [(r["venue"], r["state"], r["total"]) for r in rows] == [
        ("a", "LIVE", "1"), ("a", "LIVE", "6"), ("s", "STALE", None),
    ]  # fmt: skip


def test_a_silent_venues_quote_is_never_best_while_the_other_moves():
    silent, moving, stale_after = "silent", "moving", 10

    def book(name, bid, at):
        sides = [bid], [100], [bid + 10], [100]
        return VenueBook(name, S, "LIVE", "", 0, 0, *sides, at, 0, 0, at)

    books = Consolidator(stale_after_ns=dict.fromkeys((silent, moving), stale_after))
    books.update(book(silent, 1000, 0))
    for at in range(1, 100):
        books.update(book(moving, 900 - at, at))  # always the worse bid
        merged = books.publish(S, at)
        best = merged.bid_levels()[0].venue
        assert best == (silent if at <= stale_after else moving), at
        found = [books.venue_book(S, name) for name in (silent, moving)]
        view = depth_view(S, [as_depth(books, b, at) for b in found], 5)
        assert view["bids"][0]["venue"] == best, at
        assert all(row["venue"] == moving for row in view["bids"]) or at <= stale_after
    books.update(book(silent, 1000, 100))
    assert books.publish(S, 100).bid_levels()[0].venue == silent


def as_depth(books, book, now_ns):
    state, reason = books.state(book, now_ns)
    bids, asks = (book.bid_prices, book.bid_quantities), (book.ask_prices, book.ask_quantities)
    sides = [[(D(p), D(q)) for p, q in zip(*side, strict=True)] for side in (bids, asks)]
    return VenueDepth(book.venue, state, reason, 0, D(0), *sides)


def test_a_crossed_market_is_executable_only_with_true_books_and_an_edge_after_fees():
    rich = venue("rich", ["103", "3"], ["104", "1"])
    close = venue("close", ["100.1", "1"], ["105", "1"])
    down = venue("down", ["103", "3"], ["104", "1"], problem="halted")
    view = depth_view(S, [A, rich, close, down, STALE], 5)
    found = {(c["buy_at"], c["sell_at"]): (c["verdict"], c["why"]) for c in view["crossings"]}
    assert found["a", "rich"] == ("EXECUTABLE", "")
    assert found["a", "close"] == ("PHANTOM", "fees are more than the edge")
    assert found["a", "down"] == ("PHANTOM", "down: halted")
    assert found["a", "s"] == ("PHANTOM", "s is STALE: link_silent")
    assert ("b", "a") not in found
    row = next(c for c in view["crossings"] if c["sell_at"] == "rich" and c["buy_at"] == "a")
    # 1 at 100 and 2 of the 5 at 102, both sold at 103 of which 3 are wanted
    assert (row["quantity"], row["gain"]) == ("3", "4.387")
    assert (row["raw_bps"], row["net_bps"]) == ("300", "279.42")


def test_edges_are_told_for_every_pair_of_true_books_best_first():
    rows = edge_rows(S, [A, B, STALE])
    assert [(r["buy_at"], r["sell_at"], r["verdict"]) for r in rows] == [
        ("b", "a", "NONE"), ("a", "b", "NONE"),
    ]  # fmt: skip
    assert rows[1]["net_bps"] == "-209.79"
    deep = venue("deep", ["103", "1"], [])
    assert [r["verdict"] for r in edge_rows(S, [A, deep])] == ["EXECUTABLE"]


def test_impact_takes_the_cheapest_after_fees_and_says_what_is_short():
    view = impact_view(S, [A, B, STALE], "BUY", quantity=D(2))
    both = view["all"]
    assert (both["average_price"], both["after_fees"], both["levels"]) == ("100.5", "100.55", 2)
    assert (both["slippage_bps"], both["from_mid_bps"]) == ("50", "100.5")
    assert both["complete"]
    alone = {r["venue"]: (r["average_price"], r["levels"], r["complete"]) for r in view["venues"]}
    assert alone == {"a": ("101", 2, True), "b": ("101", 1, True)}
    assert view["left_out"] == [{"venue": "s", "why": "STALE: link_silent"}]
    short = impact_view(S, [B], "SELL", quantity=D(5))["all"]
    assert (short["quantity"], short["short"], short["complete"]) == ("2", "3", False)


def test_impact_of_a_notional_spends_exactly_that_much():
    row = impact_view(S, [A], "BUY", notional=D(151))["all"]
    assert (row["notional"], row["quantity"], row["levels"]) == ("151", "1.5", 2)
    assert impact_view(S, [A], "BUY", notional=D(100))["all"]["quantity"] == "1"


def test_a_book_that_nothing_proves_counts_for_nothing():
    unproven = venue("u", ["103", "3"], ["50", "1"], quality="unverified")
    assert [r["venue"] for r in depth_view(S, [A, unproven], 9)["bids"]] == ["a"]
    assert depth_view(S, [A, unproven], 9)["crossings"][0]["why"] == "u is unverified"
    assert impact_view(S, [A, unproven], "BUY", quantity=D(1))["all"]["average_price"] == "100"


def test_without_a_book_nothing_is_made_up():
    none = impact_view(S, [venue("a", [], [])], "BUY", quantity=D(1))
    assert (none["mid"], none["venues"], none["all"]["average_price"]) == (None, [], None)
    assert none["all"]["slippage_bps"] is None
    assert none["all"]["complete"] is False
    assert edge_rows(S, [venue("a", [], []), B]) == []


LEVELS = st.lists(st.tuples(st.integers(90, 110), st.integers(1, 9)), min_size=1, max_size=6)
FEES = st.sampled_from([D(0), D("0.0005"), D("0.001"), D("0.01")])


@given(books=st.lists(st.tuples(LEVELS, FEES), min_size=1, max_size=4), size=st.integers(1, 40))
def test_all_venues_together_never_cost_more_than_any_alone_and_never_exceed_their_depth(
    books, size
):
    venues = [
        VenueDepth(
            f"v{n}", "LIVE", "", 0, fee, [], sorted((D(p), D(q)) for p, q in dict(side).items())
        )
        for n, (side, fee) in enumerate(books)
    ]
    together = walk(venues, "BUY", quantity=D(size), notional=None)
    offered = sum(q for v in venues for _, q in v.asks)
    assert together.quantity == min(D(size), offered)
    assert together.quantity + together.short == size
    for v in venues:
        alone = walk([v], "BUY", quantity=D(size), notional=None)
        if alone.short == 0:
            assert together.after_fees <= alone.after_fees
