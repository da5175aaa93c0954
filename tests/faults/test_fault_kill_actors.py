"""Each of the five actors dies while it handles each kind of message of an order's life."""

import contextlib
import itertools

import pytest
from checker import problems
from core_process import VENUES, Burst, Traffic
from test_fault_kill_failures import kinds_of
from waiting import wait_for

from actors.exchange import ExchangeActor
from actors.order_book import OrderBookActor
from actors.order_router import OrderRouterActor
from actors.persistence import PersistenceActor
from actors.risk_pnl import RiskPnLActor
from engine import envelope
from engine.actor import Actor, handler_name
from engine.client import RequestRefused
from engine.errors import OutcomeUnknown, Unreachable

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]

ERRORS = ("RuntimeError", "SystemExit", "KeyboardInterrupt", "MemoryError", "GeneratorExit")
POINTS = ("before_handler", "in_handler", "before_flush", "mid_flush", "before_ack")
# mid_flush comes after each message sent: not of those that send nothing.
SENDS = {
    "ApprovedOrder", "SubmitResult", "FillReport", "CancelRequest", "ReconcileResult", "VenueBook",
    "PlaceOrder", "CancelOrders", "Query", "Proposal", "Append", "AccountSnapshot",
}  # fmt: skip
KINDS = {
    "exchange.binance": (
        "start", "AdapterReady", "LinkChanged", "ReconcileResult", "ApprovedOrder", "SubmitResult",
        "OrderReport", "FillReport", "CancelRequest", "CancelResult", "QueryRequest", "QueryResult",
        "CommittedNow", "GateChanged", "Introduce", "VenueBook", "LinkAlive", "Tick",
        "BalanceUpdate", "TradePrint", "VenueHealth", "Query", "VenueTold", "AskOpen",
    ),
    "order_book": (
        "start", "VenueBook", "LinkAlive", "VenueState", "AdapterReady", "Query", "Tick",
    ),
    "order_router": (
        "start", "PlaceOrder", "CancelOrders", "ReconcileOrders", "Committed", "ConsolidatedBook",
        "VenueState", "AdapterReady", "Query",
    ),
    "risk_pnl": (
        "start", "Proposal", "Committed", "Halt", "GateReport", "Resume", "AccountSnapshot",
        "AdapterReady", "ConsolidatedBook", "Query", "DryRun", "Tick",
    ),
    "persistence": ("start", "Append", "AppendNow", "Barrier", "Tick", "AccountSnapshot"),
}  # fmt: skip
# What comes only of another failure, or of a person's word on one, dies in test_fault_kill_failures.py.
ELSEWHERE = {actor: kinds_of(actor) for actor in KINDS}
CLASSES = {
    "exchange.binance": ExchangeActor, "order_book": OrderBookActor, "order_router": OrderRouterActor,
    "risk_pnl": RiskPnLActor, "persistence": PersistenceActor,
}  # fmt: skip
# What an order's life brings seldom dies at its first; the rest in the middle of traffic too.
SELDOM = {
    "AdapterReady", "LinkChanged", "CommittedNow", "GateChanged", "GateReport", "Halt", "Resume",
    "AppendNow", "Introduce", "DryRun", "QueryRequest", "QueryResult", "ReconcileOrders", "start",
    "AccountSnapshot", "Barrier", "BalanceUpdate", "VenueHealth", "VenueTold", "AskOpen",
}  # fmt: skip


ROUNDS_MAX = 6  # of every operation, until each kind has been crashed at


def crashes_of(actor):
    """Return what XCORE_CRASH_ACTOR says: each kind several times, at changing points and errors."""
    errors, points = itertools.cycle(ERRORS), itertools.cycle(POINTS)
    asked = []
    for kind in KINDS[actor]:
        for number in (1,) if kind in SELDOM else (1, 3):
            point = next(points)
            if point == "mid_flush" and kind not in SENDS:
                point = "in_handler"
            if kind == "start":  # what an incarnation begins with passes the flush alone
                point = "before_flush"
            asked.append(f"{actor}:{kind}:{number}:{next(errors)}:{point}")
    return asked


def insist(ask):
    """Ask again as long as the answer is that there is none yet: its actor may just have died."""

    def answered():
        try:
            return ask() or True
        except RequestRefused as error:
            if error.code != "NOT_FOUND":
                raise
        except (OutcomeUnknown, Unreachable):
            pass
        return None

    return wait_for(answered, "an answer")


