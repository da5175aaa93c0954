"""Deriv's contracts as instruments, and whose deals are whose. Pure but for one lock.

A symbol is one kind of contract: `cryBTCUSD.MULTUP.100/USD` is the multiplier contract on cryBTCUSD that
gains when it rises, 100 times. Its unit is one contract, its price is what one contract costs or brings
in the account's currency: the stake at the buy, what it was sold for at the sell. So every amount is the
venue's own, nothing is divided or rounded, and contracts of both directions stand beside each other as
they do at the venue. A symbol without a contract (`BTC/USD`) is an underlying: watched, not traded.
"""

import re
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from threading import Lock
from typing import Final, NamedTuple

from adapters.deriv_answers import MULTIPLIERS, Contract, Deal, Underlying
from engine.errors import ConfigError
from engine.messages.base import Side
from engine.messages.port import FillReport, Instrument, OrderReport, Source, SymbolStatus

NS_PER_S: Final = 1_000_000_000
REMEMBERED_MAX: Final = 20_000
ONE: Final = Decimal(1)
DECIMALS_DEFAULT: Final = 8
# Decimals of an amount in each currency of an account (website_status, currencies_config).
DECIMALS: Final[Mapping[str, int]] = {
    "USD": 2, "EUR": 2, "GBP": 2, "AUD": 2, "UST": 2, "eUSDT": 2, "tUSDT": 2, "USDC": 2,
}  # fmt: skip
_CONTRACT: Final = re.compile(r"([A-Za-z0-9_]{1,20})\.([A-Z]{1,20})\.([0-9]{1,5})")


class Kind(NamedTuple):
    """What a symbol of ours means at Deriv. An underlying that is only watched has no `kind`."""

    symbol: str
    underlying: str
    kind: str
    multiplier: int

    @property
    def is_contract(self) -> bool:
        """Whether orders in it are possible."""
        return self.kind != ""


def kind_of(symbol: str) -> Kind:
    """Return what a configured symbol means; ConfigError if it cannot mean anything."""
    base, _, quote = symbol.partition("/")
    if "." not in base:
        return Kind(symbol, base + quote, "", 0)
    found = _CONTRACT.fullmatch(base)
    if found is None or found[2] not in MULTIPLIERS:
        raise ConfigError(
            f"{symbol}: a contract is written UNDERLYING.KIND.MULTIPLIER/CURRENCY, as in"
            f" cryBTCUSD.MULTUP.100/USD; kinds: {', '.join(MULTIPLIERS)}"
        )
    return Kind(symbol, found[1], found[2], int(found[3]))


class Kinds:
    """The configured symbols, by ours and by the venue's words."""

    def __init__(self, symbols: Iterable[str]) -> None:
        self.by_symbol = {symbol: kind_of(symbol) for symbol in symbols}
        self._by_words = {
            (kind.underlying.upper(), kind.kind, kind.multiplier): symbol
            for symbol, kind in self.by_symbol.items()
        }

    def symbol(self, underlying: str, kind: str, multiplier: int) -> str | None:
        """Return our symbol of a contract; None if it is none of the configured ones."""
        return self._by_words.get((underlying.upper(), kind, multiplier))

    def of(self, what: Deal | Contract) -> str | None:
        """Return our symbol of a deal or a contract, or None."""
        return self.symbol(what.underlying, what.kind, what.multiplier)

    # `BTC/USD` is `cryBTCUSD` there: the venue's own list says which prefix it has.
    def resolve(self, listed: Mapping[str, Underlying]) -> dict[str, str]:
        """Return the venue's name of the underlying of each symbol that it lists."""
        plain = {name.upper(): name for name in listed}
        bare = {name[3:].upper(): name for name in listed if name[:3] in ("cry", "frx")}
        found = {}
        for symbol, kind in self.by_symbol.items():
            wanted = kind.underlying.upper()
            name = plain.get(wanted) or (None if kind.is_contract else bare.get(wanted))
            if name is not None:
                found[symbol] = name
        return found


