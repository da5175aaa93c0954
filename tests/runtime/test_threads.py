"""Real threads: the caller-runs dispatcher, the watchdog, and what a zombie may still do."""

import ctypes
from collections.abc import Callable
from random import Random
from threading import Event, Thread, get_ident, main_thread
from threading import enumerate as threads

import pykka
import pytest
from toys import ENDLESS, BatchPersistence, Counter, Journal, Passer, Watcher, spec
from waiting import wait_for

from engine.actor import Actor
from engine.clock import NS_PER_S, SystemClock
from engine.dispatch import CallerRunsDispatcher, CrashInjector, ThreadDispatcher
from engine.errors import Fenced
from engine.messages import Halt, InjectCrash, Tick
from engine.specs import ChildSpec
from engine.supervision import Supervisor


class SteppedClock(SystemClock):
    """Real time plus what a test adds, so that nobody waits for a watchdog."""

    def __init__(self) -> None:
        self.ahead_ns = 0

    def mono_ns(self) -> int:
        return super().mono_ns() + self.ahead_ns


class Real:
    """A supervisor on real threads, whose watchdog checks when the test says so."""

    def __init__(self, specs, watch_period_s: float = 3600.0, **options) -> None:
        self.clock = SteppedClock()
        self.journal = Journal()
        self.watcher = Watcher()
        self.tick_path = CallerRunsDispatcher()
        self.disk = ThreadDispatcher("disk")
        self.supervisor = Supervisor(
            [make(self) if callable(make) else make for make in specs],
            clock=self.clock,
            rng=Random(1),
            dispatchers={"main": self.tick_path, "disk": self.disk},
            recovery=self.journal,
            policy=ENDLESS,
            observer=self.watcher,
            on_escalate=self.watcher.escalate,
            watch_period_s=watch_period_s,
            **options,
        )

    def start(self) -> "Real":
        self.supervisor.start()
        until(lambda: all(s.state == "running" for s in self.supervisor.tree()))
        return self

    def check_later(self, seconds: float = 2.0) -> None:
        self.clock.ahead_ns += int(seconds * NS_PER_S)
        self.supervisor.watchdog.check()

    def tick(self, to: str, number: int) -> None:
        self.supervisor.tell(to, Tick("t", str(number)))

    def incarnation(self, name: str) -> int:
        return next(s.incarnation for s in self.supervisor.tree() if s.name == name)


def until(done: Callable[[], bool], deadline_s: float = 10.0) -> None:
    wait_for(done, "the condition", deadline_s)


def in_thread(job: Callable[[], None]) -> Thread:
    thread = Thread(target=job, daemon=True)
    thread.start()
    return thread


@pytest.fixture
def real():
    made = []

    def make(*args, **options):
        made.append(Real(*args, **options))
        return made[-1]

    yield make
    for one in made:
        one.supervisor.stop(1.0)


def disk_persistence(world):
    return ChildSpec("persistence", lambda: BatchPersistence(world.journal), "disk")


class Sticky(Actor):
    """Blocks in the handler of Tick 0 until it is let go."""

    def __init__(self, entered: Event, release: Event, found: list[str]) -> None:
        super().__init__()
        self.entered = entered
        self.release = release
        self.found = found

    def on_tick(self, message: Tick) -> None:
        if message.argument == "0" and self.incarnation == 1:
            self.entered.set()
            self.release.wait(20.0)
            try:
                self.send("out", message)
            except Fenced:
                self.found.append("fenced")
                raise
        self.send("out", message)


def test_the_thread_that_tells_runs_the_whole_chain(real):
    seen: list[int] = []

    class Last(Actor):
        def on_tick(self, message: Tick) -> None:
            seen.append(get_ident())

    world = real([spec("b", Last), spec("a", lambda: Passer("b"))]).start()
    thread = in_thread(lambda: world.tick("a", 1))
    thread.join(5.0)
    world.tick("a", 2)
    assert seen == [thread.ident, main_thread().ident]


