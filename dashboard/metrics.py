"""The metrics catalogue and its exposition: asked of the core at each scrape, never pushed by it.

Labels are bounded: venues, symbols, assets, limits and actors of the configuration, never an order. A
lost core is `xcore_up 0` and nothing else: no old value is ever exposed as if it were new. The names
are an interface; docs/metrics.md is made from the table here.
"""

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

Row = Mapping[str, Any]
Sample = tuple[tuple[str, ...], float]


class Known(NamedTuple):
    """One metric of the catalogue."""

    kind: str
    labels: tuple[str, ...]
    text: str


METRICS: Final[dict[str, Known]] = {
    "xcore_up": Known("gauge", (), "1 while the core answers on its control socket"),
    "xcore_build_info": Known("gauge", ("version",), "always 1; the version is the label"),
    "xcore_mode_info": Known("gauge", ("mode",), "always 1; demo, paper, testnet or live"),
    "xcore_halted": Known("gauge", ("scope",), "1 for each halt in force; `all` is always there"),
    "xcore_venue_up": Known("gauge", ("venue",), "1 while the venue is READY: reconciled, may trade"),
    "xcore_venue_connects_total": Known(
        "counter", ("venue",), "connections of the venue's public link in its present session"
    ),
    "xcore_book_age_seconds": Known(
        "gauge", ("venue", "symbol"), "since the last proof of life of this book; absent before one"
    ),
    "xcore_book_live": Known(
        "gauge", ("venue", "symbol"), "1 while this book is LIVE; a quiet book is"
    ),
    "xcore_symbol_trading": Known(
        "gauge", ("venue", "symbol"),
        "0 while the venue does not let this symbol trade: halted, delisted, closed, in maintenance",
    ),
    "xcore_messages_total": Known(
        "counter", ("venue", "channel"), "frames received; channel is public"
    ),
    "xcore_sequence_gaps_total": Known("counter", ("venue",), "breaks in the sequence of a book"),
    "xcore_rate_budget_ratio": Known(
        "gauge", ("venue",), "used part of the tightest of the venue's limits, 0 to 1"
    ),
    "xcore_clock_skew_seconds": Known(
        "gauge", ("venue",), "the venue's clock minus ours"
    ),
    "xcore_orders_total": Known(
        "counter", ("venue", "outcome"),
        "events of orders since the core's start: approved, denied, acknowledged, rejected, unknown,"
        " canceled, expired, resolved",
    ),
    "xcore_open_orders": Known("gauge", ("venue",), "orders that may still fill"),
    "xcore_unknown_orders": Known("gauge", ("venue",), "orders whose outcome is not proven"),
    "xcore_order_ack_seconds": Known(
        "histogram", (), "from risk's approval to the venue's acknowledgement, journaled"
    ),
    "xcore_tick_to_book_seconds": Known(
        "histogram", (), "from a frame's arrival to the consolidated book that carries it"
    ),
    "xcore_fills_total": Known("counter", ("venue",), "executions since the core's start"),
    "xcore_position": Known(
        "gauge", ("asset",), "net traded quantity over all accounts, without opening balances"
    ),
    "xcore_pnl": Known(
        "gauge", ("kind", "currency"), "profit and loss: kind is realized, unrealized or net"
    ),
    "xcore_risk_used_ratio": Known(
        "gauge", ("limit", "scope"), "used part of a limit, 0 to 1; limits without a use are absent"
    ),
    "xcore_actor_restarts_total": Known("counter", ("actor",), "restarts since the core's start"),
    "xcore_actor_mailbox_depth": Known("gauge", ("actor",), "messages that wait"),
    "xcore_actor_last_message_seconds": Known(
        "gauge", ("actor",), "since the actor's last message; absent before the first"
    ),
    "xcore_parked_messages": Known("gauge", ("actor",), "messages set aside after crashing the actor"),
    "xcore_journal_seq": Known("gauge", (), "seq of the newest record"),
    "xcore_journal_lag_events": Known("gauge", (), "records that wait for the disk"),
    "xcore_journal_fsync_seconds": Known(
        "histogram", (), "one transaction of the journal, its fsync included"
    ),
    "xcore_reconcile_mismatches_total": Known(
        "counter", (), "differences found between a venue's balance and the ledger"
    ),
    "xcore_balance_differences": Known("gauge", ("account",), "such differences not settled yet"),
}  # fmt: skip

FAMILIES: Final = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily}


def exposition(found: Row | None) -> bytes:
    """Return the text of a scrape: `found` is what `gathered` keys name; None for a lost core."""
    registry = CollectorRegistry()
    registry.register(_Scrape(found))
    return generate_latest(registry)


class _Scrape(Collector):
    def __init__(self, found: Row | None) -> None:
        self._found = found

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        if self._found is None:
            yield _family("xcore_up", [((), 0.0)])
            return
        for samples in (_engine, _venues, _orders, _money, _actors):
            for name, values in samples(self._found).items():
                yield _family(name, values)
        counted = self._found["metrics"]
        for name, key in HISTOGRAMS.items():
            yield _histogram(name, counted[key])


HISTOGRAMS: Final = {
    "xcore_order_ack_seconds": "order_ack",
    "xcore_tick_to_book_seconds": "tick_to_book",
    "xcore_journal_fsync_seconds": "journal_commit",
}


