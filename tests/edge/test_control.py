import os
import socket
import stat
import struct
import threading
from contextlib import suppress
from pathlib import Path

import msgpack
import pytest
from edge_core import SmallCore

from engine.client import Client, RequestRefused, RequestUnknown
from engine.control import SocketTaken
from engine.errors import ConfigError, MessageError, Unreachable
from engine.frames import connect, encode_frame, read_frame
from engine.messages.commands import CancelOrders, Halt, PlaceOrder

LIMIT = ("okx", "BTC/USDT", "buy", "0.01", "61000.5")


def raw(tmp_path, timeout_s=5.0):
    return connect(tmp_path, timeout_s)


def ended(sock):
    """Read to the end of a connection and return the frames it carried."""
    frames = []
    try:
        while frame := read_frame(sock):
            frames.append(frame)
    except ConnectionResetError:
        pass
    return frames


def test_the_socket_is_the_owners_alone(server, tmp_path):
    assert stat.S_IMODE((tmp_path / "control.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_status_comes_with_its_schema(client):
    status = client.status()
    assert status["schema"] == 1
    assert status["trading_state"] == "ACTIVE"


def test_lists_carry_the_schema_in_each_item(client):
    assert [row["schema"] for row in client.bbo()] == [1]


def test_a_very_long_state_path_works(start_server, tmp_path):
    folder = tmp_path.joinpath(*["a-rather-long-name-of-a-folder"] * 8)
    assert len(str(folder)) > 200
    start_server(folder)
    with Client(folder) as client:
        assert client.status()["mode"] == "demo"


def test_the_socket_of_a_dead_core_is_replaced(start_server, tmp_path):
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "control.sock"))
    dead.close()
    start_server()
    with Client(tmp_path) as client:
        assert client.status()["mode"] == "demo"


def test_the_socket_of_a_live_core_is_refused(server, start_server, tmp_path):
    with pytest.raises(SocketTaken, match="running already"):
        start_server()
    with Client(tmp_path) as client:
        assert client.status()["mode"] == "demo"


def test_a_file_that_is_no_socket_is_not_touched(start_server, tmp_path):
    (tmp_path / "control.sock").write_text("precious")
    with pytest.raises(ConfigError, match="not a socket"):
        start_server()
    assert (tmp_path / "control.sock").read_text() == "precious"


def test_stopping_removes_the_socket_and_says_goodbye(server, tmp_path):
    sock = raw(tmp_path)
    sock.sendall(encode_frame({"id": "1", "op": "status"}))
    read_frame(sock)
    server.stop()
    assert ended(sock)[0]["push"] == "goodbye"
    assert not (tmp_path / "control.sock").exists()
    with pytest.raises(Unreachable, match="make run"):
        Client(tmp_path).status()


def test_a_connection_that_comes_while_it_stops_is_not_left_open(start_server, tmp_path):
    for round_number in range(30):
        state_dir = tmp_path / str(round_number)
        server = start_server(state_dir)
        peers = [connect(state_dir, 30.0) for _ in range(20)]
        server.stop()
        for peer in peers:
            with peer, suppress(ConnectionResetError):
                while peer.recv(4096):  # a goodbye at most, and then the end: not a wait for ever
                    pass


def test_who_asks_is_the_peers_uid(client, core):
    client.place(*LIMIT)
    assert core.told[0][1].who == f"uid:{os.getuid()}"


# --- orders ---------------------------------------------------------------------------------------


def test_placing_answers_once_the_venue_acknowledged(client):
    order = client.place(*LIMIT)
    assert (order["status"], order["quantity"], order["schema"]) == ("NEW", "0.01", 1)


def test_waiting_for_filled_returns_at_the_fill(client, core, eventually):
    def fill_it():
        eventually(lambda: core.orders)
        core.fill(next(iter(core.orders)), "0.01")

    helper = threading.Thread(target=fill_it)
    helper.start()
    order = client.place(*LIMIT, wait="filled", timeout_s=5)
    helper.join()
    assert order["status"] == "FILLED"


