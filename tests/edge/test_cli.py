import json
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

import cli

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def xcore(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("XCORE_STATE_DIR", str(tmp_path))

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(list(words))
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code, out, err

    return run


@pytest.fixture
def as_json(xcore):
    def run(*words, exit_code=0):
        code, out, err = xcore("--json", *words)
        assert code == exit_code, err
        return json.loads(out)

    return run


LIMIT = ("okx", "BTC/USDT", "buy", "0.01", "@61000.5")


def test_json_may_stand_before_or_behind_the_command(server, xcore):
    for words in (("--json", "status"), ("status", "--json"), ("status", "-o", "json")):
        code, out, _ = xcore(*words)
        assert code == 0
        assert json.loads(out)["schema"] == 1


def test_status_has_the_documented_shape(server, as_json):
    status = as_json("status")
    assert {"mode", "trading_state", "venues", "actors", "orders", "journal"} < set(status)
    assert {"name", "state", "book_state", "book_age_ms"} <= set(status["venues"][0])
    assert {"name", "state", "restarts", "mailbox"} <= set(status["actors"][0])
    assert set(status["orders"]) == {"open", "unknown"}
    assert set(status["journal"]) == {"seq", "lag"}


def test_an_order_has_the_documented_shape(server, as_json):
    order = as_json("order", "place", *LIMIT)
    wanted = "order_id command_id client_order_id parent_id venue symbol side status quantity"
    assert set(f"schema {wanted} filled_quantity average_price".split()) <= set(order)
    assert as_json("order", "list")[0]["order_id"] == order["order_id"]
    assert as_json("order", "show", order["order_id"])["status"] == "NEW"
    assert as_json("order", "cancel", order["order_id"])[0]["status"] == "CANCELED"


def test_bbo_is_a_list_of_rows(server, as_json):
    sides = {f"{side}{part}" for side in ("bid", "ask") for part in ("", "_quantity", "_venue")}
    assert set(as_json("bbo")[0]) == sides | {"symbol", "age_ms", "schema"}
    assert as_json("bbo", "BTC/USDT")[0]["bid"] == "61000.5"


@pytest.mark.parametrize(
    "words",
    [
        "venue list",
        "bbo",
        "book BTC/USDT --venue okx --depth 3",
        "order list",
        "position list",
        "pnl",
        "balance",
        "risk show",
        "risk halt --reason drill",
        "risk resume",
        "actor tree",
        "actor kill exchange.binance",
        "actor restart exchange.binance",
        "journal tail -n 5",
        "journal verify",
        "fault list",
        "fault inject lost_reply --venue okx --on cancel --count 2",
        "fault clear",
        "order reconcile",
        "order cancel --all --venue okx",
        "order place best ETH/USDT sell 1 --market --dry-run",
    ],
)
def test_every_command_answers_people_and_programs(server, xcore, words):
    code, out, _ = xcore(*words.split())
    assert code == 0, out
    assert "\x1b" not in out
    code, out, _ = xcore(*words.split(), "--json")
    answer = json.loads(out)
    assert code == 0
    assert all(row["schema"] == 1 for row in (answer if isinstance(answer, list) else [answer]))


def test_jsonl_is_one_object_a_line(server, xcore):
    xcore("order", "place", *LIMIT)
    xcore("order", "place", *LIMIT)
    _, out, _ = xcore("order", "list", "-o", "jsonl")
    assert len([json.loads(line) for line in out.splitlines()]) == 2


@pytest.mark.parametrize(
    ("behaviour", "exit_code"), [("deny", 6), ("reject", 7), ("unknown", 5), ("hang", 5)]
)
def test_an_order_that_ends_badly_is_still_shown(server, core, as_json, behaviour, exit_code):
    core.behaviour = behaviour
    order = as_json("order", "place", *LIMIT, "--timeout", "0.2", exit_code=exit_code)
    assert order["order_id"]


@pytest.mark.parametrize(
    ("words", "exit_code", "sentence"),
    [
        ("order place okx BTC/USDT buy 0.01", 2, "say @PRICE"),
        ("order place okx BTC/USDT buy -1 @5", 2, "negative"),
        ("order place okx BTC/USDT buy 0 @5", 2, "more than zero"),
        ("order place okx BTC/USDT buy NaN @5", 2, "not a number"),
        ("order place okx BTC/USDT buy 1e300 @5", 2, "no size"),
        ("order place okx BTC/USDT buy 1 @x", 2, "not a number"),
        ("order place okx BTC/USDT buy 1 @5 --market", 2, "no price"),
        ("order place okx BTC/USDT hold 1 @5", 2, "buy, sell"),
        ("order place okx BTC/USDT buy 1 @5 --wait later", 2, "accepted, filled, none"),
        ("order place nowhere BTC/USDT buy 1 @5", 3, "no venue 'nowhere'"),
        ("order place okx DOGE/USDT buy 1 @5", 3, "no symbol"),
        ("order show nope", 3, "no order 'nope'"),
        ("order cancel", 2, "which orders"),
        ("order cancel x --all", 2, "which orders"),
        ("book BTC/USDT --depth 0", 2, "from 1"),
        ("actor kill nobody", 3, "no actor"),
        ("risk halt --scope venue:x", 3, "no venue"),
        ("risk halt --scope moon", 2, "should be all"),
        ("order resolve x CANCELED", 2, "reason"),
        ("fault inject x --venue okx --on moon", 2, "order, cancel"),
        ("nonsense", 2, "No such command"),
        ("status -o xml", 2, "table, wide, json, jsonl"),
        ("completion tcsh", 2, "no completion"),
        ("codec replay okx /nope", 2, "no file"),
    ],
)
def test_bad_input_is_a_sentence_and_an_exit_code(server, xcore, words, exit_code, sentence):
    code, _, err = xcore(*words.split())
    assert (code, sentence in err) == (exit_code, True), err


def test_without_a_core_the_remedy_is_named(xcore):
    code, out, err = xcore("status")
    assert (code, out) == (4, "")
    assert "make run" in err


def test_the_command_id_is_told_before_sending(server, xcore, core):
    core.behaviour = "silent"
    _, _, err = xcore("order", "place", *LIMIT, "--timeout", "0.1")
    assert "command id " in err


def test_a_command_id_may_be_repeated(server, as_json):
    first = as_json("order", "place", *LIMIT, "--command-id", "again-1")
    second = as_json("order", "place", *LIMIT, "--command-id", "again-1")
    assert first["order_id"] == second["order_id"]


def test_status_check_tells_monitors(server, core, xcore):
    assert xcore("status", "--check")[0] == 0
    core.halted = True
    assert xcore("status", "--check")[0] == 9


def test_journal_verify_works_without_a_core(as_json, monkeypatch):
    @dataclass
    class Report:
        ok: bool = False
        records: int = 7
        head_seq: int = 7
        first_bad_seq: int = 3
        problem: str = "record 3: wrong checksum"

    found = types.SimpleNamespace(verify_folder=lambda folder: Report())
    monkeypatch.setitem(sys.modules, "engine.journal", found)
    report = as_json("journal", "verify", exit_code=1)
    assert (report["ok"], report["records"], report["first_bad_seq"]) == (False, 7, 3)


def test_codec_replay_shows_the_report(as_json, xcore, monkeypatch, tmp_path):
    @dataclass
    class Report:
        frames: int = 3
        diffs: int = 2
        stale: int = 0
        gaps: int = 0
        crossed: int = 0
        checksum_ok: int = 2
        checksum_bad: int = 0
        books: int = 1
        bookticker_checked: int = 0
        bookticker_agreed: int = 0

    def replay(venue, files):
        if venue == "moon":
            raise ValueError("no codec of that name")
        return Report(frames=len(files))

    monkeypatch.setitem(sys.modules, "adapters.replay", types.SimpleNamespace(replay=replay))
    file = tmp_path / "frames.gz"
    file.write_text("")
    assert as_json("codec", "replay", "okx", str(file))["frames"] == 1
    code, _, err = xcore("codec", "replay", "moon", str(file))
    assert (code, "no codec" in err) == (2, True)


def test_the_configuration_is_checked_and_shown_without_a_core(as_json, xcore, tmp_path):
    assert as_json("config", "check", str(ROOT / "config.yaml"))["ok"] is True
    assert as_json("config", "show")["mode"] == "demo"
    assert "venues" in as_json("config", "schema")["properties"]
    bad = tmp_path / "bad.yaml"
    bad.write_text("mod: demo")
    code, _, err = xcore("config", "check", str(bad))
    assert code == 78
    assert "did you mean 'mode'" in err
    assert xcore("config", "check", str(tmp_path / "none.yaml"))[0] == 78
    assert xcore("config", "check", str(tmp_path))[0] == 78


def test_a_venues_control_characters_never_reach_the_terminal(server, core, xcore):
    core.behaviour = "reject"
    core.orders["x"] = {"order_id": "x", "status": "REJECTED", "text": "\x1b[2Jboo"}
    _, out, _ = xcore("order", "list")
    assert "\x1b" not in out


@pytest.mark.processes
def test_the_real_program_in_a_pipe_is_plain_and_honest(server, tmp_path):
    environ = {**os.environ, "XCORE_STATE_DIR": str(tmp_path)}

    def run(*words):
        command = [sys.executable, "cli.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, check=False
        )

    placed = run("order", "place", *LIMIT, "--json")
    assert json.loads(placed.stdout)["status"] == "NEW"
    assert "\x1b" not in run("order", "list").stdout
    assert run("order", "place", *LIMIT, "--wait", "filled", "--timeout", "0.1").returncode == 5
    assert "\x1b[" in run("--color", "always", "status").stdout


@pytest.mark.processes
def test_the_cli_does_not_load_the_engine():
    code = "import cli, sys; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('pydantic', 'ruamel', 'ccxt', 'pykka', 'sqlite3', 'msgspec', 'asyncio', 'loguru')])"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"
