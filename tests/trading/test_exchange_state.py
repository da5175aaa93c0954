"""What an ExchangeActor knows durably: its snapshots, old and new, and whose account it trusts."""

from decimal import Decimal

import msgspec
import trading_factories as f

from actors.exchange_state import CANCELS_KEPT_MAX, ExchangeState, report_events
from engine.messages.events import (
    AccountIdentified,
    OrderCancelTaken,
    SymbolStatusChanged,
    VenueReconciled,
)
from engine.messages.port import OrderReport
from engine.trading.order import Order


def known():
    state = ExchangeState.empty(10)
    state.apply(VenueReconciled("okx", "okx.main", 5))
    state.apply(AccountIdentified("okx", "okx.main", "uid-1", 6))
    state.apply(OrderCancelTaken("ce1", "okx", "by hand"))
    state.apply(SymbolStatusChanged("okx", "BTC/USDT", "HALTED", "TRADING", "by the venue", 7))
    state.apply(SymbolStatusChanged("okx", "ETH/USDT", "DELISTED", "TRADING", "", 7))
    state.apply(SymbolStatusChanged("okx", "ETH/USDT", "TRADING", "DELISTED", "", 8))
    return state


def test_a_snapshot_is_read_back_and_one_of_an_older_version_too():
    state = known()
    again = ExchangeState.from_bytes(state.to_bytes(), 10)
    assert again.to_bytes() == state.to_bytes()
    assert again.statuses == {"BTC/USDT": "HALTED: by the venue"}
    assert (again.uids, list(again.cancels_taken)) == ({"okx.main": "uid-1"}, ["ce1"])
    fields = msgspec.msgpack.decode(state.to_bytes())
    older = ExchangeState.from_bytes(msgspec.msgpack.encode(fields[:-4]), 10)
    assert (older.cursors, older.uids, list(older.cancels_taken)) == ({"okx.main": 5}, {}, [])


def test_only_the_account_of_the_journal_is_no_stranger():
    state = known()
    assert state.stranger("okx.main", "uid-1") == ""
    assert "uid-1" in state.stranger("okx.main", "uid-2")
    assert "uid-2" in state.stranger("okx.main", "uid-2")
    assert state.stranger("okx.main", None), "one that cannot tell is none of ours"
    assert state.stranger("okx.new", "uid-2") == "", "nothing is bound at first contact"
    assert state.stranger("okx.new", None) == ""


def test_cancels_that_were_taken_are_remembered_up_to_a_limit():
    state = known()
    for number in range(CANCELS_KEPT_MAX):
        state.apply(OrderCancelTaken(f"ce{number:05}", "okx", ""))
    assert len(state.cancels_taken) == CANCELS_KEPT_MAX
    assert "ce1" not in state.cancels_taken


def test_a_strangers_order_that_ended_has_filled_no_more_than_the_venue_says():
    # Coinbase tells filled and left, and may call nothing left of an order that was canceled.
    order = Order(spec=f.spec(origin="EXTERNAL"), status="NEW", venue_order_id="v1")
    spec = order.spec
    report = OrderReport(
        spec.account, "", "v1", spec.symbol, "BUY", "LIMIT", Decimal(3), spec.price, "CANCELED",
        Decimal(3), "", "stream", 1,
    )  # fmt: skip
    (ended,) = report_events(order, report)
    assert ended.filled_quantity == 3
