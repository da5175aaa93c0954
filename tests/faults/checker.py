"""Judges a run from two witnesses only: the venues' own logs and the core's journal.

Each rule is a line in `problems`; an empty list means that nothing was lost, doubled or invented.
The arithmetic is done here from the records, not by the core's own ledger; the ledger is compared
besides. Run it when nothing is open or in flight any more.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from decimal import Decimal

from engine.envelope import decode_event
from engine.journal import JournalReader, verify_folder
from engine.messages.events import (
    BalanceDifferenceAccepted,
    BalanceDifferenceFound,
    ExternalOrderSeen,
    OpeningBalance,
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderUnknown,
    ParentAccepted,
)
from engine.trading.ledger import Ledger
from engine.trading.orders import OrderTable
from simulator.log import read_log

VENUES = ("binance", "okx")
OPEN = ("NEW", "PARTIALLY_FILLED")
ENDS = (OrderRejected, OrderCanceled, OrderExpired, OrderResolved)
# What a core's terminal status may be for each of the venue's.
AGREE = {
    "FILLED": {"FILLED"},
    "CANCELED": {"CANCELED"},
    "EXPIRED": {"EXPIRED", "CANCELED"},
    "REJECTED": {"REJECTED"},
}


@dataclass
class Core:
    """What the journal says."""

    records: list = field(default_factory=list)
    approvals: dict = field(default_factory=dict)  # client_order_id -> (mono_ns, spec)
    fills: list = field(default_factory=list)
    commands: dict = field(default_factory=lambda: defaultdict(list))
    parents: dict = field(default_factory=dict)
    denied: set = field(default_factory=set)
    unknown: set = field(default_factory=set)
    external: list = field(default_factory=list)
    money: dict = field(default_factory=lambda: defaultdict(Decimal))
    differences: list = field(default_factory=list)


def read_journal(folder):
    core = Core()
    reader = JournalReader(folder)
    for record in reader.read():
        event = decode_event(record.kind, record.body)
        core.records.append((record, event))
        match event:
            case OrderApproved():
                core.approvals.setdefault(event.order.order_id, []).append(
                    (record.ts_mono_ns, event.order)
                )
                core.commands[event.order.command_id].append(event.order)
            case ParentAccepted():
                core.parents.setdefault(event.order.command_id, []).append(event)
            case OrderDenied():
                core.denied.add(event.order.order_id)
                core.commands[event.order.command_id].append(event.order)
            case OrderUnknown():
                core.unknown.add(event.order_id)
            case ExternalOrderSeen():
                core.external.append(event)
            case OpeningBalance() | BalanceDifferenceAccepted():
                core.money[event.account, event.asset] += event.quantity
            case OrderFilled():
                core.fills.append(event)
                _count(core.money, event)
            case BalanceDifferenceFound():
                core.differences.append(event)
            case _:
                pass
    reader.close()
    return core


def _count(money, fill):
    base, quote = fill.symbol.split("/")
    sign = 1 if fill.side == "BUY" else -1
    money[fill.account, base] += sign * fill.quantity
    money[fill.account, quote] -= sign * fill.quantity * fill.price
    money[fill.account, fill.fee_asset] -= fill.fee


def problems(journal, log_of, acknowledged=(), venues=VENUES):
    """Return everything that is wrong, one sentence each.

    `journal` is the journal's folder, `log_of(venue)` a venue's log, `acknowledged` the command ids
    that somebody was told are accepted.
    """
    found = []
    report = verify_folder(journal)
    if not report.ok:
        return [f"journal: {report.problem}"]
    core = read_journal(journal)
    truths = {venue: read_log(log_of(venue), "main") for venue in venues}
    for venue, truth in truths.items():
        found += _orders(core, venue, truth)
        found += _fills(core, venue, truth)
        found += _money(core, venue, truth)
    found += _commands(core, truths, acknowledged)
    found += _statuses(core, truths)
    found += _evidence(core, {c for truth in truths.values() for c in truth.orders})
    return found


def _orders(core, venue, truth):
    """I12, I17: an intent before each order, and one order for each intent."""
    first = {}
    for line in truth.history:
        first.setdefault(line["client_order_id"], line["t_ns"])
    for client_order_id, count in truth.order_counts.items():
        if count > 1:
            yield f"I17 {venue}: {count} orders for {client_order_id}"
        intents = core.approvals.get(client_order_id, [])
        if not intents:
            yield f"I12 {venue}: {client_order_id} has no intent in the journal"
        elif intents[0][0] >= first[client_order_id]:
            yield f"I12 {venue}: {client_order_id} was at the venue before its intent"
    for order_id, intents in core.approvals.items():
        if len(intents) > 1:
            yield f"I17 {len(intents)} intents for {order_id}"
    for line in truth.open_orders():
        yield f"{venue}: {line['client_order_id']} is still open at the venue"


def _fills(core, venue, truth):
    """I4: the same trades at the venue and in the journal, each once, with the same numbers."""
    theirs = {
        (f["symbol"], f["venue_order_id"], f["trade_id"]): (
            f["side"], Decimal(f["price"]), Decimal(f["quantity"]), Decimal(f["fee"]),
        )
        for f in truth.fills
    }  # fmt: skip
    ours = [f for f in core.fills if f.venue == venue]
    counts = Counter((f.symbol, f.venue_order_id, f.trade_id) for f in ours)
    for key, count in counts.items():
        if count > 1:
            yield f"I4 {venue}: fill {key} is journaled {count} times"
        if key not in theirs:
            yield f"I4 {venue}: fill {key} was invented"
    for key in theirs.keys() - counts.keys():
        yield f"I4 {venue}: fill {key} is missing"
    for f in ours:
        said = theirs.get((f.symbol, f.venue_order_id, f.trade_id))
        if said is not None and said != (f.side, f.price, f.quantity, f.fee):
            yield f"I4 {venue}: fill {f.trade_id} is {f}, the venue says {said}"


def _money(core, venue, truth):
    """I18, I19: every balance exactly as the venue has it, by our sums and by the core's ledger."""
    account = f"{venue}.main"
    ledger = Ledger()
    for _, event in core.records:
        ledger.apply(event)
    reported = {a: free + locked for a, (free, locked) in truth.balances["main"].items()}
    for asset, total in sorted(reported.items()):
        if core.money[account, asset] != total:
            yield f"I19 {account} {asset}: journal {core.money[account, asset]}, venue {total}"
        if ledger.balance(account, asset) != total:
            yield f"I19 {account} {asset}: ledger {ledger.balance(account, asset)}, venue {total}"
    if ledger.is_restricted(account):
        yield f"I19 {account}: a difference stands: {ledger.differences(account)}"
    for position in ledger.positions():
        if position.account == account:
            base = position.symbol.partition("/")[0]
            held = position.quantity - position.fees.get(base, 0)  # fees are kept beside it
            if held != reported[base]:
                yield f"I18 {position.symbol}: {held}, venue {reported[base]}"


