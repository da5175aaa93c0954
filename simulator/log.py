"""Reads a venue's log: what really happened there, for tests and crash checkers to judge from.

Each line of `DIR/sim/VENUE.jsonl` is a JSON object with `n` (line number from 1), `t_ns`
(monotonic), `wall_ns` (UTC) and `kind`:

    start    pid, seed, venue: the process (re)started
    request  account, action (place, cancel, amend, replace), client_order_id, venue_order_id, ...
    order    the order's whole state after one event (NEW, TRADE, CANCELED, REPLACED, EXPIRED, ...)
    fill     trade_id, order ids, price, quantity, quote_quantity, fee, fee_asset, liquidity
    balance  account, asset, free, locked, delta (change of the total), reason
    deal     a dealer's: action, contract_id, transaction_id, amount, balance_after, order, cause, ...
    fault    fault_id, fault_kind, phase (set, applied, cleared), and what it struck

Money is in decimal strings. The lines of one command end with `"end": true`; a trailing group
without it was cut by a kill and never answered, so readers drop it. It reads; it never writes.
"""

import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

Line = dict[str, Any]


@dataclass(slots=True)
class Truth:
    """A venue's log, digested. Accounts other than `account` are left out when one is asked for."""

    orders: dict[str, Line] = field(default_factory=dict)  # last state by client_order_id
    order_counts: dict[str, int] = field(default_factory=dict)  # orders per client_order_id
    orders_by_venue_id: dict[str, Line] = field(default_factory=dict)
    fills: list[Line] = field(default_factory=list)
    balances: dict[str, dict[str, tuple[Decimal, Decimal]]] = field(default_factory=dict)
    balance_changes: list[Line] = field(default_factory=list)
    requests: list[Line] = field(default_factory=list)
    faults: list[Line] = field(default_factory=list)
    deals: list[Line] = field(default_factory=list)  # a dealer's, see deriv_dealer.py
    history: list[Line] = field(default_factory=list)  # every order line, in order

    def open_orders(self) -> list[Line]:
        """Return the orders that could still trade."""
        live = ("NEW", "PARTIALLY_FILLED")
        return [line for line in self.orders_by_venue_id.values() if line["status"] in live]


def complete_lines(path: Path) -> tuple[list[Line], int]:
    """Return the lines of all complete commands, and how many bytes they take."""
    data = path.read_bytes()
    lines: list[Line] = []
    group: list[Line] = []
    offset = kept = 0
    for raw in data.splitlines(keepends=True):
        offset += len(raw)
        try:
            line = json.loads(raw) if raw.endswith(b"\n") else None
        except ValueError:
            line = None
        if not isinstance(line, dict):
            break
        group.append(line)
        if line.get("end"):
            lines += group
            group, kept = [], offset
    return lines, kept


def read_log(path: str | Path, account: str | None = None) -> Truth:
    """Digest a log file, also while the simulator is writing to it; a missing file is empty.

    Args:
        path: `DIR/sim/VENUE.jsonl`.
        account: keep only this account's lines (`main` is the demo account).
    """
    truth = Truth()
    path = Path(path)
    if not path.exists():
        return truth
    for line in complete_lines(path)[0]:
        if account is None or line.get("account") in {None, account}:
            _apply(truth, line)
    for line in truth.orders_by_venue_id.values():
        client_order_id = line["client_order_id"]
        truth.orders[client_order_id] = line
        truth.order_counts[client_order_id] = truth.order_counts.get(client_order_id, 0) + 1
    return truth


def _apply(truth: Truth, line: Line) -> None:
    match line["kind"]:
        case "order":
            truth.orders_by_venue_id[line["venue_order_id"]] = line
            truth.history.append(line)
        case "fill":
            truth.fills.append(line)
        case "deal":
            truth.deals.append(line)
        case "balance":
            amounts = Decimal(line["free"]), Decimal(line["locked"])
            truth.balances.setdefault(line["account"], {})[line["asset"]] = amounts
            truth.balance_changes.append(line)
        case "request":
            truth.requests.append(line)
        case "fault":
            truth.faults.append(line)
        case _:
            pass
