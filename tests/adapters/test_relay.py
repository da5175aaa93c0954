"""Renewing links: the successor is heard when it is level, and nothing is lost or told twice."""

import random

import pytest

from adapters.relay import LEVEL_WITHIN_NS, LINGER_NS, PrivateRenewal, PublicRenewal
from adapters.stream import Watch, WsLink
from engine.clock import NS_PER_S, VirtualClock
from engine.messages.market import LinkAlive, TradePrint, VenueBook
from engine.messages.port import BalanceUpdate, LinkChanged

AGE_S = 1000.0


class Feed:
    """The handler of a link that says what a test makes it say."""

    def __init__(self, deliver, ask):
        self.deliver, self.ask = deliver, ask
        self.link = None
        self.is_up = False
        self.books = {}
        self.frames = self.gaps = self.resyncs = 0

    def book(self, sequence, state="LIVE", symbol="BTC/USDT", ts=0, bid=10, mono=1):
        self.books[symbol] = VenueBook("okx", symbol, state, "", 0, 0, [bid], [1], [20], [1], sequence,
                                       ts, 1, mono)  # fmt: skip
        self.deliver(self.books[symbol])

    def tell_books(self):
        for book in self.books.values():
            self.deliver(book)

    def up(self, up=True, link="public"):
        self.deliver(LinkChanged("okx", link, up, "told", 1))
        self.is_up = up

    def trade(self, number):
        self.deliver(TradePrint("okx", "BTC/USDT", str(number), "BUY", 1, 1, 1, 1))


class Rig:
    """A renewal, its feeds in the order they were made, and what was heard."""

    def __init__(self, kind=PublicRenewal, **more):
        self.clock, self.heard, self.feeds = VirtualClock(), [], []
        self.renewal = kind(self.make, self.open_link, self.heard.append, AGE_S, **more)
        self.open_link(self.feeds[0])

    def make(self, deliver, ask):
        self.feeds.append(Feed(deliver, ask))
        return self.feeds[-1]

    def open_link(self, feed):
        feed.link = WsLink("ws://127.0.0.1:9", feed, clock=self.clock, rng=random.Random(1),
                           watch=Watch(1, 1, 1, 0, AGE_S), stopping=None)  # fmt: skip
        feed.link._opened_ns = self.clock.mono_ns() or 1
        feed.link.connections = 1

    def wait(self, seconds):
        self.clock.advance_ns(int(seconds * NS_PER_S))
        self.renewal.look(self.clock.mono_ns())

    def found(self, kind):
        return [m for m in self.heard if isinstance(m, kind)]


@pytest.fixture
def rig():
    made = Rig(is_numbered=True)
    made.feeds[0].up()
    made.feeds[0].book(5)
    return made


def test_a_young_link_is_left_alone_and_one_near_its_age_gets_a_successor(rig):
    rig.wait(AGE_S * 0.7)
    assert len(rig.feeds) == 1
    rig.wait(AGE_S * 0.15)
    assert len(rig.feeds) == 2
    rig.wait(1)
    assert len(rig.feeds) == 2


def test_the_successor_is_silent_until_it_is_level_and_then_takes_over_without_a_gap(rig):
    old = rig.feeds[0]
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    heard = len(rig.heard)
    new.book(0, "SYNCING")
    new.up()
    new.book(4)
    new.deliver(LinkAlive("okx", 9))
    assert len(rig.heard) == heard, "older than what is shown"
    old.book(6, mono=50)
    old.book(7, mono=60)
    new.book(6)
    assert rig.renewal.current is old
    new.book(8, mono=55)
    assert rig.renewal.current is new
    assert [b.sequence for b in rig.found(VenueBook)] == [5, 5, 6, 7, 8]
    assert rig.found(VenueBook)[-1].mono_received_ns == 60, "or the book actor would think it older"
    assert {b.state for b in rig.found(VenueBook)} == {"LIVE"}
    assert all(m.up for m in rig.found(LinkChanged)), "no link is told as down"
    assert rig.found(LinkChanged)[-1].reason == "taken over by a successor: notice"
    assert old.link._given_up
    heard = len(rig.heard)
    old.up(False)
    old.book(9, "STALE")
    old.trade(1)
    assert len(rig.heard) == heard, "nobody hears the old one any more"
    new.book(9)
    assert rig.found(VenueBook)[-1].sequence == 9


