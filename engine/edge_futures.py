"""The futures that the edges wait for: set once, by whoever knows, whether anybody waits or not."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future, InvalidStateError
from typing import Any

from engine.errors import CoreError, Refused
from engine.messages.commands import Reply
from engine.wire import unpack


def settle(future: Future[Any], value: Any) -> None:
    """Give a future its value; whoever asked may have stopped waiting."""
    try:
        future.set_result(value)
    except InvalidStateError:
        return


def fail(future: Future[Any], error: BaseException) -> None:
    """Give a future its error; whoever asked may have stopped waiting."""
    try:
        future.set_exception(error)
    except InvalidStateError:
        return


def done(view: Callable[[Mapping[str, str]], Any], arguments: Mapping[str, str]) -> Future[Any]:
    """Return the future of something that is known here and now."""
    future: Future[Any] = Future()
    try:
        future.set_result(view(arguments))
    except CoreError as error:
        future.set_exception(error)
    return future


def unpack_into(answer: Future[Any], replied: Future[Reply]) -> None:
    """Settle `answer` with what a Reply carries."""
    if replied.cancelled():
        answer.cancel()
        return
    reply = replied.result()
    if not reply.ok:
        fail(answer, Refused(reply.code, reply.text))
        return
    settle(answer, unpack(reply.body) if reply.body else {})
