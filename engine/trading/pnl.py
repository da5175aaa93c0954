"""What the ledger is worth, for people and programs: plain rows, money as plain strings.

Every figure names what it could not value; an amount without a price is left out of the sum and
listed, never guessed.
"""

from decimal import Decimal
from typing import Any

from engine.trading.ledger import Ledger, Mark, Price
from engine.trading.money import ZERO, exact, plain, plain_or_none, split_symbol
from engine.trading.position import Position


@exact
def position_view(position: Position, mark: tuple[Decimal, int] | None) -> dict[str, Any]:
    """Return one position as a plain row; `unrealized_pnl` is None without a mark."""
    flat = position.lots_quantity == 0
    unrealized = ZERO if flat else None
    if mark is not None:
        unrealized = position.unrealized(mark[0])
    return {
        "account": position.account,
        "symbol": position.symbol,
        "quantity": plain(position.quantity),
        "average_entry_price": plain_or_none(position.average_entry_price),
        "realized_pnl": plain(position.realized_pnl),
        "unrealized_pnl": plain_or_none(unrealized),
        "mark_price": None if mark is None else plain(mark[0]),
        "mark_age_ms": None if mark is None else mark[1] // 1_000_000,
        "fees": {asset: plain(fee) for asset, fee in sorted(position.fees.items())},
        "basis": position.basis,
        "traded_quantity": plain(position.traded_quantity),
        "opening_quantity": plain(position.opening_quantity),
        "adjusted_quantity": plain(position.adjusted_quantity),
        "unknown_quantity": plain(position.unknown_quantity),
        "unknown_sold": plain(position.unknown_sold),
        "unknown_proceeds": plain(position.unknown_proceeds),
        "ts_last_ns": position.ts_last_ns,
    }


def position_rows(ledger: Ledger, mark: Mark) -> list[dict[str, Any]]:
    """Return all positions, by account and symbol."""
    return [position_view(position, mark(position.symbol)) for position in ledger.positions()]


@exact
def symbol_rows(ledger: Ledger, mark: Mark) -> list[dict[str, Any]]:
    """Return PnL per symbol over all accounts, in the symbol's quote; fees per asset."""
    groups: dict[str, list[Position]] = {}
    for position in ledger.positions():
        groups.setdefault(position.symbol, []).append(position)
    return [_symbol_row(symbol, group, mark) for symbol, group in sorted(groups.items())]


def _symbol_row(symbol: str, group: list[Position], mark: Mark) -> dict[str, Any]:
    found = mark(symbol)
    held = any(position.lots_quantity != 0 for position in group)
    unrealized = None if held and found is None else ZERO
    if found is not None:
        unrealized = sum((position.unrealized(found[0]) for position in group), ZERO)
    fees: dict[str, Decimal] = {}
    for position in group:
        for asset, fee in position.fees.items():
            fees[asset] = fees.get(asset, ZERO) + fee
    return {
        "symbol": symbol,
        "currency": split_symbol(symbol)[1],
        "quantity": plain(sum((position.quantity for position in group), ZERO)),
        "realized_pnl": plain(sum((position.realized_pnl for position in group), ZERO)),
        "unrealized_pnl": plain_or_none(unrealized),
        "fees": {asset: plain(fee) for asset, fee in sorted(fees.items())},
        "unknown_proceeds": plain(sum((position.unknown_proceeds for position in group), ZERO)),
        "mark_price": None if found is None else plain(found[0]),
        "mark_age_ms": None if found is None else found[1] // 1_000_000,
        "not_valued": [] if unrealized is not None else [f"unrealized {symbol}"],
    }


@exact
def total_row(ledger: Ledger, mark: Mark, price: Price) -> dict[str, Any]:
    """Return realized, unrealized, fees and their net in the report currency.

    Fees are valued at today's price of their asset. `complete` is False when `not_valued` is not
    empty: then the figures are the sum of what could be valued.
    """
    realized = unrealized = fees = ZERO
    not_valued: list[str] = []
    for position in ledger.positions():
        name = f"{position.account} {position.symbol}"
        quote_price = price(split_symbol(position.symbol)[1])
        if quote_price is None:
            not_valued.append(f"{name}: quote currency")
        else:
            realized += position.realized_pnl * quote_price
            found = mark(position.symbol)
            if found is not None:
                unrealized += position.unrealized(found[0]) * quote_price
            elif position.lots_quantity != 0:
                not_valued.append(f"{name}: no mark")
        for asset, fee in sorted(position.fees.items()):
            asset_price = price(asset)
            if asset_price is None:
                not_valued.append(f"{name}: fee of {plain(fee)} {asset}")
            else:
                fees += fee * asset_price
    return {
        "currency": ledger.report_currency,
        "realized_pnl": plain(realized),
        "unrealized_pnl": plain(unrealized),
        "fees": plain(fees),
        "net_pnl": plain(realized + unrealized - fees),
        "complete": not not_valued,
        "not_valued": not_valued,
    }


@exact
def balance_rows(ledger: Ledger, price: Price, venue: str | None = None) -> list[dict[str, Any]]:
    """Return what each account must hold of each asset, and its worth now where it can be valued."""
    rows = []
    for account in ledger.accounts():
        name = account.partition(".")[0]
        if venue not in {None, name}:
            continue
        for asset, total in ledger.balances(account).items():
            unit = price(asset)
            rows.append(
                {
                    "account": account,
                    "venue": name,
                    "asset": asset,
                    "total": plain(total),
                    "value": None if unit is None else plain(total * unit),
                    "currency": ledger.report_currency,
                }
            )
    return rows
