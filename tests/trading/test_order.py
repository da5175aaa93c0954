"""The order table, whole: what each trigger does in each status, and that order does not matter."""

import copy
import itertools
from decimal import Decimal
from fractions import Fraction

import msgspec
import pytest
import trading_factories as f
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import IllegalTransition
from engine.messages.base import decode_state, encode_state
from engine.trading import order_status as s
from engine.trading.order import Order

# One column per trigger, one row per status, written by hand from the rules, not from the table.
# `.` nothing changes, `=` the status stays but facts are taken, `!` illegal.
GRID = """
TRIGGER          appr deny ack rej weak lost part last ask refu canc expi owed resR resC seen
CREATED          PN   DE   !   !   !    !    !    !    !   !    !    !    !    !    !    NEW
PENDING_NEW      .    DE   NEW RE  RE   UN   PF   FI   =   =    CA   EX   =    !    !    !
UNKNOWN          .    !    NEW RE  RE   .    PF   FI   =   =    CA   EX   =    RE   CA   !
NEW              .    !    .   RE  .    .    PF   FI   PC  .    CA   EX   =    !    !    !
PARTIALLY_FILLED .    !    =   !   .    .    PF   FI   PC  .    CA   EX   =    !    !    !
PENDING_CANCEL   .    !    =   RE  .    .    PC   FI   .   OP   CA   EX   =    !    CA   !
PENDING_REPLACE  .    !    OP  !   .    .    PR   FI   .   .    CA   EX   =    !    !    !
FILLED           .    !    .   .   .    .    FI   FI   .   .    .    .    =    .    .    !
CANCELED         .    !    .   .   .    .    CA   FI   .   .    .    .    =    .    .    !
EXPIRED          .    !    .   .   .    .    EX   FI   .   .    .    .    =    .    .    !
REJECTED         .    !    .   .   .    .    PF   FI   .   .    CA   EX   =    .    .    !
DENIED           .    .    NEW !   .    !    PF   FI   .   .    !    !    =    !    !    !
"""
SHORT = {
    "PN": "PENDING_NEW", "DE": "DENIED", "UN": "UNKNOWN", "NEW": "NEW", "PF": "PARTIALLY_FILLED",
    "FI": "FILLED", "PC": "PENDING_CANCEL", "CA": "CANCELED", "PR": "PENDING_REPLACE",
    "RE": "REJECTED", "EX": "EXPIRED",
}  # fmt: skip
EVENTS = {
    "appr": f.approved(),
    "deny": f.denied(),
    "ack": f.acknowledged(),
    "rej": f.rejected(),
    "weak": f.rejected(code="not_received"),
    "lost": f.unknown(),
    "part": f.filled(quantity="2", trade_id="new"),
    "last": f.filled(quantity="10", trade_id="new"),
    "ask": f.cancel_requested(),
    "refu": f.cancel_rejected(),
    "canc": f.canceled(),
    "expi": f.expired(),
    "owed": f.venue_filled(),
    "resR": f.resolved(status="REJECTED"),
    "resC": f.resolved(status="CANCELED"),
    "seen": f.external(),
}


def grid():
    lines = [line.split() for line in GRID.strip().splitlines()]
    for row in lines[1:]:
        for name, expected in zip(lines[0][1:], row[1:], strict=True):
            yield pytest.param(row[0], name, expected, id=f"{row[0]}-{name}")


def order_in(status):
    held = {"PARTIALLY_FILLED": "4", "FILLED": "10"}.get(status, "0")
    return Order(
        spec=f.spec(),
        status=status,
        filled_quantity=Decimal(held),
        filled_notional=Decimal(held) * 100,
        cancel_requested=status == "PENDING_CANCEL",
        reason_code="insufficient_funds" if status == "REJECTED" else "",
    )


@pytest.mark.parametrize(("status", "name", "expected"), list(grid()))
def test_every_trigger_in_every_status_does_what_the_grid_says(status, name, expected):
    order, event = order_in(status), EVENTS[name]
    order.cancel_requested |= name == "refu"  # there is something to refuse
    before = encode_state(order)
    if status == "PARTIALLY_FILLED" and name == "rej":  # refuted by its fill: read as weak
        assert order.apply(event) is False
    elif expected == "!":
        with pytest.raises(IllegalTransition, match=r"o1.*"):
            order.apply(event)
    else:
        assert order.apply(event) is (expected != ".")
    if expected in {"!", "."}:
        assert encode_state(order) == before
    elif expected == "=":
        assert order.status == status
        assert encode_state(order) != before
    elif expected == "OP":
        assert order.status == "NEW"
    else:
        assert order.status == SHORT[expected]


