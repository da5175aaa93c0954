"""Which scopes bind what, and how far a gate is closed by halts of each level."""

import trading_factories as f

from actors.exchange_state import ExchangeState
from engine.messages.events import TradingHalted, TradingResumed
from engine.trading.halts import closes_venue, is_trading_halted, scopes_over, words


def halt(scope, level="no_new"):
    return TradingHalted(scope, "drill", "ann", True, 1, level=level)


def test_scopes_bind_a_symbol_at_a_venue_and_a_retirement_says_who():
    assert scopes_over("okx", "BTC/USDT") == (
        "all", "venue:okx", "retired:okx", "symbol:BTC/USDT",
    )  # fmt: skip
    assert closes_venue(["retired:okx"], "okx")
    assert not closes_venue(["venue:binance", "symbol:BTC/USDT"], "okx")
    assert is_trading_halted(["retired:okx", "venue:okx"])
    assert not is_trading_halted(["retired:okx"])
    assert (words(halt("all")), words(halt("retired:okx"))) == ("drill", "drill (by ann)")


def test_the_gate_is_as_far_closed_as_the_strictest_halt_says_and_stays_so_over_a_snapshot():
    state = ExchangeState.empty(10)
    reducing = f.spec(side="SELL")
    state.apply(halt("venue:okx", "reduce_only"))
    state.apply(halt("symbol:ETH/USDT", "flat"))
    state.apply(halt("symbol:XRP/USDT"))
    state = ExchangeState.from_bytes(state.to_bytes(), 10)
    assert state.gate("okx") == (False, ["XRP/USDT"], True, ["ETH/USDT"])
    assert state.gate("binance") == (False, ["XRP/USDT"], False, ["ETH/USDT"])
    assert state.halted(reducing, reduces=True) is None
    assert state.halted(reducing, reduces=False) == "drill"
    state.apply(halt("all"))
    assert state.gate("okx")[0]
    assert state.halted(reducing, reduces=True) == "drill"
    state.apply(TradingResumed("all", "", "ann", 2))
    state.apply(TradingResumed("venue:okx", "", "ann", 2))
    assert state.gate("okx") == (False, ["XRP/USDT"], False, ["ETH/USDT"])
    assert state.halted(reducing, reduces=False) is None
