"""Orders, cancels and order queries over the trading WebSocket, with REST as the road beside it.

A submit takes one road. It goes over the WebSocket when that is up: in the caller's thread if nothing
needs to be waited for, else in the worker's, once the rate governor agrees. Only what provably did not
leave goes over REST instead; an order that may have left here never does, and what is sent anew after
the venue refused it for its clock or its rate limit is sent here or not at all. Cancels and queries
are safe to repeat: one that gets no plain answer here is asked over REST.
"""

import threading
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final, NamedTuple

import msgspec

from adapters.ccxt_rest import CcxtRest
from adapters.codec import Ack, RestCall
from adapters.desk import ATTEMPTS_MAX, OUTCOMES, CallFailed, Desk
from adapters.gate import Gate, GateBusy, GateShut
from adapters.lanes import Job
from adapters.outcome import Evidence, Verdict, classify
from adapters.pending import Pending
from adapters.rate import Priority, RateGovernor
from adapters.trade_codec import Answer, Lost, evidence_of
from adapters.trade_link import Request, SendFailed, TradeLink
from engine.messages.base import Message
from engine.messages.port import CancelOrder, OrderReport, SubmitOrder

# Long enough for a healthy link; after that REST is asked, and a sick link must not hold that up.
READ_S: Final = 1.0
# Verdicts that are the last word on a cancel; after any other one it is tried over REST.
CANCEL_FINAL: Final = frozenset({"ACCEPTED", "REJECTED", "NOT_FOUND", "AUTH"})


class Tries(NamedTuple):
    """How often an order was sent anew because the venue had provably refused it."""

    limits: int = 0
    clocks: int = 0


