"""The shape of config.yaml: every key, its type, its bounds and its default.

Every model is frozen and refuses unknown keys. Every duration and size carries its unit in the
key's name. With no file at all these defaults are the configuration: demo mode on two venues.
Reading YAML, positions, secrets from outside and the rules of modes are engine/config.py's.
"""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from engine.config_dashboard import DashboardSection, MetricsSection
from engine.config_scalars import (
    AccountName,
    ActorName,
    AdapterName,
    Asset,
    InstanceName,
    Money,
    PerMode,
    Seconds,
    Section,
    Share,
    Switch,
    Symbol,
    ThreadName,
    Url,
    VenueName,
    Whole,
    wrong,
)
from engine.maintenance import window_of
from engine.venue_kinds import CCXT
from engine.venue_names import ADAPTERS

MODES: Final = ("demo", "paper", "testnet", "live")
CORE_LOSS_CANCEL_AFTER_S: Final = 10.0  # where real orders rest, unless the file says otherwise

Mode = Literal["demo", "paper", "testnet", "live"]


# --- sections -------------------------------------------------------------------------------------


class Urls(Section):
    """Where an adapter connects. Empty: the venue's own, or in demo mode the simulator's."""

    rest: Url | None = None
    public_ws: Url | None = None
    private_ws: Url | None = None
    trade_ws: Url | None = None

    def given(self) -> dict[str, str]:
        """Return the URLs that are set, by name."""
        return {name: url for name, url in self.model_dump().items() if url is not None}


class Credentials(Section):
    """The keys of one account. Never printed, logged, dumped or hashed."""

    api_key: SecretStr | None = None
    api_secret: SecretStr | None = None
    passphrase: SecretStr | None = None

    def given(self) -> dict[str, str]:
        """Return the keys that are set, in the clear, for the adapter alone."""
        held = {
            "api_key": self.api_key,
            "api_secret": self.api_secret,
            "passphrase": self.passphrase,
        }
        return {name: secret.get_secret_value() for name, secret in held.items() if secret}

    @model_validator(mode="after")
    def _key_with_its_secret(self) -> Self:
        if (self.api_key is None) != (self.api_secret is None):
            key = "api_key" if self.api_key is None else "api_secret"
            raise wrong(key, "api_key and api_secret come together or not at all")
        return self


class Venue(Section):
    """One venue and the one account this instance trades there."""

    adapter: AdapterName
    ccxt_id: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,32}$")] = ""
    enabled: Switch = True
    symbols: Annotated[list[Symbol], Field(min_length=1, max_length=200)]
    account: AccountName
    urls: Urls = Urls()
    credentials: Credentials = Credentials()
    opening_cost: dict[Asset, Money] = Field(default_factory=dict)
    rate_limit_share: Share = 0.5
    stale_after_ms: Annotated[Whole, Field(ge=100, le=600_000)] = 2_000
    quiet_after_s: Annotated[Whole, Field(ge=0, le=86_400)] = 60
    rules_every_s: Annotated[Whole, Field(ge=10, le=86_400)] = 300
    maintenance: Annotated[list[str], Field(max_length=100)] = Field(default_factory=list)
    depth: Annotated[Whole, Field(ge=1, le=5_000)] = 200
    publish_interval_ms: Annotated[Whole, Field(ge=0, le=10_000)] = 0
    order_road: Literal["ws", "rest"] = "ws"
    isolation: Literal["process", "thread"] = "process"
    dedicated_account: Switch = False
    trade_unverified: Switch = False
    trade_uncertified: Switch = False
    api: Annotated[str, Field(pattern=r"^[a-z0-9_]{0,16}$")] = ""
    account_uid: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{0,64}$")] = ""

    @model_validator(mode="after")
    def _windows_are_readable(self) -> Self:
        for number, text in enumerate(self.maintenance):
            try:
                window_of(text)
            except ValueError as error:
                raise wrong(f"maintenance.{number}", str(error)) from None
        return self

    @model_validator(mode="after")
    def _each_symbol_once(self) -> Self:
        if len(set(self.symbols)) != len(self.symbols):
            raise wrong("symbols", "names a symbol twice")
        return self

    @model_validator(mode="after")
    def _ccxt_with_its_class(self) -> Self:
        if self.adapter == CCXT and not self.ccxt_id:
            raise wrong("ccxt_id", "is missing: which of ccxt's exchanges, as in `ccxt_id: bitget`")
        if self.adapter != CCXT and self.ccxt_id:
            raise wrong("ccxt_id", "belongs to `adapter: ccxt` only")
        return self

    @property
    def dialect(self) -> str:
        """Return what is spoken, ccxt's class named with it: `okx`, `ccxt:okx`."""
        return f"{CCXT}:{self.ccxt_id}" if self.adapter == CCXT else self.adapter

    @property
    def protocol(self) -> str:
        """Return whose protocol that is, whoever speaks it: a login is a login of this venue."""
        return self.ccxt_id if self.adapter == CCXT else self.adapter

    @property
    def is_simulated(self) -> bool:
        """Tell whether demo mode plays this venue: a simulator can, and no other server is named."""
        return self.protocol in ADAPTERS and not self.urls.given()


