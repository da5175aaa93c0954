"""What the books offer: full depth with fees, crossed markets, impact of a size, edges between venues.

Pure arithmetic over each venue's own book. A venue counts only while its book is LIVE and fresh, as in the
consolidated book, so a silent venue's quote is never best here either. What does not count is shown
when asked for, behind everything that does, and never enters a sum.
"""

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, Final, NamedTuple

from engine.messages.base import Side
from engine.messages.market import COUNTED
from engine.trading.money import ZERO, exact, plain, plain_or_none, ratio

ONE: Final = Decimal(1)
BPS: Final = Decimal(10_000)
_SHOWN: Final = Decimal("0.01")
Levels = Sequence[tuple[Decimal, Decimal]]


class VenueDepth(NamedTuple):
    """One venue's book of one symbol, best level first, and what is known of it.

    `problem` says why no order could go there now (venue not ready, halted); such a book may still
    count. One that nothing proves (`quality` other than verified) does not. `taker_fee` is a share of
    the notional.
    """

    venue: str
    state: str
    reason: str
    age_ms: int | None
    taker_fee: Decimal
    bids: Levels
    asks: Levels
    problem: str = ""
    quality: str = COUNTED

    @property
    def counts(self) -> bool:
        """Whether its levels are true now, and proven."""
        return self.state == "LIVE" and self.quality == COUNTED

    @property
    def why_not(self) -> str:
        """Why it does not count."""
        return f"{self.state}: {self.reason}" if self.state != "LIVE" else self.quality

    def levels(self, side: Side) -> Levels:
        """Return what a taker of `side` meets: a buyer the asks."""
        return self.asks if side == "BUY" else self.bids

    def adjusted(self, side: Side, price: Decimal) -> Decimal:
        """Return what one unit costs (BUY) or brings (SELL) after the taker's fee."""
        return price * (ONE + self.taker_fee if side == "BUY" else ONE - self.taker_fee)


# --- depth ----------------------------------------------------------------------------------------


@exact
def depth_view(
    symbol: str, venues: Sequence[VenueDepth], depth: int, *, every: bool = False
) -> dict[str, Any]:
    """Return the consolidated book of full depth: raw and fee-adjusted prices, age, state, crossings.

    With `every` the levels of venues that do not count follow behind, marked, without a total.
    """
    return {
        "symbol": symbol,
        "asks": _rows(venues, "BUY", depth, every=every),
        "bids": _rows(venues, "SELL", depth, every=every),
        "crossings": [_crossing(a, b) for a, b in _pairs(venues) if _edge(a, b) > 0],
        "venues": [
            {
                "name": v.venue,
                "state": v.state,
                "reason": v.reason,
                "quality": v.quality,
                "counts": v.counts,
                "age_ms": v.age_ms,
                "taker_fee": plain(v.taker_fee),
                "bid_levels": len(v.bids),
                "ask_levels": len(v.asks),
                "problem": v.problem,
            }
            for v in venues
        ],
    }


def _rows(
    venues: Sequence[VenueDepth], side: Side, depth: int, *, every: bool
) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    total = ZERO
    for counts in (True, False) if every else (True,):
        for price, quantity, v in _merged([v for v in venues if v.counts is counts], side)[:depth]:
            total += quantity
            rows.append(
                {
                    "price": plain(price),
                    "adjusted_price": plain(v.adjusted(side, price)),
                    "quantity": plain(quantity),
                    "total": plain(total) if counts else None,
                    "venue": v.venue,
                    "age_ms": v.age_ms,
                    "state": v.state,
                }
            )
    return rows


def _merged(
    venues: Iterable[VenueDepth], side: Side, *, by_fees: bool = False
) -> list[tuple[Decimal, Decimal, VenueDepth]]:
    found = [(price, quantity, v) for v in venues for price, quantity in v.levels(side)]
    sign = 1 if side == "BUY" else -1
    found.sort(key=lambda f: (sign * (f[2].adjusted(side, f[0]) if by_fees else f[0]), f[2].venue))
    return found


# --- crossed markets and edges --------------------------------------------------------------------


def _pairs(venues: Sequence[VenueDepth]) -> list[tuple[VenueDepth, VenueDepth]]:
    return [(a, b) for a in venues for b in venues if a is not b and a.asks and b.bids]


# What the best bid of one venue is above the best ask of another, before fees.
def _edge(buy_at: VenueDepth, sell_at: VenueDepth) -> Decimal:
    return sell_at.bids[0][0] - buy_at.asks[0][0]


def _crossing(buy_at: VenueDepth, sell_at: VenueDepth) -> dict[str, Any]:
    row = _edge_row(buy_at, sell_at)
    problems = [
        f"{v.venue} is {v.why_not}" if not v.counts else f"{v.venue}: {v.problem}"
        for v in (buy_at, sell_at)
        if v.problem or not v.counts
    ]
    if Decimal(row["net_bps"]) <= 0:
        problems.append("fees are more than the edge")
    verdict = "PHANTOM" if problems else "EXECUTABLE"
    return {**row, "verdict": verdict, "why": "; ".join(problems)}


def _edge_row(buy_at: VenueDepth, sell_at: VenueDepth) -> dict[str, Any]:
    ask, bid = buy_at.asks[0][0], sell_at.bids[0][0]
    cost, proceeds = buy_at.adjusted("BUY", ask), sell_at.adjusted("SELL", bid)
    quantity, gain = _matched(buy_at, sell_at)
    return {
        "buy_at": buy_at.venue,
        "ask": plain(ask),
        "sell_at": sell_at.venue,
        "bid": plain(bid),
        "raw_bps": _bps(bid - ask, ask),
        "net_bps": _bps(proceeds - cost, cost),
        "quantity": plain(quantity),
        "gain": plain(gain),
    }


