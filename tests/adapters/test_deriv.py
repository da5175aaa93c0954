"""Deriv's adapter against its simulated venue: both APIs, lost answers, refusals, other people's deals."""

import http.client
import json
from decimal import Decimal

import pytest
from deriv_rig import DOWN, UP, WATCHED, DerivDesk, DerivSim
from rig import CLOCK
from waiting import wait_for

from adapters.deriv_rest import DerivRest
from adapters.registry import Secret, Timeouts
from engine.clock import NS_PER_S
from engine.envelope import encode_body
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterFailed,
    AdapterReady,
    AskVenue,
    FillReport,
    LinkChanged,
    OrderReport,
    SetGate,
    VenueTold,
)
from engine.wire import unpack


@pytest.fixture(scope="module")
def venue(tmp_path_factory):
    process = DerivSim(tmp_path_factory.mktemp("deriv"))
    yield process
    process.stop()


@pytest.fixture
def make(venue):
    made = []

    def one(api="new", **more):
        desk = DerivDesk(venue, api, **more)
        made.append(desk)
        return desk

    yield one
    venue.ctl("fault", method="DELETE")
    for underlying in ("cryBTCUSD", "cryETHUSD"):
        venue.ctl("halt", {"venue": "deriv", "symbol": underlying, "on": False})
    for desk in made:
        assert desk.adapter.stop(5), "every thread ends within the deadline"


@pytest.fixture(scope="module")
def desk(venue):
    """One adapter for the tests that leave it as they found it."""
    shared = DerivDesk(venue).start()
    yield shared
    assert shared.adapter.stop(5)


@pytest.fixture(autouse=True)
def _enough(venue):
    venue.ctl("budgets", {"venue": "deriv"})


def was_said(desk):
    return b"".join(encode_body(message) for message in desk.reports)


@pytest.mark.parametrize("api", ["new", "v3"])
def test_a_contract_is_bought_and_sold_and_every_amount_is_the_venues_own(make, api):
    desk = make(api).start()
    assert desk.ready.account_uid == "VRTC9000001"
    status = {i.symbol: (i.status, i.pricing) for i in desk.ready.instruments}
    assert status == {
        WATCHED: ("WATCH_ONLY", "quoted"), UP: ("TRADING", "quoted"), DOWN: ("TRADING", "quoted"),
    }  # fmt: skip
    buy = desk.order("BUY", "12.34", DOWN)
    bought = desk.ask(buy)
    assert (bought.outcome, desk.fill(buy).price) == ("ACCEPTED", Decimal("12.34"))
    held = desk.reconcile(CLOCK.wall_ns())
    amounts = {b.asset: b.free for b in held.balances}
    sell = desk.order("SELL", "0.01", DOWN)
    sold = desk.ask(sell)
    fill = desk.fill(sell)
    deals = [*desk.sim.deals(buy), *desk.sim.deals(sell)]
    assert [(d["transaction_id"], d["contract_id"]) for d in deals] == [
        (bought.venue_order_id, desk.fill(buy).trade_id), (sold.venue_order_id, fill.trade_id),
    ]  # fmt: skip
    assert (amounts["USD"], amounts["cryBTCUSD.MULTDOWN.100"]) == (
        Decimal(deals[0]["balance_after"]),
        1,
    )
    after = {b.asset: b.free for b in desk.reconcile(CLOCK.wall_ns()).balances}
    assert after["USD"] == amounts["USD"] + fill.price == Decimal(deals[1]["balance_after"])
    assert (after["cryBTCUSD.MULTDOWN.100"], fill.fee) == (0, 0)
    assert [r.status for r in desk.reported(buy)] == ["FILLED"]
    assert b"otp=" not in was_said(desk)