class TradeDesk:
    """The trading link's half of one venue's desk. Every method may be called from any thread."""

    def __init__(
        self,
        desk: Desk,
        link: TradeLink,
        *,
        governor: RateGovernor,
        gate: Gate,
        pending: Pending,
        answer_s: float,
        deliver: Callable[[Message], None],
        put_submit: Callable[[str, Job], bool],
        put_cancel: Callable[[str, Job], bool],
        nobody_waits: Callable[[str], bool],
    ) -> None:
        self._desk = desk
        self._link = link
        self._governor = governor
        self._gate = gate
        self._pending = pending
        self._answer_s = answer_s
        self._deliver = deliver
        self._put_submit = put_submit
        self._put_cancel = put_cancel
        self._nobody_waits = nobody_waits

    # --- submit

    def submit(self, order: SubmitOrder) -> bool:
        """Send now, in this thread, without waiting; False: the worker's turn, nothing was sent."""
        if not self._link.is_up or not self._nobody_waits(order.symbol):
            return False
        return self._send(order, Tries(), wait=False)

    def submit_waiting(self, order: SubmitOrder) -> bool:
        """Send once the governor agrees; False: nothing was sent, and REST is the road."""
        return self._link.is_up and self._send(order, Tries(), wait=True)

    def _send(self, order: SubmitOrder, tries: Tries, *, wait: bool) -> bool:
        call = self._desk.codec.submit(order)
        if not wait:
            if self._governor.try_take(Priority.NEW, call.costs):
                return False
        elif not self._governor.acquire(Priority.NEW, call.costs, order.expires_mono_ns):
            text = "no tokens of the rate limit before the approval ran out"
            self._answer(order, Verdict("NOT_SENT", 0, "rate_limited", text), 0)
            return True
        request = self._link.request(
            call,
            self._answer_s,
            lambda sent, end: self._submit_ended(order, tries, call.costs, sent.sent_wall_ns, end),
            lambda answer: self._submit_late(order, answer),
        )
        if request is None:
            return False
        is_first = tries == Tries()
        begin = self._pending.sending if is_first else self._pending.is_sending
        try:
            with self._gate.passing(order, wait=wait):
                return self._link.send(request, lambda: begin(order))
        except GateBusy:
            return False
        except GateShut as shut:
            self._answer(order, Verdict("NOT_SENT", 0, shut.code, shut.text), 0)
        except SendFailed as failed:  # told outside the gate: an answer may set it
            request.end(Lost("ConnectionError", str(failed)))
        return True

    def _submit_ended(
        self,
        order: SubmitOrder,
        tries: Tries,
        scopes: Iterable[str],
        sent_wall_ns: int,
        end: Answer | Lost,
    ) -> None:
        proof = self._proof(order, end)
        if isinstance(proof, Ack):
            self._pending.answer(self._desk.accepted(order, proof, sent_wall_ns))
            for report in proof.reports:
                self._deliver(report)
            return
        verdict = self._desk.judge(proof, scopes)
        again = self._again(order, tries, verdict)
        if again is None or not self._put_submit(
            order.symbol, self._resend(order, again, verdict, sent_wall_ns)
        ):
            self._answer(order, verdict, sent_wall_ns)

    def _proof(self, order: SubmitOrder, end: Answer | Lost) -> Ack | Verdict:
        if isinstance(end, Answer):
            self._governor.observe(end.used)
            if end.is_done:
                try:
                    return self._desk.codec.read_submit(end.payload, order)
                except ValueError:
                    pass  # an odd success: its evidence says so
        return _classify(evidence_of("submit", end))

    # What the venue refused before its engine saw the order may be sent anew, as over REST.
    def _again(self, order: SubmitOrder, tries: Tries, verdict: Verdict) -> Tries | None:
        if verdict.kind == "CLOCK" and tries.clocks == 0:
            return tries._replace(clocks=1)
        may_wait = tries.limits < ATTEMPTS_MAX and self._desk.in_time(order)
        if verdict.kind == "RATE_LIMITED" and may_wait:
            return tries._replace(limits=tries.limits + 1)
        return None

    def _resend(self, order: SubmitOrder, tries: Tries, verdict: Verdict, sent_wall_ns: int) -> Job:
        def job(rest: CcxtRest) -> None:
            synced = verdict.kind != "CLOCK" or self._desk.try_sync(rest)
            if not synced or not self._send(order, tries, wait=True):
                self._answer(order, verdict, sent_wall_ns)

        return job

    def _answer(self, order: SubmitOrder, verdict: Verdict, sent_wall_ns: int) -> None:
        self._pending.answer(self._desk.result(order, verdict, sent_wall_ns))

    # The order was called UNKNOWN meanwhile; what the venue says after all is evidence still.
    def _submit_late(self, order: SubmitOrder, answer: Answer) -> None:
        proof = self._proof(order, answer)
        if isinstance(proof, Ack):
            for report in proof.reports or [_report(order, proof)]:
                self._deliver(report)
        elif OUTCOMES[self._desk.judge(proof).kind] == "REJECTED":
            report = _report(order, Ack("", 0, []))
            self._deliver(
                msgspec.structs.replace(report, status="REJECTED", reason=proof.text[:200])
            )

    # --- cancel

    def cancel(self, cancel: CancelOrder) -> bool:
        """Send a cancel now, without waiting; False: nothing was sent, and REST is the road."""
        if not self._link.is_up:
            return False
        call = self._desk.codec.cancel(cancel)
        if self._governor.try_take(Priority.CANCEL, call.costs):
            return False
        request = self._link.request(
            call,
            self._answer_s,
            lambda _, end: self._cancel_ended(cancel, call.costs, end),
            lambda answer: self._cancel_late(cancel, answer),
        )
        try:
            return request is not None and self._link.send(request)
        except SendFailed:
            return False  # it may have left, and may leave again

    def _cancel_ended(self, cancel: CancelOrder, scopes: Iterable[str], end: Answer | Lost) -> None:
        if isinstance(end, Answer):
            self._governor.observe(end.used)
            reports = self._cancel_reports(cancel, end)
            if reports is not None:
                accepted = Verdict("ACCEPTED", 0, "", "")
                self._deliver(self._desk.not_canceled(cancel, accepted))
                for report in reports:
                    self._deliver(report)
                return
        verdict = self._desk.judge(_classify(evidence_of("cancel", end)), scopes)
        is_final = verdict.kind in CANCEL_FINAL
        if is_final or not self._put_cancel(
            cancel.symbol, lambda rest: self.cancel_by_rest(rest, cancel)
        ):
            self._deliver(self._desk.not_canceled(cancel, verdict))

    def _cancel_reports(self, cancel: CancelOrder, answer: Answer) -> list[OrderReport] | None:
        if not answer.is_done:
            return None
        try:
            return self._desk.codec.read_cancel(answer.payload, cancel)
        except ValueError:
            return None

    def _cancel_late(self, cancel: CancelOrder, answer: Answer) -> None:
        for report in self._cancel_reports(cancel, answer) or []:
            self._deliver(report)

    def cancel_by_rest(self, rest: CcxtRest, cancel: CancelOrder) -> None:
        """Cancel over REST, in a worker, and tell the result."""
        result, reports = self._desk.cancel(rest, cancel)
        self._deliver(result)
        for report in reports:
            self._deliver(report)

    # --- reads

    def read(self, call: RestCall, priority: Priority) -> Any:
        """Ask over the link and wait a short while; None: ask over REST.

        Raises CallFailed where the venue's answer is a definite no.
        """
        if not self._link.is_up:
            return None
        ended = threading.Event()
        ends: list[Answer | Lost] = []

        def on_end(_: Request, end: Answer | Lost) -> None:
            ends.append(end)
            ended.set()

        request = self._link.request(call, READ_S, on_end)
        if request is None or self._governor.try_take(priority, call.costs):
            return None
        try:
            if not self._link.send(request) or not ended.wait(2 * READ_S):
                return None
        except SendFailed:
            return None
        return self._payload(ends[0])

    def _payload(self, end: Answer | Lost) -> Any:
        if isinstance(end, Lost):
            return None
        self._governor.observe(end.used)
        if end.is_done:
            return end.payload
        verdict = self._desk.judge(_classify(evidence_of("read", end)))
        if verdict.kind == "NOT_FOUND":
            raise CallFailed(verdict)
        return None


# What the table says, marked with the road.
def _classify(evidence: Evidence) -> Verdict:
    verdict = classify(evidence)
    return verdict._replace(text=f"WebSocket: {verdict.text}")


def _report(order: SubmitOrder, ack: Ack) -> OrderReport:
    return OrderReport(
        account=order.account,
        client_order_id=order.client_order_id,
        venue_order_id=ack.venue_order_id,
        symbol=order.symbol,
        side=order.side,
        order_type=order.order_type,
        quantity=order.quantity,
        price=order.price,
        status="NEW",
        filled_quantity=Decimal(0),
        reason="",
        source="reply",
        ts_event_ns=ack.ts_event_ns,
    )