def _commands(core, truths, acknowledged):
    """I3, I17: each acknowledged command is there, and each makes one order (or one split)."""
    at_venue = {c for truth in truths.values() for c in truth.orders}
    table = _table(core)
    for command_id in sorted(acknowledged):
        if command_id not in core.commands and command_id not in core.parents:
            yield f"I3 acknowledged command {command_id} is not in the journal"
    for command_id, specs in core.commands.items():
        direct = {s.order_id for s in specs if s.parent_id is None}
        parents = {e.order.order_id for e in core.parents.get(command_id, ())}
        if command_id and len(direct) + len(parents) > 1:
            yield f"I17 command {command_id} made {sorted(direct | parents)}"
        for spec in specs:
            order = table.order(spec.order_id)
            done = order is not None and (order.is_closed or order.status == "UNKNOWN")
            if spec.order_id not in at_venue and not done:
                yield f"I3 {spec.order_id} is neither at the venue nor ended nor UNKNOWN"
    for command_id, parents in core.parents.items():
        if len(parents) > 1:
            yield f"I17 command {command_id} was split {len(parents)} times"


def _statuses(core, truths):
    """Nothing is open here that the venue has ended, and both say the same of every order."""
    table = _table(core)
    theirs = {c: line for truth in truths.values() for c, line in truth.orders.items()}
    for order in table.select(parents=False):
        line = theirs.get(order.order_id)
        if line is None:
            if order.status in ("FILLED", "CANCELED", "EXPIRED") and order.venue_order_id:
                yield f"{order.order_id} is {order.status}, and the venue never had it"
            if order.is_open:
                yield f"{order.order_id} is {order.status} and not at the venue"
            continue
        if order.status not in AGREE.get(line["status"], {order.status}) or order.is_open:
            yield f"{order.order_id} is {order.status} here and {line['status']} at the venue"
        if order.filled_quantity != Decimal(line["filled_quantity"]):
            yield (
                f"{order.order_id} filled {order.filled_quantity},"
                f" at the venue {line['filled_quantity']}"
            )


def _evidence(core, at_venue):
    """I16: orders end on the venue's word, or a person's, and never as if the venue had them not."""
    for record, event in core.records:
        if isinstance(event, ENDS):
            words = getattr(event, "evidence", "") or getattr(event, "reason", "")
            if not words:
                yield f"I16 {event.order_id}: record {record.seq} ends it without evidence"
        if isinstance(event, OrderDenied) and event.order.order_id in core.unknown:
            yield f"I16 {event.order.order_id}: denied after it was UNKNOWN"
        if isinstance(event, OrderRejected) and event.order_id in at_venue:
            yield f"I16 {event.order_id}: rejected in record {record.seq}, but the venue took it"
        if isinstance(event, OrderDenied) and event.order.order_id in at_venue:
            yield f"I16 {event.order.order_id}: denied in record {record.seq}, but the venue took it"
        if isinstance(event, OrderAcknowledged) and not event.evidence:
            yield f"I16 {event.order_id}: acknowledged without evidence"
    for event in core.external:
        yield f"an order of nobody's: {event.order.order_id} {event.order.who}"


def _table(core):
    table = OrderTable(10**6)
    for record, event in core.records:
        table.apply(event, record.seq)
    return table
