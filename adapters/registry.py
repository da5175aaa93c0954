"""The venues this program can talk to, and what a configuration says of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from adapters import binance, okx, okx_rest
from adapters.binance import BinanceCodec
from adapters.binance_rest import BinanceRest
from adapters.codec import Codec, Credentials, RestCall, RestCodec, Secret
from adapters.okx import OkxCodec
from adapters.okx_rest import OkxRest
from engine.errors import ConfigError

__all__ = ["ADAPTERS", "Secret", "Timeouts", "Venue", "VenueConfig", "dialect"]


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long to wait for what, in seconds."""

    connect_s: float = 2.0
    read_s: float = 5.0
    ping_every_s: float = 5.0
    ping_answer_s: float = 3.0
    idle_s: float = 60.0
    link_age_s: float = 23 * 3600.0
    sync_s: float = 10.0
    clock_every_s: float = 60.0


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """One venue and one account on it. Empty urls mean the venue's real ones."""

    name: str
    adapter: str
    account: str
    symbols: tuple[str, ...]
    urls: Mapping[str, str] = field(default_factory=dict)
    api_key: Secret = field(default_factory=Secret)
    api_secret: Secret = field(default_factory=Secret)
    passphrase: Secret = field(default_factory=Secret)
    depth: int = 20
    publish_interval_ms: int = 0
    stale_after_ms: int = 10_000
    rate_limit_share: float = 1.0
    timeouts: Timeouts = field(default_factory=Timeouts)

    @property
    def credentials(self) -> Credentials:
        """What signs for the account."""
        return Credentials(self.api_key, self.api_secret, self.passphrase)

    def url(self, kind: str) -> str:
        """Return the url of this kind: the configured one or the venue's own."""
        return self.urls.get(kind) or _known(self.adapter).urls[kind]


class Adapter(NamedTuple):
    """What makes one venue's dialect."""

    urls: Mapping[str, str]
    venue_symbol: Callable[[str], str]
    codec: Callable[[str, str, Mapping[str, str], Credentials | None], Codec]
    rest: Callable[[str, str, Mapping[str, str]], RestCodec]
    send_every_s: float
    enforces_expiry: bool  # drops a request that arrives later than it allows (recvWindow, expTime)
    # Its dead man's switch, which cancels all of the account after so many seconds; 0 turns it off.
    dead_man: Callable[[int], RestCall] | None = None


class Venue(NamedTuple):
    """One venue's dialect, ready for one account."""

    codec: Codec
    rest: RestCodec
    send_every_s: float


ADAPTERS: Final[Mapping[str, Adapter]] = {
    "binance": Adapter(
        urls={
            "rest": "https://api.binance.com",
            "public_ws": "wss://stream.binance.com:9443/ws",
            "private_ws": "wss://ws-api.binance.com:443/ws-api/v3",
            "trade_ws": "wss://ws-api.binance.com:443/ws-api/v3",
        },
        venue_symbol=binance.venue_symbol,
        codec=BinanceCodec,
        rest=BinanceRest,
        send_every_s=0.25,  # five messages a second, pings and pongs included
        enforces_expiry=True,
    ),
    "okx": Adapter(
        urls={
            "rest": "https://www.okx.com",
            "public_ws": "wss://ws.okx.com:8443/ws/v5/public",
            "private_ws": "wss://ws.okx.com:8443/ws/v5/private",
            "trade_ws": "wss://ws.okx.com:8443/ws/v5/private",
        },
        venue_symbol=okx.venue_symbol,
        codec=OkxCodec,
        rest=OkxRest,
        send_every_s=0.05,
        enforces_expiry=True,
        dead_man=okx_rest.cancel_all_after,
    ),
}


def exchange_id(adapter: str) -> str:
    """Return what ccxt calls the venue of an adapter; ConfigError names the known ones."""
    name: str = _known(adapter).rest.exchange_id  # type: ignore[attr-defined]
    return name


def dialect(config: VenueConfig) -> Venue:
    """Return the dialect a configuration asks for; ConfigError names the known ones."""
    known = _known(config.adapter)
    if not config.symbols:
        raise ConfigError(f"venues.{config.name}.symbols: name at least one symbol")
    if config.depth < 1 or not 0 < config.rate_limit_share <= 1:
        raise ConfigError(f"venues.{config.name}: depth from 1, rate_limit_share in (0, 1]")
    symbols = {known.venue_symbol(symbol): symbol for symbol in config.symbols}
    return Venue(
        known.codec(config.name, config.account, symbols, config.credentials),
        known.rest(config.name, config.account, symbols),
        known.send_every_s,
    )


def _known(adapter: str) -> Adapter:
    known = ADAPTERS.get(adapter)
    if known is None:
        names = ", ".join(sorted(ADAPTERS))
        raise ConfigError(f"no adapter is called {adapter!r}; known: {names}")
    return known
