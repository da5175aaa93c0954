"""The risk gate: judges one order at a time against everything that is open, held or unknown.

`judge` is pure; the caller applies the event it leads to at once, before the next order is judged
and before the journal has it. So an approved order counts from the moment of its approval, and the
limits hold for every interleaving. What cannot be valued is refused, unless it provably reduces the
account's position. Cancels never come here: reducing risk is never refused.
"""

from collections import deque
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any, Final, NamedTuple

from engine.messages.base import HaltLevel, State, decode_state, encode_state, replaced
from engine.messages.events import (
    OrderApproved,
    OrderDenied,
    OrderFilled,
    OrderSpec,
    TradingHalted,
    TradingResumed,
)
from engine.messages.market import MarketSeen
from engine.messages.port import Instrument
from engine.trading import risk_limits as why
from engine.trading.exposure import Exposure
from engine.trading.halts import scopes_over
from engine.trading.ledger import MOVES_MONEY, Ledger, LedgerState
from engine.trading.money import ZERO, exact, plain, plain_or_none, plus, times
from engine.trading.order import Order
from engine.trading.order_status import PENDING_NEW
from engine.trading.orders import OrderTable, TableState, event_order_id
from engine.trading.risk_checks import CHECKS, Case, MarketView, Refusal, approval_text, on_step
from engine.trading.risk_limits import RiskLimits

NS_PER_S: Final = 1_000_000_000
ONE: Final = Decimal(1)
_PERCENT: Final = Decimal("0.01")
ASKED_MAX: Final = 32


class Verdict(NamedTuple):
    """The judgement. `order` is the order as it may leave: a MARKET order carries its collar price."""

    approved: bool
    code: str
    text: str
    order: OrderSpec
    reduces: bool = False


class Halt(State):
    """Why a scope is halted, by whom, since when."""

    scope: str
    reason: str
    who: str
    ts_ns: int
    level: HaltLevel = "no_new"


class GateAsk(State):
    """A halt or its end, by whose id somebody may still wait for the venues' gates."""

    request_id: str
    scope: str
    halted: bool
    ts_ns: int


class GateState(State):
    """The snapshot of the gate with its orders and money."""

    orders: TableState
    ledger: LedgerState
    halts: list[Halt]
    approvals: list[int]
    asked: list[GateAsk] = []  # noqa: RUF012  msgspec copies the empty default