class Risk(Section):
    """The limits that no order may pass. Money is in `report_currency`."""

    max_order_notional: Money = Decimal(5_000)
    max_open_notional: Money = Decimal(50_000)
    max_open_orders: Annotated[Whole, Field(ge=1, le=100_000)] = 50
    max_orders_per_second: Annotated[Whole, Field(ge=1, le=10_000)] = 10
    max_position: dict[Asset, Money] = Field(
        default_factory=lambda: {
            "BTC": Decimal("0.5"),
            "ETH": Decimal(10),
            "cryBTCUSD.MULTUP.100": Decimal(5),
            "cryBTCUSD.MULTDOWN.100": Decimal(5),
        }
    )
    price_collar_pct: Annotated[Money, Field(le=50)] = Decimal(2)
    report_currency: Asset = "USDT"
    declared_rates: dict[Asset, Money] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_order_fits_the_whole(self) -> Self:
        if self.max_order_notional > self.max_open_notional:
            raise wrong(
                "max_order_notional",
                f"{self.max_order_notional} is more than max_open_notional {self.max_open_notional}",
            )
        return self


class Orders(Section):
    """How orders live: deadlines, defaults, what is kept, how often a venue is asked."""

    on_shutdown: Literal["cancel", "keep"] = "cancel"
    on_core_loss_cancel_after_s: PerMode = "auto"
    ack_timeout_s: Seconds = 5.0
    time_in_force: Literal["GTC", "IOC", "FOK"] = "GTC"
    closed_kept_max: Annotated[Whole, Field(ge=100, le=10_000_000)] = 10_000
    settle_window_s: Seconds = 60.0
    reconcile_every_s: Seconds = 60.0


class Supervision(Section):
    """When a crashed part is started again, and when that is given up."""

    max_restarts: Annotated[Whole, Field(ge=1, le=10_000)] = 10
    within_s: Seconds = 60.0
    backoff_initial_s: Seconds = 0.1
    backoff_max_s: Seconds = 30.0
    stuck_after_s: Seconds = 1.0
    threads: dict[ActorName, ThreadName] = Field(default_factory=lambda: {"persistence": "disk"})
    venue_silent_s: Annotated[Seconds, Field(ge=1)] = 5.0
    shutdown_grace_s: Annotated[Seconds, Field(le=20)] = 15.0

    @model_validator(mode="after")
    def _backoff_grows(self) -> Self:
        if self.backoff_initial_s > self.backoff_max_s:
            raise wrong(
                "backoff_initial_s",
                f"{self.backoff_initial_s} is more than backoff_max_s {self.backoff_max_s}",
            )
        if self.threads.get("persistence") == "tick":  # no tick may wait for a disk
            raise wrong("threads", "persistence needs a thread other than tick")
        return self


class JournalSection(Section):
    """How safely and how often the journal is written."""

    sync: Literal["full", "normal"] = "full"
    snapshot_every_records: Annotated[Whole, Field(ge=10, le=10_000_000)] = 5_000


class Storage(Section):
    """Where journal, control socket and logs live. Empty: $XDG_STATE_HOME/xcore/MODE/NAME."""

    dir: str = ""


class ControlSection(Section):
    """Bounds of the control socket."""

    connections_max: Annotated[Whole, Field(ge=1, le=1_000)] = 64
    frame_max_bytes: Annotated[Whole, Field(ge=1_024, le=1_048_576)] = 1_048_576


