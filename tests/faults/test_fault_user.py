"""`xcore` and the client as a user meets them, against a real core: shapes, exit codes, the bot."""

import json
import subprocess
import sys
from decimal import Decimal

import pytest
from checker import problems
from core_process import ROOT, Core, Venues, environment

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

STATUS = {"mode", "trading_state", "venues", "actors", "orders", "journal"}
ORDER = {"order_id", "command_id", "client_order_id", "parent_id", "venue", "symbol", "side",
         "status", "quantity", "filled_quantity", "average_price"}  # fmt: skip
BBO = {"symbol", "bid", "bid_quantity", "bid_venue", "ask", "ask_quantity", "ask_venue", "age_ms"}


@pytest.fixture(scope="module")
def core(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    venues = Venues(folder / "venues", "--seed", "7")
    core = Core(folder / "core", venues)
    try:
        core.start()
        assert core.ready()
        yield core
        core.quiesce()
        assert core.terminate() == 0
        assert problems(core.journal, venues.log) == []
    finally:
        core.cleanup()
        venues.stop()


def xcore(core, *words, state_dir=None):
    """Run the console script; return exit code, the JSON it printed (or None), and stderr."""
    ended = subprocess.run(
        [str(ROOT / ".venv" / "bin" / "xcore") if (ROOT / ".venv" / "bin" / "xcore").exists()
         else sys.executable, *([] if (ROOT / ".venv" / "bin" / "xcore").exists() else ["cli.py"]),
         "--state-dir", str(state_dir or core.state_dir), "--json", *words],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert "Traceback" not in ended.stderr, ended.stderr
    return (
        ended.returncode,
        json.loads(ended.stdout) if ended.stdout.strip() else None,
        ended.stderr,
    )


def answer(core, *words):
    code, said, stderr = xcore(core, *words)
    assert code == 0, stderr
    return said


def far_below(core):
    bid = Decimal(answer(core, "bbo", "BTC/USDT")[0]["bid"])
    return f"@{(bid * Decimal('0.99')).quantize(Decimal('0.1'))}"


def test_status_has_the_promised_shape(core):
    status = answer(core, "status")
    assert set(status) >= STATUS
    assert status["mode"] == "demo"
    assert status["trading_state"] == "ACTIVE"
    assert {v["name"] for v in status["venues"]} == {"binance", "okx"}
    for venue in status["venues"]:
        assert venue["state"] == "READY"
        assert venue["book_state"] == "LIVE"
        assert venue["book_age_ms"] >= 0
    names = {a["name"] for a in status["actors"]}
    assert names >= {"exchange.binance", "exchange.okx", "order_book", "order_router", "risk_pnl",
                     "persistence"}  # fmt: skip
    for actor in status["actors"]:
        assert actor["state"] == "running"
        assert isinstance(actor["restarts"], int)
        assert isinstance(actor["mailbox"], int)
    assert set(status["orders"]) >= {"open", "unknown"}
    assert status["journal"]["seq"] > 0
    assert status["journal"]["lag"] >= 0


def test_bbo_is_a_list_of_quotes_with_money_as_text(core):
    rows = answer(core, "bbo")
    assert [row["symbol"] for row in rows] == ["BTC/USDT", "ETH/USDT"]
    for row in rows:
        assert set(row) >= BBO
        assert isinstance(row["bid"], str)
        assert Decimal(row["bid"]) < Decimal(row["ask"]) * 2
        assert row["bid_venue"] in ("binance", "okx")


def test_an_order_is_placed_shown_listed_and_canceled(core):
    order = answer(core, "order", "place", "okx", "BTC/USDT", "buy", "0.002", far_below(core))
    assert set(order) >= ORDER
    assert order["status"] == "NEW"
    assert order["quantity"] == "0.002"
    assert order["order_id"] == order["client_order_id"]
    listed = answer(core, "order", "list", "--state", "open")
    assert order["order_id"] in [row["order_id"] for row in listed]
    assert answer(core, "order", "show", order["order_id"])["order_id"] == order["order_id"]
    canceled = answer(core, "order", "cancel", order["order_id"])
    assert [row["status"] for row in canceled] == ["CANCELED"]


def test_a_best_market_order_is_split_and_filled(core):
    words = ("order", "place", "best", "BTC/USDT", "buy", "0.01", "--market", "--wait", "filled")
    order = answer(core, *words)
    assert order["status"] == "FILLED"
    assert order["venue"] == "best"
    assert Decimal(order["filled_quantity"]) == Decimal("0.01")
    assert Decimal(order["average_price"]) > 0


def test_the_same_command_id_twice_makes_one_order(core):
    words = ("order", "place", "binance", "BTC/USDT", "buy", "0.002", far_below(core),
             "--command-id", "once")  # fmt: skip
    first, second = answer(core, *words), answer(core, *words)
    assert first["order_id"] == second["order_id"]
    listed = answer(core, "order", "list")
    assert [row["command_id"] for row in listed].count("once") == 1
    answer(core, "order", "cancel", first["order_id"])


def test_exit_codes_say_what_kind_of_no_it_is(core, tmp_path):
    far = ("order", "place", "okx", "BTC/USDT", "buy")
    assert xcore(core, *far, "0.002", "@200000")[0] == 6, "the collar denies"
    assert xcore(core, *far, "0.002", "@1")[0] == 7, "the venue rejects"
    assert xcore(core, *far, "99", "--market")[0] == 6, "the limits deny"
    assert xcore(core, "order", "show", "nobody")[0] == 3
    assert xcore(core, "order", "cancel", "nobody")[0] == 3
    assert xcore(core, "status", state_dir=tmp_path)[0] == 4
    assert xcore(core, *far, "NaN", "--market")[0] == 2
    assert xcore(core, *far, "-1", "--market")[0] == 2
    assert xcore(core, *far, "0.002")[0] == 2, "neither price nor market"
    assert xcore(core, "order", "place", "kraken", "BTC/USDT", "buy", "1", "--market")[0] in (2, 3)
    assert xcore(core, "frobnicate")[0] == 2


def test_a_dry_run_sends_nothing(core):
    before = answer(core, "order", "list")
    plan = answer(
        core, "order", "place", "best", "BTC/USDT", "buy", "0.01", "--market", "--dry-run"
    )
    assert plan["dry_run"] is True
    assert len(answer(core, "order", "list")) == len(before)


def test_halt_denies_with_6_and_resume_lets_trade_again(core):
    order = ("order", "place", "okx", "BTC/USDT", "buy", "0.002", far_below(core))
    halted = answer(core, "risk", "halt", "--reason", "a test")
    assert halted["trading_state"] == "HALTED"
    assert answer(core, "status")["trading_state"] == "HALTED"
    assert xcore(core, *order)[0] == 6
    assert xcore(core, "status", "--check")[0] == 9
    answer(core, "risk", "resume", "--reason", "a test")
    placed = answer(core, *order)
    answer(core, "order", "cancel", placed["order_id"])


def test_an_actor_killed_by_hand_comes_back(core):
    before = {a["name"]: a["restarts"] for a in answer(core, "actor", "tree")}
    answer(core, "actor", "kill", "order_book")
    after = {a["name"]: a["restarts"] for a in answer(core, "actor", "tree")}
    assert after["order_book"] == before["order_book"] + 1
    assert core.ready()


def test_the_journal_verifies_beside_the_running_core(core):
    report = answer(core, "journal", "verify")
    assert report["ok"] is True
    assert report["records"] > 0


def test_balances_positions_and_pnl_answer(core):
    for words in (["balance"], ["position", "list"], ["pnl"], ["risk", "show"], ["venue", "list"]):
        assert answer(core, *words)


def test_the_ten_line_bot_of_the_documentation_works(core):
    text = (ROOT / "docs" / "client.md").read_text()
    source = text.split("<!-- bot -->")[1].split("```python\n")[1].split("```")[0]
    ended = subprocess.run(
        [sys.executable, "-c", source], cwd=ROOT, capture_output=True, text=True, timeout=30,
        env=environment(XCORE_STATE_DIR=str(core.state_dir)), check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.split()[-1] in ("CANCELED", "FILLED")
