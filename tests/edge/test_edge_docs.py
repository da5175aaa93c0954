import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
import typer
from pydantic import BaseModel

import cli
from engine.cli_base import NUMBERS
from engine.config_models import Settings
from engine.control_ops import OPERATIONS
from engine.control_push import TOPICS

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def commands(group, path="xcore"):
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def keys(model, path=""):
    for name, info in model.model_fields.items():
        key = f"{path}{info.alias or name}"
        inner = [info.annotation, *typing.get_args(info.annotation)]
        parts = [p for p in inner if isinstance(p, type) and issubclass(p, BaseModel)]
        if not parts:
            yield key
        elif typing.get_origin(info.annotation) is dict:
            yield from keys(parts[0], f"{key}.NAME.")
        else:
            yield from keys(parts[0], f"{key}.")


def test_every_command_and_option_is_documented():
    text = (DOCS / "cli.md").read_text()
    for name, command in commands(typer.main.get_command(cli.app)):
        assert f"`{name}" in text, name
        for parameter in command.params:
            options = [o for o in parameter.opts if o.startswith("-") and o != "--help"]
            assert not options or any(o in text for o in options), (name, options)


def test_every_option_with_a_number_has_its_own_word_on_negative_ones():
    for name, command in commands(typer.main.get_command(cli.app)):
        for parameter in command.params:
            if parameter.type_descriptor.annotation in (int, float):
                assert set(parameter.opts) <= set(NUMBERS), name


def test_every_config_key_is_documented_and_shipped():
    text = (DOCS / "config.md").read_text()
    found = list(keys(Settings))
    assert len(found) > 40
    for key in found:
        last = key.rpartition(".")[2]
        assert f"`{key}`" in text or f"`.{last}`" in text, key
        assert last in (ROOT / "config.yaml").read_text(), key


def test_every_operation_and_topic_is_documented():
    text = (DOCS / "client.md").read_text()
    for name in [*OPERATIONS, *TOPICS, "subscribe", "unsubscribe", "cancel_on_disconnect"]:
        assert f"`{name}`" in text, name


@pytest.fixture
def bot_state_dir(request, server, tmp_path):
    """The state folder of a real core where some conftest offers one, else of the small one."""
    try:
        return request.getfixturevalue("running_core").state_dir
    except pytest.FixtureLookupError:
        return tmp_path


@pytest.mark.processes
def test_the_ten_line_bot_of_the_docs_works(bot_state_dir):
    block = re.search(
        r"<!-- bot -->\n```python\n(.*?)```", (DOCS / "client.md").read_text(), re.DOTALL
    )
    assert block is not None
    ran = subprocess.run(
        [sys.executable, "-c", block[1]],
        cwd=ROOT,
        env={**os.environ, "XCORE_STATE_DIR": str(bot_state_dir)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.split()[1:] == ["OrderApproved", "CANCELED"]
