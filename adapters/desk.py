"""The REST half of an adapter: submit, cancel, query, reconcile, and the venue's clock.

Each method runs in one worker's thread with that worker's client, waits no longer than its
deadline, and returns a message that says what is proven. A submit is sent again only when the
outcome rules prove that the venue does not have it: at most twice where nothing left, once after a
clock correction. Nothing that may have arrived is ever sent twice.
"""

import random
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from adapters.ccxt_rest import CcxtRest, RestFailure
from adapters.codec import Ack, BadReply, IdNeeded, RestCall, RestCodec
from adapters.gate import Gate, GateShut
from adapters.offset import SAMPLES, ClockOffset
from adapters.outcome import Kind, Verdict, classify
from adapters.rate import Priority, RateGovernor
from adapters.rules import Announced, Announcement
from adapters.stream import backoff_s
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message, replaced
from engine.messages.port import (
    CancelOrder,
    CancelResult,
    FillReport,
    Instrument,
    OrderReport,
    Outcome,
    SubmitOrder,
    SubmitResult,
)

RESENDS_MAX: Final = 2
ATTEMPTS_MAX: Final = 4
READ_DEADLINE_NS: Final = 15 * NS_PER_S
CANCEL_DEADLINE_NS: Final = 15 * NS_PER_S
# Retried for a read: nothing a repeated read could double.
RETRIED: Final = frozenset({"NOT_SENT", "AMBIGUOUS", "VENUE_DOWN", "RATE_LIMITED"})
# A deadline that the venue says has passed may mean that our idea of its clock is wrong.
CLOCK_SUSPECTS: Final = frozenset({"51149", "EService:Deadline elapsed"})
CLOCK_WRONG_NS: Final = 5 * NS_PER_S  # more than an estimate may be wrong by
OUTCOMES: Final[dict[Kind, Outcome]] = {
    "ACCEPTED": "ACCEPTED",
    "REJECTED": "REJECTED",
    "NOT_SENT": "NOT_SENT",
    "RATE_LIMITED": "REJECTED",
    "AMBIGUOUS": "UNKNOWN",
    "DUPLICATE": "UNKNOWN",
    "CLOCK": "REJECTED",
    "AUTH": "REJECTED",
    "VENUE_DOWN": "UNKNOWN",
    "NOT_FOUND": "REJECTED",
}


class CallFailed(Exception):
    """A call whose verdict is not success."""

    def __init__(self, verdict: Verdict) -> None:
        super().__init__(verdict.text)
        self.verdict = verdict


class Submitted(NamedTuple):
    """The one result of a submit, and what the answer already told of the order."""

    result: SubmitResult
    reports: Sequence[OrderReport | FillReport]


