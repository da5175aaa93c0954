"""What ccxt.pro misses: a dropped KuCoin delta. Its unmodified class takes the gap in silence.

Both get the same frames. ccxt's book is filled the way its own snapshot task fills it, then its own
message handler gets the deltas; nothing of it is replaced and no network is used.
"""

import asyncio
import json

import ccxt.pro

from adapters.kucoin import KucoinCodec
from adapters.kucoin_rest import KucoinRest
from engine.trading.keeper import BookKeeper

SNAPSHOT = {"code": "200000", "data": {"time": 1, "sequence": "100", "bids": [["100.0", "1"]],
            "asks": [["101.0", "1"]]}}  # fmt: skip


def frame(start, end, bids=(), asks=()):
    changes = {"bids": [list(row) for row in bids], "asks": [list(row) for row in asks]}
    data = {"changes": changes, "sequenceStart": start, "sequenceEnd": end, "symbol": "BTC-USDT",
            "time": 1663747970273}  # fmt: skip
    return {"type": "message", "topic": "/market/level2:BTC-USDT", "subject": "trade.l2update",
            "data": data}  # fmt: skip


FRAMES = [
    frame(101, 101, bids=[("100.1", "2", "101")]),
    frame(102, 102, bids=[("100.1", "0", "102")]),  # this one is lost: the best bid is gone
    frame(103, 103, asks=[("101.5", "3", "103")]),
]


def ours(frames):
    codec = KucoinCodec("kucoin", "kucoin.main", {"BTC-USDT": "BTC/USDT"})
    keeper = BookKeeper("BTC/USDT", codec.policy, 1, 4)
    keeper.begin()
    (first,) = codec.on_public(json.dumps(frames[0]).encode(), 0)
    keeper.on_delta(first)
    rest = KucoinRest("kucoin", "kucoin.main", {"BTC-USDT": "BTC/USDT"})
    keeper.on_snapshot(rest.read_snapshot(SNAPSHOT, "BTC/USDT"))
    for one in frames[1:]:
        (delta,) = codec.on_public(json.dumps(one).encode(), 0)
        keeper.on_delta(delta)
    return keeper


async def theirs(frames):
    exchange = ccxt.pro.kucoin()
    try:
        known = {"id": "BTC-USDT", "symbol": "BTC/USDT", "base": "BTC", "quote": "USDT",
                 "spot": True, "contract": False, "type": "spot"}  # fmt: skip
        exchange.set_markets([{**exchange.safe_market("BTC-USDT", None, "-"), **known}])
        book = exchange.order_book()
        data = SNAPSHOT["data"]
        book.reset({"symbol": "BTC/USDT", "nonce": 100, "timestamp": 1, "datetime": None,
                    "bids": [[float(p), float(q)] for p, q in data["bids"]],
                    "asks": [[float(p), float(q)] for p, q in data["asks"]]})  # fmt: skip
        exchange.orderbooks["BTC/USDT"] = book
        client = exchange.client("ws://127.0.0.1:1")
        for one in frames:
            exchange.handle_order_book(client, one)
        return book, client.rejections
    finally:
        await exchange.close()


def test_a_dropped_kucoin_delta_is_taken_in_silence_by_ccxt_pro_and_noticed_by_ours():
    lost = [FRAMES[0], FRAMES[2]]
    book, rejections = asyncio.run(theirs(lost))
    assert not rejections  # no error for whoever waits for the book
    assert book["nonce"] == 103  # it believes to be at the newest update
    assert book["bids"][0][0] == 100.1  # and shows a best bid that is gone

    keeper = ours(lost)
    assert (keeper.state, keeper.reason, keeper.gaps) == ("GAP", "sequence", 1)
    assert keeper.wants_snapshot


def test_without_a_loss_both_have_the_same_book():
    book, _ = asyncio.run(theirs(FRAMES))
    keeper = ours(FRAMES)
    assert keeper.state == "LIVE"
    assert (keeper.book.best_bid, keeper.book.best_ask) == (1000, 1010)
    assert (book["bids"][0][0], book["asks"][0][0]) == (100.0, 101.0)
