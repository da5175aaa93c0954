"""OKX's public questions: time, instruments, books, tickers, trades, candles."""

from typing import TYPE_CHECKING, Any

from simulator.instruments import Instrument, plain
from simulator.okx_words import ApiError, Json, inst_id, instrument_json, level, trade_json
from simulator.orders import Side
from simulator.venue import Venue

if TYPE_CHECKING:
    from collections.abc import Callable


class Market:
    """Public answers by path."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._symbols = {inst_id(s): i for s, i in venue.engine.instruments.items()}
        self.table: dict[str, Callable[[Json], list[Any]]] = {
            "public/time": lambda _: [{"ts": str(venue.now_ms())}],
            "public/instruments": self.instruments,
            "market/books": self.books,
            "market/ticker": lambda p: [self.ticker(self._instrument(p))],
            "market/tickers": lambda _: [self.ticker(i) for i in self._symbols.values()],
            "market/trades": self.trades,
            "market/candles": self.candles,
            "system/status": lambda _: [],
        }

    def instruments(self, params: Json) -> list[Json]:
        """Answer public/instruments; only spot is traded here."""
        if params.get("instType") != "SPOT":
            return []
        halted, wanted = self._venue.engine.halted, params.get("instId")
        return [
            instrument_json(instrument, is_halted=instrument.symbol in halted)
            for name, instrument in self._symbols.items()
            if wanted in {None, "", name}
        ]

    def books(self, params: Json) -> list[Json]:
        """Answer market/books."""
        instrument = self._instrument(params)
        text = str(params.get("sz") or "1")
        depth = max(1, min(400, int(text))) if text.isdigit() and len(text) < 6 else 1
        bids, asks = self.levels(instrument, depth)
        return [{"asks": asks, "bids": bids, "ts": str(self._venue.now_ms())}]

    def levels(self, instrument: Instrument, depth: int) -> tuple[list[list[str]], list[list[str]]]:
        """Return bids and asks as OKX writes them."""
        book = self._venue.engine.books[instrument.symbol]
        out = []
        for side in (Side.BUY, Side.SELL):
            levels = book.sides[side].levels
            top = book.sides[side].top(depth)
            out.append([level(instrument, p, q, len(levels[p].orders)) for p, q in top])
        return out[0], out[1]

    def ticker(self, instrument: Instrument) -> Json:
        """Return the 24 hour figures."""
        tape = self._venue.tape[instrument.symbol]
        day, bids_asks = tape.day(), self.levels(instrument, 1)
        (bid, *_), (ask, *_) = (side or [["", "", "0", "0"]] for side in bids_asks)

        def price(ticks: int) -> str:
            return plain(ticks * instrument.tick_units)

        return {
            "instType": "SPOT", "instId": inst_id(instrument.symbol), "last": price(day.last),
            "lastSz": plain(tape.trades[-1].quantity * instrument.lot_units) if tape.trades else "",
            "askPx": ask[0], "askSz": ask[1], "bidPx": bid[0], "bidSz": bid[1],
            "open24h": price(day.first), "high24h": price(day.high), "low24h": price(day.low),
            "volCcy24h": plain(day.turnover * instrument.notional_unit),
            "vol24h": plain(day.lots * instrument.lot_units), "sodUtc0": price(day.first),
            "sodUtc8": price(day.first), "ts": str(self._venue.now_ms()),
        }  # fmt: skip

    def trades(self, params: Json) -> list[Json]:
        """Answer market/trades, newest first."""
        instrument = self._instrument(params)
        tape = self._venue.tape[instrument.symbol].trades
        return [trade_json(trade, instrument) for trade in list(tape)[:-101:-1]]

    def candles(self, params: Json) -> list[list[str]]:
        """Answer market/candles, newest first; only one-minute candles are kept."""
        instrument = self._instrument(params)
        if params.get("bar", "1m") != "1m":
            raise ApiError("51000", "Parameter bar error.", 400)
        rows = []
        for c in list(self._venue.tape[instrument.symbol].candles)[:-101:-1]:
            prices = [plain(t * instrument.tick_units) for t in (c.first, c.high, c.low, c.last)]
            turnover = plain(c.turnover * instrument.notional_unit)
            lots = plain(c.lots * instrument.lot_units)
            rows.append([str(c.start_ms), *prices, lots, turnover, turnover, "1"])
        return rows

    def _instrument(self, params: Json) -> Instrument:
        instrument = self._symbols.get(str(params.get("instId", "")))
        if instrument is None:
            raise ApiError("51001", "Instrument ID does not exist.")
        return instrument
