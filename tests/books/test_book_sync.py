"""A book under faults: dropped, doubled and reordered messages never make a wrong LIVE book."""

import random

import pytest

from engine.trading.book import Book, BookDelta, scaled_text
from engine.trading.keeper import BookKeeper

PRICE_EXPONENT, QUANTITY_EXPONENT = 2, 3


class Venue:
    """The venue's own book: plain dicts, and the messages that it sends about each change."""

    def __init__(self, rng, policy):
        self.rng = rng
        self.policy = policy
        self.bids = {100_00 - i * 7: i + 1 for i in range(30)}
        self.asks = {101_00 + i * 7: i + 1 for i in range(30)}
        self.last = 1000

    def texts(self, side):
        return [(f"{p / 100:.2f}", f"{q / 1000:.3f}") for p, q in side.items()]

    def snapshot(self):
        bids = sorted(self.texts(self.bids), key=lambda level: -float(level[0]))
        asks = sorted(self.texts(self.asks), key=lambda level: float(level[0]))
        return BookDelta("X", self.last, self.last, None, bids, asks, 1, is_snapshot=True)

    def change(self):
        """Change some levels near the touch and return the message that says so."""
        previous, self.last = self.last, self.last + self.rng.randint(1, 5)
        sides = []
        for side, low, high in ((self.bids, 98_00, 100_00), (self.asks, 101_00, 103_00)):
            changed = {}
            for _ in range(self.rng.randint(0, 4)):
                price = self.rng.randint(low, high)
                quantity = self.rng.choice((0, self.rng.randint(1, 9999)))
                changed[price] = quantity
                if quantity:
                    side[price] = quantity
                else:
                    side.pop(price, None)
            sides.append(self.texts(changed))
        first = previous + 1
        chained = previous if self.policy == "prev_seq" else None
        return BookDelta("X", first, self.last, chained, *sides, 1)

    def flat(self):
        bids = [v for p in sorted(self.bids, reverse=True) for v in (p, self.bids[p])]
        asks = [v for p in sorted(self.asks) for v in (p, self.asks[p])]
        return bids, asks


def held(keeper):
    return keeper.book.bids.top(10_000), keeper.book.asks.top(10_000)


def disturb(rng, messages):
    """Drop, double and swap some messages."""
    out = []
    for message in messages:
        fault = rng.random()
        if fault < 0.04:
            continue
        out.append(message)
        if fault > 0.96:
            out.append(message)
    for i in range(len(out) - 1):
        if rng.random() < 0.03:
            out[i], out[i + 1] = out[i + 1], out[i]
    return out


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize("policy", ["U_u", "prev_seq"])
def test_a_live_book_always_equals_the_venues_at_its_sequence(policy, seed):
    rng = random.Random(f"{policy}-{seed}")
    venue = Venue(rng, policy)
    truth, snapshots, messages = {}, {}, []
    for _ in range(300):
        truth[venue.last], snapshots[venue.last] = venue.flat(), venue.snapshot()
        messages.append(venue.change())
    truth[venue.last], snapshots[venue.last] = venue.flat(), venue.snapshot()

    keeper = BookKeeper("X", policy, PRICE_EXPONENT, QUANTITY_EXPONENT)
    keeper.begin()
    disturbed = disturb(rng, messages)
    ids = sorted(snapshots)
    lives = 0
    for at, message in enumerate(disturbed):
        keeper.on_delta(message)
        if keeper.state == "GAP":
            keeper.begin("gap")
        if keeper.wants_snapshot and at % 7 == 3:
            # As old or as new as the venue happens to answer.
            sent = [i for i in ids if i <= message.last]
            keeper.on_snapshot(snapshots[rng.choice(sent[-4:])]) if policy == "U_u" else (
                keeper.on_delta(snapshots[sent[-1]])
            )
            if keeper.state == "GAP":
                keeper.begin("gap")
        if keeper.state == "LIVE":
            lives += 1
            assert held(keeper) == truth[keeper.sequence], f"seed {seed}, message {at}"
    assert lives > 100, f"seed {seed}: the book was hardly ever live"
    assert keeper.gaps > 0, f"seed {seed}: the faults were not noticed"

    # Without further faults it ends as the venue's book.
    tail = [venue.change() for _ in range(3)]
    if keeper.state != "LIVE" or keeper.sequence != ids[-1]:
        keeper.begin("end")
        snapshot = snapshots[ids[-1]]
        keeper.on_snapshot(snapshot) if policy == "U_u" else keeper.on_delta(snapshot)
    for message in tail:
        keeper.on_delta(message)
    assert keeper.state == "LIVE"
    assert held(keeper) == venue.flat()


def delta(first, last, bids=(), asks=(), **more):
    return BookDelta("X", first, last, more.pop("previous", None), bids, asks, 1, **more)


def snapshot(last, bids=(("1.00", "1"),), asks=(("2.00", "1"),), **more):
    return delta(last, last, bids, asks, is_snapshot=True, **more)


def keeper_of(policy="U_u"):
    keeper = BookKeeper("X", policy, PRICE_EXPONENT, QUANTITY_EXPONENT)
    keeper.begin()
    return keeper


