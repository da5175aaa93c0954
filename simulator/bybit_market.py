"""Bybit's public questions: time, instruments, books, tickers, trades, candles. v5, spot."""

from typing import TYPE_CHECKING

from simulator.bybit_calls import Calls
from simulator.bybit_words import ApiError, Json, instrument_json, levels, trade_json, venue_symbol
from simulator.instruments import UNIT, Instrument, plain
from simulator.venue import Venue

if TYPE_CHECKING:
    from collections.abc import Callable


class Market:
    """Public answers by path."""

    def __init__(self, venue: Venue, calls: Calls) -> None:
        self._venue = venue
        self._calls = calls
        self.table: dict[str, Callable[[Json], Json]] = {
            "market/time": self.time,
            "market/instruments-info": self.instruments,
            "market/orderbook": self.book,
            "market/tickers": self.tickers,
            "market/recent-trade": self.trades,
            "market/kline": self.candles,
        }

    def time(self, params: Json) -> Json:
        """Answer market/time."""
        del params
        now_ns = self._venue.now_ns()
        return {"timeSecond": str(now_ns // 10**9), "timeNano": str(now_ns)}

    def instruments(self, params: Json) -> Json:
        """Answer market/instruments-info; only spot is traded here."""
        halted, wanted = self._venue.engine.halted, params.get("symbol")
        rows = [
            instrument_json(instrument, is_halted=instrument.symbol in halted)
            for name, instrument in self._calls.symbols.items()
            if params.get("category") == "spot" and wanted in {None, "", name}
        ]
        return {"category": params.get("category", ""), "list": rows}

    def book(self, params: Json) -> Json:
        """Answer market/orderbook; with the stale_snapshot fault, from some seconds ago."""
        instrument = self._calls.instrument(params)
        text = str(params.get("limit") or "1")
        depth = max(1, min(1000, int(text))) if text.isdigit() and len(text) < 6 else 1
        view = self._venue.engine.books[instrument.symbol].view(depth)
        old = self._venue.old_books[instrument.symbol]
        if old and self._venue.faults.take("stale_snapshot", "book", instrument.symbol):
            view = old[0]
        now_ms = self._venue.now_ms()
        return {"s": venue_symbol(instrument.symbol), "b": levels(instrument, view.bids[:depth]),
                "a": levels(instrument, view.asks[:depth]), "ts": now_ms, "u": view.last_id,
                "seq": view.last_id, "cts": now_ms}  # fmt: skip

    def tickers(self, params: Json) -> Json:
        """Answer market/tickers."""
        wanted = params.get("symbol")
        rows = [
            self.ticker(instrument)
            for name, instrument in self._calls.symbols.items()
            if wanted in {None, "", name}
        ]
        return {"category": "spot", "list": rows}

    def ticker(self, instrument: Instrument) -> Json:
        """Return the 24 hour figures."""
        day = self._venue.tape[instrument.symbol].day()
        view = self._venue.engine.books[instrument.symbol].view(1)
        bids, asks = levels(instrument, view.bids), levels(instrument, view.asks)
        bid, ask = (rows[0] if rows else ["", ""] for rows in (bids, asks))

        def price(ticks: int) -> str:
            return plain(ticks * instrument.tick_units)

        return {
            "symbol": venue_symbol(instrument.symbol), "bid1Price": bid[0], "bid1Size": bid[1],
            "ask1Price": ask[0], "ask1Size": ask[1], "lastPrice": price(day.last),
            "prevPrice24h": price(day.first),
            "price24hPcnt": plain((day.last - day.first) * UNIT // max(1, day.first)),
            "highPrice24h": price(day.high), "lowPrice24h": price(day.low),
            "turnover24h": plain(day.turnover * instrument.notional_unit),
            "volume24h": plain(day.lots * instrument.lot_units),
        }  # fmt: skip

    def trades(self, params: Json) -> Json:
        """Answer market/recent-trade, newest first."""
        instrument = self._calls.instrument(params)
        rows = []
        for trade in list(self._venue.tape[instrument.symbol].trades)[:-61:-1]:
            t = trade_json(trade, instrument)
            rows.append({"execId": t["i"], "symbol": t["s"], "price": t["p"], "size": t["v"],
                         "side": t["S"], "time": str(t["T"]), "isBlockTrade": False})  # fmt: skip
        return {"category": "spot", "list": rows}

    def candles(self, params: Json) -> Json:
        """Answer market/kline, newest first; only one-minute candles are kept."""
        instrument = self._calls.instrument(params)
        if params.get("interval") != "1":
            raise ApiError(10001, "params error: interval")
        rows = []
        for c in list(self._venue.tape[instrument.symbol].candles)[:-201:-1]:
            prices = [plain(t * instrument.tick_units) for t in (c.first, c.high, c.low, c.last)]
            lots = plain(c.lots * instrument.lot_units)
            turnover = plain(c.turnover * instrument.notional_unit)
            rows.append([str(c.start_ms), *prices, lots, turnover])
        return {"symbol": venue_symbol(instrument.symbol), "category": "spot", "list": rows}
