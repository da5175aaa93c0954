"""Plain data of books for people and programs: exact prices as text, ages in milliseconds.

The shapes are the documented JSON of `bbo` and `book`; supervisor.py and the pushes share them.
"""

from decimal import Decimal
from typing import Any

from engine.clock import NS_PER_MS
from engine.messages.market import ConsolidatedBook, VenueBook, VenueQuote


def scaled(value: int, exponent: int) -> str:
    """Return `value * 10**-exponent` as text, without a trailing exponent or zeros."""
    text = format(Decimal(value).scaleb(-exponent), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def bbo_row(book: ConsolidatedBook, now_mono_ns: int) -> dict[str, Any]:
    """Return the best bid and offer over all venues; None where a side has no live venue."""
    bid, ask = (levels[0] if levels else {} for levels in _top_levels(book, 1))
    used = [v for v in book.venues if v.venue in (bid.get("venue"), ask.get("venue"))]
    return {
        "symbol": book.symbol,
        "bid": bid.get("price"),
        "bid_quantity": bid.get("quantity"),
        "bid_venue": bid.get("venue"),
        "ask": ask.get("price"),
        "ask_quantity": ask.get("quantity"),
        "ask_venue": ask.get("venue"),
        "age_ms": max(
            (age for v in used if (age := _age_ms(v, now_mono_ns)) is not None), default=None
        ),
        "not_counted": [
            {"venue": quote.venue, "quality": quote.quality, **_best(book, quote)}
            for quote in book.venues
            if quote.state == "LIVE" and not quote.counts
        ],
    }


def book_view(book: ConsolidatedBook, depth: int, now_mono_ns: int) -> dict[str, Any]:
    """Return the consolidated book, best levels first, and why a venue does not count."""
    bids, asks = _top_levels(book, depth)
    return {
        "symbol": book.symbol,
        "venue": None,
        "bids": bids,
        "asks": asks,
        "venues": [
            {
                "name": quote.venue,
                "state": quote.state,
                "reason": quote.reason,
                "quality": quote.quality,
                "age_ms": _age_ms(quote, now_mono_ns),
                **_best(book, quote),
            }
            for quote in book.venues
        ],
    }


def venue_book_view(book: VenueBook, depth: int, now_mono_ns: int) -> dict[str, Any]:
    """Return one venue's book, best levels first, with its sync state."""

    def levels(prices: list[int], quantities: list[int]) -> list[dict[str, Any]]:
        return [
            {
                "price": scaled(price, book.price_exponent),
                "quantity": scaled(quantity, book.quantity_exponent),
                "venue": book.venue,
            }
            for price, quantity in zip(prices[:depth], quantities[:depth], strict=True)
        ]

    age_ms = max(0, (now_mono_ns - book.mono_received_ns) // NS_PER_MS)
    state = {
        "name": book.venue,
        "state": book.state,
        "reason": book.reason,
        "quality": book.quality,
        "age_ms": age_ms,
    }
    return {
        "symbol": book.symbol,
        "venue": book.venue,
        "bids": levels(book.bid_prices, book.bid_quantities),
        "asks": levels(book.ask_prices, book.ask_quantities),
        "venues": [state],
    }


def _top_levels(book: ConsolidatedBook, depth: int) -> list[list[dict[str, Any]]]:
    return [
        [
            {
                "price": scaled(level.price, book.price_exponent),
                "quantity": scaled(level.quantity, book.quantity_exponent),
                "venue": level.venue,
            }
            for level in side[:depth]
        ]
        for side in (book.bid_levels(), book.ask_levels())
    ]


# A venue's own best, with whatever is known of it: a synthetic price has no quantity behind it.
def _best(book: ConsolidatedBook, quote: VenueQuote) -> dict[str, Any]:
    bid, ask = quote.bid_prices[:1], quote.ask_prices[:1]
    return {
        "bid": scaled(bid[0], book.price_exponent) if bid else None,
        "ask": scaled(ask[0], book.price_exponent) if ask else None,
    }


def _age_ms(quote: VenueQuote, now_mono_ns: int) -> int | None:
    if quote.mono_received_ns <= 0:
        return None
    return int(max(0, (now_mono_ns - quote.mono_received_ns) // NS_PER_MS))
