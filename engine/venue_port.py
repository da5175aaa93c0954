"""The port of one session that lives in a process: commands go out as frames, reports come in.

One thread reads the process's socket and runs the tick actors as a link's reader does. It reads on to
the end of what a dead process has sent before it says what the death means. Every SubmitOrder is answered
exactly once, here if not there.
"""

from threading import Event, Lock
from typing import TYPE_CHECKING, Final

import msgspec
from loguru import logger

from engine.clock import NS_PER_S
from engine.envelope import KINDS
from engine.errors import Fenced, MessageError
from engine.messages.base import Lane, Message
from engine.messages.port import AdapterFailed, GateChanged, SetGate, SubmitOrder
from engine.port_refusals import refusal, submit_result
from engine.venue_wire import (
    ACK,
    BEAT,
    BEAT_S,
    CONFIGURE,
    LOG,
    START,
    Ack,
    Ended,
    Frame,
    LogLine,
    encode_frame,
    encode_message,
)

if TYPE_CHECKING:
    from engine.venue_process import Reports, VenueHost, VenueProcess

EXIT_S: Final = 1.0  # what an orderly end takes beside what it waits for
FIRST_WORD_S: Final = 30.0  # a process on a busy machine imports for a while
GATE_NS: Final = 3 * NS_PER_S
WAITING_MAX: Final = 10_000
FULL_LOOK_S: Final = 0.02
MARKET_KINDS: Final = frozenset(k for k, cls in KINDS.items() if cls.lane is Lane.MARKET)
NO_SESSION: Final = "the venue's process has no open session"
_beat: Final = encode_frame(BEAT, "")
_memory: Final = msgspec.msgpack.Decoder(int)
_line: Final = msgspec.msgpack.Decoder(LogLine)


