"""Coinbase Advanced Trade: the shapes of REST's answers, as far as they are read."""

from decimal import Decimal

import msgspec


class Product(msgspec.Struct):
    """One product with its rules."""

    product_id: str
    base_currency_id: str
    quote_currency_id: str
    base_increment: Decimal
    price_increment: Decimal
    base_min_size: Decimal
    base_max_size: Decimal
    quote_min_size: Decimal
    status: str
    trading_disabled: bool = False
    cancel_only: bool = False
    is_disabled: bool = False
    view_only: bool = False
    product_type: str = "SPOT"


class Tier(msgspec.Struct):
    """The account's fee rates."""

    taker_fee_rate: Decimal
    maker_fee_rate: Decimal


class Time(msgspec.Struct):
    """The venue's time."""

    epochMillis: int  # noqa: N815  the venue's name


class PlacedOrder(msgspec.Struct):
    """What an answer to an order names."""

    order_id: str
    client_order_id: str


class Placed(msgspec.Struct):
    """An answer to an order that was taken."""

    success: bool
    success_response: PlacedOrder


class CanceledOrder(msgspec.Struct):
    """One result of a cancel."""

    success: bool
    order_id: str
    failure_reason: str = ""


class Leg(msgspec.Struct):
    """An order's terms, whatever their kind."""

    base_size: Decimal | None = None
    limit_price: Decimal | None = None


class Order(msgspec.Struct):
    """An order as queries give it."""

    order_id: str
    product_id: str
    side: str
    client_order_id: str
    status: str
    filled_size: Decimal
    created_time: str
    order_configuration: dict[str, Leg]
    order_type: str
    product_type: str = "SPOT"
    last_fill_time: str | None = None
    reject_reason: str = ""


class Listed(msgspec.Struct):
    """A page of orders."""

    orders: list[Order]
    has_next: bool = False
    cursor: str = ""


class Fill(msgspec.Struct):
    """A fill as queries give it."""

    trade_id: str
    order_id: str
    trade_time: str
    trade_type: str
    price: Decimal
    size: Decimal
    commission: Decimal
    product_id: str
    liquidity_indicator: str
    side: str
    size_in_quote: bool


class Fills(msgspec.Struct):
    """A page of fills."""

    fills: list[Fill]
    cursor: str = ""


class Money(msgspec.Struct):
    """An amount."""

    value: Decimal


class Account(msgspec.Struct):
    """One asset's account."""

    currency: str
    available_balance: Money
    hold: Money


class Accounts(msgspec.Struct):
    """A page of accounts."""

    accounts: list[Account]
    has_next: bool = False
