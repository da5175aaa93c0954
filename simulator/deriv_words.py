"""Deriv's words: what the simulated venue writes and how it refuses, in both dialects.

The New API names the underlying `underlying_symbol` and writes a contract's numbers as text; v3 says
`symbol` or `underlying` and numbers. Amounts have two decimals, whose shortest float is their exact text.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from simulator.deriv_dealer import (
    CURRENCY,
    MULTIPLIERS,
    NAMES,
    STAKE_MAX,
    STAKE_MIN,
    Contract,
    Deal,
    Dealer,
    Quote,
)
from simulator.reply import Reply

Json = dict[str, Any]
# What the engine's refusals and the fault kinds are called here.
ERRORS: Mapping[str, tuple[str, str]] = {
    "insufficient_balance": ("InsufficientBalance", "Your account balance is insufficient."),
    "market_closed": ("MarketIsClosed", "This market is presently closed."),
    "price_moved": ("PriceMoved", "The underlying market has moved too much."),
    "sell_price": ("PriceMoved", "The sell price is below the price that you asked for."),
    "contract_sold": ("InvalidSellContractProposal", "This contract has been sold."),
    "contract_not_found": ("ContractNotFound", "This contract was not found."),
    "quote_unknown": ("InvalidContractProposal", "Unknown contract proposal."),
    "input": ("InputValidationFailed", "Input validation failed."),
    "offerings": ("InvalidOfferings", "Trading is not offered for this asset."),
    "stake": ("ContractBuyValidationError", "The stake is out of its bounds."),
    "auth_required": ("AuthorizationRequired", "Please log in."),
    "auth_revoked": ("InvalidToken", "The token is invalid."),
    "rate_limit_429": ("RateLimit", "You have reached the rate limit."),
    "ban_418": ("RateLimit", "You have reached the rate limit."),
    "maintenance": ("InternalError", "Sorry, an error occurred while processing your request."),
    "error_5xx": ("InternalError", "Sorry, an error occurred while processing your request."),
    "unknown_call": ("UnrecognisedRequest", "Unrecognised request."),
}


class CallRefused(Exception):
    """A call that is answered with an error."""

    def __init__(self, name: str, text: str = "") -> None:
        super().__init__(name)
        self.error = error_json(name, text)


def error_json(name: str, text: str = "") -> Json:
    """Return the error object of a refusal."""
    code, message = ERRORS.get(name, ("InternalError", name))
    return {"error": {"code": code, "message": text or message}}


def fault_reply(name: str, params: dict[str, int]) -> Reply:
    """Return how a fault is answered on a socket."""
    del params
    return Reply(200, error_json(name))


def number(value: Decimal) -> float:
    """Return an amount as JSON's number."""
    return float(value)


def symbol_keys(dialect: str, underlying: str) -> Json:
    """Return the underlying under this dialect's name."""
    return {"symbol" if dialect == "v3" else "underlying_symbol": underlying}


def tick_json(dealer: Dealer, underlying: str, spread: Decimal, epoch: int, tick_id: str) -> Json:
    """Return a tick; both dialects say `symbol` here."""
    quote = dealer.spot(underlying)
    cent = Decimal("0.01")
    return {
        "symbol": underlying,
        "quote": number(quote),
        "bid": number((quote * (1 - spread)).quantize(cent)),
        "ask": number((quote * (1 + spread)).quantize(cent)),
        "epoch": epoch,
        "pip_size": 2,
        "id": tick_id,
    }


def symbol_row(dealer: Dealer, dialect: str, underlying: str) -> Json:
    """Return a row of active_symbols."""
    is_open = int(dealer.is_open(underlying))
    if dialect == "v3":
        return {
            "symbol": underlying, "display_name": NAMES[underlying], "market": "cryptocurrency",
            "symbol_type": "cryptocurrency", "submarket": "non_stable_coin", "pip": 0.01,
            "exchange_is_open": is_open, "is_trading_suspended": 0, "allow_forward_starting": 0,
        }  # fmt: skip
    return {
        "underlying_symbol": underlying, "underlying_symbol_name": NAMES[underlying],
        "underlying_symbol_type": "cryptocurrency", "market": "cryptocurrency",
        "submarket": "non_stable_coin", "subgroup": "none", "pip_size": 0.01,
        "exchange_is_open": is_open, "is_trading_suspended": 0, "trade_count": 1,
    }  # fmt: skip


def contract_rows(underlying: str) -> list[Json]:
    """Return what contracts_for offers."""
    return [
        {
            "contract_type": kind, "contract_category": "multiplier",
            "underlying_symbol": underlying, "multiplier_range": list(MULTIPLIERS),
            "min_stake": number(STAKE_MIN), "max_stake": number(STAKE_MAX), "market": "cryptocurrency",
            "sentiment": "up" if kind == "MULTUP" else "down", "barriers": 0,
        }
        for kind in ("MULTUP", "MULTDOWN")
    ]  # fmt: skip


def quote_json(quote: Quote, spot: Decimal, now_s: int) -> Json:
    """Return a proposal."""
    return {
        "id": quote.quote_id,
        "ask_price": number(quote.stake),
        "payout": 0,
        "spot": number(spot),
        "spot_time": now_s,
        "date_start": now_s,
        "multiplier": quote.multiplier,
        "commission": number(quote.commission),
        "longcode": _longcode(quote.kind, quote.underlying, quote.multiplier),
        "contract_details": {
            "minimum_stake": f"{STAKE_MIN:.2f}", "maximum_stake": f"{STAKE_MAX:.2f}",
        },
        "validation_params": {
            "stake": {"min": f"{STAKE_MIN:.2f}", "max": f"{STAKE_MAX:.2f}"},
        },
    }  # fmt: skip


