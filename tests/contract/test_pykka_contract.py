"""What stock Pykka 4.5 does, fact by fact, so that an upgrade which changes one fails loudly.

The numbers are those of docs/runtime-semantics.md. Our own actors are built so that none of the traps
among them applies; tests/runtime shows that. Facts 16 to 18 need a process of their own.
"""

import gc
import queue
import signal
import subprocess
import sys
import threading
import weakref
from importlib.metadata import version

import pykka
import pytest
from pykka import ActorDeadError, ActorRegistry, ThreadingActor, ThreadingFuture, Timeout
from pykka._envelope import Envelope
from waiting import wait_for

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
WAIT_S = 5.0


class Gated(ThreadingActor):
    """Handles `wait` until the gate opens; `die` and `exit` raise; notes everything else."""

    use_daemon_thread = True

    def __init__(self) -> None:
        super().__init__()
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.seen: list[object] = []
        self.ends: list[str] = []
        self.inbox_at_failure = -1

    def on_receive(self, message):
        if message == "wait":
            self.entered.set()
            self.gate.wait(WAIT_S)
        elif message == "die":
            raise RuntimeError("die")
        elif message == "exit":
            raise SystemExit
        elif message == "half":
            self.seen.append("half")
            raise RuntimeError("half way")
        else:
            self.seen.append(message)
        return len(self.seen)

    def on_stop(self):
        self.ends.append("on_stop")

    def on_failure(self, *_):
        self.ends.append("on_failure")
        self.inbox_at_failure = self.actor_inbox.qsize()
        self.registered_at_failure = self.actor_ref in ActorRegistry.get_all()


@pytest.fixture(autouse=True)
def _nobody_left():
    yield
    for ref in ActorRegistry.get_all():
        ActorRegistry.unregister(ref)


def start(kind=Gated):
    ref = kind.start()
    return ref, ref._actor_weakref()


def until(done):
    wait_for(done, "the condition", WAIT_S)


def held(*, then):
    """Return an actor that handles `wait` and has `then` in its inbox."""
    ref, actor = start()
    ref.tell("wait")
    assert actor.entered.wait(WAIT_S)
    for message in then:
        ref.tell(message)
    return ref, actor


def test_fact_1_unread_tells_are_dropped_at_a_crash():
    ref, actor = held(then=["die", 1, 2])
    actor.gate.set()
    until(lambda: not ref.is_alive() and actor.actor_inbox.empty())
    assert actor.seen == []


def test_fact_2_unread_asks_get_an_error_and_so_do_later_tells():
    ref, actor = held(then=["die"])
    future = ref.ask(1, block=False)
    actor.gate.set()
    with pytest.raises(ActorDeadError):
        future.get(timeout=WAIT_S)
    with pytest.raises(ActorDeadError):
        ref.tell(2)


def test_fact_3_an_exception_in_an_ask_goes_to_the_asker_and_the_actor_lives_half_changed():
    ref, actor = start()
    with pytest.raises(RuntimeError):
        ref.ask("half", timeout=WAIT_S)
    assert ref.is_alive()
    assert actor.seen == ["half"]
    assert actor.ends == []
    ref.stop(timeout=WAIT_S)


def test_fact_4_on_failure_runs_unregistered_and_before_the_drain():
    ref, actor = held(then=["die", 1, 2])
    actor.gate.set()
    until(lambda: actor.ends == ["on_failure"])
    assert actor.inbox_at_failure == 2
    assert not actor.registered_at_failure
    assert not ref.is_alive()


def test_fact_5_an_exception_in_on_start_is_told_to_nobody():
    class Broken(Gated):
        def on_start(self):
            raise RuntimeError("no start")

    actor = None
    ref = Broken.start()
    actor = ref._actor_weakref()
    until(lambda: not ref.is_alive())
    assert actor is None or actor.ends == []


def test_fact_6_an_exception_in_init_is_raised_by_start():
    class Broken(Gated):
        def __init__(self):
            super().__init__()
            raise RuntimeError("no life")

    with pytest.raises(RuntimeError):
        Broken.start()
    assert ActorRegistry.get_by_class(Broken) == []


def test_fact_7_an_exception_in_on_stop_is_told_to_nobody():
    class Broken(Gated):
        def on_stop(self):
            raise RuntimeError("no end")

    ref, actor = start(Broken)
    assert ref.stop(timeout=WAIT_S) is True
    assert actor.ends == []


def test_fact_8_a_base_exception_stops_every_actor_of_the_process():
    other, other_actor = start()
    ref, actor = start()
    ref.tell("exit")
    until(lambda: not other.is_alive() and not ref.is_alive())
    until(lambda: other_actor.ends == ["on_stop"])
    assert actor.ends == ["on_stop"]


def test_fact_9_the_asker_of_a_base_exception_is_never_answered():
    ref, _ = start()
    with pytest.raises(Timeout):
        ref.ask("exit", timeout=0.2)


def test_fact_10_a_base_exception_in_on_start_leaves_a_zombie():
    class Broken(Gated):
        def on_start(self):
            raise SystemExit

    ref = Broken.start()
    until(lambda: not any(t.name.startswith("Broken") for t in threading.enumerate()))
    assert ref.is_alive()
    assert ref in ActorRegistry.get_all()
    ref.tell(1)
    assert ref.actor_inbox.qsize() == 1


