"""The scopes of a halt: everything, a venue, a symbol, or a venue that a person has retired.

A retirement is a halt of a scope of its own, so that it is journaled, closes the gate, cancels, and stands
over restarts as any other, while no resume of another scope lifts it.
"""

from collections.abc import Iterable

from engine.messages.events import TradingHalted

RETIRED = "retired:"


def scopes_over(venue: str, symbol: str) -> tuple[str, ...]:
    """Return the scopes that stop a symbol at a venue."""
    return "all", f"venue:{venue}", f"{RETIRED}{venue}", f"symbol:{symbol}"


def closes_venue(scopes: Iterable[str], venue: str) -> bool:
    """Tell whether one of these scopes closes the whole venue."""
    return not {"all", f"venue:{venue}", f"{RETIRED}{venue}"}.isdisjoint(scopes)


def is_trading_halted(scopes: Iterable[str]) -> bool:
    """Tell whether anything is halted that is to trade again: a retired venue is not."""
    return any(not scope.startswith(RETIRED) for scope in scopes)


def words(event: TradingHalted) -> str:
    """Return why, and of a retirement also who said so."""
    return f"{event.reason} (by {event.who})" if event.scope.startswith(RETIRED) else event.reason
