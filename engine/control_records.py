"""The venue's own records over the control socket: what it calls portfolio, statement, profit table."""

from typing import Any, Final

from engine.control_args import Args, check_venue
from engine.control_hub import Hub
from engine.control_orders import query
from engine.control_port import Facts

KINDS: Final = ("portfolio", "statement", "profit_table")
ROWS_MAX: Final = 500


async def venue_records(hub: Hub, facts: Facts, args: Args) -> Any:
    """Ask a venue for its records of our account, newest first; not every venue keeps them."""
    venue = check_venue(facts, args.text("venue", 64))
    kind = args.choice("kind", KINDS, "")
    limit = args.whole("limit", 1, ROWS_MAX, 50)
    args.end()
    return await query(hub, "venue_records", {"venue": venue, "kind": kind, "limit": str(limit)})
