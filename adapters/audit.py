"""The audit of a quiet book: is what we hold still what the venue says when asked over REST?

No stream can show that its last message is missing. So a book that has had no update for a while, on a
link that lives, is compared with the venue's own best levels: it stays where they agree, and is begun
anew where they do not or the venue does not say. How each venue is asked is a row of its adapter
(adapters/registry.py).
"""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from adapters.codec import BadReply, RestCall
from engine.messages.market import BookDelta
from engine.trading.book import Book
from engine.trading.instrument import unscale

LEVELS: Final = 10
# How many levels a side the venue is asked for: what all of them give for their smallest price.
ASKED: Final = 20
_Sides = tuple[Iterable[Any], Iterable[Any]]


class Depth(NamedTuple):
    """How a venue is asked for the best levels of one book, and which part of its answer they are."""

    method: str
    params: Callable[[str], Mapping[str, Any]]
    costs: Mapping[str, int]
    sides: Callable[[Any], _Sides]

    def call(self, venue_symbol: str) -> RestCall:
        """Describe the call."""
        return RestCall(self.method, self.params(venue_symbol), self.costs)

    def read(self, reply: Any, symbol: str) -> BookDelta:
        """Return the levels; BadReply if the answer is not what the venue documents."""
        try:
            bids, asks = (
                [(str(row[0]), str(row[1])) for row in side] for side in self.sides(reply)
            )
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadReply(f"no book of {symbol}: {type(error).__name__}") from None
        return BookDelta(symbol, 0, 0, None, bids, asks, 0, is_snapshot=True)


def disagreement(ours: Book, theirs: BookDelta, levels: int = LEVELS) -> str:
    """Return the first difference among the best `levels` of each side in words; empty if none.

    A side of which the venue names fewer levels ends there for us, too. Raises ValueError for text
    that is no level.
    """
    told = Book(ours.prices.exponent, ours.quantities.exponent)
    told.load(theirs.bids, theirs.asks)
    for side, held, named in zip(
        ("bid", "ask"), _levels(ours, levels), _levels(told, levels), strict=True
    ):
        for number in range(max(len(held), len(named))):
            here, there = _at(held, number), _at(named, number)
            if here != there:
                return f"{side} {number + 1}: {_words(here)} here, {_words(there)} there"
    return ""


_Level = tuple[Decimal, Decimal]


def _levels(book: Book, levels: int) -> tuple[list[_Level], list[_Level]]:
    bids, bid_sizes, asks, ask_sizes = book.top(levels)
    price, size = book.prices.exponent, book.quantities.exponent
    return (
        [(unscale(p, price), unscale(q, size)) for p, q in zip(bids, bid_sizes, strict=True)],
        [(unscale(p, price), unscale(q, size)) for p, q in zip(asks, ask_sizes, strict=True)],
    )


def _at(levels: list[_Level], number: int) -> _Level | None:
    return levels[number] if number < len(levels) else None


def _words(level: _Level | None) -> str:
    return "nothing" if level is None else f"{level[1]:f} at {level[0]:f}"


# --- how the venues are asked ---------------------------------------------------------------------

# {"lastUpdateId":1027024,"bids":[["4.00000000","431.00000000"]],"asks":[["4.00000200","12.0"]]}
# https://developers.binance.com/docs/binance-spot-api-docs/rest-api/market-data-endpoints
BINANCE: Final = Depth(
    "publicGetDepth",
    lambda symbol: {"symbol": symbol, "limit": str(ASKED)},
    {"weight": 5},
    lambda reply: (reply["bids"], reply["asks"]),
)
# {"code":"0","data":[{"asks":[["41006.8","0.60038921","0","1"]],"bids":[..],"ts":"1629966436396"}]}
# https://www.okx.com/docs-v5/en/#order-book-trading-market-data-get-order-book
OKX: Final = Depth(
    "publicGetMarketBooks",
    lambda symbol: {"instId": symbol, "sz": str(ASKED)},
    {"public": 1},
    lambda reply: (reply["data"][0]["bids"], reply["data"][0]["asks"]),
)
# {"code":"200000","data":{"time":1729176273859,"sequence":"14610502970","bids":[["67976.8","3.4"]],..}}
# https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-part-orderbook
KUCOIN: Final = Depth(
    "publicGetMarketOrderbookLevel220",
    lambda symbol: {"symbol": symbol},
    {"public": 2},
    lambda reply: (reply["data"]["bids"], reply["data"]["asks"]),
)
# {"retCode":0,"result":{"s":"BTCUSDT","b":[["65485.47","47.081829"]],"a":[["65557.7","16.6"]],..}}
# https://bybit-exchange.github.io/docs/v5/market/orderbook
BYBIT: Final = Depth(
    "publicGetV5MarketOrderbook",
    lambda symbol: {"category": "spot", "symbol": symbol, "limit": str(ASKED)},
    {"ip": 1},
    lambda reply: (reply["result"]["b"], reply["result"]["a"]),
)
# {"error":[],"result":{"XXBTZUSD":{"asks":[["52523.00000","1.199",1616663113]],"bids":[..]}}}
# https://docs.kraken.com/api/docs/rest-api/get-order-book
KRAKEN: Final = Depth(
    "publicGetDepth",
    lambda symbol: {"pair": symbol, "count": str(ASKED)},
    {"public": 1},
    lambda reply: _first(reply["result"].values()),
)
# {"pricebook":{"product_id":"BTC-USD","bids":[{"price":"1.0","size":"2"}],"asks":[..],"time":".."}}
# https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/public/get-public-product-book
COINBASE: Final = Depth(
    "v3PublicGetBrokerageMarketProductBook",
    lambda symbol: {"product_id": symbol, "limit": str(ASKED)},
    {"public": 1},
    lambda reply: (_rows(reply["pricebook"]["bids"]), _rows(reply["pricebook"]["asks"])),
)


def _rows(levels: Iterable[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    return [(level["price"], level["size"]) for level in levels]


def _first(books: Iterable[Mapping[str, Any]]) -> _Sides:
    book, *_ = books
    return book["bids"], book["asks"]
