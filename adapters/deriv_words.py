"""Deriv's two JSON dialects, pure: requests as plain maps, answers as checked parts.

The New API (2026) and v3 say the same with other field names; `Words` is the one place that knows
which. Replies are read tolerantly: either name of a field is taken, and a number as a number or as
text, for the New API sends both. Numbers become Decimal from the bytes on, and leave as JSON numbers,
which `buy` insists on. Nothing here opens, waits or reads a clock.

https://developers.deriv.com/docs , https://developers.deriv.com/migration , and for v3
https://github.com/binary-com/websockets (config/v3). Shapes of the examples are those of Deriv's own
mocks and schemas.
"""

from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

import msgspec

from adapters.codec import FRAME_BYTES_MAX, Problem
from adapters.wire import MALFORMED, head

Dialect = Literal["new", "v3"]
Json = dict[str, Any]
DIALECTS: Final[tuple[Dialect, ...]] = ("new", "v3")
STATEMENT_LIMIT: Final = 500
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)
_encoder: Final = msgspec.json.Encoder(decimal_format="number")


class DerivError(NamedTuple):
    """The venue's error: {"error": {"code": "PriceMoved", "message": "..."}, "echo_req": ...}."""

    code: str
    message: str


def encode(message: Json) -> str:
    """Return a request as text; Decimals as JSON numbers."""
    return _encoder.encode(message).decode()


def decode(raw: bytes) -> Json | Problem:
    """Return a frame as a map, or the Problem with it."""
    if len(raw) > FRAME_BYTES_MAX:
        return Problem("huge", f"{len(raw)} bytes")
    try:
        message = _decoder.decode(raw)
    except MALFORMED as error:
        return Problem("malformed", f"{str(error)[:160]} in {head(raw)!r}")
    if not isinstance(message, dict):
        return Problem("malformed", f"no object: {head(raw)!r}")
    return message


def error_of(message: Json) -> DerivError | None:
    """Return the error that an answer carries, or None."""
    error = message.get("error")
    if error is None:
        return None
    if not isinstance(error, dict):
        return DerivError("WrongResponse", "an error that is no object")
    return DerivError(str(error.get("code", ""))[:64], str(error.get("message", ""))[:300])


class Words:
    """The requests of one dialect. The same call, the other dialect's names."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._underlying = "symbol" if dialect == "v3" else "underlying_symbol"

    def proposal(
        self, kind: str, underlying: str, multiplier: int, stake: Decimal, currency: str
    ) -> Json:
        """Ask for the price of one contract."""
        return {
            "proposal": 1,
            "amount": stake,
            "basis": "stake",
            "contract_type": kind,
            "currency": currency,
            self._underlying: underlying,
            "multiplier": multiplier,
        }

    def buy(self, quote_id: str, price_max: Decimal, name: str) -> Json:
        """Take a quote at no more than a price; `name` comes back in echo_req on this connection."""
        return {"buy": quote_id, "price": price_max, "passthrough": {"order": name}}

    def sell(self, contract_id: int, price_min: Decimal, name: str) -> Json:
        """Sell one contract for no less than a price."""
        return {"sell": contract_id, "price": price_min, "passthrough": {"order": name}}

    def statement(self, since_s: int, offset: int, side: str | None) -> Json:
        """Ask for the movements since a time, newest first, one page."""
        message: Json = {
            "statement": 1, "description": 1, "limit": STATEMENT_LIMIT, "offset": offset,
            "date_from": since_s,
        }  # fmt: skip
        if side is not None:
            message["action_type"] = side.lower()
        return message

    def profit_table(self, limit: int, offset: int) -> Json:
        """Ask for the closed contracts, newest first."""
        return {
            "profit_table": 1, "description": 1, "limit": limit, "offset": offset, "sort": "DESC",
        }  # fmt: skip

    def active_symbols(self) -> Json:
        """Ask what there is to trade on, and whether its market is open."""
        message: Json = {"active_symbols": "brief"}
        return message | {"product_type": "basic"} if self.dialect == "v3" else message

    def contracts_for(self, underlying: str) -> Json:
        """Ask which contracts there are on an underlying."""
        return {"contracts_for": underlying}

    def contract(self, contract_id: int | None, *, subscribe: bool) -> Json:
        """Ask for one contract's state, or with None for that of all open ones.

        `subscribe` 0 is refused as "not in enum list", so it is left out.
        """
        message: Json = {"proposal_open_contract": 1}
        if contract_id is not None:
            message["contract_id"] = contract_id
        return message | {"subscribe": 1} if subscribe else message
