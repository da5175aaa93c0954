"""The outcome table, row by row: what a failed REST call proves."""

import pytest

from adapters.outcome import RULES, Evidence, classify

NETWORK = ("NetworkError", "OperationFailed", "BaseError", "Exception")
BARE = ("ExchangeError", "BaseError", "Exception")

# name, evidence, kind, rule
ROWS = [
    (
        "no HTTP was begun",
        {"attempted": False, "left": False, "classes": ("BadSymbol", "BadRequest", *BARE)},
        "REJECTED",
        1,
    ),
    (
        "our clock is not known",
        {"attempted": False, "left": False, "classes": ("Refused", "CoreError")},
        "REJECTED",
        1,
    ),
    (
        "connection refused",
        {
            "left": False,
            "classes": NETWORK,
            "causes": ("ConnectionError", "MaxRetryError", "NewConnectionError"),
        },
        "NOT_SENT",
        2,
    ),
    (
        "no such host",
        {"left": False, "classes": NETWORK, "causes": ("ConnectionError", "NameResolutionError")},
        "NOT_SENT",
        2,
    ),
    (
        "connect timeout",
        {
            "left": False,
            "classes": ("RequestTimeout", *NETWORK),
            "causes": ("ConnectTimeout", "ConnectionError"),
        },
        "NOT_SENT",
        2,
    ),
    (
        "proxy refused",
        {"left": False, "classes": NETWORK, "causes": ("ProxyError",)},
        "NOT_SENT",
        2,
    ),
    (
        "wrong certificate",
        {"left": False, "classes": BARE, "causes": ("SSLError", "SSLCertVerificationError")},
        "NOT_SENT",
        2,
    ),
    (
        "nothing passed the gate",
        {"left": False, "classes": NETWORK, "causes": ("ConnectionError",)},
        "NOT_SENT",
        2,
    ),
    (
        "429",
        {"http_status": 429, "code": "-1003", "classes": ("DDoSProtection",)},
        "RATE_LIMITED",
        3,
    ),
    ("too many orders", {"http_status": 429, "code": "-1015"}, "RATE_LIMITED", 3),
    ("banned", {"http_status": 418, "code": "-1003"}, "RATE_LIMITED", 3),
    ("OKX too many requests", {"http_status": 200, "code": "50011"}, "RATE_LIMITED", 3),
    ("Bybit's 403", {"http_status": 403, "message": "access too frequent."}, "RATE_LIMITED", 3),
    (
        "500 without JSON",
        {"http_status": 500, "classes": ("ExchangeNotAvailable", *NETWORK)},
        "AMBIGUOUS",
        4,
    ),
    (
        "503 with a code nobody knows",
        {"http_status": 503, "code": "-9999", "classes": BARE},
        "AMBIGUOUS",
        4,
    ),
    (
        "503 that sounds like a reject",
        {"http_status": 503, "code": "-2010", "classes": ("InvalidOrder", *BARE)},
        "AMBIGUOUS",
        4,
    ),
    ("400 -1007", {"http_status": 400, "code": "-1007"}, "AMBIGUOUS", 4),
    ("400 -1006", {"http_status": 400, "code": "-1006"}, "AMBIGUOUS", 4),
    ("OKX 50004", {"http_status": 200, "code": "50004"}, "AMBIGUOUS", 4),
    ("OKX's expTime has passed", {"http_status": 200, "code": "51149"}, "AMBIGUOUS", 4),
    ("504", {"http_status": 504, "classes": ("RequestTimeout", *NETWORK)}, "AMBIGUOUS", 4),
    (
        "no answer in time",
        {"classes": ("RequestTimeout", *NETWORK), "causes": ("ReadTimeout",)},
        "AMBIGUOUS",
        5,
    ),
    (
        "connection dropped",
        {"classes": NETWORK, "causes": ("ConnectionError", "ProtocolError", "RemoteDisconnected")},
        "AMBIGUOUS",
        5,
    ),
    (
        "truncated body",
        {"classes": NETWORK, "causes": ("ChunkedEncodingError", "IncompleteRead")},
        "AMBIGUOUS",
        5,
    ),
    ("TLS broke later", {"classes": BARE, "causes": ("SSLError",)}, "AMBIGUOUS", 5),
    ("200 without an id", {"http_status": 200, "odd_success": True}, "AMBIGUOUS", 6),
    (
        "bad response",
        {"http_status": 200, "classes": ("BadResponse", "OperationFailed")},
        "AMBIGUOUS",
        6,
    ),
    (
        "duplicate at Binance",
        {
            "http_status": 400,
            "code": "-2010",
            "message": "Duplicate order sent.",
            "classes": ("InvalidOrder", *BARE),
        },
        "DUPLICATE",
        7,
    ),
    (
        "duplicate at OKX",
        {"http_status": 200, "code": "51016", "classes": ("InvalidOrder", *BARE)},
        "DUPLICATE",
        7,
    ),
    (
        "Binance's clock",
        {"http_status": 400, "code": "-1021", "classes": ("InvalidNonce", *NETWORK)},
        "CLOCK",
        8,
    ),
    ("OKX's clock", {"http_status": 401, "code": "50102"}, "CLOCK", 8),
    (
        "key revoked",
        {"http_status": 401, "code": "-2015", "classes": ("DDoSProtection", *NETWORK)},
        "AUTH",
        9,
    ),
    (
        "wrong signature",
        {"http_status": 400, "code": "-1022", "classes": ("AuthenticationError", *BARE)},
        "AUTH",
        9,
    ),
    ("OKX key", {"http_status": 401, "code": "50111"}, "AUTH", 9),
    ("geo-blocked", {"http_status": 451, "classes": ("ExchangeNotAvailable",)}, "AUTH", 9),
    (
        "maintenance, 200",
        {"http_status": 200, "code": "50001", "classes": ("OnMaintenance", *NETWORK)},
        "AMBIGUOUS",
        10,
    ),
    (
        "market closed",
        {
            "http_status": 400,
            "code": "-2010",
            "message": "Market is closed.",
            "classes": ("MarketClosed", *BARE),
        },
        "REJECTED",
        10,
    ),
    (
        "overloaded, before the engine",
        {"http_status": 409, "code": "-1008", "classes": BARE},
        "REJECTED",
        10,
    ),
    (
        "Kraken takes cancels only",
        {
            "http_status": 200,
            "code": "EService:Market in cancel_only mode",
            "classes": ("OnMaintenance", *NETWORK),
        },
        "REJECTED",
        10,
    ),
    (
        "no money",
        {
            "http_status": 400,
            "code": "-2010",
            "message": "Account has insufficient balance",
            "classes": ("InsufficientFunds", *BARE),
        },
        "REJECTED",
        11,
    ),
    (
        "filter",
        {"http_status": 400, "code": "-1013", "classes": ("InvalidOrder", *BARE)},
        "REJECTED",
        11,
    ),
    (
        "OKX no money",
        {"http_status": 200, "code": "51008", "classes": ("InsufficientFunds", *BARE)},
        "REJECTED",
        11,
    ),
    ("cancel pending", {"classes": ("CancelPending", "OperationFailed")}, "ACCEPTED", 13),
    (
        "403 of a firewall",
        {"http_status": 403, "classes": ("ExchangeNotAvailable", *NETWORK)},
        "AMBIGUOUS",
        14,
    ),
    ("bare ExchangeError", {"classes": BARE}, "AMBIGUOUS", 14),
    ("a redirect", {"classes": BARE, "causes": ("TooManyRedirects",)}, "AMBIGUOUS", 14),
]


