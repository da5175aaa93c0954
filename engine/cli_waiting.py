"""A request that may take its time, and what a person is told meanwhile. Programs get the answer only."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from engine.client_async import AsyncClient
from engine.errors import CoreError
from engine.views import Screen

LOOK_EVERY_S: Final = 0.5


def halt(screen: Screen, state_dir: Path | None, arguments: Mapping[str, Any]) -> Any:
    """Ask for a halt, and for what its sweep did; say on stderr which gate it waits for.

    Raises as engine.client.Client.request.
    """
    return asyncio.run(_halt(screen, state_dir, arguments))


async def _halt(screen: Screen, state_dir: Path | None, arguments: Mapping[str, Any]) -> Any:
    said: set[str] = set()
    async with AsyncClient(state_dir) as client:
        halting = asyncio.ensure_future(client.request("risk.halt", **arguments))
        while not (await asyncio.wait({halting}, timeout=LOOK_EVERY_S))[0]:
            with suppress(CoreError):
                for line in gates_waited_for(await client.request("venues")):
                    if line not in said:
                        said.add(line)
                        screen.say(line)
        told = halting.result()
        if not arguments["cancel"]:
            return told
        screen.say("every gate is closed; waiting for the cancels, and for the venues' word")
        asked = {name: told[name] for name in ("command_id", "scope", "since_seq", "level")}
        swept = await client.request("risk.receipt", timeout_s=arguments["timeout_s"], **asked)
        return {**told, **swept}


def gates_waited_for(venues: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Return a line for each venue whose gate is closed but not all behind it answered."""
    for venue in venues:
        count = venue.get("in_flight")
        if count:
            orders = "1 order" if count == 1 else f"{count} orders"
            yield f"{venue['name']}: gate closed, waiting for {orders} in flight"