def test_ticks_are_books_that_say_that_they_are_synthetic(desk):
    def shown(symbol, test):
        return desk.wait(VenueBook, lambda b: b.symbol == symbol and b.state == "LIVE" and test(b))

    top = shown(WATCHED, lambda b: b.bid_prices)
    assert (top.quality, top.bid_quantities, top.ask_quantities) == ("synthetic", [0], [0])
    assert top.bid_prices < top.ask_prices
    assert shown(UP, lambda b: not b.bid_prices).ask_prices == []
    desk.ask(desk.order("BUY", "20"))
    worth = shown(UP, lambda b: b.bid_prices)
    assert (worth.bid_quantities, worth.ask_prices, worth.quality) == ([1], [], "synthetic")
    assert 0 < worth.bid_prices[0] < 2000  # in cents, the commission gone
    desk.ask(desk.order("SELL", "0.01"))


@pytest.mark.parametrize(
    ("fault", "more", "api", "price"),
    [
        ("lost_reply", {}, "new", "11.01"),
        ("lost_reply", {}, "v3", "11.02"),
        ("ws_half_open", {"on": "reply"}, "new", "11.03"),
        ("malformed_200", {}, "v3", "11.04"),
        ("error_5xx", {"when": "after"}, "new", "11.05"),
    ],
)
def test_a_buy_whose_answer_is_lost_is_found_and_is_one_contract(make, fault, more, api, price):
    desk = make(api).start()
    desk.sim.fault(
        fault, "deriv", more.get("on", "order"), **{k: more[k] for k in more if k != "on"}
    )
    order, mark = desk.order("BUY", price), desk.mark()
    assert desk.ask(order).outcome == "UNKNOWN"
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, mark)
    found = desk.settled(order)
    (deal,) = desk.sim.deals(order)
    assert (found.found, found.order.venue_order_id) == (True, deal["transaction_id"])
    assert [(f.trade_id, f.price) for f in found.fills] == [(deal["contract_id"], Decimal(price))]
    assert len(desk.results(order)) == 1


def test_a_buy_that_never_arrived_is_not_found_and_not_sent_again(make):
    desk = make().start()
    desk.sim.fault("drop_request", "deriv", "order")
    order = desk.order("BUY", "13.07")
    assert desk.ask(order).outcome == "UNKNOWN"
    assert desk.settled(order).found is False
    assert desk.query(order).found is False
    assert desk.sim.deals(order) == []


def test_two_deals_that_look_the_same_are_never_guessed_between(make):
    desk = make().start()
    twins = []
    for _ in range(2):
        desk.sim.fault("lost_reply", "deriv", "order")
        twins.append(desk.order("BUY", "14.11"))
        assert desk.ask(twins[-1]).outcome == "UNKNOWN"
        wait_for(lambda: desk.adapter.session.private.is_up, "the private link is back")
    for order in twins:
        result = desk.query(order, twins=1)
        assert (result.found, result.order, result.fills) == (None, None, [])
        assert "2 deals may be this order's, and 2 orders" in result.evidence
    # One deal, and two orders that may have made it: no guess either.
    first = desk.sim.deals(twins[0])[0]["transaction_id"]
    assert desk.query(twins[1], taken=[first], twins=1).found is None
    settled = desk.query(twins[1], taken=[first])
    assert settled.order.venue_order_id == desk.sim.deals(twins[1])[0]["transaction_id"]


def test_a_deal_that_no_list_shows_yet_is_not_found_and_found_later(make):
    desk = make().start()
    desk.sim.fault("hidden_order", "deriv", "order", ms=1500)
    desk.sim.fault("lost_reply", "deriv", "order")
    order = desk.order("BUY", "15.03")
    assert desk.ask(order).outcome == "UNKNOWN"
    assert desk.settled(order).found is False
    wait_for(lambda: desk.query(order).found, "the deal is in the lists")
    assert len(desk.sim.deals(order)) == 1


def test_a_lost_sell_is_found_and_no_other_contract_is_sold(make):
    desk = make("v3").start()
    for _ in range(2):
        assert desk.ask(desk.order("BUY", "16")).outcome == "ACCEPTED"
    desk.sim.fault("lost_reply", "deriv", "order")
    order = desk.order("SELL", "0.01")
    assert desk.ask(order).outcome == "UNKNOWN"
    found = desk.settled(order)
    (deal,) = desk.sim.deals(order)
    assert found.order.venue_order_id == deal["transaction_id"]
    opened = [int(d["contract_id"]) for d in desk.sim.deals() if d["action"] == "buy"]
    closed = [int(d["contract_id"]) for d in desk.sim.deals() if d["action"] == "sell"]
    assert int(deal["contract_id"]) == min(set(opened) - set(closed) | {int(deal["contract_id"])})


