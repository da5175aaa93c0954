"""The background flow and a whole venue under the virtual clock."""

import pytest

from simulator.clock import VirtualClock
from simulator.flow import STEP_MS, SharedMid
from simulator.orders import Side
from simulator.venue import Venue


def run_venue(folder, seed, steps, name="binance", mid=None):
    clock = VirtualClock()
    folder.mkdir(exist_ok=True)
    venue = Venue(name, folder, clock, seed, mid)
    venue.flow.fill_books()
    venue.settle(None)
    deltas = []
    venue.on_book.append(deltas.append)
    for step in range(steps):
        venue.step_flow()
        clock.advance_ms(STEP_MS)
        if step % 2:
            venue.flush_books()
    return venue, deltas


def test_the_same_seed_gives_the_same_book_trajectory(tmp_path):
    runs = [run_venue(tmp_path / name, 7, 400)[1] for name in ("a", "b")]
    other = run_venue(tmp_path / "c", 8, 400)[1]
    assert runs[0] == runs[1] != other
    assert len(runs[0]) > 200


def test_deltas_rebuild_the_book_and_their_ids_leave_no_gap(tmp_path):
    venue, deltas = run_venue(tmp_path / "a", 3, 600)
    books = {Side.BUY: {}, Side.SELL: {}}
    last = None
    for delta in (d for d in deltas if d.symbol == "BTC/USDT"):
        assert last is None or delta.first_id == last + 1
        last = delta.last_id
        for side, levels in ((Side.BUY, delta.bids), (Side.SELL, delta.asks)):
            for price, lots in levels:
                books[side].pop(price, None)
                if lots:
                    books[side][price] = lots
    view = venue.engine.books["BTC/USDT"].view(500)
    assert dict(view.bids) == books[Side.BUY]
    assert dict(view.asks) == books[Side.SELL]


@pytest.mark.parametrize("symbol", ["BTC/USDT", "ETH/USDT"])
def test_the_flow_looks_like_a_market_and_the_venues_stay_close(tmp_path, symbol):
    mids = []
    shared = SharedMid(5)
    for name in ("binance", "okx"):
        venue, _ = run_venue(tmp_path / name, 5, 1200, name, shared)
        view = venue.engine.books[symbol].view(100)
        tick = venue.engine.instruments[symbol].price_tick
        assert 15 <= len(view.bids) <= 60
        assert 15 <= len(view.asks) <= 60
        bid, ask = view.bids[0][0] * tick, view.asks[0][0] * tick
        assert 0 < (ask - bid) / bid < 0.001
        assert len(venue.tape[symbol].trades) > 30
        mids.append((bid + ask) / 2)
    assert abs(mids[0] - mids[1]) / mids[0] < 0.002
