"""What Deriv answers and pushes, read into checked parts. Pure; ValueError for whatever is odd.

Both dialects are read alike and tolerantly: either name of a field is taken, and a number as a number
or as text, for the New API sends both. Examples have the shapes of Deriv's own mocks and schemas.
"""

import re
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple

from adapters.deriv_words import Json
from adapters.wire import amount, money

MULTIPLIERS: Final = ("MULTUP", "MULTDOWN")
# MULTUP_1HZ50V_10.00_100_1603787727_4757387727_5m_0.00: kind, underlying in capitals, stake, multiplier.
_SHORTCODE: Final = re.compile(
    r"(MULTUP|MULTDOWN)_(.{1,40})_(\d{1,12}(?:\.\d{1,8})?)_(\d{1,5})(?:\.0+)?_\d+_.*"
)


class Quote(NamedTuple):
    """A proposal: what a contract costs now. `quote_id` lives as long as its connection at most."""

    quote_id: str
    ask_price: Decimal
    commission: Decimal | None


class Deal(NamedTuple):
    """One movement of money for one contract: its buy, or its sell of whatever cause.

    `kind` and `multiplier` are empty and 0 where the venue's message does not tell them.
    """

    transaction_id: str
    contract_id: int
    side: Literal["BUY", "SELL"]
    amount: Decimal
    time_s: int
    underlying: str
    kind: str
    multiplier: int
    app_id: str


class Contract(NamedTuple):
    """An open (or just sold) contract."""

    contract_id: int
    underlying: str
    kind: str
    multiplier: int
    stake: Decimal
    buy_transaction: str
    buy_time_s: int
    bid_price: Decimal | None
    profit: Decimal | None
    commission: Decimal | None
    is_sold: bool
    sell_transaction: str
    sell_price: Decimal | None
    sell_time_s: int


class Tick(NamedTuple):
    """A price of an underlying; bid and ask are the quote itself where the venue names none."""

    underlying: str
    bid: Decimal
    ask: Decimal
    time_s: int


class Underlying(NamedTuple):
    """What can be traded on: {"underlying_symbol": "cryBTCUSD", "exchange_is_open": 1, ...}."""

    name: str
    is_open: bool
    pip_size: Decimal


def part(message: Json, name: str) -> Json:
    """Return the map under the method's name; ValueError if there is none."""
    found = message.get(name)
    if not isinstance(found, dict):
        raise ValueError(f"no {name} in the answer")  # noqa: TRY004  the venue's fault, not a type's
    return found


def rows(message: Json, *names: str) -> list[Json]:
    """Return the list of maps at these names; ValueError if there is none."""
    found: Any = message
    for name in names:
        found = found.get(name) if isinstance(found, dict) else None
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"no list at {'.'.join(names)}")
    return found


def whole(value: object) -> int:
    """Return a venue's id or time, a number or its text; ValueError for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 18:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**18:
        raise ValueError(f"no whole number: {str(value)[:40]!r}")
    return value


def sum_of(value: object) -> Decimal:
    """Return a sum of money, a number or its text; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(f"no number: {str(value)[:40]!r}")  # noqa: TRY004
    return money(value)


def _sum_or_none(value: object) -> Decimal | None:
    return None if value is None or value == "" else sum_of(value)


def _underlying_of(row: Json) -> str:
    found = row.get("underlying_symbol") or row.get("symbol") or row.get("underlying") or ""
    return str(found)[:40]


def read_shortcode(text: object) -> tuple[str, str, Decimal, int] | None:
    """Return kind, underlying (in capitals), stake and multiplier; None if it is no multiplier."""
    found = _SHORTCODE.fullmatch(text) if isinstance(text, str) and len(text) < 200 else None
    if found is None:
        return None
    kind, underlying, stake, multiplier = found.groups()
    return kind, underlying, Decimal(stake), int(multiplier)


