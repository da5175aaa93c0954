"""A venue on 127.0.0.1: sends one book tick per period and measures until the order that it caused.

Two WebSocket connections, as real venues have them: `/market` gets the ticks, on `/orders` come the
orders. The size of an order carries the number of its tick, so an order can never be taken for the
answer to another tick. The server runs in a process of its own and is the same for every client.
"""

import base64
import hashlib
import multiprocessing
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

HOST = "127.0.0.1"
SYMBOL, VENUE_SYMBOL = "BTC/USDT", "BTC-USDT"
T0_MS = 1_700_000_000_000
SIZE0 = 1_000  # the size of tick 0's order, in millionths
LEVELS = 4
SNAPSHOT_LEVELS = 200
context = multiprocessing.get_context("spawn")
_encode = msgspec.json.Encoder().encode


class Ticks(NamedTuple):
    """How many ticks there are and how far apart."""

    warm: int = 300
    paced: int = 1000
    period_s: float = 0.002


def frame(number: int) -> bytes:
    """Return the frame of tick `number` in the words of OKX; 0 is the snapshot."""
    levels = LEVELS if number else SNAPSHOT_LEVELS
    touch = (number % 3) * 0.1
    row = {
        "asks": [_row(64_250.1 + touch + i * 0.1, i) for i in range(levels)],
        "bids": [_row(64_249.0 + touch - i * 0.1, i) for i in range(levels)],
        "ts": str(T0_MS + number),
        "prevSeqId": number - 1,
        "seqId": number,
    }
    arg = {"channel": "books", "instId": VENUE_SYMBOL}
    return _encode({"arg": arg, "action": "update" if number else "snapshot", "data": [row]})


def _row(price: float, level: int) -> list[str]:
    return [f"{price:.1f}", f"{0.01 * level + 0.002:.8f}", "0", "1"]


def order_text(number: int, price: str) -> str:
    """Return the order that a client sends for tick `number`."""
    size = f"0.{SIZE0 + number:06d}"
    return order_json(str(number), price, size)


def order_json(client_id: str, price: str, size: str) -> str:
    """Return an order in the words of OKX."""
    return (
        f'{{"id":"{client_id}","op":"order","args":[{{"instId":"{VENUE_SYMBOL}","tdMode":"cash",'
        f'"side":"buy","ordType":"ioc","px":"{price}","sz":"{size}"}}]}}'
    )


# --- the server -----------------------------------------------------------------------------------


def serve(pipe: Any, ticks: Ticks) -> None:
    """Accept both connections, send the ticks, report the round trips in nanoseconds."""
    listener = listen()
    pipe.send(listener.getsockname()[1])
    links: dict[str, Link] = {}
    while len(links) < 2:
        link = accept(listener)
        links[link.path] = link
    market, orders = links["/market"], links["/orders"]
    open_market(market)
    accept(listener)  # whoever connects now, says that the client is ready
    times = [_tick(n, market, orders, ticks) for n in range(1, ticks.warm + ticks.paced + 1)]
    pipe.send(times[ticks.warm :])
    pipe.recv()  # stay until killed: the client is killed first and sees no closed connection


def _tick(number: int, market: "Link", orders: "Link", ticks: Ticks) -> int:
    sent = framed(frame(number))
    wanted = f'"sz":"0.{SIZE0 + number:06d}"'.encode()
    time.sleep(ticks.period_s)
    began = time.perf_counter_ns()
    market.socket.sendall(sent)
    while wanted not in orders.read():
        pass
    return time.perf_counter_ns() - began


def listen() -> socket.socket:
    """Return a listening socket on a port of its own."""
    listener = socket.socket()
    listener.bind((HOST, 0))
    listener.listen(2)
    return listener


def accept(listener: socket.socket) -> "Link":
    """Return the next connection, its handshake done."""
    connection, _ = listener.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Link(connection)


def open_market(market: "Link") -> None:
    """Answer the subscription, and send the snapshot."""
    market.read()
    market.write(_encode({"event": "subscribe", "arg": {"channel": "books"}}))
    market.write(frame(0))


def framed(payload: bytes) -> bytes:
    """Return a server's text frame."""
    size = len(payload)
    head = bytes([0x81, size]) if size < 126 else b"\x81\x7e" + struct.pack(">H", size)
    return head + payload


class Link:
    """One accepted connection: the handshake, then masked frames in, plain frames out."""

    def __init__(self, connection: socket.socket) -> None:
        """Do the handshake. Blocks."""
        self.socket = connection
        request = b""
        while b"\r\n\r\n" not in request:
            request += connection.recv(4096)
        self.path = request.split(b" ", 2)[1].decode()
        words = dict(line.split(b": ", 1) for line in request.split(b"\r\n")[1:] if b": " in line)
        key = next(v for k, v in words.items() if k.lower() == b"sec-websocket-key")
        magic = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key + magic).digest())
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Accept: " + accept + b"\r\n\r\n"
        )
        self.buffer = bytearray()

    def write(self, payload: bytes) -> None:
        """Send one text frame."""
        self.socket.sendall(framed(payload))

    def read(self) -> bytes:
        """Return the payload of the next frame. Raises EOFError when the client has gone."""
        buffer = self.buffer
        while True:
            if len(buffer) >= 2:
                size, at = buffer[1] & 127, 2
                if size == 126 and len(buffer) >= 4:
                    size, at = struct.unpack(">H", buffer[2:4])[0], 4
                if (at == 4 or size < 126) and len(buffer) >= at + 4 + size:
                    mask, data = buffer[at : at + 4], buffer[at + 4 : at + 4 + size]
                    del buffer[: at + 4 + size]
                    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
                    return (int.from_bytes(data, "big") ^ key).to_bytes(size, "big")
            received = self.socket.recv(65_536)
            if not received:
                raise EOFError("the client has gone")
            buffer += received


# --- one measurement ------------------------------------------------------------------------------


def measure(client: Callable[[int], None], ticks: Ticks, deadline_s: float = 60.0) -> list[int]:
    """Run the server and one client, each in a process of its own; return the round trips."""
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, ticks), daemon=True)
    server.start()
    port = ours.recv()
    child = context.Process(target=client, args=(port,), daemon=True)
    child.start()
    try:
        if not ours.poll(deadline_s):
            raise TimeoutError(f"{client.__name__}: no result within {deadline_s:g} s")
        return list(ours.recv())
    finally:
        for process in (child, server):
            process.terminate()
            process.join()
