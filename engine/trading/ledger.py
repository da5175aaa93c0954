"""The ledger: every balance and position as the exact sum of journaled flows.

    balance(account, asset) == opening + fills (base, quote, fee in any asset) + accepted differences

Nothing else moves a balance, and no reported number is ever copied in: a difference to the venue is
itemised (see reconcile.py) and stands until it vanishes or a person accepts it. Until then the
account is restricted to reducing its positions.

An opening balance belongs to the symbol ASSET/COST_ASSET, or, where its cost is not known, to
ASSET/REPORT_CURRENCY. What cannot be valued is reported as not valued, never guessed.
"""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Final

from engine.errors import MessageError
from engine.messages.base import State, decode_state, encode_state
from engine.messages.events import (
    AccountOpened,
    BalanceDifferenceAccepted,
    BalanceDifferenceCleared,
    BalanceDifferenceFound,
    OpeningBalance,
    OrderFilled,
)
from engine.trading.money import ZERO, exact, minus, plus, split_symbol
from engine.trading.position import Position

FILL_KEYS_MAX: Final = 4096

Price = Callable[[str], Decimal | None]
"""One unit of an asset in the report currency; None when it cannot be valued now."""
Mark = Callable[[str], tuple[Decimal, int] | None]
"""The mark of a symbol in its quote and the mark's age in ns; None when there is none."""


class Difference(State):
    """A standing difference: what the ledger expected, what the venue reported, since when."""

    expected: Decimal
    reported: Decimal
    ts_ns: int

    @property
    @exact
    def quantity(self) -> Decimal:
        """What would have to be added to the ledger."""
        return self.reported - self.expected


class AccountLedger(State):
    """One account's money."""

    account: str
    balances: dict[str, Decimal] = {}  # noqa: RUF012  msgspec copies the empty default
    openings: dict[str, Decimal] = {}  # noqa: RUF012
    adjustments: dict[str, Decimal] = {}  # noqa: RUF012
    positions: dict[str, Position] = {}  # noqa: RUF012
    differences: dict[str, Difference] = {}  # noqa: RUF012
    is_opened: bool = False


class LedgerState(State):
    """The snapshot of a ledger."""

    report_currency: str
    accounts: dict[str, AccountLedger]
    fill_keys: list[str]


