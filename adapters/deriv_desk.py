"""Orders at Deriv: a quote is asked for, then taken or not; a close sells the oldest contract.

Only what fills at once or not at all can be placed: a limit order as IOC or FOK for one contract. What
else is asked for is refused before a byte leaves. The quote itself buys nothing, so that whatever becomes
of it, nothing was sent. From the `buy` or `sell` on the outcome is the venue's answer or UNKNOWN: a buy
is never sent twice, not even after a refusal for the rate limit, and an answer that is lost renews the
connection, so that the inquiry that follows asks on a fresh one.
"""

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from adapters.deriv_answers import Contract, Deal, Quote, read_bought, read_quote, read_sold
from adapters.deriv_contracts import NS_PER_S, ONE, Kind, Kinds, Reports
from adapters.deriv_link import DerivLink, NoAnswer, NotLeft
from adapters.deriv_rates import Rates
from adapters.deriv_state import Flights, OpenContracts
from adapters.deriv_words import DerivError, Json, Words, error_of
from adapters.gate import Gate, GateShut
from adapters.pending import Pending
from adapters.rate import Priority
from engine.clock import Clock
from engine.messages.base import Message
from engine.messages.port import Outcome, SubmitOrder, SubmitResult

# Errors after which nothing was bought or sold, by the venue's own documents. What is not here proves
# nothing: InternalError, WrongResponse, DisconnectionError, and whatever is new.
REFUSED: Final = frozenset(
    {
        "InputValidationFailed", "ValidationError", "InsufficientBalance", "InvalidToken",
        "Unauthorized", "AuthorizationRequired", "PermissionDenied", "ContractNotFound", "NotFound",
        "ContractBuyValidationError", "InvalidContractProposal", "PriceMoved", "MarketIsClosed",
        "InvalidOfferings", "UnrecognisedRequest", "RateLimit", "InvalidSellContractProposal",
    }
)  # fmt: skip
CODES: Final = {
    "InsufficientBalance": "insufficient_balance", "PriceMoved": "price_moved",
    "MarketIsClosed": "market_closed", "RateLimit": "rate_limited",
    "ContractNotFound": "contract_not_found", "InvalidContractProposal": "quote_expired",
}  # fmt: skip


