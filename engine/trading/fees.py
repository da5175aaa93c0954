"""Each fill's fee against the account's rate. Pure; a difference is named, never absorbed.

The ledger counts what was charged. This only says whether that is what the rate says: another tier, a
discount, or a rate that we never learned shows here before it shows in the PnL.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, NamedTuple

from engine.messages.engine_events import FeeDifferenceFound
from engine.messages.events import OrderFilled
from engine.messages.port import Instrument
from engine.trading.money import exact, for_message, plain, plain_or_none, ratio

# Venues cut fees to eight places, some to fewer of a cheap asset; a tier is further off than this.
STEP: Final = Decimal("0.00000001")
SHARE: Final = Decimal("0.01")


class FeeCheck(NamedTuple):
    """What a fee should have been, in its asset; `expected` is None in an asset of neither side."""

    rate: Decimal
    expected: Decimal | None
    agrees: bool


@exact
def check_fee(fill: OrderFilled, rule: Instrument) -> FeeCheck:
    """Return whether a fill was charged as its instrument's rates say; a rebate is a negative fee."""
    rate = rule.maker_fee if fill.liquidity == "MAKER" else rule.taker_fee
    if fill.fee_asset == rule.quote:
        expected = fill.price * fill.quantity * rate
    elif fill.fee_asset == rule.base:
        expected = fill.quantity * rate
    else:
        return FeeCheck(rate, None, agrees=fill.fee == 0)
    room = STEP + abs(expected) * SHARE
    return FeeCheck(rate, expected, agrees=abs(fill.fee - expected) <= room)


@dataclass
class _Seen:
    checked: int = 0
    differing: int = 0
    other_asset: int = 0
    last: FeeDifferenceFound | None = None


class FeeWatch:
    """Counts checked fills of each account and symbol. In memory: the differences are journaled."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._named: dict[tuple[str, str, str], Decimal | None] = {}

    def take(self, fill: OrderFilled, rule: Instrument, now_ns: int) -> FeeDifferenceFound | None:
        """Return the difference of a fill; a standing one is told once, until its rate changes."""
        check = check_fee(fill, rule)
        seen = self._seen.setdefault((fill.account, fill.symbol), _Seen())
        seen.checked += 1
        seen.other_asset += check.expected is None
        key = (fill.account, fill.symbol, fill.liquidity)
        if check.agrees:
            self._named.pop(key, None)
            return None
        seen.differing += 1
        charged = _charged_rate(fill, check)
        seen.last = _difference(fill, rule, check, now_ns)
        if key in self._named and self._named[key] == charged:
            return None
        self._named[key] = charged
        return seen.last

    def rows(self) -> list[dict[str, Any]]:
        """Return a plain row an account and symbol."""
        return [
            {
                "account": account,
                "symbol": symbol,
                "checked": seen.checked,
                "differing": seen.differing,
                "other_asset": seen.other_asset,
                "last": "" if seen.last is None else _words(seen.last),
            }
            for (account, symbol), seen in sorted(self._seen.items())
        ]


# To four digits: the same tier, whatever was cut off.
def _charged_rate(fill: OrderFilled, check: FeeCheck) -> Decimal | None:
    share = ratio(fill.fee * check.rate, check.expected) if check.expected else None
    return None if share is None else Decimal(f"{share:.4g}")


def _difference(
    fill: OrderFilled, rule: Instrument, check: FeeCheck, now_ns: int
) -> FeeDifferenceFound:
    kind = fill.liquidity.lower()
    if check.expected is None:
        reason = (
            f"charged in {fill.fee_asset}: a discount token, which no rate in {rule.quote} foresees"
        )
    elif rule.fee_source == "default":
        reason = f"the {kind} rate is our default: {rule.venue} did not tell the account's"
    else:
        reason = f"{rule.venue} told another {kind} rate than it charges"
    return FeeDifferenceFound(
        fill.account, fill.venue, fill.symbol, fill.venue_order_id, fill.trade_id, check.rate,
        for_message(check.expected or Decimal(0)), fill.fee, fill.fee_asset, reason, now_ns,
    )  # fmt: skip


def _words(found: FeeDifferenceFound) -> str:
    return (
        f"{plain(found.charged)} {found.fee_asset} charged, {plain_or_none(found.expected)} expected "
        f"at {plain(found.rate)}: {found.reason}"
    )
