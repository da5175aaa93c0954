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
    bid = _level(book, book.bids, 0)
    ask = _level(book, book.asks, 0)
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
    }


def book_view(book: ConsolidatedBook, depth: int, now_mono_ns: int) -> dict[str, Any]:
    """Return the consolidated book, best levels first, and why a venue does not count."""
    return {
        "symbol": book.symbol,
        "venue": None,
        "bids": [_level(book, book.bids, i) for i in range(min(depth, len(book.bids) // 3))],
        "asks": [_level(book, book.asks, i) for i in range(min(depth, len(book.asks) // 3))],
        "venues": [
            {
                "name": quote.venue,
                "state": quote.state,
                "reason": quote.reason,
                "age_ms": _age_ms(quote, now_mono_ns),
            }
            for quote in book.venues
        ],
    }


def venue_book_view(book: VenueBook, depth: int, now_mono_ns: int) -> dict[str, Any]:
    """Return one venue's book, best levels first, with its sync state."""

    def levels(flat: list[int]) -> list[dict[str, Any]]:
        return [
            {
                "price": scaled(flat[i], book.price_exponent),
                "quantity": scaled(flat[i + 1], book.quantity_exponent),
                "venue": book.venue,
            }
            for i in range(0, min(len(flat), 2 * depth), 2)
        ]

    age_ms = max(0, (now_mono_ns - book.mono_received_ns) // NS_PER_MS)
    state = {"name": book.venue, "state": book.state, "reason": book.reason, "age_ms": age_ms}
    return {
        "symbol": book.symbol,
        "venue": book.venue,
        "bids": levels(book.bids),
        "asks": levels(book.asks),
        "venues": [state],
    }


def _level(book: ConsolidatedBook, flat: list[int], index: int) -> dict[str, Any]:
    if len(flat) < 3 * index + 3:
        return {}
    price, quantity, venue = flat[3 * index : 3 * index + 3]
    return {
        "price": scaled(price, book.price_exponent),
        "quantity": scaled(quantity, book.quantity_exponent),
        "venue": book.venues[venue].venue,
    }


def _age_ms(quote: VenueQuote, now_mono_ns: int) -> int | None:
    if quote.mono_received_ns <= 0:
        return None
    return int(max(0, (now_mono_ns - quote.mono_received_ns) // NS_PER_MS))
