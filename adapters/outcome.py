"""What a failed or odd REST call proves: fourteen rules in order, the first that matches decides.

A pure function of the evidence. The exception class alone proves little (ccxt raises "the venue
said no" for some answers whose outcome nobody knows), so HTTP status, venue code and the transport
cause come first. When in doubt the answer is AMBIGUOUS: query, never resend.
"""

from collections.abc import Callable, Mapping
from typing import Final, Literal, NamedTuple

Kind = Literal[
    "ACCEPTED",
    "REJECTED",
    "NOT_SENT",
    "RATE_LIMITED",
    "AMBIGUOUS",
    "DUPLICATE",
    "CLOCK",
    "AUTH",
    "VENUE_DOWN",
    "NOT_FOUND",
]
Action = Literal["submit", "cancel", "read"]
TEXT_MAX: Final = 300


class Evidence(NamedTuple):
    """All that is known of one call that did not plainly succeed.

    `classes` are the exception's class names, most derived first; `causes` the class names found
    along its chain of causes; `attempted` is False when no HTTP request was begun; `left` is False
    when the request provably never passed the last gate before the socket.
    """

    action: Action
    attempted: bool = True
    left: bool = True
    classes: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    http_status: int | None = None
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = {}
    odd_success: bool = False


class Verdict(NamedTuple):
    """What the evidence proves, by which rule, in the venue's words."""

    kind: Kind
    rule: int
    code: str
    text: str
    retry_after_s: int = 0


NEVER_CONNECTED: Final = frozenset(
    {"ConnectTimeout", "ConnectTimeoutError", "NewConnectionError", "NameResolutionError",
     "ProxyError", "ClientConnectorError", "SSLCertVerificationError"}
)  # fmt: skip
TRANSPORT: Final = frozenset(
    {"ReadTimeout", "ReadTimeoutError", "ConnectionError", "ProtocolError", "ChunkedEncodingError",
     "IncompleteRead", "ServerDisconnectedError", "ClientPayloadError", "RemoteDisconnected",
     "ConnectionResetError", "BrokenPipeError", "SSLError", "OSError", "TimeoutError",
     "ReplyTooSlow", "ReplyTooLarge", "ContentDecodingError"}
)  # fmt: skip
LIMIT_CODES: Final = frozenset(
    {"-1003", "-1015", "50011", "50061", "429000", "10006", "10018",
     "170005", "170222", "10403", "10429", "20003", "EAPI:Rate limit exceeded", "EOrder:Rate limit exceeded",
     "EGeneral:Too many requests", "EGeneral:Temporary lockout", "rate_limit_exceeded",
     "resource_exhausted"}
)  # fmt: skip
# 51149 "Order timed out" answers a passed expTime, but the venue does not document it as a refusal.
UNKNOWN_CODES: Final = frozenset(
    {"-1000", "-1001", "-1006", "-1007", "50004", "51149", "EGeneral:Internal error",
     # KuCoin: internal error, network timeout
     "500000", "408000",
     # Bybit: timeouts, internal and system errors, "create order failed", "cancel order failed"
     "5004", "10000", "10014", "10016", "170001", "170007", "170032", "170146", "170147", "170149",
     "170150", "170234",
     "EService:Timeout", "EService:Deadline elapsed", "EDatabase:Internal error",
     "UNKNOWN_FAILURE_REASON", "UNKNOWN_CANCEL_FAILURE_REASON", "internal_server_error"}
)  # fmt: skip
DUPLICATE_CODES: Final = frozenset({"51016", "170141", "110072", "12141", "126044", "50042"})
CLOCK_CODES: Final = frozenset({"-1021", "50102", "10002", "400002", "EAPI:Invalid nonce"})
AUTH_CODES: Final = frozenset(
    {"-2014", "-2015", "-1022", "50103", "50104", "50105", "50106", "50107", "50111", "50112", "50113",
     "50114", "50100", "50101", "50110",
     "400001", "400003", "400004", "400005", "400006", "400007", "411100",  # KuCoin
     "10003", "10004", "10005", "10007", "10008", "10009", "10010", "33004",  # Bybit
     "EAPI:Invalid key", "EAPI:Invalid signature", "EGeneral:Permission denied"}
)  # fmt: skip
AUTH_CLASSES: Final = frozenset(
    {"AuthenticationError", "PermissionDenied", "AccountNotEnabled", "AccountSuspended",
     "RestrictedLocation"}
)  # fmt: skip
DOWN_CODES: Final = frozenset({"50001", "-1008", "EService:Unavailable", "EService:Busy"})
DOWN_CLASSES: Final = frozenset({"OnMaintenance", "MarketClosed"})
# Documented as refused before the matching engine saw the request.
PRE_ENGINE_TEXTS: Final = ("Market is closed.",)
# Kraken: https://blog.kraken.com/post/7022/api-traders-introducing-cancel-only-mode
PRE_ENGINE_CODES: Final = frozenset({"-1008", "EService:Market in cancel_only mode"})
NOT_FOUND_CODES: Final = frozenset(
    {"-2011", "-2013", "51400", "51401", "51402", "51410", "51603", "order_not_exist", "100001",
     # Bybit: unknown, and already filled, canceled, gone from the book, finished
     "170213", "110001", "170139", "170142", "170143", "170190",
     "EOrder:Unknown order", "not_found", "NOT_FOUND",
     # Coinbase: a cancel of an order that is not open
     "UNKNOWN_CANCEL_ORDER", "ORDER_IS_FULLY_FILLED"}
)  # fmt: skip
REJECT_CLASSES: Final = frozenset(
    {"InsufficientFunds", "InvalidOrder", "BadRequest", "OperationRejected", "PermissionDenied",
     "ContractUnavailable"}
)  # fmt: skip
LOCAL_CLASSES: Final = frozenset(
    {"ArgumentsRequired", "BadSymbol", "NotSupported", "InvalidProxySettings", "InvalidOrder",
     "InvalidAddress", "Refused"}
)  # fmt: skip


