"""The control plane: faults, truth, and stage directions, on a loopback port of its own.

No client under test talks to it. Bad input is answered with 400 and a sentence.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any

from aiohttp import web

from simulator.faults import KINDS, Rule
from simulator.instruments import decimal_of, units_of
from simulator.orders import NewOrder, Order, OrderChanged, OrderType, Refused, Side, TimeInForce
from simulator.server import Site
from simulator.store import order_line
from simulator.venue import require

Json = dict[str, Any]
OTHER = "other"
MAIN = "main"


class Control:
    """Routes under /_ctl."""

    def __init__(self, sites: dict[str, Site]) -> None:
        self._sites = sites
        self._rules: dict[int, tuple[str, int]] = {}  # our id: venue and its id
        self._scenarios: dict[str, Callable[[Json], Json]] = {
            "place": self._place, "trade": self._trade, "fill": self._fill,
            "balance": self._balance, "cancel_all": self._cancel_all, "halt": self._halt,
            "flow": self._flow, "price": self._price, "budgets": self._budgets,
            "rights": self._rights,
        }  # fmt: skip

    def routes(self) -> list[web.RouteDef]:
        """Return what to serve."""
        routes = [
            web.get("/_ctl/faults", self._get(self._kinds)),
            web.get("/_ctl/active", self._get(self._active)),
            web.get("/_ctl/truth/{venue}", self._truth),
            web.post("/_ctl/fault", self._post(self._fault)),
            web.delete("/_ctl/fault", self._clear),
            web.delete("/_ctl/fault/{id}", self._clear),
            web.post("/_ctl/scenario", self._post(self._scenario)),
        ]
        for name, act in self._scenarios.items():
            routes.append(web.post(f"/_ctl/{name}", self._post(act)))
        return routes

    # -- faults

    def _kinds(self) -> list[Json]:
        return [
            {"kind": name, "description": kind.description, "targets": list(kind.targets),
             "parameters": kind.parameters}
            for name, kind in KINDS.items()
        ]  # fmt: skip

    def _active(self) -> list[Json]:
        out = []
        for ours, (venue, theirs) in self._rules.items():
            rules = self._sites[venue].venue.faults.active()
            out += [{**rule, "id": ours} for rule in rules if rule["id"] == theirs]
        return out

    def _fault(self, body: Json) -> Json:
        site = self._site(body)
        rule = site.venue.faults.set(body)
        number = max(self._rules, default=0) + 1
        self._rules[number] = (site.venue.name, rule.rule_id)
        if rule.is_immediate:
            self._strike_now(site, rule)
        return {"id": number}

    def _strike_now(self, site: Site, rule: Rule) -> None:
        match rule.kind:
            case "ws_drop":
                for peer in self._peers(site, rule):
                    peer.abort()
            case "ws_half_open":
                for peer in self._peers(site, rule):
                    peer.is_silent = True
            case "balance_drift":
                asset = str(rule.params.get("asset", "USDT"))
                amount = _number({"amount": "-100", **rule.params}, "amount")
                account = str(rule.params.get("account", MAIN))
                site.venue.drift(account, asset, units_of(amount))
            case "venue_restart":
                down_s = rule.number("down_ms", 0) / 1000
                self._later(site, site.refuse_for(down_s, is_cutting=True))
            case "refuse_connections":
                seconds = float(rule.params.get("s", 3))
                self._later(site, site.refuse_for(seconds, is_cutting=False))
            case _:
                pass

    def _peers(self, site: Site, rule: Rule) -> list[Any]:
        found = [peer for hub in site.parts.hubs for peer in hub.matching(rule.on)]
        return found if rule.count == 1 else found[: rule.count]

    def _later(self, site: Site, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        site.tasks.add(task)
        task.add_done_callback(site.tasks.discard)

    async def _clear(self, request: web.Request) -> web.Response:
        number = request.match_info.get("id")
        wanted = [int(number)] if number and number.isdigit() else list(self._rules)
        cleared = 0
        for ours in wanted:
            venue, theirs = self._rules.pop(ours, ("", 0))
            if venue:
                cleared += self._sites[venue].venue.faults.clear(theirs)
        return web.json_response({"cleared": cleared})

    async def _truth(self, request: web.Request) -> web.Response:
        site = self._sites.get(request.match_info["venue"])
        if site is None:
            return web.json_response({"error": "no such venue"}, status=404)
        return web.json_response(site.venue.truth())

    # -- stage directions

    def _scenario(self, body: Json) -> Json:
        act = self._scenarios.get(str(body.get("action")))
        if act is None:
            raise ValueError(f"action is one of {', '.join(self._scenarios)}")
        return act(body)

    def _place(self, body: Json) -> Json:
        site = self._site(body)
        order = site.venue.place(str(body.get("account", OTHER)), self._wanted(site, body), "ctl")
        return self._order_json(site, order)

    def _trade(self, body: Json) -> Json:
        return self._place({"time_in_force": "IOC", **body})

    def _fill(self, body: Json) -> Json:
        site, order = self._order(body)
        lots = order.leaves
        if "quantity" in body:
            instrument = site.venue.engine.instruments[order.symbol]
            lots = instrument.lots(_number(body, "quantity")) or 0
        site.venue.force_fill(order, lots)
        return self._order_json(site, order)

    def _balance(self, body: Json) -> Json:
        site = self._site(body)
        account, asset = str(body.get("account", MAIN)), str(body.get("asset", "USDT"))
        site.venue.drift(account, asset, units_of(_number(body, "amount")))
        return {"account": account, "asset": asset}

    def _cancel_all(self, body: Json) -> Json:
        site = self._site(body)
        orders = site.venue.engine.open_orders(str(body.get("account", MAIN)))
        for order in orders:
            site.venue.cancel(order, "", "ctl")
        return {"canceled": len(orders)}

    def _halt(self, body: Json) -> Json:
        site = self._site(body)
        halted = site.venue.engine.halted
        symbol = str(body.get("symbol"))
        if symbol not in site.venue.symbols:
            raise ValueError(f"no such symbol: {symbol}")
        if body.get("on", True):
            halted.add(symbol)
        else:
            halted.discard(symbol)
        return {"halted": sorted(halted)}

    def _budgets(self, body: Json) -> Json:
        """Give every client of a venue its request budgets back, as if a minute had passed."""
        self._site(body).parts.forget_spent()
        return {"forgotten": True}

    def _price(self, body: Json) -> Json:
        """Move the fair price that all venues share; books follow, a dealer's contracts at once."""
        symbol, price = str(body.get("symbol")), _number(body, "price")
        for site in self._sites.values():
            site.venue.flow.set_price(symbol, float(price))
        return {"symbol": symbol, "price": str(price)}

    def _flow(self, body: Json) -> Json:
        for site in self._sites.values():
            if body.get("venue") in {None, site.venue.name}:
                site.is_flowing = bool(body.get("on", True))
                if body.get("clear"):
                    site.venue.flow.clear()
                    site.venue.settle(None)
        return {"on": bool(body.get("on", True))}

    def _rights(self, body: Json) -> Json:
        venue = self._site(body).venue
        venue.can_withdraw = bool(body.get("withdraw", False))
        venue.owed = [str(asset) for asset in body.get("owed", [])]
        venue.derivatives = [str(name) for name in body.get("derivatives", [])]
        return {
            "withdraw": venue.can_withdraw,
            "owed": venue.owed,
            "derivatives": venue.derivatives,
        }

    # -- words

    def _site(self, body: Json) -> Site:
        site = self._sites.get(str(body.get("venue")))
        if site is None:
            raise ValueError(f"venue is one of {', '.join(self._sites)}")
        return site

    def _order(self, body: Json) -> tuple[Site, Order]:
        site = self._site(body)
        order_id = body.get("venue_order_id") or body.get("order_id")
        if order_id is not None:
            return site, require(site.venue.engine.orders.get(int(order_id)))
        name = str(body.get("account", MAIN))
        found = site.venue.engine.by_client_id(name, str(body.get("client_order_id")))
        return site, require(found[-1] if found else None)

    def _wanted(self, site: Site, body: Json) -> NewOrder:
        instrument = site.venue.engine.instruments.get(str(body.get("symbol")))
        if instrument is None:
            raise ValueError(f"no such symbol: {body.get('symbol')}")
        lots = instrument.lots(_number(body, "quantity"))
        price = instrument.ticks(_number(body, "price")) if body.get("price") else None
        if not lots or lots < 0 or (body.get("price") and not price):
            raise ValueError("price or quantity is off the grid")
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        side = Side(str(body.get("side", "")).upper())
        tif = TimeInForce(str(body.get("time_in_force", "GTC")))
        number = site.venue.engine.next_order_id
        client_id = str(body.get("client_order_id") or f"ctl{number}")
        tag = "market:base_ccy" if price is None else "limit:"
        return NewOrder(instrument.symbol, side, kind, client_id, lots, price, None, tif, tag=tag)

    def _order_json(self, site: Site, order: Order) -> Json:
        return order_line(OrderChanged("STATE", order), site.venue.engine.instruments[order.symbol])

    def _get(self, act: Callable[[], Any]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            del request
            return web.json_response(act())

        return handle

    def _post(
        self, act: Callable[[Json], Json]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                return web.json_response(act(_body(await request.read())))
            except (ValueError, TypeError, Refused) as wrong:
                return web.json_response({"error": str(wrong)}, status=400)

        return handle


def _body(data: bytes) -> Json:
    body = json.loads(data or b"{}")
    if not isinstance(body, dict):
        raise TypeError("the body must be a JSON object")
    return body


def _number(body: Json, name: str) -> Decimal:
    value = decimal_of(body.get(name))
    if value is None:
        raise ValueError(f"{name} must be a decimal string, not {body.get(name)!r}")
    return value