@pytest.mark.parametrize(
    ("behaviour", "exit_code", "status"),
    [("deny", 6, "DENIED"), ("reject", 7, "REJECTED")],
)
def test_a_bad_end_has_its_exit_code_and_the_order(client, core, behaviour, exit_code, status):
    core.behaviour = behaviour
    with pytest.raises(RequestRefused) as failed:
        client.place(*LIMIT)
    assert failed.value.exit_code == exit_code
    assert failed.value.result["status"] == status
    assert failed.value.result["schema"] == 1


def test_an_order_that_the_journal_did_not_take_is_told_at_once_and_may_come_again(client, core):
    core.behaviour = "journal_full"
    with pytest.raises(RequestRefused, match="no space") as failed:
        client.place(*LIMIT, command_id="once", timeout_s=60)
    assert (failed.value.code, failed.value.exit_code) == ("journal_full", 6)
    core.behaviour = "acknowledge"
    assert client.place(*LIMIT, command_id="once")["status"] == "NEW"


@pytest.mark.parametrize("behaviour", ["unknown", "hang", "silent"])
def test_an_outcome_that_is_not_known_is_said_to_be(client, core, behaviour):
    core.behaviour = behaviour
    with pytest.raises(RequestUnknown) as failed:
        client.place(*LIMIT, timeout_s=0.2)
    assert failed.value.exit_code == 5


def test_wait_none_returns_with_the_journal(client, core):
    core.behaviour = "hang"
    assert client.place(*LIMIT, wait="none")["status"] == "PENDING_NEW"


def test_a_busy_core_refuses_at_the_door(client, core):
    core.behaviour = "busy"
    with pytest.raises(Unreachable, match="too many orders"):
        client.place(*LIMIT)


def test_a_dry_run_answers_the_plan(client, core):
    plan = client.place(*LIMIT, dry_run=True)
    assert plan["orders"] == [{"venue": "okx", "quantity": "0.01"}]
    assert not core.orders


def test_a_market_order_has_no_price(client, core):
    client.place("best", "ETH/USDT", "sell", "1")
    message = next(m for _, m in core.told if isinstance(m, PlaceOrder))
    assert (message.order_type, message.time_in_force, message.price) == ("MARKET", "IOC", None)


@pytest.mark.parametrize(
    ("arguments", "exit_code", "words"),
    [
        ({"venue": "okxx"}, 3, "did you mean 'okx'"),
        ({"symbol": "BTC/EUR"}, 2, "no symbol"),
        ({"symbol": "BTCUSDT"}, 2, "like BTC/USDT"),
        ({"side": "hold"}, 2, "buy, sell"),
        ({"quantity": "0"}, 2, "more than zero"),
        ({"quantity": "-1"}, 2, "more than zero"),
        ({"quantity": "NaN"}, 2, "not a number"),
        ({"quantity": "1e999"}, 2, "no size"),
        ({"quantity": "1e400000"}, 2, "not a number"),
        ({"quantity": 0.5}, 2, "as text"),
        ({"price": None}, 2, "--market"),
        ({"market": True}, 2, "no price"),
        ({"post_only": True, "time_in_force": "IOC"}, 2, "post-only"),
        ({"command_id": "a b"}, 2, "letters"),
        ({"colour": "red"}, 2, "takes no argument 'colour'"),
        ({"timeout_s": -1}, 2, "seconds"),
    ],
)
def test_bad_orders_are_refused_with_a_sentence(client, core, arguments, exit_code, words):
    good = dict(zip(("venue", "symbol", "side", "quantity", "price"), LIMIT, strict=True))
    with pytest.raises(RequestRefused, match=words) as failed:
        client.request("order.place", **(good | arguments))
    assert failed.value.exit_code == exit_code
    assert not core.told


def test_cancelling_waits_for_the_venue(client):
    order = client.place(*LIMIT)
    assert [o["status"] for o in client.cancel(order["order_id"])] == ["CANCELED"]
    assert client.orders(state="open") == []