class Demo(Section):
    """What demo mode does by itself."""

    maker: Switch = True
    drill: Switch = True
    seed: Annotated[Whole, Field(ge=0, le=2**63 - 1)] = 1
    simulator: Literal["embedded", "external"] = "embedded"


class LogFile(Section):
    """The JSON lines file, under the state folder unless `path` is absolute. Empty path: none."""

    path: str = "log/xcore.jsonl"
    rotation_mb: Annotated[Whole, Field(ge=1, le=10_000)] = 50
    kept_max: Annotated[Whole, Field(ge=1, le=1_000)] = 10


class Log(Section):
    """What is logged, where, and how it looks."""

    level: Literal["TRACE", "DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    console: Literal["auto", "text", "json", "off"] = "auto"
    color: Literal["auto", "always", "never"] = "auto"
    file: LogFile = LogFile()


# The adapter and the account default to the venue's name, which only the map's key knows.
def _fill_names(venues: object) -> object:
    if not isinstance(venues, Mapping):
        return venues
    return {name: _fill_name(name, venue) for name, venue in venues.items()}


def _fill_name(name: object, venue: object) -> object:
    if isinstance(venue, Mapping):
        return {"adapter": str(name), "account": f"{name}.main", **venue}
    return venue


def _demo_venues() -> dict[str, Venue]:
    pairs = ["BTC/USDT", "ETH/USDT"]
    contracts = ["BTC/USD", "cryBTCUSD.MULTUP.100/USD", "cryBTCUSD.MULTDOWN.100/USD"]
    symbols = {"binance": pairs, "okx": pairs, "kucoin": pairs, "deriv": contracts}
    return {
        name: Venue(adapter=name, account=f"{name}.main", symbols=list(traded))
        for name, traded in symbols.items()
    }


class Settings(Section):
    """Everything that config.yaml may say."""

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    mode: Mode = "demo"
    name: InstanceName = "desk-1"
    live_confirm: str = ""
    venues: Annotated[
        dict[VenueName, Venue], BeforeValidator(_fill_names), Field(min_length=1, max_length=64)
    ] = Field(default_factory=_demo_venues)
    risk: Risk = Risk()
    orders: Orders = Orders()
    supervision: Supervision = Supervision()
    journal: JournalSection = JournalSection()
    storage: Storage = Storage()
    control: ControlSection = ControlSection()
    dashboard: DashboardSection = DashboardSection()
    metrics: MetricsSection = MetricsSection()
    demo: Demo = Demo()
    log: Log = Log()

    @model_validator(mode="after")
    def _accounts_are_told_apart(self) -> Self:
        if not any(venue.enabled for venue in self.venues.values()):
            raise wrong("venues", "no venue is enabled")
        owners: dict[str, str] = {}
        for name, venue in self.venues.items():
            other = owners.setdefault(venue.account, name)
            if other != name:
                raise wrong("venues", f"{other} and {name} share the account {venue.account}")
        self._logins_are_told_apart()
        for actor in self.supervision.threads:
            if "." in actor and actor.partition(".")[2] not in self.venues:
                raise wrong("supervision", f"threads: there is no venue for {actor}")
        return self

    # One login under two names would report each fill twice, to two ledgers.
    def _logins_are_told_apart(self) -> None:
        owners: dict[tuple[str, str | None, str | None], str] = {}
        for name, venue in ((n, v) for n, v in self.venues.items() if v.enabled):
            key = venue.credentials.given().get("api_key")
            other = owners.setdefault((venue.protocol, venue.urls.rest, key), name)
            if other != name:
                what = "no key of their own" if key is None else "the same key"
                raise wrong("venues", f"{other} and {name} have {what}: each needs its own login")


class Config(Settings):
    """The effective configuration of one run: the settings, and where they and the state are."""

    state_dir: Path
    source: Path | None = None
    origins: dict[str, str] = Field(default_factory=dict)

    def core_loss_cancel_after_s(self) -> float | None:
        """Return how long after the loss of the core its orders are cancelled; None: not at all."""
        given = self.orders.on_core_loss_cancel_after_s
        if given == "auto":
            return CORE_LOSS_CANCEL_AFTER_S if self.mode in ("testnet", "live") else None
        return given

    def settings(self) -> dict[str, Any]:
        """Return the settings as plain data for people: secrets as asterisks, money as strings."""
        dumped = self.model_dump(
            mode="json", by_alias=True, exclude={"state_dir", "source", "origins"}
        )
        return dict(dumped)
