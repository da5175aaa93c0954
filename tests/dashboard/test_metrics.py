import json
import re
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parsed
from ruamel.yaml import YAML

from dashboard.metrics import METRICS, exposition
from engine.clock import NS_PER_MS, VirtualClock
from engine.messages.events import OrderAcknowledged, OrderApproved, OrderFilled, OrderSpec
from engine.messages.market import ConsolidatedBook, VenueQuote
from engine.telemetry import COMMIT_US, Histogram, Telemetry

ROOT = Path(__file__).resolve().parents[2]
ALERTS = YAML(typ="safe").load(ROOT / "deploy" / "prometheus" / "alerts.yml")["groups"][0]["rules"]
GRAFANA = json.loads((ROOT / "deploy" / "grafana" / "xcore.json").read_text())
VENUE = {
    "name": "okx", "state": "READY", "book_state": "LIVE", "reconnects": 2, "frames": 7, "gaps": 1,
    "rate_used_ratio": 0.25, "clock_offset_ms": -4.0,
    "symbols": ["BTC/USDT", "ETH/USDT"], "not_trading": {"ETH/USDT": "HALTED"},
}  # fmt: skip
ACTOR = {"name": "persistence", "restarts": 3, "mailbox": 4, "parked": 1, "last_message_ms": 1500}


def spec(order_id):
    return OrderSpec(
        order_id, "c1", order_id, None, "okx.main", "okx", "BTC/USDT", "BUY", "LIMIT", "GTC", False,
        Decimal(1), Decimal(60_000), "COMMAND", "somebody", 0,
    )  # fmt: skip


def counted():
    """Return the telemetry of an order approved at 1 s, acknowledged 3 ms later and filled, and a book."""
    clock = VirtualClock(mono_ns=1_003 * NS_PER_MS)
    telemetry = Telemetry(clock)
    telemetry.take(OrderApproved(spec("a"), 1_000 * NS_PER_MS, 3_000 * NS_PER_MS, ""))
    telemetry.take(OrderAcknowledged("a", "v1", "", 0))
    telemetry.take(
        OrderFilled("a", "okx.main", "okx", "BTC/USDT", "BUY", Decimal(60_000), Decimal(1), Decimal(0),
                    "USDT", "TAKER", "v1", "t1", "", 0)
    )  # fmt: skip
    quotes = [
        VenueQuote(v, "LIVE", "", at * NS_PER_MS, [], [], [], [])
        for v, at in (("okx", 5), ("b", 9))
    ]
    telemetry.take(ConsolidatedBook("BTC/USDT", 2, 4, [], [], quotes, 0, 11 * NS_PER_MS))
    commits = Histogram(COMMIT_US)
    commits.observe(400_000)
    return telemetry.view(commits)


def found():
    return {
        "status": {"version": "9", "mode": "paper", "venues": [VENUE], "actors": [ACTOR],
                   "journal": {"seq": 12, "lag": 5}},
        "risk": {
            "halts": [{"scope": "venue:okx"}],
            "limits": [
                {"limit": "max_position", "scope": "BTC", "limit_value": "0.5", "used": "0.4"},
                {"limit": "price_collar_pct", "scope": "order", "limit_value": "2", "used": None},
            ],
            "differences": [{"account": "okx.main"}, {"account": "okx.main"}],
        },
        "metrics": counted(),
        "pnl": {"total": {"currency": "USDT", "realized_pnl": "1.5", "unrealized_pnl": "-2",
                          "net_pnl": "-0.7"}},
        "positions": [{"symbol": "BTC/USDT", "traded_quantity": q} for q in ("0.1", "0.2")],
        "orders": [{"venue": "okx", "status": s} for s in ("NEW", "UNKNOWN")],
        "books": [{"symbol": "BTC/USDT", "venues": [{"name": "okx", "age_ms": 250, "state": "LIVE"},
                                                    {"name": "b", "age_ms": None, "state": "GAP"}]}],
    }  # fmt: skip


