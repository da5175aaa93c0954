"""Talks to a running core: the Client that the CLI, bots and the dashboard use.

Import-light on purpose. Money is text in both directions. A request is sent once; whoever repeats a
`place` after OutcomeUnknown should do it with the same command id. docs/client.md shows a bot.
"""

import itertools
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self

from engine.errors import (
    EXIT_UNKNOWN,
    EXIT_UNREACHABLE,
    MessageError,
    OutcomeUnknown,
    Refused,
    Unreachable,
)
from engine.frames import REQUEST_MAX_BYTES, connect, encode_frame, read_frame

CONNECT_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 30.0
RECONNECT_FIRST_S: Final = 0.1
RECONNECT_MAX_S: Final = 5.0
DURABLE: Final = ("order", "fill", "halt")
QUESTIONS: Final = (
    *("status", "venues", "bbo", "book", "depth", "impact", "arb", "route", "order.list", "pnl"),
    *("order.show", "position.list", "balance", "risk.show", "actor.tree", "metrics", "subscribe"),
    *("journal.tail", "journal.verify", "fault.list", "unsubscribe", "cancel_on_disconnect"),
)

Order = dict[str, Any]
Row = dict[str, Any]
Amount = Decimal | str | int


class RequestRefused(Refused):
    """The core refused: `exit_code` says of which kind, `result` is the order where there is one."""

    def __init__(self, code: str, text: str, exit_code: int, result: Any) -> None:
        super().__init__(code, text)
        self.exit_code = exit_code
        self.result = result


class RequestUnknown(OutcomeUnknown):
    """The outcome is not known: look, never send again under another command id."""

    def __init__(self, code: str, text: str, result: Any) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.exit_code = EXIT_UNKNOWN
        self.result = result


def find_state_dir(state_dir: str | Path | None = None) -> Path:
    """Return the state folder: as given, else XCORE_STATE_DIR, else as the configuration says."""
    if state_dir is not None:
        return Path(state_dir).expanduser().absolute()
    if named := os.environ.get("XCORE_STATE_DIR"):
        return Path(named).expanduser().absolute()
    from engine import config  # noqa: PLC0415  pydantic and YAML only where they are needed

    return config.load(config.default_path(), gated=False).state_dir


def unreachable(state_dir: Path, error: OSError | None = None) -> Unreachable:
    """Return the error of a core that is not there, with what to do about it."""
    why = f" ({error.strerror or error})" if error is not None else ""
    return Unreachable(
        f"no core answers on {state_dir}{why}; start one with `make run`, "
        "or name its folder with --state-dir or XCORE_STATE_DIR"
    )


def request_failed(error: Mapping[str, Any]) -> RequestRefused | RequestUnknown | Unreachable:
    """Return the error that a negative answer stands for."""
    code, text = str(error.get("code")), str(error.get("text"))
    exit_code, result = int(error.get("exit", 1)), error.get("result")
    if exit_code == EXIT_UNREACHABLE:
        return Unreachable(text)
    if exit_code == EXIT_UNKNOWN:
        return RequestUnknown(code, text, result)
    return RequestRefused(code, text, exit_code, result)


def no_answer(op: str, why: str) -> RequestUnknown | Unreachable:
    """Return the error of a request that was sent and not answered; a question may be asked again."""
    if op in QUESTIONS:
        return Unreachable(f"{op}: no answer: {why}")
    return RequestUnknown(
        "NO_ANSWER", f"{op}: no answer: {why}; it may have been carried out", None
    )


def place_arguments(
    venue: str,
    symbol: str,
    side: str,
    quantity: Amount,
    price: Amount | None = None,
    **more: Any,
) -> dict[str, Any]:
    """Return the arguments of order.place: amounts as text, a command id made where none is given."""
    from engine.ids import UlidIds  # noqa: PLC0415

    arguments = {"venue": venue, "symbol": symbol, "side": side, "quantity": str(quantity), **more}
    arguments["command_id"] = arguments.get("command_id") or UlidIds().command_id()
    if price is not None:
        arguments["price"] = str(price)
    elif "market" not in arguments:
        arguments["market"] = True
    return {name: value for name, value in arguments.items() if value is not None}


def wait_for_answer_s(arguments: Mapping[str, Any]) -> float:
    """Return how long the answer may take: what the server may wait, and some more."""
    return ANSWER_TIMEOUT_S + min(max(0.0, float(arguments.get("timeout_s", 0))), 3_600.0)