class Ledger:
    """All accounts. `apply` is the only thing that changes it; other events are ignored."""

    def __init__(self, report_currency: str = "USDT") -> None:
        self.report_currency = report_currency
        self._accounts: dict[str, AccountLedger] = {}
        self._fill_keys: dict[str, None] = {}  # the newest, against a repeated delivery

    @exact
    def apply(self, event: Any) -> bool:
        """Fold one event; False if it is a duplicate or moves no money here."""
        take = self._TAKE.get(type(event))
        return take is not None and take(self, event)

    def accounts(self) -> list[str]:
        """Return the names of all accounts, sorted."""
        return sorted(self._accounts)

    def is_opened(self, account: str) -> bool:
        """Tell whether the account's opening balances are complete."""
        return account in self._accounts and self._accounts[account].is_opened

    def balance(self, account: str, asset: str) -> Decimal:
        """Return what the account must hold of the asset."""
        found = self._accounts.get(account)
        return ZERO if found is None else found.balances.get(asset, ZERO)

    def balances(self, account: str) -> dict[str, Decimal]:
        """Return all expected balances of an account, by asset."""
        found = self._accounts.get(account)
        return {} if found is None else dict(sorted(found.balances.items()))

    def net(self, asset: str, *, with_opening: bool = True, account: str | None = None) -> Decimal:
        """Return the holdings of an asset in one account or all, with or without opening ones."""
        total = ZERO
        chosen = self._accounts if account is None else (account,)
        for name in chosen:
            found = self._accounts.get(name)
            if found is None or asset not in found.balances:
                continue
            total = plus(total, found.balances[asset])
            if not with_opening and asset in found.openings:
                total = minus(total, found.openings[asset])
        return total

    def position(self, account: str, symbol: str) -> Position | None:
        """Return one position, or None if there never was one."""
        found = self._accounts.get(account)
        return None if found is None else found.positions.get(symbol)

    def positions(self) -> Iterator[Position]:
        """Yield all positions, by account and symbol."""
        for _, found in sorted(self._accounts.items()):
            for _, position in sorted(found.positions.items()):
                yield position

    def differences(self, account: str) -> dict[str, Difference]:
        """Return the standing differences of an account, by asset."""
        found = self._accounts.get(account)
        return {} if found is None else dict(sorted(found.differences.items()))

    def is_restricted(self, account: str) -> bool:
        """Tell whether any difference stands: the account may only reduce."""
        found = self._accounts.get(account)
        return found is not None and bool(found.differences)

    @exact
    def check_balances(
        self, account: str, reported: Mapping[str, Decimal]
    ) -> dict[str, tuple[Decimal, Decimal]]:
        """Return asset -> (expected, reported) where they differ; an asset left out counts as 0."""
        expected = self.balances(account)
        found: dict[str, tuple[Decimal, Decimal]] = {}
        for asset in sorted(expected.keys() | reported.keys()):
            pair = (expected.get(asset, ZERO), reported.get(asset, ZERO))
            if pair[0] != pair[1]:
                found[asset] = pair
        return found

    def to_state(self) -> LedgerState:
        """Return the snapshot."""
        return LedgerState(self.report_currency, self._accounts, list(self._fill_keys))

    @classmethod
    def from_state(cls, state: LedgerState) -> "Ledger":
        """Return the ledger of a snapshot."""
        ledger = cls(state.report_currency)
        ledger._accounts = state.accounts
        ledger._fill_keys = dict.fromkeys(state.fill_keys)
        return ledger

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of the ledger."""
        return encode_state(self.to_state())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Ledger":
        """Return the ledger that `to_bytes` wrote; MessageError if the bytes are not one."""
        return cls.from_state(decode_state(data, LedgerState))

    def _account(self, account: str) -> AccountLedger:
        found = self._accounts.get(account)
        if found is None:
            found = self._accounts[account] = AccountLedger(account)
        return found

    def _position(self, account: str, symbol: str) -> Position:
        return self._account(account).positions.setdefault(symbol, Position(account, symbol))

    def _add(self, account: str, asset: str, quantity: Decimal) -> None:
        _move(self._account(account).balances, asset, quantity)

    def _fill(self, event: OrderFilled) -> bool:
        key = event.unique_key()
        if key in self._fill_keys:
            return False
        base, quote = _split(event.symbol, key)
        self._fill_keys[key] = None
        if len(self._fill_keys) > FILL_KEYS_MAX:
            del self._fill_keys[next(iter(self._fill_keys))]
        account = self._account(event.account)
        notional = event.quantity * event.price
        if event.side == "BUY":
            _move(account.balances, base, event.quantity)
            _move(account.balances, quote, -notional)
        else:
            _move(account.balances, base, -event.quantity)
            _move(account.balances, quote, notional)
        if event.fee:
            _move(account.balances, event.fee_asset, -event.fee)
        position = account.positions.get(event.symbol)
        if position is None:
            position = self._position(event.account, event.symbol)
        position.fill(event)
        return True

    def _open(self, event: OpeningBalance) -> bool:
        account = self._account(event.account)
        if event.asset in account.openings:
            return False
        account.openings[event.asset] = event.quantity
        self._add(event.account, event.asset, event.quantity)
        symbol = f"{event.asset}/{event.cost_asset or self.report_currency}"
        if event.asset not in {self.report_currency, event.cost_asset}:
            self._position(event.account, symbol).open_with(event)
        return True

    def _opened(self, event: AccountOpened) -> bool:
        account = self._account(event.account)
        changed = not account.is_opened
        account.is_opened = True
        return changed

    def _found(self, event: BalanceDifferenceFound) -> bool:
        difference = Difference(event.expected, event.reported, event.ts_ns)
        self._account(event.account).differences[event.asset] = difference
        return True

    def _cleared(self, event: BalanceDifferenceCleared) -> bool:
        return self._account(event.account).differences.pop(event.asset, None) is not None

    def _accepted(self, event: BalanceDifferenceAccepted) -> bool:
        account = self._account(event.account)
        if account.differences.pop(event.asset, None) is None:
            return False
        account.adjustments[event.asset] = (
            account.adjustments.get(event.asset, ZERO) + event.quantity
        )
        self._add(event.account, event.asset, event.quantity)
        if event.asset != self.report_currency:
            symbol = f"{event.asset}/{self.report_currency}"
            self._position(event.account, symbol).adjust(event.quantity)
        return True

    _TAKE: ClassVar[dict[type, Callable[["Ledger", Any], bool]]] = {
        OrderFilled: _fill,
        OpeningBalance: _open,
        AccountOpened: _opened,
        BalanceDifferenceFound: _found,
        BalanceDifferenceCleared: _cleared,
        BalanceDifferenceAccepted: _accepted,
    }


MOVES_MONEY: Final = frozenset(Ledger._TAKE)  # noqa: SLF001  what `apply` does not ignore


def _move(balances: dict[str, Decimal], asset: str, quantity: Decimal) -> None:
    balances[asset] = balances.get(asset, ZERO) + quantity


def _split(symbol: str, key: str) -> tuple[str, str]:
    try:
        return split_symbol(symbol)
    except ValueError as error:
        raise MessageError(f"{key}: {error}") from error
