"""Events of the engine itself: runs, what people told it, what was set aside, swept, or did not agree."""

from decimal import Decimal
from typing import Literal

from engine.messages.base import Event, Id, KeptBytes, Name, Text, TsNs


class EngineStarted(Event, frozen=True, array_like=True, tag=True):
    """A run began: version, mode and configuration hash."""

    version: Name
    mode: Name
    instance: Name
    config_hash: Name
    ts_ns: TsNs


class EngineStopped(Event, frozen=True, array_like=True, tag=True):
    """A run ended in order."""

    reason: Text
    ts_ns: TsNs


class MessageParked(Event, frozen=True, array_like=True, tag=True):
    """A message crashed its actor too often, or cannot be read, and was set aside.

    `envelope` is the whole message, empty where it was too large. Early records end at `ts_ns`.
    """

    actor: Name
    message_id: Id
    kind: Name
    order_id: Id
    error: Text
    ts_ns: TsNs
    symbol: Name = ""
    attempts: int = 0
    traceback: Text = ""
    envelope: KeptBytes = b""

    def unique_key(self) -> str:
        """Each time that it is set aside is one record; the journal finds them by this key."""
        return f"parked:{self.message_id}:{self.attempts}"


class MessageSettled(Event, frozen=True, array_like=True, tag=True):
    """A parked message's end. APPLIED is journaled together with what its retry decided."""

    actor: Name
    message_id: Id
    outcome: Literal["APPLIED", "DISCARDED"]
    who: Text
    reason: Text
    ts_ns: TsNs

    def unique_key(self) -> str:
        """Once per message, for ever."""
        return f"settled:{self.message_id}"


class CommandRecorded(Event, frozen=True, array_like=True, tag=True):
    """Who told the core to do what, for the audit: commands that leave no order event of their own."""

    command_id: Id
    what: Name
    arguments: Text
    who: Text
    ts_ns: TsNs


class VenueSwept(Event, frozen=True, array_like=True, tag=True):
    """A sweep of one venue's open orders: what it found, did and proved.

    Of a halt, or (`by` panic) of `xcore panic`, imported by the first core after it. `filled` is what
    was executed meanwhile, per order; `unknown` what may still be open; `left` others' orders there,
    which were not touched. `proven`: the venue itself told of no open order of ours. Of more than
    1,000 of a kind the first are named.
    """

    request_id: Id
    by: Literal["halt", "panic"]
    venue: Name
    account: Name
    who: Text
    canceled: list[Id]
    filled: list[tuple[Id, Decimal]]
    unknown: list[Id]
    left: list[Name]
    proven: bool
    problem: Text
    ts_ns: TsNs

    def unique_key(self) -> str:
        """One record per request and venue: a receipt that is imported twice is journaled once."""
        return f"swept:{self.request_id}:{self.venue}"


class FeeDifferenceFound(Event, frozen=True, array_like=True, tag=True):
    """A fill was charged another fee than the account's rate says; `expected` is in `fee_asset`."""

    account: Name
    venue: Name
    symbol: Name
    venue_order_id: Name
    trade_id: Name
    rate: Decimal
    expected: Decimal
    charged: Decimal
    fee_asset: Name
    reason: Text
    ts_ns: TsNs

    def unique_key(self) -> str:
        """Once per fill."""
        return f"fee:{self.account}|{self.symbol}|{self.venue_order_id}|{self.trade_id}"