def test_a_doubled_answer_is_one_order(desk):
    desk.sim.fault("ws_duplicate", "deriv", "reply")
    order = desk.order("BUY", "17")
    assert desk.ask(order).outcome == "ACCEPTED"
    desk.ask(desk.order("SELL", "0.01"))
    assert (len(desk.results(order)), len(desk.sim.deals(order))) == (1, 1)
    keys = {(f.venue_order_id, f.trade_id) for f in desk.found(FillReport) if f.price == 17}
    assert len(keys) == 1


@pytest.mark.parametrize(
    ("fault", "code"), [("rate_limit_429", "rate_limited"), ("auth_revoked", "InvalidToken")]
)
def test_a_refused_buy_is_rejected_and_not_sent_again(make, fault, code):
    desk = make().start()
    desk.sim.fault(fault, "deriv", "order")
    order = desk.order("BUY", "18")
    result = desk.ask(order)
    assert (result.outcome, result.code, desk.sim.deals(order)) == ("REJECTED", code, [])


def test_a_closed_market_refuses_its_orders_and_says_so_in_its_book(make):
    desk = make(symbols=("ETH/USD", "cryETHUSD.MULTUP.50/USD")).start()
    desk.sim.ctl("halt", {"venue": "deriv", "symbol": "cryETHUSD", "on": True})
    order = desk.order("BUY", "10", "cryETHUSD.MULTUP.50/USD")
    result = desk.ask(order)
    assert (result.outcome, result.code, desk.sim.deals(order)) == ("REJECTED", "market_closed", [])
    closed = make(symbols=("ETH/USD", "cryETHUSD.MULTUP.50/USD")).start()
    assert {i.status for i in closed.ready.instruments} == {"WATCH_ONLY", "CLOSED"}
    closed.wait(VenueBook, lambda b: b.reason == "market_closed" and b.state == "EMPTY")


def test_a_market_that_closes_and_opens_is_told_while_the_session_lasts(make):
    symbol = "cryETHUSD.MULTUP.50/USD"
    desk = make(
        symbols=("ETH/USD", symbol), timeouts=Timeouts(read_s=1.5, clock_every_s=0.3)
    ).start()

    def told(status, since):
        return desk.wait(
            AdapterReady,
            lambda m: m.instruments[1].status == status and m.session == desk.ready.session,
            since,
        )

    for on, status, state in ((True, "CLOSED", "EMPTY"), (False, "TRADING", "LIVE")):
        mark = desk.mark()
        desk.sim.ctl("halt", {"venue": "deriv", "symbol": "cryETHUSD", "on": on})
        told(status, mark)
        desk.wait(VenueBook, lambda b, s=state: b.symbol == symbol and b.state == s, mark)


def test_noise_is_counted_and_the_session_lives_on(desk):
    session, mark = desk.adapter.session, desk.mark()
    for link in (session.public, session.private):
        before = sum(link.problems.values())
        for noise in (b"", b"{", b"[1]", b"\xff\xfe", b'{"a":' * 5000, b'{"msg_type":"tick","tick":7}',
                      b'{"msg_type":"transaction","transaction":{"action":"buy","contract_id":[]}}',
                      b'{"msg_type":"proposal_open_contract","proposal_open_contract":[1]}',
                      b'{"msg_type":"buy","buy":{}}', b'{"req_id":"7","msg_type":[]}'):  # fmt: skip
            link.on_frame(noise, CLOCK.wall_ns(), CLOCK.mono_ns())
        assert sum(link.problems.values()) > before
    assert desk.ask(desk.order("BUY", "26")).outcome == "ACCEPTED"
    desk.ask(desk.order("SELL", "0.01"))
    assert desk.found(AdapterFailed, since=mark) == []
    assert desk.found(LinkChanged, lambda m: not m.up, mark) == []


