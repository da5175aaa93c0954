"""Balances with reservation, and the proof that nothing is made or lost.

All amounts are integer units. An internal account (the order flow) has no balance of its own to
run out of: it may go below zero, so that the market never dries up, but it is counted.
"""

from simulator.orders import Refused

FEE_ACCOUNT = "fee"


class Ledger:
    """Free and locked amounts by (account, asset)."""

    def __init__(self) -> None:
        self._free: dict[tuple[str, str], int] = {}
        self._locked: dict[tuple[str, str], int] = {}
        self._funded: dict[str, int] = {}
        self._internal: set[str] = {FEE_ACCOUNT}
        self.dirty: dict[tuple[str, str], int] = {}  # change of the total since last drained

    def mark_internal(self, account: str) -> None:
        """Let this account go below zero and stay out of the log."""
        self._internal.add(account)

    def is_internal(self, account: str) -> bool:
        """Tell whether the account is the venue's own."""
        return account in self._internal

    def fund(self, account: str, asset: str, units: int) -> None:
        """Bring money in from outside (negative: take it out)."""
        if self.free(account, asset) + units < 0:
            raise Refused("insufficient_balance", f"{account} {asset}")
        self._funded[asset] = self._funded.get(asset, 0) + units
        self._add(account, asset, units)

    def restore(self, account: str, asset: str, free: int, locked: int) -> None:
        """Set a balance from the log, at start only."""
        assert free >= 0, f"{account} {asset} restored below zero"
        assert locked >= 0, f"{account} {asset} restored with negative lock"
        key = account, asset
        before = self._free.get(key, 0) + self._locked.get(key, 0)
        self._funded[asset] = self._funded.get(asset, 0) + free + locked - before
        self._free[key], self._locked[key] = free, locked

    def free(self, account: str, asset: str) -> int:
        """Return what can be spent."""
        return self._free.get((account, asset), 0)

    def locked(self, account: str, asset: str) -> int:
        """Return what open orders hold."""
        return self._locked.get((account, asset), 0)

    def assets(self, account: str) -> list[str]:
        """Return the assets this account ever held, sorted."""
        return sorted(asset for owner, asset in self._free if owner == account)

    def lock(self, account: str, asset: str, units: int) -> None:
        """Reserve for an order, or refuse."""
        assert units >= 0
        if account in self._internal:
            return
        key = account, asset
        if self._free.get(key, 0) < units:
            raise Refused("insufficient_balance", f"{account} {asset}")
        self._free[key] -= units
        self._locked[key] = self._locked.get(key, 0) + units
        self.dirty.setdefault(key, 0)

    def unlock(self, account: str, asset: str, units: int) -> None:
        """Give a reservation back."""
        assert units >= 0
        if account in self._internal or units == 0:
            return
        key = account, asset
        self._locked[key] -= units
        assert self._locked[key] >= 0, f"{account} {asset} unlocked more than locked"
        self._free[key] = self._free.get(key, 0) + units
        self.dirty.setdefault(key, 0)

    def pay_locked(self, account: str, asset: str, units: int) -> None:
        """Take units out of the reservation for good."""
        if account in self._internal:
            self._add(account, asset, -units)
            return
        key = account, asset
        self._locked[key] -= units
        assert self._locked[key] >= 0, f"{account} {asset} paid more than locked"
        self.dirty[key] = self.dirty.get(key, 0) - units

    def receive(self, account: str, asset: str, units: int, fee: int) -> None:
        """Credit an amount less its fee; the venue keeps the fee."""
        assert 0 <= fee <= units
        self._add(account, asset, units - fee)
        if fee:
            self._add(FEE_ACCOUNT, asset, fee)

    def take_fee(self, asset: str, units: int) -> None:
        """Keep a fee that was paid out of a reservation."""
        assert units >= 0
        if units:
            self._add(FEE_ACCOUNT, asset, units)

    def assert_conserved(self) -> None:
        """The sum of all accounts is what came in, for every asset."""
        totals: dict[str, int] = {}
        for (_, asset), units in self._free.items():
            totals[asset] = totals.get(asset, 0) + units
        for (_, asset), units in self._locked.items():
            totals[asset] = totals.get(asset, 0) + units
        for asset, total in totals.items():
            assert total == self._funded.get(asset, 0), f"{asset} not conserved"

    def drain(self) -> list[tuple[str, str, int]]:
        """Return (account, asset, change of total) of client balances touched, and forget."""
        out = [
            (account, asset, delta)
            for (account, asset), delta in self.dirty.items()
            if account not in self._internal
        ]
        self.dirty.clear()
        return out

    def _add(self, account: str, asset: str, units: int) -> None:
        key = account, asset
        self._free[key] = self._free.get(key, 0) + units
        assert self._free[key] >= 0 or account in self._internal, f"{account} {asset} below zero"
        self.dirty[key] = self.dirty.get(key, 0) + units
