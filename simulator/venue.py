"""One simulated venue without its wire protocol: engine, accounts, memory, faults, listeners.

A command runs to its end in one go: change the engine, write the log, tell the listeners, return.
So nobody ever hears of something that a kill could undo. Not thread-safe; one event loop owns it.
"""

import json
import os
import random
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.clock import NS_PER_MS, Clock
from simulator.faults import Faults
from simulator.flow import FLOW_ACCOUNT, Flow, SharedMid
from simulator.instruments import INSTRUMENTS, UNIT, plain
from simulator.matching import Engine
from simulator.orders import (
    BalanceChanged,
    Event,
    NewOrder,
    Order,
    OrderChanged,
    Refused,
    Traded,
)
from simulator.store import Line, Store, event_lines, fill_of, order_of, units
from simulator.tape import Tape
from simulator.traits import TRAITS

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.book import BookDelta, BookView

# Ids go on well past the last one used, because the flow's own ids are not in the log.
ID_GAP = 10_000_000
SNAPSHOTS_KEPT = 20


@dataclass(frozen=True, slots=True)
class Account:
    """One login. The name is what the log calls it."""

    name: str
    api_key: str
    api_secret: str
    passphrase: str
    uid: int  # of the account, not of the login: a rotated key is the same account
    told_uid: str | None  # as the venue's own calls tell it


def demo_accounts(venue: str) -> list[Account]:
    """Return the fixed logins of a simulated venue: the user's, one to trade against, a second key."""
    traits = TRAITS[venue]
    first_uid = traits.first_uid
    return [
        Account(
            name, traits.key(f"{key}-key-{venue}"), traits.secret(f"{key}-secret-{venue}"),
            f"{key}-pass-{venue}", uid, traits.told_uid(uid),
        )
        for name, key, uid in (
            ("main", "demo", first_uid),
            ("other", "other", first_uid + 1),
            ("main", "rotated", first_uid),
        )
    ]  # fmt: skip


