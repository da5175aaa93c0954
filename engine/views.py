"""Shows answers: tables for people, JSON for programs. Data on stdout, everything else on stderr.

A pipe gets no colour and no cut columns. NO_COLOR is honoured. rich is imported only for tables.
"""

import csv
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

FORMATS: Final = ("table", "wide", "json", "jsonl", "csv", "name")
COLORS: Final = ("auto", "always", "never")
PIPE_WIDTH: Final = 4_000

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "order": (
        *("order_id", "venue", "symbol", "side", "status", "quantity", "filled_quantity"),
        *("price", "average_price", "command_id", "parent_id"),
    ),
    "leg": ("venue", "symbol", "side", "quantity", "price", "approved", "verdict"),
    "bbo": (
        "symbol",
        "bid_venue",
        "bid_quantity",
        "bid",
        "ask",
        "ask_quantity",
        "ask_venue",
        "age_ms",
        "not_counted",
    ),
    "venue": (
        *("name", "state", "reason", "waits_for", "book_state", "book_age_ms", "account"),
        *("symbols", "process"),
    ),
    "actor": ("name", "state", "restarts", "mailbox", "parked", "last_message_ms", "process"),
    "parked": ("id", "actor", "kind", "when", "attempts", "error", "text"),
    "position": (
        *("account", "symbol", "quantity", "traded_quantity", "average_entry_price", "basis"),
        *("mark_price", "realized_pnl", "unrealized_pnl", "fees"),
    ),
    "symbol": (
        *("symbol", "quantity", "realized_pnl", "unrealized_pnl", "currency", "fees"),
        "mark_price",
    ),
    "balance": ("account", "asset", "total", "value", "currency"),
    "limit": ("limit", "scope", "unit", "limit_value", "used", "headroom"),
    "backup": ("file", "created", "head_seq", "bytes", "problem"),
    "listed": (
        *("symbol", "venue_symbol", "kind", "quote_class", "multiplier", "contract_size", "settle"),
        *("named", "is_active"),
    ),
    "finding": ("check", "result", "found", "remedy"),
    "fault": ("kind", "description", "targets"),
    "impact": (
        *("venue", "average_price", "after_fees", "slippage_bps", "from_mid_bps", "worst_price"),
        *("levels", "quantity", "notional", "complete", "short"),
    ),
    "fee": (
        *("account", "symbol", "maker_fee", "taker_fee", "source", "age_s", "fills_checked"),
        *("fills_differing", "last_difference"),
    ),
    "swept": (*("venue", "account", "canceled", "filled", "unknown", "left", "proven", "problem"),),
    "step": ("step", "at", "venue_at", "venue", "text", "seq"),
    "edge": (
        *("symbol", "buy_at", "ask", "sell_at", "bid", "raw_bps", "net_bps", "quantity", "gain"),
        *("verdict", "why"),
    ),
}

# Which columns rows inside an answer have, by a field that only they have.
KINDS: Final[dict[str, str]] = {"net_bps": "edge", "verdict": "leg", "proven": "swept"}

STYLES: Final[dict[str, str]] = {
    "FILLED": "green",
    "READY": "green",
    "LIVE": "green",
    "RUNNING": "green",
    "ACTIVE": "green",
    "REJECTED": "red",
    "DENIED": "red",
    "HALTED": "bold red",
    "DOWN": "red",
    "UNKNOWN": "bold yellow",
    "STALE": "yellow",
    "DEGRADED": "yellow",
    "ok": "green",
    "warning": "yellow",
    "failed": "red",
}


