"""Which adapters have passed the conformance suite, and with what score.

A score is what was measured against the simulated venue, passed of applied; tests/conformance holds
this table to it. It says nothing of the real venue: docs/conformance.md says what it does not prove.
"""

from collections.abc import Mapping
from typing import Final

CERTIFIED: Final[Mapping[str, str]] = {
    "binance": "16/16",
    "coinbase": "16/16",
    "kraken": "16/16",
    "kucoin": "16/16",
    "okx": "16/16",
    "bybit": "16/16",
}


def is_certified(adapter: str) -> bool:
    """Tell whether the adapter passed every examination that applies to it."""
    passed, _, applied = CERTIFIED.get(adapter, "0/1").partition("/")
    return passed == applied
