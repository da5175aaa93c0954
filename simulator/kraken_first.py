"""What a Kraken stream is told at first, and once a second: orders, fills, balances, pairs, tickers."""

from decimal import Decimal

from simulator.kraken_calls import is_nameless
from simulator.kraken_market import Market
from simulator.kraken_words import (
    ASSETS,
    Json,
    amount,
    executions,
    fill_id,
    places,
    price_text,
    whole_execution,
)
from simulator.orders import OrderChanged
from simulator.venue import Account, Venue

FILLS_SHOWN = 50


class First:
    """Messages made from the state of the venue as it is."""

    def __init__(self, venue: Venue, market: Market) -> None:
        self._venue = venue
        self._market = market

    def open_orders(self, account: Account) -> list[Json]:
        """Return the open orders, whole."""
        engine = self._venue.engine
        rows = [
            (order, whole_execution(order, engine.instruments[order.symbol], "new"))
            for order in engine.open_orders(account.name)
        ]
        return [
            {k: v for k, v in row.items() if k != "cl_ord_id"} if is_nameless(order) else row
            for order, row in rows
        ]

    def last_fills(self, account: Account) -> list[Json]:
        """Return the last fills, oldest first."""
        engine = self._venue.engine
        mine = [fill for fill in engine.fills if fill.account == account.name][-FILLS_SHOWN:]
        return [
            next(row for row in executions(
                OrderChanged("TRADE", engine.orders[fill.order_id], fill),
                engine.instruments[fill.symbol],
            ) if row.get("exec_id") == fill_id(fill))
            for fill in mine
        ]  # fmt: skip

    def balances(self, account: Account) -> list[Json]:
        """Return the totals."""
        rows = []
        for asset in ASSETS:
            free, locked = self._venue.balances(account.name)[asset]
            total = amount(free + locked)
            wallet = {"type": "spot", "id": "main", "balance": total}
            rows.append({"asset": asset, "asset_class": "currency", "balance": total,
                         "wallets": [wallet]})  # fmt: skip
        return rows

    def instruments(self) -> Json:
        """Return every pair and asset with its precision."""
        engine = self._venue.engine
        pairs = [
            {"symbol": i.symbol, "base": i.base, "quote": i.quote,
             "status": "cancel_only" if i.symbol in engine.halted else "online",
             "qty_precision": places(i.quantity_lot), "qty_increment": i.quantity_lot,
             "price_precision": places(i.price_tick), "price_increment": i.price_tick,
             "cost_precision": 8, "marginable": False, "has_index": True,
             "cost_min": i.notional_min, "qty_min": i.quantity_min}
            for i in engine.instruments.values()
        ]  # fmt: skip
        assets = [{"id": asset, "status": "enabled", "precision": 10, "precision_display": 5}
                  for asset in ASSETS]  # fmt: skip
        return {"channel": "instrument", "type": "snapshot",
                "data": {"assets": assets, "pairs": pairs}}  # fmt: skip

    def ticker(self, symbol: str, kind: str) -> Json:
        """Return a pair's day."""
        instrument = self._venue.engine.instruments[symbol]
        row = self._market.ticker(instrument)
        day = self._venue.tape[symbol].day()
        numbers = {"bid": row["b"][0], "bid_qty": row["b"][2], "ask": row["a"][0],
                   "ask_qty": row["a"][2], "last": row["c"][0], "volume": row["v"][0],
                   "vwap": row["p"][0], "low": row["l"][0], "high": row["h"][0],
                   "change": price_text(instrument, day.last - day.first)}  # fmt: skip
        exact = {name: Decimal(text) for name, text in numbers.items()}
        return {"channel": "ticker", "type": kind,
                "data": [{"symbol": symbol, **exact, "change_pct": 0}]}  # fmt: skip
