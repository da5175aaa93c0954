"""What Deriv pushes on the private link, and which reports follow from it.

A pushed deal is told under the name of the order that made it where that is known. While an order is on
its way that may have made it, it is held: the order's answer will say. Otherwise somebody else made it,
or the venue itself (a stop out), and it is told without a name.
"""

from collections.abc import Callable
from typing import Final

from adapters.deriv_answers import (
    Contract,
    Deal,
    read_bought,
    read_contract,
    read_sold,
    read_transaction,
)
from adapters.deriv_contracts import Kinds, Reports
from adapters.deriv_state import Flights, OpenContracts
from adapters.deriv_words import Json, error_of
from engine.messages.base import Message

NAME_MAX: Final = 64


class Pushes:
    """See the module's docstring. Runs in the private link's thread."""

    def __init__(
        self,
        kinds: Kinds,
        reports: Reports,
        contracts: OpenContracts,
        flights: Flights,
        *,
        deliver: Callable[[Message], None],
        publish: Callable[[str], None],
        follow: Callable[[int], None],
        note: Callable[[str, str], None],
        venue_now_s: Callable[[], int],
    ) -> None:
        """Take the session's state; `follow` subscribes a contract, `publish` shows a symbol's book."""
        self._kinds = kinds
        self._reports = reports
        self._contracts = contracts
        self._flights = flights
        self._deliver = deliver
        self._publish = publish
        self._follow = follow
        self._note = note
        self._venue_now_s = venue_now_s
        self._takes: dict[str, Callable[[Json], None]] = {
            "transaction": self._on_transaction,
            "proposal_open_contract": self._on_contract,
            "buy": lambda late: self._on_late(late, read_bought(late)),
            "sell": lambda late: self._on_late(late, read_sold(late)),
        }

    def take(self, message: Json, wall_ns: int, mono_ns: int) -> None:
        """Take one message that answers no question, or one that nobody waits for any more."""
        del wall_ns, mono_ns
        take = self._takes.get(str(message.get("msg_type")))
        if take is None or error_of(message) is not None:
            return
        try:
            take(message)
        except ValueError as odd:
            self._note("malformed", str(odd))

    # A movement of money. Of a contract that was not seen yet only its state tells the kind.
    def _on_transaction(self, message: Json) -> None:
        deal = read_transaction(message)
        if deal is None:
            return
        symbol = self._contracts.symbol(deal.contract_id)
        if symbol is not None:
            self._take_deal(deal, symbol)
        elif not self._reports.name_of(deal.transaction_id):
            self._follow(deal.contract_id)

    def _on_contract(self, message: Json) -> None:
        contract = read_contract(message) if message.get("proposal_open_contract") else None
        if contract is None:
            return
        is_new = self._contracts.symbol(contract.contract_id) is None
        symbol = self._contracts.note(contract)
        if symbol is None:
            return
        if is_new:
            self._take_deal(bought(contract), symbol)
        if contract.is_sold and contract.sell_transaction and contract.sell_price is not None:
            deal = bought(contract)._replace(
                transaction_id=contract.sell_transaction,
                side="SELL",
                amount=contract.sell_price,
                time_s=contract.sell_time_s,
            )
            self._take_deal(deal, symbol)
        self._publish(symbol)

    def _take_deal(self, deal: Deal, symbol: str) -> None:
        if deal.side == "SELL":
            self._contracts.sold(deal.contract_id)
        named = self._reports.name_of(deal.transaction_id)
        if named or not self._flights.holds(deal, symbol):
            self._deliver(self._reports.fill(deal, symbol, "stream"))

    # An answer that comes late, or a second time. It names its order in what it echoes.
    def _on_late(self, message: Json, deal: Deal) -> None:
        echoed = message.get("echo_req")
        passed = echoed.get("passthrough") if isinstance(echoed, dict) else None
        name = passed.get("order") if isinstance(passed, dict) else None
        symbol = self._contracts.symbol(deal.contract_id) or self._kinds.of(deal)
        is_known = bool(self._reports.name_of(deal.transaction_id))
        if symbol is None or is_known or not isinstance(name, str) or len(name) > NAME_MAX:
            return
        if not deal.time_s:
            deal = deal._replace(time_s=self._venue_now_s())
        self._reports.name(deal.transaction_id, name)
        self._deliver(self._reports.order(deal, symbol, deal.amount, "reply"))
        self._take_deal(deal, symbol)


def bought(contract: Contract) -> Deal:
    """Return the deal that opened a contract."""
    return Deal(
        contract.buy_transaction,
        contract.contract_id,
        "BUY",
        contract.stake,
        contract.buy_time_s,
        contract.underlying,
        contract.kind,
        contract.multiplier,
        "",
    )
