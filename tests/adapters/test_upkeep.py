"""What a running session keeps in order by itself, against the simulated venues."""

import pytest
from rig import ask, cancel
from waiting import wait_for

from adapters.registry import Timeouts
from adapters.relay import NUMBERED
from engine.messages.market import VenueBook
from engine.messages.port import AdapterReady, LinkChanged, OrderReport
from engine.trading.instrument import unscale

CLOSED = ("HALTED", "CANCEL_ONLY")  # Kraken's halted pairs are cancel-only

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("adapters")]


def test_links_are_renewed_without_a_gap_and_the_successor_brings_everything(desk):
    session = desk.adapter._session
    old = session.public, session.private
    mark = desk.mark()
    session.publics.ask("a notice")
    session.privates.ask("a notice")
    wait_for(lambda: session.public is not old[0] and session.private is not old[1], "both renewed")
    taken_over = desk.wait(LinkChanged, lambda m: "taken over" in m.reason, mark)
    wait_for(lambda: old[0].link._given_up and not old[0].is_up, "the old public link is closed")
    order = desk.new_order(price="30800")
    assert ask(desk, order).outcome == "ACCEPTED"
    named = order.client_order_id
    desk.wait(OrderReport, lambda m: m.client_order_id == named and m.source == "stream", mark)
    desk.live(since=desk.reports.index(taken_over))
    books = desk.found(VenueBook, since=mark)
    assert {book.state for book in books} == {"LIVE"}, "no book left for a moment"
    is_numbered = session.public._codec.policy in NUMBERED  # else ids begin anew with a connection
    for symbol in desk.config.symbols if is_numbered else ():
        mine = [book.sequence for book in books if book.symbol == symbol]
        assert mine == sorted(mine), "nor went back in time"
    assert all(m.up for m in desk.found(LinkChanged, since=mark))
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_fee_rates_come_from_the_venue_and_are_read_again(make):
    desk = make(timeouts=Timeouts(fees_every_s=0.2)).start()
    first = desk.wait(AdapterReady)
    assert {rule.fee_source for rule in first.instruments} == {"venue"}
    newest = max(rule.fee_ts_ns for rule in first.instruments)
    again = desk.wait(AdapterReady, lambda m: min(r.fee_ts_ns for r in m.instruments) > newest)
    rates = [[(r.maker_fee, r.taker_fee) for r in ready.instruments] for ready in (first, again)]
    assert rates[0] == rates[1]
    assert all(0 < maker <= taker for maker, taker in rates[0])


def test_a_lost_last_message_of_a_quiet_book_is_found_by_asking(make):
    desk = make(quiet_after_s=0.5)
    desk.sim.ctl("flow", {"on": False})
    desk.start()
    session = desk.adapter._session
    slot = session.public._slots["BTC/USDT"]
    wait_for(lambda: slot.audited_ns, "the venue has agreed with the quiet book")
    assert session.public.gaps == 0
    desk.sim.fault("ws_gap", desk.venue, on="book", count=1)
    mark = desk.mark()
    shown = desk.found(VenueBook, lambda b: b.symbol == "BTC/USDT" and b.state == "LIVE")[-1]
    best_bid = unscale(shown.bid_prices[0], shown.price_exponent)
    order = desk.new_order(price=best_bid, quantity="0.017")
    assert ask(desk, order).outcome == "ACCEPTED"
    lost = desk.wait(VenueBook, lambda b: b.symbol == "BTC/USDT" and b.state == "GAP", mark)
    assert lost.reason in ("audit_disagrees", "sequence"), "by asking, or by a heartbeat's number"
    desk.live(since=desk.reports.index(lost))
    assert cancel(desk, order).outcome == "ACCEPTED"


def test_a_symbol_that_is_halted_while_running_is_told_with_its_books_and_orders_untouched(make):
    desk = make(rules_every_s=0.2).start()
    mark = desk.mark()
    desk.sim.ctl("halt", {"venue": desk.venue, "symbol": "ETH/USDT", "on": True})
    try:
        told = desk.wait(AdapterReady, lambda m: _status(m, "ETH/USDT") in CLOSED, mark)
        assert _status(told, "BTC/USDT") == "TRADING"
        assert told.session == desk.found(AdapterReady)[0].session, "no new session"
    finally:
        desk.sim.ctl("halt", {"venue": desk.venue, "symbol": "ETH/USDT", "on": False})
    desk.wait(AdapterReady, lambda m: _status(m, "ETH/USDT") == "TRADING", desk.reports.index(told))
    assert all(m.up for m in desk.found(LinkChanged, since=mark))


def test_a_window_of_maintenance_is_told_from_the_start(make):
    desk = make(maintenance=("daily 00:00-23:59", "daily 23:59-00:00")).start()
    rules = desk.found(AdapterReady)[0].instruments
    assert {rule.status for rule in rules} == {"MAINTENANCE"}
    assert "until" in rules[0].status_reason


def _status(ready, symbol):
    return next(rule.status for rule in ready.instruments if rule.symbol == symbol)
