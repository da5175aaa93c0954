"""What a venue's trading WebSocket speaks: a described call becomes a frame, a frame evidence. Pure.

The calls are those of the REST half, and so are the answers' bodies: one description of an order, one
reader of its answer, one outcome table, whichever road the order takes.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from adapters.codec import Acked, Denied, Heartbeat, Problem, Reconnect, RestCall
from adapters.outcome import Action, Evidence


class Answer(NamedTuple):
    """The venue's answer to one request. `payload` is what REST would have answered.

    `status` is HTTP-like, 0 where the venue tells none; `code` is empty or "0" where it says "done".
    """

    request_id: str
    status: int
    code: str
    message: str
    payload: Any
    retry_after_s: int = 0
    used: Mapping[str, int] = {}

    @property
    def is_done(self) -> bool:
        """Whether the venue says that it did what was asked."""
        return self.status == 200 and self.code in ("", "0")


class Lost(NamedTuple):
    """No answer came on this connection. `cause` is a word of the outcome table."""

    cause: str
    text: str


TradeEvent = Answer | Acked | Denied | Reconnect | Problem | Heartbeat


def evidence_of(action: Action, end: Answer | Lost) -> Evidence:
    """Return what an answer that is not a plain success proves, or the lack of one."""
    if isinstance(end, Lost):
        return Evidence(action, classes=("NetworkError",), causes=(end.cause,), message=end.text)
    return Evidence(
        action,
        http_status=end.status or None,
        code=end.code,
        message=end.message,
        headers={"Retry-After": str(end.retry_after_s)},
        odd_success=end.is_done,
    )


class TradeCodec(Protocol):
    """The dialect of one venue's trading link, for one account."""

    needs_login: bool
    relogin_codes: frozenset[str]  # answers that say that the connection's login has run out

    def login(self, now_ms: int) -> list[str]:
        """Return the frames that authenticate a new connection; none where requests are signed."""
        ...

    def request(self, request_id: str, call: RestCall, now_ms: int, expires_ms: int) -> str | None:
        """Return the frame that makes this call, or None if it is not one for this link.

        The venue must not act on it later than `expires_ms` after `now_ms`.
        """
        ...

    def on_frame(self, raw: bytes) -> TradeEvent:
        """Parse one frame."""
        ...
