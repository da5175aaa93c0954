"""ccxt.pro's Binance handler on the recorded frames, and the markets that ccxt needs to know.

Imported by P1 in our own environment (ccxt is a dependency of the core) and by the peers' one.
"""

import gc
import time
from typing import Any

from bench.recorded import Session


def _floats(rows: list[tuple[str, str]]) -> list[tuple[float, float]]:
    return [(float(price), float(quantity)) for price, quantity in rows]


async def ccxt_pro(session: Session, *, complete: bool) -> float:
    """Return frames per second of CPU."""
    import ccxt.pro  # noqa: PLC0415  takes a second to import; only this needs it
    from aiohttp import WSMessage, WSMsgType  # noqa: PLC0415

    exchange = ccxt.pro.binance()
    exchange.set_markets([ccxt_market(symbol, "spot") for symbol in session.snapshots])
    client = exchange.client(exchange.urls["api"]["ws"]["spot"] + "/0")
    for symbol, held in session.snapshots.items():
        book = exchange.order_book({}, 1000)
        book.reset(
            {
                "bids": [list(row) for row in _floats(held.bids)],
                "asks": [list(row) for row in _floats(held.asks)],
                "nonce": held.lastUpdateId,
                "symbol": symbol,
            }
        )
        exchange.orderbooks[symbol] = book
    messages = [WSMessage(WSMsgType.TEXT, raw.decode(), None) for raw in session.frames]
    gc.collect()
    began = time.process_time()
    for message in messages:
        client.handle_message(message)
    took = time.process_time() - began
    if complete:
        at = {symbol: exchange.orderbooks[symbol]["nonce"] for symbol in session.last_ids}
        assert at == session.last_ids, "ccxt.pro lost a book"
    await exchange.close()
    return len(messages) / took


def ccxt_market(symbol: str, kind: str) -> dict[str, Any]:
    """Return a market as ccxt needs it, under the venue's own spelling."""
    base, _, quote = symbol.partition("-") if "-" in symbol else (symbol, "", "USDT")
    name = f"{base}/{quote}" if "-" in symbol else symbol
    return {
        "id": symbol, "symbol": name, "base": base, "quote": quote, "baseId": base,
        "quoteId": quote, "settle": None, "settleId": None, "type": kind, "spot": True,
        "swap": False, "future": False, "option": False, "contract": False, "inverse": None,
        "linear": None, "active": True, "precision": {"price": 0.01, "amount": 1e-8},
        "limits": {}, "info": {},
    }  # fmt: skip
