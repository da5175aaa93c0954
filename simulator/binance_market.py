"""Binance's public questions: exchangeInfo, depth, trades, candles, tickers."""

from collections.abc import Callable
from typing import Any

from simulator.binance_calls import Calls, Params
from simulator.binance_words import (
    RATE_LIMITS,
    ApiError,
    Json,
    depth,
    ms,
    symbol_json,
    wire_symbol,
)
from simulator.instruments import Instrument, fixed8
from simulator.tape import MINUTE_MS, Candle
from simulator.venue import Venue

DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
WEIGHTS = {"ping": 1, "time": 1, "exchangeInfo": 20, "trades": 25, "ticker/24hr": 2}


class Market:
    """Public answers by path."""

    def __init__(self, venue: Venue, calls: Calls) -> None:
        self._venue = venue
        self._calls = calls
        self.table: dict[str, Callable[[Params], Any]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": venue.now_ms()},
            "exchangeInfo": self.exchange_info,
            "depth": self.depth,
            "trades": self.trades,
            "aggTrades": self.agg_trades,
            "klines": self.klines,
            "ticker/24hr": lambda params: self._each(params, self.day_ticker),
            "ticker/bookTicker": lambda params: self._each(params, self.book_ticker),
            "ticker/price": lambda params: self._each(params, self._price),
            "avgPrice": self._average,
        }

    def weight(self, path: str, params: Params) -> int:
        """Return what the request costs."""
        if path != "depth":
            return WEIGHTS.get(path, 2)
        text = params.get("limit", "100")
        limit = int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 100
        limit = min(limit, 5000)
        return next(weight for top, weight in DEPTH_WEIGHTS if limit <= top)

    def exchange_info(self, params: Params) -> Json:
        """Answer exchangeInfo."""
        one = [self._calls.instrument(params)] if "symbol" in params else None
        halted = self._venue.engine.halted
        return {
            "timezone": "UTC",
            "serverTime": self._venue.now_ms(),
            "rateLimits": RATE_LIMITS,
            "exchangeFilters": [],
            "symbols": [
                symbol_json(instrument, is_halted=instrument.symbol in halted)
                for instrument in one or self._calls.symbols.values()
            ],
        }

    def depth(self, params: Params) -> Json:
        """Answer depth; with the stale_snapshot fault, from some seconds ago."""
        instrument = self._calls.instrument(params)
        limit = _limit(params, 100, 5000)
        view = self._venue.engine.books[instrument.symbol].view(limit)
        old = self._venue.old_books[instrument.symbol]
        if old and self._venue.faults.take("stale_snapshot", "book", instrument.symbol):
            view = old[0]
        return depth(instrument, view)

    def trades(self, params: Params) -> list[Json]:
        """Answer trades."""
        instrument = self._calls.instrument(params)
        tape = self._venue.tape[instrument.symbol].trades
        return [
            {
                "id": t.trade_id,
                "price": fixed8(t.price * instrument.tick_units),
                "qty": fixed8(t.quantity * instrument.lot_units),
                "quoteQty": fixed8(t.price * t.quantity * instrument.notional_unit),
                "time": ms(t.time_ns),
                "isBuyerMaker": t.buyer_is_maker,
                "isBestMatch": True,
            }
            for t in list(tape)[-_limit(params, 500, 1000) :]
        ]

    def agg_trades(self, params: Params) -> list[Json]:
        """Answer aggTrades: here one trade each."""
        return [
            {"a": t["id"], "p": t["price"], "q": t["qty"], "f": t["id"], "l": t["id"],
             "T": t["time"], "m": t["isBuyerMaker"], "M": True}
            for t in self.trades(params)
        ]  # fmt: skip

    def klines(self, params: Params) -> list[list[Any]]:
        """Answer klines; only one-minute candles are kept."""
        instrument = self._calls.instrument(params)
        if params.get("interval") != "1m":
            raise ApiError(400, -1120, "Invalid interval.")
        candles = list(self._venue.tape[instrument.symbol].candles)
        return [_kline(instrument, c) for c in candles[-_limit(params, 500, 1000) :]]

    def day_ticker(self, instrument: Instrument) -> Json:
        """Return the 24 hour figures."""
        day, book = self._venue.tape[instrument.symbol].day(), self.book_ticker(instrument)
        trades = self._venue.tape[instrument.symbol].trades
        price = _pricer(instrument)
        return {
            "symbol": wire_symbol(instrument.symbol),
            "priceChange": price(day.last - day.first),
            "priceChangePercent": f"{(day.last - day.first) * 100 / max(1, day.first):.3f}",
            "weightedAvgPrice": price(day.turnover // max(1, day.lots)),
            "prevClosePrice": price(day.first),
            "lastPrice": price(day.last),
            "lastQty": fixed8(trades[-1].quantity * instrument.lot_units if trades else 0),
            **{k: book[k] for k in ("bidPrice", "bidQty", "askPrice", "askQty")},
            "openPrice": price(day.first),
            "highPrice": price(day.high),
            "lowPrice": price(day.low),
            "volume": fixed8(day.lots * instrument.lot_units),
            "quoteVolume": fixed8(day.turnover * instrument.notional_unit),
            "openTime": day.start_ms,
            "closeTime": self._venue.now_ms(),
            "firstId": trades[0].trade_id if trades else -1,
            "lastId": trades[-1].trade_id if trades else -1,
            "count": day.count,
        }

    def book_ticker(self, instrument: Instrument) -> Json:
        """Return the best levels."""
        view = self._venue.engine.books[instrument.symbol].view(1)
        out: Json = {"symbol": wire_symbol(instrument.symbol)}
        for name, levels in (("bid", view.bids), ("ask", view.asks)):
            ticks, lots = levels[0] if levels else (0, 0)
            out[f"{name}Price"] = fixed8(ticks * instrument.tick_units)
            out[f"{name}Qty"] = fixed8(lots * instrument.lot_units)
        return out

    def _price(self, instrument: Instrument) -> Json:
        last = self._venue.tape[instrument.symbol].day().last
        return {"symbol": wire_symbol(instrument.symbol), "price": _pricer(instrument)(last)}

    def _average(self, params: Params) -> Json:
        instrument = self._calls.instrument(params)
        last = self._venue.tape[instrument.symbol].day().last
        return {"mins": 5, "price": _pricer(instrument)(last), "closeTime": self._venue.now_ms()}

    def _each(self, params: Params, one: Callable[[Instrument], Json]) -> Any:
        if "symbol" in params:
            return one(self._calls.instrument(params))
        return [one(instrument) for instrument in self._calls.symbols.values()]


def _pricer(instrument: Instrument) -> Callable[[int], str]:
    return lambda ticks: fixed8(ticks * instrument.tick_units)


def _limit(params: Params, default: int, most: int) -> int:
    text = params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ApiError(400, -1100, "Illegal characters found in parameter 'limit'; "
                       "legal range is '^[0-9]{1,20}$'.")  # fmt: skip
    return max(1, min(most, int(text)))


def _kline(instrument: Instrument, candle: Candle) -> list[Any]:
    price = _pricer(instrument)
    return [
        candle.start_ms,
        price(candle.first), price(candle.high), price(candle.low), price(candle.last),
        fixed8(candle.lots * instrument.lot_units),
        candle.start_ms + MINUTE_MS - 1,
        fixed8(candle.turnover * instrument.notional_unit),
        candle.count,
        fixed8(candle.taker_lots * instrument.lot_units),
        fixed8(candle.taker_turnover * instrument.notional_unit),
        "0",
    ]  # fmt: skip
