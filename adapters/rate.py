"""The rate governor: how fast one venue may be asked, and who goes first.

One token bucket per scope (weight per minute, orders per ten seconds ...). In each, cancels go before
queries, queries before new orders (what became of one order is worth more than another one), those before
other reads; a share of every bucket is kept for cancels alone, so that a halt's sweep always has it.
The venue's own counters correct ours.

A refusal for the rate opens the breaker, before the venue bans: with Retry-After or a ban for
everything, else for the scopes of the refused request, for a second at first and twice as long with
each further refusal soon after. Then the rate is halved and creeps back. Refusals of requests that were
already under way when the breaker opened are the same one.
"""

import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from engine.clock import NS_PER_MS, NS_PER_S, Clock
from engine.messages.port import RateScope, RateWait

CANCEL_SHARE: Final = 0.1
BAN_DEFAULT_S: Final = 120
LIMITED_DEFAULT_S: Final = 1
# Without Retry-After the silence doubles with each refusal, up to this.
LIMITED_S_MAX: Final = 64
RECOVERY_NS: Final = 10 * NS_PER_S
RECOVERY_STEP: Final = 0.1
# How soon to look again while a more urgent request waits.
TURN_NS: Final = NS_PER_S // 100
# How long a wait is at a time: so soon it sees that the session is stopping.
LOOK_S: Final = 0.1
# How long, and how many, requests that were given up are remembered for people.
GIVEN_UP_NS: Final = 60 * NS_PER_S
GIVEN_UP_MAX: Final = 1000


class Priority(IntEnum):
    """Who goes first when there is not enough for all."""

    CANCEL = 0
    QUERY = 1
    NEW = 2
    READ = 3


@dataclass(slots=True)
class Bucket:
    """Tokens of one scope, refilled evenly; `whole` is what siblings share with us."""

    capacity: float
    whole: float
    interval_s: float
    tokens: float
    filled_at_ns: int

    def refill(self, now_ns: int, factor: float) -> None:
        """Add what time has brought."""
        elapsed_s = max(0, now_ns - self.filled_at_ns) / NS_PER_S
        self.filled_at_ns = now_ns
        gained = elapsed_s * self.capacity * factor / self.interval_s
        self.tokens = min(self.capacity, self.tokens + gained)

    def wait_ns(self, cost: float, floor: float, factor: float) -> int:
        """Return how long until `cost` can be taken and `floor` still be left; 0 is now."""
        missing = min(cost + floor, self.capacity) - self.tokens
        if missing <= 0:
            return 0
        return int(missing * self.interval_s / (self.capacity * factor) * NS_PER_S) + 1


