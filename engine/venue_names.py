"""The adapters that a configuration may name, each with the domains of the venue behind it. A line each.

The engine knows no venue; this is the one place where it knows their names, so that a configuration is
checked before anything of an adapter is loaded, and so that demo mode never talks to a real venue. A
test holds this table to the adapters' own (`adapters/registry.py`).
"""

from collections.abc import Mapping
from typing import Final

DOMAINS: Final[Mapping[str, tuple[str, ...]]] = {
    "binance": ("binance.com", "binance.us", "binance.vision"),
    "bybit": ("bybit.com", "bybit.nl", "bybit.eu", "bytick.com"),
    "coinbase": ("coinbase.com",),
    "kraken": ("kraken.com",),
    "kucoin": ("kucoin.com", "kucoin.plus"),
    "okx": ("okx.com", "okx.cab", "okex.com"),
    "deriv": ("deriv.com", "derivws.com", "binaryws.com"),
}
ADAPTERS: Final = tuple(DOMAINS)
# Where each venue's testnet is. A host that serves both is told apart by a header and by its keys.
TESTNETS: Final[Mapping[str, tuple[str, ...]]] = {
    "binance": (
        "testnet.binance.vision",
        "stream.testnet.binance.vision",
        "ws-api.testnet.binance.vision",
    ),
    "okx": ("www.okx.com", "wspap.okx.com"),
}
SHARED_HOSTS: Final = ("www.okx.com",)


def is_real(host: str) -> bool:
    """Tell whether a host belongs to one of the venues themselves."""
    domains = [domain for known in DOMAINS.values() for domain in known]
    return any(host == domain or host.endswith("." + domain) for domain in domains)
