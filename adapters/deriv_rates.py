"""Deriv's budgets: which calls share one, in each dialect, and what may still be asked.

New API: https://developers.deriv.com/docs/limits . v3: `website_status.api_call_limits`. A ping is free.
"""

from collections.abc import Mapping
from typing import Final

from adapters.deriv_words import Dialect
from adapters.rate import Priority, RateGovernor
from engine.clock import Clock

Scopes = Mapping[str, tuple[int, float]]
MINUTE_S: Final = 60.0
HOUR_S: Final = 3600.0


def _rows(**rows: tuple[int, int]) -> Scopes:
    scopes: dict[str, tuple[int, float]] = {}
    for name, (minutely, hourly) in rows.items():
        scopes[f"{name}_minute"] = (minutely, MINUTE_S)
        scopes[f"{name}_hour"] = (hourly, HOUR_S)
    return scopes


SCOPES: Final[Mapping[Dialect, Scopes]] = {
    "new": _rows(
        trading=(360, 14_400), money=(100, 2_000), history=(30, 1_500), others=(220, 14_400)
    ),
    "v3": _rows(pricing=(80, 3_600), outcome=(25, 1_500), others=(180, 14_400)),
}
# The row of each call; a call that is not named is one of the others.
ROWS: Final[Mapping[Dialect, Mapping[str, str]]] = {
    "new": {
        "proposal": "trading", "proposal_open_contract": "trading", "buy": "trading",
        "sell": "trading", "balance": "money", "statement": "money", "portfolio": "history",
        "profit_table": "history",
    },
    "v3": {
        "proposal": "pricing", "proposal_open_contract": "pricing", "portfolio": "outcome",
        "statement": "outcome", "profit_table": "outcome",
    },
}  # fmt: skip


class Rates:
    """The budgets of one login, behind the names of its calls. Thread safe."""

    def __init__(self, dialect: Dialect, clock: Clock, share: float) -> None:
        self.governor = RateGovernor(SCOPES[dialect], clock, share)
        self._rows = ROWS[dialect]

    def acquire(self, method: str, priority: Priority, deadline_ns: int) -> bool:
        """Wait for the budget of a call until the deadline; False if it did not come."""
        return self.governor.acquire(priority, self._costs(method), deadline_ns)

    def spend(self, method: str) -> None:
        """Count a call that is not waited for, where the budget still has it."""
        self.governor.try_take(Priority.CANCEL, self._costs(method))

    def shortage(self, method: str) -> str:
        """Return in words why a call could not be made."""
        words = self.governor.shortage(self._costs(method))
        return f"not asked, for the venue's rate limit: {words}"

    def on_limited(self) -> None:
        """Obey a RateLimit: nothing leaves for a while."""
        self.governor.on_limited(0, banned=False)

    def _costs(self, method: str) -> Mapping[str, int]:
        row = self._rows.get(method, "others")
        return {f"{row}_minute": 1, f"{row}_hour": 1}
