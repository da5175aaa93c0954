"""All orders together: parents, history, filters, views, snapshots."""

from decimal import Decimal

import pytest
import trading_factories as f
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import IllegalTransition, MessageError
from engine.messages.engine_events import (
    MessageParked,
)
from engine.messages.events import (
    ParentAccepted,
)
from engine.trading.orders import OrderTable, to_view


def parent_accepted(children=("a", "b"), quantity="10"):
    order = f.spec(
        "p", venue="best", account=None, client_order_id=None, quantity=Decimal(quantity)
    )
    return ParentAccepted(order, list(children), "half each")


def child(order_id, quantity="5"):
    return f.spec(order_id, parent_id="p", quantity=Decimal(quantity))


def family(*events):
    table = OrderTable()
    table.apply(parent_accepted())
    for event in events:
        table.apply(event)
    return table


BOTH = (f.approved(child("a")), f.approved(child("b")))


@pytest.mark.parametrize(
    ("events", "status", "held"),
    [
        ((), "PENDING_NEW", 0),
        ((f.approved(child("a")),), "PENDING_NEW", 0),
        ((*BOTH, f.acknowledged("a")), "PENDING_NEW", 0),
        ((*BOTH, f.acknowledged("a"), f.acknowledged("b", "v2")), "NEW", 0),
        ((*BOTH, f.acknowledged("a"), f.unknown("b")), "UNKNOWN", 0),
        ((*BOTH, f.filled("a", "2")), "PARTIALLY_FILLED", 2),
        ((*BOTH, f.filled("a", "5"), f.unknown("b")), "UNKNOWN", 5),
        ((*BOTH, f.filled("a", "5"), f.filled("b", "5")), "FILLED", 10),
        ((*BOTH, f.filled("a", "5"), f.rejected("b")), "CANCELED", 5),
        ((*BOTH, f.canceled("a"), f.expired("b")), "CANCELED", 0),
        ((*BOTH, f.rejected("a"), f.rejected("b")), "REJECTED", 0),
        ((f.denied(child("a")), f.denied(child("b"))), "DENIED", 0),
        ((f.denied(child("a")), f.approved(child("b")), f.rejected("b")), "REJECTED", 0),
        (
            (*BOTH, f.canceled("a"), f.acknowledged("b"), f.cancel_requested("b")),
            "PENDING_CANCEL",
            0,
        ),
    ],
)
def test_a_parent_is_what_its_children_add_up_to(events, status, held):
    parent = family(*events).get("p")
    assert (parent.status, parent.filled_quantity) == (status, held)
    assert parent.leaves_quantity == (0 if parent.is_closed else 10 - held)


def test_a_parent_adds_fees_per_asset_and_averages_over_children():
    table = family(
        *BOTH,
        f.filled("a", "5", price=Decimal(100), fee=Decimal("0.1"), fee_asset="USDT"),
        f.filled("b", "5", price=Decimal(102), fee=Decimal("0.2"), fee_asset="USDT"),
    )
    view = to_view(table.get("p"))
    assert (view["average_price"], view["fees"]) == ("101", {"USDT": "0.3"})


def test_canceling_a_parent_is_remembered_without_touching_its_children():
    table = family(*BOTH)
    assert table.apply(f.cancel_requested("p"))
    assert not table.apply(f.cancel_requested("p"))
    assert table.get("p").cancel_requested
    assert {o.status for o in table.children("p")} == {"PENDING_NEW"}


def test_what_the_journal_did_not_take_leaves_its_family():
    table = family(*BOTH)
    table.remove("a")
    assert [order.order_id for order in table.children("p")] == ["b"]
    table.remove("p")
    table.remove("b")
    table.remove("never was")
    assert len(table) == 0
    for event in (parent_accepted(), *BOTH):
        assert table.apply(event), "the same may come again"
    assert [order.order_id for order in table.children("p")] == ["a", "b"]


