"""The story of one order, from the journal alone: what led to what, by both clocks. Changes nothing.

It works beside a running core and without one. A parent's story has its children's, a child's has its
parent's birth. Steps stand in the order in which they became durable; what came before the first
record of an order (the market, the command) is told from what that record remembers of it.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from engine.envelope import decode_event
from engine.errors import Refused
from engine.journal import JournalReader, Record
from engine.messages import events as e
from engine.messages.engine_events import CommandRecorded
from engine.trading.money import plain, plain_or_none

NO_SEQ: Final = 0


class Step(NamedTuple):
    """One step: what happened, when by our clock and when by the venue's (0 where there is none)."""

    step: str
    text: str
    order_id: str
    venue: str
    ours_ns: int
    venue_ns: int
    seq: int
    origin: str
    caused_by: str


class _Told(NamedTuple):
    # A step before it is placed: `ours_ns` None means when the record became durable.
    step: str
    text: str
    venue_ns: int = 0
    ours_ns: int | None = None


def story(journal: Path, order_id: str) -> list[Step]:
    """Return the steps of an order, a parent with its children.

    Raises Refused NOT_FOUND, JournalError.
    """
    with JournalReader(journal) as reader:
        birth = _birth(reader, order_id)
        if birth is None:
            raise Refused("NOT_FOUND", f"the journal knows no order '{order_id}'")
        event: Any = decode_event(birth.kind, birth.body)
        parent = event.order.parent_id
        family = {order_id, *getattr(event, "children", ())}
        first = _birth(reader, parent) if parent else None
        start = min(birth.seq, first.seq if first is not None else birth.seq)
        names = [name.encode() for name in family]
        steps: list[Step] = []
        for record in [first] if first is not None else []:
            steps += _steps(record, decode_event(record.kind, record.body))
        for record in reader.read(start - 1):
            if record == first or not any(name in record.body for name in names):
                continue
            found: Any = decode_event(record.kind, record.body)
            if isinstance(found, CommandRecorded) or _about(found) in family:
                steps += _steps(record, found)
    venues = {step.order_id: step.venue for step in steps if step.venue}
    placed = [s._replace(venue=s.venue or venues.get(s.order_id, "")) for s in steps]
    return list(_with_sends(placed))


# The moment of sending is in the answer to the submit. Where the venue's stream told of the order
# before that answer came, the answer was no news and is not in the journal.
def _with_sends(steps: list[Step]) -> Iterator[Step]:
    sent = {step.order_id for step in steps if step.step == "send"}
    for step in steps:
        told_by_venue = step.step in ("report", "fill") and step.venue_ns > 0
        if told_by_venue and step.order_id and step.order_id not in sent:
            sent.add(step.order_id)
            text = "between the intent and this; the venue's stream was faster than its answer"
            yield step._replace(step="send", text=text, ours_ns=0, venue_ns=0)
        yield step


# A parent, an intent, a denial at birth, an order that somebody else placed: whichever was first.
def _birth(reader: JournalReader, order_id: str) -> Record | None:
    found = [reader.find(f"{kind}:{order_id}") for kind in ("order", "denied")]
    return min((r for r in found if r is not None), key=lambda r: r.seq, default=None)


def _about(event: Any) -> str:
    order = getattr(event, "order", None)
    return str(order.order_id if order is not None else getattr(event, "order_id", ""))


def _steps(record: Record, event: Any) -> Iterator[Step]:
    order = getattr(event, "order", None)
    venue = order.venue if order is not None else getattr(event, "venue", "")
    for told in _TELLERS.get(type(event), _plainly)(event):
        ours_ns = record.ts_wall_ns if told.ours_ns is None else told.ours_ns
        yield Step(
            told.step, told.text, _about(event), venue, ours_ns, told.venue_ns, record.seq,
            record.origin, record.cause_id,
        )  # fmt: skip


def _plainly(event: Any) -> Iterator[_Told]:
    fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "order_id"}
    told_ns = int(fields.pop("ts_event_ns", 0))
    text = ", ".join(f"{name} {value}" for name, value in fields.items() if value not in ("", None))
    yield _Told("report", f"{type(event).__name__}: {text}", told_ns)


def _market(event: Any) -> Iterator[_Told]:
    seen = event.seen
    if seen is not None:
        text = f"best bid {plain_or_none(seen.bid)}, best ask {plain_or_none(seen.ask)}"
        yield _Told("tick", f"{text}, {seen.age_ns / 1e6:.1f} ms old", seen.ts_event_ns, 0)


