import importlib.util
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer

import cli
from engine.cli_base import hoist

ROOT = Path(__file__).resolve().parents[2]
TREE = typer.main.get_command(cli.app)
UNFINISHED = ("TO" + "DO", "FIX" + "ME", "T" + "BD", "X" + "XX")
# Where a build machine shows itself: its folders, its package index, addresses of its network.
MACHINE = re.compile(
    r"/(?:work|root|home/\w+|Users/\w+|tmp/\w+)/|file:///|https?://[^/\s]*(?:pypi|mirror|artifact)"
    r"|\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+(?:\.\d+)?\b"
)


def committed(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", *patterns],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    return [ROOT / name for name in listed if (ROOT / name).is_file()]


DOCUMENTS = committed("*.md")


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def prose(path: Path) -> str:
    return re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def typed(path: Path) -> list[str]:
    """Return the lines of fenced blocks that call xcore, as somebody would type them."""
    blocks = re.findall(r"```\n(.*?)```", path.read_text(), re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if re.match(r"(?:\.venv/bin/)?xcore ", line)]


def mentioned(path: Path) -> list[str]:
    """Return what stands between backticks and begins with xcore: a command, perhaps with holes."""
    found = re.findall(r"`((?:\.venv/bin/)?xcore(?: [^`]+)?)`", prose(path))
    return [text.replace("\\|", "|") for text in found]


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_relative_link_leads_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_in_a_block_parses(path):
    for line in typed(path):
        words = hoist(shlex.split(line)[1:])
        group, context = TREE, TREE.make_context("xcore", list(words))
        while hasattr(group, "commands"):
            rest = [*context._protected_args, *context.args]
            assert rest, f"{line}: which command of {context.command_path}?"
            assert rest[0] in group.commands, line
            group = group.commands[rest[0]]
            context = group.make_context(rest[0], rest[1:], parent=context)


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_every_command_that_is_mentioned_exists(path):
    for text in mentioned(path):
        words = [word for word in hoist(text.split()[1:]) if not word.startswith("-")]
        group = TREE
        while words and hasattr(group, "commands") and re.fullmatch(r"[a-z|]+", words[0]):
            name, *words = words
            for alternative in name.split("|"):
                assert alternative in group.commands, text
            group = group.commands[name.split("|")[0]]
        options = re.findall(r"(?<![\w-])--[a-z-]+", text)
        known = {o for p in (*group.params, *TREE.params) for o in (*p.opts, *p.secondary_opts)}
        assert set(options) <= known, text


def test_the_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert {"run", "test", "setup"} <= named
    assert named <= targets


def test_the_pages_made_from_the_code_are_fresh():
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    stale = [n for n, make in generate.PAGES.items() if (ROOT / "docs" / n).read_text() != make()]
    assert not stale, f"run `make docs`: {stale}"


def test_every_decision_is_in_the_list_and_says_context_decision_consequences():
    folder = ROOT / "docs" / "decisions"
    listed = (folder / "README.md").read_text()
    for path in sorted(folder.glob("0*.md")):
        assert f"({path.name})" in listed
        for part in ("**Context.**", "**Decision.**", "**Consequences.**"):
            assert part in path.read_text(), path.name


def test_the_changelog_keeps_the_order_of_its_headings():
    order = ["Safety", "Added", "Changed", "Fixed", "Removed"]
    for release in (ROOT / "CHANGELOG.md").read_text().split("\n## ")[1:]:
        found = re.findall(r"^### (.+)$", release, re.MULTILINE)
        assert found == [heading for heading in order if heading in found]


def test_the_port_page_names_every_message_of_the_port():
    page = (ROOT / "docs" / "adding-a-venue.md").read_text()
    source = (ROOT / "engine" / "messages" / "port.py").read_text()
    kinds = re.findall(r"^class (\w+)\(Message", source, re.MULTILINE)
    assert len(kinds) > 10
    assert [kind for kind in kinds if f"`{kind}`" not in page] == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_no_document_is_unfinished(path):
    assert not [mark for mark in UNFINISHED if re.search(rf"\b{mark}\b", path.read_text())]


def test_no_committed_file_shows_the_machine_it_was_made_on():
    found = []
    for path in committed():
        if path == Path(__file__) or path.suffix in (".gz", ".db", ".snap", ".png"):
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            hit = MACHINE.search(line)
            if hit:
                found.append(f"{name_of(path)}:{number}: {hit[0]}")
    assert not found
