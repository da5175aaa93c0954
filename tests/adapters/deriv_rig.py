"""A real simulated Deriv, and its real adapter on real sockets and threads pointed at it."""

import random
import threading
from decimal import Decimal
from itertools import count

from rig import CLOCK, DEADLINE_S, Reports, Sim
from waiting import wait_for

from adapters.deriv import DerivAdapter
from adapters.hosting import _of_api
from adapters.registry import Secret, Timeouts, VenueConfig
from engine.clock import NS_PER_S
from engine.messages.port import (
    AdapterReady,
    FillReport,
    Intent,
    LinkChanged,
    OrderReport,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    SubmitOrder,
    SubmitResult,
)
from simulator.log import read_log

UP, DOWN, WATCHED = "cryBTCUSD.MULTUP.100/USD", "cryBTCUSD.MULTDOWN.100/USD", "BTC/USD"
SYMBOLS = (WATCHED, UP, DOWN)
NUMBERS = count(1)


class DerivSim(Sim):
    """A simulator process with Deriv alone."""

    VENUES = ("deriv",)

    def deals(self, order=None):
        """Return what the venue wrote down, of one order or of all."""
        deals = read_log(self.folder / "sim" / "deriv.jsonl", "main").deals
        return [d for d in deals if order is None or d["order"] == order.client_order_id]


class DerivDesk:
    """One adapter under test and everything it has reported."""

    def __init__(self, sim, dialect="new", **more):
        account = sim.endpoints["accounts"]["deriv"]
        settings = {
            "symbols": SYMBOLS,
            "api_key": Secret(account["api_key"]),
            "api_secret": Secret(account["api_secret"]),
            "timeouts": Timeouts(read_s=1.5),
            "stale_after_ms": 5000,
            **more,
        }
        urls = _of_api(sim.endpoints["venues"]["deriv"], dialect)
        self.sim = sim
        self.config = VenueConfig(
            name="deriv",
            adapter="deriv",
            account="deriv.main",
            urls=urls,
            api=dialect,
            **settings,
        )
        self.reports = Reports()
        self.threads = []
        self.adapter = DerivAdapter(
            self.config, clock=CLOCK, rng=random.Random(7), deliver=self.reports, threads=self.spawn
        )

    def spawn(self, name, run):
        thread = threading.Thread(target=run, name=name, daemon=True)
        self.threads.append(thread)
        thread.start()
        return thread

    def start(self):
        mark = self.mark()
        self.adapter.start()
        self.ready = self.wait(AdapterReady, since=mark)
        self.wait(LinkChanged, lambda m: m.link == "private" and m.up, since=mark)
        return self

    def mark(self):
        return len(self.reports)

    def found(self, kind, test=lambda _: True, since=0):
        return [m for m in self.reports[since:] if isinstance(m, kind) and test(m)]

    def wait(self, kind, test=lambda _: True, since=0, deadline_s=DEADLINE_S):
        def first():
            return next(iter(self.found(kind, test, since)), None)

        return wait_for(first, f"{kind.__name__} from deriv", deadline_s)

    def order(self, side="BUY", price="10", symbol=UP, **more):
        settings = {
            "order_type": "LIMIT", "time_in_force": "IOC", "post_only": False,
            "quantity": Decimal(1), "expires_mono_ns": CLOCK.mono_ns() + 10 * NS_PER_S, **more,
        }  # fmt: skip
        name = f"ce{next(NUMBERS):010x}{CLOCK.mono_ns():020x}"
        price = None if price is None else Decimal(price)
        return SubmitOrder(
            account="deriv.main",
            client_order_id=name,
            symbol=symbol,
            side=side,
            price=price,
            **settings,
        )

    def ask(self, order):
        self.adapter.handle(order)
        return self.wait(SubmitResult, lambda m: m.client_order_id == order.client_order_id)

    def fill(self, order, since=0):
        return self.wait(FillReport, lambda m: m.client_order_id == order.client_order_id, since)

    def query(self, order, taken=(), twins=0, since_ns=None):
        mark = self.mark()
        since_ns = CLOCK.wall_ns() - 2 * NS_PER_S if since_ns is None else since_ns
        intent = Intent(order.side, order.quantity, order.price, list(taken), twins)
        self.adapter.handle(
            QueryOrder("deriv.main", order.client_order_id, None, order.symbol, since_ns, intent)
        )
        return self.wait(QueryResult, since=mark)

    def settled(self, order, **more):
        """Return the first answer to a query that was an answer."""

        said = []

        def one():
            result = self.query(order, **more)
            said.append(result.evidence)
            return None if result.found is None else result

        return wait_for(one, lambda: f"an answer to a query: {said[-3:]}", DEADLINE_S)

    def reconcile(self, since_ns=0):
        mark = self.mark()
        self.adapter.handle(Reconcile(f"r{mark}", "deriv.main", since_ns))
        return self.wait(ReconcileResult, since=mark)

    def results(self, order):
        return self.found(SubmitResult, lambda m: m.client_order_id == order.client_order_id)

    def reported(self, order):
        return self.found(OrderReport, lambda m: m.client_order_id == order.client_order_id)