class RiskGate:
    """Orders, money, exposure, halts and order rate, as one fold; and the judgement over them."""

    def __init__(
        self,
        limits: RiskLimits,
        orders: OrderTable | None = None,
        ledger: Ledger | None = None,
        *,
        judging: bool = True,
    ) -> None:
        """Take the parts. Without `judging` it only folds: no exposure is kept, and none is stored."""
        self.limits = limits
        self._judging = judging
        self.orders = OrderTable() if orders is None else orders
        self.ledger = Ledger(limits.report_currency) if ledger is None else ledger
        self.exposure = Exposure(limits.fee_reserve)
        self.halts: dict[str, Halt] = {}
        self.asked: deque[GateAsk] = deque(maxlen=ASKED_MAX)
        self._approvals: deque[int] = deque(maxlen=max(1, limits.max_orders_per_second))
        for order in self.orders.select(parents=False):
            if judging:
                assert isinstance(order, Order)
                self.exposure.update(order)

    def apply(self, event: Any, seq: int = 0) -> bool:
        """Fold one event: orders, ledger, exposure, halts. False if it changed nothing."""
        kind = type(event)
        if kind is TradingHalted:
            self.asked.append(GateAsk(event.request_id, event.scope, True, event.ts_ns))
            self.halts[event.scope] = Halt(
                event.scope, event.reason, event.who, event.ts_ns, event.level
            )
            return True
        if kind is TradingResumed:
            self.asked.append(GateAsk(event.request_id, event.scope, False, event.ts_ns))
            return self.halts.pop(event.scope, None) is not None
        changed = self.orders.apply(event, seq)
        if changed:
            self._follow(event)
        if kind not in MOVES_MONEY:
            return changed
        repeated = kind is OrderFilled and self._is_known(event) and not changed
        return (not repeated and self.ledger.apply(event)) or changed

    @exact
    def judge(
        self, spec: OrderSpec, now_mono_ns: int, now_wall_ns: int, market: MarketView
    ) -> Verdict:
        """Return whether the order may leave, and as what. Changes nothing."""
        assert now_wall_ns >= 0
        assert self._judging, "this gate only folds"
        instrument = market.instrument(spec.venue, spec.symbol)
        refusal = self._refuse_unseen(spec, instrument)
        if refusal is not None or instrument is None or spec.account is None:
            assert refusal is not None
            return Verdict(False, *refusal, spec)
        case = self._case(spec, spec.account, instrument, now_mono_ns, market)
        for check in CHECKS:
            refusal = check(self, case)
            if refusal is not None:
                return Verdict(False, *refusal, case.spec)
        return Verdict(True, "", approval_text(case), case.spec, case.reduces)

    def halts_of(self, spec: OrderSpec) -> list[Halt]:
        """Return the halts that bind an order, the widest first."""
        if not self.halts:
            return []
        scopes = scopes_over(spec.venue, spec.symbol)
        return [self.halts[scope] for scope in scopes if scope in self.halts]

    def strictest(self, scope: str, level: HaltLevel) -> HaltLevel:
        """Return the level that a new halt of a scope has: one that stands is never loosened by it."""
        held = self.halts.get(scope)
        return "no_new" if held is not None and held.level == "no_new" else level

    def forget(self, spec: OrderSpec, code: str, text: str) -> None:
        """Take back an order that the journal did not take: it charges nothing and may come again.

        One that has gone on meanwhile is another, which the journal knows: it stays.
        """
        held = self.orders.order(spec.order_id)
        if held is None or held.status != PENDING_NEW:
            return
        self.apply(OrderDenied(spec, code, text))
        self.orders.remove(spec.order_id)

    def event(
        self, verdict: Verdict, now_mono_ns: int, seen: MarketSeen | None = None
    ) -> OrderApproved | OrderDenied:
        """Return the event of a verdict; the caller applies it before it judges the next order.

        `seen` is the market as it was judged by, for the journal.
        """
        if not verdict.approved:
            return OrderDenied(verdict.order, verdict.code, verdict.text)
        expires = now_mono_ns + self.limits.approval_ttl_ns
        return OrderApproved(
            verdict.order, now_mono_ns, expires, verdict.text, verdict.reduces, seen
        )

    def position(self, asset: str, account: str | None = None) -> Decimal:
        """Return the holdings of an asset that limits count: of one account, or net over all."""
        return self.ledger.net(asset, with_opening=self.limits.count_opening, account=account)

    @exact
    def worst_position(self, asset: str) -> tuple[Decimal, Decimal]:
        """Return the lowest and highest net position that everything open can still lead to."""
        held = self.position(asset)
        return (
            held - self.exposure.side_quantity(asset, "SELL"),
            held + self.exposure.side_quantity(asset, "BUY"),
        )

    def open_notional(self, market: MarketView) -> Decimal | None:
        """Return the worth of everything open in the report currency; None if not valuable now."""
        total = ZERO
        for quote, notional in self.exposure.notional.items():
            if not notional:
                continue
            rate = self.rate(quote, market)
            if rate is None:
                return None
            total = plus(total, times(notional, rate))
        for symbol, quantity in self.exposure.unpriced.items():
            if not quantity:
                continue
            mid, _ = self._mid(symbol, market)
            rate = self.rate(symbol.partition("/")[2], market)
            if mid is None or rate is None:
                return None
            total = plus(total, times(times(quantity, mid), rate))
        return total

    def orders_in_last_second(self, now_mono_ns: int) -> int:
        """Return how many orders were approved within the last second."""
        # Oldest first: once one counts, all behind it do. Those of an earlier boot stand in front.
        gone = 0
        for at in self._approvals:
            if 0 <= now_mono_ns - at < NS_PER_S:
                break
            gone += 1
        return len(self._approvals) - gone

    def to_bytes(self) -> bytes:
        """Return the canonical bytes of orders, money, halts and order rate."""
        halts = [halt for _, halt in sorted(self.halts.items())]
        state = GateState(
            self.orders.to_state(), self.ledger.to_state(), halts, list(self._approvals),
            list(self.asked),
        )  # fmt: skip
        return encode_state(state)

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        limits: RiskLimits,
        closed_kept_max: int | None = None,
        *,
        judging: bool = True,
    ) -> "RiskGate":
        """Return the gate that `to_bytes` wrote, under today's limits; MessageError if it is none."""
        state = decode_state(data, GateState)
        kept = {} if closed_kept_max is None else {"closed_kept_max": closed_kept_max}
        orders = OrderTable.from_state(state.orders, **kept)
        gate = cls(limits, orders, Ledger.from_state(state.ledger), judging=judging)
        gate.halts = {halt.scope: halt for halt in state.halts}
        gate._approvals.extend(state.approvals)
        gate.asked.extend(state.asked)
        return gate

    def _is_known(self, event: OrderFilled) -> bool:
        return self.orders.order(event.order_id) is not None

    def _follow(self, event: Any) -> None:
        if type(event) is OrderApproved:
            approvals, at = self._approvals, event.approved_mono_ns
            while approvals and not 0 <= at - approvals[0] < NS_PER_S:
                approvals.popleft()
            approvals.append(at)
        order = self.orders.order(event_order_id(event)) if self._judging else None
        if order is not None:
            self.exposure.update(order)

    # What refuses an order before anything about its market is looked up.
    def _refuse_unseen(self, spec: OrderSpec, instrument: Instrument | None) -> Refusal | None:
        if self.orders.get(spec.order_id) is not None:
            return why.DUPLICATE, f"order {spec.order_id} is known already"
        for halt in self.halts_of(spec):
            if halt.level == "no_new":
                return why.HALTED, f"{halt.scope} halted by {halt.who}: {halt.reason}"
        if spec.account is None:
            return why.NO_ACCOUNT, f"an order to {spec.venue} must name its account"
        if not self.ledger.is_opened(spec.account):
            return why.ACCOUNT_NOT_OPENED, f"account {spec.account} has no opening balances yet"
        if instrument is None:
            return why.UNKNOWN_INSTRUMENT, f"{spec.symbol} at {spec.venue} is not known"
        if instrument.status != "TRADING":
            return why.INSTRUMENT_NOT_TRADING, f"{spec.symbol} at {spec.venue}: {instrument.status}"
        return None

    def _case(
        self,
        spec: OrderSpec,
        account: str,
        instrument: Instrument,
        now_mono_ns: int,
        market: MarketView,
    ) -> Case:
        mid, problem = self._mid(spec.symbol, market)
        if spec.order_type == "MARKET" and spec.price is None and mid is not None:
            spec = replaced(spec, price=self._collar_price(spec, mid, instrument))
        return Case(
            spec,
            account,
            instrument.base,
            instrument.quote,
            instrument,
            mid,
            problem,
            self._reduces(spec, account, instrument.base),
            now_mono_ns,
            market,
        )

    # The furthest price the collar allows, on the tick, on the near side.
    def _collar_price(self, spec: OrderSpec, mid: Decimal, instrument: Instrument) -> Decimal:
        sign, rounding = (1, ROUND_FLOOR) if spec.side == "BUY" else (-1, ROUND_CEILING)
        limit = self.collar(mid, sign)
        return on_step(limit, instrument.tick_size, rounding)

    def collar(self, mid: Decimal, sign: int) -> Decimal:
        """Return the collar above (`sign` 1) or below (-1) a mid."""
        return mid * (100 + sign * self.limits.price_collar_pct) * _PERCENT

    # Whether the order, and all others of its side, can only bring the account's holdings nearer zero.
    def _reduces(self, spec: OrderSpec, account: str, base: str) -> bool:
        held = self.position(base, account)
        room = held if spec.side == "SELL" else -held
        if room <= 0:
            return False
        return self.exposure.side_quantity(base, spec.side, account) + spec.quantity <= room

    def _mid(self, symbol: str, market: MarketView) -> tuple[Decimal | None, str]:
        found = market.mid(symbol)
        if found is None:
            return None, why.NO_MID
        mid, age_ns = found
        return (mid, "") if age_ns <= self.limits.mid_age_max_ns else (None, why.STALE_MID)

    def rate(self, asset: str, market: MarketView) -> Decimal | None:
        """Return one unit of an asset in the report currency; None if not valuable now.

        The market's rate goes before the one that a person declared.
        """
        if asset == self.limits.report_currency:
            return ONE
        mid = self._mid(f"{asset}/{self.limits.report_currency}", market)[0]
        return self.limits.declared_rates.get(asset) if mid is None else mid

    @exact
    def show(self, now_mono_ns: int, market: MarketView) -> list[dict[str, Any]]:
        """Return each limit beside what is used of it: plain rows, money as plain strings."""
        limits, report = self.limits, self.limits.report_currency
        rate_used = self.orders_in_last_second(now_mono_ns)
        used = self.open_notional(market)
        rows = [
            _row("max_order_notional", "order", report, limits.max_order_notional, None),
            _row("max_open_notional", "all", report, limits.max_open_notional, used),
            _count_row(
                "max_open_orders", "orders", limits.max_open_orders, self.exposure.open_orders
            ),
            _count_row(
                "max_orders_per_second", "orders/s", limits.max_orders_per_second, rate_used
            ),
            _row("price_collar_pct", "order", "%", limits.price_collar_pct, None),
            _row("mid_age_max_ns", "mid", "ns", Decimal(limits.mid_age_max_ns), None),
            _row("approval_ttl_ns", "order", "ns", Decimal(limits.approval_ttl_ns), None),
        ]
        assets = self.exposure.bases() | (limits.max_position.keys() - {why.ANY_ASSET})
        for asset in sorted(assets):
            low, high = self.worst_position(asset)
            limit = limits.position_max(asset)
            rows.append(_row("max_position", asset, asset, limit, max(-low, high)))
        return rows


def _count_row(limit: str, unit: str, value: int, used: int) -> dict[str, Any]:
    return _row(limit, "all", unit, Decimal(value), Decimal(used))


def _row(
    limit: str, scope: str, unit: str, value: Decimal | None, used: Decimal | None
) -> dict[str, Any]:
    headroom = None if value is None or used is None else plain(value - used)
    return {
        "limit": limit,
        "scope": scope,
        "unit": unit,
        "limit_value": plain_or_none(value),
        "used": plain_or_none(used),
        "headroom": headroom,
    }


def leg_view(event: OrderApproved | OrderDenied) -> dict[str, Any]:
    """Return what a dry run shows of one judged order."""
    spec = event.order
    approved = isinstance(event, OrderApproved)
    return {
        "venue": spec.venue,
        "symbol": spec.symbol,
        "side": spec.side,
        "quantity": plain(spec.quantity),
        "price": None if spec.price is None else plain(spec.price),
        "approved": approved,
        "verdict": event.verdict if isinstance(event, OrderApproved) else event.text,
    }
