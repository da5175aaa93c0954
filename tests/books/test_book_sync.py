"""A book under faults: dropped, doubled and reordered messages never make a wrong LIVE book."""

import random
from zlib import crc32

import pytest

from engine.messages.market import BookDelta
from engine.trading import book as module
from engine.trading import keeper as keeper_module
from engine.trading.book import Book, scaled_text
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


def row(price, quantity, sequence):
    return (price, quantity, str(sequence))


def test_a_joined_book_is_not_live_before_it_knows_what_the_stream_has_said():
    keeper = keeper_of()
    keeper.on_delta(delta(1, 5))
    keeper.on_snapshot(snapshot(5))
    keeper.on_delta(delta(7, 7))
    assert (keeper.state, keeper.reason) == ("GAP", "sequence")
    keeper.begin("gap")
    keeper.on_snapshot(snapshot(5))
    keeper.on_delta(delta(5, 5))
    assert keeper.state == "SYNCING"  # update 7 exists
    keeper.on_delta(delta(6, 7))
    assert (keeper.state, keeper.sequence) == ("LIVE", 7)


def test_kucoins_overlapping_message_brings_no_old_row_back():
    keeper = keeper_of("start_end")
    keeper.on_delta(delta(4, 8, bids=[row("1.50", "9", 5), row("1.40", "3", 7)]))
    keeper.on_snapshot(snapshot(6))
    assert (keeper.state, keeper.sequence, keeper.book.best_bid) == ("LIVE", 8, 140)
    keeper.on_delta(delta(9, 9, asks=[row("1.90", "1", 9)]))
    keeper.on_delta(delta(11, 11))
    assert (keeper.state, keeper.reason) == ("GAP", "sequence")


def test_kucoins_part_of_a_book_shows_nothing_that_it_does_not_know():
    keeper = keeper_of("start_end")
    bids = [(f"{100 - i / 100:.2f}", "1") for i in range(100)]
    keeper.on_delta(delta(2, 2, bids=[row("50.00", "7", 2)], asks=[row("300.00", "7", 2)]))
    keeper.on_snapshot(snapshot(1, bids=bids, asks=[("101.00", "1")]))
    assert keeper.state == "LIVE"
    assert len(keeper.book.bids.keys) == 100  # 50.00 is below all that the snapshot knew
    assert keeper.book.asks.top(9) == [10100, 1000, 30000, 7000]  # that side was whole
    gone = [row(price, "0", 3) for price, _ in bids[:81]]
    keeper.on_delta(delta(3, 3, bids=gone))
    assert (keeper.state, keeper.reason) == ("GAP", "too_few_levels")


def test_bybits_numbering_has_no_holes_and_starts_again_with_a_snapshot():
    keeper = keeper_of("u_plus_1")
    keeper.on_delta(snapshot(70))
    keeper.on_delta(delta(71, 71, bids=[("1.10", "1")], previous=70))
    assert (keeper.state, keeper.book.best_bid) == ("LIVE", 110)
    keeper.on_delta(snapshot(1))  # the venue's service has started anew
    keeper.on_delta(delta(2, 2, bids=[("1.20", "1")], previous=1))
    assert (keeper.state, keeper.sequence, keeper.book.best_bid) == ("LIVE", 2, 120)
    keeper.on_delta(delta(4, 4, previous=3))
    assert (keeper.state, keeper.reason, keeper.gaps) == ("GAP", "sequence", 1)


@pytest.mark.parametrize("policy", ["prev_seq", "u_plus_1", "conn_seq"])
def test_a_snapshot_that_comes_late_makes_no_live_book(policy):
    keeper = keeper_of(policy)
    keeper.on_delta(delta(90, 90, previous=89))
    keeper.on_delta(snapshot(80))
    assert (keeper.state, keeper.reason) == ("SYNCING", "snapshot_too_old")
    assert keeper.wants_snapshot
    keeper.on_delta(snapshot(90))
    assert keeper.state == "LIVE"
    keeper.on_delta(snapshot(85))
    assert (keeper.state, keeper.reason) == ("GAP", "snapshot_too_old")
    keeper.disconnect("cut")
    keeper.begin("again")
    keeper.on_delta(snapshot(3))  # a new connection may number anew
    assert keeper.state == "LIVE"


