"""Every fault kind shows its effect on a real client, and is written to the log."""

import itertools
import json
import random
import time

import ccxt
import pytest
import websocket
from conftest import CLIENTS, SHOWN, Sim, shows
from waiting import DEADLINE_S, wait_for

from simulator.clock import SystemClock
from simulator.faults import KINDS, Faults
from simulator.log import read_log
from simulator.okx_words import checksum

BTC = "BTC/USDT"
pytestmark = pytest.mark.xdist_group("sim_faults")


def client_id(number):
    return f"{number:032x}"


def place(client, number, **more):
    return client.create_order(
        BTC, "limit", "buy", 0.01, 50000, {"clientOrderId": client_id(number), **more}
    )


def order_count(sim, venue, number):
    return read_log(sim.log(venue), "main").order_counts.get(client_id(number), 0)


ACCEPTED = [
    ("lost_reply", {}),
    ("error_5xx", {}),
    ("error_5xx", {"status": 500}),
    ("malformed_200", {}),
    ("empty_200", {}),
    ("html_200", {}),
    ("truncated", {}),
]


@shows(*(kind for kind, _ in ACCEPTED))
@pytest.mark.parametrize(("kind", "params"), ACCEPTED)
def test_the_order_exists_although_the_answer_failed(sim, venue, kind, params):
    client = CLIENTS[venue](sim)
    client.load_markets()
    number = 100 + ACCEPTED.index((kind, params))
    sim.fault(kind, venue, params=params)
    try:
        assert place(client, number)["id"] is None
    except (ccxt.BaseError, TypeError, AttributeError) as unclear:
        if isinstance(unclear, ccxt.InvalidOrder | ccxt.InsufficientFunds):
            raise
    assert order_count(sim, venue, number) == 1
    found = client.fetch_order(None, BTC, {"clientOrderId": client_id(number)})
    assert found["status"] == "open"
    assert read_log(sim.log(venue)).faults[-1]["phase"] == "applied"


REFUSED = [
    ("drop_request", {}, ccxt.NetworkError),
    ("error_5xx", {"when": "before"}, ccxt.BaseError),
    ("rate_limit_429", {"retry_after_s": 3}, ccxt.NetworkError),
    ("ban_418", {"retry_after_s": 7}, ccxt.BaseError),
    ("auth_revoked", {}, ccxt.BaseError),
    ("maintenance", {}, ccxt.BaseError),
]


@shows(*(kind for kind, _, _ in REFUSED))
@pytest.mark.parametrize(("kind", "params", "error"), REFUSED)
def test_the_order_does_not_exist(sim, venue, kind, params, error):
    client = CLIENTS[venue](sim)
    client.load_markets()
    number = 200 + [row[:2] for row in REFUSED].index((kind, params))
    sim.fault(kind, venue, params=params)
    with pytest.raises(error):
        place(client, number)
    if "retry_after_s" in params:
        assert client.last_response_headers["Retry-After"] == str(params["retry_after_s"])
    sim.ctl("fault", method="DELETE")
    assert order_count(sim, venue, number) == 0


@shows("late_execution")
def test_a_late_execution_comes_after_the_client_gave_up(sim, venue):
    client = CLIENTS[venue](sim, timeout=200)
    client.load_markets()
    sim.fault("late_execution", venue, params={"ms": 500})
    with pytest.raises(ccxt.RequestTimeout):
        place(client, 300)
    assert order_count(sim, venue, 300) == 0
    wait_for(lambda: order_count(sim, venue, 300) == 1, "the order arrives late")


@shows("delay")
def test_a_delayed_answer_is_late_but_right(sim, venue):
    client = CLIENTS[venue](sim)
    client.load_markets()
    sim.fault("delay", venue, params={"ms": 300})
    start = time.monotonic()
    place(client, 301)
    assert time.monotonic() - start >= 0.3


@shows("hidden_order")
def test_a_hidden_order_shows_up_later(sim, venue):
    client = CLIENTS[venue](sim)
    sim.fault("hidden_order", venue, params={"ms": 300})
    place(client, 302)
    with pytest.raises(ccxt.OrderNotFound):
        client.fetch_order(None, BTC, {"clientOrderId": client_id(302)})
    assert client.fetch_open_orders(BTC) == []
    wait_for(lambda: client.fetch_open_orders(BTC), "the order shows up")