def test_a_snapshot_older_than_the_first_diff_is_asked_for_again():
    keeper = keeper_of()
    keeper.on_delta(delta(10, 12))
    keeper.on_snapshot(snapshot(8))
    assert keeper.state == "SYNCING"
    assert keeper.wants_snapshot
    assert keeper.reason == "snapshot_too_old"
    keeper.on_snapshot(snapshot(11))
    assert (keeper.state, keeper.sequence) == ("LIVE", 12)


def test_a_snapshot_alone_is_not_live_until_a_diff_or_a_second_one_confirms_it():
    keeper = keeper_of()
    keeper.on_snapshot(snapshot(8))
    assert keeper.state == "SYNCING"
    assert keeper.is_unconfirmed
    keeper.on_snapshot(snapshot(8))
    assert keeper.state == "LIVE"
    keeper.on_delta(delta(10, 10))
    assert (keeper.state, keeper.reason, keeper.gaps) == ("GAP", "sequence", 1)


def test_stale_diffs_are_counted_and_dropped():
    keeper = keeper_of()
    keeper.on_delta(delta(1, 5, bids=[("1.50", "9")]))
    keeper.on_snapshot(snapshot(7))
    assert (keeper.state, keeper.stale, keeper.diffs) == ("LIVE", 1, 0)
    keeper.on_delta(delta(6, 9, bids=[("1.25", "2")]))
    assert keeper.book.best_bid == 125


def test_a_crossed_book_is_never_live():
    keeper = keeper_of("prev_seq")
    keeper.on_delta(snapshot(1))
    keeper.on_delta(delta(0, 2, bids=[("2.50", "1")], previous=1))
    assert (keeper.state, keeper.reason, keeper.crossed) == ("GAP", "crossed", 1)


def test_a_locked_book_is_never_live():
    keeper = keeper_of("prev_seq")
    keeper.on_delta(snapshot(1))
    keeper.on_delta(delta(0, 2, bids=[("2.00", "1")], previous=1))
    assert (keeper.state, keeper.reason, keeper.locked) == ("GAP", "locked", 1)


def test_an_idle_heartbeat_and_a_maintenance_reset_keep_an_okx_book_live():
    keeper = keeper_of("prev_seq")
    keeper.on_delta(snapshot(100))
    keeper.on_delta(delta(0, 100, previous=100))
    assert keeper.state == "LIVE"
    keeper.on_delta(delta(0, 3, bids=[("1.10", "1")], previous=100))
    keeper.on_delta(delta(0, 9, bids=[("1.20", "1")], previous=3))
    assert (keeper.state, keeper.book.best_bid) == ("LIVE", 120)


def test_a_wrong_checksum_loses_the_book_and_zero_is_not_checked():
    keeper = keeper_of("prev_seq")
    keeper.on_delta(snapshot(1))
    keeper.on_delta(delta(0, 2, previous=1, checksum=0))
    assert keeper.state == "LIVE"
    keeper.on_delta(delta(0, 3, previous=2, checksum=12345))
    assert (keeper.state, keeper.reason, keeper.checksum_bad) == ("GAP", "checksum", 1)


def test_after_a_disconnect_a_book_is_stale_until_it_has_been_synchronised_anew():
    keeper = keeper_of()
    keeper.on_delta(delta(1, 2))
    keeper.on_snapshot(snapshot(2))
    assert keeper.state == "LIVE"
    keeper.disconnect("disconnected")
    assert (keeper.state, keeper.reason) == ("STALE", "disconnected")
    keeper.on_delta(delta(3, 4))
    keeper.on_snapshot(snapshot(4))
    assert keeper.state == "STALE"
    keeper.begin()
    keeper.on_delta(delta(5, 5))
    keeper.on_snapshot(snapshot(5))
    assert (keeper.state, keeper.resyncs) == ("LIVE", 1)


@pytest.mark.parametrize("text", ["1.005", "NaN", "-1", "1e5", "", "1_000", " 1", "0x1", "9" * 60])
def test_a_price_that_does_not_fit_exactly_loses_the_book_not_the_program(text):
    keeper = keeper_of("prev_seq")
    keeper.on_delta(snapshot(1))
    keeper.on_delta(delta(0, 2, bids=[(text, "1")], previous=1))
    assert (keeper.state, keeper.reason) == ("GAP", "malformed")


def test_text_scales_exactly():
    assert scaled_text("61685.99000000", 2) == 6168599
    assert scaled_text("5", 3) == 5000
    assert scaled_text("0.00000001", 8) == 1
    with pytest.raises(ValueError, match="decimals"):
        scaled_text("0.001", 2)


def test_levels_are_absolute_and_zero_deletes():
    book = Book(2, 3)
    book.load([("1.00", "1"), ("1.10", "2")], [("1.20", "3"), ("1.30", "4")])
    book.apply([("1.10", "0"), ("1.05", "7"), ("9.99", "0")], [("1.20", "5")])
    assert book.bids.top(5) == [105, 7000, 100, 1000]
    assert book.asks.top(1) == [120, 5000]
    assert (book.best_bid, book.best_ask, book.gap_units()) == (105, 120, 15)