def kraken():
    keeper = BookKeeper(
        "X", "crc32_top10", PRICE_EXPONENT, QUANTITY_EXPONENT, levels_max=10, decimals=(1, 2)
    )
    keeper.begin()
    return keeper


def test_kraken_checksum_counts_decimals_as_the_venue_writes_them():
    keeper = kraken()
    # "20" "100" "10" "100": asked 2.0 times 1.00, bid 1.0 times 1.00
    crc = crc32(b"2010010100")
    keeper.on_delta(snapshot(0, checksum=crc))
    assert (keeper.state, keeper.checksum_ok) == ("LIVE", 1)
    keeper.on_delta(delta(0, 5, bids=[("1.10", "1")], checksum=crc32(b"20100111001010")))
    assert (keeper.state, keeper.reason, keeper.checksum_bad) == ("GAP", "checksum", 1)


def test_kraken_snapshot_behind_updates_waits_for_the_next_ones_checksum():
    keeper = kraken()
    keeper.on_delta(delta(0, 50))
    keeper.on_delta(snapshot(0, checksum=crc32(b"2010010100")))
    assert (keeper.state, keeper.reason) == ("SYNCING", "unconfirmed")
    keeper.on_delta(snapshot(0, checksum=crc32(b"2010010100")))
    assert keeper.state == "SYNCING"  # a repetition proves nothing
    keeper.on_delta(delta(0, 51, bids=[("1.10", "1")], checksum=crc32(b"201001110010100")))
    assert (keeper.state, keeper.book.best_bid) == ("LIVE", 110)
    keeper.on_delta(delta(0, 49, bids=[("1.10", "2")], checksum=crc32(b"201001120010100")))
    assert (keeper.state, keeper.reason) == ("GAP", "sequence")


def test_kraken_book_keeps_as_many_levels_as_were_subscribed():
    keeper = kraken()
    bids = [(f"{1 + i / 10:.1f}", "1") for i in range(10)]
    text = "20100" + "".join(f"{19 - i}100" for i in range(10))
    keeper.on_delta(snapshot(0, bids=bids[:9], asks=(("2.00", "1"),)))
    keeper.on_delta(delta(0, 5, bids=[bids[9], ("0.5", "1")], checksum=crc32(text.encode())))
    assert keeper.state == "LIVE"
    assert keeper.book.bids.top(20)[-2:] == [100, 1000]


@pytest.mark.parametrize(
    ("first", "last", "previous", "state"),
    [
        (8, 12, 7, "LIVE"),  # the snapshot's id lies in it
        (8, 10, 7, "LIVE"),  # it ends where the snapshot stands
        (11, 12, 10, "LIVE"),  # it names the snapshot as its predecessor
        (12, 13, 11, "GAP"),
        (8, 9, 7, "SYNCING"),  # older than the snapshot
    ],
)
def test_the_first_diff_of_a_futures_book_holds_the_snapshots_id(first, last, previous, state):
    keeper = keeper_of()
    keeper.on_snapshot(snapshot(10))
    keeper.on_delta(delta(first, last, previous=previous))
    if state == "SYNCING":
        assert (keeper.stale, keeper.diffs) == (1, 0)
        return
    assert keeper.state == state
    if state == "LIVE":
        keeper.on_delta(delta(last + 5, last + 9, previous=last))
        assert keeper.state == "LIVE"  # ids jump: what counts is the predecessor
        keeper.on_delta(delta(last + 10, last + 12, previous=last + 8))
        assert (keeper.state, keeper.reason) == ("GAP", "sequence")


def test_a_lost_connection_loses_live_and_syncing_books_only():
    keeper = keeper_of("conn_seq")
    keeper.on_delta(snapshot(1))
    keeper.lose("sequence")
    assert (keeper.state, keeper.wants_snapshot, keeper.gaps) == ("GAP", True, 1)
    keeper.disconnect("cut")
    keeper.lose("sequence")
    assert keeper.state == "STALE"


