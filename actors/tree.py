"""The tree of actors: which there are, in which order they start, and what their death means.

The one place that knows all actors. supervisor.py builds the real tree from it, the simulation and
the benchmarks build the same tree on other dispatchers.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from actors.adapter import AdapterActor, Handed, VenuePort
from actors.demo_maker import DemoMakerActor
from actors.exchange import ExchangeActor, ExchangeConfig
from actors.exchange_state import ExchangeState
from actors.folds import RISK, ROUTER, Fold, Folds
from actors.order_book import OrderBookActor
from actors.order_router import OrderRouterActor, RouterConfig
from actors.persistence import PersistenceActor
from actors.replicas import Shelf
from actors.risk_pnl import RiskPnLActor, new_gate
from engine.clock import NS_PER_MS
from engine.config_models import Settings, Venue
from engine.errors import EXIT_GAVE_UP, EXIT_JOURNAL
from engine.journal import Journal
from engine.specs import ChildSpec, RestartPolicy
from engine.trading.orders import OrderTable
from engine.trading.risk_limits import RiskLimits

TICK: Final = "tick"
DISK: Final = "disk"
CCXT_RECONCILE_S: Final = 10.0
MAKER_SIZES: Final = {"BTC/USDT": Decimal("0.002"), "ETH/USDT": Decimal("0.05")}
GATES_MARGIN_S: Final = 3.0  # beyond the time in which every submit is answered or UNKNOWN
READERS: Final = ("order_router", "risk_pnl", "edge")

AdapterFactory = Callable[[], VenuePort]


def enabled_venues(settings: Settings) -> dict[str, Venue]:
    """Return the venues that this run uses, by name."""
    return {name: venue for name, venue in settings.venues.items() if venue.enabled}


def risk_limits(settings: Settings) -> RiskLimits:
    """Return the risk gate's limits. Positions count from the opening balances on."""
    risk = settings.risk
    return RiskLimits(
        max_order_notional=risk.max_order_notional,
        max_open_notional=risk.max_open_notional,
        max_open_orders=risk.max_open_orders,
        max_position=dict(risk.max_position),
        price_collar_pct=risk.price_collar_pct,
        max_orders_per_second=risk.max_orders_per_second,
        report_currency=risk.report_currency,
        count_opening=False,
        declared_rates=dict(risk.declared_rates),
    )


def restart_policy(settings: Settings) -> RestartPolicy:
    """Return when crashed parts are started again, and when that is given up."""
    supervision = settings.supervision
    return RestartPolicy(
        max_restarts=supervision.max_restarts,
        within_s=supervision.within_s,
        backoff_initial_s=supervision.backoff_initial_s,
        backoff_max_s=supervision.backoff_max_s,
    )


def folds(settings: Settings) -> Folds:
    """Return how each durable actor's state is made from its snapshot, or from nothing."""
    limits, kept = risk_limits(settings), settings.orders.closed_kept_max

    def exchange(data: bytes | None) -> Fold:
        return ExchangeState.empty(kept) if data is None else ExchangeState.from_bytes(data, kept)

    def router(data: bytes | None) -> Fold:
        return OrderTable(kept) if data is None else OrderTable.from_bytes(data, kept)

    def risk(data: bytes | None) -> Fold:
        return new_gate(data, limits, kept, judging=False)

    made: dict[str, Callable[[bytes | None], Fold]] = {RISK: risk, ROUTER: router}
    return made | {f"exchange.{name}": exchange for name in enabled_venues(settings)}


def child_specs(
    settings: Settings,
    *,
    journal: Journal,
    adapters: Mapping[str, AdapterFactory],
    run: str,
    fail_stop: Callable[[str], None],
    fault_point: Callable[[str], None],
    enforce_expiry: Collection[str],
    background: Callable[[Callable[[], object]], object],
    shelf: Shelf | None = None,
    nameless: Collection[str] = (),
    absent: Collection[str] = (),
) -> list[ChildSpec]:
    """Return all actors in start order: the journal first, the venues' links last.

    Args:
        settings: the configuration.
        journal: open, and written by the PersistenceActor alone.
        adapters: for each venue, what makes a session of its adapter.
        run: names this run; the demo maker's command ids begin with it.
        fail_stop: called when the journal cannot be trusted any more; does not return.
        fault_point: called at labelled points, for drills.
        enforce_expiry: the adapters whose venue drops a request that arrives too late.
        background: runs what may block (closing a session) off the actors' threads.
        absent: venues that have no adapter to talk to: closed, or not there.
        shelf: where restarting actors find states to copy; JournalRecovery has the same.
        nameless: the adapters whose venue keeps no name of ours with an order.
    """
    shelf = Shelf() if shelf is None else shelf
    venues = enabled_venues(settings)
    maker = settings.mode == "demo" and settings.demo.maker
    readers = (*READERS, "demo_maker") if maker else READERS

    def persistence() -> PersistenceActor:
        return _persistence(settings, journal, shelf, fail_stop, fault_point)

    specs = [
        _essential(settings, "persistence", persistence, EXIT_JOURNAL),
        _essential(settings, RISK, lambda: _risk(settings, absent), EXIT_GAVE_UP),
        _essential(settings, ROUTER, lambda: _router(settings), EXIT_GAVE_UP),
        _essential(settings, "order_book", lambda: _order_book(settings, readers), EXIT_GAVE_UP),
    ]
    for name, venue in venues.items():
        expiry, names = venue.dialect in enforce_expiry, venue.dialect not in nameless
        specs += _venue(
            settings, name, adapters[name], background, enforces_expiry=expiry, keeps_names=names
        )
    if maker:
        specs.append(_maker(settings, run))
    return _on_threads(specs, {"persistence": DISK} | settings.supervision.threads)


