"""Kraken spot, what belongs to a session: the token of the private streams, the dead man's switch. Pure.

https://docs.kraken.com/api/docs/rest-api/get-websockets-token, .../cancel-all-orders-after.
"""

from typing import Any

from adapters.codec import BadReply, Codec, RestCall
from adapters.kraken import KrakenCodec
from adapters.wire import at, read


def ask_token() -> RestCall:
    """Describe the call for the token that opens the private streams; it lasts fifteen minutes."""
    return RestCall("privatePostGetWebSocketsToken", {}, {"counter": 1})


def read_token(reply: Any) -> str:
    """{"result":{"token":"1Dwc4lzSwNWOAwkMdqhssNNFhs1ed606d1WcF3XfEMw","expires":900}}."""
    token: str = read(at(reply, "result", "token"), str)
    if not token:
        raise BadReply("an empty token")
    return token


def cancel_all_after(seconds: int) -> RestCall:
    """Describe CancelAllOrdersAfter: all of the account's orders go after so many seconds, 0: never."""
    params = {"timeout": str(seconds)}
    return RestCall("privatePostCancelAllOrdersAfter", params, {"counter": 1})


def take_token(codec: Codec, reply: Any) -> None:
    """Give the codec the token that its next login shows."""
    assert isinstance(codec, KrakenCodec), "the two halves of one dialect"
    codec.admit(read_token(reply))
