"""Orders, events and markets for the trading tests, each with sensible defaults."""

from decimal import Decimal

from engine.messages.events import (
    AccountOpened,
    ExternalOrderSeen,
    OpeningBalance,
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderCancelRejected,
    OrderCancelRequested,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderSpec,
    OrderUnknown,
    OrderVenueFilled,
)
from engine.messages.port import Instrument

D = Decimal
ACCOUNT = "okx.main"
VENUE = "okx"
SYMBOL = "BTC/USDT"


def spec(order_id="o1", **changes):
    fields = {
        "order_id": order_id,
        "command_id": "c1",
        "client_order_id": order_id,
        "parent_id": None,
        "account": ACCOUNT,
        "venue": VENUE,
        "symbol": SYMBOL,
        "side": "BUY",
        "order_type": "LIMIT",
        "time_in_force": "GTC",
        "post_only": False,
        "quantity": Decimal(10),
        "price": Decimal(100),
        "origin": "COMMAND",
        "who": "test",
        "ts_created_ns": 1,
    }
    return OrderSpec(**(fields | changes))


def approved(order=None, at=0):
    return OrderApproved(order or spec(), at, at + 2_000_000_000, "")


def denied(order=None, code="max_position"):
    return OrderDenied(order or spec(), code, "words")


def acknowledged(order_id="o1", venue_order_id="v1", ts=5):
    return OrderAcknowledged(order_id, venue_order_id, "reply 200", ts)


def rejected(order_id="o1", code="insufficient_funds", ts=5):
    return OrderRejected(order_id, code, "words", "reply 400", ts)


def unknown(order_id="o1"):
    return OrderUnknown(order_id, "timeout")


def filled(order_id="o1", quantity="4", trade_id="t1", **changes):
    fields = {
        "order_id": order_id,
        "account": ACCOUNT,
        "venue": VENUE,
        "symbol": SYMBOL,
        "side": "BUY",
        "price": Decimal(100),
        "quantity": Decimal(quantity),
        "fee": Decimal("0.001"),
        "fee_asset": "BTC",
        "liquidity": "TAKER",
        "venue_order_id": "v1",
        "trade_id": trade_id,
        "source": "stream",
        "ts_event_ns": 6,
    }
    return OrderFilled(**(fields | changes))


def cancel_requested(order_id="o1"):
    return OrderCancelRequested(order_id, "user")


def cancel_rejected(order_id="o1"):
    return OrderCancelRejected(order_id, "too_late", "words")


def canceled(order_id="o1", quantity="0", ts=7):
    return OrderCanceled(order_id, Decimal(quantity), "user", "stream", ts)


def expired(order_id="o1", quantity="0", ts=7):
    return OrderExpired(order_id, Decimal(quantity), "IOC", "stream", ts)


def venue_filled(order_id="o1", quantity="10", ts=7):
    return OrderVenueFilled(order_id, Decimal(quantity), ts)


def resolved(order_id="o1", status="REJECTED"):
    return OrderResolved(order_id, status, "ann", "asked the venue by phone")


def external(order=None, status="NEW"):
    return ExternalOrderSeen(order or spec(origin="EXTERNAL"), "v1", status)


def opening(asset, quantity, cost=None, cost_asset=None, account=ACCOUNT, basis=None):
    known = "unknown" if cost is None else "given"
    cost = None if cost is None else Decimal(cost)
    return OpeningBalance(account, asset, Decimal(quantity), cost, cost_asset, basis or known, 1)


def opened(account=ACCOUNT):
    return AccountOpened(account, 1)


def instrument(venue=VENUE, symbol=SYMBOL, **changes):
    base, quote = symbol.split("/")
    fields = {
        "venue": venue,
        "symbol": symbol,
        "venue_symbol": symbol.replace("/", ""),
        "base": base,
        "quote": quote,
        "tick_size": Decimal("0.01"),
        "lot_size": Decimal("0.001"),
        "quantity_min": Decimal("0.001"),
        "quantity_max": None,
        "notional_min": Decimal(5),
        "maker_fee": Decimal("0.001"),
        "taker_fee": Decimal("0.001"),
    }
    return Instrument(**(fields | changes))


class Market:
    """Mids and instruments from dicts; a mid's age is 0 unless given."""

    def __init__(self, mids=None, instruments=None):
        self.mids = {SYMBOL: (Decimal(100), 0)} if mids is None else mids
        known = [instrument()] if instruments is None else instruments
        self.instruments = {(i.venue, i.symbol): i for i in known}
        self.offered = None  # what others offer before any of our own orders

    def mid(self, symbol):
        return self.mids.get(symbol)

    def ahead(self, venue, symbol, side, price):
        return self.offered

    def instrument(self, venue, symbol):
        return self.instruments.get((venue, symbol))
