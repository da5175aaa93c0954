"""The venues this program can talk to, and what a configuration says of one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from adapters import (
    audit,
    binance,
    generic,
    kraken_session,
    kucoin_address,
    kucoin_rest,
    okx,
    okx_rest,
    rules,
)
from adapters.binance import BinanceCodec
from adapters.binance_rest import BinanceRest
from adapters.binance_trade import BinanceTrade
from adapters.bybit import BybitCodec
from adapters.bybit_rest import BybitRest
from adapters.bybit_trade import BybitTrade
from adapters.codec import Codec, Credentials, RestCall, RestCodec, Secret
from adapters.coinbase import CoinbaseCodec
from adapters.coinbase_rest import CoinbaseRest
from adapters.generic import GenericCodec
from adapters.generic_rest import GenericRest
from adapters.kraken import KrakenCodec
from adapters.kraken_rest import KrakenRest
from adapters.kucoin import KucoinCodec
from adapters.kucoin_rest import KucoinRest
from adapters.okx import OkxCodec
from adapters.okx_rest import OkxRest
from adapters.okx_trade import OkxTrade
from adapters.plugins import plugged_in
from adapters.symbols import venue_symbol
from adapters.trade_codec import TradeCodec
from engine.errors import ConfigError

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")
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
    fees_every_s: float = 3600.0


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
    quiet_after_s: float = 60.0
    rules_every_s: float = 300.0
    maintenance: tuple[str, ...] = ()
    rate_limit_share: float = 1.0
    order_road: Literal["ws", "rest"] = "ws"
    timeouts: Timeouts = field(default_factory=Timeouts)
    is_live: bool = False
    read_only: str = ""  # why no order may leave, whatever the adapter could do; empty where it may
    testnet: bool = False  # the venue's testnet in place of the venue, where no urls are given
    halt_file: str = ""  # while it stands no order passes the gate; empty: there is none
    api: str = ""  # which of its APIs, at a venue that has two; empty: the newer one
    account_uid: str = ""  # the venue's own id of the account, where the login opens several

    @property
    def credentials(self) -> Credentials:
        """What signs for the account."""
        return Credentials(self.api_key, self.api_secret, self.passphrase)

    def url(self, kind: str) -> str:
        """Return the url of this kind: the configured one or the venue's own; empty: REST tells it."""
        known = known_adapter(self.adapter)
        own = known.testnet if self.testnet else known.urls
        return self.urls.get(kind) or own.get(kind, "")

    @property
    def headers(self) -> Mapping[str, str]:
        """What every REST request carries beside its signature."""
        return known_adapter(self.adapter).testnet_headers if self.testnet else {}


class Address(NamedTuple):
    """How REST is asked where a stream is, before each connection: the call, and what reads its answer.

    `read` takes the answer and an id of ours for the connection; the address it returns may be a login.
    """

    call: RestCall
    read: Callable[[Any, str], str]


class Ticket(NamedTuple):
    """What REST gives out before each private connection, and who takes it: the codec, for its login."""

    call: RestCall
    take: Callable[[Codec, Any], None]


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
    trade: Callable[[Credentials, RestCodec], TradeCodec] | None = None  # its trading WebSocket
    read_only: str = ""  # why no order may leave; empty where it may
    one_lane: bool = False  # takes one signed request at a time: its nonce must rise
    depth: audit.Depth | None = None  # how its best levels are asked for; None: no book is audited
    testnet: Mapping[
        str, str
    ] = {}  # the urls of its testnet, of the same kinds; empty: it has none
    testnet_headers: Mapping[str, str] = {}  # what tells the venue that the testnet is meant
    announcement: rules.Announcement | None = None  # where it says that it does not trade at all
    # Where a stream (`public_ws`, `private_ws`) is that has no fixed address.
    address: Callable[[str], Address] | None = None
    ticket: Ticket | None = None
    lists_account: bool = False  # its lists are of all symbols: one call for them all
    orders_at_once: int = 1  # so many orders one query by the venue's ids may ask for


