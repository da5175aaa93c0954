"""The simulated dealer behind Deriv's two APIs: quotes, contracts, and what they are worth.

A multiplier contract costs its stake and is worth stake + stake x multiplier x (spot / entry - 1) x
direction - commission, never less than nothing: at nothing the dealer stops it out. Spots are the flow's
fair prices, so that they move with the other simulated venues' books. Money moves through the venue's
ledger and log: one deal, one command, written before anybody hears of it. Amounts are exact decimals of
the account's currency.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from simulator.instruments import UNIT, plain
from simulator.orders import Refused
from simulator.venue import Venue

CURRENCY = "USD"
HOUSE = "dealer"
# Underlying: the flow's symbol that it follows.
FOLLOWS = {"cryBTCUSD": "BTC/USDT", "cryETHUSD": "ETH/USDT"}
NAMES = {"cryBTCUSD": "BTC/USD", "cryETHUSD": "ETH/USD"}
MULTIPLIERS = (10, 50, 100, 200, 300)
DIRECTIONS = {"MULTUP": 1, "MULTDOWN": -1}
STAKE_MIN, STAKE_MAX = Decimal(1), Decimal(2000)
COMMISSION = Decimal("0.0002")  # of stake x multiplier
SPREAD = Decimal("0.0001")  # each side of the quote
CENT = Decimal("0.01")
QUOTE_LIVES_S = 60
NS_PER_S = 1_000_000_000
FIRST_TRANSACTION, FIRST_CONTRACT = 160_058_875_308, 98_350_591_008


@dataclass(slots=True)
class Quote:
    """A proposal of one connection."""

    quote_id: str
    kind: str
    underlying: str
    multiplier: int
    stake: Decimal
    commission: Decimal
    take_profit: Decimal | None
    stop_loss: Decimal | None
    expires_ns: int


@dataclass(slots=True)
class Contract:
    """A contract that was bought, open until it has a `sell_id`."""

    contract_id: int
    account: str
    kind: str
    underlying: str
    multiplier: int
    stake: Decimal
    commission: Decimal
    entry: Decimal
    buy_id: int
    buy_s: int
    take_profit: Decimal | None = None
    stop_loss: Decimal | None = None
    sell_id: int = 0
    sell_s: int = 0
    sell_price: Decimal | None = None
    exit: Decimal | None = None
    cause: str = ""

    @property
    def is_open(self) -> bool:
        """Whether it was not sold yet."""
        return self.sell_id == 0

    @property
    def shortcode(self) -> str:
        """The venue's short name of it."""
        end_s = self.buy_s + 100 * 365 * 86_400
        return (
            f"{self.kind}_{self.underlying.upper()}_{self.stake:.2f}_{self.multiplier}"
            f"_{self.buy_s}_{end_s}_0_0.00"
        )


@dataclass(frozen=True, slots=True)
class Deal:
    """One movement of money."""

    action: str  # buy, sell
    transaction_id: int
    contract: Contract
    amount: Decimal
    balance_after: Decimal
    time_s: int
    app_id: str