class DerivDesk:
    """Submits of one account. Each call runs in a worker's thread and answers through `pending`."""

    def __init__(
        self,
        link: DerivLink,
        words: Words,
        kinds: Kinds,
        *,
        gate: Gate,
        pending: Pending,
        rates: Rates,
        reports: Reports,
        contracts: OpenContracts,
        flights: Flights,
        clock: Clock,
        venue_now_s: Callable[[], int],
        currency: Callable[[], str],
        underlying: Callable[[str], str | None],
        deliver: Callable[[Message], None],
        answer_s: float,
    ) -> None:
        self._link = link
        self._words = words
        self._kinds = kinds
        self._gate = gate
        self._pending = pending
        self._rates = rates
        self._reports = reports
        self._contracts = contracts
        self._flights = flights
        self._clock = clock
        self._venue_now_s = venue_now_s
        self._currency = currency
        self._underlying = underlying
        self._deliver = deliver
        self._answer_s = answer_s

    def submit(self, order: SubmitOrder) -> None:
        """Place an order: refused here, or sent once and answered with what the venue proves."""
        kind = self._kinds.by_symbol.get(order.symbol)
        refused = refusal(order, kind)
        if refused is not None:
            self._pending.refuse(order, *refused)
            return
        assert kind is not None, "refused otherwise"
        if not self._link.is_up:
            self._pending.refuse(order, "not_ready", "the private link is down")
        elif order.side == "BUY":
            self._buy(order, kind)
        else:
            self._sell(order)

    # --- buy

    def _buy(self, order: SubmitOrder, kind: Kind) -> None:
        quote = self._quote(order, kind)
        if quote is None:
            return
        assert order.price is not None, "refused otherwise"
        if quote.ask_price > order.price:
            text = f"the venue asks {quote.ask_price:f}, the order allows {order.price:f}"
            self._pending.refuse(order, "price_limit", text)
            return
        message = self._words.buy(quote.quote_id, order.price, order.client_order_id)
        self._act(order, message, None)

    # A quote binds nobody: without one, or with a refusal in its place, nothing has been sent.
    def _quote(self, order: SubmitOrder, kind: Kind) -> Quote | None:
        assert order.price is not None, "refused otherwise"
        name = self._underlying(order.symbol)
        if name is None:
            self._pending.refuse(order, "unknown_symbol", f"the venue does not list {order.symbol}")
            return None
        message = self._words.proposal(
            kind.kind, name, kind.multiplier, order.price, self._currency()
        )
        if not self._rates.acquire("proposal", Priority.NEW, order.expires_mono_ns):
            self._pending.refuse(order, "rate_limited", self._rates.shortage("proposal"))
            return None
        try:
            answer = self._link.ask(message, self._answer_s)
        except (NotLeft, NoAnswer) as lost:
            self._pending.refuse(order, "no_quote", f"the venue gave no price: {lost}")
            return None
        error = error_of(answer)
        if error is not None:
            self._refused_quote(order, error)
            return None
        try:
            return read_quote(answer)
        except ValueError as odd:
            self._pending.refuse(order, "no_quote", f"a price that makes no sense: {odd}")
            return None

    def _refused_quote(self, order: SubmitOrder, error: DerivError) -> None:
        self._judge(error)
        evidence = f"the quote was refused, nothing was bought: {error.code}: {error.message}"
        if self._pending.sending(order):
            self._answer(order, "REJECTED", _code(error), error.message, evidence, 0)

    # --- sell

    def _sell(self, order: SubmitOrder) -> None:
        assert order.price is not None, "refused otherwise"
        with self._contracts.reserve_oldest(order.symbol) as contract:
            if contract is None:
                text = f"no contract of {order.symbol} is open and not being sold already"
                self._pending.refuse(order, "no_contract", text)
                return
            message = self._words.sell(contract.contract_id, order.price, order.client_order_id)
            self._act(order, message, contract)

    # --- both

    def _act(self, order: SubmitOrder, message: Json, contract: Contract | None) -> None:
        method = "buy" if contract is None else "sell"
        priority = Priority.NEW if contract is None else Priority.CANCEL  # a close goes first
        if not self._rates.acquire(method, priority, order.expires_mono_ns):
            self._pending.refuse(order, "rate_limited", self._rates.shortage(method))
            return
        sent_wall_ns = self._clock.wall_ns()
        name = order.client_order_id
        with self._flights.flying(name, order.symbol, order.side, self.tell):
            try:
                answer = self._link.ask(
                    message,
                    self._answer_s,
                    lambda: self._gate.passing(order),
                    lambda: self._pending.sending(order),
                )
            except GateShut as shut:
                self._pending.refuse(order, shut.code, shut.text)
                return
            except NotLeft as kept:
                self._pending.refuse(order, "not_sent", str(kept))
                return
            except NoAnswer as lost:
                text = f"{method}: {lost}"
                self._answer(order, "UNKNOWN", "no_answer", text, text, sent_wall_ns)
                self._link.renew(f"a {method} was not answered")
                return
            self._answered(order, answer, contract, sent_wall_ns)

    def _answered(
        self, order: SubmitOrder, answer: Json, contract: Contract | None, sent_wall_ns: int
    ) -> None:
        error = error_of(answer)
        if error is not None:
            self._judge(error)
            outcome: Outcome = "REJECTED" if error.code in REFUSED else "UNKNOWN"
            evidence = f"{error.code}: {error.message}"
            self._answer(order, outcome, _code(error), error.message, evidence, sent_wall_ns)
            if outcome == "UNKNOWN":
                self._link.renew("a deal is not proven")
            return
        try:
            deal = self._deal(order, answer, contract)
        except ValueError as odd:
            text = f"the answer is not what the venue documents: {odd}"
            self._answer(order, "UNKNOWN", "odd_success", text, text, sent_wall_ns)
            return
        self._reports.name(deal.transaction_id, order.client_order_id)
        evidence = f"contract {deal.contract_id}, transaction {deal.transaction_id}"
        self._answer(order, "ACCEPTED", "", "", evidence, sent_wall_ns, deal)
        self.done(deal, order.symbol, order.price or deal.amount)

    def _deal(self, order: SubmitOrder, answer: Json, contract: Contract | None) -> Deal:
        assert order.price is not None, "refused otherwise"
        if contract is None:
            deal = read_bought(answer)
            if deal.amount > order.price:
                raise ValueError(f"bought for {deal.amount:f}, above {order.price:f}")
            return deal
        deal = read_sold(answer)
        if deal.contract_id != contract.contract_id:
            raise ValueError(f"sold {deal.contract_id} instead of {contract.contract_id}")
        return deal._replace(time_s=self._venue_now_s())

    def done(self, deal: Deal, symbol: str, price: Decimal) -> None:
        """Report a deal of ours and keep the list of open contracts."""
        kind = self._kinds.by_symbol[symbol]
        if deal.side == "SELL":
            self._contracts.sold(deal.contract_id)
        else:
            self._contracts.note(_opened(deal, kind))
            self._rates.spend("proposal_open_contract")
            self._link.tell(self._words.contract(deal.contract_id, subscribe=True))
        self._deliver(self._reports.order(deal, symbol, price, "reply"))
        self._deliver(self._reports.fill(deal, symbol, "reply"))

    def tell(self, deal: Deal, symbol: str) -> None:
        """Report a deal that was held while an order was on its way."""
        self._deliver(self._reports.fill(deal, symbol, "stream"))

    def _answer(
        self,
        order: SubmitOrder,
        outcome: Outcome,
        code: str,
        text: str,
        evidence: str,
        sent_wall_ns: int,
        deal: Deal | None = None,
    ) -> None:
        self._pending.answer(
            SubmitResult(
                account=order.account,
                client_order_id=order.client_order_id,
                outcome=outcome,
                venue_order_id=None if deal is None else deal.transaction_id,
                code=code,
                text=text[:500],
                evidence=evidence[:500],
                ts_event_ns=self._clock.wall_ns() if deal is None else deal.time_s * NS_PER_S,
                sent_wall_ns=sent_wall_ns,
            )
        )

    def _judge(self, error: DerivError) -> None:
        if error.code == "RateLimit":
            self._rates.on_limited()
        elif error.code in ("AuthorizationRequired", "InvalidToken", "Unauthorized"):
            self._link.renew(f"{error.code}: {error.message[:100]}")


