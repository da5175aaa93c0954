"""One connection to Deriv: questions out from any thread, answers matched by req_id, streams passed on.

A question is sent in the caller's thread, whole or not at all, and the caller waits for its answer.
What it may conclude from no answer is its own business: `NotLeft` says that nothing was sent, `NoAnswer`
that it may have been. A connection is up once its opening questions (a login, the subscriptions) are
answered; proposals and subscriptions die with it. An answer that nobody waits for any more is passed on
like a pushed frame: it may still tell what became of an order.
"""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from adapters.codec import Problem
from adapters.deriv_words import DerivError, Json, decode, encode, error_of
from adapters.shared_socket import SharedSocket
from adapters.stream import RECV_S, text_frame
from engine.clock import NS_PER_S, Clock

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from adapters.stream import WsLink

WAITING_MAX: Final = 200
# Refusals of the login that no patience mends.
AUTH_CODES: Final = frozenset(
    {"InvalidToken", "AuthorizationRequired", "Unauthorized", "InvalidAppID", "PermissionDenied"}
)
ALIVE_EVERY_NS: Final = NS_PER_S // 10


class NotLeft(Exception):
    """Nothing of the question was sent."""


class NoAnswer(Exception):
    """The question may have been sent, and no answer came."""


@dataclass(slots=True)
class _Waiting:
    done: threading.Event = field(default_factory=threading.Event)
    answer: Json | None = None
    lost: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """A question of the opening; `on_answer` returns the questions that follow it."""

    message: Json
    on_answer: Callable[[Json], "list[Opening]"] = lambda _: []


@dataclass(frozen=True, slots=True)
class Hooks:
    """What a link tells, all from its own thread."""

    opening: Callable[[], list[Opening]]
    on_up: Callable[[], None]
    on_down: Callable[[str], None]
    on_push: Callable[[Json, int, int], None]  # the message, our wall and monotonic time
    on_alive: Callable[[int], None]
    on_refused: Callable[[DerivError], None]


