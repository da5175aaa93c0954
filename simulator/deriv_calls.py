"""Deriv's calls over a socket: one function a method, for both dialects.

Each returns the method's part of the answer, or raises CallRefused. What is subscribed is noted with the
client; who sends the pushes is deriv_ws.py's business.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from simulator import deriv_words as words
from simulator.deriv_dealer import (
    CENT,
    COMMISSION,
    CURRENCY,
    DIRECTIONS,
    FOLLOWS,
    MULTIPLIERS,
    NS_PER_S,
    QUOTE_LIVES_S,
    SPREAD,
    STAKE_MAX,
    STAKE_MIN,
    Contract,
    Dealer,
    Quote,
)
from simulator.deriv_words import CallRefused, Json
from simulator.instruments import decimal_of
from simulator.orders import Refused
from simulator.venue import Account, Venue

LIMIT_MAX = 999
SUBSCRIPTIONS_MAX = 100
# Which calls need a login.
PRIVATE = frozenset(
    {"buy", "sell", "balance", "portfolio", "statement", "profit_table", "transaction",
     "proposal_open_contract", "contract_update"}
)  # fmt: skip


@dataclass(slots=True)
class Subscription:
    """What a client wants to be pushed."""

    number: str
    method: str
    key: str  # an underlying, a contract's id, or empty for all
    request: Json
    told: dict[int, bool] = field(default_factory=dict)


@dataclass(slots=True)
class Client:
    """One connection's state."""

    dialect: str
    app_id: str
    account: Account | None = None
    quotes: dict[str, Quote] = field(default_factory=dict)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)


