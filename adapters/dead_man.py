"""The venue's own dead man's switch, kept from firing while this process lives and orders rest.

A venue that has one cancels by itself what rests when it is not told for a while that somebody is
there: it works when this whole machine is gone. Most cancel everything of the account, whoever placed
it, so those are used only where the account is declared to be this instance's alone.
"""

from threading import Event, Lock
from typing import Final

from adapters.ccxt_rest import CcxtRest, RestFailure
from adapters.registry import VenueConfig, known_adapter
from adapters.runners import OWN, Runner
from engine.clock import NS_PER_S, Clock
from engine.ids import is_ours
from engine.messages.base import Message
from engine.messages.port import OrderReport, ReconcileResult, SubmitResult

FIRES_AFTER_S: Final = 30
REFRESHES: Final = 3  # within that time
DISARM_WITHIN_S: Final = 1.0
OPEN: Final = ("NEW", "PARTIALLY_FILLED")


class DeadMan:
    """Refreshes the switch of one venue. `observe` from any thread; the rest from one."""

    def __init__(
        self, config: VenueConfig, instance: str, clock: Clock, fires_after_s: int = FIRES_AFTER_S
    ) -> None:
        is_own = config.adapter in OWN
        self._switch = None if is_own else known_adapter(config.adapter).dead_man
        self._instance = instance
        self._clock = clock
        self._fires_after_s = fires_after_s
        self._refresh_ns = fires_after_s * NS_PER_S // REFRESHES
        self._lock = Lock()
        self._resting: set[str] = set()
        self._told_ns = 0
        self.is_armed = False

    def observe(self, message: Message) -> None:
        """Learn from a report what of ours rests at the venue."""
        with self._lock:
            match message:
                case SubmitResult(outcome="ACCEPTED"):
                    self._resting.add(message.client_order_id)
                case OrderReport() if message.status not in OPEN:
                    self._resting.discard(message.client_order_id)
                case OrderReport() if is_ours(message.client_order_id, self._instance):
                    self._resting.add(message.client_order_id)
                case ReconcileResult(ok=True):
                    told = [order.client_order_id for order in message.open_orders]
                    self._resting = {name for name in told if is_ours(name, self._instance)}

    def keep(self, adapter: Runner) -> None:
        """Tell the venue what is due: that we live, or once that nothing rests any more."""
        if self._switch is None:
            return
        now_ns = self._clock.mono_ns()
        if not self._resting:
            if self.is_armed:
                self._tell(adapter, 0)
        elif not self.is_armed or now_ns - self._told_ns >= self._refresh_ns:
            self._told_ns = now_ns
            self._tell(adapter, self._fires_after_s)

    def disarm(self, adapter: Runner) -> None:
        """Turn the switch off before an orderly end. Blocks for a second at most."""
        if self.is_armed:
            self._tell(adapter, 0).wait(DISARM_WITHIN_S)

    def _tell(self, adapter: Runner, seconds: int) -> Event:
        done = Event()
        session, switch = adapter.session, self._switch
        if session is None or switch is None or not session.is_ready:
            return done
        call = switch(seconds)

        def job(rest: CcxtRest) -> None:
            try:
                rest.call(call)
            except RestFailure:
                self._told_ns = 0  # the next beat tries again
                return
            self.is_armed = seconds > 0
            done.set()

        session.cancels.put("", job)  # an account's: behind no symbol
        return done
