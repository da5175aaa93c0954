"""`-w`, `-o csv|name`, `journal show|export`, `log tail`: the CLI for scripts and for a second screen."""

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

import cli
from engine.cli_base import hoist
from engine.cli_watch import taken

ROOT = Path(__file__).resolve().parents[2]
LIMIT = ("okx", "BTC/USDT", "buy", "0.01", "61000.5")


@pytest.fixture
def xcore(capsys, tmp_path):
    def run(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(["--state-dir", str(tmp_path), *words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code, out, err

    return run


class Watching:
    """`xcore ... -w` in a process of its own, its output a pipe."""

    def __init__(self, state_dir, *words):
        command = [sys.executable, "cli.py", "--state-dir", str(state_dir), *words]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for pipe in (self.process.stdout, self.process.stderr):
            os.set_blocking(pipe.fileno(), False)
        self.out, self.err = "", ""

    def lines(self):
        self.out += (self.process.stdout.read() or b"").decode()
        self.err += (self.process.stderr.read() or b"").decode()
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def watching(tmp_path):
    started = []

    def start(*words):
        started.append(Watching(tmp_path, *words))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.communicate()


def test_csv_has_a_row_each_and_every_column(client, core, xcore):
    for _ in range(2):
        client.place(*LIMIT)
    code, out, _ = xcore("order", "list", "-o", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (code, len(rows)) == (0, 2)
    assert {row["status"] for row in rows} == {"NEW"}
    assert rows[0]["average_price"] == ""
    assert {row["quantity"] for row in rows} == {"0.01"}


def test_name_is_what_a_script_goes_on_with(client, core, xcore):
    placed = [client.place(*LIMIT)["order_id"] for _ in range(2)]
    assert xcore("order", "list", "-o", "name")[1].split() == placed
    assert xcore("venue", "list", "-o", "name")[1].split() == ["okx"]


def test_one_record_is_shown_and_one_that_is_not_there_is_exit_3(client, core, xcore):
    client.place(*LIMIT)
    code, out, _ = xcore("--json", "journal", "show", "2")
    assert (code, json.loads(out)["seq"]) == (0, 2)
    code, _, err = xcore("journal", "show", "3")
    assert code == 3
    assert "no record 3" in err
    assert xcore("journal", "show", "0")[0] == xcore("journal", "show", "first")[0] == 2


def test_every_record_is_exported_once_and_in_order(client, core, xcore):
    for _ in range(3):
        client.place(*LIMIT)
    code, out, _ = xcore("journal", "export")
    assert (code, [json.loads(line)["seq"] for line in out.splitlines()]) == (0, [1, 2, 3, 4, 5, 6])
    assert len(xcore("journal", "export", "--after-seq", "4")[1].splitlines()) == 2


def test_a_watch_in_a_pipe_tells_each_change_once_and_outlives_the_core(core, client, watching):
    watched = watching("order", "list", "-o", "json", "-w", "0.1")
    client.place(*LIMIT)
    wait_for(watched.lines, "the first order is told")
    client.place(*LIMIT)
    wait_for(lambda: len({row["order_id"] for row in watched.lines()}) == 2, "and the second")
    told = len(watched.lines())
    looks = core.looks
    wait_for(lambda: core.looks >= looks + 3, "it looks again, three times")
    assert len(watched.lines()) == told, "what has not changed is not told again"
    assert watched.process.poll() is None


def test_a_watch_waits_for_a_core_that_is_not_there(watching, start_server, core, tmp_path):
    watched = watching("status", "-w", "0.1")
    wait_for(lambda: watched.lines() or "no core answers" in watched.err, "it says so")
    start_server()
    wait_for(watched.lines, "and goes on when there is one")
    assert watched.lines()[0]["mode"] == "demo"


def test_a_watch_of_nonsense_ends(server, xcore):
    code, _, err = xcore("order", "list", "--stat", "open", "-w")
    assert code == 2
    assert "--stat" in err


@pytest.mark.parametrize(
    "words",
    [
        ("order", "place", *LIMIT, "--command-id", "book", "-w"),
        ("order", "cancel", "--all", "-w"),
        ("risk", "resume", "--watch", "2"),
        ("status-quo", "-w"),
    ],
)
def test_what_acts_is_not_watched(server, core, xcore, words):
    code, _, err = xcore(*words)
    assert code == 2
    assert "only looks" in err
    assert core.told == []


@pytest.mark.parametrize(
    ("words", "rest", "every_s"),
    [
        (["status"], ["status"], None),
        (["status", "-w"], ["status"], 1.0),
        (["-w", "5", "bbo", "BTC/USDT"], ["bbo", "BTC/USDT"], 5.0),
        (["bbo", "--watch=0.5"], ["bbo"], 0.5),
        (["bbo", "-w", "BTC/USDT"], ["bbo", "BTC/USDT"], 1.0),
        (["bbo", "-w", "0"], ["bbo"], 0.1),
        (["order", "show", "--", "-w"], ["order", "show", "--", "-w"], None),
    ],
)
def test_the_watch_is_taken_out_of_the_line(words, rest, every_s):
    assert taken(words) == (rest, every_s)
    assert hoist(rest) is not None


def test_the_log_is_read_from_its_end_by_level_and_actor(tmp_path, xcore):
    log = tmp_path / "log" / "xcore.jsonl"
    log.parent.mkdir()
    rows = [
        {"ts": "t1", "level": "INFO", "event": "one", "actor": "risk_pnl"},
        {"ts": "t2", "level": "ERROR", "event": "two", "actor": "risk_pnl", "trace": "Trace\nback"},
        {"ts": "t3", "level": "WARNING", "event": "three", "actor": "exchange.okx"},
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"half')
    assert [line.split()[2] for line in xcore("log", "tail")[1].splitlines()] == [
        "one",
        "two",
        "three",
    ]
    assert xcore("log", "tail", "-n", "1")[1] == "t3 WARNING three actor=exchange.okx\n"
    out = xcore("log", "tail", "--actor", "risk_pnl", "--level", "warning", "-o", "jsonl")[1]
    assert json.loads(out) == rows[1]
    assert xcore("log", "tail", "--level", "loud")[0] == 2
    log.unlink()
    assert xcore("log", "tail")[0] == 2


def test_a_log_is_followed_over_its_rotation(tmp_path, watching):
    log = tmp_path / "log" / "xcore.jsonl"
    log.parent.mkdir()
    log.write_text('{"level": "INFO", "event": "first"}\n')
    followed = watching("log", "tail", "-f", "-o", "jsonl")
    wait_for(lambda: len(followed.lines()) == 1, "what was there")
    log.rename(tmp_path / "log" / "old.jsonl")
    log.write_text('{"level": "INFO", "event": "second"}\n')
    wait_for(lambda: len(followed.lines()) == 2, "what the next file brings")
    assert [row["event"] for row in followed.lines()] == ["first", "second"]


def test_down_without_a_core_says_so(xcore):
    code, _, err = xcore("down")
    assert code == 4
    assert "no core answers" in err
