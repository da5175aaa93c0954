"""What follows the end of an incarnation: fence it, blame a message or not, restart, or give up.

Counting: an end counts against the policy's limit once per message that caused it; the second and third
crash on the same head lead to its parking instead, and kills by people never count. With `park_after` 0
every crash counts. The limit is exceeded at most once: a cell that gave up rests until a person restarts it.
"""

from collections.abc import Callable
from random import Random
from threading import Lock

from loguru import logger

from engine.cell import Cell, InjectedFault, Life, Phase
from engine.clock import NS_PER_S, Clock
from engine.envelope import Entry
from engine.parking import Parking
from engine.specs import ActorStatus, RestartPolicy, State
from engine.timers import Timers

Notify = Callable[[str, Cell, str, Entry | None], None]
ALIVE = ("starting", "recovering", "running")


class Killed(BaseException):
    """A person or a drill ended the incarnation."""


class Restarts:
    """The restart side of the supervisor. Decides under `lock`, calls out only without it."""

    def __init__(
        self,
        timers: Timers,
        clock: Clock,
        rng: Random,
        policy: RestartPolicy,
        parking: Parking,
        notify: Notify,
        on_escalate: Callable[[str, int], None],
        settled: Callable[[Cell], None],
    ) -> None:
        self.lock = Lock()
        self._timers = timers
        self._clock = clock
        self._rng = rng
        self._policy = policy
        self._parking = parking
        self._notify = notify
        self._on_escalate = on_escalate
        self._settled = settled
        self._escalated = False

    def begin(self, cell: Cell, delay_s: float = 0.0, life: Life | None = None) -> None:
        """Bring a cell to life after a delay, unless it has moved on from `life` by then."""
        life = life or cell.life
        due_ns = self._clock.mono_ns() + int(delay_s * NS_PER_S)
        self._timers.add(due_ns, lambda: self._be_born(cell, life))

    def renew(self, cell: Cell, state: State) -> Life:
        """Fence the present incarnation and return its successor, at rest. Under the lock."""
        old = cell.life
        if old.birth is not None:
            old.birth.fenced = True
        cell.life = Life(cell.mailbox.claim(), old.incarnation + 1)
        cell.state = state
        for timer in list(cell.timers.values()):
            timer.cancel()
        cell.timers.clear()
        return cell.life

    def end(self, cell: Cell, life: Life, blamed: Entry | None, error: BaseException) -> bool:
        """Note that `life` ended by `error` and see to what follows; False if it had ended before."""
        with self.lock:
            if cell.life is not life:
                return False
            counted, park = self._blame(cell, blamed, error)
            successor = self.renew(cell, "restarting")
            if park and blamed is not None:
                cell.mailbox.ack(successor.epoch, (blamed,))
            cell.restarts += 1
            give_up = counted and self._too_many(cell)
            delay_s = 0.0 if isinstance(error, Killed) else self._backoff_s(cell)
        self._report(cell, life, blamed, error)
        _retire(life, error)
        if park and blamed is not None:
            self._parking.park(cell, blamed, error)
            self._notify("parked", cell, f"{type(error).__name__}: {error}", blamed)
        if give_up:
            self.give_up(cell)
        elif cell.spec.restart == "temporary":
            self._rest(cell, "stopped")
        else:
            self._notify("restarting", cell, f"in {delay_s:.3f} s", None)
            self.begin(cell, delay_s, successor)
        return True

    def give_up(self, cell: Cell) -> None:
        """Stop trying: disable the cell, or have the program halt and leave."""
        text = f"more than {self._policy.max_restarts} restarts in {self._policy.within_s} s"
        if cell.spec.on_give_up == "disable":
            self._rest(cell, "disabled")
            self._notify("disabled", cell, text, None)
            return
        self._rest(cell, "gave_up")
        self._notify("gave_up", cell, text, None)
        with self.lock:
            first, self._escalated = not self._escalated, True
        if first:
            self._on_escalate("halt_exit", cell.spec.exit_code)

    # --- private ----------------------------------------------------------------------------------

    def _be_born(self, cell: Cell, life: Life) -> None:
        with self.lock:
            if cell.life is not life or life.phase is not Phase.RESTING:
                return
            if cell.state not in ("restarting", "starting"):
                return
            life.phase = Phase.BORN
            cell.state = "starting"
        self._notify("starting", cell, "", None)
        cell.wake()

    # Whether the end counts, and whether the blamed message is to be parked. Under the lock.
    def _blame(self, cell: Cell, blamed: Entry | None, error: BaseException) -> tuple[bool, bool]:
        now_ns = self._clock.mono_ns()
        if isinstance(error, Killed):
            return False, False
        counted, park = True, False
        if blamed is not None and not isinstance(error, InjectedFault):
            blamed.attempts += 1
            if cell.spec.park_after:
                counted = blamed.attempts == 1
                park = blamed.attempts >= cell.spec.park_after
        since_ns = now_ns - int(self._policy.within_s * NS_PER_S)
        cell.crash_times_ns = [t for t in cell.crash_times_ns if t > since_ns] + [now_ns]
        cell.counted_times_ns = [t for t in cell.counted_times_ns if t > since_ns]
        if counted:
            cell.counted_times_ns.append(now_ns)
        return counted, park

    def _too_many(self, cell: Cell) -> bool:
        return len(cell.counted_times_ns) > self._policy.max_restarts

    def _backoff_s(self, cell: Cell) -> float:
        policy = self._policy
        doublings = min(64, max(0, len(cell.crash_times_ns) - 1))
        delay_s = min(policy.backoff_max_s, policy.backoff_initial_s * 2.0**doublings)
        return delay_s * self._rng.uniform(1.0 - policy.jitter, 1.0)

    def _rest(self, cell: Cell, state: State) -> None:
        with self.lock:
            old = cell.life
            self.renew(cell, state)
        _retire(old, None)
        self._settled(cell)

    def _report(self, cell: Cell, life: Life, blamed: Entry | None, error: BaseException) -> None:
        log = logger.bind(actor=cell.name, incarnation=life.incarnation)
        if isinstance(error, Killed | InjectedFault):
            log.opt().warning("actor ended: {}", error)
        else:
            kind = blamed.kind if blamed is not None else ""
            log.opt(exception=error).error("actor crashed, message {!r}", kind)
        self._notify("crashed", cell, f"{type(error).__name__}: {error}", blamed)


def status_of(cell: Cell, parked: int) -> ActorStatus:
    """Return an actor's line of the tree."""
    box, running = cell.mailbox, cell.life.running
    in_hand = running[2] if running is not None else None
    counters = {
        "handled": cell.handled,
        "unknown": cell.unknown,
        "conflated": box.conflated,
        "dropped": box.dropped,
        "duplicates": box.duplicates,
        "overflow": box.overflow,
    }
    return ActorStatus(
        cell.name,
        cell.state,
        cell.life.incarnation,
        cell.restarts,
        box.depth(),
        cell.last_message_mono_ns,
        parked,
        cell.spec.dispatcher,
        counters,
        in_hand.kind if in_hand is not None else "",
    )


# Pykka's own goodbyes. The actor is fenced already: whatever it does here, nobody hears it.
def _retire(life: Life, error: BaseException | None) -> None:
    actor = life.actor
    if actor is None:
        return
    actor.retire()
    if error is None:
        return
    try:
        actor.on_failure(type(error), error, error.__traceback__)
    except Exception:  # noqa: BLE001  a named seam: a goodbye must not end the supervisor
        logger.exception("on_failure failed")