def every_operation(core, venues, number):
    """Do what traffic does not: halts, dry runs, questions, and a reply that is lost."""
    venues.fault("lost_reply", "binance", on="order")
    with core.client() as client:
        halt = {"reason": "drill", "scope": "symbol:ETH/USDT", "timeout_s": 1}
        insist(lambda: client.request("risk.halt", cancel=True, **halt))
        insist(lambda: client.request("risk.resume", reason="drill", scope="symbol:ETH/USDT"))
        client.request("order.reconcile")
        for order in client.orders(limit=8, venue="binance"):
            client.request("order.reconcile", order_ids=[order["order_id"]])
        with contextlib.suppress(RequestRefused):  # it may well say that it would be denied
            client.place("best", "BTC/USDT", "buy", "0.001", dry_run=True)
        for _ in range(4):
            insist(lambda: client.book("BTC/USDT", venue="binance"))
        client.positions()
        price = f"{float(insist(client.bbo)[0]['bid']) * 0.99:.1f}"
        for n in range(4):
            with contextlib.suppress(RequestRefused, OutcomeUnknown, Unreachable):
                far = {"wait": "none", "command_id": f"far-{number}-{n}"}
                order = client.place("binance", "BTC/USDT", "buy", "0.002", price, **far)
                client.cancel(order["order_id"], timeout_s=1)
        for _ in range(2):
            with contextlib.suppress(RequestRefused, OutcomeUnknown, Unreachable):
                client.request("venue.records", venue="binance", kind="statement")
        with contextlib.suppress(RequestRefused, OutcomeUnknown, Unreachable):
            client.request("risk.receipt", command_id="drill", scope="symbol:ETH/USDT", timeout_s=1)


def fills_of(core, venue):
    with core.client() as client:
        return sum(float(o["filled_quantity"]) for o in client.orders(venue=venue, limit=1000))


@pytest.mark.parametrize("actor", KINDS)
def test_an_actor_dies_handling_each_kind_of_message_and_nothing_is_lost_or_doubled(
    actor, core, venues
):
    asked = crashes_of(actor)
    core.start(XCORE_CRASH_ACTOR=",".join(asked))
    assert core.ready()

    def left():
        fired = " ".join(line["detail"] for line in core.crash_lines())
        return [text for text in asked if text not in fired]

    with Traffic(core, "load") as traffic:
        wait_for(lambda: len(traffic.bursts) > 1, "orders flow")
        before = fills_of(core, "okx")
        for number in range(ROUNDS_MAX):
            every_operation(core, venues, number)
            if not left():
                break
        wait_for(lambda: not left(), lambda: f"crashes: {left()}", 80)  # its weight may be spent
        done = len(traffic.bursts)
        wait_for(lambda: len(traffic.bursts) > done + 2, "orders flow after the crashes")
        wait_for(lambda: fills_of(core, "okx") > before, "the other venue trades on")
    status = core.status()
    tree = {row["name"]: row for row in status["actors"]}
    assert tree[actor]["restarts"] == len(asked)
    assert tree[actor]["state"] == "running"
    assert sum(row["restarts"] for row in status["actors"]) == len(asked), "the others lived on"
    assert status["trading_state"] == "ACTIVE"
    assert sum(row["parked"] for row in status["actors"]) == 0
    core.quiesce()
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []


@pytest.mark.parametrize("actor", KINDS)
def test_no_kind_that_an_actor_handles_is_forgotten(actor):
    names = {kind: handler_name(kind) for kind in envelope.KINDS}
    own = {kind for kind, name in names.items() if hasattr(CLASSES[actor], name)}
    own -= {kind for kind, name in names.items() if hasattr(Actor, name)}
    assert own <= set(KINDS[actor]) | ELSEWHERE[actor]
    assert not set(KINDS[actor]) & ELSEWHERE[actor]


def test_each_actor_killed_by_hand_while_orders_flow_comes_back_and_the_rest_goes_on(core, venues):
    core.start()
    assert core.ready()
    names = ["persistence", "risk_pnl", "order_router", "order_book"]
    names += [f"exchange.{venue}" for venue in VENUES]
    with Traffic(core, "load") as traffic, core.client() as client:
        for _ in range(3):
            for name in names:
                done = len(traffic.bursts)
                client.request("actor.kill", name=name)
                wait_for(lambda done=done: len(traffic.bursts) > done, f"orders flow after {name}")
    tree = {row["name"]: row for row in core.status()["actors"]}
    assert {name: tree[name]["restarts"] for name in names} == dict.fromkeys(names, 3)
    core.quiesce()
    again = traffic.bursts[0]
    with core.client() as client:
        count = len(client.orders(limit=5000))
    again.submit(core)
    with core.client() as client:
        assert len(client.orders(limit=5000)) == count, "a command id made a second order"
    assert isinstance(again, Burst)
    assert core.terminate() == 0
    assert problems(core.journal, venues.log, traffic.acknowledged) == []
