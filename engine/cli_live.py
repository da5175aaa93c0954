"""What the CLI says and asks when the core is live: whose core, what a command does, the word for it.

A live core refuses what can lose money unless the instance's name comes with it (engine/control_live.py). A
person types `yes` after seeing the effect; a script says both `--yes` and `--live`. Halting and
cancelling are never asked about, here or there.
"""

import sys
from collections.abc import Iterator, Mapping
from typing import Any, Final

import typer

from engine.client import Client, RequestRefused
from engine.errors import EXIT_UNCONFIRMED
from engine.views import Screen

UNCONFIRMED: Final = "UNCONFIRMED"


def request(
    client: Client, screen: Screen, op: str, arguments: Mapping[str, Any], *, is_agreed: bool
) -> Any:
    """Send one request, with the word of a live core once it has been given.

    Raises as Client.request; RequestRefused with exit code 8 where the word was not given.
    """
    try:
        return client.request(op, **arguments)
    except RequestRefused as refused:
        if refused.code != UNCONFIRMED:
            raise
        if not is_agreed:
            _agree(client, screen, op, arguments, refused)
        return client.request(op, **arguments, live=client.live)
    finally:
        if client.live:
            screen.say(f"LIVE {client.live}")


def agree(screen: Screen, instance: str, what: str, *, is_agreed: bool) -> None:
    """Have a person or the flags agree to something live that goes through no core.

    Raises RequestRefused with exit code 8 where nobody does.
    """
    screen.say(f"LIVE {instance}: {what}")
    if not is_agreed:
        _type_yes("it was not confirmed; nothing was sent")


def _agree(
    client: Client, screen: Screen, op: str, arguments: Mapping[str, Any], refused: RequestRefused
) -> None:
    if sys.stdin.isatty():
        screen.say(f"LIVE {client.live}: real orders, real money")
        for line in effect(client, op, arguments):
            screen.say(line)
    _type_yes(refused.text)


def _type_yes(why: str) -> None:
    if not sys.stdin.isatty():
        text = f"{why}; on a terminal you are asked, a script says --yes and --live"
        raise RequestRefused(UNCONFIRMED, text, EXIT_UNCONFIRMED, None)
    if typer.prompt("type yes to go on", default="", show_default=False, err=True) != "yes":
        text = "not confirmed; nothing was sent"
        raise RequestRefused(UNCONFIRMED, text, EXIT_UNCONFIRMED, None)


def effect(client: Client, op: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Say what a command would do; for an order, what the core itself plans and judges."""
    yield f"  {op} " + " ".join(f"{k}={v}" for k, v in arguments.items() if v is not None)
    if op != "order.place":
        return
    plan = client.request(op, **{**arguments, "dry_run": True})
    for name, value in plan.items():
        if name != "schema" and not isinstance(value, dict):
            yield f"  {name}: {value}"
