"""The private half of an adapter: our orders, fills and balances as the venue pushes them.

Runs in the private link's thread. Nothing is dropped and nothing is remembered: a venue replays
nothing after a reconnect, so `LinkChanged(private, up)`, told once the subscription is confirmed,
calls for a reconciliation. A refused key ends the link for good.
"""

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from adapters.codec import CANNOT_SIGN, Acked, Codec, Denied, Problem, Reconnect, RenewSoon
from adapters.offset import ClockOffset
from adapters.registry import Ticket, VenueConfig
from engine.clock import NS_PER_S, Clock
from engine.errors import Refused
from engine.messages.base import Message
from engine.messages.port import (
    AdapterFailed,
    BalanceUpdate,
    FillReport,
    LinkChanged,
    OrderReport,
)

if TYPE_CHECKING:
    from adapters.stream import Link


class PrivateFeed:
    """Order, fill and balance reports of one account."""

    def __init__(
        self,
        config: VenueConfig,
        codec: Codec,
        *,
        clock: Clock,
        offset: ClockOffset,
        deliver: Callable[[Message], None],
        ask_clock: Callable[[], None],
        ask_renewal: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._config = config
        self._codec = codec
        self._clock = clock
        self._offset = offset
        self._deliver = deliver
        self._ask_clock = ask_clock
        self._ask_renewal = ask_renewal
        self._opened_ns = 0
        self._acks = 0
        self._down_told = False
        self.link: Link | None = None
        self.is_up = False
        self.problems: Counter[str] = Counter()
        self.last_problem = ""

    def take_ticket(self, ticket: Ticket, reply: Any) -> None:
        """Let the codec have what REST gave out for this connection. BadReply if it is no ticket."""
        ticket.take(self._codec, reply)

    def on_open(self) -> list[str]:
        """Log in, with the venue's time."""
        self._opened_ns = self._clock.mono_ns()
        self._acks = 0
        try:
            return self._codec.login(self._offset.now_ms())
        except Refused as refused:
            if refused.code == CANNOT_SIGN:
                self._refuse(refused.text)
                return []
            self._ask_clock()
            self._end(refused.text)
            return []

    def on_alive(self, mono_ns: int) -> None:
        """Nothing to tell: only the public link's life is published."""

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Parse and deliver."""
        for event in self._codec.on_private(raw, wall_ns):
            if isinstance(event, OrderReport | FillReport | BalanceUpdate):
                self._deliver(event)
            elif isinstance(event, Acked):
                self._on_acked(event, mono_ns)
            elif isinstance(event, Problem):
                self.problems[event.code] += 1
                self.last_problem = event.text
            elif isinstance(event, RenewSoon):
                self._ask_renewal(event.reason)
            elif isinstance(event, Reconnect):
                if not self.is_up:
                    self._ask_clock()  # the likeliest reason that patience mends
                self._end(event.reason)
            elif isinstance(event, Denied):
                self._refuse(event.text)

    def on_tick(self, mono_ns: int) -> None:
        """A login that is not answered is no login."""
        if not self.is_up and mono_ns - self._opened_ns > self._config.timeouts.sync_s * NS_PER_S:
            self._end("login was not acknowledged")

    def on_down(self, reason: str) -> None:
        """Reports may be missed from now on."""
        if self.is_up or not self._down_told:
            now_ns = self._clock.mono_ns()
            self._deliver(LinkChanged(self._config.name, "private", False, reason[:300], now_ns))
        self.is_up, self._down_told = False, True

    def republish(self) -> None:
        """Tell the link's state anew."""
        now_ns = self._clock.mono_ns()
        self._deliver(LinkChanged(self._config.name, "private", self.is_up, "republished", now_ns))

    def _on_acked(self, acked: Acked, mono_ns: int) -> None:
        if acked.what == "login":
            if self.link is not None:
                self.link.send(self._codec.after_login())
            return
        self._acks += 1
        if self._acks == self._codec.private_acks:
            self.is_up, self._down_told = True, False
            self._deliver(LinkChanged(self._config.name, "private", True, "subscribed", mono_ns))

    # No patience mends it.
    def _refuse(self, text: str) -> None:
        self._deliver(AdapterFailed(self._config.name, "auth", text[:300]))
        if self.link is not None:
            self.link.give_up()

    def _end(self, reason: str) -> None:
        if self.link is not None:
            self.link.reconnect(reason)
