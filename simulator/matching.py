"""The matching engine: price-time priority over integer ticks and lots.

Theory of operation. `place` reserves the money an order could need, matches it against the other
side level by level and order by order, then rests, or expires, what is left. Every fill moves
money out of the payer's reservation and credits the receiver less the fee (taken in the asset
received, or where the venue has it so in the quote: then a buyer reserves and pays it on top).
Nothing here blocks, reads a clock it was not given, or fails halfway: a request is refused before
the first change. What happened is collected in `events`; the caller drains it.

Known weakness: a market order's reservation is the exact cost of walking the book, which is right
only because matching is atomic.
"""

from dataclasses import replace

from simulator.book import Book
from simulator.clock import Clock
from simulator.fees import Fees
from simulator.instruments import Instrument
from simulator.ledger import Ledger
from simulator.orders import (
    BalanceChanged,
    Event,
    Fill,
    NewOrder,
    Order,
    OrderChanged,
    OrderType,
    Refused,
    Side,
    Status,
    Stp,
    TimeInForce,
    Traded,
)

OPEN_ORDERS_MAX = 200  # per account and symbol, the venues' own order of magnitude


class Engine:
    """One venue's books, orders and balances."""

    def __init__(
        self,
        instruments: dict[str, Instrument],
        fees: Fees,
        clock: Clock,
        *,
        client_id_forever: bool,
        post_only_expires: bool = False,
        first_id: int = 1,
        first_update_id: int = 1,
    ) -> None:
        self.instruments = instruments
        self.fees = fees
        self.ledger = Ledger()
        self.books = {symbol: Book(symbol, first_update_id) for symbol in instruments}
        self.orders: dict[int, Order] = {}
        self.fills: list[Fill] = []
        self.fills_by_order: dict[int, list[Fill]] = {}
        self.events: list[Event] = []
        self.accepted = 0
        self.halted: set[str] = set()
        self.next_order_id = first_id
        self.next_trade_id = first_id
        self.next_priority = 1
        self._clock = clock
        self._client_id_forever = client_id_forever
        # OKX accepts a post-only order that would take, and cancels it; Binance refuses it.
        self._post_only_expires = post_only_expires
        self._by_client_id: dict[tuple[str, str], list[Order]] = {}
        self._open: dict[tuple[str, str], dict[int, Order]] = {}

    # -- questions

    def by_client_id(self, account: str, client_order_id: str) -> list[Order]:
        """Return every order of this account that carries the id, oldest first."""
        return self._by_client_id.get((account, client_order_id), [])

    def open_orders(self, account: str, symbol: str | None = None) -> list[Order]:
        """Return the account's open orders, oldest first."""
        symbols = [symbol] if symbol else list(self.instruments)
        found = [o for s in symbols for o in self._open.get((account, s), {}).values()]
        return sorted(found, key=lambda order: order.order_id)

    def assert_sound(self) -> None:
        """Check what must hold between any two commands."""
        self.ledger.assert_conserved()
        for book in self.books.values():
            book.assert_not_crossed()
        assert self.accepted == len(self.orders), "not one order per accepted request"

    # -- commands

    def place(self, account: str, wanted: NewOrder) -> Order:
        """Accept and match an order; Refused changes nothing."""
        self._check(account, wanted)
        now_ns = self._clock.wall_ns()
        order = Order(
            self.next_order_id, account, wanted.symbol, wanted.side, wanted.order_type,
            wanted.time_in_force, wanted.client_order_id, wanted.price, wanted.quantity,
            wanted.quote_quantity, wanted.stp, wanted.tag, now_ns, now_ns, self.next_priority,
        )  # fmt: skip
        order.reserved = self._reservation(order)
        self.ledger.lock(account, self._pay_asset(order), order.reserved)
        self.next_order_id += 1
        self.next_priority += 1
        self._index(order)
        self._report("NEW", order)
        is_short = (
            order.time_in_force is TimeInForce.FOK and self._available(order) < order.quantity
        )
        if is_short or self._would_take(order):
            self._close(order, Status.EXPIRED, "EXPIRED")
            return order
        self._match(order)
        self._settle_rest(order)
        return order

    def cancel(self, order: Order, cancel_id: str = "") -> None:
        """Take an open order off the book on its owner's word."""
        if not order.is_open:
            raise Refused("not_open", str(order.order_id))
        order.cancel_id = cancel_id
        self._unrest(order)
        self._close(order, Status.CANCELED, "CANCELED")

    def amend(self, order: Order, quantity: int, price: int) -> None:
        """Change total quantity and price; less at the same price keeps the place in the queue."""
        if not order.is_open or order.price is None:
            raise Refused("not_open", str(order.order_id))
        if quantity <= order.filled:
            raise Refused("quantity_below_filled", str(order.order_id))
        self._reserve_anew(order, quantity, price)
        side = self.books[order.symbol].sides[order.side]
        order.updated_ns = self._clock.wall_ns()
        if price == order.price and quantity <= order.quantity:
            side.reduce(order, order.quantity - quantity)
            order.quantity = quantity
            self.books[order.symbol].touch(order.side, price)
            self._report("REPLACED", order)
            return
        self._unrest(order)
        order.quantity, order.price = quantity, price
        order.priority = self.next_priority
        self.next_priority += 1
        self._report("REPLACED", order)
        self._match(order)
        self._settle_rest(order)

    def fill_resting(self, order: Order, lots: int, account: str) -> None:
        """Trade this very order with `account` out of turn: how tests and faults set the scene."""
        if not order.is_open or order.price is None or not 0 < lots <= order.leaves:
            raise Refused("not_fillable", str(order.order_id))
        wanted = NewOrder(order.symbol, order.side.opposite, OrderType.LIMIT, "", lots, order.price)
        other = Order(
            self.next_order_id, account, wanted.symbol, wanted.side, wanted.order_type,
            TimeInForce.IOC, "", wanted.price, lots, None, Stp.NONE, "",
            self._clock.wall_ns(), self._clock.wall_ns(), 0,
        )  # fmt: skip
        self.next_order_id += 1
        self._trade(other, order, order.price, lots)

    def add_fill(self, fill: Fill) -> None:
        """Remember a client's fill."""
        self.fills.append(fill)
        self.fills_by_order.setdefault(fill.order_id, []).append(fill)

    def restore_order(self, order: Order) -> None:
        """Put an order from the log back; its reservation is already in the balances."""
        self._index(order)
        self.next_priority = max(self.next_priority, order.priority + 1)
        if order.is_open:
            self._rest(order)

    # -- matching

    def _check(self, account: str, wanted: NewOrder) -> None:
        if wanted.symbol in self.halted:
            raise Refused("halted", wanted.symbol)
        earlier = self.by_client_id(account, wanted.client_order_id)
        if earlier and (self._client_id_forever or any(order.is_open for order in earlier)):
            raise Refused("duplicate_client_id", wanted.client_order_id)
        if self.ledger.is_internal(account):
            return
        if len(self._open.get((account, wanted.symbol), ())) >= OPEN_ORDERS_MAX:
            raise Refused("too_many_orders", wanted.symbol)
        if not self._post_only_expires and self._would_take(wanted):
            raise Refused("would_take", wanted.client_order_id)

    def _would_take(self, wanted: NewOrder | Order) -> bool:
        best = self.books[wanted.symbol].sides[wanted.side.opposite].best()
        if wanted.order_type is not OrderType.LIMIT_MAKER or best is None:
            return False
        return self._crosses(wanted, best)

    def _crosses(self, order: NewOrder | Order, price: int) -> bool:
        if order.price is None:
            return True
        return order.price >= price if order.side is Side.BUY else order.price <= price

    def _available(self, order: Order) -> int:
        side = self.books[order.symbol].sides[order.side.opposite]
        return side.walk(order, lambda price: self._crosses(order, price), self._is_self_trade)[0]

    def _match(self, taker: Order) -> None:
        side = self.books[taker.symbol].sides[taker.side.opposite]
        while taker.is_open:
            price = side.best()
            if price is None or not self._crosses(taker, price):
                return
            maker = side.first(price)
            if self._is_self_trade(taker, maker):
                self._prevent(taker, maker)
                continue
            lots = min(maker.leaves, self._wanted_lots(taker, price))
            if lots == 0:
                return
            self._trade(taker, maker, price, lots)

    def _wanted_lots(self, taker: Order, price: int) -> int:
        if taker.quote_quantity is None:
            return taker.leaves
        left = taker.quote_quantity - taker.quote_filled
        return left // (price * self.instruments[taker.symbol].notional_unit)

    def _is_self_trade(self, taker: Order, maker: Order) -> bool:
        same = taker.account == maker.account and taker.stp is not Stp.NONE
        return same and not self.ledger.is_internal(taker.account)

    def _prevent(self, taker: Order, maker: Order) -> None:
        if taker.stp in {Stp.EXPIRE_MAKER, Stp.EXPIRE_BOTH}:
            self._unrest(maker)
            self._close(maker, Status.EXPIRED_IN_MATCH, "TRADE_PREVENTION")
        if taker.stp in {Stp.EXPIRE_TAKER, Stp.EXPIRE_BOTH}:
            self._close(taker, Status.EXPIRED_IN_MATCH, "TRADE_PREVENTION")

    def _trade(self, taker: Order, maker: Order, price: int, lots: int) -> None:
        book = self.books[taker.symbol]
        trade_id = self.next_trade_id
        self.next_trade_id += 1
        book.sides[maker.side].reduce(maker, lots)
        book.touch(maker.side, price)
        for order, is_maker in ((maker, True), (taker, False)):
            self._fill(order, trade_id, price, lots, is_maker=is_maker)
        if maker.leaves == 0:
            book.sides[maker.side].remove(maker, 0)
        buyer, seller = (taker, maker) if taker.side is Side.BUY else (maker, taker)
        self.events.append(
            Traded(
                taker.symbol, trade_id, price, lots, buyer is maker, self._clock.wall_ns(),
                buyer.order_id, seller.order_id,
            )
        )  # fmt: skip

    def _fill(self, order: Order, trade_id: int, price: int, lots: int, *, is_maker: bool) -> None:
        instrument = self.instruments[order.symbol]
        quote, base = price * lots * instrument.notional_unit, lots * instrument.lot_units
        pays, paid, gets, got = instrument.quote, quote, instrument.base, base
        if order.side is Side.SELL:
            pays, paid, gets, got = gets, got, pays, paid
        is_client = not self.ledger.is_internal(order.account)
        on_top = self.fees.is_on_top(order.side)
        fee_asset, charged = (pays, paid) if on_top else (gets, got)
        fee = self.fees.of(charged, is_maker=is_maker) if is_client else 0
        if is_client:
            self._pay_reserved(order, pays, paid + (fee if on_top else 0), lots)
        else:
            self.ledger.pay_locked(order.account, pays, paid)
        self.ledger.receive(order.account, gets, got, 0 if on_top else fee)
        if on_top:
            self.ledger.take_fee(pays, fee)
        order.filled += lots
        order.quote_filled += quote
        order.updated_ns = self._clock.wall_ns()
        order.fees[fee_asset] = order.fees.get(fee_asset, 0) + fee
        done = order.quote_quantity is None and order.leaves == 0
        order.status = Status.FILLED if done else Status.PARTIALLY_FILLED
        if not is_client:
            return
        fill = Fill(
            trade_id, order.order_id, order.account, order.client_order_id, order.symbol,
            order.side, price, lots, quote, fee, fee_asset, is_maker, order.updated_ns,
        )  # fmt: skip
        self.add_fill(fill)
        if done:
            self._forget_open(order)
        self._report("TRADE", order, fill)

    # A limit order goes on holding what its rest needs; what it reserved beyond is free again. A market
    # order's is given back at its end. Before `filled` counts the lots.
    def _pay_reserved(self, order: Order, asset: str, paid: int, lots: int) -> None:
        rest = order.reserved - paid
        if order.price is not None:
            instrument = self.instruments[order.symbol]
            rest = self.fees.needed(order, instrument, order.leaves - lots, order.price)
        released = order.reserved - paid - rest
        assert rest >= 0 <= released, f"order {order.order_id} underreserved"
        order.reserved = rest
        self.ledger.pay_locked(order.account, asset, paid)
        self.ledger.unlock(order.account, asset, released)

    def _settle_rest(self, order: Order) -> None:
        if not order.is_open:
            return
        if order.quote_quantity is not None and order.filled:
            # A quote-sized order is done when less than one lot's price is left to spend.
            order.quantity = order.filled
            spent = self._wanted_lots(order, self._last_price(order)) == 0
            self._close(
                order, Status.FILLED if spent else Status.EXPIRED, "" if spent else "EXPIRED"
            )
        elif order.order_type is OrderType.MARKET or order.time_in_force is not TimeInForce.GTC:
            self._close(order, Status.EXPIRED, "EXPIRED")
        else:
            self._rest(order)

    def _last_price(self, order: Order) -> int:
        best = self.books[order.symbol].sides[order.side.opposite].best()
        instrument = self.instruments[order.symbol]
        return best or order.quote_filled // (order.filled * instrument.notional_unit) or 1

    # -- resting, closing, indexes

    def _rest(self, order: Order) -> None:
        assert order.price is not None
        book = self.books[order.symbol]
        book.sides[order.side].add(order)
        book.touch(order.side, order.price)

    def _unrest(self, order: Order) -> None:
        assert order.price is not None
        book = self.books[order.symbol]
        book.sides[order.side].remove(order, order.leaves)
        book.touch(order.side, order.price)

    def _close(self, order: Order, status: Status, what: str) -> None:
        order.status = status
        order.updated_ns = self._clock.wall_ns()
        self.ledger.unlock(order.account, self._pay_asset(order), order.reserved)
        order.reserved = 0
        self._forget_open(order)
        if what:
            self._report(what, order)
        elif self.events and isinstance(last := self.events[-2], OrderChanged):
            # The last TRADE already told of it; only its status was not known yet.
            self.events[-2] = replace(last, order=replace(order))

    def _index(self, order: Order) -> None:
        if self.ledger.is_internal(order.account):
            return
        self.accepted += 1
        self.orders[order.order_id] = order
        self._by_client_id.setdefault((order.account, order.client_order_id), []).append(order)
        if order.is_open:
            self._open.setdefault((order.account, order.symbol), {})[order.order_id] = order

    def _forget_open(self, order: Order) -> None:
        self._open.get((order.account, order.symbol), {}).pop(order.order_id, None)

    def _pay_asset(self, order: Order) -> str:
        instrument = self.instruments[order.symbol]
        return instrument.quote if order.side is Side.BUY else instrument.base

    def _reservation(self, order: Order) -> int:
        instrument = self.instruments[order.symbol]
        if order.quote_quantity is not None and order.side is Side.BUY:
            return self.fees.with_room(order.quote_quantity)
        if order.quote_quantity is not None:
            return self.ledger.free(order.account, instrument.base)
        if order.side is Side.SELL:
            return order.quantity * instrument.lot_units
        if order.price is not None:
            return self.fees.needed(order, instrument, order.quantity, order.price)
        asks = self.books[order.symbol].sides[Side.SELL]
        ticks = asks.walk(order, lambda _: True, self._is_self_trade)[1]
        return self.fees.with_room(ticks * instrument.notional_unit)

    def _reserve_anew(self, order: Order, quantity: int, price: int) -> None:
        instrument = self.instruments[order.symbol]
        needed = self.fees.needed(order, instrument, quantity - order.filled, price)
        asset = self._pay_asset(order)
        if needed > order.reserved:
            self.ledger.lock(order.account, asset, needed - order.reserved)
        else:
            self.ledger.unlock(order.account, asset, order.reserved - needed)
        order.reserved = needed

    def _report(self, what: str, order: Order, fill: Fill | None = None) -> None:
        if not self.ledger.is_internal(order.account):
            copy = replace(order, fees=dict(order.fees))
            self.events.append(OrderChanged(what, copy, fill))

    def drain(self) -> list[Event]:
        """Return and forget what happened, balances last."""
        events, self.events = self.events, []
        for account, asset, delta in self.ledger.drain():
            free, locked = self.ledger.free(account, asset), self.ledger.locked(account, asset)
            events.append(BalanceChanged(account, asset, free, locked, delta))
        return events