@shows("partial_fill", "cancel_race")
def test_partial_fill_and_cancel_race(sim, venue):
    client = CLIENTS[venue](sim)
    sim.fault("partial_fill", venue, params={"percent": 30})
    place(client, 303)
    by_name = {"clientOrderId": client_id(303)}
    assert client.fetch_order(None, BTC, by_name)["filled"] == 0.003
    sim.fault("cancel_race", venue)
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(None, BTC, by_name)
    ended = client.fetch_order(None, BTC, by_name)
    assert (ended["status"], ended["filled"]) == ("closed", 0.01)


@shows("balance_drift")
def test_balance_drift_is_external(sim, venue):
    client = CLIENTS[venue](sim)
    before = client.fetch_balance()["total"]["USDT"]
    sim.fault("balance_drift", venue, params={"asset": "USDT", "amount": "-250"})
    assert client.fetch_balance()["total"]["USDT"] == before - 250
    last = read_log(sim.log(venue), "main").balance_changes[-1]
    assert (last["reason"], last["delta"]) == ("external", "-250")


@shows("clock_skew")
def test_clock_skew_makes_requests_untimely(sim, venue):
    client = CLIENTS[venue](sim)
    sim.fault("clock_skew", venue, params={"ms": -60_000})
    with pytest.raises(ccxt.InvalidNonce):
        client.fetch_balance()
    assert client.milliseconds() - client.fetch_time() > 50_000


# -- streams


class Stream:
    """A plain WebSocket client: it sees frames as they are."""

    def __init__(self, sim, venue, name="public_ws"):
        self.venue = venue
        self.ws = websocket.create_connection(sim.endpoints["venues"][venue][name], timeout=5)

    def ask(self, message):
        self.ws.send(json.dumps(message))
        return json.loads(self.ws.recv())

    def books(self):
        if self.venue == "okx":
            arg = {"channel": "books", "instId": "BTC-USDT"}
            assert self.ask({"op": "subscribe", "args": [arg]})["event"] == "subscribe"
            assert json.loads(self.ws.recv())["action"] == "snapshot"
        else:
            wanted = {"method": "SUBSCRIBE", "params": ["btcusdt@depth@100ms"], "id": 1}
            assert self.ask(wanted) == {"result": None, "id": 1}
        return self

    def private(self, client):
        if self.venue == "okx":
            stamp = str(client.seconds())
            text = (stamp + "GET/users/self/verify").encode()
            sign = client.hmac(text, client.secret.encode(), __import__("hashlib").sha256, "base64")
            login = {"apiKey": client.apiKey, "passphrase": client.password, "timestamp": stamp}
            assert self.ask({"op": "login", "args": [{**login, "sign": sign}]})["code"] == "0"
            arg = {"channel": "orders", "instType": "SPOT"}
            self.ask({"op": "subscribe", "args": [arg]})
        else:
            params = {"apiKey": client.apiKey, "timestamp": client.milliseconds()}
            text = client.urlencode(params).encode()
            sign = client.hmac(text, client.secret.encode(), __import__("hashlib").sha256)
            method = "userDataStream.subscribe.signature"
            answer = self.ask(
                {"id": "1", "method": method, "params": {**params, "signature": sign}}
            )
            assert answer["result"] == {"subscriptionId": 0}
        return self

    def next(self):
        frame = json.loads(self.ws.recv())
        return frame.get("data", frame)

    def ids(self):
        data = self.next()
        if self.venue == "okx":
            return data[0]["prevSeqId"], data[0]["seqId"]
        return data["U"] - 1, data["u"]

    def order_event(self):
        while True:
            data = self.next()
            if self.venue == "okx":
                return data[0]["state"], data[0]["ordId"]
            if data["event"]["e"] == "executionReport":
                return data["event"]["X"], str(data["event"]["i"])


def test_an_unknown_kind_is_refused_with_the_known_ones():
    faults = Faults("okx", SystemClock(), random.Random(1), lambda records: None)
    with pytest.raises(ValueError, match="unknown fault kind 'flood'; there are: ") as refused:
        faults.set({"kind": "flood"})
    assert all(kind in str(refused.value) for kind in KINDS)