def test_the_grid_covers_every_status_and_trigger_and_the_table_names_no_other():
    pairs = {(p.values[0], p.values[1]) for p in grid()}
    assert len(pairs) == len(s.STATUSES) * len(s.TRIGGERS)
    assert {status for status, _ in s.TABLE} == set(s.STATUSES)
    assert {trigger for _, trigger in s.TABLE} <= set(s.TRIGGERS)


def test_an_illegal_event_names_order_status_and_event():
    order = order_in("FILLED")
    with pytest.raises(IllegalTransition) as error:
        order.apply(f.denied())
    assert all(word in str(error.value) for word in ("o1", "FILLED", "OrderDenied"))


def story(*events, first=True):
    order = Order(spec=f.spec())
    if first:
        order.apply(f.approved())
    for event in events:
        order.apply(event)
    return order


STORIES = {
    "ack and fills to the end": [
        f.acknowledged(), f.filled(quantity="4"), f.filled(quantity="6", trade_id="t2", fee_asset="BNB"),
    ],
    "partial fill, then canceled": [f.acknowledged(), f.filled(quantity="4"), f.canceled(quantity="4")],
    "two fills around a cancel": [
        f.filled(quantity="4"), f.filled(quantity="5", trade_id="t2"), f.canceled(quantity="9"),
    ],
    "canceled although complete": [f.filled(quantity="10"), f.canceled(quantity="10"), f.acknowledged()],
    "IOC remainder": [f.acknowledged(), f.filled(quantity="1"), f.expired(quantity="1")],
    "lost reply": [f.unknown(), f.acknowledged(), f.filled(quantity="4")],
    "lost reply of a canceled order": [f.unknown(), f.canceled(quantity="0")],
    "not received, but it was": [f.rejected(code="not_received"), f.acknowledged(), f.filled()],
    "rejected by the venue": [f.acknowledged(), f.rejected()],
    "claimed complete before its fills": [
        f.venue_filled(), f.filled(quantity="4"), f.filled(quantity="6", trade_id="t2"),
    ],
    "the same fill twice": [f.filled(quantity="4"), f.filled(quantity="4"), f.acknowledged()],
    "a zero fill with a rebate": [f.filled(quantity="0", fee=Decimal(-1)), f.acknowledged()],
    "overfilled": [f.filled(quantity="7"), f.filled(quantity="7", trade_id="t2"), f.acknowledged()],
}  # fmt: skip


@pytest.mark.parametrize("name", STORIES)
def test_venue_events_in_any_order_end_the_same(name):
    ends = set()
    for events in itertools.permutations(STORIES[name]):
        order = story(*events)
        ends.add((order.status, order.filled_quantity, tuple(sorted(order.fees.items()))))
    assert len(ends) == 1, ends


@given(st.data())
def test_repeating_and_shuffling_the_events_of_a_story_changes_nothing(data):
    events = data.draw(st.sampled_from(list(STORIES.values())))
    expected = story(*events)
    shuffled = data.draw(st.permutations(events + data.draw(st.lists(st.sampled_from(events)))))
    order = story(*shuffled)
    assert (order.status, order.filled_quantity, order.fees) == (
        expected.status,
        expected.filled_quantity,
        expected.fees,
    )


def test_fill_after_cancel_is_still_counted():
    order = story(f.acknowledged(), f.canceled(quantity="4"))
    assert (order.status, order.missing_fills, order.exposure_quantity) == ("CANCELED", 4, 4)
    assert not order.is_settled
    assert order.apply(f.filled(quantity="4"))
    assert (order.status, order.filled_quantity, order.exposure_quantity) == ("CANCELED", 4, 0)
    assert order.is_settled


def test_the_last_fill_after_a_cancel_makes_the_order_filled():
    order = story(f.acknowledged(), f.filled(quantity="4"), f.canceled(quantity="4"))
    order.apply(f.filled(quantity="6", trade_id="t2"))
    assert (order.status, order.resurrected) == ("FILLED", False)


@pytest.mark.parametrize("held", ["0", "4"])
def test_a_refused_cancel_returns_the_order_to_what_it_was(held):
    order = story(f.acknowledged(), f.filled(quantity=held))
    before = order.status
    order.apply(f.cancel_requested())
    assert order.status == "PENDING_CANCEL"
    order.apply(f.cancel_rejected())
    assert (order.status, order.cancel_requested) == (before, False)


def test_canceling_an_unknown_order_hides_nothing_and_is_not_forgotten():
    order = story(f.unknown(), f.cancel_requested())
    assert (order.status, order.cancel_requested, order.is_open) == ("UNKNOWN", True, True)
    order.apply(f.acknowledged())
    assert order.status == "PENDING_CANCEL"


