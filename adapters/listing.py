"""What a venue lists, by identity: which asset against which, how many at once, settled how, spelled how.

Read from the venue's own listing of instruments: with ccxt's class of it, that knows where a venue has which
field; the names are the venue's own (`baseId`), and become ours by the tables of adapters/symbols.py
alone, never by ccxt's. What is not one to one is told as a conflict instead of chosen.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from random import Random
from typing import Any, NamedTuple

from adapters.ccxt_generic import GenericClient
from adapters.desk import CallFailed, Desk
from adapters.gate import Gate
from adapters.generic import number
from adapters.generic_rest import GenericRest
from adapters.offset import ClockOffset
from adapters.rate import RateGovernor
from adapters.registry import VenueConfig, exchange_id
from adapters.symbols import asset, identity, quote_class
from engine.clock import Clock
from engine.errors import Unreachable


class Row(NamedTuple):
    """One instrument of a venue. `multiplier`: how many of the base one unit of its price is for."""

    symbol: str
    venue_symbol: str
    kind: str  # spot, linear or inverse
    base: str
    quote: str
    quote_class: str
    multiplier: str
    contract_size: str
    settle: str
    named: str  # the venue's own names of base and quote, where they are not ours
    is_active: bool


def read(config: VenueConfig, clock: Clock, stopping: Any) -> list[Row]:
    """Ask the venue for its listing and return it, in the order of the symbols. Blocks.

    Raises:
        Unreachable: the venue did not answer; the text says what it said.
    """
    codec = GenericRest(config.name, config.account, {}, exchange_id(config.adapter))
    offset, gate, rng = ClockOffset(clock), Gate(clock), Random(0)  # noqa: S311  jitter, not secrets
    gate.shut()
    desk = Desk(
        config.name, codec, governor=RateGovernor(codec.scopes, clock, 1.0), offset=offset,
        gate=gate, clock=clock, rng=rng, stopping=stopping, on_auth=lambda _: None,
        on_clock=lambda: None,
    )  # fmt: skip
    times, url = config.timeouts, config.urls.get("rest", "")
    client = GenericClient(
        codec, url, config.credentials, offset=offset, clock=clock,
        timeouts_s=(times.connect_s, times.read_s),
    )  # fmt: skip
    try:
        desk.sync_clock(client)
        markets = desk.read(client, codec.instruments())
    except (CallFailed, ValueError) as failed:
        raise Unreachable(f"{config.name} did not tell its instruments: {failed}") from None
    finally:
        client.close()
    return rows_of(codec.exchange_id, markets.values())


def rows_of(venue: str, markets: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows of ccxt's markets of a venue: spot and what has no expiry."""
    return sorted(_row(venue, m) for m in markets if m.get("spot") or m.get("swap"))


def conflicts_of(rows: Iterable[Row]) -> list[str]:
    """Return what is not one to one: an identity with several spellings, a spelling of several."""
    spelled: defaultdict[str, set[str]] = defaultdict(set)
    meant: defaultdict[tuple[bool, str], set[str]] = defaultdict(set)
    for row in rows:
        kind = row.kind if row.kind == "spot" else f"{row.kind} in {row.settle}"
        what = f"{row.symbol} ({kind}, {row.multiplier} at once)"
        spelled[what].add(row.venue_symbol)
        meant[row.kind == "spot", row.venue_symbol].add(what)
    several = [
        f"{what} is listed as {' and '.join(sorted(names))}"
        for what, names in spelled.items()
        if len(names) > 1
    ]
    return sorted(
        several
        + [
            f"{name} means {' and '.join(sorted(whats))}"
            for (_, name), whats in meant.items()
            if len(whats) > 1
        ]
    )


def matching(rows: Iterable[Row], words: str) -> list[Row]:
    """Return the rows that have the words in their symbol or in the venue's spelling of it."""
    wanted = words.upper()
    return [r for r in rows if wanted in r.symbol or wanted in r.venue_symbol.upper()]


def _row(venue: str, market: Mapping[str, Any]) -> Row:
    base_id, quote_id = str(market["baseId"]), str(market["quoteId"])
    base, multiplier = identity(asset(venue, base_id))
    quote = asset(venue, quote_id)
    kind = "spot" if market.get("spot") else "inverse" if market.get("inverse") else "linear"
    size = market.get("contractSize")
    return Row(
        symbol=f"{base}/{quote}",
        venue_symbol=str(market["id"]),
        kind=kind,
        base=base,
        quote=quote,
        quote_class=quote_class(quote),
        multiplier=str(multiplier),
        contract_size="" if size is None else _plain(size),
        settle=asset(venue, str(market.get("settleId") or "")),
        named="" if (base, quote) == (base_id, quote_id) else f"{base_id}/{quote_id}",
        is_active=market.get("active") is not False,
    )


def _plain(size: Any) -> str:
    return f"{number(size).normalize() + Decimal(0):f}"
