"""Write the reference pages that are made from the code: messages, orders, risk, metrics.

`make docs` runs it; a test fails when a page is not what the code says. It reads the sources as text
for what the types do not tell (field types as written, who makes a message), and decides nothing.
"""  # noqa: INP001

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from actors.tree import READERS  # noqa: E402
from dashboard.metrics import HISTOGRAMS, METRICS  # noqa: E402
from engine import messages  # noqa: E402
from engine.edge import TOPIC_OF  # noqa: E402
from engine.messages.base import Event, Message, Part  # noqa: E402
from engine.telemetry import ACK_US, COMMIT_US, TICK_US  # noqa: E402
from engine.trading import order_status as status  # noqa: E402
from engine.trading.risk_limits import REASONS  # noqa: E402

DOCS: Final = ROOT / "docs"
MARK: Final = (
    "<!-- Made by docs/generate.py from the code. Change the code, then run `make docs`. -->\n"
)

# Which address a source file speaks for. The first prefix that fits counts.
SPEAKERS: Final = (
    ("actors/exchange", "exchange.V"),
    ("actors/order_book", "order_book"),
    ("actors/order_router", "order_router"),
    ("actors/planning", "order_router"),
    ("actors/risk_", "risk_pnl"),
    ("engine/trading/risk", "risk_pnl"),
    ("engine/trading/reconcile", "risk_pnl"),
    ("engine/trading/consolidated", "order_book"),
    ("actors/questions", "exchange.V"),
    ("actors/venue_records", "exchange.V"),
    ("actors/persistence", "persistence"),
    ("actors/adapter", "adapter.V"),
    ("adapters/conformance", "exchange.V"),  # it plays the actor
    ("adapters/", "adapter.V"),
    ("engine/trading/book", "adapter.V"),
    ("actors/demo_maker", "demo_maker"),
    ("engine/port_refusals", "adapter.V"),
    ("engine/venue_port", "adapter.V"),
    ("engine/edge", "edge"),
    ("engine/control", "edge"),
    ("engine/", "runtime"),
    ("supervisor", "supervisor"),
)
SECTIONS: Final = (
    ("commands", "Commands, the road to the journal, and the runtime's own"),
    ("port", "The venue port"),
    ("market", "Market data"),
    ("events", "Events: what the journal holds"),
    ("engine_events", "Events of the engine itself"),
)
TOPIC_ARGUMENTS: Final = {
    "orders": "state, venue, symbol, limit",
    "order": "order_id or command_id",
    "balances": "venue",
    "depth": "symbol, depth",
    "venue_book": "symbol, venue, depth",
    "venue_records": "kind (portfolio, statement, profit_table), limit",
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Yield the files that may make a message, as paths and trees."""
    for folder in ("actors", "adapters", "engine"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if not name.startswith("engine/messages/"):
                yield name, ast.parse(path.read_text())
    yield "supervisor.py", ast.parse((ROOT / "supervisor.py").read_text())


def speaker(path: str) -> str:
    """Return the address for which a file speaks."""
    return next(name for prefix, name in SPEAKERS if path.startswith(prefix))


def makers_and_takers() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return by kind who makes a message, and which addresses have a handler for it."""
    kinds = {name for name, found in vars(messages).items() if _is_kind(found)}
    by_handler = {"on_" + re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower(): kind for kind in kinds}
    makers: dict[str, set[str]] = {kind: set() for kind in kinds}
    takers: dict[str, set[str]] = {kind: set() for kind in kinds}
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id in kinds:
                    makers[node.func.id].add(speaker(path))
            elif isinstance(node, ast.FunctionDef) and node.name in by_handler:
                is_base = path in ("engine/actor.py", "engine/supervision.py")
                where = "every actor" if is_base else speaker(path)
                takers[by_handler[node.name]].add(where)
    for kind in ("ConsolidatedBook", "Committed", "CommittedNow", "VenueState", "Reply"):
        takers[kind].add("edge")
    return makers, takers


def _is_kind(found: object) -> bool:
    return inspect.isclass(found) and issubclass(found, Message) and found not in (Message, Event)


def fields_of(section: str) -> dict[str, list[tuple[str, str, str]]]:
    """Return by class the fields of one messages file: name, type as written, default."""
    tree = ast.parse((ROOT / "engine" / "messages" / f"{section}.py").read_text())
    return {
        node.name: [
            (
                item.target.id,
                ast.unparse(item.annotation),
                "" if item.value is None else ast.unparse(item.value),
            )
            for item in node.body
            if isinstance(item, ast.AnnAssign)
            and isinstance(item.target, ast.Name)
            and not ast.unparse(item.annotation).startswith("ClassVar")
        ]
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def messages_page() -> str:
    """Return the catalogue of messages."""
    makers, takers = makers_and_takers()
    out = [
        MARK,
        "# Messages\n",
        "Every message that crosses between actors, and every event that is journaled. On the wire a",
        "message is the MessagePack array `[kind, field, field, ...]` inside an envelope",
        "([architecture.md](architecture.md)); Decimals travel as text, NaN and infinities are refused.",
        "`Name`, `Id` and `Code` are texts of at most 64 characters, `Text` of at most 2000; `TsNs` is",
        "nanoseconds UTC, `mono` names the monotonic clock of the machine. Venue `V` stands for each.\n",
    ]
    for section, title in SECTIONS:
        out.append(f"## {title}\n")
        for name, fields in fields_of(section).items():
            out += _one_class(name, fields, makers, takers)
    out.append("## Questions of the edges\n")
    out.append("`Query.topic`, who answers, and the arguments it reads:\n")
    out.append("| topic | answered by | arguments |\n|---|---|---|")
    for topic, address in sorted(TOPIC_OF.items()):
        out.append(f"| `{topic}` | `{address}` | {TOPIC_ARGUMENTS.get(topic, '')} |")
    readers = ", ".join(f"`{name}`" for name in READERS)
    out.append(f"\nThe consolidated book is published to {readers}.")
    return "\n".join(out) + "\n"


def _one_class(
    name: str,
    fields: list[tuple[str, str, str]],
    makers: dict[str, set[str]],
    takers: dict[str, set[str]],
) -> list[str]:
    kind = getattr(messages, name, None)
    if kind is None or not issubclass(kind, Part):
        return []
    out = [f"### {name}\n", inspect.cleandoc(kind.__doc__ or "") + "\n"]
    facts = []
    if _is_kind(kind):
        facts.append(f"lane {kind.lane.name}")
        if "conflate_key" in vars(kind):
            facts.append("conflated")
        facts += _who("from", makers[name])
        to = set(takers[name]) if not issubclass(kind, Event) else set()
        facts += _who("to", to)
        if "unique_key" in vars(kind):
            facts.append("unique: " + inspect.cleandoc(vars(kind)["unique_key"].__doc__ or ""))
    else:
        facts.append("a part of other messages")
    out.append(f"*{'; '.join(facts)}*\n")
    if fields:
        out.append("| field | type | default |\n|---|---|---|")
        out += [f"| `{n}` | `{t.replace('|', chr(92) + '|')}` | {d} |" for n, t, d in fields]
        out.append("")
    return out


def _who(word: str, names: set[str]) -> list[str]:
    return [f"{word} {', '.join(sorted(names))}"] if names else []


def orders_page() -> str:
    """Return the life of an order: statuses and the whole table."""
    out = [
        MARK,
        "# The life of an order\n",
        "One table in `engine/trading/order_status.py` says which status follows from which fact. What is",
        "not in it is illegal, raises IllegalTransition and changes nothing; a test walks every pair.\n",
        "| status | |\n|---|---|",
    ]
    for name in status.STATUSES:
        closed, flying = name in status.CLOSED, name in status.IN_FLIGHT
        out.append(f"| {name} | {'closed' if closed else 'in flight' if flying else 'open'} |")
    out += [
        "",
        "Targets in the table: `same` a duplicate or an older fact, nothing changes; `keep` the status",
        "stays and the facts are taken; `open` PENDING_CANCEL if a cancel is on its way, else NEW or",
        "PARTIALLY_FILLED by arithmetic; `adopt` open again if the order had been ended without the",
        "venue's proof, else same. An empty cell is illegal.\n",
    ]
    half = len(status.TRIGGERS) // 2
    for triggers in (status.TRIGGERS[:half], status.TRIGGERS[half:]):
        out.append("| status | " + " | ".join(triggers) + " |")
        out.append("|---|" + "---|" * len(triggers))
        for name in status.STATUSES:
            cells = [status.TABLE.get((name, trigger), "") for trigger in triggers]
            out.append(f"| {name} | " + " | ".join(cell.replace("*", "") for cell in cells) + " |")
        out.append("")
    out.append(_comments())
    return "\n".join(out)


# The surprising rows carry their reason as a comment in the table; it belongs to the reader too.
def _comments() -> str:
    out = ["Why some of them are so:\n"]
    row = ""
    source = (ROOT / "engine" / "trading" / "order_status.py").read_text()
    body = source.partition("_LATE: Final")[2].partition("TABLE: Final")[0]
    for line in ("    (every status after birth): {\n" + body).splitlines():
        if found := re.match(r"    ([A-Z_]+|\(every status after birth\)): \{", line):
            row = found[1]
        elif found := re.match(r"_CLOSED: Final", line):
            row = "(every closed status)"
        elif re.match(r"_ROWS: Final", line):
            row = ""
        if found := re.match(r"\s+([A-Z_]+): \*?\w+,  # (.+)", line):
            trigger = getattr(status, found[1])
            out.append(f"- {row}, {trigger}: {found[2]}")
    return "\n".join(out) + "\n"


def risk_page() -> str:
    """Return the words for each refusal."""
    out = [
        MARK,
        "# Why an order is denied\n",
        "DENIED is our own refusal: nothing was sent. The code is in the order's `reason_code`, on the",
        "CLI's stderr and in the journal's OrderDenied. The limits are set under `risk` in",
        "[config.yaml](config.md).\n",
        "| code of the risk gate | meaning |\n|---|---|",
    ]
    out += [f"| `{code}` | {text} |" for code, text in REASONS.items()]
    out += [
        "",
        "Others deny too: the router when nothing can be planned, an ExchangeActor when the venue may not",
        "trade at the moment of sending, persistence when the journal cannot take the order, and the",
        "adapter when it can prove that nothing was sent. Their codes beside those above:\n",
    ]
    out += [f"- `{code}` ({where})" for code, where in sorted(other_codes().items())]
    return "\n".join(out) + "\n"


def other_codes() -> dict[str, str]:
    """Return the codes that planning, routing and the exchange actors refuse orders with."""
    found: dict[str, str] = {}
    places = {
        "order_router": ("actors/planning.py", "engine/trading/routing.py"),
        "persistence": ("actors/persistence.py",),
        "exchange.V": ("actors/exchange_orders.py",),
        "adapter.V": ("adapters/adapter.py", "adapters/pending.py"),
    }
    patterns = (
        r'Refused\(\s*"([a-z_]+)"', r'OrderDenied\(\w+, "([a-z_]+)"', r'code, text = "([a-z_]+)"',
        r'return "([a-z_]+)", f?"', r'refuse\(order, "([a-z_]+)"',
    )  # fmt: skip
    for where, paths in places.items():
        for path in paths:
            text = (ROOT / path).read_text()
            for code in (code for pattern in patterns for code in re.findall(pattern, text)):
                if code not in REASONS:
                    found.setdefault(code, where)
    return found


def metrics_page() -> str:
    """Return the catalogue of metrics."""
    bounds = {"order_ack": ACK_US, "tick_to_book": TICK_US, "journal_commit": COMMIT_US}
    out = [
        MARK,
        "# Metrics\n",
        "`GET /metrics` on `metrics.host` and `metrics.port` ([config.yaml](config.md)), Prometheus' text",
        "format. The page's process serves it and asks the core over the control socket at each scrape;",
        "nothing on the tick path waits for it. When the core does not answer, `xcore_up` is 0 and all",
        "others are absent. Counters begin with the core's start. No label ever carries an order's id.\n",
        "`GET /livez`: 200 while the core answers. `GET /readyz`: 200 while every account is reconciled,",
        "the journal is written and at least one venue is READY with a LIVE book; else 503 and, in words,",
        "why not. No token is needed on this port, which is why it listens on loopback.\n",
        "Alert rules: [deploy/prometheus/alerts.yml](../deploy/prometheus/alerts.yml), each with its",
        "section of the [runbook](runbook.md). Dashboard for Grafana:",
        "[deploy/grafana/xcore.json](../deploy/grafana/xcore.json).\n",
        "| metric | type | labels | meaning |\n|---|---|---|---|",
    ]
    for name, known in METRICS.items():
        labels = ", ".join(f"`{label}`" for label in known.labels)
        out.append(f"| `{name}` | {known.kind} | {labels} | {known.text} |")
    out += [
        "",
        "Upper bounds of the buckets, in milliseconds:\n",
        "| histogram | bounds |\n|---|---|",
    ]
    for name, key in HISTOGRAMS.items():
        out.append(f"| `{name}` | {', '.join(f'{us / 1000:g}' for us in bounds[key])} |")
    return "\n".join(out) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "messages.md": messages_page,
    "orders.md": orders_page,
    "risk.md": risk_page,
    "metrics.md": metrics_page,
}


def main() -> None:
    """Write every page."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make())


if __name__ == "__main__":
    main()
