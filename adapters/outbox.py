"""A venue process's reports on their way to the core: order events lossless, market data the newest.

Whoever brings a report sends it, with whatever else waits; nobody waits for the kernel. Reports of
orders, fills and links go FIFO and are never dropped: when too many wait, the thread that brings one from
the venue is held up, and so the private socket is not read. Market data waits in a slot a key, where a
newer one replaces it. At most one of a key is on its way until the core has taken it, and the core
tells what each cost it: a venue's market data uses its share of the core's time and no more, however
much of it there is, and a burst after quiet goes at once.
"""

from collections import deque
from collections.abc import Callable
from select import select
from socket import socket
from threading import Condition, Event, get_ident
from typing import Final

from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.messages.base import Lane, Message
from engine.messages.port import (
    BalanceUpdate,
    FillReport,
    OrderReport,
    QueryResult,
    ReconcileResult,
)
from engine.venue_wire import LOG, LogLine, Writer, encode_frame, encode_message

LOSSLESS_MAX: Final = 10_000
LOG_MAX: Final = 1_000
BATCH: Final = 64
BURST_NS: Final = 5 * NS_PER_MS
COST_NS_MIN: Final = 20_000
HELD_UP_S: Final = 0.1
# Who brings one of these waits for room: it comes from the venue, which can wait. Answers to commands
# are as many as the commands, and news of a link are few.
PATIENT: Final = (OrderReport, FillReport, BalanceUpdate, QueryResult, ReconcileResult)


class Outbox:
    """See the module's docstring. `put` from any thread; `run` on a thread of its own."""

    def __init__(
        self,
        sock: socket,
        writer: Writer,
        clock: Clock,
        fault_point: Callable[[str], None] = lambda _: None,
        lossless_max: int = LOSSLESS_MAX,
    ) -> None:
        self._sock = sock
        self._writer = writer
        self._clock = clock
        self._fault_point = fault_point
        self._lossless_max = lossless_max
        self._lock = Condition()
        self._urgent: deque[bytes] = deque()
        self._lossless: deque[bytes] = deque()
        self._lines: deque[bytes] = deque(maxlen=LOG_MAX)
        self._ready: dict[str, Message] = {}  # market data by key, the newest; may go
        self._held: dict[str, Message] = {}  # the same of keys that are on their way
        self._flying: deque[str] = deque()
        self._in_flight: set[str] = set()
        self._spent_until_ns = 0  # by when the share will have paid for what the core has spent
        self._share = 1.0
        self._wake = Event()
        self._impatient = 0
        self._is_closed = False

    def set_share(self, share: float) -> None:
        """Let market data use at most this part of the core's time."""
        self._share = share

    def never_hold_up(self) -> None:
        """Never have the calling thread wait for room: the core's commands come through it."""
        self._impatient = get_ident()

    def put(self, message: Message) -> None:
        """Send a report, or keep it until it can be sent. After `close` nothing is heard."""
        if message.lane is Lane.MARKET:
            self._put_market(message)
            return
        self._fault_point(f"report.{type(message).__name__}")
        data = encode_message(message)
        with self._lock:
            if isinstance(message, PATIENT) and get_ident() != self._impatient:
                while len(self._lossless) >= self._lossless_max and not self._is_closed:
                    self._lock.wait(HELD_UP_S)
            if self._is_closed:
                return
            (self._urgent if message.lane is Lane.CONTROL else self._lossless).append(data)
            self._flush()
        self._fault_point(f"reported.{type(message).__name__}")

    def _put_market(self, message: Message) -> None:
        key = message.conflate_key() or type(message).__name__
        with self._lock:
            if key in self._in_flight:
                self._held[key] = message
            elif not self._is_closed:
                self._ready[key] = message
                self._flush()

    def frame(self, data: bytes) -> None:
        """Send a frame of the link's own, ahead of all reports."""
        with self._lock:
            self._urgent.append(data)
            self._flush()

    def log(self, line: LogLine) -> None:
        """Send a line for the core's log; the oldest is dropped when too many wait."""
        with self._lock:
            self._lines.append(encode_frame(LOG, "", line))
            self._flush()

    def taken(self, frames: int, cost_ns: int) -> None:
        """Note that the core has taken so much market data, and what that cost it."""
        with self._lock:
            for _ in range(min(frames, len(self._flying))):
                key = self._flying.popleft()
                self._in_flight.discard(key)
                if key in self._held:
                    self._ready[key] = self._held.pop(key)
            now_ns = self._clock.mono_ns()
            cost_ns = max(cost_ns, COST_NS_MIN * frames)
            self._spent_until_ns = max(self._spent_until_ns, now_ns) + int(cost_ns / self._share)
            self._flush()

    def close(self) -> None:
        """Hear and send nothing any more; whoever was held up goes on."""
        with self._lock:
            self._is_closed = True
            self._lock.notify_all()
        self._wake.set()

    def drain(self, within_s: float) -> bool:
        """Wait until everything lossless has gone to the kernel; tell whether it has."""
        end_ns = self._clock.mono_ns() + int(within_s * NS_PER_S)
        with self._lock:
            while self._urgent or self._lossless or self._lines or len(self._writer):
                if self._is_closed or self._clock.mono_ns() >= end_ns:
                    return False
                self._flush()
                self._lock.wait(0.005)
        return True

    def run(self) -> None:
        """Send what had to wait, for the kernel or for the share, until closed."""
        while not self._is_closed:
            with self._lock:
                self._wake.clear()
                self._flush()
                has_backlog, due_s = len(self._writer) > 0, self._due_s()
            if has_backlog:
                select([], [self._sock], [], HELD_UP_S)
            else:
                self._wake.wait(due_s)

    # --- under the lock

    # How long until market data may go that waits for the share alone; None when none does.
    def _due_s(self) -> float | None:
        if not self._ready:
            return None
        return max(0.0, (self._may_send_ns() - self._clock.mono_ns()) / NS_PER_S)

    def _may_send_ns(self) -> int:
        return self._spent_until_ns - BURST_NS

    def _flush(self) -> None:
        writer = self._writer
        is_clear = not len(writer) or writer.flush()
        while is_clear:
            batch = self._next_batch()
            if not batch:
                break
            is_clear = writer.send(batch[0] if len(batch) == 1 else b"".join(batch))
        else:
            self._wake.set()  # the kernel takes no more: `run` waits for it
        if self._ready and not self._wake.is_set():
            self._wake.set()

    def _next_batch(self) -> list[bytes]:
        batch: list[bytes] = []
        for queue in (self._urgent, self._lossless, self._lines):
            while queue and len(batch) < BATCH:
                batch.append(queue.popleft())
        if batch:
            self._lock.notify_all()
        if self._ready and self._clock.mono_ns() >= self._may_send_ns():
            for key in list(self._ready)[: BATCH - len(batch)]:
                batch.append(encode_message(self._ready.pop(key)))
                self._flying.append(key)
                self._in_flight.add(key)
        return batch