def _on_threads(specs: list[ChildSpec], threads: Mapping[str, str]) -> list[ChildSpec]:
    return [replace(spec, dispatcher=threads.get(spec.name, TICK)) for spec in specs]


def _persistence(
    settings: Settings,
    journal: Journal,
    shelf: Shelf,
    fail_stop: Callable[[str], None],
    fault_point: Callable[[str], None],
) -> PersistenceActor:
    return PersistenceActor(
        journal,
        folds(settings),
        shelf,
        snapshot_every_records=settings.journal.snapshot_every_records,
        fail_stop=fail_stop,
        fault_point=fault_point,
    )


def _router(settings: Settings) -> OrderRouterActor:
    accounts = {name: venue.account for name, venue in enabled_venues(settings).items()}
    collar, kept = risk_limits(settings).price_collar_pct, settings.orders.closed_kept_max
    return OrderRouterActor(RouterConfig(settings.name, accounts, collar, kept))


def _order_book(settings: Settings, readers: Sequence[str]) -> OrderBookActor:
    venues = enabled_venues(settings)
    stale = {name: venue.stale_after_ms * NS_PER_MS for name, venue in venues.items()}
    return OrderBookActor(stale_after_ns=stale, depth=20, venues=list(venues), readers=readers)


def _risk(settings: Settings, absent: Collection[str]) -> RiskPnLActor:
    venues = enabled_venues(settings)
    return RiskPnLActor(
        risk_limits(settings),
        closed_kept_max=settings.orders.closed_kept_max,
        venues=list(venues),
        opening_costs={venue.account: venue.opening_cost for venue in venues.values()},
        gates_within_s=settings.orders.ack_timeout_s + GATES_MARGIN_S,
        absent=absent,
    )


def _essential(
    settings: Settings, name: str, factory: Callable[[], object], exit_code: int
) -> ChildSpec:
    slow = name == "persistence"  # a disk may take its time; it is watched by the alarm on latency
    return ChildSpec(
        name,
        factory,  # type: ignore[arg-type]
        TICK,
        essential=True,
        on_give_up="halt_exit",
        exit_code=exit_code,
        park_after=0 if slow else 3,  # a record that cannot be written is never set aside
        stuck_after_s=30.0 if slow else settings.supervision.stuck_after_s,
    )


def _venue(
    settings: Settings,
    name: str,
    adapter: AdapterFactory,
    background: Callable[[Callable[[], object]], object],
    *,
    enforces_expiry: bool,
    keeps_names: bool,
) -> list[ChildSpec]:
    """Return a venue's two actors: a crash of the first leaves the second's session alone."""
    config = ExchangeConfig(
        venue=name,
        instance=settings.name,
        account=settings.venues[name].account,
        ack_timeout_s=settings.orders.ack_timeout_s,
        settle_window_s=settings.orders.settle_window_s,
        enforces_expiry=enforces_expiry,
        keeps_names=keeps_names,
        reconcile_every_s=_reconcile_every_s(settings, name),
        closed_kept_max=settings.orders.closed_kept_max,
    )
    stuck_after_s = settings.supervision.stuck_after_s
    handed = Handed(restart_policy(settings))
    return [
        ChildSpec(
            f"exchange.{name}", lambda: ExchangeActor(config), TICK, stuck_after_s=stuck_after_s
        ),
        ChildSpec(f"adapter.{name}", lambda: AdapterActor(adapter, background, handed), TICK),
    ]


# ccxt does not say when a private stream has begun, so what it may have missed is looked for sooner.
def _reconcile_every_s(settings: Settings, name: str) -> float:
    every_s = settings.orders.reconcile_every_s
    return min(every_s, CCXT_RECONCILE_S) if settings.venues[name].ccxt_id else every_s


def _maker(settings: Settings, run: str) -> ChildSpec:
    venues = enabled_venues(settings)
    traded = {symbol for venue in venues.values() for symbol in venue.symbols}
    sizes = {symbol: size for symbol, size in MAKER_SIZES.items() if symbol in traded}

    def maker() -> DemoMakerActor:
        return DemoMakerActor(instance=settings.name, run=run, venues=list(venues), sizes=sizes)

    return ChildSpec("demo_maker", maker, TICK, restart="transient")