def samples(text):
    return {(s.name, *sorted(s.labels.values())): s.value for f in parsed(text) for s in f.samples}


def test_a_scrape_has_every_metric_of_the_catalogue_and_no_other():
    text = exposition(found()).decode()
    families = {f.name + ("_total" if f.type == "counter" else ""): f for f in parsed(text)}
    assert families.keys() == METRICS.keys()
    for name, family in families.items():
        known = METRICS[name]
        assert family.type == known.kind
        labels = {label for s in family.samples for label in s.labels} - {"le"}
        assert labels == set(known.labels), name


def test_a_scrape_says_what_the_core_said():
    value = samples(exposition(found()).decode())
    assert value["xcore_halted", "all"] == 0
    assert value["xcore_halted", "venue:okx"] == 1
    assert value["xcore_risk_used_ratio", "BTC", "max_position"] == 0.8
    assert value["xcore_clock_skew_seconds", "okx"] == -0.004
    assert value["xcore_book_age_seconds", "BTC/USDT", "okx"] == 0.25
    assert [value["xcore_book_live", "BTC/USDT", venue] for venue in ("okx", "b")] == [1, 0]
    assert [value["xcore_symbol_trading", s, "okx"] for s in ("BTC/USDT", "ETH/USDT")] == [1, 0]
    assert value["xcore_position", "BTC"] == pytest.approx(0.3)
    assert (value["xcore_open_orders", "okx"], value["xcore_unknown_orders", "okx"]) == (2, 1)
    assert value["xcore_balance_differences", "okx.main"] == 2
    assert value["xcore_orders_total", "approved", "okx"] == 1
    assert value["xcore_fills_total", "okx"] == 1
    assert value["xcore_order_ack_seconds_bucket", "0.0025"] == 0
    assert value["xcore_order_ack_seconds_bucket", "0.005"] == 1
    assert value["xcore_order_ack_seconds_bucket", "+Inf"] == 1
    assert value["xcore_order_ack_seconds_sum",] == 0.003
    assert value["xcore_tick_to_book_seconds_bucket", "0.0025"] == 1
    assert value["xcore_tick_to_book_seconds_bucket", "0.001"] == 0
    assert value["xcore_journal_fsync_seconds_count",] == 1


def test_a_lost_core_is_told_and_no_old_value_with_it():
    assert samples(exposition(None).decode()) == {("xcore_up",): 0}


def queries():
    for panel in GRAFANA["panels"]:
        for target in panel["targets"]:
            yield f"panel {panel['title']}", target["expr"]
    for rule in ALERTS:
        yield f"alert {rule['alert']}", rule["expr"]


def test_every_query_of_grafana_and_of_the_alerts_asks_for_metrics_that_exist():
    known = set(METRICS)
    known |= {
        f"{n}_{part}"
        for n, m in METRICS.items()
        if m.kind == "histogram"
        for part in ("bucket", "count", "sum")
    }
    asked = [(where, name) for where, expr in queries() for name in re.findall(r"xcore_\w+", expr)]
    assert len(asked) > 30
    assert [a for a in asked if a[1] not in known] == []
    assert {p["datasource"]["uid"] for p in GRAFANA["panels"]} == {"${source}"}


def test_every_alert_has_its_section_of_the_runbook():
    headings = re.findall(r"^## (\w+)$", (ROOT / "docs" / "runbook.md").read_text(), re.MULTILINE)
    assert headings == [rule["alert"] for rule in ALERTS]
    for rule in ALERTS:
        assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here: apt-get install prometheus"
)
def test_each_alert_fires_on_what_it_is_for_and_is_quiet_before_it():
    folder = ROOT / "deploy" / "prometheus"
    tested = YAML(typ="safe").load(folder / "alerts_test.yml")["tests"]
    names = [case["alert_rule_test"][-1]["alertname"] for case in tested]
    assert names == [rule["alert"] for rule in ALERTS]
    for words in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts_test.yml"]):
        ran = subprocess.run(
            ["promtool", *words], cwd=folder, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