class Client:
    """A connection to the core of `state_dir`. One thread at a time; reconnects when asked again."""

    def __init__(self, state_dir: str | Path | None = None) -> None:
        self.state_dir = find_state_dir(state_dir)
        self._socket: socket.socket | None = None
        self._numbers = itertools.count(1)
        self._cancel_on_disconnect = False
        self.live = ""  # the instance's name, once a live core has answered

    def __enter__(self) -> Self:
        self._connected()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up. With cancel_on_disconnect the core now cancels what this connection placed."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def request(self, op: str, **arguments: Any) -> Any:
        """Send one request and return its result.

        Raises:
            Refused: the core refused; nothing was sent to a venue unless `result` says so.
            Unreachable: the request did not reach the core.
            OutcomeUnknown: it may have reached the core, and no answer came.
        """
        given = {name: value for name, value in arguments.items() if value is not None}
        request_id = str(next(self._numbers))
        frame = encode_frame({"id": request_id, "op": op, "args": given}, REQUEST_MAX_BYTES)
        sock = self._connected()
        sock.settimeout(wait_for_answer_s(given))
        try:
            sock.sendall(frame)
            answer = _receive(sock, request_id)
        except (OSError, MessageError) as error:
            self.close()
            raise no_answer(op, str(error)) from None
        except BaseException:  # an interrupted wait leaves an answer behind that is nobody's
            self.close()
            raise
        self.live = str(answer.get("live", ""))
        if not answer.get("ok"):
            raise request_failed(answer["error"])
        return answer["result"]

    # --- orders -----------------------------------------------------------------------------------

    def place(
        self,
        venue: str,
        symbol: str,
        side: str,
        quantity: Amount,
        price: Amount | None = None,
        **more: Any,
    ) -> Order:
        """Place an order (no price: market) and return it once the venue has acknowledged it.

        `more`: time_in_force, post_only, command_id, wait ("accepted", "filled", "none"), timeout_s,
        dry_run. Raises as `request`; the error's `result` carries the order.
        """
        arguments = place_arguments(venue, symbol, side, quantity, price, **more)
        result: Order = self.request("order.place", **arguments)
        return result

    def cancel(self, *order_ids: str, timeout_s: float | None = None) -> list[Order]:
        """Cancel orders and return them once each venue confirmed."""
        result: list[Order] = self.request(
            "order.cancel", order_ids=list(order_ids), timeout_s=timeout_s
        )
        return result

    def cancel_all(self, venue: str | None = None, symbol: str | None = None) -> list[Order]:
        """Cancel all open orders, or those of one venue or symbol."""
        result: list[Order] = self.request("order.cancel", all=True, venue=venue, symbol=symbol)
        return result

    def orders(self, state: str | None = None, **narrow: Any) -> list[Order]:
        """Return orders, newest last: all that are kept, or those of a `state` (open, closed, unknown)."""
        result: list[Order] = self.request("order.list", state=state, **narrow)
        return result

    def order(self, order_id: str) -> Order:
        """Return one order. Raises Refused NOT_FOUND."""
        result: Order = self.request("order.show", order_id=order_id)
        return result

    def cancel_on_disconnect(self, *, enabled: bool = True) -> None:
        """Ask that what this connection places is cancelled when it closes, for whatever reason."""
        self._cancel_on_disconnect = enabled
        self.request("cancel_on_disconnect", enabled=enabled)

    # --- questions --------------------------------------------------------------------------------

    def status(self) -> Row:
        """Return the state of the core on one page."""
        result: Row = self.request("status")
        return result

    def bbo(self, symbol: str | None = None) -> list[Row]:
        """Return the best bid and offer of each symbol over all venues."""
        result: list[Row] = self.request("bbo", symbol=symbol)
        return result

    def book(self, symbol: str, venue: str | None = None, depth: int | None = None) -> Row:
        """Return the consolidated book of a symbol, or one venue's."""
        result: Row = self.request("book", symbol=symbol, venue=venue, depth=depth)
        return result

    def positions(self) -> list[Row]:
        """Return the positions."""
        result: list[Row] = self.request("position.list")
        return result

    def pnl(self) -> Any:
        """Return profit and loss."""
        return self.request("pnl")

    def balances(self) -> list[Row]:
        """Return the balances per account and asset."""
        result: list[Row] = self.request("balance")
        return result

    balance = balances

    # --- risk -------------------------------------------------------------------------------------

    def halt(self, reason: str, scope: str = "all", *, cancel: bool = True) -> Row:
        """Stop new orders; with `cancel` sweep the open ones. Sticky over restarts."""
        result: Row = self.request("risk.halt", reason=reason, scope=scope, cancel=cancel)
        return result

    def resume(self, reason: str, scope: str = "all") -> Row:
        """Lift a halt."""
        result: Row = self.request("risk.resume", reason=reason, scope=scope)
        return result

    # --- pushes -----------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: Sequence[str],
        *,
        symbols: Sequence[str] = (),
        after_seq: int | None = None,
        reconnect: bool = True,
    ) -> Iterator[Row]:
        """Yield pushes {push, seq, data} for ever, on a connection of its own.

        Durable topics (order, fill, halt) come each exactly once, in order, over reconnects; to go on
        after a restart of the bot give the last `seq` as `after_seq`. Topics bbo and book conflate.
        With `reconnect` False, Unreachable ends it.
        """
        follower = Follower(topics, symbols, after_seq)
        while True:
            try:
                with Client(self.state_dir) as own:
                    yield from own._follow(follower)
            except (Unreachable, OutcomeUnknown):
                if not reconnect:
                    raise
            if not reconnect:
                raise unreachable(self.state_dir)
            time.sleep(follower.pause_s())

    def _follow(self, follower: "Follower") -> Iterator[Row]:
        follower.began(self.request("subscribe", **follower.arguments()))
        sock = self._socket
        assert sock is not None
        sock.settimeout(None)
        try:
            while push := read_frame(sock):
                if push.get("push") == "goodbye":
                    return
                if follower.takes(push):
                    yield push
        except (OSError, MessageError):
            return

    def _connected(self) -> socket.socket:
        if self._socket is not None and _is_over(self._socket):
            self.close()
        if self._socket is None:
            try:
                self._socket = connect(self.state_dir, CONNECT_TIMEOUT_S)
            except OSError as error:
                raise unreachable(self.state_dir, error) from None
            if self._cancel_on_disconnect:
                self.request("cancel_on_disconnect", enabled=True)
        return self._socket


