"""The way of an adapter's reports into the core: from any of its threads to its ExchangeActor.

Under the caller-runs dispatcher the thread that brings a report may also run the actors that handle
it. If a handler gets stuck there, the watchdog gives the thread up; the session whose thread it was
is then ended and begun anew, or its link would never read again.
"""

from collections.abc import Callable
from itertools import count
from threading import local

from engine.errors import Fenced
from engine.messages.base import Message
from engine.messages.port import AdapterFailed
from engine.supervision import Supervisor


class Inlet:
    """Delivers one session's reports, each under an id of its own. Call it from any thread."""

    def __init__(
        self,
        runtime: Supervisor,
        venue: str,
        session: int,
        fault_point: Callable[[str], None],
    ) -> None:
        self._runtime = runtime
        self._venue = venue
        self._prefix = f"{runtime.run_id}.{venue}.{session}"
        self._fault_point = fault_point
        self._numbers = count(1)
        self._known = local()

    def __call__(self, message: Message) -> None:
        """Deliver one report. A thread that was given up as stuck delivers nothing any more."""
        self._fault_point(f"deliver.{type(message).__name__}")
        if not hasattr(self._known, "yes"):
            self._known.yes = True
            self._runtime.register_thread(self._on_lost)
        try:
            self._tell(f"exchange.{self._venue}", message)
        except Fenced:
            return  # its session has been replaced; the new one asks the venue anew
        if isinstance(message, AdapterFailed):
            self._tell(f"adapter.{self._venue}", message)

    def _tell(self, address: str, message: Message) -> None:
        sender = f"adapter.{self._venue}"
        new_id = f"{self._prefix}.{next(self._numbers)}"
        self._runtime.tell(address, message, sender=sender, message_id=new_id)

    def _on_lost(self) -> None:
        failed = AdapterFailed(self._venue, "crashed", "a thread got stuck and was given up")
        for address in (f"exchange.{self._venue}", f"adapter.{self._venue}"):
            self._tell(address, failed)