@pytest.fixture
def flowing(sim):
    sim.ctl("flow", {"on": True})
    yield sim
    sim.ctl("flow", {"on": False, "clear": True})


@shows("ws_gap", "ws_duplicate", "ws_reorder")
@pytest.mark.parametrize("kind", ["ws_gap", "ws_duplicate", "ws_reorder"])
def test_sequence_faults_break_the_chain(flowing, venue, kind):
    stream = Stream(flowing, venue).books()
    before = [stream.ids() for _ in range(5)]
    assert all(a[1] == b[0] for a, b in itertools.pairwise(before))
    flowing.fault(kind, venue, on="book")
    after = [before[-1]] + [stream.ids() for _ in range(5)]
    broken = [b for a, b in itertools.pairwise(after) if a[1] != b[0]]
    assert broken
    if kind == "ws_duplicate":
        assert len(set(after)) == len(after) - 1
    if kind == "ws_reorder":
        tidy = sorted(after)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(tidy))


@shows("ws_corrupt_level")
def test_a_corrupt_level_leaves_the_chain_whole(flowing, venue):
    stream = Stream(flowing, venue).books()
    flowing.fault("ws_corrupt_level", venue)
    frames = [json.dumps(stream.next()) for _ in range(4)]
    assert sum("7777.7" in frame for frame in frames) == 1
    stream.ws.close()


@shows("bad_checksum")
def test_checksums_of_okx_are_right_until_a_fault_spoils_one(flowing):
    stream = Stream(flowing, "okx")
    arg = {"channel": "books", "instId": "BTC-USDT"}
    stream.ask({"op": "subscribe", "args": [arg]})
    sides = {"bids": {}, "asks": {}}
    results = []
    for number in range(12):
        if number == 6:
            flowing.fault("bad_checksum", "okx")
        data = stream.next()[0]
        for name, levels in sides.items():
            for row in data[name]:
                levels.pop(row[0], None)
                if row[1] != "0":
                    levels[row[0]] = row
        bids = sorted(sides["bids"].values(), key=lambda r: -float(r[0]))
        asks = sorted(sides["asks"].values(), key=lambda r: float(r[0]))
        results.append(checksum(bids, asks) == data["checksum"])
    assert results.count(False) == 1
    assert all(results[:6])


@shows("stale_snapshot")
def test_a_stale_snapshot_is_older_than_the_stream(flowing):
    client = CLIENTS["binance"](flowing)
    stream = Stream(flowing, "binance").books()
    kept = 12  # beats of 100 ms: by then an old book is remembered
    last = [stream.ids()[1] for _ in range(kept)][-1]
    flowing.fault("stale_snapshot", "binance")
    assert client.public_get_depth({"symbol": "BTCUSDT"})["lastUpdateId"] < last


@shows("private_event_lost", "private_event_duplicate")
def test_private_events_are_lost_and_doubled(sim, venue):
    client = CLIENTS[venue](sim)
    client.load_markets()
    stream = Stream(sim, venue, "private_ws").private(client)
    more = {"symbol": BTC} if venue == "binance" else {}
    sim.fault("private_event_lost", venue, **more)
    place(client, 400)
    sim.fault("private_event_duplicate", venue, **more)
    second = place(client, 401)
    seen = [stream.order_event(), stream.order_event()]
    assert {order_id for _, order_id in seen} == {second["id"]}


@shows("private_event_before_ack", "private_event_after_ack")
@pytest.mark.parametrize("kind", ["private_event_before_ack", "private_event_after_ack"])
def test_event_and_answer_come_in_the_order_asked_for(sim, venue, kind):
    client = CLIENTS[venue](sim)
    client.load_markets()
    stream = Stream(sim, venue, "private_ws").private(client)
    sim.fault(kind, venue, params={"ms": 300})
    start = time.monotonic()
    number = 410 + (kind == "private_event_after_ack")
    place(client, number)
    answered = time.monotonic() - start
    stream.order_event()
    told = time.monotonic() - start
    early, late = (told, answered) if "before" in kind else (answered, told)
    assert late >= 0.3 or early < 0.3
    assert (answered >= 0.3) == ("before" in kind)


