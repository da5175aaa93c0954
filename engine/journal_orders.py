"""The orders of a journal, folded beside a running core, a wedged one or none. Changes nothing."""

from dataclasses import dataclass
from pathlib import Path

from engine.envelope import decode_event
from engine.journal import JournalReader
from engine.messages.events import AccountIdentified
from engine.trading.order import Order
from engine.trading.orders import OrderTable

_ROUTER = "order_router"  # its snapshots are the list of all orders


@dataclass(frozen=True)
class JournalOrders:
    """What a journal says is open, and which account of the venue each account name is bound to."""

    open_orders: list[Order]
    uids: dict[str, str]
    head_seq: int


def orders_of(journal: Path) -> JournalOrders:
    """Return the orders that a journal's folder knows as open, external ones left out.

    Reads the newest good snapshot and what came after it: 50 us a record. Raises JournalError.
    """
    with JournalReader(journal) as reader:
        snapshot = reader.load_snapshot(_ROUTER)
        table = OrderTable() if snapshot is None else OrderTable.from_bytes(snapshot.state)
        seq = 0 if snapshot is None else snapshot.seq
        for record in reader.read(seq):
            table.apply(decode_event(record.kind, record.body), record.seq)
            seq = record.seq
        identified = [decode_event(r.kind, r.body) for r in reader.keyed("identity:")]
    found = table.select(open_only=True, parents=False)
    ours = [o for o in found if isinstance(o, Order) and o.spec.origin == "COMMAND"]
    uids = {e.account: e.uid for e in identified if isinstance(e, AccountIdentified)}
    return JournalOrders(ours, uids, seq)
