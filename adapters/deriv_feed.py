"""Deriv's ticks as books that say what they are: synthetic, for the venue has none.

An underlying shows its tick as a top of book without quantities. A contract shows, as its bid, what the
contract that the next sell closes would bring; nobody offers one at a price, so it has no ask.
"""

from collections.abc import Callable, Mapping
from threading import Lock

from adapters.deriv_answers import Tick, Underlying
from adapters.deriv_contracts import Kinds
from adapters.deriv_state import OpenContracts
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message
from engine.messages.market import BookState, VenueBook
from engine.messages.port import Instrument


class DerivFeed:
    """The books of one session. Thread safe."""

    def __init__(
        self,
        venue: str,
        kinds: Kinds,
        contracts: OpenContracts,
        clock: Clock,
        deliver: Callable[[Message], None],
    ) -> None:
        self._venue = venue
        self._kinds = kinds
        self._contracts = contracts
        self._clock = clock
        self._deliver = deliver
        self._lock = Lock()
        self._instruments: dict[str, Instrument] = {}
        self._underlyings: Mapping[str, Underlying] = {}
        self._ticks: dict[str, Tick] = {}
        self._heard: dict[str, tuple[int, int]] = {}  # wall and monotonic time of the last tick
        self._is_up = False
        self._sequence = 0

    def set_instruments(
        self, instruments: list[Instrument], underlyings: Mapping[str, Underlying]
    ) -> None:
        """Learn what there is, and whether its market is open."""
        with self._lock:
            self._instruments = {i.symbol: i for i in instruments}
            self._underlyings = underlyings
        self.republish()

    def on_up(self) -> None:
        """A connection was made: what was heard on the last one is gone."""
        with self._lock:
            self._is_up = True
            self._ticks.clear()
        self.republish()

    def on_down(self) -> None:
        """Everything held is old from now on, and says so at once."""
        with self._lock:
            self._is_up = False
        self.republish()

    def on_tick(self, tick: Tick, wall_ns: int, mono_ns: int) -> None:
        """Publish an underlying's price, and the contracts on it."""
        name = tick.underlying.upper()
        with self._lock:
            before = self._ticks.get(name)
            if before is not None and before.time_s > tick.time_s:
                return  # came late
            self._ticks[name] = tick
            self._heard[name] = (wall_ns, mono_ns)
            symbols = [s for s, i in self._instruments.items() if i.venue_symbol.upper() == name]
        for symbol in symbols:
            self.publish(symbol)

    def republish(self) -> None:
        """Publish every book as it is."""
        for symbol in list(self._instruments):
            self.publish(symbol)

    def publish(self, symbol: str) -> None:
        """Publish one symbol's book."""
        with self._lock:
            instrument = self._instruments.get(symbol)
            if instrument is None:
                return
            self._deliver(self._book(instrument))

    def _book(self, instrument: Instrument) -> VenueBook:
        name = instrument.venue_symbol.upper()
        tick = self._ticks.get(name)
        state, reason = self._state(instrument, tick)
        exponent = max(0, -int(instrument.tick_size.as_tuple().exponent))
        bids: list[int] = []
        asks: list[int] = []
        size = 0
        if state == "LIVE" and tick is not None:
            if self._kinds.by_symbol[instrument.symbol].is_contract:
                contract = self._contracts.oldest(instrument.symbol)
                if contract is not None and contract.bid_price is not None:
                    bids, size = [int(contract.bid_price.scaleb(exponent))], 1
            else:
                bids, asks = [int(tick.bid.scaleb(exponent))], [int(tick.ask.scaleb(exponent))]
        wall_ns, mono_ns = self._heard.get(name, (0, 0))
        if state != "LIVE":
            wall_ns, mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        self._sequence += 1
        return VenueBook(
            self._venue,
            instrument.symbol,
            state,
            reason,
            exponent,
            0,
            bids,
            [size] * len(bids),
            asks,
            [0] * len(asks),
            self._sequence,
            0 if tick is None else tick.time_s * NS_PER_S,
            wall_ns,
            mono_ns,
            "synthetic",
        )

    def _state(self, instrument: Instrument, tick: Tick | None) -> tuple[BookState, str]:
        if not self._is_up:
            return "STALE", "disconnected"
        listed = self._underlyings.get(instrument.venue_symbol)
        if listed is not None and not listed.is_open:
            return "EMPTY", "market_closed"
        return ("SYNCING", "no_tick_yet") if tick is None else ("LIVE", "")
