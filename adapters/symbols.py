"""Which spelling means which instrument, at each venue: data with its source, no string surgery.

A symbol of ours is BASE/QUOTE in our names of the assets. A venue's spelling is joined from the
venue's own names of the assets, which differ from ours where the tables say so. What a venue really
lists is read from its own listing (`Listing`), where base and quote are named: `table_of` makes the
one-to-one table of it and reports what is not one to one, instead of choosing.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

# The venue's name of an asset -> ours.
ASSETS: Final[Mapping[str, Mapping[str, str]]] = {
    # https://support.kraken.com/articles/360001185506 (asset codes) and the AssetPairs endpoint:
    # bitcoin is XBT, dogecoin XDG; old assets have an X, old currencies a Z in front. The streams
    # of API v2 say BTC and DOGE (https://docs.kraken.com/api/docs/guides/spot-ws-intro).
    "kraken": {
        "XBT": "BTC", "XXBT": "BTC", "XDG": "DOGE", "XXDG": "DOGE", "XETH": "ETH", "XETC": "ETC",
        "XICN": "ICN", "XLTC": "LTC", "XMLN": "MLN", "XNMC": "NMC", "XREP": "REP", "XXLM": "XLM",
        "XXMR": "XMR", "XXRP": "XRP", "XXVN": "XVN", "XZEC": "ZEC", "XDAO": "DAO", "ZAUD": "AUD",
        "ZCAD": "CAD", "ZEUR": "EUR", "ZGBP": "GBP", "ZJPY": "JPY", "ZKRW": "KRW", "ZUSD": "USD",
    },
}  # fmt: skip
# Names of one asset that mean the same wherever they stand, beside the tables above: bitcoin's code after
# ISO 4217, where X marks what no country issues (BitMEX, Deribit's index, KuCoin's futures); and the
# chain that split from Bitcoin Cash (https://github.com/ccxt/ccxt, `commonCurrencies` of every class).
EVERYWHERE: Final[Mapping[str, str]] = {"XBT": "BTC", "XDG": "DOGE", "BCHSV": "BSV"}
# Instruments whose price is for many at once, because one costs too little: the venue's name of the
# base -> ours, and how many. From the listings of perpetuals at Binance
# (https://fapi.binance.com/fapi/v1/exchangeInfo) and Bybit (https://api.bybit.com/v5/market/
# instruments-info?category=linear). A name that begins with digits and is not here is a name: 1INCH.
MULTIPLIED: Final[Mapping[str, tuple[str, int]]] = {
    **{f"1000{name}": (name, 1000) for name in (
        "BONK", "BTT", "CAT", "CATS", "CHEEMS", "FLOKI", "LUNC", "MUMU", "NEIROCTO", "PEPE",
        "RATS", "SATS", "SHIB", "TAG", "TOSHI", "TURBO", "WHY", "X", "XEC",
    )},
    **{f"10000{name}": (name, 10_000) for name in ("COQ", "ELON", "LADYS", "QUBIC", "SATS",
                                                   "WEN", "WHY")},
    **{f"1000000{name}": (name, 1_000_000) for name in ("BABYDOGE", "BOB", "CHEEMS", "MOG",
                                                        "PEIPEI")},
    "1MBABYDOGE": ("BABYDOGE", 1_000_000),
    "1MCHEEMS": ("CHEEMS", 1_000_000),
    "SHIB1000": ("SHIB", 1000),
}  # fmt: skip
# What a quote is, for who compares prices: the same class is not the same asset. Dollars issued by
# a state, dollars promised by a company (https://www.circle.com/usdc, https://tether.to, and each issuer's
# page), other states' money, and coins.
QUOTE_CLASSES: Final[Mapping[str, frozenset[str]]] = {
    "dollar": frozenset({"USD"}),
    "dollar token": frozenset({"USDT", "USDC", "FDUSD", "TUSD", "DAI", "PYUSD", "USDE", "USDD",
                               "BUSD", "USDG", "RLUSD", "USD1"}),
    "fiat": frozenset({"EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "TRY", "BRL", "MXN", "ARS",
                       "ZAR", "PLN", "UAH", "AED", "SGD", "KRW", "IDR", "CZK", "RON", "COP"}),
    "fiat token": frozenset({"EURC", "EURI", "EURT", "AEUR", "EURQ", "EURR", "XAUT", "PAXG"}),
}  # fmt: skip
# Our name of an asset -> the venue's, where its spellings of symbols kept an older name.
SPELLED: Final[Mapping[str, Mapping[str, str]]] = {
    # GET /api/v1/symbols: `symbol` BCHSV-USDT has `name` BSV-USDT and `baseCurrency` BSV.
    "kucoin": {"BSV": "BCHSV", "OXEN": "LOKI", "REV": "R", "WAXP": "WAX", "LYXe": "LYXE"},
}
# How a venue joins base and quote. https://www.kucoin.com/docs-new, https://bybit-exchange.github.io
# /docs/v5, https://docs.kraken.com/api/docs/websocket-v2/book, https://docs.cdp.coinbase.com
JOINED: Final[Mapping[str, str]] = {
    "kucoin": "{base}-{quote}",
    "bybit": "{base}{quote}",
    "kraken": "{base}/{quote}",
    "coinbase": "{base}-{quote}",
}
# Market data of a quote that shares its book with another arrives under that one's name:
# BTC-USDC as BTC-USD (https://docs.cdp.coinbase.com/advanced-trade/docs/ws-overview).
SHARED_QUOTES: Final[Mapping[str, Mapping[str, str]]] = {"coinbase": {"USDC": "USD"}}


class Listing(NamedTuple):
    """One instrument as a venue lists it: every spelling that the venue itself has for it."""

    venue_symbol: str
    base: str  # the venue's names of the assets
    quote: str
    spellings: tuple[str, ...] = ()


class Table(NamedTuple):
    """Spellings one to one. `conflicts` are sentences about what could not be: it is in no table."""

    venue_symbols: Mapping[str, str]  # ours -> the venue's
    symbols: Mapping[str, str]  # any spelling of the venue's -> ours
    conflicts: tuple[str, ...]


def asset(venue: str, name: str) -> str:
    """Return our name of a venue's asset."""
    return ASSETS.get(venue, {}).get(name) or EVERYWHERE.get(name, name)