def test_without_enough_money_nothing_is_bought(desk):
    before = len(desk.sim.deals())
    balance = desk.reconcile(CLOCK.wall_ns()).balances[0].free
    desk.sim.fault("balance_drift", "deriv", asset="USD", amount=f"-{balance - 5:f}")
    try:
        result = desk.ask(desk.order("BUY", "10"))
    finally:
        desk.sim.fault("balance_drift", "deriv", asset="USD", amount=f"{balance - 5:f}")
    assert (result.outcome, result.code) == ("REJECTED", "insufficient_balance")
    assert len(desk.sim.deals()) == before


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"time_in_force": "GTC"}, "time_in_force_unsupported"),
        ({"post_only": True}, "post_only_unsupported"),
        ({"order_type": "MARKET", "price": None}, "order_type_unsupported"),
        ({"quantity": Decimal(2)}, "quantity_unsupported"),
        ({"symbol": WATCHED}, "not_tradable"),
        ({"side": "SELL", "symbol": DOWN}, "no_contract"),
        ({"expires_mono_ns": 1}, "expired"),
    ],
)
def test_what_this_venue_cannot_do_is_refused_before_a_byte_leaves(desk, more, code):
    sent = desk.adapter.session.rates.governor.used_ratio()
    result = desk.ask(desk.order(**more))
    assert (result.outcome, result.code, result.sent_wall_ns) == ("NOT_SENT", code, 0)
    assert desk.adapter.session.rates.governor.used_ratio() <= sent


def test_a_closed_gate_lets_nothing_pass(desk):
    desk.adapter.handle(SetGate("g1", True, []))
    order = desk.order("BUY", "19")
    try:
        result = desk.ask(order)
    finally:
        desk.adapter.handle(SetGate("g2", False, []))
    assert (result.outcome, result.code, desk.sim.deals(order)) == ("NOT_SENT", "gate_closed", [])


