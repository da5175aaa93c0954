"""Any ccxt venue: real ccxt and ccxt.pro classes, unmodified, against the simulated venues."""

import random
from decimal import Decimal
from itertools import pairwise

import pytest
from rig import CLOCK, Desk, ask, cancel, query

from adapters.absent import AbsentPort, absence
from adapters.adapter import VenueAdapter
from adapters.ccxt_generic import redirect
from adapters.codec import BadReply, Problem
from adapters.generic import PROVEN, GenericCodec, fill_report, number, order_report
from adapters.generic_rest import DAY_MS, PAGE_FULL, GenericRest
from adapters.registry import ADAPTERS, VenueConfig, enforces_expiry
from engine.config import load
from engine.messages.market import TradePrint
from engine.messages.port import (
    AdapterFailed,
    GateChanged,
    OrderReport,
    Reconcile,
    ReconcileResult,
    SetGate,
    SubmitResult,
)

BTC = "BTC/USDT"
SYMBOLS = {BTC: BTC}


@pytest.fixture(params=["okx", "binance"])
def generic(request, sim):
    desk = Desk(sim, request.param, adapter=f"ccxt:{request.param}", order_road="rest")
    yield desk.start()
    sim.ctl("fault", method="DELETE")
    assert desk.adapter.stop(10), "every thread ends within the deadline"


def test_a_ccxt_venue_lives_its_life_behind_the_port(generic):
    desk, sim, venue = generic, generic.sim, generic.venue
    assert desk.live().quality == "unverified"
    desk.wait(TradePrint)
    order = desk.new_order()
    placed = ask(desk, order)
    assert (placed.outcome, placed.code) == ("ACCEPTED", "")
    assert query(desk, order.client_order_id).order.status == "NEW"
    assert cancel(desk, order).outcome == "ACCEPTED"
    assert query(desk, order.client_order_id).order.status == "CANCELED"
    desk.wait(OrderReport, lambda m: m.source == "stream" and m.status == "CANCELED")

    taken = desk.new_order(price="200000", quantity="0.001", time_in_force="IOC")
    assert ask(desk, taken).outcome == "ACCEPTED"
    found = query(desk, taken.client_order_id)
    assert found.order.status == "FILLED"
    assert sum(f.quantity for f in found.fills) == Decimal("0.001")
    assert {(f.fee, f.fee_asset) for f in found.fills} == {(Decimal("0.000001"), "BTC")}

    refused = ask(desk, desk.new_order(quantity="90"))
    assert (refused.outcome, refused.code) == ("REJECTED", {"okx": "51008"}.get(venue, "-2010"))

    sim.fault("lost_reply", venue, "order")
    lost = desk.new_order()
    assert ask(desk, lost).outcome == "UNKNOWN"
    assert query(desk, lost.client_order_id).order.status == "NEW"
    assert len(sim.requests(venue, lost.client_order_id)) >= 1
    assert len(sim.orders(venue, lost.client_order_id)) == 1

    mark = desk.mark()
    desk.adapter.handle(Reconcile("r1", desk.config.account, 0))
    told = desk.wait(ReconcileResult, since=mark)
    assert told.ok, told.text
    assert lost.client_order_id in {o.client_order_id for o in told.open_orders}
    assert taken.client_order_id in {f.client_order_id for f in told.fills}
    assert {"BTC", "USDT"} <= {b.asset for b in told.balances}


def adapter_of(name, told, **more):
    config = VenueConfig("v", name, "v.main", (BTC,), **more)
    return VenueAdapter(
        config, clock=CLOCK, rng=random.Random(1), deliver=told.append, threads=None
    )


@pytest.mark.parametrize(
    ("name", "more", "words"),
    [
        ("ccxt:kraken", {}, "a lost reply could not be proven"),
        ("ccxt:kucoin", {}, "a lost reply could not be proven"),
        ("ccxt:okx", {"read_only": "live orders need more"}, "live orders need more"),
    ],
)
def test_where_nothing_can_be_proven_no_order_leaves_and_the_reason_is_told(sim, name, more, words):
    told = []
    adapter = adapter_of(name, told, **more)
    order = Desk(sim, "okx").new_order()
    adapter.handle(order)
    (result,) = told
    assert isinstance(result, SubmitResult)
    assert (result.outcome, result.code) == ("NOT_SENT", "read_only")
    assert words in result.text


def test_orders_go_through_documented_lookups_only():
    assert {"binance", "okx"} == set(PROVEN)
    assert all(proof.source.startswith("https://") for proof in PROVEN.values())
    assert enforces_expiry("ccxt:okx")
    assert not enforces_expiry("ccxt:kucoin")
    assert not enforces_expiry("ccxt:bitget")
    assert "ccxt" not in ADAPTERS


