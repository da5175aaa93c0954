import json

import pytest
from loguru import logger

from engine import logs
from engine.config_models import Log, LogFile
from engine.views import wants_color


@pytest.fixture
def quiet():
    yield
    logger.remove()


def secret_failure():
    secret = "k4n4ry-secret"
    raise ValueError(f"the venue said {secret}")


def test_a_secret_in_a_message_or_a_traceback_is_hidden_everywhere(tmp_path, capsys, quiet):
    logs.configure(Log(console="text", level="DEBUG"), tmp_path, ["k4n4ry-secret"])
    logger.bind(key="k4n4ry-secret").info("sent k4n4ry-secret")
    try:
        secret_failure()
    except ValueError:
        logger.exception("failed")
    logger.complete()
    logger.remove()
    written = (tmp_path / "log" / "xcore.jsonl").read_text()
    shown = capsys.readouterr().err
    assert "k4n4ry" not in written + shown
    lines = [json.loads(line) for line in written.splitlines()]
    assert lines[0]["event"] == "sent ***"
    assert lines[0]["key"] == "***"
    assert "secret_failure" in lines[1]["trace"]
    assert (tmp_path / "log" / "xcore.jsonl").stat().st_mode & 0o077 == 0


def test_a_pipe_gets_json_lines(tmp_path, capsys, quiet):
    logs.configure(Log(file=LogFile(path="")), tmp_path)
    logger.bind(venue="okx", count=3).info("link up {}", "<red>")
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["venue"], line["count"]) == ("link up <red>", "okx", 3)
    assert not (tmp_path / "log").exists()


def test_colour_rules(monkeypatch):
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not wants_color("auto", terminal=True)
    assert wants_color("always", terminal=False)
    monkeypatch.delenv("NO_COLOR")
    assert wants_color("auto", terminal=True)
    assert not wants_color("auto", terminal=False)
    assert not wants_color("never", terminal=True)
