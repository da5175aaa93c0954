"""One venue fails in every way of the catalogue while the other's orders fill and its book stays LIVE."""

import contextlib
import threading
from decimal import Decimal

import pytest
from waiting import wait_for

from engine.errors import CoreError
from simulator.faults import IMMEDIATE, KINDS
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(240)]
SICK, WELL = "okx", "binance"
# What a kind needs to be short, and to strike; and how often it strikes.
MORE = {
    "delay": {"params": {"ms": 300}}, "late_execution": {"params": {"ms": 300}},
    "ban_418": {"params": {"retry_after_s": 1}}, "maintenance": {"params": {"s": 1}},
    "clock_skew": {"params": {"ms": 20_000}}, "hidden_order": {"params": {"ms": 300}},
    "venue_restart": {"params": {"down_ms": 300}}, "refuse_connections": {"params": {"s": 1}},
}  # fmt: skip
# These leave something that a person has to settle: a difference, a refused key.
LAST = ("balance_drift", "auth_revoked")
NEVER_APPLIED = {*IMMEDIATE, "clock_skew"}  # they hold or happen at once, and are not counted


class Beside(threading.Thread):
    """Something done again and again beside the test, until it ends."""

    def __init__(self, work):
        super().__init__(daemon=True)
        self.work, self.ended, self.failure = work, threading.Event(), None

    def run(self):
        try:
            while not self.ended.is_set():
                self.work()
        except BaseException as error:  # noqa: BLE001  a bug of the test must not pass unseen
            self.failure = error

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.join(30)
        assert self.failure is None, self.failure


def order_and_cancel(core):
    """Give the sick venue something to fail at: an order that rests, and its cancel."""
    with contextlib.suppress(CoreError), core.client() as client:
        bid = Decimal(client.bbo("BTC/USDT")[0]["bid"] or 0)
        price = (bid * Decimal("0.99")).quantize(Decimal("0.1"))
        order = client.place(SICK, "BTC/USDT", "buy", "0.002", price, timeout_s=0.5)
        client.cancel(order["order_id"], timeout_s=0.5)


def test_every_fault_of_one_venue_leaves_the_others_orders_and_book_alone(make_core, venues):
    core = make_core(supervision={"max_restarts": 1000, "backoff_max_s": 0.2, "venue_silent_s": 60})
    core.start()
    assert core.ready()
    seen, filled, filled_beside = set(), [], {}

    def look():
        rows = (core.status() or {"venues": ()})["venues"]
        seen.update((v["state"], v["book_state"]) for v in rows if v["name"] == WELL)

    def strikes():
        return {
            f["fault_kind"] for f in read_log(venues.log(SICK)).faults if f["phase"] == "applied"
        }

    def fill():
        side = ("buy", "sell")[len(filled) % 2]
        with core.client() as client:
            order = client.place(WELL, "BTC/USDT", side, "0.001", market=True, wait="filled",
                                 timeout_s=30)  # fmt: skip
        assert order["status"] == "FILLED"
        filled.append(order["order_id"])

    kinds = [*(kind for kind in KINDS if kind not in LAST), *LAST]
    with Beside(look), Beside(lambda: order_and_cancel(core)):
        for kind in kinds:
            on = {} if kind != "private_event_after_ack" else {"on": "order"}
            venues.fault(kind, SICK, **on, **MORE.get(kind, {}))
            if kind in ("refuse_connections", "stale_snapshot"):  # which need a new connection
                venues.fault("ws_drop", SICK)
            before = len(filled)

            def struck(kind=kind):
                fill()
                return kind in NEVER_APPLIED or kind in strikes()

            wait_for(struck, lambda kind=kind: f"{kind} strikes: {core.status()['venues']}")
            filled_beside[kind] = len(filled) - before
            venues.clear_faults()
    assert seen == {("READY", "LIVE")}, f"the venue that is well was {seen}"
    assert set(filled_beside) == set(KINDS)
    assert all(filled_beside.values())
    sent = [
        r["client_order_id"] for r in read_log(venues.log(WELL)).requests if r["action"] == "place"
    ]
    assert sent == filled, "each order of the well venue is there once, in order, and filled"
