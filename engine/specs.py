"""What the supervisor is told about its actors and what it tells about them: plain values, no behaviour."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from engine.actor import Actor
from engine.errors import EXIT_GAVE_UP
from engine.messages.base import Event
from engine.messages.engine_events import (
    MessageParked,
)

State = Literal["starting", "recovering", "running", "restarting", "stopped", "disabled", "gave_up"]
Restart = Literal["permanent", "transient", "temporary"]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """How to make one actor, where it runs and what its death means.

    `restart`: permanent always, transient only after a crash, temporary never. `on_give_up`: disable
    the actor, or halt and leave with `exit_code`. `park_after` 0 never sets a message aside: each
    crash counts.
    """

    name: str
    factory: Callable[[], Actor]
    dispatcher: str
    restart: Restart = "permanent"
    essential: bool = False
    on_give_up: Literal["disable", "halt_exit"] = "disable"
    exit_code: int = EXIT_GAVE_UP
    park_after: int = 3
    stuck_after_s: float = 1.0
    orders_limit: int = 10_000
    market_limit: int = 10_000
    control_limit: int = 1_000


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """How many counted crashes in how long are too many, and how long to wait before each restart.

    The n-th crash within the period waits initial * 2^(n-1), at most the maximum, times a factor
    drawn evenly from 1 - jitter to 1.
    """

    max_restarts: int = 10
    within_s: float = 60.0
    backoff_initial_s: float = 0.1
    backoff_max_s: float = 30.0
    jitter: float = 0.5


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """Something that happened to an actor or its mailbox, for the log, the journal and people.

    `what`: starting, recovering, running, crashed, stuck, thread_died, restarting, stopped, parked,
    unknown_message, dead_letter, overflow, disabled, gave_up.
    """

    what: str
    actor: str
    incarnation: int
    mono_ns: int
    detail: str = ""
    message_id: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class ActorStatus:
    """One line of the actor tree."""

    name: str
    state: State
    incarnation: int
    restarts: int
    mailbox: dict[str, int]
    last_message_mono_ns: int
    parked: int
    dispatcher: str = ""
    counters: dict[str, int] = field(default_factory=dict)
    in_hand: str = ""  # the kind of the message that is being handled


@dataclass(frozen=True, slots=True)
class ParkedMessage:
    """A message that was set aside: it crashed its actor too often, or cannot be read."""

    actor: str
    message_id: str
    kind: str
    order_id: str
    symbol: str
    attempts: int
    error: str
    traceback: str
    text: str  # the message in plain words
    ts_ns: int
    retryable: bool  # False: only a discard is left, since the message itself is not there any more


class RecoverySource(Protocol):
    """Where a durable actor's past comes from; the journal's reader."""

    def load(
        self, actor_name: str, upto_seq: int
    ) -> tuple[bytes | None, Iterable[tuple[int, Event]]]:
        """Return the newest snapshot not after `upto_seq` and the events behind it up to there."""
        ...

    def parked(self) -> Iterable[MessageParked]:
        """Return, oldest first, what was parked in earlier runs and is not settled yet."""
        ...