def test_fact_11_a_future_set_by_its_asker_kills_the_thread_and_leaves_a_zombie():
    class Prey(Gated):
        pass

    ref, actor = start(Prey)
    ref.tell("wait")
    assert actor.entered.wait(WAIT_S)
    future = ref.ask(1, block=False)
    future.set("mine")
    actor.gate.set()
    until(lambda: not any(t.name.startswith("Prey") for t in threading.enumerate()))
    assert ref.is_alive()


def test_fact_12_a_tell_between_the_check_and_the_put_is_lost_silently():
    ref, actor = start()
    ref.stop(timeout=WAIT_S)
    until(lambda: not any(t.name.startswith("Gated") for t in threading.enumerate()))
    # What tell does after its is_alive check, when the actor dies in between:
    actor.actor_inbox.put(Envelope("late"))
    future = ThreadingFuture()
    actor.actor_inbox.put(Envelope("late", reply_to=future))
    with pytest.raises(Timeout):
        future.get(timeout=0.1)
    assert actor.seen == []


def test_fact_13_stop_waits_behind_the_whole_inbox():
    ref, actor = held(then=range(1000))
    stopped = ref.stop(block=False)
    actor.gate.set()
    stopped.get(timeout=WAIT_S)
    assert actor.seen == list(range(1000))


def test_fact_14_each_senders_messages_stay_in_order():
    ref, actor = start()

    def send(sender):
        for number in range(2_000):
            ref.tell((sender, number))

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ref.stop(timeout=WAIT_S)
    for sender in range(4):
        assert [n for s, n in actor.seen if s == sender] == list(range(2_000))


def test_fact_15_the_inbox_has_no_bound():
    ref, actor = start()
    assert isinstance(actor.actor_inbox, queue.Queue)
    assert actor.actor_inbox.maxsize == 0
    ref.stop(timeout=WAIT_S)


PROGRAM = """
import signal, sys, threading, time, pykka
class A(pykka.ThreadingActor):
    use_daemon_thread = {daemon}
    def on_start(self): print("started", flush=True)
    def on_receive(self, message): print("got", message, flush=True)
    def on_stop(self): print("stopped", flush=True)
ref = A.start()
ref.ask(1)
{end}
"""


def program(daemon: bool, end: str) -> subprocess.Popen:
    code = PROGRAM.format(daemon=daemon, end=end)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


@pytest.mark.processes
def test_fact_16_the_death_of_the_main_thread_leaves_the_process_running():
    with program(daemon=False, end="raise RuntimeError('main dies')") as process:
        assert process.stdout.readline() == "started\n"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()


@pytest.mark.processes
def test_fact_17_daemon_actors_end_with_the_process_without_on_stop():
    with program(daemon=True, end="") as process:
        assert process.wait(WAIT_S) == 0
        assert "stopped" not in process.stdout.read()


@pytest.mark.processes
def test_fact_18_an_interrupt_reaches_the_main_thread_only():
    end = "print('ready', flush=True)\ntime.sleep(60)"
    with program(daemon=False, end=end) as process:
        while process.stdout.readline() != "ready\n":
            pass
        process.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.kill()


def test_fact_19_messages_are_passed_by_reference():
    ref, actor = start()
    message = ["a"]
    ref.ask(message, timeout=WAIT_S)
    message.append("b")
    assert actor.seen[0] is message
    ref.stop(timeout=WAIT_S)


def test_fact_20_a_broadcast_ends_at_the_first_dead_target():
    dead, _ = start()
    dead.stop(timeout=WAIT_S)
    ActorRegistry.register(dead)
    _, actor = start()
    with pytest.raises(ActorDeadError):
        ActorRegistry.broadcast("hello")
    assert actor.seen == []


def test_fact_21_an_asks_timeout_does_not_cancel_it():
    ref, actor = held(then=[])
    with pytest.raises(Timeout):
        ref.ask("order", timeout=0.05)
    actor.gate.set()
    ref.stop(timeout=WAIT_S)
    assert actor.seen == ["order"]


def test_fact_22_actors_that_ask_each_other_wait_for_ever():
    class Asker(ThreadingActor):
        use_daemon_thread = True

        def on_receive(self, other):
            return other.ask(self.actor_ref, timeout=0.2) if other else None

    first, second = Asker.start(), Asker.start()
    with pytest.raises(Timeout):
        first.ask(second, timeout=WAIT_S)
    first.stop(timeout=WAIT_S)
    second.stop(timeout=WAIT_S)


def test_fact_23_the_inbox_hook_may_be_a_method_and_is_called_in_init():
    box: queue.Queue = queue.Queue()

    class Heir(ThreadingActor):
        use_daemon_thread = True

        def _create_actor_inbox(self):
            return box

        def on_receive(self, message):
            return message

    ref = Heir.start()
    assert ref.actor_inbox is box
    assert ref.ask("will", timeout=WAIT_S) == "will"
    ref.stop(timeout=WAIT_S)


def test_fact_24_a_ref_does_not_keep_its_actor():
    class Threadless(ThreadingActor):
        def _start_actor_loop(self):
            pass

    ref = Threadless.start()
    gone = weakref.ref(ref)
    gc.collect()
    assert ref._actor_weakref() is None
    assert gone() is ref


def test_the_hooks_and_versions_that_we_build_on_are_there():
    assert version("pykka").startswith("4.")
    for hook in ("_create_actor_inbox", "_create_future", "_start_actor_loop"):
        assert callable(getattr(ThreadingActor, hook))
    assert pykka.messages._ActorStop() == ()