def test_cancelling_all_answers_each(client):
    for _ in range(3):
        client.place(*LIMIT)
    assert [o["status"] for o in client.cancel_all()] == ["CANCELED"] * 3


def test_a_cancel_that_is_not_confirmed_is_not_done(client, core):
    order = client.place(*LIMIT)
    core.behaviour = "hang"
    with pytest.raises(RequestUnknown, match="not confirmed") as failed:
        client.cancel(order["order_id"], timeout_s=0.2)
    assert failed.value.result[0]["status"] == "PENDING_CANCEL"


def test_an_order_that_is_not_there_is_exit_3(client):
    for ask in (lambda: client.order("nope"), lambda: client.cancel("nope")):
        with pytest.raises(RequestRefused, match="no order") as failed:
            ask()
        assert failed.value.exit_code == 3


def test_only_an_unknown_order_is_resolved_by_a_person(client, core):
    order = client.place(*LIMIT)
    with pytest.raises(RequestRefused, match="only an UNKNOWN"):
        client.request("order.resolve", order_id=order["order_id"], status="CANCELED", reason="x")
    core.orders[order["order_id"]]["status"] = "UNKNOWN"
    settled = client.request(
        "order.resolve", order_id=order["order_id"], status="CANCELED", reason="venue says so"
    )
    assert settled["status"] == "CANCELED"


def test_halt_and_resume_go_to_risk(client, core):
    receipt = client.halt("drill")
    assert receipt["gates"] == {"okx": True}
    address, message = core.told[-1]
    assert address == "risk_pnl"
    assert isinstance(message, Halt)
    assert message.level == "no_new"
    asked = {name: receipt[name] for name in ("command_id", "since_seq")}
    swept = client.request("risk.receipt", **asked)["venues"]
    assert [(row["venue"], row["proven"]) for row in swept] == [("binance", True), ("okx", True)]
    assert core.told[-1][0] == "persistence", "the receipt is journaled"
    assert client.status()["trading_state"] == "HALTED"
    assert client.resume("done")["halted"] is False


def test_a_question_the_core_does_not_answer_has_a_deadline(start_server, core, tmp_path):
    start_server(query_timeout_s=0.1)
    core.stuck_topics.add("pnl")
    with Client(tmp_path) as client:
        with pytest.raises(Unreachable, match="in time"):
            client.pnl()
        assert client.halt("the core is overloaded")["halted"] is True


def test_faults_are_for_demo_mode(start_server, tmp_path):
    start_server(core=SmallCore("live"))
    with Client(tmp_path) as client, pytest.raises(RequestRefused, match="demo mode"):
        client.request("fault.inject", kind="lost_reply", venue="okx")


def test_an_operation_that_fails_inside_leaves_the_server(client, core, monkeypatch):
    monkeypatch.setattr(core, "kill_actor", lambda name, who: 1 / 0)
    with pytest.raises(RequestRefused, match="failed inside"):
        client.request("actor.kill", name="risk_pnl")
    assert client.status()["mode"] == "demo"


# --- bad peers ------------------------------------------------------------------------------------

DEEP = b"\x91" * 5_000 + b"\x90"
BAD_BODIES = {
    "empty": struct.pack(">I", 0),
    "oversized": struct.pack(">I", 2**31),
    "not msgpack": struct.pack(">I", 3) + b"\xc1\xc1\xc1",
    "nested": struct.pack(">I", len(DEEP)) + DEEP,
    "huge array": struct.pack(">I", 5) + b"\xdd\xff\xff\xff\xff",
    "a list": struct.pack(">I", 3) + msgpack.packb([1, 2]),
    "no id": encode_frame({"op": "status"}),
    "id is a number": encode_frame({"id": 7, "op": "status"}),
    "more": encode_frame({"id": "1", "op": "status", "args": {}, "and": 1}),
    "NaN": encode_frame({"id": "1", "op": "status", "args": {"x": float("nan")}}),
}


