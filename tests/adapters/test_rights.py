"""What a key may do and what an account owes: told by the venue, and no order leaves against it."""

import json

import pytest
from rig import Desk, ask

from adapters.codec import BadReply
from adapters.rights import QUESTIONS, WITHDRAW, refusal
from engine.messages.port import AdapterReady

READS = {
    ("okx", 0): [
        ({"data": [{"acctLv": "1", "perm": "read_only,trade", "autoLoan": False}]}, ""),
        ({"data": [{"acctLv": "1", "perm": "read_only,withdraw,trade"}]}, WITHDRAW),
        ({"data": [{"acctLv": "3", "perm": "trade", "autoLoan": True}]}, "borrows by itself"),
        (
            {"data": [{"acctLv": "1", "perm": "trade", "enableSpotBorrow": True}]},
            "enableSpotBorrow",
        ),
    ],
    ("okx", 1): [
        ({"data": [{"details": [{"ccy": "USDT", "liab": "0"}, {"ccy": "BTC", "liab": ""}]}]}, ""),
        ({"data": [{"details": [{"ccy": "USDT", "liab": "-0.5"}]}]}, "owes borrowed USDT"),
    ],
    ("okx", 2): [
        ({"data": []}, ""),
        ({"data": [{"instId": "BTC-USDT-SWAP", "pos": "0"}]}, ""),
        ({"data": [{"instId": "BTC-USDT-SWAP", "pos": "-3"}]}, "open: BTC-USDT-SWAP"),
    ],
    ("binance", 0): [({"enableWithdrawals": False}, ""), ({"enableWithdrawals": True}, WITHDRAW)],
    ("kucoin", 0): [
        ({"data": {"permission": "General,Spot"}}, ""),
        ({"data": {"permission": "General, Withdraw"}}, WITHDRAW),
    ],
    ("bybit", 0): [
        ({"result": {"permissions": {"Spot": ["SpotTrade"], "Wallet": ["AccountTransfer"]}}}, ""),
        ({"result": {"permissions": {"Wallet": ["Withdraw"]}}}, WITHDRAW),
    ],
    ("bybit", 1): [
        ({"result": {"list": [{"coin": [{"coin": "BTC", "borrowAmount": "0.0"}]}]}}, ""),
        (
            {"result": {"list": [{"coin": [{"coin": "BTC", "borrowAmount": "0.1"}]}]}},
            "borrowed BTC",
        ),
    ],
    ("coinbase", 0): [({"can_transfer": False}, ""), ({"can_transfer": True}, WITHDRAW)],
}


@pytest.mark.parametrize(("venue", "number"), READS)
def test_each_answer_is_read_for_what_must_not_be(venue, number):
    question = QUESTIONS[venue][number]
    for reply, words in READS[venue, number]:
        told = list(question.read(json.loads(json.dumps(reply), parse_float=str)))
        assert words in "; ".join(told)
        assert bool(told) is bool(words)
    with pytest.raises(BadReply):
        list(question.read({"odd": 1}))


def test_every_question_has_its_answers_here():
    assert set(READS) == {(v, n) for v, rows in QUESTIONS.items() for n in range(len(rows))}


def test_a_key_that_may_withdraw_is_refused_in_live_alone_and_a_debt_everywhere():
    assert refusal([WITHDRAW], is_live=False) == ""
    assert refusal([WITHDRAW, WITHDRAW], is_live=True) == WITHDRAW
    assert refusal(["the account owes", WITHDRAW], is_live=False) == "the account owes"


@pytest.mark.parametrize(
    ("venue", "more", "rights", "words"),
    [
        ("okx", {"is_live": True}, {"withdraw": True}, WITHDRAW),
        ("binance", {"is_live": True}, {"withdraw": True}, WITHDRAW),
        ("okx", {}, {"owed": ["USDT"], "derivatives": ["BTC-USDT-SWAP"]}, "BTC-USDT-SWAP"),
        ("okx", {}, {"withdraw": True}, ""),
        ("binance", {"is_live": True}, {}, ""),
    ],
)
def test_the_simulated_venue_tells_and_no_order_leaves(sim, venue, more, rights, words):
    sim.ctl("rights", {"venue": venue, **rights})
    desk = Desk(sim, venue, order_road="rest", **more)
    try:
        desk.start(books=False)
        ready = desk.wait(AdapterReady)
        assert words in ready.account_problem
        result = ask(desk, desk.new_order(price="50000"))
        assert (result.outcome, result.code) == (
            ("NOT_SENT", "account_refused") if words else ("ACCEPTED", "")
        )
        assert words in result.text
    finally:
        sim.ctl("rights", {"venue": venue})
        assert desk.adapter.stop(5)
