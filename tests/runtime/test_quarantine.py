"""When one symbol of a venue takes no order: in quarantine, or because the venue does not trade it."""

from dataclasses import replace
from decimal import Decimal

import pytest
from toys import World, persistence, spec

from actors.exchange import ExchangeActor, ExchangeConfig
from actors.order_book import OrderBookActor
from engine.actor import Actor
from engine.alarms import MONEY_KINDS, REPORT_KINDS, Alarms
from engine.envelope import KINDS
from engine.ids import UlidIds, client_order_id
from engine.messages import (
    AdapterFailed,
    AdapterReady,
    ApprovedOrder,
    ConsolidatedBook,
    FillReport,
    Halt,
    Instrument,
    LinkChanged,
    OrderApproved,
    OrderDenied,
    OrderSpec,
    Quarantine,
    Reconcile,
    ReconcileResult,
    SubmitOrder,
    SubmitResult,
    SymbolStatusChanged,
    VenueBook,
)

BTC, ETH = "BTC/USDT", "ETH/USDT"
CONFIG = ExchangeConfig(
    venue="okx",
    instance="desk",
    account="okx.main",
    ack_timeout_s=5.0,
    settle_window_s=60.0,
    enforces_expiry=True,
    reconcile_every_s=30.0,
    closed_kept_max=100,
)
FILL = FillReport(
    *("okx.main", "o1", "v1", "t1", BTC, "BUY", Decimal(100), Decimal(1), Decimal(0)),
    *("USDT", "TAKER", "stream", 1),
)
ANSWER = SubmitResult("okx.main", "o1", "ACCEPTED", "v1", "", "", "", 0, 0)


def mail(consumer, kind):
    """Read and acknowledge all of a consumer's mail; return the messages of one kind."""
    found = []
    while (entry := consumer.peek()) is not None:
        if entry.kind == kind.__name__:
            found.append(consumer.read(entry)[1])
        consumer.ack(entry)
    return found


# --- a parked report leads to a quarantine --------------------------------------------------------


class Broken(Actor):
    """An exchange actor that can handle no report, and shows what it is told instead."""

    def __init__(self, told):
        super().__init__()
        self.told = told

    def on_fill_report(self, message):
        raise ValueError("no such trade")

    def on_submit_result(self, message):
        raise ValueError("no such order")

    def on_quarantine(self, message):
        self.told.append(message)


def broken_world(name):
    told, later = [], []
    world = World([persistence(), spec(name, lambda: Broken(told))], parked_to="persistence")
    alarms = Alarms(UlidIds(), world.clock, later.append)
    alarms.runtime = world.supervisor
    world.supervisor._observer = alarms.observe
    risk = world.supervisor.add_mailbox("risk_pnl")
    world.start(1.0)
    return world, told, later, risk


@pytest.mark.parametrize("report", [FILL, ANSWER])
def test_a_parked_report_puts_its_symbol_or_order_in_quarantine_and_halts_nothing(report):
    world, told, later, risk = broken_world("exchange.okx")
    world.supervisor.tell("exchange.okx", report, message_id="p1")
    world.run(5.0)
    for job in later:
        job()
    world.run(1.0)
    kind = type(report).__name__
    assert told == [Quarantine(kind, "p1", "o1", getattr(report, "symbol", ""))]
    assert mail(risk, Halt) == []


def test_a_parked_approval_halts_its_venue():
    world, told, later, risk = broken_world("exchange.okx")
    world.supervisor.tell("exchange.okx", approval(world, BTC, 1), message_id="p1")
    world.run(5.0)
    for job in later:
        job()
    assert [halt.scope for halt in mail(risk, Halt)] == ["venue:okx"]
    assert told == []


def test_every_report_of_a_venue_about_orders_is_known_to_the_alarms():
    about_orders = {
        kind
        for kind, message in KINDS.items()
        if message.__module__ == "engine.messages.port" and kind.endswith(("Report", "Result"))
    }
    assert about_orders == REPORT_KINDS
    assert set(KINDS) >= MONEY_KINDS


# --- a quarantine waits for a reconciliation ------------------------------------------------------


def approval(world, symbol, number):
    order_id = client_order_id("desk", f"c{number}")
    order = OrderSpec(
        *(order_id, f"c{number}", order_id, None, "okx.main", "okx", symbol, "BUY", "LIMIT"),
        *("GTC", False, Decimal(1), Decimal(100), "COMMAND", "me", 0),
    )
    until_ns = world.clock.mono_ns() + 3600 * 10**9
    return ApprovedOrder(0, OrderApproved(order, 0, until_ns, "ok"))


class Desk:
    """The real exchange actor, READY, and its adapter's mail."""

    def __init__(self):
        self.world = World([persistence(), spec("exchange.okx", lambda: ExchangeActor(CONFIG))])
        self.adapter = self.world.supervisor.add_mailbox("adapter.okx")
        for reader in ("order_router", "risk_pnl", "order_book", "edge"):
            self.world.supervisor.add_mailbox(reader)
        self.world.start(0.1)
        self.orders = 0
        self.tell(AdapterReady("okx", "s1", [], ["okx.main"]))
        self.tell(LinkChanged("okx", "private", True, "", 0))
        for _ in range(20):
            self.answer(self.asked())
        assert self.actor.venue_state == "READY"

    @property
    def actor(self):
        return self.world.actor("exchange.okx")

    def tell(self, message):
        self.world.supervisor.tell("exchange.okx", message)
        self.world.run(0.01)

    def asked(self):
        self.world.run(2.0)
        return mail(self.adapter, Reconcile)

    def answer(self, asked, ok=True):
        for request in asked:
            now_ns = self.world.clock.mono_ns()
            self.tell(
                ReconcileResult(request.request_id, "okx.main", ok, "", [], [], [], now_ns, now_ns)
            )

    def leaves(self, symbol):
        """Approve one more order; tell whether it was sent on, or why not."""
        self.orders += 1
        self.tell(approval(self.world, symbol, self.orders))
        sent = mail(self.adapter, SubmitOrder)
        denied = [e for _, _, e in self.world.journal.records if isinstance(e, OrderDenied)]
        why = [e.code for e in denied if e.order.command_id == f"c{self.orders}"]
        assert len(sent) + len(why) == 1
        return sent != [] or why[0]


