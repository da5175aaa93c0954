"""The word that each command of a live core needs: the instance's name, where money can be lost.

A program that was written for a demo, or a hand in the wrong terminal, does not know it, and is refused
before anything happens. What reduces risk (halt, cancel) and what only looks never needs it.
"""

from typing import Final

from engine.control_args import UNCONFIRMED, Args
from engine.control_port import Facts
from engine.errors import Refused

# Placing, and whatever widens what may be placed or settles what is not proven.
GUARDED: Final = (
    *("order.place", "order.resolve", "risk.resume", "difference.accept"),
    *("venue.unretire", "actor.retry", "actor.discard"),
)


def confirm(facts: Facts, op: str, args: Args) -> None:
    """Take the word off a request; Refused where a live core needs it and it is not the name.

    A dry run sends nothing and needs none.
    """
    word = args.optional("live", 64)
    if facts.mode != "live" or op not in GUARDED or args.holds("dry_run"):
        return
    if word != facts.instance:
        said = f"not {word}" if word else "and nothing was said"
        raise Refused(
            UNCONFIRMED,
            f"this core is LIVE {facts.instance}: {op} needs that name as `live`, {said};"
            " nothing was sent",
        )
