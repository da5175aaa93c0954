"""Recorded streams with frames dropped, doubled, swapped, cut and late: never a wrong LIVE book.

Where the recorded format has no numbering (Bybit v2, Coinbase Exchange, OKX of 2022) the clean
recording is told in today's words first, numbered as the venue numbers now, and mutated then: what
is tested is the present rule on real books. A book counts as right when it equals the clean
replay's at its sequence, and nothing newer was delivered whole. Kraken proves its ten best levels.
"""

import heapq
import json
import random
from decimal import Decimal
from pathlib import Path

import pytest

from adapters.dialects import DIALECTS
from adapters.recording import Frame, recorded
from adapters.replay import EXPONENT, Replayer, _symbol_of
from engine.messages.market import BookDelta

FEED = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "streams" / "cryptofeed"
STREAMS = {
    "binance": ("", ["binance_spot/2021-04-17_3525dc8c_BINANCE.http.0.0.gz",
                     "binance_spot/2021-04-17_3525dc8c_BINANCE.ws.1.0.gz"]),
    "binance_usdm": ("", ["binance_usdm/2021-04-17_3525dc8c_BINANCE_FUTURES.http.4.0.gz",
                          "binance_usdm/2021-04-17_3525dc8c_BINANCE_FUTURES.ws.5.0.gz"]),
    "kucoin": ("", ["kucoin/2021-04-25_53bb157c_KUCOIN.ws.1.0.dev-symbols.gz",
                    "kucoin/2021-04-25_53bb157c_KUCOIN.http.0.0.dev-symbols.gz"]),
    "okx": ("", ["okx/2022-02-27_ed5b5350_OKX.ws.1.0.gz"]),
    "bybit": ("bybit_v2", ["bybit_v2_retired/2021-04-17_3525dc8c_BYBIT.ws.25.0.gz"]),
    "kraken": ("kraken_v1", ["kraken_v1/2021-04-17_3525dc8c_KRAKEN.ws.50.0.gz"]),
    "coinbase": ("coinbase_exchange",
                 ["coinbase_exchange/2021-04-17_3525dc8c_COINBASE.ws.28.0.dev-symbols.gz"]),
}  # fmt: skip
FRAMES_MAX = 1500
KRAKEN_PROVEN = 10
SEEDS = range(6)


class Numbered:
    """OKX's book rows with the ids that the venue has given them since."""

    def __init__(self):
        self.last = {}

    def __call__(self, raw):
        if b'"action"' not in raw:
            return raw
        frame = json.loads(raw)
        name = frame["arg"]["instId"]
        for row in frame["data"]:
            previous = self.last.get(name, 1000)
            self.last[name] = row["seqId"] = previous + 7
            row["prevSeqId"] = -1 if frame["action"] == "snapshot" else previous
        return json.dumps(frame).encode()


def frames_of(venue):
    """The first frames of a recording, in today's format."""
    dialect, names = STREAMS[venue]
    translator = DIALECTS[dialect].make() if dialect else None
    numbered = Numbered() if venue == "okx" else bytes
    found = []
    for frame in heapq.merge(*(recorded(FEED / n, i) for i, n in enumerate(names))):
        raws = [frame.raw]
        if translator is not None:
            raws = [] if frame.url else translator.translate(frame.raw)
        found += [frame._replace(raw=numbered(raw)) for raw in raws]
    return found[:FRAMES_MAX]


def levels_of(venue, keeper):
    depth = KRAKEN_PROVEN if venue == "kraken" else 10_000
    return hash((*keeper.book.bids.top(depth), 0, *keeper.book.asks.top(depth)))


def text_of(units):
    return f"{Decimal(units).scaleb(-EXPONENT).normalize():f}"


class Watched(Replayer):
    """A replay that remembers what the books were, or compares them with what they should be."""

    def __init__(self, venue, truth=None):
        super().__init__(venue)
        self.venue = venue
        self.truth = truth
        self.books = {}  # symbol -> sequence -> what the book may be
        self.snapshots = {}  # symbol -> snapshots that the venue could give
        self.newest = {}  # symbol -> the newest id delivered whole
        self.lives = 0

    def on_delta(self, delta):
        self.newest[delta.symbol] = max(self.newest.get(delta.symbol, 0), delta.last)
        super().on_delta(delta)
        self.look(delta.symbol)

    def on_rest(self, frame, symbol):
        super().on_rest(frame, symbol)
        self.look(symbol)

    def look(self, symbol):
        keeper = self.keepers.get(symbol)
        if keeper is None or keeper.state != "LIVE":
            return
        self.lives += 1
        if self.truth is None:
            may_be = self.books.setdefault(symbol, {}).setdefault(keeper.sequence, set())
            may_be.add(levels_of(self.venue, keeper))
            if keeper.diffs % 5 == 0:
                self.keep_snapshot(keeper)
            return
        assert keeper.sequence >= self.newest.get(symbol, 0), f"{symbol} is old and LIVE"
        right = self.truth.books[symbol].get(keeper.sequence, set())
        assert levels_of(self.venue, keeper) in right, f"{symbol} is wrong at {keeper.sequence}"

    def keep_snapshot(self, keeper):
        sides = []
        for side in (keeper.book.bids, keeper.book.asks):
            flat = side.top(10_000)
            sides.append([(text_of(flat[i]), text_of(flat[i + 1])) for i in range(0, len(flat), 2)])
        snapshot = BookDelta(
            keeper.symbol, keeper.sequence, keeper.sequence, None, *sides, 0, is_snapshot=True
        )
        self.snapshots.setdefault(keeper.symbol, []).append(snapshot)

    def answer(self, rng):
        """What a venue does that is asked: REST may answer with the past, a stream may not."""
        for symbol, keeper in self.keepers.items():
            newest = self.newest.get(symbol, 0)
            known = self.truth.snapshots.get(symbol, [])
            if not keeper.wants_snapshot or not known or self.venue == "coinbase":
                continue  # Coinbase answers a loss with a new connection, which is not recorded
            if not self.codec.has_stream_snapshots:
                past = [s for s in known if s.last <= newest + 100]
                if past:
                    keeper.on_snapshot(rng.choice(past[-3:]))
            else:
                now = [s for s in known if s.last == newest]
                if now:
                    super().on_delta(now[0])
            if keeper.state == "GAP":
                keeper.begin("replay")
            self.look(symbol)


