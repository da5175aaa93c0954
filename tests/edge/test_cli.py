import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import cli
from engine.clock import SystemClock
from engine.demo import Simulator
from engine.errors import OutcomeUnknown
from engine.journal import Identity, Journal, NewRecord
from engine.messages.events import OrderUnknown
from simulator.faults import KINDS

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
    assert set(status["journal"]) == {"seq", "lag", "verified"}


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
        "actor parked",
        "actor parked exchange.okx",
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


def test_a_parked_message_is_shown_to_people_and_programs(server, xcore, as_json):
    _, out, _ = xcore("actor", "parked")
    row = " ".join(out.splitlines()[1].split())
    assert row == (
        "m1 exchange.okx FillReport 2023-11-14 22:13:20Z 3 ValueError: no such thing "
        "FillReport: venue okx, symbol BTC/USDT"
    )
    names = "schema id actor kind ts_ns attempts error text order_id symbol retryable traceback"
    assert set(as_json("actor", "parked")[0]) == set(names.split())
    assert as_json("actor", "parked", "risk_pnl") == []


@pytest.mark.parametrize(("words", "outcome"), [("retry", "APPLIED"), ("discard", "DISCARDED")])
def test_a_parked_message_is_retried_or_discarded_once(server, core, xcore, words, outcome):
    more = ("--reason", "a drill") if words == "discard" else ()
    code, out, _ = xcore("--json", "actor", words, "m1", *more)
    answer = json.loads(out)
    assert (code, answer["id"], answer["outcome"]) == (0, "m1", outcome)
    assert answer["who"].startswith("uid:")
    assert answer["reason"] == (more[1] if more else "")
    assert core.events[-1].who == answer["who"]
    code, _, err = xcore("actor", words, "m1", *more)
    assert (code, "no message 'm1' is parked" in err) == (3, True)


def test_a_retry_that_fails_again_or_says_nothing_is_told(server, core, xcore, client):
    core.behaviour = "poison"
    code, out, err = xcore("--json", "actor", "retry", "m1")
    assert (code, json.loads(out)["outcome"], json.loads(out)["attempts"]) == (1, "PARKED", 6)
    assert "exchange.okx failed on it again: it failed" in err
    core.behaviour = "silent"
    with pytest.raises(OutcomeUnknown, match="no word of m1"):
        client.request("actor.retry", message_id="m1", timeout_s=0.1)


def test_a_discard_needs_a_reason(server, core, xcore):
    code, _, err = xcore("actor", "discard", "m1")
    assert (code, "--reason" in err) == (2, True)
    assert "m1" in core.parked


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
        ("order place okx BTC/USDT buy 1 @5 --timeout -3", 2, "--timeout takes no negative"),
        ("order place okx BTC/USDT buy 1 @5 --timeout=-3", 2, "--timeout takes no negative"),
        ("order place okx BTC/USDT buy 1 @5 --timeout 1e300", 2, "from 0 to 3600 seconds"),
        ("order place okx BTC/USDT buy 1 @5 --timeout nan", 2, "takes a number, not nan"),
        ("fault inject ws_gap --venue okx --count -1", 2, "--count takes no negative"),
        ("journal tail -n -1", 2, "-n takes no negative"),
        ("order place okx BTC/USDT buy 0 @5", 2, "more than zero"),
        ("order place okx BTC/USDT buy NaN @5", 2, "not a number"),
        ("order place okx BTC/USDT buy 1e300 @5", 2, "no size"),
        ("order place okx BTC/USDT buy 1 @x", 2, "not a number"),
        ("order place okx BTC/USDT buy 1 @5 --market", 2, "no price"),
        ("order place okx BTC/USDT hold 1 @5", 2, "buy, sell"),
        ("order place okx BTC/USDT buy 1 @5 --wait later", 2, "accepted, filled, none"),
        ("order place nowhere BTC/USDT buy 1 @5", 3, "no venue 'nowhere'"),
        ("order place okx DOGE/USDT buy 1 @5", 2, "no symbol at okx"),
        ("bbo DOGE/USDT", 2, "no symbol 'DOGE/USDT'"),
        ("order show nope", 3, "no order 'nope'"),
        ("order cancel", 2, "which orders"),
        ("order cancel x --all", 2, "which orders"),
        ("book BTC/USDT --depth 0", 2, "from 1"),
        ("actor kill nobody", 3, "no actor"),
        ("risk halt --scope venue:x", 3, "no venue"),
        ("risk halt --scope moon", 2, "should be all"),
        ("order resolve x CANCELED", 2, "reason"),
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