# Reads up to the answer of one request. Raises OSError when the connection ends before it.
def _receive(sock: socket.socket, request_id: str) -> dict[str, Any]:
    while answer := read_frame(sock):
        if answer.get("id") == request_id:
            return answer
        if answer.get("push") == "goodbye":
            raise ConnectionError(f"the core hung up: {answer['data']['reason']}")
        if answer.get("id") == "":
            raise ConnectionError(f"the core refused the frame: {answer['error']['text']}")
    raise ConnectionError("the core hung up")


# Between requests nothing is due: whatever can be read is a goodbye or the end.
def _is_over(sock: socket.socket) -> bool:
    try:
        sock.settimeout(0.0)
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


class Follower:
    """How far a subscription has come, so that it goes on after a reconnect without loss or doubles."""

    def __init__(
        self, topics: Sequence[str], symbols: Sequence[str] = (), after_seq: int | None = None
    ) -> None:
        self._topics = list(topics)
        self._symbols = list(symbols)
        self._seq = after_seq
        self._taken: set[str] = (
            set()
        )  # the topics already taken at `_seq`: a fill is order and fill
        self._failures = 0

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of the next subscribe request.

        It asks from one record before the last one taken: a record may carry two topics, and the
        connection may have ended between them.
        """
        after = self._seq if self._seq is None or not self._taken else self._seq - 1
        return {"topics": self._topics, "symbols": self._symbols or None, "after_seq": after}

    def began(self, answer: Mapping[str, Any]) -> None:
        """Note the seq at which the server begins."""
        self._failures = 0
        if self._seq is None:
            self._seq = int(answer["seq"])

    def takes(self, push: Mapping[str, Any]) -> bool:
        """Tell whether a push is new, and note it."""
        topic, seq = push.get("push"), int(push.get("seq", 0))
        if topic not in DURABLE:
            return "push" in push
        if self._seq is not None and seq < self._seq:
            return False
        if seq == self._seq:
            if topic in self._taken or not self._taken:
                return False
        else:
            self._taken = set()
        self._seq = seq
        self._taken.add(str(topic))
        return True

    def pause_s(self) -> float:
        """Return how long to wait before the next attempt."""
        self._failures += 1
        return float(min(RECONNECT_FIRST_S * 2 ** min(self._failures - 1, 10), RECONNECT_MAX_S))