@shows("ws_half_open", "ws_drop")
def test_streams_are_dropped_or_fall_silent(flowing, venue):
    stream = Stream(flowing, venue).books()
    stream.ids()
    flowing.fault("ws_half_open", venue, on="book", count=10)
    stream.ws.settimeout(0.6)

    def is_silent():
        try:
            stream.ws.recv()
        except websocket.WebSocketTimeoutException:
            return True
        return False

    wait_for(is_silent, "the stream falls silent")
    flowing.fault("ws_drop", venue, on="book", count=10)
    stream.ws.settimeout(DEADLINE_S)
    with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
        stream.ws.recv()


@shows("venue_restart", "refuse_connections")
def test_restart_cuts_and_refuses_for_a_while(tmp_path):
    sim = Sim(tmp_path, "--flow", "off")
    client = CLIENTS["binance"](sim)
    place(client, 500)
    stream = Stream(sim, "binance")
    sim.fault("venue_restart", params={"down_ms": 300})
    assert json.loads(stream.ws.recv())["e"] == "serverShutdown"
    with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
        stream.ws.recv()
    with pytest.raises(ccxt.NetworkError):
        client.fetch_time()

    def is_back():
        try:
            return client.fetch_open_orders(BTC)
        except ccxt.NetworkError:
            return False

    assert len(wait_for(is_back, "the venue is back")) == 1
    sim.fault("refuse_connections", params={"s": 0.3})
    fresh = CLIENTS["binance"](sim)
    with pytest.raises(ccxt.NetworkError):
        fresh.fetch_time()
    wait_for(is_back, "connections are accepted again")
    assert sim.stop() == 0


def test_faults_are_listed_counted_and_cleared(sim):
    listed = sim.ctl("faults")
    assert {row["kind"] for row in listed} == set(KINDS)
    assert set(listed[0]) == {"kind", "description", "targets", "parameters"}
    number = sim.fault("lost_reply", "okx", count=3, symbol="ETH/USDT")
    assert [(r["id"], r["count"]) for r in sim.ctl("active")] == [(number, 3)]
    assert sim.ctl(f"fault/{number}", method="DELETE") == {"cleared": 1}
    assert sim.ctl("active") == []


@pytest.mark.parametrize(
    "body",
    [
        {"kind": "nope", "venue": "okx"},
        {"kind": "lost_reply", "venue": "nope"},
        {"kind": "lost_reply", "venue": "okx", "on": "book"},
        {"kind": "delay", "venue": "okx", "params": {"ms": "soon"}},
        {"kind": "delay", "venue": "okx", "count": "many"},
        {"kind": "balance_drift", "venue": "okx", "params": {"amount": "lots"}},
        ["not", "an", "object"],
    ],
)
def test_bad_faults_are_refused_in_a_sentence(sim, body):
    answer = sim.ctl("fault", body)
    assert answer["status"] == 400
    assert len(answer["error"]) > 10


# A kind that no test shows is an error before any test runs.
assert set(KINDS) == SHOWN, set(KINDS) ^ SHOWN


HOSTILE = [
    "x", "[]", "{}", "null", '{"op":["a"],"args":[]}', '{"op":"order","args":["x"]}',
    '{"op":"login","args":[{"apiKey":"demo-key-okx","sign":"\\ud800"}]}',
    '{"op":"subscribe","args":[{"channel":["books"],"instId":{}}]}',
    '{"method":["SUBSCRIBE"],"params":[1],"id":1}', '{"method":"order.place","params":[1],"id":1}',
    '{"method":"order.place","params":{"apiKey":"demo-key-binance","signature":"\\ud800"},"id":1}',
]  # fmt: skip


def test_hostile_frames_are_answered_with_an_error_and_the_link_lives(sim, venue):
    for name in ("public_ws", "private_ws"):
        for frame in HOSTILE:
            stream = Stream(sim, venue, name)
            stream.ws.send(frame)
            answer = json.loads(stream.ws.recv())
            assert "error" in answer or answer.get("event") == "error"
            stream.ws.close()
    assert sim.process.poll() is None
