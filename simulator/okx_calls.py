"""OKX's account calls, the same for REST and the private WebSocket: check, act, answer rows."""

import re
from collections.abc import Callable
from decimal import Decimal
from itertools import islice
from typing import Any

from simulator.instruments import Instrument, decimal_of, units_of
from simulator.okx_words import (
    AMEND_ERRORS,
    ENGINE_ERRORS,
    ApiError,
    Json,
    RowError,
    balance_json,
    bill_id,
    fill_json,
    inst_id,
    inst_id_code,
    order_json,
)
from simulator.orders import NewOrder, Order, OrderType, Refused, Side, Stp, TimeInForce
from simulator.venue import Account, Venue, require

CLIENT_ID = re.compile(r"[a-zA-Z0-9]{1,32}")
BATCH_MAX = 20
PAGE_MAX = 100
# ordType: engine type and time in force
TYPES = {
    "limit": (OrderType.LIMIT, TimeInForce.GTC),
    "market": (OrderType.MARKET, TimeInForce.GTC),
    "post_only": (OrderType.LIMIT_MAKER, TimeInForce.GTC),
    "ioc": (OrderType.LIMIT, TimeInForce.IOC),
    "fok": (OrderType.LIMIT, TimeInForce.FOK),
}
STP_MODES = {
    "cancel_maker": Stp.EXPIRE_MAKER,
    "cancel_taker": Stp.EXPIRE_TAKER,
    "cancel_both": Stp.EXPIRE_BOTH,
}


