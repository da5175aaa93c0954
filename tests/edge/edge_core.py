"""A small core for the tests of the edge: real futures, real events, no actors.

It journals to a list, answers queries from plain data, and follows `behaviour` for what a venue would do.
"""

import threading
from concurrent.futures import Future
from decimal import Decimal

import msgpack

from engine.control import Facts
from engine.errors import Refused
from engine.ids import client_order_id
from engine.messages.commands import (
    AppendRefused,
    AskOpen,
    CancelOrders,
    Halt,
    PlaceOrder,
    Reply,
    ResolveOrder,
    Resume,
)
from engine.messages.engine_events import (
    MessageParked,
    MessageSettled,
)
from engine.messages.events import (
    OrderAcknowledged,
    OrderApproved,
    OrderCanceled,
    OrderDenied,
    OrderExpired,
    OrderFilled,
    OrderRejected,
    OrderResolved,
    OrderSpec,
    OrderUnknown,
    TradingHalted,
    TradingResumed,
)
from engine.messages.market import ConsolidatedBook, VenueQuote
from engine.trading.routing import round_down

TICK = Decimal("0.1")
SYMBOLS = ("BTC/USDT", "ETH/USDT")


class SmallCore:
    def __init__(self, mode="demo"):
        self.lock = threading.RLock()
        self.events = []
        self.watchers = []
        self.orders = {}
        self.behaviour = "acknowledge"
        self.told = []
        self.halted = False
        self.in_flight = 0  # a halt is answered when so many looks at the venues have been taken
        self.halting = None
        self.mode = mode
        self.journal_reads = 0
        self.looks = 0  # how often the list of orders was asked for
        self.stuck_topics = set()
        self.fault_port = None
        self.parked = {"m1": dict(PARKED)}

    # --- CorePort ---

    def facts(self):
        return Facts(
            mode=self.mode,
            instance="desk-1",
            version="0.1.0",
            venues={"binance": SYMBOLS, "okx": SYMBOLS},
            accounts={"binance": "binance.main", "okx": "okx.main"},
        )

    def tell(self, address, message):
        with self.lock:
            self.told.append((address, message))
            self._take(message, None)

    def command(self, address, message, command_id):
        reply = Future()
        with self.lock:
            self.told.append((address, message))
            self._take(message, reply)
        return reply

    def query(self, topic, arguments):
        answer = Future()
        if topic in self.stuck_topics:
            return answer
        try:
            with self.lock:
                answer.set_result(self._answer(topic, dict(arguments)))
        except Refused as error:
            answer.set_exception(error)
        return answer

    def head_seq(self):
        return len(self.events)

    def events_after(self, seq, count):
        self.journal_reads += 1
        return [(i + 1, e) for i, e in enumerate(self.events)][seq : seq + count]

    def verify_journal(self):
        head = len(self.events)
        return {
            "ok": True,
            "records": head,
            "head_seq": head,
            "first_bad_seq": None,
            "problem": None,
        }

    def watch(self, watcher):
        self.watchers.append(watcher)
        return lambda: self.watchers.remove(watcher)

    def kill_actor(self, name, who):
        answer = Future()
        if name not in ("exchange.binance", "risk_pnl"):
            answer.set_exception(Refused("NOT_FOUND", f"no actor '{name}'"))
        else:
            answer.set_result({"name": name, "killed": True})
        return answer

    def restart_actor(self, name, who):
        return self.kill_actor(name, who)

    def retry_parked(self, message_id, who):
        return self._settle(message_id, "APPLIED", who, "")

    def discard_parked(self, message_id, reason, who):
        return self._settle(message_id, "DISCARDED", who, reason)

    def _settle(self, message_id, outcome, who, reason):
        answer = Future()
        row = self.parked.get(message_id)
        if row is None:
            answer.set_exception(Refused("NOT_FOUND", f"no message '{message_id}' is parked"))
            return answer
        answer.set_result(row)
        if self.behaviour == "poison" and outcome == "APPLIED":
            again = ("FillReport", "", "it failed", 0, "", row["attempts"] + 3)
            self.commit(MessageParked(row["actor"], message_id, *again))
        elif self.behaviour != "silent":
            del self.parked[message_id]
            self.commit(MessageSettled(row["actor"], message_id, outcome, who, reason, 0))
        return answer

    def faults(self, action, arguments, who):
        answer = Future()
        if self.fault_port is not None:
            try:
                answer.set_result(self.fault_port.call(action, arguments))
            except Refused as error:
                answer.set_exception(error)
            return answer
        kinds = [{"kind": "lost_reply", "description": "accepted, the reply is lost"}]
        answer.set_result(kinds if action == "list" else {"action": action, **arguments})
        return answer

    # --- the world ---

    def commit(self, *events):
        with self.lock:
            for event in events:
                self.events.append(event)
                for watcher in list(self.watchers):
                    watcher(len(self.events), event)

    def publish(self, symbol="BTC/USDT", bid=6100050, at=1):
        quote = VenueQuote("okx", "LIVE", "", 1, [bid], [150000000], [bid + 10], [5000000])
        book = ConsolidatedBook(symbol, 2, 8, [bid], [bid + 10], [quote], 0, at)
        for watcher in list(self.watchers):
            watcher(0, book)

    def fill(self, order_id, quantity):
        view = self.orders[order_id]
        view["filled_quantity"] = str(Decimal(view["filled_quantity"]) + Decimal(quantity))
        done = view["filled_quantity"] == view["quantity"]
        view["status"] = "FILLED" if done else "PARTIALLY_FILLED"
        number = str(len(self.events))
        self.commit(
            OrderFilled(
                *(order_id, "okx.main", "okx", view["symbol"], view["side"]),
                *(Decimal(61000), Decimal(quantity), Decimal(0), "USDT", "TAKER"),
                *("v1", number, "stream", 0),
            )
        )

    def expire(self, order_id):
        with self.lock:
            self.orders[order_id]["status"] = "EXPIRED"
            self.commit(OrderExpired(order_id, Decimal(0), "nothing to trade with", "stream", 0))

    def _take(self, message, reply):
        if isinstance(message, PlaceOrder):
            self._place(message, reply)
        elif isinstance(message, CancelOrders):
            self._cancel(message)
        elif isinstance(message, Halt):
            self.halted = True
            self.commit(
                TradingHalted(
                    message.scope, message.reason, message.who, True, 0, message.command_id
                )
            )
            if self.in_flight:
                self.halting = message, reply
            else:
                self._answer_gates(message, reply)
        elif isinstance(message, AskOpen):
            told = {"ok": True, "text": "", "ours": [], "others": []}
            reply.set_result(Reply(message.correlation_id, True, "", "", msgpack.packb(told)))
        elif isinstance(message, Resume):
            self.halted = False
            self.commit(
                TradingResumed(message.scope, message.reason, message.who, 0, message.command_id)
            )
            self._answer_gates(message, reply)
        elif isinstance(message, ResolveOrder):
            self.orders[message.order_id]["status"] = message.status
            self.commit(
                OrderResolved(message.order_id, message.status, message.who, message.reason)
            )

    def _answer_gates(self, message, reply):
        state = "HALTED" if self.halted else "ACTIVE"
        body = {"scope": message.scope, "halted": self.halted, "gates": {"okx": True}}
        body |= {"trading_state": state, "problem": ""}
        reply.set_result(Reply(message.command_id, True, "", "", msgpack.packb(body)))

    def _place(self, message, reply):
        if message.dry_run:
            plan = {"orders": [{"venue": message.venue, "quantity": str(message.quantity)}]}
            if self.behaviour == "deny":
                leg = {"venue": message.venue, "approved": False, "verdict": "above the limit"}
                plan = {"approved": False, "plan": "to the named venue", "orders": [leg]}
            reply.set_result(Reply(message.command_id, True, "", "", msgpack.packb(plan)))
            return
        order_id = client_order_id("desk-1", message.command_id)
        known = order_id in self.orders
        if known or self.behaviour not in ("busy", "silent"):
            body = msgpack.packb({"order_id": order_id, "repeated": known})
            reply.set_result(Reply(message.command_id, True, "", "", body))
        if known:
            return
        if self.behaviour == "busy":
            reply.set_result(Reply(message.command_id, False, "BUSY", "too many orders wait", b""))
            return
        if self.behaviour == "silent":
            return
        price = message.price and round_down(message.price, TICK)
        spec = OrderSpec(
            *(order_id, message.command_id, order_id, None, "okx.main", message.venue),
            *(message.symbol, message.side, message.order_type, message.time_in_force),
            *(message.post_only, message.quantity, price, "COMMAND", message.who, 0),
        )
        if self.behaviour == "journal_full":
            refused = AppendRefused([OrderApproved(spec, 0, 0, "ok")], "journal_full", "no space")
            for watcher in list(self.watchers):
                watcher(0, refused)
            return
        self.orders[order_id] = view = {
            "order_id": order_id,
            "command_id": message.command_id,
            "client_order_id": order_id,
            "parent_id": None,
            "venue": message.venue,
            "symbol": message.symbol,
            "side": message.side,
            "status": "PENDING_NEW",
            "quantity": str(message.quantity),
            "filled_quantity": "0",
            "average_price": None,
            "price": None if price is None else str(price),
            "order_type": message.order_type,
            "time_in_force": message.time_in_force,
            "post_only": message.post_only,
        }
        if self.halted or self.behaviour == "deny":
            view |= {"status": "DENIED", "reason_code": "HALTED", "reason": "trading is halted"}
            self.commit(OrderDenied(spec, "HALTED", "trading is halted"))
            return
        self.commit(OrderApproved(spec, 0, 0, "ok"))
        if self.behaviour == "hang":
            return
        if self.behaviour == "reject":
            view |= {"status": "REJECTED", "reason_code": "-2010", "reason": "no balance"}
            self.commit(OrderRejected(order_id, "-2010", "insufficient balance", "reply", 0))
        elif self.behaviour == "unknown":
            view["status"] = "UNKNOWN"
            self.commit(OrderUnknown(order_id, "reply lost"))
        else:
            view["status"] = "NEW"
            self.commit(OrderAcknowledged(order_id, "v1", "reply", 0))
            if self.behaviour == "expire":
                threading.Timer(0.1, self.expire, [order_id]).start()
            if self.behaviour == "fill":
                self.fill(order_id, str(message.quantity))

    def _cancel(self, message):
        every = [i for i, v in self.orders.items() if v["status"] in ("NEW", "PARTIALLY_FILLED")]
        for order_id in message.order_ids or every:
            if self.behaviour == "hang":
                self.orders[order_id]["status"] = "PENDING_CANCEL"
                continue
            self.orders[order_id]["status"] = "CANCELED"
            self.commit(OrderCanceled(order_id, Decimal(0), message.reason, "reply", 0))

    def _answer(self, topic, arguments):
        if topic == "order":
            for view in self.orders.values():
                if arguments.get("order_id") == view["order_id"]:
                    return view
                if arguments.get("command_id") == view["command_id"]:
                    return view
            raise Refused("NOT_FOUND", "no such order")
        if topic == "orders":
            self.looks += 1
            state = arguments["state"]
            closed = ("FILLED", "CANCELED", "DENIED", "REJECTED", "EXPIRED")
            return [
                view
                for view in self.orders.values()
                if state == "all" or (state == "open") == (view["status"] not in closed)
            ]
        return ANSWERS[topic](self, arguments)