class Venue(NamedTuple):
    """One venue's dialect, ready for one account. `trade` is None where orders go over REST."""

    codec: Codec
    rest: RestCodec
    trade: TradeCodec | None
    send_every_s: float
    read_only: str
    one_lane: bool
    depth: audit.Depth | None
    ticket: Ticket | None
    lists_account: bool
    orders_at_once: int
    announcement: rules.Announcement | None


# The trading link names instruments by numbers that the REST half learns with the instruments.
def _okx_trade(credentials: Credentials, rest: RestCodec) -> TradeCodec:
    assert isinstance(rest, OkxRest), "the two halves of one dialect"
    return OkxTrade(credentials, rest.codes)


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
        trade=lambda credentials, _: BinanceTrade(credentials),
        depth=audit.BINANCE,
        # https://developers.binance.com/docs/binance-spot-api-docs/testnet
        testnet={
            "rest": "https://testnet.binance.vision",
            "public_ws": "wss://stream.testnet.binance.vision/ws",
            "private_ws": "wss://ws-api.testnet.binance.vision/ws-api/v3",
            "trade_ws": "wss://ws-api.testnet.binance.vision/ws-api/v3",
        },
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
        trade=_okx_trade,
        depth=audit.OKX,
        # Demo trading: the same REST host with a header, other stream hosts, keys of its own.
        # https://www.okx.com/docs-v5/en/#overview-demo-trading-services
        testnet={
            "rest": "https://www.okx.com",
            "public_ws": "wss://wspap.okx.com:8443/ws/v5/public",
            "private_ws": "wss://wspap.okx.com:8443/ws/v5/private",
            "trade_ws": "wss://wspap.okx.com:8443/ws/v5/private",
        },
        testnet_headers={"x-simulated-trading": "1"},
        announcement=rules.OKX,
    ),
    "bybit": Adapter(
        urls={
            "rest": "https://api.bybit.com",
            "public_ws": "wss://stream.bybit.com/v5/public/spot",
            "private_ws": "wss://stream.bybit.com/v5/private",
            "trade_ws": "wss://stream.bybit.com/v5/trade",
        },
        venue_symbol=partial(venue_symbol, "bybit"),
        codec=BybitCodec,
        rest=BybitRest,
        send_every_s=0.05,
        enforces_expiry=True,
        depth=audit.BYBIT,
        trade=lambda credentials, _: BybitTrade(credentials),
    ),
    "coinbase": Adapter(
        urls={
            "rest": "https://api.coinbase.com",
            "public_ws": "wss://advanced-trade-ws.coinbase.com",
            "private_ws": "wss://advanced-trade-ws-user.coinbase.com",
        },
        venue_symbol=partial(venue_symbol, "coinbase"),
        codec=CoinbaseCodec,
        rest=CoinbaseRest,
        send_every_s=0.15,
        enforces_expiry=False,
        depth=audit.COINBASE,
    ),
    "kraken": Adapter(
        urls={
            "rest": "https://api.kraken.com",
            "public_ws": "wss://ws.kraken.com/v2",
            "private_ws": "wss://ws-auth.kraken.com/v2",
        },
        venue_symbol=partial(venue_symbol, "kraken"),
        codec=KrakenCodec,
        rest=KrakenRest,
        send_every_s=0.1,
        enforces_expiry=True,  # its `deadline`
        dead_man=kraken_session.cancel_all_after,
        one_lane=True,
        depth=audit.KRAKEN,
        ticket=Ticket(kraken_session.ask_token(), kraken_session.take_token),
        lists_account=True,
        orders_at_once=50,
        announcement=rules.KRAKEN,
    ),
    "kucoin": Adapter(
        urls={"rest": "https://api.kucoin.com"},  # each stream's address comes by REST
        venue_symbol=partial(venue_symbol, "kucoin"),
        codec=KucoinCodec,
        rest=KucoinRest,
        send_every_s=0.1,
        enforces_expiry=True,
        depth=audit.KUCOIN,
        announcement=rules.KUCOIN,
        dead_man=kucoin_rest.dead_cancel_all,
        address=lambda kind: Address(kucoin_address.ask(kind), kucoin_address.read_address),
    ),
}