@dataclass(frozen=True)
class Screen:
    """Where answers are shown, and in which of the formats."""

    format: str = "table"
    color: str = "auto"

    @property
    def is_table(self) -> bool:
        """Whether a person reads this."""
        return self.format in ("table", "wide")

    def show(self, value: Any, kind: str = "") -> None:
        """Print an answer: a map or a list of maps."""
        if self.format == "json":
            self.line(json.dumps(value, ensure_ascii=False, indent=2, default=str))
        elif self.format == "csv":
            self._csv(value if isinstance(value, list) else [value])
        elif self.format == "name":
            for row in value if isinstance(value, list) else [value]:
                self.line(_name(row, COLUMNS.get(kind, ())))
        elif self.format == "jsonl":
            for item in value if isinstance(value, list) else [value]:
                self.line(json.dumps(item, ensure_ascii=False, default=str))
        else:
            self._table(value, kind)

    # Every column of every row; what is no plain value stands as JSON in its cell.
    def _csv(self, rows: Sequence[Mapping[str, Any]]) -> None:
        names = list(dict.fromkeys(key for row in rows for key in row if key != "schema"))
        table = csv.writer(sys.stdout, lineterminator="\n")
        table.writerow(names)
        for row in rows:
            table.writerow(["" if row.get(n) is None else _plain(row[n]) for n in names])
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print one line of data."""
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def say(self, text: str) -> None:
        """Tell a person something that is not data; programs are not told."""
        if self.is_table:
            sys.stderr.write(text + "\n")

    def book(self, book: Mapping[str, Any]) -> None:
        """Print a book as a ladder: asks above, bids below, best in the middle."""
        if not self.is_table:
            self.show(book)
            return
        rows = [{"side": "ask", **level} for level in reversed(book.get("asks", []))]
        rows += [{"side": "bid", **level} for level in book.get("bids", [])]
        self._table(rows, "")
        for venue in book.get("venues", []):
            why = f"{venue['state']} {venue.get('reason', '')}"
            if venue.get("state") == "LIVE" and venue.get("quality", "verified") != "verified":
                why = f"its book is {venue['quality']}"
                if venue.get("bid") or venue.get("ask"):
                    why += f": {venue.get('bid') or '-'} / {venue.get('ask') or '-'}"
            elif venue.get("state") == "LIVE" and not venue.get("reason"):
                continue
            self.say(f"{venue['name']} does not count: {why}")

    def _table(self, value: Any, kind: str) -> None:
        from rich.console import Console  # noqa: PLC0415  only where a table is wanted

        terminal = sys.stdout.isatty()
        colored = wants_color(self.color, terminal=terminal)
        console = Console(
            no_color=not colored,
            color_system="auto" if colored else None,
            force_terminal=True if self.color == "always" else None,
            width=None if terminal else PIPE_WIDTH,
            highlight=False,
            markup=False,
            emoji=False,
        )
        if isinstance(value, list):
            console.print(self._rows(value, kind))
            return
        parts = dict(value)
        for name, part in list(parts.items()):
            if isinstance(part, list) and part and all(isinstance(p, dict) for p in part):
                del parts[name]
                console.print(_titled(name))
                kind = next((k for field, k in KINDS.items() if field in part[0]), name.rstrip("s"))
                console.print(self._rows(part, kind))
        console.print(_pairs(parts))

    def _rows(self, rows: Sequence[Mapping[str, Any]], kind: str) -> Any:
        return _rows(rows, COLUMNS.get(kind, ()), only=self.format == "table")


# What a script goes on with: the id or name of each row, else its first value.
def _name(row: Mapping[str, Any], columns: Sequence[str]) -> str:
    names = [n for n in ("order_id", "id", "name", *columns) if n in row]
    return _plain(row[names[0]] if names else next(iter(row.values()), ""))


def wants_color(choice: str, *, terminal: bool) -> bool:
    """Tell whether to colour: --color, then NO_COLOR, then FORCE_COLOR, then whether it is a terminal."""
    if choice != "auto":
        return choice == "always"
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or terminal


# `only`: just these columns, where there are any; else the others follow behind them.
def _rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], *, only: bool) -> Any:
    from rich.table import Table  # noqa: PLC0415

    keys = [key for row in rows for key in row if key != "schema"]
    chosen = [c for c in columns if not rows or c in keys]
    names = chosen if only and chosen else list(dict.fromkeys([*chosen, *keys]))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name.upper(), justify="left", overflow="fold")
    for row in rows:
        table.add_row(*[_cell(row.get(name)) for name in names])
    return table


def _pairs(parts: Mapping[str, Any]) -> Any:
    from rich.table import Table  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, part in parts.items():
        if name != "schema":
            table.add_row(name, _cell(part))
    return table


def _titled(name: str) -> Any:
    from rich.text import Text  # noqa: PLC0415

    return Text(name, style="bold underline")


# Text, never markup: a venue's words are shown as they are, without control characters.
def _cell(value: Any) -> Any:
    from rich.text import Text  # noqa: PLC0415

    if value is None:
        return Text("-")
    if isinstance(value, dict):
        return Text(" ".join(f"{k}={_plain(v)}" for k, v in value.items()))
    if isinstance(value, list):
        return Text(", ".join(_plain(item) for item in value))
    text = _plain(value)
    return Text(text, style=STYLES.get(text, ""))


def _plain(value: Any) -> str:
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False, default=str)
    return "".join(c if c.isprintable() else "?" for c in str(value))
