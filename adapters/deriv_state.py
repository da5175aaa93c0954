"""What a session knows of the account's contracts: which are open, and which orders are on their way.

Open contracts come from the portfolio and are kept by answers and pushes; what was sold is remembered,
so that an older word cannot bring it back. Nothing here is durable: the portfolio tells it anew.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Lock
from typing import Final

from adapters.deriv_answers import Contract, Deal
from engine.clock import Clock
from engine.messages.base import Side

SOLD_MAX: Final = 20_000
HELD_MAX: Final = 1_000


class OpenContracts:
    """The open contracts of the configured symbols, oldest first. Thread safe."""

    def __init__(self, clock: Clock, symbol_of: Callable[[Contract | Deal], str | None]) -> None:
        self._clock = clock
        self._symbol_of = symbol_of
        self._lock = Lock()
        self._open: dict[int, Contract] = {}
        self._noted_ns: dict[int, int] = {}
        self._reserved: set[int] = set()
        self._symbols: OrderedDict[int, str] = OrderedDict()
        self._sold: OrderedDict[int, None] = OrderedDict()

    def replace(self, contracts: Sequence[Contract], asked_mono_ns: int) -> None:
        """Take a portfolio that was asked for at a time; what was bought since stays."""
        with self._lock:
            told = {contract.contract_id for contract in contracts}
            for gone in [i for i, at in self._noted_ns.items() if at < asked_mono_ns]:
                if gone not in told:  # not remembered as sold: the portfolio may lag behind a buy
                    self._open.pop(gone, None)
                    self._noted_ns.pop(gone, None)
            for contract in contracts:
                self._note(contract)

    def note(self, contract: Contract) -> str | None:
        """Take a contract's newest state; return its symbol, None if it is none of ours."""
        with self._lock:
            return self._note(contract)

    def _note(self, contract: Contract) -> str | None:
        number, symbol = contract.contract_id, self._symbol_of(contract)
        if symbol is None:
            return None
        self._symbols[number] = symbol
        while len(self._symbols) > SOLD_MAX:
            self._symbols.popitem(last=False)
        if contract.is_sold:
            self._forget(number)
        elif number not in self._sold:
            before = self._open.get(number)
            if before is not None and contract.bid_price is None:
                contract = contract._replace(
                    bid_price=before.bid_price, profit=before.profit, commission=before.commission
                )
            self._open[number] = contract
            self._noted_ns.setdefault(number, self._clock.mono_ns())
        return symbol

    def sold(self, contract_id: int) -> None:
        """Take out what was sold, for good."""
        with self._lock:
            self._forget(contract_id)

    def _forget(self, number: int) -> None:
        self._open.pop(number, None)
        self._noted_ns.pop(number, None)
        self._sold[number] = None
        while len(self._sold) > SOLD_MAX:
            self._sold.popitem(last=False)

    def symbol(self, contract_id: int) -> str | None:
        """Return the symbol of a contract that was seen; None if it was not."""
        with self._lock:
            return self._symbols.get(contract_id)

    def all(self) -> list[Contract]:
        """Return the open contracts, oldest first."""
        with self._lock:
            return sorted(self._open.values(), key=_age)

    def oldest(self, symbol: str) -> Contract | None:
        """Return the open contract that the next sell would close, reserved or not."""
        mine = [c for c in self.all() if self._symbol_of(c) == symbol]
        return mine[0] if mine else None

    @contextmanager
    def reserve_oldest(self, symbol: str) -> Iterator[Contract | None]:
        """Hold the oldest open contract that nobody else is selling; None if there is none."""
        with self._lock:
            mine = [
                c
                for c in self._open.values()
                if self._symbol_of(c) == symbol and c.contract_id not in self._reserved
            ]
            chosen = min(mine, key=_age, default=None)
            if chosen is not None:
                self._reserved.add(chosen.contract_id)
        try:
            yield chosen
        finally:
            if chosen is not None:
                with self._lock:
                    self._reserved.discard(chosen.contract_id)


class Flights:
    """Buys and sells on their way, and the deals that may be theirs. Thread safe.

    While an order of a symbol and side is not answered, a deal of them that nobody's name is on is held:
    it is most likely that order's, whose answer will say so.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._orders: set[str] = set()
        self._ways: Counter[tuple[str, Side]] = Counter()
        self._held: dict[str, tuple[Deal, str]] = {}

    @contextmanager
    def flying(
        self, client_order_id: str, symbol: str, side: Side, release: Callable[[Deal, str], None]
    ) -> Iterator[None]:
        """Be on the way; afterwards `release` is given each deal that was held, with its symbol."""
        with self._lock:
            self._orders.add(client_order_id)
            self._ways[symbol, side] += 1
        try:
            yield
        finally:
            with self._lock:
                self._orders.discard(client_order_id)
                self._ways[symbol, side] -= 1
                freed = []
                if not self._ways[symbol, side]:
                    freed = [h for h in self._held.values() if (h[1], h[0].side) == (symbol, side)]
                for deal, _ in freed:
                    del self._held[deal.transaction_id]
            for deal, of in freed:
                release(deal, of)

    def is_flying(self, client_order_id: str) -> bool:
        """Tell whether an order's answer is still awaited."""
        with self._lock:
            return client_order_id in self._orders

    def holds(self, deal: Deal, symbol: str) -> bool:
        """Hold a nameless deal that may be that of an order on its way; False if there is none."""
        with self._lock:
            if not self._ways[symbol, deal.side]:
                return False
            if len(self._held) < HELD_MAX:
                self._held[deal.transaction_id] = (deal, symbol)
            return True


def _age(contract: Contract) -> tuple[int, int]:
    return contract.buy_time_s, contract.contract_id
