"""The market operations of the control socket: depth, impact, edges between venues, a route's plan.

Every figure is computed where it is asked, from each venue's own book, the fees its instruments carry
and what the venue's actor says of itself; no actor is disturbed but to tell what it holds.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from engine.control_args import Args, bad, check_symbol, check_venue
from engine.control_orders import EDGE, ROUTER, WAIT_S, query, reply_body
from engine.control_peer import Peer
from engine.messages.base import Side
from engine.messages.commands import PlaceOrder
from engine.trading.depth import VenueDepth, depth_view, edge_rows, impact_view
from engine.trading.money import plain

LEVELS_MAX: Final = 1_000
SIDES: Final = ("buy", "sell", "BUY", "SELL")


def take_side(args: Args) -> Side:
    """Return the side of a request."""
    return "BUY" if args.choice("side", SIDES, "").upper() == "BUY" else "SELL"


async def depth(peer: Peer, args: Args) -> Any:
    """Return the consolidated book of full depth."""
    symbol = check_symbol(peer.facts, args.text("symbol", 64), None)
    levels = args.whole("depth", 1, LEVELS_MAX, 20)
    every = args.flag("all")
    args.end()
    return depth_view(symbol, await venue_depths(peer, symbol), levels, every=every)


async def impact(peer: Peer, args: Args) -> Any:
    """Return what a size costs, over all venues and at each."""
    symbol = check_symbol(peer.facts, args.text("symbol", 64), None)
    side = take_side(args)
    quantity, notional = args.amount("quantity"), args.amount("notional")
    venue = args.optional("venue", 64)
    args.end()
    if (quantity is None) == (notional is None):
        raise bad("say how much: a quantity, or a notional in the quote")
    if venue is not None:
        check_symbol(peer.facts, symbol, check_venue(peer.facts, venue))
    found = [v for v in await venue_depths(peer, symbol) if venue in (None, v.venue)]
    return impact_view(symbol, found, side, quantity=quantity, notional=notional)


async def arb(peer: Peer, args: Args) -> Any:
    """Return venue by venue what buying here and selling there brings after fees."""
    symbol = args.optional("symbol", 64)
    args.end()
    known = sorted({s for symbols in peer.facts.venues.values() for s in symbols})
    asked = known if symbol is None else [check_symbol(peer.facts, symbol, None)]
    return [row for name in asked for row in edge_rows(name, await venue_depths(peer, name))]


async def fees(peer: Peer, args: Args) -> Any:
    """Return each account's maker and taker rates by symbol, their source and age, and what fills say."""
    venue = args.optional("venue", 64)
    args.end()
    if venue is not None:
        check_venue(peer.facts, venue)
    checks = {(c["account"], c["symbol"]): c for c in await query(peer.hub, "fee_checks", {})}
    now_ns = peer.hub.clock.wall_ns()
    rows = []
    for rule in await query(peer.hub, "instruments", {}):
        if venue not in (None, rule["venue"]):
            continue
        account = peer.facts.accounts.get(rule["venue"], "")
        check = checks.get((account, rule["symbol"]), {})
        told_ns = rule["fee_ts_ns"]
        rows.append(
            {
                "account": account,
                "symbol": rule["symbol"],
                "maker_fee": rule["maker_fee"],
                "taker_fee": rule["taker_fee"],
                "source": rule["fee_source"],
                "age_s": (now_ns - told_ns) // 1_000_000_000 if told_ns else None,
                "fills_checked": check.get("checked", 0),
                "fills_differing": check.get("differing", 0),
                "fills_other_asset": check.get("other_asset", 0),
                "last_difference": check.get("last", ""),
            }
        )
    return rows


async def route(peer: Peer, args: Args) -> Any:
    """Return the plan of a split with a reason for each venue, and what it should cost. Sends nothing."""
    symbol = check_symbol(peer.facts, args.text("symbol", 64), None)
    side, quantity, price = take_side(args), args.amount("quantity"), args.amount("price")
    args.end()
    if quantity is None:
        raise bad("route needs quantity")
    command_id = peer.ids.command_id()
    order = PlaceOrder(
        command_id, "best", None, symbol, side, "MARKET" if price is None else "LIMIT",
        "IOC" if price is None else peer.facts.time_in_force, False, quantity, price, True,  # type: ignore[arg-type]
        peer.who, EDGE,
    )  # fmt: skip
    reply = peer.hub.core.command(ROUTER, order, command_id)
    try:
        plan = await reply_body(reply, WAIT_S, "the plan")
    finally:
        reply.cancel()
    return route_view(symbol, side, quantity, plan)


def route_view(
    symbol: str, side: Side, quantity: Decimal, plan: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a dry run as a row a venue, also for those left out."""
    legs = {leg["venue"]: leg for leg in plan["orders"]}
    placed = sum((Decimal(leg["quantity"]) for leg in legs.values()), Decimal(0))
    return {
        "symbol": symbol,
        "side": side,
        "quantity": plain(quantity),
        "unplaced": plain(quantity - placed),
        "approved": plan["approved"],
        "expected": plan["expected"],
        "best_single_venue": plan["best_single_venue"],
        "best_single_price": plan["best_single_price"],
        "venues": [
            {
                "venue": venue,
                "share": legs.get(venue, {}).get("quantity", "0"),
                "price": legs.get(venue, {}).get("price"),
                "why": why,
                "risk": legs.get(venue, {}).get("verdict"),
            }
            for venue, why in sorted(plan["reasons"].items())
        ],
    }


async def venue_depths(peer: Peer, symbol: str) -> list[VenueDepth]:
    """Return each venue's whole book of a symbol, with its fees and what stands against using it."""
    books = await query(peer.hub, "depth", {"symbol": symbol, "depth": str(LEVELS_MAX)})
    listed = await query(peer.hub, "instruments", {})
    rules = {rule["venue"]: rule for rule in listed if rule["symbol"] == symbol}
    states = {venue["name"]: venue for venue in await query(peer.hub, "venues", {})}
    return [
        _depth(book, rules[book["venue"]], states.get(book["venue"], {}))
        for book in books
        if book["venue"] in rules  # else its fees are not known, and nothing could be sent there
    ]


def _depth(
    book: Mapping[str, Any], rule: Mapping[str, Any], state: Mapping[str, Any]
) -> VenueDepth:
    told = book["venues"][0]
    problem = ""
    if state.get("state") != "READY":
        problem = f"the venue is {state.get('state')}: {state.get('reason')}"
    elif state.get("gate_closed"):
        problem = "halted"
    elif rule["status"] != "TRADING":
        reason = rule.get("status_reason")
        problem = f"the symbol is {rule['status']}" + (f": {reason}" if reason else "")
    return VenueDepth(
        book["venue"],
        told["state"],
        told["reason"],
        told["age_ms"],
        Decimal(rule["taker_fee"]),
        _levels(book["bids"]),
        _levels(book["asks"]),
        problem,
        told["quality"],
    )


def _levels(rows: list[Mapping[str, Any]]) -> list[tuple[Decimal, Decimal]]:
    return [(Decimal(row["price"]), Decimal(row["quantity"])) for row in rows]
