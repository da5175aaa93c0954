"""Identifiers as pure functions of their cause, so that a redelivery carries the same ones.

A client_order_id is 32 lower-case hex characters, which every venue accepts: the mark `ce`, six
characters that stand for the instance, 24 (96 bits) that hash instance, command and leg. The mark
and the tag let an instance recognise a sibling's orders on the same account and keep off them.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final, Protocol

from ulid import ULID

MESSAGE_ID_MAX: Final = 64
MARK: Final = "ce"
# BTC, or a contract of a dealer, UNDERLYING.KIND.PARAMETER, the underlying as the venue writes it.
ASSET_PATTERN: Final = r"[A-Z0-9]{1,20}|[A-Za-z0-9_]{1,20}\.[A-Z]{1,20}\.[0-9]{1,5}"
SYMBOL_PATTERN: Final = rf"({ASSET_PATTERN})/[A-Z0-9]{{1,20}}"
_OURS: Final = re.compile(r"ce[0-9a-f]{30}")


class Ids(Protocol):
    """Where the edges get fresh command ids; nothing else in the core may invent an id."""

    def command_id(self) -> str:
        """Return an id that no other command has."""
        ...


class UlidIds:
    """Fresh, time-ordered command ids for real use."""

    def command_id(self) -> str:
        """Return a ULID."""
        return str(ULID())


def message_id(cause_id: str, index: int | str) -> str:
    """Return the id of the `index`-th message that the handler of `cause_id` sends.

    A message has one recipient, so its id and a number are enough. No id from outside contains a
    slash, so two of these are equal only if cause and index are; a long one becomes a new root.
    """
    new_id = f"{cause_id}/{index}"
    if len(new_id) <= MESSAGE_ID_MAX:
        return new_id
    return blake2b(new_id.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=16)
def instance_tag(instance: str) -> str:
    """Return the six hex characters that mark this instance's orders."""
    return blake2b(instance.encode(), digest_size=3).hexdigest()


def client_order_id(instance: str, command_id: str, leg: int = 0) -> str:
    """Return the id of leg `leg` of a command: the same for the same command, for ever."""
    digest = blake2b(f"{instance}|{command_id}|{leg}".encode(), digest_size=12).hexdigest()
    return MARK + instance_tag(instance) + digest


def parent_order_id(instance: str, command_id: str) -> str:
    """Return the id of a split order; never sent to a venue."""
    digest = blake2b(f"{instance}|{command_id}|parent".encode(), digest_size=12).hexdigest()
    return "pa" + instance_tag(instance) + digest


def is_ours(client_id: str, instance: str) -> bool:
    """Tell whether this instance minted `client_id`."""
    return _OURS.fullmatch(client_id) is not None and client_id[2:8] == instance_tag(instance)


def is_sibling(client_id: str, instance: str) -> bool:
    """Tell whether another instance of this program minted `client_id`; such orders are not touched."""
    return _OURS.fullmatch(client_id) is not None and client_id[2:8] != instance_tag(instance)