def test_each_book_has_to_be_level(rig):
    old = rig.feeds[0]
    old.book(50, symbol="ETH/USDT")
    old.book(1, "SYNCING", symbol="XRP/USDT")
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    new.up()
    new.book(5)
    new.book(49, symbol="ETH/USDT")
    new.book(0, "SYNCING", symbol="XRP/USDT")
    assert rig.renewal.current is old
    new.book(50, symbol="ETH/USDT")
    assert rig.renewal.current is new, "a book that the old one does not have is not waited for"


def test_trades_of_both_are_told_once_and_in_their_order(rig):
    old = rig.feeds[0]
    old.trade(1)
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    for feed, number in ((old, 2), (new, 2), (new, 3), (old, 3), (new, 4)):
        feed.trade(number)
    new.up()
    new.book(5)
    old.trade(4)
    new.trade(5)
    assert [t.trade_id for t in rig.found(TradePrint)] == ["1", "2", "3", "4", "5"]


def test_where_ids_do_not_compare_time_or_the_same_levels_do():
    rig = Rig(is_numbered=False)
    old = rig.feeds[0]
    old.up()
    old.book(900, ts=100)
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    new.up()
    new.book(1, ts=99, bid=11)
    assert rig.renewal.current is old
    new.book(2, ts=99, bid=10)
    assert rig.renewal.current is new


def test_a_successor_that_does_not_become_level_is_given_up_and_tried_again_later(rig):
    old = rig.feeds[0]
    rig.wait(AGE_S * 0.85)
    new = rig.feeds[1]
    new.up()
    new.up(False)
    new.book(99)
    assert rig.renewal.current is old, "its link is down again"
    rig.wait(LEVEL_WITHIN_NS / NS_PER_S + 1)
    assert new.link._given_up
    new.up()
    assert rig.renewal.current is old
    rig.wait(1)
    assert len(rig.feeds) == 3
    assert not old.link._given_up


def test_counters_go_on_over_a_renewal(rig):
    old = rig.feeds[0]
    old.frames, old.gaps, old.link.connections = 100, 2, 4
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    new.frames = 5
    new.up()
    new.book(5)
    assert [rig.renewal.count(name) for name in ("frames", "gaps", "reconnects")] == [105, 2, 3]
    assert rig.renewal.renewals == 1


def test_a_private_successor_is_heard_at_once_and_the_old_one_for_a_while():
    rig = Rig(PrivateRenewal)
    old = rig.feeds[0]
    old.up(link="private")
    old.ask("notice")
    rig.wait(1)
    new = rig.feeds[1]
    heard = len(rig.found(LinkChanged))
    old.deliver(BalanceUpdate("okx.main", [], 1))
    new.up(link="private")
    assert rig.renewal.current is new
    new.deliver(BalanceUpdate("okx.main", [], 2))
    old.deliver(BalanceUpdate("okx.main", [], 3))
    rig.wait(1)
    assert not old.link._given_up
    rig.wait(LINGER_NS / NS_PER_S + 1)
    assert old.link._given_up
    old.up(False, link="private")
    assert [b.ts_event_ns for b in rig.found(BalanceUpdate)] == [1, 2, 3]
    assert len(rig.found(LinkChanged)) == heard, "no link was told as down: nothing to reconcile"
    new.up(False, link="private")
    assert rig.found(LinkChanged)[-1].up is False


def test_a_private_link_that_fell_before_its_successor_was_up_is_told_and_reconciled():
    rig = Rig(PrivateRenewal)
    old = rig.feeds[0]
    old.up(link="private")
    old.ask("notice")
    rig.wait(1)
    old.up(False, link="private")
    rig.feeds[1].up(link="private")
    assert [m.up for m in rig.found(LinkChanged)] == [True, False, True]
