"""The lanes of REST: what waits for what; and the turnstile of a venue whose nonce must rise."""

import threading

import pytest
from rig import CLOCK
from waiting import wait_for

from adapters.ccxt_rest import CcxtRest, RestFailure
from adapters.codec import Credentials, RestCall, Secret
from adapters.lanes import WAITING_MAX, Lanes
from adapters.offset import ClockOffset
from adapters.turnstile import Turnstile


class Crew:
    """Threads that work through lanes until told to stop."""

    def __init__(self, lanes_max):
        self.stopping = threading.Event()
        self.threads = []
        self.lanes = Lanes(lanes_max, self._grow)
        self.lanes.start()

    def _grow(self, number):
        assert number == len(self.threads) + 1
        thread = threading.Thread(target=self._run, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _run(self):
        while not self.stopping.is_set():
            taken = self.lanes.take(0.02)
            if taken is not None:
                taken[1](None)
                self.lanes.done(taken[0])

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(20)


@pytest.fixture
def crew_of():
    made = []

    def make(lanes_max):
        made.append(Crew(lanes_max))
        return made[-1]

    yield make
    for crew in made:
        crew.stop()


def test_a_job_that_hangs_holds_up_its_own_key_and_no_other(crew_of):
    crew, free, done = crew_of(3), threading.Event(), []
    crew.lanes.put("A", lambda _: (free.wait(20), done.append("A1")))
    crew.lanes.put("A", lambda _: done.append("A2"))
    crew.lanes.put("B", lambda _: done.append("B1"))
    crew.lanes.put("C", lambda _: done.append("C1"))
    crew.lanes.put("B", lambda _: done.append("B2"))
    wait_for(lambda: sorted(done) == ["B1", "B2", "C1"], lambda: f"the others are done: {done}")
    assert done.index("B1") < done.index("B2")
    assert not crew.lanes.is_idle("A")
    wait_for(lambda: crew.lanes.is_idle("B"), "B is idle")
    free.set()
    wait_for(lambda: done[3:] == ["A1", "A2"], "A in its order")
    assert len(crew.threads) <= 3


def test_the_jobs_of_many_keys_each_keep_their_order(crew_of):
    crew, done = crew_of(4), []
    for number in range(200):
        crew.lanes.put(f"k{number % 7}", lambda _, n=number: done.append(n))
    wait_for(lambda: len(done) == 200, "all are done")
    for key in range(7):
        mine = [n for n in done if n % 7 == key]
        assert mine == sorted(mine)
    wait_for(lambda: all(crew.lanes.is_idle(f"k{key}") for key in range(7)), "nothing is left")


def test_with_one_lane_everything_keeps_its_order(crew_of):
    crew, free, done = crew_of(1), threading.Event(), []
    crew.lanes.put("A", lambda _: free.wait(20))
    crew.lanes.put("B", lambda _: done.append("B"))
    crew.lanes.put("A", lambda _: done.append("A"))
    assert not crew.lanes.is_idle("C"), "whatever the key"
    free.set()
    wait_for(lambda: done == ["B", "A"], "in the order they came")
    assert len(crew.threads) == 1


def test_no_more_jobs_wait_than_may():
    lanes = Lanes(2, lambda number: None)
    assert all(lanes.put(f"k{n}", lambda _: None) for n in range(WAITING_MAX))
    assert not lanes.put("more", lambda _: None)
    key, _ = lanes.take(0)
    assert lanes.put("more", lambda _: None), "what has begun does not wait"
    lanes.done(key)


def test_the_turnstile_lets_one_through_at_a_time_the_most_urgent_first():
    turnstile, passed, inside = Turnstile(), [], []

    def go(action):
        with turnstile.turn(action):
            inside.append(action)
            assert len(inside) == 1
            passed.append(action)
            inside.remove(action)

    with turnstile.turn("read"):
        threads = [threading.Thread(target=go, args=(a,)) for a in ("read", "submit", "cancel")]
        for thread in threads:
            thread.start()
        wait_for(lambda: sum(turnstile._waiting.values()) == 3, "all three wait")
    for thread in threads:
        thread.join(20)
    assert passed == ["cancel", "submit", "read"]


def test_a_nonce_rises_also_within_a_millisecond_and_when_the_clock_is_set_back():
    turnstile = Turnstile()
    assert [turnstile.nonce(at) for at in (100, 100, 100, 90, 200)] == [100, 101, 102, 103, 200]


def test_only_signed_requests_pass_the_turnstile_and_their_nonce_rises():
    """Kraken, with ccxt's own signing: nobody listens at the address, so each request ends at once."""
    offset, turnstile = ClockOffset(CLOCK), Turnstile()
    now_ns, began_ms = CLOCK.mono_ns(), CLOCK.wall_ns() // 1_000_000
    offset.update([(now_ns, now_ns, began_ms - 60_000)])  # the venue's own clock is behind
    credentials = Credentials(Secret("key"), Secret("c2VjcmV0"), Secret())
    rest = CcxtRest("kraken", "http://127.0.0.1:9", credentials, offset=offset, clock=CLOCK,
                    turnstile=turnstile)  # fmt: skip
    nonces, sign = [], rest._ccxt.sign

    def seen(*args, **kwargs):
        signed = sign(*args, **kwargs)
        nonces.append((turnstile._is_taken, signed.get("body") or ""))
        return signed

    rest._ccxt.sign = seen
    for method in ("privatePostBalanceEx", "publicGetTime", "privatePostBalanceEx"):
        with pytest.raises(RestFailure):
            rest.call(RestCall(method, {}, {}))
    assert [taken for taken, _ in nonces] == [True, False, True]
    first, last = (int(body.partition("=")[2]) for taken, body in nonces if taken)
    assert last > first >= began_ms, (
        "from our clock: the last session's estimate may be ahead of ours"
    )
    rest.close()


def test_a_question_asked_again_before_its_turn_is_one_question_with_its_newest_words():
    lanes = Lanes(1, lambda _: None)
    lanes.start()
    for number in range(3):
        assert lanes.put("A", lambda _, n=number: n, "order 1")
    lanes.put("A", lambda _: "all", "")
    lanes.put("A", lambda _: "other", "order 2")
    answers = []
    while taken := lanes.take(0):
        key, job = taken
        answers.append(job(None))
        if answers == [2]:  # one that has begun stands for nothing that is asked now
            lanes.put("A", lambda _: "anew", "order 1")
        lanes.done(key)
    assert answers == [2, "all", "other", "anew"]
    assert len(lanes) == 0