def test_texts_are_remembered_within_a_limit_and_never_wrong(monkeypatch):
    monkeypatch.setattr(module, "SCALED_MAX", 3)
    scaled = module.Scaled(2)
    texts = ["1.00", "2.00", "3.00", "4.00", "1.00", "4.00"]
    assert [scaled[text] for text in texts] == [100, 200, 300, 400, 100, 400]
    assert len(scaled) <= 3
    with pytest.raises(ValueError, match="does not fit"):
        module.Scaled(2, units_max=99)["1.00"]


@pytest.mark.parametrize("with_texts", [False, True])
def test_a_side_keeps_the_levels_nearest_to_the_touch(with_texts):
    book = Book(0, 0, with_texts=with_texts, levels_max=3)
    book.apply([(str(p), "1") for p in range(1, 9)], [(str(p), "1") for p in range(11, 19)])
    assert book.bids.top(9)[::2] == [8, 7, 6]
    assert book.asks.top(9)[::2] == [11, 12, 13]
    if with_texts:
        assert book.bids.texts == ["6:1", "7:1", "8:1"]


def test_a_checksum_covers_the_side_that_is_longer():
    book = Book(1, 0, with_texts=True)
    book.load([("3.1", "1")], [("3.2", "2"), ("3.3", "3")])
    assert book.checksum() == crc32(b"3.1:1:3.2:2:3.3:3")
    book.load([("3.1", "1"), ("3.0", "4")], [("3.2", "2")])
    assert book.checksum() == crc32(b"3.1:1:3.2:2:3.0:4")


def test_a_book_that_never_began_cannot_become_stale():
    keeper = BookKeeper("X", "U_u", PRICE_EXPONENT, QUANTITY_EXPONENT)
    keeper.disconnect("gone")
    assert keeper.state == "EMPTY"


@pytest.mark.parametrize("policy", ["U_u", "prev_seq"])
def test_a_snapshot_that_is_no_book_is_lost_not_believed(policy):
    keeper = keeper_of(policy)
    broken = snapshot(5, bids=(("nonsense", "1"),))
    keeper.on_snapshot(broken) if policy == "U_u" else keeper.on_delta(broken)
    assert (keeper.state, keeper.reason) == ("GAP", "malformed")


def test_diffs_before_the_snapshot_are_kept_up_to_a_limit_the_newest_first(monkeypatch):
    monkeypatch.setattr(keeper_module, "BUFFERED_MAX", 2)
    keeper = keeper_of()
    for n in (11, 12, 13):
        keeper.on_delta(delta(n, n, bids=((f"1.{n}", "1"),)))
    keeper.on_snapshot(snapshot(10))
    assert (keeper.state, keeper.reason) == ("SYNCING", "snapshot_too_old"), "11 was given up"
    keeper.on_snapshot(snapshot(11))
    assert keeper.state == "LIVE"
    assert keeper.book.bids.top(2)[::2] == [113, 112]


def test_what_comes_after_a_gap_or_late_is_counted_and_not_applied():
    keeper = keeper_of()
    keeper.on_snapshot(snapshot(10))
    keeper.on_delta(delta(11, 11))
    keeper.on_delta(delta(10, 11, bids=(("1.50", "1"),)))
    assert (keeper.state, keeper.stale, keeper.book.best_bid) == ("LIVE", 1, 100)
    keeper.on_delta(delta(15, 15))
    assert keeper.state == "GAP"
    keeper.on_delta(delta(16, 16, bids=(("1.50", "1"),)))
    assert (keeper.stale, keeper.book.best_bid) == (2, 100)


def test_a_right_checksum_is_counted_and_a_snapshot_is_taken_only_when_asked_for():
    keeper = keeper_of("prev_seq")
    right = crc32(b"1.00:1:2.00:1")
    keeper.on_delta(snapshot(10, checksum=right))
    assert (keeper.state, keeper.checksum_ok, keeper.checksum_bad) == ("LIVE", 1, 0)
    keeper.on_delta(delta(11, 11, previous=9))
    assert keeper.state == "GAP"
    keeper.on_delta(snapshot(12, bids=(("1.50", "1"),)))
    assert (keeper.state, keeper.book.best_bid) == ("GAP", 100)