def test_a_password_is_good_once_and_only_with_the_apps_id(venue):
    urls, account = (venue.endpoints[k]["deriv"] for k in ("venues", "accounts"))
    token, app_id = Secret(account["api_secret"]), Secret(account["api_key"])
    url = DerivRest(urls["rest"], token, app_id, 2.0).one_time_url("VRTC9000001")

    def opens():
        host, _, path = url.removeprefix("ws://").partition("/")
        link = http.client.HTTPConnection(host, timeout=2)
        headers = {
            "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }  # fmt: skip
        link.request("GET", "/" + path, headers=headers)
        status = link.getresponse().status
        link.close()
        return status

    assert (opens(), opens()) == (101, 401)
    with pytest.raises(Exception, match="401"):
        DerivRest(urls["rest"], token, Secret("wrong"), 2.0).accounts()


def test_deals_of_others_and_of_the_dealer_are_told_without_a_name(make, venue):
    desk = make().start()
    stranger = make(
        "v3",
        api_key=Secret("rotated-key-deriv"),
        api_secret=Secret("rotated-secret-deriv"),
        symbols=("cryBTCUSD.MULTUP.300/USD",),
    ).start()
    mark = desk.mark()
    stranger.ask(stranger.order("BUY", "21", "cryBTCUSD.MULTUP.300/USD"))
    stranger.ask(stranger.order("BUY", "22", "cryBTCUSD.MULTUP.300/USD"))
    third = make(symbols=("cryBTCUSD.MULTUP.300/USD",)).start()
    held = third.reconcile(CLOCK.wall_ns()).balances
    assert {b.asset: b.free for b in held}["cryBTCUSD.MULTUP.300"] == 2
    venue.ctl("price", {"symbol": "BTC/USDT", "price": "64000"})
    gone = third.wait(FillReport, lambda f: f.side == "SELL")
    venue.ctl("price", {"symbol": "BTC/USDT", "price": "65000"})
    assert (gone.client_order_id, gone.price, gone.quantity) == ("", 0, 1)
    assert desk.found(FillReport, lambda f: f.symbol.endswith("300/USD"), mark) == []
    asked = third.query(third.order("SELL"), since_ns=CLOCK.wall_ns() - 60 * NS_PER_S)
    assert asked.found in (False, None)


def test_the_venues_own_records_are_rows_for_people(desk):
    order = desk.order("BUY", "23")
    assert desk.ask(order).code == ""
    rows = {}
    for topic in ("portfolio", "statement", "profit_table", "horoscope"):
        desk.adapter.handle(AskVenue("edge", topic, topic, {"limit": "3"}))
        told = desk.wait(VenueTold, lambda m, t=topic: m.correlation_id == t)
        rows[topic] = unpack(told.body) if told.ok else told.text
    contract = desk.fill(order).trade_id
    desk.ask(desk.order("SELL", "0.01"))
    assert contract in [row["contract_id"] for row in rows["portfolio"]]
    assert (rows["statement"][0]["contract_id"], rows["statement"][0]["amount"]) == (
        contract,
        "-23.0",
    )
    assert all(isinstance(row["sell_price"], str) for row in rows["profit_table"])
    assert "portfolio, statement, profit_table" in rows["horoscope"]
    assert json.dumps(rows)


def test_every_submit_is_answered_once_when_the_adapter_stops(make):
    desk = make().start()
    desk.sim.fault("delay", "deriv", "order", ms=5000)
    orders = [desk.order("BUY", "24"), desk.order("BUY", "25")]
    for order in orders:
        desk.adapter.handle(order)
    wait_for(lambda: desk.sim.deals(orders[0]), "the first is at the venue")
    assert desk.adapter.stop(5)
    assert [[r.outcome for r in desk.results(o)] for o in orders] == [["UNKNOWN"], ["NOT_SENT"]]
    late = desk.order()
    desk.adapter.handle(late)
    assert desk.results(late)[0].outcome == "NOT_SENT"


def test_a_symbol_that_is_not_listed_keeps_the_venue_from_opening(make):
    desk = make(symbols=("cryDOGEUSD.MULTUP.100/USD",))
    desk.adapter.start()
    told = desk.wait(LinkChanged, lambda m: m.link == "rest" and not m.up)
    assert "does not list cryDOGEUSD.MULTUP.100/USD" in told.reason
    assert desk.found(AdapterReady) == []
    assert desk.found(OrderReport) == []


def test_each_connection_has_a_password_of_its_own_and_a_refused_token_ends_the_link(make):
    desk = make().start()
    mark = desk.mark()
    desk.sim.fault("ws_drop", "deriv", "private", count=10)
    desk.wait(LinkChanged, lambda m: m.link == "private" and not m.up, mark)
    desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, mark)
    desk.sim.fault("auth_revoked", "deriv", "query", count=10)
    desk.sim.fault("ws_drop", "deriv", "private", count=10)
    failed = desk.wait(AdapterFailed, since=mark)
    assert failed.code == "auth"
    assert failed.text.startswith("InvalidToken")
    assert b"otp=" not in was_said(desk)


def test_a_dealer_that_died_has_its_contracts_and_money_again(tmp_path):
    venue = DerivSim(tmp_path)
    desk = DerivDesk(venue)
    try:
        desk.start()
        order = desk.order("BUY", "27")
        assert desk.ask(order).outcome == "ACCEPTED"
        mark = desk.mark()
        venue.process.kill()
        venue.process.wait()
        desk.wait(LinkChanged, lambda m: m.link == "private" and not m.up, mark)
        venue = DerivSim(tmp_path)
        desk.wait(LinkChanged, lambda m: m.link == "private" and m.up, mark)
        held = {b.asset: b.free for b in desk.reconcile(CLOCK.wall_ns()).balances}
        assert (held["USD"], held["cryBTCUSD.MULTUP.100"]) == (9973, 1)
        assert desk.query(order).order.venue_order_id == venue.deals(order)[0]["transaction_id"]
        assert desk.ask(desk.order("SELL", "0.01")).outcome == "ACCEPTED"
    finally:
        assert desk.adapter.stop(5)
        venue.stop()
