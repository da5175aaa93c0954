"""The limits of the risk gate and the words for each refusal. Pure data; the docs are made from it."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

DUPLICATE: Final = "duplicate"
HALTED: Final = "halted"
NO_ACCOUNT: Final = "no_account"
ACCOUNT_NOT_OPENED: Final = "account_not_opened"
REDUCE_ONLY: Final = "reduce_only"
UNKNOWN_INSTRUMENT: Final = "unknown_instrument"
INSTRUMENT_NOT_TRADING: Final = "instrument_not_trading"
QUANTITY_RULE: Final = "quantity_rule"
PRICE_RULE: Final = "price_rule"
NOTIONAL_RULE: Final = "notional_rule"
NO_MID: Final = "no_mid"
STALE_MID: Final = "stale_mid"
NOT_VALUABLE: Final = "not_valuable"
PRICE_COLLAR: Final = "price_collar"
ORDER_RATE: Final = "max_orders_per_second"
OPEN_ORDERS: Final = "max_open_orders"
ORDER_NOTIONAL: Final = "max_order_notional"
OPEN_NOTIONAL: Final = "max_open_notional"
POSITION: Final = "max_position"
NO_POSITION_LIMIT: Final = "no_position_limit"
INSUFFICIENT_BALANCE: Final = "insufficient_balance"
SELF_TRADE: Final = "self_trade"
STALE_APPROVAL: Final = "stale_approval"

REASONS: Final[dict[str, str]] = {
    DUPLICATE: "An order with this id was already approved, denied or seen.",
    HALTED: "Trading is halted for everything, for this venue or for this symbol.",
    NO_ACCOUNT: "The order names no account, or is a split order that no venue can receive.",
    ACCOUNT_NOT_OPENED: "The account's opening balances are not journaled yet.",
    REDUCE_ONLY: "Only orders that reduce a position pass: a balance difference, or such a halt, stands.",
    UNKNOWN_INSTRUMENT: "The venue has not told the rules of this symbol.",
    INSTRUMENT_NOT_TRADING: "The venue has halted or delisted the symbol.",
    QUANTITY_RULE: "The quantity breaks the venue's lot size, minimum or maximum.",
    PRICE_RULE: "The price is missing, not positive or not on the venue's tick.",
    NOTIONAL_RULE: "Price times quantity is below the venue's minimum.",
    NO_MID: "There is no consolidated mid price, so the order cannot be judged.",
    STALE_MID: "The consolidated mid price is older than allowed.",
    NOT_VALUABLE: "An amount cannot be converted to the report currency now.",
    PRICE_COLLAR: "The price is further through the consolidated mid than the collar allows.",
    ORDER_RATE: "Too many orders were approved within the last second.",
    OPEN_ORDERS: "Too many orders are open, in flight or unknown.",
    ORDER_NOTIONAL: "The order is worth more than one order may be.",
    OPEN_NOTIONAL: "All open orders together would be worth more than allowed.",
    POSITION: "If everything open filled, the net position would exceed its limit.",
    NO_POSITION_LIMIT: "No position limit is configured for this asset, so none may be built.",
    INSUFFICIENT_BALANCE: "The account's balance, less what open orders claim, does not cover it.",
    SELF_TRADE: "It would trade with one of our own orders at the same venue.",
    STALE_APPROVAL: "The approval had waited longer than its deadline; it was never sent.",
}

ANY_ASSET: Final = "*"


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """Every limit, the unit in its name or beside it.

    Notional limits are in the report currency, `max_position` in the base asset, net over all
    accounts; the key `*` is the limit of every asset that has none of its own.
    """

    max_order_notional: Decimal
    max_open_notional: Decimal
    max_open_orders: int
    max_position: dict[str, Decimal]
    price_collar_pct: Decimal  # of the mid: Decimal("2") is 2 %
    max_orders_per_second: int
    report_currency: str = "USDT"
    approval_ttl_ns: int = 2_000_000_000
    mid_age_max_ns: int = 5_000_000_000
    fee_reserve: Decimal = field(default_factory=lambda: Decimal("0.002"))  # of a buy's notional
    count_opening: bool = True  # whether opening balances count as position
    # One unit of an asset in the report currency by a person's word, where the market has no price.
    declared_rates: dict[str, Decimal] = field(default_factory=dict)

    def position_max(self, asset: str) -> Decimal | None:
        """Return the limit of an asset; None when none is configured."""
        return self.max_position.get(asset, self.max_position.get(ANY_ASSET))
