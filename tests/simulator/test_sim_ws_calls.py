"""Calls over the WebSockets, as the venues document them: counters, refusals, and faults of answers."""

import base64
import hmac
import json
import time
from hashlib import sha256

import pytest
import websocket
from waiting import wait_for

from simulator.log import read_log

pytestmark = pytest.mark.xdist_group("sim_ws_calls")


class Link:
    """One trading connection, logged in where the venue wants it."""

    def __init__(self, sim, venue):
        self.venue = venue
        self.account = sim.endpoints["accounts"][venue]
        self.ws = websocket.create_connection(sim.endpoints["venues"][venue]["trade_ws"], 5)
        if venue == "okx":
            at = str(int(time.time()))
            text = f"{at}GET/users/self/verify".encode()
            digest = hmac.new(self.account["api_secret"].encode(), text, sha256).digest()
            login = {"apiKey": self.account["api_key"], "timestamp": at,
                     "passphrase": self.account["passphrase"],
                     "sign": base64.b64encode(digest).decode()}  # fmt: skip
            self.ws.send(json.dumps({"op": "login", "args": [login]}))
            assert json.loads(self.ws.recv())["code"] == "0"

    def place(self, name, **more):
        if self.venue == "okx":
            row = {"instId": "BTC-USDT", "tdMode": "cash", "clOrdId": name, "side": "buy",
                   "ordType": "limit", "px": "50000", "sz": "0.001"}  # fmt: skip
            self.ws.send(json.dumps({"id": name, "op": "order", "args": [row], **more}))
            return
        params = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC",
                  "price": "50000", "quantity": "0.001", "newClientOrderId": name,
                  "apiKey": self.account["api_key"], "timestamp": str(time.time_ns() // 10**6),
                  **more}  # fmt: skip
        text = "&".join(f"{key}={params[key]}" for key in sorted(params))
        secret = self.account["api_secret"].encode()
        params["signature"] = hmac.new(secret, text.encode(), sha256).hexdigest()
        self.ws.send(json.dumps({"id": name, "method": "order.place", "params": params}))

    def recv(self):
        return json.loads(self.ws.recv())


@pytest.fixture
def link(sim, venue):
    made = Link(sim, venue)
    yield made
    made.ws.close()


def is_done(answer):
    return answer.get("status", 200) == 200 and answer.get("code", "0") == "0"


def placed(sim, venue, name):
    return [r["via"] for r in read_log(sim.log(venue)).requests if r["client_order_id"] == name]


def test_an_order_is_in_the_log_before_its_answer(sim, venue, link):
    link.place("w100")
    answer = link.recv()
    assert (answer["id"], is_done(answer)) == ("w100", True)
    assert placed(sim, venue, "w100") == ["ws"]


def test_binance_tells_its_counters_unless_asked_not_to(sim):
    link = Link(sim, "binance")
    link.place("w200")
    first = {(c["rateLimitType"], c["interval"]): c for c in link.recv()["rateLimits"]}
    link.place("w201")
    then = {(c["rateLimitType"], c["interval"]): c for c in link.recv()["rateLimits"]}
    assert set(then) == {("REQUEST_WEIGHT", "MINUTE"), ("ORDERS", "SECOND"), ("ORDERS", "DAY")}
    day = ("ORDERS", "DAY")
    assert then[day]["count"] == first[day]["count"] + 1
    assert then[day]["limit"] == 200_000
    link.place("w202", returnRateLimits="false")
    assert "rateLimits" not in link.recv()


@pytest.mark.parametrize(("kind", "status"), [("rate_limit_429", 429), ("ban_418", 418)])
def test_binance_says_when_to_come_again(sim, kind, status):
    link = Link(sim, "binance")
    sim.fault(kind, "binance", on="order", params={"retry_after_s": 7})
    link.place("w300")
    answer = link.recv()
    data = answer["error"]["data"]
    assert (answer["status"], answer["error"]["code"]) == (status, -1003)
    assert data["retryAfter"] - data["serverTime"] == 7000
    assert placed(sim, "binance", "w300") == []


def test_okx_refuses_what_comes_after_its_expiry(sim):
    link = Link(sim, "okx")
    link.place("w400", expTime="1000")
    (row,) = link.recv()["data"]
    assert row["sCode"] == "51149"
    assert placed(sim, "okx", "w400") == []


def test_a_slow_call_holds_up_no_other(sim, venue, link):
    sim.fault("delay", venue, on="order", params={"ms": 400, "when": "before"})
    link.place("w600")
    link.place("w601")
    assert [link.recv()["id"], link.recv()["id"]] == ["w601", "w600"]


def test_faults_of_answers(sim, venue, link):
    sim.fault("ws_duplicate", venue, on="reply")
    link.place("w700")
    assert [link.recv()["id"], link.recv()["id"]] == ["w700", "w700"]
    sim.fault("ws_reorder", venue, on="reply")
    link.place("w701")
    link.place("w702")
    assert [link.recv()["id"], link.recv()["id"]] == ["w702", "w701"]
    sim.fault("ws_gap", venue, on="reply")
    link.place("w703")
    link.place("w704")
    assert link.recv()["id"] == "w704"
    sim.fault("ws_half_open", venue, on="reply")
    link.place("w705")
    wait_for(lambda: placed(sim, venue, "w705"), "the order is in the log")
    link.place("w706")
    link.ws.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        link.ws.recv()
    for name in ("w700", "w701", "w702", "w703", "w704", "w705"):
        assert placed(sim, venue, name) == ["ws"]
    assert placed(sim, venue, "w706") == []  # nobody was there any more to hear it


# The last one: it spends the venue's budget of two seconds.
def test_okx_counts_orders_over_both_roads_together(sim):
    link = Link(sim, "okx")
    for number in range(70):
        link.place(f"w5{number:02}")
    codes = [link.recv()["code"] for _ in range(70)]
    assert codes.count("50011") >= 1
    assert codes[0] == "0"