def test_a_dry_run_that_risk_denies_shows_plan_and_verdict(server, core, xcore, as_json):
    core.behaviour = "deny"
    assert as_json("order", "place", *LIMIT, "--dry-run", exit_code=6)["approved"] is False
    code, out, err = xcore("order", "place", *LIMIT, "--dry-run")
    assert (code, "above the limit" in out, "would be denied" in err) == (6, True, True)


def test_the_command_id_is_told_before_sending(server, xcore, core):
    core.behaviour = "silent"
    _, _, err = xcore("order", "place", *LIMIT, "--timeout", "0.1")
    assert "command id " in err


def test_a_command_id_may_be_repeated(server, as_json):
    first = as_json("order", "place", *LIMIT, "--command-id", "again-1")
    second = as_json("order", "place", *LIMIT, "--command-id", "again-1")
    assert first["order_id"] == second["order_id"]


def test_halt_and_resume_answer_in_one_shape(server, as_json):
    halted, resumed = as_json("risk", "halt"), as_json("risk", "resume")
    assert set(halted) - set(resumed) == {"level", "since_seq", "venues"}
    assert set(resumed) <= set(halted)
    assert (halted["halted"], resumed["halted"], resumed["trading_state"]) == (
        True,
        False,
        "ACTIVE",
    )


def test_a_halt_says_what_it_waits_for_to_people_and_not_to_programs(server, core, xcore, as_json):
    core.in_flight = 2
    code, out, err = xcore("risk", "halt")
    assert code == 0
    assert "HALTED" in out
    assert err.splitlines() == [
        "okx: gate closed, waiting for 2 orders in flight",
        "okx: gate closed, waiting for 1 order in flight",
        "every gate is closed; waiting for the cancels, and for the venues' word",
    ]
    core.in_flight, core.halting = 1, None
    assert as_json("risk", "halt")["halted"]


def test_status_check_tells_monitors(server, core, xcore):
    assert xcore("status", "--check")[0] == 0
    core.halted = True
    assert xcore("status", "--check")[0] == 9


def test_journal_verify_works_without_a_core(as_json, xcore, tmp_path):
    code, _, err = xcore("journal", "verify")
    assert (code, "no journal" in err) == (2, True)
    folder = tmp_path / "journal"
    identity = Identity("demo", "desk-1", {"okx": "key-1"})
    record = NewRecord("r1", None, "OrderUnknown", "order_router", "c1", "k1", b"body", 1, 1)
    with Journal.open(folder, identity=identity, clock=SystemClock(), reserve_bytes=0) as journal:
        journal.append([record] * 3)
        head_seq = journal.head_seq
    report = as_json("journal", "verify")
    assert (report["ok"], report["head_seq"], report["problem"]) == (True, head_seq, None)
    (folder / "high_water").unlink()
    assert as_json("journal", "verify", exit_code=1)["ok"] is False


@pytest.mark.processes
def test_every_kind_of_fault_can_be_injected_without_saying_where(server, core, xcore, tmp_path):
    simulator = Simulator(tmp_path, SystemClock())
    simulator.begin(seed=1, venues=["okx"], external=False)
    simulator.wait()
    core.fault_port = simulator
    try:
        for kind in KINDS:
            assert xcore("fault", "inject", kind, "--venue", "okx")[::2] == (0, ""), kind
        assert xcore("fault", "inject", "ws_drop", "--venue", "okx", "--on", "private")[0] == 0
        code, _, err = xcore("fault", "inject", "ws_gap", "--venue", "okx", "--on", "order")
        assert (code, "strikes on book, private, any" in err, "{" in err) == (2, True, False)
        assert xcore("fault", "inject", "moon", "--venue", "okx")[0] == 2
    finally:
        simulator.stop()


def test_a_long_journal_is_shown_in_pages(server, core, as_json):
    core.commit(*[OrderUnknown(f"o{n}", "reply lost") for n in range(2_500)])
    seqs = [row["seq"] for row in as_json("journal", "tail", "-n", "2000")]
    assert seqs == list(range(501, 2_501))
    seqs = [row["seq"] for row in as_json("journal", "tail", "-n", "1500", "--after-seq", "100")]
    assert seqs == list(range(101, 1_601))
    assert len(as_json("journal", "tail", "-n", "9999")) == 2_500


