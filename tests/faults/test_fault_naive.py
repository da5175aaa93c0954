"""The negative control: a client that sends first, stores then and retries blindly must be condemned.

Same simulator, same faults, same checker. The same client with the journal before the send, an id
that follows from the command, and no blind retry, passes.
"""

import random
import uuid
from decimal import Decimal
from urllib.parse import urlsplit

import ccxt
import pytest
from checker import problems
from waiting import wait_for

from engine.clock import SystemClock
from engine.envelope import encode_body
from engine.ids import client_order_id
from engine.journal import Identity, Journal, NewRecord
from engine.messages.events import (
    AccountOpened,
    OpeningBalance,
    OrderAcknowledged,
    OrderApproved,
    OrderFilled,
    OrderSpec,
)
from simulator.log import read_log

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]

ORDERS = 40
ACCOUNT = "binance.main"


class Bot:
    """A trader of one venue with a journal. What it does in which order is the test's business."""

    def __init__(self, folder, venues):
        account = venues.endpoints["accounts"]["binance"]
        at = urlsplit(venues.endpoints["venues"]["binance"]["rest"]).netloc
        self.ccxt = ccxt.binance(
            {"apiKey": account["api_key"], "secret": account["api_secret"],
             "enableRateLimit": False, "timeout": 2000}
        )  # fmt: skip
        self.ccxt.session.trust_env = False
        for name in ("public", "private"):
            self.ccxt.urls["api"][name] = f"http://{at}/api/v3"
        self.clock = SystemClock()
        identity = Identity("demo", "naive", {ACCOUNT: "binance"})
        self.journal = Journal.open(folder / "journal", identity=identity, clock=self.clock)
        self.numbers = 0
        balances = read_log(venues.log("binance"), "main").balances["main"]
        self.store(
            *(OpeningBalance(ACCOUNT, asset, free, None, None, "unknown", 0)
              for asset, (free, _) in sorted(balances.items())),
            AccountOpened(ACCOUNT, 0),
        )  # fmt: skip

    def store(self, *events):
        records = []
        for event in events:
            self.numbers += 1
            records.append(
                NewRecord(
                    f"r{self.numbers}", event.unique_key(), type(event).__name__, "bot", "", "",
                    encode_body(event), self.clock.wall_ns(), self.clock.mono_ns(),
                )
            )  # fmt: skip
        self.journal.append(records)

    def spec(self, command_id, order_id):
        return OrderSpec(
            order_id, command_id, order_id, None, ACCOUNT, "binance", "BTC/USDT", "BUY", "LIMIT",
            "IOC", False, Decimal("0.002"), self.price(), "COMMAND", "bot", 0,
        )  # fmt: skip

    def price(self):
        ask = Decimal(self.ccxt.publicGetDepth({"symbol": "BTCUSDT", "limit": "5"})["asks"][0][0])
        return (ask * Decimal("1.01")).quantize(Decimal("0.01"))

    def send(self, spec):
        return self.ccxt.privatePostOrder(
            {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "IOC",
             "quantity": str(spec.quantity), "price": str(spec.price),
             "newClientOrderId": spec.order_id, "newOrderRespType": "FULL"}
        )  # fmt: skip

    def ask(self, spec):
        """Look for the order by its id until the venue answers: the opposite of sending again."""
        return wait_for(lambda: self.ask_once(spec), "the venue's answer")[0]

    def ask_once(self, spec):
        """Return the venue's answer in a list, with None for "not there"; or None without an answer."""
        try:
            return [
                self.ccxt.privateGetOrder({"symbol": "BTCUSDT", "origClientOrderId": spec.order_id})
            ]
        except ccxt.OrderNotFound:
            return [None]
        except ccxt.BaseError:
            return None

    def store_outcome(self, spec, reply):
        venue_order_id = str(reply["orderId"])
        self.store(OrderAcknowledged(spec.order_id, venue_order_id, "reply", 0))
        trades = self.ccxt.privateGetMyTrades({"symbol": "BTCUSDT", "orderId": venue_order_id})
        self.store(
            *(OrderFilled(spec.order_id, ACCOUNT, "binance", "BTC/USDT", "BUY",
                          Decimal(t["price"]), Decimal(t["qty"]), Decimal(t["commission"]),
                          t["commissionAsset"], "TAKER", venue_order_id, str(t["id"]), "reply", 0)
              for t in trades)
        )  # fmt: skip

    def send_then_store_and_retry_blindly(self, command_id, *, dies):
        while True:
            spec = self.spec(command_id, uuid.uuid4().hex)  # a new id for each attempt
            try:
                reply = self.send(spec)
                break
            except ccxt.BaseError:
                continue
        if dies:
            return  # here a kill -9 falls between the send and the record
        self.store(OrderApproved(spec, 0, 0, "sent"))
        self.store_outcome(spec, reply)

    def store_then_send_and_look(self, command_id, *, dies):
        spec = self.spec(command_id, client_order_id("naive", command_id))
        self.store(OrderApproved(spec, 0, 0, "to be sent"))
        reply = None
        try:
            reply = self.send(spec)
        except ccxt.BaseError:
            reply = self.ask(spec)
        if dies:
            reply = self.ask(spec)  # what a restarted process does with its open intents
        if reply is not None:
            self.store_outcome(spec, reply)


def drive(tmp_path, venues, place):
    """Let a bot place its orders while replies are lost and it dies now and then."""
    bot = Bot(tmp_path, venues)
    rng = random.Random(3)
    acknowledged = set()
    for number in range(ORDERS):
        if rng.random() < 0.3:
            venues.fault("lost_reply", "binance", on="order")
        place(bot, f"n{number}", dies=rng.random() < 0.1)
        acknowledged.add(f"n{number}")
        venues.clear_faults()
    bot.journal.close()
    return problems(tmp_path / "journal", venues.log, acknowledged, venues=["binance"])


def test_the_naive_order_of_things_fails_the_checker(tmp_path, make_venues):
    venues = make_venues("--seed", "7", "--venues", "binance")
    found = drive(tmp_path, venues, Bot.send_then_store_and_retry_blindly)
    rules = {text.partition(" ")[0] for text in found}
    assert {"I3", "I4", "I12", "I19"} <= rules, found
    doubled = [text for text in found if "has no intent" in text]
    assert len(doubled) >= 5, "lost replies were answered with second orders"
    late = [text for text in found if "before its intent" in text]
    assert len(late) >= ORDERS // 2


def test_the_same_client_with_journal_first_and_no_blind_retry_passes_it(tmp_path, make_venues):
    venues = make_venues("--seed", "7", "--venues", "binance")
    assert drive(tmp_path, venues, Bot.store_then_send_and_look) == []
