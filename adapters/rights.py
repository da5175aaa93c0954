"""What a venue tells of a key and its account that must not be: withdrawals, borrowing, open derivatives.

A table by venue: which calls to make, and how to read each answer. Pure. Where a venue tells nothing of it,
the table has no row, and docs/venues.md says so.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from adapters.codec import BadReply, RestCall

WITHDRAW: Final = "the key may withdraw: make one that may only read and trade"


class Question(NamedTuple):
    """One call, and what in its answer must not be: sentences, WITHDRAW among them where it may."""

    call: RestCall
    read: Callable[[Any], Iterator[str]]


def _row(reply: Any, *path: str) -> Any:
    for name in path:
        reply = reply.get(name) if isinstance(reply, Mapping) else None
    if reply is None:
        raise BadReply(f"no {'.'.join(path)} in the answer about the key or the account")
    return reply


def _is_some(value: Any) -> bool:
    return str(value or "0").strip("0.-") != ""


# {"data":[{"acctLv":"1","perm":"read_only,trade","autoLoan":false,"enableSpotBorrow":false}]}
# https://www.okx.com/docs-v5/en/#trading-account-rest-api-get-account-configuration
def _okx_config(reply: Any) -> Iterator[str]:
    for row in _row(reply, "data"):
        if "withdraw" in str(_row(row, "perm")).split(","):
            yield WITHDRAW
        if str(row.get("autoLoan")).lower() == "true" and str(row.get("acctLv")) in ("3", "4"):
            yield "the account borrows by itself (autoLoan): turn that off, or use a spot account"
        if str(row.get("enableSpotBorrow")).lower() == "true":
            yield "the account may borrow for spot orders (enableSpotBorrow): turn that off"


# {"data":[{"details":[{"ccy":"USDT","liab":"0","borrowFroz":"0","cashBal":"1"}]}]}
def _okx_balance(reply: Any) -> Iterator[str]:
    for row in _row(reply, "data"):
        owed = [d.get("ccy", "?") for d in _row(row, "details") if _is_some(d.get("liab"))]
        if owed:
            yield f"the account owes borrowed {', '.join(map(str, owed[:5]))}"


# {"data":[{"instId":"BTC-USDT-SWAP","pos":"1"}]}
def _okx_positions(reply: Any) -> Iterator[str]:
    held = [str(row.get("instId")) for row in _row(reply, "data") if _is_some(row.get("pos"))]
    if held:
        yield f"derivatives are open: {', '.join(held[:5])}"


# {"ipRestrict":false,"enableReading":true,"enableWithdrawals":false,"enableMargin":false,...}
# https://developers.binance.com/docs/wallet/account/api-key-permission
def _binance(reply: Any) -> Iterator[str]:
    if str(_row(reply, "enableWithdrawals")).lower() == "true":
        yield WITHDRAW


# {"code":"200000","data":{"permission":"General,Spot","apiVersion":3,...}}
# https://www.kucoin.com/docs-new/rest/account-info/account-funding/get-apikey-info
def _kucoin(reply: Any) -> Iterator[str]:
    allowed = {p.strip().lower() for p in str(_row(reply, "data", "permission")).split(",")}
    if allowed & {"withdraw", "withdrawal"}:
        yield WITHDRAW


# {"retCode":0,"result":{"permissions":{"Spot":["SpotTrade"],"Wallet":["AccountTransfer"]}}}
# https://bybit-exchange.github.io/docs/v5/user/apikey-info
def _bybit(reply: Any) -> Iterator[str]:
    if "Withdraw" in _row(reply, "result", "permissions").get("Wallet", ()):
        yield WITHDRAW


# {"result":{"list":[{"coin":[{"coin":"BTC","borrowAmount":"0"}]}]}}
# https://bybit-exchange.github.io/docs/v5/account/wallet-balance
def _bybit_wallet(reply: Any) -> Iterator[str]:
    for row in _row(reply, "result", "list"):
        owed = [c.get("coin", "?") for c in row.get("coin", ()) if _is_some(c.get("borrowAmount"))]
        if owed:
            yield f"the account owes borrowed {', '.join(map(str, owed[:5]))}"


# {"can_view":true,"can_trade":true,"can_transfer":false,"portfolio_uuid":"..."}
# https://docs.cdp.coinbase.com/api-reference/advanced-trade-api/rest-api/data-api/get-api-key-permissions
def _coinbase(reply: Any) -> Iterator[str]:
    if str(_row(reply, "can_transfer")).lower() == "true":
        yield WITHDRAW


QUESTIONS: Final[Mapping[str, tuple[Question, ...]]] = {
    "okx": (
        Question(RestCall("privateGetAccountConfig", {}, {"config": 1}), _okx_config),
        Question(RestCall("privateGetAccountBalance", {}, {"balance": 1}), _okx_balance),
        Question(RestCall("privateGetAccountPositions", {}, {"balance": 1}), _okx_positions),
    ),
    "binance": (Question(RestCall("sapiGetAccountApiRestrictions", {}, {}), _binance),),
    "kucoin": (Question(RestCall("privateGetUserApiKey", {}, {}), _kucoin),),
    "bybit": (
        Question(RestCall("privateGetV5UserQueryApi", {}, {}), _bybit),
        Question(
            RestCall("privateGetV5AccountWalletBalance", {"accountType": "UNIFIED"}, {}),
            _bybit_wallet,
        ),
    ),
    "coinbase": (Question(RestCall("v3PrivateGetBrokerageKeyPermissions", {}, {}), _coinbase),),
}


def refusal(told: list[str], *, is_live: bool) -> str:
    """Return why the account may not trade, of all that was told; empty where it may.

    A key that may withdraw is refused in live mode alone: elsewhere there is nothing to withdraw.
    """
    reasons = [text for text in dict.fromkeys(told) if is_live or text != WITHDRAW]
    return "; ".join(reasons)
