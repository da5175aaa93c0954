"""Kraken's public questions: time, assets, pairs, books, tickers, trades, candles."""

from collections.abc import Callable

from simulator.clock import NS_PER_S
from simulator.instruments import Instrument, plain
from simulator.kraken_calls import Calls
from simulator.kraken_words import (
    ALTNAMES,
    ASSETS,
    PAIRS,
    ApiError,
    Json,
    Levels,
    pair_json,
    price_text,
    seconds,
    size_text,
    timestamp,
)
from simulator.orders import Side
from simulator.venue import Venue

TRADES_MAX = 1000
DEPTH_MAX = 500


class Market:
    """Public answers by name."""

    def __init__(self, venue: Venue, calls: Calls) -> None:
        self._venue = venue
        self._calls = calls
        self.table: dict[str, Callable[[Json], Json]] = {
            "Time": self.time,
            "SystemStatus": self.system_status,
            "Assets": self.assets,
            "AssetPairs": self.pairs,
            "Depth": self.depth,
            "Ticker": self.tickers,
            "Trades": self.trades,
            "OHLC": self.candles,
        }

    def time(self, params: Json) -> Json:
        """Answer Time: whole seconds."""
        del params
        now_ns = self._venue.now_ns()
        return {"unixtime": now_ns // NS_PER_S, "rfc1123": timestamp(now_ns)}

    def system_status(self, params: Json) -> Json:
        """Answer SystemStatus."""
        del params
        return {"status": "online", "timestamp": timestamp(self._venue.now_ns())}

    def assets(self, params: Json) -> Json:
        """Answer Assets."""
        del params
        return {
            ASSETS[asset]: {"aclass": "currency", "altname": name, "decimals": 10,
                            "display_decimals": 5, "status": "enabled"}
            for asset, name in ALTNAMES.items()
        }  # fmt: skip

    def pairs(self, params: Json) -> Json:
        """Answer AssetPairs, all or those asked for."""
        engine = self._venue.engine
        wanted = self._wanted(params)
        return {
            PAIRS[i.symbol].key: pair_json(i, engine.fees, is_halted=i.symbol in engine.halted)
            for i in wanted
        }

    def levels(self, instrument: Instrument, depth: int) -> tuple[Levels, Levels]:
        """Return bids and asks, best first."""
        book = self._venue.engine.books[instrument.symbol]
        return book.sides[Side.BUY].top(depth), book.sides[Side.SELL].top(depth)

    def depth(self, params: Json) -> Json:
        """Answer Depth."""
        instrument = self._calls.instrument(params.get("pair"))
        text = str(params.get("count") or "100")
        depth = min(DEPTH_MAX, int(text)) if text.isdigit() and len(text) < 6 else 100
        bids, asks = self.levels(instrument, depth)
        now_s = self._venue.now_ns() // NS_PER_S
        sides = {
            name: [[price_text(instrument, p), size_text(instrument, q), now_s] for p, q in levels]
            for name, levels in (("asks", asks), ("bids", bids))
        }
        return {PAIRS[instrument.symbol].key: sides}

    def tickers(self, params: Json) -> Json:
        """Answer Ticker, of all pairs or those asked for."""
        return {PAIRS[i.symbol].key: self.ticker(i) for i in self._wanted(params)}

    def ticker(self, instrument: Instrument) -> Json:
        """Return the day's figures, today's and of 24 hours the same."""
        day = self._venue.tape[instrument.symbol].day()
        bids, asks = self.levels(instrument, 1)

        def price(ticks: int) -> str:
            return price_text(instrument, ticks)

        def best(levels: Levels) -> list[str]:
            ticks, lots = levels[0] if levels else (0, 0)
            return [price(ticks), "1", size_text(instrument, lots)]

        lots = size_text(instrument, day.lots)
        average = price(day.turnover // day.lots) if day.lots else price(0)
        return {"a": best(asks), "b": best(bids), "c": [price(day.last), lots],
                "v": [lots, lots], "p": [average, average], "t": [day.count, day.count],
                "l": [price(day.low)] * 2, "h": [price(day.high)] * 2,
                "o": price(day.first)}  # fmt: skip

    def trades(self, params: Json) -> Json:
        """Answer Trades, oldest first."""
        instrument = self._calls.instrument(params.get("pair"))
        text = str(params.get("count") or TRADES_MAX)
        count = max(1, min(TRADES_MAX, int(text))) if text.isdigit() and len(text) < 6 else 1
        tape = list(self._venue.tape[instrument.symbol].trades)[-count:]
        rows = [
            [price_text(instrument, t.price), size_text(instrument, t.quantity),
             seconds(t.time_ns), "s" if t.buyer_is_maker else "b", "l", "", t.trade_id]
            for t in tape
        ]  # fmt: skip
        last = str(tape[-1].time_ns) if tape else "0"
        return {PAIRS[instrument.symbol].key: rows, "last": last}

    def candles(self, params: Json) -> Json:
        """Answer OHLC, oldest first; only one-minute candles are kept."""
        instrument = self._calls.instrument(params.get("pair"))
        if str(params.get("interval") or "1") != "1":
            raise ApiError("EGeneral:Invalid arguments:interval")
        rows = []
        for c in list(self._venue.tape[instrument.symbol].candles)[-720:]:
            prices = [price_text(instrument, ticks) for ticks in (c.first, c.high, c.low, c.last)]
            average = plain(c.turnover // max(1, c.lots) * instrument.tick_units)
            lots = size_text(instrument, c.lots)
            rows.append([c.start_ms // 1000, *prices, average, lots, c.count])
        return {PAIRS[instrument.symbol].key: rows, "last": rows[-1][0] if rows else 0}

    def _wanted(self, params: Json) -> list[Instrument]:
        if params.get("pair"):
            return [self._calls.instrument(name) for name in str(params["pair"]).split(",")]
        return list(self._venue.engine.instruments.values())
