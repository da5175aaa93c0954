"""Makes a journal of many records, as trading leaves it behind: whole order lives at two venues.

Written by the real Journal in large batches. The records are what the actors would have appended
(origins, kinds, unique keys), so each durable actor folds what it would fold in earnest: four
records an order (intent, acknowledgement, two fills), and every order is closed.
"""

from collections.abc import Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Final

from engine.clock import SystemClock
from engine.envelope import encode_body
from engine.ids import client_order_id
from engine.journal import Identity, Journal, NewRecord
from engine.messages.base import Event
from engine.messages.events import (
    AccountOpened,
    OpeningBalance,
    OrderAcknowledged,
    OrderApproved,
    OrderFilled,
    OrderSpec,
    VenueReconciled,
)

BATCH: Final = 1_000
T0_NS: Final = 1_700_000_000_000_000_000
MARKETS: Final = (("BTC/USDT", Decimal(60_000)), ("ETH/USDT", Decimal(3_000)))
HALF: Final = Decimal("0.001")
TICK: Final = Decimal("0.01")
FEE_RATE: Final = Decimal("0.001")

Decided = tuple[str, Event]  # by whom, what


def make_journal(folder: Path, identity: Identity, records: int) -> None:
    """Write a journal of about `records` records into `folder`, which must not hold one."""
    clock = SystemClock()
    history = _records(identity, records)
    with Journal.open(
        folder, identity=identity, clock=clock, sync="normal", reserve_bytes=0
    ) as journal:
        while batch := list(islice(history, BATCH)):
            journal.append(batch)


def _records(identity: Identity, count: int) -> Iterator[NewRecord]:
    for n, (origin, event) in enumerate(islice(_events(identity), count), start=1):
        at_ns = T0_NS + n * 1_000_000
        yield NewRecord(
            f"{n:032x}:0", event.unique_key(), type(event).__name__, origin, f"{n:032x}",
            f"k{n // 4}", encode_body(event), at_ns, at_ns - T0_NS,
        )  # fmt: skip


def _events(identity: Identity) -> Iterator[Decided]:
    accounts = list(identity.accounts.items())
    for account, venue in accounts:
        yield f"exchange.{venue}", VenueReconciled(venue, account, T0_NS)
        for asset, quantity in (("USDT", 10**9), ("BTC", 10), ("ETH", 100)):
            opening = OpeningBalance(
                account, asset, Decimal(quantity), None, None, "unknown", T0_NS
            )
            yield "risk_pnl", opening
        yield "risk_pnl", AccountOpened(account, T0_NS)
    number = 0
    while True:
        number += 1
        account, venue = accounts[number % len(accounts)]
        yield from _order(identity.instance, account, venue, number)


def _order(instance: str, account: str, venue: str, number: int) -> Iterator[Decided]:
    symbol, around = MARKETS[number // 2 % len(MARKETS)]
    price = around + TICK * (number % 100)
    side = "BUY" if number // 4 % 2 else "SELL"
    command_id = f"c{number:025d}"
    order_id = client_order_id(instance, command_id)
    at_ns = T0_NS + number * 4_000_000
    exchange = f"exchange.{venue}"
    spec = OrderSpec(
        order_id, command_id, order_id, None, account, venue, symbol, side, "LIMIT", "GTC",  # type: ignore[arg-type]
        False, 2 * HALF, price, "COMMAND", "bench", at_ns,
    )  # fmt: skip
    yield "risk_pnl", OrderApproved(spec, at_ns - T0_NS, at_ns - T0_NS + 2_000_000_000, "approved")
    venue_id = f"{1_000_000_000 + number}"
    yield exchange, OrderAcknowledged(order_id, venue_id, "stream: NEW", at_ns)
    asset = symbol.partition("/")[2]
    for part in (0, 1):
        fill = OrderFilled(
            order_id, account, venue, symbol, side, price, HALF, price * HALF * FEE_RATE,  # type: ignore[arg-type]
            asset, "MAKER", venue_id, f"{2 * number + part}", "stream", at_ns,
        )  # fmt: skip
        yield exchange, fill
