"""The look at what a key may do and what its account owes, before anything may trade."""

from adapters.ccxt_rest import CcxtRest
from adapters.desk import CallFailed, Desk
from adapters.rate import Priority
from adapters.rights import QUESTIONS, refusal


def account_problem(desk: Desk, rest: CcxtRest, exchange_id: str, *, is_live: bool) -> str:
    """Ask what the key may do and what the account owes; return why it may not trade.

    Where the venue does not tell, nothing is held against it, but in live mode, where it must: CallFailed or
    BadReply then mean to ask again.
    """
    told: list[str] = []
    for question in QUESTIONS.get(exchange_id, ()):
        try:
            counted = {k: n for k, n in question.call.costs.items() if k in desk.codec.scopes}
            reply = desk.read(rest, question.call._replace(costs=counted), Priority.READ)
            told += question.read(reply)
        except (CallFailed, ValueError):
            if is_live:
                raise
    return refusal(told, is_live=is_live)