def read_quote(message: Json) -> Quote:
    """Read {"proposal": {"id": "042922fe-...", "ask_price": 10, "commission": 0.03, ...}}."""
    proposal = part(message, "proposal")
    quote_id = proposal.get("id")
    if not isinstance(quote_id, str) or not 0 < len(quote_id) <= 200:
        raise ValueError("a proposal without an id")
    commission = _sum_or_none(proposal.get("commission"))
    return Quote(quote_id, amount(sum_of(proposal.get("ask_price"))), commission)


def read_bought(message: Json) -> Deal:
    """Read {"buy": {"contract_id": 79939279308, "buy_price": 49.12, "transaction_id": ..., ...}}."""
    bought = part(message, "buy")
    known = read_shortcode(bought.get("shortcode"))
    kind, underlying, _, multiplier = known or ("", "", Decimal(0), 0)
    return Deal(
        str(whole(bought.get("transaction_id"))),
        whole(bought.get("contract_id")),
        "BUY",
        amount(sum_of(bought.get("buy_price"))),
        whole(bought.get("purchase_time")),
        underlying,
        kind,
        multiplier,
        "",
    )


def read_sold(message: Json) -> Deal:
    """Read {"sell": {"contract_id": 79939279308, "sold_for": 1200, "transaction_id": ..., ...}}."""
    sold = part(message, "sell")
    return Deal(
        str(whole(sold.get("transaction_id"))),
        whole(sold.get("contract_id")),
        "SELL",
        amount(sum_of(sold.get("sold_for"))),
        0,
        "",
        "",
        0,
        "",
    )


def read_statement(message: Json) -> tuple[list[Deal], int]:
    """Return the deals of a page of the statement, and how many rows the page had.

    {"statement": {"count": 1, "transactions": [{"action_type": "buy", "amount": -10, "contract_id": ...,
    "transaction_id": ..., "transaction_time": 1587544006, "shortcode": "MULTUP_..."}]}}. Deposits and
    contracts of other kinds are no deals of ours.
    """
    found = rows(message, "statement", "transactions")
    deals = []
    for row in found:
        side = {"buy": "BUY", "sell": "SELL"}.get(str(row.get("action_type")))
        known = read_shortcode(row.get("shortcode"))
        if side is None or known is None:
            continue
        kind, underlying, _, multiplier = known
        deals.append(
            Deal(
                str(whole(row.get("transaction_id"))),
                whole(row.get("contract_id")),
                side,  # type: ignore[arg-type]
                abs(sum_of(row.get("amount"))),
                whole(row.get("transaction_time")),
                underlying,
                kind,
                multiplier,
                str(row.get("app_id") or ""),
            )
        )
    return deals, len(found)


def read_transaction(message: Json) -> Deal | None:
    """Read a pushed movement; None where it is none of a contract (a deposit, the first message).

    {"transaction": {"action": "sell", "amount": 11.2, "contract_id": ..., "transaction_id": ..., ...}}
    """
    told = part(message, "transaction")
    side = {"buy": "BUY", "sell": "SELL"}.get(str(told.get("action")))
    if side is None or told.get("contract_id") is None:
        return None
    return Deal(
        str(whole(told.get("transaction_id"))),
        whole(told.get("contract_id")),
        side,  # type: ignore[arg-type]
        abs(sum_of(told.get("amount"))),
        whole(told.get("transaction_time")),
        _underlying_of(told),
        "",
        0,
        "",
    )


def read_portfolio(message: Json) -> list[Contract]:
    """Read the open multiplier contracts; other kinds are left out.

    {"portfolio": {"contracts": [{"contract_id": ..., "contract_type": "MULTUP", "buy_price": 10.52,
    "symbol": "1HZ50V", "shortcode": "MULTUP_1HZ50V_10.52_100_...", "transaction_id": ..., ...}]}}
    """
    found = []
    for row in rows(message, "portfolio", "contracts"):
        known = read_shortcode(row.get("shortcode"))
        if known is None:
            continue
        kind, underlying, _, multiplier = known
        found.append(
            Contract(
                contract_id=whole(row.get("contract_id")),
                underlying=_underlying_of(row) or underlying,
                kind=kind,
                multiplier=multiplier,
                stake=amount(sum_of(row.get("buy_price"))),
                buy_transaction=str(whole(row.get("transaction_id"))),
                buy_time_s=whole(row.get("purchase_time")),
                bid_price=None,
                profit=None,
                commission=None,
                is_sold=False,
                sell_transaction="",
                sell_price=None,
                sell_time_s=0,
            )
        )
    return found