class Desk:
    """REST operations of one venue and account; shared by its workers, each with its own client."""

    def __init__(
        self,
        venue: str,
        codec: RestCodec,
        *,
        governor: RateGovernor,
        offset: ClockOffset,
        gate: Gate,
        clock: Clock,
        rng: random.Random,
        stopping: threading.Event,
        on_auth: Callable[[str], None],
        on_clock: Callable[[], None],
    ) -> None:
        self.venue = venue
        self.codec = codec
        self._governor = governor
        self._offset = offset
        self._gate = gate
        self._clock = clock
        self._rng = rng
        self._stopping = stopping
        self._on_auth = on_auth
        self._on_clock = on_clock
        # A quicker way to the same answer, where there is one; None from it: ask over REST.
        self.ask_first: Callable[[RestCall, Priority], Any] | None = None

    # --- submit

    def submit(self, rest: CcxtRest, order: SubmitOrder) -> Submitted:
        """Send the order once and say what that proves; never raises for the world's faults."""
        call = self.codec.submit(order)
        resends = clocks = limits = 0
        while True:
            verdict, submitted = self._submit_once(rest, call, order)
            if submitted is not None:
                return submitted
            assert verdict is not None, "no answer without a verdict"
            if verdict.kind == "NOT_SENT" and verdict.rule and resends < RESENDS_MAX:
                resends += 1
                self._pause(0.05 + backoff_s(resends - 1, self._rng) / 4)
            elif verdict.kind == "CLOCK" and clocks == 0 and self.try_sync(rest):
                clocks += 1
            elif verdict.kind == "RATE_LIMITED" and self.in_time(order) and limits < ATTEMPTS_MAX:
                limits += 1  # the governor makes the next round wait
            else:
                return Submitted(self.result(order, verdict, rest.sending.left_wall_ns), [])
            if self._stopping.is_set():
                return Submitted(self.result(order, verdict, rest.sending.left_wall_ns), [])

    def in_time(self, order: SubmitOrder) -> bool:
        """Tell whether the venue's order to be silent ends before the order's approval does."""
        return self._governor.blocked_until_ns < order.expires_mono_ns

    def _submit_once(
        self, rest: CcxtRest, call: RestCall, order: SubmitOrder
    ) -> tuple[Verdict | None, Submitted | None]:
        if not self._governor.acquire(Priority.NEW, call.costs, order.expires_mono_ns):
            text = "no tokens of the rate limit before the approval ran out"
            return Verdict("NOT_SENT", 0, "rate_limited", text), None
        try:
            reply = rest.call(call, "submit", lambda: self._gate.passing(order))
            ack = self.codec.read_submit(reply, order)
        except GateShut as shut:
            return Verdict("NOT_SENT", 0, shut.code, shut.text), None
        except RestFailure as failure:
            return self.judge(self._proven(rest, failure), call.costs), None
        except ValueError:
            return self.judge(classify(rest.evidence("submit")), call.costs), None
        finally:
            self._governor.observe(self.codec.used(rest.headers))
        result = self.accepted(order, ack, rest.sending.left_wall_ns)
        return None, Submitted(result, ack.reports)

    def accepted(self, order: SubmitOrder, ack: Ack, sent_wall_ns: int) -> SubmitResult:
        """Return the result of an acknowledged order."""
        return SubmitResult(
            account=order.account,
            client_order_id=order.client_order_id,
            outcome="ACCEPTED",
            venue_order_id=ack.venue_order_id,
            code="",
            text="",
            evidence=f"acknowledged as {ack.venue_order_id}",
            ts_event_ns=ack.ts_event_ns,
            sent_wall_ns=sent_wall_ns,
        )

    def result(self, order: SubmitOrder, verdict: Verdict, sent_wall_ns: int) -> SubmitResult:
        """Return the result of an order that was not plainly acknowledged."""
        outcome = OUTCOMES[verdict.kind]
        code = verdict.kind.lower() if verdict.kind in ("RATE_LIMITED", "CLOCK") else verdict.code
        return SubmitResult(
            account=order.account,
            client_order_id=order.client_order_id,
            outcome=outcome,
            venue_order_id=None,
            code=code,
            text=verdict.text,
            evidence=verdict.text,
            ts_event_ns=self._clock.wall_ns(),
            sent_wall_ns=0 if outcome == "NOT_SENT" else sent_wall_ns,
        )

    # --- cancel

    def cancel(self, rest: CcxtRest, cancel: CancelOrder) -> tuple[CancelResult, list[OrderReport]]:
        """Cancel, again if need be: it is safe to repeat."""
        deadline_ns = self._clock.mono_ns() + CANCEL_DEADLINE_NS
        try:
            call = self._cancel_call(rest, cancel, deadline_ns)
            if call is None:
                text = "not among the open orders, and the venue cancels by its own id only"
                return self._canceled(cancel, "REJECTED", "not_found", text), []
            reply = self._call(rest, call, Priority.CANCEL, deadline_ns, action="cancel")
            reports = self.codec.read_cancel(reply, cancel)
        except CallFailed as failed:
            return self.not_canceled(cancel, failed.verdict), []
        except ValueError:
            verdict = classify(rest.evidence("cancel"))
            if verdict.code != "odd_success":
                return self.not_canceled(cancel, self.judge(verdict)), []
            text = "the answer is not what the venue documents"
            return self._canceled(cancel, "UNKNOWN", "odd_success", text), []
        return self._canceled(cancel, "ACCEPTED", "", ""), reports

    # Where only the venue's id will do and it is not known, the open orders tell it; None: none of them.
    def _cancel_call(
        self, rest: CcxtRest, cancel: CancelOrder, deadline_ns: int
    ) -> RestCall | None:
        try:
            return self.codec.cancel(cancel)
        except IdNeeded:
            asked: RestCall | None = self.codec.open_orders(cancel.symbol)
        while asked is not None:
            reply = self._call(rest, asked, Priority.CANCEL, deadline_ns)
            page = self.codec.read_open_orders(reply, asked, "query")
            for order in page.orders:
                if order.client_order_id == cancel.client_order_id:
                    named = msgspec.structs.replace(cancel, venue_order_id=order.venue_order_id)
                    return self.codec.cancel(named)
            asked = page.next
        return None

    def not_canceled(self, cancel: CancelOrder, verdict: Verdict) -> CancelResult:
        """Return the result of a cancel that was not plainly done."""
        code = "not_found" if verdict.kind == "NOT_FOUND" else verdict.code
        return self._canceled(cancel, OUTCOMES[verdict.kind], code, verdict.text)

    def _canceled(
        self, cancel: CancelOrder, outcome: Outcome, code: str, text: str
    ) -> CancelResult:
        return CancelResult(cancel.account, cancel.client_order_id, outcome, code, text)

    # --- reads and repeats

    def read(self, rest: CcxtRest, call: RestCall, priority: Priority = Priority.QUERY) -> Any:
        """Make a read, repeated within its deadline; CallFailed carries the verdict."""
        found = None if self.ask_first is None else self.ask_first(call, priority)
        if found is not None:
            return found
        return self._call(rest, call, priority, self._clock.mono_ns() + READ_DEADLINE_NS)

    def _call(
        self,
        rest: CcxtRest,
        call: RestCall,
        priority: Priority,
        deadline_ns: int,
        *,
        action: Any = "read",
    ) -> Any:
        clocks = 0
        for attempt in range(ATTEMPTS_MAX):
            if not self._governor.acquire(priority, call.costs, deadline_ns):
                raise CallFailed(self._limited(call))
            try:
                return rest.call(call, action)
            except RestFailure as failure:
                verdict = self.judge(self._proven(rest, failure), call.costs)
            finally:
                self._governor.observe(self.codec.used(rest.headers))
            if verdict.kind == "CLOCK" and clocks == 0 and self.try_sync(rest):
                clocks = 1
                continue
            is_last = attempt + 1 == ATTEMPTS_MAX or self._clock.mono_ns() >= deadline_ns
            if verdict.kind not in RETRIED or is_last or self._stopping.is_set():
                raise CallFailed(verdict)
            self._pause(0.05 + backoff_s(attempt, self._rng))
        raise CallFailed(Verdict("AMBIGUOUS", 0, "attempts", "no answer after several attempts"))

    # A venue that dates its tokens says 401 of a wrong clock, too (Coinbase): a machine that was
    # suspended must not be taken for one whose key is refused.
    def _proven(self, rest: CcxtRest, failure: RestFailure) -> Verdict:
        verdict, before_ns = classify(failure.evidence), self._offset.offset_ns
        if verdict.kind != "AUTH" or before_ns is None or not self.try_sync(rest):
            return verdict
        moved_ns = abs((self._offset.offset_ns or 0) - before_ns)
        return verdict._replace(kind="CLOCK") if moved_ns > CLOCK_WRONG_NS else verdict

    def _limited(self, call: RestCall) -> Verdict:
        text = f"not asked, for the venue's rate limit: {self._governor.shortage(call.costs)}"
        return Verdict("NOT_SENT", 0, "rate_limited", text)

    def judge(self, verdict: Verdict, scopes: Iterable[str] = ()) -> Verdict:
        """Take what a verdict says about more than its call. Every verdict passes here once.

        `scopes` are what the call counted for.
        """
        if verdict.kind == "RATE_LIMITED":
            banned = "HTTP 418" in verdict.text or "HTTP 403" in verdict.text
            self._governor.on_limited(verdict.retry_after_s, banned=banned, scopes=scopes)
        elif verdict.kind == "AUTH":
            self._on_auth(verdict.text)
        elif verdict.kind == "CLOCK" or verdict.code in CLOCK_SUSPECTS:
            self._on_clock()
        return verdict

    def _pause(self, seconds: float) -> None:
        self._stopping.wait(seconds)

    # --- the venue's clock and instruments

    def try_sync(self, rest: CcxtRest) -> bool:
        """Estimate the venue's clock anew; False when it does not tell."""
        try:
            self.sync_clock(rest)
        except (CallFailed, ValueError):
            return False
        return True

    def venue_ns(self, mono_ns: int) -> int | None:
        """Return what the venue's clock showed at `mono_ns`, or None while it is not known."""
        return self._offset.venue_ns(mono_ns)

    def sync_clock(self, rest: CcxtRest) -> None:
        """Estimate the venue's clock anew; CallFailed or BadReply when it does not tell."""
        call = self.codec.server_time()
        samples = []
        for _ in range(SAMPLES):
            deadline_ns = self._clock.mono_ns() + READ_DEADLINE_NS
            if not self._governor.acquire(Priority.CANCEL, call.costs, deadline_ns):
                raise CallFailed(self._limited(call))
            before_ns = self._clock.mono_ns()
            try:
                reply = rest.call(call)
            except RestFailure as failure:
                raise CallFailed(self.judge(classify(failure.evidence), call.costs)) from None
            after_ns = self._clock.mono_ns()
            samples.append((before_ns, after_ns, self.codec.read_server_time(reply)))
        self._offset.update(samples)

    def load_instruments(
        self, rest: CcxtRest, symbols: Sequence[str], *, has_key: bool
    ) -> list[Instrument]:
        """Return the rules of every symbol; BadReply names those the venue does not list.

        The fee rates are the account's own; without a key they stay the venue's ordinary ones.
        """
        found = {i.symbol: i for i in self.listing(rest)}
        missing = [symbol for symbol in symbols if symbol not in found]
        if missing:
            raise BadReply(f"{self.venue} does not list {', '.join(missing)}")
        wanted = [found[symbol] for symbol in symbols]
        return self.with_fees(rest, wanted) if has_key else wanted

    def listing(self, rest: CcxtRest) -> list[Instrument]:
        """Return the rules of the symbols that the venue lists now; CallFailed or BadReply."""
        reply = self.read(rest, self.codec.instruments(), Priority.READ)
        return self.codec.read_instruments(reply)

    def announced(self, rest: CcxtRest, announcement: Announcement) -> Announced:
        """Return what the venue says of itself, asked once; CallFailed or BadReply."""
        call = announcement.call
        deadline_ns = self._clock.mono_ns() + READ_DEADLINE_NS
        if not self._governor.acquire(Priority.READ, call.costs, deadline_ns):
            raise CallFailed(self._limited(call))
        try:
            return announcement.read(rest.call(call))
        except RestFailure as failure:
            raise CallFailed(self.judge(classify(failure.evidence), call.costs)) from None
        except (AttributeError, LookupError, TypeError) as error:
            raise BadReply(f"no announcement: {type(error).__name__}") from None

    def with_fees(self, rest: CcxtRest, instruments: Sequence[Instrument]) -> list[Instrument]:
        """Return the instruments with the account's own rates, where the venue tells them.

        Rates are an estimate for routing; the fee that counts comes with each fill.
        """
        return [self._with_fees(rest, instrument) for instrument in instruments]

    def _with_fees(self, rest: CcxtRest, instrument: Instrument) -> Instrument:
        try:
            reply = self.read(rest, self.codec.fees(instrument.symbol), Priority.READ)
            told = self.codec.read_fees(reply, instrument)
        except (CallFailed, ValueError):
            return instrument
        return replaced(told, fee_source="venue", fee_ts_ns=self._clock.wall_ns())

    def account_uid(self, rest: CcxtRest) -> str | None:
        """Return the venue's own id of the account; None where it tells none or refuses the key.

        Raises CallFailed or BadReply when it should tell and did not: ask again.
        """
        call = self.codec.account()
        if call is None:
            return None
        try:
            return self.codec.read_account_uid(self.read(rest, call, Priority.READ))
        except CallFailed as failed:
            if failed.verdict.kind == "AUTH":
                return None
            raise


def reports_of(submitted: Submitted) -> list[Message]:
    """Return the result first, then what the answer told of the order."""
    return [submitted.result, *submitted.reports]