class DerivLink:
    """See the module's docstring. Thread safe; it is its WsLink's handler."""

    def __init__(self, clock: Clock, hooks: Hooks, login_s: float, age_s: float) -> None:
        """Take how long an opening may last, and how old a connection may grow that nobody uses."""
        self._clock = clock
        self._hooks = hooks
        self._login_s = login_s
        self._age_s = age_s
        self._lock = threading.RLock()
        self._idle = threading.Condition(self._lock)
        self._numbers = count(1)
        self._socket: SharedSocket | None = None
        self._waiting: dict[int, _Waiting] = {}
        self._opening: dict[int, Opening] = {}
        self._opened_ns = self._alive_ns = 0
        self._down_told = False
        self.is_up = False
        self.frames = 0
        self.problems: Counter[str] = Counter()
        self.last_problem = ""
        self.link: WsLink | None = None

    # --- out: any thread

    def ask(
        self,
        message: Json,
        wait_s: float,
        gate: "Callable[[], AbstractContextManager[None]]" = nullcontext,
        begin: Callable[[], bool] = lambda: True,
    ) -> Json:
        """Send a question and wait for its answer, which may be an error.

        `gate` is held and `begin` asked right before the bytes leave; what the gate raises passes
        through. Raises NotLeft or NoAnswer.
        """
        number, waiting = self._next_number(), _Waiting()
        frame = text_frame(encode({**message, "req_id": number}))
        with gate():
            self._send(number, waiting, frame, begin)
        if not waiting.done.wait(wait_s):
            with self._lock:
                self._waiting.pop(number, None)
                self._idle.notify_all()
            if not waiting.done.is_set():
                raise NoAnswer(f"no answer within {wait_s:g} s")
        if waiting.answer is None:
            raise NoAnswer(waiting.lost)
        return waiting.answer

    def _send(
        self, number: int, waiting: _Waiting, frame: bytes, begin: Callable[[], bool]
    ) -> None:
        with self._lock:
            sock = self._socket
            if sock is None or not sock.is_open or not self.is_up:
                raise NotLeft("the link is down")
            if len(self._waiting) >= WAITING_MAX:
                raise NotLeft(f"{WAITING_MAX} questions wait for an answer")
            if not begin():
                raise NotLeft("answered already")
            self._waiting[number] = waiting
            try:
                sock.send(frame)
            except OSError as error:
                self._waiting.pop(number, None)
                raise NoAnswer(f"{type(error).__name__}: {str(error)[:150]}") from error

    def tell(self, message: Json) -> None:
        """Send without waiting: what it brings is pushed. Quietly nothing while the link is down."""
        frame = text_frame(encode({**message, "req_id": self._next_number()}))
        with self._lock:
            sock = self._socket
            if sock is not None and sock.is_open and self.is_up:
                try:
                    sock.send(frame)
                except OSError:
                    return  # the reader notices the end as well

    def settle(self, timeout_s: float) -> bool:
        """Wait until no question is open; False if one still is after the timeout."""
        with self._lock:
            return self._idle.wait_for(lambda: not self._waiting, timeout_s)

    def renew(self, reason: str) -> None:
        """End this connection and make a new one."""
        if self.link is not None:
            self.link.reconnect(reason)

    def _next_number(self) -> int:
        with self._lock:
            return next(self._numbers)

    # --- in: the link's thread

    def stand_in(self, sock: Any) -> SharedSocket:
        """Return what the link uses in place of a new connection's socket."""
        with self._lock:
            self._socket = SharedSocket(sock, self._lock, RECV_S)
            return self._socket

    def on_open(self) -> list[str]:
        """Ask what opens the connection."""
        self._opened_ns = self._clock.mono_ns()
        self._opening.clear()
        return self._begin(self._hooks.opening())

    def _begin(self, questions: list[Opening]) -> list[str]:
        frames = []
        for question in questions:
            number = self._next_number()
            self._opening[number] = question
            frames.append(encode({**question.message, "req_id": number}))
        return frames

    def on_alive(self, mono_ns: int) -> None:
        """Tell that the link lives, not too often."""
        if self.is_up and mono_ns - self._alive_ns >= ALIVE_EVERY_NS:
            self._alive_ns = mono_ns
            self._hooks.on_alive(mono_ns)

    def on_frame(self, raw: bytes, wall_ns: int, mono_ns: int) -> None:
        """Match an answer with its question, or pass on what was pushed."""
        self.frames += 1
        self.on_alive(mono_ns)
        message = decode(raw)
        if isinstance(message, Problem):
            self.note(message.code, message.text)
            return
        number = message.get("req_id")
        question = self._opening.pop(number, None) if isinstance(number, int) else None
        if question is not None:
            self._opened(question, message, wall_ns, mono_ns)
            return
        with self._lock:
            waiting = self._waiting.pop(number, None) if isinstance(number, int) else None
            self._idle.notify_all()
        if waiting is not None:
            waiting.answer = message
            waiting.done.set()
            return
        self._hooks.on_push(message, wall_ns, mono_ns)

    def _opened(self, question: Opening, message: Json, wall_ns: int, mono_ns: int) -> None:
        error = error_of(message)
        if error is not None and error.code in AUTH_CODES:
            self._hooks.on_refused(error)
            if self.link is not None:
                self.link.give_up()
            return
        if error is not None and error.code == "RateLimit":
            self.renew("rate limit at the opening")
            return
        try:
            following = question.on_answer(message)
        except ValueError as odd:
            self.note("malformed", str(odd))
            self.renew(f"odd answer at the opening: {str(odd)[:100]}")
            return
        frames = self._begin(following)
        if frames and self.link is not None:
            self.link.send(frames)
        if not self._opening and not self.is_up:
            self.is_up, self._down_told = True, False
            self._hooks.on_up()
        self._hooks.on_push(message, wall_ns, mono_ns)

    def on_tick(self, mono_ns: int) -> None:
        """An opening that is not answered is none; an old connection is renewed between questions."""
        since_open_s = (mono_ns - self._opened_ns) / NS_PER_S
        if not self.is_up and since_open_s > self._login_s:
            self.renew("the opening was not answered")
        elif since_open_s > self._age_s and not self._waiting:
            self.renew("renewed for its age")

    def on_down(self, reason: str) -> None:
        """Whoever waits learns at once that no answer will come."""
        with self._lock:
            was_up, self.is_up = self.is_up, False
            self._socket = None
            lost = list(self._waiting.values())
            self._waiting.clear()
            self._idle.notify_all()
        for waiting in lost:
            waiting.lost = f"the connection was lost: {reason[:200]}"
            waiting.done.set()
        if was_up or not self._down_told:
            self._down_told = True
            self._hooks.on_down(reason[:300])

    def note(self, code: str, text: str) -> None:
        """Count a frame that makes no sense."""
        self.problems[code] += 1
        self.last_problem = text[:300]