def _family(name: str, values: Iterable[Sample]) -> Metric:
    known = METRICS[name]
    base = name.removesuffix("_total") if known.kind == "counter" else name
    family: Any = FAMILIES[known.kind](base, known.text, labels=known.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    scraped: Metric = family
    return scraped


def _histogram(name: str, counted: Row) -> Metric:
    family = HistogramMetricFamily(name, METRICS[name].text)
    running, buckets = 0, []
    bounds = [f"{Decimal(bound).scaleb(-6).normalize():f}" for bound in counted["bounds_us"]]
    for bound, count in zip([*bounds, "+Inf"], counted["counts"], strict=True):
        running += count
        buckets.append((bound, float(running)))
    family.add_metric((), buckets, counted["sum_s"])
    return family


def _engine(found: Row) -> dict[str, list[Sample]]:
    status, risk = found["status"], found["risk"]
    halted = {halt["scope"] for halt in risk["halts"]}
    journal = status["journal"]
    return {
        "xcore_up": [((), 1.0)],
        "xcore_build_info": [((status["version"],), 1.0)],
        "xcore_mode_info": [((status["mode"],), 1.0)],
        "xcore_halted": [
            (("all",), float("all" in halted)),
            *(((scope,), 1.0) for scope in sorted(halted - {"all"})),
        ],
        "xcore_journal_seq": [((), float(journal["seq"]))],
        "xcore_journal_lag_events": [((), float(journal["lag"]))],
        "xcore_reconcile_mismatches_total": [
            ((), float(found["metrics"]["balance_differences"]))
        ],
    }  # fmt: skip


def _venues(found: Row) -> dict[str, list[Sample]]:
    venues = found["status"]["venues"]

    def each(key: str, scale: float = 1.0) -> list[Sample]:
        return [((v["name"],), v[key] * scale) for v in venues if v[key] is not None]

    return {
        "xcore_venue_up": [((v["name"],), float(v["state"] == "READY")) for v in venues],
        "xcore_venue_connects_total": [((v["name"],), v["reconnects"] + 1.0) for v in venues],
        "xcore_messages_total": [((v["name"], "public"), float(v["frames"])) for v in venues],
        "xcore_sequence_gaps_total": each("gaps"),
        "xcore_rate_budget_ratio": each("rate_used_ratio"),
        "xcore_clock_skew_seconds": each("clock_offset_ms", 0.001),
        "xcore_symbol_trading": [
            ((v["name"], symbol), float(symbol not in v["not_trading"]))
            for v in venues
            for symbol in v["symbols"]
        ],
        "xcore_book_live": [
            ((quote["name"], book["symbol"]), float(quote["state"] == "LIVE"))
            for book in found["books"]
            for quote in book["venues"]
        ],
        "xcore_book_age_seconds": [
            ((quote["name"], book["symbol"]), quote["age_ms"] / 1000)
            for book in found["books"]
            for quote in book["venues"]
            if quote["age_ms"] is not None
        ],
    }


def _orders(found: Row) -> dict[str, list[Sample]]:
    open_orders = [o for o in found["orders"] if o["venue"] != "best"]
    venues = [venue["name"] for venue in found["status"]["venues"]]
    counted = found["metrics"]

    def count(venue: str, *, unknown: bool) -> Sample:
        rows = [o for o in open_orders if o["venue"] == venue]
        return (venue,), float(sum(not unknown or o["status"] == "UNKNOWN" for o in rows))

    return {
        "xcore_open_orders": [count(venue, unknown=False) for venue in venues],
        "xcore_unknown_orders": [count(venue, unknown=True) for venue in venues],
        "xcore_orders_total": [
            ((row["venue"], row["outcome"]), float(row["count"])) for row in counted["orders"]
        ],
        "xcore_fills_total": [((row["venue"],), float(row["count"])) for row in counted["fills"]],
    }


# Money leaves its exactness here: a graph is no ledger.
def _money(found: Row) -> dict[str, list[Sample]]:
    total = found["pnl"]["total"]
    positions: dict[str, Decimal] = {}
    for row in found["positions"]:
        asset = row["symbol"].partition("/")[0]
        positions[asset] = positions.get(asset, Decimal(0)) + Decimal(row["traded_quantity"])
    differences: dict[str, float] = {}
    for row in found["risk"]["differences"]:
        differences[row["account"]] = differences.get(row["account"], 0.0) + 1.0
    return {
        "xcore_position": [((a,), float(quantity)) for a, quantity in sorted(positions.items())],
        "xcore_pnl": [
            ((kind, total["currency"]), float(total[f"{kind}_pnl"]))
            for kind in ("realized", "unrealized", "net")
            if total.get(f"{kind}_pnl") is not None
        ],
        "xcore_risk_used_ratio": [
            (
                (row["limit"], row["scope"]),
                float(Decimal(row["used"]) / Decimal(row["limit_value"])),
            )
            for row in found["risk"]["limits"]
            if row["used"] is not None and Decimal(row["limit_value"]) > 0
        ],
        "xcore_balance_differences": [
            ((account,), count) for account, count in sorted(differences.items())
        ],
    }


def _actors(found: Row) -> dict[str, list[Sample]]:
    actors = found["status"]["actors"]
    return {
        "xcore_actor_restarts_total": [((a["name"],), float(a["restarts"])) for a in actors],
        "xcore_actor_mailbox_depth": [((a["name"],), float(a["mailbox"])) for a in actors],
        "xcore_parked_messages": [((a["name"],), float(a["parked"])) for a in actors],
        "xcore_actor_last_message_seconds": [
            ((a["name"],), a["last_message_ms"] / 1000)
            for a in actors
            if a["last_message_ms"] is not None
        ],
    }
