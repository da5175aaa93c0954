"""No interleaving of proposals, fills, cancels, losses and restarts breaks a limit."""

import trading_factories as f
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from trading_factories import D

from engine.trading.risk import RiskGate
from engine.trading.risk_limits import RiskLimits

S = 1_000_000_000


def limits(tight):
    return RiskLimits(
        max_order_notional=D(2000),
        max_open_notional=D(2000),
        max_open_orders=2 if tight == "open" else 9,
        max_position={"BTC": D(30)},
        price_collar_pct=D(2),
        max_orders_per_second=2 if tight == "rate" else 9,
    )


def opened_gate(btc, chosen):
    made = RiskGate(chosen)
    for event in (f.opening("BTC", btc), f.opening("USDT", "3500"), f.opened()):
        made.apply(event)
    return made


IDS = [f"o{n}" for n in range(12)]
CLIENT = st.sampled_from(IDS)


class Interleavings(RuleBasedStateMachine):
    """Proposals and a venue that behaves, in any order: the worst case never exceeds a limit."""

    def __init__(self):
        super().__init__()
        self.market = f.Market()
        self.now = 0
        self.stamps = []
        self.trade = 0
        self.twin_events = []

    @initialize(btc=st.integers(0, 30), tight=st.sampled_from(["open", "rate", ""]))
    def start(self, btc, tight):
        self.limits = limits(tight)
        self.gate = opened_gate(str(btc), self.limits)
        self.first = self.gate.to_bytes()

    def fold(self, event):
        self.gate.apply(event)
        self.twin_events.append(event)

    @rule(
        i=CLIENT,
        side=st.sampled_from(["BUY", "SELL"]),
        n=st.integers(1, 15),
        p=st.integers(95, 105),
    )
    def propose(self, i, side, n, p):
        order = f.spec(i, side=side, quantity=D(n), price=D(p))
        verdict = self.gate.judge(order, self.now, 0, self.market)
        if verdict.code == "duplicate":
            return
        if verdict.approved:
            self.stamps.append(self.now)
        self.fold(self.gate.event(verdict, self.now))

    @rule(ms=st.integers(1, 600))
    def wait(self, ms):
        self.now += ms * 1_000_000

    def live(self, i):
        order = self.gate.orders.order(i)
        return order if order is not None and order.is_open else None

    @rule(i=CLIENT, kind=st.sampled_from(["ack", "unknown", "ask", "refuse"]))
    def report(self, i, kind):
        if self.live(i) is None:
            return
        make = {
            "ack": lambda: f.acknowledged(i, f"v-{i}"),
            "unknown": lambda: f.unknown(i),
            "ask": lambda: f.cancel_requested(i),
            "refuse": lambda: f.cancel_rejected(i),
        }
        self.fold(make[kind]())

    @rule(i=CLIENT, part=st.integers(1, 15), late=st.booleans())
    def fill(self, i, part, late):
        order = self.gate.orders.order(i)
        if order is None or order.exposure_quantity == 0 or (order.is_closed and not late):
            return
        self.trade += 1
        quantity = min(D(part), order.exposure_quantity)
        self.fold(
            f.filled(
                i,
                str(quantity),
                f"t{self.trade}",
                side=order.spec.side,
                price=order.spec.price,
                venue_order_id=f"v-{i}",
                fee=D("0.001") * quantity * order.spec.price,
                fee_asset="USDT",
            )
        )

    @rule(i=CLIENT, owed=st.integers(0, 3))
    def end(self, i, owed):
        order = self.live(i)
        if order is not None:
            claimed = order.filled_quantity + min(D(owed), order.leaves_quantity)
            self.fold(f.canceled(i, quantity=str(claimed)))

    @rule(i=CLIENT)
    def reject(self, i):
        order = self.live(i)
        if order is not None and order.status in {"PENDING_NEW", "UNKNOWN"}:
            self.fold(f.rejected(i))

    @rule(price=st.integers(96, 104))
    def move(self, price):
        self.market.mids[f.SYMBOL] = (D(price), 0)

    @precondition(lambda self: self.twin_events)
    @rule()
    def restart(self):
        self.gate = RiskGate.from_bytes(self.gate.to_bytes(), self.limits)

    def worst(self):
        """Add up, order by order and without the running sums, what may still happen."""
        low = high = self.gate.ledger.balance(f.ACCOUNT, "BTC")
        notional, count, claims = D(0), 0, {"USDT": D(0), "BTC": D(0)}
        for order in self.gate.orders.select():
            if order.status in {"DENIED", "REJECTED"}:
                continue
            left = order.spec.quantity - order.filled_quantity
            owed = order.venue_filled_quantity - order.filled_quantity
            quantity = left if order.is_open else max(D(0), owed)
            notional += quantity * order.spec.price
            count += order.is_open
            if order.spec.side == "BUY":
                high += quantity
                claims["USDT"] += quantity * order.spec.price * D("1.001")
            else:
                low -= quantity
                claims["BTC"] += quantity
        return low, high, notional, count, claims

    @invariant()
    def limits_hold(self):
        if not hasattr(self, "gate"):
            return
        low, high, notional, count, claims = self.worst()
        assert low >= -30
        assert high <= 30
        assert notional <= 2000
        assert count <= self.limits.max_open_orders
        assert (low, high) == self.gate.worst_position("BTC")
        assert notional == self.gate.open_notional(self.market)
        for asset, claim in claims.items():
            assert claim <= self.gate.ledger.balance(f.ACCOUNT, asset)
        for at in self.stamps:
            assert sum(1 for other in self.stamps if at <= other < at + S) <= (
                self.limits.max_orders_per_second
            )

    def teardown(self):
        if not hasattr(self, "gate"):
            return
        twin = RiskGate.from_bytes(self.first, self.limits)
        for event in self.twin_events:
            twin.apply(event)
        assert twin.to_bytes() == self.gate.to_bytes()


Interleavings.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
test_no_interleaving_breaks_a_limit = Interleavings.TestCase