def _has(evidence: Evidence, names: frozenset[str]) -> bool:
    return any(name in names for name in evidence.classes)


def _caused(evidence: Evidence, names: frozenset[str]) -> bool:
    return any(name in names for name in evidence.causes)


def _local(e: Evidence) -> Kind | None:
    if e.attempted or e.http_status is not None or e.causes:
        return None
    if _has(e, AUTH_CLASSES):
        return "AUTH"  # no key, or one that cannot sign
    return "REJECTED" if _has(e, LOCAL_CLASSES) else None


def _never_connected(e: Evidence) -> Kind | None:
    if e.http_status is not None:
        return None
    return "NOT_SENT" if not e.left or _caused(e, NEVER_CONNECTED) else None


def _rate_limited(e: Evidence) -> Kind | None:
    by_403 = e.http_status == 403 and "access too frequent" in e.message.lower()
    limited = e.http_status in (418, 429) or e.code in LIMIT_CODES or by_403
    return "RATE_LIMITED" if limited else None


def _status_unknown(e: Evidence) -> Kind | None:
    is_server_error = e.http_status is not None and e.http_status >= 500
    unknown = e.code in UNKNOWN_CODES or is_server_error or "Request timeout" in e.message
    return "AMBIGUOUS" if unknown else None


def _transport(e: Evidence) -> Kind | None:
    return "AMBIGUOUS" if e.http_status is None and _caused(e, TRANSPORT) else None


def _odd_success(e: Evidence) -> Kind | None:
    odd = e.odd_success or _has(e, frozenset({"BadResponse", "NullResponse", "BadReply"}))
    return "AMBIGUOUS" if odd else None


def _duplicate(e: Evidence) -> Kind | None:
    duplicate = (
        e.code in DUPLICATE_CODES
        or "duplicate" in f"{e.code} {e.message}".lower()
        or _has(e, frozenset({"DuplicateOrderId"}))
    )
    return "DUPLICATE" if duplicate else None


def _clock(e: Evidence) -> Kind | None:
    by_class = _has(e, frozenset({"InvalidNonce"})) and not _has(e, frozenset({"ChecksumError"}))
    return "CLOCK" if e.code in CLOCK_CODES or by_class else None


def _auth(e: Evidence) -> Kind | None:
    denied = e.http_status in (401, 407, 451) or e.code in AUTH_CODES or _has(e, AUTH_CLASSES)
    return "AUTH" if denied else None


def _venue_down(e: Evidence) -> Kind | None:
    if not (e.code in DOWN_CODES or _has(e, DOWN_CLASSES)):
        return None
    if e.action == "read":
        return "VENUE_DOWN"
    pre_engine = e.code in PRE_ENGINE_CODES or any(t in e.message for t in PRE_ENGINE_TEXTS)
    return "REJECTED" if pre_engine else "AMBIGUOUS"


def _is_not_found(e: Evidence) -> bool:
    by_text = "order_not_exist" in e.message  # KuCoin's 400100 is many things
    return e.code in NOT_FOUND_CODES or by_text or _has(e, frozenset({"OrderNotFound"}))


def _rejected(e: Evidence) -> Kind | None:
    if e.action != "submit" and _is_not_found(e):
        return None  # rule 12
    coded = e.http_status is not None and 200 <= e.http_status < 500 and e.code not in ("", "0")
    return "REJECTED" if coded or _has(e, REJECT_CLASSES) else None


def _not_found(e: Evidence) -> Kind | None:
    return "NOT_FOUND" if e.action != "submit" and _is_not_found(e) else None


def _cancel_pending(e: Evidence) -> Kind | None:
    return "ACCEPTED" if _has(e, frozenset({"CancelPending"})) else None


def _anything_else(e: Evidence) -> Kind | None:
    del e
    return "AMBIGUOUS"


RULES: Final[tuple[Callable[[Evidence], Kind | None], ...]] = (
    _local,
    _never_connected,
    _rate_limited,
    _status_unknown,
    _transport,
    _odd_success,
    _duplicate,
    _clock,
    _auth,
    _venue_down,
    _rejected,
    _not_found,
    _cancel_pending,
    _anything_else,
)


def classify(evidence: Evidence) -> Verdict:
    """Return what the evidence proves, by the first of the fourteen rules that matches."""
    for number, rule in enumerate(RULES, 1):
        kind = rule(evidence)
        if kind is not None:
            return _verdict(evidence, kind, number)
    raise AssertionError("the last rule matches everything")


def _verdict(e: Evidence, kind: Kind, rule: int) -> Verdict:
    headers = {name.lower(): value for name, value in e.headers.items()}
    seconds = _whole(headers.get("retry-after", ""))
    if (
        not seconds and kind == "RATE_LIMITED"
    ):  # KuCoin's: milliseconds until its pool is full again
        seconds = -(-_whole(headers.get("gw-ratelimit-reset", "")) // 1000)
    name = e.code or (e.classes[0] if e.classes else "odd_success" if e.odd_success else kind)
    facts = [f"rule {rule}"]
    if e.http_status is not None:
        facts.append(f"HTTP {e.http_status}")
    if e.causes:
        facts.append(e.causes[0])
    text = f"{', '.join(facts)}: {e.code} {e.message}".strip()[:TEXT_MAX]
    return Verdict(kind, rule, name[:64], text, min(seconds, 7 * 86_400))


def _whole(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else 0