def refusal(order: SubmitOrder, kind: Kind | None) -> tuple[str, str] | None:
    """Return the code and the sentence of why this venue cannot take an order at all, or None."""
    if kind is None or not kind.is_contract:
        return "not_tradable", f"{order.symbol} is a price to watch; orders go to its contracts"
    if order.post_only:
        return "post_only_unsupported", "the venue has no resting orders, so none can be post-only"
    if order.order_type != "LIMIT" or order.price is None:
        return "order_type_unsupported", "the price is what the contract may cost: it must be given"
    if order.time_in_force not in ("IOC", "FOK"):
        text = f"{order.time_in_force} cannot rest here: a contract is bought at once or not at all"
        return "time_in_force_unsupported", f"{text} (--tif IOC or FOK)"
    if order.quantity != ONE:
        return "quantity_unsupported", "one order is one contract; its price is the stake"
    return None


def _opened(deal: Deal, kind: Kind) -> Contract:
    return Contract(
        contract_id=deal.contract_id,
        underlying=kind.underlying,
        kind=kind.kind,
        multiplier=kind.multiplier,
        stake=deal.amount,
        buy_transaction=deal.transaction_id,
        buy_time_s=deal.time_s,
        bid_price=None,
        profit=None,
        commission=None,
        is_sold=False,
        sell_transaction="",
        sell_price=None,
        sell_time_s=0,
    )


def _code(error: DerivError) -> str:
    return CODES.get(error.code, error.code or "error")