def bought_json(deal: Deal) -> Json:
    """Return the answer to a buy."""
    contract = deal.contract
    return {
        "contract_id": contract.contract_id,
        "transaction_id": deal.transaction_id,
        "buy_price": number(deal.amount),
        "payout": 0,
        "balance_after": number(deal.balance_after),
        "purchase_time": deal.time_s,
        "start_time": deal.time_s,
        "longcode": _longcode(contract.kind, contract.underlying, contract.multiplier),
        "shortcode": contract.shortcode,
    }


def sold_json(deal: Deal) -> Json:
    """Return the answer to a sell."""
    return {
        "contract_id": deal.contract.contract_id,
        "transaction_id": deal.transaction_id,
        "reference_id": deal.contract.buy_id,
        "sold_for": number(deal.amount),
        "balance_after": number(deal.balance_after),
    }


def transaction_json(deal: Deal, dialect: str) -> Json:
    """Return a pushed movement."""
    contract = deal.contract
    sign = -1 if deal.action == "buy" else 1
    return {
        "action": deal.action,
        "amount": number(sign * deal.amount),
        "balance": number(deal.balance_after),
        "contract_id": contract.contract_id,
        "currency": CURRENCY,
        "transaction_id": deal.transaction_id,
        "transaction_time": deal.time_s,
        "purchase_time": contract.buy_s,
        "longcode": _longcode(contract.kind, contract.underlying, contract.multiplier),
        **symbol_keys(dialect, contract.underlying),
    }


def statement_row(deal: Deal) -> Json:
    """Return a row of the statement."""
    contract = deal.contract
    sign = -1 if deal.action == "buy" else 1
    row = {
        "action_type": deal.action,
        "amount": number(sign * deal.amount),
        "balance_after": number(deal.balance_after),
        "contract_id": contract.contract_id,
        "transaction_id": deal.transaction_id,
        "transaction_time": deal.time_s,
        "purchase_time": contract.buy_s,
        "reference_id": contract.buy_id if deal.action == "sell" else None,
        "payout": None,
        "shortcode": contract.shortcode,
        "longcode": _longcode(contract.kind, contract.underlying, contract.multiplier),
    }
    return row | ({"app_id": int(deal.app_id)} if deal.app_id.isdigit() else {})


def portfolio_row(contract: Contract, dialect: str) -> Json:
    """Return a row of the portfolio."""
    return {
        "contract_id": contract.contract_id,
        "contract_type": contract.kind,
        "currency": CURRENCY,
        "buy_price": number(contract.stake),
        "payout": 0,
        "purchase_time": contract.buy_s,
        "date_start": contract.buy_s,
        "transaction_id": contract.buy_id,
        "shortcode": contract.shortcode,
        "longcode": _longcode(contract.kind, contract.underlying, contract.multiplier),
        **symbol_keys(dialect, contract.underlying),
    }


def profit_row(contract: Contract) -> Json:
    """Return a row of the profit table."""
    return {
        "contract_id": contract.contract_id,
        "transaction_id": contract.buy_id,
        "buy_price": number(contract.stake),
        "sell_price": number(contract.sell_price or Decimal(0)),
        "purchase_time": contract.buy_s,
        "sell_time": contract.sell_s,
        "shortcode": contract.shortcode,
        "payout": 0,
    }


def open_contract_json(dealer: Dealer, contract: Contract, dialect: str, now_s: int) -> Json:
    """Return a contract's state."""
    value, spot = dealer.value(contract), dealer.spot(contract.underlying)
    amounts: dict[str, Decimal] = {
        "buy_price": contract.stake,
        "bid_price": value,
        "profit": value - contract.stake,
        "commission": contract.commission,
        "current_spot": spot,
        "entry_spot": contract.entry,
    }
    if contract.sell_price is not None and contract.exit is not None:
        amounts["sell_price"] = contract.sell_price
        amounts["exit_spot" if dialect == "new" else "exit_tick"] = contract.exit
    words: Json = {n: f"{v:.2f}" if dialect == "new" else number(v) for n, v in amounts.items()}
    ids = {"buy": contract.buy_id} | ({} if contract.is_open else {"sell": contract.sell_id})
    key = "underlying" if dialect == "v3" else "underlying_symbol"
    return {
        **words,
        key: contract.underlying,
        "contract_id": contract.contract_id,
        "contract_type": contract.kind,
        "currency": CURRENCY,
        "multiplier": contract.multiplier,
        "status": "open" if contract.is_open else "sold",
        "is_sold": int(not contract.is_open),
        "is_expired": 0,
        "is_valid_to_sell": int(contract.is_open),
        "purchase_time": contract.buy_s,
        "date_start": contract.buy_s,
        "current_spot_time": now_s,
        "sell_time": contract.sell_s or None,
        "transaction_ids": ids,
        "shortcode": contract.shortcode,
    }


def _longcode(kind: str, underlying: str, multiplier: int) -> str:
    way = "rise" if kind == "MULTUP" else "fall"
    return f"Win {multiplier}% of your stake for every 1% {way} in {NAMES[underlying]}."