class ProcessPort:
    """See the module's docstring. `handle` never blocks."""

    def __init__(self, host: "VenueHost", configuration: bytes, reports: "Reports") -> None:
        self._host = host
        self._venue = host.settings.venue
        self._clock = host.clock
        self._configuration = configuration
        self._reports = reports
        self._lock = Lock()
        self._early: list[tuple[bytes, str]] = []
        self._process: VenueProcess | None = None
        self._submits: dict[str, SubmitOrder] = {}
        self._gates: dict[str, tuple[SetGate, int]] = {}
        self._is_started = False
        self._is_left = False  # whoever had this port has turned away; its end is no news
        self._is_over = False
        self._over = Event()

    # --- VenuePort

    def start(self) -> None:
        """Begin the session in a process of its own. Returns at once."""
        self._is_started = True
        self._host.threads(f"{self._venue}.process", self._run)

    def shut(self) -> None:
        """Kill the process: nothing leaves it from this moment on. Never blocks."""
        with self._lock:
            self._is_left = True
            process = self._process
        if process is not None:
            process.kill()

    def stop(self, deadline_s: float) -> bool:
        """End the process, in order if it can within the deadline; True if nothing was cut short."""
        with self._lock:
            was_killed, self._is_left = self._is_left, True
            process = self._process
        if not self._is_started or self._over.is_set():
            return True
        if process is not None and not was_killed:
            process.stop_soon(deadline_s)
        patience_s = EXIT_S if was_killed else deadline_s + EXIT_S
        if self._over.wait(patience_s):
            return process is None or process.ended_well
        if process is not None:
            process.kill()
        if not self._over.wait(EXIT_S):  # its reader is stuck in an actor
            self._end(process, "stopped")
        return False

    def handle(self, message: Message) -> None:
        """Hand one command over, or answer it at once where there is nobody to hand it to."""
        answer: Message | None = None
        with self._lock:
            process = self._process
            is_waiting = process is None and not self._is_over
            if self._is_over or not (self._is_started or isinstance(message, SetGate)):
                answer = refusal(message, self._venue, NO_SESSION, self._clock)
            else:
                if isinstance(message, SetGate) and is_waiting:
                    # Nothing leaves a process that has not begun, and this is what it begins with.
                    answer = refusal(message, self._venue, "", self._clock)
                self._hand_over(message, process)
        if answer is not None:
            self._reports(answer)
        if process is not None and len(process.writer) > WAITING_MAX:
            process.kill()  # it has not read for long

    # Under the lock: the ledger and the socket agree on what was handed over, and in which order.
    def _hand_over(self, message: Message, process: "VenueProcess | None") -> None:
        key = ""
        if isinstance(message, SubmitOrder):
            key = message.client_order_id
            self._submits[key] = message
        elif isinstance(message, SetGate) and process is not None:
            self._gates[message.request_id] = (message, self._clock.mono_ns())
        data = encode_message(message)
        if process is None:
            self._early.append((data, key))
        else:
            process.writer.send(data, key)

    # --- the reading thread

    def _run(self) -> None:
        process: VenueProcess | None = None
        try:
            process = self._host.take()
            self._begin(process)
            why = self._read(process)
        except Fenced:
            return  # this thread was given up; whoever noticed ends the session
        except (Ended, MessageError, OSError) as error:
            why = str(error)
        self._end(process, why)

    def _begin(self, process: "VenueProcess") -> None:
        with self._lock:
            self._process = process
            if self._is_left:
                process.kill()  # nobody wants it any more, and it has not begun
                return
            process.writer.send(encode_frame(CONFIGURE, "", msgspec.Raw(self._configuration)))
            for data, key in self._early:
                process.writer.send(data, key)
            self._early.clear()
            process.writer.send(encode_frame(START, ""))

    # Until the process has gone, which it tells by the end of its socket, or is killed for silence.
    def _read(self, process: "VenueProcess") -> str:
        patience_s, silent = FIRST_WORD_S, 0
        while True:
            try:
                frames = process.reader.read()
            except Ended as ended:
                return str(ended)
            if frames is None:
                silent += 1
                if silent * BEAT_S >= patience_s:
                    process.kill()
                    return f"silent for {patience_s:g} s"
            else:
                patience_s, silent = self._host.settings.silent_s, 0
                self._take(process, frames)
                self._await_room(process)
            if len(process.writer):
                process.writer.flush()
            if self._gates and self._is_gate_late():
                process.kill()
                return "it did not close its gate in time"

    def _take(self, process: "VenueProcess", frames: list[Frame]) -> None:
        began_ns = self._clock.mono_ns()
        market = 0
        for frame in frames:
            kind = frame.kind
            if kind[:1] == "#":
                self._take_own(process, frame)
                continue
            self._reports.pass_on(kind, frame.key, frame.body)
            if kind in MARKET_KINDS:
                market += 1
            elif kind == "SubmitResult":
                self._submits.pop(frame.key, None)
            elif kind == "GateChanged":
                self._gates.pop(frame.key, None)
        if market:
            cost_ns = self._clock.mono_ns() - began_ns
            process.writer.send(encode_frame(ACK, "", Ack(market, cost_ns)))

    def _take_own(self, process: "VenueProcess", frame: Frame) -> None:
        if frame.kind == BEAT:
            process.memory_bytes = _memory.decode(frame.body) or process.memory_bytes
            process.writer.send(_beat)
        elif frame.kind == LOG:
            line = _line.decode(frame.body)
            process.log.bind(**line.fields).log(line.level, "{}", line.text)

    # The process is not read while its reports pile up: it stops reading its private socket then.
    def _await_room(self, process: "VenueProcess") -> None:
        looks = 0
        while self._reports.is_full() and not self._is_left:
            if looks % 25 == 0:
                process.writer.send(_beat)  # the core is slow, not lost
            looks += 1
            self._over.wait(FULL_LOOK_S)

    def _is_gate_late(self) -> bool:
        due_ns = self._clock.mono_ns() - GATE_NS
        with self._lock:
            return any(asked_ns < due_ns for _, asked_ns in self._gates.values())

    # --- the end

    def _end(self, process: "VenueProcess | None", why: str) -> None:
        """Say once what the death means, when there is no doubt of it any more."""
        if process is not None:
            process.kill()
            process.wait()
        with self._lock:
            was_over, self._is_over = self._is_over, True
        if not was_over:
            self._settle(process, why)
            self._over.set()
        if process is not None:
            process.close()

    def _settle(self, process: "VenueProcess | None", why: str) -> None:
        with self._lock:
            unsent = {key for _, key in self._early}
            if process is not None:
                process.writer.close()
                unsent.update(process.writer.unsent())
            submits, self._submits = list(self._submits.values()), {}
            gates, self._gates = [gate for gate, _ in self._gates.values()], {}
        text = self._describe(process, why)
        for order in submits:
            not_sent = process is None or order.client_order_id in unsent
            code, outcome = ("not_ready", "NOT_SENT") if not_sent else ("crashed", "UNKNOWN")
            self._reports(submit_result(order, outcome, code, text, self._clock))  # type: ignore[arg-type]
        for gate in gates:
            self._reports(GateChanged(gate.request_id, self._venue, gate.closed))
        if not self._is_left:
            self._reports(AdapterFailed(self._venue, "crashed", text[:500]))

    def _describe(self, process: "VenueProcess | None", why: str) -> str:
        if process is None:
            logger.bind(venue=self._venue, reason=why).error("no venue process")
            return f"no process: {why}"
        text = f"process {process.pid} ended ({process.how_it_ended()}): {why}"
        in_order = self._is_left and process.was_told_to_stop
        level = "INFO" if in_order else "ERROR"
        process.log.bind(how=process.how_it_ended(), reason=why).log(level, "venue process ended")
        return text
