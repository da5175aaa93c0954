"""What became of a deal at Deriv, and of the whole account: portfolio, statement, balance.

The venue keeps no name of ours with a contract, so an order whose answer was lost is looked for by what
it asked: kind of contract, price, and time. Exactly one deal that nobody else's, and exactly one order
that it can be: then it is that order's. None: not found, which settles nothing by itself, because nothing
here expires. More than one of either: not answered, never a guess.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from adapters.deriv_answers import (
    Contract,
    Deal,
    read_balance,
    read_portfolio,
    read_statement,
    rows,
)
from adapters.deriv_contracts import NS_PER_S, Kinds, Reports, candidates
from adapters.deriv_link import DerivLink, NoAnswer, NotLeft
from adapters.deriv_pushes import bought
from adapters.deriv_rates import Rates
from adapters.deriv_state import Flights, OpenContracts
from adapters.deriv_words import STATEMENT_LIMIT, Json, Words, error_of
from adapters.rate import Priority
from engine.clock import Clock
from engine.messages.port import (
    AskVenue,
    BalanceReport,
    FillReport,
    OrderReport,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    VenueTold,
)
from engine.wire import pack

OVERLAP_S: Final = 300
FIRST_LOOK_S: Final = 24 * 3600
BEFORE_S: Final = 5  # the venue writes times in whole seconds, and its clock is known only nearly
AROUND_S: Final = 60
PAGES_MAX: Final = 200
READ_DEADLINE_NS: Final = 15 * NS_PER_S
LIMIT_DEFAULT: Final = 50
Found = tuple[bool | None, OrderReport | None, list[FillReport], str]


class ReadFailed(Exception):
    """A read was not answered, or with an error, or with something odd."""


class DerivInquiry:
    """Queries, reconciliations and records of one account. Used by one worker at a time."""

    def __init__(
        self,
        link: DerivLink,
        words: Words,
        kinds: Kinds,
        *,
        rates: Rates,
        reports: Reports,
        contracts: OpenContracts,
        flights: Flights,
        clock: Clock,
        offset_ms: Callable[[], float],
        app_id: str,
        answer_s: float,
    ) -> None:
        self._link = link
        self._words = words
        self._kinds = kinds
        self._rates = rates
        self._reports = reports
        self._contracts = contracts
        self._flights = flights
        self._clock = clock
        self._offset_ms = offset_ms
        self._app_id = app_id
        self._answer_s = answer_s

    # The venue's clock: our wall clock and how far the venue's is ahead of it.
    def _venue_s(self, wall_ns: int) -> int:
        return (wall_ns + int(self._offset_ms() * 1_000_000)) // NS_PER_S

    # --- one order

    def query(self, query: QueryOrder) -> QueryResult:
        """Find the deal of an order; `found` None if that could not be told."""
        asked_wall_ns, asked_mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        try:
            found, order, fills, evidence = self._look_for(query)
        except (ReadFailed, ValueError) as failed:
            found, order, fills, evidence = None, None, [], f"not answered: {failed}"[:500]
        return QueryResult(
            account=query.account,
            client_order_id=query.client_order_id,
            found=found,
            order=order,
            fills=fills,
            asked_wall_ns=asked_wall_ns,
            asked_mono_ns=asked_mono_ns,
            evidence=evidence,
        )

    def _look_for(self, query: QueryOrder) -> Found:
        name, intent = query.client_order_id, query.intent
        if name and self._flights.is_flying(name):
            return None, None, [], "its answer is still awaited"
        since_s = self._venue_s(query.since_wall_ns) - BEFORE_S
        transaction = query.venue_order_id or self._reports.transaction_of(name)
        if transaction is not None:
            deals = self._deals(query.symbol, since_s - AROUND_S, None)
            mine = [deal for deal in deals if deal.transaction_id == transaction]
            if not mine:
                return False, None, [], f"transaction {transaction} is not in the statement"
            price = mine[0].amount if intent is None or intent.price is None else intent.price
            return self._told(mine[0], query.symbol, price, name)
        if intent is None or intent.price is None:
            return None, None, [], "the venue knows no names, and nothing tells what was asked for"
        deals = self._deals(query.symbol, since_s, intent.side)
        deals = [deal for deal in deals if self._may_be_ours(deal)]
        taken = {*intent.taken, *self._reports.named(d.transaction_id for d in deals)}
        found = candidates(deals, intent.side, intent.price, since_s, taken)
        if not found:
            return False, None, [], "absent from the portfolio and the statement since it was sent"
        if len(found) > 1 or intent.twins:
            orders = intent.twins + 1
            text = f"{len(found)} deals may be this order's, and {orders} orders may have made them"
            return None, None, [], f"{text}: a person decides (xcore order resolve)"
        return self._told(found[0], query.symbol, intent.price, name)

    # A deal that another app made is none of our orders, where both are told.
    def _may_be_ours(self, deal: Deal) -> bool:
        return not (deal.app_id and self._app_id.isdigit() and deal.app_id != self._app_id)

    def _told(self, deal: Deal, symbol: str, price: Decimal, name: str) -> Found:
        if name:
            self._reports.name(deal.transaction_id, name)
        if deal.side == "SELL":
            self._contracts.sold(deal.contract_id)
        order = self._reports.order(deal, symbol, price, "query")
        fill = self._reports.fill(deal, symbol, "query")
        evidence = f"contract {deal.contract_id} by transaction {deal.transaction_id}"
        return True, order, [fill], evidence

    # Both lists, because either may lag behind the other.
    def _deals(self, symbol: str, since_s: int, side: str | None) -> list[Deal]:
        found = {d.transaction_id: d for d in self._statement(since_s, side)}
        if side != "SELL":
            for contract in self._portfolio():
                if contract.buy_time_s >= since_s:
                    found.setdefault(contract.buy_transaction, bought(contract))
        return [deal for deal in found.values() if self._kinds.of(deal) == symbol]

    # --- the account

    def reconcile(self, ask: Reconcile) -> ReconcileResult:
        """Ask for deals, balance and open contracts. No order ever rests here."""
        asked_wall_ns, asked_mono_ns = self._clock.wall_ns(), self._clock.mono_ns()
        fills: list[FillReport] = []
        balances: list[BalanceReport] = []
        try:
            for deal in self._statement(self._since_s(ask.fills_since_wall_ns), None):
                symbol = self._kinds.of(deal)
                if symbol is None or self._may_be_flying(deal, symbol):
                    continue
                fills.append(self._reports.fill(deal, symbol, "reconcile"))
            balances = self._balances()
            ok, text = True, ""
        except (ReadFailed, ValueError) as failed:
            ok, text, fills, balances = False, str(failed)[:500], [], []
        return ReconcileResult(
            request_id=ask.request_id,
            account=ask.account,
            ok=ok,
            text=text,
            open_orders=[],
            fills=fills,
            balances=balances,
            asked_wall_ns=asked_wall_ns,
            asked_mono_ns=asked_mono_ns,
        )

    def _may_be_flying(self, deal: Deal, symbol: str) -> bool:
        return not self._reports.name_of(deal.transaction_id) and self._flights.holds(deal, symbol)

    # The account's money, and each kind of contract as the number of its open ones.
    def _balances(self) -> list[BalanceReport]:
        total, currency = read_balance(self._ask({"balance": 1}))
        counts = {kind.symbol: 0 for kind in self._kinds.by_symbol.values() if kind.is_contract}
        for contract in self._portfolio():
            symbol = self._kinds.of(contract)
            if symbol is not None:
                counts[symbol] += 1
        zero = Decimal(0)
        held = [
            BalanceReport(symbol.partition("/")[0], Decimal(count), zero)
            for symbol, count in counts.items()
        ]
        return [BalanceReport(currency, total, zero), *held]

    # --- records, for people

    def records(self, ask: AskVenue) -> VenueTold:
        """Return the venue's own records as plain rows: topic portfolio, statement or profit_table."""
        topics: Mapping[str, Callable[[int], list[dict[str, Any]]]] = {
            "portfolio": self._portfolio_rows,
            "statement": self._statement_rows,
            "profit_table": self._profit_rows,
        }
        show = topics.get(ask.topic)
        if show is None:
            text = f"the venue keeps no {ask.topic!r}; there are: {', '.join(topics)}"
            return VenueTold(ask.reply_to, ask.correlation_id, False, "BAD_REQUEST", text, b"")
        try:
            found = show(int(ask.arguments.get("limit", LIMIT_DEFAULT)))
        except (ReadFailed, ValueError) as failed:
            text = str(failed)[:500]
            return VenueTold(ask.reply_to, ask.correlation_id, False, "NOT_READY", text, b"")
        return VenueTold(ask.reply_to, ask.correlation_id, True, "", "", pack(found))

    def _portfolio_rows(self, limit: int) -> list[dict[str, Any]]:
        self._portfolio()
        return [
            {
                "contract_id": str(contract.contract_id),
                "symbol": self._kinds.of(contract),
                "stake": f"{contract.stake:f}",
                "bid_price": _text(contract.bid_price),
                "unrealized_pnl": _text(contract.profit),
                "commission": _text(contract.commission),
                "transaction_id": contract.buy_transaction,
                "ts_ns": contract.buy_time_s * NS_PER_S,
            }
            for contract in self._contracts.all()[:limit]
        ]

    def _statement_rows(self, limit: int) -> list[dict[str, Any]]:
        message = self._words.statement(0, 0, None) | {"limit": min(limit, STATEMENT_LIMIT)}
        del message["date_from"]
        found = rows(self._ask(message), "statement", "transactions")
        return [
            {
                "transaction_id": _text(row.get("transaction_id")),
                "action": _text(row.get("action_type")),
                "amount": _text(row.get("amount")),
                "balance_after": _text(row.get("balance_after")),
                "contract_id": _text(row.get("contract_id")),
                "shortcode": _text(row.get("shortcode")),
                "ts_ns": _ns(row.get("transaction_time")),
            }
            for row in found
        ]

    def _profit_rows(self, limit: int) -> list[dict[str, Any]]:
        message = self._words.profit_table(min(limit, STATEMENT_LIMIT), 0)
        found = rows(self._ask(message), "profit_table", "transactions")
        return [
            {
                "contract_id": _text(row.get("contract_id")),
                "shortcode": _text(row.get("shortcode")),
                "buy_price": _text(row.get("buy_price")),
                "sell_price": _text(row.get("sell_price")),
                "ts_ns": _ns(row.get("purchase_time")),
                "ts_closed_ns": _ns(row.get("sell_time")),
                "transaction_id": _text(row.get("transaction_id")),
            }
            for row in found
        ]

    # --- the reads

    def _portfolio(self) -> list[Contract]:
        asked_mono_ns = self._clock.mono_ns()
        found = read_portfolio(self._ask({"portfolio": 1}))
        self._contracts.replace(found, asked_mono_ns)
        return found

    def _statement(self, since_s: int, side: str | None) -> list[Deal]:
        found: dict[str, Deal] = {}
        offset = 0
        for _ in range(PAGES_MAX):
            deals, count = read_statement(
                self._ask(self._words.statement(max(0, since_s), offset, side))
            )
            found.update((deal.transaction_id, deal) for deal in deals)
            if count < STATEMENT_LIMIT:
                # Oldest first, and nothing left out: another app's deals move the same money.
                return sorted(found.values(), key=lambda d: (d.time_s, int(d.transaction_id)))
            offset += count
        raise ReadFailed(f"more than {PAGES_MAX} pages of the statement")

    def _since_s(self, since_wall_ns: int) -> int:
        if since_wall_ns < NS_PER_S:
            return self._venue_s(self._clock.wall_ns()) - FIRST_LOOK_S
        return self._venue_s(since_wall_ns) - OVERLAP_S

    def _ask(self, message: Json) -> Json:
        method = next(iter(message))
        deadline_ns = self._clock.mono_ns() + READ_DEADLINE_NS
        if not self._link.is_up:
            raise ReadFailed(f"{method}: the private link is down")  # and costs nothing
        if not self._rates.acquire(method, Priority.QUERY, deadline_ns):
            raise ReadFailed(self._rates.shortage(method))
        try:
            answer = self._link.ask(message, self._answer_s)
        except (NotLeft, NoAnswer) as lost:
            raise ReadFailed(f"{method}: {lost}") from None
        error = error_of(answer)
        if error is None:
            return answer
        if error.code == "RateLimit":
            self._rates.on_limited()
        raise ReadFailed(f"{method}: {error.code}: {error.message}")


def _text(value: object) -> str | None:
    if value is None:
        return None
    return f"{value:f}" if isinstance(value, Decimal) else str(value)[:200]


def _ns(value: object) -> int | None:
    return value * NS_PER_S if isinstance(value, int) else None
