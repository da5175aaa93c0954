"""KuCoin's public questions: time, symbols, books, tickers, trades, candles."""

from typing import TYPE_CHECKING, Any

from simulator.instruments import UNIT, Instrument, plain
from simulator.kucoin_calls import Calls
from simulator.kucoin_words import (
    MAKER_RATE,
    TAKER_RATE,
    ApiError,
    Json,
    levels,
    symbol_json,
    venue_symbol,
)
from simulator.venue import Venue

if TYPE_CHECKING:
    from collections.abc import Callable


class Market:
    """Public answers by path, version first."""

    def __init__(self, venue: Venue, calls: Calls) -> None:
        self._venue = venue
        self._calls = calls
        self.table: dict[str, Callable[[Json], Any]] = {
            "v1/timestamp": lambda _: venue.now_ms(),
            "v1/status": lambda _: {"status": "open", "msg": ""},
            "v2/symbols": self.symbols,
            "v1/symbols": self.symbols,
            "v1/market/orderbook/level2_20": lambda p: self.book(p, 20),
            "v1/market/orderbook/level2_100": lambda p: self.book(p, 100),
            "v1/market/orderbook/level1": self.best,
            "v1/market/stats": lambda p: self.stats(calls.instrument(p)),
            "v1/market/allTickers": self.all_tickers,
            "v1/market/histories": self.histories,
            "v1/market/candles": self.candles,
        }

    def symbols(self, params: Json) -> list[Json]:
        """Answer symbols."""
        del params
        halted = self._venue.engine.halted
        instruments = self._calls.symbols.values()
        return [symbol_json(i, is_halted=i.symbol in halted) for i in instruments]

    def book(self, params: Json, depth: int) -> Json:
        """Answer a book as it is now; with the stale_snapshot fault, as it was some seconds ago."""
        instrument = self._calls.instrument(params)
        view = self._venue.engine.books[instrument.symbol].view(depth)
        old = self._venue.old_books[instrument.symbol]
        if old and self._venue.faults.take("stale_snapshot", "book", instrument.symbol):
            view = old[0]
        return {"time": self._venue.now_ms(), "sequence": str(view.last_id),
                "bids": levels(instrument, view.bids[:depth]),
                "asks": levels(instrument, view.asks[:depth])}  # fmt: skip

    def best(self, params: Json) -> Json:
        """Answer level 1."""
        instrument = self._calls.instrument(params)
        return self.ticker(instrument)

    def ticker(self, instrument: Instrument) -> Json:
        """Return best prices and the last trade, as the ticker stream has them."""
        view = self._venue.engine.books[instrument.symbol].view(1)
        trades = self._venue.tape[instrument.symbol].trades
        bids, asks = levels(instrument, view.bids), levels(instrument, view.asks)
        bid, ask = (rows[0] if rows else ["0", "0"] for rows in (bids, asks))
        last = levels(instrument, ((trades[-1].price, trades[-1].quantity),)) if trades else []
        price, size = last[0] if last else ["0", "0"]
        return {"time": self._venue.now_ms(), "sequence": str(view.last_id), "price": price,
                "size": size, "bestBid": bid[0], "bestBidSize": bid[1], "bestAsk": ask[0],
                "bestAskSize": ask[1]}  # fmt: skip

    def stats(self, instrument: Instrument) -> Json:
        """Return the 24 hour figures."""
        day, now = self._venue.tape[instrument.symbol].day(), self.ticker(instrument)

        def price(ticks: int) -> str:
            return plain(ticks * instrument.tick_units)

        change = plain((day.last - day.first) * UNIT // max(1, day.first))
        return {
            "time": self._venue.now_ms(), "symbol": venue_symbol(instrument.symbol),
            "buy": now["bestBid"], "sell": now["bestAsk"], "changeRate": change,
            "changePrice": price(day.last - day.first), "high": price(day.high),
            "low": price(day.low), "vol": plain(day.lots * instrument.lot_units),
            "volValue": plain(day.turnover * instrument.notional_unit), "last": price(day.last),
            "averagePrice": price(day.turnover // max(1, day.lots)), "takerFeeRate": TAKER_RATE,
            "makerFeeRate": MAKER_RATE, "takerCoefficient": "1", "makerCoefficient": "1",
        }  # fmt: skip

    def all_tickers(self, params: Json) -> Json:
        """Answer the figures of all symbols."""
        del params
        rows = []
        for name, instrument in self._calls.symbols.items():
            now = self.ticker(instrument)
            sizes = {k: now[k] for k in ("bestBidSize", "bestAskSize")}
            rows.append({"symbolName": name, **self.stats(instrument), **sizes})
        return {"time": self._venue.now_ms(), "ticker": rows}

    def histories(self, params: Json) -> list[Json]:
        """Answer the last hundred trades, oldest first."""
        instrument = self._calls.instrument(params)
        return [
            {"sequence": str(t.trade_id), "price": plain(t.price * instrument.tick_units),
             "size": plain(t.quantity * instrument.lot_units),
             "side": "sell" if t.buyer_is_maker else "buy", "time": t.time_ns}
            for t in list(self._venue.tape[instrument.symbol].trades)[-100:]
        ]  # fmt: skip

    def candles(self, params: Json) -> list[list[str]]:
        """Answer candles, newest first; only one-minute candles are kept."""
        instrument = self._calls.instrument(params)
        if params.get("type") != "1min":
            raise ApiError("400100", "type invalid")
        rows = []
        for c in list(self._venue.tape[instrument.symbol].candles)[:-101:-1]:
            # open, close, high, low
            prices = [plain(t * instrument.tick_units) for t in (c.first, c.last, c.high, c.low)]
            lots = plain(c.lots * instrument.lot_units)
            turnover = plain(c.turnover * instrument.notional_unit)
            rows.append([str(c.start_ms // 1000), *prices, lots, turnover])
        return rows
