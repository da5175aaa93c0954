"""The trading rules of a running session: read again and again, changed only by what is whole. Pure.

A listing that could not be read changes nothing. One that misses every symbol we trade is not whole.
A symbol that whole listings have missed `MISSES` times in a row is DELISTED. Over what the venue lists
stand what it announces for all of itself, and the operator's windows of maintenance.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from adapters.codec import RestCall
from engine.maintenance import Window, open_window
from engine.messages.base import replaced
from engine.messages.port import Instrument, SymbolStatus

MISSES: Final = 3


class Announced(NamedTuple):
    """What a venue says of itself as a whole."""

    status: SymbolStatus
    reason: str


NOTHING: Final = Announced("TRADING", "")


class Announcement(NamedTuple):
    """Where a venue announces that it does not trade, and how that is read."""

    call: RestCall
    read: Callable[[Any], Announced]


class Rules:
    """The rules of a session's symbols, in the order of the configuration."""

    def __init__(self, listed: Sequence[Instrument], windows: Sequence[Window]) -> None:
        self._listed = {instrument.symbol: instrument for instrument in listed}
        self._windows = windows
        self._missed: Counter[str] = Counter()
        self._announced = NOTHING

    def take_listing(self, listing: Sequence[Instrument]) -> None:
        """Take a listing that was read as a whole. The account's own fees stay as they are known."""
        found = {instrument.symbol: instrument for instrument in listing}
        if not found.keys() & self._listed.keys():
            return
        for symbol, held in self._listed.items():
            told = found.get(symbol)
            if told is not None:
                self._missed[symbol] = 0
                self._listed[symbol] = _with_fees_of(told, held)
                continue
            self._missed[symbol] += 1
            if self._missed[symbol] >= MISSES:
                reason = "the venue does not list it any more"
                self._listed[symbol] = replaced(held, status="DELISTED", status_reason=reason)

    def fees_wanted(self) -> list[Instrument]:
        """Return the symbols whose fees are to be read."""
        return list(self._listed.values())

    def take_fees(self, told: Sequence[Instrument]) -> None:
        """Take fee rates that were read anew; of a symbol that none were told of, what was known stays."""
        for rule in told:
            held = self._listed.get(rule.symbol)
            if held is not None:
                self._listed[rule.symbol] = _with_fees_of(held, rule)

    def take_announcement(self, announced: Announced) -> None:
        """Take what the venue announces."""
        self._announced = announced

    def now(self, wall_ns: int) -> list[Instrument]:
        """Return each symbol's rules as they hold at this time."""
        window = open_window(self._windows, wall_ns)
        status, reason = self._announced
        if window:
            status, reason = "MAINTENANCE", window
        listed = list(self._listed.values())
        if status == "TRADING":
            return listed
        return [
            replaced(rule, status=status, status_reason=reason)
            if rule.status == "TRADING"
            else rule
            for rule in listed
        ]


# --- what the venues announce ---------------------------------------------------------------------


# {"code":"0","data":[{"title":"Spot System Upgrade","state":"ongoing","serviceType":"1",
#  "end":"1620724200000",..}]}: 0 is its WebSocket, 1 trading. https://www.okx.com/docs-v5/en/#status
def _okx(reply: Any) -> Announced:
    for row in reply["data"]:
        if row["state"] == "ongoing" and row["serviceType"] in ("0", "1"):
            return Announced("MAINTENANCE", f"announced: {row['title']}"[:200])
    return NOTHING


_KRAKEN: Final[Mapping[str, SymbolStatus]] = {
    "online": "TRADING", "maintenance": "MAINTENANCE", "cancel_only": "CANCEL_ONLY",
    "post_only": "TRADING", "limit_only": "TRADING",
}  # fmt: skip


# {"error":[],"result":{"status":"online","timestamp":"2023-07-06T18:52:00Z"}}
# https://docs.kraken.com/api/docs/rest-api/get-system-status
def _kraken(reply: Any) -> Announced:
    told = reply["result"]["status"]
    status = _KRAKEN[told]
    return NOTHING if status == "TRADING" else Announced(status, f"announced: {told}")


_KUCOIN: Final[Mapping[str, SymbolStatus]] = {
    "open": "TRADING", "close": "MAINTENANCE", "cancelonly": "CANCEL_ONLY",
}  # fmt: skip


# {"code":"200000","data":{"status":"open","msg":"upgrade match engine"}}
# https://www.kucoin.com/docs-new/rest/spot-trading/market-data/get-service-status
def _kucoin(reply: Any) -> Announced:
    status = _KUCOIN[reply["data"]["status"]]
    if status == "TRADING":
        return NOTHING
    return Announced(status, f"announced: {reply['data'].get('msg') or status}"[:200])


OKX: Final = Announcement(RestCall("publicGetSystemStatus", {}, {"public": 1}), _okx)
KRAKEN: Final = Announcement(RestCall("publicGetSystemStatus", {}, {"public": 1}), _kraken)
KUCOIN: Final = Announcement(RestCall("publicGetStatus", {}, {"public": 3}), _kucoin)


def _with_fees_of(rule: Instrument, other: Instrument) -> Instrument:
    return replaced(
        rule,
        maker_fee=other.maker_fee,
        taker_fee=other.taker_fee,
        fee_source=other.fee_source,
        fee_ts_ns=other.fee_ts_ns,
    )
