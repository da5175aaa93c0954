import asyncio
import threading
from itertools import islice

import pytest

from engine.client import Client, Follower, RequestRefused
from engine.client_async import AsyncClient
from engine.errors import Unreachable

LIMIT = ("okx", "BTC/USDT", "buy", "0.1", "61000.5")


def test_a_subscription_begins_where_it_is_told(client, core):
    order = client.place(*LIMIT)
    core.fill(order["order_id"], "0.05")
    pushes = list(islice(client.subscribe(["fill"], after_seq=0), 1))
    assert pushes[0]["data"]["kind"] == "OrderFilled"
    assert pushes[0]["data"]["quantity"] == "0.05"
    assert pushes[0]["seq"] == 3


def test_a_subscription_resumes_without_loss_or_doubles(start_server, core, tmp_path):
    server = start_server()
    with Client(tmp_path) as client:
        order_id = client.place(*LIMIT)["order_id"]
    taken = []
    reader = threading.Thread(
        target=lambda: taken.extend(
            islice(Client(tmp_path).subscribe(["order", "fill"], after_seq=0), 2 + 2 * 40)
        ),
        daemon=True,
    )
    reader.start()
    for _ in range(4):
        for _ in range(10):
            core.fill(order_id, "0.001")
        server.stop()
        server = start_server()
    reader.join(15)
    assert not reader.is_alive()
    seqs = [p["seq"] for p in taken if p["push"] == "order"]
    fills = [p["seq"] for p in taken if p["push"] == "fill"]
    assert seqs == list(range(1, 43))
    assert fills == list(range(3, 43))


def test_a_push_that_arrives_with_the_answer_is_not_taken_for_a_hangup(client):
    client.place(*LIMIT)
    for _ in range(200):
        assert next(client.subscribe(["order"], after_seq=0))["seq"] == 1


def test_a_journal_that_cannot_be_read_ends_the_subscription_not_the_server(
    client, core, monkeypatch
):
    client.place(*LIMIT)
    core.events *= 2  # the server has only seen half of them
    monkeypatch.setattr(core, "events_after", lambda seq, count: 1 / 0)
    core.commit(core.events[0])
    with pytest.raises(Unreachable):
        next(client.subscribe(["order"], after_seq=0, reconnect=False))
    assert client.status()["mode"] == "demo"


def test_who_lags_behind_the_ring_reads_the_journal(start_server, core, tmp_path):
    start_server(ring_max=8)
    with Client(tmp_path) as client:
        order_id = client.place(*LIMIT)["order_id"]
        for _ in range(50):
            core.fill(order_id, "0.001")
        pushes = list(islice(client.subscribe(["fill"], after_seq=0), 50))
    assert [p["seq"] for p in pushes] == list(range(3, 53))
    assert core.journal_reads > 0


def test_books_are_pushed_when_they_change(client, core):
    pushes = client.subscribe(["bbo"], symbols=["BTC/USDT"])
    stop = threading.Event()

    def publish():
        at = 0
        while not stop.wait(0.005):
            at += 1
            core.publish(at=at, bid=6100050 + at)
            core.publish("ETH/USDT", at=at)

    source = threading.Thread(target=publish)
    source.start()
    rows = [p["data"] for p in islice(pushes, 3)]
    stop.set()
    source.join()
    assert {row["symbol"] for row in rows} == {"BTC/USDT"}
    assert rows[0]["bid"] < rows[1]["bid"] < rows[2]["bid"]
    assert rows[0]["bid_quantity"] == "1.5"


def test_a_subscription_beyond_the_journal_is_refused(client):
    with pytest.raises(RequestRefused, match="beyond"):
        next(client.subscribe(["fill"], after_seq=99))


def test_a_client_reconnects_when_the_core_is_back(start_server, tmp_path):
    server = start_server()
    client = Client(tmp_path)
    assert client.status()["mode"] == "demo"
    server.stop()
    with pytest.raises(Unreachable):
        client.status()
    start_server()
    assert client.status()["mode"] == "demo"
    client.close()


def test_without_reconnect_the_end_of_the_core_ends_the_subscription(start_server, tmp_path):
    server = start_server()
    pushes = Client(tmp_path).subscribe(["halt"], reconnect=False)
    threading.Timer(0.2, server.stop).start()
    with pytest.raises(Unreachable):
        next(pushes)


def test_a_record_of_two_topics_is_taken_once_each():
    follower = Follower(["order", "fill"], after_seq=4)
    order, fill = {"push": "order", "seq": 5}, {"push": "fill", "seq": 5}
    assert follower.takes(order)
    assert follower.arguments()["after_seq"] == 4
    assert not follower.takes(order)
    assert follower.takes(fill)
    assert not follower.takes(fill)


def test_the_async_client_does_the_same(server, core, tmp_path):
    async def story():
        async with AsyncClient(tmp_path) as client:
            await client.cancel_on_disconnect()
            placed = await asyncio.gather(*(client.place(*LIMIT) for _ in range(5)))
            assert len({o["order_id"] for o in placed}) == 5
            pushes = client.subscribe(["order"], after_seq=0)
            seqs = [(await anext(pushes))["seq"] for _ in range(10)]
            assert seqs == list(range(1, 11))
            await pushes.aclose()
            assert (await client.cancel(placed[0]["order_id"]))[0]["status"] == "CANCELED"
            with pytest.raises(RequestRefused):
                await client.order("nope")
            assert (await client.halt("x"))["halted"] is True

    asyncio.run(asyncio.wait_for(story(), 20))


def test_the_async_client_says_when_the_core_is_gone(start_server, tmp_path):
    server = start_server()

    async def story():
        async with AsyncClient(tmp_path) as client:
            await client.status()
            await asyncio.to_thread(server.stop)
            with pytest.raises(Unreachable):
                await client.status()

    asyncio.run(asyncio.wait_for(story(), 20))