class Calls:
    """What an account can ask OKX for."""

    def __init__(self, venue: Venue) -> None:
        self.venue = venue
        self.symbols = {inst_id(s): i for s, i in venue.engine.instruments.items()}
        self._by_code = {str(inst_id_code(i.symbol)): i for i in self.symbols.values()}
        self.actions: dict[str, Callable[[Account, Json, str], Json]] = {
            "order": self.place,
            "cancel-order": self.cancel,
            "amend-order": self.amend,
        }
        self.queries: dict[str, Callable[[Account, Json], list[Json]]] = {
            "trade/order": self.order,
            "trade/orders-pending": self.pending,
            "trade/orders-history": self.history,
            "trade/orders-history-archive": self.history,
            "trade/fills": self.fills,
            "trade/fills-history": self.fills,
            "account/balance": self.balance,
            "account/config": self.config,
            "account/positions": self.positions,
            "account/trade-fee": self.trade_fee,
        }

    def act(self, action: str, account: Account, rows: list[Any], via: str,
            is_late: Callable[[], bool]) -> Json:  # fmt: skip
        """Carry out an action for each row; return the envelope without times."""
        if not rows or len(rows) > BATCH_MAX:
            raise ApiError("50014", "Parameter args cannot be empty or is too long.", 400)
        data = [self._row(action, account, row, via, is_late=is_late()) for row in rows]
        failed = sum(row["sCode"] != "0" for row in data)
        code = "0" if not failed else ("1" if failed == len(data) else "2")
        msg = {"0": "", "1": "All operations failed", "2": "Bulk operation partially succeeded"}
        return {"code": code, "msg": msg[code], "data": data}

    def _row(self, action: str, account: Account, row: Any, via: str, *, is_late: bool) -> Json:
        # Only plain values count; a nested one is as good as missing.
        row = row if isinstance(row, dict) else {}
        row = {k: v for k, v in row.items() if isinstance(v, str | int)}
        echo = {"clOrdId": str(row.get("clOrdId", "")), "ordId": str(row.get("ordId", "")),
                "tag": "", "ts": str(self.venue.now_ms())}  # fmt: skip
        if action == "amend-order":
            echo["reqId"] = str(row.get("reqId", ""))
        try:
            self._check_expiry(is_late=is_late)
            return echo | self.actions[action](account, row, via) | {"sCode": "0", "sMsg": ""}
        except RowError as refused:
            return echo | {"sCode": refused.code, "sMsg": refused.msg}
        except Refused as refused:
            words = AMEND_ERRORS if action == "amend-order" else ENGINE_ERRORS
            code, msg = words.get(refused.reason) or ENGINE_ERRORS[refused.reason]
            return echo | {"sCode": code, "sMsg": msg}

    def _check_expiry(self, *, is_late: bool) -> None:
        if is_late:
            raise RowError("51149", "Order timed out. Please try again later.")

    # -- actions

    def place(self, account: Account, row: Json, via: str) -> Json:
        """Place an order."""
        order = self.venue.place(account.name, self._wanted(row), via)
        return {"ordId": str(order.order_id), "clOrdId": str(row.get("clOrdId", ""))}

    def cancel(self, account: Account, row: Json, via: str) -> Json:
        """Cancel an order."""
        order = require(self._find(account, row))
        self.venue.cancel(order, "", via)
        return {"ordId": str(order.order_id), "clOrdId": order.client_order_id}

    def amend(self, account: Account, row: Json, via: str) -> Json:
        """Amend size, price or both; `newSz` counts what is filled already."""
        instrument = self.instrument(row)
        order = require(self._find(account, row))
        if order.price is None:
            raise Refused("not_open", str(order.order_id))
        if not row.get("newSz") and not row.get("newPx"):
            raise RowError("50014", "Parameter newSz or newPx can not be empty.")
        lots, price = order.quantity, order.price
        if row.get("newSz"):
            lots = self._lots(instrument, _number(row, "newSz"))
        if row.get("newPx"):
            price = self._price(instrument, row, "newPx")
        self.venue.amend(order, lots, price, via)
        return {"ordId": str(order.order_id), "clOrdId": order.client_order_id}

    # -- queries

    def order(self, account: Account, params: Json) -> list[Json]:
        """Answer one order."""
        order = self._find(account, params)
        if order is None:
            raise ApiError("51603", "Order does not exist")
        return [self._order_json(order)]

    def pending(self, account: Account, params: Json) -> list[Json]:
        """Answer the open orders, newest first."""
        return self._page(self.venue.engine.open_orders(account.name), params)

    def history(self, account: Account, params: Json) -> list[Json]:
        """Answer the closed orders, newest first."""
        orders = self.venue.engine.orders.values()
        mine = [o for o in orders if o.account == account.name and not o.is_open]
        return self._page(mine, params)

    def fills(self, account: Account, params: Json) -> list[Json]:
        """Answer the fills, newest first; pages by billId."""
        wanted, order_id = params.get("instId"), params.get("ordId")
        begin, end = _time(params, "begin", 0), _time(params, "end", 10**15)
        after, before, limit = _page_bounds(params)
        found = (
            fill
            for fill in reversed(self.venue.engine.fills)
            if before < bill_id(fill) < after
            and fill.account == account.name
            and wanted in {None, "", inst_id(fill.symbol)}
            and order_id in {None, "", str(fill.order_id)}
            and begin <= fill.time_ns // 1_000_000 <= end
        )
        instruments = self.venue.engine.instruments
        return [fill_json(fill, instruments[fill.symbol]) for fill in islice(found, limit)]

    def balance(self, account: Account, params: Json) -> list[Json]:
        """Answer the balances."""
        balances = self.venue.balances(account.name)
        if params.get("ccy"):
            wanted = str(params["ccy"]).split(",")
            balances = {a: both for a, both in balances.items() if a in wanted}
        row = balance_json(balances, self.venue.now_ms())
        for detail in row["details"]:
            if detail["ccy"] in self.venue.owed:
                detail["liab"] = "-1"
        return [row]

    def positions(self, account: Account, params: Json) -> list[Json]:
        """Answer the open derivatives; the engine trades none, a test may say that there are some."""
        del account, params
        held = self.venue.derivatives
        return [{"instId": name, "instType": "SWAP", "pos": "1", "posSide": "net"} for name in held]

    def config(self, account: Account, params: Json) -> list[Json]:
        """Answer the account's configuration."""
        del params
        uid = str(account.uid)
        return [{"acctLv": "1", "acctStpMode": "cancel_maker", "autoLoan": False,
                 "ctIsoMode": "automatic", "greeksType": "PA", "level": "Lv1", "levelTmp": "",
                 "mgnIsoMode": "automatic", "posMode": "net_mode", "uid": uid, "mainUid": uid,
                 "label": account.name, "roleType": "0",
                 "perm": "read_only,trade" + ",withdraw" * self.venue.can_withdraw,
                 "ip": "", "kycLv": "3", "opAuth": "0", "spotOffsetType": "",
                 "spotRoleType": "0", "spotTraderInsts": [], "traderInsts": []}]  # fmt: skip

    def trade_fee(self, account: Account, params: Json) -> list[Json]:
        """Answer the account's rates: a charge is negative, a rebate positive."""
        del account
        fees = self.venue.engine.fees
        rates = {"maker": _rate(-fees.maker_bps), "taker": _rate(-fees.taker_bps)}
        return [{"category": "1", "delivery": "", "exercise": "", "instType": "SPOT", "level": "Lv1",
                 **rates, "makerU": "", "takerU": "", "makerUSDC": "", "takerUSDC": "",
                 "ts": str(self.venue.now_ms()), "fiat": [],
                 "instId": params.get("instId", "")}]  # fmt: skip

    # -- parameters

    def instrument(self, row: Json) -> Instrument:
        """Return the instrument the row names."""
        instrument = self.named(row)
        if instrument is None:
            raise RowError("51001", "Instrument ID does not exist.")
        return instrument

    def named(self, row: Json) -> Instrument | None:
        """Return the instrument by `instId`, or by `instIdCode` as newer clients do."""
        if row.get("instIdCode") is not None:
            return self._by_code.get(str(row["instIdCode"]))
        return self.symbols.get(str(row.get("instId", "")))

    def _find(self, account: Account, row: Json) -> Order | None:
        instrument = self.instrument(row)
        order_id = str(row.get("ordId") or "")
        if not order_id and not row.get("clOrdId"):
            raise RowError("51003", "Either client order ID or order ID is required.")
        if order_id and not (order_id.isascii() and order_id.isdigit() and len(order_id) < 20):
            raise RowError("51000", "Parameter ordId error.")
        number = int(order_id) if order_id else None
        order = self.venue.find(account.name, number, str(row.get("clOrdId", "")))
        return order if order is not None and order.symbol == instrument.symbol else None

    def _wanted(self, row: Json) -> NewOrder:
        instrument = self.instrument(row)
        if row.get("tdMode") != "cash":
            raise RowError("51000", "Parameter tdMode error.")
        if row.get("side") not in {"buy", "sell"}:
            raise RowError("51000", "Parameter side error.")
        if row.get("ordType") not in TYPES:
            raise RowError("51000", "Parameter ordType error.")
        client_id = str(row.get("clOrdId") or "")
        if client_id and not CLIENT_ID.fullmatch(client_id):
            raise RowError("51000", "Parameter clOrdId error.")
        kind, tif = TYPES[row["ordType"]]
        side = Side(row["side"].upper())
        size, target = _number(row, "sz"), ""
        price = None if kind is OrderType.MARKET else self._price(instrument, row, "px")
        quote, lots = None, 0
        if kind is OrderType.MARKET:
            target = row.get("tgtCcy") or ("quote_ccy" if side is Side.BUY else "base_ccy")
        if target == "quote_ccy":
            quote = units_of(size)
        elif target in {"", "base_ccy"}:
            lots = self._lots(instrument, size)
        else:
            raise RowError("51000", "Parameter tgtCcy error.")
        stp = STP_MODES.get(row.get("stpMode") or "cancel_maker")
        if stp is None:
            raise RowError("51000", "Parameter stpMode error.")
        # An order without an id of its own gets one nobody can send, so that none collide.
        own_id = client_id or f"_{self.venue.engine.next_order_id}"
        tag = f"{row['ordType']}:{target}"
        return NewOrder(instrument.symbol, side, kind, own_id, lots, price, quote, tif, stp, tag)

    def _lots(self, instrument: Instrument, size: Decimal) -> int:
        if size < instrument.quantity_min:
            raise RowError("51020", "Order quantity should be greater than the min available "
                           "amount.")  # fmt: skip
        lots = instrument.lots(size)
        if lots is None:
            raise RowError("51121", "Order quantity must be a multiple of the lot size.")
        if size > instrument.quantity_max:
            raise RowError("51004", "Order amount exceeds the maximum.")
        return lots

    def _price(self, instrument: Instrument, row: Json, name: str) -> int:
        price = _number(row, name)
        ticks = instrument.ticks(price)
        if ticks is None or ticks <= 0 or price > 10_000_000:
            raise RowError("51000", f"Parameter {name} error.")
        trades = self.venue.tape[instrument.symbol].trades
        if trades and not trades[-1].price <= ticks * 5 <= trades[-1].price * 25:
            raise RowError("51006", "Order price is not within the price limit.")
        return ticks

    def _page(self, orders: list[Order], params: Json) -> list[Json]:
        wanted, kind = params.get("instId"), params.get("ordType")
        after, before, limit = _page_bounds(params)
        wanted_orders = (
            order
            for order in sorted(orders, key=lambda o: -o.order_id)
            if before < order.order_id < after
            and wanted in {None, "", inst_id(order.symbol)}
            and (not kind or order.tag.split(":")[0] in kind.split(","))
            and self.venue.is_visible(order)
        )
        return [self._order_json(order) for order in islice(wanted_orders, limit)]

    def _order_json(self, order: Order) -> Json:
        fills = self.venue.engine.fills_by_order.get(order.order_id)
        instrument = self.venue.engine.instruments[order.symbol]
        return shown(order_json(order, instrument, fills[-1] if fills else None))


def shown(row: Json) -> Json:
    """Hide the id we gave an order that came without one."""
    return row | {"clOrdId": ""} if row["clOrdId"].startswith("_") else row


def _number(row: Json, name: str) -> Decimal:
    value = decimal_of(row.get(name))
    if value is None or value <= 0:
        raise RowError("51000", f"Parameter {name} error.")
    return value


def _time(params: Json, name: str, default: int) -> int:
    text = str(params.get(name) or default)
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ApiError("51000", f"Parameter {name} error.", 400)
    return int(text)


def _page_bounds(params: Json) -> tuple[int, int, int]:
    after, before = _time(params, "after", 10**18), _time(params, "before", 0)
    return after, before, max(1, min(PAGE_MAX, _time(params, "limit", PAGE_MAX)))


def _rate(bps: int) -> str:
    return f"{Decimal(bps) / 10_000:f}"