@pytest.mark.parametrize(("name", "facts", "kind", "rule"), ROWS, ids=[row[0] for row in ROWS])
def test_submit_row(name, facts, kind, rule):
    verdict = classify(Evidence(action="submit", **facts))
    assert (verdict.kind, verdict.rule) == (kind, rule)


@pytest.mark.parametrize("code", ["-2011", "-2013", "51400", "51603"])
def test_not_found_is_not_a_reject_of_a_cancel_or_a_read(code):
    facts = {"http_status": 400, "code": code, "classes": ("OrderNotFound", "InvalidOrder", *BARE)}
    for action in ("cancel", "read"):
        verdict = classify(Evidence(action=action, **facts))
        assert (verdict.kind, verdict.rule) == ("NOT_FOUND", 12)


def test_a_read_during_maintenance_is_told_as_venue_down():
    verdict = classify(Evidence(action="read", http_status=200, code="50001"))
    assert (verdict.kind, verdict.rule) == ("VENUE_DOWN", 10)


def test_every_rule_has_a_row_and_there_are_fourteen():
    assert len(RULES) == 14
    assert {row[3] for row in ROWS} | {12} == set(range(1, 15))


def test_no_evidence_at_all_is_ambiguous():
    assert classify(Evidence(action="submit")).kind == "AMBIGUOUS"


@pytest.mark.parametrize(
    ("header", "seconds"), [("7", 7), ("soon", 0), ("-1", 0), ("9" * 30, 604800)]
)
def test_retry_after_is_read_and_bounded(header, seconds):
    evidence = Evidence(action="submit", http_status=429, headers={"Retry-After": header})
    assert classify(evidence).retry_after_s == seconds


def test_kucoins_reset_is_waited_for_where_it_limits_and_nowhere_else():
    facts = {"action": "submit", "headers": {"gw-ratelimit-reset": "2001"}}
    assert classify(Evidence(http_status=429, code="429000", **facts)).retry_after_s == 3
    assert classify(Evidence(http_status=200, code="400100", **facts)).retry_after_s == 0
