"""The socket that many threads write to: a frame leaves whole at once, or the connection is cut."""

import socket
import ssl
import threading

import pytest

from adapters.shared_socket import SharedSocket

WAIT_S = 0.05
MANY = 400


def plain_pair():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        return ours, server.accept()[0]


# TLS without a certificate: both sides agree not to ask who the other is.
def tls_pair():
    def context(protocol):
        made = ssl.SSLContext(protocol)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.maximum_version = ssl.TLSVersion.TLSv1_2
        made.set_ciphers("AECDH-AES256-SHA:@SECLEVEL=0")
        return made

    left, right = plain_pair()
    server = []

    def accept():
        server.append(context(ssl.PROTOCOL_TLS_SERVER).wrap_socket(right, server_side=True))

    thread = threading.Thread(target=accept)
    thread.start()
    client = context(ssl.PROTOCOL_TLS_CLIENT).wrap_socket(left)
    thread.join()
    return client, server[0]


@pytest.fixture(params=[plain_pair, tls_pair], ids=["plain", "tls"])
def pair(request):
    ours, theirs = request.param()
    shared = SharedSocket(ours, threading.RLock(), WAIT_S)
    yield shared, theirs
    shared.close()
    theirs.close()


def read_all(sock):
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def test_what_is_sent_arrives_and_what_comes_is_read_in_small_parts(pair):
    shared, theirs = pair
    assert shared.send(b"hello") == 5
    assert theirs.recv(10) == b"hello"
    theirs.sendall(b"0123456789")
    assert [shared.recv(4), shared.recv(4), shared.recv(4)] == [b"0123", b"4567", b"89"]


def test_reading_waits_a_little_and_says_that_nothing_came(pair):
    shared, _ = pair
    with pytest.raises(TimeoutError):
        shared.recv(10)
    assert shared.is_open


def test_nothing_is_read_while_somebody_else_holds_the_lock(pair):
    shared, theirs = pair
    theirs.sendall(b"x")
    got = threading.Event()
    reader = threading.Thread(target=lambda: shared.recv(1) and got.set(), daemon=True)
    with shared._lock:
        reader.start()
        assert not got.wait(0.3)
    assert got.wait(5)


def test_the_other_sides_end_closes_ours_for_sending(pair):
    shared, theirs = pair
    theirs.shutdown(socket.SHUT_RDWR)
    assert shared.recv(10) == b""
    assert not shared.is_open
    with pytest.raises(ConnectionError, match="has ended"):
        shared.send(b"x")


def test_a_socket_that_takes_no_more_is_cut_and_nothing_is_left_to_send(pair):
    shared, theirs = pair
    frame = b"f" * 50_000
    taken = []

    def fill():
        while True:
            taken.append(shared.send(frame))

    with pytest.raises(ConnectionError, match="of 50000 bytes"):
        fill()
    assert not shared.is_open
    assert shared.recv(10) == b""  # the reader sees the end at once
    with pytest.raises(ConnectionError, match="has ended"):
        shared.send(frame)
    # Only what was sent whole, and at most a part of the frame that failed, ever arrives.
    try:
        arrived = read_all(theirs)
    except (ConnectionError, ssl.SSLError):
        return
    assert sum(taken) <= len(arrived) < sum(taken) + len(frame)


def test_many_threads_write_while_one_reads_and_no_frame_is_torn(pair):
    shared, theirs = pair
    echoed, got = [], bytearray()
    on_the_way = threading.Semaphore(20)  # more would fill the socket, which cuts it

    def echo():
        while len(echoed) < MANY * 4 * 64:
            part = theirs.recv(4096)
            echoed.extend(part)
            theirs.sendall(part)

    def read():
        while len(got) < MANY * 4 * 64:
            before = len(got) // 64
            try:
                got.extend(shared.recv(100))
            except TimeoutError:
                continue
            for _ in range(len(got) // 64 - before):
                on_the_way.release()

    def write(letter):
        for _ in range(MANY):
            on_the_way.acquire()
            shared.send(letter * 63 + b"\n")

    threads = [threading.Thread(target=run, daemon=True) for run in (echo, read)]
    threads += [
        threading.Thread(target=write, args=(letter,), daemon=True)
        for letter in (b"a", b"b", b"c", b"d")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    lines = bytes(got).splitlines()
    assert len(lines) == MANY * 4
    assert all(len(line) == 63 and len(set(line)) == 1 for line in lines)
