"""The gates before testnet and live: what a configuration must say before an account of a venue is touched.

Each gate refuses with exit code 78 and says what opens it; all that are shut are told at once. Nothing
here connects anywhere. What is asked once more for each command of a live core is `engine/control_live.py`.
"""

import stat
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from engine.certified import CERTIFIED, is_certified
from engine.config_models import Settings, Venue
from engine.config_scalars import Interpolated
from engine.config_yaml import Source
from engine.errors import ConfigError
from engine.venue_kinds import CCXT, RETIRED
from engine.venue_names import DOMAINS, SHARED_HOSTS, TESTNETS

GATED: Final = ("testnet", "live")
LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
SECURE: Final = ("https", "wss")
NOT_BUILT: Final = (
    "paper mode (real books, fills simulated here) is not built; demo, testnet and live are"
)


def check(settings: Settings, source: Source) -> None:
    """Refuse a testnet or live configuration that does not pass every gate.

    Raises:
        ConfigError: one line for each gate that is shut, with its place.
    """
    problems = list(_instance(settings, source))
    for name, venue in settings.venues.items():
        if venue.enabled and venue.adapter not in RETIRED:
            problems += _trust(settings.mode, name, venue, source)
            problems += _credentials(name, venue, source)
            problems += _urls(settings.mode, name, venue, source)
    if problems:
        shut = f"{settings.mode} mode does not start while a gate is shut (docs/config.md)"
        raise ConfigError("\n".join([*problems, shut]))


def is_loopback(url: str) -> bool:
    """Tell whether a URL leads to this machine itself."""
    return (urlsplit(url).hostname or "") in LOOPBACK


def _instance(settings: Settings, source: Source) -> Iterator[str]:
    if settings.mode != "live":
        return
    if settings.live_confirm != settings.name:
        said = f"not '{settings.live_confirm}'" if settings.live_confirm else "and is missing"
        text = f"live mode needs the instance's name here, '{settings.name}', {said}"
        yield source.complaint(("live_confirm",), text)
    if source.path is not None and source.path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        yield source.complaint(
            (), "others may write this file: chmod go-w it before it trades live"
        )


# What was not examined, or not passed, does not trade by default.
def _trust(mode: str, name: str, venue: Venue, source: Source) -> Iterator[str]:
    # On a testnet a key is enough for a venue of ccxt's to trade.
    is_watched = _is_watched(venue) and (mode == "live" or not venue.credentials.given())
    if venue.trade_uncertified or is_certified(venue.dialect) or is_watched:
        return
    score = CERTIFIED.get(venue.dialect)
    passed = f"passed {score} of the conformance suite" if score else "is in no conformance suite"
    text = f"the adapter {venue.dialect} {passed}; venues.{name}.trade_uncertified: true opts in"
    yield source.complaint(("venues", name), text)


# A venue of ccxt's whose book nothing verifies is only looked at, unless opted in.
def _is_watched(venue: Venue) -> bool:
    return venue.adapter == CCXT and not venue.trade_unverified


def _credentials(name: str, venue: Venue, source: Source) -> Iterator[str]:
    path = ("venues", name, "credentials")
    given = venue.credentials.given()
    if not given:
        if not _is_watched(venue):
            yield source.complaint(
                path, "a venue that may trade needs credentials; or enabled: false"
            )
        return
    written = source.data.get("venues", {}).get(name, {}).get("credentials", {})
    for key in given:
        if not isinstance(written.get(key), Interpolated):
            text = f'should be a reference, "${{NAME}}" or "${{file:/path}}", not the {key} itself'
            yield source.complaint((*path, key), text)


def _urls(mode: str, name: str, venue: Venue, source: Source) -> Iterator[str]:
    given = venue.urls.given()
    at = ("venues", name, "urls")
    if len({is_loopback(url) for url in given.values()}) > 1:
        yield source.complaint(at, "lead to this machine and to another: all or none")
        return
    if mode == "testnet" and not given and venue.adapter == CCXT:
        # ccxt knows its venue itself, and would go there with these keys.
        text = (
            f"{venue.protocol} has no testnet through ccxt, whose class leads to the venue itself;"
            " give urls of another server, or enabled: false"
        )
        yield source.complaint(at, text)
    elif mode == "testnet" and not given and venue.protocol not in TESTNETS:
        text = f"{venue.protocol} has no testnet; give urls of a server on this machine, or enabled: false"
        yield source.complaint(at, text)
    for key, url in given.items():
        if is_loopback(url):
            continue
        host = urlsplit(url).hostname or ""
        if urlsplit(url).scheme not in SECURE:
            yield source.complaint((*at, key), "should be https or wss beyond this machine")
        if mode == "testnet" and host not in _testnet(venue):
            yield source.complaint((*at, key), f"{host} is not {venue.protocol}'s testnet")
        if mode == "live" and not _is_own(host, venue.protocol):
            yield source.complaint((*at, key), f"{host} is not where {venue.protocol} trades")


# A host that serves both is told which is meant by a header, which a class of ccxt's is not given.
def _testnet(venue: Venue) -> list[str]:
    hosts = TESTNETS.get(venue.protocol, ())
    return [host for host in hosts if venue.adapter != CCXT or host not in SHARED_HOSTS]


def _is_own(host: str, venue: str) -> bool:
    domains = DOMAINS.get(venue, ())
    is_there = any(host == domain or host.endswith("." + domain) for domain in domains)
    return is_there and (host not in TESTNETS.get(venue, ()) or host in SHARED_HOSTS)