class Calls:
    """All calls of the venue."""

    def __init__(self, venue: Venue, dealer: Dealer) -> None:
        self._venue = venue
        self._dealer = dealer
        self._next_id = 1
        self._tokens = {a.api_secret: a for a in venue.accounts.values()}
        self._methods: dict[str, Callable[[Client, Json], Any]] = {
            "ping": lambda *_: "pong",
            "time": lambda *_: self.now_s(),
            "authorize": self._authorize,
            "active_symbols": self._active_symbols,
            "contracts_for": self._contracts_for,
            "ticks": self._ticks,
            "proposal": self._proposal,
            "buy": self._buy,
            "sell": self._sell,
            "balance": self._balance,
            "portfolio": self._portfolio,
            "statement": self._statement,
            "profit_table": self._profit_table,
            "transaction": lambda *_: {},
            "proposal_open_contract": self._open_contract,
            "contract_update": self._update,
            "forget": self._forget,
            "forget_all": self._forget_all,
        }

    def method(self, message: Json) -> str | None:
        """Return the call that a message makes, or None."""
        return next((name for name in self._methods if name in message), None)

    def now_s(self) -> int:
        """Return the venue's time."""
        return self._venue.now_ns() // NS_PER_S

    def execute(self, client: Client, method: str, message: Json) -> Json:
        """Make a call; return the answer's own part under its name, and the subscription if any."""
        if method in PRIVATE and client.account is None:
            raise CallRefused("auth_required")
        if client.dialect == "new" and method == "authorize":
            raise CallRefused("unknown_call")
        if "subscribe" in message and message["subscribe"] != 1:
            raise CallRefused("input", "Input validation failed: subscribe (Not in enum list: 1.)")
        try:
            part = self._methods[method](client, message)
        except Refused as refused:
            raise CallRefused(refused.reason) from refused
        name = "tick" if method == "ticks" else method
        answer: Json = {"msg_type": name, name: part}
        if message.get("subscribe") == 1:
            answer["subscription"] = {"id": self._subscribe(client, method, message).number}
        return answer

    # -- session

    def _authorize(self, client: Client, message: Json) -> Json:
        account = self._tokens.get(str(message["authorize"]))
        if account is None or self._venue.faults.take("auth_revoked", "private"):
            raise CallRefused("auth_revoked")
        client.account = account
        return {
            "loginid": account_id(account), "currency": CURRENCY, "is_virtual": 1,
            "balance": words.number(self._dealer.balance(account.name)), "email": "",
            "scopes": ["read", "trade"], "account_list": [{"loginid": account_id(account)}],
        }  # fmt: skip

    def _subscribe(self, client: Client, method: str, message: Json) -> Subscription:
        if len(client.subscriptions) >= SUBSCRIPTIONS_MAX:
            raise CallRefused("rate_limit_429")
        number = f"{self._next_id:08x}-0000-4000-8000-{client.app_id[-12:]:0>12}"
        self._next_id += 1
        key = str(message["ticks"]) if method == "ticks" else str(message.get("contract_id", ""))
        made = Subscription(number, method, key, message)
        client.subscriptions[number] = made
        return made

    def _forget(self, client: Client, message: Json) -> int:
        return int(client.subscriptions.pop(str(message["forget"]), None) is not None)

    def _forget_all(self, client: Client, message: Json) -> list[str]:
        wanted = message["forget_all"]
        kinds = {wanted} if isinstance(wanted, str) else set(wanted)
        gone = [n for n, made in client.subscriptions.items() if made.method in kinds]
        for number in gone:
            del client.subscriptions[number]
        return gone

    # -- markets

    def _active_symbols(self, client: Client, _: Json) -> list[Json]:
        return [words.symbol_row(self._dealer, client.dialect, name) for name in FOLLOWS]

    def _contracts_for(self, _: Client, message: Json) -> Json:
        rows = words.contract_rows(_known(message["contracts_for"]))
        return {"available": rows, "hit_count": len(rows)}

    def _ticks(self, _: Client, message: Json) -> Json:
        underlying = _known(message["ticks"])
        if not self._dealer.is_open(underlying):
            raise CallRefused("market_closed")
        return self.tick(underlying)

    def tick(self, underlying: str) -> Json:
        """Return the newest tick."""
        now_s = self.now_s()
        return words.tick_json(self._dealer, underlying, SPREAD, now_s, f"{underlying}-{now_s}")

    # -- trading

    def _proposal(self, client: Client, message: Json) -> Json:
        underlying = _known(
            message.get("symbol" if client.dialect == "v3" else "underlying_symbol")
        )
        kind, stake = str(message.get("contract_type")), _amount(message.get("amount"))
        multiplier = message.get("multiplier")
        if kind not in DIRECTIONS or multiplier not in MULTIPLIERS:
            raise CallRefused("offerings")
        if message.get("basis") != "stake" or message.get("currency") != CURRENCY:
            raise CallRefused("input", "Input validation failed: basis, currency")
        if not self._dealer.is_open(underlying):
            raise CallRefused("market_closed")
        if not STAKE_MIN <= stake <= STAKE_MAX or stake != stake.quantize(CENT):
            raise CallRefused("stake", f"The stake is between {STAKE_MIN} and {STAKE_MAX}.")
        limits = message.get("limit_order") or {}
        quote = Quote(
            f"quote-{self._next_id:08x}", kind, underlying, multiplier, stake,
            (stake * multiplier * COMMISSION).quantize(CENT),
            _amount(limits["take_profit"]) if limits.get("take_profit") else None,
            _amount(limits["stop_loss"]) if limits.get("stop_loss") else None,
            self._venue.clock.monotonic_ns() + QUOTE_LIVES_S * NS_PER_S,
        )  # fmt: skip
        self._next_id += 1
        client.quotes[quote.quote_id] = quote
        return words.quote_json(quote, self._dealer.spot(underlying), self.now_s())

    def _buy(self, client: Client, message: Json) -> Json:
        assert client.account is not None
        if isinstance(message.get("price"), str):
            raise CallRefused("input", "Input validation failed: price (Expected number)")
        quote = client.quotes.pop(str(message["buy"]), None)
        if quote is None or quote.expires_ns < self._venue.clock.monotonic_ns():
            raise CallRefused("quote_unknown")
        name = client.account.name
        deal = self._dealer.buy(
            name, quote, _amount(message.get("price")), client.app_id, _order(message)
        )
        return words.bought_json(deal)

    def _sell(self, client: Client, message: Json) -> Json:
        contract = self._contract(client, message["sell"])
        deal = self._dealer.sell(
            contract, _amount(message.get("price")), client.app_id, _order(message), "order"
        )
        return words.sold_json(deal)

    def _update(self, client: Client, message: Json) -> Json:
        contract = self._contract(client, message.get("contract_id"))
        limits = message.get("limit_order") or {}
        for name in ("take_profit", "stop_loss"):
            if name in limits:
                value = limits[name]
                setattr(contract, name, None if value is None else _amount(value))
        return {}

    # -- the account

    def _balance(self, client: Client, _: Json) -> Json:
        assert client.account is not None
        return self.balance(client.account)

    def balance(self, account: Account) -> Json:
        """Return an account's balance."""
        return {
            "balance": words.number(self._dealer.balance(account.name)),
            "currency": CURRENCY,
            "loginid": account_id(account),
        }

    def _portfolio(self, client: Client, _: Json) -> Json:
        shown = [c for c in self._of(client) if c.is_open and self._is_visible(c)]
        return {"contracts": [words.portfolio_row(c, client.dialect) for c in shown]}

    def _statement(self, client: Client, message: Json) -> Json:
        assert client.account is not None
        since, until = message.get("date_from", 0), message.get("date_to", 2**60)
        action = message.get("action_type")
        found = [
            deal
            for deal in reversed(self._dealer.deals)
            if deal.contract.account == client.account.name
            and since <= deal.time_s <= until
            and action in {None, deal.action}
            and (deal.action == "sell" or self._is_visible(deal.contract))
        ]
        page = _page(found, message)
        return {"count": len(page), "transactions": [words.statement_row(d) for d in page]}

    def _profit_table(self, client: Client, message: Json) -> Json:
        sold = [c for c in self._of(client) if not c.is_open]
        sold.sort(key=lambda c: c.sell_id, reverse=message.get("sort", "DESC") == "DESC")
        page = _page(sold, message)
        return {"count": len(page), "transactions": [words.profit_row(c) for c in page]}

    def _open_contract(self, client: Client, message: Json) -> Json:
        number = message.get("contract_id")
        if number is not None:
            contract = self._contract(client, number)
        else:
            found = next((c for c in self._of(client) if c.is_open), None)
            if found is None:
                return {}
            contract = found
        return self.open_contract(contract, client.dialect)

    def open_contract(self, contract: Contract, dialect: str) -> Json:
        """Return a contract's state."""
        return words.open_contract_json(self._dealer, contract, dialect, self.now_s())

    def _of(self, client: Client) -> list[Contract]:
        assert client.account is not None
        name = client.account.name
        return [c for c in self._dealer.contracts.values() if c.account == name]

    def _contract(self, client: Client, number: object) -> Contract:
        assert client.account is not None
        contract = self._dealer.contracts.get(number) if isinstance(number, int) else None
        if contract is None or contract.account != client.account.name:
            raise CallRefused("contract_not_found")
        return contract

    # Fault hidden_order: a new contract is in no list for a while.
    def _is_visible(self, contract: Contract) -> bool:
        return self._dealer.hidden_until_ns.get(contract.contract_id, 0) <= self._venue.now_ns()


def account_id(account: Account) -> str:
    """Return the venue's own id of an account."""
    return f"VRTC{account.uid}"


def _known(underlying: object) -> str:
    if underlying not in FOLLOWS:
        raise CallRefused("input", f"Symbol {str(underlying)[:40]} is invalid.")
    return str(underlying)


def _amount(value: object) -> Decimal:
    found = decimal_of(repr(value) if isinstance(value, float) else value)
    if found is None or found < 0:
        raise CallRefused("input", "Input validation failed: a number is needed")
    return found


def _order(message: Json) -> str:
    passed = message.get("passthrough")
    return str(passed.get("order", "")) if isinstance(passed, dict) else ""


def _page(found: list[Any], message: Json) -> list[Any]:
    offset = int(message.get("offset", 0))
    return found[offset : offset + min(LIMIT_MAX, int(message.get("limit", 100)))]