def _status(core, _arguments):
    unknown = sum(v["status"] == "UNKNOWN" for v in core.orders.values())
    return {
        "mode": core.mode,
        "trading_state": "HALTED" if core.halted else "ACTIVE",
        "venues": [{"name": "okx", "state": "READY", "book_state": "LIVE", "book_age_ms": 3}],
        "actors": [{"name": "risk_pnl", "state": "RUNNING", "restarts": 0, "mailbox": 0}],
        "orders": {"open": 0, "unknown": unknown},
        "journal": {"seq": len(core.events), "lag": 0, "verified": True},
    }


def _venues(core, _):
    row = {"name": "okx", "state": "READY", "book_state": "LIVE", "in_flight": core.in_flight}
    if core.halting is not None:
        core.in_flight -= 1
        if core.in_flight == 0:
            core._answer_gates(*core.halting)
    return [row]


BBO = {
    "symbol": "BTC/USDT",
    "bid": "61000.5",
    "bid_quantity": "1.5",
    "bid_venue": "okx",
    "ask": "61000.6",
    "ask_quantity": "0.05",
    "ask_venue": "binance",
    "age_ms": 3,
}
PARKED = {
    "id": "m1",
    "actor": "exchange.okx",
    "kind": "FillReport",
    "ts_ns": 1_700_000_000_000_000_000,
    "attempts": 3,
    "error": "ValueError: no such thing",
    "text": "FillReport: venue okx, symbol BTC/USDT",
    "order_id": "o1",
    "symbol": "BTC/USDT",
    "retryable": True,
    "traceback": "in on_fill_report",
}
LEVEL = {"price": "61000.5", "quantity": "1.5", "venue": "okx"}
GRID = {"symbol": "BTC/USDT", "tick_size": str(TICK), "lot_size": "0.00001"}
ANSWERS = {
    "instruments": lambda c, a: [{"venue": "okx", **GRID}],
    "status": _status,
    "venues": _venues,
    "bbo": lambda c, a: [BBO],
    "book": lambda c, a: {"symbol": a["symbol"], "bids": [LEVEL], "asks": [LEVEL], "venues": []},
    "positions": lambda c, a: [{"account": "okx.main", "asset": "BTC", "quantity": "0.01"}],
    "pnl": lambda c, a: {"currency": "USDT", "realized_pnl": "1.5", "rows": []},
    "balances": lambda c, a: [{"account": "okx.main", "asset": "BTC", "free": "1", "locked": "0"}],
    "risk": lambda c, a: {"trading_state": "ACTIVE", "halts": [], "limits": {}},
    "parked": lambda c, a: [r for r in c.parked.values() if a.get("actor") in (None, r["actor"])],
    "actors": lambda c, a: [{"name": "risk_pnl", "state": "RUNNING", "restarts": 0, "mailbox": 0}],
}