def test_a_removed_order_is_not_dropped_from_the_history_a_second_time():
    table = OrderTable(closed_kept_max=1)
    for order_id in ("a", "b", "c"):
        table.apply(f.approved(f.spec(order_id)))
        table.apply(f.denied(f.spec(order_id)))
        if order_id == "a":
            table.remove("a")
    assert table.get("b") is None
    assert table.get("c") is not None


def test_events_without_an_order_here_change_nothing():
    table = OrderTable()
    before = table.to_bytes()
    assert not table.apply(f.filled("gone"))
    assert not table.apply(MessageParked("risk_pnl", "m1", "OrderFilled", "o1", "boom", 1))
    assert table.to_bytes() == before


def test_an_illegal_event_leaves_the_table_as_it_was():
    table = OrderTable()
    table.apply(f.approved())
    table.apply(f.canceled())
    before = table.to_bytes()
    with pytest.raises(IllegalTransition):
        table.apply(f.denied())
    assert table.to_bytes() == before


def test_an_order_is_found_by_the_venues_id_within_its_account_and_symbol():
    table = OrderTable()
    table.apply(f.approved())
    table.apply(f.acknowledged())
    assert table.by_venue_order_id(f.ACCOUNT, f.SYMBOL, "v1").order_id == "o1"
    assert table.by_venue_order_id(f.ACCOUNT, "ETH/USDT", "v1") is None
    assert table.by_venue_order_id("okx.other", f.SYMBOL, "v1") is None


def test_history_drops_the_oldest_closed_and_never_an_open_or_owing_order():
    table = OrderTable(closed_kept_max=2)
    for order_id in ("open", "owing", "c1", "c2", "c3"):
        table.apply(f.approved(f.spec(order_id)))
        table.apply(f.acknowledged(order_id, f"v-{order_id}"))
    table.apply(f.canceled("owing", quantity="1"))
    for order_id in ("c1", "c2", "c3"):
        table.apply(f.canceled(order_id))
    assert [o.order_id for o in table.select()] == ["open", "owing", "c2", "c3"]
    assert table.by_venue_order_id(f.ACCOUNT, f.SYMBOL, "v-c1") is None
    assert len(table._by_venue_order_id) == 4


def test_a_parent_leaves_the_history_together_with_its_children():
    table = OrderTable(closed_kept_max=1)
    for event in (f.approved(child("a")), f.canceled("a"), parent_accepted()):
        table.apply(event)
    for event in (f.approved(child("b")), f.canceled("b"), f.approved(), f.canceled()):
        table.apply(event)
    assert [o.order_id for o in table.select()] == ["o1"]
    assert len(table) == 1


def test_listing_filters_by_every_field():
    table = family(*BOTH, f.canceled("b"))
    table.apply(f.approved(f.spec("e", symbol="ETH/USDT", venue="binance", account="binance.main")))
    listed = lambda **by: [o.order_id for o in table.select(**by)]  # noqa: E731
    assert listed() == ["p", "a", "b", "e"]
    assert listed(open_only=True) == ["p", "a", "e"]
    assert listed(parents=False) == ["a", "b", "e"]
    assert listed(children=False) == ["p", "e"]
    assert listed(status="CANCELED") == ["b"]
    assert listed(venue="binance") == listed(symbol="ETH/USDT") == ["e"]
    assert listed(account=f.ACCOUNT) == ["a", "b"]


def test_a_view_is_plain_and_writes_money_without_exponents():
    table = OrderTable()
    table.apply(f.approved(f.spec(price=Decimal("1E-7"), quantity=Decimal("1E+2"))))
    view = to_view(table.get("o1"))
    assert (view["price"], view["quantity"], view["leaves_quantity"]) == ("0.0000001", "100", "100")
    assert set(view) == {
        "order_id", "command_id", "client_order_id", "parent_id", "account", "venue", "symbol", "side",
        "order_type", "time_in_force", "post_only", "price", "status", "quantity", "filled_quantity",
        "leaves_quantity", "average_price", "fees", "reason_code", "reason", "venue_order_id",
        "origin", "who", "ts_created_ns", "ts_last_ns",
    }  # fmt: skip