@pytest.mark.parametrize("name", list(BAD_BODIES))
def test_a_bad_frame_costs_its_connection_only(client, tmp_path, name):
    with raw(tmp_path) as sock:
        sock.sendall(BAD_BODIES[name])
        last = ended(sock)[-1]
    assert last["error"]["code"] == "BAD_FRAME"
    assert client.status()["mode"] == "demo"


def test_a_frame_that_arrives_too_slowly_costs_its_connection(start_server, tmp_path):
    start_server(frame_deadline_s=0.1)
    with raw(tmp_path) as sock:
        sock.sendall(struct.pack(">I", 100) + b"slow")
        assert "in time" in ended(sock)[-1]["error"]["text"]
    with Client(tmp_path) as client:
        assert client.status()["mode"] == "demo"


def test_an_unknown_operation_is_answered_and_the_connection_lives(client):
    with pytest.raises(RequestRefused, match="no operation"):
        client.request("withdraw")
    assert client.status()["mode"] == "demo"


def test_a_thousand_idle_connections_do_not_lock_out_a_halt(start_server, tmp_path):
    start_server(connections_max=16)
    idle = [raw(tmp_path) for _ in range(300)]
    with Client(tmp_path) as client:
        assert client.halt("crowd")["halted"] is True
    assert len(list(Path("/proc/self/fd").iterdir())) < 300 + 16 + 100
    for sock in idle:
        sock.close()


def test_too_many_requests_in_flight_are_refused_but_a_halt_is_not(start_server, core, tmp_path):
    start_server(in_flight_max=4)
    core.behaviour = "hang"
    with raw(tmp_path) as sock:
        order = {"venue": "okx", "symbol": "BTC/USDT", "side": "buy", "quantity": "1", "price": "1"}
        for i in range(5):
            args = {**order, "timeout_s": 2}
            sock.sendall(encode_frame({"id": str(i), "op": "order.place", "args": args}))
        busy = read_frame(sock)
        assert (busy["id"], busy["error"]["code"]) == ("4", "BUSY")
        sock.sendall(encode_frame({"id": "h", "op": "risk.halt", "args": {"reason": "now"}}))
        assert read_frame(sock)["id"] == "h"


def test_a_client_that_dies_in_the_middle_is_forgotten(server, tmp_path, eventually):
    for i in range(20):
        sock = raw(tmp_path)
        sock.sendall(encode_frame({"id": "1", "op": "status"})[: 5 + i % 10])
        sock.close()
    eventually(lambda: not server._connections)


def test_a_reader_that_does_not_read_is_closed(start_server, core, tmp_path, eventually):
    server = start_server(write_deadline_s=0.2)
    sock = raw(tmp_path)
    sock.sendall(
        encode_frame({"id": "1", "op": "subscribe", "args": {"topics": ["order"], "after_seq": 0}})
    )
    with Client(tmp_path) as client:
        client.place(*LIMIT)
        order_id = next(iter(core.orders))
        for _ in range(3_000):
            core.fill(order_id, "0.0001")
        eventually(lambda: len(server._connections) == 1)
        assert client.status()["mode"] == "demo"
    sock.close()


# --- cancel on disconnect -------------------------------------------------------------------------


def test_what_a_connection_placed_is_cancelled_when_it_goes(server, core, tmp_path, eventually):
    keeper = Client(tmp_path)
    kept = keeper.place(*LIMIT)
    with Client(tmp_path) as client:
        client.cancel_on_disconnect()
        gone = client.place(*LIMIT)
    eventually(lambda: core.orders[gone["order_id"]]["status"] == "CANCELED")
    assert core.orders[kept["order_id"]]["status"] == "NEW"
    sweeps = [m for _, m in core.told if isinstance(m, CancelOrders)]
    assert [m.order_ids for m in sweeps] == [[gone["order_id"]]]
    keeper.close()


def test_a_frame_cannot_carry_what_is_not_plain():
    with pytest.raises(MessageError):
        encode_frame({"x": object()})
