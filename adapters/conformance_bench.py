"""One adapter under examination: a real session, driven through the port as its actor drives it.

A bench keeps every report in order, waits for conditions with a deadline, and knows each order it
sent, so that whoever opened it can prove that none is left. It judges nothing.
"""

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import ROUND_CEILING, Decimal
from threading import Condition
from typing import Any, Final, NamedTuple, TypeVar, cast

from adapters.adapter import VenueAdapter
from adapters.codec import Codec
from adapters.lanes import Joinable, ThreadFactory
from adapters.registry import Venue, VenueConfig, dialect
from adapters.session import Session
from engine.clock import NS_PER_S, Clock
from engine.messages.base import Message, Side
from engine.messages.market import VenueBook
from engine.messages.port import (
    AdapterReady,
    CancelOrder,
    CancelResult,
    Instrument,
    LinkChanged,
    OrderReport,
    QueryOrder,
    QueryResult,
    Reconcile,
    ReconcileResult,
    SubmitOrder,
    SubmitResult,
)
from engine.trading.instrument import quantise_price, unscale

WITHIN_S: Final = 25.0  # a deadline, not a measure: a busy machine is no failure of an adapter
STOP_S: Final = 5.0
LOOK_S: Final = 0.02  # how often a condition is looked at that no report may announce
APPROVAL_NS: Final = 20 * NS_PER_S
FAR: Final = Decimal("0.5")  # of the best bid: nothing rests there for long enough to trade
SEEN: Final = ("subscribe", "resubscribe", "login", "on_public", "on_private")
_Kind = TypeVar("_Kind", bound=Message)


class Failed(Exception):
    """What an examination found."""


def check(condition: object, text: str) -> None:
    """Raise Failed with `text` unless the condition holds."""
    if not condition:
        raise Failed(text)


@dataclass(frozen=True)
class Surroundings:
    """Where time, randomness and threads come from; `scopes` are limits in place of the venue's own."""

    clock: Clock
    rng: random.Random
    threads: ThreadFactory
    scopes: Mapping[str, tuple[int, float]] = field(default_factory=dict)


class Spoken(NamedTuple):
    """One call of a codec: its name, its arguments, what it answered."""

    name: str
    arguments: tuple[Any, ...]
    answer: Any


class Overheard:
    """A codec that notes everything said to it and what it made of it."""

    def __init__(self, codec: Codec, notes: list[Spoken]) -> None:
        self._codec = codec
        self._notes = notes

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """Be taken for the codec by whoever looks for one venue's own."""
        return type(self._codec)

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._codec, name)
        if name not in SEEN:
            return value

        def heard(*arguments: Any) -> Any:
            answer = value(*arguments)
            self._notes.append(Spoken(name, arguments, answer))
            return answer

        return heard


@dataclass
class Sent:
    """The orders that a suite has sent, by client_order_id, over all of its benches."""

    orders: dict[str, SubmitOrder] = field(default_factory=dict)


