"""Messages survive the wire exactly, plain msgpack reads them, and nonsense is refused by name."""

from decimal import Decimal

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.envelope import (
    ENVELOPE_MAX_BYTES,
    EVENT_KINDS,
    KINDS,
    SCHEMA,
    Envelope,
    decode_body,
    decode_event,
    decode_header,
    encode,
    encode_body,
    to_plain,
)
from engine.errors import MessageError
from engine.ids import client_order_id, instance_tag, is_ours, is_sibling, message_id
from engine.messages import Append, Committed, OrderApproved, OrderFilled, OrderSpec, Tick


def spec(**changes):
    order_id = client_order_id("desk-1", "c1")
    fields = {
        "order_id": order_id, "command_id": "c1", "client_order_id": order_id, "parent_id": None,
        "account": "okx.main", "venue": "okx", "symbol": "BTC/USDT", "side": "BUY",
        "order_type": "LIMIT", "time_in_force": "GTC", "post_only": False,
        "quantity": Decimal("0.1"), "price": Decimal("50000.12"), "origin": "COMMAND",
        "who": "uid:0", "ts_created_ns": 1,
    }  # fmt: skip
    return OrderSpec(**(fields | changes))


def approval():
    return OrderApproved(spec(), 1, 2, "ok")


def test_a_message_comes_back_equal_and_exact():
    message = Append([approval()])
    assert decode_body("Append", encode_body(message)) == message


def test_plain_msgpack_reads_the_same_bytes():
    assert msgpack.unpackb(encode_body(Committed(7, approval())))[:2] == [
        "Committed",
        7,
    ]


def test_what_plain_msgpack_writes_is_read_as_the_typed_message():
    data = msgpack.packb(["Tick", "query", "abc"])
    assert decode_body("Tick", data) == Tick("query", "abc")


def test_an_envelope_keeps_its_body_encoded_until_asked():
    body = encode_body(Tick("a", "b"))
    data = encode(Envelope(SCHEMA, 3, "m", "c", "r", "s", "t", 1, 2, "Tick", msgspec.Raw(body)))
    header = decode_header(data)
    assert (header.seq, header.kind, bytes(header.body)) == (3, "Tick", body)
    assert msgpack.unpackb(data)[9] == "Tick"


def test_every_message_has_its_name_and_says_what_it_is():
    assert all(cls.__name__ == kind and cls.__doc__ for kind, cls in KINDS.items())
    assert set(EVENT_KINDS) <= set(KINDS)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "9" * 60, "abc", ""])
def test_a_number_that_money_cannot_be_is_refused_by_name(text):
    bad = encode_body(Append([approval()])).replace(msgpack.packb("50000.12"), msgpack.packb(text))
    with pytest.raises(MessageError, match="Append"):
        decode_body("Append", bad)


def test_nan_is_refused_when_a_message_is_made_too():
    with pytest.raises(ValueError, match="price"):
        spec(price=Decimal("NaN"))


def test_an_unknown_kind_is_a_typed_error():
    with pytest.raises(MessageError, match="Nonsense"):
        decode_body("Nonsense", b"\x90")
    with pytest.raises(MessageError, match="no event"):
        decode_event("Tick", b"\x90")


def test_over_long_text_and_over_large_envelopes_are_refused():
    with pytest.raises(MessageError, match="Tick"):
        decode_body("Tick", msgpack.packb(["Tick", "x" * 65, ""]))
    with pytest.raises(MessageError, match="bytes"):
        decode_header(b"\x00" * (ENVELOPE_MAX_BYTES + 1))


def test_another_schema_is_refused():
    data = msgpack.packb([2, 0, "m", "c", "r", "s", "t", 1, 2, "Tick", ["Tick", "a", ""]])
    with pytest.raises(MessageError, match="schema 2"):
        decode_header(data)


@given(st.binary(max_size=400))
def test_arbitrary_bytes_never_raise_anything_but_a_message_error(data):
    for kind in ("Append", "OrderFilled", "VenueBook"):
        try:
            decode_body(kind, data)
        except MessageError:
            continue
    try:
        decode_header(data)
    except MessageError:
        return


@given(st.data())
def test_a_flipped_byte_is_an_error_or_another_valid_message(data):
    original = bytearray(encode_body(Append([approval()])))
    index = data.draw(st.integers(0, len(original) - 1))
    original[index] ^= data.draw(st.integers(1, 255))
    try:
        decode_body("Append", bytes(original))
    except MessageError:
        return


def test_plain_data_has_money_as_text():
    fill = OrderFilled(
        "o", "a", "v", "BTC/USDT", "BUY", Decimal("1.50"), Decimal(2), Decimal(0), "USDT",
        "TAKER", "1", "2", "stream", 0,
    )  # fmt: skip
    assert to_plain(fill)["price"] == "1.50"
    assert to_plain(fill)["kind"] == "OrderFilled"


def test_ids_are_functions_of_their_cause():
    one = client_order_id("desk-1", "cmd", 0)
    assert one == client_order_id("desk-1", "cmd", 0)
    assert len(one) == 32
    assert one.isalnum()
    assert one == one.lower()
    assert one[2:8] == instance_tag("desk-1")
    assert (
        len({client_order_id("desk-1", f"c{i}", leg) for i in range(5000) for leg in (0, 1)})
        == 10_000
    )


def test_message_ids_are_functions_of_their_cause_and_stay_short():
    def chain(root: str, indices: list[int]) -> str:
        for index in indices:
            root = message_id(root, index)
        return root

    assert chain("a", [1, 2]) == chain("a", [1, 2])
    ids = [chain(root, [i, j]) for root in ("a", "b") for i in range(30) for j in range(30)]
    assert len(set(ids)) == len(ids)
    long = [chain("run.sender.1", [3] * depth) for depth in range(200)]
    assert len(set(long)) == len(long)
    assert max(len(new_id) for new_id in long) <= 64


def test_a_siblings_order_is_recognised_and_a_strangers_is_not():
    assert is_ours(client_order_id("desk-1", "c"), "desk-1")
    assert is_sibling(client_order_id("desk-2", "c"), "desk-1")
    assert not is_sibling("0" * 32, "desk-1")
    assert not is_ours("my-own-order", "desk-1")
