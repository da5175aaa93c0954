"""The house rules that a linter does not know: sizes, who may import whom, and injected time."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
OURS = ("engine", "actors", "adapters", "simulator", "dashboard", "bench", "cli", "supervisor")
LINES_MAX = 400
FUNCTION_LINES_MAX = 60

# Who may import whom, ours only. The most specific prefix counts.
MAY_IMPORT = {
    "engine.trading": ("engine.trading", "engine.messages", "engine.ids", "engine.errors"),
    "engine": ("engine",),
    "actors.tree": ("engine", "actors"),
    "actors": ("engine", "actors"),
    "adapters": ("engine", "adapters"),
    "simulator": ("simulator", "engine.trading"),
    # The page knows the core by its control socket: the client, its errors, and no more.
    "dashboard": (
        *("dashboard", "engine.client", "engine.client_async", "engine.errors"),
        "engine.page_session",
    ),
    "cli": ("engine", "cli", "adapters.replay"),
    "supervisor": OURS,
    "bench": OURS,
}
# Actors meet only as messages; what they share is pure.
SHARED_BY_ACTORS = {
    "actors.exchange_orders",
    "actors.exchange_relay",
    "actors.awaited",
    "actors.exchange_state",
    "actors.exchange_waits",
    "actors.folds",
    "actors.planning",
    "actors.questions",
    "actors.replicas",
    "actors.risk_halts",
    "actors.venue_records",
}

THIRD_PARTY_ONLY_IN = {
    "pykka": ("engine/actor.py", "engine/mailbox.py", "engine/supervision.py"),
    "ccxt": ("adapters/ccxt_",),
    "websocket": ("adapters/stream.py",),
    "sqlite3": ("engine/journal",),
    "ruamel": ("engine/config",),
    "pydantic": ("engine/config",),
    "aiohttp": ("simulator/", "dashboard/"),
    "prometheus_client": ("dashboard/metrics.py",),
    "cryptography": ("simulator/coinbase_", "adapters/coinbase_token.py"),
}
# Where the machine's clocks, randomness and threads may be touched.
RUNTIME_FILES = (
    "engine/clock.py",
    "engine/ids.py",
    "engine/dispatch.py",
    "engine/timers.py",
    "engine/supervision.py",
    "engine/threads.py",
    "engine/client.py",  # these run in the user's process, not in the core
    "engine/cli_operator.py",
    "engine/cli_process.py",
    "engine/cli_watch.py",
)
BANNED_CALLS = {
    "time.time", "time.time_ns", "time.monotonic", "time.monotonic_ns", "time.perf_counter",
    "time.sleep", "uuid.uuid4", "os.urandom", "random.random", "random.randint", "random.choice",
    "random.uniform", "random.shuffle", "secrets.token_hex", "secrets.token_bytes",
    "threading.Thread", "threading.Timer", "datetime.now", "datetime.datetime.now",
    "datetime.utcnow", "Thread",
}  # fmt: skip


@functools.cache
def python_files() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    return [Path(p) for p in listed if not p.startswith("tests/") and (ROOT / p).exists()]


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text(), str(path))


@functools.cache
def imports_of(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_a_file_is_one_idea_of_at_most_400_lines(path: Path):
    assert (ROOT / path).read_text().count("\n") <= LINES_MAX


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_a_function_fits_on_a_screen(path: Path):
    long = [
        f"{node.name} {node.end_lineno - node.lineno + 1}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_imports_go_in_the_allowed_direction(path: Path):
    name = module_name(path)
    layer = next((p for p in MAY_IMPORT if name == p or name.startswith(p + ".")), None)
    if layer is None:
        return
    wrong = [
        other
        for other in imports_of(path)
        if other.split(".")[0] in OURS
        and not any(other == ok or other.startswith(ok + ".") for ok in MAY_IMPORT[layer])
    ]
    if layer == "actors":
        wrong += [
            other
            for other in imports_of(path)
            if other.startswith("actors.") and other not in SHARED_BY_ACTORS
        ]
    assert not wrong, f"{name} may not import {wrong}"


def test_the_core_never_loads_the_page():
    core = [
        p for p in python_files() if p.parts[0] in ("supervisor.py", "cli.py", "engine", "actors")
    ]
    assert [
        str(p) for p in core if any(i.split(".")[0] == "dashboard" for i in imports_of(p))
    ] == []


@pytest.mark.parametrize("path", python_files(), ids=str)
def test_third_parties_are_met_in_one_place(path: Path):
    if path.parts[0] == "bench":
        return
    wrong = [
        package
        for package, places in THIRD_PARTY_ONLY_IN.items()
        if any(i == package or i.startswith(package + ".") for i in imports_of(path))
        and not str(path).startswith(places)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "path", [p for p in python_files() if p.parts[0] in ("engine", "actors")], ids=str
)
def test_time_randomness_and_threads_are_injected(path: Path):
    if str(path) in RUNTIME_FILES:
        return
    calls = {
        f"line {node.lineno}: {dotted(node.func)}"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and dotted(node.func) in BANNED_CALLS
    }
    assert not calls


def test_nothing_unfinished_is_committed():
    marks = ("TO" + "DO", "FIX" + "ME")
    found = [
        f"{path}:{number}"
        for path in python_files()
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if any(mark in line for mark in marks)
    ]
    assert not found


def test_tests_wait_for_conditions_and_pause_in_one_place():
    sleepers = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        if path == ROOT / "tests" / "waiting.py":
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "sleep":
                sleepers.append(f"{path.relative_to(ROOT)}:{node.lineno}")
            if isinstance(node, ast.ImportFrom) and any(a.name == "sleep" for a in node.names):
                sleepers.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not sleepers, "use tests/waiting.py"


def test_the_core_and_the_cli_load_no_venue_library():
    heavy = ("ccxt", "requests", "websocket", "aiohttp", "prometheus_client", "keyring")
    for module in ("supervisor", "cli"):
        code = f"import {module}, sys; print(*sys.modules)"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        )
        loaded = {name.partition(".")[0] for name in done.stdout.split()}
        assert loaded.isdisjoint(heavy), (module, loaded & set(heavy))
