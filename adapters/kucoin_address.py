"""KuCoin's addresses of its streams, which REST gives for each connection anew, with a token. Pure.

https://www.kucoin.com/docs-new/websocket-api/base-info/introduction: POST bullet-public or
bullet-private. The private token is the login of its connection: its address must never be logged.
"""

# ruff: noqa: N815  (the fields carry the names of the venue)

from typing import Any

import msgspec

from adapters.codec import BadReply, RestCall
from adapters.wire import read


class _Server(msgspec.Struct):
    endpoint: str


class _Bullet(msgspec.Struct):
    token: str
    instanceServers: list[_Server]


def ask(kind: str) -> RestCall:
    """Describe the call for the address of `public_ws` or `private_ws`."""
    if kind == "private_ws":
        return RestCall("privatePostBulletPrivate", {}, {"spot": 10})
    return RestCall("publicPostBulletPublic", {}, {"public": 10})


def read_address(reply: Any, connect_id: str) -> str:
    """Return the address to connect to, token included.

    {"code":"200000","data":{"token":"2neAiu..","instanceServers":[{"endpoint":
     "wss://ws-api-spot.kucoin.com/","pingInterval":18000,"pingTimeout":10000,..}]}}
    """
    bullet = read(reply.get("data") if isinstance(reply, dict) else None, _Bullet)
    if not bullet.instanceServers or not bullet.token:
        raise BadReply("no server or no token for the stream")
    endpoint = bullet.instanceServers[0].endpoint
    return f"{endpoint}?token={bullet.token}&connectId={connect_id}"