def is_snapshot(frame):
    return bool(frame.url) or b'"snapshot"' in frame.raw


def mutated(frames, rng):
    """Some frames dropped, doubled, swapped, cut; snapshots late. Returns the frames and the faults."""
    frames, faults = list(frames), []
    for kind in rng.choices(("drop", "double", "swap", "cut", "late", "late_to_the_end"), k=6):
        at = rng.randrange(20, len(frames) - 2)
        faults.append((kind, at))
        if kind == "drop":
            del frames[at : at + rng.choice((1, 1, 3, 20))]
        elif kind == "double":
            frames.insert(at + rng.choice((0, 1, 5, 300)), frames[at])
        elif kind == "swap":
            other = min(len(frames) - 1, at + rng.choice((1, 2, 5)))
            frames[at], frames[other] = frames[other], frames[at]
        elif kind == "cut":
            cut = frames[at].raw[: rng.randrange(len(frames[at].raw) or 1)]
            frames[at] = frames[at]._replace(raw=cut)
        else:
            snapshots = [i for i, frame in enumerate(frames) if is_snapshot(frame)]
            moved = frames.pop(rng.choice(snapshots))
            to = len(frames) if kind == "late_to_the_end" else rng.randrange(at, len(frames))
            frames.insert(to, moved)
    return frames, faults


@pytest.fixture(scope="module")
def clean():
    made = {}

    def of(venue):
        if not FEED.is_dir():
            pytest.skip(f"no recorded data at {FEED}")
        if venue not in made:
            truth, frames = Watched(venue), frames_of(venue)
            for frame in frames:
                truth.take(frame)
            made[venue] = (truth, frames)
        return made[venue]

    return of


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("venue", STREAMS)
def test_a_mutated_stream_never_makes_a_wrong_live_book(clean, venue, seed):
    truth, frames = clean(venue)
    assert all(k.state == "LIVE" for s, k in truth.keepers.items() if s in truth.synced)
    rng = random.Random(f"{venue}-{seed}")
    disturbed, faults = mutated(frames, rng)
    replayer = Watched(venue, truth)
    for number, frame in enumerate(disturbed):
        try:
            replayer.take(frame)
            if number % 2 == 0:
                replayer.answer(rng)
        except AssertionError as wrong:
            raise AssertionError(f"seed {seed}, frame {number}, {faults}: {wrong}") from wrong
    for symbol in replayer.keepers:
        replayer.look(symbol)
    least = 1 if venue == "coinbase" else 100  # there the first fault of all ends every book
    assert replayer.lives >= least, f"seed {seed}: hardly a book was ever LIVE after {faults}"


@pytest.mark.parametrize("venue", STREAMS)
def test_one_lost_frame_of_a_book_is_noticed(clean, venue):
    # Not the last one of its symbol: what is not followed by anything cannot be missed by anybody.
    truth, frames = clean(venue)
    rng = random.Random(f"lost-{venue}")
    noticed = 0
    for _ in range(10):
        at = rng.randrange(len(frames) // 3, len(frames) // 2)
        while not delta_in(venue, frames[at]):
            at += 1
        symbol = delta_in(venue, frames[at])
        replayer = Watched(venue, truth)
        for frame in frames[:at]:
            replayer.take(frame)
        if replayer.keepers[symbol].state != "LIVE":
            continue
        for frame in frames[at + 1 :]:
            replayer.take(frame)  # asserts that nothing wrong is LIVE
        noticed += replayer.keepers[symbol].state != "LIVE"
    assert noticed >= (5 if venue == "kraken" else 8)


def delta_in(venue, frame):
    """The symbol of the one book update in a frame, or nothing."""
    if frame.url or is_snapshot(frame):
        return ""
    events = Replayer(venue).codec.on_public(frame.raw, 0)
    deltas = [e for e in events if isinstance(e, BookDelta) and (e.bids or e.asks)]
    return deltas[0].symbol if len(deltas) == 1 else ""


def test_the_helpers_read_addresses_and_units():
    assert _symbol_of("https://x/level2?symbol=BTC-USDT&a=1") == "BTC-USDT"
    assert text_of(10**EXPONENT // 8) == "0.125"
    assert is_snapshot(Frame(1, 0, b"{}", "https://x"))
