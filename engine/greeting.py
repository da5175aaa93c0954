"""What the program says to the person who started it: what runs, where, and what to try next."""

import os
import sys
from collections.abc import Iterator, Sequence
from typing import Final

from loguru import logger

from engine.config import STATE_DIR_VARIABLE
from engine.config_models import Config
from engine.confusable import warnings


def say(text: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


_MEANING: Final = {
    "demo": "no real orders",
    "testnet": "orders on the venues' test networks, no real money",
    "live": "REAL ORDERS, REAL MONEY",
}


# Who trades where: an address that was put in a venue's place is always shown.
def _where(config: Config, venues: Sequence[str]) -> Iterator[str]:
    if config.mode == "demo":
        yield f"venues   {', '.join(venues)} (simulated, on loopback)"
        return
    for name in venues:
        given = config.venues[name].urls.given()
        own = "its testnet" if config.mode == "testnet" else "the venue itself"
        place = f"NOT {own}, but {', '.join(sorted(set(given.values())))}" if given else own
        yield f"venue    {name}: {place}"


def greet(config: Config, version: str, venues: Sequence[str]) -> None:
    """Print the banner of a run."""
    folder = config.state_dir
    at = "" if os.environ.get(STATE_DIR_VARIABLE) else f" --state-dir {folder}"
    say(f"xcore {version}  {config.mode.upper()} {config.name}  {_MEANING[config.mode]}")
    for line in _where(config, venues):
        say(line)
    for doubt in warnings(config):
        say(f"warning  {doubt}")
        logger.bind(doubt=doubt).warning("a venue is probably another one")
    say(f"state    {folder}")
    say("try      in a second terminal:")
    for what in ("status", "bbo", "order place best BTC/USDT buy 0.01 --market"):
        say(f"           .venv/bin/xcore{at} {what}")
    say("stop     Ctrl-C")
