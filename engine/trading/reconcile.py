"""Comparing the ledger with what a venue reports: opening balances, and differences afterwards.

A difference counts after two quiet samples in a row that show the same amount. Quiet means that
nothing of the account was in flight while the venue answered. Nothing here changes the ledger: the
functions return events, and the ledger folds them.
"""

from collections.abc import Mapping
from decimal import Decimal

from engine.messages.base import replaced
from engine.messages.commands import AccountSnapshot
from engine.messages.events import (
    AccountOpened,
    BalanceDifferenceAccepted,
    BalanceDifferenceCleared,
    BalanceDifferenceFound,
    OpeningBalance,
)
from engine.trading.ledger import Ledger, Price
from engine.trading.money import ZERO, exact, for_message


@exact
def totals(snapshot: AccountSnapshot) -> dict[str, Decimal]:
    """Return free + locked per asset."""
    return {asset: free + locked for asset, free, locked in snapshot.balances}


@exact
def opening_events(
    account: str, reported: Mapping[str, Decimal], price: Price, report_currency: str, ts_ns: int
) -> list[OpeningBalance | AccountOpened]:
    """Return the events of the first contact with an account, marked where `price` knows a price."""
    events: list[OpeningBalance | AccountOpened] = []
    for asset, quantity in sorted(reported.items()):
        if quantity == 0:
            continue
        mark = Decimal(1) if asset == report_currency else price(asset)
        events.append(
            OpeningBalance(
                account=account,
                asset=asset,
                quantity=quantity,
                cost=None if mark is None else for_message(quantity * mark),
                cost_asset=None if mark is None else report_currency,
                basis="unknown" if mark is None else "marked",
                ts_ns=ts_ns,
            )
        )
    return [*events, AccountOpened(account, ts_ns)]


@exact
def with_given_cost(
    event: OpeningBalance | AccountOpened, costs: Mapping[str, Decimal], currency: str
) -> OpeningBalance | AccountOpened:
    """Return the event with the cost that the owner gave for one unit, in `currency`, if there is one."""
    if isinstance(event, AccountOpened) or event.asset not in costs:
        return event
    cost = for_message(event.quantity * costs[event.asset])
    return replaced(event, cost=cost, cost_asset=currency, basis="given")


def accept(
    ledger: Ledger, account: str, asset: str, who: str, reason: str, ts_ns: int
) -> BalanceDifferenceAccepted | None:
    """Return the event that accepts a standing difference, or None if there is none."""
    difference = ledger.differences(account).get(asset)
    if difference is None:
        return None
    return BalanceDifferenceAccepted(
        account, asset, for_message(difference.quantity), who, reason, ts_ns
    )


class DifferenceTracker:
    """Turns samples into events. It remembers only the last sample, which a restart may lose."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._seen: dict[str, dict[str, Decimal]] = {}
        self._taken: dict[str, int] = {}
        self.since_mono_ns = 0

    def is_newer(self, snapshot: AccountSnapshot, now_mono_ns: int) -> bool:
        """Note a sample; False if it was asked for before the last one was taken, or before we began.

        Two questions that overlap may both miss a fill that their balances show, and would seem to
        agree. After a restart the ledger knows fills that samples waiting in the mailbox cannot show.
        """
        newer = snapshot.asked_mono_ns > self._taken.get(snapshot.account, self.since_mono_ns)
        if newer:
            self._taken[snapshot.account] = now_mono_ns
        return newer

    @exact
    def opening(
        self, account: str, reported: Mapping[str, Decimal], *, quiet: bool
    ) -> dict[str, Decimal] | None:
        """Return what an unopened account held before the fills that count, once two looks agree."""
        if not quiet:
            self._seen.pop(account, None)
            return None
        counted = self._ledger.balances(account)
        assets = sorted(reported.keys() | counted.keys())
        held = {a: reported.get(a, ZERO) - counted.get(a, ZERO) for a in assets}
        if self._seen.pop(account, None) == held:
            return held
        self._seen[account] = held
        return None

    @exact
    def sample(
        self, account: str, reported: Mapping[str, Decimal], *, quiet: bool, ts_ns: int
    ) -> list[BalanceDifferenceFound | BalanceDifferenceCleared]:
        """Take one sample; return what it proves. Nothing before the account is opened."""
        if not quiet or not self._ledger.is_opened(account):
            self._seen.pop(account, None)
            return []
        differing = self._ledger.check_balances(account, reported)
        now = {asset: found - expected for asset, (expected, found) in differing.items()}
        before = self._seen.get(account, {})
        self._seen[account] = now
        standing = self._ledger.differences(account)
        events: list[BalanceDifferenceFound | BalanceDifferenceCleared] = [
            BalanceDifferenceCleared(account, asset, ts_ns)
            for asset in standing
            if now.get(asset, ZERO) == 0
        ]
        for asset, quantity in now.items():
            known = asset in standing and standing[asset].quantity == for_message(quantity)
            if before.get(asset) == quantity and not known:
                expected, found = (for_message(value) for value in differing[asset])
                events.append(BalanceDifferenceFound(account, asset, expected, found, ts_ns))
        return events