class RateGovernor:
    """Token buckets with priorities; thread safe. `scopes` maps a name to (tokens, seconds).

    Nobody is kept waiting once `stopping` is set.
    """

    def __init__(
        self,
        scopes: Mapping[str, tuple[int, float]],
        clock: Clock,
        share: float = 1.0,
        stopping: threading.Event | None = None,
    ) -> None:
        self._clock = clock
        self._stopping = stopping or threading.Event()
        now_ns = clock.mono_ns()
        self._buckets = {
            name: Bucket(tokens * share, tokens, seconds, tokens * share, now_ns)
            for name, (tokens, seconds) in scopes.items()
        }
        self._changed = threading.Condition()
        self._wanted: Counter[tuple[Priority, str]] = Counter()  # who waits for which scope
        self._waiting = dict.fromkeys(Priority, 0)
        self._given_up: dict[Priority, deque[int]] = {
            priority: deque(maxlen=GIVEN_UP_MAX) for priority in Priority
        }
        self._blocked_until_ns = 0
        self._scope_until_ns = dict.fromkeys(self._buckets, 0)
        self._refusals = 0  # in a row, each soon after the last
        self._factor = 1.0
        self._recovers_at_ns = 0

    def try_take(self, priority: Priority, costs: Mapping[str, int]) -> int:
        """Take the tokens and return 0, or take nothing and return how long to wait in ns.

        Whoever waits for tokens of this priority or a more urgent one goes first.
        """
        with self._changed:
            return self._try_take(priority, costs, behind=priority + 1)

    def acquire(self, priority: Priority, costs: Mapping[str, int], deadline_ns: int) -> bool:
        """Wait for the tokens until the monotonic deadline; False means they did not come."""
        with self._changed:
            self._waiting[priority] += 1
            self._wanted.update((priority, scope) for scope in costs)
            try:
                while True:
                    wait_ns = self._try_take(priority, costs, behind=priority)
                    if wait_ns == 0:
                        return True
                    left_ns = deadline_ns - self._clock.mono_ns()
                    if wait_ns > left_ns or self._stopping.is_set():
                        self._given_up[priority].append(self._clock.mono_ns())
                        return False
                    self._changed.wait(min(wait_ns / NS_PER_S, LOOK_S))
            finally:
                self._waiting[priority] -= 1
                self._wanted.subtract((priority, scope) for scope in costs)
                self._changed.notify_all()

    def _try_take(self, priority: Priority, costs: Mapping[str, int], *, behind: int) -> int:
        now_ns = self._clock.mono_ns()
        until_ns = self._until_ns(costs)
        if now_ns < until_ns:
            return until_ns - now_ns
        self._recover(now_ns)
        # Only who waits for the same scope is in the way: another's shortage is none of this one.
        if any(self._wanted[p, scope] for p in Priority if p < behind for scope in costs):
            return TURN_NS
        longest_ns = 0
        for scope, cost in costs.items():
            bucket = self._buckets[scope]
            bucket.refill(now_ns, self._factor)
            floor = 0.0 if priority is Priority.CANCEL else CANCEL_SHARE * bucket.capacity
            longest_ns = max(longest_ns, bucket.wait_ns(cost, floor, self._factor))
        if longest_ns:
            return longest_ns
        for scope, cost in costs.items():
            self._buckets[scope].tokens -= cost
        return 0

    def _until_ns(self, costs: Iterable[str]) -> int:
        return max(self._blocked_until_ns, *(self._scope_until_ns[scope] for scope in costs), 0)

    def _recover(self, now_ns: int) -> None:
        if self._factor < 1 and now_ns >= self._recovers_at_ns:
            self._factor = min(1.0, self._factor + RECOVERY_STEP)
            self._recovers_at_ns = now_ns + RECOVERY_NS

    def observe(self, used: Mapping[str, int]) -> None:
        """Believe the venue's counters where they are higher than ours (siblings spend too)."""
        with self._changed:
            now_ns = self._clock.mono_ns()
            for scope, spent in used.items():
                bucket = self._buckets.get(scope)
                if bucket is not None:
                    bucket.refill(now_ns, self._factor)
                    bucket.tokens = min(bucket.tokens, max(0.0, bucket.whole - spent))

    def on_limited(self, retry_after_s: int, *, banned: bool, scopes: Iterable[str] = ()) -> int:
        """Obey a refusal for the rate: nothing of it leaves until it is over. Return that time.

        Args:
            retry_after_s: what the venue asked for; 0 if nothing.
            banned: it is a ban (418, a refusal of the whole address).
            scopes: what the refused request counted for; none known means everything.
        """
        with self._changed:
            now_ns = self._clock.mono_ns()
            touched = [scope for scope in scopes if scope in self._scope_until_ns]
            is_known = now_ns < self._until_ns(touched)  # it was under way when the breaker opened
            if not is_known:
                soon_ns = self._recovers_at_ns + LIMITED_S_MAX * NS_PER_S
                self._refusals = self._refusals + 1 if now_ns < soon_ns else 1
                self._factor = max(0.1, self._factor / 2)
            doubled_s = min(LIMITED_S_MAX, LIMITED_DEFAULT_S << min(self._refusals - 1, 10))
            default_s = BAN_DEFAULT_S if banned else doubled_s
            until_ns = now_ns + (retry_after_s or default_s) * NS_PER_S
            if is_known and not retry_after_s and not banned:
                return self._until_ns(touched)
            if retry_after_s or banned or not touched:
                self._blocked_until_ns = max(self._blocked_until_ns, until_ns)
            for scope in touched:
                self._scope_until_ns[scope] = max(self._scope_until_ns[scope], until_ns)
            self._recovers_at_ns = max(self._recovers_at_ns, until_ns + RECOVERY_NS)
            return until_ns

    @property
    def blocked_until_ns(self) -> int:
        """Until when the venue has told us to be silent, in the strictest scope; 0 if never."""
        return self._until_ns(self._scope_until_ns)

    def used_ratio(self) -> float:
        """Return how much of the tightest bucket is spent, 0 to 1."""
        with self._changed:
            now_ns = self._clock.mono_ns()
            spent = 0.0
            for bucket in self._buckets.values():
                bucket.refill(now_ns, self._factor)
                spent = max(spent, 1 - bucket.tokens / bucket.capacity)
            return spent

    def scopes(self) -> list[RateScope]:
        """Return what is left of every limit."""
        with self._changed:
            now_ns = self._clock.mono_ns()
            found = []
            for name, bucket in self._buckets.items():
                bucket.refill(now_ns, self._factor)
                left = max(0, int(bucket.tokens))
                found.append(RateScope(name, int(bucket.capacity), left, bucket.interval_s))
            return found

    def waits(self) -> list[RateWait]:
        """Return who waits for tokens, and who went without them in the last minute; none if nobody."""
        with self._changed:
            since_ns = self._clock.mono_ns() - GIVEN_UP_NS
            return [
                RateWait(priority.name.lower(), self._waiting[priority], given_up)  # type: ignore[arg-type]
                for priority, times in self._given_up.items()
                if (given_up := sum(at > since_ns for at in times)) or self._waiting[priority]
            ]

    def blocked_ms(self) -> int:
        """Return how long the venue's silence still lasts."""
        return max(0, self.blocked_until_ns - self._clock.mono_ns()) // NS_PER_MS

    def shortage(self, costs: Mapping[str, int]) -> str:
        """Return in words why these costs could not be paid."""
        if self.blocked_ms():
            return f"the venue asked for silence, {self.blocked_ms() // 1000 + 1} s more"
        left = {scope.name: scope for scope in self.scopes()}
        return ", ".join(
            f"{cost} of {name} needed, {left[name].left} of {left[name].limit} left"
            for name, cost in costs.items()
        )