def read_contract(message: Json) -> Contract | None:
    """Read a contract's state; None where it is no multiplier, or the answer is empty (none is open).

    {"proposal_open_contract": {"contract_id": ..., "contract_type": "MULTUP", "bid_price": "50.00",
    "profit": 25.45, "is_sold": 0, "multiplier": 100, "transaction_ids": {"buy": 159790493028}, ...}}
    """
    told = part(message, "proposal_open_contract")
    if told.get("contract_type") not in MULTIPLIERS:
        return None
    known = read_shortcode(told.get("shortcode"))
    multiplier = told.get("multiplier")
    if multiplier is None and known is not None:
        multiplier = known[3]
    ids = told.get("transaction_ids")
    ids = ids if isinstance(ids, dict) else {}
    sell_id = ids.get("sell")
    return Contract(
        contract_id=whole(told.get("contract_id")),
        underlying=_underlying_of(told) or (known[1] if known else ""),
        kind=str(told["contract_type"]),
        multiplier=int(sum_of(multiplier)),
        stake=amount(sum_of(told.get("buy_price"))),
        buy_transaction=str(whole(ids.get("buy"))),
        buy_time_s=whole(told.get("purchase_time")),
        bid_price=_sum_or_none(told.get("bid_price")),
        profit=_sum_or_none(told.get("profit")),
        commission=_sum_or_none(told.get("commission")),
        is_sold=bool(told.get("is_sold")),
        sell_transaction="" if sell_id is None else str(whole(sell_id)),
        sell_price=_sum_or_none(told.get("sell_price")),
        sell_time_s=whole(told.get("sell_time") or 0),
    )


def read_tick(message: Json) -> Tick:
    """Read {"tick": {"symbol": "R_50", "quote": 218.0926, "bid": ..., "ask": ..., "epoch": ...}}."""
    tick = part(message, "tick")
    quote = amount(sum_of(tick.get("quote")))
    bid, ask = _sum_or_none(tick.get("bid")), _sum_or_none(tick.get("ask"))
    return Tick(
        _underlying_of(tick),
        quote if bid is None else amount(bid),
        quote if ask is None else amount(ask),
        whole(tick.get("epoch")),
    )


def read_active_symbols(message: Json) -> dict[str, Underlying]:
    """Read what there is to trade on, by name. `pip_size` is a step (0.01) in one dialect, a number
    of decimals (2) in the other.
    """  # noqa: D205
    found = {}
    for row in rows(message, "active_symbols"):
        name = _underlying_of(row)
        step = row.get("pip_size", row.get("pip"))
        pip = sum_of(step) if step is not None else Decimal("0.01")
        if pip >= 1:
            pip = Decimal(1).scaleb(-int(pip))
        is_open = bool(row.get("exchange_is_open")) and not row.get("is_trading_suspended")
        found[name] = Underlying(name, is_open, pip)
    return found


def read_multipliers(message: Json) -> dict[str, set[int]]:
    """Return which multipliers each kind of contract is offered with."""
    found: dict[str, set[int]] = {}
    for row in rows(message, "contracts_for", "available"):
        kind, offered = row.get("contract_type"), row.get("multiplier_range")
        if kind in MULTIPLIERS and isinstance(offered, list):
            found.setdefault(str(kind), set()).update(int(sum_of(value)) for value in offered)
    return found


def read_balance(message: Json) -> tuple[Decimal, str]:
    """Return the balance and its currency."""
    told = part(message, "balance")
    currency = told.get("currency")
    if not isinstance(currency, str) or not 0 < len(currency) <= 20:
        raise ValueError("a balance without a currency")
    return amount(sum_of(told.get("balance"))), currency