def rules(status="TRADING", reason=""):
    step = Decimal("0.1")
    figures = step, step, step, None, step, step, step
    return AdapterReady("okx", "s1", [
        Instrument("okx", BTC, "BTC-USDT", "BTC", "USDT", *figures, status, reason),
        Instrument("okx", ETH, "ETH-USDT", "ETH", "USDT", *figures),
    ], ["okx.main"])  # fmt: skip


def test_a_symbol_that_its_venue_does_not_trade_takes_no_order_and_the_journal_says_why():
    desk = Desk()
    desk.tell(rules())
    mail(desk.adapter, Reconcile)
    desk.tell(rules("HALTED", "announced: upgrade"))
    assert desk.actor.venue_state == "READY", "the others trade on"
    assert desk.actor.reason == "BTC/USDT HALTED: announced: upgrade"
    assert mail(desk.adapter, Reconcile) == [], "nothing was lost that would have to be compared"
    assert desk.leaves(BTC) == "symbol_halted"
    assert desk.leaves(ETH) is True
    desk.tell(rules())
    assert desk.leaves(BTC) is True
    told = [e for _, _, e in desk.world.journal.records if isinstance(e, SymbolStatusChanged)]
    assert [(e.symbol, e.before, e.status) for e in told] == [
        (BTC, "TRADING", "HALTED"), (BTC, "HALTED", "TRADING"),
    ]  # fmt: skip


def test_a_symbol_in_quarantine_takes_no_order_until_reconciled_and_the_others_do():
    desk = Desk()
    assert desk.leaves(BTC) is True
    desk.tell(Quarantine("FillReport", "p1", "", BTC))
    assert desk.actor.reason == "BTC/USDT quarantined until reconciled: FillReport p1 is parked"
    asked = mail(desk.adapter, Reconcile)
    assert len(asked) == 1, "it asks at once"
    assert desk.leaves(BTC) == "quarantined"
    assert desk.leaves(ETH) is True
    desk.answer(asked, ok=False)
    assert desk.leaves(BTC) != True  # noqa: E712  a code is true as well
    desk.answer(desk.asked())
    desk.world.run(10.0)
    desk.answer(desk.asked())
    assert desk.actor.venue_state == "READY"
    assert desk.actor.reason == ""
    assert desk.leaves(BTC) is True


def test_an_answer_that_was_asked_for_before_the_quarantine_does_not_lift_it():
    desk = Desk()
    desk.world.run(40.0)
    before = mail(desk.adapter, Reconcile)
    assert before
    desk.tell(Quarantine("FillReport", "p1", "", BTC))
    desk.answer(before)
    assert desk.leaves(BTC) == "quarantined"


def test_without_a_symbol_the_known_order_tells_it_and_else_the_whole_venue_waits():
    desk = Desk()
    assert desk.leaves(ETH) is True
    order_id = client_order_id("desk", f"c{desk.orders}")
    desk.tell(Quarantine("SubmitResult", "p1", order_id, ""))
    assert desk.actor.quarantined.keys() == {ETH}
    assert desk.leaves(BTC) is True
    mail(desk.adapter, Reconcile)
    desk.tell(Quarantine("ReconcileResult", "p2", "", ""))
    assert mail(desk.adapter, Reconcile) == [], "the next one comes in its own time"
    assert desk.leaves(BTC) == "quarantined"
    assert "every symbol" in desk.actor.reason


# --- a crashed session: its books leave, and come back with the next one --------------------------


def test_the_books_of_a_crashed_session_leave_at_once_and_the_neighbours_stay():
    names = ("binance", "okx")
    stale = dict.fromkeys(names, 10**12)
    world = World(
        [
            persistence(),
            spec(
                "order_book",
                lambda: OrderBookActor(
                    stale_after_ns=stale, depth=5, venues=list(names), readers=("edge",)
                ),
            ),
            *(
                spec(f"exchange.{name}", lambda n=name: ExchangeActor(replace(CONFIG, venue=n)))
                for name in names
            ),
        ]
    )
    edge = world.supervisor.add_mailbox("edge")
    for reader in ("order_router", "risk_pnl", *(f"adapter.{name}" for name in names)):
        world.supervisor.add_mailbox(reader)
    world.start(0.5)

    def told(name, message):
        world.supervisor.tell(f"exchange.{name}", message)
        world.run(0.2)

    def best():
        return [
            (book.bids[0], {q.venue: q.state for q in book.venues if q.state == "LIVE"})
            for book in mail(edge, ConsolidatedBook)[-1:]
        ]

    def book(venue, bid):
        at_ns = world.clock.mono_ns()
        return VenueBook(venue, BTC, "LIVE", "", 0, 0, [bid], [1], [200], [1], 1, 0, 0, at_ns)

    told("binance", book("binance", 100))
    told("okx", book("okx", 101))
    assert best() == [(101, {"binance": "LIVE", "okx": "LIVE"})]
    told("okx", AdapterFailed("okx", "crashed", "public: ZeroDivisionError"))
    assert best() == [(100, {"binance": "LIVE"})]
    told("okx", AdapterReady("okx", "s2", [], ["okx.main"]))
    told("okx", book("okx", 102))
    assert best() == [(102, {"binance": "LIVE", "okx": "LIVE"})]
