"""The venue's memory: every accepted request and its effects, written before the answer is sent.

One command's lines go to the file in a single write and the last of them carries `"end": true`;
a group cut short by a kill is not a command that happened and is dropped at the next start. The
write reaches the operating system, not necessarily the disk: it survives the death of this process,
not of the machine.
"""

import json
import os
from pathlib import Path
from typing import Any

from simulator.clock import Clock
from simulator.instruments import Instrument, decimal_of, plain, units_of
from simulator.log import complete_lines
from simulator.orders import (
    BalanceChanged,
    Event,
    Fill,
    Order,
    OrderChanged,
    OrderType,
    Side,
    Status,
    Stp,
    TimeInForce,
    Traded,
)

Line = dict[str, Any]


class Store:
    """Appends lines to one venue's file and gives the old ones back at start."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self.restored: list[Line] = []
        kept = 0
        if path.exists():
            self.restored, kept = complete_lines(path)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._file, kept)
        self._n = self.restored[-1]["n"] if self.restored else 0

    def append(self, lines: list[Line]) -> None:
        """Write one command's lines; returns when the operating system has them."""
        if not lines:
            return
        t_ns, wall_ns = self._clock.monotonic_ns(), self._clock.wall_ns()
        out = []
        for line in lines:
            self._n += 1
            out.append({"n": self._n, "t_ns": t_ns, "wall_ns": wall_ns, **line})
        out[-1]["end"] = True
        data = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in out).encode()
        while data:
            data = data[os.write(self._file, data) :]

    def close(self) -> None:
        """Close the file; nothing is buffered."""
        os.close(self._file)


def event_lines(event: Event, instruments: dict[str, Instrument]) -> list[Line]:
    """Write one event as log lines; public trades are not logged."""
    if isinstance(event, Traded):
        return []
    if isinstance(event, BalanceChanged):
        return [_balance_line(event)]
    instrument = instruments[event.order.symbol]
    lines = [order_line(event, instrument)]
    if event.fill is not None:
        lines.append(fill_line(event.fill, instrument))
    return lines


def _balance_line(event: BalanceChanged) -> Line:
    return {
        "kind": "balance",
        "account": event.account,
        "asset": event.asset,
        "free": plain(event.free),
        "locked": plain(event.locked),
        "delta": plain(event.delta),
        "reason": event.reason,
    }


def order_line(event: OrderChanged, instrument: Instrument) -> Line:
    """Write an order's whole state."""
    order = event.order
    quote = order.quote_quantity
    return {
        "kind": "order",
        "event": event.what,
        "account": order.account,
        "client_order_id": order.client_order_id,
        "venue_order_id": str(order.order_id),
        "symbol": order.symbol,
        "side": order.side.value,
        "type": order.order_type.value,
        "time_in_force": order.time_in_force.value,
        "price": None if order.price is None else plain(order.price * instrument.tick_units),
        "quantity": plain(order.quantity * instrument.lot_units),
        "quote_quantity": None if quote is None else plain(quote),
        "filled_quantity": plain(order.filled * instrument.lot_units),
        "filled_quote": plain(order.quote_filled),
        "status": order.status.value,
        "reserved": plain(order.reserved),
        "stp": order.stp.value,
        "tag": order.tag,
        "priority": order.priority,
        "created_ns": order.created_ns,
        "updated_ns": order.updated_ns,
        "fees": {asset: plain(units) for asset, units in order.fees.items()},
        "cancel_id": order.cancel_id,
    }


def fill_line(fill: Fill, instrument: Instrument) -> Line:
    """Write one execution."""
    return {
        "kind": "fill",
        "account": fill.account,
        "trade_id": str(fill.trade_id),
        "venue_order_id": str(fill.order_id),
        "client_order_id": fill.client_order_id,
        "symbol": fill.symbol,
        "side": fill.side.value,
        "price": plain(fill.price * instrument.tick_units),
        "quantity": plain(fill.quantity * instrument.lot_units),
        "quote_quantity": plain(fill.quote),
        "fee": plain(fill.fee),
        "fee_asset": fill.fee_asset,
        "liquidity": "maker" if fill.is_maker else "taker",
        "time_ns": fill.time_ns,
    }


def order_of(line: Line, instruments: dict[str, Instrument]) -> Order:
    """Read an order line back."""
    instrument = instruments[line["symbol"]]
    return Order(
        order_id=int(line["venue_order_id"]),
        account=line["account"],
        symbol=line["symbol"],
        side=Side(line["side"]),
        order_type=OrderType(line["type"]),
        time_in_force=TimeInForce(line["time_in_force"]),
        client_order_id=line["client_order_id"],
        price=None if line["price"] is None else units(line["price"]) // instrument.tick_units,
        quantity=units(line["quantity"]) // instrument.lot_units,
        quote_quantity=None if line["quote_quantity"] is None else units(line["quote_quantity"]),
        stp=Stp(line["stp"]),
        tag=line["tag"],
        created_ns=line["created_ns"],
        updated_ns=line["updated_ns"],
        priority=line["priority"],
        status=Status(line["status"]),
        filled=units(line["filled_quantity"]) // instrument.lot_units,
        quote_filled=units(line["filled_quote"]),
        reserved=units(line["reserved"]),
        fees={asset: units(text) for asset, text in line["fees"].items()},
        cancel_id=line["cancel_id"],
    )


def fill_of(line: Line, instruments: dict[str, Instrument]) -> Fill:
    """Read a fill line back."""
    instrument = instruments[line["symbol"]]
    return Fill(
        trade_id=int(line["trade_id"]),
        order_id=int(line["venue_order_id"]),
        account=line["account"],
        client_order_id=line["client_order_id"],
        symbol=line["symbol"],
        side=Side(line["side"]),
        price=units(line["price"]) // instrument.tick_units,
        quantity=units(line["quantity"]) // instrument.lot_units,
        quote=units(line["quote_quantity"]),
        fee=units(line["fee"]),
        fee_asset=line["fee_asset"],
        is_maker=line["liquidity"] == "maker",
        time_ns=line["time_ns"],
    )


def units(text: str) -> int:
    """Read a decimal string we wrote ourselves."""
    value = decimal_of(text)
    assert value is not None, f"not a number: {text!r}"
    return units_of(value)
