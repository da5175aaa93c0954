"""The guard over deriv, derive and deribit: three venues, one letter or three apart, and nothing alike.

Data with its sources, and what in a configuration says that probably another one was meant. It warns and
refuses nothing: only the person knows.
"""

from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from engine.config_models import Settings, Venue


class Known(NamedTuple):
    """One of the confusable venues: what it is, where it lives, what its instruments are quoted in."""

    what: str
    domains: tuple[str, ...]
    quotes: frozenset[str]
    bases: frozenset[str]
    spelled: str  # how a configuration names it


FIAT: Final = frozenset(
    {"EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "SEK", "NOK", "MXN", "SGD", "ZAR", "PLN"}
)
COINS: Final = frozenset({"BTC", "ETH", "SOL", "XRP", "HYPE", "USDT", "USDC"})
# https://developers.deriv.com, https://docs.derive.xyz (once lyra.finance), https://docs.deribit.com
CONFUSABLE: Final[Mapping[str, Known]] = {
    "deriv": Known(
        "Deriv (deriv.com): a broker of contracts on currencies and synthetic indices, no order book",
        ("deriv.com", "derivws.com", "binaryws.com"),
        frozenset({"USD", "JPY"}),
        FIAT,
        "`adapter: deriv`",
    ),
    "derive": Known(
        "Derive (derive.xyz, once Lyra): a crypto exchange of options, perpetuals and spot in USDC",
        ("derive.xyz", "lyra.finance"),
        frozenset({"USDC"}),
        COINS,
        "`adapter: ccxt` with `ccxt_id: derive`",
    ),
    "deribit": Known(
        "Deribit (deribit.com): a crypto exchange of options and futures, spot in USDC and USDT",
        ("deribit.com",),
        frozenset({"USDC", "USDT", "BTC"}),
        COINS,
        "`adapter: ccxt` with `ccxt_id: deribit`",
    ),
}


def warnings(settings: Settings) -> list[str]:
    """Return a sentence for each venue that probably means another one: which, and why."""
    return [
        f"venues.{name}: {reason}"
        for name, venue in settings.venues.items()
        if venue.protocol in CONFUSABLE or name in CONFUSABLE
        for reason in _doubts(name, venue)
    ]


def unknown_adapter(name: str) -> str:
    """Return what to write instead for a confusable name that is no adapter; empty for any other."""
    known = CONFUSABLE.get(name)
    others = ", ".join(n for n in CONFUSABLE if n != name)
    return "" if known is None else f"{known.what}: {known.spelled}; not to be taken for {others}"


def _doubts(name: str, venue: Venue) -> Iterator[str]:
    spoken = venue.protocol
    known = CONFUSABLE.get(spoken)
    if name in CONFUSABLE and name != spoken:
        yield f"is called {name} and speaks to {spoken}; {_which(name)}"
    if known is None:
        return
    if spoken == "deriv" and venue.ccxt_id:
        yield f"ccxt has no deriv, but derive and deribit; {_which('deriv')}, {known.spelled}"
    for host in _hosts(venue):
        for other, it in CONFUSABLE.items():
            if other != spoken and any(host == d or host.endswith(f".{d}") for d in it.domains):
                yield f"speaks to {spoken}, but its url {host} is {other}'s; {_which(other)}"
    odd = [s for s in venue.symbols if not _fits(s, known)]
    for other, it in CONFUSABLE.items():
        meant = [symbol for symbol in odd if _fits(symbol, it)]
        if other != spoken and meant:
            named = ", ".join(meant[:3])
            yield f"{named}: not traded at {spoken}; probably {_which(other)}, {it.spelled}"


def _fits(symbol: str, known: Known) -> bool:
    base, _, quote = symbol.partition("/")
    return base in known.bases and quote in known.quotes


def _hosts(venue: Venue) -> list[str]:
    return [str(urlsplit(url).hostname) for url in venue.urls.given().values()]


def _which(name: str) -> str:
    return f"{name} is {CONFUSABLE[name].what}"