# How much can be bought at one and sold at the other with a gain after fees, and that gain in the quote.
def _matched(buy_at: VenueDepth, sell_at: VenueDepth) -> tuple[Decimal, Decimal]:
    quantity = gain = ZERO
    asks, bids = list(buy_at.asks), list(sell_at.bids)
    while asks and bids:
        (ask, offered), (bid, wanted) = asks[0], bids[0]
        each = sell_at.adjusted("SELL", bid) - buy_at.adjusted("BUY", ask)
        if each <= 0:
            break
        part = min(offered, wanted)
        quantity += part
        gain += each * part
        asks[:1] = [] if part == offered else [(ask, offered - part)]
        bids[:1] = [] if part == wanted else [(bid, wanted - part)]
    return quantity, gain


@exact
def edge_rows(symbol: str, venues: Sequence[VenueDepth]) -> list[dict[str, Any]]:
    """Return venue by venue what buying here and selling there brings after fees, best first."""
    live = [v for v in venues if v.counts]
    rows = [{"symbol": symbol, **_crossing(a, b)} for a, b in _pairs(live)]
    for row in rows:
        if Decimal(row["net_bps"]) <= 0:
            row["verdict"] = "NONE"
    rows.sort(key=lambda row: -Decimal(row["net_bps"]))
    return rows


# --- impact ---------------------------------------------------------------------------------------


class Walk(NamedTuple):
    """What taking from some books costs, level by level. Prices without fees, but for `after_fees`."""

    quantity: Decimal
    notional: Decimal
    after_fees: Decimal  # of the notional: what is paid, or received
    levels: int
    worst: Decimal | None
    short: Decimal  # what the books could not serve, in what was asked for


def walk(
    venues: Iterable[VenueDepth], side: Side, *, quantity: Decimal | None, notional: Decimal | None
) -> Walk:
    """Return what a taker gets, best price after fees first; one of quantity and notional is given."""
    left = quantity if quantity is not None else notional
    assert left is not None, "either a quantity or a notional"
    taken = spent = paid = ZERO
    levels, worst = 0, None
    for price, offered, v in _merged(venues, side, by_fees=True):
        if left <= 0:
            break
        whole = offered if quantity is not None else offered * price
        if whole <= left:
            part, left = offered, left - whole
        elif quantity is not None:
            part, left = left, ZERO
        else:
            share = ratio(left, price)
            assert share is not None, "prices are positive"
            part, left = share, ZERO
        taken += part
        spent += part * price
        paid += part * v.adjusted(side, price)
        levels, worst = levels + 1, price
    return Walk(taken, spent, paid, levels, worst, left)


@exact
def impact_view(
    symbol: str,
    venues: Sequence[VenueDepth],
    side: Side,
    *,
    quantity: Decimal | None = None,
    notional: Decimal | None = None,
) -> dict[str, Any]:
    """Return what a size costs over all counted venues together, and at each of them alone."""
    live = [v for v in venues if v.counts]
    mid = _mid(live)
    alone = [
        _walk_row(
            v.venue, walk([v], side, quantity=quantity, notional=notional), v.levels(side), mid
        )
        for v in live
        if v.levels(side)
    ]
    best = [(p, q) for p, q, _ in _merged(live, side)]
    together = walk(live, side, quantity=quantity, notional=notional)
    return {
        "symbol": symbol,
        "side": side,
        "quantity": plain_or_none(quantity),
        "notional": plain_or_none(notional),
        "mid": plain_or_none(mid),
        "all": _walk_row("all", together, best, mid),
        "venues": alone,
        "left_out": [{"venue": v.venue, "why": v.why_not} for v in venues if not v.counts],
    }


def _walk_row(venue: str, done: Walk, book: Levels, mid: Decimal | None) -> dict[str, Any]:
    average = ratio(done.notional, done.quantity)
    best = book[0][0] if book else None
    return {
        "venue": venue,
        "average_price": _shown(average),
        "after_fees": _shown(ratio(done.after_fees, done.quantity)),
        "slippage_bps": _slippage(average, best),
        "from_mid_bps": _slippage(average, mid),
        "worst_price": plain_or_none(done.worst),
        "levels": done.levels,
        "quantity": _shown(done.quantity),
        "notional": _shown(done.notional),
        "complete": done.short <= 0,
        "short": _shown(done.short),
    }


def _mid(live: Sequence[VenueDepth]) -> Decimal | None:
    bids = [v.bids[0][0] for v in live if v.bids]
    asks = [v.asks[0][0] for v in live if v.asks]
    return (max(bids) + min(asks)) / 2 if bids and asks else None


# How far an average is from a reference, without its sign: worse for whoever takes.
def _slippage(average: Decimal | None, reference: Decimal | None) -> str | None:
    if average is None or reference is None:
        return None
    return _bps(abs(average - reference), reference)


def _bps(part: Decimal, whole: Decimal) -> str:
    share = ratio(part * BPS, whole)
    assert share is not None, "prices are positive"
    return plain(_rounded(share, _SHOWN))


def _rounded(value: Decimal, step: Decimal) -> Decimal:
    return Decimal(format(value, f".{-int(step.as_tuple().exponent)}f"))


# A quotient may have 28 digits; nobody reads beyond the twelfth place.
def _shown(value: Decimal | None) -> str | None:
    if value is None:
        return None
    return (
        plain(value)
        if value == value.to_integral_value()
        else plain(_rounded(value, Decimal("1e-12")))
    )