BOOK_FRAME = b"""{"arg":{"channel":"books","instId":"BTC-USDT"},"action":"snapshot","data":[{"asks":
[["2","1","0","1"]],"bids":[["1","1","0","1"]],"ts":"1","checksum":0,"prevSeqId":-1,"seqId":1}]}"""
RECORDED = BOOK_FRAME.replace(b"\n", b"") + b"\n"


def test_codec_replay_shows_the_report(as_json, xcore, tmp_path):
    file = tmp_path / "frames.gz"
    file.write_bytes(gzip.compress(RECORDED, mtime=0))
    report = as_json("codec", "replay", "okx", str(file))
    assert (report["frames"], report["books"]) == (1, 1)
    code, _, err = xcore("codec", "replay", "binance", str(file))
    assert (code, f"no frame of binance in {file}" in err) == (1, True)


ORDER_PUSH = """{"type":"message","topic":"/spotMarket/tradeOrdersV2","subject":"orderChange","data":
{"symbol":"KCS-USDT","orderType":"limit","side":"sell","orderId":"5efa","liquidity":"taker","type":"match",
"size":"0.1","filledSize":"0.1","price":"0.938","matchPrice":"0.96738","matchSize":"0.1","tradeId":"t1",
"clientOid":"ce01","remainSize":"0","status":"match","ts":1593487482038606180}}"""


def test_codec_replay_shows_what_private_messages_become(as_json, xcore, tmp_path):
    file = tmp_path / "order.txt"
    file.write_text(f'> {{"id":"|1|"}}\n< {{"id":"|1|","type":"ack"}}\n=\n{ORDER_PUSH}\n')
    answer = as_json("codec", "replay", "kucoin", "--channel", "private", str(file))
    assert (answer["venue"], answer["channel"]) == ("kucoin", "private")
    acked, seen, report = answer["events"]
    assert acked == {"event": "Acked", "what": "private"}
    assert (seen["event"], seen["price"], seen["trade_id"]) == ("FillSeen", "0.96738", "t1")
    assert (report["event"], report["filled_quantity"]) == ("OrderReport", "0.1")
    assert report["status"] == "PARTIALLY_FILLED"
    code, out, _ = xcore("codec", "replay", "kucoin", "--channel", "private", str(file))
    assert (code, len(out.splitlines())) == (0, 3)
    assert "OrderReport account=" in out


def test_codec_replay_wants_a_dialect_of_the_venue_and_a_known_channel(xcore, tmp_path):
    file = tmp_path / "frames.gz"
    file.write_bytes(gzip.compress(RECORDED, mtime=0))
    for words, sentence in [
        (("kraken", "--dialect", "bybit_v2"), "known: kraken_v1"),
        (("okx", "--dialect", "x"), "known: none"),
        (("okx", "--channel", "x"), "no channel 'x'"),
        (("kraken", "--dialect", "kraken_v1", "--channel", "private"), "public recordings"),
    ]:
        code, out, err = xcore("codec", "replay", *words, str(file))
        assert (code, out) == (2, "")
        assert sentence in " ".join(err.replace("│", " ").split()), err


@pytest.mark.parametrize(
    ("name", "content", "venue", "sentence"),
    [
        ("a.gz", gzip.compress(RECORDED, mtime=0), "moon", "known: binance, binance_coinm,"),
        ("a.gz", gzip.compress(RECORDED, mtime=0)[:-12], "okx", "a.gz is cut off"),
        ("a.gz", b"hello", "okx", "a.gz is no whole gzip file"),
        (
            "a.gz",
            gzip.compress(RECORDED, mtime=0)[:12] + b"x" * 40,
            "okx",
            "a.gz is no whole gzip file",
        ),
        ("a.txt", b"# hello\nDear diary\n", "okx", "a.txt line 2: not a recorded frame"),
        (".", b"", "okx", "is a folder"),
    ],
)
def test_what_is_no_recording_is_said_to_be(xcore, tmp_path, name, content, venue, sentence):
    file = tmp_path / name
    if content:
        file.write_bytes(content)
    code, out, err = xcore("codec", "replay", venue, str(file))
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.replace("│", " ").split()), err


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