class Venue:
    """What both dialects speak for."""

    def __init__(
        self, name: str, folder: Path, clock: Clock, seed: int, mid: SharedMid | None = None
    ) -> None:
        self.name = name
        self.clock = clock
        self.can_withdraw = False  # what a key may do besides trading, and what the account holds
        self.owed: list[str] = []
        self.derivatives: list[str] = []
        self.address = ""  # host and port, once it listens: some dialects tell it to their clients
        self.accounts = {account.api_key: account for account in demo_accounts(name)}
        self.store = Store(folder / f"{name}.jsonl", clock)
        self._mark_path = folder / f"{name}.mark.json"
        mark = _read_mark(self._mark_path)
        first_id = max(self._last_id() + ID_GAP, mark.get("next_id", 0) + ID_GAP)
        traits = TRAITS[name]
        self.engine = Engine(
            INSTRUMENTS.get(name, {}),  # none at a dealer, who has contracts instead
            traits.fees,
            clock,
            client_id_forever=traits.client_id_forever,
            post_only_expires=traits.post_only_expires,
            first_id=first_id,
            # Milliseconds grow faster than any book here changes, so ids rise over restarts.
            first_update_id=clock.wall_ns() // NS_PER_MS,
        )
        self.faults = Faults(name, clock, random.Random(f"faults-{name}-{seed}"), self.log)
        self.flow = Flow(self.engine, mid or SharedMid(seed), seed, name)
        self.tape = {symbol: Tape() for symbol in self.engine.instruments}
        self.on_event: list[Callable[[Event], None]] = []
        self.on_book: list[Callable[[BookDelta], None]] = []
        self.old_books: dict[str, deque[BookView]] = {
            symbol: deque(maxlen=SNAPSHOTS_KEPT) for symbol in self.engine.instruments
        }
        self._held: list[Event] | None = None
        self._funds = dict(TRAITS[name].funds)
        self.symbols = set(self.engine.instruments)  # what can be halted
        self.deal_lines: list[Line] = []  # a dealer's own memory, from the log
        self._restore()
        self.log([{"kind": "start", "venue": name, "seed": seed, "pid": os.getpid()}])
        self._fund_new()

    # -- time

    def now_ns(self) -> int:
        """Return the venue's own idea of UTC, skewed by a fault if there is one."""
        return self.clock.wall_ns() + self.faults.skew_ms() * NS_PER_MS

    def now_ms(self) -> int:
        """Return the venue's UTC milliseconds."""
        return self.now_ns() // NS_PER_MS

    # -- commands

    def place(self, account: str, wanted: NewOrder, via: str) -> Order:
        """Accept an order: engine, log, listeners. Refused changes nothing and logs nothing."""
        order = self.engine.place(account, wanted)
        if (hidden := self.faults.take("hidden_order", "order", wanted.symbol)) is not None:
            order.hidden_until_ns = self.clock.wall_ns() + hidden.number("ms", 5000) * NS_PER_MS
        self.settle(_request("place", order, via))
        rule = self.faults.take("partial_fill", "order", wanted.symbol)
        if rule is not None and order.is_open:
            share = min(100, max(1, rule.number("percent", 50)))
            self.force_fill(order, max(1, order.leaves * share // 100))
        return order

    def cancel(self, order: Order, cancel_id: str, via: str) -> None:
        """Cancel an open order; Refused when it no longer is."""
        rule = self.faults.take("cancel_race", "cancel", order.symbol)
        if rule is not None and order.is_open:
            self.force_fill(order, order.leaves)
        self.engine.cancel(order, cancel_id)
        self.settle(_request("cancel", order, via))

    def amend(self, order: Order, quantity: int, price: int, via: str) -> None:
        """Change an open order's quantity and price."""
        self.engine.amend(order, quantity, price)
        self.settle(_request("amend", order, via))

    def force_fill(self, order: Order, lots: int) -> None:
        """Fill this order out of turn against the venue's own account."""
        self.engine.fill_resting(order, lots, FLOW_ACCOUNT)
        self.settle(None)

    def drift(self, account: str, asset: str, amount: int) -> None:
        """Move money in or out behind the client's back, as a withdrawal would."""
        self.engine.ledger.fund(account, asset, amount)
        self.settle(None, reason="external")

    # -- questions

    def find(self, account: str, order_id: int | None, client_order_id: str) -> Order | None:
        """Return the account's order as its own queries see it; by client id the latest."""
        if order_id is not None:
            order = self.engine.orders.get(order_id)
            if order is not None and order.account != account:
                return None
        else:
            found = self.engine.by_client_id(account, client_order_id)
            order = found[-1] if found else None
        return order if order is not None and self.is_visible(order) else None

    def is_visible(self, order: Order) -> bool:
        """Tell whether queries show the order yet (fault `hidden_order`)."""
        return order.hidden_until_ns <= self.clock.wall_ns()

    def balances(self, account: str) -> dict[str, tuple[int, int]]:
        """Return (free, locked) by asset."""
        ledger = self.engine.ledger
        return {a: (ledger.free(account, a), ledger.locked(account, a)) for a in self._funds}

    def truth(self) -> dict[str, Any]:
        """Return orders, fills, balances and books as they really are, as log lines."""
        engine = self.engine
        instruments = engine.instruments
        orders = [
            event_lines(OrderChanged("STATE", order), instruments)[0]
            for order in engine.orders.values()
        ]
        fills = [
            event_lines(OrderChanged("TRADE", engine.orders[fill.order_id], fill), instruments)[1]
            for fill in engine.fills
        ]
        balances = {
            account.name: {
                asset: {"free": plain(free), "locked": plain(locked)}
                for asset, (free, locked) in self.balances(account.name).items()
            }
            for account in self.accounts.values()
        }
        books = {symbol: self._book_json(symbol) for symbol in engine.books}
        return {
            "venue": self.name,
            "orders": orders,
            "fills": fills,
            "balances": balances,
            "books": books,
        }

    # -- the beat

    def step_flow(self) -> None:
        """Let the background flow act once."""
        self.flow.step()
        self.settle(None)

    def flush_books(self) -> None:
        """Hand out the level changes of the last 100 ms."""
        for book in self.engine.books.values():
            delta = book.flush()
            if delta is not None:
                for listener in self.on_book:
                    listener(delta)
        self.engine.assert_sound()

    def keep_snapshots(self) -> None:
        """Remember the books as they are, for the stale_snapshot fault, and note where we are."""
        for symbol, book in self.engine.books.items():
            self.old_books[symbol].append(book.view(5000))
        mark = {
            "next_id": max(self.engine.next_order_id, self.engine.next_trade_id),
            "prices": {s: repr(p) for s, p in self.flow.prices().items()},
        }
        temporary = self._mark_path.with_suffix(".tmp")
        temporary.write_text(json.dumps(mark))
        temporary.replace(self._mark_path)

    def hold_events(self) -> None:
        """Keep events back until `release_events` (fault private_event_after_ack)."""
        self._held = []

    def release_events(self) -> list[Event]:
        """Return what was held; the caller tells of it when it likes."""
        held, self._held = self._held or [], None
        return held

    def tell(self, events: list[Event]) -> None:
        """Pass events to the listeners."""
        for event in events:
            for listener in self.on_event:
                listener(event)

    def settle(self, request: Line | None, reason: str = "trade") -> None:
        """Log what the engine did, then tell everyone."""
        events = self.engine.drain()
        if reason != "trade":
            events = [
                replace(event, reason=reason) if isinstance(event, BalanceChanged) else event
                for event in events
            ]
        lines = [line for e in events for line in event_lines(e, self.engine.instruments)]
        if request is not None:
            lines.insert(0, request)
        self.log(lines)
        public: list[Event] = []
        for event in events:
            if isinstance(event, Traded):
                self.tape[event.symbol].add(event)
                public.append(event)
        if self._held is None:
            self.tell(events)
            return
        self._held += [event for event in events if not isinstance(event, Traded)]
        self.tell(public)

    def log(self, lines: list[Line]) -> None:
        """Write lines that belong together."""
        self.store.append(lines)

    def close(self) -> None:
        """Let go of the file."""
        self.store.close()

    # -- start

    def _last_id(self) -> int:
        last = 0
        for line in self.store.restored:
            if line["kind"] == "order":
                last = max(last, int(line["venue_order_id"]))
            elif line["kind"] == "fill":
                last = max(last, int(line["trade_id"]))
        return last

    def _restore(self) -> None:
        orders: dict[str, Line] = {}
        balances: dict[tuple[str, str], Line] = {}
        for line in self.store.restored:
            if line["kind"] == "order":
                orders[line["venue_order_id"]] = line
            elif line["kind"] == "fill":
                self.engine.add_fill(fill_of(line, self.engine.instruments))
            elif line["kind"] == "deal":
                self.deal_lines.append(line)
            elif line["kind"] == "balance":
                balances[line["account"], line["asset"]] = line
        for (account, asset), line in balances.items():
            free, locked = units(line["free"]), units(line["locked"])
            self.engine.ledger.restore(account, asset, free, locked)
        for line in sorted(orders.values(), key=lambda line: (line["priority"], line["n"])):
            self.engine.restore_order(order_of(line, self.engine.instruments))
        self.store.restored = []
        self.engine.assert_sound()

    def _fund_new(self) -> None:
        for account in self.accounts.values():
            if self.engine.ledger.assets(account.name):
                continue
            for asset, amount in self._funds.items():
                self.engine.ledger.fund(account.name, asset, amount * UNIT)
        self.settle(None, reason="deposit")

    def _book_json(self, symbol: str) -> dict[str, Any]:
        view, instrument = self.engine.books[symbol].view(5000), self.engine.instruments[symbol]
        sides = {
            name: [
                [plain(p * instrument.tick_units), plain(q * instrument.lot_units)]
                for p, q in levels
            ]
            for name, levels in (("bids", view.bids), ("asks", view.asks))
        }
        return {"last_update_id": view.last_id, **sides}


def start_prices(folder: Path, venues: list[str]) -> dict[str, float]:
    """Return where the fair prices stood when the simulator last ran here, if it did."""
    for venue in venues:
        prices = _read_mark(folder / f"{venue}.mark.json").get("prices", {})
        if prices:
            return {symbol: float(text) for symbol, text in prices.items()}
    return {}


def require(order: Order | None) -> Order:
    """Return the order, or refuse as unknown."""
    if order is None:
        raise Refused("unknown_order")
    return order


def _read_mark(path: Path) -> dict[str, Any]:
    # A convenience file: a damaged one only means that prices start afresh.
    try:
        mark = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return mark if isinstance(mark, dict) else {}


def _request(action: str, order: Order, via: str) -> Line:
    return {
        "kind": "request",
        "account": order.account,
        "action": action,
        "via": via,
        "client_order_id": order.client_order_id,
        "venue_order_id": str(order.order_id),
        "symbol": order.symbol,
    }
