"""The rate governor and the clock estimate, on a clock that moves only when told to."""

import threading

import pytest
from waiting import wait_for

from adapters.offset import ClockOffset
from adapters.rate import Priority, RateGovernor
from engine.clock import NS_PER_S, SystemClock, VirtualClock
from engine.errors import Refused
from engine.messages.port import RateScope, RateWait


def governor(clock, tokens=10, seconds=10.0, share=1.0):
    return RateGovernor({"orders": (tokens, seconds)}, clock, share)


ONE = {"orders": 1}


def test_a_share_is_kept_for_cancels():
    clock = VirtualClock()
    rate = governor(clock)
    taken = 0
    while rate.try_take(Priority.NEW, ONE) == 0:
        taken += 1
    assert taken == 9
    assert rate.try_take(Priority.CANCEL, ONE) == 0
    assert rate.try_take(Priority.CANCEL, ONE) > 0


def test_the_told_wait_is_long_enough():
    clock = VirtualClock()
    rate = governor(clock)
    while (wait_ns := rate.try_take(Priority.NEW, ONE)) == 0:
        pass
    clock.advance_ns(wait_ns - NS_PER_S // 100)
    assert rate.try_take(Priority.NEW, ONE) > 0
    clock.advance_ns(NS_PER_S // 100)
    assert rate.try_take(Priority.NEW, ONE) == 0


def test_retry_after_silences_everything_and_then_cancels_pass_first():
    clock = VirtualClock()
    rate = governor(clock)
    rate.on_limited(3, banned=False)
    assert rate.try_take(Priority.CANCEL, ONE) == 3 * NS_PER_S
    assert not rate.acquire(Priority.NEW, ONE, clock.mono_ns() + NS_PER_S)
    clock.advance_ns(3 * NS_PER_S)
    assert rate.try_take(Priority.CANCEL, ONE) == 0


def test_it_tells_what_is_left_who_waits_and_who_went_without():
    clock = VirtualClock()
    rate = governor(clock, tokens=10)
    assert rate.waits() == []
    for _ in range(7):
        assert rate.acquire(Priority.QUERY, ONE, clock.mono_ns()) is True
    assert rate.scopes() == [RateScope("orders", 10, 3, 10.0)]
    assert not rate.acquire(Priority.QUERY, {"orders": 5}, clock.mono_ns() + NS_PER_S)
    assert rate.waits() == [RateWait("query", 0, 1)]
    assert rate.shortage({"orders": 5}) == "5 of orders needed, 3 of 10 left"
    clock.advance_ns(61 * NS_PER_S)
    assert rate.waits() == [], "what is long over is not told any more"
    rate.on_limited(3, banned=False)
    assert rate.blocked_ms() == 3000
    assert "silence" in rate.shortage(ONE)


def test_who_waits_for_tokens_is_told_while_it_waits():
    clock = SystemClock()
    rate = governor(clock, tokens=10, seconds=1.0)
    while rate.try_take(Priority.NEW, ONE) == 0:
        pass
    until_ns = clock.mono_ns() + 10 * NS_PER_S
    thread = threading.Thread(target=rate.acquire, args=(Priority.NEW, {"orders": 8}, until_ns))
    thread.start()
    wait_for(lambda: rate.waits() == [RateWait("new", 1, 0)], "it is seen to wait")
    thread.join()
    assert rate.waits() == []


def test_a_ban_without_a_time_opens_the_breaker_for_long():
    clock = VirtualClock()
    rate = governor(clock)
    rate.on_limited(0, banned=True)
    clock.advance_ns(60 * NS_PER_S)
    assert rate.try_take(Priority.CANCEL, ONE) > 0


def two_scopes(clock):
    return RateGovernor({"orders": (100, 10.0), "cancels": (100, 10.0)}, clock)


def test_a_refusal_without_a_time_silences_its_own_scope_and_longer_each_time():
    clock = VirtualClock()
    rate = two_scopes(clock)
    waits = []
    for _ in range(4):
        rate.on_limited(0, banned=False, scopes=["orders"])
        assert rate.try_take(Priority.CANCEL, {"cancels": 1}) == 0
        waits.append(rate.try_take(Priority.CANCEL, ONE) // NS_PER_S)
        clock.advance_ns(waits[-1] * NS_PER_S)
        assert rate.try_take(Priority.CANCEL, ONE) == 0
    assert waits == [1, 2, 4, 8], "long before a ban"
    clock.advance_ns(600 * NS_PER_S)
    rate.on_limited(0, banned=False, scopes=["orders"])
    assert rate.blocked_ms() == 1000, "it was long ago"


@pytest.mark.parametrize(
    "said", [{"retry_after_s": 7, "banned": False}, {"retry_after_s": 0, "banned": True}]
)
def test_a_ban_or_a_time_that_the_venue_names_silences_every_scope(said):
    clock = VirtualClock()
    rate = two_scopes(clock)
    rate.on_limited(**said, scopes=["orders"])
    assert rate.try_take(Priority.CANCEL, {"cancels": 1}) == rate.blocked_until_ns - clock.mono_ns()
    assert rate.blocked_ms() == (7000 if said["retry_after_s"] else 120_000)


def test_refusals_of_what_was_under_way_when_the_breaker_opened_are_one():
    clock = VirtualClock()
    rate = two_scopes(clock)
    for _ in range(5):
        rate.on_limited(0, banned=False, scopes=["orders"])
    assert rate.blocked_ms() == 1000
    assert rate._factor == 0.5
    rate.on_limited(3, banned=False, scopes=["orders"])
    assert rate.blocked_ms() == 3000, "but a time that the venue names is obeyed"
    assert rate._factor == 0.5


def test_after_a_429_the_rate_is_halved_and_creeps_back():
    clock = VirtualClock()
    rate = governor(clock)
    while rate.try_take(Priority.CANCEL, ONE) == 0:
        pass
    rate.on_limited(1, banned=False)
    clock.advance_ns(NS_PER_S)
    assert rate.try_take(Priority.CANCEL, ONE) > 0  # a second brings half a token now
    clock.advance_ns(200 * NS_PER_S)
    for _ in range(20):
        rate.try_take(Priority.CANCEL, ONE)
        clock.advance_ns(20 * NS_PER_S)
    while rate.try_take(Priority.CANCEL, ONE) == 0:
        pass
    clock.advance_ns(NS_PER_S)
    assert rate.try_take(Priority.CANCEL, ONE) == 0


def test_the_venues_counter_is_believed_also_for_what_siblings_spent():
    clock = VirtualClock()
    rate = governor(clock, tokens=100, share=0.5)
    rate.observe({"orders": 40, "unknown": 9})
    assert rate.used_ratio() == 0.0
    rate.observe({"orders": 95})
    assert rate.used_ratio() == pytest.approx(0.9)


def test_a_waiting_cancel_goes_before_a_waiting_order():
    clock = SystemClock()
    rate = governor(clock, tokens=10, seconds=1.0)
    while rate.try_take(Priority.CANCEL, ONE) == 0:
        pass
    order = []

    def wait(priority):
        if rate.acquire(priority, ONE, clock.mono_ns() + 5 * NS_PER_S):
            order.append(priority)

    threads = [threading.Thread(target=wait, args=(p,)) for p in (Priority.NEW, Priority.CANCEL)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert order == [Priority.CANCEL, Priority.NEW]


def test_who_does_not_wait_never_takes_what_somebody_waits_for():
    clock = VirtualClock()
    rate = governor(clock)
    while rate.try_take(Priority.CANCEL, ONE) == 0:
        pass
    far_ns = clock.mono_ns() + 1000 * NS_PER_S
    waiter = threading.Thread(
        target=lambda: rate.acquire(Priority.NEW, {"orders": 2}, far_ns), daemon=True
    )
    waiter.start()
    while not rate._waiting[Priority.NEW]:
        pass
    clock.advance_ns(2 * NS_PER_S)  # enough for one, not for the two that are waited for
    assert rate.try_take(Priority.NEW, ONE) > 0
    assert rate.try_take(Priority.CANCEL, ONE) == 0
    clock.advance_ns(10 * NS_PER_S)
    waiter.join(10)
    assert not waiter.is_alive()
    assert rate.try_take(Priority.NEW, ONE) == 0


def test_who_waits_for_another_scope_is_in_nobodys_way():
    clock = SystemClock()
    rate = RateGovernor({"counter": (10, 5.0), "orders": (10, 60.0)}, clock)
    while rate.try_take(Priority.QUERY, {"counter": 1}) == 0:
        pass
    asking = threading.Thread(
        target=lambda: rate.acquire(Priority.QUERY, {"counter": 2}, clock.mono_ns() + 30 * NS_PER_S)
    )
    asking.start()
    wait_for(lambda: any(w.waiting for w in rate.waits()), "the query waits")
    assert rate.try_take(Priority.NEW, {"orders": 1}) == 0
    assert rate.try_take(Priority.NEW, {"counter": 1}) > 0
    asking.join()


def test_the_quickest_sample_gives_the_clock_and_a_wall_step_changes_nothing():
    clock = VirtualClock(wall_ns=1_700_000_000 * NS_PER_S)
    offset = ClockOffset(clock)
    now_ns = clock.mono_ns()
    offset.update([
        (now_ns - 900_000_000, now_ns, 1_700_000_099_000),
        (now_ns - 2_000_000, now_ns, 1_700_000_020_000),
    ])  # fmt: skip
    assert abs(offset.now_ms() - 1_700_000_020_001) <= 1
    assert offset.offset_ms() == pytest.approx(20_001, abs=1)
    clock.step_wall_ns(-3600 * NS_PER_S)
    assert abs(offset.now_ms() - 1_700_000_020_001) <= 1


def test_nothing_is_signed_without_knowing_the_time_well_enough():
    clock = VirtualClock()
    offset = ClockOffset(clock, error_ms_max=100)
    with pytest.raises(Refused, match="not known yet"):
        offset.now_ms()
    now_ns = clock.mono_ns()
    offset.update([(now_ns, now_ns + NS_PER_S, 1_700_000_000_000)])
    with pytest.raises(Refused, match="500 ms"):
        offset.now_ms()
    offset.update([(now_ns, now_ns + 1000, 1_700_000_000_000)])
    offset.now_ms()
    clock.advance_ns(2 * 3600 * NS_PER_S)
    with pytest.raises(Refused, match="too old"):
        offset.now_ms()
    now_ns = clock.mono_ns()
    offset.update([(now_ns - 1000, now_ns, 1_700_000_600_000)])
    assert offset.now_ms() == 1_700_000_600_000, "one good estimate is enough to sign again"
