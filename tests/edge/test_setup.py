"""`xcore doctor`, `init` and `config path`: on configurations, folders and journals well and not."""

import json
import sqlite3

import pytest

import cli
from engine.clock import SystemClock
from engine.config import load
from engine.doctor import Examination
from engine.journal import Identity, Journal, NewRecord

GOOD = "schema: 1\nname: desk-7\n"


@pytest.fixture
def xcore(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as ended:
            cli.main(["--json", *words])
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return ended.value.code, json.loads(out) if out else None, err

    return run


def rows_of(found):
    return {row["check"]: row for row in found}


def write(path, text):
    path.write_text(text)
    return path


def journal_in(folder, records=3):
    journal = Journal.open(
        folder / "journal",
        identity=Identity("demo", "desk-7", {"okx.main": "okx"}),
        clock=SystemClock(),
        reserve_bytes=0,
    )
    made = [NewRecord(f"r{n}", None, "Kind", "test", "", "", b"x", 1, 1) for n in range(records)]
    journal.append(made)
    journal.close()


def test_a_machine_that_is_well_has_no_failed_check(xcore, tmp_path):
    file = write(tmp_path / "config.yaml", GOOD)
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    journal_in(state)
    code, found, _ = xcore("doctor", str(file), "--state-dir", str(state))
    rows = rows_of(found)
    assert code == 0
    assert "desk-7" in rows["configuration"]["found"]
    assert "ccxt" in rows["libraries"]["found"]
    assert (rows["journal"]["result"], rows["journal"]["found"]) == ("ok", "3 records, whole")
    assert rows["core"]["found"] == "none runs on this folder"


def test_a_wrong_configuration_is_a_failed_check_and_the_others_are_made(xcore, tmp_path):
    file = write(tmp_path / "config.yaml", "schema: 1\nnam: desk\n")
    code, found, _ = xcore("doctor", str(file), "--state-dir", str(tmp_path / "state"))
    rows = rows_of(found)
    assert code == 1
    assert rows["configuration"]["result"] == "failed"
    assert "did you mean 'name'" in rows["configuration"]["found"]
    assert rows["state folder"]["result"] == "ok"


def test_a_damaged_journal_is_found_and_the_remedy_named(xcore, tmp_path):
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    journal_in(state)
    (database,) = (state / "journal").glob("*.db")
    with sqlite3.connect(database) as connection:
        connection.execute("UPDATE records SET body = x'79' WHERE seq = 2")
    connection.close()
    file = write(tmp_path / "config.yaml", GOOD)
    code, found, _ = xcore("doctor", str(file), "--state-dir", str(state))
    row = rows_of(found)["journal"]
    assert (code, row["result"]) == (1, "failed")
    assert "backup" in row["remedy"]


def test_a_folder_open_to_others_is_a_warning(xcore, tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    file = write(tmp_path / "config.yaml", GOOD)
    code, found, _ = xcore("doctor", str(file), "--state-dir", str(state))
    row = rows_of(found)["state folder"]
    assert (code, row["result"]) == (0, "warning")
    assert row["remedy"] == f"chmod 700 {state}"


def test_a_running_core_is_asked(xcore, server, core, client, tmp_path):
    file = write(tmp_path / "config.yaml", GOOD)
    core.behaviour = "unknown"
    client.place("okx", "BTC/USDT", "buy", "0.01", "61000.5", wait="none")
    core.halted = True
    code, found, _ = xcore("doctor", str(file), "--state-dir", str(tmp_path))
    rows = rows_of(found)
    assert code == 0
    assert (rows["core"]["result"], rows["core"]["found"]) == ("warning", "running, HALTED")
    assert rows["orders"]["found"].startswith("1 order")
    assert rows["venue okx"]["result"] == "ok"


def test_a_venue_whose_address_has_no_answer_is_a_failed_check(tmp_path):
    url = "http://no-such-host.invalid:1"
    venue = {"symbols": ["BTC/USDT"], "urls": {"rest": url, "public_ws": f"ws{url[4:]}"}}
    text = json.dumps({"schema": 1, "name": "desk-7", "venues": {"okx": venue}})
    file = write(tmp_path / "config.yaml", text)
    found = {f.check: f for f in Examination(file, tmp_path / "state").run()}
    assert found["address of okx"].result == "failed"


def test_init_writes_what_loads_and_never_over_another(xcore, tmp_path):
    code, found, _ = xcore("init", "mine.yaml", "--name", "desk-9")
    assert code == 0
    assert found["file"] == str(tmp_path / "mine.yaml")
    assert load(tmp_path / "mine.yaml").name == "desk-9"
    before = (tmp_path / "mine.yaml").read_bytes()
    code, _, err = xcore("init", "mine.yaml")
    assert code == 2
    assert "already" in err
    assert (tmp_path / "mine.yaml").read_bytes() == before
    assert xcore("init", "other.yaml", "--name", "No Name")[0] == 2


def test_config_path_tells_which_is_used_here(xcore, tmp_path):
    file = write(tmp_path / "config.yaml", GOOD)
    code, found, _ = xcore("config", "path", "--state-dir", str(tmp_path / "state"))
    assert (code, found["file"]) == (0, str(file))
    assert found["state_dir"] == str(tmp_path / "state")