class Dealer:
    """All accounts' contracts. A command runs to its end in one go, as the venue's do."""

    def __init__(self, venue: Venue) -> None:
        self._venue = venue
        self._ledger = venue.engine.ledger
        self._ledger.mark_internal(HOUSE)
        self.contracts: dict[int, Contract] = {}
        self.deals: list[Deal] = []
        self.on_deal: list[Callable[[Deal], None]] = []
        self.hidden_until_ns: dict[int, int] = {}  # contracts that no list shows yet (a fault)
        self._next_transaction = FIRST_TRANSACTION
        self._next_contract = FIRST_CONTRACT
        venue.symbols.update(FOLLOWS)
        for line in venue.deal_lines:
            self._restore(line)

    # -- prices

    def spot(self, underlying: str) -> Decimal:
        """Return the price that contracts are settled at."""
        fair = self._venue.flow.prices()[FOLLOWS[underlying]]
        return Decimal(repr(fair)).quantize(CENT, ROUND_HALF_UP)

    def is_open(self, underlying: str) -> bool:
        """Tell whether the market is open (the control plane may halt it)."""
        return underlying not in self._venue.engine.halted

    def value(self, contract: Contract) -> Decimal:
        """Return what selling the contract now would bring."""
        if contract.sell_price is not None:
            return contract.sell_price
        move = self.spot(contract.underlying) / contract.entry - 1
        gain = contract.stake * contract.multiplier * move * DIRECTIONS[contract.kind]
        worth = contract.stake + gain - contract.commission
        return max(Decimal(0), worth).quantize(CENT, ROUND_DOWN)

    def balance(self, account: str) -> Decimal:
        """Return the account's money."""
        return Decimal(plain(self._ledger.free(account, CURRENCY)))

    # -- commands

    def buy(self, account: str, quote: Quote, limit: Decimal, app_id: str, order: str) -> Deal:
        """Open a contract; Refused says why not, and then nothing has changed."""
        if not self.is_open(quote.underlying):
            raise Refused("market_closed")
        if quote.stake > limit:
            raise Refused("price_moved", f"{quote.stake} is above {limit}")
        now_s = self._venue.now_ns() // NS_PER_S
        units = int(quote.stake * UNIT)
        self._ledger.lock(account, CURRENCY, units)
        self._ledger.pay_locked(account, CURRENCY, units)
        self._ledger.receive(HOUSE, CURRENCY, units, 0)
        contract = Contract(
            self._next_contract, account, quote.kind, quote.underlying, quote.multiplier,
            quote.stake, quote.commission, self.spot(quote.underlying), self._next_transaction,
            now_s, quote.take_profit, quote.stop_loss,
        )  # fmt: skip
        self._next_contract += 20
        self.contracts[contract.contract_id] = contract
        return self._done("buy", contract, quote.stake, app_id, order)

    def sell(self, contract: Contract, limit: Decimal, app_id: str, order: str, cause: str) -> Deal:
        """Close a contract at its value, no lower than the limit."""
        if not contract.is_open:
            raise Refused("contract_sold")
        if cause == "order" and not self.is_open(contract.underlying):
            raise Refused("market_closed")
        worth = self.value(contract)
        if worth < limit:
            raise Refused("sell_price", f"{worth} is below {limit}")
        units = int(worth * UNIT)
        self._ledger.pay_locked(HOUSE, CURRENCY, units)
        self._ledger.receive(contract.account, CURRENCY, units, 0)
        contract.sell_id = self._next_transaction
        contract.sell_s = self._venue.now_ns() // NS_PER_S
        contract.sell_price, contract.exit = worth, self.spot(contract.underlying)
        contract.cause = cause
        return self._done("sell", contract, worth, app_id, order)

    def look_after(self) -> None:
        """Stop out what is worth nothing, and act on take profit and stop loss."""
        for contract in [c for c in self.contracts.values() if c.is_open]:
            worth = self.value(contract)
            profit = worth - contract.stake
            if worth == 0:
                cause = "stop_out"
            elif contract.take_profit is not None and profit >= contract.take_profit:
                cause = "take_profit"
            elif contract.stop_loss is not None and -profit >= contract.stop_loss:
                cause = "stop_loss"
            else:
                continue
            self.sell(contract, Decimal(0), "", "", cause)

    def _done(
        self, action: str, contract: Contract, amount: Decimal, app_id: str, order: str
    ) -> Deal:
        transaction_id = self._next_transaction
        self._next_transaction += 20
        deal = Deal(
            action, transaction_id, contract, amount, self.balance(contract.account),
            contract.buy_s if action == "buy" else contract.sell_s, app_id,
        )  # fmt: skip
        self.deals.append(deal)
        self._venue.settle(_line(deal, order))
        for listener in self.on_deal:
            listener(deal)
        return deal

    def _restore(self, line: dict[str, Any]) -> None:
        number = int(line["contract_id"])
        amount = Decimal(line["amount"])
        if line["action"] == "buy":
            self.contracts[number] = Contract(
                number, line["account"], line["contract_type"], line["underlying"],
                line["multiplier"], amount, Decimal(line["commission"]), Decimal(line["spot"]),
                int(line["transaction_id"]), line["time_s"], _decimal(line["take_profit"]),
                _decimal(line["stop_loss"]),
            )  # fmt: skip
        contract = self.contracts[number]
        if line["action"] == "sell":
            contract.sell_id, contract.sell_s = int(line["transaction_id"]), line["time_s"]
            contract.sell_price, contract.exit = amount, Decimal(line["spot"])
            contract.cause = line["cause"]
        self.deals.append(
            Deal(
                line["action"],
                int(line["transaction_id"]),
                contract,
                amount,
                Decimal(line["balance_after"]),
                line["time_s"],
                line["app_id"],
            )
        )
        self._next_transaction = max(self._next_transaction, int(line["transaction_id"]) + 20)
        self._next_contract = max(self._next_contract, number + 20)


def _line(deal: Deal, order: str) -> dict[str, Any]:
    contract = deal.contract
    is_buy = deal.action == "buy"
    return {
        "kind": "deal",
        "account": contract.account,
        "action": deal.action,
        "transaction_id": str(deal.transaction_id),
        "contract_id": str(contract.contract_id),
        "contract_type": contract.kind,
        "underlying": contract.underlying,
        "multiplier": contract.multiplier,
        "amount": f"{deal.amount:f}",
        "commission": f"{contract.commission:f}",
        "spot": f"{contract.entry if is_buy else contract.exit:f}",
        "take_profit": None if contract.take_profit is None else f"{contract.take_profit:f}",
        "stop_loss": None if contract.stop_loss is None else f"{contract.stop_loss:f}",
        "balance_after": f"{deal.balance_after:f}",
        "time_s": deal.time_s,
        "cause": "order" if is_buy else contract.cause,
        "app_id": deal.app_id,
        "order": order,
    }


def _decimal(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