ORDER = {
    "id": "7", "clientOrderId": "ab", "symbol": BTC, "side": "buy", "type": "limit", "amount": "2",
    "filled": "0.5", "price": "10", "status": "open", "timestamp": 5,
}  # fmt: skip
FILL = {
    "id": "1", "order": "7", "symbol": BTC, "side": "sell", "price": "10", "amount": "1",
    "fee": {"cost": "-0.1", "currency": "USDT"}, "timestamp": 5, "takerOrMaker": "maker",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({}, "PARTIALLY_FILLED"),
        ({"filled": "0"}, "NEW"),
        ({"status": "closed", "filled": "2"}, "FILLED"),
        ({"status": "closed"}, "CANCELED"),
        ({"status": "canceled"}, "CANCELED"),
        ({"status": None}, None),
        ({"id": None}, None),
        ({"side": "none"}, None),
        ({"amount": None}, None),
        ({"amount": "nan"}, None),
    ],
)
def test_an_order_is_read_whole_or_refused(change, status):
    row = {**ORDER, **change}
    if status is None:
        with pytest.raises(BadReply):
            order_report(row, "v.main", "query")
    else:
        assert order_report(row, "v.main", "query").status == status


def test_a_fill_without_its_fee_is_no_fill():
    assert fill_report(FILL, "v.main", "query").fee == Decimal("-0.1")
    for fee in (None, {}, {"cost": None, "currency": "USDT"}, {"cost": "1", "currency": None}):
        with pytest.raises(BadReply):
            fill_report({**FILL, "fee": fee}, "v.main", "query")


def test_a_float_of_ccxt_is_the_number_that_the_venue_wrote():
    assert number(0.1) == Decimal("0.1")
    assert number(1e-8) == Decimal("0.00000001")
    with pytest.raises(BadReply):
        number(float("inf"))


def test_fills_are_asked_for_in_windows_and_a_full_answer_in_halves():
    rest = GenericRest("v", "v.main", SYMBOLS, "okx")
    now_ms = 10 * DAY_MS
    call = rest.fills(BTC, now_ms - 2 * DAY_MS, now_ms)
    spans = []
    while call is not None:
        spans.append((call.params["since"], call.params["params"]["until"]))
        rows = [FILL] * (PAGE_FULL if len(spans) == 1 else 1)
        call = rest.read_fills(rows, call, "query", now_ms).next
    assert spans[1][0] == spans[0][0]
    assert spans[1][1] < spans[0][1]
    assert all(after[0] == before[1] + 1 for before, after in pairwise(spans[1:]))
    assert spans[-1][1] >= now_ms


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b'{"k":"book"}', b'{"k":"book","n":1,"row":{}}',
                                 b'{"k":"other","n":1,"row":null}'])  # fmt: skip
def test_a_frame_that_makes_no_sense_is_a_problem(raw):
    (event,) = GenericCodec("v", "v.main", SYMBOLS, None).on_public(raw, 0)
    assert isinstance(event, Problem)


def test_beside_another_server_no_address_of_the_venue_itself_is_left():
    urls = {"rest": "https://real.venue/v1", "ws": {"spot": "wss://real.venue/ws", "more": []}}
    redirect(urls, "any", {"rest": "http://127.0.0.1:1"})
    assert urls["rest"] == "http://127.0.0.1:1/v1"
    assert urls["ws"]["spot"] == "ws://127.0.0.1:1/ws"


VENUES = """
venues:
  okx: {symbols: [BTC/USDT]}
  bitmart: {symbols: [BTC/USDT]}
  gone: {adapter: ccxt, ccxt_id: nosuchclass, symbols: [BTC/USDT]}
  real: {adapter: ccxt, ccxt_id: bitget, symbols: [BTC/USDT]}
"""


def test_a_venue_that_is_not_there_says_why_and_refuses_at_once(sim, tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text(VENUES)
    config = load(path, environ={})
    why = {name: absence(venue, config.mode) for name, venue in config.venues.items()}
    assert why["okx"] is None
    assert [why[n].code for n in ("bitmart", "gone", "real")] == [
        "retired", "no_class", "not_simulated",
    ]  # fmt: skip
    assert "2026-08-26" in why["bitmart"].text
    assert absence(config.venues["real"], "paper") is None
    told = []
    port = AbsentPort("bitmart", why["bitmart"], CLOCK, told.append)
    port.start()
    port.handle(Desk(sim, "okx").new_order())
    port.handle(SetGate("g1", True, []))
    failed, refused, gate = told
    assert isinstance(failed, AdapterFailed)
    assert (refused.outcome, refused.code) == ("NOT_SENT", "retired")
    assert gate == GateChanged("g1", "bitmart", True)
    assert port.stop(1)