def test_refusing_the_cancel_of_an_unknown_order_proves_nothing():
    order = story(f.unknown(), f.cancel_requested(), f.cancel_rejected())
    assert (order.status, order.cancel_requested, order.exposure_quantity) == ("UNKNOWN", False, 10)


def test_unknown_is_left_only_on_evidence_or_by_a_person():
    leaving = {
        trigger
        for trigger in s.TRIGGERS
        if s.TABLE.get(("UNKNOWN", trigger), s.SAME) not in {s.SAME, s.KEEP}
    }
    assert leaving == {
        "acknowledged", "rejected", "rejected_weakly", "filled_part", "filled_last", "canceled",
        "expired", "resolved_rejected", "resolved_canceled",
    }  # fmt: skip


@pytest.mark.parametrize(
    "end", [f.rejected(code="not_received"), f.resolved(), f.resolved(status="CANCELED")]
)
def test_an_order_that_appears_after_an_unproven_end_is_adopted(end):
    order = story(f.unknown(), end)
    assert order.is_closed
    assert order.apply(f.acknowledged())
    assert (order.status, order.resurrected, order.exposure_quantity) == ("NEW", True, 10)
    assert (order.reason_code, order.reason) == ("", "")


def test_a_late_acknowledgement_does_not_revive_what_the_venue_rejected_or_canceled():
    assert story(f.rejected(), f.acknowledged()).status == "REJECTED"
    assert story(f.canceled(), f.acknowledged()).status == "CANCELED"


def test_a_fill_revives_even_a_denied_order_and_says_so():
    order = story(f.denied())
    order.apply(f.filled(quantity="4"))
    assert (order.status, order.resurrected, order.leaves_quantity) == ("PARTIALLY_FILLED", True, 6)


def test_a_denied_repetition_does_not_end_the_first_order():
    order = story(f.acknowledged())
    assert order.apply(f.denied(code="duplicate")) is False
    assert order.status == "NEW"


def test_what_the_venue_claims_never_shrinks_and_its_first_order_id_stays():
    order = story(f.acknowledged(), f.venue_filled(quantity="10"), f.canceled(quantity="4"))
    assert order.missing_fills == 10
    order.apply(f.filled(quantity="4", venue_order_id="v2"))
    assert (order.venue_order_id, order.missing_fills) == ("v1", 6)


def test_an_overfill_is_counted_and_flagged():
    order = story(f.filled(quantity="10"), f.filled(quantity="1", trade_id="t2"))
    assert (order.status, order.filled_quantity, order.overfilled) == ("FILLED", 11, True)
    assert order.leaves_quantity == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"symbol": "ETH/USDT"},
        {"side": "SELL"},
        {"account": "okx.other"},
        {"quantity": Decimal(-1)},
        {"price": Decimal(-1)},
    ],
)
def test_a_fill_that_does_not_fit_its_order_is_refused_and_changes_nothing(wrong):
    order = story(f.acknowledged())
    before = encode_state(order)
    with pytest.raises(IllegalTransition, match="does not fit"):
        order.apply(f.filled(**({"quantity": "1"} | wrong)))
    assert encode_state(order) == before


def test_an_event_of_another_order_is_refused():
    with pytest.raises(IllegalTransition, match="o2"):
        story().apply(f.acknowledged("o2"))


def test_average_price_and_fees_are_exact_beyond_28_digits():
    price = Decimal("12345678901234567890.123456789012345678")
    order = story(
        f.filled(quantity="0.000000000000000001", price=price),
        f.filled(quantity="3", price=price, trade_id="t2", fee=Decimal("0.000000000000000001")),
    )
    tiny = Fraction(1, 10**18)
    assert Fraction(order.filled_notional) == Fraction(price) * (3 + tiny)
    assert Fraction(order.filled_quantity) == 3 + tiny
    assert order.fees == {"BTC": Decimal("0.001000000000000001")}


def test_an_external_order_is_adopted_as_told_and_owes_its_fills():
    order = Order(spec=f.spec(origin="EXTERNAL"))
    order.apply(f.external(status="FILLED"))
    assert (order.status, order.venue_order_id, order.missing_fills) == ("NEW", "v1", 10)
    order.apply(f.filled(quantity="10"))
    assert (order.status, order.missing_fills) == ("FILLED", 0)


def test_a_snapshot_of_the_first_release_is_read():
    order = story()
    fields = msgspec.msgpack.decode(encode_state(order))
    older = msgspec.msgpack.encode([*fields, ["OrderApproved mid 1"], 7])
    assert decode_state(older, Order) == order


def test_copies_share_nothing_that_apply_replaces():
    order = story()
    other = Order(spec=f.spec())
    order.apply(f.filled())
    assert (other.fees, other.fill_keys) == ({}, set())
    assert copy.deepcopy(order).fees == order.fees