def identity(base: str) -> tuple[str, int]:
    """Return which asset an instrument is about, and how many of it its price is for: 1000BONK."""
    return MULTIPLIED.get(base, (base, 1))


def quote_class(quote: str) -> str:
    """Return what kind of money a quote is; `coin` where it is none."""
    return next((name for name, quotes in QUOTE_CLASSES.items() if quote in quotes), "coin")


def venue_symbol(venue: str, symbol: str) -> str:
    """Return the venue's spelling of BASE/QUOTE: BTC/USDT -> BTC-USDT, BSV/USDT -> BCHSV-USDT."""
    base, _, quote = symbol.partition("/")
    names = SPELLED.get(venue, {})
    return JOINED[venue].format(base=names.get(base, base), quote=names.get(quote, quote))


def shared_spelling(venue: str, symbol: str) -> str | None:
    """Return the spelling under which a symbol's market data may arrive instead of its own."""
    base, _, quote = symbol.partition("/")
    shared = SHARED_QUOTES.get(venue, {}).get(quote)
    return None if shared is None else venue_symbol(venue, f"{base}/{shared}")


def table_of(venue: str, listings: Iterable[Listing]) -> Table:
    """Return the table of a venue's own listing."""
    by_ours: dict[str, list[Listing]] = {}
    for listing in listings:
        ours = f"{asset(venue, listing.base)}/{asset(venue, listing.quote)}"
        by_ours.setdefault(ours, []).append(listing)
    conflicts = [
        f"{venue}: {ours} is listed as {' and '.join(sorted(one.venue_symbol for one in several))}"
        for ours, several in by_ours.items()
        if len({one.venue_symbol for one in several}) > 1
    ]
    single = {ours: several[0] for ours, several in by_ours.items() if len(several) == 1}
    meanings: dict[str, set[str]] = {}
    for ours, listing in single.items():
        for spelling in (listing.venue_symbol, *listing.spellings):
            meanings.setdefault(spelling, set()).add(ours)
    for spelling, symbols in meanings.items():
        if len(symbols) > 1:
            conflicts.append(f"{venue}: {spelling} means {' and '.join(sorted(symbols))}")
    ambiguous = {s for symbols in meanings.values() if len(symbols) > 1 for s in symbols}
    return Table(
        {ours: one.venue_symbol for ours, one in single.items() if ours not in ambiguous},
        {
            spelling: next(iter(symbols))
            for spelling, symbols in meanings.items()
            if not symbols & ambiguous
        },
        tuple(sorted(conflicts)),
    )
