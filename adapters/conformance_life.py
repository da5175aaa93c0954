"""C13, C15 and C16: what outlives a session, what does not, and what its frames say once more."""

from typing import Final

from adapters.conformance_bench import Bench, check
from adapters.conformance_suite import Suite, open_sockets
from adapters.registry import dialect, known_adapter
from engine.messages.market import BookDelta
from engine.messages.port import AdapterReady, CancelOrder, SubmitOrder, SubmitResult

PATIENT_MS: Final = 3_000
FRAMES_MIN: Final = 20


def restart(suite: Suite) -> None:
    """A session that is killed at any point of an order answers once; the next one finds the truth."""
    stage = suite.staged
    with suite.bench(books=True, symbols=suite.one) as bench:
        resting, canceling = bench.order(), bench.order()
        for order in (resting, canceling):
            bench.accepted(order)
        stage.fault("delay", "cancel", when="after", ms=PATIENT_MS)
        bench.adapter.handle(CancelOrder(canceling.account, canceling.client_order_id, None,
                                         canceling.symbol))  # fmt: skip
        bench.until(
            lambda: stage.orders(canceling)[0]["status"] == "CANCELED", "the cancel is there"
        )
        if known_adapter(bench.config.adapter).one_lane:  # nothing else is under way beside it
            _kill(bench)
            stage.clear()
            _again(bench)
        stage.fault("delay", "order", when="after", ms=PATIENT_MS)
        accepted = bench.order()
        bench.send(accepted)
        bench.until(lambda: stage.orders(accepted), "the venue has the order")
        late = bench.order(expires_mono_ns=1)
        bench.send(late)
        _kill(bench)
        stage.clear()
        unsent = bench.order()
        bench.send(unsent)  # nobody is there to take it
        stage.act("fill", client_order_id=resting.client_order_id)
        _answers(bench, {"UNKNOWN": [accepted], "NOT_SENT": [late, unsent]})
        _again(bench)
        for order in (accepted, canceling, resting, late, unsent):
            _as_at_the_venue(suite, bench, order)
        filled = [f for f in bench.reconcile().fills
                  if f.client_order_id == resting.client_order_id]  # fmt: skip
        check(
            sum(f.quantity for f in filled) == resting.quantity, "a fill is lost with the session"
        )
        check(bench.submit(accepted).outcome == "UNKNOWN", "a known command was sent again")
        check(len(stage.orders(accepted)) == 1, "it is there twice")
        bench.sweep()


# Nothing leaves from here on, and what was on its way is given up.
def _kill(bench: Bench) -> None:
    bench.adapter.shut()
    bench.adapter.stop(0)


def _again(bench: Bench) -> None:
    mark = bench.mark()
    bench.adapter.start()
    bench.wait(AdapterReady, since=mark)
    bench.linked(mark)


def _answers(bench: Bench, wanted: dict[str, list[SubmitOrder]]) -> None:
    results = bench.found(SubmitResult)
    for outcome, orders in wanted.items():
        for order in orders:
            told = [r.outcome for r in results if r.client_order_id == order.client_order_id]
            check(told == [outcome], f"{told}, not {outcome}")


def _as_at_the_venue(suite: Suite, bench: Bench, order: SubmitOrder) -> None:
    held = suite.staged.orders(order)
    check(len(held) <= 1, f"{len(held)} orders of one intent")
    found = bench.query(order)
    check(found.found == bool(held), f"found {found.found}, {len(held)} at the venue")
    if held:
        check(found.order is not None and found.order.status == held[0]["status"],
              f"{found.order}, {held[0]['status']} at the venue")  # fmt: skip


def shutdown(suite: Suite) -> None:
    """A session ends within its deadline, its threads and sockets with it; nothing of ours is open."""
    bench = suite.main
    left = bench.sweep() if suite.may_trade else []
    check(not left, f"{len(left)} orders are left open")
    threads, notes = list(bench.threads), len(bench.notes)
    check(notes, "nothing was heard")
    suite.end(bench)
    check(not any(thread.is_alive() for thread in threads), "a thread lives on")
    more = open_sockets() - suite.sockets_before
    check(not more, f"{len(more)} sockets are left open")
    order = bench.order() if suite.may_trade else None
    if order is not None:
        bench.send(order)
        check(bench.result(order).outcome == "NOT_SENT", "a session that has ended took an order")


def replayed(suite: Suite) -> None:
    """The frames of this very run, through a fresh codec, make the same events again."""
    bench = suite.main
    notes = list(bench.notes)
    codec = dialect(bench.config).codec
    frames = deltas = 0
    for note in notes:
        again = getattr(codec, note.name)(*note.arguments)
        if note.name in ("on_public", "on_private"):
            frames += 1
            deltas += sum(isinstance(event, BookDelta) for event in note.answer)
            check(again == note.answer, f"frame {frames} is read in two ways")
    check(frames >= FRAMES_MIN and deltas, f"{frames} frames, {deltas} of books")