def enforces_expiry(adapter: str) -> bool:
    """Tell whether the venue of an adapter drops a request that arrives later than it allows."""
    return known_adapter(adapter).enforces_expiry


def exchange_id(adapter: str) -> str:
    """Return what ccxt calls the venue of an adapter; ConfigError names the known ones."""
    return generic.ccxt_id(adapter) or known_adapter(adapter).rest("", "", {}).exchange_id


def dialect(config: VenueConfig) -> Venue:
    """Return the dialect a configuration asks for; ConfigError names the known ones."""
    known = known_adapter(config.adapter)
    if not config.symbols:
        raise ConfigError(f"venues.{config.name}.symbols: name at least one symbol")
    if config.depth < 1 or not 0 < config.rate_limit_share <= 1:
        raise ConfigError(f"venues.{config.name}: depth from 1, rate_limit_share in (0, 1]")
    if any(urlsplit(url).hostname in LOOPBACK for url in config.urls.values()):
        # What is not given would lead to the venue itself.
        missing = (
            set(known.urls) - {"trade_ws"} - {kind for kind, url in config.urls.items() if url}
        )
        if missing:
            raise ConfigError(f"venues.{config.name}.urls.{min(missing)}: is missing")
    symbols = {known.venue_symbol(symbol): symbol for symbol in config.symbols}
    rest = known.rest(config.name, config.account, symbols)
    trade = known.trade if has_trade_road(config) else None
    return Venue(
        known.codec(config.name, config.account, symbols, config.credentials),
        rest,
        None if trade is None else trade(config.credentials, rest),
        known.send_every_s,
        config.read_only or known.read_only,
        known.one_lane,
        known.depth,
        known.ticket,
        known.lists_account,
        known.orders_at_once,
        known.announcement,
    )


def address(config: VenueConfig, kind: str) -> Address | None:
    """Return how to ask where a stream is; None where its address is fixed."""
    known = known_adapter(config.adapter)
    if config.url(kind):
        return None
    if known.address is None:
        raise ConfigError(f"venues.{config.name}.urls.{kind}: is missing")
    return known.address(kind)


def has_trade_road(config: VenueConfig) -> bool:
    """Tell whether orders may take the trading WebSocket: asked for, with a key, to the same venue.

    Where other URLs are given but none for this link, its default would be another server than theirs.
    """
    is_same_venue = not config.urls or bool(config.urls.get("trade_ws"))
    return config.order_road == "ws" and bool(config.api_key) and is_same_venue


def known_adapter(adapter: str) -> Adapter:
    """Return what an adapter is made of; ConfigError names the known ones."""
    asked = generic.ccxt_id(adapter)
    known = _generic(asked) if asked else ADAPTERS.get(adapter) or plugged_in(adapter, Adapter)
    if known is None:
        names = ", ".join(sorted(ADAPTERS))
        raise ConfigError(f"no adapter is called {adapter!r}; known: {names}")
    return known


# Any ccxt class. Its spelling of symbols is ours; the streams and addresses are ccxt's own.
def _generic(name: str) -> Adapter:
    proof = generic.PROVEN.get(name)

    def rest(venue: str, account: str, symbols: Mapping[str, str]) -> RestCodec:
        return GenericRest(venue, account, symbols, name)

    return Adapter(
        urls={"rest": ""},
        venue_symbol=str,
        codec=GenericCodec,
        rest=rest,
        send_every_s=0.0,
        enforces_expiry=proof is not None and proof.enforces_expiry,
        read_only=generic.read_only(name),
    )
