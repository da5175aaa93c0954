import socket
from contextlib import suppress

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import MessageError
from engine.frames import decode_body, encode_frame, frame_length, read_frame

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_map_or_a_message_error(body):
    with suppress(MessageError):
        assert isinstance(decode_body(body), dict)


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.text(max_size=8), PLAIN, max_size=4))
def test_plain_data_comes_back_as_it_went(value):
    assert decode_body(encode_frame(value)[4:]) == value


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_any_stream_ends_in_a_frame_an_end_or_a_message_error(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(data)
        theirs.shutdown(socket.SHUT_WR)
        with suppress(MessageError):
            while read_frame(ours) is not None:
                continue


@pytest.mark.parametrize(
    "value",
    [
        {"a": float("inf")},
        {"a": msgpack.Timestamp(1)},
        {"a": msgpack.ExtType(5, b"")},
        {"a": b"bytes"},
        {1: "key"},
        ["list"],
    ],
)
def test_what_is_not_plain_is_refused(value):
    with pytest.raises(MessageError):
        decode_body(msgpack.packb(value))


def test_a_key_twice_is_refused():
    with pytest.raises(MessageError, match="twice"):
        decode_body(b"\x82\xa1a\x01\xa1a\x02")


def test_depth_is_bounded_below_what_the_decoder_stands():
    deep = {"a": [[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]}
    with pytest.raises(MessageError, match="deeper"):
        decode_body(msgpack.packb(deep))


@pytest.mark.parametrize("header", [b"\x00\x00\x00\x00", b"\xff\xff\xff\xff"])
def test_a_length_out_of_bounds_is_refused(header):
    with pytest.raises(MessageError, match="announced"):
        frame_length(header, 1_024)
