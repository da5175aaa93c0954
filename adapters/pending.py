"""The ledger of submits: every SubmitOrder is answered exactly once, whatever dies in between.

An order is waiting, then sending, then answered. Only a waiting one may begin to be sent; an answer
is heard only for one that is not answered yet. A repeated command is told the same answer again, or
waits for the one that is coming.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from engine.clock import Clock
from engine.messages.base import Message
from engine.messages.port import Outcome, SubmitOrder, SubmitResult

REMEMBERED_MAX: Final = 20_000


class Pending:
    """Submits in the adapter's hands and the last answers given. Thread safe."""

    def __init__(self, clock: Clock, deliver: Callable[[Message], None]) -> None:
        self._clock = clock
        self._deliver = deliver
        self._lock = threading.Lock()
        self._open: dict[str, tuple[SubmitOrder, bool]] = {}
        self._answered: OrderedDict[str, SubmitResult] = OrderedDict()

    def __len__(self) -> int:
        """Return how many have not been answered."""
        return len(self._open)

    def begin(self, order: SubmitOrder) -> bool:
        """Take an order; False when it was taken before (its answer is repeated if there is one)."""
        with self._lock:
            if order.client_order_id in self._open:
                return False
            answer = self._answered.get(order.client_order_id)
            if answer is None:
                self._open[order.client_order_id] = (order, False)
                return True
        self._deliver(answer)
        return False

    def sending(self, order: SubmitOrder) -> bool:
        """Mark it as about to be sent; False when it was answered meanwhile and must not be."""
        with self._lock:
            entry = self._open.get(order.client_order_id)
            if entry is None or entry[1]:
                return False
            self._open[order.client_order_id] = (order, True)
            return True

    def is_sending(self, order: SubmitOrder) -> bool:
        """Tell whether it was begun to be sent and is not answered yet."""
        with self._lock:
            entry = self._open.get(order.client_order_id)
            return entry is not None and entry[1]

    def answer(self, result: SubmitResult) -> None:
        """Deliver the one answer; a second one is dropped."""
        with self._lock:
            if self._open.pop(result.client_order_id, None) is None:
                return
            self._remember(result)
        self._deliver(result)

    def _remember(self, result: SubmitResult) -> None:
        self._answered[result.client_order_id] = result
        while len(self._answered) > REMEMBERED_MAX:
            self._answered.popitem(last=False)

    def refuse(self, order: SubmitOrder, code: str, text: str) -> None:
        """Answer an order that was provably not sent."""
        with self._lock:  # looked at and taken in one: nobody can begin to send it in between
            entry = self._open.get(order.client_order_id)
            if entry is None or entry[1]:
                return
            del self._open[order.client_order_id]
            result = self._result(order, "NOT_SENT", code, text, 0)
            self._remember(result)
        self._deliver(result)

    def end_all(self, code: str, text: str) -> None:
        """Answer what is left: NOT_SENT what was waiting, UNKNOWN what was being sent."""
        results: list[SubmitResult] = []
        with self._lock:
            for order, was_sending in self._open.values():
                outcome: Outcome = "UNKNOWN" if was_sending else "NOT_SENT"
                sent_wall_ns = self._clock.wall_ns() if was_sending else 0
                results.append(self._result(order, outcome, code, text, sent_wall_ns))
                self._remember(results[-1])
            self._open.clear()
        for result in results:
            self._deliver(result)

    def _result(
        self, order: SubmitOrder, outcome: Outcome, code: str, text: str, sent_wall_ns: int
    ) -> SubmitResult:
        return SubmitResult(
            account=order.account,
            client_order_id=order.client_order_id,
            outcome=outcome,
            venue_order_id=None,
            code=code,
            text=text[:500],
            evidence=f"{code}: {text}"[:500],
            ts_event_ns=self._clock.wall_ns(),
            sent_wall_ns=sent_wall_ns,
        )
