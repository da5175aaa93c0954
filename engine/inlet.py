"""The way of an adapter's reports into the core: from any of its threads to its ExchangeActor.

Under the caller-runs dispatcher the thread that brings a report may also run the actors that handle
it. If a handler gets stuck there, the watchdog gives the thread up; the session whose thread it was
is then ended and begun anew, or its link would never read again.
"""

from collections.abc import Callable
from itertools import count
from threading import local

from msgspec import Raw

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
        self._exchange = f"exchange.{venue}"
        self._prefix = f"{runtime.run_id}.{venue}.{session}"
        self._fault_point = fault_point
        self._numbers = count(1)
        self._known = local()

    def __call__(self, message: Message) -> None:
        """Deliver one report. A thread that was given up as stuck delivers nothing any more."""
        self._arrive(type(message).__name__)
        try:
            self._tell(self._exchange, message)
        except Fenced:
            return  # its session has been replaced; the new one asks the venue anew
        if isinstance(message, AdapterFailed):
            self._tell(f"adapter.{self._venue}", message)

    def pass_on(self, kind: str, key: str, body: Raw) -> None:
        """Deliver one report that came encoded from the adapter's process.

        Raises:
            Fenced: the calling thread was given up as stuck, and its session with it.
            MessageError: no message is called `kind`.
        """
        self._arrive(kind)
        sender = f"adapter.{self._venue}"
        for address in (self._exchange, sender) if kind == "AdapterFailed" else (self._exchange,):
            new_id = f"{self._prefix}.{next(self._numbers)}"
            self._runtime.tell_encoded(address, kind, key, body, sender, new_id)

    def is_full(self) -> bool:
        """Tell whether so many reports wait that the venue should not be read any further."""
        return self._runtime.mailbox(self._exchange).above_high_water

    def _arrive(self, kind: str) -> None:
        self._fault_point(f"deliver.{kind}")
        if not hasattr(self._known, "yes"):
            self._known.yes = True
            self._runtime.register_thread(self._on_lost)

    def _tell(self, address: str, message: Message) -> None:
        sender = f"adapter.{self._venue}"
        new_id = f"{self._prefix}.{next(self._numbers)}"
        self._runtime.tell(address, message, sender=sender, message_id=new_id)

    def _on_lost(self) -> None:
        failed = AdapterFailed(self._venue, "crashed", "a thread got stuck and was given up")
        for address in (self._exchange, f"adapter.{self._venue}"):
            self._tell(address, failed)