def test_many_senders_and_crashes_on_threads_lose_and_double_nothing(real):
    faults = CrashInjector(Random(3), 0.0)
    world = real(
        [disk_persistence, spec("b", Counter), spec("a", lambda: Counter("b"))], faults=faults
    ).start()
    faults.share = 0.05

    def sender(first: int) -> None:
        for number in range(first, first + 250):
            world.tick("a", number)

    senders = [in_thread(lambda n=n: sender(n * 1000)) for n in range(4)]
    for thread in senders:
        thread.join(30.0)
    until(lambda: world.journal.seq >= 2_000, 40.0)
    faults.share = 0.0
    until(lambda: all(s.state == "running" for s in world.supervisor.tree()))
    expected = sorted(n * 1000 + i for n in range(4) for i in range(250))
    assert faults.total > 100
    for name in ("a", "b"):
        mine = [int(e.arguments) for _, _, e in world.journal.records if e.who == name]
        assert sorted(mine) == expected
        for start in range(0, 4000, 1000):
            one_sender = [n for n in mine if start <= n < start + 1000]
            assert one_sender == sorted(one_sender)


def test_a_stuck_handler_is_fenced_and_the_others_go_on_at_once(real):
    entered, release, found, lost = Event(), Event(), [], []
    world = real(
        [
            spec("stuck", lambda: Sticky(entered, release, found)),
            spec("fine", lambda: Passer("out")),
        ]
    ).start()
    out = world.supervisor.add_mailbox("out")
    after: list[str] = []

    def reader() -> None:
        world.supervisor.register_thread(lambda: lost.append("told"))
        world.tick("stuck", 0)
        try:
            world.tick("fine", 99)
        except Fenced:
            after.append("reader fenced")

    thread = in_thread(reader)
    assert entered.wait(5.0)
    world.tick("fine", 1)
    world.tick("stuck", 2)
    assert out.peek() is None
    world.check_later(0.5)
    assert world.incarnation("stuck") == 1
    world.check_later(1.0)
    until(lambda: out.mailbox.waiting() == 3)
    assert world.watcher.count("stuck", "stuck") == 1
    until(lambda: lost == ["told"])
    release.set()
    thread.join(5.0)
    assert found == ["fenced"]
    assert after == ["reader fenced"]
    texts = []
    while (entry := out.peek()) is not None:
        texts.append(out.read(entry)[1].argument)
        out.ack(entry)
    assert sorted(texts) == ["0", "1", "2"]
    assert texts.index("0") < texts.index("2")
    assert world.incarnation("stuck") == 2


def test_a_message_that_always_sticks_is_parked(real):
    release = Event()

    class Always(Actor):
        def on_tick(self, message: Tick) -> None:
            if message.argument == "0":
                release.wait(30.0)
            else:
                self.send("out", message)

    world = real([ChildSpec("a", Always, "disk")]).start()
    out = world.supervisor.add_mailbox("out")
    world.tick("a", 0)
    world.tick("a", 1)
    for _ in range(3):
        stuck_in = world.incarnation("a")
        life = world.supervisor._cells["a"]
        until(lambda c=life, n=stuck_in: c.life.incarnation == n and c.life.running is not None)
        world.check_later()
    until(lambda: out.mailbox.waiting() == 1)
    assert [p.kind for p in world.supervisor.parking.list()] == ["Tick"]
    release.set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_died_silently_is_replaced_with_its_mail(real):
    world = real([disk_persistence, ChildSpec("a", lambda: Passer("out"), "disk")]).start()
    out = world.supervisor.add_mailbox("out")
    victim = next(t for t in threads() if t.name == "disk" and t is world.disk._thread)
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(victim.ident), ctypes.py_object(SystemExit)
    )
    world.disk._queue.put(None)
    until(lambda: not victim.is_alive())
    world.tick("a", 1)
    assert out.peek() is None
    world.supervisor.watchdog.check()
    until(lambda: out.mailbox.waiting() == 1)


