"""What an ExchangeActor passes on: market data as it came, and the venue's own word on what is open."""

from typing import Final

from actors.exchange_orders import VenueOrders
from actors.exchange_state import ExchangeConfig
from engine.ids import is_ours as is_ours_id
from engine.messages.commands import AskOpen, Reply
from engine.messages.market import LinkAlive, TradePrint, VenueBook
from engine.messages.port import Reconcile, ReconcileResult, VenueHealth
from engine.wire import pack

ASKED_OPEN_MAX: Final = 100
OPEN_ASKED: Final = "open:"


class ExchangeRelay(VenueOrders):
    """See the module's docstring. Answers nothing twice: a question is forgotten with its answer."""

    def __init__(self, config: ExchangeConfig) -> None:
        super().__init__(config)
        self.asked_open: dict[str, AskOpen] = {}

    # --- what is open, as the venue says ----------------------------------------------------------

    def on_ask_open(self, message: AskOpen) -> None:
        """Ask the venue itself what is open there, for whoever halted."""
        self.asked_open[message.correlation_id] = message
        while len(self.asked_open) > ASKED_OPEN_MAX:
            del self.asked_open[next(iter(self.asked_open))]
        request_id = f"{OPEN_ASKED}{message.correlation_id}"
        self.send(self.adapter, Reconcile(request_id, self.config.account, self.clock.wall_ns()))

    def answers_edge(self, message: ReconcileResult) -> bool:
        """Tell whether this is the answer to such a question, and pass it on."""
        if not message.request_id.startswith(OPEN_ASKED):
            return False
        asked = self.asked_open.pop(message.request_id.removeprefix(OPEN_ASKED), None)
        if asked is not None:
            body = pack(open_view(message, asked.scope, self.config.instance, is_ours=self.is_ours))
            self.send(asked.reply_to, Reply(asked.correlation_id, True, "", "", body))
        return True

    # --- market data, passed on as it came --------------------------------------------------------

    def on_venue_book(self, message: VenueBook) -> None:
        """Pass a book on to the consolidated book."""
        self.forward("order_book")

    def on_link_alive(self, message: LinkAlive) -> None:
        """Pass proof of life on."""
        self.forward("order_book")

    def on_trade_print(self, message: TradePrint) -> None:
        """Pass a public trade on to the edges."""
        self.forward("edge")

    def on_venue_health(self, message: VenueHealth) -> None:
        """Pass gauges on to the edges."""
        self.forward("edge")


def open_view(
    result: ReconcileResult, scope: str, instance: str, *, is_ours: bool
) -> dict[str, object]:
    """Return what the venue itself says is open of ours and of others, in a halt's scope."""
    symbol = scope.removeprefix("symbol:") if scope.startswith("symbol:") else ""
    found = [o for o in result.open_orders if symbol in ("", o.symbol)]
    ours = [o for o in found if is_ours_id(o.client_order_id, instance)]
    return {
        "ok": result.ok and is_ours,
        "text": result.text if is_ours else "another account's credentials",
        "ours": [o.client_order_id for o in ours],
        "others": [o.venue_order_id for o in found if o not in ours],
    }