class Bench:
    """One VenueAdapter and everything it has reported. `start` before use, `stop` at the end."""

    def __init__(self, config: VenueConfig, at: Surroundings, sent: Sent) -> None:
        self.config = config
        self.at = at
        self.sent = sent
        self.notes: list[Spoken] = []
        self.threads: list[Joinable] = []
        self.also: Callable[[Message], None] = lambda _: None  # who hears the reports beside us
        self._reports: list[Message] = []
        self._changed = Condition()
        self.adapter = VenueAdapter(
            config, clock=at.clock, rng=random.Random(at.rng.getrandbits(64)),  # noqa: S311  jitter
            deliver=self._hear, threads=self._spawn, speak=self._speak,
        )  # fmt: skip

    # --- what is around the adapter

    def _speak(self, config: VenueConfig) -> Venue:
        venue = dialect(config)
        if self.at.scopes:
            cast("Any", venue.rest).scopes = {**venue.rest.scopes, **self.at.scopes}
        codec = cast("Codec", Overheard(venue.codec, self.notes))
        return venue._replace(codec=codec)

    def _spawn(self, name: str, run: Callable[[], None]) -> Joinable:
        thread = self.at.threads(name, run)
        self.threads.append(thread)
        return thread

    def _hear(self, message: Message) -> None:
        with self._changed:
            self._reports.append(message)
            self._changed.notify_all()
        self.also(message)

    @property
    def session(self) -> Session:
        """The open session."""
        found = self.adapter.session
        assert found is not None, "started first"
        return found

    # --- life

    def start(self, *, books: bool = True) -> "Bench":
        """Open a session and wait until it is introduced, linked and, with `books`, LIVE."""
        mark = self.mark()
        self.adapter.start()
        self.wait(AdapterReady, since=mark)
        self.linked(mark)
        if books:
            self.live(mark)
        return self

    def linked(self, since: int) -> None:
        """Wait until every link that this session has is up."""
        session = self.session
        names = ["public"] + (["private"] if self.config.api_key else [])
        names += ["trade"] if session.trade_link is not None else []
        for name in names:
            self.wait(LinkChanged, link_is(name, up=True), since)

    def is_up(self, link: str) -> bool:
        """Tell whether a link is up, as last reported."""
        told = self.found(LinkChanged, lambda m: m.link == link)
        return bool(told) and told[-1].up

    def live(self, since: int = 0, symbols: Iterable[str] = ()) -> None:
        """Wait until each symbol's book has been LIVE since."""
        for symbol in symbols or self.config.symbols:
            self.wait(VenueBook, book_is(symbol, live=True), since)

    def stop(self, deadline_s: float = STOP_S) -> bool:
        """End the session; True if each of its threads has ended within the deadline."""
        return self.adapter.stop(deadline_s)

    # --- reports

    def mark(self) -> int:
        """Return a place in the reports, for `since`."""
        with self._changed:
            return len(self._reports)

    def place_of(self, message: Message) -> int:
        """Return where a report stands."""
        with self._changed:
            return self._reports.index(message)

    def found(
        self, kind: type[_Kind], test: Callable[[_Kind], object] = lambda _: True, since: int = 0
    ) -> list[_Kind]:
        """Return the reports of a kind that pass the test, oldest first."""
        with self._changed:
            held = self._reports[since:]
        return [m for m in held if isinstance(m, kind) and test(m)]

    def wait(
        self,
        kind: type[_Kind],
        test: Callable[[_Kind], object] = lambda _: True,
        since: int = 0,
        within_s: float = WITHIN_S,
    ) -> _Kind:
        """Return the first such report; Failed when it has not come by the deadline."""
        looked = since

        def first() -> _Kind | None:
            nonlocal looked
            with self._changed:
                news = self._reports[looked:]
            looked += len(news)
            return next((m for m in news if isinstance(m, kind) and test(m)), None)

        message: _Kind | None = self._until(first, within_s)
        if message is None:
            raise Failed(f"no {kind.__name__} as expected within {within_s:g} s")
        return message

    def until(self, condition: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
        """Wait for a condition; Failed at the deadline."""
        check(self._until(condition, within_s), f"not within {within_s:g} s: {what}")

    def rest(self, seconds: float) -> None:
        """Let time pass, as where nothing is expected to happen."""
        self._until(lambda: False, seconds)

    # Looked at outside the lock, which the adapter's threads need to report.
    def _until(self, condition: Callable[[], Any], within_s: float) -> Any:
        end_ns = self.at.clock.mono_ns() + int(within_s * NS_PER_S)
        while True:
            seen = self.mark()
            if found := condition():
                return found
            left_ns = end_ns - self.at.clock.mono_ns()
            if left_ns <= 0:
                return None
            with self._changed:
                if len(self._reports) == seen:
                    self._changed.wait(min(left_ns / NS_PER_S, LOOK_S))

    # --- orders

    def instrument(self, symbol: str = "") -> Instrument:
        """Return the rules of a symbol, the first one unless said."""
        wanted = symbol or self.config.symbols[0]
        ready = self.found(AdapterReady)[-1]
        return next(i for i in ready.instruments if i.symbol == wanted)

    def best(self, side: Side, symbol: str = "") -> Decimal:
        """Return the best bid (SELL) or ask (BUY) that an order of this side would meet."""
        wanted = symbol or self.config.symbols[0]
        book = self.found(VenueBook, lambda b: b.symbol == wanted and b.state == "LIVE")[-1]
        units = book.ask_prices if side == "BUY" else book.bid_prices
        check(units, f"{wanted} has no {'asks' if side == 'BUY' else 'bids'}")
        return unscale(units[0], book.price_exponent)

    def far_price(self, part: Decimal = FAR) -> Decimal:
        """Return a buy's price far below the market, on the grid."""
        return quantise_price(self.instrument(), "BUY", self.best("SELL") * part)

    def least(self, price: Decimal) -> Decimal:
        """Return the least quantity that the venue takes at this price."""
        rules = self.instrument()
        lots = (rules.notional_min / price / rules.lot_size).to_integral_value(ROUND_CEILING)
        return max(rules.quantity_min, lots * rules.lot_size, rules.lot_size)

    def order(self, side: Side = "BUY", **changes: Any) -> SubmitOrder:
        """Return a new order; far from the market, of the least size, unless said otherwise."""
        price = changes.pop("price", None) or self.far_price()
        quantity = changes.pop("quantity", None) or self.least(price)
        given = {
            "order_type": "LIMIT", "time_in_force": "GTC", "post_only": False,
            "expires_mono_ns": self.at.clock.mono_ns() + APPROVAL_NS,
            "symbol": self.config.symbols[0], "price": price, **changes,
        }  # fmt: skip
        if given["order_type"] == "MARKET":
            given["price"] = None
        client_order_id = f"{self.at.rng.getrandbits(128):032x}"
        return SubmitOrder(
            account=self.config.account, client_order_id=client_order_id, side=side,
            quantity=quantity, **given,
        )  # fmt: skip

    def send(self, order: SubmitOrder) -> int:
        """Hand an order over and return the place from which its answer is to be looked for."""
        mark = self.mark()
        self.sent.orders[order.client_order_id] = order
        self.adapter.handle(order)
        return mark

    def result(self, order: SubmitOrder, since: int = 0) -> SubmitResult:
        """Wait for the answer of an order."""
        wanted = order.client_order_id
        return self.wait(SubmitResult, lambda m: m.client_order_id == wanted, since)

    def submit(self, order: SubmitOrder) -> SubmitResult:
        """Send an order and wait for its answer."""
        return self.result(order, self.send(order))

    def accepted(self, order: SubmitOrder) -> SubmitResult:
        """Send an order; Failed unless the venue takes it."""
        result = self.submit(order)
        check(result.outcome == "ACCEPTED", f"not accepted but {result.outcome}: {result.text}")
        return result

    def told(
        self, order: SubmitOrder, status: str, source: str = "", since: int = 0
    ) -> OrderReport:
        """Wait for a report of this order and status, from one source if given."""
        wanted = (order.client_order_id, status)
        return self.wait(
            OrderReport,
            lambda m: (m.client_order_id, m.status) == wanted and source in ("", m.source),
            since,
        )

    def cancel(self, order: SubmitOrder) -> CancelResult:
        """Cancel by client_order_id and wait for the answer."""
        mark, wanted = self.mark(), order.client_order_id
        self.adapter.handle(CancelOrder(order.account, wanted, None, order.symbol))
        return self.wait(CancelResult, lambda m: m.client_order_id == wanted, mark)

    def query(self, order: SubmitOrder) -> QueryResult:
        """Ask what became of an order; again while the venue does not answer."""
        since_ns = self.at.clock.wall_ns() - 60 * NS_PER_S
        wanted = order.client_order_id
        for _ in range(3):
            mark = self.mark()
            self.adapter.handle(QueryOrder(order.account, wanted, None, order.symbol, since_ns))
            answer = self.wait(QueryResult, lambda m: m.client_order_id == wanted, mark)
            if answer.found is not None:
                break
        return answer

    def reconcile(self, since_s: float = 60.0) -> ReconcileResult:
        """Ask for open orders, fills and balances; again while the venue does not answer."""
        for number in range(3):
            mark = self.mark()
            request_id = f"conformance:{mark}:{number}"
            since_ns = self.at.clock.wall_ns() - int(since_s * NS_PER_S)
            self.adapter.handle(Reconcile(request_id, self.config.account, since_ns))
            answer = self.wait(ReconcileResult, _answers(request_id), mark)
            if answer.ok:
                return answer
        raise Failed(f"reconciliation fails: {answer.text}")

    def sweep(self) -> list[str]:
        """Cancel whatever of the sent orders is open; return those that still are."""
        left: list[str] = []
        for _ in range(3):
            opened = self.reconcile().open_orders
            mine = [o for o in opened if o.client_order_id in self.sent.orders]
            left = [o.client_order_id for o in mine]
            if not left:
                break
            for report in mine:
                self.cancel(self.sent.orders[report.client_order_id])
        return left


def link_is(name: str, *, up: bool) -> Callable[[LinkChanged], bool]:
    """Return a test for a link's going up or down."""
    return lambda m: m.link == name and m.up == up


def book_is(symbol: str, *, live: bool | None = None) -> Callable[[VenueBook], bool]:
    """Return a test for a symbol's book, in any state unless said."""
    return lambda b: b.symbol == symbol and live in (None, b.state == "LIVE")


def _answers(request_id: str) -> Callable[[ReconcileResult], bool]:
    return lambda m: m.request_id == request_id


def changed(config: VenueConfig, **changes: Any) -> VenueConfig:
    """Return the configuration with other values."""
    return replace(config, **changes)