def test_the_watchdog_runs_by_itself(real):
    entered, release = Event(), Event()
    world = real([spec("stuck", lambda: Sticky(entered, release, []))], watch_period_s=0.01)
    world.start()
    out = world.supervisor.add_mailbox("out")
    in_thread(lambda: world.tick("stuck", 0))
    assert entered.wait(5.0)
    world.clock.ahead_ns += 2 * NS_PER_S
    until(lambda: out.mailbox.waiting() == 1, 2.0)
    release.set()


def test_a_lost_wake_up_is_found(real):
    world = real([spec("a", lambda: Passer("out"))]).start()
    out = world.supervisor.add_mailbox("out")
    cell = world.supervisor._cells["a"]
    cell.scheduled = True
    world.tick("a", 1)
    assert out.peek() is None
    for _ in range(4):
        world.supervisor.watchdog.check()
    until(lambda: out.mailbox.waiting() == 1)


def test_base_exceptions_reach_no_other_actor_of_the_process(real):
    class Stock(pykka.ThreadingActor):
        def on_receive(self, message):
            return message

    stock = Stock.start()
    world = real([spec("a", lambda: Passer("out")), spec("b", lambda: Passer("out"))]).start()
    for error in ("SystemExit", "KeyboardInterrupt", "GeneratorExit"):
        world.supervisor.tell("a", InjectCrash(error, ""))
        until(lambda: world.supervisor.tree()[0].state == "running")
    assert stock.ask(1, timeout=5.0) == 1
    assert world.incarnation("a") == 4
    assert world.incarnation("b") == 1
    stock.stop()


def test_stock_pykka_stopping_everything_does_not_stop_ours(real):
    world = real([spec("a", lambda: Passer("out"))]).start()
    out = world.supervisor.add_mailbox("out")
    for future in pykka.ActorRegistry.stop_all(block=False):
        with pytest.raises(Exception, match="supervisor"):
            future.get(timeout=5.0)
    world.tick("a", 1)
    assert out.mailbox.waiting() == 1


def test_a_halt_overtakes_what_waits_on_the_tick_path(real):
    seen: list[str] = []
    hold, held = Event(), Event()

    class Order(Actor):
        def on_tick(self, message: Tick) -> None:
            if not seen:
                held.set()
                hold.wait(10.0)
            seen.append(message.argument)

        def on_halt(self, message: Halt) -> None:
            seen.append("halt")

    world = real([spec("a", Order)]).start()
    in_thread(lambda: world.tick("a", 0))
    assert held.wait(5.0)
    for number in range(1, 500):
        world.tick("a", number)
    world.supervisor.tell("a", Halt("h", "all", "drill", "test", True, "edge"))
    hold.set()
    until(lambda: len(seen) == 501)
    assert seen[:2] == ["0", "halt"]


def test_the_journal_takes_everything_that_waits_in_one_batch(real):
    world = real([disk_persistence, spec("a", Counter)]).start()
    actor = world.supervisor._cells["persistence"].life.actor
    for number in range(300):
        world.tick("a", number)
    until(lambda: world.journal.seq == 300)
    assert sum(actor.batches) == 300


def test_many_threads_on_one_dispatcher_run_one_actor_at_a_time(real):
    inside: list[int] = []
    overlaps: list[int] = []
    done: list[int] = []

    class Alone(Actor):
        def on_tick(self, message: Tick) -> None:
            if inside:
                overlaps.append(1)
            inside.append(1)
            done.append(sum(range(50)))
            inside.pop()

    world = real([spec("a", Alone), spec("b", Alone)]).start()

    def sender() -> None:
        for number in range(500):
            world.tick("a", number)
            world.tick("b", number)

    workers = [in_thread(sender) for _ in range(4)]
    for worker in workers:
        worker.join(30.0)
    until(lambda: len(done) == 4_000)
    assert overlaps == []