def instrument_of(
    venue: str, kind: Kind, underlying: Underlying, currency: str, *, offered: bool
) -> Instrument:
    """Return the trading rules of a symbol. One order is one contract; the venue names each price."""
    base, _, quote = kind.symbol.partition("/")
    step = ONE.scaleb(-DECIMALS.get(quote, DECIMALS_DEFAULT))
    status, reason = _status(kind, underlying, currency, offered=offered)
    return Instrument(
        venue=venue,
        symbol=kind.symbol,
        venue_symbol=underlying.name,
        base=base,
        quote=quote,
        tick_size=step if kind.is_contract else underlying.pip_size,
        lot_size=ONE,
        quantity_min=ONE,
        quantity_max=ONE,
        notional_min=Decimal(0),
        maker_fee=Decimal(0),
        taker_fee=Decimal(0),
        status=status,
        status_reason=reason,
        pricing="quoted",
    )


def _status(
    kind: Kind, underlying: Underlying, currency: str, *, offered: bool
) -> tuple[SymbolStatus, str]:
    if not kind.is_contract:
        return "WATCH_ONLY", "a price to watch; orders go to its contracts"
    if currency and kind.symbol.partition("/")[2] != currency:
        return "HALTED", f"the account is in {currency}"
    if not offered:
        return "HALTED", f"{kind.kind} with multiplier {kind.multiplier} is not offered"
    return ("TRADING", "") if underlying.is_open else ("CLOSED", "its market is closed")


def candidates(
    deals: Sequence[Deal], side: Side, price: Decimal, since_s: int, taken: Iterable[str]
) -> list[Deal]:
    """Return the deals that an order whose answer was lost may have made.

    A buy costs exactly its stake; a sell brings its price or more. `taken` are transactions that
    are known to be other orders'.
    """
    known = set(taken)
    return [
        deal
        for deal in deals
        if deal.side == side
        and deal.time_s >= since_s
        and deal.transaction_id not in known
        and (deal.amount == price if side == "BUY" else deal.amount >= price)
    ]


class Reports:
    """Deals as the port's reports, under the name of the order that made them where it is known."""

    def __init__(self, account: str, currency: Callable[[], str]) -> None:
        self._account = account
        self._currency = currency
        self._lock = Lock()
        self._names: OrderedDict[str, str] = OrderedDict()
        self._transactions: dict[str, str] = {}

    def name(self, transaction_id: str, client_order_id: str) -> None:
        """Remember which order made a transaction."""
        with self._lock:
            self._names[transaction_id] = client_order_id
            self._transactions[client_order_id] = transaction_id
            while len(self._names) > REMEMBERED_MAX:
                self._transactions.pop(self._names.popitem(last=False)[1], None)

    def name_of(self, transaction_id: str) -> str:
        """Return the order that made a transaction; empty if not known."""
        with self._lock:
            return self._names.get(transaction_id, "")

    def transaction_of(self, client_order_id: str) -> str | None:
        """Return the transaction that an order made, if it is known."""
        with self._lock:
            return self._transactions.get(client_order_id)

    def named(self, among: Iterable[str]) -> set[str]:
        """Return those transactions whose order is known."""
        with self._lock:
            return {transaction for transaction in among if transaction in self._names}

    def order(self, deal: Deal, symbol: str, price: Decimal, source: Source) -> OrderReport:
        """Return the order behind a deal: one contract, filled whole."""
        return OrderReport(
            account=self._account,
            client_order_id=self.name_of(deal.transaction_id),
            venue_order_id=deal.transaction_id,
            symbol=symbol,
            side=deal.side,
            order_type="LIMIT",
            quantity=ONE,
            price=price,
            status="FILLED",
            filled_quantity=ONE,
            reason="",
            source=source,
            ts_event_ns=deal.time_s * NS_PER_S,
        )

    def fill(self, deal: Deal, symbol: str, source: Source) -> FillReport:
        """Return the execution behind a deal. The commission is inside the price: no fee of its own."""
        return FillReport(
            account=self._account,
            client_order_id=self.name_of(deal.transaction_id),
            venue_order_id=deal.transaction_id,
            trade_id=str(deal.contract_id),
            symbol=symbol,
            side=deal.side,
            price=deal.amount,
            quantity=ONE,
            fee=Decimal(0),
            fee_asset=self._currency(),
            liquidity="TAKER",
            source=source,
            ts_event_ns=deal.time_s * NS_PER_S,
        )