def test_bytes_that_are_no_snapshot_are_refused():
    for data in (b"", b"\xc0", b"\x93\x90\x90", OrderTable().to_bytes()[:-1]):
        with pytest.raises(MessageError):
            OrderTable.from_bytes(data)


def test_a_child_belongs_to_the_parent_its_own_spec_names_also_after_a_restart():
    table = OrderTable()
    for event in (f.denied(f.spec("b")), f.approved(child("a")), parent_accepted()):
        table.apply(event)
    again = OrderTable.from_bytes(table.to_bytes())
    for known in (table, again):
        assert [o.order_id for o in known.children("p")] == ["a"]
        known.apply(f.canceled("a"))
    assert again.to_bytes() == table.to_bytes()


IDS = ("a", "b", "c", "d")
MAKERS = (
    lambda i, n: f.approved(f.spec(i, parent_id="p" if i in "ab" else None)),
    lambda i, n: f.denied(f.spec(i)),
    lambda i, n: parent_accepted(),
    lambda i, n: f.acknowledged(i, f"v{n}"),
    lambda i, n: f.rejected(i, ("not_received", "bad")[n % 2]),
    lambda i, n: f.unknown(i),
    lambda i, n: f.filled(i, str(n), f"t{n}", fee_asset=("BTC", "USDT", "BNB")[n % 3]),
    lambda i, n: f.cancel_requested(i),
    lambda i, n: f.cancel_rejected(i),
    lambda i, n: f.canceled(i, str(n)),
    lambda i, n: f.expired(i, str(n)),
    lambda i, n: f.venue_filled(i, str(n)),
    lambda i, n: f.resolved(i, ("REJECTED", "CANCELED")[n % 2]),
    lambda i, n: f.external(f.spec(i, origin="EXTERNAL"), ("NEW", "FILLED")[n % 2]),
)
journals = st.lists(
    st.builds(
        lambda make, i, n: make(i, n),
        st.sampled_from(MAKERS),
        st.sampled_from(IDS),
        st.integers(0, 9),
    ),
    max_size=40,
)


def fold(table, events, first_seq):
    for seq, event in enumerate(events, first_seq):
        try:
            table.apply(event, seq)
        except IllegalTransition:
            continue
    return table


@settings(max_examples=300)
@given(journals, st.integers(0, 40), st.integers(0, 3))
def test_replaying_all_equals_a_snapshot_and_the_rest_byte_for_byte(events, cut, kept):
    whole = fold(OrderTable(kept), events, 1)
    half = OrderTable.from_bytes(fold(OrderTable(kept), events[:cut], 1).to_bytes(), kept)
    assert fold(half, events[cut:], cut + 1).to_bytes() == whole.to_bytes()
    unnumbered = OrderTable(kept)
    for event in events:
        try:
            unnumbered.apply(event)
        except IllegalTransition:
            continue
    assert unnumbered.to_bytes() == whole.to_bytes()


@given(journals)
def test_no_order_ever_counts_a_fill_twice_or_forgets_one(events):
    table = fold(OrderTable(), events, 1)
    for order in table.select(parents=False):
        keys = {key.rpartition("t")[2] for key in order.fill_keys}
        assert order.filled_quantity == sum(int(key) for key in keys)
        assert order.is_closed or order.exposure_quantity >= order.leaves_quantity
        assert order.leaves_quantity == (
            0 if order.is_closed else max(0, order.spec.quantity - order.filled_quantity)
        )


def test_a_request_on_its_way_shows_on_the_child_and_on_its_parent():
    made = family(*BOTH, f.acknowledged("a"), f.acknowledged("b"))
    assert not made.get("p").is_in_flight
    made.apply(f.cancel_requested("a"))
    assert made.order("a").is_in_flight
    assert not made.order("b").is_in_flight
    made.apply(f.cancel_requested("b"))
    assert made.get("p").is_in_flight