def _command(spec: e.OrderSpec) -> _Told:
    price = "market" if spec.order_type == "MARKET" else f"@{plain_or_none(spec.price)}"
    what = f"{spec.side} {plain(spec.quantity)} {spec.symbol} {price} {spec.time_in_force}"
    text = f"{what} at {spec.venue}, by {spec.who}, command {spec.command_id}"
    return _Told("command", text, 0, spec.ts_created_ns)


def _parent(event: e.ParentAccepted) -> Iterator[_Told]:
    yield from _market(event)
    yield _command(event.order)
    yield _Told("plan", event.plan)
    mark = event.benchmark
    if mark is not None and mark.plan_price is not None:
        alone = "no venue alone has it all"
        if mark.venue is not None:
            alone = f"{mark.venue} alone {plain_or_none(mark.venue_price)}"
        yield _Told("plan", f"expected {plain(mark.plan_price)} a unit after fees; {alone}")


def _approved(event: e.OrderApproved) -> Iterator[_Told]:
    if event.order.parent_id is None:
        yield from _market(event)
        yield _command(event.order)
    yield _Told("risk", f"approved: {event.verdict}")
    spec = event.order
    price = plain_or_none(spec.price)
    what = f"{spec.side} {plain(spec.quantity)} {spec.symbol} @{price} {spec.time_in_force}"
    yield _Told("intent", f"durable before anything is sent: {what} as {spec.client_order_id}")


def _denied(event: e.OrderDenied) -> Iterator[_Told]:
    if event.order.parent_id is None:
        yield _command(event.order)
    yield _Told("denied", f"{event.code}: {event.text}; nothing was sent")


def _acknowledged(event: e.OrderAcknowledged) -> Iterator[_Told]:
    yield from _sent(event)
    text = f"acknowledged as {event.venue_order_id} ({event.evidence})"
    yield _Told("report", text, event.ts_event_ns)


def _rejected(event: e.OrderRejected) -> Iterator[_Told]:
    yield from _sent(event)
    text = f"rejected, {event.code}: {event.text} ({event.evidence})"
    yield _Told("report", text, event.ts_event_ns)


def _sent(event: Any) -> Iterator[_Told]:
    if event.sent_wall_ns:
        yield _Told("send", "the first byte left for the venue", 0, event.sent_wall_ns)


def _filled(event: e.OrderFilled) -> Iterator[_Told]:
    text = (
        f"{plain(event.quantity)} @ {plain(event.price)} as {event.liquidity.lower()}, fee "
        f"{plain(event.fee)} {event.fee_asset}, trade {event.trade_id}, told by {event.source}"
    )
    yield _Told("fill", text, event.ts_event_ns)


def _ended(event: e.OrderCanceled | e.OrderExpired) -> Iterator[_Told]:
    word = "canceled" if isinstance(event, e.OrderCanceled) else "expired"
    text = f"{word} with {plain(event.filled_quantity)} filled: {event.reason} ({event.evidence})"
    yield _Told("report", text, event.ts_event_ns)


def _said(event: CommandRecorded) -> Iterator[_Told]:
    yield _Told("command", f"{event.what}, by {event.who}", 0, event.ts_ns)


def _external(event: e.ExternalOrderSeen) -> Iterator[_Told]:
    text = f"placed by {event.order.who}, seen as {event.venue_order_id} {event.status}"
    yield _Told("report", text, event.order.ts_created_ns)


def _simple(step: str, text: Callable[[Any], str]) -> Callable[[Any], Iterator[_Told]]:
    return lambda event: iter([_Told(step, text(event))])


_TELLERS: Final[dict[type, Callable[[Any], Iterator[_Told]]]] = {
    e.ParentAccepted: _parent,
    e.OrderApproved: _approved,
    e.OrderDenied: _denied,
    e.OrderAcknowledged: _acknowledged,
    e.OrderRejected: _rejected,
    e.OrderFilled: _filled,
    e.OrderCanceled: _ended,
    e.OrderExpired: _ended,
    e.ExternalOrderSeen: _external,
    CommandRecorded: _said,
    e.OrderUnknown: _simple("report", lambda v: f"outcome not proven: {v.cause}"),
    e.OrderCancelRequested: _simple("cancel", lambda v: f"a cancel is on its way: {v.reason}"),
    e.OrderCancelTaken: _simple("cancel", lambda v: f"taken before the intent: {v.reason}"),
    e.OrderCancelRejected: _simple("report", lambda v: f"cancel refused, {v.code}: {v.text}"),
    e.OrderResolved: _simple("resolve", lambda v: f"{v.status} by {v.who}: {v.reason}"),
}
