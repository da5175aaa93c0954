"""Coinbase's public questions: time, products, books, trades, candles."""

from collections.abc import Callable

from simulator.coinbase_calls import Calls, Params
from simulator.coinbase_words import (
    ApiError,
    Json,
    price_text,
    product_id,
    product_json,
    size_text,
    timestamp,
    trade_json,
)
from simulator.instruments import Instrument
from simulator.orders import Side
from simulator.venue import Venue

DEPTH_DEFAULT, DEPTH_MAX = 1000, 5000
TRADES_DEFAULT, TRADES_MAX = 100, 1000


class Market:
    """Public answers by path; those about one product by the last word of the path."""

    def __init__(self, venue: Venue, calls: Calls) -> None:
        self._venue = venue
        self._calls = calls
        self.table: dict[str, Callable[[Params], Json]] = {
            "time": lambda _: self.time(),
            "market/products": self.products,
            "market/product_book": self.product_book,
        }
        self.by_product: dict[str, Callable[[Instrument, Params], Json]] = {
            "": lambda instrument, _: self._product(instrument),
            "ticker": self.ticker,
            "candles": self.candles,
        }

    def time(self) -> Json:
        """Answer the venue's time."""
        now_ms = self._venue.now_ms()
        return {"iso": timestamp(now_ms * 1_000_000), "epochSeconds": str(now_ms // 1000),
                "epochMillis": str(now_ms)}  # fmt: skip

    def products(self, params: Params) -> Json:
        """Answer the products; only spot is traded here."""
        if params.get("product_type", ["SPOT"])[0] != "SPOT":
            return {"products": [], "num_products": 0}
        wanted = set(params.get("product_ids", []))
        rows = [
            self._product(instrument)
            for name, instrument in self._calls.products.items()
            if not wanted or name in wanted
        ]
        return {"products": rows, "num_products": len(rows)}

    def product_book(self, params: Params) -> Json:
        """Answer a book."""
        instrument = self.instrument(params.get("product_id", [""])[0])
        depth = _count(params, DEPTH_DEFAULT, DEPTH_MAX)
        book = self._venue.engine.books[instrument.symbol]
        sides = {
            name: [
                {"price": price_text(instrument, p), "size": size_text(instrument, q)}
                for p, q in book.sides[side].top(depth)
            ]
            for name, side in (("bids", Side.BUY), ("asks", Side.SELL))
        }
        now = timestamp(self._venue.now_ns())
        return {"pricebook": {"product_id": product_id(instrument.symbol), **sides, "time": now}}

    def ticker(self, instrument: Instrument, params: Params) -> Json:
        """Answer the last trades, newest first, and the touch."""
        count = _count(params, TRADES_DEFAULT, TRADES_MAX)
        tape = self._venue.tape[instrument.symbol].trades
        rows = [{**trade_json(t, instrument), "bid": "", "ask": ""} for t in list(tape)[-count:]]
        bid, ask = self._venue.engine.books[instrument.symbol].best()
        touch = ["" if ticks is None else price_text(instrument, ticks) for ticks in (bid, ask)]
        return {"trades": rows[::-1], "best_bid": touch[0], "best_ask": touch[1]}

    def candles(self, instrument: Instrument, params: Params) -> Json:
        """Answer candles, newest first; only one-minute candles are kept."""
        if params.get("granularity", ["ONE_MINUTE"])[0] != "ONE_MINUTE":
            raise ApiError("INVALID_ARGUMENT", "granularity is not supported")
        rows = []
        for c in list(self._venue.tape[instrument.symbol].candles)[:-351:-1]:
            figures = {"low": c.low, "high": c.high, "open": c.first, "close": c.last}
            prices = {name: price_text(instrument, ticks) for name, ticks in figures.items()}
            volume = size_text(instrument, c.lots)
            rows.append({"start": str(c.start_ms // 1000), **prices, "volume": volume})
        return {"candles": rows}

    def instrument(self, name: str) -> Instrument:
        """Return the product's instrument."""
        instrument = self._calls.products.get(name)
        if instrument is None:
            raise ApiError("NOT_FOUND", "product not found", 404)
        return instrument

    def _product(self, instrument: Instrument) -> Json:
        day = self._venue.tape[instrument.symbol].day()
        halted = instrument.symbol in self._venue.engine.halted
        return product_json(instrument, day.last, is_halted=halted)


def _count(params: Params, default: int, most: int) -> int:
    text = params.get("limit", [""])[0]
    is_number = text.isascii() and text.isdigit() and len(text) < 6
    return max(1, min(most, int(text))) if is_number else default
