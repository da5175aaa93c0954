"""What there is to trade at Deriv: underlyings, whether they are open, and the contracts offered on them.

Discovered on each public connection, and looked at again while it lasts: markets open and close.
"""

from collections.abc import Callable, Mapping

from adapters.deriv_answers import Underlying, read_active_symbols, read_multipliers
from adapters.deriv_contracts import Kinds, instrument_of
from adapters.deriv_link import Opening
from adapters.deriv_words import Json, Words, error_of
from engine.messages.port import Instrument


class Markets:
    """The configured symbols as the venue lists them. Written by one thread, read by any."""

    def __init__(self, venue: str, kinds: Kinds, words: Words) -> None:
        self._venue = venue
        self._kinds = kinds
        self._words = words
        self.listed: Mapping[str, Underlying] = {}
        self.names: Mapping[str, str] = {}  # the venue's name of each symbol's underlying
        self._offered: dict[str, dict[str, set[int]]] = {}

    def questions(self) -> list[Opening]:
        """Return what a new public connection asks: the list, then ticks and contracts of ours."""
        return [Opening(self._words.active_symbols(), self._take_list)]

    def _take_list(self, message: Json) -> list[Opening]:
        error = error_of(message)
        if error is not None:
            raise ValueError(f"{error.code}: {error.message}")
        self.take(message)
        following = []
        traded = {
            self.names.get(symbol)
            for symbol, kind in self._kinds.by_symbol.items()
            if kind.is_contract
        }
        for name in sorted(set(self.names.values())):
            if name in traded:
                question = self._words.contracts_for(name)
                following.append(Opening(question, self._take_contracts(name)))
            following.append(Opening({"ticks": name, "subscribe": 1}))
        return following

    def _take_contracts(self, name: str) -> Callable[[Json], list[Opening]]:
        def take(message: Json) -> list[Opening]:
            if error_of(message) is None:
                self._offered[name] = read_multipliers(message)
            return []

        return take

    def take(self, message: Json) -> None:
        """Take a list of what there is. Raises ValueError for an odd one."""
        listed = read_active_symbols(message)
        self.names = self._kinds.resolve(listed)
        self.listed = listed

    def missing(self) -> list[str]:
        """Return the configured symbols that the venue does not list."""
        names = self.names
        return [symbol for symbol in self._kinds.by_symbol if symbol not in names]

    def instruments(self, currency: str) -> list[Instrument]:
        """Return the rules of every symbol that is listed, for an account of a currency."""
        found = []
        names, listed = self.names, self.listed
        for symbol, kind in self._kinds.by_symbol.items():
            name = names.get(symbol)
            if name is None or name not in listed:
                continue
            offered = kind.multiplier in self._offered.get(name, {}).get(kind.kind, ())
            found.append(instrument_of(self._venue, kind, listed[name], currency, offered=offered))
        return found
